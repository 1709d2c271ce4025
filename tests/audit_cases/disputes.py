"""Disputes."""

from datetime import timedelta

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.builders import answer, open_dispute, overdue, use
from tests.audit_cases.cases import case
from tests.logbook import ACCOUNTS, DAY, NONE, STRANGER, Logbook, digest, text


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
