"""Files of a bulk job that cannot be used: one line that names the file and what is wrong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concordat.bulk import CsvFile, JournalError, MappingError, SourceError, load_mapping
from concordat.bulk._database import connect
from concordat.bulk._names import NamedRows
from concordat.bulk._paths import checked_path
from concordat.bulk._pseudonyms import key_in
from concordat.bulk.mapping import parse_mapping
from concordat.bulk.sources import open_source
from concordat.errors import ConcordatError, InvalidInput, ProfileError

NO_PATHS: tuple[Any, ...] = (None, 7, b"file.csv", [], "", "a\0b.csv", "a\ud800.csv")


@pytest.mark.parametrize("value", NO_PATHS)
@pytest.mark.parametrize(
    "taking",
    [
        lambda value: checked_path(value, "journal"),
        load_mapping,
        open_source,
        CsvFile,
    ],
    ids=["path", "mapping", "source", "csv"],
)
def test_what_can_be_no_path_is_said_in_a_line(value: Any, taking: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidInput, match=r"(journal|mapping|source): .*(wanted|no file)") as info:
        taking(value)
    assert "\n" not in str(info.value)
    assert "\0" not in str(info.value)


@pytest.mark.parametrize("text", ["", "\n# nothing yet\n"])
def test_an_empty_mapping_is_said_to_be_empty(tmp_path: Path, text: str) -> None:
    file = tmp_path / "map.toml"
    file.write_text(text)
    with pytest.raises(MappingError, match=r"map\.toml: is empty"):
        load_mapping(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nsubject:\n  column: id\n", "is no TOML"),
        ("null\n", "is no TOML"),
        ("version = " + "9" * 5_000, "a number too long"),
        ("version = " + "[" * 5_000, "brackets too deep"),
    ],
)
def test_a_mapping_that_is_none_is_an_error_of_its_own_kind(text: str, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        parse_mapping(text)


@pytest.mark.parametrize("value", ['""', "1", "[]", "{}", '"a\\u0000b"'])
def test_a_key_file_that_no_file_can_be_is_an_error_of_the_mapping(value: str) -> None:
    text = 'version = 1\n[subject]\nkind = "phone/1"\ncolumn = "a"\n'
    with pytest.raises(MappingError, match=r"^pseudonyms\.key_file: "):
        parse_mapping(f"{text}[pseudonyms]\nkey_file = {value}\n")


@pytest.mark.parametrize("place", [".", "file/a.journal"])
def test_a_journal_in_an_impossible_place_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=f"^{tmp_path}.*(folder|exists|directory)"):
        connect(tmp_path / place, wait_seconds=0)


def folder(file: Path) -> None:
    file.mkdir()


def looped(file: Path) -> None:
    file.symlink_to(file.name)


def unreadable(file: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    file.touch(mode=0)


@pytest.mark.parametrize("spoil", [folder, looped, unreadable])
@pytest.mark.parametrize(
    ("name", "kind", "using"),
    [
        ("file.csv", SourceError, lambda file: list(open_source(file).rows([]))),
        ("map.toml", MappingError, load_mapping),
        ("a.key", ProfileError, key_in),
        ("a.journal", JournalError, lambda file: connect(file, wait_seconds=0)),
        ("rows.csv", SourceError, NamedRows.read),
    ],
    ids=["source", "mapping", "key", "journal", "rows"],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path,
    spoil: Callable[[Path], None],
    name: str,
    kind: type[ConcordatError],
    using: Callable[[Path], object],
) -> None:
    spoil(tmp_path / name)
    with pytest.raises(kind) as info:
        using(tmp_path / name)
    said = str(info.value)
    assert said.startswith(str(tmp_path / name))
    assert "\n" not in said
    assert "None" not in said


def test_a_parquet_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "file.parquet"
    file.write_bytes(b"PAR1 it is not")
    with pytest.raises(SourceError, match=r"file\.parquet: cannot be read"):
        open_source(file)
