"""Lookups: which consents they may rest on, and what is withheld."""

from datetime import timedelta

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.builders import erase, use, withheld
from tests.audit_cases.cases import case
from tests.logbook import ACCOUNTS, DAY, NONE, STRANGER, Logbook


@case(Kind.USE_WITHOUT_CONSENT)
def a_lookup_names_a_consent_of_the_log(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.lookup([consent, STRANGER if bad else consent])


@case(Kind.USE_WITHOUT_CONSENT)
def a_permitted_lookup_names_a_consent(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.lookup([NONE if bad else consent])


@case(Kind.USE_WITHOUT_CONSENT)
def a_consent_is_recorded_before_it_is_used(log: Logbook, bad: bool) -> int:
    fields = log.record(start=log.now - DAY)
    if not bad:
        log.add("consent.granted", "alpha", **fields)
    index = log.lookup([fields["consent"]])
    if bad:
        log.add("consent.granted", "alpha", **fields)
    return index


@case(Kind.USE_BY_ANOTHER)
def a_consent_is_used_by_its_recipient(log: Logbook, bad: bool) -> int:
    consent = log.grant("beta" if bad else "alpha")
    return log.lookup([consent])


@case(Kind.USE_NOT_LIVE)
def a_consent_is_not_used_before_it_begins(log: Logbook, bad: bool) -> int:
    consent = log.grant(start=log.now + timedelta(hours=1))
    return log.wait(seconds=0 if bad else 3_600).lookup([consent])


@case(Kind.USE_NOT_LIVE)
def a_consent_is_not_used_once_it_has_expired(log: Logbook, bad: bool) -> int:
    consent = log.grant(expiry=log.now + 30 * DAY)
    return log.wait(days=30, seconds=0 if bad else -9).lookup([consent])


@case(Kind.USE_NOT_LIVE)
def the_moment_of_expiry_is_too_late(log: Logbook, bad: bool) -> int:
    # The grant takes one second, the lookup the next.
    expiry = log.now + timedelta(seconds=2, microseconds=0 if bad else 1)
    return log.lookup([log.grant(expiry=expiry)])


@case(Kind.USE_NOT_LIVE)
def the_moment_of_the_beginning_is_soon_enough(log: Logbook, bad: bool) -> int:
    start = log.now + timedelta(seconds=2, microseconds=1 if bad else 0)
    return log.lookup([log.grant(start=start)])


@case(Kind.USE_NOT_LIVE)
def a_requested_consent_is_not_used_before_it_is_given(log: Logbook, bad: bool) -> int:
    consent = log.grant(kind="consent.requested", evidence_sha256=None)
    if not bad:
        log.change("consent.activated", consent)
    return log.lookup([consent])


@case(Kind.USE_NOT_LIVE)
def a_paused_consent_is_not_used(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    log.change("consent.paused", consent)
    if not bad:
        log.change("consent.resumed", consent)
    return log.lookup([consent])


@case(Kind.USE_NOT_LIVE)
def a_withdrawn_consent_is_not_used(log: Logbook, bad: bool) -> int:
    consent, other = log.grant(), log.grant()
    log.withdraw(consent if bad else other)
    return log.lookup([consent])


@case(Kind.USE_NOT_LIVE)
def a_revoked_consent_is_not_used(log: Logbook, bad: bool) -> int:
    consent, other = log.grant(), log.grant()
    log.change("consent.revoked", consent if bad else other)
    return log.lookup([consent])


@case(Kind.USE_NOT_LIVE)
def an_erased_consent_is_not_used(log: Logbook, bad: bool) -> int:
    consent, other = log.grant(), log.grant()
    erase(log, consent if bad else other)
    return log.lookup([consent])


@case(Kind.USE_BEYOND_PURPOSE)
def a_purpose_is_covered(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.lookup([consent], purpose="portfolio_review" if bad else "underwriting")


@case(Kind.USE_BEYOND_CATEGORY)
def a_category_is_covered(log: Logbook, bad: bool) -> int:
    consent = log.grant(categories=[ACCOUNTS, "inquiries"])
    return log.lookup([use(consent, ACCOUNTS, "spending" if bad else "inquiries")])


@case(Kind.USE_BEYOND_FREQUENCY)
def uses_of_a_day_are_within_the_frequency(log: Logbook, bad: bool) -> int:
    consent = log.grant(frequency={"unit": "day", "uses": 2})
    log.lookup([consent])
    log.lookup([consent])
    # 09:00 UTC: fifteen hours on it is another day.
    return log.wait(hours=14 if bad else 15).lookup([consent])


@case(Kind.USE_BEYOND_FREQUENCY)
def uses_of_an_hour_are_within_the_frequency(log: Logbook, bad: bool) -> int:
    consent = log.grant(frequency={"unit": "hour", "uses": 1})
    log.lookup([consent])
    return log.wait(minutes=30 if bad else 60).lookup([consent])


@case(Kind.USE_BEYOND_FREQUENCY)
def uses_of_a_month_are_within_the_frequency(log: Logbook, bad: bool) -> int:
    consent = log.grant(frequency={"unit": "month", "uses": 1})
    log.lookup([consent])
    return log.wait(days=26 if bad else 27).lookup([consent])


@case(Kind.USE_BEYOND_FREQUENCY)
def uses_of_a_year_are_within_the_frequency(log: Logbook, bad: bool) -> int:
    consent = log.grant(frequency={"unit": "year", "uses": 1}, expiry=log.now + 500 * DAY)
    log.lookup([consent])
    return log.wait(days=360 if bad else 361).lookup([consent])


@case(Kind.USE_BEYOND_FREQUENCY)
def uses_of_a_whole_life_are_within_the_frequency(log: Logbook, bad: bool) -> int:
    consent = log.grant(frequency={"unit": "inf", "uses": 1 if bad else 2})
    log.lookup([consent])
    return log.wait(days=200).lookup([consent])


@case(Kind.USE_BEYOND_FREQUENCY)
def each_subject_of_a_lookup_is_a_use(log: Logbook, bad: bool) -> int:
    consent = log.grant(frequency={"unit": "day", "uses": 2})
    return log.lookup([consent] * (3 if bad else 2))


@case(Kind.USE_BEYOND_FREQUENCY)
def several_categories_of_one_subject_are_one_use(log: Logbook, bad: bool) -> int:
    consent = log.grant(categories=[ACCOUNTS, "inquiries"], frequency={"unit": "day", "uses": 1})
    named = use(consent, ACCOUNTS, "inquiries")
    return log.lookup([named, named] if bad else [named])


@case(Kind.REFUSAL_NAMES_CONSENT)
def a_refusal_names_no_consent(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    index = log.lookup([], refused=2)
    if bad:
        log.items[index][1]["consents"]["inquiries"] = consent
    return index


@case(Kind.WITHHELD_UNFOUNDED)
def an_answer_is_withheld_because_a_consent_ended(log: Logbook, bad: bool) -> int:
    consent, other = log.grant(), log.grant()
    lookup = log.lookup([consent])
    log.withdraw(other if bad else consent)
    return withheld(log, lookup, 0)


@case(Kind.WITHHELD_UNFOUNDED)
def a_pause_that_was_lifted_since_is_a_reason_too(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    lookup = len(log.entries) + 2 if bad else log.lookup([consent])
    log.change("consent.paused", consent)
    log.change("consent.resumed", consent)
    if bad:
        assert log.lookup([consent]) == lookup
    return withheld(log, lookup, 0)


@case(Kind.WITHHELD_UNFOUNDED)
def only_a_permitted_answer_is_withheld(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    lookup = log.lookup([consent], refused=1)
    log.withdraw(consent)
    return withheld(log, lookup, 1 if bad else 0)


@case(Kind.WITHHELD_UNFOUNDED)
def an_answer_is_withheld_once(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant()
    lookup = log.lookup([one, two])
    log.withdraw(one)
    log.withdraw(two)
    withheld(log, lookup, 0)
    return withheld(log, lookup, 0 if bad else 1)


@case(Kind.WITHHELD_UNFOUNDED)
def what_is_withheld_is_a_lookup(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    lookup = log.lookup([consent])
    ending = len(log.entries)
    log.withdraw(consent)
    index = withheld(log, lookup, 0)
    if bad:
        log.entries[index]["lookup"] = ending
    return index


@case(Kind.WITHHELD_UNFOUNDED)
def what_is_withheld_is_of_the_same_request(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    lookup = log.lookup([consent])
    log.withdraw(consent)
    index = withheld(log, lookup, 0)
    if bad:
        log.entries[index]["request"] = log.id()
    return index
