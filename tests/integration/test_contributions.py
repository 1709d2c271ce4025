"""Contributions: which rows are taken, which are named as refused, and what a fault leaves."""

import hashlib
import json
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import common_pb2, contribution_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import contributions
from concordat_gateway.rules.policies import Jurisdictions
from concordat_gateway.store.control_tables import consent as consent_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey
from tests.contributing import (
    CONTRIBUTION,
    EVERYTHING,
    UNDERWRITING,
    allow,
    band_seen,
    consortium_on,
)
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    account,
    application,
    chunk,
    contribute,
    draft,
    fields_of,
    grant,
    grant_one,
    header,
    months_since_1970,
    reason_of,
    request_id,
    serving,
    timestamp,
    token,
    withdraw,
)
from tests.stores import ManualClock, StoreUrls, table_missing

ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
SPENDING = common_pb2.DATA_CATEGORY_SPENDING


def get_batch(caller: Caller, request: bytes) -> contribution_pb2.GetBatchResponse:
    return caller.contributions.GetBatch(
        contribution_pb2.GetBatchRequest(request_id=request), timeout=CALL_SECONDS
    )


def staged(consortium: Consortium) -> list[bytes]:
    return consortium.signal_store.staged()


def test_rows_of_several_messages_are_taken_and_seen_by_lookups(consortium: Consortium) -> None:
    allow(consortium, [1, 2])
    rows = [application(consortium, 1, ref) for ref in range(3)]
    rows += [application(consortium, 2, 1), account(consortium, 1)]
    request = request_id()
    response = contribute(consortium.beta, rows, request, rows_a_message=2)

    assert response.rows_accepted == 5
    assert not response.refused
    assert band_seen(consortium, "inquiries_30d", 1) == "3-4"
    assert band_seen(consortium, "inquiries_30d", 2) == "1"
    assert staged(consortium) == []
    assert get_batch(consortium.beta, request) == contribution_pb2.GetBatchResponse(
        state=contribution_pb2.BATCH_STATE_PUBLISHED,
        rows_accepted=5,
        rows_refused=0,
        entry_index=response.receipt.entry_index,
        accepted_at=timestamp(consortium.clock.microseconds),
    )


def test_a_row_needs_a_live_consent_of_its_subject_for_this_member_and_category(
    consortium: Consortium,
) -> None:
    allow(consortium, [1], [ACCOUNTS])
    allow(consortium, [2], [ACCOUNTS, SPENDING])
    allow(consortium, [3], [INQUIRIES])
    allow(consortium, [4], EVERYTHING, consortium.gamma)
    grant(consortium.beta, [draft(consortium, 5, [UNDERWRITING], EVERYTHING)])
    [withdrawn] = allow(consortium, [6])
    withdraw(consortium.beta, withdrawn)
    grant(consortium.beta, [draft(consortium, 7, [CONTRIBUTION], lasts_seconds=10)])
    grant(consortium.beta, [draft(consortium, 8, [CONTRIBUTION], starts_in_seconds=3600)])
    consortium.clock.advance(10)

    rows = [
        account(consortium, 1, ref=1),
        account(consortium, 1, ref=2, spend_volatility=2),
        application(consortium, 1),
        account(consortium, 2, spend_volatility=2),
        account(consortium, 3),
        application(consortium, 3),
        *(account(consortium, subject) for subject in (4, 5, 6, 7, 8, 9)),
    ]
    response = contribute(consortium.beta, rows)

    assert response.rows_accepted == 3
    assert {(r.item, r.field) for r in response.refused} == {
        (1, "account.spend_volatility"),
        *((item, "token") for item in (2, 4, 6, 7, 8, 9, 10, 11)),
    }
    assert {r.reason for r in response.refused} == {"NO_CONSENT"}
    assert [r.item for r in response.refused] == sorted(r.item for r in response.refused)


