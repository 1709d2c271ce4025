"""ContributionService: translates, decides nothing; see rules.intake and rules.contributions."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

import grpc

from concordat.v1 import contribution_pb2, contribution_pb2_grpc
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import contributions
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.contributions import Accepted
from concordat_gateway.rules.intake import (
    AccountNumbers,
    ApplicationNumbers,
    Header,
    Intake,
    RawRow,
)
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import (
    refusals_of,
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.jurisdictions import UNNAMED
from concordat_rpc import call
from concordat_rpc.errors import invalid
from concordat_store.clock import Clock


class ContributionServicer(contribution_pb2_grpc.ContributionServiceServicer):
    """Takes the calling member's batches."""

    def __init__(
        self,
        journal: Journal,
        signals: SignalStore,
        subjects: Subjects,
        clock: Clock,
        jurisdiction: str = UNNAMED,
    ) -> None:
        """`jurisdiction`: code of the policy for consents that name none."""
        self._jurisdiction = jurisdiction
        self._journal = journal
        self._signals = signals
        self._subjects = subjects
        self._clock = clock

    def Contribute(
        self,
        request_iterator: Iterator[contribution_pb2.ContributeRequest],
        _context: grpc.ServicerContext,
    ) -> contribution_pb2.ContributeResponse:
        furnisher = call.current().peer
        header = _header(request_iterator)
        store_epoch = self._subjects.current_epoch()
        self._subjects.check_taken(header.epoch, store_epoch)

        def names(tokens: Sequence[bytes]) -> Sequence[SubjectKey]:
            return self._subjects.named(
                furnisher.name, tokens, header.epoch, store_epoch, seconds_left()
            ).keys

        intake = Intake(header, day_of(self._clock()), store_epoch, names)
        # A broken stream raises here, before anything was stored.
        for message in request_iterator:
            if message.WhichOneof("part") != "chunk":
                raise invalid("part", "every message after the first carries a chunk")
            intake.add([_raw(row) for row in message.chunk.rows])
        committed = contributions.contribute(
            self._journal,
            self._signals,
            furnisher,
            intake,
            _accepted_reply,
            seconds_left(),
            self._jurisdiction,
        )
        return stored_reply(contribution_pb2.ContributeResponse, committed)

    def GetBatch(
        self, request: contribution_pb2.GetBatchRequest, _context: grpc.ServicerContext
    ) -> contribution_pb2.GetBatchResponse:
        status = contributions.get_batch(
            self._journal, self._signals, call.current().peer, request.request_id
        )
        return contribution_pb2.GetBatchResponse(
            state=contribution_pb2.BatchState.ValueType(status.state),
            rows_accepted=status.rows_accepted,
            rows_refused=status.rows_refused,
            entry_index=status.entry_index,
            accepted_at=timestamp_of(status.accepted_at),
        )


def _header(messages: Iterator[contribution_pb2.ContributeRequest]) -> Header:
    first = next(messages, None)
    if first is None or first.WhichOneof("part") != "header":
        raise invalid("header", "the first message of a batch carries its header")
    return Header(
        first.header.request_id,
        first.header.epoch,
        first.header.catalogue_version,
        first.header.adverse_notice_sha256,
    )


# As the contract's messages name them.
_ACCOUNT = attrgetter(*AccountNumbers._fields)
_APPLICATION = attrgetter(*ApplicationNumbers._fields)


def _raw(row: contribution_pb2.ContributionRow) -> RawRow:
    match row.WhichOneof("record"):
        case "account":
            return RawRow(row.token, AccountNumbers._make(_ACCOUNT(row.account)))
        case "application":
            return RawRow(row.token, ApplicationNumbers._make(_APPLICATION(row.application)))
        case _:
            return RawRow(row.token, None)


def _accepted_reply(accepted: Accepted) -> bytes:
    return contribution_pb2.ContributeResponse(
        rows_accepted=accepted.rows_accepted,
        refused=refusals_of(accepted.refused),
        receipt=unsigned_receipt(accepted.entry),
    ).SerializeToString()
