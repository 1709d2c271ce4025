"""Counts, and the budgets that they are paid from."""

from dataclasses import dataclass

from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of an aggregate answer."""

    band: int
    """Band number within the grouping dimension; 0 for a plain count."""
    band_label: str
    count: int
    """Noisy number of persons; can be negative."""


@dataclass(frozen=True, slots=True)
class CountResult:
    """A differentially private answer."""

    cells: tuple[Cell, ...]
    """In order of band; exactly one for a plain count."""
    error_95: int
    """Half-width of the interval that holds a cell's bounded count with probability >= 95 %.

    Bounded: each person in at most `cells_per_person` cells. With `group_by` a person who has more
    is left out of the rest, so a cell's true count can be higher; without it the two are equal.
    """
    mechanism: str
    charged_rho: float
    """What this call was charged, in rho of zCDP; 0 for a repeated question."""
    snapshot: int
    """The pool's snapshot that was asked."""
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Budget:
    """A privacy budget in zero-concentrated differential privacy (Bun and Steinke 2016)."""

    scope: str
    """"pool" or "member:<member id>"."""
    cap_rho: float
    spent_rho: float
    spent_epsilon: float
    """Epsilon that the spent rho implies at delta = 1e-6, rounded up."""

    @property
    def left_rho(self) -> float:
        """What may still be spent."""
        return max(0.0, self.cap_rho - self.spent_rho)
