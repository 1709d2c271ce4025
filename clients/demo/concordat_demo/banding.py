"""From a lender's books to the rows that it contributes: the bands, and nothing finer."""

from __future__ import annotations

from concordat import (
    AccountSnapshot,
    ApplicationEvent,
    amount_band,
    days_past_due_band,
    utilisation_band,
)
from concordat_demo.split import Account, Application, Holding

Record = AccountSnapshot | ApplicationEvent


def records(holding: Holding) -> list[Record]:
    """One record an account and one an application."""
    return [
        *map(account_snapshot, holding.accounts),
        *map(application_event, holding.applications),
    ]


def account_snapshot(account: Account) -> AccountSnapshot:
    """The monthly row of one account. What the lender does not hold stays unknown."""
    return AccountSnapshot(
        account_ref=account.account_ref,
        as_of_month=account.as_of_month,
        status=account.status,
        product=account.product,
        opened_quarter=account.opened_quarter,
        limit=amount_band(account.limit),
        balance=amount_band(account.balance),
        past_due=amount_band(account.past_due),
        days_past_due=days_past_due_band(account.days_past_due),
        utilisation=utilisation_band(account.utilisation_percent),
        payment_profile=bytes(map(days_past_due_band, account.days_past_due_before)),
    )


def application_event(application: Application) -> ApplicationEvent:
    """The row of one application."""
    return ApplicationEvent(
        application_ref=application.application_ref,
        day=application.day,
        product=application.product,
    )
