"""Notices of consents that ended."""

from datetime import timedelta

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.builders import erase
from tests.audit_cases.cases import case
from tests.logbook import DAY, STRANGER, Logbook, text


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
