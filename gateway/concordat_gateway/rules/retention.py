"""Retention: rows leave on time, once a day, with an entry that says how many.

The entry comes first, with a mark that it is being carried out; then rows are deleted by the same
cutoffs, however often; then the mark goes. A process that is killed in between leaves the mark, and
the next run deletes before it does anything else: so no deletion is unrecorded, none is counted
twice, and nothing stays for longer than one more run. Lookups and counts leave out what is past its
retention whether it is deleted yet or not.
"""

from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.store.control_tables import retention_run
from concordat_gateway.store.signal_store import PastRetention, SignalStore
from concordat_gateway.store.subjects import ROTATING
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.retention import Cutoffs
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.moments import moment_of

_CHANGE_SECONDS: Final = 30.0
_DAY: Final = 86_400 * 1_000_000


def enforce(journal: Journal, signals: SignalStore, policy: Policy, actor: str, now: int) -> int:
    """Delete what is past its retention on the day of `now`, unless that was done; how many rows.

    `actor` is the gateway's SPIFFE id. Safe beside another process that does the same. Does
    nothing while the stores are being moved to another key epoch, and goes on afterwards if that
    begins meanwhile. Raises Refusal UNAVAILABLE.
    """
    epoch = signals.epoch()
    if epoch == ROTATING:
        return 0
    day = day_of(now)
    last = _last(journal)
    if last is not None and not last.finished:
        _carry_out(journal, signals, last.day, last.adverse_years)
        last = _last(journal)
    if last is not None and (
        not last.finished or (last.day, last.adverse_years) == (day, policy.adverse_retention_years)
    ):
        return 0
    cutoffs = _cutoffs(day, policy.adverse_retention_years)
    past = signals.count_past(cutoffs)

    def begin(transaction: Transaction) -> bool:
        # Another process may have begun since, with what was counted here; or a rotation may, and
        # rows that move are counted twice or not at all. Then the next run counts anew.
        latest = transaction.connection.execute(_LAST).one_or_none()
        if latest != last or transaction.tokens_epoch != epoch:
            return False
        _append(transaction, policy, actor, cutoffs, past)
        transaction.connection.execute(
            _SAVE,
            {"day": day, "years": policy.adverse_retention_years, "finished": past == _NOTHING},
        )
        return True

    if not journal.write(begin, _CHANGE_SECONDS).value or past == _NOTHING:
        return 0
    _carry_out(journal, signals, day, policy.adverse_retention_years)
    return past.adverse + past.positive + past.inquiries


def _last(journal: Journal) -> sa.Row[int, int, bool] | None:
    with journal.read() as connection:
        return connection.execute(_LAST).one_or_none()


def _carry_out(journal: Journal, signals: SignalStore, day: int, years: int) -> None:
    signals.drop_past(_cutoffs(day, years))

    def finish(transaction: Transaction) -> None:
        transaction.connection.execute(_FINISH, {"on": day, "of": years})

    journal.write(finish, _CHANGE_SECONDS)


def _append(
    transaction: Transaction, policy: Policy, actor: str, cutoffs: Cutoffs, past: PastRetention
) -> None:
    for kind, before, rows in (
        ("adverse", _month_text(cutoffs.adverse_month), past.adverse),
        ("positive", _month_text(cutoffs.positive_month), past.positive),
        ("inquiries", f"{moment_of(cutoffs.inquiry_day * _DAY):%Y-%m-%d}", past.inquiries),
    ):
        if rows:
            transaction.append(
                "retention.executed",
                actor,
                {"jurisdiction": policy.code, "kind": kind, "before": before, "rows": rows},
            )


def _cutoffs(day: int, adverse_years: int) -> Cutoffs:
    return Cutoffs.at(month_of_day(day), day, adverse_years)


def _month_text(month: int) -> str:
    return f"{1970 + month // 12:04}-{month % 12 + 1:02}"


_NOTHING: Final = PastRetention()
_LAST = sa.select(retention_run.c.day, retention_run.c.adverse_years, retention_run.c.finished)
# The same text on both kinds of database.
_SAVE = sa.text(
    "INSERT INTO retention_run (id, day, adverse_years, finished)"
    " VALUES (1, :day, :years, :finished) ON CONFLICT (id) DO UPDATE SET"
    " day = excluded.day, adverse_years = excluded.adverse_years, finished = excluded.finished"
)
_FINISH = (
    sa.update(retention_run)
    .where(
        retention_run.c.day == sa.bindparam("on"),
        retention_run.c.adverse_years == sa.bindparam("of"),
    )
    .values(finished=sa.true())
)
