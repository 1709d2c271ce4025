"""Uploads: contributions of any length, part by part, each part once."""

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import grpc
import pytest

from concordat.v1 import contribution_pb2, member_pb2
from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules import contributions
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store.control_tables import member as member_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_rpc.limits import Limits
from concordat_store.database import Database
from tests.contributing import (
    CONTRIBUTION,
    EVERYTHING,
    PEOPLE,
    allow,
    consortium_on,
    entries_of,
    findings,
    relations,
    replayed,
)
from tests.rotations import means_of
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    MEMBERS,
    PEPPER,
    Caller,
    Consortium,
    account,
    application,
    draft,
    fields_of,
    grant,
    months_since_1970,
    reason_of,
    serving,
    token,
    withdraw,
)
from tests.stores import (
    ManualClock,
    StoreUrls,
    statements,
    table_missing,
)
from tests.tokenkeys import TokenKeys, peppers
from tests.uses import UseChecker

Row = contribution_pb2.ContributionRow
Acknowledged = contribution_pb2.PartAcknowledged


class Stream:
    """One stream of an upload, message by message."""

    def __init__(
        self, caller: Caller, upload: bytes, timeout: float = CALL_SECONDS, **fields: object
    ) -> None:
        self._requests: queue.Queue[contribution_pb2.ContributeStreamRequest | None] = queue.Queue()
        self.call = caller.contributions.ContributeStream(
            iter(self._requests.get, None), timeout=timeout
        )
        values = {"epoch": EPOCH, "catalogue_version": CATALOGUE_VERSION} | fields
        header = contribution_pb2.UploadHeader(upload_id=upload, **values)
        self._requests.put(contribution_pb2.ContributeStreamRequest(header=header))

    def opened(self) -> int:
        """What the gateway says it has."""
        response = next(self.call)
        assert response.WhichOneof("message") == "opened"
        return response.opened.acknowledged_sequence

    def send(self, sequence: int, rows: Sequence[Row]) -> None:
        part = contribution_pb2.UploadPart(sequence=sequence, rows=rows)
        self._requests.put(contribution_pb2.ContributeStreamRequest(part=part))

    def acknowledged(self) -> Acknowledged:
        response = next(self.call)
        assert response.WhichOneof("message") == "acknowledged"
        return response.acknowledged

    def take(self, sequence: int, rows: Sequence[Row]) -> Acknowledged:
        self.send(sequence, rows)
        return self.acknowledged()

    def say_end(self, parts: int) -> None:
        end = contribution_pb2.UploadEnd(parts=parts)
        self._requests.put(contribution_pb2.ContributeStreamRequest(end=end))

    def end(self, parts: int) -> contribution_pb2.UploadEnded:
        """End the upload."""
        self.say_end(parts)
        response = next(self.call)
        assert response.WhichOneof("message") == "ended"
        return response.ended

    def finish(self) -> None:
        """End the stream in order."""
        self._requests.put(None)
        assert list(self.call) == []
        assert self.call.code() is grpc.StatusCode.OK

    def close(self) -> None:
        self._requests.put(None)
        self.call.cancel()


@contextmanager
def streaming(caller: Caller, upload: bytes, **fields: object) -> Iterator[Stream]:
    """An opened stream."""
    with closing(Stream(caller, upload, **fields)) as stream:
        stream.opened()
        yield stream


def get_upload(
    caller: Caller, upload: bytes, sequence: int = 0
) -> contribution_pb2.GetUploadResponse:
    request = contribution_pb2.GetUploadRequest(upload_id=upload, sequence=sequence)
    return caller.contributions.GetUpload(request, timeout=CALL_SECONDS)


def refused_rows(
    caller: Caller, upload: bytes, page_size: int = 0
) -> list[tuple[int, int, str, str]]:
    """(sequence, item, field, reason) of all refused rows, page by page."""
    found, page_token = [], ""
    while True:
        request = contribution_pb2.ListRefusedRowsRequest(
            upload_id=upload, page_size=page_size, page_token=page_token
        )
        page = caller.contributions.ListRefusedRows(request, timeout=CALL_SECONDS)
        assert not page_size or len(page.refused) <= page_size
        found += [
            (row.sequence, row.refusal.item, row.refusal.field, row.refusal.reason)
            for row in page.refused
        ]
        page_token = page.next_page_token
        if not page_token:
            return found


def entries(consortium: Consortium) -> list[dict[str, object]]:
    """The fields of the ledger's entries about parts."""
    return entries_of(consortium.journal, "contribution.batch")


