"""Signals can be distributed by subject as they are: every statement on them says where to look.

The statements are read where they reach the drivers, while everything runs that works on signals.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

import concordat_gateway
from concordat.v1 import common_pb2, contribution_pb2, erasure_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.aggregates import ask
from concordat_gateway.rules.budgets import Caps
from concordat_gateway.rules.contributions import ORPHAN_AGE_MICROSECONDS, resume
from concordat_gateway.rules.erased_stores import erase_again
from concordat_gateway.rules.retention import enforce
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store import rotation_sql, signal_sql
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.bands import AccountStatus, ProductClass
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent, Row
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.dp.query import parse
from concordat_privacy.dp.rho import NanoRho
from concordat_privacy.jurisdictions import policies
from concordat_store.database import Database
from tests.rotations import ACTOR, means_of
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    Caller,
    Consortium,
    account,
    application,
    contribute,
    draft,
    grant,
    months_since_1970,
    peer,
    request_id,
    serving,
    token,
)
from tests.signal_statements import KEYED, at_the_drivers, compiled, faults, normalised
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals, subject_keys_of
from tests.tokenkeys import TokenKeys, peppers

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
PURPOSES = (
    common_pb2.PURPOSE_CONTRIBUTION,
    UNDERWRITING,
    common_pb2.PURPOSE_AGGREGATE_STATISTICS,
)
CATEGORIES = (common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS, common_pb2.DATA_CATEGORY_INQUIRIES)
PEOPLE = range(1, 6)
BULK = 1_001
"""Rows of a batch that goes another way into PostgreSQL than a small one."""
APPLICATION = ApplicationEvent(bytes(16), 20_700, ProductClass.REVOLVING)
AMPLE = Caps(pool=NanoRho(10**12), member=NanoRho(10**12))


def prebuilt(value: object) -> Iterator[sa.Executable]:
    """The statements that a name of a module stands for."""
    if isinstance(value, sa.Executable) and isinstance(value, sa.ClauseElement):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from prebuilt(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from prebuilt(getattr(value, field.name))


def statements_of(module: ModuleType, kind: str) -> set[str]:
    """All prebuilt statements of a module, as a kind of database gets them."""
    return {
        compiled(statement, kind)
        for value in vars(module).values()
        for statement in prebuilt(value)
    }


def modules() -> Iterator[ModuleType]:
    """All of the gateway's modules but migrations, which no store serves during."""
    for found in pkgutil.walk_packages(concordat_gateway.__path__, "concordat_gateway."):
        if ".migrations" not in found.name and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def look_up(caller: Caller, subjects: list[int], epoch: int) -> None:
    """One lookup of the first, then one of all."""
    named: dict[str, Any] = {"purpose": UNDERWRITING, "epoch": epoch}
    tokens = [token(number, epoch) for number in subjects]
    one = signal_pb2.LookupRequest(token=tokens[0], request_id=request_id(), **named)
    response = caller.signals.Lookup(one, timeout=CALL_SECONDS)
    assert response.result.status == signal_pb2.SUBJECT_STATUS_OK
    batch = signal_pb2.BatchLookupRequest(tokens=b"".join(tokens), request_id=request_id(), **named)
    caller.signals.BatchLookup(batch, timeout=CALL_SECONDS)


def erase(consortium: Consortium, subject: int) -> None:
    asked = erasure_pb2.RequestErasureRequest(
        request_id=request_id(), token=token(subject), ground="x", evidence_sha256=bytes(32)
    )
    erasure = consortium.alpha.erasures.RequestErasure(asked, timeout=CALL_SECONDS).erasure
    execute = erasure_pb2.ExecuteErasureRequest(erasure_id=erasure.erasure_id, basis="y")
    done = consortium.operator.erasures.ExecuteErasure(execute, timeout=CALL_SECONDS).erasure
    assert done.state == erasure_pb2.ERASURE_STATE_ERASED


