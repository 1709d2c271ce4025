"""Meters in a store against the pure rule, and against processes that race each other."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_privacy.metering import Exhausted, Meter, Quota, Scope, arrival_after, check
from concordat_store.database import Database
from concordat_store.meters import charge, count, define_meters, read
from tests.postgresql import Cluster
from tests.stores import START_MICROS, database_of

SECOND = 1_000_000
DAY = 86_400 * SECOND
TODAY = START_MICROS // DAY
"""2026-11-18."""
WIDE = Quota(daily=10**9, monthly=10**9, per_second=1e6, burst=10**6)
METADATA = sa.MetaData()
define_meters(METADATA)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that has the meters' tables and nothing else."""
    if request.param == "sqlite":
        yield _with_tables(f"sqlite:///{tmp_path}/meters.db")
        return
    cluster: Cluster = request.getfixturevalue("postgresql_cluster")
    with database_of(cluster) as urls:
        yield _with_tables(urls.control_url)


def _with_tables(url: str) -> str:
    database = Database.open(url)
    with database.write() as connection:
        METADATA.create_all(connection)
    database.close()
    return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database.open(url)
    yield opened
    opened.close()


def test_a_limit_that_is_met_charges_nothing(database: Database) -> None:
    quota = Quota(daily=10, monthly=20, per_second=1000.0, burst=10)
    with database.write() as connection:
        assert charge(connection, "alpha", 1, 8, quota, START_MICROS) is None
        over = charge(connection, "alpha", 1, 3, quota, START_MICROS)
        assert over is not None
        assert (over.scope, over.limit) == (Scope.DAY, 10)
        assert charge(connection, "alpha", 1, 2, quota, START_MICROS + SECOND) is None
    with database.read() as connection:
        assert read(connection, "alpha", 1, START_MICROS).today == 10


def test_counting_has_no_limit_and_no_rate(database: Database) -> None:
    with database.write() as connection:
        for _ in range(3):
            count(connection, "alpha", 2, 10**12, START_MICROS)
        assert read(connection, "alpha", 2, START_MICROS) == Meter(3 * 10**12, 3 * 10**12, 0)


def test_the_rate_survives_a_restart(url: str) -> None:
    quota = Quota(daily=100, monthly=100, per_second=1.0, burst=5)
    first = Database.open(url)
    with first.write() as connection:
        assert charge(connection, "alpha", 1, 5, quota, START_MICROS) is None
    first.close()
    second = Database.open(url)
    with second.write() as connection:
        over = charge(connection, "alpha", 1, 1, quota, START_MICROS)
        assert over == Exhausted(Scope.RATE, 5, 1.0)
        assert charge(connection, "alpha", 1, 1, quota, START_MICROS + SECOND) is None
    second.close()


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(["alpha", "beta"]), st.integers(1, 30), st.integers(0, 40 * 3600)
        ),
        max_size=25,
    )
)
def test_a_store_decides_as_the_pure_rule_does(
    database: Database, asked: list[tuple[str, int, int]]
) -> None:
    """Step by step the same answers as a meter kept in memory."""
    quota = Quota(daily=60, monthly=200, per_second=0.01, burst=40)
    let_through: list[tuple[str, int, int]] = []
    arrivals: dict[str, int] = {}
    now = START_MICROS
    with database.write() as connection:
        for table in METADATA.sorted_tables:
            connection.execute(table.delete())
    for member, amount, seconds in asked:
        now += seconds * SECOND
        own = [(at, size) for name, size, at in let_through if name == member]
        # November 2026 began on day 20,758.
        month = 20_758 if now // DAY < 20_788 else 20_788 if now // DAY < 20_819 else 20_819
        meter = Meter(
            sum(size for at, size in own if at // DAY == now // DAY),
            sum(size for at, size in own if at // DAY >= month),
            arrivals.get(member, 0),
        )
        expected = check(meter, quota, amount, now)
        if expected is None:
            arrivals[member] = arrival_after(meter, quota, amount, now)
            let_through.append((member, amount, now))
        with database.write() as connection:
            assert charge(connection, member, 1, amount, quota, now) == expected


SPENDER = """
import sys
from concordat_privacy.metering import Quota
from concordat_store.database import Database
from concordat_store.meters import charge
quota = Quota(daily=37, monthly=37, per_second=1e6, burst=1000)
database = Database.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
charged = 0
for _ in range(30):
    with database.write() as connection:
        charged += charge(connection, "alpha", 1, 1, quota, int(sys.argv[2])) is None
print(charged)
"""


def test_processes_never_overspend(url: str) -> None:
    spenders = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, url, str(START_MICROS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for spender in spenders:
        assert spender.stdout is not None
        assert spender.stdout.readline() == "ready\n"
    charged = [int(spender.communicate("go\n", timeout=60)[0]) for spender in spenders]
    assert sum(charged) == 37
