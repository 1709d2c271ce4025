"""The pool: questions, their budget, key epochs, retention."""

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.cases import case
from tests.logbook import ACCOUNTS, NONE, Logbook, digest


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


@case(Kind.RETENTION_LATE)
def adverse_rows_leave_by_the_first_delinquency_too(log: Logbook, bad: bool) -> int:
    # Seven years and 180 days, here six months, before January 2026 it was July 2018.
    return log.add(
        "retention.executed",
        "gateway/gateway",
        jurisdiction="US",
        kind="adverse",
        before="2019-01",
        delinquency_before="2018-05" if bad else "2018-06",
        rows=3,
    )
