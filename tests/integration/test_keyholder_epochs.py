"""Epochs: a new key and its ratio, two in use at once, an end, and a key that is gone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from concordat.v1 import keyholder_pb2
from concordat_gateway.pki import Authority
from concordat_keyholder.config import load_config
from concordat_keyholder.keys import HeldKey, HeldKeys, read_keys, write_keys
from concordat_privacy import oprf
from concordat_privacy.moments import rfc3339 as time_text
from tests.callers import Refused, refused
from tests.gateways import eventually
from tests.keyholders import (
    Host,
    Member,
    evaluate,
    evaluate_refused,
    held_keys,
    new_authority,
    stopped_at_end,
    update,
)
from tests.stores import ManualClock

INPUTS = [b"first", b"second", b"third"]
STATE, BLINDED = oprf.blind_batch(INPUTS)
HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture(scope="module")
def alpha(authority: Authority) -> Member:
    return Member.certified_by(authority, "alpha")


@pytest.fixture
def host(tmp_path: Path, authority: Authority, alpha: Member) -> Host:
    """A key-holder with one epoch, not serving."""
    made = Host.made(tmp_path / "host", authority)
    made.admit(alpha)
    return made


@pytest.fixture
def clock(host: Host) -> ManualClock:
    """An hour into the first epoch."""
    return ManualClock(host.key_log.keys[0].valid_from + HOUR)


def tokens(channel: grpc.Channel, host: Host, member: Member, epoch: int, now: int) -> list[bytes]:
    reply = evaluate(channel, member.signed(BLINDED, epoch=epoch, now=now))
    return oprf.finalize_batch(STATE, reply.evaluated_elements, reply.proof, host.public_key(epoch))


def update_refused(channel: grpc.Channel, request: keyholder_pb2.UpdateBlindedRequest) -> Refused:
    try:
        update(channel, request)
    except grpc.RpcError as error:
        return refused(error)
    raise AssertionError("the elements were updated")


def moving(
    elements: bytes, from_epoch: int = 1, to_epoch: int = 2
) -> keyholder_pb2.UpdateBlindedRequest:
    return keyholder_pb2.UpdateBlindedRequest(
        from_epoch=from_epoch, to_epoch=to_epoch, blinded_elements=elements
    )


def held(host: Host) -> HeldKeys:
    config = load_config(host.config)
    return read_keys(config.keys, config.seal)[0]


def test_two_epochs_are_in_use_until_the_first_one_ends(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    starts, ends = clock() + HOUR, clock() + 2 * HOUR
    host.does("new-epoch", "--valid-from", time_text(starts))
    host.does("end-epoch", "--epoch", "1", "--valid-to", time_text(ends), "--yes")
    in_use = {}
    with host.serving(clock), host.channel() as channel:
        for moment in (starts - 1, starts, ends - 1, ends):
            clock.microseconds = moment
            in_use[moment] = [
                epoch
                for epoch in (1, 2)
                if _is_evaluated(channel, alpha.signed(BLINDED, epoch=epoch, now=moment))
            ]
    assert list(in_use.values()) == [[1], [1, 2], [1, 2], [2]]


def _is_evaluated(channel: grpc.Channel, request: keyholder_pb2.EvaluateBlindedRequest) -> bool:
    try:
        evaluate(channel, request)
    except grpc.RpcError as error:
        assert refused(error).reason == "EPOCH_NOT_ACTIVE"  # noqa: PT017
        return False
    return True


def test_a_serving_key_holder_takes_a_new_epoch(host: Host, alpha: Member) -> None:
    """Without a restart, and a passphrase typed again."""
    with stopped_at_end([host]):
        host.start()
        with host.channel() as channel:
            assert [epoch for epoch, _, _ in held_keys(channel)] == [1]
            host.does("new-epoch")
            eventually(lambda: len(held_keys(channel)) == 2, "the new epoch is held")
            evaluate(channel, alpha.signed(BLINDED, epoch=2))


def test_files_that_cannot_be_taken_change_nothing(host: Host, alpha: Member) -> None:
    """A log that was exchanged for another, shorter or forged one, while it serves."""
    other = Host.made(host.folder.with_name("other"), host.authority)
    with stopped_at_end([host]):
        host.start()
        log, keys = host.folder / "keys.log", host.folder / "token.keys"
        true_log, true_keys = log.read_bytes(), keys.read_bytes()
        with host.channel() as channel:
            for content in (b"", true_log[:-5], (other.folder / "keys.log").read_bytes()):
                log.write_bytes(content)
                evaluate(channel, alpha.signed(BLINDED))
            log.unlink()
            evaluate(channel, alpha.signed(BLINDED))
            log.write_bytes(true_log)
            keys.write_bytes((other.folder / "token.keys").read_bytes())
            evaluate(channel, alpha.signed(BLINDED))
            keys.write_bytes(true_keys)
            evaluate(channel, alpha.signed(BLINDED))
        assert host.log.count("changed files not taken") >= 5


def test_a_log_without_the_entries_that_were_known_is_not_taken(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    """A rollback of the log would open an ended epoch again."""
    before = (host.folder / "keys.log").read_bytes()
    host.does("new-epoch")
    host.does("end-epoch", "--epoch", "1", "--valid-to", time_text(clock()), "--yes")
    with host.serving(clock), host.channel() as channel:
        (host.folder / "keys.log").write_bytes(before)
        refusal = evaluate_refused(channel, alpha.signed(BLINDED, epoch=1, now=clock()))
    assert refusal.reason == "EPOCH_NOT_ACTIVE"


def test_an_update_is_what_the_new_key_itself_gives(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    host.does("new-epoch", "--valid-from", time_text(clock()))
    with host.serving(clock), host.channel() as channel:
        old = b"".join(tokens(channel, host, alpha, 1, clock()))
        new = b"".join(tokens(channel, host, alpha, 2, clock()))
        reply = update(channel, moving(old))
    oprf.verify_update(
        old, reply.updated_elements, reply.proof, host.public_key(1), host.public_key(2)
    )
    assert reply.updated_elements == new
    assert old != new


def test_updates_go_one_epoch_forward(host: Host, clock: ManualClock) -> None:
    host.does("new-epoch")
    host.does("new-epoch")
    with host.serving(clock), host.channel() as channel:
        for pair in ((1, 2), (2, 3)):
            update(channel, moving(BLINDED, *pair))
        for pair in ((1, 1), (2, 1), (1, 3), (0, 1), (3, 4), (2**32 - 1, 0)):
            refusal = update_refused(channel, moving(BLINDED, *pair))
            assert (refusal.code, refusal.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "EPOCH_NOT_ACTIVE",
            )


def test_what_is_no_element_is_not_updated(host: Host, clock: ManualClock) -> None:
    host.does("new-epoch")
    with host.serving(clock), host.channel() as channel:
        for elements, field in (
            (b"", "blinded_elements"),
            (BLINDED[:-1], "blinded_elements"),
            (BLINDED[:32] * 4097, "blinded_elements"),
            (BLINDED[:64] + bytes(32), "blinded_elements[2]"),
        ):
            refusal = update_refused(channel, moving(elements))
            assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
            assert [name for name, _ in refusal.violations] == [field]
        request = moving(BLINDED)
        request.holders.append(1)
        assert [name for name, _ in update_refused(channel, request).violations] == ["holders"]


def test_an_epoch_in_use_is_not_forgotten(host: Host) -> None:
    host.does("new-epoch")
    result = host.run("forget", "--epoch", "1", "--yes")
    assert result.exit_code == 1
    assert "epoch 1: still in use" in result.output
    host.does("end-epoch", "--epoch", "1", "--valid-to", "2099-01-01T00:00:00Z", "--yes")
    assert host.run("forget", "--epoch", "1", "--yes").exit_code == 1
    assert [one.epoch for one in held(host)] == [1, 2]


def test_a_forgotten_key_can_be_made_from_nothing_that_is_left(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    """Not from the next key and the ratio either: the ratio goes with it."""
    host.does("new-epoch")
    host.does("new-epoch")
    ending = ("end-epoch", "--epoch", "1", "--valid-to", time_text(host_start(host) + 1))
    host.does(*ending, "--yes", "--leave-gap")
    asked = host.run("forget", "--epoch", "1")
    assert asked.exit_code == 1
    assert "--yes" in asked.output
    host.does("forget", "--epoch", "1", "--yes")

    second, third = held(host)
    assert (second.epoch, second.update, third.epoch) == (2, None, 3)
    assert third.update is not None
    with host.serving(clock), host.channel() as channel:
        assert update_refused(channel, moving(BLINDED, 1, 2)).reason == "EPOCH_NOT_ACTIVE"
        update(channel, moving(BLINDED, 2, 3))
    again = host.run("forget", "--epoch", "1", "--yes")
    assert "epoch 1: not held" in again.output
    # What is left can still be split: epoch 2 without its ratio.
    host.does("split", "--threshold", "2", "--holders", "2", "--out", host.folder / "dealt")
    entry = host.key_log.key(2)
    assert entry is not None
    assert [one.update_key for one in entry.holders] == [None, None]


@pytest.mark.parametrize("command", ["forget", "reseal"])
def test_what_the_keys_file_held_is_overwritten(host: Host, command: str) -> None:
    """As whoever reads the disk's blocks later would see it: through a handle from before."""
    host.does("new-epoch")
    host.does(
        "end-epoch",
        "--epoch",
        "1",
        "--valid-to",
        time_text(host_start(host) + 1),
        "--yes",
        "--leave-gap",
    )
    file = host.folder / "token.keys"
    before = file.read_bytes()
    with file.open("rb") as old:
        if command == "forget":
            host.does("forget", "--epoch", "1", "--yes")
        else:
            host.does("reseal", "--key-file", host.folder / "other.key")
        spoilt = old.read()
    assert len(spoilt) == len(before)
    assert b"[[keys]]" in before
    assert b"[[keys]]" not in spoilt
    assert b"[[keys]]" in file.read_bytes()


