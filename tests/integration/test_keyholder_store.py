"""The key-holder's store comes to this build's schema, and is nobody else's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from concordat_keyholder.store.migrate import KEYHOLDER, opened_store
from concordat_keyholder.store.tables import METADATA
from concordat_store.database import Database
from concordat_store.engines import StoreError
from concordat_store.migration import check_current
from tests.postgresql import Cluster
from tests.stores import database_of


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store without tables, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/keyholder.db"
        return
    cluster: Cluster = request.getfixturevalue("postgresql_cluster")
    with database_of(cluster) as urls:
        yield urls.control_url


def test_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    with opened_store(url) as database, database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": KEYHOLDER.version_table,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, METADATA) == []


def test_migrations_keep_the_rules_that_comparison_does_not_see(url: str) -> None:
    with opened_store(url) as database, database.read() as connection:
        inspector = sa.inspect(connection)
        for table in METADATA.sorted_tables:
            wanted = {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}
            assert {c["name"] for c in inspector.get_check_constraints(table.name)} == wanted
            key = inspector.get_pk_constraint(table.name)
            assert key["constrained_columns"] == [c.name for c in table.primary_key.columns]


def test_a_store_is_opened_again_as_it_was(url: str) -> None:
    with opened_store(url) as database, database.write() as connection:
        connection.execute(
            sa.text("INSERT INTO admitted_member (member_id, expelled_at) VALUES ('alpha', 1)")
        )
    with opened_store(url) as database, database.read() as connection:
        check_current(KEYHOLDER, database)
        assert connection.execute(sa.text("SELECT member_id FROM admitted_member")).all()


def test_a_store_of_a_newer_build_is_refused(url: str) -> None:
    with opened_store(url) as database, database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version_keyholder SET version_num = 'later'"))
    with pytest.raises(StoreError, match="a newer build made it"), opened_store(url):
        pass


def test_a_store_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a directory"):
        Database.open(f"sqlite:///{tmp_path}/absent/keyholder.db")
