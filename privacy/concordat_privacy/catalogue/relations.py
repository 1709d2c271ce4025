"""What the pool keeps of one account or application, and of one subject."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    ApplicationOutcome,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
)
from concordat_privacy.catalogue.definitions import BANDS, POSITION
from concordat_privacy.catalogue.packing import PackedAccount, bands_of
from concordat_privacy.catalogue.rows import CATEGORY_FIELDS, AccountSnapshot

PROFILE_MONTHS: Final = 24


class Positions:
    """Some of the packed bands."""

    def __init__(self, positions: Iterable[int]) -> None:
        self.positions = tuple(positions)
        self.of: Callable[[bytes], tuple[int, ...]] = (
            itemgetter(*self.positions)
            if len(self.positions) > 1
            else lambda bands: tuple(bands[at] for at in self.positions)
        )
        """The bands at these positions."""


class _Band:
    """One of a relation's packed bands, by the name of the descriptor."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._at = POSITION[name]

    def __get__(self, relation: Relation, _owner: type | None = None) -> int:
        return relation.bands[self._at]


# Not frozen, though nothing changes them: to make a frozen one takes five times as long, and a
# batch of lookups makes tens of thousands.
@dataclass(slots=True)
class Relation:
    """The newest snapshot of one account and its payment history.

    One person can have many with one member. The member is not part of it.
    """

    account_ref: bytes
    as_of_month: int
    status: AccountStatus
    product: ProductClass
    opened_quarter: int
    first_delinquency_month: int
    bands: bytes
    """The band of each attribute of `definitions.BANDS`, one a byte, 0 where unknown."""
    profile: bytes
    """24 DaysPastDueBand numbers, newest first; position 0 is as_of_month, 0 is unknown."""

    limit = _Band()
    balance = _Band()
    past_due = _Band()
    days_past_due = _Band()
    utilisation = _Band()
    spend_volatility = _Band()
    five_class = _Band()
    scheduled_payment = _Band()
    payment_ratio = _Band()
    utilisation_trend = _Band()
    remaining_terms = _Band()
    extensions = _Band()
    fraud_flag = _Band()
    spend_spike = _Band()
    scene_anomaly = _Band()
    refund_ratio = _Band()
    income_regularity = _Band()
    invoice_days_past_due = _Band()
    settlement_punctuality = _Band()
    buyer_concentration = _Band()
    order_volatility = _Band()
    dilution = _Band()

    @classmethod
    def from_numbers(
        cls,
        account_ref: bytes,
        as_of_month: int,
        status: int,
        product: int,
        opened_quarter: int,
        first_delinquency_month: int,
        bands: bytes,
        profile: bytes,
    ) -> Relation:
        """A relation from its stored numbers, in the order of the fields.

        What `bands` and `profile` lack at the end is unknown: bands of later versions, too.
        """
        return cls(
            account_ref,
            as_of_month,
            _STATUSES[status],
            _PRODUCTS[product],
            opened_quarter,
            first_delinquency_month,
            bands.ljust(len(BANDS), b"\0"),
            profile.ljust(PROFILE_MONTHS, b"\0"),
        )

    def with_bands(self, **bands: int) -> Relation:
        """The same account with other bands, by name. Raises KeyError for a name unknown."""
        changed = bytearray(self.bands)
        for name, band in bands.items():
            changed[POSITION[name]] = band
        return replace(self, bands=bytes(changed))

    def without(self, some: Positions) -> Relation:
        """The same account with some bands unknown."""
        if not any(some.of(self.bands)):
            return self
        changed = bytearray(self.bands)
        for at in some.positions:
            changed[at] = 0
        return replace(self, bands=bytes(changed))


# An index into a tuple costs a fifth of an enum's constructor, on every row of every lookup.
_STATUSES = tuple(AccountStatus)
_PRODUCTS = tuple(ProductClass)
_OUTCOMES = tuple(ApplicationOutcome)


@dataclass(slots=True)
class Inquiry:
    """One application for credit."""

    day: int
    product: ProductClass
    outcome: ApplicationOutcome = ApplicationOutcome.UNSPECIFIED

    @classmethod
    def from_numbers(cls, day: int, product: int, outcome: int) -> Inquiry:
        """An inquiry from its stored numbers."""
        return cls(day, _PRODUCTS[product], _OUTCOMES[outcome])


