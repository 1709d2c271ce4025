"""Retention: rows leave on time, once a day, with an entry that says how many.

One gateway has one policy of retention, whatever jurisdictions the consents are of: it says for how
many years adverse endings stay, and from when they count.

The entry comes first, with a mark that it is being carried out; then rows are deleted by the same
cutoffs, however often; then the mark goes. A process that is killed in between leaves the mark, and
the next run deletes before it does anything else: so no deletion is unrecorded, none is counted
twice, and nothing stays for longer than one more run. Lookups and counts wait for no run: they
leave out what its newest report is too old for, at the strictest of the policies, and what the
cutoffs of their day delete.
"""

from typing import Final, NamedTuple

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.calendar import DAY_MICROSECONDS, day_of
from concordat_gateway.rules.policies import counts_from_delinquency
from concordat_gateway.store.control_tables import retention_run
from concordat_gateway.store.signal_store import PastRetention, SignalStore
from concordat_gateway.store.subjects import ROTATING
from concordat_privacy.catalogue.calendar import month_of_day, month_text
from concordat_privacy.catalogue.retention import Cutoffs
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.log.leaf import Json
from concordat_privacy.moments import moment_of

_CHANGE_SECONDS: Final = 30.0


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
        _carry_out(journal, signals, _Run(*last[:3]))
        last = _last(journal)
    run = _Run(day, policy.adverse_retention_years, counts_from_delinquency(policy))
    if last is not None and (not last.finished or _Run(*last[:3]) == run):
        return 0
    cutoffs = run.cutoffs()
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
            {
                "day": run.day,
                "years": run.adverse_years,
                "delinquency": run.from_delinquency,
                "finished": past == _NOTHING,
            },
        )
        return True

    if not journal.write(begin, _CHANGE_SECONDS).value or past == _NOTHING:
        return 0
    _carry_out(journal, signals, run)
    return past.adverse + past.positive + past.inquiries


class _Run(NamedTuple):
    """What the cutoffs follow from."""

    day: int
    adverse_years: int
    from_delinquency: bool

    def cutoffs(self) -> Cutoffs:
        return Cutoffs.at(
            month_of_day(self.day),
            self.day,
            self.adverse_years,
            from_delinquency=self.from_delinquency,
        )


def _last(journal: Journal) -> sa.Row[int, int, bool, bool] | None:
    with journal.read() as connection:
        return connection.execute(_LAST).one_or_none()


def _carry_out(journal: Journal, signals: SignalStore, run: _Run) -> None:
    signals.drop_past(run.cutoffs())

    def finish(transaction: Transaction) -> None:
        transaction.connection.execute(
            _FINISH, {"on": run.day, "of": run.adverse_years, "by": run.from_delinquency}
        )

    journal.write(finish, _CHANGE_SECONDS)


def _append(
    transaction: Transaction, policy: Policy, actor: str, cutoffs: Cutoffs, past: PastRetention
) -> None:
    for kind, before, rows in (
        ("adverse", month_text(cutoffs.adverse_month), past.adverse),
        ("positive", month_text(cutoffs.positive_month), past.positive),
        (
            "inquiries",
            f"{moment_of(cutoffs.inquiry_day * DAY_MICROSECONDS):%Y-%m-%d}",
            past.inquiries,
        ),
    ):
        if rows:
            fields: dict[str, Json] = {
                "jurisdiction": policy.code,
                "kind": kind,
                "before": before,
                "rows": rows,
            }
            if kind == "adverse" and cutoffs.delinquency_month:
                fields["delinquency_before"] = month_text(cutoffs.delinquency_month)
            transaction.append("retention.executed", actor, fields)


_NOTHING: Final = PastRetention()
_LAST = sa.select(
    retention_run.c.day,
    retention_run.c.adverse_years,
    retention_run.c.from_delinquency,
    retention_run.c.finished,
)
# The same text on both kinds of database.
_SAVE = sa.text(
    "INSERT INTO retention_run (id, day, adverse_years, from_delinquency, finished)"
    " VALUES (1, :day, :years, :delinquency, :finished) ON CONFLICT (id) DO UPDATE SET"
    " day = excluded.day, adverse_years = excluded.adverse_years,"
    " from_delinquency = excluded.from_delinquency, finished = excluded.finished"
)
_FINISH = (
    sa.update(retention_run)
    .where(
        retention_run.c.day == sa.bindparam("on"),
        retention_run.c.adverse_years == sa.bindparam("of"),
        retention_run.c.from_delinquency == sa.bindparam("by"),
    )
    .values(finished=sa.true())
)
