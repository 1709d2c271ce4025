"""Parquet files and tables as sources: rows from anywhere, bad values one row each."""

import datetime
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from concordat import InvalidInput
from concordat.bulk import SourceError, open_source
from concordat.bulk._items import Item, SourceRow, UnreadableRow

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def numbers(items: list[Item]) -> list[tuple[int, object]]:
    return [
        (item.number, item.values["n"] if isinstance(item, SourceRow) else item.reason)
        for item in items
    ]


@pytest.mark.parametrize("start", [0, 1, 2_999, 3_000, 6_500, 7_000])
@pytest.mark.parametrize("kind", ["parquet", "table", "chunked"])
def test_rows_are_read_from_any_position(tmp_path: Path, kind: str, start: int) -> None:
    table = pyarrow.table({"n": range(7_000), "other": ["x"] * 7_000})
    source: object = table
    if kind == "parquet":
        source = tmp_path / "file.parquet"
        parquet.write_table(table, source, row_group_size=1_500)
    elif kind == "chunked":
        source = pyarrow.concat_tables([table.slice(0, 3_000), table.slice(3_000)])
    opened = open_source(source)
    assert (opened.size, opened.unit) == (7_000, "rows")
    everything = list(opened.rows(["n"]))
    assert numbers(everything) == [(n + 1, n) for n in range(7_000)]
    position = everything[start - 1].after if start else None
    assert list(opened.rows(["n"], position)) == everything[start:]


def test_a_value_that_is_none_of_its_type_is_its_rows_fault() -> None:
    texts = pyarrow.array([b"fine", b"\xff\xfe", None]).view(pyarrow.string())
    items = list(open_source(pyarrow.table({"n": texts})).rows(["n"]))
    assert numbers(items) == [(1, "fine"), (2, "MALFORMED"), (3, None)]
    assert isinstance(items[1], UnreadableRow)
    assert items[1].description == "column 'n' is not readable"


def test_values_arrive_in_the_types_that_mappings_read() -> None:
    moment = datetime.datetime(2026, 10, 31, 12, 0)
    table = pyarrow.table(
        {
            "date": pyarrow.array([moment.date()]),
            "time": pyarrow.array([moment], pyarrow.timestamp("ns")),
            "amount": pyarrow.array([Decimal("1.50")]),
            "code": pyarrow.array(["A"]).dictionary_encode(),
        }
    )
    [item] = open_source(table).rows(["date", "time", "amount", "code"])
    assert isinstance(item, SourceRow)
    assert item.values == {
        **{"date": moment.date(), "time": moment, "amount": Decimal("1.50"), "code": "A"}
    }


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_digest_is_of_the_values_and_not_of_their_library(library: str) -> None:
    held = {"n": [1, 2, 3], "t": ["a", None, "c"]}
    table = pyarrow.table(held)
    frame = (
        pytest.importorskip("pandas", "2.2").DataFrame(held)
        if library == "pandas"
        else pytest.importorskip("polars", "1.30").DataFrame(held)
    )
    wanted = open_source(table).digest(["n", "t"])
    assert open_source(frame).digest(["n", "t"]) == wanted
    changed = pyarrow.table(held | {"n": [1, 2, 4]})
    assert open_source(changed).digest(["n", "t"]) != wanted
    assert open_source(changed).digest(["t"]) == open_source(table).digest(["t"])


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file.parquet"
    file.write_bytes(b"PAR1 but no more")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(file)
    table = pyarrow.table({"n": [1]})
    with pytest.raises(SourceError, match="no column 'm'"):
        list(open_source(table).rows(["m"]))
    with pytest.raises(InvalidInput, match="once only"):
        open_source(table.to_reader())
    with pytest.raises(InvalidInput, match="__arrow_c_stream__"):
        open_source([1, 2])
    lazy = pytest.importorskip("polars", "1.30").DataFrame({"n": [1]}).lazy()
    with pytest.raises(InvalidInput, match="source"):
        open_source(lazy)


def test_a_damaged_file_is_an_error_and_not_fewer_rows(tmp_path: Path) -> None:
    file = tmp_path / "file.parquet"
    parquet.write_table(pyarrow.table({"n": range(50_000)}), file, row_group_size=10_000)
    data = bytearray(file.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 200] = bytes(200)
    file.write_bytes(data)
    with pytest.raises(SourceError):
        assert len(list(open_source(file).rows(["n"]))) == 50_000


def test_csv_and_the_package_need_no_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n")
    program = f"""
import sys
sys.modules["pyarrow"] = None
from concordat.bulk import SourceError, open_source
[row] = open_source({str(tmp_path / "a.csv")!r}).rows(["n"])
assert row.values == {{"n": "1"}}
class Frame:
    def __arrow_c_stream__(self): ...
try:
    open_source(Frame())
except SourceError as error:
    assert "concordat[files]" in str(error)
else:
    raise AssertionError
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
