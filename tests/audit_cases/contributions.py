"""Contributions and training."""

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.builders import use
from tests.audit_cases.cases import case
from tests.logbook import ACCOUNTS, Logbook, digest


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
