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


def _three(log: Logbook, by: str = "alpha") -> tuple[int, list[dict[str, str]]]:
    """A batch of three rows, and uses for another."""
    consent = log.grant(by, purposes=["contribution"])
    rows = [use(consent)] * 3
    return log.contribute(rows, by), rows


def _replacing(
    log: Logbook, rows: list[dict[str, str]], *replaces: list[int], by: str = "alpha"
) -> int:
    """A batch whose rows replace others."""
    index = log.contribute(rows, by, replaced=len(replaces))
    log.items[index][0]["replaces"] = [*replaces]
    return index


def _withdrawn(log: Logbook, *named: list[int], by: str = "alpha", **fields: int) -> int:
    """A withdrawal of rows."""
    values: dict[str, object] = {
        "batch": log.id(),
        "epoch": 1,
        "request": log.id(),
        "request_sha256": digest("request"),
        "rows": len(named),
        "refused": 0,
        "rows_root": digest("rows"),
    }
    items = [{"first": 0, "withdrawn": [*named]}]
    return log.add("contribution.withdrawn", by, items=items, **{**values, **fields})


@case(Kind.REPLACED_UNKNOWN)
def a_replaced_row_is_one_of_its_batch(log: Logbook, bad: bool) -> int:
    batch, rows = _three(log)
    return _replacing(log, rows, [0, batch, 3 if bad else 2])


@case(Kind.REPLACED_UNKNOWN)
def a_row_replaces_one_of_an_earlier_batch(log: Logbook, bad: bool) -> int:
    batch, rows = _three(log)
    return _replacing(log, rows, [1, batch + 1 if bad else batch, 0])


@case(Kind.REPLACED_UNKNOWN)
def a_withdrawn_row_is_one_of_a_batch(log: Logbook, bad: bool) -> int:
    batch, _ = _three(log)
    return _withdrawn(log, [0 if bad else batch, 1])


@case(Kind.REPLACED_BY_ANOTHER)
def a_member_replaces_its_own_rows(log: Logbook, bad: bool) -> int:
    theirs, _ = _three(log, "beta")
    mine, rows = _three(log)
    return _replacing(log, rows, [0, theirs if bad else mine, 0])


@case(Kind.REPLACED_BY_ANOTHER)
def a_member_withdraws_its_own_rows(log: Logbook, bad: bool) -> int:
    batch, _ = _three(log, "beta")
    return _withdrawn(log, [batch, 0], by="alpha" if bad else "beta")


@case(Kind.REPLACED_TWICE)
def a_row_is_replaced_once(log: Logbook, bad: bool) -> int:
    batch, rows = _three(log)
    second = _replacing(log, rows, [0, batch, 0], [2, batch, 1])
    return _replacing(log, rows, [0, batch if bad else second, 0])


@case(Kind.REPLACED_TWICE)
def a_replaced_row_is_not_withdrawn(log: Logbook, bad: bool) -> int:
    batch, rows = _three(log)
    _replacing(log, rows, [0, batch, 0])
    return _withdrawn(log, [batch, 0 if bad else 1])


@case(Kind.REPLACED_TWICE)
def a_row_is_withdrawn_once(log: Logbook, bad: bool) -> int:
    batch, _ = _three(log)
    return _withdrawn(log, [batch, 0], [batch, 0 if bad else 1])


@case(Kind.ROWS_MISCOUNTED)
def as_many_rows_are_replaced_as_the_entry_says(log: Logbook, bad: bool) -> int:
    batch, rows = _three(log)
    index = _replacing(log, rows, [0, batch, 0])
    if bad:
        log.entries[index]["replaced"] = 2
    return index


@case(Kind.ROWS_MISCOUNTED)
def as_many_rows_are_withdrawn_as_the_entry_says(log: Logbook, bad: bool) -> int:
    batch, _ = _three(log)
    return _withdrawn(log, [batch, 0], rows=2 if bad else 1)


@case(Kind.MALFORMED)
def a_replacing_row_is_one_of_its_item(log: Logbook, bad: bool) -> int:
    batch, rows = _three(log)
    return _replacing(log, rows, [3 if bad else 2, batch, 0])


@case(Kind.WRONG_ACTOR)
def rows_are_withdrawn_by_members(log: Logbook, bad: bool) -> int:
    _three(log)
    index = _withdrawn(log, by="operator/op" if bad else "alpha")
    del log.items[index]
    return index
