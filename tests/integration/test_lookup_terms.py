"""Lookups: how old a signal may be, and what becomes of disputed accounts."""

import json
from collections.abc import Sequence

import grpc
import pytest

from concordat.v1 import common_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_privacy.audit.replay import Replay
from tests.services import (
    CALL_SECONDS,
    Consortium,
    account,
    contribute,
    draft,
    fields_of,
    grant_one,
    months_since_1970,
    request_id,
    token,
)

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
PRESENT = signal_pb2.SIGNAL_STATUS_PRESENT
STALE = signal_pb2.SIGNAL_STATUS_STALE


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


def furnished(consortium: Consortium, subject: int, **fields: int) -> None:
    """Beta tells of one account of a subject, and alpha may look the subject up."""
    grant_one(consortium.beta, draft(consortium, subject, [CONTRIBUTION], [ACCOUNTS]))
    grant_one(consortium.alpha, draft(consortium, subject, [UNDERWRITING], [ACCOUNTS]))
    rows = [account(consortium, subject, **fields)]
    assert contribute(consortium.beta, rows).rows_accepted == 1


def findings(journal: Journal) -> list[str]:
    """What the auditor's own code finds wrong with the real entries."""
    replay = Replay()
    for index, leaf, items in journal.entries(0, journal.size):
        fields = json.loads(leaf)
        parsed = [json.loads(item) for item in items]
        replay.visit(index, fields, parsed if "items" in fields else None)
    replay.finish()
    # Members are put in by the test, not by entries.
    kinds = [finding.kind.name for finding in replay.sorted_findings()]
    return [kind for kind in kinds if kind != "MEMBER_UNKNOWN"]


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
    assert findings(consortium.journal) == []


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