def refusal_of(stream: Stream) -> grpc.RpcError:
    """The error that ends a stream."""
    with pytest.raises(grpc.RpcError) as caught:
        for _ in stream.call:
            pass
    return caught.value


def test_each_part_is_acknowledged_with_its_own_entry_once_its_rows_are_in_the_pool(
    consortium: Consortium,
) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with closing(Stream(consortium.beta, upload)) as stream:
        assert stream.opened() == 0
        for sequence in (1, 2, 3):
            rows = [account(consortium, subject, sequence) for subject in (1, 2)]
            acknowledged = stream.take(sequence, rows)
            assert (acknowledged.sequence, acknowledged.rows_accepted) == (sequence, 2)
            assert not acknowledged.refused
            # Visible while the stream goes on.
            assert set(relations(consortium, 2)) == set(range(1, sequence + 1))
            entry = json.loads(acknowledged.receipt.entry)
            assert entry["type"] == "contribution.batch"
            assert (entry["upload"], entry["sequence"]) == (upload.hex(), sequence)
            assert "request" not in entry
            [(_, leaf, _)] = consortium.journal.entries(
                acknowledged.receipt.entry_index, acknowledged.receipt.entry_index + 1
            )
            assert leaf == acknowledged.receipt.entry
        stream.finish()
    status = get_upload(consortium.beta, upload)
    assert (status.acknowledged_sequence, status.rows_accepted, status.rows_refused) == (3, 6, 0)
    assert status.last_entry_index == acknowledged.receipt.entry_index
    assert status.first_entry_index == status.last_entry_index - 2
    assert [fields["sequence"] for fields in entries(consortium)] == [1, 2, 3]


def test_several_parts_may_be_under_way_and_are_acknowledged_in_their_order(
    consortium: Consortium,
) -> None:
    allow(consortium)
    with streaming(consortium.beta, os.urandom(16)) as stream:
        for sequence in range(1, 9):
            stream.send(sequence, [account(consortium, sequence)])
        answers = [stream.acknowledged().sequence for _ in range(8)]
        stream.finish()
    assert answers == list(range(1, 9))


def test_what_came_before_a_part_out_of_turn_is_acknowledged_first(
    consortium: Consortium,
) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        for sequence in (1, 2, 3, 5):
            stream.send(sequence, [account(consortium, sequence)])
        assert [stream.acknowledged().sequence for _ in range(3)] == [1, 2, 3]
        error = refusal_of(stream)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert get_upload(consortium.beta, upload).acknowledged_sequence == 3


def test_a_part_corrects_a_row_of_the_part_before_it_without_waiting(
    consortium: Consortium,
) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        first = stream.take(1, [account(consortium, 1, 1, balance=4)])
        stream.send(2, [account(consortium, 1, 2, balance=4)])
        # Its entry is the next; it may not be published yet when the third comes.
        named = contribution_pb2.RowRef(entry_index=first.receipt.entry_index + 1, item=0)
        correction = account(consortium, 1, 2, balance=6)
        correction.replaces.CopyFrom(named)
        stream.send(3, [correction])
        second, third = stream.acknowledged(), stream.acknowledged()
        stream.finish()
    assert second.receipt.entry_index == named.entry_index
    assert (third.rows_accepted, list(third.refused)) == (1, [])
    assert relations(consortium, 1)[2].balance == 6


def test_a_new_stream_goes_on_after_the_last_acknowledged_part(consortium: Consortium) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1)])
        stream.take(2, [account(consortium, 2)])
    with closing(Stream(consortium.beta, upload)) as stream:
        assert stream.opened() == 2
        stream.take(3, [account(consortium, 3)])
        stream.finish()
    assert get_upload(consortium.beta, upload).acknowledged_sequence == 3


def test_a_part_that_comes_again_is_acknowledged_as_before_and_taken_once(
    consortium: Consortium,
) -> None:
    [consent, *_] = allow(consortium)
    upload = os.urandom(16)
    rows = [account(consortium, 1), account(consortium, 99), Row(token=b"short")]
    with streaming(consortium.beta, upload) as stream:
        first = stream.take(1, rows)
        second = stream.take(1, rows)
        stream.take(2, [account(consortium, 2)])
    # Not even the end of the consent changes what was answered.
    withdraw(consortium.beta, consent)
    with streaming(consortium.beta, upload) as stream:
        third = stream.take(1, rows)
    for repeated in (second, third):
        assert repeated.receipt.entry == first.receipt.entry
        assert repeated.receipt.entry_index == first.receipt.entry_index
        assert list(repeated.refused) == list(first.refused)
        assert repeated.rows_accepted == first.rows_accepted == 1
    assert [refusal.item for refusal in first.refused] == [1, 2]
    assert len(entries(consortium)) == 2


