"""What a consent covers: purposes and data categories, as numbers, masks and names.

The numbers equal those of `concordat.v1` (common.proto). In the store, bit n of a mask stands for
number n; in the ledger, lower-case names stand for themselves.
"""

from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from typing import NewType

from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.log.leaf import Json

Mask = NewType("Mask", int)
ConsentId = NewType("ConsentId", bytes)
"""16 random bytes, made by the gateway."""
CONSENT_ID_BYTES = 16


class Purpose(IntEnum):
    """What a consent allows its recipient to do. A new purpose is a new consent."""

    UNSPECIFIED = 0
    UNDERWRITING = 1
    CONTRIBUTION = 2
    PORTFOLIO_REVIEW = 3
    AGGREGATE_STATISTICS = 4
    MODEL_TRAINING = 5
    DISPUTE = 6


LOOKUP_PURPOSES = frozenset({Purpose.UNDERWRITING, Purpose.PORTFOLIO_REVIEW, Purpose.DISPUTE})
"""Purposes for which a subject can be looked up."""

# A mask has one of 64 values (purposes) or 8 (categories), so what is cached is bounded.
PURPOSES = frozenset(Purpose) - {Purpose.UNSPECIFIED}
CATEGORIES = frozenset(DataCategory) - {DataCategory.UNSPECIFIED}


def mask_of(numbers: Iterable[int]) -> Mask:
    """The mask with a bit for each number."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return Mask(mask)


def covers(mask: Mask, number: int) -> bool:
    """Whether the mask has the number's bit."""
    return mask >> number & 1 == 1


# A checked mask has one of few values, so what is cached is bounded.
@cache
def purposes_in(mask: Mask) -> frozenset[Purpose]:
    """Purposes of a mask."""
    return frozenset(purpose for purpose in Purpose if covers(mask, purpose))


@cache
def categories_in(mask: Mask) -> frozenset[DataCategory]:
    """Categories of a mask."""
    return frozenset(category for category in DataCategory if covers(mask, category))


def names_of(members: Iterable[Purpose | DataCategory]) -> list[Json]:
    """Names as ledger entries write them, in order of the numbers."""
    return [member.name.lower() for member in sorted(members)]