def contribute_everything(consortium: Consortium) -> None:
    """Consents, a small and a large batch, a part of an upload, and how a batch went."""
    for caller in (consortium.alpha, consortium.beta):
        drafts = [draft(consortium, number, PURPOSES, CATEGORIES) for number in PEOPLE]
        assert len(grant(caller, drafts).granted) == len(PEOPLE)
        rows = [account(consortium, number) for number in PEOPLE]
        contribute(caller, [*rows, *(application(consortium, number) for number in PEOPLE)])
    part = contribution_pb2.UploadPart(sequence=1, rows=[account(consortium, 1, BULK + 1)])
    header = contribution_pb2.UploadHeader(
        upload_id=request_id(), epoch=EPOCH, catalogue_version=CATALOGUE_VERSION
    )
    messages = [
        contribution_pb2.ContributeStreamRequest(header=header),
        contribution_pb2.ContributeStreamRequest(part=part),
    ]
    upload = consortium.alpha.contributions.ContributeStream
    [_, answer] = upload(iter(messages), timeout=CALL_SECONDS)
    assert answer.acknowledged.rows_accepted == 1
    request = request_id()
    # Of one person and of several: PostgreSQL is asked about one in other words.
    for others in ((), (2, 3)):
        numbers = [1, *others]
        replace_everything(
            consortium.alpha,
            [
                *(account(consortium, number, 77) for number in numbers),
                *(application(consortium, number, 7) for number in numbers),
            ],
            numbers,
        )
    large = [account(consortium, 1 + ref % len(PEOPLE), ref) for ref in range(BULK)]
    assert contribute(consortium.alpha, large, request).rows_accepted == BULK
    consortium.alpha.contributions.GetBatch(
        contribution_pb2.GetBatchRequest(request_id=request), timeout=CALL_SECONDS
    )


def replace_everything(
    caller: Caller, rows: list[contribution_pb2.ContributionRow], numbers: Sequence[int]
) -> None:
    """Contribute an account and an application of persons, correct them and withdraw them."""
    for _ in range(2):
        taken = contribute(caller, rows)
        assert taken.rows_accepted == len(rows)
        for item, row in enumerate(rows):
            named = contribution_pb2.RowRef(entry_index=taken.receipt.entry_index, item=item)
            row.replaces.CopyFrom(named)
    gone = []
    for number, row in zip([*numbers, *numbers], rows, strict=True):
        withdrawal = contribution_pb2.Withdrawal(token=token(number), row=row.replaces)
        if row.HasField("account"):
            withdrawal.account_ref = row.account.account_ref
        else:
            withdrawal.application_ref = row.application.application_ref
        gone.append(withdrawal)
    request = contribution_pb2.WithdrawRowsRequest(request_id=request_id(), epoch=1, rows=gone)
    answer = caller.contributions.WithdrawRows(request, timeout=CALL_SECONDS)
    assert answer.rows_withdrawn == len(rows)


def stage(store: SignalStore, batch_id: bytes, number: int, *rows: Row) -> None:
    subject = subject_key(peppers(1)[1], token(number))
    staged = [StagedRow(row_no, subject, pack_row(row)) for row_no, row in enumerate(rows)]
    store.stage(batch_id, staged)


def outlive_retention(store: SignalStore, clock: ManualClock) -> None:
    """A history that is to be cut, and an application and an account that are to go."""
    month = months_since_1970(clock)
    cut = AccountSnapshot(
        account_ref=b"c" * 16,
        as_of_month=month - 50,
        status=AccountStatus.CHARGED_OFF,
        product=ProductClass.REVOLVING,
        opened_quarter=100,
        payment_profile=b"\7" * 23,
    )
    old = replace(cut, account_ref=b"o" * 16, as_of_month=month - 200)
    asked = ApplicationEvent(b"a" * 16, 10_000, ProductClass.REVOLVING)
    stage(store, b"r" * 16, 3, cut, old, asked)
    store.publish(b"r" * 16, 2, ())


