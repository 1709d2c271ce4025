"""Documents as text of at most 100 columns, as CSV, and as JSON.

What an export holds was written by others: text and CSV have no control characters of theirs, and
no cell of a CSV is a formula to a spreadsheet.
"""

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from concordat_privacy.audit.documents import Document
from concordat_privacy.audit.tables import Cell, Column, Form, Table
from concordat_privacy.shown import csv_cell, printable

WIDTH: Final = 100
ROWS_SHOWN: Final = 200
"""Of a table that is not the main one; CSV and JSON have all."""
_ID_SHOWN: Final = 12
_WIDEST: Final = 24


def as_text(document: Document) -> str:
    """For people."""
    report = document.report
    lines = [
        *_wrapped(f"Ledger {report.origin}, {report.size} entries, root {report.root}.", ""),
        "",
        *_wrapped(document.verdict, ""),
        "",
        "What was checked:",
    ]
    for text in document.checked:
        lines += _wrapped(text, "  - ")
    for warning in report.warnings:
        lines += _wrapped(f"Warning: {warning}", "  ")
    lines.append("What no export can show:")
    for text in document.cannot_show:
        lines += _wrapped(text, "  - ")
    for number, table in enumerate(document.tables):
        if table.rows:
            lines += ["", f"{table.title} ({len(table.rows)})"]
            lines += _laid_out(table, None if number == 0 else ROWS_SHOWN)
    return "\n".join(lines)


def as_csv(document: Document, name: str = "") -> str:
    """One table, the main one unless named, with a heading. Raises KeyError for no such table."""
    tables = {table.name: table for table in document.tables}
    table = tables[name or document.tables[0].name]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    for row in table.rows:
        writer.writerow([csv_cell(cell) for cell in row])
    return out.getvalue()


def as_json(document: Document) -> str:
    """All of it: see docs/audit.md for its names."""
    report = document.report
    content = {
        "version": 1,
        "audit": document.audit,
        "ledger": {"origin": report.origin, "size": report.size, "root": report.root},
        "as_of": document.as_of,
        "ok": document.ok,
        "verdict": document.verdict,
        "findings": document.findings,
        "facts": document.facts,
        "checked": list(document.checked),
        "warnings": list(report.warnings),
        "cannot_show": list(document.cannot_show),
        "tables": {
            table.name: [
                {column.name: _plain(cell) for column, cell in zip(table.columns, row, strict=True)}
                for row in table.rows
            ]
            for table in document.tables
        },
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # Control and formatting characters that JSON lets stand are escaped as JSON escapes others.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _plain(cell: Cell) -> Cell:
    return None if cell == "" else cell


def _laid_out(table: Table, limit: int | None) -> Iterator[str]:
    rows = table.rows if limit is None else table.rows[:limit]
    across = [
        (at, column)
        for at, column in enumerate(table.columns)
        if column.form not in (Form.BELOW, Form.DATA)
    ]
    below = [at for at, column in enumerate(table.columns) if column.form is Form.BELOW]
    shown = [[_shown(column, row[at]) for at, column in across] for row in rows]
    heading = [column.name.replace("_", " ") for _, column in across]
    widths = _widths([heading, *shown])
    yield _line(heading, widths, across)
    yield _line(["-" * width for width in widths], widths, across)
    for row, cells in zip(rows, shown, strict=True):
        yield _line(cells, widths, across)
        for at in below:
            if row[at]:
                yield from _wrapped(printable(str(row[at])), "    ")
    if len(rows) < len(table.rows):
        left = len(table.rows) - len(rows)
        yield f"and {left} more: --format csv --table {table.name}"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widths[widths.index(max(widths))] -= 1
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], across: Sequence[tuple[int, Column]]) -> str:
    parts = []
    for cell, width, (_, column) in zip(cells, widths, across, strict=True):
        text = cell if len(cell) <= width else cell[: width - 1] + "…"
        parts.append(text.rjust(width) if column.form is Form.NUMBER else text.ljust(width))
    return "  ".join(parts).rstrip()


def _shown(column: Column, cell: Cell) -> str:
    if cell is None or cell == "":
        return "" if column.form is Form.TEXT or column.form is Form.NUMBER else "-"
    text = printable(str(cell))
    if column.form is Form.ID and len(text) > _ID_SHOWN:
        return text[:_ID_SHOWN] + "…"
    if column.form is Form.TIME:
        return text[:16].replace("T", " ") + "Z"
    if column.form is Form.TEXT and len(text) > 2 * _WIDEST:
        return text[: 2 * _WIDEST - 1] + "…"
    return text


def _wrapped(text: str, indent: str) -> list[str]:
    rest = " " * len(indent)
    return textwrap.wrap(printable(text), WIDTH, initial_indent=indent, subsequent_indent=rest)
