"""Signed tree heads: C2SP tlog-checkpoint bodies inside C2SP signed notes, with Ed25519.

    concordat.example/ledger          origin: which log
    15                                size: how many entries
    rKbDipCvhuX1GZ7g5BBe8sA6BbJ7...   root: RFC 6962 root hash, base64
                                      an empty line ends the text
    — concordat.example/ledger M9e0l...   name, base64(key id || signature)

Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint. A note may carry
signatures of keys that the reader does not know (witnesses); they are ignored. A wrong signature
of a known key is never ignored.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import HASH_BYTES, MAX_SIZE

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_FINGERPRINT_DIGITS = 32
_MAX_NOTE_BYTES = 1_000_000
_MAX_SIGNATURES = 100
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class CheckpointError(LogError):
    """A note, checkpoint or key is malformed, or its signature does not verify."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's state: its first `size` entries have the Merkle root `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin:
            raise CheckpointError("checkpoint: the origin is empty")
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line or _CONTROL.search(line):
                raise CheckpointError(f"checkpoint: {line!r} is not one line of text")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError(f"checkpoint: size {self.size} out of range")
        if len(self.root) != HASH_BYTES:
            raise CheckpointError(f"checkpoint: the root has {len(self.root)} bytes, wants 32")

    def body(self) -> str:
        """The text that is signed, with its final newline."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a log's or witness's key. `name` is the log's origin."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != 32:
            raise CheckpointError(f"key: an Ed25519 key has 32 bytes, not {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key on a signature line (signed-note: key ID)."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    @property
    def fingerprint(self) -> str:
        """For people to compare: the first half of SHA-256 of the vkey text, in hexadecimal.

        128 bits: nobody can make another key that has it.
        """
        digest = hashlib.sha256(self.encode().encode()).hexdigest()[:_FINGERPRINT_DIGITS]
        return " ".join(digest[at : at + 4] for at in range(0, _FINGERPRINT_DIGITS, 4))

    def encode(self) -> str:
        """The vkey text: name+key id+base64(algorithm || key)."""
        key = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, vkey: str) -> "VerifierKey":
        """Parse a vkey. Raises CheckpointError. Whitespace around it is tolerated."""
        name, key_id, raw = split_key(vkey.strip(), _ED25519)
        key = cls(name, raw)
        if key.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id is {key.key_id.hex()}, not {key_id}")
        return key

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, over exactly this message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A log's private key: an Ed25519 seed of 32 bytes, kept out of `repr`."""

    name: str
    seed: bytes = field(repr=False)
    verifier: VerifierKey = field(init=False, compare=False)
    """The public half."""
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.seed) != 32:
            raise CheckpointError(f"key: an Ed25519 seed has 32 bytes, not {len(self.seed)}")
        # Derived once: it takes as long as a signature.
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        object.__setattr__(self, "_private", private)
        public = private.public_key().public_bytes_raw()
        object.__setattr__(self, "verifier", VerifierKey(self.name, public))

    @classmethod
    def generate(cls, name: str, random: Callable[[int], bytes] = os.urandom) -> "SigningKey":
        """A new key whose seed is `random(32)`."""
        return cls(name, random(32))

    def encode(self) -> str:
        """The skey text: PRIVATE+KEY+name+key id+base64(algorithm || seed). Keep it secret."""
        key = base64.b64encode(_ED25519 + self.seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, skey: str) -> "SigningKey":
        """Parse an skey. Raises CheckpointError, whose text never holds the key."""
        prefix, found, rest = skey.strip().partition("PRIVATE+KEY+")
        if prefix or not found:
            raise CheckpointError("key: a private key starts with PRIVATE+KEY+")
        name, key_id, seed = split_key(rest, _ED25519)
        key = cls(name, seed)
        if key.verifier.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id does not fit the key")
        return key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature."""
        return self._private.sign(message)


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


def sign(checkpoint: Checkpoint, key: SigningKey) -> str:
    """The checkpoint as a signed note. Raises CheckpointError unless key.name is the origin."""
    if key.name != checkpoint.origin:
        raise CheckpointError(
            f"checkpoint of {checkpoint.origin!r} cannot be signed as {key.name!r}"
        )
    body = checkpoint.body()
    line = base64.b64encode(key.verifier.key_id + key.sign(body.encode())).decode()
    return f"{body}\n— {key.name} {line}\n"


def open_note(text: str, verifier_keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint in a note that a known key of its own origin has signed.

    Raises CheckpointError: malformed, a known key's signature is wrong, or no known key whose
    name is the origin has signed.
    """
    keys = {(key.name, key.key_id): key for key in verifier_keys}
    note = parse_note(text)
    message = note.text.encode()
    signers: set[str] = set()
    for line in note.signatures:
        key = keys.get((line.name, line.key_id))
        if key is None:
            continue
        if not key.verify(message, line.signature):
            raise CheckpointError(f"note: the signature of {line.name!r} does not verify")
        signers.add(key.name)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin not in signers:
        # With key ids: a log that was made anew has the same name and another key.
        known = ", ".join(f"{name}+{key_id.hex()}" for name, key_id in sorted(keys)) or "none"
        signed = ", ".join(f"{line.name}+{line.key_id.hex()}" for line in note.signatures)
        raise CheckpointError(
            f"checkpoint of {checkpoint.origin!r}: not signed by its log "
            f"(signed by: {signed}; known keys: {known})"
        )
    return checkpoint


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


def parse_checkpoint(body: str) -> Checkpoint:
    """The checkpoint in the text of a note, nothing verified. Raises CheckpointError."""
    if not body.endswith("\n"):
        raise CheckpointError("checkpoint: the last line has no newline")
    lines = body[:-1].split("\n")
    if len(lines) < 3:
        raise CheckpointError("checkpoint: origin, size and root wanted, a line each")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise CheckpointError(f"checkpoint: {size[:40]!r} is not a size")
    return Checkpoint(origin, int(size), decode_base64(root, "root"), tuple(extensions))


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


def split_key(text: str, algorithm: bytes) -> tuple[str, str, bytes]:
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


def check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() for c in name) or _CONTROL.search(name):
        raise CheckpointError(f"key: {name!r} is not a name (no spaces, no plus signs)")
    _check_unicode(name)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CheckpointError("note: a lone surrogate") from None


def decode_base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointError(f"note: {what} is not base64") from None
    # One value, one text: b64decode ignores stray bits in the last character.
    if base64.b64encode(raw).decode() != text:
        raise CheckpointError(f"note: {what} is not canonical base64")
    return raw
