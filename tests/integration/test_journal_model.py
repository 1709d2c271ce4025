"""The journal against a model of itself: a list of leaves and a dictionary."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.store.control_tables import budget
from concordat_privacy.log.checkpoint import SigningKey
from tests.ledgers import appending, check_ledger, in_one_group
from tests.stores import ManualClock, StoreUrls, copy_sqlite, open_journal


class Undo(Exception):
    """Raised by a change that must leave nothing."""


@dataclass(frozen=True)
class Step:
    """One change: in what order it writes and appends, and whether it fails at the end."""

    writes: tuple[bool, ...]
    fails: bool


steps = st.builds(Step, st.lists(st.booleans(), max_size=4).map(tuple), st.booleans())
groups = st.lists(st.lists(steps, min_size=1, max_size=6), min_size=1, max_size=4)


def change_of(step: Step, name: str) -> Callable[[Transaction], list[bytes]]:
    def change(transaction: Transaction) -> list[bytes]:
        leaves = []
        for number, writes in enumerate(step.writes):
            if writes:
                values = {"scope": f"{name}-{number}", "cap_nano_rho": 1, "spent_nano_rho": 0}
                transaction.connection.execute(sa.insert(budget).values(values))
            else:
                leaves.append(appending(number, name)(transaction).leaf)
        if step.fails:
            raise Undo
        return leaves

    return change


def scopes_of(step: Step, name: str) -> set[str]:
    return {f"{name}-{number}" for number, writes in enumerate(step.writes) if writes}


def stored_scopes(journal: Journal) -> set[str]:
    with journal.read() as connection:
        return set(connection.execute(sa.select(budget.c.scope)).scalars())


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(groups=groups)
def test_groups_keep_exactly_what_succeeded(
    sqlite_template: StoreUrls, groups: list[list[Step]]
) -> None:
    key = SigningKey.generate("concordat.test/ledger")
    expected_leaves: list[bytes] = []
    expected_scopes: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        urls = copy_sqlite(sqlite_template, Path(directory))
        with open_journal(urls, ManualClock(), key) as journal:
            for at, group in enumerate(groups):
                named = [(step, f"{at}.{number}") for number, step in enumerate(group)]
                outcomes = in_one_group(journal, [change_of(step, name) for step, name in named])
                for (step, name), outcome in zip(named, outcomes, strict=True):
                    if step.fails:
                        assert isinstance(outcome.exception(), Undo)
                    else:
                        expected_leaves += outcome.result().value
                        expected_scopes |= scopes_of(step, name)
            assert check_ledger(journal, key.verifier) == expected_leaves
            assert stored_scopes(journal) == expected_scopes
