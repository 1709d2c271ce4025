"""What became of single items of a request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ItemRefusal:
    """Why one item was refused. The others are not affected."""

    item: int
    """Position in what was passed, from 0."""
    field: str
    """Path of the field at fault within the item."""
    reason: str
    """Stable upper-case word, e.g. NO_CONSENT: those of the contract's ItemRefusal, and WRONG_TYPE
    where the SDK itself refuses a value of another type than the field's, which it never sends."""
    description: str
    """Explanation for a person."""
