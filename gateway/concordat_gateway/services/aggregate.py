"""AggregateService: differentially private counts, from and to proto."""

import grpc

from concordat.v1 import aggregate_pb2, aggregate_pb2_grpc
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.aggregates import Asked, ask
from concordat_gateway.rules.budgets import Account, Caps, accounts, scopes_of
from concordat_gateway.services._translate import receipt_of
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.dp.query import Question, QuestionError, parse
from concordat_privacy.dp.rho import spent_epsilon
from concordat_privacy.jurisdictions import Policy
from concordat_rpc.call import current
from concordat_rpc.errors import FieldViolation, invalid_fields


class AggregateServicer(aggregate_pb2_grpc.AggregateServiceServicer):
    """Translates; `rules.aggregates` and `rules.budgets` decide."""

    def __init__(
        self,
        journal: Journal,
        signals: SignalStore,
        caps: Caps,
        retention: Policy | None = None,
    ) -> None:
        """`retention`: the policy by which the gateway deletes."""
        self._journal = journal
        self._signals = signals
        self._caps = caps
        self._retention = retention

    def Count(
        self, request: aggregate_pb2.CountRequest, _context: grpc.ServicerContext
    ) -> aggregate_pb2.CountResponse:
        call = current()
        question = _question(request)
        committed = ask(
            self._journal,
            self._signals,
            self._caps,
            call.peer,
            question,
            request.request_id,
            call.deadline_seconds_left,
            self._retention,
        )
        asked = committed.value
        return aggregate_pb2.CountResponse(
            cells=_cells(question, asked),
            error_95=asked.answer.error_95,
            mechanism=asked.answer.mechanism,
            charged_nano_rho=asked.charged,
            snapshot=asked.snapshot,
            receipt=receipt_of(asked.entry, committed),
        )

    def GetBudget(
        self, _request: aggregate_pb2.GetBudgetRequest, _context: grpc.ServicerContext
    ) -> aggregate_pb2.GetBudgetResponse:
        with self._journal.read() as connection:
            found = accounts(connection, scopes_of(current().peer), self._caps)
        return aggregate_pb2.GetBudgetResponse(budgets=[_budget(account) for account in found])


def _question(request: aggregate_pb2.CountRequest) -> Question:
    try:
        return parse(
            [(condition.dimension, list(condition.bands)) for condition in request.where],
            request.group_by,
            request.epsilon_micros,
            request.cells_per_person,
        )
    except QuestionError as error:
        raise invalid_fields(
            [FieldViolation(problem.field, problem.description) for problem in error.problems]
        ) from None


def _cells(question: Question, asked: Asked) -> list[aggregate_pb2.Cell]:
    if not question.group_by:
        return [aggregate_pb2.Cell(count=asked.answer.counts[0])]
    return [
        aggregate_pb2.Cell(band=band, band_label=label, count=count)
        for band, (label, count) in enumerate(
            zip(question.group_by.labels, asked.answer.counts, strict=True), start=1
        )
    ]


def _budget(account: Account) -> aggregate_pb2.Budget:
    return aggregate_pb2.Budget(
        scope=account.scope,
        cap_nano_rho=account.cap,
        spent_nano_rho=account.spent,
        spent_epsilon_micros=spent_epsilon(account.spent),
    )