def test_two_consents_together_can_cover_a_row(consortium: Consortium) -> None:
    allow(consortium, [1], [ACCOUNTS])
    allow(consortium, [1], [SPENDING])
    response = contribute(consortium.beta, [account(consortium, 1, spend_volatility=2)])
    assert response.rows_accepted == 1


def test_every_bad_row_is_named_and_the_good_ones_are_taken(consortium: Consortium) -> None:
    allow(consortium, [1])
    month = months_since_1970(consortium.clock)
    no_record = contribution_pb2.ContributionRow(token=token(1))
    bad_product = application(consortium, 1, 51)
    bad_product.application.product = 0
    old = application(consortium, 1, 52, days_ago=5000)
    future = application(consortium, 1, 53, days_ago=-2)
    bad = [
        (account(consortium, b"\1" * 31), "token", "WRONG_LENGTH"),
        (account(consortium, b""), "token", "WRONG_LENGTH"),
        (no_record, "record", "REQUIRED"),
        (account(consortium, 1, account_ref=b"x"), "account.account_ref", "WRONG_LENGTH"),
        (account(consortium, 1, 11, status=0), "account.status", "REQUIRED"),
        (account(consortium, 1, 12, status=99), "account.status", "UNKNOWN_BAND"),
        (account(consortium, 1, 13, product=0), "account.product", "REQUIRED"),
        (account(consortium, 1, 14, product=-1), "account.product", "UNKNOWN_BAND"),
        (account(consortium, 1, 15, opened_quarter=0), "account.opened_quarter", "REQUIRED"),
        (account(consortium, 1, 16, as_of_month=month + 2), "account.as_of_month", "OUT_OF_RANGE"),
        (account(consortium, 1, 17, as_of_month=2**32 - 1), "account.as_of_month", "OUT_OF_RANGE"),
        (account(consortium, 1, 18, limit=10), "account.limit", "UNKNOWN_BAND"),
        (account(consortium, 1, 19, utilisation=9), "account.utilisation", "UNKNOWN_BAND"),
        (
            account(consortium, 1, 20, payment_profile=bytes(24)),
            "account.payment_profile",
            "WRONG_LENGTH",
        ),
        (
            account(consortium, 1, 21, payment_profile=b"\1\x09"),
            "account.payment_profile",
            "UNKNOWN_BAND",
        ),
        (bad_product, "application.product", "REQUIRED"),
        (old, "application.day", "OUT_OF_RANGE"),
        (future, "application.day", "OUT_OF_RANGE"),
    ]
    good = account(consortium, 1, 99)
    response = contribute(consortium.beta, [good, *(row for row, _, _ in bad)])

    assert response.rows_accepted == 1
    assert [(r.item, r.field, r.reason) for r in response.refused] == [
        (item, field, reason) for item, (_, field, reason) in enumerate(bad, start=1)
    ]


def test_a_row_that_repeats_another_of_its_batch_is_refused(consortium: Consortium) -> None:
    allow(consortium, [1, 2])
    month = months_since_1970(consortium.clock)
    rows = [
        account(consortium, 1, ref=1),
        account(consortium, 1, ref=1, balance=4),
        account(consortium, 1, ref=1, as_of_month=month - 1),
        account(consortium, 1, ref=2),
        account(consortium, 2, ref=1),
        application(consortium, 1, ref=1),
        application(consortium, 1, ref=1, days_ago=9),
    ]
    response = contribute(consortium.beta, rows, rows_a_message=1)

    assert response.rows_accepted == 5
    assert [(r.item, r.field, r.reason) for r in response.refused] == [
        (1, "account.as_of_month", "DUPLICATE"),
        (6, "application.application_ref", "DUPLICATE"),
    ]


