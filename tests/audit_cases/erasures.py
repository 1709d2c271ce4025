"""Erasures."""

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.builders import erase, execute, request_erasure
from tests.audit_cases.cases import case
from tests.logbook import STRANGER, Logbook


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
