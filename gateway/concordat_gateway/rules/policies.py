"""The policies that this gateway takes consents under: data of jurisdictions, applied to drafts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from concordat_gateway.rules.calendar import more_than_years_apart
from concordat_gateway.rules.drafts import ConsentDraft
from concordat_privacy import jurisdictions as data
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.retention import Cutoffs, oldest_delinquency
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.jurisdictions import AdverseClock, Policy


@dataclass(frozen=True, slots=True)
class Jurisdictions:
    """Which jurisdictions' consents are taken, and which one stands for drafts that name none."""

    taken: Mapping[str, Policy]
    default: str
    version: int
    """Version of the policies' data."""

    @classmethod
    def of(cls, codes: Collection[str], default: str) -> "Jurisdictions":
        """By codes. Raises ValueError for a code that has no policy, and a default not taken."""
        policies = data.policies()
        for code in codes:
            if code not in policies:
                raise ValueError(f"no policy of {code!r}; there are {', '.join(sorted(policies))}")
        if default not in codes:
            raise ValueError(f"the default {default!r} is not one of those taken")
        return cls({code: policies[code] for code in codes}, default, data.policies_version())

    def code_of(self, draft: ConsentDraft) -> str:
        """The jurisdiction that a draft is of."""
        return draft.jurisdiction or self.default

    def problem(self, draft: ConsentDraft) -> FieldProblem | None:
        """The first thing in a well-formed draft that its policy forbids, whenever recorded."""
        code = self.code_of(draft)
        policy = self.taken.get(code)
        if policy is None:
            return FieldProblem(
                "jurisdiction",
                "POLICY",
                f"this gateway takes consents of {', '.join(sorted(self.taken))}",
            )
        for field in policy.requires:
            if not getattr(draft, field):
                return FieldProblem(field, "REQUIRED", f"the policy of {code} requires it")
        most = policy.purposes_per_consent
        if len(draft.purposes) > most:
            return FieldProblem(
                "purposes", "POLICY", f"the policy of {code} allows {most} in one consent"
            )
        return None

    def time_problem(self, draft: ConsentDraft, now: int) -> FieldProblem | None:
        """What its policy forbids of the validity of a draft without other problems."""
        code = self.code_of(draft)
        years = self.taken[code].consent_max_years
        start = now if draft.starts_at is None else draft.starts_at
        if draft.expires_at is not None and more_than_years_apart(start, draft.expires_at, years):
            return FieldProblem(
                "validity.expiry",
                "POLICY",
                f"the policy of {code} allows {years} years from the start",
            )
        return None


def counts_from_delinquency(policy: Policy) -> bool:
    """Whether adverse endings go by their first delinquency, where it is known."""
    return policy.adverse_clock is AdverseClock.FIRST_DELINQUENCY


def oldest_delinquency_of(policy: Policy, month: int) -> int:
    """The oldest first delinquency of an adverse ending within retention; 0: whichever it is."""
    if not counts_from_delinquency(policy):
        return 0
    return oldest_delinquency(month, policy.adverse_retention_years)


def cutoffs_of(policy: Policy | None, day: int) -> Cutoffs:
    """The cutoffs of a policy of retention on a day; None: those of where no place is named."""
    month = month_of_day(day)
    if policy is None:
        return Cutoffs.unnamed(month, day)
    return Cutoffs.at(
        month,
        day,
        policy.adverse_retention_years,
        from_delinquency=counts_from_delinquency(policy),
    )
