"""Lookups: how old a signal may be, and what becomes of disputed accounts."""

import json
from collections.abc import Sequence

import grpc
import pytest

from concordat.v1 import bands_pb2, common_pb2, dispute_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.catalogue.signals import Disputed
from tests.contributing import findings, replayed
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    account,
    contribute,
    draft,
    fields_of,
    grant_one,
    months_since_1970,
    request_id,
    serving,
    token,
)
from tests.stores import ManualClock, shape_of, traced

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
PRESENT = signal_pb2.SIGNAL_STATUS_PRESENT
STALE = signal_pb2.SIGNAL_STATUS_STALE
DISPUTED = signal_pb2.SIGNAL_STATUS_DISPUTED
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
DISPUTE = common_pb2.PURPOSE_DISPUTE


def asked(subjects: Sequence[int], **fields: object) -> signal_pb2.BatchLookupRequest:
    return signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, subjects)),
        request_id=request_id(),
        **({"purpose": UNDERWRITING} | fields),  # type: ignore[arg-type]
    )


def look_up(consortium: Consortium, subject: int, **fields: object) -> signal_pb2.LookupResponse:
    """Alpha looks a subject up for underwriting."""
    request = signal_pb2.LookupRequest(
        token=token(subject),
        request_id=request_id(),
        **({"purpose": UNDERWRITING} | fields),  # type: ignore[arg-type]
    )
    return consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS)


def signal_of(result: signal_pb2.SubjectResult, name: str) -> signal_pb2.Signal:
    [found] = [signal for signal in result.signals if signal.name == name]
    return found


def tells(consortium: Consortium, caller: Caller, subject: int, **fields: int) -> None:
    """A member contributes one account of a subject."""
    grant_one(caller, draft(consortium, subject, [CONTRIBUTION], [ACCOUNTS]))
    assert contribute(caller, [account(consortium, subject, **fields)]).rows_accepted == 1


def furnished(consortium: Consortium, subject: int, **fields: int) -> None:
    """Beta tells of one account of a subject, and alpha may look the subject up."""
    tells(consortium, consortium.beta, subject, **fields)
    both = [ACCOUNTS, INQUIRIES]
    grant_one(consortium.alpha, draft(consortium, subject, [UNDERWRITING], both))


def open_dispute(consortium: Consortium, subject: int) -> bytes:
    """Alpha disputes the accounts of a subject, with its consent to that."""
    grant_one(consortium.alpha, draft(consortium, subject, [DISPUTE], [ACCOUNTS]))
    request = dispute_pb2.OpenDisputeRequest(
        request_id=request_id(),
        token=token(subject),
        category=ACCOUNTS,
        reason=dispute_pb2.DISPUTE_REASON_NOT_MINE,
        statement_sha256=bytes(32),
    )
    return consortium.alpha.disputes.OpenDispute(request, timeout=CALL_SECONDS).dispute.dispute_id


def answer(caller: Caller, dispute: bytes) -> None:
    request = dispute_pb2.AnswerDisputeRequest(
        dispute_id=dispute,
        outcome=dispute_pb2.DISPUTE_OUTCOME_UPHELD,
        statement_sha256=bytes(32),
    )
    caller.disputes.AnswerDispute(request, timeout=CALL_SECONDS)


def test_a_caller_may_want_younger_signals_and_the_entry_says_so(consortium: Consortium) -> None:
    two_months_ago = months_since_1970(consortium.clock) - 2
    furnished(consortium, 1, as_of_month=two_months_ago)
    usual = look_up(consortium, 1)
    strict = look_up(consortium, 1, max_age_months=1)
    lenient = look_up(consortium, 1, max_age_months=120)

    assert signal_of(usual.result, "lenders_open").status == PRESENT
    old = signal_of(strict.result, "lenders_open")
    assert (old.status, old.band_label, old.as_of_month) == (STALE, "1", two_months_ago)
    # More than the catalogue allows changes nothing.
    assert lenient.result == usual.result
    ages = [json.loads(r.receipt.entry).get("max_age_months") for r in (usual, strict, lenient)]
    assert ages == [None, 1, 120]
    assert findings(replayed(consortium.journal)) == []