def test_a_file_that_cannot_be_read_for_a_moment_is_taken_then(
    host: Host, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was forgotten does not stay in use because somebody had a look at its file's mode."""
    host.does("new-epoch")
    host.does(
        "end-epoch",
        "--epoch",
        "1",
        "--valid-to",
        time_text(host_start(host) + 1),
        "--yes",
        "--leave-gap",
    )
    keys = host.folder / "token.keys"
    with host.serving(clock), host.channel() as channel:
        assert [epoch for epoch, _, _ in held_keys(channel)] == [1, 2]
        host.does("forget", "--epoch", "1", "--yes")
        keys.chmod(0o640)
        for _ in range(2):
            assert [epoch for epoch, _, _ in held_keys(channel)] == [1, 2]
        keys.chmod(0o600)
        assert [epoch for epoch, _, _ in held_keys(channel)] == [2]
    assert caplog.text.count("changed files not taken") == 1


def host_start(host: Host) -> int:
    return host.key_log.keys[0].valid_from


def test_the_only_key_is_not_forgotten(host: Host) -> None:
    host.does(
        "end-epoch",
        "--epoch",
        "1",
        "--valid-to",
        time_text(host_start(host) + 1),
        "--yes",
        "--leave-gap",
    )
    result = host.run("forget", "--epoch", "1", "--yes")
    assert result.exit_code == 1
    assert "only one held" in result.output


def test_a_new_epoch_that_was_interrupted_goes_on_with_its_key(host: Host) -> None:
    """Killed after the key was written and before the log was: the key is used, none is lost."""
    config = load_config(host.config)
    keys, wrapper = read_keys(config.keys, config.seal)
    [first] = keys
    secret = oprf.generate_key().secret
    made = HeldKey(2, secret, update=oprf.key_ratio(first.secret, secret))
    write_keys(config.keys, HeldKeys.of([first, made]), wrapper, config.seal.method)

    with host.serving(ManualClock(host_start(host))), host.channel() as channel:
        # Nobody was told of it, so it is not there.
        assert [epoch for epoch, _, _ in held_keys(channel)] == [1]
    host.does("new-epoch")
    assert host.public_key(2) == made.public_key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("new-epoch", "--valid-from", "2001-01-01T00:00:00Z"), "epoch 2 begins before epoch 1"),
        (
            ("end-epoch", "--epoch", "7", "--valid-to", "2099-01-01T00:00:00Z", "--yes"),
            "no key of epoch 7",
        ),
        (
            ("end-epoch", "--epoch", "1", "--valid-to", "2001-01-01T00:00:00Z", "--yes"),
            "epoch 1 ends before it begins",
        ),
        (("forget", "--epoch", "7", "--yes"), "epoch 7: not in the key log"),
    ],
)
def test_what_the_log_cannot_say_is_refused_and_changes_nothing(
    host: Host, arguments: tuple[str, ...], message: str
) -> None:
    before = {name: (host.folder / name).read_bytes() for name in ("keys.log", "token.keys")}
    result = host.run(*arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert before == {name: (host.folder / name).read_bytes() for name in before}


def test_an_end_is_asked_about_for_it_cannot_be_changed(host: Host, clock: ManualClock) -> None:
    before = (host.folder / "keys.log").read_bytes()
    host.does("new-epoch", "--valid-from", time_text(clock()))
    ending = ("end-epoch", "--epoch", "1", "--valid-to", time_text(clock()))
    refused = host.run(*ending)
    assert refused.exit_code == 1
    assert "cannot be changed later; say so with --yes" in refused.output
    assert host.key_log.keys[0].valid_to is None
    said = host.does(*ending, "--yes")
    assert "has 3 entries now. Everybody who serves must\nget this log" in said
    assert (host.folder / "keys.log").read_bytes() != before


@pytest.mark.parametrize("starts_after", [None, 1], ids=["no next epoch", "too late a next one"])
def test_an_end_that_leaves_no_epoch_in_use_is_refused(
    host: Host, clock: ManualClock, starts_after: int | None
) -> None:
    if starts_after is not None:
        host.does("new-epoch", "--valid-from", time_text(clock() + starts_after))
    entries = len(host.key_log.entries)
    ending = ("end-epoch", "--epoch", "1", "--valid-to", time_text(clock()), "--yes")
    refused = host.run(*ending)
    assert refused.exit_code == 1
    assert "no epoch would be in use from" in refused.output
    assert ("for good" in refused.output) == (starts_after is None)
    assert len(host.key_log.entries) == entries
    host.does(*ending, "--leave-gap")
    assert len(host.key_log.entries) == entries + 1


@pytest.mark.parametrize("text", ["tomorrow", "2031-05-16", "2031-05-16T12:00:00"])
def test_a_moment_needs_its_zone(host: Host, text: str) -> None:
    result = host.run("new-epoch", "--valid-from", text)
    assert result.exit_code == 2
    assert "--valid-from" in result.output


def test_an_end_is_set_once(host: Host) -> None:
    host.does(
        "end-epoch", "--epoch", "1", "--valid-to", "2098-01-01T00:00:00Z", "--yes", "--leave-gap"
    )
    result = host.run(
        "end-epoch", "--epoch", "1", "--valid-to", "2099-01-01T00:00:00Z", "--yes", "--leave-gap"
    )
    assert "epoch 1 has its end already" in result.output


def test_the_log_is_signed_by_its_own_key_only(host: Host, tmp_path: Path) -> None:
    other = Host.made(tmp_path / "other", host.authority)
    result = host.run("new-epoch", "--log-key", other.folder / "log.key")
    assert result.exit_code == 1
    assert "not the key that key_log_vkey verifies" in result.output
    host.edit('log_key = "log.key"', "")
    missing = host.run("new-epoch").output
    assert "log_key: missing" in missing
    assert "--log-key" in missing
    host.does("new-epoch", "--log-key", host.folder / "log.key")


def test_a_longer_log_is_taken_and_another_is_not(host: Host, tmp_path: Path) -> None:
    """A holder without the signing key gets the log as a file."""
    copy = tmp_path / "longer.log"
    short = (host.folder / "keys.log").read_bytes()
    host.does(
        "end-epoch", "--epoch", "1", "--valid-to", "2099-01-01T00:00:00Z", "--yes", "--leave-gap"
    )
    copy.write_bytes((host.folder / "keys.log").read_bytes())
    (host.folder / "keys.log").write_bytes(short)

    assert "2 entries" in host.does("extend-log", copy)
    copy.write_bytes(short)
    assert "do not extend" in host.run("extend-log", copy).output
    other = Host.made(tmp_path / "other", host.authority)
    assert host.run("extend-log", other.folder / "keys.log").exit_code == 1
    assert host.key_log.keys[0].valid_to == round(
        datetime(2099, 1, 1, tzinfo=UTC).timestamp() * 1_000_000
    )


@pytest.fixture(autouse=True)
def _no_leftovers(host: Host) -> Iterator[None]:
    """No command leaves a half-written file."""
    yield
    assert not list(host.folder.glob("*.new"))
