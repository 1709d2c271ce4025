"""Uploads that were left or ended long ago: what is still answered of them, and what never is."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import contribution_pb2
from concordat_gateway.config import DEFAULT_AGES
from concordat_gateway.ledger.journal import Committed, Journal, Transaction
from concordat_gateway.rules.upload_ages import expire
from concordat_gateway.store.control_tables import batch, upload
from concordat_privacy.jurisdictions import policies
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.errors import Refusal
from concordat_store.database import Database, store_unavailable
from tests.contributing import allow, relations
from tests.integration.test_uploads import (
    Stream,
    get_upload,
    refusal_of,
    refused_rows,
    streaming,
)
from tests.services import (
    CALL_SECONDS,
    Consortium,
    account,
    contribute,
    fields_of,
    reason_of,
    request_id,
    timestamp,
    token,
)
from tests.stores import ManualClock, StoreUrls

DAY = 86_400
ABANDONED, ANSWERED = 30 * DAY, 180 * DAY
OPEN, LEFT = contribution_pb2.UPLOAD_STATE_OPEN, contribution_pb2.UPLOAD_STATE_ABANDONED
COMPLETE, EXPIRED = (
    contribution_pb2.UPLOAD_STATE_COMPLETE,
    contribution_pb2.UPLOAD_STATE_EXPIRED,
)
CHINA, AMERICA = policies()["CN"], policies()["US"]
LONGEST = 31 * DAY * (12 * 5 + 6 + 24)
"""In China: five years, with the six months of other places, and the 24 months of a history."""


def parts_of(consortium: Consortium) -> list[list[contribution_pb2.ContributionRow]]:
    """Two parts: three good rows, and one of a subject without a consent."""
    return [
        [account(consortium, 1, 1), account(consortium, 2, 1)],
        [account(consortium, 1, 2), account(consortium, 99, 2)],
    ]


class Sent:
    """An upload of two parts of beta's."""

    def __init__(self, consortium: Consortium) -> None:
        self.consortium = consortium
        self.id = os.urandom(16)
        self.parts = parts_of(consortium)
        with streaming(consortium.beta, self.id) as stream:
            self.receipts = [
                stream.take(number, rows).receipt for number, rows in enumerate(self.parts, 1)
            ]

    @property
    def status(self) -> contribution_pb2.GetUploadResponse:
        return get_upload(self.consortium.beta, self.id)

    def end(self) -> None:
        with streaming(self.consortium.beta, self.id) as stream:
            stream.end(2)

    def expire(self) -> int:
        return expire(self.consortium.journal, DEFAULT_AGES, CHINA, self.consortium.clock())


@pytest.fixture
def sent(consortium: Consortium) -> Sent:
    allow(consortium)
    return Sent(consortium)


def kept(consortium: Consortium) -> tuple[int, int]:
    """How many parts have a record, and how many of these say what was answered."""
    with consortium.journal.read() as connection:
        found = connection.execute(
            sa.select(batch.c.content_sha256, batch.c.refusals).where(
                batch.c.upload_id.is_not(None)
            )
        ).all()
    return len(found), sum(one.content_sha256 is not None for one in found)


def test_an_upload_without_a_part_for_thirty_days_counts_as_abandoned_until_the_next_part(
    consortium: Consortium, sent: Sent
) -> None:
    taken_at = consortium.clock()
    assert sent.status.state == OPEN
    consortium.clock.advance(ABANDONED - 1)
    assert sent.status.state == OPEN
    consortium.clock.advance(1)
    assert (sent.status.state, sent.status.complete) == (LEFT, False)
    until = taken_at + (ABANDONED + ANSWERED) * 1_000_000
    assert sent.status.answered_until == timestamp(until)
    with streaming(consortium.beta, sent.id) as stream:
        assert stream.take(3, [account(consortium, 3, 3)]).rows_accepted == 1
        assert sent.status.state == OPEN
        consortium.clock.advance(ABANDONED)
        assert sent.status.state == LEFT
        ended_at = consortium.clock()
        stream.end(3)
    consortium.clock.advance(ABANDONED)
    assert (sent.status.state, sent.status.complete) == (COMPLETE, True)
    assert sent.status.answered_until == timestamp(ended_at + ANSWERED * 1_000_000)


@pytest.mark.parametrize(
    ("ended", "seconds"), [(False, ABANDONED + ANSWERED), (True, ANSWERED)], ids=["left", "ended"]
)
def test_an_upload_is_answered_until_its_time_has_come(
    consortium: Consortium, sent: Sent, ended: bool, seconds: int
) -> None:
    if ended:
        # Long after its last part: what counts is when it ended.
        consortium.clock.advance(20 * DAY)
        sent.end()
    consortium.clock.advance(seconds - 1)
    assert sent.expire() == 0
    with streaming(consortium.beta, sent.id) as stream:
        assert stream.take(2, sent.parts[1]).receipt.entry == sent.receipts[1].entry
    assert refused_rows(consortium.beta, sent.id) == [(2, 1, "token", "NO_CONSENT")]
    consortium.clock.advance(1)
    assert sent.status.state == (COMPLETE if ended else LEFT)
    assert sent.expire() == 1
    assert (sent.status.state, sent.status.complete) == (EXPIRED, ended)
    assert sent.expire() == 0


