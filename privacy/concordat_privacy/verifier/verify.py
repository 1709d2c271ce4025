#!/usr/bin/env python3
"""Check a bundle of evidence from a Concordat consent ledger.

    python verify.py BUNDLE --key LEDGER_VKEY [--witness VKEY ... --quorum N] [--json]

This one file needs Python 3.8 or later and the package `cryptography`; nothing of Concordat. It
opens no network connection and writes no file. BUNDLE is a folder or a .zip. The keys are what you
trust: get them from their owners, never from whoever gave you the bundle.

Ends with 0 if everything is proven, 1 if anything is not, 2 for wrong usage or a bundle that cannot
be read. The files of a bundle and the rules are described in docs/evidence.md and docs/ledger.md.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import collections
import datetime
import hashlib
import html
import json
import os
import re
import stat
import struct
import sys
import unicodedata
import zipfile
import zlib
from typing import Any, Dict, NamedTuple, NoReturn, Tuple

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    if __name__ != "__main__":
        raise
    # Ends with 2: that nothing was read is no verdict on the bundle.
    print("NOT READ. The Python package `cryptography` is missing: pip install cryptography",
          file=sys.stderr)  # fmt: skip
    sys.exit(2)

FORMAT = "concordat/evidence/v1"
MAX_FILES = 50_000
MAX_FILE_BYTES = 64 * 2**20
MAX_TOTAL_BYTES = 512 * 2**20
MAX_ARCHIVE_BYTES = 256 * 2**20
MAX_INDEX_BYTES = 16 * 2**20
"""Of manifest.json and openings.json, which are parsed into objects whole."""
MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
MAX_LEAF_BYTES = 65_535
MAX_DEPTH = 16
MAX_SHOWN = 100
NO_CONSENT = "00" * 16

Fields = Dict[str, Any]
Place = Tuple[int, int]
"""(entry, item); item -1 is the entry itself."""

LIMITS = (
    "It cannot show entries that were never written: what was done outside the ledger left none.",
    "It cannot show entries that whoever made the bundle left out of it, such as a later "
    "withdrawal; the whole export of the ledger can.",
    "It cannot show whether rows of a person, or under a consent, are in batches of the older "
    "form, without items: such a batch names no consent. An audit of the whole export counts them.",
    "It cannot show that others were not shown another history of the ledger, unless witnesses "
    "that you named have cosigned it.",
    "It cannot show that a person really agreed: only that the grant was recorded, and when.",
    "It cannot show that no key was stolen; who has the ledger's key can sign another history.",
    "It cannot show that clocks were right: times are those of the gateway and of the witnesses.",
    "It cannot show that a limit on how often data may be used was kept, beyond the uses in it.",
)


class Unreadable(Exception):
    """The bundle or the arguments cannot be used at all: exit code 2."""


class Fault(Exception):
    """Something is not proven; the text says what and where."""


# Reading a bundle. Everything is bounded: the bundle may come from an opponent.

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(?:/[a-z0-9][a-z0-9._-]{0,63}){0,3}")


def read_bundle(path: str) -> dict[str, bytes]:
    """The files of a bundle by their names, with forward slashes. Raises Unreadable."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return _read_folder(path)
        if stat.S_ISREG(mode):
            return _read_zip(path)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{plain(path)}: cannot be read: {plain(str(error))}") from None
    raise Unreadable(f"{plain(path)}: neither a folder nor a .zip file")