def test_other_rows_under_a_sequence_that_was_taken_are_refused(consortium: Consortium) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1)])
        stream.send(1, [account(consortium, 1, balance=4)])
        error = refusal_of(stream)
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.ALREADY_EXISTS, "SEQUENCE_REUSED")
    assert relations(consortium, 1)[1].balance == 3
    assert consortium.signal_store.staged() == []


def test_a_gap_is_refused_with_the_sequence_that_is_expected(consortium: Consortium) -> None:
    allow(consortium)
    upload = os.urandom(16)
    for taken, sent in ((0, 2), (1, 3), (1, 2**32 - 1)):
        with streaming(consortium.beta, upload) as stream:
            if taken:
                stream.take(1, [account(consortium, 1)])
            stream.send(sent, [account(consortium, 2)])
            error = refusal_of(stream)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(error) == "SEQUENCE_GAP"
        assert fields_of(error) == ["part.sequence"]
        assert f"{taken + 1} is expected" in (error.details() or "")
    assert relations(consortium, 2) == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"upload_id": b"short"}, "header.upload_id"),
        ({"adverse_notice_sha256": b"short"}, "header.adverse_notice_sha256"),
    ],
)
def test_a_malformed_header_is_refused_by_field(
    consortium: Consortium, change: dict[str, bytes], field: str
) -> None:
    values = dict(change)
    upload = values.pop("upload_id", os.urandom(16))
    with closing(Stream(consortium.beta, upload, **values)) as stream:
        error = refusal_of(stream)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(error) == [field]


def test_streams_that_do_not_keep_to_their_form_are_refused(consortium: Consortium) -> None:
    allow(consortium)
    cases = [
        ([contribution_pb2.ContributeStreamRequest()], "header"),
        ([], "header"),
    ]
    for messages, field in cases:
        call = consortium.beta.contributions.ContributeStream(iter(messages), timeout=CALL_SECONDS)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert fields_of(caught.value) == [field]
    for sequence, rows, field in [
        (0, [account(consortium, 1)], "part.sequence"),
        (1, [], "part.rows"),
        (1, [account(consortium, 1)] * 4_001, "part.rows"),
    ]:
        with streaming(consortium.beta, os.urandom(16)) as stream:
            stream.send(sequence, rows)
            error = refusal_of(stream)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert fields_of(error) == [field]


def test_an_upload_cannot_be_gone_on_with_under_another_header(consortium: Consortium) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1)])
    with closing(Stream(consortium.beta, upload, adverse_notice_sha256=bytes(32))) as stream:
        error = refusal_of(stream)
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.ALREADY_EXISTS, "UPLOAD_ID_REUSED")
    for fields, reason in (
        ({"epoch": 7}, "EPOCH_NOT_ACTIVE"),
        ({"catalogue_version": 99}, "CATALOGUE_VERSION_UNKNOWN"),
    ):
        with closing(Stream(consortium.beta, os.urandom(16), **fields)) as stream:
            assert reason_of(refusal_of(stream)) == reason


def test_an_upload_is_its_members_own(consortium: Consortium) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1), Row()])
    for asking in (get_upload, refused_rows):
        with pytest.raises(grpc.RpcError) as caught:
            asking(consortium.alpha, upload)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(caught.value) == "UPLOAD_NOT_FOUND"
    # The same id is free for another member.
    with closing(Stream(consortium.alpha, upload)) as stream:
        assert stream.opened() == 0
    with pytest.raises(grpc.RpcError) as caught:
        list(consortium.auditor.contributions.ContributeStream(iter([]), timeout=CALL_SECONDS))
    assert reason_of(caught.value) == "ROLE_NOT_ALLOWED"