@pytest.mark.parametrize("ended", [False, True], ids=["left", "ended"])
def test_of_an_expired_upload_nothing_is_taken_or_answered_and_its_numbers_stay(
    consortium: Consortium, sent: Sent, ended: bool
) -> None:
    if ended:
        sent.end()
    before, pool = sent.status, relations(consortium, 1)
    consortium.clock.advance(ABANDONED + ANSWERED)
    size = consortium.journal.size
    assert kept(consortium) == (2, 2)
    assert sent.expire() == 1
    assert kept(consortium) == (2, 0)

    with closing(Stream(consortium.beta, sent.id)) as stream:
        error = refusal_of(stream)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (reason_of(error), fields_of(error)) == ("UPLOAD_EXPIRED", ["header.upload_id"])
    for read in (
        lambda: refused_rows(consortium.beta, sent.id),
        lambda: get_upload(consortium.beta, sent.id, 1),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            read()
        assert reason_of(caught.value) == "UPLOAD_EXPIRED"
        assert fields_of(caught.value) == ["upload_id"]

    after = sent.status
    for name in ("acknowledged_sequence", "rows_accepted", "rows_refused", "last_entry_index"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.complete, after.end_entry_index) == (before.complete, before.end_entry_index)
    assert relations(consortium, 1) == pool
    assert consortium.journal.size == size
    assert consortium.signal_store.staged() == []


def test_a_stream_that_was_open_meanwhile_is_refused_whatever_it_sends(
    consortium: Consortium, sent: Sent
) -> None:
    rows = [account(consortium, 3, 3)]
    messages: list[Callable[[Stream], None]] = [
        lambda stream: stream.send(1, sent.parts[0]),
        lambda stream: stream.send(2, rows),
        lambda stream: stream.send(3, rows),
        lambda stream: stream.say_end(2),
    ]
    streams = [Stream(consortium.beta, sent.id) for _ in messages]
    for stream in streams:
        assert stream.opened() == 2
    consortium.clock.advance(ABANDONED + ANSWERED)
    size = consortium.journal.size
    assert sent.expire() == 1
    for stream, message in zip(streams, messages, strict=True):
        with closing(stream):
            message(stream)
            assert reason_of(refusal_of(stream)) == "UPLOAD_EXPIRED"
    assert relations(consortium, 3) == {}
    assert consortium.journal.size == size
    assert consortium.signal_store.staged() == []


def test_of_a_part_and_the_expiry_at_once_one_comes_first(
    consortium: Consortium, sent: Sent
) -> None:
    uploads = [sent, *(Sent(consortium) for _ in range(3))]
    consortium.clock.advance(ABANDONED + ANSWERED)

    def send(one: Sent) -> str:
        try:
            with streaming(consortium.beta, one.id) as stream:
                stream.take(3, [account(consortium, 3, 3)])
        except grpc.RpcError as error:
            return reason_of(error)
        return ""

    with ThreadPoolExecutor(6) as pool:
        sending = [pool.submit(send, one) for one in uploads]
        expiring = [pool.submit(one.expire) for one in uploads[:2]]
        outcomes = [one.result() for one in sending]
        expired = sum(one.result() for one in expiring)
    assert set(outcomes) <= {"", "UPLOAD_EXPIRED"}
    assert outcomes.count("UPLOAD_EXPIRED") == expired
    for one, outcome in zip(uploads, outcomes, strict=True):
        state, parts = (EXPIRED, 2) if outcome else (OPEN, 3)
        assert (one.status.state, one.status.acknowledged_sequence) == (state, parts)


def test_a_row_of_an_expired_upload_is_corrected_and_withdrawn_as_any_other(
    consortium: Consortium, sent: Sent
) -> None:
    consortium.clock.advance(ABANDONED + ANSWERED)
    assert sent.expire() == 1
    changed = contribution_pb2.ContributionRow()
    changed.CopyFrom(sent.parts[0][0])
    changed.account.balance += 1
    changed.replaces.CopyFrom(
        contribution_pb2.RowRef(entry_index=sent.receipts[0].entry_index, item=0)
    )
    refused = contribution_pb2.ContributionRow()
    refused.CopyFrom(changed)
    refused.replaces.entry_index, refused.replaces.item = sent.receipts[1].entry_index, 1
    # What was refused then is known as a row that was not taken.
    [not_taken] = contribute(consortium.beta, [refused]).refused
    assert not_taken.reason == "NO_SUCH_ROW"
    assert contribute(consortium.beta, [changed]).rows_accepted == 1
    withdrawal = contribution_pb2.WithdrawRowsRequest(
        request_id=request_id(),
        epoch=1,
        rows=[
            contribution_pb2.Withdrawal(
                token=token(1),
                row=contribution_pb2.RowRef(entry_index=sent.receipts[1].entry_index, item=0),
                account_ref=(2).to_bytes(16, "big"),
            )
        ],
    )
    withdrawn = consortium.beta.contributions.WithdrawRows(withdrawal, timeout=CALL_SECONDS)
    assert withdrawn.rows_withdrawn == 1
    assert set(relations(consortium, 1)) == {1}


def test_records_of_parts_go_once_no_row_of_theirs_can_be_in_the_pool(
    consortium: Consortium, sent: Sent
) -> None:
    consortium.clock.advance(LONGEST - 1)
    assert sent.expire() == 1
    assert kept(consortium) == (2, 0)
    consortium.clock.advance(1)
    journal, now = consortium.journal, consortium.clock()
    # Where rows stay for seven years, they can be corrected for two more.
    expire(journal, DEFAULT_AGES, AMERICA, now)
    assert kept(consortium) == (2, 0)
    consortium.clock.advance(2 * 12 * 31 * DAY)
    expire(journal, DEFAULT_AGES, AMERICA, consortium.clock())
    assert kept(consortium) == (0, 0)
    assert sent.status.state == EXPIRED
    assert sent.status.acknowledged_sequence == 2
    with closing(Stream(consortium.beta, sent.id)) as stream:
        assert reason_of(refusal_of(stream)) == "UPLOAD_EXPIRED"


class Failing(Journal):
    """Fails at the change after so many, as a gateway does that is killed there."""

    left = 10**6

    def write(
        self, change: Callable[[Transaction], Any], timeout_seconds: float = 30.0
    ) -> Committed[Any]:
        if not self.left:
            raise store_unavailable()
        self.left -= 1
        return super().write(change, timeout_seconds)


@pytest.fixture
def failing(store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey) -> Iterator[Failing]:
    database = Database.open(store_urls.control_url)
    journal = Failing(database, ledger_key, clock)
    try:
        yield journal
    finally:
        journal.close()
        database.close()


def numbered(member: str, upload_id: bytes, sequences: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "batch_id": os.urandom(16),
            "member_id": member,
            "rows_accepted": 1,
            "rows_refused": 0,
            "refused_rows": b"",
            "root": bytes(32),
            "entry": sequence,
            "accepted_at": 0,
            "upload_id": upload_id,
            "sequence": sequence,
            "content_sha256": bytes(32),
            "refusals": b"",
        }
        for sequence in sequences
    ]


