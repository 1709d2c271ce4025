"""Consents and their changes, and the managers that sign them."""

from datetime import timedelta

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.cases import case
from tests.logbook import DAY, STRANGER, Logbook, digest, text


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
