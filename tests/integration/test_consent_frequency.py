"""Frequencies: as many permitted lookups a calendar unit as the subject allowed, and never more."""

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from concordat.v1 import common_pb2, consent_pb2, signal_pb2
from concordat_gateway.rules import lookups
from concordat_gateway.rules.lookups import Question
from concordat_gateway.rules.scopes import Purpose
from tests.services import (
    AMPLE,
    CALL_SECONDS,
    EPOCH,
    Consortium,
    account,
    contribute,
    draft,
    grant_one,
    peer,
    request_id,
    serving,
    subjects_of,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals, traced

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
REVIEW = common_pb2.PURPOSE_PORTFOLIO_REVIEW
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
# The clock starts on 2026-11-18 at 11:06:40 UTC.
TO_NEXT = {
    "HOUR": 3_200,
    "DAY": 46_400,
    "MONTH": 12 * 86_400 + 46_400,
    "YEAR": 43 * 86_400 + 46_400,
}


def allow(
    consortium: Consortium,
    subject: int,
    uses: int,
    unit: str = "DAY",
    purposes: Sequence[int] = (UNDERWRITING,),
    categories: Sequence[int] = (ACCOUNTS,),
) -> bytes:
    """A consent of alpha's with a frequency; its id."""
    one = draft(consortium, subject, purposes, categories)
    number = consent_pb2.TimeUnit.Value(f"TIME_UNIT_{unit}")
    one.frequency.CopyFrom(consent_pb2.Frequency(unit=number, uses=uses))
    return grant_one(consortium.alpha, one)


def look_up(
    consortium: Consortium, subjects: Sequence[int], purpose: int = UNDERWRITING
) -> signal_pb2.BatchLookupResponse:
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, subjects)),
        purpose=common_pb2.Purpose.ValueType(purpose),
        request_id=request_id(),
    )
    return consortium.alpha.signals.BatchLookup(request, timeout=CALL_SECONDS)


def permitted(
    consortium: Consortium, subjects: Sequence[int], purpose: int = UNDERWRITING
) -> list[bool]:
    """Which positions of a batch are permitted."""
    response = look_up(consortium, subjects, purpose)
    return [result.status == signal_pb2.SUBJECT_STATUS_OK for result in response.results]


@pytest.mark.parametrize("unit", TO_NEXT)
def test_uses_are_counted_afresh_with_each_calendar_unit(consortium: Consortium, unit: str) -> None:
    allow(consortium, 1, 2, unit)
    assert permitted(consortium, [1]) == [True]
    consortium.clock.advance(TO_NEXT[unit] - 0.000001)
    assert [permitted(consortium, [1]) for _ in range(2)] == [[True], [False]]
    consortium.clock.advance(0.000001)
    assert [permitted(consortium, [1]) for _ in range(3)] == [[True], [True], [False]]


def test_without_a_unit_uses_are_counted_over_the_whole_life(consortium: Consortium) -> None:
    allow(consortium, 1, 2, "INF")
    assert permitted(consortium, [1]) == [True]
    consortium.clock.advance(100 * 86_400)
    assert permitted(consortium, [1]) == [True]
    consortium.clock.advance(100 * 86_400)
    assert permitted(consortium, [1]) == [False]


def test_each_position_of_a_batch_counts(consortium: Consortium) -> None:
    allow(consortium, 1, 2)
    allow(consortium, 2, 1)
    assert permitted(consortium, [1, 2, 1, 1, 2]) == [True, True, True, False, False]
    response = look_up(consortium, [1])
    [(_, _, [item])] = consortium.journal.entries(
        response.receipt.entry_index, response.receipt.entry_index + 1
    )
    assert json.loads(item)["decision"] == "refuse"


def test_where_one_consent_is_exhausted_another_permits(consortium: Consortium) -> None:
    first = allow(consortium, 1, 1)
    second = allow(consortium, 1, 2)
    consents = []
    for _ in range(4):
        response = look_up(consortium, [1])
        [(_, _, [item])] = consortium.journal.entries(
            response.receipt.entry_index, response.receipt.entry_index + 1
        )
        consents.append(json.loads(item)["consents"]["credit_accounts"])
    assert consents == [first.hex(), second.hex(), second.hex(), "0" * 32]


