"""What durability rests on, asserted on real connections, and what a store's faults become."""

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from concordat_gateway.store.control_tables import budget, consent, ledger_entry
from concordat_rpc.errors import Kind, Refusal
from concordat_store import checkpoints
from concordat_store.checkpoints import ROWS
from concordat_store.database import Database
from concordat_store.direct import Among, rows_of
from concordat_store.engines import (
    RECYCLE_SECONDS,
    SQLITE_MINIMUM,
    StoreError,
    create_engine,
    require_sqlite,
)
from tests.postgresql import Cluster
from tests.stores import StoreUrls

SECONDS = 30


@pytest.fixture
def control(store_urls: StoreUrls) -> Iterator[Database]:
    database = Database.open(store_urls.control_url)
    yield database
    database.close()


def add(connection: sa.Connection, scope: str) -> None:
    values = {"scope": scope, "cap_nano_rho": 1, "spent_nano_rho": 0}
    connection.execute(sa.insert(budget).values(values))


def count(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(budget)).scalar_one()


def test_sqlite_connections_are_durable(sqlite_stores: StoreUrls) -> None:
    database = Database.open(sqlite_stores.control_url)
    for transaction in (database.read, database.write):
        with transaction() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
        # synchronous 2 is FULL: the WAL is flushed at every commit.
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


@pytest.mark.postgresql
def test_postgresql_connections_are_durable(postgresql_cluster: Cluster) -> None:
    url = postgresql_cluster.url(postgresql_cluster.create_database())
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        # A database set to lose commits does not make the gateway lose them.
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    database = Database.open(url)
    for transaction in (database.read, database.write):
        with transaction() as connection:
            settings = [
                connection.exec_driver_sql(f"SHOW {name}").scalar_one()
                for name in ("synchronous_commit", "fsync", "full_page_writes")
            ]
        assert settings == ["on", "on", "on"]
    database.close()
    postgresql_cluster.drop_database(name)


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 2), (3, 7, 99)])
def test_old_sqlite_is_refused(version: tuple[int, ...]) -> None:
    with pytest.raises(StoreError, match=r"can corrupt .* 3\.51\.3 or newer"):
        require_sqlite(version)


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_new_sqlite_is_taken(version: tuple[int, ...]) -> None:
    require_sqlite(version)


def test_start_without_pysqlite3_looks_at_the_standard_library(
    sqlite_stores: StoreUrls, tmp_path: Path
) -> None:
    # A package of that name that cannot be imported, as on a platform without the wheel.
    (tmp_path / "pysqlite3.py").write_text("raise ImportError('no wheel')")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from concordat_store.database import Database\n"
        f"Database.open({sqlite_stores.control_url!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    standard = importlib.import_module("sqlite3")
    if standard.sqlite_version_info >= SQLITE_MINIMUM:
        assert done.returncode == 0
    else:
        assert f"SQLite {standard.sqlite_version} can corrupt" in done.stderr


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nonsense", "sqlite:////absolute/path or postgresql://"),
        ("mysql://localhost/x", "'mysql' is neither"),
        ("sqlite://", "wants a file"),
        ("sqlite:///:memory:", "wants a file"),
        ("sqlite:////nowhere/at/all/control.db", "/nowhere/at/all is not a directory"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "cannot open"),
    ],
)
def test_useless_url_is_refused_clearly(url: str, complaint: str) -> None:
    with pytest.raises(StoreError, match=complaint) as refused:
        Database.open(url)
    assert "secret" not in str(refused.value)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="cannot open"):
        Database.open(f"sqlite:///{tmp_path}/control.db")


def test_read_sees_one_snapshot(control: Database) -> None:
    with control.read() as reading:
        before = count(reading)
        with control.write() as writing:
            add(writing, "pool")
        assert count(reading) == before
    with control.read() as reading:
        assert count(reading) == before + 1


