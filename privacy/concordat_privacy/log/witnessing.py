"""A witness: it remembers the newest checkpoint that it cosigned, and cosigns only what extends it.

A request says from which size on it proves, and brings the proof and the checkpoint:

    old 12
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=

    concordat.example/ledger
    15
    ...

Sizes from which a request may go on: what the witness cosigned last, 0 where that is nothing.
Source: https://c2sp.org/tlog-witness, `add-checkpoint`; the refusals carry its HTTP statuses.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from concordat_privacy.log.checkpoint import VerifierKey, open_note, parse_checkpoint
from concordat_privacy.log.errors import CheckpointError, LogError
from concordat_privacy.log.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    ProofError,
    verify_consistency,
)
from concordat_privacy.log.signed_note import decode_base64, parse_note

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = 64 * 1024
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class Status(IntEnum):
    """HTTP statuses of refusals."""

    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_LOG = 404
    CONFLICT = 409
    """The request does not go on from the newest cosigned size, or names another root for it."""
    NOT_CONSISTENT = 422


class WitnessRefusal(LogError):
    """The witness does not cosign. `size` is what it cosigned last, where the log is known."""

    def __init__(self, status: Status, message: str, size: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.size = size


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request, its checkpoint not verified."""

    old: int
    proof: tuple[bytes, ...]
    """RFC 6962 consistency proof from `old` to the checkpoint's size; empty from 0."""
    note: str

    def encode(self) -> bytes:
        """The request's body."""
        lines = "".join(base64.b64encode(digest).decode() + "\n" for digest in self.proof)
        return f"old {self.old}\n{lines}\n{self.note}".encode()

    @classmethod
    def decode(cls, body: bytes) -> "AddCheckpoint":
        """Parse a request's body. Raises WitnessRefusal MALFORMED."""
        if len(body) > MAX_REQUEST_BYTES:
            raise _malformed(f"longer than {MAX_REQUEST_BYTES} bytes")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise _malformed("not UTF-8") from None
        head, separator, note = text.partition("\n\n")
        first, *rest = head.split("\n")
        old = _OLD.fullmatch(first)
        if not separator or old is None:
            raise _malformed("`old SIZE`, proof lines, an empty line and a checkpoint are wanted")
        if len(rest) > MAX_PROOF_LINES:
            raise _malformed(f"more than {MAX_PROOF_LINES} proof lines")
        try:
            proof = tuple(decode_base64(line, "proof line") for line in rest)
        except CheckpointError as error:
            raise _malformed(str(error)) from None
        if any(len(digest) != HASH_BYTES for digest in proof):
            raise _malformed(f"a proof line is not a hash of {HASH_BYTES} bytes")
        return cls(int(old[1]), proof, note)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest checkpoint of a log that the witness cosigned."""

    size: int
    root: bytes
    note: str
    """As the log signed it."""


def judge(
    request: AddCheckpoint, logs: Mapping[str, VerifierKey], seen: Mapping[str, Seen]
) -> tuple[str, Seen]:
    """The log's origin, and what is to be kept durably before the checkpoint is cosigned.

    `logs` are the known logs' keys and `seen` what was cosigned last, both by origin. Judging and
    keeping must be one step: of two requests at once one would else take the other's back.
    Raises WitnessRefusal.
    """
    try:
        origin = parse_checkpoint(parse_note(request.note).text).origin
    except CheckpointError as error:
        raise _malformed(str(error)) from None
    key = logs.get(origin)
    if key is None:
        raise WitnessRefusal(Status.UNKNOWN_LOG, f"this witness does not follow {origin!r}")
    last = seen.get(origin, Seen(0, EMPTY_ROOT, ""))
    try:
        checkpoint = open_note(request.note, [key])
    except CheckpointError as error:
        raise WitnessRefusal(Status.NOT_SIGNED, str(error)) from None
    if request.old > checkpoint.size:
        raise _malformed(f"old is {request.old}, beyond the checkpoint's {checkpoint.size}")
    if request.old != last.size:
        message = f"the newest checkpoint that was cosigned has size {last.size}"
        raise WitnessRefusal(Status.CONFLICT, message, last.size)
    if last.size == checkpoint.size and last.root != checkpoint.root:
        message = f"size {last.size} has another root: the log has forked"
        raise WitnessRefusal(Status.CONFLICT, message, last.size)
    try:
        _check_consistency(last, checkpoint.size, checkpoint.root, request.proof)
    except ProofError as error:
        message = f"no proof that it extends what was cosigned at size {last.size}: {error}"
        raise WitnessRefusal(Status.NOT_CONSISTENT, message, last.size) from None
    return origin, Seen(checkpoint.size, checkpoint.root, request.note)


def _check_consistency(last: Seen, size: int, root: bytes, proof: tuple[bytes, ...]) -> None:
    # RFC 6962 has no proof from the empty tree: every tree extends it.
    if last.size == 0:
        if proof:
            raise ProofError("a proof from size 0 is empty")
        return
    verify_consistency(last.size, size, last.root, root, proof)


def _malformed(message: str) -> WitnessRefusal:
    return WitnessRefusal(Status.MALFORMED, message)