def test_refused_rows_can_be_fetched_later_page_by_page(consortium: Consortium) -> None:
    allow(consortium)
    upload = os.urandom(16)
    month = months_since_1970(consortium.clock)
    good = account(consortium, 1)
    bad_month = account(consortium, 1, 2, as_of_month=month + 1)
    nobody = application(consortium, 99)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [good, bad_month, nobody])
        stream.take(2, [application(consortium, 2)])
        stream.take(3, [Row(token=b"short"), good, good])
        stream.take(4, [nobody])
    expected = [
        (1, 1, "account.as_of_month", "OUT_OF_RANGE"),
        (1, 2, "token", "NO_CONSENT"),
        (3, 0, "token", "WRONG_LENGTH"),
        (3, 2, "account.as_of_month", "DUPLICATE"),
        (4, 0, "token", "NO_CONSENT"),
    ]
    for page_size in (0, 1, 2, 3, 5, 6):
        assert refused_rows(consortium.beta, upload, page_size) == expected
    assert get_upload(consortium.beta, upload).rows_refused == 5
    request = contribution_pb2.ListRefusedRowsRequest(upload_id=upload, page_size=1)
    page = consortium.beta.contributions.ListRefusedRows(request, timeout=CALL_SECONDS)
    with streaming(consortium.beta, other := os.urandom(16)) as stream:
        stream.take(1, [nobody])
    request = contribution_pb2.ListRefusedRowsRequest(
        upload_id=other, page_token=page.next_page_token
    )
    with pytest.raises(grpc.RpcError) as caught:
        consortium.beta.contributions.ListRefusedRows(request, timeout=CALL_SECONDS)
    assert fields_of(caught.value) == ["page_token"]


def test_no_token_is_kept_with_what_was_refused(
    consortium: Consortium, store_urls: StoreUrls
) -> None:
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, subject) for subject in PEOPLE])
    assert len(refused_rows(consortium.beta, upload)) == len(PEOPLE)
    database = Database.open(store_urls.control_url)
    names = [token(subject) for subject in PEOPLE]
    names += [subject_key(PEPPER, one) for one in names]
    with database.read() as connection:
        for table in ("batch", "upload"):
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}"):
                for value in row:
                    assert not any(
                        name in bytes(value) or name.hex().encode() in bytes(value)
                        for name in names
                        if isinstance(value, bytes | memoryview)
                    )
    database.close()


def test_of_two_senders_of_one_part_one_is_taken_and_the_other_hears_of_it(
    consortium: Consortium,
) -> None:
    allow(consortium)
    upload = os.urandom(16)
    senders, barrier = 4, threading.Barrier(4)
    outcomes: list[tuple[int, object]] = []

    def send(number: int) -> None:
        # Two send the same rows, two others of their own.
        rows = [account(consortium, 1, max(1, number))]
        with streaming(consortium.beta, upload) as stream:
            barrier.wait(CALL_SECONDS)
            stream.send(1, rows)
            try:
                outcomes.append((number, stream.acknowledged().receipt.entry_index))
            except grpc.RpcError as error:
                outcomes.append((number, reason_of(error)))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(consortium)) == 1
    assert len(relations(consortium, 1)) == 1
    [ref] = relations(consortium, 1)
    won = {number for number, outcome in outcomes if isinstance(outcome, int)}
    assert won == {number for number in range(senders) if max(1, number) == ref}
    assert {outcome for number, outcome in outcomes if number not in won} <= {"SEQUENCE_REUSED"}
    assert len({outcome for number, outcome in outcomes if number in won}) == 1
    assert consortium.signal_store.staged() == []


def test_a_member_that_is_suspended_in_mid_stream_is_stopped_at_the_next_part(
    consortium: Consortium,
) -> None:
    allow(consortium)
    upload = os.urandom(16)

    def suspend(transaction: Transaction) -> None:
        transaction.connection.execute(
            member_table.update()
            .where(member_table.c.member_id == MEMBERS[1])
            .values(state=member_pb2.MEMBER_STATE_SUSPENDED)
        )

    for sequence in (1, 2):
        # A new part, or one that came before: nothing is answered any more.
        with streaming(consortium.beta, upload) as stream:
            if sequence == 1:
                stream.take(1, [account(consortium, 1)])
                consortium.journal.write(suspend)
            stream.send(sequence, [account(consortium, 1)])
            error = refusal_of(stream)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reason_of(error) == "MEMBER_SUSPENDED"
    with streaming(consortium.beta, upload) as stream:
        stream.say_end(1)
        assert reason_of(refusal_of(stream)) == "MEMBER_SUSPENDED"
    status = get_upload(consortium.beta, upload)
    assert (status.acknowledged_sequence, status.complete) == (1, False)


