"""Checkpoints, receipts and exports."""

from concordat._context import Context
from concordat._export import ExportReader
from concordat._ledger import check_consistency, check_inclusion
from concordat._methods import GET_CHECKPOINT, GET_CONSISTENCY_PROOF, GET_INCLUSION_PROOF
from concordat._steps import Operation
from concordat.errors import InvalidInput, LedgerForked
from concordat.requests import checked_integer, checked_type
from concordat.results import Receipt, SignedCheckpoint, VerifiedReceipt
from concordat.v1 import ledger_pb2
from concordat_privacy.log.merkle import MAX_SIZE


def checkpoint(context: Context, timeout: float | None) -> Operation[SignedCheckpoint]:
    """The newest checkpoint, shown to agree with every one that this client has verified."""
    return (yield from _newest(context, timeout))


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


def export(
    context: Context, start_index: int, case: str
) -> tuple[ledger_pb2.ExportEntriesRequest, ExportReader]:
    """What to ask for, and what reads the replies. Raises InvalidInput."""
    start = checked_integer(start_index, "start_index", 0, MAX_SIZE)
    request = ledger_pb2.ExportEntriesRequest(
        start_index=start, case=checked_type(case, str, "case")
    )
    return request, ExportReader(context.ledger, start)


def _newest(context: Context, timeout: float | None) -> Operation[SignedCheckpoint]:
    request = ledger_pb2.GetCheckpointRequest()
    reply = yield from context.send(GET_CHECKPOINT, request, timeout)
    offered = context.ledger.open(reply.checkpoint)
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