def restore_signals(urls: StoreUrls, consortium: Consortium) -> None:
    """As if the signals store were one of before all erasures."""
    database = Database.open(urls.signals_url)
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM erased"))
    database.close()
    keys = subject_keys_of(consortium.journal, consortium.clock)
    erase_again(consortium.journal, consortium.signal_store, keys)


def do_everything(urls: StoreUrls, clock: ManualClock) -> None:
    """All that a gateway does with signals, in one life."""
    keys = TokenKeys.of_epochs(1, 2)
    with (
        open_journal(urls, clock) as journal,
        open_signals(urls, clock) as store,
        serving(journal, store, clock, keys) as consortium,
    ):
        contribute_everything(consortium)
        look_up(consortium.beta, [*PEOPLE], epoch=1)
        count(journal, store)
        outlive_retention(store, clock)
        assert enforce(journal, store, policies()["CN"], ACTOR, clock()) > 0

        stage(store, b"e" * 16, 5, APPLICATION)
        gone = subject_key(peppers(1)[1], token(5))
        store.erase(bytes(16), [gone], lambda batches: batches)
        assert store.count(gone) == 0
        erase(consortium, 4)
        restore_signals(urls, consortium)

        stage(store, b"n" * 16, 1, APPLICATION)
        clock.advance(ORPHAN_AGE_MICROSECONDS / 1_000_000 + 1)
        resume(journal, store, clock)
        assert b"n" * 16 not in store.staged()

        rotate(means_of(journal, store, keys), None)
        look_up(consortium.beta, [1, 2, 3], epoch=2)


def count(journal: Journal, store: SignalStore) -> None:
    question = parse([], 0, 3_000_000, 1)
    ask(journal, store, AMPLE, peer("alpha"), question, bytes(16), CALL_SECONDS)


def faults_of(statements: set[str], kind: str) -> dict[str, list[str]]:
    found = {statement: faults(statement, kind) for statement in sorted(statements)}
    return {statement: why for statement, why in found.items() if why}


def test_whatever_runs_on_signals_says_whose_rows(
    store_urls: StoreUrls, clock: ManualClock
) -> None:
    with at_the_drivers() as seen:
        do_everything(store_urls, clock)

    assert faults_of(seen, store_urls.kind) == {}
    # Nothing was left out: each statement that is ready was run, and the ones that are made.
    left_out = statements_of(signal_sql, store_urls.kind) - seen
    if store_urls.kind == "sqlite":
        left_out -= {compiled(signal_sql.LOCK_PUBLISHING, "sqlite")}
    assert left_out == set()
    made = {
        "sqlite": [
            "INSERT INTO relation (",
            "INSERT INTO inquiry (",
            "DELETE FROM relation WHERE relation.bucket",
        ],
        "postgresql": [
            "COPY arriving_relation (",
            "COPY arriving_inquiry (",
            "INSERT INTO relation (",
            "INSERT INTO inquiry (",
            "DELETE FROM relation WHERE relation.bucket",
        ],
    }[store_urls.kind]
    for start in made:
        assert any(statement.startswith(start) for statement in seen), start


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_prebuilt_statement_says_whose_rows(kind: str) -> None:
    ready = {module.__name__: statements_of(module, kind) for module in modules()}
    assert {name: faults_of(statements, kind) for name, statements in ready.items()} == {
        name: {} for name in ready
    }
    # Those that work on signals are in one place, where the test above wants each of them run.
    on_signals = {
        name
        for name, statements in ready.items()
        if any(re.search(rf"\b{table}\b", one) for table in KEYED for one in statements)
    }
    assert on_signals == {signal_sql.__name__}
    assert len(ready[signal_sql.__name__]) > 20
    assert len(ready[rotation_sql.__name__]) > 20


