"""What the rules say about single items of a batch."""

from dataclasses import dataclass

from concordat_privacy.catalogue.rows import FieldProblem


@dataclass(frozen=True, slots=True)
class ItemRefusal:
    """Why one item of a batch was refused. The other items are not affected."""

    item: int
    """Position in the request, from 0."""
    field: str
    """Path of the field at fault from the item; empty where the item as a whole is."""
    reason: str
    """Stable UPPER_CASE word; the contract's ItemRefusal lists them."""
    description: str
    """For a person. Never carries a token or an identifier."""

    @classmethod
    def of(cls, item: int, problem: FieldProblem) -> "ItemRefusal":
        """The refusal of an item for one problem."""
        return cls(item, problem.field, problem.reason, problem.description)
