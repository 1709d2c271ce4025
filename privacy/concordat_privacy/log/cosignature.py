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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.signed_note import PrivateKey, PublicKey, Signature, parse_note

_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class WitnessKey(PublicKey):
    """The public half of a witness's key."""

    ALGORITHM = b"\x04"

    def verify(self, text: str, signature: bytes) -> int:
        """The time (POSIX seconds) of a cosignature over a note's text.

        Raises CheckpointError unless it is this key's, over exactly this text.
        """
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise CheckpointError(f"note: the cosignature of {self.name!r} is not 72 bytes")
        seconds = int.from_bytes(signature[:_TIME_BYTES], "big")
        if seconds >= 2**63:
            raise CheckpointError(f"note: the cosignature of {self.name!r} has no possible time")
        if not self.signed(_message(seconds, text), signature[_TIME_BYTES:]):
            raise CheckpointError(f"note: the cosignature of {self.name!r} does not verify")
        return seconds


@dataclass(frozen=True, slots=True)
class WitnessSigningKey(PrivateKey):
    """A witness's private key: an Ed25519 seed of 32 bytes, kept out of `repr`.

    It must sign nothing else: the signed text does not name the witness.
    """

    VERIFIER = WitnessKey
    verifier: WitnessKey = field(init=False, compare=False)

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