def test_no_key_of_signals_is_without_the_subject(store_urls: StoreUrls) -> None:
    database = Database.open(store_urls.signals_url)
    try:
        with database.read() as connection:
            inspector = sa.inspect(connection)
            for name in KEYED:
                keys = [inspector.get_pk_constraint(name)["constrained_columns"]]
                keys += [one["column_names"] for one in inspector.get_unique_constraints(name)]
                keys += [
                    [str(column) for column in index["column_names"]]
                    for index in inspector.get_indexes(name)
                    if index["unique"]
                ]
                assert all("subject" in key for key in keys), (name, keys)
    finally:
        database.close()


BAD = [
    "SELECT count(*) FROM relation",
    "SELECT subject FROM inquiry WHERE day < 5",
    "SELECT * FROM relation WHERE subject = 0 OR day = 5",
    "SELECT * FROM relation WHERE NOT subject = 0",
    "SELECT * FROM relation WHERE subject > 0",
    "SELECT * FROM relation WHERE subject IN (SELECT subject FROM erased)",
    "SELECT * FROM relation r JOIN inquiry i ON i.subject = r.subject WHERE r.subject = 0",
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM relation WHERE member_no = 1)",
    "SELECT 1 FROM erased UNION SELECT member_no FROM relation",
    "DELETE FROM inquiry",
    "DELETE FROM relation WHERE member_no = 0",
    "UPDATE relation SET status = 1 WHERE member_no = 0",
    "UPDATE relation SET subject = 0 WHERE subject = 0",
    "UPDATE relation SET bucket = 0 WHERE subject = 0",
    "INSERT INTO relation (subject, member_no) VALUES (0, 0)",
    "INSERT INTO relation VALUES (0, 0)",
    "INSERT INTO relation (subject, bucket, member_no) SELECT 0, 0, 0 FROM inquiry",
    "INSERT INTO inquiry (subject, bucket) VALUES (0, 0) ON CONFLICT (bucket) DO NOTHING",
    "INSERT INTO inquiry (subject, bucket) VALUES (0, 0)"
    " ON CONFLICT (subject, bucket) DO UPDATE SET subject = excluded.subject",
]
ON_POSTGRESQL = [
    "SELECT * FROM relation WHERE bucket = 0 FOR UPDATE",
    "LOCK TABLE relation IN EXCLUSIVE MODE",
    "TRUNCATE relation",
    "COPY relation (member_no) FROM STDIN (FORMAT BINARY)",
    "COPY relation FROM STDIN (FORMAT BINARY)",
]
GOOD = [
    "SELECT * FROM relation WHERE subject = 0",
    "SELECT * FROM relation WHERE (member_no = 1 AND (relation.bucket IN (0, 1)))",
    "SELECT * FROM relation r, inquiry i WHERE r.subject = 0 AND i.subject = 0",
    "UPDATE relation SET status = 1 WHERE subject = 0",
    "INSERT INTO inquiry (subject, bucket) VALUES (0, 0)"
    " ON CONFLICT (subject, bucket) DO UPDATE SET day = excluded.day",
    "SELECT epoch FROM subject_epoch",
]


@pytest.mark.parametrize("statement", BAD)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_statement_on_everybodys_rows_is_found(statement: str, kind: str) -> None:
    assert faults(statement, kind)


@pytest.mark.parametrize("statement", ON_POSTGRESQL)
def test_a_lock_or_load_of_everybodys_rows_is_found(statement: str) -> None:
    assert faults(statement, "postgresql")


@pytest.mark.parametrize("statement", GOOD)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_statement_on_some_rows_is_not_blamed(statement: str, kind: str) -> None:
    assert faults(statement, kind) == []


def test_a_statement_past_sqlalchemy_is_found(store_urls: StoreUrls) -> None:
    planted = "DELETE FROM relation WHERE member_no = 9"
    with at_the_drivers() as seen:
        database = Database.open(store_urls.signals_url)
        with database.write() as connection:
            driver: Any = connection.connection.driver_connection
            driver.cursor().execute(planted)
        database.close()
    assert list(faults_of(seen, store_urls.kind)) == [normalised(planted)]