def test_what_was_accepted_and_not_published_is_in_the_pool_before_the_upload_goes_on(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with consortium_on(sqlite_stores, clock) as consortium:
        allow(consortium)
        upload = os.urandom(16)
        with (
            streaming(consortium.beta, upload) as stream,
            table_missing(sqlite_stores, "publisher"),
        ):
            stream.send(1, [account(consortium, 1, balance=2)])
            error = refusal_of(stream)
        # Not acknowledged, and yet recorded: the next stream says so.
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert relations(consortium, 1) == {}
        assert get_upload(consortium.beta, upload).acknowledged_sequence == 1
        with (
            table_missing(sqlite_stores, "publisher"),
            closing(Stream(consortium.beta, upload)) as stream,
        ):
            assert refusal_of(stream).code() is grpc.StatusCode.UNAVAILABLE
        with closing(Stream(consortium.beta, upload)) as stream:
            assert stream.opened() == 1
            assert relations(consortium, 1)[1].balance == 2
            # The same account and month once more: the later part counts.
            stream.take(2, [account(consortium, 1, balance=4)])
        contributions.resume(consortium.journal, consortium.signal_store, clock)
        assert relations(consortium, 1)[1].balance == 4


def test_a_caller_that_goes_in_mid_part_leaves_all_of_it_or_nothing(
    consortium: Consortium,
) -> None:
    allow(consortium)
    upload = os.urandom(16)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1)])
        stream.send(2, [account(consortium, subject, 2) for subject in PEOPLE])
        stream.close()
    with closing(Stream(consortium.beta, upload)) as stream:
        known = stream.opened()
        assert known in (1, 2)
        again = stream.take(2, [account(consortium, subject, 2) for subject in PEOPLE])
    assert again.rows_accepted == len(PEOPLE)
    assert [fields["sequence"] for fields in entries(consortium)] == [1, 2]


def test_a_member_holds_no_more_than_its_share_of_streams(consortium: Consortium) -> None:
    allow(consortium)
    with ExitStack() as stack:
        held = [
            stack.enter_context(streaming(consortium.beta, os.urandom(16)))
            for _ in range(Limits().concurrent_streams_per_caller)
        ]
        further = stack.enter_context(closing(Stream(consortium.beta, os.urandom(16))))
        error = refusal_of(further)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(error) == "TOO_MANY_STREAMS"
        # Others are not in its way, and each of its own goes on.
        with streaming(consortium.alpha, os.urandom(16)) as other:
            other.finish()
        for number, stream in enumerate(held, start=1):
            assert stream.take(1, [account(consortium, 1, number)]).rows_accepted == 1


def test_a_part_costs_the_same_statements_however_far_the_upload_is(
    consortium: Consortium,
) -> None:
    allow(consortium)
    counts = []
    with streaming(consortium.beta, os.urandom(16)) as stream:
        for sequence in range(1, 12):
            with statements() as seen:
                stream.take(sequence, [account(consortium, 1, sequence)])
            counts.append(len(seen))
    assert len(set(counts[1:])) == 1, counts


def test_an_outsider_finds_nothing_wrong_with_the_parts_of_an_upload(
    consortium: Consortium,
) -> None:
    """The real entries and items, replayed by the auditor's code and by the tests' own checker."""
    consents = allow(consortium)
    with streaming(consortium.beta, os.urandom(16)) as stream:
        stream.take(1, [account(consortium, subject) for subject in PEOPLE])
        withdraw(consortium.beta, consents[0])
        second = stream.take(2, [account(consortium, subject, 2) for subject in (1, 2, 99)])
        stream.take(3, [Row()])
        ended = stream.end(3)
    assert (ended.rows_accepted, ended.rows_refused) == (len(PEOPLE) + 1, 3)
    assert [refusal.item for refusal in second.refused] == [0, 2]
    replay = replayed(consortium.journal)
    assert findings(replay) == []
    assert replay.uses.counts.rows == len(PEOPLE) + 1
    checker = UseChecker().read(consortium.journal.entries(0, consortium.journal.size))
    assert checker.problems == []
    assert checker.uses == len(PEOPLE) + 1


def test_a_stream_goes_on_through_a_rotation_of_the_token_key(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    with serving(journal, signal_store, clock, keys) as consortium:
        grant(consortium.beta, [draft(consortium, 1, [CONTRIBUTION], EVERYTHING)], epoch=1)
        upload = os.urandom(16)
        with streaming(consortium.beta, upload) as stream:
            first = stream.take(1, [account(consortium, 1, 1)])
            assert rotate(means_of(journal, signal_store, keys), None).subjects == 1
            # By tokens of the epoch that the upload began with.
            assert stream.take(2, [account(consortium, 1, 2)]).rows_accepted == 1
            again = stream.take(1, [account(consortium, 1, 1)])
            assert again.receipt.entry == first.receipt.entry
    key = subject_key(peppers(2)[2], token(1, 2))
    assert len(signal_store.histories([key], 2)[key].relations) == 2
