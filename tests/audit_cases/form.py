"""The form of entries."""

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.cases import case
from tests.logbook import Logbook


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
