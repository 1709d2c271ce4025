"""What several services translate between the contract's messages and the rules' types."""

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from concordat.v1 import (
    common_pb2,
    consent_pb2,
    contribution_pb2,
    dispute_pb2,
    erasure_pb2,
    member_pb2,
    usage_pb2,
)
from concordat_gateway.ledger.journal import Committed, Entry
from concordat_gateway.rules.items import ItemRefusal
from concordat_rpc import call

_T = TypeVar("_T")
_StoredReply = TypeVar(
    "_StoredReply",
    consent_pb2.GrantConsentsResponse,
    consent_pb2.RequestConsentsResponse,
    contribution_pb2.ContributeResponse,
    contribution_pb2.WithdrawRowsResponse,
    dispute_pb2.OpenDisputeResponse,
    erasure_pb2.RequestErasureResponse,
    member_pb2.InviteMemberResponse,
    member_pb2.AcceptInvitationResponse,
    usage_pb2.SetLookupQuotaResponse,
)

_MICROSECONDS_A_SECOND = 1_000_000


def timestamp_of(moment: int) -> Timestamp:
    """The timestamp of microseconds since the epoch."""
    seconds, microseconds = divmod(moment, _MICROSECONDS_A_SECOND)
    return Timestamp(seconds=seconds, nanos=microseconds * 1_000)


def refusals_of(refused: Iterable[ItemRefusal]) -> list[common_pb2.ItemRefusal]:
    """Refused items, in their order."""
    return [
        common_pb2.ItemRefusal(
            item=refusal.item,
            field=refusal.field,
            reason=refusal.reason,
            description=refusal.description,
        )
        for refusal in refused
    ]


def receipt_of(entry: Entry, committed: Committed[_T]) -> common_pb2.Receipt:
    """The receipt of an entry that `committed` made durable."""
    return common_pb2.Receipt(
        entry_index=entry.index, entry=entry.leaf, checkpoint=committed.checkpoint
    )


def unsigned_receipt(entry: Entry) -> common_pb2.Receipt:
    """A receipt without its checkpoint.

    That is how replies are kept for repeated requests: the entry stays, the tree grows.
    """
    return common_pb2.Receipt(entry_index=entry.index, entry=entry.leaf)


def stored_reply(message: type[_StoredReply], committed: Committed[bytes]) -> _StoredReply:
    """A kept reply, its receipt (if it has one) signed with the checkpoint of now."""
    reply = message.FromString(committed.value)
    if reply.HasField("receipt"):
        reply.receipt.checkpoint = committed.checkpoint
    return reply


def seconds_left() -> float:
    """How long work for the current call may take."""
    return call.current().deadline_seconds_left
