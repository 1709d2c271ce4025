"""Uploads through gateways and databases that die: what was acknowledged is there, once."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from concordat import (
    AccountSnapshot,
    AccountStatus,
    Client,
    PhoneNumber,
    ProductClass,
    Purpose,
    Row,
    Token,
    UploadedPart,
    month_number,
    quarter_number,
)
from concordat.results.uploads import ROWS_PER_PART
from concordat_gateway.store.signal_tables import relation
from concordat_store.database import Database
from tests.contributing import agreed
from tests.gateways import Gateway, MakeGateway, concordat, export_verified
from tests.postgresql import Server, running_server
from tests.stores import StoreUrls, postgresql_urls

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
PEOPLE = 40
PARTS = 6
PATIENCE_SECONDS = 120.0


def prepared(client: Client) -> list[Token]:
    """People whose consent the client holds."""
    people = client.tokenise(PhoneNumber(f"+8613800{n:06d}") for n in range(PEOPLE))
    drafts = [agreed(token, Purpose.CONTRIBUTION, Purpose.UNDERWRITING) for token in people]
    assert not client.grant_consents(drafts).refused
    return people


def rows_of(people: Sequence[Token], parts: int) -> list[Row]:
    """Accounts in turn; each part corrects some of the part before it, and has bad rows."""
    rows = []
    for number in range(parts * ROWS_PER_PART):
        account = number - ROWS_PER_PART if number % 10 == 0 and number >= ROWS_PER_PART else number
        record = AccountSnapshot(
            account_ref=account.to_bytes(16, "big"),
            as_of_month=month_number(NOW.date()) + (1 if number % 100 == 7 else 0),
            status=AccountStatus.OPEN,
            product=ProductClass.CASH_INSTALMENT,
            opened_quarter=quarter_number(NOW.date()) - 4 - number // ROWS_PER_PART,
        )
        rows.append(Row(people[account % len(people)], record))
    return rows


def expected_pool(rows: Sequence[Row]) -> dict[bytes, int]:
    """What the rows come to, row by row: of one account the last good one counts."""
    pool = {}
    for number, row in enumerate(rows):
        assert isinstance(row.record, AccountSnapshot)
        if number % 100 != 7:
            pool[row.record.account_ref] = row.record.opened_quarter
    return pool


def pool_of(signals_url: str) -> dict[bytes, int]:
    """What the signals store holds: accounts and when they were opened; each account once."""
    with closing(Database.open(signals_url)) as database, database.read() as connection:
        found = connection.execute(
            sa.select(relation.c.account_ref, relation.c.opened_quarter)
        ).all()
    pool = {bytes(ref): int(quarter) for ref, quarter in found}
    assert len(pool) == len(found)
    return pool


def check_evidence(gateway: Gateway, export: Path, entry: int) -> None:
    """A bundle about a part's entry convinces the verifier that auditors run alone."""
    case, key = export.with_name("case"), gateway.folder / "gateway" / "ledger.vkey"
    made = concordat("evidence", "make", export, case, "--key", key, "--entry", str(entry))
    assert made.returncode == 0, made.stderr
    verifier = export.with_name("verify.py")
    verifier.write_text(concordat("evidence", "verifier").stdout)
    ran = subprocess.run(
        [sys.executable, verifier, case, "--key", gateway.ledger_vkey],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def check(
    gateway: Gateway,
    signals_url: str,
    folder: Path,
    rows: Sequence[Row],
    parts: Sequence[UploadedPart],
) -> None:
    """Every part is acknowledged once and in the ledger once; the pool is what the rows say."""
    assert [part.sequence for part in parts] == list(range(1, len(rows) // ROWS_PER_PART + 1))
    refused = [refusal.item for part in parts for refusal in part.refused]
    assert refused == [n for n in range(len(rows)) if n % 100 == 7]
    entries = export_verified(gateway, folder)
    exceptions = concordat(
        "audit", "exceptions", folder, "--key", gateway.folder / "gateway" / "ledger.vkey"
    )
    assert exceptions.returncode == 0, exceptions.stdout + exceptions.stderr
    check_evidence(gateway, folder, parts[-1].receipt.entry_index)
    batches = [one for one in entries if one["type"] == "contribution.batch"]
    assert [one["sequence"] for one in batches] == [part.sequence for part in parts]
    for part in parts:
        assert json.loads(part.receipt.entry) == entries[part.receipt.entry_index]
    assert pool_of(signals_url) == expected_pool(rows)


def test_a_gateway_that_is_killed_between_parts_and_in_the_middle_of_one_loses_and_doubles_nothing(
    make_gateway: MakeGateway, store_urls: StoreUrls, tmp_path: Path
) -> None:
    gateway = make_gateway(
        control_url=store_urls.control_url, signals_url=store_urls.signals_url, workers=1
    )
    gateway.start()
    with Client.open(gateway.join("furnisher")) as client:
        people = prepared(client)
        rows, upload = rows_of(people, PARTS), os.urandom(16)
        # Between parts: all that were sent are in when it dies, and another call goes on.
        # Not read to its end, so not ended.
        begun = client.contribute_stream(rows[: 2 * ROWS_PER_PART], upload_id=upload)
        parts = [next(begun), next(begun)]
        gateway.kill()
        gateway.start()
        for part in client.contribute_stream(
            iter(rows), upload_id=upload, timeout=PATIENCE_SECONDS
        ):
            if part.sequence == 2:
                assert part.receipt.entry == parts[-1].receipt.entry
                continue
            parts.append(part)
            if part.sequence in (3, 5, PARTS):
                # Others are on their way: it dies in the middle of one, at whatever moment; at the
                # last, before it hears of the upload's end.
                threading.Event().wait(0.05 * part.sequence)
                gateway.kill()
                gateway.start()
        ended = client.get_upload(upload)
        gateway.kill()
        gateway.start()
        assert ended.complete
        assert client.get_upload(upload) == ended
    check(gateway, store_urls.signals_url, tmp_path / "export", rows, parts)


def test_a_database_that_goes_away_and_comes_back_loses_and_doubles_nothing(
    make_gateway: MakeGateway, postgresql_programs: Path, tmp_path: Path
) -> None:
    with running_server(postgresql_programs) as server:
        urls = postgresql_urls(server.cluster, server.cluster.create_database())
        gateway = make_gateway(
            control_url=urls.control_url, signals_url=urls.signals_url, workers=1
        )
        gateway.start()
        with Client.open(gateway.join("furnisher")) as client:
            rows = rows_of(prepared(client), PARTS)
            parts: list[UploadedPart] = []
            # The kernel ends what a thread started with the thread: this one stays.
            with ThreadPoolExecutor(1) as starter:
                for part in client.contribute_stream(iter(rows), timeout=PATIENCE_SECONDS):
                    parts.append(part)
                    if part.sequence == 1:
                        server.kill()
                        back = starter.submit(come_back, server, 2)
                    elif part.sequence == 4:
                        back.result()
                        server.stop()
                        back = starter.submit(come_back, server, 1)
                back.result()
                check(gateway, urls.signals_url, tmp_path / "export", rows, parts)
                gateway.stop()


def come_back(server: Server, after_seconds: float) -> None:
    """Start a database again, while callers find none."""
    threading.Event().wait(after_seconds)
    server.start()


def memory_kib(pid: int) -> int:
    """Most memory that a process has had so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no such process")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_stream_that_is_ten_times_as_long_takes_no_more_memory(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    with Client.open(gateway.join("furnisher")) as client:
        people = prepared(client)
        [worker] = gateway.children("gateway.worker")

        def endless(parts: int) -> Iterator[Row]:
            for _ in range(parts // 2):
                yield from some

        some = rows_of(people, 2)
        peaks: dict[int, int] = {}
        for length in (4, 40):
            count = sum(1 for _ in client.contribute_stream(endless(length), timeout=60))
            assert count == length
            peaks[length] = memory_kib(worker)
    # The longer one holds no more rows at once; a tenth is what allocators are allowed.
    assert peaks[40] < 1.1 * peaks[4], peaks


def test_of_two_clients_that_upload_the_same_at_once_every_row_is_taken_once(
    make_gateway: MakeGateway, store_urls: StoreUrls, tmp_path: Path
) -> None:
    gateway = make_gateway(
        control_url=store_urls.control_url, signals_url=store_urls.signals_url, workers=2
    )
    gateway.start()
    profile = gateway.join("furnisher")
    with Client.open(profile) as one, Client.open(profile) as other:
        rows, upload = rows_of(prepared(one), 3), os.urandom(16)
        taken: list[list[UploadedPart]] = [[], []]

        def send(number: int, client: Client) -> None:
            taken[number] = list(client.contribute_stream(iter(rows), upload_id=upload))

        threads = [threading.Thread(target=send, args=pair) for pair in enumerate((one, other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    entries = Counter(part.receipt.entry for parts in taken for part in parts)
    assert len(entries) == 3
    longer = max(taken, key=len)
    check(gateway, store_urls.signals_url, tmp_path / "export", rows, longer)
