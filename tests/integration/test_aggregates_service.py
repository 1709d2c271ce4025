"""AggregateService in the contract's messages."""

import os
import time
from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest

from concordat.v1 import aggregate_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.budgets import Caps
from concordat_gateway.services.aggregate import AggregateServicer
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.dp.rho import NanoRho
from concordat_privacy.log import leaf
from concordat_rpc.call import Call, serving
from concordat_rpc.errors import Kind, Refusal
from concordat_rpc.peer import Peer, Role, Serial
from tests.integration.test_aggregates import ALPHA, Pool
from tests.stores import ManualClock

AUDITOR = Peer(Role.AUDITOR, "auditor", "spiffe://concordat.test/auditor/auditor")
CAPS = Caps(pool=NanoRho(5_000_000_000), member=NanoRho(4_500_000_000))
# The service reads the caller from the call being served, never from gRPC's context.
NO_CONTEXT = cast(grpc.ServicerContext, None)


def call_of(peer: Peer) -> Call:
    return Call(peer, Serial("1"), "/concordat.v1.AggregateService/Count", time.monotonic() + 60)


@pytest.fixture
def service(journal: Journal, signal_store: SignalStore, clock: ManualClock) -> AggregateServicer:
    Pool(journal, signal_store, clock)  # joins the members
    return AggregateServicer(journal, signal_store, CAPS)


@pytest.fixture(autouse=True)
def as_alpha() -> Iterator[None]:
    with serving(call_of(ALPHA)):
        yield


def count(service: AggregateServicer, **fields: Any) -> aggregate_pb2.CountResponse:
    values = {
        "epsilon_micros": 3_000_000,
        "cells_per_person": 1,
        "request_id": os.urandom(16),
    } | fields
    return service.Count(aggregate_pb2.CountRequest(**values), NO_CONTEXT)


def budgets(service: AggregateServicer) -> dict[str, aggregate_pb2.Budget]:
    reply = service.GetBudget(aggregate_pb2.GetBudgetRequest(), NO_CONTEXT)
    return {budget.scope: budget for budget in reply.budgets}


def test_a_plain_count_has_one_cell_without_a_band(service: AggregateServicer) -> None:
    reply = count(service)
    (cell,) = reply.cells
    assert (cell.band, cell.band_label) == (0, "")
    assert reply.error_95 == 1
    assert reply.charged_nano_rho == 4_500_000_000
    assert reply.mechanism == "discrete Laplace, scale 0.333333"


def test_a_grouped_count_has_every_band_in_order(service: AggregateServicer) -> None:
    reply = count(service, group_by=aggregate_pb2.DIMENSION_DAYS_PAST_DUE)
    assert [(cell.band, cell.band_label) for cell in reply.cells] == [
        (1, "0"),
        (2, "1-7"),
        (3, "8-29"),
        (4, "30-59"),
        (5, "60-89"),
        (6, "90-179"),
        (7, "180+"),
    ]


def test_a_repeated_question_has_the_same_cells_and_costs_nothing(
    service: AggregateServicer,
) -> None:
    where = [aggregate_pb2.Condition(dimension=aggregate_pb2.DIMENSION_STATUS, bands=[2, 1])]
    first, again = count(service, where=where), count(service, where=where)
    assert list(again.cells) == list(first.cells)
    assert (again.error_95, again.mechanism, again.snapshot) == (
        first.error_95,
        first.mechanism,
        first.snapshot,
    )
    assert again.charged_nano_rho == 0
    assert leaf.parse(first.receipt.entry)["type"] == "aggregate.charged"
    assert leaf.parse(again.receipt.entry)["type"] == "aggregate.repeated"


def test_a_bad_question_names_its_fields_and_costs_nothing(service: AggregateServicer) -> None:
    where = [aggregate_pb2.Condition(dimension=aggregate_pb2.DIMENSION_STATUS, bands=[8])]
    with pytest.raises(Refusal) as refused:
        count(service, where=where, epsilon_micros=1)
    assert refused.value.kind is Kind.INVALID_ARGUMENT
    assert [violation.field for violation in refused.value.violations] == [
        "where[0].bands",
        "epsilon_micros",
    ]
    assert budgets(service)["pool"].spent_nano_rho == 0


def test_budgets_say_what_is_left(service: AggregateServicer) -> None:
    assert budgets(service)["member:alpha"].cap_nano_rho == CAPS.member
    count(service)
    found = budgets(service)
    assert list(found) == ["pool", "member:alpha"]
    for budget in found.values():
        assert budget.spent_nano_rho == 4_500_000_000
        # rho 4.5: 4.5 + 2 sqrt(4.5 ln 10^6) = 20.3 is the loose bound of Bun and Steinke 2016.
        assert 15_000_000 < budget.spent_epsilon_micros < 20_270_000
    with pytest.raises(Refusal) as refused:
        count(service, group_by=aggregate_pb2.DIMENSION_PRODUCT)
    assert refused.value.quota_subject == "pool"


def test_who_is_no_member_sees_the_pool_alone(service: AggregateServicer) -> None:
    with serving(call_of(AUDITOR)):
        assert list(budgets(service)) == ["pool"]
