"""One entry's proof as a text that verifies offline: C2SP tlog-proof.

    c2sp.org/tlog-proof@v1
    index 12
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=

    concordat.example/ledger
    15
    ...

The checkpoint at its end may carry witnesses' cosignatures. Source: https://c2sp.org/tlog-proof.
"""

import base64
import re
from dataclasses import dataclass

from concordat_privacy.log.checkpoint import Checkpoint, VerifierKey, open_note
from concordat_privacy.log.cosignature import Quorum
from concordat_privacy.log.errors import CheckpointError, LogError
from concordat_privacy.log.merkle import HASH_BYTES, ProofError, leaf_hash, verify_inclusion
from concordat_privacy.log.signed_note import decode_base64

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_MAX_CHARACTERS = 1_100_000
_MAX_HASHES = 64


class TlogProofError(LogError):
    """A proof is malformed, or does not prove the entry."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Where an entry stands, and why it does; nothing verified."""

    index: int
    hashes: tuple[bytes, ...]
    """RFC 6962 inclusion proof, leaf's side first."""
    note: str
    """Checkpoint with its signatures."""
    extra: bytes = b""
    """Opaque, authenticated by nothing."""

    def encode(self) -> str:
        """The text."""
        extra = f"extra {base64.b64encode(self.extra).decode()}\n" if self.extra else ""
        hashes = "".join(base64.b64encode(one).decode() + "\n" for one in self.hashes)
        return f"{_HEADER}\n{extra}index {self.index}\n{hashes}\n{self.note}"

    @classmethod
    def decode(cls, text: str) -> "TlogProof":
        """Parse a text. Raises TlogProofError."""
        if len(text) > _MAX_CHARACTERS:
            raise TlogProofError(f"longer than {_MAX_CHARACTERS} characters")
        head, separator, note = text.partition("\n\n")
        header, *lines = head.split("\n")
        if header != _HEADER or not separator:
            raise TlogProofError(f"the first line must be {_HEADER}, a checkpoint must follow")
        extra = b""
        try:
            if lines and lines[0].startswith("extra "):
                extra = decode_base64(lines.pop(0).removeprefix("extra "), "extra")
            index = _INDEX.fullmatch(lines.pop(0)) if lines else None
            if index is None:
                raise TlogProofError("no line `index N`")
            if len(lines) > _MAX_HASHES:
                raise TlogProofError(f"more than {_MAX_HASHES} hashes")
            hashes = tuple(decode_base64(line, "hash") for line in lines)
        except CheckpointError as error:
            raise TlogProofError(str(error)) from None
        if any(len(one) != HASH_BYTES for one in hashes):
            raise TlogProofError(f"a line is not a hash of {HASH_BYTES} bytes")
        return cls(int(index[1]), hashes, note, extra)

    def verify(self, entry: bytes, key: VerifierKey, quorum: Quorum | None = None) -> Checkpoint:
        """The checkpoint, once it is shown that the log, and enough witnesses, signed the entry in.

        `entry` is the exact leaf. Raises TlogProofError.
        """
        try:
            checkpoint = open_note(self.note, [key])
            if quorum is not None:
                quorum.check(self.note)
            verify_inclusion(
                leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root
            )
        except (CheckpointError, ProofError) as error:
            raise TlogProofError(str(error)) from None
        return checkpoint