def test_the_age_of_a_batch_holds_for_all_its_subjects(consortium: Consortium) -> None:
    month = months_since_1970(consortium.clock)
    for subject, age in ((1, 0), (2, 1), (3, 2)):
        furnished(consortium, subject, as_of_month=month - age)
    response = consortium.alpha.signals.BatchLookup(
        asked([1, 2, 3], max_age_months=1), timeout=CALL_SECONDS
    )
    found = [signal_of(result, "open_accounts").status for result in response.results]
    assert found == [PRESENT, PRESENT, STALE]
    assert json.loads(response.receipt.entry)["max_age_months"] == 1


def test_an_age_beyond_ten_years_is_refused_and_leaves_no_entry(consortium: Consortium) -> None:
    size = consortium.journal.size
    with pytest.raises(grpc.RpcError) as refusal:
        look_up(consortium, 1, max_age_months=121)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(refusal.value) == ["max_age_months"]
    assert consortium.journal.size == size


@pytest.mark.parametrize("policy", Disputed)
def test_a_disputed_account_is_held_back_or_marked_by_policy(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, policy: Disputed
) -> None:
    with serving(journal, signal_store, clock, disputed=policy) as consortium:
        furnished(consortium, 1)
        tells(consortium, consortium.gamma, 1, status=bands_pb2.ACCOUNT_STATUS_DISPUTED)
        furnished(consortium, 2, status=bands_pb2.ACCOUNT_STATUS_DISPUTED)
        beside, alone = (look_up(consortium, subject).result for subject in (1, 2))
    marked = policy is Disputed.MARKED
    found = signal_of(beside, "lenders_open")
    assert (found.status, found.band_label) == ((DISPUTED, "2") if marked else (PRESENT, "1"))
    found = signal_of(alone, "open_accounts")
    assert (found.status, found.band_label) == (DISPUTED, "1" if marked else "")
    # Nothing was told of applications, with or without the account.
    assert signal_of(beside, "inquiries_12m").status == PRESENT


@pytest.mark.parametrize("policy", Disputed)
def test_an_open_dispute_is_told_until_the_last_member_has_answered(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, policy: Disputed
) -> None:
    with serving(journal, signal_store, clock, disputed=policy) as consortium:
        furnished(consortium, 1)
        tells(consortium, consortium.gamma, 1)
        furnished(consortium, 2)
        undisputed = look_up(consortium, 1).result
        dispute = open_dispute(consortium, 1)

        during = [look_up(consortium, 1).result]
        answer(consortium.beta, dispute)
        during.append(look_up(consortium, 1).result)
        answer(consortium.gamma, dispute)
        after = look_up(consortium, 1).result
        another = look_up(consortium, 2).result
        assert findings(replayed(journal)) == []
    # The first answer changed no bit of it; who gave it, the opener cannot see.
    assert during[0] == during[1]
    assert after == undisputed
    marked = policy is Disputed.MARKED
    for signal, before in zip(during[0].signals, undisputed.signals, strict=True):
        if before.name.startswith(("inquiries", "cash_", "declined")):
            assert signal == before  # of another category
        elif before.status == signal_pb2.SIGNAL_STATUS_NO_CONSENT or (marked and not before.band):
            assert signal == before
        else:
            assert signal.status == DISPUTED
            assert signal.band == (before.band if marked else 0)
            assert signal.as_of_month == (before.as_of_month if marked else 0)
    assert signal_of(another, "lenders_open").status == PRESENT


def test_whoever_watches_the_database_cannot_see_a_dispute_of_a_refused_subject(
    consortium: Consortium,
) -> None:
    for subject in (1, 2):
        tells(consortium, consortium.beta, subject)
    open_dispute(consortium, 1)
    runs = []
    for subject in (1, 2, 3):
        with traced() as seen:
            response = look_up(consortium, subject)
        assert response.result.status == signal_pb2.SUBJECT_STATUS_NO_CONSENT
        runs.append(shape_of(seen))
    assert runs[0] == runs[1] == runs[2]


def test_a_lookup_asks_for_disputes_by_the_same_statements_whether_there_is_one(
    consortium: Consortium,
) -> None:
    for subject in (1, 2):
        furnished(consortium, subject)
    open_dispute(consortium, 1)
    runs = []
    for subject in (1, 2):
        with traced() as seen:
            look_up(consortium, subject)
        runs.append([one.text for one in seen])
    assert runs[0] == runs[1]
    assert sum("dispute" in text for text in runs[0]) == 1