def test_an_expiry_that_stops_anywhere_is_gone_on_with_by_the_next(
    failing: Failing, clock: ManualClock
) -> None:
    """Of 2,500 parts, a thousand at a time; another upload's parts stay."""
    old, new = os.urandom(16), os.urandom(16)

    def begin(transaction: Transaction) -> None:
        for upload_id, parts, at in ((old, 2_500, 0), (new, 3, clock())):
            transaction.connection.execute(
                sa.insert(upload),
                {
                    "member_id": "beta",
                    "upload_id": upload_id,
                    "header_sha256": bytes(32),
                    "acknowledged": parts,
                    "rows_accepted": parts,
                    "rows_refused": 0,
                    "first_entry": 1,
                    "last_entry": parts,
                    "last_accepted_at": at,
                    "forgotten": 0,
                    "deleted": 0,
                },
            )
            rows = numbered("beta", upload_id, range(1, parts + 1))
            transaction.connection.execute(sa.insert(batch), rows)

    failing.write(begin)
    clock.advance(ABANDONED)
    left = []
    for _ in range(9):
        failing.left = 1
        try:
            expire(failing, DEFAULT_AGES, CHINA, clock())
        except Refusal:
            stopped = True
        else:
            stopped = False
        with failing.read() as connection:
            parts = connection.execute(
                sa.select(sa.func.count(), sa.func.count(batch.c.content_sha256)).where(
                    batch.c.upload_id == old
                )
            ).one()
        left.append((*parts, stopped))
    # Marked; three steps that give up the answers, three that delete the records.
    assert left == [
        (2_500, 2_500, True),
        (2_500, 1_500, True),
        (2_500, 500, True),
        (2_500, 0, True),
        (1_500, 0, True),
        (500, 0, True),
        (0, 0, False),
        (0, 0, False),
        (0, 0, False),
    ]
    with failing.read() as connection:
        others = connection.execute(
            sa.select(sa.func.count(batch.c.content_sha256)).where(batch.c.upload_id == new)
        ).scalar_one()
    assert others == 3
