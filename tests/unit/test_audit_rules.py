"""The rules of the audit: every case kept and broken, and what one blamed entry cannot show."""

from datetime import timedelta

import pytest

from concordat_privacy.audit.findings import Kind
from tests.audit_cases import CASES, Case
from tests.audit_cases.builders import (
    answer,
    end,
    erase,
    open_dispute,
    overdue,
    part,
    use,
    withheld,
)
from tests.logbook import DAY, Logbook, found, text


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


def test_a_malformed_part_is_held_against_its_consents_all_the_same() -> None:
    log = Logbook()
    index = log.contribute([use("ab" * 16)], upload="no id", sequence=1)
    assert sorted(kind.value for kind, _ in found(log.replay())) == [
        "malformed",
        "use_without_consent",
    ]
    assert {entry for _, entry in found(log.replay())} == {index}


def test_uploads_that_were_ended_and_that_were_not_are_counted_for_each_member() -> None:
    log = Logbook()
    ended, left = log.id(), log.id()
    part(log, ended, 1)
    part(log, left, 1)
    part(log, ended, 2)
    end(log, ended, 2)
    part(log, left, 2, "beta")
    replay = log.replay()
    assert [kind for kind, _ in found(replay)] == [Kind.UPLOAD_OUT_OF_ORDER]
    counted = {m.id: (m.uploads, m.uploads_ended) for m in replay.members.by_id.values()}
    assert (counted["alpha"], counted["beta"]) == ((2, 1), (1, 0))


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