def test_a_refusal_never_repeats_the_token_or_the_references(consortium: Consortium) -> None:
    secret = b"SECRET-SECRET-SECRET-SECRET-SECR"
    rows = [
        account(consortium, secret, account_ref=b"PRIVATE-PRIVATE!"),
        account(consortium, secret, account_ref=b"PRIVATE-PRIVATE!"),
        account(consortium, secret[:9], account_ref=b"PRIVATE"),
    ]
    response = contribute(consortium.beta, rows)
    assert len(response.refused) == 3
    words = response.SerializeToString() + response.receipt.entry
    assert b"SECRET" not in words
    assert b"PRIVATE" not in words


def test_the_furnisher_can_work_out_the_root_of_its_rows(consortium: Consortium) -> None:
    accounts, spending, inquiries = (
        allow(consortium, [subject], categories)[0]
        for subject, categories in ((1, [ACCOUNTS]), (1, [SPENDING]), (2, [INQUIRIES]))
    )
    row = account(
        consortium, 1, ref=5, limit=5, balance=3, past_due=1, spend_volatility=2,
        payment_profile=b"\1\2",
    )  # fmt: skip
    event = application(consortium, 2, ref=6)
    response = contribute(consortium.beta, [row, account(consortium, 9), event])

    a, e = row.account, event.application
    first = (
        b"concordat/row/v1" + token(1) + b"\1" + a.account_ref
        + struct.pack(">I", a.as_of_month) + bytes([1, 3]) + struct.pack(">I", a.opened_quarter)
        + bytes([5, 3, 1, 1, 4, 2]) + b"\2" + b"\1\2" + bytes(21)
        + accounts + spending
    )  # fmt: skip
    second = (
        b"concordat/row/v1" + token(2) + b"\2" + e.application_ref
        + struct.pack(">I", e.day) + b"\3" + inquiries
    )  # fmt: skip
    leaves = [hashlib.sha256(b"\0" + leaf).digest() for leaf in (first, second)]
    root = hashlib.sha256(b"\1" + leaves[0] + leaves[1]).hexdigest()

    entry = json.loads(response.receipt.entry)
    assert entry["type"] == "contribution.batch"
    assert entry["rows_root"] == root
    assert (entry["rows"], entry["refused"], entry["epoch"]) == (2, 1, 1)


def test_a_batch_of_refused_rows_only_is_recorded_too(consortium: Consortium) -> None:
    request = request_id()
    pool_version = consortium.journal.pool_version
    response = contribute(
        consortium.beta, [account(consortium, 1), account(consortium, b"")], request
    )

    assert response.rows_accepted == 0
    assert len(response.refused) == 2
    entry = json.loads(response.receipt.entry)
    assert (entry["rows"], entry["refused"]) == (0, 2)
    assert entry["rows_root"] == hashlib.sha256(b"").hexdigest()
    assert consortium.journal.pool_version == pool_version
    batch = get_batch(consortium.beta, request)
    assert (batch.rows_accepted, batch.rows_refused) == (0, 2)
    assert staged(consortium) == []


def test_a_taken_batch_changes_the_pool(consortium: Consortium) -> None:
    allow(consortium, [1])
    pool_version = consortium.journal.pool_version
    contribute(consortium.beta, [account(consortium, 1)])
    assert consortium.journal.pool_version == pool_version + 1


def test_a_repeated_batch_is_answered_alike_however_it_is_cut(consortium: Consortium) -> None:
    allow(consortium, [1])
    rows = [application(consortium, 1, ref) for ref in range(7)] + [account(consortium, b"")]
    request = request_id()
    first = contribute(consortium.beta, rows, request, rows_a_message=3)
    allow(consortium, [2])
    size = consortium.journal.size
    # Two days on, the same rows would be judged by another date; the first reply stands.
    consortium.clock.advance(2 * 86_400)
    second = contribute(consortium.beta, rows, request, rows_a_message=5)

    assert consortium.journal.size == size
    assert second.receipt.checkpoint == consortium.journal.checkpoint()
    second.receipt.checkpoint = first.receipt.checkpoint
    assert second == first
    assert staged(consortium) == []


