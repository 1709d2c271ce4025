"""Jobs whose process is killed: the next run finishes them, and records nothing twice."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.notices import mark_overdue
from concordat_gateway.rules.retention import enforce
from concordat_gateway.store.control_tables import notice, retention_run
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.log.checkpoint import SigningKey
from tests.integration.test_notices import consented, entries
from tests.integration.test_retention import (
    CHINA,
    GATEWAY,
    ROWS,
    held,
    pool,  # noqa: F401  a fixture
    recorded,
    subject,
)
from tests.ledgers import check_ledger
from tests.services import Consortium, withdraw
from tests.stores import ManualClock, StoreUrls

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DAY = 86_400
LEFT = {2, 3, 5, 7}
"""Of the rows; the others leave, and the third loses old months of its history."""


def run_job(urls: StoreUrls, job: str, now: int, writes: int) -> int:
    """A process that is killed before so many writes; its exit code."""
    command = [sys.executable, "-m", "tests.programs.job", urls.control_url, urls.signals_url]
    ended = subprocess.run(
        [*command, job, str(now), str(writes)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode in (-9, 0), ended.stderr
    return ended.returncode


# The first is the mark, in the entry's transaction. Then there are a few writes a bucket.
@pytest.mark.parametrize("writes", [1, 2, 6, 150, 300, 700, 100_000])
def test_retention_that_is_killed_anywhere_is_finished_and_counted_once(
    journal: Journal,
    pool: SignalStore,  # noqa: F811
    clock: ManualClock,
    store_urls: StoreUrls,
    ledger_key: SigningKey,
    writes: int,
) -> None:
    code = run_job(store_urls, "retention", clock(), writes)
    assert (code == 0) == (writes == 100_000)
    # Nothing is gone that no entry speaks of.
    before = recorded(journal)
    left = held(store_urls)
    assert left >= LEFT
    assert before or left == set(ROWS)
    assert writes > 1 or not before

    counted = enforce(journal, pool, CHINA, GATEWAY, clock())

    assert held(store_urls) == LEFT
    assert counted == (0 if before else 5)
    found = recorded(journal)
    assert [(one["kind"], one["rows"]) for one in found] == [
        ("adverse", 3),
        ("positive", 1),
        ("inquiries", 1),
    ]
    assert not before or found == before
    [(_, account)] = pool.histories([subject(3)], 1)[subject(3)].relations
    assert account.profile == b"\0" + bytes([7]) * 16 + bytes(7)
    with journal.read() as connection:
        assert connection.execute(sa.select(retention_run.c.finished)).scalars().all() == [True]
    size = journal.size
    assert enforce(journal, pool, CHINA, GATEWAY, clock()) == 0
    assert journal.size == size
    check_ledger(journal, ledger_key.verifier)


def test_overdue_notices_are_told_once_wherever_the_job_is_killed(
    consortium: Consortium, store_urls: StoreUrls, ledger_key: SigningKey
) -> None:
    journal, clock = consortium.journal, consortium.clock

    def told() -> list[tuple[object, object]]:
        return [(one["notice"], one["what"]) for one in entries(journal, "notice.overdue")]

    def marked() -> set[tuple[object, object]]:
        with journal.read() as connection:
            rows = connection.execute(
                sa.select(notice.c.notice_id, notice.c.late_since, notice.c.undeleted_since)
            ).all()
        return {(row.notice_id.hex(), "acknowledgement") for row in rows if row.late_since} | {
            (row.notice_id.hex(), "deletion") for row in rows if row.undeleted_since
        }

    codes = []
    for writes in (1, 2, 3, 4, 5, 100):
        for number in (1, 2):
            withdraw(consortium.alpha, consented(consortium, 10 * writes + number))
        clock.advance(seconds=20 * DAY)
        before = told()
        codes.append(run_job(store_urls, "notices", clock(), writes))
        # All of the run or nothing of it, and the rows say what the entries say.
        assert len(told()) in (len(before), len(before) + 4)
        assert marked() == set(told())
        assert len(set(told())) == len(told())

        mark_overdue(journal, GATEWAY, clock())
        assert len(told()) == len(set(told())) == len(before) + 4
        assert marked() == set(told())
        assert mark_overdue(journal, GATEWAY, clock()) == 0
    assert codes[0] == -9
    assert codes[-1] == 0
    check_ledger(journal, ledger_key.verifier)
