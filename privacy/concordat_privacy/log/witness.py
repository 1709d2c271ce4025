"""What a witness asks and decides: C2SP tlog-witness, `add-checkpoint`. No state of its own.

    old 20852014                      size of the checkpoint that the witness cosigned last
    PlRNCrwHpqhGrupue0L7gxbjbMi...    consistency proof from there, a hash a line, at most 63
                                      an empty line
    example.com/behind-the-sofa       the checkpoint's signed note

Source: https://c2sp.org/tlog-witness. Whoever uses a decision must make state and decision one
step: read the last cosigned checkpoint, decide, store the new one durably, only then answer; with
nobody else in between.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from concordat_privacy.log.checkpoint import (
    Checkpoint,
    CheckpointError,
    VerifierKey,
    decode_base64,
    open_note,
    parse_checkpoint,
    parse_note,
)
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import EMPTY_ROOT, HASH_BYTES, ProofError, verify_consistency

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = 64 * 1024
"""Room for 63 hashes and a note with a hundred signature lines."""
SIZE_TYPE = "text/x.tlog.size"
"""Content type of the answer that tells the size that the witness has."""
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class Reason(Enum):
    """Why a witness does not cosign; the value is the HTTP status that the protocol gives it."""

    MALFORMED = 400
    """The request, or its note, is not of the protocol's form; or old is above the checkpoint."""
    NOT_SIGNED = 403
    """No key that the witness trusts for the log has signed the checkpoint."""
    UNKNOWN_LOG = 404
    """The witness does not follow a log of this origin."""
    OTHER_SIZE = 409
    """The witness has cosigned another size last: prove from there."""
    FORKED = -409
    """The log has signed two different trees of one size. On the wire it is a 409 too."""
    UNPROVEN = 422
    """The proof does not join the two checkpoints."""

    @property
    def status(self) -> int:
        """HTTP status code."""
        return abs(self.value)


class WitnessRefusal(LogError):
    """The witness does not cosign."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        last: Checkpoint | None = None,
        offered: Checkpoint | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.last = last
        """What the witness cosigned last, where the reason has to do with it."""
        self.offered = offered
        """The authentic checkpoint that was refused, where it is one."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign. `note` is the checkpoint as signed by its log."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    def encode(self) -> bytes:
        """The request's body."""
        hashes = "".join(f"{base64.b64encode(digest).decode()}\n" for digest in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.note}".encode()

    @classmethod
    def parse(cls, body: bytes) -> "AddCheckpoint":
        """Parse a request's body. Raises WitnessRefusal MALFORMED."""
        if len(body) > MAX_REQUEST_BYTES:
            raise WitnessRefusal(Reason.MALFORMED, f"longer than {MAX_REQUEST_BYTES} bytes")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise WitnessRefusal(Reason.MALFORMED, "not UTF-8") from None
        head, found, note = text.partition("\n\n")
        first, *hashes = head.split("\n")
        old = _OLD.fullmatch(first)
        if old is None:
            raise WitnessRefusal(Reason.MALFORMED, "the first line is not `old SIZE`")
        if not found:
            raise WitnessRefusal(Reason.MALFORMED, "no empty line before the checkpoint")
        if len(hashes) > MAX_PROOF_LINES:
            raise WitnessRefusal(Reason.MALFORMED, f"more than {MAX_PROOF_LINES} proof lines")
        try:
            proof = tuple(decode_base64(line, "a proof line") for line in hashes)
            parse_checkpoint(parse_note(note).text)
        except CheckpointError as error:
            raise WitnessRefusal(Reason.MALFORMED, str(error)) from None
        if any(len(digest) != HASH_BYTES for digest in proof):
            raise WitnessRefusal(Reason.MALFORMED, f"a proof line is not {HASH_BYTES} bytes")
        return cls(int(old[1]), proof, note)


class Witness:
    """The logs that a witness follows, and its judgement of what they offer."""

    def __init__(self, logs: Iterable[VerifierKey]) -> None:
        """`logs`: keys that sign checkpoints; the name of each is its log's origin."""
        self._logs: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(key)

    @property
    def logs(self) -> Mapping[str, Sequence[VerifierKey]]:
        """The followed logs' keys by origin."""
        return self._logs

    def decide(
        self, request: AddCheckpoint, last_of: Callable[[str], Checkpoint | None]
    ) -> Checkpoint:
        """The checkpoint to cosign. Raises WitnessRefusal.

        Args:
            last_of: the checkpoint that was cosigned last for an origin; None before the first.
        """
        offered = self.authentic(request)
        check_extension(last_of(offered.origin), request, offered)
        return offered

    def authentic(self, request: AddCheckpoint) -> Checkpoint:
        """The request's checkpoint, signed by a log that is followed. Raises WitnessRefusal."""
        origin = parse_checkpoint(parse_note(request.note).text).origin
        keys = self._logs.get(origin)
        if keys is None:
            raise WitnessRefusal(Reason.UNKNOWN_LOG, f"no log {origin!r} is followed")
        try:
            return open_note(request.note, keys)
        except CheckpointError as error:
            raise WitnessRefusal(Reason.NOT_SIGNED, str(error)) from None


def check_extension(last: Checkpoint | None, request: AddCheckpoint, offered: Checkpoint) -> None:
    """Raise WitnessRefusal unless the request shows that `offered` extends what was cosigned last.

    From size 0 no proof is wanted and none may be given, unlike in RFC 9162, where there is
    nothing to prove from size 0.
    """
    size, root = (0, EMPTY_ROOT) if last is None else (last.size, last.root)
    if request.old_size > offered.size:
        raise WitnessRefusal(
            Reason.MALFORMED,
            f"old {request.old_size} is above the checkpoint's size {offered.size}",
            last=last,
            offered=offered,
        )
    if offered.size == size and offered.root != root:
        # Whatever old it came with: two signatures of one key on two trees of one size.
        raise WitnessRefusal(
            Reason.FORKED,
            f"the log has signed two different trees of size {size}",
            last=last,
            offered=offered,
        )
    if request.old_size != size:
        raise WitnessRefusal(
            Reason.OTHER_SIZE, f"cosigned last: size {size}", last=last, offered=offered
        )
    try:
        if size > 0:
            verify_consistency(size, offered.size, root, offered.root, request.proof)
        elif request.proof:
            raise ProofError("from size 0 no proof may be given")
    except ProofError as error:
        raise WitnessRefusal(Reason.UNPROVEN, str(error), last=last, offered=offered) from None
