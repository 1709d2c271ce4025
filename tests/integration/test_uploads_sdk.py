"""`contribute_stream`: an upload comes to its end through breaks, and takes every row once."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from concordat import (
    AccountSnapshot,
    AccountStatus,
    AsyncClient,
    Client,
    ClientClosed,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Options,
    ProductClass,
    Profile,
    Row,
    Token,
    Unavailable,
    UploadedPart,
    UploadState,
)
from concordat.results.uploads import ROWS_PER_PART
from concordat_gateway.config import DEFAULT_AGES
from concordat_gateway.rules.upload_ages import expire
from concordat_privacy.jurisdictions import policies
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.limits import Limits
from tests.contributing import (
    PEOPLE,
    account_row,
    allow,
    consortium_on,
    entries_of,
    relations,
)
from tests.gateways import eventually
from tests.proxies import Proxy, proxying
from tests.sdk_clients import blocking_face
from tests.services import (
    Consortium,
    months_since_1970,
    serving,
    token,
    write_profile,
)
from tests.stores import ManualClock, StoreUrls

QUICK = 15.0

Opener = Callable[[int], Client]


def rows_of(consortium: Consortium, count: int) -> list[Row]:
    """Accounts of all people in turn; the last tenth corrects what the first said."""
    rows = [account_row(consortium, PEOPLE[n % len(PEOPLE)], n) for n in range(count - count // 10)]
    return rows + [
        account_row(consortium, PEOPLE[n % len(PEOPLE)], n, balance=5) for n in range(count // 10)
    ]


def pool(consortium: Consortium) -> dict[tuple[int, int], int]:
    """The balance of each account in the pool, by subject and account."""
    return {
        (subject, ref): int(relation.balance)
        for subject in PEOPLE
        for ref, relation in relations(consortium, subject).items()
    }


def expected_pool(rows: Sequence[Row]) -> dict[tuple[int, int], int]:
    """What the rows come to: of one account the last counts."""
    subjects = {token(subject): subject for subject in PEOPLE}
    found = {}
    for one in rows:
        assert isinstance(one.record, AccountSnapshot)
        ref = int.from_bytes(one.record.account_ref, "big")
        found[subjects[one.token.value], ref] = int(one.record.balance)
    return found


def sequences(consortium: Consortium) -> list[object]:
    """The sequences of all parts in the ledger, in its order."""
    return [one["sequence"] for one in entries_of(consortium.journal, "contribution.batch")]


def ends(consortium: Consortium) -> int:
    """How many uploads the ledger says were ended."""
    return len(entries_of(consortium.journal, "contribution.ended"))


@pytest.fixture(params=["blocking", "awaiting"])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, ledger_key: SigningKey
) -> Iterator[Opener]:
    """Opens beta's clients, of each kind in turn."""
    clients: list[Client] = []

    def make(port: int) -> Client:
        folder = tmp_path / f"profile-{port}"
        if not folder.exists():
            write_profile(folder, "beta", port, ledger_key)
        profile, options = Profile.load(folder), Options(channels=1)
        if request.param == "blocking":
            clients.append(Client(profile, options))
        else:
            clients.append(blocking_face(lambda: AsyncClient(profile, options)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def consortium(
    sqlite_stores: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> Iterator[Consortium]:
    """On SQLite: what is tested here is above the stores, and `test_uploads` runs on both."""
    clock.microseconds = round(datetime.now(UTC).timestamp() * 1_000_000)
    with consortium_on(sqlite_stores, clock, ledger_key) as running:
        yield running


@pytest.fixture
def proxy(consortium: Consortium) -> Iterator[Proxy]:
    with proxying(consortium.server.port) as running:
        yield running


def check_parts(parts: Sequence[UploadedPart], rows: int) -> None:
    """Every part once, in order, covering all rows."""
    assert [part.sequence for part in parts] == list(range(1, -(-rows // ROWS_PER_PART) + 1))
    assert [part.first_row for part in parts] == list(range(0, rows, ROWS_PER_PART))
    assert sum(part.rows_accepted + len({r.item for r in part.refused}) for part in parts) == rows


def test_rows_of_any_number_arrive_part_by_part_with_receipts(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    client = opened(consortium.server.port)
    rows = rows_of(consortium, 2 * ROWS_PER_PART + 7)
    parts = list(client.contribute_stream(iter(rows)))
    check_parts(parts, len(rows))
    assert pool(consortium) == expected_pool(rows)
    for part in parts:
        assert client.verify_receipt(part.receipt).fields["sequence"] == part.sequence
    status = client.get_upload(parts[0].upload_id)
    assert (status.acknowledged_sequence, status.rows_accepted, status.rows_refused) == (
        3,
        len(rows),
        0,
    )
    assert status.last_entry_index == parts[-1].receipt.entry_index
    assert status.complete
    assert status.state is UploadState.COMPLETE
    assert status.end_entry_index == status.last_entry_index + 1
    assert list(client.list_refused_rows(parts[0].upload_id)) == []


def test_no_rows_make_no_upload(consortium: Consortium, opened: Opener) -> None:
    client, upload = opened(consortium.server.port), os.urandom(16)
    assert list(client.contribute_stream([], upload_id=upload)) == []
    with pytest.raises(NotFound):
        client.get_upload(upload)
    with pytest.raises(NotFound):
        list(client.list_refused_rows(upload))


def test_bad_rows_are_told_by_number_and_can_be_fetched_later(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    client = opened(consortium.server.port)
    rows = [account_row(consortium, 1, n) for n in range(ROWS_PER_PART + 10)]
    rows[1] = account_row(consortium, 99, 1)  # nobody's consent
    rows[2] = Row(b"no token", rows[2].record)  # type: ignore[arg-type]
    rows[3] = Row(rows[3].token, {"as_of_month": 1})  # type: ignore[arg-type]
    late = ROWS_PER_PART + 5
    future = months_since_1970(consortium.clock) + 1
    rows[late] = Row(
        rows[late].token,
        AccountSnapshot(
            bytes(16), future, AccountStatus.OPEN, ProductClass.CASH_INSTALMENT, future // 3 - 9
        ),
    )
    rows[late + 1] = Row(
        rows[late].token,
        AccountSnapshot(
            bytes(16), -(2**70), AccountStatus.OPEN, ProductClass.CASH_INSTALMENT, 2**70
        ),
    )
    parts = list(client.contribute_stream(rows))
    check_parts(parts, len(rows))
    told = {(r.item, r.field, r.reason) for part in parts for r in part.refused}
    assert told == {
        (1, "token", "NO_CONSENT"),
        (2, "token", "WRONG_TYPE"),
        (3, "record", "WRONG_TYPE"),
        (late, "account.as_of_month", "OUT_OF_RANGE"),
        (late + 1, "record", "OUT_OF_RANGE"),
    }
    for size in (1, 2, 1_000):
        fetched = list(client.list_refused_rows(parts[0].upload_id, page_size=size))
        assert [one.row for one in fetched] == [1, 2, 3, late, late + 1]
        assert [one.sequence for one in fetched] == [1, 1, 1, 2, 2]
    assert fetched[0].reason == "NO_CONSENT"


def test_a_connection_that_breaks_again_and_again_loses_no_row_and_doubles_none(
    consortium: Consortium, opened: Opener, proxy: Proxy
) -> None:
    allow(consortium)
    rows = rows_of(consortium, 3 * ROWS_PER_PART)
    # In the handshake, in the header, in a part, between two, in the last.
    proxy.cut_after(500, 5_000, 60_000, 300_000, 500_000)
    client = opened(proxy.port)
    parts = list(client.contribute_stream(iter(rows), timeout=QUICK * 4))
    check_parts(parts, len(rows))
    assert proxy.connections >= 6
    assert sequences(consortium) == [1, 2, 3]
    assert pool(consortium) == expected_pool(rows)


@pytest.mark.slow
def test_an_upload_that_another_process_began_is_gone_on_with(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    rows, upload = rows_of(consortium, 4 * ROWS_PER_PART + 1), os.urandom(16)
    first = opened(consortium.server.port)
    iterator = first.contribute_stream(iter(rows), upload_id=upload)
    begun = [next(iterator), next(iterator)]
    first.close()
    second = opened(consortium.server.port)
    rest = list(second.contribute_stream(iter(rows), upload_id=upload))
    # The gateway may have taken parts whose acknowledgement nobody waited for.
    assert rest[0].sequence in (2, 3, 4, 5)
    assert rest[-1].sequence == 5
    assert sequences(consortium) == [1, 2, 3, 4, 5]
    assert pool(consortium) == expected_pool(rows)
    again = list(second.contribute_stream(iter(rows), upload_id=upload))
    assert [part.receipt.entry for part in again] == [rest[-1].receipt.entry]
    assert begun[0].upload_id == upload


def test_other_rows_under_an_upload_that_was_begun_are_found_out(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    rows, upload = rows_of(consortium, ROWS_PER_PART + 10), os.urandom(16)
    client = opened(consortium.server.port)
    list(client.contribute_stream(rows, upload_id=upload))
    with pytest.raises(Conflict) as caught:
        list(client.contribute_stream(rows[:-1], upload_id=upload))
    assert caught.value.reason == "SEQUENCE_REUSED"
    assert upload.hex() in "".join(caught.value.__notes__)
    with pytest.raises(InvalidInput, match="these rows are fewer"):
        list(client.contribute_stream(rows[:10], upload_id=upload))
    with pytest.raises(Conflict) as caught:
        list(client.contribute_stream(rows, upload_id=upload, adverse_notice_sha256=bytes(32)))
    assert caught.value.reason == "UPLOAD_ID_REUSED"


def test_an_upload_whose_rows_ended_takes_no_further_rows(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    rows, upload = rows_of(consortium, ROWS_PER_PART + 1), os.urandom(16)
    client = opened(consortium.server.port)
    first = list(client.contribute_stream(rows[:ROWS_PER_PART], upload_id=upload))
    status = client.get_upload(upload)
    assert (status.complete, status.acknowledged_sequence) == (True, 1)
    with pytest.raises(FailedPrecondition) as caught:
        list(client.contribute_stream(rows, upload_id=upload))
    assert caught.value.reason == "UPLOAD_ENDED"
    # The same rows are no further ones.
    again = list(client.contribute_stream(rows[:ROWS_PER_PART], upload_id=upload))
    assert [part.receipt.entry for part in again] == [part.receipt.entry for part in first]
    assert client.get_upload(upload) == status
    assert ends(consortium) == 1


def test_an_upload_that_is_not_read_to_its_end_stays_open(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    rows, upload = rows_of(consortium, ROWS_PER_PART), os.urandom(16)
    client = opened(consortium.server.port)
    begun = client.contribute_stream(rows, upload_id=upload)
    next(begun)
    status = client.get_upload(upload)
    assert (status.complete, status.end_entry_index) == (False, None)
    assert status.state is UploadState.OPEN
    assert status.answered_until == status.last_accepted_at + timedelta(days=30 + 180)
    assert list(begun) == []
    assert client.get_upload(upload).complete


def test_an_upload_that_was_left_long_ago_is_refused_and_says_how_far_it_came(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    rows, upload = rows_of(consortium, ROWS_PER_PART + 1), os.urandom(16)
    client = opened(consortium.server.port)
    next(client.contribute_stream(rows[:ROWS_PER_PART], upload_id=upload))
    consortium.clock.advance(30 * 86_400)
    assert client.get_upload(upload).state is UploadState.ABANDONED
    consortium.clock.advance(180 * 86_400)
    retention = policies()["CN"]
    assert expire(consortium.journal, DEFAULT_AGES, retention, consortium.clock()) == 1
    with pytest.raises(FailedPrecondition) as caught:
        list(client.contribute_stream(rows, upload_id=upload))
    assert caught.value.reason == "UPLOAD_EXPIRED"
    [note] = caught.value.__notes__
    assert note.startswith("get_upload says how many parts were taken, each of 4000 rows")
    with pytest.raises(FailedPrecondition):
        list(client.list_refused_rows(upload))
    status = client.get_upload(upload)
    assert (status.state, status.acknowledged_sequence) == (UploadState.EXPIRED, 1)


@pytest.mark.parametrize(
    # The second would be tried again if it came from the gateway.
    "error",
    [LookupError("the disk"), Unavailable("the disk")],
    ids=lambda error: type(error).__name__,
)
def test_what_the_callers_rows_raise_goes_through_and_the_upload_can_go_on(
    consortium: Consortium, opened: Opener, error: Exception
) -> None:
    allow(consortium)
    rows, upload = rows_of(consortium, 2 * ROWS_PER_PART), os.urandom(16)

    def broken() -> Iterator[Row]:
        yield from rows[: ROWS_PER_PART + 1]
        raise error

    client = opened(consortium.server.port)
    with pytest.raises(type(error), match="the disk") as caught:
        list(client.contribute_stream(broken(), upload_id=upload))
    assert upload.hex() in "".join(caught.value.__notes__)
    # What is known of the rows is that they are not all: so it was not ended.
    assert ends(consortium) == 0
    list(client.contribute_stream(rows, upload_id=upload))
    assert sequences(consortium) == [1, 2]
    assert ends(consortium) == 1
    with pytest.raises(InvalidInput):
        list(client.contribute_stream(["no row"]))  # type: ignore[list-item]
    with pytest.raises(InvalidInput):
        list(client.contribute_stream(rows, upload_id=b"short"))


def test_a_gateway_that_drains_ends_the_stream_and_the_next_one_goes_on(
    consortium: Consortium, opened: Opener, proxy: Proxy, clock: ManualClock
) -> None:
    allow(consortium)
    rows = rows_of(consortium, 3 * ROWS_PER_PART)
    with serving(consortium.journal, consortium.signal_store, clock) as successor:
        client = opened(proxy.port)
        parts = []
        for part in client.contribute_stream(iter(rows), timeout=QUICK):
            parts.append(part)
            if part.sequence == 1:
                proxy.target_port = successor.server.port
                # Streams end on their own: nothing is cut off.
                assert consortium.server.drain().wait(QUICK)
    check_parts(parts, len(rows))
    assert sequences(consortium) == [1, 2, 3]
    assert pool(consortium) == expected_pool(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [Limits(stream_deadline_seconds=1.5), Limits(stream_idle_seconds=1.5)],
    ids=["deadline", "idle"],
)
def test_a_stream_that_outlives_its_deadline_or_falls_silent_is_gone_on_with(
    sqlite_stores: StoreUrls,
    clock: ManualClock,
    ledger_key: SigningKey,
    opened: Opener,
    limits: Limits,
) -> None:
    clock.microseconds = round(datetime.now(UTC).timestamp() * 1_000_000)
    with (
        consortium_on(sqlite_stores, clock, ledger_key, limits=limits) as consortium,
        proxying(consortium.server.port) as proxy,
    ):
        allow(consortium)
        rows = [account_row(consortium, 1, n) for n in range(ROWS_PER_PART + 2)]

        def slow() -> Iterator[Row]:
            yield from rows[:-1]
            # The stream has been opened, and ends meanwhile.
            threading.Event().wait(2)
            yield rows[-1]

        client = opened(proxy.port)
        begun = [next(client.contribute_stream(rows[:ROWS_PER_PART], upload_id=bytes(16)))]
        parts = list(client.contribute_stream(slow(), upload_id=bytes(16), timeout=QUICK))
        assert [part.sequence for part in begun + parts] == [1, 1, 2]
        assert sequences(consortium) == [1, 2]
        assert pool(consortium) == expected_pool(rows)


@pytest.mark.slow
def test_a_sender_that_falls_silent_within_a_part_leaves_its_place_to_whoever_goes_on(
    sqlite_stores: StoreUrls, clock: ManualClock, ledger_key: SigningKey, opened: Opener
) -> None:
    clock.microseconds = round(datetime.now(UTC).timestamp() * 1_000_000)
    limits = Limits(stream_idle_seconds=2, concurrent_streams_per_caller=1)
    with (
        consortium_on(sqlite_stores, clock, ledger_key, limits=limits) as consortium,
        proxying(consortium.server.port) as proxy,
    ):
        allow(consortium)
        rows = [account_row(consortium, 1, n) for n in range(2 * ROWS_PER_PART)]
        # Some thousand bytes of the handshake, the header, and a piece of the first part.
        proxy.hold_after(100_000)
        silent, upload = opened(proxy.port), os.urandom(16)
        heard: list[UploadedPart] = []
        sending = threading.Thread(
            target=lambda: heard.extend(
                silent.contribute_stream(rows, upload_id=upload, timeout=4 * QUICK)
            )
        )
        sending.start()
        eventually(lambda: proxy.connections == 1, "the silent one is connected")
        client = opened(consortium.server.port)
        # It waits for the one place as long as the other holds it.
        parts = list(client.contribute_stream(rows, upload_id=upload, timeout=QUICK))
        assert parts[-1].sequence == 2
        # Once its connection breaks the silent one goes on too, and hears what became of it.
        proxy.cut()
        sending.join()
        assert [part.receipt.entry for part in heard][-1:] == [parts[-1].receipt.entry]
        assert sequences(consortium) == [1, 2]
        assert pool(consortium) == expected_pool(rows)


@pytest.mark.slow
def test_a_gateway_that_is_silent_is_given_up_after_the_timeout(
    consortium: Consortium, opened: Opener, proxy: Proxy
) -> None:
    allow(consortium)
    rows = rows_of(consortium, 3 * ROWS_PER_PART)
    iterator = opened(proxy.port).contribute_stream(rows, timeout=8)
    next(iterator)
    with proxy.silence(), pytest.raises(DeadlineExceeded):
        list(iterator)


def test_a_member_that_is_no_longer_admitted_is_told_and_nothing_is_tried_again(
    consortium: Consortium, opened: Opener
) -> None:
    rows = [Row(Token(token(1), 7), account_row(consortium, 1, 1).record)]
    with pytest.raises(FailedPrecondition) as caught:
        list(opened(consortium.server.port).contribute_stream(rows, timeout=QUICK))
    assert caught.value.reason == "EPOCH_NOT_ACTIVE"


def test_a_client_that_is_closed_in_mid_upload_says_so(
    consortium: Consortium, opened: Opener
) -> None:
    allow(consortium)
    client = opened(consortium.server.port)
    iterator = client.contribute_stream(rows_of(consortium, 3 * ROWS_PER_PART))
    next(iterator)
    client.close()
    with pytest.raises(ClientClosed):
        list(iterator)
