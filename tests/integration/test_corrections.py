"""Corrections and withdrawals of contributed rows, over the wire and on both databases."""

import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import contribution_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import contributions
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store.control_tables import replaced_row
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.packing import (
    Withdrawn,
    pack_correction,
    pack_withdrawal,
    packed_leaf,
    split_correction,
    unpack_withdrawal,
)
from concordat_privacy.catalogue.relations import Relation
from concordat_privacy.catalogue.retention import Cutoffs
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.log.merkle import merkle_root
from tests.contributing import (
    CONTRIBUTION,
    EVERYTHING,
    allow,
    band_seen,
    consortium_on,
    findings,
    history_of,
    replayed,
)
from tests.rotations import means_of
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    PEPPER,
    Caller,
    Consortium,
    account,
    application,
    contribute,
    draft,
    fields_of,
    grant,
    grant_one,
    months_since_1970,
    reason_of,
    request_id,
    serving,
    token,
    withdraw,
)
from tests.stores import (
    ManualClock,
    StoreUrls,
    shape_of,
    statements,
    table_missing,
    traced,
)
from tests.tokenkeys import TokenKeys, peppers
from tests.uses import UseChecker

Row = contribution_pb2.ContributionRow
Ref = contribution_pb2.RowRef
Refused = list[tuple[int, str, str]]


@pytest.fixture(autouse=True)
def consents(request: pytest.FixtureRequest) -> None:
    """Consents for beta and gamma to contribute."""
    if "consortium" in request.fixturenames:
        allow_both(request.getfixturevalue("consortium"))


def allow_both(consortium: Consortium) -> list[bytes]:
    """The persons' consents for beta and gamma; the ids of beta's."""
    allow(consortium, caller=consortium.gamma)
    return allow(consortium)


def instead(row: Row, entry: int, item: int = 0) -> Row:
    """The row as a correction of another."""
    changed = Row()
    changed.CopyFrom(row)
    changed.replaces.CopyFrom(Ref(entry_index=entry, item=item))
    return changed


def taken(caller: Caller, *rows: Row) -> int:
    """The entry of a batch whose rows are all taken."""
    response = contribute(caller, rows)
    assert [*response.refused] == []
    return response.receipt.entry_index


def refused(caller: Caller, *rows: Row) -> Refused:
    return listed(contribute(caller, rows).refused)


def listed(refusals: Sequence[object]) -> Refused:
    return [(one.item, one.field, one.reason) for one in refusals]


def withdrawal(
    subject: int, entry: int, item: int = 0, account: int = 1, **fields: bytes
) -> contribution_pb2.Withdrawal:
    """The withdrawal of an account, unless fields name an application."""
    named = fields or {"account_ref": account.to_bytes(16, "big")}
    return contribution_pb2.Withdrawal(
        token=token(subject),
        row=Ref(entry_index=entry, item=item),
        **named,  # type: ignore[arg-type]
    )


def withdraw_rows(
    caller: Caller,
    *rows: contribution_pb2.Withdrawal,
    request: bytes | None = None,
    epoch: int = EPOCH,
) -> contribution_pb2.WithdrawRowsResponse:
    message = contribution_pb2.WithdrawRowsRequest(
        request_id=request or request_id(), epoch=epoch, rows=rows
    )
    return caller.contributions.WithdrawRows(message, timeout=CALL_SECONDS)


def held(consortium: Consortium, subject: int = 1) -> Relation:
    """The only account that the pool holds of a person."""
    [(_, relation)] = history_of(consortium, subject).relations
    return relation


def entries(consortium: Consortium) -> list[tuple[dict[str, object], list[dict[str, object]]]]:
    """The ledger, parsed."""
    journal = consortium.journal
    return [
        (json.loads(leaf), [json.loads(item) for item in items])
        for _, leaf, items in journal.entries(0, journal.size)
    ]


def test_a_correction_stands_for_the_row_that_it_names(consortium: Consortium) -> None:
    first = taken(consortium.beta, account(consortium, 1, balance=3, days_past_due=7))
    taken(consortium.beta, instead(account(consortium, 1, balance=5, days_past_due=1), first))
    relation = held(consortium)
    assert (relation.balance, relation.days_past_due, relation.profile) == (
        5,
        1,
        b"\1" + bytes(23),
    )