def test_a_consent_that_is_not_rested_on_is_not_counted(consortium: Consortium) -> None:
    grant_one(consortium.alpha, draft(consortium, 1))
    covered = allow(consortium, 1, 1)
    wider = allow(consortium, 1, 1, categories=[ACCOUNTS, INQUIRIES])
    response = look_up(consortium, [1])
    [(_, _, [item])] = consortium.journal.entries(
        response.receipt.entry_index, response.receipt.entry_index + 1
    )
    assert json.loads(item)["consents"]["inquiries"] == wider.hex()
    assert covered.hex() not in item.decode()


def test_a_refused_lookup_of_another_purpose_counts_nothing(consortium: Consortium) -> None:
    allow(consortium, 1, 1)
    assert permitted(consortium, [1, 1], REVIEW) == [False, False]
    assert permitted(consortium, [1]) == [True]


def test_contributions_are_not_counted(consortium: Consortium) -> None:
    allow(consortium, 1, 1, purposes=[UNDERWRITING, CONTRIBUTION])
    for ref in (1, 2, 3):
        batch = contribute(consortium.alpha, [account(consortium, 1, ref)])
        assert batch.rows_accepted == 1
    assert permitted(consortium, [1]) == [True]
    assert permitted(consortium, [1]) == [False]
    assert contribute(consortium.alpha, [account(consortium, 1, 4)]).rows_accepted == 1


def test_a_pause_keeps_the_count(consortium: Consortium) -> None:
    consent_id = allow(consortium, 1, 1)
    assert permitted(consortium, [1]) == [True]
    for method in ("Pause", "Resume"):
        request = getattr(consent_pb2, f"{method}ConsentRequest")(consent_id=consent_id, reason="x")
        getattr(consortium.alpha.consents, f"{method}Consent")(request, timeout=CALL_SECONDS)
    assert permitted(consortium, [1]) == [False]


def test_an_exhausted_consent_is_refused_like_any_unknown_subject(consortium: Consortium) -> None:
    allow(consortium, 1, 1)
    look_up(consortium, [1])
    runs, replies = [], []
    for subject in (1, 2):
        with traced() as seen:
            replies.append(look_up(consortium, [subject]))
        runs.append([(one.text, one.rows) for one in seen if "ledger_head" not in one.text])
    assert runs[0] == runs[1]
    assert len({len(reply.receipt.entry) for reply in replies}) == 1
    assert replies[0].results == replies[1].results


def test_only_consents_with_a_frequency_cost_a_statement(consortium: Consortium) -> None:
    grant_one(consortium.alpha, draft(consortium, 1))
    allow(consortium, 2, 5)
    written = []
    for subject in (1, 2):
        with traced() as seen:
            look_up(consortium, [subject])
        written.append(sum(one.text.startswith("UPDATE consent") for one in seen))
    assert written == [0, 1]


def test_racing_gateways_never_exceed_a_frequency(
    store_urls: StoreUrls, clock: ManualClock
) -> None:
    with ExitStack() as stack:
        journals = [stack.enter_context(open_journal(store_urls, clock)) for _ in range(3)]
        signals = stack.enter_context(open_signals(store_urls, clock))
        with serving(journals[0], signals, clock) as consortium:
            allow(consortium, 1, 5)
            allow(consortium, 1, 4)
        named = subjects_of(journals[0], clock).named(
            "alpha", [token(1), token(1)], EPOCH, EPOCH, 30.0
        )
        question = Question.of(Purpose.UNDERWRITING, [], bytes(16))
        counted: list[bool] = []
        start = threading.Barrier(6)

        def ask(number: int) -> None:
            start.wait()
            for _ in range(4):
                found = lookups.look_up(
                    journals[number % 3], signals, peer("alpha"), named, question, AMPLE, 60.0
                ).value
                counted.extend(result.permitted for result in found.results)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(counted) == 48
    assert sum(counted) == 9
