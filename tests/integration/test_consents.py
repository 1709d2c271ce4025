"""Consents: what is recorded, refused, repeated, withdrawn and listed."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from concordat.v1 import common_pb2, consent_pb2, ledger_pb2
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.log.checkpoint import SigningKey, open_note
from concordat_privacy.log.merkle import verify_inclusion
from tests.services import (
    CALL_SECONDS,
    PEPPER,
    YEAR_SECONDS,
    Caller,
    Consortium,
    draft,
    fields_of,
    grant,
    grant_one,
    reason_of,
    request_id,
    timestamp,
    token,
    withdraw,
)

ACTIVE = consent_pb2.CONSENT_STATE_ACTIVE
WITHDRAWN = consent_pb2.CONSENT_STATE_WITHDRAWN
EXPIRED = consent_pb2.CONSENT_STATE_EXPIRED


def get(caller: Caller, consent_id: bytes) -> consent_pb2.Consent:
    request = consent_pb2.GetConsentRequest(consent_id=consent_id)
    return caller.consents.GetConsent(request, timeout=CALL_SECONDS).consent


def list_page(caller: Caller, **fields: object) -> consent_pb2.ListConsentsResponse:
    request = consent_pb2.ListConsentsRequest(**fields)  # type: ignore[arg-type]  # free fields
    return caller.consents.ListConsents(request, timeout=CALL_SECONDS)


def test_every_recorded_consent_is_in_the_tree_that_the_receipt_signs(
    consortium: Consortium, ledger_key: SigningKey
) -> None:
    before = consortium.journal.size
    response = grant(consortium.alpha, [draft(consortium, subject) for subject in range(5)])

    assert [granted.item for granted in response.granted] == [0, 1, 2, 3, 4]
    assert [granted.entry_index for granted in response.granted] == list(range(before, before + 5))
    tree = open_note(response.receipt.checkpoint, [ledger_key.verifier])
    entries = {index: leaf for index, leaf, _ in consortium.journal.entries(before, tree.size)}
    for granted in response.granted:
        leaf = entries[granted.entry_index]
        assert json.loads(leaf)["consent"] == granted.consent_id.hex()
        proof = consortium.alpha.ledger.GetInclusionProof(
            ledger_pb2.GetInclusionProofRequest(
                entry_index=granted.entry_index, tree_size=tree.size
            ),
            timeout=CALL_SECONDS,
        )
        digest = hashlib.sha256(b"\0" + leaf).digest()
        verify_inclusion(digest, granted.entry_index, tree.size, proof.hashes, tree.root)
    assert response.receipt.entry == entries[response.receipt.entry_index]
    assert response.receipt.entry_index == before + 4


def test_an_entry_says_what_was_consented_and_names_nobody(consortium: Consortium) -> None:
    one = draft(consortium, 7, purposes=[2, 1], categories=[3, 1], starts_in_seconds=3600)
    entry = grant(consortium.alpha, [one]).receipt.entry

    fields = json.loads(entry)
    assert fields["type"] == "consent.granted"
    assert fields["actor"] == "spiffe://concordat.test/member/alpha"
    assert fields["recipient"] == "alpha"
    assert fields["purposes"] == ["underwriting", "contribution"]
    assert fields["categories"] == ["credit_accounts", "spending"]
    assert fields["evidence_sha256"] == "ee" * 32
    assert fields["starts_at"] > fields["time"]
    assert token(7).hex().encode() not in entry
    assert subject_key(PEPPER, token(7)).hex().encode() not in entry


def test_two_consents_of_one_subject_cannot_be_linked_in_the_ledger(
    consortium: Consortium,
) -> None:
    subjects = [
        json.loads(grant(consortium.alpha, [draft(consortium, 7)]).receipt.entry)["subject"]
        for _ in range(2)
    ]
    assert subjects[0] != subjects[1]


BAD_DRAFTS: list[tuple[str, Callable[[consent_pb2.ConsentDraft], object], str, str]] = [
    ("short token", lambda d: setattr(d, "token", b"\1" * 31), "token", "WRONG_LENGTH"),
    ("no purposes", lambda d: d.ClearField("purposes"), "purposes", "REQUIRED"),
    ("purpose 0", lambda d: d.purposes.append(0), "purposes[1]", "UNKNOWN_VALUE"),
    ("purpose 99", lambda d: d.purposes.append(99), "purposes[1]", "UNKNOWN_VALUE"),
    ("purpose huge", lambda d: d.purposes.append(2**31 - 1), "purposes[1]", "UNKNOWN_VALUE"),
    ("purpose negative", lambda d: d.purposes.append(-1), "purposes[1]", "UNKNOWN_VALUE"),
    ("purpose twice", lambda d: d.purposes.append(1), "purposes[1]", "DUPLICATE"),
    ("no categories", lambda d: d.ClearField("categories"), "categories", "REQUIRED"),
    ("category 99", lambda d: d.categories.append(99), "categories[1]", "UNKNOWN_VALUE"),
    ("no expiry", lambda d: d.validity.ClearField("expiry"), "validity.expiry", "REQUIRED"),
    ("no validity", lambda d: d.ClearField("validity"), "validity.expiry", "REQUIRED"),
    (
        "expiry in the past",
        lambda d: d.validity.expiry.FromSeconds(1_600_000_000),
        "validity.expiry",
        "OUT_OF_RANGE",
    ),
    (
        "expiry not after start",
        lambda d: d.validity.start.CopyFrom(d.validity.expiry),
        "validity.expiry",
        "OUT_OF_RANGE",
    ),
    (
        "more than five years",
        lambda d: d.validity.expiry.FromSeconds(d.validity.expiry.seconds + 5 * 366 * 86_400),
        "validity.expiry",
        "OUT_OF_RANGE",
    ),
    (
        "beyond what a timestamp can say",
        lambda d: setattr(d.validity.expiry, "seconds", 2**62),
        "validity.expiry",
        "OUT_OF_RANGE",
    ),
    (
        "start before 1970",
        lambda d: setattr(d.validity.start, "seconds", -1),
        "validity.start",
        "OUT_OF_RANGE",
    ),
    (
        "malformed nanoseconds",
        lambda d: setattr(d.validity.expiry, "nanos", -1),
        "validity.expiry",
        "OUT_OF_RANGE",
    ),
    ("no notice", lambda d: d.ClearField("notice_version"), "notice_version", "REQUIRED"),
    (
        "long notice",
        lambda d: setattr(d, "notice_version", "x" * 65),
        "notice_version",
        "WRONG_LENGTH",
    ),
    (
        "control character",
        lambda d: setattr(d, "notice_version", "a\nb"),
        "notice_version",
        "MALFORMED",
    ),
    (
        "decomposed text",
        lambda d: setattr(d, "notice_version", "e\u0301"),
        "notice_version",
        "MALFORMED",
    ),
    (
        "short evidence",
        lambda d: setattr(d, "evidence_sha256", b"\1" * 20),
        "evidence_sha256",
        "WRONG_LENGTH",
    ),
]


def test_each_bad_item_is_named_and_the_good_ones_are_recorded(consortium: Consortium) -> None:
    drafts = [draft(consortium, 1)]
    for subject, (_, spoil, _, _) in enumerate(BAD_DRAFTS, start=2):
        bad = draft(consortium, subject)
        spoil(bad)
        drafts.append(bad)
    drafts.append(draft(consortium, 1000))

    response = grant(consortium.alpha, drafts)

    assert [granted.item for granted in response.granted] == [0, len(drafts) - 1]
    refused = [(r.item, r.field, r.reason) for r in response.refused]
    assert refused == [
        (item, field, reason) for item, (_, _, field, reason) in enumerate(BAD_DRAFTS, start=1)
    ]


def test_the_same_consent_twice_in_one_request_is_refused_but_not_in_two(
    consortium: Consortium,
) -> None:
    one = draft(consortium, 1, purposes=[1, 3])
    same = draft(consortium, 1, purposes=[3, 1])
    other = draft(consortium, 1, purposes=[1])

    response = grant(consortium.alpha, [one, same, other])
    assert [granted.item for granted in response.granted] == [0, 2]
    assert [(r.item, r.reason) for r in response.refused] == [(1, "DUPLICATE")]

    assert len(grant(consortium.alpha, [one]).granted) == 1


def test_a_member_holds_at_most_16_consents_of_one_subject_at_a_time(
    consortium: Consortium,
) -> None:
    def drafts(
        number: int, subject: int = 1, lasts_seconds: float = 3_600
    ) -> list[consent_pb2.ConsentDraft]:
        return [
            draft(consortium, subject, lasts_seconds=lasts_seconds + at) for at in range(number)
        ]

    def refused(response: consent_pb2.GrantConsentsResponse) -> list[tuple[int, str, str]]:
        return [(r.item, r.field, r.reason) for r in response.refused]

    too_many = ("token", "TOO_MANY_CONSENTS")
    first = grant(consortium.alpha, drafts(10))
    assert not first.refused
    # Item 6 is the 17th; that another subject's follow it changes nothing for them.
    second = grant(consortium.alpha, [*drafts(7, lasts_seconds=7_200), *drafts(1, subject=2)])
    assert refused(second) == [(6, *too_many)]
    assert [granted.item for granted in second.granted] == [*range(6), 7]
    assert not grant(consortium.beta, drafts(1)).refused

    withdraw(consortium.alpha, first.granted[0].consent_id)
    assert refused(grant(consortium.alpha, drafts(2))) == [(1, *too_many)]
    consortium.clock.advance(3_600 + 60)
    assert not grant(consortium.alpha, drafts(10)).refused


def test_where_every_item_is_refused_nothing_is_recorded(consortium: Consortium) -> None:
    before = consortium.journal.size
    response = grant(consortium.alpha, [draft(consortium, b"short")])

    assert not response.granted
    assert len(response.refused) == 1
    assert not response.HasField("receipt")
    assert consortium.journal.size == before


def test_a_wrong_request_is_refused_as_a_whole(consortium: Consortium) -> None:
    good = draft(consortium, 1)
    for request, field in (
        (consent_pb2.GrantConsentsRequest(request_id=b"\1" * 15, consents=[good]), "request_id"),
        (consent_pb2.GrantConsentsRequest(consents=[good]), "request_id"),
        (consent_pb2.GrantConsentsRequest(request_id=b"\1" * 16), "consents"),
        (
            consent_pb2.GrantConsentsRequest(request_id=b"\1" * 16, consents=[good] * 1001),
            "consents",
        ),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert fields_of(refusal.value) == [field]


def test_a_repeated_request_is_answered_alike_with_a_newer_checkpoint(
    consortium: Consortium,
) -> None:
    request = consent_pb2.GrantConsentsRequest(
        request_id=request_id(), consents=[draft(consortium, 1), draft(consortium, b"short")]
    )
    first = consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
    grant(consortium.beta, [draft(consortium, 1)])
    size = consortium.journal.size
    second = consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)

    assert consortium.journal.size == size
    assert second.receipt.checkpoint == consortium.journal.checkpoint()
    assert second.receipt.checkpoint != first.receipt.checkpoint
    second.receipt.checkpoint = first.receipt.checkpoint
    assert second == first


def test_a_request_id_cannot_be_used_for_other_content(consortium: Consortium) -> None:
    request = consent_pb2.GrantConsentsRequest(
        request_id=request_id(), consents=[draft(consortium, 1)]
    )
    consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
    size = consortium.journal.size
    request.consents[0].notice_version = "2026-2"

    with pytest.raises(grpc.RpcError) as refusal:
        consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
    assert refusal.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason_of(refusal.value) == "REQUEST_ID_REUSED"
    assert consortium.journal.size == size

    # The id is alpha's: the same one from another member is another request.
    assert len(consortium.beta.consents.GrantConsents(request, timeout=CALL_SECONDS).granted) == 1


def test_of_concurrent_calls_with_one_request_id_one_does_the_work(consortium: Consortium) -> None:
    request = consent_pb2.GrantConsentsRequest(
        request_id=request_id(), consents=[draft(consortium, subject) for subject in range(20)]
    )
    before = consortium.journal.size
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(consortium.alpha.consents.GrantConsents, request, timeout=CALL_SECONDS)
            for _ in range(4)
        ]
        ids = {tuple(granted.consent_id for granted in c.result().granted) for c in calls}

    assert len(ids) == 1
    assert consortium.journal.size == before + 20


def test_a_consent_is_read_as_it_was_given(consortium: Consortium) -> None:
    one = draft(consortium, 1, purposes=[1, 2], categories=[1, 3], starts_in_seconds=60)
    consent = get(consortium.alpha, grant_one(consortium.alpha, one))

    assert list(consent.purposes) == [1, 2]
    assert list(consent.categories) == [1, 3]
    assert consent.validity == one.validity
    assert consent.notice_version == "2026-1"
    assert consent.evidence_sha256 == b"\xee" * 32
    assert consent.granted_at == timestamp(consortium.clock.microseconds)
    assert not consent.HasField("withdrawn_at")
    assert consent.state == ACTIVE


def test_a_consent_without_a_start_is_valid_from_its_recording(consortium: Consortium) -> None:
    consent = get(consortium.alpha, grant_one(consortium.alpha, draft(consortium, 1)))
    assert consent.validity.start == consent.granted_at


def test_exactly_five_years_are_granted(consortium: Consortium) -> None:
    one = draft(consortium, 1)
    one.validity.start.FromJsonString("2027-03-01T00:00:00Z")
    one.validity.expiry.FromJsonString("2032-03-01T00:00:00Z")
    assert len(grant(consortium.alpha, [one]).granted) == 1
    one.validity.expiry.nanos = 1_000
    assert grant(consortium.alpha, [one]).refused[0].field == "validity.expiry"


def test_a_consent_expires_at_its_expiry_to_the_microsecond(consortium: Consortium) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1, lasts_seconds=10))
    consortium.clock.advance(9.999999)
    assert get(consortium.alpha, consent_id).state == ACTIVE
    consortium.clock.advance(0.000001)
    assert get(consortium.alpha, consent_id).state == EXPIRED


def test_a_withdrawal_is_recorded_once(consortium: Consortium) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    consortium.clock.advance(5)
    first = withdraw(consortium.alpha, consent_id)

    assert first.consent.state == WITHDRAWN
    assert first.consent.withdrawn_at == timestamp(consortium.clock.microseconds)
    assert json.loads(first.receipt.entry)["type"] == "consent.withdrawn"
    assert json.loads(first.receipt.entry)["consent"] == consent_id.hex()
    assert get(consortium.alpha, consent_id) == first.consent

    size = consortium.journal.size
    consortium.clock.advance(5)
    second = withdraw(consortium.alpha, consent_id)
    assert second.consent == first.consent
    assert not second.HasField("receipt")
    assert consortium.journal.size == size


def test_an_expired_consent_can_still_be_withdrawn(consortium: Consortium) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1, lasts_seconds=10))
    consortium.clock.advance(YEAR_SECONDS)
    assert withdraw(consortium.alpha, consent_id).consent.state == WITHDRAWN


@pytest.mark.parametrize("method", ["GetConsent", "WithdrawConsent"])
def test_anothers_consent_looks_like_none(consortium: Consortium, method: str) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    size = consortium.journal.size
    refusals = []
    for wanted in (consent_id, b"\xff" * 16):
        call = getattr(consortium.beta.consents, method)
        request = getattr(consent_pb2, f"{method}Request")(consent_id=wanted)
        with pytest.raises(grpc.RpcError) as refusal:
            call(request, timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(refusal.value) == "CONSENT_NOT_FOUND"
        refusals.append(refusal.value.trailing_metadata())
    assert refusals[0] == refusals[1]
    assert consortium.journal.size == size
    assert get(consortium.alpha, consent_id).state == ACTIVE


@pytest.mark.parametrize("method", ["GetConsent", "WithdrawConsent"])
def test_a_malformed_consent_id_is_refused(consortium: Consortium, method: str) -> None:
    request = getattr(consent_pb2, f"{method}Request")(consent_id=b"\1" * 17)
    with pytest.raises(grpc.RpcError) as refusal:
        getattr(consortium.alpha.consents, method)(request, timeout=CALL_SECONDS)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(refusal.value) == ["consent_id"]


def test_pages_hold_ones_own_consents_once_each_oldest_first(consortium: Consortium) -> None:
    expected = []
    for subject in range(7):
        expected.append(grant_one(consortium.alpha, draft(consortium, subject)))
        grant_one(consortium.beta, draft(consortium, subject))

    listed, page_token, pages = [], "", 0
    while pages == 0 or page_token:
        page = list_page(consortium.alpha, page_size=3, page_token=page_token)
        listed += [consent.consent_id for consent in page.consents]
        page_token, pages = page.next_page_token, pages + 1
    assert listed == expected
    assert pages == 3


def test_a_full_last_page_has_no_next_one(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(4)])
    page = list_page(consortium.alpha, page_size=4)
    assert len(page.consents) == 4
    assert page.next_page_token == ""


def test_a_page_has_a_hundred_consents_unless_asked_and_never_more_than_a_thousand(
    consortium: Consortium,
) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(1000)])
    grant_one(consortium.alpha, draft(consortium, 1000))
    assert len(list_page(consortium.alpha).consents) == 100
    assert len(list_page(consortium.alpha, page_size=5000).consents) == 1000


def test_a_list_can_be_of_one_subject(consortium: Consortium) -> None:
    wanted = [grant_one(consortium.alpha, draft(consortium, 1)) for _ in range(2)]
    grant_one(consortium.alpha, draft(consortium, 2))
    page = list_page(consortium.alpha, token=token(1))
    assert [consent.consent_id for consent in page.consents] == wanted


def test_a_page_token_serves_only_its_own_list(consortium: Consortium) -> None:
    for caller in (consortium.alpha, consortium.beta):
        grant(caller, [draft(consortium, subject) for subject in range(3)])
    page_token = list_page(consortium.alpha, page_size=1).next_page_token
    for caller, fields in (
        (consortium.beta, {"page_token": page_token}),
        (consortium.alpha, {"page_token": page_token, "token": token(1)}),
        (consortium.alpha, {"page_token": page_token + "AA"}),
        (consortium.alpha, {"page_token": "not a token"}),
        (consortium.alpha, {"page_token": "\u00e9\u00e9\u00e9\u00e9"}),
        (consortium.alpha, {"page_token": "A" * 32}),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            list_page(caller, **fields)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert fields_of(refusal.value) == ["page_token"]


def test_a_malformed_list_request_is_refused(consortium: Consortium) -> None:
    for fields, field in (({"page_size": -1}, "page_size"), ({"token": b"\1" * 31}, "token")):
        with pytest.raises(grpc.RpcError) as refusal:
            list_page(consortium.alpha, **fields)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert fields_of(refusal.value) == [field]


def test_the_purposes_and_categories_of_the_contract_can_all_be_granted(
    consortium: Consortium,
) -> None:
    purposes = [number for number in common_pb2.Purpose.values() if number]
    categories = [number for number in common_pb2.DataCategory.values() if number]
    consent_id = grant_one(consortium.alpha, draft(consortium, 1, purposes, categories))
    consent = get(consortium.alpha, consent_id)
    assert list(consent.purposes) == purposes
    assert list(consent.categories) == categories
