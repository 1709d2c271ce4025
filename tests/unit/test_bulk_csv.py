"""CSV files of any content: every row comes out as it is, or as one refusal; memory is bounded."""

import csv
import io
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat import InvalidInput
from concordat.bulk import CsvFile, SourceError
from concordat.bulk._items import Item, SourceRow, UnreadableRow

FIELDS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12)


def write(folder: Path, content: bytes) -> Path:
    file = folder / "file.csv"
    file.write_bytes(content)
    return file


def read(file: Path, columns: list[str], encoding: str = "utf-8") -> list[Item]:
    return list(CsvFile(file, encoding=encoding).rows(columns))


def outcome(item: Item) -> tuple[int, object]:
    """A row's number and its values, or why it is none."""
    if isinstance(item, SourceRow):
        return item.number, tuple(item.values.values())
    return item.number, item.reason


@given(rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=8), data=st.data())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_what_a_writer_wrote_is_read_from_any_row_on(
    tmp_path_factory: pytest.TempPathFactory,
    encoding: str,
    rows: list[tuple[str, str, str]],
    data: st.DataObject,
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(("a", "b", "c"))
    writer.writerows(rows)
    file = write(tmp_path_factory.mktemp("csv"), out.getvalue().encode(encoding))
    source = CsvFile(file, encoding=encoding)

    items = list(source.rows(["c", "a"]))

    assert [list(item.values.values()) for item in items if isinstance(item, SourceRow)] == [
        [c, a] for a, _, c in rows
    ]
    assert len(items) == len(rows)
    if items:
        at = data.draw(st.integers(0, len(items) - 1))
        assert list(source.rows(["c", "a"], items[at].after)) == items[at + 1 :]
        assert items[-1].after.offset == source.size


@given(content=st.binary(max_size=300))
def test_no_content_is_more_than_refused_rows(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = write(tmp_path_factory.mktemp("csv"), b"a,b\n" + content)
    for encoding in ("utf-8", "gb18030"):
        items = read(file, ["a"], encoding)
        numbers = [item.number for item in items]
        assert numbers == sorted(set(numbers))
        for item in items:
            assert isinstance(item, SourceRow) or item.reason in {"MALFORMED", "TOO_LONG"}


@pytest.mark.parametrize(
    ("bad", "description"),
    [
        (b"1,\xff\xfe", "byte 3 of the row is not UTF-8"),
        ("1,张三".encode("gb18030"), "byte 3 of the row is not UTF-8"),
        (b"1,a\0b", "a NUL byte"),
        (b"1", "1 columns, 2 wanted"),
        (b"1,2,3", "3 columns, 2 wanted"),
        (b'1,"open', "a quote that is not closed"),
        (b'1,"a"b', "quotes or line ends that CSV does not allow there"),
        (b"1,a\rb", "quotes or line ends that CSV does not allow there"),
        (b"1," + b"x" * 40_000, "a field of more than 32768 characters"),
        (b"1," + b"x" * 200_000, "a field of more than 32768 characters"),
        (b"1," + b"x" * 300_000, "a line of more than 262144 bytes"),
    ],
)
def test_a_bad_line_is_one_refused_row(tmp_path: Path, bad: bytes, description: str) -> None:
    file = write(tmp_path, b"a,b\n8,before\n" + bad + b"\n" + b"9,after\n" * 3)
    before, refused, *after = read(file, ["a", "b"])
    assert outcome(before) == (2, ("8", "before"))
    assert isinstance(refused, UnreadableRow)
    assert (refused.number, refused.description) == (3, description)
    assert [outcome(item) for item in after] == [(n, ("9", "after")) for n in (4, 5, 6)]


def test_a_stray_quote_costs_its_own_row_however_long_the_file(tmp_path: Path) -> None:
    lines = [b'0,"never closed\n', *(b"%d,fine\n" % n for n in range(30_000))]
    items = read(write(tmp_path, b"a,b\n" + b"".join(lines)), ["a"])
    assert outcome(items[0]) == (2, "MALFORMED")
    assert len(items) == 30_001
    assert all(isinstance(item, SourceRow) for item in items[1:])


def test_a_quoted_field_may_have_line_ends(tmp_path: Path) -> None:
    file = write(tmp_path, b'a,b\n"one\ntwo",2\n\n3,4')
    assert [outcome(item) for item in read(file, ["a"])] == [(2, ("one\ntwo",)), (5, ("3",))]


def test_a_byte_order_mark_is_no_part_of_the_heading(tmp_path: Path) -> None:
    file = write(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")
    assert outcome(read(file, ["a"])[0]) == (2, ("1",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a,a\n1,2\n", "more than one column 'a'"),
        (b"b,c\n1,2\n", "no column 'a'"),
        (b"\xff,a\n", "the heading"),
    ],
)
def test_a_file_without_the_columns_is_not_begun(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read(write(tmp_path, content), ["a"])


def test_a_file_without_a_heading_is_given_one(tmp_path: Path) -> None:
    source = CsvFile(write(tmp_path, b"1|2\n"), delimiter="|", columns=["a", "b"])
    assert [outcome(item) for item in source.rows(["b"])] == [(1, ("2",))]


def test_a_quote_can_be_a_character_like_any_other(tmp_path: Path) -> None:
    source = CsvFile(write(tmp_path, b'a;b\n5" pipe;"x\n1;2\n'), delimiter=";", quoted=False)
    assert [outcome(item) for item in source.rows(["a", "b"])] == [
        (2, ('5" pipe', '"x')),
        (3, ("1", "2")),
    ]


def test_a_file_of_two_encodings_loses_the_rows_of_one_alone(tmp_path: Path) -> None:
    lines = ["1,正常\n".encode(code) for code in ("utf-8", "gb18030", "utf-8", "gb18030")]
    items = read(write(tmp_path, b"a,b\n" + b"".join(lines)), ["b"])
    assert [outcome(item) for item in items] == [
        *((2, ("正常",)), (3, "MALFORMED")),
        *((4, ("正常",)), (5, "MALFORMED")),
    ]


def test_wrong_settings_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="encoding"):
        CsvFile(tmp_path / "x.csv", encoding="utf-16")
    with pytest.raises(InvalidInput, match="delimiter"):
        CsvFile(tmp_path / "x.csv", delimiter='"')
    with pytest.raises(SourceError, match=r"x\.csv"):
        CsvFile(tmp_path / "x.csv")


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [b"1," + b"y" * 200 + b"\n", b'1,"' + b"y" * 200 + b"\n", b'"', b"x"],
    ids=["rows", "stray", "quotes", "endless"],
)
def test_memory_is_bounded_whatever_the_file(tmp_path: Path, line: bytes) -> None:
    def peak(size: int) -> int:
        file = write(tmp_path, b"a,b\n" + line * (size // len(line)))
        tracemalloc.start()
        try:
            for _ in CsvFile(file).rows(["a"]):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(400_000)
    assert peak(12_000_000) < 2 * peak(400_000)


def test_what_cannot_be_read_twice_is_no_source(tmp_path: Path) -> None:
    pipe, folder, endless = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    os.mkfifo(pipe)
    folder.mkdir()
    endless.symlink_to("/dev/zero")
    for path in (pipe, folder, endless):
        with pytest.raises(SourceError, match="no regular file"):
            CsvFile(path)