def test_a_correction_can_make_a_month_worse_and_a_report_cannot(consortium: Consortium) -> None:
    month = months_since_1970(consortium.clock)
    older = account(consortium, 1, as_of_month=month - 2, days_past_due=1)
    first = taken(consortium.beta, older)
    taken(consortium.beta, account(consortium, 1, balance=4, days_past_due=2))
    assert held(consortium).profile[:4] == bytes([2, 0, 1, 0])

    worse = account(consortium, 1, as_of_month=month - 2, days_past_due=6, past_due=3, balance=6)
    taken(consortium.beta, worse)
    assert held(consortium).profile[:4] == bytes([2, 0, 1, 0])
    worse.account.payment_profile = bytes([5, 0, 4])
    taken(consortium.beta, instead(worse, first))
    relation = held(consortium)
    # That month, and those before it that the correction knows; nothing of the newest.
    assert relation.profile[:7] == bytes([2, 0, 6, 5, 0, 4, 0])
    assert (relation.as_of_month, relation.balance, relation.days_past_due) == (month, 4, 2)


def test_a_correction_of_the_newest_month_keeps_what_it_does_not_know(
    consortium: Consortium,
) -> None:
    row = account(consortium, 1, days_past_due=2, payment_profile=bytes([3, 4, 5]))
    first = taken(consortium.beta, row)
    row = account(consortium, 1, days_past_due=0, payment_profile=bytes([6, 0, 6]))
    taken(consortium.beta, instead(row, first))
    assert held(consortium).profile[:5] == bytes([0, 6, 4, 6, 0])


def test_an_application_is_corrected(consortium: Consortium) -> None:
    first = taken(consortium.beta, application(consortium, 1, days_ago=40))
    assert band_seen(consortium, "inquiries_30d") == "0"
    second = taken(consortium.beta, instead(application(consortium, 1, days_ago=4), first))
    assert band_seen(consortium, "inquiries_30d") == "1"
    again = instead(application(consortium, 1, days_ago=5), first)
    assert refused(consortium.beta, again) == [(0, "replaces", "ALREADY_REPLACED")]
    taken(consortium.beta, instead(application(consortium, 1, days_ago=50), second))
    assert band_seen(consortium, "inquiries_30d") == "0"


def test_a_row_is_replaced_once_and_the_next_correction_names_the_last(
    consortium: Consortium,
) -> None:
    first = taken(consortium.beta, account(consortium, 1, balance=2))
    second = taken(consortium.beta, instead(account(consortium, 1, balance=3), first))
    third = instead(account(consortium, 1, balance=4), first)
    assert refused(consortium.beta, third) == [(0, "replaces", "ALREADY_REPLACED")]
    assert held(consortium).balance == 3
    taken(consortium.beta, instead(account(consortium, 1, balance=4), second))
    assert held(consortium).balance == 4


def test_only_an_accepted_row_of_the_member_is_replaced(consortium: Consortium) -> None:
    theirs = taken(consortium.gamma, account(consortium, 1))
    response = contribute(consortium.beta, [account(consortium, 9), account(consortium, 1)])
    mine = response.receipt.entry_index
    rows = [
        instead(account(consortium, 1, 1), theirs),
        instead(account(consortium, 1, 2), 10**6),
        instead(account(consortium, 1, 3), 2**64 - 1, 2**32 - 1),
        instead(account(consortium, 1, 4), 0),  # an entry that is no batch
        instead(account(consortium, 1, 5), mine),  # that row was refused
        instead(account(consortium, 1, 6), mine, 2),  # there were two
    ]
    expected = [(item, "replaces", "NO_SUCH_ROW") for item in range(len(rows))]
    assert refused(consortium.beta, *rows) == expected
    described = {one.description for one in contribute(consortium.beta, rows).refused}
    assert len(described) == 1
    taken(consortium.beta, instead(account(consortium, 1), mine, 1))


