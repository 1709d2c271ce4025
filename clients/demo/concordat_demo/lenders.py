"""The five lenders of the demo. Invented names; none is a company."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Lender:
    """A member of the consortium."""

    member_id: str
    display_name: str


SCORING: Final = Lender("alder", "Alder Credit")
"""Decides on the applications and knows only what is on the form."""

CONTRIBUTORS: Final = (
    Lender("birch", "Birch Bank"),
    Lender("cedar", "Cedar Cards"),
    Lender("elm", "Elm Finance"),
    Lender("hazel", "Hazel Loans"),
)
"""Hold the applicants' accounts and contribute banded rows about them."""

SHARES: Final = (0.4, 0.3, 0.2, 0.1)
"""What part of all accounts each contributor holds, in their order. Simulated."""