def test_a_request_id_cannot_be_used_for_another_batch(consortium: Consortium) -> None:
    allow(consortium, [1])
    rows = [account(consortium, 1, 1), account(consortium, 1, 2), account(consortium, b"bad")]
    request = request_id()
    contribute(consortium.beta, rows, request)
    size = consortium.journal.size
    others = {
        "fewer rows": rows[:2],
        "another band": [account(consortium, 1, 1, balance=4), *rows[1:]],
        "another bad row": [*rows[:2], account(consortium, b"bads")],
        "another order": [rows[1], rows[0], rows[2]],
    }
    for change, other in others.items():
        with pytest.raises(grpc.RpcError) as refusal:
            contribute(consortium.beta, other, request)
        assert refusal.value.code() is grpc.StatusCode.ALREADY_EXISTS, change
        assert reason_of(refusal.value) == "REQUEST_ID_REUSED", change
    assert consortium.journal.size == size
    assert staged(consortium) == []


def test_of_concurrent_batches_with_one_request_id_one_is_taken(consortium: Consortium) -> None:
    allow(consortium, [1])
    rows = [application(consortium, 1, ref) for ref in range(3)]
    request = request_id()
    before = consortium.journal.size
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(contribute, consortium.beta, rows, request) for _ in range(3)]
        entries = {call.result().receipt.entry for call in calls}

    assert len(entries) == 1
    assert consortium.journal.size == before + 1
    assert staged(consortium) == []
    assert band_seen(consortium, "inquiries_30d", 1) == "3-4"


def test_a_stream_that_breaks_off_takes_nothing(consortium: Consortium) -> None:
    allow(consortium, [1])
    before = consortium.journal.size
    request = request_id()
    hold = threading.Event()

    def broken() -> Iterator[contribution_pb2.ContributeRequest]:
        yield header(request)
        yield chunk([application(consortium, 1, ref) for ref in range(10)])
        hold.wait(CALL_SECONDS)

    call = consortium.beta.contributions.Contribute.future(broken(), timeout=CALL_SECONDS)
    call.cancel()
    hold.set()
    with pytest.raises(grpc.FutureCancelledError):
        call.result()

    # The same request afterwards finds no trace of it, and is taken as new.
    with pytest.raises(grpc.RpcError) as refusal:
        get_batch(consortium.beta, request)
    assert reason_of(refusal.value) == "BATCH_NOT_FOUND"
    assert consortium.journal.size == before
    assert staged(consortium) == []
    assert contribute(consortium.beta, [application(consortium, 1)], request).rows_accepted == 1


def test_a_silent_stream_ends_at_its_deadline_and_takes_nothing(consortium: Consortium) -> None:
    allow(consortium, [1])
    before = consortium.journal.size
    hold = threading.Event()

    def silent() -> Iterator[contribution_pb2.ContributeRequest]:
        yield header(request_id())
        yield chunk([application(consortium, 1)])
        hold.wait(CALL_SECONDS)

    with pytest.raises(grpc.RpcError) as refusal:
        consortium.beta.contributions.Contribute(silent(), timeout=0.5)
    hold.set()
    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert consortium.journal.size == before
    assert staged(consortium) == []


def wrong_streams(
    consortium: Consortium,
) -> dict[str, tuple[list[contribution_pb2.ContributeRequest], str]]:
    row = account(consortium, 1)
    head = header(request_id())
    nothing = contribution_pb2.ContributeRequest()
    return {
        "empty": ([], "header"),
        "no header": ([chunk([row])], "header"),
        "nothing first": ([nothing, chunk([row])], "header"),
        "second header": ([head, head, chunk([row])], "part"),
        "nothing later": ([head, chunk([row]), nothing], "part"),
        "no rows": ([head], "chunk.rows"),
        "empty chunk": ([head, chunk([])], "chunk.rows"),
        "large chunk": ([head, chunk([row] * 2_001)], "chunk.rows"),
        "large batch": ([head, *[chunk([row] * 2_000)] * 10, chunk([row])], "chunk.rows"),
        "request id": ([header(b"\1" * 15), chunk([row])], "header.request_id"),
    }


