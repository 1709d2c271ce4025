"""The gateway's key log file: a longer one is taken as it comes, any other is not."""

import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from concordat_gateway.keylog import KeyLogFile, unanswerable
from concordat_privacy.keylog import KeyLog
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.settings import SettingsError
from tests.tokenkeys import LOG_KEY, TokenKeys


def put(file: Path, text: str) -> None:
    """Exchange the file at once, as whoever publishes a log does."""
    changed = file.with_suffix(".new")
    changed.write_text(text)
    changed.replace(file)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def keys() -> TokenKeys:
    return TokenKeys.of_epochs(1)


@pytest.fixture
def file(tmp_path: Path, keys: TokenKeys) -> Path:
    path = tmp_path / "keys.log"
    path.write_text(keys.log().text)
    return path


def test_a_longer_log_is_taken_when_the_file_changes(file: Path, keys: TokenKeys) -> None:
    opened = KeyLogFile(file, LOG_KEY.verifier)
    first = opened.current()
    assert opened.current() is first

    keys.add(2)
    put(file, keys.log().text)
    assert [key.epoch for key in opened.current().keys] == [1, 2]


def other_log() -> str:
    """Signed, longer, and another history."""
    return TokenKeys.of_epochs(7, 8).log().text


def foreign_log() -> str:
    return KeyLog.signed(TokenKeys.of_epochs(1, 2).entries, SigningKey.generate("other/key")).text


@pytest.mark.parametrize(
    "text",
    [other_log(), foreign_log(), "", "no log\n\nat all", "\xff"],
    ids=["forked", "another's signature", "empty", "malformed", "no note"],
)
def test_any_other_log_is_refused_and_the_old_one_kept(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened = KeyLogFile(file, LOG_KEY.verifier)
    first = opened.current()
    with caplog.at_level(logging.ERROR):
        put(file, text)
        assert opened.current() == first
        assert opened.current() == first
    # Told once, however often it is asked for.
    assert caplog.text.count("the changed key log is not taken") == 1


def test_a_shorter_log_is_a_fork(file: Path, keys: TokenKeys) -> None:
    short = keys.log().text
    keys.add(2)
    put(file, keys.log().text)
    opened = KeyLogFile(file, LOG_KEY.verifier)
    put(file, short)
    assert len(opened.current().keys) == 2


def test_a_log_that_is_gone_for_a_moment_is_kept(file: Path, keys: TokenKeys) -> None:
    opened = KeyLogFile(file, LOG_KEY.verifier)
    file.unlink()
    assert len(opened.current().keys) == 1
    keys.add(2)
    put(file, keys.log().text)
    assert len(opened.current().keys) == 2


def test_a_log_that_cannot_be_read_for_a_moment_is_taken_then(
    file: Path, keys: TokenKeys, caplog: pytest.LogCaptureFixture
) -> None:
    opened = KeyLogFile(file, LOG_KEY.verifier)
    keys.add(2)
    put(file, keys.log().text)
    with caplog.at_level(logging.ERROR), no_descriptor_left():
        assert len(opened.current().keys) == 1
        assert len(opened.current().keys) == 1
    assert caplog.text.count("Too many open files") == 1
    # Nothing about the file has changed meanwhile.
    assert len(opened.current().keys) == 2


def test_at_the_start_a_bad_log_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.log"
    with pytest.raises(SettingsError, match=r"missing.log: No such file"):
        KeyLogFile(missing, LOG_KEY.verifier)
    bad = tmp_path / "bad.log"
    bad.write_text(foreign_log())
    with pytest.raises(SettingsError, match=r"bad.log: key log: "):
        KeyLogFile(bad, LOG_KEY.verifier)
    os.truncate(bad, 10)
    with pytest.raises(SettingsError, match=r"bad.log: key log: no empty line"):
        KeyLogFile(bad, LOG_KEY.verifier)


def test_epochs_that_the_configured_holders_cannot_answer_for_are_named(keys: TokenKeys) -> None:
    keys.add(2, threshold=2, holders=3)
    log = keys.log().keys
    assert unanswerable(log, [0, 1, 3]) == []
    assert unanswerable(log, [2, 3]) == [
        "epoch 1 needs a holder of the whole key (holder = 0); [[keyholders]] has 2, 3"
    ]
    assert unanswerable(log, [0, 0, 2]) == [
        "epoch 2 needs 2 of the holders 1, 2, 3; [[keyholders]] has 0, 2"
    ]


def test_of_a_later_log_somebody_is_told(file: Path, keys: TokenKeys) -> None:
    told: list[KeyLog] = []
    opened = KeyLogFile(file, LOG_KEY.verifier, told.append)
    put(file, other_log())
    opened.current()
    assert told == []
    keys.add(2)
    put(file, keys.log().text)
    assert told == [opened.current()]