@pytest.mark.postgresql
def test_read_cannot_write_on_postgresql(postgresql_stores: StoreUrls) -> None:
    database = Database.open(postgresql_stores.control_url)
    with pytest.raises(sa.exc.InternalError, match="read-only"), database.read() as connection:
        add(connection, "pool")
    database.close()


def test_much_that_is_written_is_moved_out_of_the_log_beside_the_commits(
    sqlite_stores: StoreUrls,
) -> None:
    with closing(Database.open(sqlite_stores.control_url)) as control:

        def log() -> tuple[int, int]:
            """Pages in the write-ahead log, and how many of them are in the database too."""
            with control.read() as connection:
                # NOOP only looks.
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(NOOP)").one()
            return row[1], row[2]

        with control.write() as connection:
            add(connection, "a few")
        length, moved = log()
        assert (length > 0, moved) == (True, 0)
        for start in (0, ROWS // 2):
            with control.write() as connection:
                for number in range(start, start + ROWS // 2):
                    add(connection, f"many {number}")
        end = time.monotonic() + SECONDS
        while log()[1] < log()[0]:
            assert time.monotonic() < end
            time.sleep(0.01)
        # It goes on.
        with control.write() as connection:
            add(connection, "another")
            assert count(connection) == ROWS + 2


def test_a_log_that_is_never_without_a_reader_begins_anew(
    sqlite_stores: StoreUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LONG_LOG_PAGES", 500)
    done = threading.Event()
    with closing(Database.open(sqlite_stores.control_url)) as control:

        def read() -> None:
            last = ExitStack()
            while not done.is_set():
                following = ExitStack()
                count(following.enter_context(control.read()))
                last.close()
                last = following
                time.sleep(0.001)
            last.close()

        def length() -> int:
            with control.read() as connection:
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(NOOP)").one()
            return int(row[1])

        reader = threading.Thread(target=read)
        reader.start()
        try:
            lengths, end = [length()], time.monotonic() + SECONDS
            while lengths[-1] >= max(lengths):
                assert time.monotonic() < end
                with control.write() as connection:
                    for number in range(500):
                        add(connection, f"{len(lengths)}: {number}")
                lengths.append(length())
        finally:
            done.set()
            reader.join()


def test_write_is_undone_by_an_exception(control: Database) -> None:
    def fail() -> None:
        with control.write() as connection:
            add(connection, "pool")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with control.read() as connection:
        assert count(connection) == 0


def test_writers_wait_for_each_other(control: Database) -> None:
    def write(number: int) -> None:
        for step in range(10):
            with control.write() as connection:
                before = count(connection)
                add(connection, f"{number}-{step}")
                assert count(connection) >= before + 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with control.read() as connection:
        assert count(connection) == 60


def test_wrong_lengths_are_refused_by_the_database(control: Database) -> None:
    for length in (0, 31, 33):
        values = {"entry_index": 0, "hashes": bytes(length), "leaf": b"{}"}
        with pytest.raises(sa.exc.IntegrityError), control.write() as connection:
            connection.execute(sa.insert(ledger_entry).values(values))


def test_errors_do_not_show_values(control: Database) -> None:
    subject = bytes(range(31))
    with pytest.raises(sa.exc.IntegrityError) as refused, control.write() as connection:
        connection.execute(
            sa.insert(consent).values(
                consent_id=bytes(16),
                subject=subject,
                recipient="alpha",
                purposes=2,
                categories=2,
                starts_at=0,
                expires_at=1,
                notice_version="1",
                evidence_sha256=bytes(32),
                granted_at=0,
                grant_entry=0,
                salt=bytes(16),
            )
        )
    if control.is_sqlite:
        assert repr(subject) not in str(refused.value)
    assert "[parameters:" not in str(refused.value)


@pytest.mark.postgresql
def test_lost_server_becomes_a_refusal(postgresql_stores: StoreUrls) -> None:
    database = Database.open(postgresql_stores.control_url)
    other = psycopg.connect(postgresql_stores.control_url, autocommit=True)

    def lose_connection() -> None:
        with database.write() as connection:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                pass
            add(connection, "pool")

    with pytest.raises(Refusal) as refused:
        lose_connection()
    assert (refused.value.kind, refused.value.reason) == (Kind.UNAVAILABLE, "STORE_UNAVAILABLE")
    with database.read() as connection:
        assert count(connection) == 0
    other.close()
    database.close()


def test_damaged_file_becomes_a_refusal(sqlite_stores: StoreUrls) -> None:
    path = Path(sqlite_stores.control_url.removeprefix("sqlite:///"))
    database = Database.open(sqlite_stores.control_url)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    path.write_bytes(content)
    with pytest.raises(Refusal) as refused, database.read() as connection:
        count(connection)
    assert refused.value.reason == "STORE_UNAVAILABLE"
    database.close()


USED = sa.text("INSERT INTO usage (member_id, kind, day, amount) VALUES (:member, 1, 1, :amount)")


def test_a_statement_that_fails_with_the_commit_leaves_nothing(control: Database) -> None:
    used = "INSERT INTO usage (member_id, kind, day, amount) VALUES ('alpha', 1, 1, 1)"
    with closing(control.writer()) as writer:
        for times, remain in ((2, 0), (1, 1)):
            writer.take_turn()
            failing = pytest.raises(Exception, match=r"(?i)unique") if times > 1 else nullcontext()
            with failing, writer.transaction():
                writer.run_first("SELECT 1")
                for _ in range(times):
                    writer.run_last(used, ())
            with control.read() as connection:
                counted = connection.execute(sa.text("SELECT count(*) FROM usage"))
                assert counted.scalar_one() == remain


def test_what_is_run_later_is_there_for_whatever_comes_next(control: Database) -> None:
    more = (
        "INSERT INTO usage (member_id, kind, day, amount) VALUES (:member, 1, 1, 1)"
        " ON CONFLICT (member_id, kind, day) DO UPDATE SET amount = usage.amount + 1"
    )
    counted = "SELECT amount FROM usage WHERE member_id = 'alpha'"
    with closing(control.writer()) as writer:
        writer.take_turn()
        with writer.transaction():
            writer.run_first("SELECT 1")
            for amount in (1, 2):
                writer.run_later([(writer.named(more), {"member": "alpha"})])
                assert writer.run(counted) == [(amount,)]
            # Two calls about one row with nothing between them: each counts.
            for _ in range(2):
                writer.run_later([(writer.named(more), {"member": "alpha"})])
            writer.run_last("UPDATE usage SET day = 2 WHERE member_id = 'beta'", ())
    with control.read() as connection:
        assert connection.execute(sa.text(counted)).scalar_one() == 4


def test_statements_that_end_a_transaction_together_are_all_done(control: Database) -> None:
    named = "INSERT INTO usage (member_id, kind, day, amount) VALUES (:member, 1, 1, :amount)"
    mark = "?" if control.is_sqlite else "%s"
    placed = f"INSERT INTO usage_rate (member_id, kind, arrival) VALUES ({mark}, 1, {mark})"
    with closing(control.writer()) as writer:
        for undone in (True, False):
            writer.take_turn()
            with writer.transaction():
                writer.run_first("SELECT 1")
                writer.run_later([(writer.named(named), {"amount": 7, "member": "alpha"})])
                writer.run_last(placed, ("beta", 9))
                if undone:
                    writer.undo()
    with control.read() as connection:
        for text in ("SELECT member_id, amount FROM usage", "SELECT arrival, 1 FROM usage_rate"):
            assert len(connection.execute(sa.text(text)).all()) == 1
        assert connection.execute(sa.text("SELECT arrival FROM usage_rate")).scalar_one() == 9


_USED = sa.select(sa.column("amount", sa.BigInteger)).select_from(sa.table("usage"))


def test_what_was_committed_is_seen_by_whoever_asks_next(control: Database) -> None:
    for amount in range(3):
        with control.ask() as one, control.ask() as other:
            assert len(rows_of(one, _USED, {})) == len(rows_of(other, _USED, {})) == amount
        with control.write() as connection:
            connection.execute(USED, {"member": f"member-{amount}", "amount": amount})


def test_who_fails_while_asking_leaves_nothing_to_the_next(control: Database) -> None:
    gone = sa.select(sa.column("x", sa.BigInteger)).select_from(sa.table("no_such_table"))
    for _ in range(40):
        with (
            pytest.raises(Exception, match=r"no_such_table|cannot be used"),
            control.ask() as connection,
        ):
            rows_of(connection, gone, {})
        with control.ask() as connection:
            assert not rows_of(connection, _USED, {})
        with control.write() as writing:
            writing.execute(sa.text("DELETE FROM usage"))


@pytest.mark.postgresql
def test_connections_that_the_server_ended_are_not_asked(postgresql_stores: StoreUrls) -> None:
    with closing(Database.open(postgresql_stores.control_url)) as control:
        for _ in range(3):
            with control.ask() as one, control.ask() as other:
                assert not rows_of(one, _USED, {})
                assert not rows_of(other, _USED, {})
            with psycopg.connect(postgresql_stores.control_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )


@pytest.mark.postgresql
def test_an_old_connection_is_replaced(postgresql_stores: StoreUrls) -> None:
    engine = create_engine(postgresql_stores.control_url, pool_size=1)
    with closing(engine.raw_connection()) as first:
        number = _number_of(first)
    with closing(engine.raw_connection()) as young:
        assert _number_of(young) == number

    def age(_connection: object, record: Any) -> None:
        record.starttime -= RECYCLE_SECONDS + 1

    event.listen(engine, "checkin", age)
    engine.raw_connection().close()
    with closing(engine.raw_connection()) as fresh:
        assert _number_of(fresh) != number
    engine.dispose()


def _number_of(connection: Any) -> int:
    return int(connection.driver_connection.info.backend_pid)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_any_number_of_values_is_looked_for(control: Database, count: int) -> None:
    table = sa.table("usage", sa.column("member_id", sa.String), sa.column("amount", sa.BigInteger))
    asked = (
        sa.select(table.c.member_id, table.c.amount)
        .where(Among(table.c.member_id, "members"), table.c.amount < sa.bindparam("below"))
        .order_by(table.c.amount)
    )
    members = [f"member-{number}" for number in range(count)]
    with control.write() as connection:
        for amount, member in enumerate([*members, "somebody else"]):
            connection.execute(USED, {"member": member, "amount": amount})
    expected = [(member, amount) for amount, member in enumerate(members)]
    for transaction in (control.ask, control.read):
        with transaction() as connection:
            found = rows_of(connection, asked, {"members": members, "below": 1_000})
            assert [tuple(row) for row in found] == expected
            assert not rows_of(connection, asked, {"below": 0, "members": members})


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["alpha"], [("alpha", 6)]),
        (["gamma"], []),
        (["beta", "gamma", "alpha"], [("alpha", 6), ("beta", 8)]),
        ([], []),
    ],
)
def test_a_question_about_one_and_about_many_is_answered_alike(
    control: Database, members: list[str], found: list[tuple[str, int]]
) -> None:
    table = sa.table("usage", sa.column("member_id", sa.String), sa.column("amount", sa.BigInteger))
    asked = (
        sa.select(table.c.member_id, table.c.amount + 1)
        .where(table.c.member_id.in_(sa.bindparam("members", expanding=True)), table.c.amount > 4)
        .order_by(table.c.member_id)
    )
    with control.write() as connection:
        for member, amount in (("alpha", 5), ("beta", 7), ("gamma", 4)):
            connection.execute(USED, {"member": member, "amount": amount})
    with control.ask() as connection:
        assert [tuple(row) for row in rows_of(connection, asked, {"members": members})] == found
