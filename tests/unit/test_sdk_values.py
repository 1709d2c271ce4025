"""What goes in is checked where it is made; what comes out cannot be misread."""

import hashlib
import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from concordat import (
    ConsentDraft,
    ConsentState,
    Coverage,
    DataCategory,
    Frequency,
    InvalidInput,
    LookupResult,
    NoConsent,
    Options,
    Period,
    ProtocolViolation,
    Purpose,
    Receipt,
    Signal,
    SignalStatus,
    SubjectStatus,
    TimeUnit,
    Token,
    UnknownSignal,
    consent_terms,
)
from concordat._context import numbered_request_id
from concordat._convert import batches_of, member_of, month_start, refusals_of, timestamp_of
from concordat._token_cache import TokenCache
from concordat.requests import RequestId
from concordat.v1 import common_pb2

TOKEN = Token(bytes(range(32)), 1)
RECEIPT = Receipt(0, b"{}", "")


def draft(**changed: Any) -> ConsentDraft:
    fields: dict[str, Any] = {
        "token": TOKEN,
        "purposes": {Purpose.UNDERWRITING},
        "categories": {DataCategory.CREDIT_ACCOUNTS},
        "expires_at": datetime(2030, 1, 1, tzinfo=UTC),
        "notice_version": "2026-1",
        "evidence_sha256": bytes(32),
    }
    return ConsentDraft(**(fields | changed))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", b"\x00" * 32),
        ("token", "4f" * 32),
        ("purposes", set()),
        ("purposes", [Purpose.UNDERWRITING, Purpose.UNDERWRITING]),
        ("purposes", {1}),
        ("purposes", "UNDERWRITING"),
        ("purposes", Purpose.UNDERWRITING),
        ("categories", {DataCategory.UNSPECIFIED}),
        ("categories", {Purpose.UNDERWRITING}),
        ("expires_at", datetime(2030, 1, 1)),
        ("expires_at", "2030-01-01"),
        ("expires_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        ("starts_at", datetime(2029, 1, 1)),
        ("notice_version", ""),
        ("notice_version", "x" * 65),
        ("notice_version", "\ud800"),
        ("evidence_sha256", bytes(31)),
        ("evidence_sha256", "00" * 32),
        ("notice_sha256", bytes(31)),
        ("language", "de_DE"),
        ("language", 5),
        ("withdrawal_method", ""),
        ("withdrawal_method", "x" * 201),
        ("jurisdiction", ""),
        ("jurisdiction", 86),
        ("data_life", 6),
        ("data_life", Period(TimeUnit.MONTH, 0)),
        ("data_life", Period(TimeUnit.INF, 1)),
        ("data_life", Period(2, 1)),  # type: ignore[arg-type]  # a number for a unit
        ("frequency", (TimeUnit.DAY, 1)),
        ("frequency", Frequency(TimeUnit.DAY, 0)),
        ("frequency", Frequency(TimeUnit.INF, True)),
        ("evidence_jws", "x"),
        ("evidence_nonce", bytes(15)),
    ],
)
def test_a_wrong_draft_cannot_be_made(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        draft(**{field: value})
    assert [violation.field for violation in caught.value.violations] == [field]


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        draft(notice_version="", evidence_sha256=b"", token=None)
    assert {violation.field for violation in caught.value.violations} == {
        "token",
        "notice_version",
        "evidence_sha256",
    }


def test_a_consent_cannot_end_before_it_starts() -> None:
    with pytest.raises(InvalidInput, match="not after starts_at"):
        draft(starts_at=datetime(2030, 1, 1, tzinfo=UTC))


SIGNABLE = {
    "evidence_sha256": None,
    "evidence_nonce": bytes(16),
    "jurisdiction": "CN",
    "starts_at": datetime(2029, 1, 1, tzinfo=UTC),
}


def test_the_terms_to_sign_are_the_documented_bytes() -> None:
    binding = hashlib.sha256(b"concordat/consent-terms/v1" + bytes(16) + TOKEN.value).hexdigest()
    assert consent_terms(draft(**SIGNABLE), "alpha").decode() == (
        '{"categories":["credit_accounts"],"expires_at":"2030-01-01T00:00:00.000000Z",'
        '"jurisdiction":"CN","notice_version":"2026-1","purposes":["underwriting"],'
        f'"recipient":"alpha","starts_at":"2029-01-01T00:00:00.000000Z","subject":"{binding}",'
        '"type":"consent.terms","v":1}'
    )


@pytest.mark.parametrize("field", ["evidence_nonce", "jurisdiction", "starts_at"])
def test_terms_that_are_not_complete_cannot_be_signed(field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        consent_terms(draft(**{**SIGNABLE, field: None}), "alpha")
    assert [violation.field for violation in caught.value.violations] == [field]


def test_terms_that_the_gateway_would_not_read_alike_cannot_be_signed() -> None:
    with pytest.raises(InvalidInput, match="NFC"):
        consent_terms(draft(**SIGNABLE, withdrawal_method="e\u0301"), "alpha")


def test_a_time_travels_as_the_same_instant() -> None:
    noon_in_beijing = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=8)))
    assert timestamp_of(noon_in_beijing).seconds == 1_795_320_000


