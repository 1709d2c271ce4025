"""A store comes to this build's schema, and no other schema is served from."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from concordat_gateway.store.migrate import (
    CONTROL,
    EVIDENCE,
    LIVE_KEYS,
    SIGNALS,
    check_stores,
    upgrade_stores,
)
from concordat_store.database import Database
from concordat_store.engines import StoreError
from concordat_store.migration import History, check_current, upgrade
from tests.stores import StoreUrls

ALL = [CONTROL, SIGNALS, EVIDENCE, LIVE_KEYS]
HISTORIES = pytest.mark.parametrize("history", ALL, ids=lambda history: history.name)


def url_of(urls: StoreUrls, history: History) -> str:
    return urls.all[ALL.index(history)]


@HISTORIES
def test_migrations_make_the_tables_that_the_code_uses(
    store_urls: StoreUrls, history: History
) -> None:
    database = Database.open(url_of(store_urls, history))
    with database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": history.version_table,
                "compare_type": True,
                "compare_server_default": True,
                # Both stores may share a database, and partitions are not in the models.
                "include_name": lambda name, kind, _: (
                    kind != "table" or name in history.metadata.tables
                ),
            },
        )
        assert compare_metadata(context, history.metadata) == []
    database.close()


@HISTORIES
def test_migrations_keep_the_rules_that_comparison_does_not_see(
    store_urls: StoreUrls, history: History
) -> None:
    database = Database.open(url_of(store_urls, history))
    with database.read() as connection:
        inspector = sa.inspect(connection)
        for table in history.metadata.sorted_tables:
            wanted = {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}
            assert {c["name"] for c in inspector.get_check_constraints(table.name)} == wanted
            key = inspector.get_pk_constraint(table.name)
            assert key["constrained_columns"] == [c.name for c in table.primary_key.columns]
            if database.is_sqlite:
                clustered = table.dialect_options["sqlite"]["with_rowid"] is False
                options = inspector.get_table_options(table.name)
                assert (options.get("sqlite_with_rowid") is False) == clustered
    database.close()


@pytest.mark.postgresql
def test_every_bucket_has_its_partition(postgresql_stores: StoreUrls) -> None:
    database = Database.open(postgresql_stores.signals_url)
    with database.write() as connection:
        for bucket in range(256):
            connection.exec_driver_sql(
                "INSERT INTO inquiry VALUES (%s, 1, %s, %s, 1, 1, 0, 0, 0)",
                (bytes([bucket]) * 32, bytes(16), bucket),
            )
        partitions = connection.exec_driver_sql(
            "SELECT count(DISTINCT tableoid), count(*) FROM inquiry"
        ).one()
    assert partitions == (16, 256)
    database.close()


def test_empty_stores_are_refused_then_made_then_left_alone(empty_urls: StoreUrls) -> None:
    urls = empty_urls.all
    with pytest.raises(StoreError, match="the control store has no tables yet"):
        check_stores(*urls)
    upgrade_stores(*urls)
    check_stores(*urls)
    upgrade_stores(*urls)
    check_stores(*urls)


@HISTORIES
def test_store_of_a_newer_build_is_refused(empty_urls: StoreUrls, history: History) -> None:
    database = Database.open(url_of(empty_urls, history))
    upgrade(history, database)
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {history.version_table} SET version_num = 'next_9'")
    for refuses in (check_current, upgrade):
        with pytest.raises(StoreError, match=f"{history.name} store is at revision next_9.*newer"):
            refuses(history, database)
    database.close()


def test_interrupted_migration_leaves_nothing(
    empty_urls: StoreUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(empty_urls.control_url)
    with database.write() as connection:
        # The first migration meets a table that it does not expect, half way through.
        connection.exec_driver_sql("CREATE TABLE ledger_node (x INTEGER)")
    with pytest.raises(StoreError, match=r"control store cannot be migrated: .*already exists"):
        upgrade(CONTROL, database)
    with database.write() as connection:
        assert sa.inspect(connection).get_table_names() == ["ledger_node"]
        connection.exec_driver_sql("DROP TABLE ledger_node")
    upgrade(CONTROL, database)
    check_current(CONTROL, database)
    database.close()
