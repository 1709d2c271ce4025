"""What an entry of the ledger may look like, byte for byte.

A leaf is one JSON object in its RFC 8785 (JCS) form; the stored bytes are what is hashed. One
object has one encoding, so nobody can present two different texts of "the same" entry. The rules
go beyond RFC 8785 where that keeps implementations in step:

- no floats, and integers |n| < 2^53: number formatting is where JSON libraries disagree;
- all text in Unicode NFC, so that what looks equal is equal;
- member names in ASCII, so that byte order and RFC 8785's UTF-16 order are the same;
- at most 65,535 bytes, what a tlog-tiles entry bundle can carry.

Within these rules Python's own encoder with sorted keys writes exactly RFC 8785. `encode` and
`check` rely on that for speed, and a property test holds it against the `rfc8785` library.
`parse` consults the library as well.

Every leaf has `v` (1), `type` (lower-case words joined by dots) and `time` (RFC 3339 UTC with
microseconds). A leaf about a batch has `items` (how many) and `items_root` (the RFC 6962 root
over them, hexadecimal); each item is a JSON object under the same rules without those fields.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import NoReturn, TypeAlias, cast

from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import leaf_hash

__all__ = [
    "MAX_LEAF_BYTES",
    "VERSION",
    "Fault",
    "Json",
    "LeafError",
    "batch_of",
    "check",
    "encode",
    "encode_item",
    "leaf_hash",
    "parse",
    "parse_item",
]

VERSION = 1
MAX_LEAF_BYTES = 65_535
MAX_DEPTH = 16
_INTEGER_BOUND = 2**53

Json: TypeAlias = bool | int | str | list["Json"] | dict[str, "Json"] | None


class Fault(Enum):
    """Why a leaf was refused."""

    NOT_UTF8 = "not UTF-8"
    NOT_JSON = "not JSON"
    NOT_AN_OBJECT = "not a JSON object"
    NOT_CANONICAL = "not in RFC 8785 form"
    DUPLICATE_NAME = "duplicate member name"
    NAME_NOT_ASCII = "member name not ASCII text"
    FLOAT = "a number that is not an integer"
    INTEGER_RANGE = "integer beyond 2^53"
    NOT_NFC = "text not in Unicode NFC"
    UNSUPPORTED = "a value JSON has no form for"
    TOO_LONG = "too long"
    TOO_DEEP = "nested too deeply"
    VERSION = "unknown version"
    TYPE = "malformed type"
    TIME = "malformed time"
    ITEMS = "malformed items"


class LeafError(LogError):
    """A leaf or item breaks a rule. `fault` says which, `where` is a path such as `$.scope[2]`."""

    def __init__(self, fault: Fault, where: str, detail: str = "") -> None:
        super().__init__(f"{where}: {fault.value}" + (f": {detail}" if detail else ""))
        self.fault = fault
        self.where = where


def encode(fields: Mapping[str, object]) -> bytes:
    """The canonical bytes of a leaf. Raises LeafError."""
    data = encode_item(fields)
    _check_header(fields)
    return data


def encode_item(fields: Mapping[str, object]) -> bytes:
    """The canonical bytes of one item of a batch: `encode` without the fields of a leaf."""
    if not isinstance(fields, Mapping):
        raise LeafError(Fault.NOT_AN_OBJECT, "$", type(fields).__name__)
    members = fields if isinstance(fields, dict) else dict(fields)
    if not _is_plain(members):
        _check_object(members, "$", 1)
    data = _canonical(members)
    if len(data) > MAX_LEAF_BYTES:
        raise LeafError(Fault.TOO_LONG, "$", f"{len(data)} bytes, at most {MAX_LEAF_BYTES}")
    return data


def parse(data: bytes) -> dict[str, Json]:
    """The fields of a leaf, its form checked twice: by this module and by the `rfc8785` library.

    Raises LeafError.
    """
    # Imported here so that a verifier of exports, which uses `check`, can do without the library.
    import rfc8785

    fields = check(data)
    if rfc8785.dumps(fields) != data:
        raise LeafError(Fault.NOT_CANONICAL, "$", "the rfc8785 library writes it differently")
    return fields


def check(data: bytes) -> dict[str, Json]:
    """The fields of a leaf, without the second opinion that `parse` takes. Raises LeafError."""
    fields = parse_item(data)
    _check_header(fields)
    return fields


def parse_item(data: bytes) -> dict[str, Json]:
    """The fields of one item of a batch. Raises LeafError unless data is its canonical form."""
    if len(data) > MAX_LEAF_BYTES:
        raise LeafError(Fault.TOO_LONG, "$", f"{len(data)} bytes, at most {MAX_LEAF_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LeafError(Fault.NOT_UTF8, "$", f"byte {error.start}") from None
    fields = _decode(text)
    if not isinstance(fields, dict):
        raise LeafError(Fault.NOT_AN_OBJECT, "$", type(fields).__name__)
    if not _is_plain(fields):
        _check_object(fields, "$", 1)
    canonical = _canonical(fields)
    if canonical != data:
        _refuse_form(text, data, canonical)
    # _check_object has walked the whole value: it holds nothing that Json does not name.
    return cast(dict[str, Json], fields)


def batch_of(fields: Mapping[str, Json]) -> tuple[int, bytes] | None:
    """(number of items, their root) of a batch entry's checked fields; None for other entries."""
    root, count = fields.get("items_root"), fields.get("items")
    if not isinstance(root, str) or not isinstance(count, int):
        return None
    return count, bytes.fromhex(root)


