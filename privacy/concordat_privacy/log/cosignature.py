"""What a witness adds to a checkpoint: a signature that says when it saw which tree.

A cosignature is one more signature line of the checkpoint's note, over a time and the note's text:

    cosignature/v1
    time 1679315147
    concordat.example/ledger
    15
    rKbDipCvhuX1GZ7g5BBe8sA6BbJ7...

Its bytes are the time (8 bytes, big-endian, POSIX seconds) and an Ed25519 signature. It states
that at that time this was the largest consistent tree of this log that the witness had seen.
Source: https://c2sp.org/tlog-cosignature, algorithm 0x04.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from concordat_privacy.log.checkpoint import (
    CheckpointError,
    Signature,
    check_name,
    parse_note,
    split_key,
)

_COSIGNATURE = b"\x04"
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public half of a witness's key."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != _KEY_BYTES:
            raise CheckpointError(f"key: an Ed25519 key has 32 bytes, not {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key on a signature line."""
        named = self.name.encode() + b"\n" + _COSIGNATURE + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def encode(self) -> str:
        """The vkey text: name+key id+base64(0x04 || key)."""
        key = base64.b64encode(_COSIGNATURE + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, vkey: str) -> "WitnessKey":
        """Parse a vkey. Raises CheckpointError. Whitespace around it is tolerated."""
        name, key_id, raw = split_key(vkey.strip(), _COSIGNATURE)
        key = cls(name, raw)
        if key.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id is {key.key_id.hex()}, not {key_id}")
        return key

    def verify(self, text: str, signature: bytes) -> int:
        """The time (POSIX seconds) of a cosignature over a note's text.

        Raises CheckpointError unless it is this key's, over exactly this text.
        """
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise CheckpointError(f"note: the cosignature of {self.name!r} is not 72 bytes")
        seconds = int.from_bytes(signature[:_TIME_BYTES], "big")
        if seconds >= 2**63:
            raise CheckpointError(f"note: the cosignature of {self.name!r} has no possible time")
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(
                signature[_TIME_BYTES:], _message(seconds, text)
            )
        except InvalidSignature:
            raise CheckpointError(
                f"note: the cosignature of {self.name!r} does not verify"
            ) from None
        return seconds


@dataclass(frozen=True, slots=True)
class WitnessSigningKey:
    """A witness's private key: an Ed25519 seed of 32 bytes, kept out of `repr`.

    It must sign nothing else: the signed text does not name the witness.
    """

    name: str
    seed: bytes = field(repr=False)
    verifier: WitnessKey = field(init=False, compare=False)
    """The public half."""
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.seed) != _KEY_BYTES:
            raise CheckpointError(f"key: an Ed25519 seed has 32 bytes, not {len(self.seed)}")
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        object.__setattr__(self, "_private", private)
        public = private.public_key().public_bytes_raw()
        object.__setattr__(self, "verifier", WitnessKey(self.name, public))

    @classmethod
    def generate(
        cls, name: str, random: Callable[[int], bytes] = os.urandom
    ) -> "WitnessSigningKey":
        """A new key whose seed is `random(32)`."""
        return cls(name, random(_KEY_BYTES))

    def encode(self) -> str:
        """The skey text: PRIVATE+KEY+name+key id+base64(0x04 || seed). Keep it secret."""
        key = base64.b64encode(_COSIGNATURE + self.seed).decode()
        return f"{_PREFIX}{self.name}+{self.verifier.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, skey: str) -> "WitnessSigningKey":
        """Parse an skey. Raises CheckpointError, whose text never holds the key."""
        text = skey.strip()
        if not text.startswith(_PREFIX):
            raise CheckpointError("key: a private key starts with PRIVATE+KEY+")
        name, key_id, seed = split_key(text.removeprefix(_PREFIX), _COSIGNATURE)
        key = cls(name, seed)
        if key.verifier.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id does not fit the key")
        return key

    def cosign(self, text: str, seconds: int) -> str:
        """The signature line, newline included, over a note's text at a time in POSIX seconds."""
        if not 0 <= seconds < 2**63:
            raise CheckpointError(f"cosignature: {seconds} is no possible time")
        signed = self._private.sign(_message(seconds, text))
        raw = self.verifier.key_id + seconds.to_bytes(_TIME_BYTES, "big") + signed
        return f"— {self.name} {base64.b64encode(raw).decode()}\n"


@dataclass(frozen=True, slots=True)
class Quorum:
    """Which witnesses count, and how many of them must have cosigned."""

    witnesses: tuple[WitnessKey, ...]
    needed: int

    def __post_init__(self) -> None:
        if len({(key.name, key.key_id) for key in self.witnesses}) != len(self.witnesses):
            raise CheckpointError("quorum: a witness is named twice")
        if len({key.public for key in self.witnesses}) != len(self.witnesses):
            raise CheckpointError("quorum: two witnesses have one key")
        if not 0 <= self.needed <= len(self.witnesses):
            raise CheckpointError(
                f"quorum: {self.needed} of {len(self.witnesses)} witnesses cannot be met"
            )

    def check(self, note: str) -> Mapping[str, int]:
        """Name -> time (POSIX seconds) of the witnesses that cosigned a note.

        Raises CheckpointError: malformed, a known witness's cosignature is wrong, or too few. The
        log's own signature is not looked at.
        """
        found = cosignatures(note, self.witnesses)
        if len(found) < self.needed:
            names = ", ".join(sorted(found)) or "none"
            raise CheckpointError(
                f"note: {self.needed} cosignatures are needed, found {len(found)} ({names})"
            )
        return found


def cosignatures(note: str, witnesses: Collection[WitnessKey]) -> Mapping[str, int]:
    """Name -> time (POSIX seconds) of the known witnesses that cosigned a note, each once.

    Signatures of unknown keys are ignored; a wrong one of a known key never is. Raises
    CheckpointError.
    """
    keys = {(key.name, key.key_id): key for key in witnesses}
    parsed = parse_note(note)
    found: dict[str, int] = {}
    for line in parsed.signatures:
        key = keys.get((line.name, line.key_id))
        if key is not None:
            seconds = key.verify(parsed.text, line.signature)
            found[key.name] = max(seconds, found.get(key.name, 0))
    return found


def parse_line(line: str) -> Signature:
    """One signature line, newline included, nothing verified. Raises CheckpointError."""
    if not line.endswith("\n") or "\n" in line[:-1]:
        # Such a text would, added to a note, change more than its signatures.
        raise CheckpointError("cosignature: exactly one line, with its newline, is wanted")
    (signature,) = parse_note(f"text\n\n{line}").signatures
    return signature


def with_cosignatures(note: str, lines: Sequence[str]) -> str:
    """The note with more signature lines, each with its newline; those it has are left out."""
    have = set(note.rpartition("\n\n")[2].splitlines(keepends=True))
    return note + "".join(line for line in dict.fromkeys(lines) if line not in have)


def _message(seconds: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
