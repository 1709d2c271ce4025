"""Policies of jurisdictions: which consents are taken, and what is asked of each."""

import json
from collections.abc import Callable

import pytest

from concordat.v1 import common_pb2, consent_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.policies import Jurisdictions
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.jurisdictions import policies, policies_version
from tests.services import CALL_SECONDS, Caller, Consortium, draft, grant, serving
from tests.stores import ManualClock

UNIT = consent_pb2.TimeUnit


def full(consortium: Consortium, subject: int, jurisdiction: str) -> consent_pb2.ConsentDraft:
    """A draft with all that any policy requires."""
    one = draft(consortium, subject)
    one.jurisdiction = jurisdiction
    one.notice_sha256 = b"\x11" * 32
    one.language = "en-US"
    one.withdrawal_method = "https://alpha.example/withdraw"
    return one


def refused(response: consent_pb2.GrantConsentsResponse) -> list[tuple[int, str, str]]:
    return [(r.item, r.field, r.reason) for r in response.refused]


def get(caller: Caller, consent_id: bytes) -> consent_pb2.Consent:
    request = consent_pb2.GetConsentRequest(consent_id=consent_id)
    return caller.consents.GetConsent(request, timeout=CALL_SECONDS).consent


def test_the_whole_record_is_in_the_entry_and_read_again(consortium: Consortium) -> None:
    one = full(consortium, 1, "CN")
    one.data_life.CopyFrom(consent_pb2.Period(unit=UNIT.Value("TIME_UNIT_MONTH"), value=6))
    one.frequency.CopyFrom(consent_pb2.Frequency(unit=UNIT.Value("TIME_UNIT_DAY"), uses=2))
    response = grant(consortium.alpha, [one])

    entry = json.loads(response.receipt.entry)
    assert entry["notice_sha256"] == "11" * 32
    assert entry["language"] == "en-US"
    assert entry["withdrawal_method"] == "https://alpha.example/withdraw"
    assert entry["jurisdiction"] == "CN"
    assert entry["policies"] == policies_version()
    assert entry["data_life"] == {"unit": "month", "value": 6}
    assert entry["frequency"] == {"unit": "day", "uses": 2}
    consent = get(consortium.alpha, response.granted[0].consent_id)
    for field in ("notice_sha256", "language", "withdrawal_method", "jurisdiction"):
        assert getattr(consent, field) == getattr(one, field)
    assert consent.data_life == one.data_life
    assert consent.frequency == one.frequency
    assert consent.policies == policies_version()
    assert consent.activated_at == consent.granted_at
    assert not consent.HasField("requested_at")


@pytest.mark.parametrize("code", ["CN", "EU", "US"])
@pytest.mark.parametrize("field", ["notice_sha256", "language", "withdrawal_method"])
def test_what_a_policy_requires_is_required(consortium: Consortium, code: str, field: str) -> None:
    lacking = full(consortium, 1, code)
    lacking.ClearField(field)  # type: ignore[arg-type]  # one of its fields
    response = grant(consortium.alpha, [lacking, full(consortium, 2, code)])
    assert refused(response) == [(0, field, "REQUIRED")]
    assert [granted.item for granted in response.granted] == [1]


@pytest.mark.parametrize(("code", "most"), [("CN", 1), ("EU", 1), ("US", 6), ("ZZ", 6)])
def test_a_consent_has_as_many_purposes_as_its_policy_allows(
    consortium: Consortium, code: str, most: int
) -> None:
    for purposes in range(1, 7):
        one = full(consortium, purposes, code)
        del one.purposes[:]
        one.purposes.extend(common_pb2.Purpose.ValueType(number + 1) for number in range(purposes))
        expected = [] if purposes <= most else [(0, "purposes", "POLICY")]
        assert refused(grant(consortium.alpha, [one])) == expected


def test_requests_are_held_to_the_same_policies(consortium: Consortium) -> None:
    one = full(consortium, 1, "CN")
    one.ClearField("evidence_sha256")
    one.purposes.append(common_pb2.PURPOSE_CONTRIBUTION)
    request = consent_pb2.RequestConsentsRequest(request_id=b"\1" * 16, consents=[one])
    [refusal] = consortium.alpha.consents.RequestConsents(request, timeout=CALL_SECONDS).refused
    assert (refusal.field, refusal.reason) == ("purposes", "POLICY")


