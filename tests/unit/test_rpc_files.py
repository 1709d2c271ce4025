"""Files that are replaced whole or not at all."""

import os
from pathlib import Path

import pytest

from concordat_rpc.files import replace_file


def test_a_file_is_made_and_replaced_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "token.keys"
    before = os.umask(0o077)
    try:
        replace_file(file, b"first", 0o644)
    finally:
        os.umask(before)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"first", 0o644)
    replace_file(file, b"second", 0o600)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"second", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_who_has_the_old_file_open_reads_on_in_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.log"
    file.write_bytes(b"old")
    with file.open("rb") as opened:
        replace_file(file, b"new", 0o644)
        assert opened.read() == b"old"


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "token.keys"
    (tmp_path / "token.keys.new").write_bytes(b"a long unfinished content")
    replace_file(file, b"short", 0o600)
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"short", [file])


def test_where_it_cannot_be_written_the_old_one_stays(tmp_path: Path) -> None:
    file = tmp_path / "keys.log"
    file.write_bytes(b"old")
    with pytest.raises(OSError, match="elsewhere"):
        replace_file(file, b"new", 0o644, tmp_path / "elsewhere" / "unfinished")
    assert file.read_bytes() == b"old"
