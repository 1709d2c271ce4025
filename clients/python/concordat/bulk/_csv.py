"""CSV (RFC 4180) whose every bad line is one refused row, in bounded memory.

Python's reader takes a quote that is never closed as the beginning of a field that ends with the
file. Records are therefore cut here, by counting quotes, and parsed one by one; a cut that does
not parse is given back but for its first line, so one stray quote costs one row.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

MAX_RECORD_BYTES: Final = 256 * 1024
MAX_FIELD_CHARACTERS: Final = 32 * 1024
ENCODINGS: Final = ("utf-8", "utf-8-sig", "gb18030")
"""In all of them a line end, a quote and an ASCII separator stand for themselves alone."""

_READ_BYTES: Final = 64 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file writes its records."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quoted: bool = True
    """Whether '"' encloses fields; otherwise it is a character like any other."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record cannot be read. Never repeats what it holds."""

    reason: str
    description: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record, or the line that is none."""

    line: int
    """Number of its first line, from 1."""
    end: int
    """Offset of the first byte after it."""
    next_line: int
    """Number of the line that begins there."""
    fields: list[str] | Fault


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    end: int
    content: bytes
    is_cut: bool
    """It is longer than a record may be; `content` is its beginning."""


def records(file: BinaryIO, dialect: Dialect, line: int = 1) -> Iterator[Record]:
    """The records from where the file stands, which is the beginning of line `line`.

    Empty lines are passed over. Memory is bounded by MAX_RECORD_BYTES whatever the file holds.
    """
    lines = _lines(file, line)
    given_back: deque[_Line] = deque()

    def following() -> _Line | None:
        return given_back.popleft() if given_back else next(lines, None)

    while (first := following()) is not None:
        if not first.is_cut and not first.content.strip(b"\r\n"):
            continue
        group = [first]
        size = len(first.content)
        is_open = dialect.quoted and first.content.count(b'"') % 2 == 1 and not first.is_cut
        while is_open and (more := following()) is not None:
            group.append(more)
            size += len(more.content)
            if more.is_cut or size > MAX_RECORD_BYTES:
                break
            is_open = more.content.count(b'"') % 2 == 0
        fields = _fields(group, dialect, is_open)
        if isinstance(fields, Fault) and len(group) > 1:
            given_back.extendleft(reversed(group[1:]))
            group = group[:1]
        yield Record(first.number, group[-1].end, group[-1].number + 1, fields)


def _lines(file: BinaryIO, number: int) -> Iterator[_Line]:
    end = file.tell()
    while content := file.readline(MAX_RECORD_BYTES + 1):
        start, end = end, end + len(content)
        is_cut = not content.endswith(b"\n") and len(content) > MAX_RECORD_BYTES
        rest = content
        while is_cut and rest and not rest.endswith(b"\n"):
            rest = file.readline(_READ_BYTES)
            end += len(rest)
        if start == 0 and content.startswith(_BYTE_ORDER_MARK):
            content = content[len(_BYTE_ORDER_MARK) :]
        yield _Line(number, end, content, is_cut)
        number += 1


def _fields(group: list[_Line], dialect: Dialect, is_open: bool) -> list[str] | Fault:
    if any(line.is_cut for line in group):
        return Fault("TOO_LONG", f"a line of more than {MAX_RECORD_BYTES} bytes")
    if is_open:
        return Fault("MALFORMED", "a quote that is not closed")
    data = b"".join(line.content for line in group)
    if b"\0" in data:
        return Fault("MALFORMED", "a NUL byte")
    try:
        text = data.decode(dialect.encoding)
    except UnicodeDecodeError as error:
        return Fault(
            "MALFORMED", f"byte {error.start + 1} of the row is not {dialect.encoding.upper()}"
        )
    try:
        [fields] = csv.reader(
            # One item, however many line ends are within quotes.
            [text],
            delimiter=dialect.delimiter,
            quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
            strict=True,
        )
    except (csv.Error, ValueError) as error:
        if "field limit" in str(error):
            return _long_field()
        return Fault("MALFORMED", "quotes or line ends that CSV does not allow there")
    if max(map(len, fields), default=0) > MAX_FIELD_CHARACTERS:
        return _long_field()
    return fields


def _long_field() -> Fault:
    return Fault("TOO_LONG", f"a field of more than {MAX_FIELD_CHARACTERS} characters")
