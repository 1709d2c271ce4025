"""C2SP signed notes: a text, signature lines, and the keys that make and check them.

    text, one line or more
                                      an empty line ends it
    — concordat.example/ledger M9e0l...   name, base64(key id || signature)

A public key is written as a vkey, name+key id+base64(algorithm || key); a private one as an skey.
Source: https://c2sp.org/signed-note.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from concordat_privacy.log.errors import CheckpointError

_PRIVATE = "PRIVATE+KEY+"
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_MAX_NOTE_BYTES = 1_000_000
_MAX_SIGNATURES = 100
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key with a name, as signed-note writes it; what it signs is its kind's."""

    ALGORITHM: ClassVar[bytes]
    """Signed-note's byte for what the key signs: a key of one kind is no key of another."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != _KEY_BYTES:
            raise CheckpointError(f"key: an Ed25519 key has 32 bytes, not {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key on a signature line (signed-note: key ID)."""
        named = self.name.encode() + b"\n" + self.ALGORITHM + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def encode(self) -> str:
        """The vkey text: name+key id+base64(algorithm || key)."""
        key = base64.b64encode(self.ALGORITHM + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, vkey: str) -> Self:
        """Parse a vkey. Raises CheckpointError. Whitespace around it is tolerated."""
        name, key_id, raw = _split_key(vkey.strip(), cls.ALGORITHM)
        key = cls(name, raw)
        if key.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id is {key.key_id.hex()}, not {key_id}")
        return key

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether an Ed25519 signature of 64 bytes is this key's, over exactly this message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The private half: an Ed25519 seed of 32 bytes, kept out of `repr`."""

    VERIFIER: ClassVar[type[PublicKey]]
    """The kind of the public half."""

    name: str
    seed: bytes = field(repr=False)
    verifier: PublicKey = field(init=False, compare=False)
    """The public half."""
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.seed) != _KEY_BYTES:
            raise CheckpointError(f"key: an Ed25519 seed has 32 bytes, not {len(self.seed)}")
        # Derived once: it takes as long as a signature.
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        object.__setattr__(self, "_private", private)
        public = private.public_key().public_bytes_raw()
        object.__setattr__(self, "verifier", self.VERIFIER(self.name, public))

    @classmethod
    def generate(cls, name: str, random: Callable[[int], bytes] = os.urandom) -> Self:
        """A new key whose seed is `random(32)`."""
        return cls(name, random(_KEY_BYTES))

    def encode(self) -> str:
        """The skey text: PRIVATE+KEY+name+key id+base64(algorithm || seed). Keep it secret."""
        key = base64.b64encode(self.verifier.ALGORITHM + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, skey: str) -> Self:
        """Parse an skey. Raises CheckpointError, whose text never holds the key."""
        text = skey.strip()
        if not text.startswith(_PRIVATE):
            raise CheckpointError(f"key: a private key starts with {_PRIVATE}")
        name, key_id, seed = _split_key(text.removeprefix(_PRIVATE), cls.VERIFIER.ALGORITHM)
        key = cls(name, seed)
        if key.verifier.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id does not fit the key")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note in parts, nothing verified yet. `text` ends with its newline."""

    text: str
    signatures: tuple[Signature, ...]


def parse_note(text: str) -> Note:
    """Split a signed note into text and signature lines. Raises CheckpointError."""
    if len(text) > _MAX_NOTE_BYTES:
        raise CheckpointError(f"note: longer than {_MAX_NOTE_BYTES} characters")
    if _CONTROL.search(text):
        raise CheckpointError("note: a control character")
    _check_unicode(text)
    body, separator, block = text.rpartition("\n\n")
    if not separator or not body:
        raise CheckpointError("note: no empty line between text and signatures")
    if not block:
        raise CheckpointError("note: no signature")
    if not block.endswith("\n"):
        raise CheckpointError("note: the last line has no newline")
    lines = block[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise CheckpointError(f"note: more than {_MAX_SIGNATURES} signatures")
    return Note(body + "\n", tuple(_parse_signature(line) for line in lines))


def check_name(name: str) -> None:
    """Raises CheckpointError for what cannot name a key."""
    if not name or "+" in name or any(c.isspace() for c in name) or _CONTROL.search(name):
        raise CheckpointError(f"key: {name!r} is not a name (no spaces, no plus signs)")
    _check_unicode(name)


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of one canonical base64 text, called `what`. Raises CheckpointError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointError(f"note: {what} is not base64") from None
    # One value, one text: b64decode ignores stray bits in the last character.
    if base64.b64encode(raw).decode() != text:
        raise CheckpointError(f"note: {what} is not canonical base64")
    return raw


def _parse_signature(line: str) -> Signature:
    if not line.startswith("— "):
        raise CheckpointError(f"note: {line[:40]!r} is not a signature line")
    name, separator, encoded = line[2:].partition(" ")
    if not separator:
        raise CheckpointError(f"note: {line[:40]!r} has no signature")
    check_name(name)
    raw = decode_base64(encoded, f"signature of {name!r}")
    if len(raw) <= _KEY_ID_BYTES:
        raise CheckpointError(f"note: the signature of {name!r} is too short")
    return Signature(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _split_key(text: str, algorithm: bytes) -> tuple[str, str, bytes]:
    """(name, key id, key bytes) of a vkey, or of an skey without its prefix.

    Raises CheckpointError, also for a key of another algorithm (its byte in signed-note).
    """
    # Base64 may hold a plus sign, a name may not.
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise CheckpointError("key: name, key id and key wanted, joined by +")
    name, key_id, encoded = parts
    check_name(name)
    if not _KEY_ID.fullmatch(key_id):
        raise CheckpointError(f"key {name!r}: the key id is not 8 lower-case hexadecimal digits")
    raw = decode_base64(encoded, f"key {name!r}")
    if raw[:1] != algorithm:
        raise CheckpointError(
            f"key {name!r}: an Ed25519 key of algorithm {algorithm[0]} is wanted, "
            f"not of {raw[0] if raw else 'none'}"
        )
    return name, key_id, raw[1:]


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CheckpointError("note: a lone surrogate") from None
