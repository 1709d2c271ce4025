"""The jurisdictions' rules as an audit applies them: to a consent's record, to a deadline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from concordat_privacy.audit.entry import Fields, Moment, days_between, years_after
from concordat_privacy.jurisdictions import Policy, policies, policies_version


@dataclass(frozen=True, slots=True)
class Policies:
    """One version of the policies."""

    version: int
    by_code: Mapping[str, Policy]

    @classmethod
    def current(cls) -> "Policies":
        """Those that this release carries."""
        return cls(policies_version(), policies())


def record_problems(
    policy: Policy, fields: Fields, purposes: int, starts_at: Moment, expires_at: Moment
) -> Iterator[str]:
    """What a consent's record lacks, or has too much of, for its jurisdiction."""
    if purposes > policy.purposes_per_consent:
        yield (
            f"{purposes} purposes in one consent; {policy.code} allows "
            f"{policy.purposes_per_consent}"
        )
    if expires_at > years_after(starts_at, policy.consent_max_years):
        yield f"longer than the {policy.consent_max_years} years that {policy.code} allows"
    for name in policy.requires:
        if not fields.get(name):
            yield f"no {name}, which {policy.code} requires"


def too_late(start: Moment, deadline: Moment, days: int) -> bool:
    """Whether a deadline lies beyond the end of the UTC day that many days after start's."""
    return days_between(start, deadline) > days
