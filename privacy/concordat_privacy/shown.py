"""Text of others, made safe to show: on a terminal, and in a table that a spreadsheet opens.

What a ledger, a gateway or a file's name says was written by somebody else, who may have meant it
for the reader's terminal (CWE-150) or spreadsheet (CWE-1236).
"""

from typing import Final

# With the full-width forms, which a spreadsheet may take for them.
_FORMULA: Final = ("=", "+", "-", "@", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def printable(text: str) -> str:
    """Without what a terminal would obey: control and formatting characters become escapes.

    So do line breaks: what is printed as one line stays one.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def csv_cell(cell: str | int | None) -> str:
    """A cell of a CSV: never a formula and without control characters. Numbers stay numbers."""
    if cell is None:
        return ""
    if isinstance(cell, int):
        return str(cell)
    # What is cut off at its beginning by a spreadsheet must not bring a formula forward.
    text = printable(cell)
    formula = cell.lstrip().startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return "'" + text if formula or cell[:1] in ("\t", "\r", "\n") else text