class _Files:
    """What was read so far, within the bounds."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.total = 0

    def check(self, name: str, size: int) -> None:
        if not _NAME.fullmatch(name) or ".." in name:
            raise Unreadable(f"{plain(name)}: not a name that a file of a bundle has")
        if name in self.found:
            raise Unreadable(f"{name}: there twice")
        if len(self.found) >= MAX_FILES:
            raise Unreadable(f"more than {MAX_FILES} files")
        if size > MAX_FILE_BYTES or self.total + size > MAX_TOTAL_BYTES:
            raise Unreadable(f"{name}: too large ({size} bytes), or the bundle is with it")

    def add(self, name: str, data: bytes) -> None:
        self.check(name, len(data))
        self.total += len(data)
        self.found[name] = data


def _read_folder(path: str) -> dict[str, bytes]:
    files = _Files()

    def refuse(error: OSError) -> NoReturn:
        raise error

    for folder, folders, names in os.walk(path, onerror=refuse, followlinks=False):
        inside = os.path.relpath(folder, path).replace(os.sep, "/")
        for name in sorted((*folders, *names)):
            file = os.path.join(folder, name)
            shown = name if inside == "." else f"{inside}/{name}"
            status = os.lstat(file)
            if stat.S_ISLNK(status.st_mode):
                raise Unreadable(f"{plain(shown)}: a symbolic link, which may lead outside")
            if stat.S_ISDIR(status.st_mode):
                if shown.count("/") > 2:
                    raise Unreadable(f"{plain(shown)}: folders in folders beyond those of a bundle")
                continue
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable(f"{plain(shown)}: not an ordinary file")
            files.check(shown, status.st_size)
            # It may grow or become a link after it was looked at.
            handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(handle, "rb") as stream:
                files.add(shown, stream.read(MAX_FILE_BYTES + 1))
    return files.found


def _check_archive(path: str) -> None:
    """Refuse what zipfile would read whole before anything else could be looked at."""
    size = os.path.getsize(path)
    if size > MAX_ARCHIVE_BYTES:
        raise Unreadable(f"the archive is longer than {MAX_ARCHIVE_BYTES} bytes")
    with open(path, "rb") as stream:
        stream.seek(max(0, size - 66_000))  # the end record and the longest comment
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    entries = int.from_bytes(tail[at + 10 : at + 12], "little") if at >= 0 else 0
    directory = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    # Four bytes of ones stand for a ZIP64 archive, which no bundle needs.
    if entries > MAX_FILES or directory > 512 * MAX_FILES:
        raise Unreadable(f"more than {MAX_FILES} files")


def _read_zip(path: str) -> dict[str, bytes]:
    files = _Files()
    try:
        _check_archive(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_FILES:
                raise Unreadable(f"more than {MAX_FILES} files")
            for member in members:
                name = member.orig_filename
                if name.endswith("/") and not member.file_size and _NAME.fullmatch(name[:-1]):
                    continue  # ordinary tools list folders too
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise Unreadable(f"{plain(name)}: a symbolic link, which may lead outside")
                if member.flag_bits & 1:
                    raise Unreadable(f"{plain(name)}: encrypted")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise Unreadable(f"{plain(name)}: compressed by an unusual method")
                files.check(name, member.file_size)
                with archive.open(member) as stream:
                    # The size that it states may be a lie: a byte more is noticed.
                    data = stream.read(member.file_size + 1)
                if len(data) != member.file_size:
                    raise Unreadable(f"{plain(name)}: not as long as the archive says")
                files.add(name, data)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        LookupError,
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        raise Unreadable(f"{plain(path)}: not a sound .zip file: {plain(str(error))}") from None
    return files.found


def plain(text: str) -> str:
    """Text that is safe to print: what could steer a terminal or turn text around is escaped."""
    shown = text[:300]
    safe = "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in shown
    )
    return safe + ("..." if len(text) > 300 else "")


# JSON in its one canonical form: RFC 8785, and the rules of docs/adr/0005-ledger.md. The reader
# accepts nothing else, so that there is no second text of "the same" entry.

_PLAIN_TEXT = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SHORT_ESCAPES = {
    '"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip
_LONG_ESCAPE = re.compile(r"u00[01][0-9a-f]")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, what: str) -> NoReturn:
        raise Fault(f"{what} at character {self.at}")

    def take(self, literal: str) -> bool:
        if self.text.startswith(literal, self.at):
            self.at += len(literal)
            return True
        return False

    def value(self, depth: int) -> Any:
        if self.take('"'):
            return self.string()
        if self.take("{"):
            return self.members(depth + 1)
        if self.take("["):
            return self.elements(depth + 1)
        for literal, value in (("true", True), ("false", False), ("null", None)):
            if self.take(literal):
                return value
        return self.number()

    def number(self) -> int:
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            self.fail("not in canonical JSON form (RFC 8785)")
        if match.group(1) or match.group(2):
            self.fail("a number that is not an integer")
        digits = match.group()
        if len(digits) > 17 or abs(int(digits)) >= 2**53:
            self.fail("an integer beyond 2^53")
        if str(int(digits)) != digits:
            self.fail("a number not in canonical form")
        self.at = match.end()
        return int(digits)

    def string(self) -> str:
        parts = []
        while True:
            match = _PLAIN_TEXT.match(self.text, self.at)
            if match is not None:
                parts.append(match.group())
                self.at = match.end()
            if self.take('"'):
                break
            if not self.take("\\"):
                self.fail("a text that does not end, or a control character")
            parts.append(self.escape())
        text = "".join(parts)
        if unicodedata.normalize("NFC", text) != text:
            self.fail("text that is not in Unicode NFC")
        return text

    def escape(self) -> str:
        character = _SHORT_ESCAPES.get(self.text[self.at : self.at + 1])
        if character is not None:
            self.at += 1
            return character
        match = _LONG_ESCAPE.match(self.text, self.at)
        if match is None:
            self.fail("an escape that canonical JSON does not use")
        self.at = match.end()
        character = chr(int(match.group()[1:], 16))
        if character in "\b\f\n\r\t":
            self.fail("an escape that canonical JSON does not use")
        return character

    def members(self, depth: int) -> Fields:
        self.bound(depth)
        found: Fields = {}
        last: str | None = None
        if self.take("}"):
            return found
        while True:
            if not self.take('"'):
                self.fail("not in canonical JSON form (RFC 8785)")
            name = self.string()
            if not all(ord(c) < 128 for c in name):
                self.fail("a member name that is not ASCII")
            if last is not None and name <= last:
                same = name in found
                self.fail("a duplicate member name" if same else "member names out of order")
            if not self.take(":"):
                self.fail("not in canonical JSON form (RFC 8785)")
            found[name] = self.value(depth)
            last = name
            if self.take("}"):
                return found
            if not self.take(","):
                self.fail("not in canonical JSON form (RFC 8785)")

    def elements(self, depth: int) -> list[Any]:
        self.bound(depth)
        found: list[Any] = []
        if self.take("]"):
            return found
        while True:
            found.append(self.value(depth))
            if self.take("]"):
                return found
            if not self.take(","):
                self.fail("not in canonical JSON form (RFC 8785)")

    def bound(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.fail(f"nested more than {MAX_DEPTH} deep")


def read_json(data: bytes, limit: int = MAX_LEAF_BYTES) -> Fields:
    """The members of one canonical JSON object. Raises Fault."""
    if len(data) > limit:
        raise Fault(f"{len(data)} bytes, at most {limit}")
    try:
        reader = _Reader(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Fault(f"not UTF-8 at byte {error.start}") from None
    if not reader.take("{"):
        raise Fault("not a JSON object")
    fields = reader.members(1)
    if reader.at != len(reader.text):
        reader.fail("something follows the object")
    return fields


_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_TIME = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def read_leaf(data: bytes) -> Fields:
    """The fields of an entry. Raises Fault."""
    fields = read_json(data)
    if type(fields.get("v")) is not int or fields["v"] != 1:
        raise Fault("its version (v) is not 1")
    kind = fields.get("type")
    if not isinstance(kind, str) or len(kind) > 64 or not _TYPE.fullmatch(kind):
        raise Fault("its type is malformed")
    if not is_time(fields.get("time")):
        raise Fault("its time is malformed")
    if "items_root" in fields:
        root, count = fields["items_root"], fields.get("items")
        if not is_hex(root, 32) or type(count) is not int or count < 0:
            raise Fault("its items_root is malformed, or has no count of items beside it")
    return fields


def is_time(value: Any) -> bool:
    """Whether a value is a time in the ledger's form, and one that the calendar has."""
    if not isinstance(value, str) or not _TIME.fullmatch(value) or value[:4] == "0000":
        return False
    year, month, day = int(value[:4]), int(value[5:7]), int(value[8:10])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= _DAYS[month - 1] and (leap or (month, day) != (2, 29))


def is_hex(value: Any, size: int) -> bool:
    """Whether a value is `size` bytes in lower-case hexadecimal."""
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", value) is not None


# Merkle trees, straight from the definitions in RFC 6962, section 2.1.


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def check_inclusion(digest: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """Whether the leaf with this hash is number `index` of the tree. Raises Fault."""
    if not 0 <= index < size:
        raise Fault(f"number {index} lies beyond a tree of size {size}")
    if len(digest) != 32 or len(root) != 32:
        raise Fault("a hash has not 32 bytes")
    path = list(proof)
    led_to = _climb(digest, index, size, path)
    if path:
        raise Fault("the inclusion proof is too long")
    if led_to != root:
        raise Fault("the inclusion proof does not lead to the root")


def _climb(digest: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    if size == 1:
        return digest
    sibling, middle = _next(path), _split(size)
    if index < middle:
        return node_hash(_climb(digest, index, middle, path), sibling)
    return node_hash(sibling, _climb(digest, index - middle, size - middle, path))


def check_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]
) -> None:
    """Whether the tree of size `new` extends that of size `old`. Raises Fault."""
    if not 0 < old <= new:
        raise Fault(f"size {new} cannot extend size {old}")
    path = list(proof)
    before, after = _grow(old, new, path, old_root)
    if path:
        raise Fault("the consistency proof is too long")
    if before != old_root:
        raise Fault(f"the consistency proof does not lead to the root of size {old}")
    if after != new_root:
        raise Fault(f"the consistency proof does not lead to the root of size {new}")


