"""Permits are found by the subject, however many consents its recipient has."""

from collections.abc import Iterator
from typing import Any

import pytest

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.disputed import standing
from concordat_gateway.rules.permits import (
    SUBJECTS_A_QUERY,
    contributors,
    ground_of,
    permits,
    spent_permits,
    unended,
)
from concordat_gateway.rules.scopes import Purpose
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from tests.stores import StoreUrls, open_journal

ALPHA = "alpha"
NOW = 1_795_000_000_000_000


@pytest.fixture
def sqlite_journal(sqlite_stores: StoreUrls) -> Iterator[Journal]:
    with open_journal(sqlite_stores, lambda: NOW) as journal:
        yield journal


@pytest.mark.parametrize("count", [1, 2, SUBJECTS_A_QUERY])
def test_no_question_about_subjects_reads_the_consents_of_others(
    sqlite_journal: Journal, count: int
) -> None:
    """What SQLite says it will do; it has no statistics, so no data changes that."""
    subjects = [SubjectKey(number.to_bytes(32, "big")) for number in range(count)]
    purpose, category = Purpose.UNDERWRITING, DataCategory.CREDIT_ACCOUNTS
    asked: list[str] = []
    with sqlite_journal.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
        permits(connection, ALPHA, purpose, subjects, NOW)
        spent_permits(connection, ALPHA, purpose, subjects, NOW)
        ground_of(connection, ALPHA, purpose, category, subjects[0], NOW)
        contributors(connection, subjects, NOW)
        standing(connection, subjects, NOW, 1)
        unended(connection, ALPHA, subjects, NOW)
        driver.set_trace_callback(None)
        plans = [
            [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for statement in asked
        ]
    assert len(plans) == 6
    for plan in plans:
        [reading] = [step for step in plan if "consent" in step]
        assert "ix_consent_subject_recipient (subject=?" in reading
