"""What the pool keeps of one account or application, and of one subject."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.rows import AccountSnapshot

PROFILE_MONTHS: Final = 24


@dataclass(frozen=True, slots=True)
class Relation:
    """The newest snapshot of one account and its payment history.

    One person can have many with one member. The member is not part of it.
    """

    account_ref: bytes
    as_of_month: int
    status: AccountStatus
    product: ProductClass
    opened_quarter: int
    limit: AmountBand
    balance: AmountBand
    past_due: AmountBand
    days_past_due: DaysPastDueBand
    utilisation: UtilisationBand
    spend_volatility: VolatilityBand
    profile: bytes
    """24 DaysPastDueBand numbers, newest first; position 0 is as_of_month, 0 is unknown."""

    @classmethod
    def from_numbers(
        cls,
        account_ref: bytes,
        as_of_month: int,
        status: int,
        product: int,
        opened_quarter: int,
        limit: int,
        balance: int,
        past_due: int,
        days_past_due: int,
        utilisation: int,
        spend_volatility: int,
        profile: bytes,
    ) -> Relation:
        """A relation from its stored numbers, in the order of the fields."""
        return cls(
            account_ref,
            as_of_month,
            _STATUSES[status],
            _PRODUCTS[product],
            opened_quarter,
            _AMOUNTS[limit],
            _AMOUNTS[balance],
            _AMOUNTS[past_due],
            _DAYS[days_past_due],
            _UTILISATIONS[utilisation],
            _VOLATILITIES[spend_volatility],
            profile,
        )


# An index into a tuple costs a fifth of an enum's constructor, on every row of every lookup.
_STATUSES = tuple(AccountStatus)
_PRODUCTS = tuple(ProductClass)
_AMOUNTS = tuple(AmountBand)
_DAYS = tuple(DaysPastDueBand)
_UTILISATIONS = tuple(UtilisationBand)
_VOLATILITIES = tuple(VolatilityBand)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One application for credit."""

    day: int
    product: ProductClass


@dataclass(frozen=True, slots=True)
class History:
    """Everything the pool holds about one subject, each item with its furnisher's number.

    One relation a (member, account) and one inquiry a (member, application): the store's keys
    see to that.
    """

    relations: tuple[tuple[int, Relation], ...] = ()
    inquiries: tuple[tuple[int, Inquiry], ...] = ()


def merge(existing: Relation | None, snapshot: AccountSnapshot) -> Relation:
    """What the pool keeps of an account once `snapshot` has come in.

    The newest as_of_month gives the current state. A second snapshot of the same month replaces
    the first: that is how a furnisher corrects. Of two reports about one earlier month the milder
    counts, a known one before an unknown one. So snapshots of different months give the same
    relation in whatever order they arrive, and the same snapshot twice changes nothing.
    """
    arriving = _relation(snapshot)
    if existing is None:
        return arriving
    if arriving.as_of_month >= existing.as_of_month:
        newer, older = arriving, existing
    else:
        newer, older = existing, arriving
    return replace(newer, profile=_join(newer, older))


def _relation(snapshot: AccountSnapshot) -> Relation:
    profile = bytes([snapshot.days_past_due]) + snapshot.payment_profile
    return Relation(
        account_ref=snapshot.account_ref,
        as_of_month=snapshot.as_of_month,
        status=snapshot.status,
        product=snapshot.product,
        opened_quarter=snapshot.opened_quarter,
        limit=snapshot.limit,
        balance=snapshot.balance,
        past_due=snapshot.past_due,
        days_past_due=snapshot.days_past_due,
        utilisation=snapshot.utilisation,
        spend_volatility=snapshot.spend_volatility,
        profile=profile.ljust(PROFILE_MONTHS, b"\0"),
    )


def _join(newer: Relation, older: Relation) -> bytes:
    shift = newer.as_of_month - older.as_of_month
    aligned = (bytes(min(shift, PROFILE_MONTHS)) + older.profile)[:PROFILE_MONTHS]
    earlier = (
        min(a, b) if a and b else a or b
        for a, b in zip(newer.profile[1:], aligned[1:], strict=True)
    )
    return newer.profile[:1] + bytes(earlier)


def restrict(history: History, allowed: Mapping[int, Collection[DataCategory]]) -> History:
    """The part of a history that its contributors may share now.

    `allowed` gives, for each member's number, the categories that a live consent lets it
    contribute. A member without an entry is left out.
    """
    none: frozenset[DataCategory] = frozenset()
    return History(
        relations=tuple(
            (member, _without_spending(relation, allowed[member]))
            for member, relation in history.relations
            if DataCategory.CREDIT_ACCOUNTS in allowed.get(member, none)
        ),
        inquiries=tuple(
            (member, inquiry)
            for member, inquiry in history.inquiries
            if DataCategory.INQUIRIES in allowed.get(member, none)
        ),
    )


def _without_spending(relation: Relation, categories: Collection[DataCategory]) -> Relation:
    if DataCategory.SPENDING in categories or not relation.spend_volatility:
        return relation
    return replace(relation, spend_volatility=VolatilityBand.UNSPECIFIED)
