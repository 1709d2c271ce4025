"""How a rule of the audit is written down as a case."""

from collections.abc import Callable

from concordat_privacy.audit.findings import Kind
from tests.logbook import Logbook

Case = Callable[[Logbook, bool], int]
"""Builds a log, broken where told so, and returns the entry that is to be blamed."""
CASES: list[tuple[Kind, Case]] = []
"""All cases of the modules that were imported."""


def case(kind: Kind) -> Callable[[Case], Case]:
    """The rule whose break is a finding of this kind."""

    def register(build: Case) -> Case:
        CASES.append((kind, build))
        return build

    return register
