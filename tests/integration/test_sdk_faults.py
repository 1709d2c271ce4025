"""What both clients do when the other side fails, lies or is slow: over real mutual TLS."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from concordat import (
    AccountSnapshot,
    AccountStatus,
    AmountBand,
    ApplicationEvent,
    AsyncClient,
    Cancelled,
    Client,
    ClientClosed,
    ConcordatError,
    Conflict,
    ConsentDraft,
    ContributionResult,
    DataCategory,
    DeadlineExceeded,
    Dimension,
    GrantResult,
    InvalidInput,
    LedgerForked,
    NoConsent,
    Options,
    ProductClass,
    Profile,
    ProtocolViolation,
    Purpose,
    QuotaExhausted,
    ReceiptInvalid,
    ResidentId,
    Row,
    ServerFault,
    SignalStatus,
    SubjectStatus,
    Suspended,
    Token,
    Unavailable,
    UtilisationBand,
    day_number,
    month_number,
    quarter_number,
)
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_rpc.errors import Kind, Refusal
from tests.fabricate import resident_id
from tests.peer import (
    Abort,
    Certificates,
    Change,
    Hold,
    Peer,
    Refuse,
)
from tests.peer_clients import Opener
from tests.peer_ledger import ORIGIN, SPIFFE_ID
from tests.peer_tokens import EPOCH

UNAVAILABLE = Abort(grpc.StatusCode.UNAVAILABLE)
TOKEN = Token(bytes(range(32)), EPOCH)
UNKNOWN_TOKEN = Token(b"\xff" * 32, EPOCH)
TODAY = datetime.now(UTC).date()
PEOPLE = [ResidentId(resident_id(index)) for index in range(4_500)]


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


def row(token: Token = TOKEN, **changed: Any) -> Row:
    fields: dict[str, Any] = {
        "account_ref": bytes(16),
        "as_of_month": month_number(TODAY),
        "status": AccountStatus.OPEN,
        "product": ProductClass.REVOLVING,
        "opened_quarter": quarter_number(TODAY) - 4,
    }
    return Row(token, AccountSnapshot(**(fields | changed)))


def limited(seconds: float) -> Refuse:
    return Refuse(
        Refusal(Kind.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", "slower", retry_after_seconds=seconds)
    )


# Retries


def test_a_read_is_repeated_until_it_works(client: Client, peer: Peer, waits: list[float]) -> None:
    peer.next("GetCheckpoint", UNAVAILABLE, UNAVAILABLE, UNAVAILABLE)
    assert client.checkpoint().checkpoint.size == 1
    assert len(peer.requests["GetCheckpoint"]) == 4
    assert len(waits) == 3


def test_a_write_keeps_its_request_id_when_repeated(client: Client, peer: Peer) -> None:
    peer.next("GrantConsents", Abort(grpc.StatusCode.UNAVAILABLE, after_work=True))
    client.grant_consents([draft()])
    first, second = peer.requests["GrantConsents"]
    assert len(first.request_id) == 16
    assert first == second


def test_a_gateway_that_stays_away_is_tried_for_the_whole_timeout(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    peer.next("GetCheckpoint", *repeat(UNAVAILABLE, 100))
    with pytest.raises(Unavailable, match=r"gave up after 13 attempts in 4\.8 s"):
        client.checkpoint(timeout=5)
    assert len(peer.requests["GetCheckpoint"]) == 13
    assert sum(waits) == pytest.approx(4.75)


def test_an_upload_is_repeated_whole(client: Client, peer: Peer) -> None:
    peer.next("Contribute", UNAVAILABLE)
    assert client.contribute([row(), row()]).rows_accepted == 2
    first, second = peer.requests["Contribute"]
    assert first == second
    assert [message.WhichOneof("part") for message in first] == ["header", "chunk"]


def test_the_gateways_own_waiting_time_is_kept(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    peer.next("GetCheckpoint", limited(2.5))
    client.checkpoint()
    [wait] = waits
    assert wait == 2.55


def test_a_wait_longer_than_the_timeout_is_not_begun(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    peer.next("GetCheckpoint", limited(11.0))
    with pytest.raises(QuotaExhausted) as caught:
        client.checkpoint(timeout=10)
    assert caught.value.retry_after_seconds == 11.0
    assert waits == []


def test_a_lookup_is_repeated_only_when_unavailable(client: Client, peer: Peer) -> None:
    peer.next("Lookup", UNAVAILABLE)
    client.lookup(TOKEN, Purpose.UNDERWRITING)
    assert len(peer.requests["Lookup"]) == 2
    peer.next("Lookup", limited(0.01))
    with pytest.raises(QuotaExhausted):
        client.lookup(TOKEN, Purpose.UNDERWRITING)
    assert len(peer.requests["Lookup"]) == 3


def test_a_question_is_never_repeated(client: Client, peer: Peer) -> None:
    peer.next("Count", UNAVAILABLE)
    with pytest.raises(Unavailable):
        client.count()
    assert len(peer.requests["Count"]) == 1


@pytest.mark.parametrize(
    "question",
    [
        {"epsilon": 0.0009},
        {"epsilon": 3.1},
        {"epsilon": float("nan")},
        {"cells_per_person": 0},
        {"cells_per_person": 5},
        {"group_by": Dimension.UNSPECIFIED},
        {"where": {Dimension.UNSPECIFIED: {1}}},
        {"where": {Dimension.UTILISATION: set()}},
        {"where": {Dimension.UTILISATION: {0}}},
        {"where": {Dimension.UTILISATION: {9}}},
        {"where": {Dimension.UTILISATION: {True}}},
        {"where": {Dimension.UTILISATION: {AmountBand.UNDER_1K}}},
        {"where": {Dimension.UTILISATION: b"\x03"}},
        {"where": {Dimension.UTILISATION: 3}},
        {"where": {6: {3}}},
        {"where": 5},
        {"group_by": 6},
        {"epsilon": "1"},
        {"epsilon": True},
        {"cells_per_person": "1"},
    ],
)
def test_what_may_not_be_asked_is_not_sent(
    client: Client, peer: Peer, question: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        client.count(**question)
    assert peer.requests["Count"] == []


@pytest.mark.parametrize(("epsilon", "micros"), [(0.001, 1_000), (3, 3_000_000)])
def test_the_smallest_and_the_largest_epsilon_may_be_asked(
    client: Client, peer: Peer, epsilon: float, micros: int
) -> None:
    client.count({Dimension.UTILISATION: {1, 8}}, epsilon=epsilon)
    [request] = peer.requests["Count"]
    assert request.epsilon_micros == micros


def test_a_fault_inside_the_gateway_is_not_repeated(client: Client, peer: Peer) -> None:
    peer.next("GetCheckpoint", Abort(grpc.StatusCode.INTERNAL, "internal error 77"))
    with pytest.raises(ServerFault, match="internal error 77"):
        client.checkpoint()
    assert len(peer.requests["GetCheckpoint"]) == 1


# Faults never become results


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK],
    ids=lambda code: code.name,
)
def test_no_status_makes_a_lookup_result(client: Client, peer: Peer, code: grpc.StatusCode) -> None:
    peer.next("Lookup", *repeat(Abort(code), 100))
    with pytest.raises(ConcordatError) as caught:
        client.lookup(TOKEN, Purpose.UNDERWRITING)
    assert caught.value.operation == "lookup"
    assert not isinstance(caught.value, NoConsent)


def test_a_slow_gateway_is_a_missed_deadline(client: Client, peer: Peer) -> None:
    released = threading.Event()
    peer.next("Lookup", Hold(released))
    with pytest.raises(DeadlineExceeded):
        client.lookup(TOKEN, Purpose.UNDERWRITING, timeout=0.2)
    released.set()


def drop_signals(reply: Any) -> Any:
    del reply.result.signals[:]
    return reply


def unset_status(reply: Any) -> Any:
    reply.result.status = 0
    return reply


def unknown_status(reply: Any) -> Any:
    reply.result.status = 9
    return reply


def refuse_with_signals(reply: Any) -> Any:
    reply.result.status = 2
    return reply


def band_without_status(reply: Any) -> Any:
    reply.result.signals[1].band = 4
    return reply


@pytest.mark.parametrize(
    "change",
    [drop_signals, unset_status, unknown_status, refuse_with_signals, band_without_status],
)
def test_a_malformed_answer_is_no_result(
    client: Client, peer: Peer, change: Callable[[Any], Any]
) -> None:
    peer.next("Lookup", Change(change))
    with pytest.raises(ProtocolViolation):
        client.lookup(TOKEN, Purpose.UNDERWRITING)


@pytest.mark.parametrize("band", [3, 0])
def test_a_disputed_signal_has_a_band_or_none(client: Client, peer: Peer, band: int) -> None:
    def disputed(reply: Any) -> Any:
        reply.result.signals[0].status = 6
        reply.result.signals[0].band = band
        return reply

    peer.next("Lookup", Change(disputed))
    found = client.lookup(TOKEN, Purpose.UNDERWRITING)["lenders_open"]
    assert found.status is SignalStatus.DISPUTED
    assert found.has_band is (band > 0)
    assert (found.as_of is None) is (band == 0)


def test_a_signal_that_was_asked_for_must_be_there(client: Client) -> None:
    assert client.lookup(TOKEN, Purpose.UNDERWRITING, signals=["lenders_open"])
    with pytest.raises(ProtocolViolation, match="oldest_account"):
        client.lookup(TOKEN, Purpose.UNDERWRITING, signals=["lenders_open", "oldest_account"])


def test_asking_for_no_signals_is_not_asking_for_all(client: Client, peer: Peer) -> None:
    with pytest.raises(InvalidInput):
        client.lookup(TOKEN, Purpose.UNDERWRITING, signals=[])
    assert peer.requests["Lookup"] == []


def test_a_batch_with_another_number_of_results_is_refused(client: Client, peer: Peer) -> None:
    def drop_one(reply: Any) -> Any:
        del reply.results[0]
        return reply

    peer.next("BatchLookup", Change(drop_one))
    with pytest.raises(ProtocolViolation):
        client.lookup_batch([TOKEN, TOKEN], Purpose.UNDERWRITING)


# Splitting


def test_a_long_batch_lookup_is_split_and_keeps_its_order(client: Client, peer: Peer) -> None:
    count = 10_499
    tokens = [Token(number.to_bytes(32, "big"), EPOCH) for number in range(count)]
    results = client.lookup_batch([*tokens, UNKNOWN_TOKEN], Purpose.UNDERWRITING)
    sizes = [len(request.tokens) // 32 for request in peer.requests["BatchLookup"]]
    assert sizes == [10_000, 500]
    sent = b"".join(request.tokens for request in peer.requests["BatchLookup"])
    assert sent == b"".join(map(bytes, [*tokens, UNKNOWN_TOKEN]))
    statuses = [result.status for result in results]
    assert statuses == [SubjectStatus.OK] * count + [SubjectStatus.NO_CONSENT]
    assert results[0].receipt == results[9_999].receipt != results[10_000].receipt


def test_where_the_quota_lets_no_large_batch_through_smaller_ones_are_asked_for(
    client: Client, peer: Peer
) -> None:
    never = Refusal(Kind.RESOURCE_EXHAUSTED, "LOOKUPS_EXHAUSTED", "at most 1000 at once")
    peer.next("BatchLookup", Refuse(never))
    results = client.lookup_batch([TOKEN] * 2_500, Purpose.UNDERWRITING)
    sizes = [len(request.tokens) // 32 for request in peer.requests["BatchLookup"]]
    assert sizes == [2_500, 1_000, 1_000, 500]
    assert len(results) == 2_500

    peer.next("BatchLookup", Refuse(never))
    with pytest.raises(QuotaExhausted):
        client.lookup_batch([TOKEN] * 1_000, Purpose.UNDERWRITING)


def test_results_before_a_failure_are_not_lost(client: Client, peer: Peer) -> None:
    peer.next("BatchLookup", None, Abort(grpc.StatusCode.INTERNAL))
    with pytest.raises(ServerFault) as caught:
        client.lookup_batch([TOKEN] * 10_001, Purpose.UNDERWRITING)
    assert isinstance(caught.value.partial, tuple)
    assert len(caught.value.partial) == 10_000


def test_grants_are_split_and_numbered_by_the_caller(client: Client, peer: Peer) -> None:
    drafts = [draft() for _ in range(2_001)]
    drafts[1_500] = draft(notice_version="refused")
    result = client.grant_consents(drafts)
    assert [len(request.consents) for request in peer.requests["GrantConsents"]] == [1000, 1000, 1]
    assert len({request.request_id for request in peer.requests["GrantConsents"]}) == 3
    assert [refusal.item for refusal in result.refused] == [1_500]
    assert [granted.item for granted in result.granted] == [
        item for item in range(2_001) if item != 1_500
    ]
    assert len(result.receipts) == 3


def test_a_call_that_failed_goes_on_with_the_same_ids(client: Client, peer: Peer) -> None:
    peer.next("GrantConsents", None, Abort(grpc.StatusCode.INTERNAL))
    drafts = [draft() for _ in range(1_001)]
    with pytest.raises(ServerFault) as caught:
        client.grant_consents(drafts)
    partial = caught.value.partial
    assert isinstance(partial, GrantResult)
    assert len(partial.granted) == 1_000
    client.grant_consents(drafts, request_id=partial.request_id)
    ids = [request.request_id for request in peer.requests["GrantConsents"]]
    assert ids[2:] == ids[:2]


def test_rows_are_split_checked_here_and_numbered_by_the_caller(client: Client, peer: Peer) -> None:
    rows = [row() for _ in range(20_003)]
    rows[1] = row(status=AccountStatus.UNSPECIFIED)
    rows[2] = row(UNKNOWN_TOKEN)
    rows[20_001] = row(as_of_month=1)
    rows[20_002] = row(UNKNOWN_TOKEN)
    result = client.contribute(iter(rows))
    assert [(refusal.item, refusal.reason) for refusal in result.refused][:2] == [
        (1, "REQUIRED"),
        (2, "NO_CONSENT"),
    ]
    assert {refusal.item for refusal in result.refused} == {1, 2, 20_001, 20_002}
    assert result.rows_accepted == 20_003 - 4
    assert [(batch.first_row, batch.rows_accepted) for batch in result.batches] == [
        (0, 19_998),
        (20_000, 1),
    ]
    first, second = peer.requests["Contribute"]
    assert max(len(message.chunk.rows) for message in first) == 2_000
    assert first[0].header.epoch == EPOCH
    assert first[0].header.request_id == result.request_id
    assert second[0].header.request_id == result.batches[1].request_id != result.request_id


def test_rows_of_two_epochs_are_not_mixed(client: Client, peer: Peer) -> None:
    rows = [row()] * 20_000 + [row(Token(TOKEN.value, EPOCH + 1))]
    with pytest.raises(InvalidInput) as caught:
        client.contribute(rows)
    assert [violation.field for violation in caught.value.violations] == ["rows[20000].token"]
    partial = caught.value.partial
    assert isinstance(partial, ContributionResult)
    assert partial.rows_accepted == 20_000


def test_rows_are_read_only_as_far_as_they_are_sent(client: Client, peer: Peer) -> None:
    read = 0

    def rows() -> Iterator[Row]:
        nonlocal read
        for _ in range(60_000):
            read += 1
            yield row()

    peer.next("Contribute", None, Abort(grpc.StatusCode.INTERNAL))
    with pytest.raises(ServerFault) as caught:
        client.contribute(rows())
    assert read == 40_000
    assert isinstance(caught.value.partial, ContributionResult)
    assert caught.value.partial.rows_accepted == 20_000


def test_rows_taken_before_a_wrong_one_are_not_lost(client: Client, peer: Peer) -> None:
    rows: list[Any] = [row()] * 20_000 + ["wrong"]
    with pytest.raises(InvalidInput, match=r"rows\[20000\]") as caught:
        client.contribute(rows)
    partial = caught.value.partial
    assert isinstance(partial, ContributionResult)
    assert partial.rows_accepted == 20_000
    [[header, *_]] = peer.requests["Contribute"]
    assert header.header.request_id == partial.request_id


def test_consents_recorded_before_a_wrong_one_are_not_lost(client: Client, peer: Peer) -> None:
    drafts: list[Any] = [draft()] * 1_000 + ["wrong"]
    with pytest.raises(InvalidInput, match=r"consents\[1000\]") as caught:
        client.grant_consents(drafts)
    partial = caught.value.partial
    assert isinstance(partial, GrantResult)
    assert len(partial.granted) == 1_000
    [request] = peer.requests["GrantConsents"]
    assert request.request_id == partial.request_id


def test_an_error_of_the_callers_rows_passes_and_tells_the_request_id(
    client: Client, peer: Peer
) -> None:
    lost = OSError("the connection to the warehouse broke")

    def rows() -> Iterator[Row]:
        yield from repeat(row(), 20_000)
        raise lost

    with pytest.raises(OSError) as caught:
        client.contribute(rows())
    assert caught.value is lost
    [[header, *_]] = peer.requests["Contribute"]
    [note] = lost.__notes__
    assert f"request_id=bytes.fromhex('{header.header.request_id.hex()}')" in note


def test_rows_that_are_all_refused_here_are_not_sent(client: Client, peer: Peer) -> None:
    result = client.contribute([row(product=ProductClass.UNSPECIFIED)])
    assert [refusal.item for refusal in result.refused] == [0]
    assert result.batches == ()
    assert peer.requests["Contribute"] == []


def test_what_is_no_row_is_named(client: Client, peer: Peer) -> None:
    rows: list[Any] = [row(), "row"]
    with pytest.raises(InvalidInput, match=r"rows\[1\]"):
        client.contribute(rows)
    assert peer.requests["Contribute"] == []


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("limit", 5, "band_of(concordat.AmountBand"),
        ("limit", "20k", "band_of(concordat.AmountBand"),
        ("limit", None, "band_of(concordat.AmountBand"),
        ("limit", 7.5, "band_of(concordat.AmountBand"),
        ("limit", True, "band_of(concordat.AmountBand"),
        ("limit", UtilisationBand.FROM_30_TO_50, "band_of(concordat.AmountBand"),
        ("balance", 8_200, "band_of(concordat.AmountBand"),
        ("past_due", 0, "band_of(concordat.AmountBand"),
        ("days_past_due", 3, "band_of(concordat.DaysPastDueBand"),
        ("days_past_due", AmountBand.ZERO, "band_of(concordat.DaysPastDueBand"),
        ("utilisation", 41, "band_of(concordat.UtilisationBand"),
        ("spend_volatility", 1, "band_of(concordat.VolatilityBand"),
        ("status", 1, "AccountStatus"),
        ("product", AccountStatus.OPEN, "ProductClass"),
        ("as_of_month", "November", "month_number"),
        ("as_of_month", TODAY, "month_number"),
        ("opened_quarter", True, "quarter_number"),
        ("account_ref", None, "16 bytes"),
        ("payment_profile", [1, 1], "days_past_due_band"),
    ],
)
def test_a_mistyped_field_refuses_its_row_and_no_other(
    client: Client, peer: Peer, field: str, value: Any, advice: str
) -> None:
    result = client.contribute([row(), row(**{field: value}), row()])
    [refusal] = result.refused
    assert (refusal.item, refusal.field) == (1, f"account.{field}")
    assert refusal.reason == "WRONG_TYPE"
    assert advice in refusal.description
    assert result.rows_accepted == 2
    [[_, chunk]] = peer.requests["Contribute"]
    assert len(chunk.chunk.rows) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("application_ref", "00" * 16), ("day", TODAY), ("product", 3)],
)
def test_a_mistyped_application_is_refused(client: Client, field: str, value: Any) -> None:
    good = ApplicationEvent(bytes(16), day_number(TODAY), ProductClass.REVOLVING)
    wrong = replace(good, **{field: value})
    result = client.contribute([Row(TOKEN, good), Row(TOKEN, wrong)])
    assert [(r.item, r.field, r.reason) for r in result.refused] == [
        (1, f"application.{field}", "WRONG_TYPE")
    ]


def test_all_mistyped_fields_of_a_row_are_named(client: Client) -> None:
    [*refused] = client.contribute([row(days_past_due=3, limit=5)]).refused
    assert [refusal.field for refusal in refused] == ["account.limit", "account.days_past_due"]


def test_a_row_without_a_token_or_a_record_is_refused(client: Client) -> None:
    wrong: list[Any] = [Row(b"0" * 32, row().record), Row(TOKEN, {})]  # type: ignore[arg-type]  # the mistakes under test
    refused = client.contribute([*wrong, row()]).refused
    assert [(r.item, r.field, r.reason) for r in refused] == [
        (0, "token", "WRONG_TYPE"),
        (1, "record", "WRONG_TYPE"),
    ]


def test_integers_of_other_libraries_are_integers(client: Client, peer: Peer) -> None:
    month = np.int64(month_number(TODAY))
    assert client.contribute([row(as_of_month=month)]).refused == ()
    [[_, chunk]] = peer.requests["Contribute"]
    assert chunk.chunk.rows[0].account.as_of_month == month


CARELESS: dict[str, tuple[Callable[[Any], object], str]] = {
    "an identifier alone": (lambda client: client.tokenise(PEOPLE[0]), "identifiers"),
    "no identifiers": (lambda client: client.tokenise(None), "identifiers"),
    "no function": (lambda client: client.tokenise([], progress=5), "progress"),
    "a token alone": (lambda client: client.lookup_batch(TOKEN, Purpose.UNDERWRITING), "tokens"),
    "a draft alone": (lambda client: client.grant_consents(draft()), "consents"),
    "a row alone": (lambda client: client.contribute(row()), "rows"),
    **{
        f"an age of {age!r}": (
            lambda client, age=age: client.lookup(TOKEN, Purpose.UNDERWRITING, max_age_months=age),
            "max_age_months",
        )
        for age in (0, -1, 121, True, 1.5, "3")
    },
    "a number of signals": (
        lambda client: client.lookup(TOKEN, Purpose.UNDERWRITING, signals=5),
        "signals",
    ),
    "a signal alone": (
        lambda client: client.lookup(TOKEN, Purpose.UNDERWRITING, signals="lenders_open"),
        "signals",
    ),
    "another enumeration": (
        lambda client: client.lookup(TOKEN, DataCategory.CREDIT_ACCOUNTS),
        "purpose",
    ),
    "a number for a purpose": (lambda client: client.lookup(TOKEN, 1), "purpose"),
    "no receipt": (lambda client: client.verify_receipt(None), "receipt"),
}


@pytest.mark.parametrize("mistake", CARELESS)
def test_a_careless_call_is_told_what_is_wrong(client: Client, peer: Peer, mistake: str) -> None:
    call, field = CARELESS[mistake]
    with pytest.raises(InvalidInput) as caught:
        call(client)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert not any(peer.requests.values())


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("options", {"timeout": 3}), ("options", {}), ("known_checkpoint", 5), ("profile", "alpha")],
)
def test_a_client_is_not_made_of_wrong_parts(profile: Path, field: str, wrong: object) -> None:
    parts: dict[str, Any] = {"profile": Profile.load(profile)} | {field: wrong}
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidInput) as caught:
            kind(**parts)
        assert [violation.field for violation in caught.value.violations] == [field]


def test_an_answer_for_another_number_of_rows_is_refused(client: Client, peer: Peer) -> None:
    def miscount(reply: Any) -> Any:
        reply.rows_accepted += 1
        return reply

    peer.next("Contribute", Change(miscount))
    with pytest.raises(ProtocolViolation):
        client.contribute([row()])


def test_listings_are_read_page_by_page(client: Client, peer: Peer) -> None:
    consents = client.list_consents(page_size=2)
    assert peer.requests["ListConsents"] == []
    next(consents)
    assert len(peer.requests["ListConsents"]) == 1
    assert len(list(consents)) == 4
    assert [r.page_token for r in peer.requests["ListConsents"]] == ["", "2", "4"]


def test_a_listing_that_goes_round_in_circles_ends(client: Client, peer: Peer) -> None:
    def same_page(reply: Any) -> Any:
        reply.next_page_token = "2"
        return reply

    peer.next("ListConsents", *[Change(same_page)] * 3)
    with pytest.raises(ProtocolViolation, match="does not advance"):
        list(client.list_consents(page_size=2))


# Errors of the gateway


def test_a_suspended_member_is_told_so(client: Client, peer: Peer) -> None:
    refusal = Refusal(Kind.PERMISSION_DENIED, "MEMBER_SUSPENDED", "alpha is suspended")
    peer.next("Lookup", Refuse(refusal))
    with pytest.raises(Suspended, match="alpha is suspended"):
        client.lookup(TOKEN, Purpose.UNDERWRITING)


def test_a_request_id_used_for_other_content_is_a_conflict(client: Client, peer: Peer) -> None:
    refusal = Refusal(Kind.ALREADY_EXISTS, "REQUEST_ID_REUSED", "used before")
    peer.next("GrantConsents", Refuse(refusal))
    with pytest.raises(Conflict) as caught:
        client.grant_consents([draft()], request_id=bytes(16))
    assert caught.value.reason == "REQUEST_ID_REUSED"


# The ledger


def test_a_receipt_is_shown_to_be_in_the_newest_tree(client: Client, peer: Peer) -> None:
    receipt = client.lookup(TOKEN, Purpose.UNDERWRITING).receipt
    for _ in range(10):
        peer.ledger.append("consent.granted")
    verified = client.verify_receipt(receipt)
    assert verified.entry_index == 1
    assert verified.fields["type"] == "lookup"
    assert verified.checkpoint.checkpoint.size == 12
    assert client.last_checkpoint == verified.checkpoint


def another_key(reply: Any) -> Any:
    forged = Checkpoint(ORIGIN, 50, bytes(32))
    reply.receipt.checkpoint = sign(forged, SigningKey.generate(ORIGIN))
    return reply


def beyond_the_tree(reply: Any) -> Any:
    reply.receipt.entry_index += 1
    return reply


def another_entry(reply: Any) -> Any:
    reply.receipt.entry = reply.receipt.entry.replace(b"lookup", b"consent.granted")
    return reply


def another_actor(reply: Any) -> Any:
    reply.receipt.entry = reply.receipt.entry.replace(b"member/alpha", b"member/omega")
    return reply


def no_entry(reply: Any) -> Any:
    reply.receipt.entry = b""
    return reply


def no_receipt(reply: Any) -> Any:
    reply.ClearField("receipt")
    return reply


@pytest.mark.parametrize(
    "change", [another_key, beyond_the_tree, another_entry, another_actor, no_entry, no_receipt]
)
def test_a_reply_with_a_wrong_receipt_is_not_used(
    client: Client, peer: Peer, change: Callable[[Any], Any]
) -> None:
    peer.next("Lookup", Change(change))
    with pytest.raises(ReceiptInvalid):
        client.lookup(TOKEN, Purpose.UNDERWRITING)


ASKED = {
    "Lookup": lambda client: client.lookup(TOKEN, Purpose.UNDERWRITING, signals=["utilisation"]),
    "BatchLookup": lambda client: client.lookup_batch([TOKEN] * 2, Purpose.UNDERWRITING),
    "Count": lambda client: client.count(),
    "GrantConsents": lambda client: client.grant_consents([draft()]),
    "Contribute": lambda client: client.contribute([row()]),
}


@pytest.mark.parametrize("method", ASKED)
def test_a_receipt_of_an_earlier_call_is_not_taken_for_this_ones(
    client: Client, peer: Peer, method: str
) -> None:
    kept: list[Any] = []

    def keep(reply: Any) -> Any:
        kept.append(reply.receipt)
        return reply

    def replay(reply: Any) -> Any:
        reply.receipt.CopyFrom(kept[0])
        return reply

    peer.next(method, Change(keep), Change(replay))
    ASKED[method](client)
    with pytest.raises(ReceiptInvalid, match="entry 1 is not this call's"):
        ASKED[method](client)


@pytest.mark.parametrize("method", ["Lookup", "BatchLookup", "Count"])
def test_each_call_has_a_request_id_that_its_repeats_keep(
    client: Client, peer: Peer, method: str
) -> None:
    if method != "Count":
        peer.next(method, UNAVAILABLE)
        ASKED[method](client)
        first, second = peer.requests[method]
        assert first == second
    ASKED[method](client)
    ASKED[method](client)
    *_, earlier, later = peer.requests[method]
    assert len(earlier.request_id) == len(later.request_id) == 16
    assert earlier.request_id != later.request_id


@pytest.mark.parametrize(
    "said",
    [
        {"purpose": "dispute"},
        {"items": 2},
        {"signals": ["lenders_open"]},
        {"signals": "utilisation"},
        {"max_age_months": 7},
    ],
)
def test_a_receipt_that_records_another_question_is_refused(
    client: Client, peer: Peer, said: dict[str, leaf.Json]
) -> None:
    def record_something_else(reply: Any) -> Any:
        fields = leaf.check(reply.receipt.entry)
        reply.receipt.entry = leaf.encode(fields | said)
        return reply

    peer.next("Lookup", Change(record_something_else))
    with pytest.raises(ReceiptInvalid, match="not this call's"):
        client.lookup(TOKEN, Purpose.UNDERWRITING, signals=["utilisation"])


def test_a_receipt_without_the_wanted_age_is_refused(client: Client, peer: Peer) -> None:
    def forget_the_age(reply: Any) -> Any:
        fields = leaf.check(reply.receipt.entry)
        del fields["max_age_months"]
        reply.receipt.entry = leaf.encode(fields)
        return reply

    peer.next("Lookup", None, Change(forget_the_age))
    kept = client.lookup(TOKEN, Purpose.UNDERWRITING, max_age_months=6)
    assert kept.receipt.fields["max_age_months"] == 6
    with pytest.raises(ReceiptInvalid, match="max_age_months"):
        client.lookup(TOKEN, Purpose.UNDERWRITING, max_age_months=6)


def test_a_rewritten_history_is_noticed_at_the_next_checkpoint(client: Client, peer: Peer) -> None:
    for _ in range(5):
        peer.ledger.append("consent.granted")
    before = client.checkpoint()
    peer.ledger.append("consent.granted")
    peer.ledger.rewrite_history()
    with pytest.raises(LedgerForked) as caught:
        client.checkpoint()
    assert caught.value.seen == before.note
    assert caught.value.offered == peer.ledger.note()
    assert client.last_checkpoint == before


def test_two_trees_of_one_size_are_noticed_in_any_reply(client: Client, peer: Peer) -> None:
    client.lookup(TOKEN, Purpose.UNDERWRITING)

    def on_another_tree(reply: Any) -> Any:
        del peer.ledger.leaves[2:]
        peer.ledger.rewrite_history()
        reply.receipt.entry_index = 1
        reply.receipt.checkpoint = peer.ledger.note()
        return reply

    peer.next("Lookup", Change(on_another_tree))
    with pytest.raises(LedgerForked):
        client.lookup(TOKEN, Purpose.UNDERWRITING)


def test_history_is_compared_across_clients(opened: Opener, peer: Peer) -> None:
    kept = opened().checkpoint().note
    peer.ledger.append("consent.granted")
    peer.ledger.rewrite_history()
    with pytest.raises(LedgerForked):
        opened(known_checkpoint=kept).checkpoint()


def test_a_kept_checkpoint_must_be_the_ledgers(opened: Opener) -> None:
    with pytest.raises(ReceiptInvalid):
        opened(known_checkpoint="nonsense")


def test_a_checkpoint_older_than_the_last_one_is_proven_too(client: Client, peer: Peer) -> None:
    old = peer.ledger.note()
    peer.ledger.append("consent.granted")
    newest = client.checkpoint()

    def answer_old(reply: Any) -> Any:
        reply.checkpoint = old
        return reply

    peer.next("GetCheckpoint", Change(answer_old))
    assert client.checkpoint() == newest
    assert len(peer.requests["GetConsistencyProof"]) == 1


def test_an_entry_that_is_not_in_the_ledger_is_noticed(client: Client, peer: Peer) -> None:
    receipt = client.lookup(TOKEN, Purpose.UNDERWRITING).receipt

    def corrupt(reply: Any) -> Any:
        reply.hashes[0] = bytes(32)
        return reply

    peer.next("GetInclusionProof", Change(corrupt))
    with pytest.raises(ReceiptInvalid):
        client.verify_receipt(receipt)


def test_an_export_is_checked_as_a_whole(client: Client, peer: Peer) -> None:
    for _ in range(5):
        peer.ledger.append("consent.granted")
    entries = list(client.export_entries())
    assert [entry.entry for entry in entries] == peer.ledger.leaves
    assert {entry.checkpoint.note for entry in entries} == {peer.ledger.note()}
    assert [entry.index for entry in client.export_entries(4)] == [4, 5]


def test_an_export_that_is_not_what_was_signed_is_refused(client: Client, peer: Peer) -> None:
    peer.ledger.append("consent.granted")

    def forge(replies: Any) -> Any:
        for reply in replies:
            reply.entries[0].entry = reply.entries[0].entry.replace(b"granted", b"forgery")
            yield reply

    def shorten(replies: Any) -> Any:
        yield next(replies)

    def repeat(replies: Any) -> Any:
        first = next(replies)
        yield first
        yield first

    for fault, error in [
        (forge, ReceiptInvalid),
        (shorten, ProtocolViolation),
        (repeat, ProtocolViolation),
    ]:
        peer.next("ExportEntries", Change(fault))
        with pytest.raises(error) as caught:
            list(client.export_entries())
        assert caught.value.operation == "export_entries"


def test_an_export_that_breaks_off_says_so(client: Client, peer: Peer) -> None:
    peer.next("ExportEntries", UNAVAILABLE)
    with pytest.raises(Unavailable) as caught:
        list(client.export_entries())
    assert caught.value.operation == "export_entries"


# Connections


def test_calls_take_turns_on_connections_of_their_own(opened: Opener, peer: Peer) -> None:
    client = opened(Options(channels=3))
    for _ in range(7):
        client.checkpoint()
    assert len(peer.callers) == 3


def test_a_gateway_of_another_authority_is_refused_at_once(
    opened: Opener, profile: Path, waits: list[float]
) -> None:
    (profile / "ca.pem").write_bytes(Certificates().ca_pem)
    with pytest.raises(Unavailable) as caught:
        opened().checkpoint()
    assert caught.value.reason == "SERVER_CERTIFICATE_REFUSED"
    assert waits == []


def test_a_gateway_of_another_name_is_refused(opened: Opener, profile: Path) -> None:
    settings = profile / "profile.toml"
    settings.write_text(settings.read_text().replace("gateway.concordat.test", "other.test"))
    with pytest.raises(Unavailable) as caught:
        opened().checkpoint()
    assert caught.value.reason == "SERVER_CERTIFICATE_REFUSED"


def test_a_client_of_another_authority_gets_no_answer(
    opened: Opener, profile: Path, peer: Peer
) -> None:
    certificate, key = Certificates().issue(SPIFFE_ID)
    (profile / "cert.pem").write_bytes(certificate)
    (profile / "key.pem").write_bytes(key)
    with pytest.raises(Unavailable):
        opened().checkpoint()
    assert peer.requests["GetCheckpoint"] == []


def test_a_closed_client_says_so(client: Client) -> None:
    client.checkpoint()
    client.close()
    with pytest.raises(ClientClosed):
        client.checkpoint()


def test_closing_ends_a_call_that_is_running(client: Client, peer: Peer) -> None:
    released, arrived = threading.Event(), threading.Event()
    peer.next("Lookup", Hold(released, arrived))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(client.lookup, TOKEN, Purpose.UNDERWRITING)
        assert arrived.wait(10)
        client.close()
        error = running.exception(10)
        released.set()
    assert isinstance(error, Cancelled | ClientClosed)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 86_401, "3", True])
def test_a_timeout_is_positive_and_at_most_a_day(client: Client, timeout: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.checkpoint(timeout=timeout)
    assert [violation.field for violation in caught.value.violations] == ["timeout"]


def test_threads_share_a_client(profile: Path, peer: Peer) -> None:
    with Client.open(profile) as client, ThreadPoolExecutor(8) as threads:
        sizes = list(
            threads.map(
                lambda _: (
                    client.verify_receipt(
                        client.lookup(TOKEN, Purpose.UNDERWRITING).receipt
                    ).checkpoint.checkpoint.size
                ),
                range(40),
            )
        )
    assert len(peer.requests["Lookup"]) == 40
    assert max(sizes) <= 41


FORKING = """
import os, sys
import concordat

client = concordat.Client.open(sys.argv[1])
client.checkpoint()
child = os.fork()
if child == 0:
    try:
        client.checkpoint()
    except concordat.ClientClosed as error:
        os._exit(7 if error.reason == "USED_AFTER_FORK" else 8)
    os._exit(9)
_, status = os.waitpid(child, 0)
client.checkpoint()
client.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_client_is_not_used_after_a_fork_and_the_parent_keeps_it(profile: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, str(profile)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 7, ran.stderr
