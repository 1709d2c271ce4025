"""Every rule of the audit, each with a ledger that keeps it and one that breaks it, by family.

A case builds a log, broken where `bad` says so, and returns the entry that is to be blamed. The
kept log must have no finding at all, the broken one that one alone.
"""

from tests.audit_cases import (
    consents,
    contributions,
    disputes,
    erasures,
    form,
    lookups,
    members,
    notices,
    pool,
    uploads,
)
from tests.audit_cases.cases import CASES, Case

__all__ = [
    "CASES",
    "Case",
    "consents",
    "contributions",
    "disputes",
    "erasures",
    "form",
    "lookups",
    "members",
    "notices",
    "pool",
    "uploads",
]
