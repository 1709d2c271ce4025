"""Checkpoints, receipts and exports."""

from itertools import pairwise

from concordat._checks import checked_integer, checked_text, checked_type
from concordat._context import Context
from concordat._export import ExportReader
from concordat._ledger import check_consistency, check_inclusion
from concordat._methods import (
    ADD_COSIGNATURE,
    GET_CHECKPOINT,
    GET_CONSISTENCY_PROOF,
    GET_COSIGNED_CHECKPOINT,
    GET_INCLUSION_PROOF,
    LIST_TIMESTAMPS,
)
from concordat._steps import Operation
from concordat.errors import InvalidInput, LedgerForked, NotFound, ProtocolViolation
from concordat.results import LedgerTimestamp, Receipt, SignedCheckpoint, VerifiedReceipt
from concordat.v1 import ledger_pb2
from concordat_privacy.log.merkle import MAX_SIZE
from concordat_privacy.log.proof import TlogProof

MAX_COSIGNATURE_CHARACTERS = 1_000


def checkpoint(context: Context, timeout: float | None) -> Operation[SignedCheckpoint]:
    """The newest checkpoint, shown to agree with every one that this client has verified."""
    return (yield from _newest(context, timeout))


def checkpoint_to_cosign(context: Context, timeout: float | None) -> Operation[SignedCheckpoint]:
    """The checkpoint that the gateway wants cosigned, shown to agree with what was seen."""
    offered = yield from _get_checkpoint(context, timeout, to_cosign=True)
    yield from _agree(context, offered, timeout)
    return offered


def consistency_proof(
    context: Context, old_size: int, new_size: int, timeout: float | None
) -> Operation[tuple[bytes, ...]]:
    """The gateway's proof that one tree extends another, not verified."""
    request = ledger_pb2.GetConsistencyProofRequest(
        old_size=checked_integer(old_size, "old_size", 1, MAX_SIZE),
        new_size=checked_integer(new_size, "new_size", old_size, MAX_SIZE),
    )
    reply = yield from context.send(GET_CONSISTENCY_PROOF, request, timeout)
    return tuple(reply.hashes)


def verify_receipt(
    context: Context, receipt: Receipt, timeout: float | None
) -> Operation[VerifiedReceipt]:
    """Show that a receipt's entry is in the newest tree, and that its history is unbroken."""
    promised = context.ledger.check_receipt(checked_type(receipt, Receipt, "receipt"))
    newest = yield from _newest(context, timeout)
    older, newer = sorted((promised, newest), key=lambda signed: signed.checkpoint.size)
    yield from _prove_extension(context, older, newer, timeout)
    request = ledger_pb2.GetInclusionProofRequest(
        entry_index=receipt.entry_index, tree_size=newer.checkpoint.size
    )
    reply = yield from context.send(GET_INCLUSION_PROOF, request, timeout)
    check_inclusion(receipt, list(reply.hashes), newer)
    return VerifiedReceipt(receipt.entry_index, receipt.fields, newer)


def cosigned_checkpoint(context: Context, timeout: float | None) -> Operation[SignedCheckpoint]:
    """The newest checkpoint that enough witnesses cosigned, shown to agree with what was seen."""
    request = ledger_pb2.GetCosignedCheckpointRequest()
    reply = yield from context.send(GET_COSIGNED_CHECKPOINT, request, timeout)
    cosigned = context.ledger.open(reply.checkpoint)
    yield from _agree(context, cosigned, timeout)
    return cosigned


def add_cosignature(
    context: Context, size: int, cosignature: str, timeout: float | None
) -> Operation[tuple[int, int]]:
    """Bring a witness's cosignature; (cosignatures of this tree, how many are wanted)."""
    line = checked_type(cosignature, str, "cosignature").removesuffix("\n")
    request = ledger_pb2.AddCosignatureRequest(
        tree_size=checked_integer(size, "size", 1, MAX_SIZE),
        cosignature=checked_text(line, "cosignature", MAX_COSIGNATURE_CHARACTERS) + "\n",
    )
    reply = yield from context.send(ADD_COSIGNATURE, request, timeout)
    return reply.cosignatures, reply.quorum