def _is_plain(members: dict[str, object]) -> bool:
    """Whether a look at the types shows an object to be in form, as it does for most.

    ASCII names; ASCII texts, small integers and flat lists of texts. `_check_object` decides about
    anything else, and says what is wrong where.
    """
    for name, value in members.items():
        kind = type(value)
        if type(name) is not str or not name.isascii():
            return False
        if kind is str:
            if not cast(str, value).isascii():
                return False
        elif kind is int:
            if not -_INTEGER_BOUND < cast(int, value) < _INTEGER_BOUND:
                return False
        elif kind is list:
            for element in cast(list[object], value):
                if type(element) is not str or not element.isascii():
                    return False
        elif value is not None and kind is not bool:
            return False
    return True


def _check_object(members: dict[str, object], where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LeafError(Fault.TOO_DEEP, where, f"at most {MAX_DEPTH} levels")
    for name, value in members.items():
        if not isinstance(name, str) or not name.isascii():
            raise LeafError(Fault.NAME_NOT_ASCII, where, repr(name))
        # Most members are ASCII text: no path is built and no call made for them.
        if type(value) is not str or not value.isascii():
            _check_value(value, f"{where}.{name}", depth)


def _check_value(value: object, where: str, depth: int) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if not unicodedata.is_normalized("NFC", value):
            raise LeafError(Fault.NOT_NFC, where)
    elif isinstance(value, int):
        if not -_INTEGER_BOUND < value < _INTEGER_BOUND:
            raise LeafError(Fault.INTEGER_RANGE, where)
    elif isinstance(value, dict):
        _check_object(value, where, depth + 1)
    elif isinstance(value, list | tuple):
        if depth >= MAX_DEPTH:
            raise LeafError(Fault.TOO_DEEP, where, f"at most {MAX_DEPTH} levels")
        for position, element in enumerate(value):
            # Rows are told of by thousands of small integers: the same holds for them.
            if type(element) is not int or not -_INTEGER_BOUND < element < _INTEGER_BOUND:
                _check_value(element, f"{where}[{position}]", depth + 1)
    elif isinstance(value, float):
        raise LeafError(Fault.FLOAT, where)
    else:
        raise LeafError(Fault.UNSUPPORTED, where, type(value).__name__)


_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_ROOT = re.compile(r"[0-9a-f]{64}")


def _check_header(fields: Mapping[str, object]) -> None:
    version = fields.get("v")
    if type(version) is not int or version != VERSION:
        raise LeafError(Fault.VERSION, "$.v", repr(version))
    kind = fields.get("type")
    if not isinstance(kind, str) or not _is_type(kind):
        raise LeafError(Fault.TYPE, "$.type", repr(kind))
    time = fields.get("time")
    if not isinstance(time, str) or not _TIME.fullmatch(time) or not _is_date(time):
        raise LeafError(Fault.TIME, "$.time", repr(time))
    if "items_root" in fields:
        _check_items(fields["items_root"], fields.get("items"))


@lru_cache(maxsize=256)
def _is_type(kind: str) -> bool:
    return len(kind) <= 64 and _TYPE.fullmatch(kind) is not None


def _check_items(root: object, count: object) -> None:
    if not isinstance(root, str) or not _ROOT.fullmatch(root):
        raise LeafError(Fault.ITEMS, "$.items_root", "64 lower-case hexadecimal digits wanted")
    if type(count) is not int or count < 0:
        raise LeafError(Fault.ITEMS, "$.items", "a count is wanted beside items_root")


def _is_date(time: str) -> bool:
    try:
        datetime.fromisoformat(time)
    except ValueError:
        return False
    return True


def _refuse_float(literal: str) -> NoReturn:
    raise LeafError(Fault.FLOAT, "$", literal[:40])


_encoder = json.JSONEncoder(
    ensure_ascii=False,
    # _check_object bounds the depth first, so a cycle cannot reach the encoder.
    check_circular=False,
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
)
_decoder = json.JSONDecoder(parse_float=_refuse_float, parse_constant=_refuse_float)


def _canonical(members: dict[str, object]) -> bytes:
    try:
        return _encoder.encode(members).encode("utf-8")
    except UnicodeEncodeError:
        raise LeafError(Fault.NOT_UTF8, "$", "a lone surrogate") from None


def _decode(text: str) -> object:
    try:
        return cast(object, _decoder.decode(text))
    except LeafError:
        raise
    except json.JSONDecodeError as error:
        raise LeafError(Fault.NOT_JSON, "$", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise LeafError(Fault.TOO_DEEP, "$", f"at most {MAX_DEPTH} levels") from None
    except ValueError:
        # Python refuses to convert thousands of digits.
        raise LeafError(Fault.INTEGER_RANGE, "$") from None


def _refuse_form(text: str, data: bytes, canonical: bytes) -> NoReturn:
    """Say what keeps data from being canonical."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise LeafError(Fault.DUPLICATE_NAME, "$", repr(name))
        return dict(pairs)

    json.loads(text, object_pairs_hook=unique)
    differing = (at for at, (a, b) in enumerate(zip(data, canonical, strict=False)) if a != b)
    first = next(differing, min(len(data), len(canonical)))
    raise LeafError(Fault.NOT_CANONICAL, "$", f"differs at byte {first}")
