"""Evidence that one entry is in a log, as one text file: C2SP tlog-proof.

    c2sp.org/tlog-proof@v1
    extra <base64>                    optional, opaque, not authenticated
    index 73894                       the entry's, from 0
    gSKyXoYZUgZ6jduWYrkDOARinOMG...   inclusion proof, a hash a line, leaf's side first
                                      an empty line
    example.com/fancylog              the checkpoint's note, with witnesses' cosignatures

Source: https://c2sp.org/tlog-proof. With the entry's bytes, the log's key and those of its
witnesses it is verified offline, whoever hands it over. Files end in `.tlog-proof`.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from concordat_privacy.log.checkpoint import CheckpointError, VerifierKey, decode_base64
from concordat_privacy.log.cosignature import Cosigned, WitnessKey, open_cosigned
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import HASH_BYTES, MAX_SIZE, leaf_hash, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
MAX_PROOF_BYTES = 1_100_000
"""Of a file: a note may have a million characters."""
_MAX_HASHES = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class ProofFileError(LogError):
    """A text is no tlog-proof."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof and the signed checkpoint that it leads to; nothing verified yet."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    """The checkpoint, verbatim."""
    extra: bytes | None = None
    """What the writer added. Nothing vouches for it."""

    def encode(self) -> str:
        """The file's text."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(digest).decode() for digest in self.hashes]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> "TlogProof":
        """Parse a file's text. Raises ProofFileError; nothing is verified."""
        if len(text) > MAX_PROOF_BYTES:
            raise ProofFileError(f"proof: longer than {MAX_PROOF_BYTES} characters")
        head, found, note = text.partition("\n\n")
        header, *lines = head.split("\n")
        if header != HEADER:
            raise ProofFileError(f"proof: the first line is not {HEADER}")
        if not found:
            raise ProofFileError("proof: no empty line before the checkpoint")
        extra: bytes | None = None
        if lines and lines[0].startswith("extra "):
            extra = _decode(lines.pop(0).removeprefix("extra "), "extra data")
        index = _INDEX.fullmatch(lines[0]) if lines else None
        if index is None or int(index[1]) >= MAX_SIZE:
            raise ProofFileError("proof: no line `index NUMBER` where it is due")
        hashes = tuple(_decode(line, "a hash") for line in lines[1:])
        if len(hashes) > _MAX_HASHES or any(len(digest) != HASH_BYTES for digest in hashes):
            raise ProofFileError(f"proof: up to {_MAX_HASHES} hashes of {HASH_BYTES} bytes wanted")
        return cls(int(index[1]), hashes, note, extra)

    def verify(
        self,
        entry: bytes,
        log_key: VerifierKey,
        witnesses: Iterable[WitnessKey] = (),
        quorum: int = 0,
    ) -> Cosigned:
        """Show that the log holds exactly these bytes at `index`; returns what they are in.

        Raises CheckpointError (the checkpoint is not signed by the log, or cosigned by fewer than
        `quorum` of the witnesses), ProofError (the entry is not in its tree).
        """
        cosigned = open_cosigned(self.note, log_key, witnesses, quorum)
        tree = cosigned.checkpoint
        verify_inclusion(leaf_hash(entry), self.index, tree.size, self.hashes, tree.root)
        return cosigned


def _decode(text: str, what: str) -> bytes:
    try:
        return decode_base64(text, what)
    except CheckpointError as error:
        raise ProofFileError(f"proof: {error}") from None
