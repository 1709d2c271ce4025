"""Witnesses' cosignatures on checkpoints: C2SP tlog-cosignature, `cosignature/v1`, Ed25519.

A cosignature is one more signature line of a checkpoint's note. It says that at its time the
witness knew no larger tree of the log, and that this tree extends every one it had cosigned:

    cosignature/v1
    time 1679315147                   POSIX seconds
    concordat.example/ledger          the checkpoint's whole text follows
    ...

Source: https://c2sp.org/tlog-cosignature. The key has signature type 0x04, so a log's key and a
witness's are told apart also where they share name and bytes.
"""

import base64
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from concordat_privacy.log.checkpoint import (
    Checkpoint,
    CheckpointError,
    Note,
    Signature,
    VerifierKey,
    check_name,
    key_id_of,
    open_note,
    parse_note,
    parse_signature,
    split_key,
    split_private_key,
)

_ALGORITHM = b"\x04"
_TIMESTAMP_BYTES = 8
_SIGNATURE_BYTES = _TIMESTAMP_BYTES + 64
MAX_TIMESTAMP = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public half of a witness's key."""

    name: str
    """Schema-less URL of the witness; it need not be reachable."""
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != 32:
            raise CheckpointError(f"key: an Ed25519 key has 32 bytes, not {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key on a signature line."""
        return key_id_of(self.name, _ALGORITHM, self.public)

    def encode(self) -> str:
        """The vkey text: name+key id+base64(0x04 || key)."""
        key = base64.b64encode(_ALGORITHM + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, vkey: str) -> "WitnessKey":
        """Parse a vkey of type 0x04. Raises CheckpointError. Whitespace around it is tolerated."""
        name, key_id, raw = split_key(vkey.strip(), _ALGORITHM)
        key = cls(name, raw)
        if key.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id is {key.key_id.hex()}, not {key_id}")
        return key

    def signed(self, line: Signature) -> bool:
        """Whether the line names this key; whether it verifies is `timestamp`'s to say."""
        return (line.name, line.key_id) == (self.name, self.key_id)

    def timestamp(self, body: str, line: Signature) -> int:
        """When this key cosigned the note text `body`, in POSIX seconds.

        Raises CheckpointError unless the line is this key's cosignature of exactly this text.
        """
        if not self.signed(line):
            raise CheckpointError(f"cosignature: of {line.name!r}, not of {self.name!r}")
        if len(line.signature) != _SIGNATURE_BYTES:
            raise CheckpointError(
                f"cosignature of {self.name!r}: {len(line.signature)} bytes, not {_SIGNATURE_BYTES}"
            )
        timestamp = int.from_bytes(line.signature[:_TIMESTAMP_BYTES], "big")
        if timestamp > MAX_TIMESTAMP:
            raise CheckpointError(f"cosignature of {self.name!r}: its time is out of range")
        key = Ed25519PublicKey.from_public_bytes(self.public)
        try:
            key.verify(line.signature[_TIMESTAMP_BYTES:], _message(body, timestamp))
        except InvalidSignature:
            raise CheckpointError(f"cosignature of {self.name!r}: does not verify") from None
        return timestamp


@dataclass(frozen=True, slots=True)
class WitnessSigningKey:
    """A witness's private key: an Ed25519 seed of 32 bytes, kept out of `repr`."""

    name: str
    seed: bytes = field(repr=False)
    verifier: WitnessKey = field(init=False, compare=False)
    """The public half."""
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.seed) != 32:
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
        return cls(name, random(32))

    def encode(self) -> str:
        """The skey text: PRIVATE+KEY+name+key id+base64(0x04 || seed). Keep it secret."""
        key = base64.b64encode(_ALGORITHM + self.seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{key}"

    @classmethod
    def decode(cls, skey: str) -> "WitnessSigningKey":
        """Parse an skey of type 0x04. Raises CheckpointError, whose text never holds the key."""
        name, key_id, seed = split_private_key(skey, _ALGORITHM)
        key = cls(name, seed)
        if key.verifier.key_id.hex() != key_id:
            raise CheckpointError(f"key {name!r}: the key id does not fit the key")
        return key

    def cosign(self, body: str, timestamp: int) -> str:
        """The cosignature of a checkpoint's note text, as a signature line with its newline.

        Args:
            body: the text that the log signed, with its final newline.
            timestamp: POSIX seconds.

        Raises CheckpointError for a time out of range. Whether the checkpoint may be cosigned is
        for `concordat_privacy.log.witness` to say.
        """
        if not 0 <= timestamp <= MAX_TIMESTAMP:
            raise CheckpointError(f"cosignature: time {timestamp} out of range")
        signature = self._private.sign(_message(body, timestamp))
        raw = self.verifier.key_id + timestamp.to_bytes(_TIMESTAMP_BYTES, "big") + signature
        return f"— {self.name} {base64.b64encode(raw).decode()}\n"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that its log has signed, and when each known witness cosigned it."""

    checkpoint: Checkpoint
    timestamps: Mapping[WitnessKey, int]
    """POSIX seconds; only witnesses whose cosignature verifies."""


def decode_key(vkey: str) -> VerifierKey | WitnessKey:
    """A vkey of either kind, a log's or a witness's. Raises CheckpointError."""
    try:
        return WitnessKey.decode(vkey)
    except CheckpointError:
        return VerifierKey.decode(vkey)


def check_witnesses(witnesses: Iterable[WitnessKey]) -> tuple[WitnessKey, ...]:
    """Witnesses that count once each. Raises CheckpointError where two have the same key.

    Under two names one key would count twice (C2SP tlog-policy: duplicate witnesses).
    """
    checked = tuple(witnesses)
    if len({key.public for key in checked}) != len(checked):
        raise CheckpointError("two witnesses have the same key")
    return checked


def open_cosigned(
    text: str, log_key: VerifierKey, witnesses: Iterable[WitnessKey], quorum: int = 0
) -> Cosigned:
    """The checkpoint in a note that its log and at least `quorum` of the witnesses have signed.

    Raises CheckpointError: as `open_note`, or a known witness's cosignature does not verify, or
    too few of them cosigned.
    """
    known = check_witnesses(witnesses)
    checkpoint = open_note(text, [log_key])
    timestamps = cosigners(parse_note(text), known)
    if len(timestamps) < quorum:
        names = ", ".join(sorted(key.name for key in timestamps)) or "none"
        raise CheckpointError(
            f"checkpoint of {checkpoint.origin!r}: {quorum} known witnesses wanted, "
            f"cosigned by {len(timestamps)}: {names}"
        )
    return Cosigned(checkpoint, timestamps)


def cosigners(note: Note, witnesses: Iterable[WitnessKey]) -> dict[WitnessKey, int]:
    """When each of the witnesses cosigned the note; the latest time where one did so repeatedly.

    Raises CheckpointError where a line of a known witness does not verify.
    """
    known = {(key.name, key.key_id): key for key in witnesses}
    timestamps: dict[WitnessKey, int] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            timestamp = key.timestamp(note.text, line)
            timestamps[key] = max(timestamp, timestamps.get(key, 0))
    return timestamps


def parse_line(text: str) -> Signature:
    """One signature line, with or without its newline. Raises CheckpointError."""
    line = text.removesuffix("\n")
    if "\n" in line:
        raise CheckpointError("cosignature: one line wanted")
    return parse_signature(line)


def add_lines(note: str, lines: Iterable[str]) -> str:
    """The note with further signature lines, each with its newline."""
    return note + "".join(lines)


def _message(body: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{body}".encode()
