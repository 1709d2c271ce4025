"""Policies are data: every table is complete, and its numbers are those that the laws name."""

import pytest

from concordat_privacy.jurisdictions import UNNAMED, AdverseClock, policies, policies_version

CODES = ["CN", "EU", "US", UNNAMED]


def test_there_are_the_places_to_begin_with() -> None:
    assert sorted(policies()) == sorted(CODES)
    assert policies_version() >= 1


@pytest.mark.parametrize(
    ("code", "dispute_days", "extension", "adverse_years", "clock", "adverse_notice"),
    [
        ("CN", 20, 0, 5, "last_report", True),
        ("US", 30, 15, 7, "first_delinquency", True),
        ("EU", 30, 60, 5, "last_report", False),
    ],
)
def test_the_numbers_are_the_laws(
    code: str,
    dispute_days: int,
    extension: int,
    adverse_years: int,
    clock: str,
    adverse_notice: bool,
) -> None:
    policy = policies()[code]
    assert policy.code == code
    assert (policy.dispute_days, policy.dispute_extension_days) == (dispute_days, extension)
    assert policy.adverse_retention_years == adverse_years
    assert policy.adverse_clock == clock
    assert policy.adverse_notice is adverse_notice


@pytest.mark.parametrize("code", CODES)
def test_every_value_is_one_that_the_rules_can_use(code: str) -> None:
    policy = policies()[code]
    assert policy.name
    assert policy.sources
    assert set(policy.requires) <= {
        "notice_sha256",
        "language",
        "withdrawal_method",
        "data_life",
        "frequency",
    }
    for number in (
        policy.consent_max_years,
        policy.purposes_per_consent,
        policy.withdrawal_days,
        policy.acknowledge_days,
        policy.deletion_days,
        policy.adverse_retention_years,
        policy.dispute_days,
        policy.reasons_days,
        policy.record_months,
    ):
        assert type(number) is int
        assert number > 0
    assert type(policy.dispute_extension_days) is int
    assert isinstance(policy.adverse_clock, AdverseClock)