def _grow(old: int, new: int, path: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """Roots of the old part and of the whole of a subtree; `known` is the former, if given."""
    if old == new:
        same = _next(path) if known is None else known
        return same, same
    sibling, middle = _next(path), _split(new)
    if old <= middle:
        before, after = _grow(old, middle, path, known)
        return before, node_hash(after, sibling)
    before, after = _grow(old - middle, new - middle, path, None)
    return node_hash(sibling, before), node_hash(sibling, after)


def _split(size: int) -> int:
    """The largest power of two below size."""
    return 1 << ((size - 1).bit_length() - 1)


def _next(path: list[bytes]) -> bytes:
    if not path:
        raise Fault("the proof is too short")
    sibling = path.pop()
    if len(sibling) != 32:
        raise Fault("a hash of the proof has not 32 bytes")
    return sibling


# Keys and signed notes: C2SP signed-note, tlog-checkpoint, tlog-cosignature.


class Key(NamedTuple):
    """A verifier key. `kind` is 1 for a log's Ed25519 key, 4 for a witness's."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(
            self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        ).digest()[:4]


class Checkpoint(NamedTuple):
    """A signed state of the log: its first `size` entries have this root."""

    origin: str
    size: int
    root: bytes
    text: str
    """What is signed."""
    signatures: list[tuple[str, bytes, bytes]]
    """(name, key id, signature), unverified."""


def read_key(text: str, kind: int) -> Key:
    """Parse a vkey: name+key id+base64(kind || key). Raises Fault."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _is_key_name(parts[0]):
        raise Fault(f"{plain(text)!r} is not a verifier key (name+id+key)")
    raw = _base64(parts[2], "the key")
    if len(raw) != 33 or raw[0] != kind:
        wanted = "a log's Ed25519 key (type 1)" if kind == 1 else "a witness's key (type 4)"
        raise Fault(f"{plain(parts[0])}: not {wanted}")
    key = Key(parts[0], kind, raw[1:])
    if key.key_id.hex() != parts[1]:
        raise Fault(f"{plain(parts[0])}: its key id does not fit the key")
    return key


def read_note(data: bytes) -> Checkpoint:
    """Parse a signed checkpoint; no signature is verified. Raises Fault."""
    if len(data) > MAX_NOTE_BYTES:
        raise Fault(f"longer than {MAX_NOTE_BYTES} bytes")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault(f"not UTF-8 at byte {error.start}") from None
    if any(c < " " and c != "\n" for c in note):
        raise Fault("a control character")
    text, found, block = note.rpartition("\n\n")
    if not found or not block.endswith("\n"):
        raise Fault("no signatures after an empty line, or its end is missing")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Fault(f"more than {MAX_SIGNATURES} signatures")
    text += "\n"
    origin, size, root = _read_body(text)
    return Checkpoint(origin, size, root, text, [_read_signature(line) for line in lines])


def _read_body(text: str) -> tuple[str, int, bytes]:
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise Fault("origin, size and root are wanted, a line each")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]) or int(lines[1]) >= 2**63:
        raise Fault("its size is malformed")
    root = _base64(lines[2], "the root")
    if len(root) != 32:
        raise Fault("its root has not 32 bytes")
    return lines[0], int(lines[1]), root