def test_a_refused_lookup_never_reads_as_an_empty_history() -> None:
    refused = LookupResult(SubjectStatus.NO_CONSENT, Purpose.UNDERWRITING, RECEIPT, ())
    for read in (
        lambda: refused["lenders_open"],
        lambda: refused.signals,
        lambda: list(refused),
        lambda: "lenders_open" in refused,
    ):
        with pytest.raises(NoConsent, match="says nothing about the subject's credit"):
            read()


def test_an_unknown_signal_is_named_with_those_there_are() -> None:
    signal = Signal("lenders_open", SignalStatus.PRESENT, 2, "1", date(2026, 10, 1), Coverage.THIN)
    result = LookupResult(SubjectStatus.OK, Purpose.UNDERWRITING, RECEIPT, (signal,))
    assert result["lenders_open"] is signal
    assert "lenders_open" in result
    assert "typo" not in result
    with pytest.raises(UnknownSignal, match="it has: lenders_open"):
        result["typo"]
    with pytest.raises(KeyError):
        result["typo"]


@pytest.mark.parametrize(
    ("status", "band", "has_band"),
    [
        (SignalStatus.PRESENT, 2, True),
        (SignalStatus.STALE, 2, True),
        (SignalStatus.DISPUTED, 2, True),
        (SignalStatus.DISPUTED, 0, False),
        (SignalStatus.NOT_FOUND, 0, False),
        (SignalStatus.SUPPRESSED, 0, False),
        (SignalStatus.NO_CONSENT, 0, False),
    ],
)
def test_only_some_signals_have_a_band(status: SignalStatus, band: int, has_band: bool) -> None:
    assert Signal("s", status, band, "", None, Coverage.UNSPECIFIED).has_band is has_band


@pytest.mark.parametrize(
    ("month", "first_day"),
    [(0, date(1970, 1, 1)), (11, date(1970, 12, 1)), (682, date(2026, 11, 1))],
)
def test_months_count_from_january_1970(month: int, first_day: date) -> None:
    assert month_start(month) == first_day


def test_what_the_contract_forbids_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        month_start(4_000_000_000)
    with pytest.raises(ProtocolViolation, match="ConsentState"):
        member_of(ConsentState, 0, "state")
    with pytest.raises(ProtocolViolation, match="DataCategory"):
        member_of(DataCategory, 0, "category")
    with pytest.raises(ProtocolViolation, match="item 2 of 2"):
        refusals_of([common_pb2.ItemRefusal(item=2)], [10, 20])


def test_refused_items_get_the_callers_numbers() -> None:
    [refusal] = refusals_of([common_pb2.ItemRefusal(item=1, reason="NO_CONSENT")], [10, 20])
    assert (refusal.item, refusal.reason) == (20, "NO_CONSENT")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("validity.start", "starts_at"),
        ("validity.expiry", "expires_at"),
        ("notice_version", "notice_version"),
    ],
)
def test_refused_fields_get_the_callers_names(theirs: str, ours: str) -> None:
    [refusal] = refusals_of([common_pb2.ItemRefusal(field=theirs)], [0])
    assert refusal.field == ours


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("channels", "2"),
        ("channels", 5),
        ("parallelism", 0),
        ("parallelism", True),
        ("cached_tokens", -1),
        ("cached_tokens", 1.5),
        ("timeout_seconds", "3"),
        ("timeout_seconds", 0),
        ("timeout_seconds", math.inf),
        ("timeout_seconds", math.nan),
        ("stream_timeout_seconds", None),
        ("stream_timeout_seconds", 86_401),
        ("retry", {"max_attempts": 3}),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(field: str, wrong: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Options(**{field: wrong})
    assert [violation.field for violation in caught.value.violations] == [field]


def test_batches_are_full_but_for_the_last() -> None:
    assert list(batches_of(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches_of([], 3)) == []


def test_requests_of_one_call_have_ids_of_their_own_that_repeat() -> None:
    own = RequestId(bytes(16))
    ids = [numbered_request_id(own, number) for number in range(100)]
    assert ids[0] == own
    assert len(set(ids)) == 100
    assert all(len(each) == 16 for each in ids)
    assert ids == [numbered_request_id(own, number) for number in range(100)]
    assert numbered_request_id(RequestId(b"\x01" * 16), 1) != ids[1]


def test_the_cache_forgets_the_least_recently_used() -> None:
    cache = TokenCache(2)
    tokens = {name: Token(name * 32, 1) for name in (b"a", b"b", b"c")}
    cache.put(b"a", tokens[b"a"])
    cache.put(b"b", tokens[b"b"])
    assert cache.get(1, b"a") == tokens[b"a"]
    cache.put(b"c", tokens[b"c"])
    assert cache.get(1, b"b") is None
    assert cache.get(1, b"a") == tokens[b"a"]
    assert cache.get(1, b"c") == tokens[b"c"]


def test_a_cache_of_no_size_keeps_nothing() -> None:
    cache = TokenCache(0)
    cache.put(b"a", TOKEN)
    assert cache.get(1, b"a") is None
