"""How many elements were updated to the next epoch, and how many a day may be.

An update needs no member's signature. To whoever has stolen an epoch's key it makes tokens of the
next one out of guesses, as long as the old epoch is in use. So it is limited and counted as
evaluations are. The limit holds for all gateways together: whoever has the consortium's authority
can make up another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from concordat_privacy.metering import (
    MAX_PER_SECOND,
    Meter,
    Quota,
    day_number,
    first_day_of_month,
)
from concordat_rpc.errors import exhausted
from concordat_store import meters

KIND: Final = 3
"""Of the meters; below it are the numbers of the contract's EvaluationQuota."""
ALL: Final = "*"
"""In the place of a gateway's name: all of them. No name has such a character."""


def charge(connection: sa.Connection, gateway: str, elements: int, daily: int, now: int) -> None:
    """Charge an update in the caller's transaction; returns only if it may be made.

    Args:
        gateway: name of the one that asks.
        daily: most that may be updated a day (UTC).
        now: microseconds since 1970.

    Raises Refusal RESOURCE_EXHAUSTED (UPDATES_EXHAUSTED). The transaction must then be undone.
    """
    # A day's limit only: a month has at most 31 of them, and the rate is the fastest there is.
    quota = Quota(daily=daily, monthly=31 * daily, per_second=MAX_PER_SECOND, burst=daily)
    over = meters.charge(connection, ALL, KIND, elements, quota, now)
    if over is not None:
        raise exhausted(
            "UPDATES_EXHAUSTED",
            f"{elements} updates more would pass the {daily} a day of this key-holder",
            "updates/day",
            over.retry_seconds,
        )
    meters.count(connection, gateway, KIND, elements, now)


def used(connection: sa.Connection, now: int) -> Mapping[str, Meter]:
    """What each gateway, and all of them, had updated today and this month, by name."""
    days: dict[str, dict[int, int]] = defaultdict(dict)
    for (gateway, _, day), amount in meters.history(
        connection, [KIND], first_day_of_month(now)
    ).items():
        days[gateway][day] = amount
    today = day_number(now)
    return {
        gateway: Meter(days[gateway].get(today, 0), sum(days[gateway].values()), 0)
        for gateway in sorted(days)
    }