def _read_signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _is_key_name(parts[1]):
        raise Fault("a malformed signature line")
    raw = _base64(parts[2], "a signature")
    if len(raw) < 5:
        raise Fault("a signature that is too short")
    return parts[1], raw[:4], raw[4:]


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Fault(f"{what} is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Fault(f"{what} is not in canonical base64")
    return raw


def _is_signed(key: Key, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def check_log_signature(note: Checkpoint, key: Key) -> None:
    """Whether the log has signed. Raises Fault."""
    if note.origin != key.name:
        raise Fault(f"of the ledger {plain(note.origin)}, the key is of {plain(key.name)}")
    theirs = [s for name, key_id, s in note.signatures if (name, key_id) == (key.name, key.key_id)]
    if not theirs:
        raise Fault("not signed by the ledger's key")
    if not all(_is_signed(key, note.text.encode(), signature) for signature in theirs):
        raise Fault("the ledger's signature is wrong")


def check_cosignatures(note: Checkpoint, witnesses: list[Key]) -> dict[str, int]:
    """When each witness that cosigned did so, seconds since 1970. Raises Fault.

    A stranger's signature counts for nothing, and a witness once however often it signed.
    """
    times: dict[str, int] = {}
    by_id = {(witness.name, witness.key_id): witness for witness in witnesses}
    for name, key_id, blob in note.signatures:
        witness = by_id.get((name, key_id))
        if witness is None:
            continue
        if len(blob) != 72:
            raise Fault(f"the cosignature of {plain(name)} has not 72 bytes")
        time = int.from_bytes(blob[:8], "big")
        message = f"cosignature/v1\ntime {time}\n{note.text}".encode()
        if time >= 2**63 or not _is_signed(witness, message, blob[8:]):
            raise Fault(f"the cosignature of {plain(name)} is wrong")
        times[name] = max(time, times.get(name, 0))
    return times


# Proof files: C2SP tlog-proof for entries, the body of tlog-witness's add-checkpoint for
# consistency, and the hashes alone for items.


def read_proof(data: bytes, first: str, *, note: bytes | None) -> tuple[int, list[bytes]]:
    """(number, hashes) of a proof file whose number stands after `first`. Raises Fault.

    `note` is the checkpoint that must follow verbatim; None: nothing may follow.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise Fault("too long for a proof")
    head, found, rest = data.partition(b"\n\n")
    if note is None:
        if found or not data.endswith(b"\n"):
            raise Fault("its last line is malformed")
        head = data[:-1]
    elif not found or rest != note:
        raise Fault("it does not end with the bundle's checkpoint")
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError:
        raise Fault("not ASCII") from None
    if not text.startswith(first):
        raise Fault(f"does not begin with {first.splitlines()[0]!r} as it has to")
    lines = text[len(first) :].split("\n")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[0]):
        raise Fault("its number is malformed")
    if len(lines) > 130:
        raise Fault("more hashes than any proof has")
    hashes = [_base64(line, "a hash of the proof") for line in lines[1:]]
    if any(len(digest) != 32 for digest in hashes):
        raise Fault("a hash of the proof has not 32 bytes")
    return int(lines[0]), hashes


# The bundle.

_ENTRY = re.compile(r"entries/(0|[1-9][0-9]{0,18})\.(json|tlog-proof)")
_ITEM = re.compile(r"items/(0|[1-9][0-9]{0,18})/(0|[1-9][0-9]{0,18})\.(json|proof)")
_FIXED = frozenset({"manifest.json", "checkpoint", "checkpoint.old", "consistency",
                    "openings.json", "report.html"})  # fmt: skip


class Opening(NamedTuple):
    """A person behind a commitment."""

    person: int
    name: str


class Story:
    """What a bundle proves, and what it does not."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """Something is forged, damaged or missing."""
        self.not_shown: list[str] = []
        """Claims of entries that the bundle does not bear out."""
        self.entry_lines: list[str] = []
        self.about: list[str] = []
        """The ledger and its two checkpoints."""
        self.witnessed: list[str] = []
        self.entries: dict[int, Fields] = {}
        self.items: dict[Place, Fields] = {}
        self.openings: dict[Place, Opening] = {}

    @property
    def proven(self) -> bool:
        return not self.faults and not self.not_shown

    def holds(self, where: str, check: Any, *arguments: Any, **options: Any) -> Any:
        """What a check returns; a fault is noted with its place, and gives None."""
        try:
            return check(*arguments, **options)
        except Fault as fault:
            self.faults.append(f"{where}: {fault}")
            return None


def check_bundle(
    files: dict[str, bytes], key: Key, witnesses: list[Key], quorum: int, *, report: bool = True
) -> Story:
    """Check everything. `report` False leaves report.html aside: for whoever is writing it."""
    story = Story()
    _check_manifest(story, files, key, report)
    note = _check_checkpoints(story, files, key, witnesses, quorum)
    if note is None or story.faults:
        # Nothing is worth checking under a tree that its ledger did not sign, and nothing is
        # said of files that are not those of the manifest.
        return story
    _check_entries(story, files, note)
    _check_items(story, files)
    _check_openings(story, files)
    if not story.faults:
        _Uses(story).tell()
    if report and not story.faults:
        _check_report(story, files)
    return story


def _check_manifest(story: Story, files: dict[str, bytes], key: Key, report: bool) -> None:
    if "manifest.json" not in files:
        story.faults.append("manifest.json: missing")
        return
    manifest = story.holds("manifest.json", read_json, files["manifest.json"], MAX_INDEX_BYTES)
    if manifest is None:
        return
    if set(manifest) != {"bundle", "files", "ledger"} or manifest["bundle"] != FORMAT:
        story.faults.append(f"manifest.json: not of the form {FORMAT}")
        return
    if manifest["ledger"] != key.name:
        told = plain(str(manifest["ledger"]))
        story.faults.append(f"manifest.json: of the ledger {told}, the key is of {plain(key.name)}")
    listed = manifest["files"]
    if not isinstance(listed, dict):
        story.faults.append("manifest.json: its list of files is malformed")
        return
    present = set(files) - {"manifest.json"}
    for name in sorted(present - set(listed)):
        story.faults.append(f"{name}: not listed in manifest.json")
    for name, told in sorted(listed.items()):
        if name not in present:
            story.faults.append(f"{plain(name)}: listed in manifest.json, but missing")
            continue
        data = files[name]
        right = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        if told != right or type(told["size"]) is not int:
            story.faults.append(f"{name}: not the file that manifest.json lists (size or SHA-256)")
        if name not in _FIXED and not _ENTRY.fullmatch(name) and not _ITEM.fullmatch(name):
            story.faults.append(f"{name}: not a file that a bundle has")
    needed = _FIXED if report else _FIXED - {"report.html"}
    for name in sorted(needed - set(files)):
        story.faults.append(f"{name}: missing")


def _check_checkpoints(
    story: Story, files: dict[str, bytes], key: Key, witnesses: list[Key], quorum: int
) -> Checkpoint | None:
    notes: list[Checkpoint] = []
    times: dict[str, int] = {}
    for name in ("checkpoint.old", "checkpoint"):
        if name not in files:
            continue
        note = story.holds(name, read_note, files[name])
        if note is None:
            continue
        story.holds(name, check_log_signature, note, key)
        times = story.holds(name, check_cosignatures, note, witnesses) or {}
        notes.append(note)
    if len(notes) != 2 or story.faults:
        return None
    old, new = notes
    if old.size > new.size:
        story.faults.append(
            f"checkpoint.old: of size {old.size}, newer than the checkpoint of size {new.size}"
        )
        return None

    def consistent() -> None:
        number, hashes = read_proof(files["consistency"], "old ", note=files["checkpoint"])
        if number != old.size:
            raise Fault(f"from size {number}, the older checkpoint has size {old.size}")
        if old.size == 0:
            # Everything extends the empty tree: there is nothing to prove.
            if hashes or old.root != hashlib.sha256(b"").digest():
                raise Fault("the empty ledger has another root, and no proof")
            return
        check_consistency(old.size, new.size, old.root, new.root, hashes)

    story.holds("consistency", consistent)
    if len(times) < quorum:
        story.faults.append(
            f"checkpoint: cosigned by {len(times)} of the witnesses named, {quorum} wanted"
        )
    story.about = [
        f"The ledger {plain(new.origin)} signed its first {new.size} entries, root "
        f"{new.root.hex()}.",
        f"It signed its first {old.size} entries too, root {old.root.hex()}, and the larger "
        "ledger holds exactly these as its beginning."
        if old.size < new.size
        else "The older checkpoint of the bundle is of the same size: no growth is shown.",
    ]
    for name, time in sorted(times.items()):
        story.witnessed.append(
            f"The witness {plain(name)} cosigned this state on {_since_1970(time)} by its clock, "
            "as extending all that it had seen."
        )
    if not witnesses:
        story.witnessed.append("No witness was named: other histories cannot be ruled out.")
    return new


def _check_entries(story: Story, files: dict[str, bytes], note: Checkpoint) -> None:
    found = sorted({int(match.group(1)) for match in map(_ENTRY.fullmatch, files) if match})
    if not found:
        story.faults.append("entries: the bundle holds no entry")

    def entry(index: int) -> Fields:
        data = files.get(f"entries/{index}.json")
        proof = files.get(f"entries/{index}.tlog-proof")
        if data is None or proof is None:
            raise Fault("it or its proof is missing")
        number, hashes = read_proof(
            proof, "c2sp.org/tlog-proof@v1\nindex ", note=files["checkpoint"]
        )
        if number != index:
            raise Fault(f"its proof is that of entry {number}")
        check_inclusion(leaf_hash(data), index, note.size, hashes, note.root)
        return read_leaf(data)

    last = ""
    for index in found:
        fields = story.holds(f"entry {index}", entry, index)
        if fields is None:
            continue
        story.entries[index] = fields
        if fields["time"] < last:
            story.faults.append(f"entry {index}: its time lies before that of an earlier entry")
        last = fields["time"]


def _check_items(story: Story, files: dict[str, bytes]) -> None:
    places = {(int(m.group(1)), int(m.group(2))) for m in map(_ITEM.fullmatch, files) if m}

    def item(index: int, number: int) -> Fields:
        fields = story.entries.get(index)
        if fields is None or "items_root" not in fields:
            raise Fault("the bundle holds no entry with items that it belongs to")
        data = files.get(f"items/{index}/{number}.json")
        proof = files.get(f"items/{index}/{number}.proof")
        if data is None or proof is None:
            raise Fault("it or its proof is missing")
        told, hashes = read_proof(proof, "index ", note=None)
        if told != number:
            raise Fault(f"its proof is that of item {told}")
        root = bytes.fromhex(fields["items_root"])
        check_inclusion(leaf_hash(data), number, fields["items"], hashes, root)
        return read_json(data)

    for index, number in sorted(places):
        fields = story.holds(f"entry {index} item {number}", item, index, number)
        if fields is not None:
            story.items[index, number] = fields


def _check_openings(story: Story, files: dict[str, bytes]) -> None:
    content = story.holds("openings.json", read_json, files["openings.json"], MAX_INDEX_BYTES)
    if content is None:
        return
    listed = content.get("openings")
    if set(content) != {"openings"} or not isinstance(listed, list):
        story.faults.append("openings.json: malformed")
        return
    last, persons = (-1, -1), 0
    for position, fields in enumerate(listed):
        where = f"openings.json number {position}"
        opened = story.holds(where, _opening, fields, last, persons, story)
        if opened is None:
            return
        last, opening = opened
        persons = max(persons, opening.person)
        story.openings[last] = opening
    _check_persons(story)


def _opening(fields: Any, last: Place, persons: int, story: Story) -> tuple[Place, Opening]:
    names = {"entry", "name", "person", "salt"}
    if not isinstance(fields, dict) or set(fields) - {"item"} != names:
        raise Fault("malformed")
    entry, item, person = fields["entry"], fields.get("item", -1), fields["person"]
    if not all(type(number) is int for number in (entry, item, person)):
        raise Fault("malformed")
    if not is_hex(fields["name"], 32) or not is_hex(fields["salt"], 16):
        raise Fault("its name or salt is malformed")
    if (entry, item) <= last or not 1 <= person <= persons + 1:
        raise Fault("out of order, there twice, or its person is misnumbered")
    if "item" in fields:
        content = story.items.get((entry, item)) if item >= 0 else None
    else:
        content = story.entries.get(entry)
    where = place(entry, item)
    if content is None:
        raise Fault(f"opens {where}, which the bundle does not hold")
    digest = hashlib.sha256(
        b"concordat/subject/v1" + bytes.fromhex(fields["salt"]) + bytes.fromhex(fields["name"])
    ).hexdigest()
    if content.get("subject") != digest:
        raise Fault(f"does not open the subject of {where}")
    return (entry, item), Opening(person, fields["name"])


def _check_persons(story: Story) -> None:
    """All openings of one person lead to one person, and to no other's."""
    leader: dict[str, str] = {}

    def lead(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    tied = _Tied(story)
    for (index, item), opening in story.openings.items():
        for thing in tied.to(index, item):
            leader[lead(opening.name)] = lead(thing)
    first: dict[int, tuple[str, Place]] = {}
    owner: dict[str, int] = {}
    for at, opening in story.openings.items():
        group = lead(opening.name)
        known = first.setdefault(opening.person, (group, at))
        if known[0] != group:
            story.faults.append(
                f"openings.json: {place(*at)} and {place(*known[1])} are said to be about person "
                f"{opening.person}, but nothing shows that it is the same one"
            )
        if owner.setdefault(group, opening.person) != opening.person:
            story.faults.append(
                f"openings.json: {place(*at)} is about person {owner[group]}, not another"
            )


class _Tied:
    """The consents and the erasure that an opened entry or item says are its subject's own.

    Two names that are tied to the same one are one person's: a consent's own name, and the names
    by which somebody asked about the person or was shown its entries.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.subjects: dict[str, Any] = {}
        """Of each consent, by its first entry."""
        for _, fields in sorted(story.entries.items()):
            if fields["type"] in _STEPS:
                self.subjects.setdefault(str(fields.get("consent")), fields.get("subject"))
        self.erased: dict[int, list[str]] = {}
        """An erasure's entry names the person, its items that person's consents."""
        for (index, _), fields in story.items.items():
            if isinstance(fields.get("consent"), str):
                self.erased.setdefault(index, []).append(fields["consent"])

    def to(self, index: int, item: int) -> list[str]:
        fields = self.story.entries[index] if item < 0 else self.story.items[index, item]
        consents = _consents_named(fields)
        if item >= 0:
            return [f"consent {consent}" for consent in consents]
        consents += self.erased.get(index, [])
        consent, erasure = fields.get("consent"), fields.get("erasure")
        # A change of a consent that names another subject than its grant ties nobody to it.
        strange = fields["type"] in _STEPS and fields["subject"] != self.subjects[str(consent)]
        if isinstance(consent, str) and not strange:
            consents.append(consent)
        things = [f"consent {consent}" for consent in consents]
        return [*things, f"erasure {erasure}"] if isinstance(erasure, str) else things


def _consents_named(fields: Fields) -> list[str]:
    named = fields.get("consents")
    if not isinstance(named, dict):
        return []
    return [c for c in named.values() if isinstance(c, str) and c != NO_CONSENT]


def place(entry: int, item: int = -1) -> str:
    """How an entry or an item is named in sentences."""
    return f"entry {entry}" if item < 0 else f"entry {entry} item {item}"


# What the entries say, and whether the consents in the bundle bear it out.

_STEPS = {
    "consent.granted": "granted",
    "consent.requested": "asked for, not given yet,",
    "consent.activated": "given, after it had been asked for",
    "consent.paused": "paused",
    "consent.resumed": "resumed",
    "consent.withdrawn": "withdrawn",
    "consent.revoked": "revoked",
}
_ROLES = {
    "member": "the member",
    "operator": "the operator",
    "auditor": "the auditor",
    "gateway": "the gateway by itself",
    "keyholder": "the key-holder",
}
_PURPOSES = {
    "contribution": "contribution to the pool",
    "aggregate_statistics": "statistics about the pool",
    "model_training": "the training of models",
    "dispute": "disputes",
}
_AGGREGATES = {
    "aggregate.charged": "asked a question about the pool",
    "aggregate.repeated": "asked a question about the pool again",
    "aggregate.refused": "asked a question about the pool and was refused",
}
_OUTCOMES = {
    "corrected": "corrected (the data was corrected)",
    "deleted": "deleted (the data was deleted)",
    "upheld": "upheld (the data stays as it is)",
    "not on file": "not on file (nobody holds such data)",
}
_ENDED = {**_STEPS, "erasure.executed": "erased", "consent.requested": "asked for, never given"}
_PERIODS = {"hour": 13, "day": 10, "month": 7, "year": 4, "inf": 0}
_USES = frozenset({"lookup", "contribution.batch", "training.run"})


class _Uses:
    """Tells what the entries say, in order, holding each use against its consents."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.grants: dict[str, tuple[int, Fields]] = {}
        self.state: dict[str, tuple[str, int]] = {}
        """Consent -> (type of the last entry about it that changed it, that entry)."""
        self.used: dict[tuple[str, str], int] = {}
        self.disputes: dict[str, int] = {}
        """Dispute -> the entry that opened it."""
        self.gone: set[tuple[int, int]] = set()
        """(entry, position) of rows that were replaced or withdrawn."""
        self.items: dict[int, list[tuple[int, Fields]]] = {}
        for (entry, item), fields in sorted(story.items.items()):
            self.items.setdefault(entry, []).append((item, fields))

    def tell(self) -> None:
        for index, fields in sorted(self.story.entries.items()):
            try:
                self._entry(index, fields)
            except Fault as fault:
                self.doubt(place(index), str(fault))

    def say(self, index: int, text: str) -> None:
        time = self.story.entries[index]["time"]
        self.story.entry_lines.append(f"On {_moment(time)} {text}")

    def doubt(self, where: str, text: str) -> None:
        self.story.not_shown.append(f"{where}: {text}")

    def _entry(self, index: int, fields: Fields) -> None:
        kind, who = fields["type"], _actor(fields)
        if kind in _STEPS:
            self._step(index, fields, kind, who)
        elif kind == "lookup":
            self._lookup(index, fields, who)
        elif kind in _USES:
            self._rows(index, fields, kind, who)
            self._replaced(index, who, "replaces", 3)
        elif kind == "contribution.withdrawn":
            rows = plain(str(fields.get("rows")))
            self.say(index, f"{who} took {rows} accounts or applications of its own out of the "
                            f"pool ({place(index)}).")  # fmt: skip
            self._replaced(index, who, "withdrawn", 2)
        elif kind == "erasure.executed":
            self._erasure(index, who)
        elif kind == "dispute.opened":
            self.say(
                index,
                f"{who} recorded a dispute{self._about(index)}{_complaint(fields)} "
                f"({place(index)}).",
            )
            self.disputes[str(fields.get("dispute"))] = index
            named = fields.get("consents")
            if isinstance(named, dict) and _consents_named(fields):
                self._use(index, -1, "dispute", named)
        elif kind == "dispute.refused":
            self.say(
                index,
                f"{who} wanted to record a dispute{self._about(index)}{_complaint(fields)} and was "
                f"refused for want of a consent ({place(index)}).",
            )
        elif kind in ("dispute.answered", "dispute.resolved", "dispute.extended",
                      "dispute.overdue"):  # fmt: skip
            self._dispute(index, fields, kind, who)
        elif kind == "lookup.withheld":
            kept = ", ".join(plain(str(f.get("item"))) for _, f in self.items.get(index, ()))
            self.say(
                index,
                f"the answers to items {kept or '(not disclosed)'} of entry "
                f"{plain(str(fields.get('lookup')))} were kept back and not given "
                f"({place(index)}).",
            )
        elif kind in _AGGREGATES:
            self.say(
                index,
                f"{who} {_AGGREGATES[kind]} ({place(index)}). Whose consents an answer about the "
                "pool rests on, a bundle does not show.",
            )
        else:
            self.say(index, f"{self._other(index, fields, kind, who)} ({place(index)}).")

    def _other(self, index: int, fields: Fields, kind: str, who: str) -> str:
        """What an entry says that has no bearing on whether a use was allowed."""
        about = ""
        if isinstance(fields.get("consent"), str):
            about = f" the consent {_short(fields['consent'])}"
        member = f"the member {_words(fields.get('member'))}"
        if kind == "notice.acknowledged":
            return f"{who} acknowledged the notice that{about or ' a consent'} had ended"
        if kind == "deletion.confirmed":
            done = _until(" on", fields.get("deleted_at"))
            learned = about or " a consent that had ended"
            return f"{who} confirmed that what it had learned under{learned} was deleted{done}"
        if kind == "notice.overdue":
            what = "deletion" if fields.get("what") == "deletion" else "receipt of the notice"
            due = _until(", due", fields.get("due"))
            return f"{member} had not confirmed the {what} of a consent that ended in time{due}"
        if kind == "erasure.requested":
            ground = _words(fields.get("ground"))
            because = f" (ground: {ground})" if ground else ""
            return f"{who} passed on a request to erase the data{self._about(index)}{because}"
        if kind == "erasure.refused":
            basis = _words(fields.get("basis"))
            return f"{who} refused to erase the data" + (f" (reason: {basis})" if basis else "")
        if kind == "staff.viewed":
            return self._viewed(index, fields, who, about)
        what = _words(kind).replace(".", ", ")
        on = f", about{about}" if about else ""
        whom = self._about(index)
        return f"{who} caused an entry of another kind ({what}){on}{whom}"

    def _viewed(self, index: int, fields: Fields, who: str, about: str) -> str:
        case = plain(str(fields["case"])) if isinstance(fields.get("case"), str) else ""
        because = f", for the case {case}" if case else ""
        if fields.get("view") != "subject.open":
            return f"{who} looked at {_words(fields.get('view')).replace('.', ', ')}{because}"
        permission = fields.get("permission_sha256")
        by = f", found by{about}" if about else ""
        on = ""
        if isinstance(permission, str):
            on = f", on a permission whose document has the SHA-256 {plain(permission)}"
        whom = self._about(index) or " of a person"
        return f"{who} had the keys{whom} opened{by}{because}{on}"

    def _dispute(self, index: int, fields: Fields, kind: str, who: str) -> None:
        opened = self.disputes.get(str(fields.get("dispute")))
        which = "a dispute whose opening is not in this bundle"
        if opened is not None:
            first = self.story.entries[opened]
            which = f"the dispute{self._about(opened)}{_complaint(first)} of {place(opened)}"
        outcome = _words(fields.get("outcome"))
        outcome = _OUTCOMES.get(outcome, outcome)
        if kind == "dispute.answered":
            text = f"{who} answered {which}: {outcome}"
        elif kind == "dispute.resolved":
            text = f"{which} was resolved: {outcome}"
        elif kind == "dispute.extended":
            text = f"{who} put off the answer to {which}{_until(' until', fields.get('answer_by'))}"
        else:
            late = plain(str(fields.get("member")))
            due = _until(", due", fields.get("due"))
            text = f"the member {late} had not answered {which} in time{due}"
        self.say(index, f"{text} ({place(index)}).")

    def _about(self, index: int, item: int = -1) -> str:
        opening = self.story.openings.get((index, item))
        return "" if opening is None else f" of person {opening.person}"

    def _step(self, index: int, fields: Fields, kind: str, who: str) -> None:
        consent = _text(fields, "consent")
        if not is_hex(consent, 16):
            raise Fault("its consent is malformed")
        told = f"the consent {_short(consent)}{self._about(index)} was {_STEPS[kind]}"
        if kind in ("consent.granted", "consent.requested"):
            purposes, categories = _texts(fields, "purposes"), _texts(fields, "categories")
            recipient = _text(fields, "recipient")
            start, end = str(fields.get("starts_at", fields["time"])), _text(fields, "expires_at")
            if not is_time(start) or not is_time(end):
                raise Fault("its validity is malformed")
            if consent in self.grants:
                raise Fault(f"the consent {_short(consent)} was recorded before")
            self.grants[consent] = index, fields
            told += (
                f" {'to' if kind == 'consent.granted' else 'for'} the member {plain(recipient)}: "
                f"for {_list([_purpose(one) for one in purposes])}, of {_categories(categories)}, "
                f"from {_moment(start)} until {_moment(end)}"
            )
        elif consent in self.grants:
            granted, first = self.grants[consent]
            for name in ("recipient", "subject"):
                if fields.get(name) != first.get(name):
                    raise Fault(f"not the {name} of the consent in {place(granted)}")
        self._change(consent, kind, index)
        self.say(index, f"{told} ({place(index)}, recorded by {who}).")

    def _change(self, consent: str, kind: str, index: int) -> None:
        before = self.state.get(consent, ("", -1))[0]
        if before in ("consent.withdrawn", "consent.revoked", "erasure.executed"):
            return  # what has ended stays ended
        if kind == "consent.activated" and before != "consent.requested":
            return  # only what was requested can be given so
        if before == "consent.requested" and kind in ("consent.paused", "consent.resumed"):
            return  # it was never given
        self.state[consent] = kind, index

    def _erasure(self, index: int, who: str) -> None:
        self.say(index, f"the data{self._about(index)} was erased ({place(index)}, recorded by "
                        f"{who}).")  # fmt: skip
        items, total = self.items.get(index, []), self.story.entries[index].get("items", 0)
        if total and not items:
            self.doubt(place(index), "an erasure, but none of its items is in the bundle: which "
                       "consents it ended is not shown")  # fmt: skip
        self._disclosed(index, len(items), total, "consents that ended by")
        for item, content in items:
            consent = content.get("consent")
            if not is_hex(consent, 16):
                self.doubt(place(index, item), "its consent is malformed")
                continue
            self._change(str(consent), "erasure.executed", index)
            self.say(index, f"the consent {_short(str(consent))} ended by this erasure "
                            f"({place(index, item)}).")  # fmt: skip

    def _disclosed(self, index: int, found: int, total: int, what: str) -> None:
        if 0 < found < total:
            self.story.entry_lines.append(
                f"Of the {total} {what} {place(index)}, {found} "
                f"{'is' if found == 1 else 'are'} disclosed."
            )

    def _lookup(self, index: int, fields: Fields, who: str) -> None:
        purpose, items = _text(fields, "purpose"), self.items.get(index, [])
        total = fields.get("items", 0)
        if not items:
            self.doubt(place(index), "a lookup, but none of its items is in the bundle")
        self._disclosed(index, len(items), total, "subjects of")
        for item, content in items:
            where, named = place(index, item), content.get("consents")
            decision = content.get("decision")
            if not isinstance(named, dict) or decision not in ("permit", "refuse"):
                self.doubt(where, "its consents or decision are malformed")
                continue
            opening = self.story.openings.get((index, item))
            whom = "a subject" if opening is None else f"person {opening.person}"
            text = f"{who} looked {whom} up for {_purpose(purpose)} ({where})"
            if decision == "refuse":
                self.say(index, f"{text}: refused.")
                if _consents_named(content):
                    self.doubt(where, "refused, but it names a consent")
                continue
            before = len(self.story.not_shown)
            reasons = self._use(index, item, purpose, named)
            if len(self.story.not_shown) == before:
                self.say(index, f"{text}: permitted. {' '.join(reasons)}")
            else:
                self.say(index, f"{text}: permitted. That a consent allowed it is NOT shown.")

    def _rows(self, index: int, fields: Fields, kind: str, who: str) -> None:
        purpose = "contribution" if kind == "contribution.batch" else "model_training"
        items = self.items.get(index, [])
        if kind == "contribution.batch" and fields.get("rows") != 0 and "items_root" not in fields:
            said = plain(str(fields.get("rows")))
            self.doubt(place(index), f"a batch of {said} rows in the older form, without items: "
                       "it names no consent, so no file could show which ones they were "
                       "contributed under")  # fmt: skip
            return
        if not items and fields.get("rows") != 0:
            self.doubt(place(index), f"a {kind}, but none of its items is in the bundle")
        total, counted = fields.get("items", 0), 0
        self._disclosed(index, len(items), total, "parts of the rows of")
        for item, content in items:
            where, uses, rows = place(index, item), content.get("uses"), content.get("rows")
            if not isinstance(uses, list) or not isinstance(rows, list) or not rows:
                self.doubt(where, "its uses or rows are malformed")
                continue
            if not all(type(row) is int and 0 <= row < len(uses) for row in rows):
                self.doubt(where, "its rows do not point to its uses")
                continue
            if kind == "contribution.batch" and len(items) == total:
                if content.get("first") != counted:
                    self.doubt(where, f"begins with row {plain(str(content.get('first')))}, "
                               f"{counted} rows came before it")  # fmt: skip
                counted += len(rows)
            counts = collections.Counter(rows)
            shown = strange = 0
            for position, named in enumerate(uses):
                count = counts[position]
                if not isinstance(named, dict):
                    self.doubt(where, f"use {position} is malformed")
                elif not any(c in self.grants for c in _consents_named({"consents": named})):
                    strange += count
                else:
                    before = len(self.story.not_shown)
                    reasons = self._use(index, item, purpose, named, f" use {position}")
                    if len(self.story.not_shown) == before:
                        shown += count
                        much = "1 row" if count == 1 else f"{count} rows"
                        self.say(index, f"{who} used {much} of one consent for {_purpose(purpose)} "
                                        f"({where}). {' '.join(reasons)}")  # fmt: skip
            if strange:
                self.story.entry_lines.append(
                    f"NOT shown: the consents of {strange} other "
                    f"{'row' if strange == 1 else 'rows'} of {where} are not in this "
                    "bundle; nothing is said of them."
                )
            if not shown:
                self.doubt(where, "no consent behind any of its rows is shown")
        if items and kind == "contribution.batch" and len(items) == total:
            stated = fields.get("rows")
            if stated != counted or type(stated) is not int:
                self.doubt(place(index), f"{plain(str(stated))} rows by its entry, {counted} by "
                           "its items")  # fmt: skip

    def _replaced(self, index: int, who: str, name: str, length: int) -> None:
        """Which earlier rows the items name. What those said is nowhere in the ledger."""
        for item, content in self.items.get(index, []):
            where, named = place(index, item), content.get(name)
            if named is None and name == "replaces":
                continue
            if not isinstance(named, list) or not all(_are_counts(one, length) for one in named):
                self.doubt(where, f"its {name} are malformed")
                continue
            for one in named:
                fault = self._replaceable(index, who, one[-2], one[-1])
                if fault:
                    self.doubt(where, f"names row {one[-1]} of entry {one[-2]}, {fault}")
                self.gone.add((one[-2], one[-1]))
            word = "replaced" if name == "replaces" else "withdrawn"
            rows = [f"row {one[-1]} of entry {one[-2]}" for one in named[:20]]
            rows += [f"{len(named) - 20} more"] if len(named) > 20 else []
            self.story.entry_lines.append(f"Rows that {where} has {word}: {', '.join(rows)}.")

    def _replaceable(self, index: int, who: str, entry: int, position: int) -> str:
        """What keeps a row from being replaced, as far as the bundle shows it."""
        if entry >= index:
            return "which is not before it"
        if (entry, position) in self.gone:
            return "which was replaced or withdrawn before"
        fields = self.story.entries.get(entry)
        if fields is None:
            return ""
        rows = fields.get("rows")
        if fields["type"] != "contribution.batch" or type(rows) is not int or position >= rows:
            return "which holds no such row"
        return "" if _actor(fields) == who else "which is another's"

    def _use(self, index: int, item: int, purpose: str, named: Fields, more: str = "") -> list[str]:
        """Hold one use against every consent it names; returns what allowed it."""
        where = place(index, item) + more
        reasons: list[str] = []
        seen: set[str] = set()
        categories: dict[str, list[str]] = {}
        for category, consent in sorted(named.items()):
            if consent == NO_CONSENT:
                continue
            if not is_hex(consent, 16):
                self.doubt(where, f"its consent for {plain(category)} is malformed")
                continue
            categories.setdefault(consent, []).append(category)
        if not categories:
            self.doubt(where, "permitted, but it names no consent")
        for consent, covered in categories.items():
            try:
                granted = self._allowed(index, purpose, covered, consent)
            except Fault as fault:
                self.doubt(where, f"the consent {_short(consent)} does not show that it was "
                                  f"allowed: {fault}")  # fmt: skip
                continue
            self._count(where, index, consent, seen)
            reasons.append(
                f"The consent {_short(consent)}, {granted}, allowed it for {_categories(covered)}."
            )
        return reasons

    def _allowed(self, index: int, purpose: str, categories: list[str], consent: str) -> str:
        """How the consent came to be; Fault if anything keeps it from allowing the use."""
        if consent not in self.grants:
            raise Fault("its grant is not among the bundle's entries before the use")
        granted, grant = self.grants[consent]
        fields = self.story.entries[index]
        # A model is trained on the pool: whoever runs it, the consents are the furnishers'.
        if purpose != "model_training" and _member(fields) != grant["recipient"]:
            raise Fault(f"it was given to {plain(str(grant['recipient']))}, another used it")
        if purpose not in grant["purposes"]:
            raise Fault(f"it does not cover the purpose {_words(purpose)}")
        beyond = [category for category in categories if category not in grant["categories"]]
        if beyond:
            raise Fault(f"it does not cover {_categories(beyond)}")
        start = str(grant.get("starts_at", grant["time"]))
        if fields["time"] < start:
            raise Fault(f"it began only on {_moment(start)}")
        if fields["time"] >= grant["expires_at"]:
            raise Fault(f"it had expired on {_moment(grant['expires_at'])}")
        kind, changed = self.state[consent]
        if kind not in ("consent.granted", "consent.activated", "consent.resumed"):
            raise Fault(f"{place(changed)} of {_moment(self.story.entries[changed]['time'])} was "
                        f"the last about it: {_ENDED.get(kind, kind)}")  # fmt: skip
        return f"granted on {_moment(grant['time'])} (entry {granted})"

    def _count(self, where: str, index: int, consent: str, seen: set[str]) -> None:
        """Uses in the bundle alone can already be more than the consent allows."""
        fields, frequency = self.story.entries[index], self.grants[consent][1].get("frequency")
        if fields["type"] != "lookup" or not isinstance(frequency, dict) or consent in seen:
            return
        seen.add(consent)
        digits, most = _PERIODS.get(str(frequency.get("unit"))), frequency.get("uses")
        if digits is None or type(most) is not int:
            self.doubt(where, "the consent's frequency is malformed")
            return
        period = consent, fields["time"][:digits]
        self.used[period] = self.used.get(period, 0) + 1
        if self.used[period] > most:
            self.doubt(where, f"use {self.used[period]} of the consent {_short(consent)}, "
                              f"{most} allowed a {frequency['unit']}")  # fmt: skip


def _are_counts(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(
        type(number) is int and number >= 0 for number in value
    )  # fmt: skip


def _moment(time: str) -> str:
    return f"{time[:10]} at {time[11:19]} UTC"


def _since_1970(seconds: int) -> str:
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return f"second {seconds} after 1970"
    return _moment(moment.isoformat())


def _short(consent: str) -> str:
    return plain(consent)


def _until(word: str, time: Any) -> str:
    return f"{word} {_moment(time)}" if is_time(time) else ""


def _words(name: Any) -> str:
    """A name of the ledger as people read it: not_mine as not mine."""
    return plain(name).replace("_", " ") if isinstance(name, str) else ""


def _complaint(fields: Fields) -> str:
    """What a dispute is about: category and reason, where the entry tells them."""
    category, _, reason = _words(fields.get("about")).partition(".")
    if not category:
        return ""
    return f" about the category {category}" + (f" (reason: {reason})" if reason else "")


def _actor(fields: Fields) -> str:
    """Who caused an entry, in words; whoever has no known role, as the entry says."""
    match = re.fullmatch(r"spiffe://[^/]+/([a-z]+)/([^/]+)", _text(fields, "actor"))
    if match is None or match.group(1) not in _ROLES:
        return plain(_text(fields, "actor"))
    role = _ROLES[match.group(1)]
    return role if match.group(1) == "gateway" else f"{role} {plain(match.group(2))}"


def _member(fields: Fields) -> str:
    """The member that caused an entry; empty if another did."""
    match = re.fullmatch(r"spiffe://[^/]+/member/([^/]+)", _text(fields, "actor"))
    return match.group(1) if match else ""


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise Fault(f"its {name} is malformed")
    return value


def _texts(fields: Fields, name: str) -> list[str]:
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Fault(f"its {name} are malformed")
    return value


def _purpose(name: str) -> str:
    return _PURPOSES.get(name, _words(name))


def _categories(names: list[str]) -> str:
    word = "category" if len(names) == 1 else "categories"
    return f"the {word} {_list([_words(name) for name in names])}"


def _list(words: list[str]) -> str:
    """Words as a sentence has them: "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


# The report, for people. It follows from the proven content: this code writes it and re-checks it.

_REPORT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Evidence from a consent ledger</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:11pt/1.5 serif;max-width:45em;margin:2em auto;padding:0 1em}}
li{{margin:.4em 0;overflow-wrap:anywhere}}.note{{border:2px solid;padding:.5em 1em}}
@media print{{body{{margin:0}}li{{break-inside:avoid}}}}</style></head><body>
<div class="note"><p><strong>This page is not the authority.</strong> It can be changed by anyone.
The proof is the bundle it lies in. Get the ledger's key from the ledger's operator or supervisor,
<code>verify.py</code> from a source that you trust, and run:</p>
<p><code>python verify.py BUNDLE --key LEDGER_VKEY</code></p>
<p>It checks everything below, this page included, without any server.</p></div>
<h1>Evidence from the ledger {origin}</h1>
{sections}</body></html>
"""


def render_report(story: Story, origin: str) -> bytes:
    """report.html of a bundle, escaped, with nothing that is loaded from elsewhere."""
    sections = [
        ("The ledger", story.about),
        ("What its entries say", story.entry_lines),
        ("Not shown", story.not_shown),
        ("What no bundle can show", LIMITS),
    ]
    text = "".join(
        f"<h2>{title}</h2>\n<ul>\n"
        + "".join(f"<li>{html.escape(line)}</li>\n" for line in lines)
        + "</ul>\n"
        for title, lines in sections
        if lines
    )
    return _REPORT.format(origin=html.escape(plain(origin)), sections=text).encode()


def _check_report(story: Story, files: dict[str, bytes]) -> None:
    origin = read_note(files["checkpoint"]).origin
    if files["report.html"] != render_report(story, origin):
        story.faults.append(
            "report.html: not what the entries of the bundle say. It was changed, or the bundle "
            "was made for another version of this program: use that one, or make the bundle anew"
        )


# The command.


def verdict(story: Story) -> list[str]:
    """The outcome, in plain language."""
    if story.faults:
        lines = ["NOT PROVEN. The bundle is not evidence:"]
        return lines + _bullets(story.faults)
    lines = ["PROVEN."] if story.proven else ["NOT PROVEN, not all of it. The entries are genuine."]
    lines += [*story.about, *story.witnessed, "", "What the entries say:"]
    lines += [f"  - {line}" for line in story.entry_lines]
    if story.not_shown:
        lines += ["", "Not shown:", *_bullets(story.not_shown)]
    return lines + ["", "What this cannot detect:", *_bullets(list(LIMITS))]


def _bullets(lines: list[str]) -> list[str]:
    shown = [f"  - {line}" for line in lines[:MAX_SHOWN]]
    return shown + ([f"  - and {len(lines) - MAX_SHOWN} more"] if len(lines) > MAX_SHOWN else [])


def _keys(log: str, witnesses: list[str]) -> tuple[Key, list[Key]]:
    try:
        key = read_key(_key_text(log), 1)
        named = [read_key(_key_text(witness), 4) for witness in witnesses]
    except Fault as fault:
        raise Unreadable(str(fault)) from None
    if len({witness.public for witness in named} | {key.public}) != len(named) + 1:
        raise Unreadable("two of the keys are the same: each counts once")
    if len({witness.name for witness in named}) != len(named):
        raise Unreadable("two witnesses have the same name")
    return key, named


def _key_text(text: str) -> str:
    if "+" in text:
        return text
    try:
        with open(text, encoding="utf-8") as stream:
            return stream.read(10_000)
    except (OSError, ValueError):
        raise Fault(f"{plain(text)!r} is neither a verifier key nor the file of one") from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Check a bundle of evidence from a consent ledger."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder or a .zip file")
    parser.add_argument("--key", required=True, metavar="VKEY|FILE", help="the ledger's key")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY|FILE",
                        help="the key of a witness that you trust; may be repeated")  # fmt: skip
    parser.add_argument("--quorum", type=int, metavar="N",
                        help="how many of them must have cosigned; all, unless given")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # What the terminal cannot show is escaped, not a crash.
            stream.reconfigure(errors="backslashreplace")
    try:
        key, witnesses = _keys(options.key, options.witness)
        quorum = len(witnesses) if options.quorum is None else options.quorum
        if not 0 <= quorum <= len(witnesses):
            raise Unreadable(f"a quorum of {quorum} with {len(witnesses)} witnesses named")
        story = check_bundle(read_bundle(options.bundle), key, witnesses, quorum)
    except Unreadable as error:
        if options.json:
            print(json.dumps({"proven": False, "unreadable": str(error)}, indent=2))
        else:
            print(f"NOT READ. {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(_as_json(story), indent=2))
    else:
        print("\n".join(verdict(story)))
    return 0 if story.proven else 1


def _as_json(story: Story) -> Fields:
    return {
        "proven": story.proven,
        "faults": story.faults,
        "not_shown": story.not_shown,
        "ledger": story.about,
        "witnesses": story.witnessed,
        "entries": story.entry_lines,
        "cannot_detect": list(LIMITS),
    }


if __name__ == "__main__":
    sys.exit(main())