def timestamps(
    context: Context, after_size: int, timeout: float | None
) -> Operation[tuple[LedgerTimestamp, ...]]:
    """Some time-stamps of larger trees, in order of size."""
    after = checked_integer(after_size, "after_size", 0, MAX_SIZE)
    request = ledger_pb2.ListTimestampsRequest(after_tree_size=after)
    reply = yield from context.send(LIST_TIMESTAMPS, request, timeout)
    found = tuple(LedgerTimestamp(one.tree_size, one.response) for one in reply.timestamps)
    sizes = [after, *(one.size for one in found)]
    if any(left >= right for left, right in pairwise(sizes)):
        raise ProtocolViolation("the time-stamps are not in order of their trees' sizes")
    return found


def prove(context: Context, receipt: Receipt, timeout: float | None) -> Operation[TlogProof]:
    """A proof of a receipt's entry that verifies offline, in the newest cosigned tree it is in."""
    context.ledger.check_receipt(checked_type(receipt, Receipt, "receipt"))
    proof, tree = yield from _prove_index(context, receipt.entry_index, timeout)
    check_inclusion(receipt, proof.hashes, tree)
    return proof


def prove_entry(context: Context, index: int, timeout: float | None) -> Operation[TlogProof]:
    """As `prove`, for an entry known by its index only: what it proves is not looked at."""
    checked = checked_integer(index, "index", 0, MAX_SIZE)
    proof, _tree = yield from _prove_index(context, checked, timeout)
    return proof


def export(
    context: Context, start_index: int, case: str, cosigned: bool
) -> tuple[ledger_pb2.ExportEntriesRequest, ExportReader]:
    """What to ask for, and what reads the replies. Raises InvalidInput."""
    start = checked_integer(start_index, "start_index", 0, MAX_SIZE)
    request = ledger_pb2.ExportEntriesRequest(
        start_index=start,
        case=checked_type(case, str, "case"),
        cosigned=checked_type(cosigned, bool, "cosigned"),
    )
    return request, ExportReader(context.ledger, start)


def _prove_index(
    context: Context, index: int, timeout: float | None
) -> Operation[tuple[TlogProof, SignedCheckpoint]]:
    try:
        tree = yield from cosigned_checkpoint(context, timeout)
    except NotFound:
        tree = yield from _newest(context, timeout)
    if tree.checkpoint.size <= index:
        tree = yield from _newest(context, timeout)
    request = ledger_pb2.GetInclusionProofRequest(entry_index=index, tree_size=tree.checkpoint.size)
    reply = yield from context.send(GET_INCLUSION_PROOF, request, timeout)
    return TlogProof(index, tuple(reply.hashes), tree.note), tree


def _get_checkpoint(
    context: Context, timeout: float | None, *, to_cosign: bool
) -> Operation[SignedCheckpoint]:
    request = ledger_pb2.GetCheckpointRequest(to_cosign=to_cosign)
    reply = yield from context.send(GET_CHECKPOINT, request, timeout)
    return context.ledger.open(reply.checkpoint)


def _newest(context: Context, timeout: float | None) -> Operation[SignedCheckpoint]:
    offered = yield from _get_checkpoint(context, timeout, to_cosign=False)
    return (yield from _agree(context, offered, timeout))


def _agree(
    context: Context, offered: SignedCheckpoint, timeout: float | None
) -> Operation[SignedCheckpoint]:
    """Show that a checkpoint agrees with the newest that was seen; returns the newer of them."""
    context.ledger.check_root(offered)
    while True:
        seen = context.ledger.seen
        if seen is None or seen.checkpoint.size == offered.checkpoint.size:
            return offered
        if seen.checkpoint.size > offered.checkpoint.size:
            # Another call has seen more since; what it saw must still extend this answer.
            yield from _prove_extension(context, offered, seen, timeout)
            return seen
        yield from _prove_extension(context, seen, offered, timeout)
        if context.ledger.adopt(seen, offered):
            return offered


def _prove_extension(
    context: Context,
    older: SignedCheckpoint,
    newer: SignedCheckpoint,
    timeout: float | None,
) -> Operation[None]:
    old_size, new_size = older.checkpoint.size, newer.checkpoint.size
    hashes: list[bytes] = []
    if 0 < old_size < new_size:
        request = ledger_pb2.GetConsistencyProofRequest(old_size=old_size, new_size=new_size)
        try:
            reply = yield from context.send(GET_CONSISTENCY_PROOF, request, timeout)
        except InvalidInput:
            # Sizes out of range: the gateway has signed this tree, and now does not have it.
            raise LedgerForked(
                f"the gateway has no longer the ledger's tree of size {new_size}, which it signed; "
                "keep both checkpoints as evidence",
                seen=newer.note,
                offered=older.note,
            ) from None
        hashes = list(reply.hashes)
    check_consistency(older, newer, hashes)