@dataclass(slots=True)
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

    A delinquency has one beginning: of an account that stays delinquent the earliest first month
    that any report named counts, so no later report makes the delinquency younger. It is over, and
    its month forgotten, with a newer report that names none and says that the account is in order:
    repaid in full, or open or restructured and not past due. Such a report ends what was there
    when it came in: one that arrives after newer ones changes nothing of the month. That way the
    month can be earlier than in the order of the months, never later.
    """
    arriving = _relation(snapshot)
    if existing is None:
        return arriving
    if arriving.as_of_month >= existing.as_of_month:
        newer, older = arriving, existing
    else:
        newer, older = existing, arriving
    if older.first_delinquency_month:
        newer = replace(newer, first_delinquency_month=_began(newer, older.first_delinquency_month))
    shift = newer.as_of_month - older.as_of_month
    return replace(newer, profile=_joined(newer.profile, older.profile, shift))


def _relation(snapshot: AccountSnapshot) -> Relation:
    profile = bytes([snapshot.days_past_due]) + snapshot.payment_profile
    return Relation(
        account_ref=snapshot.account_ref,
        as_of_month=snapshot.as_of_month,
        status=snapshot.status,
        product=snapshot.product,
        opened_quarter=snapshot.opened_quarter,
        first_delinquency_month=snapshot.first_delinquency_month,
        bands=bands_of(snapshot).ljust(len(BANDS), b"\0"),
        profile=profile.ljust(PROFILE_MONTHS, b"\0"),
    )


def packed_relation(relation: Relation) -> PackedAccount:
    """The numbers of a relation: what `Relation.from_numbers` takes."""
    return PackedAccount(
        relation.account_ref,
        relation.as_of_month,
        relation.status,
        relation.product,
        relation.opened_quarter,
        relation.first_delinquency_month,
        relation.bands.rstrip(b"\0"),
        relation.profile,
    )


def merge_numbers(existing: PackedAccount, arriving: PackedAccount) -> PackedAccount:
    """As `merge`, of two rows of one account in numbers: no more is made of them than is needed."""
    if arriving.as_of_month >= existing.as_of_month:
        newer, older = arriving, existing
    else:
        newer, older = existing, arriving
    profile = _joined(newer.profile, older.profile, newer.as_of_month - older.as_of_month)
    if older.first_delinquency_month:
        # Few accounts: the others are not to pay for it.
        began = _began(newer, older.first_delinquency_month)
        return newer._replace(first_delinquency_month=began, profile=profile)
    return newer._replace(profile=profile)


def _began(newer: Relation | PackedAccount, earlier: int) -> int:
    """The first month of the delinquency that the newer of two reports knows of, where the older
    one, or what was there, named `earlier`."""
    if newer.first_delinquency_month:
        return min(newer.first_delinquency_month, earlier)
    in_order = newer.status == AccountStatus.CLOSED or (
        newer.status in _GOES_ON and newer.profile[0] == DaysPastDueBand.CURRENT
    )
    return 0 if in_order else earlier


_GOES_ON: Final = frozenset({AccountStatus.OPEN, AccountStatus.RESTRUCTURED})


def correct_numbers(existing: PackedAccount, arriving: PackedAccount) -> PackedAccount:
    """What the pool keeps of an account once the row of one of its months has been replaced.

    The month gets the days past due that `arriving` gives, unknown ones too, and each month before
    it those that `arriving` knows, whether they are milder or not. Where the month is the newest,
    the rest of the state is that of `arriving` as well, the first month of a delinquency too, which
    a report does not move later; otherwise nothing else changes.
    """
    shift = existing.as_of_month - arriving.as_of_month
    # A month after the newest: what is held moves back.
    profile = bytearray(bytes(min(max(-shift, 0), PROFILE_MONTHS)) + existing.profile)
    profile = profile[:PROFILE_MONTHS].ljust(PROFILE_MONTHS, b"\0")
    for at, band in enumerate(arriving.profile, start=max(shift, 0)):
        if at < PROFILE_MONTHS and (band or at == max(shift, 0)):
            profile[at] = band
    return (existing if shift > 0 else arriving)._replace(profile=bytes(profile))


def _joined(newer: bytes, older: bytes, shift: int) -> bytes:
    """The profile of the newer month; where that is unknown, of the older, `shift` months later."""
    aligned = (bytes(min(shift, PROFILE_MONTHS)) + older)[:PROFILE_MONTHS].ljust(
        PROFILE_MONTHS, b"\0"
    )
    reported = newer[1:].rstrip(b"\0")
    if not reported:
        # The usual month: it tells of itself alone.
        return newer[:1] + aligned[1:]
    earlier = bytes(
        min(a, b) if a and b else a or b for a, b in zip(reported, aligned[1:], strict=False)
    )
    return newer[:1] + earlier + aligned[1 + len(earlier) :]


def restrict(history: History, allowed: Mapping[int, Collection[DataCategory]]) -> History:
    """The part of a history that its contributors may share now.

    `allowed` gives, for each member's number, the categories that a live consent lets it
    contribute. A member without an entry is left out.
    """
    shared = {member: _shared(frozenset(categories)) for member, categories in allowed.items()}
    relations: list[tuple[int, Relation]] = []
    for held in history.relations:
        of_member = shared.get(held[0], _NOTHING)
        if not of_member.accounts:
            continue
        withheld = of_member.withheld
        if withheld is not None and any(withheld.of(held[1].bands)):
            held = held[0], held[1].without(withheld)
        relations.append(held)
    inquiries = [held for held in history.inquiries if shared.get(held[0], _NOTHING).inquiries]
    return History(tuple(relations), tuple(inquiries))


class _Shared(NamedTuple):
    """What a member may share."""

    inquiries: bool
    accounts: bool
    withheld: Positions | None
    """The bands that are left out of its accounts, if any are."""


_NOTHING: Final = _Shared(False, False, None)


# There are few sets of categories.
@lru_cache(maxsize=64)
def _shared(categories: frozenset[DataCategory]) -> _Shared:
    withheld = [
        position
        for category, some in CATEGORY_POSITIONS.items()
        if category not in categories
        for position in some.positions
    ]
    return _Shared(
        DataCategory.INQUIRIES in categories,
        DataCategory.CREDIT_ACCOUNTS in categories,
        Positions(withheld) if withheld else None,
    )


CATEGORY_POSITIONS: Final[Mapping[DataCategory, Positions]] = {
    category: Positions(POSITION[name] for name in names)
    for category, names in CATEGORY_FIELDS.items()
}
"""Where in the packed bands the attributes lie that need more than a consent to accounts."""