def test_rows_of_others_and_rows_that_never_were_take_the_same_statements(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    with serving(journal, signal_store, clock) as consortium:
        allow_both(consortium)
        theirs = taken(consortium.gamma, account(consortium, 1))
        taken(consortium.beta, account(consortium, 1))
        shapes = []
        for entry in (theirs, 10**6, theirs, 10**6):
            with traced() as run:
                rows = [instead(account(consortium, 1), entry)]
                assert listed(contribute(consortium.beta, rows).refused)
            shapes.append([(one.text, one.rows) for one in shape_of(run)])
        assert shapes[0] == shapes[1] == shapes[2] == shapes[3]


def test_a_correction_is_of_the_same_token_account_and_month(consortium: Consortium) -> None:
    month = months_since_1970(consortium.clock)
    response = contribute(
        consortium.beta,
        [account(consortium, 1, 1), account(consortium, 1, 2), application(consortium, 1, 7)],
    )
    entry = response.receipt.entry_index
    rows = [
        instead(account(consortium, 2, 1), entry, 0),
        instead(account(consortium, 1, 2), entry, 0),
        instead(account(consortium, 1, 3), entry, 0),
        instead(account(consortium, 1, 1, as_of_month=month - 1), entry, 0),
        instead(application(consortium, 1, 1), entry, 0),
        instead(application(consortium, 1, 7), entry, 0),
    ]
    assert refused(consortium.beta, *rows) == [
        (item, "replaces", "OTHER_ROW") for item in range(len(rows))
    ]
    later = instead(account(consortium, 1, 1), entry, 0)
    consortium.clock.advance(31 * 86_400)
    later.account.as_of_month = month + 1
    assert refused(consortium.beta, later) == [(0, "replaces", "OTHER_ROW")]
    # What did not stand in its way can still be replaced.
    taken(
        consortium.beta,
        instead(account(consortium, 1, 2, as_of_month=month), entry, 1),
        instead(application(consortium, 1, 7), entry, 2),
    )


def test_a_row_that_a_later_report_took_the_place_of_is_another(consortium: Consortium) -> None:
    first = taken(consortium.beta, account(consortium, 1, balance=2))
    second = taken(consortium.beta, account(consortium, 1, balance=3))
    row = account(consortium, 1, balance=4)
    assert refused(consortium.beta, instead(row, first)) == [(0, "replaces", "OTHER_ROW")]
    taken(consortium.beta, instead(row, second))


def test_a_refusal_of_another_row_says_which_of_the_members_own_stands(
    consortium: Consortium,
) -> None:
    month = months_since_1970(consortium.clock)
    of_others = taken(consortium.gamma, account(consortium, 1, balance=5))
    first = taken(consortium.beta, account(consortium, 1, balance=2))
    second = taken(consortium.beta, account(consortium, 2), account(consortium, 1, balance=3))
    asked = taken(consortium.beta, application(consortium, 1, 7))
    asked_again = taken(consortium.beta, application(consortium, 1, 7))
    rows = [
        instead(account(consortium, 1, balance=4), first),
        instead(account(consortium, 1, as_of_month=month - 1), second, 1),
        instead(account(consortium, 1, 9), first),
        instead(application(consortium, 1, 7), asked),
    ]
    found = contribute(consortium.beta, rows).refused
    assert {one.reason for one in found} == {"OTHER_ROW"}
    assert [one.description for one in found] == [
        f"the pool holds another row of this account: item 1 of entry {second}",
        f"item 1 of entry {second} is of the account's newest month, not of this one",
        "the pool holds no row of the calling member of this account",
        f"the pool holds another row of this application: item 0 of entry {asked_again}",
    ]
    response = withdraw_rows(consortium.beta, withdrawal(1, first))
    [description] = [one.description for one in response.refused]
    assert description == f"the pool holds another row of this account: item 1 of entry {second}"
    assert f"entry {of_others}" not in str(response) + str(found)
    taken(consortium.beta, instead(account(consortium, 1, balance=4), second, 1))


def test_two_rows_of_a_batch_do_not_replace_the_same_one(consortium: Consortium) -> None:
    month = months_since_1970(consortium.clock)
    first = taken(consortium.beta, account(consortium, 1, as_of_month=month - 3))
    taken(consortium.beta, account(consortium, 1))
    rows = [
        instead(account(consortium, 1, as_of_month=month - 3), first),
        instead(account(consortium, 1, as_of_month=month - 4), first),
    ]
    assert refused(consortium.beta, *rows) == [(1, "replaces", "ALREADY_REPLACED")]


def test_a_correction_needs_a_live_consent_and_marks_nothing_without(
    consortium: Consortium,
) -> None:
    [consent] = [
        g.consent_id
        for g in grant(consortium.alpha, [draft(consortium, 1, [CONTRIBUTION], EVERYTHING)]).granted
    ]
    first = taken(consortium.alpha, account(consortium, 1, balance=2))
    withdraw(consortium.alpha, consent)
    row = instead(account(consortium, 1, balance=3), first)
    assert refused(consortium.alpha, row) == [(0, "token", "NO_CONSENT")]
    grant_one(consortium.alpha, draft(consortium, 1, [CONTRIBUTION], EVERYTHING))
    taken(consortium.alpha, row)


def test_a_part_of_an_upload_corrects_rows_of_the_part_before(consortium: Consortium) -> None:
    upload = os.urandom(16)
    header = contribution_pb2.UploadHeader(
        upload_id=upload, epoch=EPOCH, catalogue_version=CATALOGUE_VERSION
    )

    def send(sequence: int, *rows: Row) -> contribution_pb2.PartAcknowledged:
        part = contribution_pb2.UploadPart(sequence=sequence, rows=rows)
        messages = [
            contribution_pb2.ContributeStreamRequest(header=header),
            contribution_pb2.ContributeStreamRequest(part=part),
        ]
        [_, answer] = consortium.beta.contributions.ContributeStream(
            iter(messages), timeout=CALL_SECONDS
        )
        return answer.acknowledged

    first = send(1, account(consortium, 1, balance=2), account(consortium, 9))
    row = instead(account(consortium, 1, balance=3), first.receipt.entry_index)
    second = send(2, row, instead(account(consortium, 2), first.receipt.entry_index, 1))
    assert listed(second.refused) == [(1, "replaces", "NO_SUCH_ROW")]
    # Sent again, it is answered as before, though the row is replaced by now.
    assert send(2, row, instead(account(consortium, 2), first.receipt.entry_index, 1)) == second
    assert held(consortium).balance == 3
    request = contribution_pb2.ListRefusedRowsRequest(upload_id=upload)
    listing = consortium.beta.contributions.ListRefusedRows(request, timeout=CALL_SECONDS)
    assert [one.refusal.reason for one in listing.refused] == ["NO_CONSENT", "NO_SUCH_ROW"]


def test_the_same_batch_with_another_row_replaced_is_another_batch(
    consortium: Consortium,
) -> None:
    entry = contribute(
        consortium.beta, [account(consortium, 1), account(consortium, 2)]
    ).receipt.entry_index
    request, row = request_id(), account(consortium, 1, balance=2)
    first = contribute(consortium.beta, [instead(row, entry)], request)
    again = contribute(consortium.beta, [instead(row, entry)], request)
    assert first.rows_accepted == again.rows_accepted == 1
    assert first.receipt.entry == again.receipt.entry
    for other in (row, instead(row, entry, 1)):
        with pytest.raises(grpc.RpcError) as refusal:
            contribute(consortium.beta, [other], request)
        assert reason_of(refusal.value) == "REQUEST_ID_REUSED"


def test_a_withdrawn_account_is_gone_for_every_lookup_after_the_reply(
    consortium: Consortium,
) -> None:
    month = months_since_1970(consortium.clock)
    taken(consortium.beta, account(consortium, 1, 1, as_of_month=month - 1))
    entry = taken(
        consortium.beta,
        account(consortium, 1, 1),
        application(consortium, 1, 1),
        account(consortium, 1, 2),
        account(consortium, 2, 1),
    )
    taken(consortium.gamma, account(consortium, 1, 1))
    assert band_seen(consortium, "inquiries_30d") == "1"
    response = withdraw_rows(
        consortium.beta,
        withdrawal(1, entry, 0),
        withdrawal(1, entry, 1, application_ref=(1).to_bytes(16, "big")),
    )
    assert (response.rows_withdrawn, [*response.refused]) == (2, [])
    assert band_seen(consortium, "inquiries_30d") == "0"
    found = history_of(consortium)
    # Not the member's other account, another member's of that number, another person's.
    kept = {(number, relation.account_ref[-1]) for number, relation in found.relations}
    assert kept == {(2, 2), (3, 1)}
    assert found.inquiries == ()
    assert held(consortium, 2)
    # It may come back, as a new report.
    taken(consortium.beta, account(consortium, 1, 1))
    assert len(history_of(consortium).relations) == 3


def test_a_withdrawal_needs_no_live_consent(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    with serving(journal, signal_store, clock) as consortium:
        ids = allow_both(consortium)
        entry = taken(consortium.beta, account(consortium, 1))
        withdraw(consortium.beta, ids[0])
        assert withdraw_rows(consortium.beta, withdrawal(1, entry)).rows_withdrawn == 1
        assert history_of(consortium).relations == ()


def test_what_is_withdrawn_is_checked_row_by_row(consortium: Consortium) -> None:
    theirs = taken(consortium.gamma, account(consortium, 1))
    month = months_since_1970(consortium.clock)
    older = taken(consortium.beta, account(consortium, 1, as_of_month=month - 1))
    entry = taken(consortium.beta, account(consortium, 1), account(consortium, 2))
    replaced = entry
    entry = taken(consortium.beta, instead(account(consortium, 1), entry))
    short = withdrawal(1, entry)
    short.account_ref = b"short"
    nothing = withdrawal(1, entry)
    nothing.ClearField("row")
    strange = withdrawal(1, entry)
    strange.token = b"short"
    response = withdraw_rows(
        consortium.beta,
        strange,
        nothing,
        short,
        withdrawal(1, theirs, account=1),
        withdrawal(2, replaced, 0),
        withdrawal(2, entry),
        withdrawal(3, entry),
        withdrawal(1, older, account=4),
        withdrawal(1, entry),
    )
    # The fourth names the same account as the last: only the first of them counts.
    assert listed(response.refused) == [
        (0, "token", "WRONG_LENGTH"),
        (1, "row", "REQUIRED"),
        (2, "account_ref", "WRONG_LENGTH"),
        (3, "row", "NO_SUCH_ROW"),
        (4, "row", "ALREADY_REPLACED"),
        (5, "account_ref", "DUPLICATE"),
        (6, "row", "OTHER_ROW"),
        (7, "row", "OTHER_ROW"),
        (8, "account_ref", "DUPLICATE"),
    ]
    assert response.rows_withdrawn == 0
    # An older month of the account is not what it stands on.
    response = withdraw_rows(consortium.beta, withdrawal(1, older))
    assert listed(response.refused) == [(0, "row", "OTHER_ROW")]
    assert withdraw_rows(consortium.beta, withdrawal(1, entry)).rows_withdrawn == 1
    response = withdraw_rows(consortium.beta, withdrawal(1, entry))
    assert listed(response.refused) == [(0, "row", "ALREADY_REPLACED")]
    row = instead(account(consortium, 1), entry)
    assert refused(consortium.beta, row) == [(0, "replaces", "ALREADY_REPLACED")]


def test_a_withdrawal_itself_is_no_row(consortium: Consortium) -> None:
    entry = taken(consortium.beta, account(consortium, 1), account(consortium, 2))
    gone = withdraw_rows(consortium.beta, withdrawal(1, entry)).receipt.entry_index
    row = instead(account(consortium, 2), gone)
    assert refused(consortium.beta, row) == [(0, "replaces", "NO_SUCH_ROW")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request_id": b"short"}, "request_id"),
        ({"rows": []}, "rows"),
        ({"rows": [withdrawal(1, 1, ref) for ref in range(1_001)]}, "rows"),
    ],
)
def test_a_withdrawal_of_another_form_is_refused_as_a_whole(
    consortium: Consortium, change: dict[str, object], field: str
) -> None:
    values = {"request_id": request_id(), "epoch": EPOCH, "rows": [withdrawal(1, 1)]} | change
    request = contribution_pb2.WithdrawRowsRequest(**values)  # type: ignore[arg-type]
    with pytest.raises(grpc.RpcError) as refusal:
        consortium.beta.contributions.WithdrawRows(request, timeout=CALL_SECONDS)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(refusal.value) == [field]


def test_a_repeated_withdrawal_is_answered_from_the_record_and_takes_nothing_new(
    consortium: Consortium,
) -> None:
    entry = taken(consortium.beta, account(consortium, 1), account(consortium, 2))
    request = request_id()
    first = withdraw_rows(consortium.beta, withdrawal(1, entry), request=request)
    taken(consortium.beta, account(consortium, 1))
    again = withdraw_rows(consortium.beta, withdrawal(1, entry), request=request)
    assert again.receipt.entry == first.receipt.entry
    assert again.rows_withdrawn == 1
    assert held(consortium)
    with pytest.raises(grpc.RpcError) as refusal:
        withdraw_rows(consortium.beta, withdrawal(2, entry, 1), request=request)
    assert reason_of(refusal.value) == "REQUEST_ID_REUSED"
    # A batch's id may be the same: it names another call.
    contribute(consortium.beta, [account(consortium, 3)], request)


def test_a_withdrawal_is_acknowledged_only_once_no_lookup_sees_the_rows(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with consortium_on(sqlite_stores, clock) as consortium:
        allow_both(consortium)
        entry = taken(consortium.beta, application(consortium, 1))
        request = request_id()
        one = withdrawal(1, entry, application_ref=(1).to_bytes(16, "big"))
        with table_missing(sqlite_stores, "published_batch"):
            with pytest.raises(grpc.RpcError) as refusal:
                withdraw_rows(consortium.beta, one, request=request)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        assert band_seen(consortium, "inquiries_30d") == "1"
        assert withdraw_rows(consortium.beta, one, request=request).rows_withdrawn == 1
        assert band_seen(consortium, "inquiries_30d") == ""
        assert consortium.signal_store.staged() == []


def test_what_was_accepted_before_and_could_not_be_published_counts_before(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with consortium_on(sqlite_stores, clock) as consortium:
        allow_both(consortium)
        first = taken(consortium.beta, account(consortium, 1, balance=1))
        # Staged and accepted, in an order that is not that of the entries.
        with table_missing(sqlite_stores, "publisher"):
            entry = taken(consortium.beta, account(consortium, 1, balance=2))
            taken(consortium.beta, account(consortium, 2, balance=2))
        # It finds what it replaces, though that was not published.
        late = instead(account(consortium, 1, balance=9), first)
        assert refused(consortium.beta, late) == [(0, "replaces", "OTHER_ROW")]
        taken(consortium.beta, instead(account(consortium, 1, balance=3), entry))
        assert held(consortium).balance == 3
        contributions.resume(consortium.journal, consortium.signal_store, clock)
        assert held(consortium).balance == 3


def test_of_many_that_replace_one_row_at_once_one_is_taken(consortium: Consortium) -> None:
    entry = taken(consortium.beta, account(consortium, 1, balance=1))
    barrier = threading.Barrier(6)

    def correct(balance: int) -> tuple[int, Refused]:
        barrier.wait()
        row = instead(account(consortium, 1, balance=balance), entry)
        response = contribute(consortium.beta, [row])
        return balance, listed(response.refused)

    def take_out() -> tuple[int, Refused]:
        barrier.wait()
        return 0, listed(withdraw_rows(consortium.beta, withdrawal(1, entry)).refused)

    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(correct, balance) for balance in range(2, 6)]
        calls += [pool.submit(take_out) for _ in range(2)]
        results = [call.result() for call in calls]
    [won] = [balance for balance, refusals in results if not refusals]
    for _, refusals in results:
        for item, field, reason in refusals:
            assert (item, field in ("replaces", "row")) == (0, True)
            # Who looked after the winner was published found another row there, or none.
            assert reason in ("ALREADY_REPLACED", "OTHER_ROW")
    balances = [relation.balance for _, relation in history_of(consortium).relations]
    assert balances == ([won] if won else [])


def test_the_ledger_keeps_which_row_replaced_which(consortium: Consortium) -> None:
    response = contribute(
        consortium.beta,
        [account(consortium, 9), account(consortium, 1), account(consortium, 2)],
    )
    entry = response.receipt.entry_index
    rows = [
        account(consortium, 3),
        instead(account(consortium, 9), entry, 1),
        instead(account(consortium, 2, balance=1), entry, 2),
        instead(account(consortium, 1, balance=1), entry, 1),
    ]
    second = contribute(consortium.beta, rows)
    assert listed(second.refused) == [(1, "token", "NO_CONSENT")]
    gone = withdraw_rows(consortium.beta, withdrawal(2, second.receipt.entry_index, 2))
    log = entries(consortium)

    fields, items = log[entry]
    assert "replaced" not in fields
    assert "replaces" not in items[0]
    fields, items = log[second.receipt.entry_index]
    assert (fields["rows"], fields["refused"], fields["replaced"]) == (3, 1, 2)
    # Positions are among the accepted: the refused first row of the first batch does not count.
    assert [item.get("replaces") for item in items] == [[[1, entry, 1], [2, entry, 0]]]
    fields, items = log[gone.receipt.entry_index]
    assert (fields["type"], fields["rows"], fields["refused"]) == ("contribution.withdrawn", 1, 0)
    assert items == [{"first": 0, "withdrawn": [[second.receipt.entry_index, 1]]}]
    packed = pack_withdrawal(
        Withdrawn(RowRef(second.receipt.entry_index, 2), True, (1).to_bytes(16, "big"))
    )
    root = merkle_root([packed_leaf(token(2), packed)]).hex()
    assert fields["rows_root"] == root


def test_a_correction_has_a_form_and_leaf_of_its_own() -> None:
    ref = RowRef(2**40, 7)
    assert split_correction(pack_correction(ref, b"\1row")) == (ref, b"\1row")
    assert pack_correction(ref, b"\1row") == b"\5" + bytes.fromhex("0000010000000000 00000007") + (
        b"\1row"
    )
    assert split_correction(b"\1row") == (None, b"\1row")
    for is_account in (True, False):
        withdrawn = Withdrawn(ref, is_account, bytes(range(16)))
        assert unpack_withdrawal(pack_withdrawal(withdrawn)) == withdrawn
    assert unpack_withdrawal(b"\1row") is None


def test_corrections_and_withdrawals_go_on_after_a_rotation(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    with serving(journal, signal_store, clock, keys) as consortium:
        for one in (1, 2):
            grant_one(consortium.beta, draft(consortium, one, [CONTRIBUTION], EVERYTHING))
        entry = taken(consortium.beta, account(consortium, 1), account(consortium, 2))
        rotate(means_of(journal, signal_store, keys), None)
        row = instead(account(consortium, token(1, 2), balance=6), entry)
        assert contribute(consortium.beta, [row], epoch=2).rows_accepted == 1
        gone = withdrawal(2, entry, 1)
        gone.token = token(2, 2)
        assert withdraw_rows(consortium.beta, gone, epoch=2).rows_withdrawn == 1
        names = [subject_key(peppers(2)[2], token(one, 2)) for one in (1, 2)]
        found = signal_store.histories(names, 2)
        assert [[r.balance for _, r in found[name].relations] for name in names] == [[6], []]


def test_what_is_replaced_names_no_person(consortium: Consortium) -> None:
    names = {column.name for column in replaced_row.columns}
    assert names == {"entry", "item", "member_id", "by_entry", "by_item"}
    entry = taken(consortium.beta, account(consortium, 1))
    second = taken(consortium.beta, instead(account(consortium, 1), entry))
    with consortium.journal.read() as connection:
        [row] = connection.execute(sa.select(replaced_row)).all()
    assert tuple(row) == (entry, 0, "beta", second, 0)


def test_an_ordinary_batch_asks_nothing_about_replaced_rows(consortium: Consortium) -> None:
    taken(consortium.beta, account(consortium, 1))
    with statements() as run:
        taken(consortium.beta, account(consortium, 1))
    assert not [one for one in run if "replaced_row" in one]


def test_the_audit_counts_what_a_member_corrected_and_withdrew_and_finds_nothing(
    consortium: Consortium,
) -> None:
    first = taken(consortium.beta, account(consortium, 1), account(consortium, 2))
    second = taken(
        consortium.beta,
        instead(account(consortium, 1), first),
        instead(account(consortium, 2), first, 1),
    )
    taken(consortium.beta, instead(account(consortium, 1), second))
    withdraw_rows(consortium.beta, withdrawal(2, second, 1), withdrawal(3, second, 1))
    replay = replayed(consortium.journal)
    assert findings(replay) == []
    beta = replay.members.by_id["beta"]
    assert (beta.rows, beta.corrected, beta.withdrawn) == (5, 3, 1)
    log = list(consortium.journal.entries(0, consortium.journal.size))
    assert UseChecker().read(log).problems == []


def test_retention_keeps_the_name_of_the_row_and_erasure_ends_corrections(
    consortium: Consortium,
) -> None:
    month = months_since_1970(consortium.clock)
    entry = taken(consortium.beta, account(consortium, 1, spend_volatility=2))
    consortium.signal_store.drop_past(Cutoffs(0, 0, 0, month + 1))
    assert held(consortium).spend_volatility == 0
    entry = taken(consortium.beta, instead(account(consortium, 1), entry))
    consortium.signal_store.erase(
        os.urandom(16), [subject_key(PEPPER, token(1))], lambda batches: batches
    )
    row = instead(account(consortium, 1), entry)
    assert refused(consortium.beta, row) == [(0, "replaces", "OTHER_ROW")]
    assert history_of(consortium).relations == ()
