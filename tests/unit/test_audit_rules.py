"""Every rule of the audit, each with a ledger that keeps it and one that breaks it.

A case builds a log, broken where `bad` says so, and returns the entry that is to be blamed. The
kept log must have no finding at all, the broken one that one alone.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from concordat_privacy.audit.findings import Kind
from tests.logbook import ACCOUNTS, DAY, NONE, STRANGER, Logbook, digest, found, text

Case = Callable[[Logbook, bool], int]
CASES: list[tuple[Kind, Case]] = []


def case(kind: Kind) -> Callable[[Case], Case]:
    def register(build: Case) -> Case:
        CASES.append((kind, build))
        return build

    return register


def use(consent: str, *categories: str) -> dict[str, str]:
    return dict.fromkeys(categories or (ACCOUNTS,), consent)


# Lookups.


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


def withheld(log: Logbook, lookup: int, *items: int) -> int:
    return log.add(
        "lookup.withheld",
        "gateway/gateway",
        items=[{"item": item} for item in items],
        lookup=lookup,
        request=log.entries[lookup]["request"],
    )


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


# Contributions and training.


@case(Kind.USE_BEYOND_PURPOSE)
def a_row_rests_on_a_consent_to_contribute(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["underwriting" if bad else "contribution"])
    return log.contribute([use(consent)])


@case(Kind.USE_WITHOUT_CONSENT)
def every_row_has_a_consent(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])
    return log.contribute([use(consent), {} if bad else use(consent)])


@case(Kind.USE_BY_ANOTHER)
def a_row_rests_on_a_consent_of_its_furnisher(log: Logbook, bad: bool) -> int:
    consent = log.grant("beta", purposes=["contribution"])
    return log.contribute([use(consent)], "alpha" if bad else "beta")


@case(Kind.USE_NOT_LIVE)
def a_row_rests_on_a_consent_in_force(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])
    return log.wait(days=366 if bad else 364).contribute([use(consent)])


@case(Kind.USE_BEYOND_CATEGORY)
def a_row_rests_on_a_consent_for_its_categories(log: Logbook, bad: bool) -> int:
    categories = [ACCOUNTS] if bad else [ACCOUNTS, "spending"]
    consent = log.grant(purposes=["contribution"], categories=categories)
    return log.contribute([use(consent, ACCOUNTS, "spending")])


@case(Kind.ROWS_MISCOUNTED)
def items_have_as_many_rows_as_their_entry_says(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])
    return log.contribute([use(consent)] * 3, rows=4 if bad else 3)


@case(Kind.ROWS_MISCOUNTED)
def items_follow_each_other_without_a_gap(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])
    index = log.contribute([use(consent)] * 257)
    if bad:
        log.items[index][1]["first"] = 255
    return index


@case(Kind.ROWS_MISCOUNTED)
def adverse_rows_are_among_the_rows(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])
    return log.contribute(
        [use(consent)], adverse=2 if bad else 1, adverse_notice_sha256=digest("told")
    )


@case(Kind.ADVERSE_WITHOUT_NOTICE)
def adverse_rows_have_a_prior_notice_where_the_law_asks_for_it(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"], jurisdiction="CN" if bad else "EU")
    return log.contribute([use(consent)], adverse=1)


@case(Kind.ADVERSE_WITHOUT_NOTICE)
def adverse_rows_may_be_those_that_need_no_notice(log: Logbook, bad: bool) -> int:
    chinese = log.grant(purposes=["contribution"])
    european = log.grant(purposes=["contribution"], jurisdiction="EU")
    rows = [use(chinese), use(european), use(european)]
    return log.contribute(rows, adverse=3 if bad else 2)


@case(Kind.USE_BEYOND_PURPOSE)
def a_model_is_trained_under_consents_to_it(log: Logbook, bad: bool) -> int:
    consent = log.grant("beta", purposes=["contribution" if bad else "model_training"])
    return log.add(
        "training.run",
        "operator/op",
        items=[{"first": 0, "uses": [use(consent)], "rows": [0, 0]}],
        cohort=log.id(),
        purpose="model_training",
        request=log.id(),
        nano_rho=5,
    )


@case(Kind.OLDER_FORM)
def batches_do_not_return_to_the_form_without_items(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])

    def old() -> int:
        index = log.contribute([use(consent)])
        del log.items[index], log.entries[index]["adverse"]
        return index

    index = 0 if bad else old()
    log.contribute([use(consent)])
    return old() if bad else index


@case(Kind.MALFORMED)
def a_batch_that_counts_adverse_rows_has_items(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["contribution"])
    index = log.contribute([use(consent)])
    del log.items[index]
    if not bad:
        del log.entries[index]["adverse"]
    return index


# The pool.


@case(Kind.AGGREGATE_WITHOUT_BASIS)
def a_question_rests_on_consents_to_be_counted(log: Logbook, bad: bool) -> int:
    purposes = ["contribution"] if bad else ["contribution", "aggregate_statistics"]
    return log.charge(rests_on={"purposes": purposes, "categories": [ACCOUNTS]})


@case(Kind.AGGREGATE_WITHOUT_BASIS)
def a_question_rests_on_consents_to_contribute(log: Logbook, bad: bool) -> int:
    purposes = ["aggregate_statistics"] if bad else ["contribution", "aggregate_statistics"]
    return log.charge(rests_on={"purposes": purposes, "categories": [ACCOUNTS]})


@case(Kind.BUDGET_INCONSISTENT)
def a_question_is_charged_once_for_a_snapshot(log: Logbook, bad: bool) -> int:
    log.charge(snapshot=1)
    return log.charge(snapshot=1 if bad else 2)


def repeat(log: Logbook, question: str, snapshot: int = 1) -> int:
    fields = {"question": digest(question), "request": log.id(), "snapshot": snapshot}
    return log.add("aggregate.repeated", "beta", **fields)


@case(Kind.BUDGET_INCONSISTENT)
def an_answer_is_repeated_after_it_was_charged(log: Logbook, bad: bool) -> int:
    log.charge("one", 1)
    return repeat(log, "one", 2 if bad else 1)


@case(Kind.BUDGET_INCONSISTENT)
def a_repeated_answer_names_what_was_charged(log: Logbook, bad: bool) -> int:
    charged = log.charge("one", 1)
    index = repeat(log, "one")
    log.entries[index]["charged"] = charged - 1 if bad else charged
    return index


@case(Kind.AGGREGATE_WITHOUT_BASIS)
def an_answer_that_is_counted_again_rests_on_consents_again(log: Logbook, bad: bool) -> int:
    log.charge("one", 1)
    index = repeat(log, "one")
    purposes = ["contribution", "aggregate_statistics"][: 1 if bad else 2]
    log.entries[index]["rests_on"] = {"purposes": purposes, "categories": [ACCOUNTS]}
    return index


@case(Kind.BUDGET_INCONSISTENT)
def a_scope_that_refused_an_amount_bears_no_more(log: Logbook, bad: bool) -> int:
    log.charge("one", nano_rho=600)
    refused = {"question": digest("two"), "request": log.id(), "snapshot": 1, "query": {}}
    log.add("aggregate.refused", "alpha", **refused, nano_rho=400, scope="pool")
    return log.charge("three", nano_rho=400 if bad else 399)


@case(Kind.OLDER_FORM)
def questions_do_not_return_to_the_form_without_a_basis(log: Logbook, bad: bool) -> int:
    if bad:
        log.charge("one")
        return log.charge("two", rests_on=None)
    log.charge("two", rests_on=None)
    return log.charge("one")


@case(Kind.KEY_INCONSISTENT)
def epochs_are_adopted_once(log: Logbook, bad: bool) -> int:
    log.add("key.adopted", "gateway/gateway", epoch=1, key=NONE)
    return log.add("key.adopted", "gateway/gateway", epoch=1 if bad else 2, key=NONE)


@case(Kind.KEY_INCONSISTENT)
def epochs_are_retired_once(log: Logbook, bad: bool) -> int:
    log.add("key.retired", "gateway/gateway", epoch=1)
    return log.add("key.retired", "gateway/gateway", epoch=1 if bad else 2)


@case(Kind.KEY_INCONSISTENT)
def rotations_follow_each_other(log: Logbook, bad: bool) -> int:
    log.add("tokens.rotated", "gateway/gateway", from_epoch=1, to_epoch=2, subjects=9)
    start = 1 if bad else 2
    return log.add("tokens.rotated", "gateway/gateway", from_epoch=start, to_epoch=3, subjects=9)


@case(Kind.RETENTION_LATE)
def adverse_rows_leave_when_their_time_is_over(log: Logbook, bad: bool) -> int:
    # In January 2026 what ended before January 2021 is five years old; rows tell months only, so
    # what is of December may still be there.
    return log.add(
        "retention.executed",
        "gateway/gateway",
        jurisdiction="CN",
        kind="adverse",
        before="2020-11" if bad else "2020-12",
        rows=3,
    )


# Consents.


@case(Kind.ILLEGAL_TRANSITION)
def a_consent_is_recorded_once(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    log.grant(consent=consent if bad else None)
    return len(log.entries) - 1


@case(Kind.ILLEGAL_TRANSITION)
def a_consent_is_withdrawn_once(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant()
    log.withdraw(one)
    return log.change("consent.withdrawn", one if bad else two)


@case(Kind.ILLEGAL_TRANSITION)
def a_revoked_consent_is_not_withdrawn(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant()
    log.change("consent.revoked", one)
    return log.change("consent.withdrawn", one if bad else two)


@case(Kind.ILLEGAL_TRANSITION)
def only_a_requested_consent_is_activated(log: Logbook, bad: bool) -> int:
    consent = log.grant(kind="consent.granted" if bad else "consent.requested")
    return log.change("consent.activated", consent)


@case(Kind.ILLEGAL_TRANSITION)
def a_consent_is_activated_once(log: Logbook, bad: bool) -> int:
    one, two = (log.grant(kind="consent.requested") for _ in range(2))
    log.change("consent.activated", one)
    return log.change("consent.activated", one if bad else two)


@case(Kind.ILLEGAL_TRANSITION)
def only_an_active_consent_is_paused(log: Logbook, bad: bool) -> int:
    consent = log.grant(kind="consent.requested" if bad else "consent.granted")
    return log.change("consent.paused", consent)


@case(Kind.ILLEGAL_TRANSITION)
def only_a_paused_consent_is_resumed(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    if not bad:
        log.change("consent.paused", consent)
    return log.change("consent.resumed", consent)


@case(Kind.ILLEGAL_TRANSITION)
def an_expired_consent_is_not_resumed(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    log.change("consent.paused", consent)
    return log.wait(days=366 if bad else 2).change("consent.resumed", consent)


@case(Kind.ILLEGAL_TRANSITION)
def a_withdrawn_consent_is_not_resumed(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant()
    for consent in (one, two):
        log.change("consent.paused", consent)
    log.withdraw(one)
    return log.change("consent.resumed", one if bad else two)


@case(Kind.CONSENT_UNKNOWN)
def only_a_recorded_consent_is_withdrawn(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.withdrawn", STRANGER if bad else consent)


@case(Kind.CONSENT_MISMATCH)
def a_change_names_the_recipient_of_the_grant(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.paused", consent, recipient="beta" if bad else "alpha")


@case(Kind.CONSENT_MISMATCH)
def a_change_names_the_subject_of_the_grant(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.paused", consent, subject=digest("x") if bad else digest(consent))


@case(Kind.CONSENT_MISMATCH)
def a_member_changes_its_own_consents_only(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.paused", consent, "beta" if bad else "alpha", recipient="alpha")


@case(Kind.CONSENT_MISMATCH)
def a_consent_is_recorded_by_its_recipient(log: Logbook, bad: bool) -> int:
    log.grant("beta" if bad else "alpha", recipient="alpha")
    return len(log.entries) - 1


@case(Kind.CONSENT_AGAINST_POLICY)
def a_consent_is_not_longer_than_its_jurisdiction_allows(log: Logbook, bad: bool) -> int:
    # Five years from 5 January 2026; the microsecond after is too many.
    expiry = log.now.replace(year=2031) + timedelta(microseconds=1 if bad else 0)
    log.grant(expiry=expiry)
    return len(log.entries) - 1


@case(Kind.CONSENT_AGAINST_POLICY)
def a_chinese_consent_has_one_purpose(log: Logbook, bad: bool) -> int:
    log.grant(purposes=["underwriting", "contribution"], jurisdiction="CN" if bad else "US")
    return len(log.entries) - 1


@case(Kind.CONSENT_AGAINST_POLICY)
def a_consent_has_what_its_jurisdiction_requires(log: Logbook, bad: bool) -> int:
    log.grant(withdrawal_method=None, jurisdiction="EU" if bad else "ZZ")
    return len(log.entries) - 1


@case(Kind.CONSENT_AGAINST_POLICY)
def a_jurisdiction_is_one_that_the_policies_know(log: Logbook, bad: bool) -> int:
    log.grant(jurisdiction="XX" if bad else "US")
    return len(log.entries) - 1


@case(Kind.CONSENT_AGAINST_POLICY)
def a_given_consent_has_evidence(log: Logbook, bad: bool) -> int:
    log.grant(evidence_sha256=None if bad else digest("signed"))
    return len(log.entries) - 1


@case(Kind.CONSENT_AGAINST_POLICY)
def a_consent_begins_before_it_expires(log: Logbook, bad: bool) -> int:
    log.grant(expiry=log.now - DAY if bad else log.now + DAY)
    return len(log.entries) - 1


@case(Kind.OLDER_FORM)
def consents_do_not_return_to_the_form_without_jurisdictions(log: Logbook, bad: bool) -> int:
    if not bad:
        log.grant(jurisdiction=None, policies=None)
    log.grant()
    if bad:
        log.grant(jurisdiction=None, policies=None)
    return len(log.entries) - 1


def manager_of(log: Logbook) -> None:
    log.add("manager.registered", "operator/op", manager="aa", name="Account Aggregator", key="k1")


def signed(signer: str, key: str) -> dict[str, str | None]:
    return {
        "evidence_sha256": None,
        "evidence_jws_sha256": digest("jws"),
        "evidence_signer": signer,
        "evidence_key": key,
    }


@case(Kind.MANAGER_UNKNOWN)
def a_manager_that_signs_is_registered(log: Logbook, bad: bool) -> int:
    manager_of(log)
    log.grant(**signed("manager:bb" if bad else "manager:aa", "k1"))
    return len(log.entries) - 1


@case(Kind.MANAGER_UNKNOWN)
def a_manager_signs_with_its_registered_key(log: Logbook, bad: bool) -> int:
    manager_of(log)
    log.grant(**signed("manager:aa", "k2" if bad else "k1"))
    return len(log.entries) - 1


@case(Kind.MANAGER_UNKNOWN)
def a_disabled_manager_signs_no_more(log: Logbook, bad: bool) -> int:
    manager_of(log)
    if bad:
        log.add("manager.disabled", "operator/op", manager="aa")
    log.grant(**signed("manager:aa", "k1"))
    return len(log.entries) - 1


@case(Kind.MANAGER_UNKNOWN)
def a_manager_that_revokes_is_registered(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    if not bad:
        manager_of(log)
    return log.change("consent.revoked", consent, by="manager:aa")


@case(Kind.WITHDRAWAL_LATE)
def a_withdrawal_is_recorded_in_time(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    asked = text(log.now)
    log.wait(days=16 if bad else 15)
    return log.change("consent.withdrawn", consent, asked_at=asked)


@case(Kind.MALFORMED)
def a_withdrawal_is_asked_for_before_it_is_recorded(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    asked = text(log.now + (DAY if bad else -DAY))
    return log.change("consent.withdrawn", consent, asked_at=asked)


# Notices.


@case(Kind.NOTICE_MISSING)
def a_withdrawal_has_a_notice(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.withdrawn", consent, **(dict.fromkeys(log.notice()) if bad else {}))


@case(Kind.NOTICE_MISSING)
def a_revocation_has_a_notice(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.revoked", consent, **(dict.fromkeys(log.notice()) if bad else {}))


@case(Kind.NOTICE_MISSING)
def an_erasure_has_a_notice_for_every_consent(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant("beta")
    index = erase(log, one, two)
    if bad:
        del log.items[index][1]["notice"]
    return index


@case(Kind.NOTICE_AGAINST_POLICY)
def a_notice_asks_for_acknowledgement_in_time(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.withdrawn", consent, **log.notice(4 if bad else 3, 15))


@case(Kind.NOTICE_AGAINST_POLICY)
def a_notice_asks_for_deletion_in_time(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return log.change("consent.withdrawn", consent, **log.notice(3, 16 if bad else 15))


@case(Kind.NOTICE_INCONSISTENT)
def a_notice_has_an_id_of_its_own(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant()
    notice = log.withdraw(one)
    return log.change("consent.withdrawn", two, **({"notice": notice} if bad else {}))


@case(Kind.NOTICE_INCONSISTENT)
def only_a_notice_that_was_sent_is_acknowledged(log: Logbook, bad: bool) -> int:
    notice = log.withdraw(log.grant())
    sent = STRANGER if bad else notice
    return log.add("notice.acknowledged", "alpha", notice=sent, member="alpha")


@case(Kind.NOTICE_INCONSISTENT)
def a_notice_is_acknowledged_by_whom_it_was_sent_to(log: Logbook, bad: bool) -> int:
    notice = log.withdraw(log.grant())
    by = "beta" if bad else "alpha"
    return log.add("notice.acknowledged", by, notice=notice, member=by)


@case(Kind.NOTICE_INCONSISTENT)
def a_notice_is_acknowledged_once(log: Logbook, bad: bool) -> int:
    one, two = (log.withdraw(log.grant()) for _ in range(2))
    log.add("notice.acknowledged", "alpha", notice=one, member="alpha")
    return log.add("notice.acknowledged", "alpha", notice=one if bad else two, member="alpha")


@case(Kind.NOTICE_INCONSISTENT)
def deletion_is_confirmed_once(log: Logbook, bad: bool) -> int:
    one, two = (log.withdraw(log.grant()) for _ in range(2))
    log.deleted(one)
    return log.deleted(one if bad else two)


@case(Kind.NOTICE_INCONSISTENT)
def an_alarm_has_a_reason(log: Logbook, bad: bool) -> int:
    # Due within the minute, so that the log without the alarm would be fine as well.
    due = log.now + timedelta(minutes=1)
    index = log.change(
        "consent.withdrawn", log.grant(), acknowledge_by=text(due), delete_by=text(due + DAY)
    )
    notice = log.entries[index]["notice"]
    if bad:
        log.add("notice.acknowledged", "alpha", notice=notice, member="alpha")
        log.wait(minutes=2)
        return log.add(
            "notice.overdue",
            "gateway/gateway",
            notice=notice,
            member="alpha",
            what="acknowledgement",
            due=text(due),
        )
    log.add("notice.acknowledged", "alpha", notice=notice, member="alpha")
    return index


@case(Kind.ACKNOWLEDGEMENT_LATE)
def a_notice_is_acknowledged_in_time(log: Logbook, bad: bool) -> int:
    notice = log.withdraw(log.grant())
    log.wait(days=3, seconds=0 if bad else -5)
    return log.add("notice.acknowledged", "alpha", notice=notice, member="alpha")


@case(Kind.DELETION_LATE)
def deletion_is_confirmed_in_time(log: Logbook, bad: bool) -> int:
    notice = log.withdraw(log.grant())
    log.add("notice.acknowledged", "alpha", notice=notice, member="alpha")
    log.wait(days=15, seconds=0 if bad else -5)
    return log.deleted(notice)


@case(Kind.ACKNOWLEDGEMENT_LATE)
def a_notice_is_acknowledged_at_all(log: Logbook, bad: bool) -> int:
    index = log.change("consent.withdrawn", log.grant())
    notice = log.entries[index]["notice"]
    log.deleted(notice) if bad else log.settle(notice)
    log.wait(days=4).grant()
    return index


@case(Kind.DELETION_LATE)
def deletion_is_confirmed_at_all(log: Logbook, bad: bool) -> int:
    index = log.change("consent.withdrawn", log.grant())
    notice = log.entries[index]["notice"]
    log.add("notice.acknowledged", "alpha", notice=notice, member="alpha")
    if not bad:
        log.deleted(notice)
    log.wait(days=16).grant()
    return index


# Disputes.


def open_dispute(log: Logbook, days: int = 20, **fields: object) -> str:
    values = {
        "dispute": log.id(),
        "subject": digest("someone"),
        "jurisdiction": "CN",
        "about": ACCOUNTS,
        "answer_by": text(log.now + days * DAY),
    }
    log.add("dispute.opened", "alpha", **{**values, **fields})
    return str(values["dispute"])


def answer(
    log: Logbook,
    dispute: str,
    kind: str = "dispute.answered",
    by: str = "beta",
    member: str = "beta",
) -> int:
    return log.add(
        kind,
        by,
        dispute=dispute,
        outcome="corrected",
        statement_sha256=digest("statement"),
        member=member,
    )


def overdue(
    log: Logbook, dispute: str, due: str, member: str = "beta", by: str = "gateway/gateway"
) -> int:
    return log.add("dispute.overdue", by, dispute=dispute, member=member, due=due)


@case(Kind.DISPUTE_AGAINST_POLICY)
def a_dispute_is_to_be_answered_in_time(log: Logbook, bad: bool) -> int:
    open_dispute(log, 21 if bad else 20)
    return len(log.entries) - 1


@case(Kind.DISPUTE_LATE)
def a_dispute_is_answered_in_time(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log)
    index = answer(log.wait(days=21 if bad else 19), dispute)
    answer(log, dispute, "dispute.resolved", "operator/op")
    return index


@case(Kind.DISPUTE_LATE)
def a_dispute_is_answered_at_all(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log)
    index = len(log.entries) - 1
    if not bad:
        answer(log, dispute)
        answer(log, dispute, "dispute.resolved", "operator/op")
    log.wait(days=21).grant()
    return index


@case(Kind.DISPUTE_AGAINST_POLICY)
def a_dispute_is_extended_no_longer_than_allowed(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log, 30, jurisdiction="US")
    by = text(log.now + (46 if bad else 45) * DAY - timedelta(hours=1))
    return log.add("dispute.extended", "operator/op", dispute=dispute, answer_by=by)


@case(Kind.DISPUTE_LATE)
def a_dispute_is_extended_before_its_deadline(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log, 30, jurisdiction="US")
    by = text(log.now + 45 * DAY - timedelta(hours=1))
    log.wait(days=31 if bad else 29)
    return log.add("dispute.extended", "operator/op", dispute=dispute, answer_by=by)


@case(Kind.DISPUTE_INCONSISTENT)
def a_dispute_is_extended_once(log: Logbook, bad: bool) -> int:
    one, two = (open_dispute(log, 30, jurisdiction="US") for _ in range(2))
    by = text(log.now + 40 * DAY)
    log.add("dispute.extended", "operator/op", dispute=one, answer_by=by)
    dispute = one if bad else two
    return log.add("dispute.extended", "operator/op", dispute=dispute, answer_by=by)


@case(Kind.DISPUTE_INCONSISTENT)
def only_an_opened_dispute_is_answered(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log)
    return answer(log, STRANGER if bad else dispute)


@case(Kind.DISPUTE_INCONSISTENT)
def a_dispute_is_resolved_once(log: Logbook, bad: bool) -> int:
    one, two = (open_dispute(log) for _ in range(2))
    answer(log, one, "dispute.resolved", "operator/op")
    return answer(log, one if bad else two, "dispute.resolved", "operator/op")


@case(Kind.DISPUTE_INCONSISTENT)
def a_resolved_dispute_is_not_answered(log: Logbook, bad: bool) -> int:
    one, two = (open_dispute(log) for _ in range(2))
    answer(log, one, "dispute.resolved", "operator/op")
    return answer(log, one if bad else two)


@case(Kind.DISPUTE_INCONSISTENT)
def a_member_answers_in_its_own_name(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log)
    return answer(log, dispute, by="gamma" if bad else "beta")


@case(Kind.DISPUTE_INCONSISTENT)
def only_an_opened_dispute_is_overdue(log: Logbook, bad: bool) -> int:
    dispute = open_dispute(log)
    if bad:
        return overdue(log, STRANGER, text(log.now))
    return answer(log, dispute)


@case(Kind.USE_BEYOND_PURPOSE)
def a_dispute_rests_on_a_consent_to_it(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["underwriting" if bad else "dispute"])
    open_dispute(log, consents=use(consent))
    return len(log.entries) - 1


@case(Kind.REFUSAL_NAMES_CONSENT)
def a_refused_dispute_names_no_consent(log: Logbook, bad: bool) -> int:
    consent = log.grant(purposes=["dispute"])
    return log.add(
        "dispute.refused",
        request=log.id(),
        subject=digest("someone"),
        consents=use(consent if bad else NONE),
        about=f"{ACCOUNTS}.not_mine",
        statement_sha256=digest("words"),
    )


# Erasure.


def request_erasure(log: Logbook) -> str:
    erasure = log.id()
    log.add(
        "erasure.requested",
        "alpha",
        erasure=erasure,
        subject=digest("someone"),
        request=log.id(),
        ground="consent withdrawn",
        evidence_sha256=digest("letter"),
    )
    return erasure


def execute(log: Logbook, erasure: str, *consents: str) -> int:
    recipients = {entry.get("consent"): entry.get("recipient") for entry in log.entries}
    items = [
        {"consent": consent, "recipient": recipients.get(consent, "alpha"), **log.notice()}
        for consent in consents
    ]
    fields = {"erasure": erasure, "subject": digest("someone"), "basis": "GDPR 17", "rows": 7}
    return log.add("erasure.executed", "operator/op", items=items or None, **fields)


def erase(log: Logbook, *consents: str) -> int:
    return execute(log, request_erasure(log), *consents)


@case(Kind.ERASURE_INCONSISTENT)
def an_erasure_is_asked_for(log: Logbook, bad: bool) -> int:
    erasure = request_erasure(log)
    return execute(log, STRANGER if bad else erasure)


@case(Kind.ERASURE_INCONSISTENT)
def an_erasure_is_decided_once(log: Logbook, bad: bool) -> int:
    one, two = request_erasure(log), request_erasure(log)
    log.add("erasure.refused", "operator/op", erasure=one, basis="legal hold")
    return execute(log, one if bad else two)


@case(Kind.ERASURE_LATE)
def an_erasure_is_decided_in_time(log: Logbook, bad: bool) -> int:
    erasure = request_erasure(log)
    return execute(log.wait(days=16 if bad else 15), erasure)


@case(Kind.ERASURE_LATE)
def an_erasure_is_decided_at_all(log: Logbook, bad: bool) -> int:
    erasure = request_erasure(log)
    index = len(log.entries) - 1
    if not bad:
        execute(log, erasure)
    log.wait(days=16).grant()
    return index


@case(Kind.CONSENT_UNKNOWN)
def an_erasure_ends_consents_of_the_log(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    return erase(log, STRANGER if bad else consent)


@case(Kind.ILLEGAL_TRANSITION)
def a_consent_is_erased_once(log: Logbook, bad: bool) -> int:
    one, two = log.grant(), log.grant()
    erase(log, one)
    return erase(log, one if bad else two)


# Members.


@case(Kind.MEMBER_UNKNOWN)
def only_members_act(log: Logbook, bad: bool) -> int:
    return log.lookup([], "delta" if bad else "beta", refused=1)


@case(Kind.MEMBER_UNKNOWN)
def an_invited_member_acts_after_it_has_joined(log: Logbook, bad: bool) -> int:
    log.add("member.invited", "operator/op", member="delta", name="Delta", certificate=NONE)
    if not bad:
        log.add("member.joined", "invitation/delta", member="delta", certificate=NONE)
    return log.lookup([], "delta", refused=1)


def suspend(log: Logbook, member: str, kind: str = "member.suspended") -> int:
    return log.add(kind, "operator/op", member=member, reason="under review")


@case(Kind.MEMBER_SUSPENDED)
def a_suspended_member_uses_nothing(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    suspend(log, "alpha")
    if not bad:
        suspend(log, "alpha", "member.reinstated")
    return log.lookup([consent])


@case(Kind.MEMBER_SUSPENDED)
def a_suspended_member_may_still_record_withdrawals(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    suspend(log, "alpha")
    if bad:
        log.grant()
    else:
        log.withdraw(consent)
    return len(log.entries) - 1


@case(Kind.MEMBER_INCONSISTENT)
def a_member_is_suspended_once(log: Logbook, bad: bool) -> int:
    suspend(log, "alpha")
    return suspend(log, "alpha" if bad else "beta")


@case(Kind.MEMBER_INCONSISTENT)
def only_a_suspended_member_is_reinstated(log: Logbook, bad: bool) -> int:
    if not bad:
        suspend(log, "alpha")
    return suspend(log, "alpha", "member.reinstated")


@case(Kind.MEMBER_INCONSISTENT)
def a_member_joins_after_an_invitation(log: Logbook, bad: bool) -> int:
    if not bad:
        log.add("member.invited", "operator/op", member="delta", name="Delta", certificate=NONE)
    return log.add("member.joined", "invitation/delta", member="delta", certificate=NONE)


@case(Kind.WRONG_ACTOR)
def members_are_invited_by_the_operator(log: Logbook, bad: bool) -> int:
    by = "alpha" if bad else "operator/op"
    return log.add("member.invited", by, member="delta", name="Delta", certificate=NONE)


@case(Kind.WRONG_ACTOR)
def actors_are_of_one_trust_domain(log: Logbook, bad: bool) -> int:
    index = log.lookup([log.grant()])
    if bad:
        log.entries[index]["actor"] = "spiffe://elsewhere.example/member/alpha"
    return index


@case(Kind.QUOTA_EXCEEDED)
def a_member_looks_up_no_more_than_its_quota(log: Logbook, bad: bool) -> int:
    log.lookup([], refused=3)
    log.add("quota.set", "operator/op", member="alpha", lookups_daily=5, lookups_monthly=90)
    return log.lookup([], refused=3 if bad else 2)


@case(Kind.QUOTA_EXCEEDED)
def a_member_looks_up_no_more_than_its_quota_of_a_month(log: Logbook, bad: bool) -> int:
    log.add("quota.set", "operator/op", member="alpha", lookups_daily=5, lookups_monthly=8)
    log.lookup([], refused=5)
    return log.wait(days=1).lookup([], refused=4 if bad else 3)


# The form.


@case(Kind.UNKNOWN_TYPE)
def every_type_is_known(log: Logbook, bad: bool) -> int:
    return log.add(
        "staff.looked" if bad else "staff.viewed", "auditor/au", view="ledger.export", case="7"
    )


@case(Kind.MALFORMED)
def an_actor_is_a_party_of_the_consortium(log: Logbook, bad: bool) -> int:
    index = log.add("staff.viewed", "auditor/au", view="subject.open", case="7")
    if bad:
        log.entries[index]["actor"] = "somebody"
    return index


@case(Kind.MALFORMED)
def a_decision_is_to_permit_or_to_refuse(log: Logbook, bad: bool) -> int:
    index = log.lookup([], refused=1)
    if bad:
        log.items[index][0]["decision"] = "maybe"
    return index


@case(Kind.MALFORMED)
def a_frequency_has_a_unit(log: Logbook, bad: bool) -> int:
    log.grant(frequency={"unit": "week" if bad else "day", "uses": 1})
    return len(log.entries) - 1


def test_a_consent_stays_ended_whatever_is_written_later() -> None:
    log = Logbook()
    consent = log.grant()
    log.withdraw(consent)
    resumed = log.change("consent.resumed", consent)
    used = log.lookup([consent])
    assert found(log.replay()) == [(Kind.ILLEGAL_TRANSITION, resumed), (Kind.USE_NOT_LIVE, used)]


def test_a_consent_that_ends_a_second_time_needs_no_second_notice() -> None:
    log = Logbook()
    consent = log.grant()
    log.withdraw(consent)
    again = log.change("consent.withdrawn", consent, **dict.fromkeys(log.notice()))
    assert found(log.replay()) == [(Kind.ILLEGAL_TRANSITION, again)]


def test_an_erasure_names_ended_consents_too_and_they_need_no_second_notice() -> None:
    log = Logbook()
    ended, live = log.grant(), log.grant()
    log.withdraw(ended)
    index = erase(log, ended, live)
    for field in ("notice", "acknowledge_by", "delete_by"):
        del log.items[index][0][field]
    assert found(log.replay()) == []


def test_contributions_do_not_count_against_a_frequency() -> None:
    log = Logbook()
    consent = log.grant(
        purposes=["underwriting", "contribution"],
        jurisdiction="US",
        frequency={"unit": "month", "uses": 1},
    )
    log.contribute([use(consent)] * 300)
    log.lookup([consent])
    beyond = log.lookup([consent])
    assert found(log.replay()) == [(Kind.USE_BEYOND_FREQUENCY, beyond)]


def test_the_last_moment_of_a_deadline_is_in_time() -> None:
    log = Logbook()
    # Entries are a second apart: grant, withdrawal, acknowledgement, deletion.
    acknowledge_by, delete_by = log.now + timedelta(seconds=3), log.now + timedelta(seconds=4)
    notice = log.withdraw(
        log.grant(), acknowledge_by=text(acknowledge_by), delete_by=text(delete_by)
    )
    log.settle(notice)
    assert found(log.replay()) == []
    assert found(log.replay(as_of=delete_by)) == []


def test_what_is_due_at_a_moment_is_late_only_after_it() -> None:
    log = Logbook()
    index = log.change("consent.withdrawn", log.grant())
    due = log.now - timedelta(seconds=1) + 3 * DAY
    assert log.entries[index]["acknowledge_by"] == text(due)
    assert found(log.replay(as_of=due)) == []
    late = log.replay(as_of=due + timedelta(microseconds=1))
    assert found(late) == [(Kind.ACKNOWLEDGEMENT_LATE, index)]


def test_a_dispute_that_was_resolved_at_once_is_not_open() -> None:
    log = Logbook()
    answer(log, open_dispute(log), "dispute.resolved", "operator/op")
    log.wait(days=40).grant()
    assert found(log.replay()) == []


def test_answers_withheld_long_after_their_lookup_are_not_recheckable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("concordat_privacy.audit.uses.RECENT_SUBJECTS", 10)
    log = Logbook()
    consent = log.grant()
    old = log.lookup([consent])
    new = [log.lookup([consent] * 4) for _ in range(3)]
    log.withdraw(consent)
    for item in range(4):
        withheld(log, new[-1], item)
    withheld(log, new[-2], 0)
    withheld(log, old, 0)
    replay = log.replay()
    assert found(replay) == []
    assert replay.uses.counts.not_recheckable == {"withheld answers of lookups long before": 1}
    assert replay.members.by_id["alpha"].withheld == 5


def test_withheld_answers_are_remembered_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concordat_privacy.audit.uses.RECENT_SUBJECTS", 10)
    log = Logbook()
    one, two = log.grant(), log.grant()
    first = log.lookup([one] * 4)
    log.withdraw(one)
    withheld(log, first, 0, 1, 2, 3)
    # Four and four: both fit, since the first four are settled.
    second, _ = log.lookup([two] * 4), log.lookup([two] * 4)
    log.withdraw(two)
    withheld(log, second, 0)
    replay = log.replay()
    assert found(replay) == []
    assert replay.uses.counts.unchecked == 0


def test_an_entry_at_the_moment_of_the_audit_is_part_of_it() -> None:
    log = Logbook()
    log.grant()
    last = log.now
    log.wait(days=1).grant()
    replay = log.replay(as_of=last)
    assert (len(replay.consents.by_id), replay.left_out) == (1, 1)


def test_every_answer_of_a_dispute_is_held_to_the_deadline() -> None:
    log = Logbook()
    dispute = open_dispute(log)
    answer(log, dispute)
    late = answer(log.wait(days=25), dispute)
    answer(log, dispute, "dispute.resolved", "operator/op")
    assert found(log.replay()) == [(Kind.DISPUTE_LATE, late)]


def test_a_dispute_that_not_all_have_answered_is_late() -> None:
    log = Logbook()
    dispute = open_dispute(log)
    opened = len(log.entries) - 1
    answer(log, dispute)
    log.wait(days=21).grant()
    assert found(log.replay()) == [(Kind.DISPUTE_LATE, opened)]


def test_a_dispute_that_one_has_answered_may_be_put_off_for_the_others() -> None:
    log = Logbook()
    dispute = open_dispute(log, 30, jurisdiction="US")
    by = text(log.now + 44 * DAY)
    answer(log.wait(days=10), dispute)
    log.add("dispute.extended", "alpha", dispute=dispute, answer_by=by)
    answer(log.wait(days=25), dispute)
    answer(log, dispute, "dispute.resolved", "gateway/gateway")
    assert found(log.replay()) == []


def test_an_alarm_before_its_time_has_no_reason() -> None:
    log = Logbook()
    sent = log.change("consent.withdrawn", log.grant())
    entry = log.entries[sent]
    alarm = {"notice": entry["notice"], "member": "alpha", "due": entry["acknowledge_by"]}
    early = log.add("notice.overdue", "gateway/gateway", what="acknowledgement", **alarm)
    assert found(log.replay()) == [(Kind.NOTICE_INCONSISTENT, early)]
    log.wait(days=4).add("notice.overdue", "gateway/gateway", what="acknowledgement", **alarm)
    late = (Kind.ACKNOWLEDGEMENT_LATE, sent)
    assert found(log.replay()) == [late, (Kind.NOTICE_INCONSISTENT, early)]


def test_that_an_answer_is_overdue_is_said_only_of_one_that_is() -> None:
    log = Logbook()
    dispute = open_dispute(log)
    opened, due = len(log.entries) - 1, str(log.entries[-1]["answer_by"])
    answer(log, dispute)
    log.wait(days=20, seconds=-3)
    early = overdue(log, dispute, due, "gamma")
    assert log.entries[early]["time"] == due
    answered = overdue(log, dispute, due, "beta")
    another = overdue(log, dispute, text(log.now), "gamma")
    overdue(log, dispute, due, "gamma")
    by_staff = overdue(log, dispute, due, "gamma", by="operator/op")
    wrong = [(Kind.DISPUTE_INCONSISTENT, index) for index in (early, answered, another)]
    wrong.append((Kind.WRONG_ACTOR, by_staff))
    assert found(log.replay()) == [(Kind.DISPUTE_LATE, opened), *wrong]
    last = answer(log, dispute, by="gamma", member="gamma")
    answer(log, dispute, "dispute.resolved", "gateway/gateway")
    assert found(log.replay()) == [*wrong, (Kind.DISPUTE_LATE, last)]


PERSON = {kind for kind in Kind if kind.name.startswith("PERSON_")}


@pytest.mark.parametrize(("kind", "build"), CASES, ids=[build.__name__ for _, build in CASES])
def test_a_rule_is_kept_or_broken(kind: Kind, build: Case) -> None:
    kept, broken = Logbook(), Logbook()
    build(kept, False)
    assert found(kept.replay()) == []
    blamed = build(broken, True)
    assert found(broken.replay()) == [(kind, blamed)]


def test_every_kind_of_finding_has_a_case() -> None:
    assert {kind for kind, _ in CASES} == set(Kind) - PERSON


@pytest.mark.parametrize("kind", ["lookup", "lookup.withheld", "training.run"])
@pytest.mark.parametrize("items", [None, 0, 3])
def test_a_use_that_commits_to_no_items_is_never_passed_over(kind: str, items: int | None) -> None:
    """It would hide whose data was used, and under which consent, for ever."""
    log = Logbook()
    index = log.lookup([log.grant("alpha")], "alpha")
    hiding = log.add(kind, "alpha", purpose="underwriting", request=log.id(), lookup=index)
    if items is not None:
        log.entries[hiding]["items"] = items
    assert (Kind.MALFORMED, hiding) in found(log.replay())