def test_a_wrong_stream_is_refused_as_a_whole(consortium: Consortium) -> None:
    allow(consortium, [1])
    size = consortium.journal.size
    for wrong, (messages, field) in wrong_streams(consortium).items():
        with pytest.raises(grpc.RpcError) as refusal:
            consortium.beta.contributions.Contribute(iter(messages), timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT, wrong
        assert fields_of(refusal.value) == [field], wrong
    assert consortium.journal.size == size
    assert staged(consortium) == []


def test_unknown_epochs_and_catalogues_are_refused(consortium: Consortium) -> None:
    for fields, reason in (
        ({"epoch": 2}, "EPOCH_NOT_ACTIVE"),
        ({"epoch": 0}, "EPOCH_NOT_ACTIVE"),
        ({"catalogue_version": 2**31}, "CATALOGUE_VERSION_UNKNOWN"),
    ):
        messages = [header(request_id(), **fields), chunk([account(consortium, 1)])]
        with pytest.raises(grpc.RpcError) as refusal:
            consortium.beta.contributions.Contribute(iter(messages), timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refusal.value) == reason


def test_a_batch_is_its_furnishers_own(consortium: Consortium) -> None:
    allow(consortium, [1])
    request = request_id()
    contribute(consortium.beta, [account(consortium, 1)], request)
    with pytest.raises(grpc.RpcError) as refusal:
        get_batch(consortium.alpha, request)
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason_of(refusal.value) == "BATCH_NOT_FOUND"


def test_a_batch_of_the_largest_size_is_taken_whole(consortium: Consortium) -> None:
    allow(consortium, range(1_000))
    rows = [account(consortium, subject, ref) for subject in range(1_000) for ref in range(20)]
    response = contribute(consortium.beta, rows)
    assert response.rows_accepted == 20_000


def test_what_could_not_be_published_is_accepted_and_published_later(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with consortium_on(sqlite_stores, clock) as consortium:
        allow(consortium, [1])
        request = request_id()
        rows = [application(consortium, 1), application(consortium, 2)]
        with table_missing(sqlite_stores, "publisher"):
            response = contribute(consortium.beta, rows, request)
            assert response.rows_accepted == 1
            assert (
                get_batch(consortium.beta, request).state == contribution_pb2.BATCH_STATE_ACCEPTED
            )
            assert band_seen(consortium, "inquiries_30d", 1) == ""

        contributions.resume(consortium.journal, consortium.signal_store, clock)
        assert get_batch(consortium.beta, request).state == contribution_pb2.BATCH_STATE_PUBLISHED
        assert band_seen(consortium, "inquiries_30d", 1) == "1"
        assert band_seen(consortium, "inquiries_30d", 2) == ""
        assert staged(consortium) == []


def test_a_repeated_request_publishes_what_could_not_be_published(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with consortium_on(sqlite_stores, clock) as consortium:
        allow(consortium, [1])
        request, rows = request_id(), [application(consortium, 1)]
        with table_missing(sqlite_stores, "publisher"):
            contribute(consortium.beta, rows, request)
        contribute(consortium.beta, rows, request)
        assert get_batch(consortium.beta, request).state == contribution_pb2.BATCH_STATE_PUBLISHED


def test_staged_rows_without_a_batch_are_given_up_once_no_call_can_still_want_them(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    row = StagedRow(0, SubjectKey(b"\1" * 32), b"never read")
    signal_store.stage(b"\xaa" * 16, [row])
    clock.advance(14 * 60)
    signal_store.stage(b"\xbb" * 16, [row])
    clock.advance(2 * 60)
    contributions.resume(journal, signal_store, clock)
    assert signal_store.staged() == [b"\xbb" * 16]


def consents_named(
    consortium: Consortium, entry_index: int
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, str]]]:
    """A batch's entry, its items, and for each accepted row {category: consent id}."""
    [(_, leaf, contents)] = consortium.journal.entries(entry_index, entry_index + 1)
    items = [json.loads(content) for content in contents]
    uses = [item["uses"][index] for item in items for index in item["rows"]]
    return json.loads(leaf), items, uses


def test_the_entry_names_the_consents_of_every_row(consortium: Consortium) -> None:
    ids = allow(consortium, range(300), [ACCOUNTS])
    spending = allow(consortium, [1], [SPENDING])
    inquiries = allow(consortium, [0, 1], [INQUIRIES])
    rows = [account(consortium, subject) for subject in range(300)]
    rows.insert(0, account(consortium, 999))  # refused, so it has no place among the accepted
    rows += [application(consortium, 0), application(consortium, 1)]
    rows += [account(consortium, 1, ref=2, spend_volatility=2), account(consortium, 1, ref=3)]
    response = contribute(consortium.beta, rows)
    assert response.rows_accepted == 304

    entry, items, uses = consents_named(consortium, response.receipt.entry_index)
    assert uses == [
        *({"credit_accounts": consent.hex()} for consent in ids),
        {"inquiries": inquiries[0].hex()},
        {"inquiries": inquiries[1].hex()},
        {"credit_accounts": ids[1].hex(), "spending": spending[0].hex()},
        {"credit_accounts": ids[1].hex()},
    ]
    assert [(item["first"], len(item["rows"])) for item in items] == [(0, 256), (256, 48)]
    assert (entry["items"], entry["rows"], entry["refused"]) == (2, 304, 1)
    # One use for all rows of an item that share it.
    again = contribute(consortium.beta, [account(consortium, 1, ref) for ref in range(10, 40)])
    _, [only], _ = consents_named(consortium, again.receipt.entry_index)
    assert only["uses"] == [{"credit_accounts": ids[1].hex()}]
    assert only["rows"] == [0] * 30


def test_a_batch_of_which_no_row_is_taken_has_no_items(consortium: Consortium) -> None:
    response = contribute(consortium.beta, [account(consortium, 1)])
    entry, items, _ = consents_named(consortium, response.receipt.entry_index)
    assert items == []
    assert "items" not in entry
    assert (entry["rows"], entry["adverse"]) == (0, 0)


def test_the_largest_batch_with_a_consent_a_row_fits_the_ledger(consortium: Consortium) -> None:
    for start in range(0, 3000, 1000):
        allow(consortium, range(start, start + 1000))
    rows = [account(consortium, subject, spend_volatility=2) for subject in range(3000)]
    response = contribute(consortium.beta, rows)
    assert response.rows_accepted == 3000
    _, items, uses = consents_named(consortium, response.receipt.entry_index)
    assert len({use["spending"] for use in uses}) == 3000
    assert [item["first"] for item in items] == list(range(0, 3000, 256))


def adverse_rows(consortium: Consortium) -> list[contribution_pb2.ContributionRow]:
    """One good row that is not adverse, then three that are."""
    return [
        account(consortium, 1, ref=1, days_past_due=3, payment_profile=b"\1\2\3"),
        account(consortium, 1, ref=2, status=4),
        account(consortium, 1, ref=3, days_past_due=4, past_due=3),
        account(consortium, 1, ref=4, payment_profile=b"\1\4\1"),
    ]


def contribute_after_notice(
    caller: Caller, rows: Sequence[contribution_pb2.ContributionRow], notice: bytes, request: bytes
) -> contribution_pb2.ContributeResponse:
    first = header(request)
    first.header.adverse_notice_sha256 = notice
    return caller.contributions.Contribute(iter([first, chunk(rows)]), timeout=CALL_SECONDS)


def test_adverse_rows_are_counted_and_their_notice_is_recorded(consortium: Consortium) -> None:
    allow(consortium, [1])
    notice = hashlib.sha256(b"what the subject was told").digest()
    without = contribute(consortium.beta, adverse_rows(consortium))
    given = contribute_after_notice(consortium.beta, adverse_rows(consortium), notice, request_id())
    assert (without.rows_accepted, given.rows_accepted) == (4, 4)
    entry, _, _ = consents_named(consortium, without.receipt.entry_index)
    assert entry["adverse"] == 3
    assert "adverse_notice_sha256" not in entry
    entry, _, _ = consents_named(consortium, given.receipt.entry_index)
    assert (entry["adverse"], entry["adverse_notice_sha256"]) == (3, notice.hex())


def allow_under(consortium: Consortium, subject: int, code: str) -> None:
    """A consent of a jurisdiction for beta to contribute, with all that any policy requires."""
    one = draft(consortium, subject, [CONTRIBUTION])
    one.jurisdiction, one.notice_sha256 = code, b"\x11" * 32
    one.language, one.withdrawal_method = "en", "https://beta.example/withdraw"
    grant_one(consortium.beta, one)


def test_where_the_law_wants_a_notice_adverse_rows_without_one_are_refused(
    consortium: Consortium,
) -> None:
    codes = {"CN": True, "EU": False, "US": True, "ZZ": False}
    rows = []
    for subject, code in enumerate(codes):
        allow_under(consortium, subject, code)
        rows += [account(consortium, subject, 1), account(consortium, subject, 2, status=4)]
    rows.append(account(consortium, 99, status=4))
    response = contribute(consortium.beta, rows)
    assert [(one.item, one.field, one.reason) for one in response.refused] == [
        (1, "", "ADVERSE_NOTICE_REQUIRED"),
        (5, "", "ADVERSE_NOTICE_REQUIRED"),
        (8, "token", "NO_CONSENT"),
    ]
    entry, _, uses = consents_named(consortium, response.receipt.entry_index)
    assert (entry["adverse"], entry["rows"], len(uses)) == (2, 6, 6)

    given = contribute_after_notice(consortium.beta, rows, b"\7" * 32, request_id())
    assert [one.item for one in given.refused] == [8]


def test_consents_from_before_the_policies_are_under_that_of_the_gateway(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    with serving(
        journal, signal_store, clock, jurisdictions=Jurisdictions.of(["US", "ZZ"], "US")
    ) as consortium:
        allow_under(consortium, 1, "ZZ")
        assert contribute(consortium.beta, adverse_rows(consortium)).rows_accepted == 4
        unnamed = sa.update(consent_table).values(jurisdiction=None)
        journal.write(lambda transaction: transaction.connection.execute(unnamed))
        assert contribute(consortium.beta, adverse_rows(consortium)).rows_accepted == 1


def test_a_notice_is_part_of_the_request(consortium: Consortium) -> None:
    allow(consortium, [1])
    rows, request = adverse_rows(consortium), request_id()
    first = contribute_after_notice(consortium.beta, rows, b"\7" * 32, request)
    assert contribute_after_notice(consortium.beta, rows, b"\7" * 32, request) == first
    for other in (b"", b"\6" * 32):
        with pytest.raises(grpc.RpcError) as refusal:
            contribute_after_notice(consortium.beta, rows, other, request)
        assert reason_of(refusal.value) == "REQUEST_ID_REUSED"


def test_a_notice_of_a_wrong_length_is_refused(consortium: Consortium) -> None:
    for length in (1, 31, 33):
        with pytest.raises(grpc.RpcError) as refusal:
            contribute_after_notice(
                consortium.beta, adverse_rows(consortium), bytes(length), request_id()
            )
        assert fields_of(refusal.value) == ["header.adverse_notice_sha256"]
