"""SignalService: translates, decides nothing; see rules.lookups."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import grpc

from concordat.v1 import common_pb2, signal_pb2, signal_pb2_grpc
from concordat_gateway.ledger.journal import Committed, Journal
from concordat_gateway.rules import lookups
from concordat_gateway.rules.lookups import Question, SubjectResult
from concordat_gateway.rules.reviews import CHUNK_SUBJECTS, Review
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import receipt_of, seconds_left
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION, SIGNALS, Disputed, SignalValue
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.metering import Quota
from concordat_rpc import call
from concordat_rpc.errors import invalid


class SignalServicer(signal_pb2_grpc.SignalServiceServicer):
    """Answers the calling member's lookups."""

    def __init__(
        self,
        journal: Journal,
        signals: SignalStore,
        subjects: Subjects,
        quota: Quota,
        disputed: Disputed,
        retention: Policy | None = None,
    ) -> None:
        """Make the service.

        `quota`: of lookups, for members for whom the operator set no other. `disputed`: what
        becomes of what subjects dispute. `retention`: the policy by which the gateway deletes.
        """
        self._journal = journal
        self._signals = signals
        self._subjects = subjects
        self._quota = quota
        self._disputed = disputed
        self._retention = retention

    def Lookup(
        self, request: signal_pb2.LookupRequest, _context: grpc.ServicerContext
    ) -> signal_pb2.LookupResponse:
        question = _question_of(request)
        committed = self._look_up([lookups.check_token(request.token)], request.epoch, question)
        [result] = committed.value.results
        return signal_pb2.LookupResponse(
            result=_result_of(result), receipt=receipt_of(committed.value.entry, committed)
        )

    def BatchLookup(
        self, request: signal_pb2.BatchLookupRequest, _context: grpc.ServicerContext
    ) -> signal_pb2.BatchLookupResponse:
        question = _question_of(request)
        committed = self._look_up(lookups.split_tokens(request.tokens), request.epoch, question)
        return signal_pb2.BatchLookupResponse(
            results=[_result_of(result) for result in committed.value.results],
            receipt=receipt_of(committed.value.entry, committed),
        )

    def ReviewPortfolio(
        self,
        request_iterator: Iterator[signal_pb2.ReviewPortfolioRequest],
        _context: grpc.ServicerContext,
    ) -> Iterator[signal_pb2.ReviewPortfolioResponse]:
        header = _header(request_iterator)
        review = Review(header.review_id, header.signals, header.max_age_months)
        # One chunk is in hand and one or two wait behind it: gRPC takes no more off the wire.
        for message in request_iterator:
            if message.WhichOneof("message") != "chunk":
                raise invalid("message", "every message after the first carries a chunk")
            chunk = message.chunk
            question = review.question(chunk.sequence, chunk.request_id)
            tokens = lookups.split_tokens(chunk.tokens, CHUNK_SUBJECTS)
            committed = self._look_up(tokens, header.epoch, question)
            yield signal_pb2.ReviewPortfolioResponse(
                sequence=chunk.sequence,
                results=[_result_of(result) for result in committed.value.results],
                receipt=receipt_of(committed.value.entry, committed),
            )

    def ListSignals(
        self, _request: signal_pb2.ListSignalsRequest, _context: grpc.ServicerContext
    ) -> signal_pb2.ListSignalsResponse:
        return signal_pb2.ListSignalsResponse(
            catalogue_version=CATALOGUE_VERSION,
            signals=[
                signal_pb2.SignalInfo(
                    name=definition.name,
                    band_labels=definition.labels,
                    category=common_pb2.DataCategory.ValueType(definition.category),
                    max_age_months=definition.max_age_months,
                    reason_en=definition.reason_en,
                    reason_zh=definition.reason_zh,
                )
                for definition in SIGNALS
            ],
        )

    def _look_up(
        self, tokens: Sequence[bytes], epoch: int, question: Question
    ) -> Committed[lookups.Lookup]:
        return self._subjects.settled(
            lambda store_epoch: self._look_up_at(store_epoch, tokens, epoch, question)
        )

    def _look_up_at(
        self, store_epoch: int, tokens: Sequence[bytes], epoch: int, question: Question
    ) -> Committed[lookups.Lookup]:
        caller = call.current().peer
        return lookups.look_up(
            self._journal,
            self._signals,
            caller,
            self._subjects.named(caller.name, tokens, epoch, store_epoch, seconds_left()),
            question,
            self._quota,
            seconds_left(),
            self._disputed,
            self._retention,
        )


def _header(messages: Iterator[signal_pb2.ReviewPortfolioRequest]) -> signal_pb2.ReviewHeader:
    first = next(messages, None)
    if first is None or first.WhichOneof("message") != "header":
        raise invalid("header", "the first message of a stream carries its header")
    return first.header


def _question_of(
    request: signal_pb2.LookupRequest | signal_pb2.BatchLookupRequest,
) -> Question:
    return Question.of(request.purpose, request.signals, request.request_id, request.max_age_months)


def _result_of(result: SubjectResult) -> signal_pb2.SubjectResult:
    if not result.permitted:
        return signal_pb2.SubjectResult(status=signal_pb2.SUBJECT_STATUS_NO_CONSENT)
    return signal_pb2.SubjectResult(
        status=signal_pb2.SUBJECT_STATUS_OK,
        signals=[_signal_of(value) for value in result.signals],
    )


# `compute` gives few values, again and again; to make a message of each took longer than all that
# it took to find them. A reply gets copies.
@lru_cache(maxsize=8_192)
def _signal_of(value: SignalValue) -> signal_pb2.Signal:
    return signal_pb2.Signal(
        name=value.name,
        band=value.band,
        band_label=value.label,
        as_of_month=value.as_of_month,
        coverage=signal_pb2.Coverage.ValueType(value.coverage),
        status=signal_pb2.SignalStatus.ValueType(value.status),
    )