def test_a_gateway_takes_the_jurisdictions_of_its_configuration(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    taken = Jurisdictions.of(["CN", "EU"], "CN")
    with serving(journal, signal_store, clock, jurisdictions=taken) as consortium:
        named = full(consortium, 1, "EU")
        unnamed = full(consortium, 2, "")
        bare = draft(consortium, 3)
        response = grant(
            consortium.alpha,
            [named, unnamed, bare, full(consortium, 4, "US"), full(consortium, 5, "XX")],
        )
        assert refused(response) == [
            (2, "notice_sha256", "REQUIRED"),
            (3, "jurisdiction", "POLICY"),
            (4, "jurisdiction", "POLICY"),
        ]
        kept = [get(consortium.alpha, granted.consent_id) for granted in response.granted]
        assert [consent.jurisdiction for consent in kept] == ["EU", "CN"]


def test_a_shorter_validity_of_a_policy_is_held_to(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    from dataclasses import replace

    policy = replace(policies()["US"], consent_max_years=1)
    taken = Jurisdictions({"US": policy}, "US", 7)
    with serving(journal, signal_store, clock, jurisdictions=taken) as consortium:
        one = full(consortium, 1, "US")
        one.validity.start.FromJsonString("2027-03-01T00:00:00Z")
        one.validity.expiry.FromJsonString("2028-03-01T00:00:00Z")
        [granted] = grant(consortium.alpha, [one]).granted
        assert get(consortium.alpha, granted.consent_id).policies == 7
        one.validity.expiry.nanos = 1_000
        assert refused(grant(consortium.alpha, [one])) == [(0, "validity.expiry", "POLICY")]


def test_a_default_is_one_of_those_taken() -> None:
    with pytest.raises(ValueError, match="not one of those taken"):
        Jurisdictions.of(["CN"], "EU")
    with pytest.raises(ValueError, match="no policy of 'XX'"):
        Jurisdictions.of(["CN", "XX"], "CN")


BAD_FIELDS: list[tuple[Callable[[consent_pb2.ConsentDraft], object], str, str]] = [
    (lambda d: setattr(d, "notice_sha256", b"\1" * 31), "notice_sha256", "WRONG_LENGTH"),
    (lambda d: setattr(d, "language", "english language"), "language", "MALFORMED"),
    (lambda d: setattr(d, "language", "de_DE"), "language", "MALFORMED"),
    (lambda d: setattr(d, "withdrawal_method", "x" * 201), "withdrawal_method", "WRONG_LENGTH"),
    (lambda d: setattr(d, "withdrawal_method", "a\tb"), "withdrawal_method", "MALFORMED"),
    (lambda d: setattr(d, "withdrawal_method", "e\u0301"), "withdrawal_method", "MALFORMED"),
    (lambda d: d.data_life.SetInParent(), "data_life.unit", "UNKNOWN_VALUE"),
    (lambda d: setattr(d.data_life, "unit", 2), "data_life.value", "OUT_OF_RANGE"),
    (
        lambda d: d.data_life.CopyFrom(consent_pb2.Period(unit=5, value=1)),
        "data_life.value",
        "OUT_OF_RANGE",
    ),
    (
        lambda d: d.data_life.CopyFrom(consent_pb2.Period(unit=1, value=100_001)),
        "data_life.value",
        "OUT_OF_RANGE",
    ),
    (
        lambda d: d.frequency.CopyFrom(consent_pb2.Frequency(unit=6, uses=1)),  # type: ignore[arg-type]  # no such unit
        "frequency.unit",
        "UNKNOWN_VALUE",
    ),
    (lambda d: setattr(d.frequency, "unit", 5), "frequency.uses", "OUT_OF_RANGE"),
    (
        lambda d: d.frequency.CopyFrom(consent_pb2.Frequency(unit=2, uses=1_000_001)),
        "frequency.uses",
        "OUT_OF_RANGE",
    ),
]


def test_each_malformed_field_is_named(consortium: Consortium) -> None:
    drafts = []
    for subject, (spoil, _, _) in enumerate(BAD_FIELDS):
        one = full(consortium, subject, "US")
        spoil(one)
        drafts.append(one)
    expected = [(item, field, reason) for item, (_, field, reason) in enumerate(BAD_FIELDS)]
    assert refused(grant(consortium.alpha, drafts)) == expected


def test_a_data_life_without_end_is_taken(consortium: Consortium) -> None:
    one = full(consortium, 1, "US")
    one.data_life.CopyFrom(consent_pb2.Period(unit=UNIT.Value("TIME_UNIT_INF")))
    response = grant(consortium.alpha, [one])
    assert json.loads(response.receipt.entry)["data_life"] == {"unit": "inf", "value": 0}
    assert get(consortium.alpha, response.granted[0].consent_id).data_life == one.data_life
