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
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.merkle import HASH_BYTES, MAX_SIZE
from concordat_privacy.log.signed_note import (
    PrivateKey,
    PublicKey,
    decode_base64,
    parse_note,
)

_FINGERPRINT_DIGITS = 32
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


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
class VerifierKey(PublicKey):
    """The public half of a log's key. `name` is the log's origin."""

    ALGORITHM = b"\x01"

    @property
    def fingerprint(self) -> str:
        """For people to compare: the first half of SHA-256 of the vkey text, in hexadecimal.

        128 bits: nobody can make another key that has it.
        """
        digest = hashlib.sha256(self.encode().encode()).hexdigest()[:_FINGERPRINT_DIGITS]
        return " ".join(digest[at : at + 4] for at in range(0, _FINGERPRINT_DIGITS, 4))

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, over exactly this message."""
        return self.signed(message, signature)


@dataclass(frozen=True, slots=True)
class SigningKey(PrivateKey):
    """A log's private key: an Ed25519 seed of 32 bytes, kept out of `repr`."""

    VERIFIER = VerifierKey
    verifier: VerifierKey = field(init=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature."""
        return self._private.sign(message)


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
