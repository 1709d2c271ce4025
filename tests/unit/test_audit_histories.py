"""Random legal histories have no finding; one illegal act among them is found, and only it."""

import csv
import io
import json
import tracemalloc
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concordat_privacy.audit import documents, render
from concordat_privacy.audit.person import Person
from concordat_privacy.audit.replay import Replay
from concordat_privacy.audit.subject_keys import SubjectKeys
from concordat_privacy.audit.uses import RECENT_SUBJECTS
from concordat_privacy.log import leaf
from concordat_privacy.log.report import Report
from tests.audit_cases.builders import end, part
from tests.logbook import DAY, NONE, STRANGER, Logbook, found, text

MEMBERS = ("alpha", "beta", "gamma")
PURPOSES = ("underwriting", "portfolio_review", "contribution")
CATEGORIES = ("credit_accounts", "inquiries", "spending")
DAYS_VALID = 40


@dataclass
class Held:
    """A consent as the model has it: the audit's own states are not asked."""

    id: str
    member: str
    purpose: str
    categories: list[str]
    expires: datetime
    state: str
    uses_a_day: int
    used: dict[str, int] = field(default_factory=dict)

    def live(self, now: datetime) -> bool:
        return self.state == "active" and now < self.expires

    def ended(self) -> bool:
        return self.state in ("withdrawn", "revoked")


class History:
    """A log that grows by legal acts, and may be given illegal ones."""

    def __init__(self, draw: Any) -> None:
        self.log = Logbook(MEMBERS)
        self.held: list[Held] = []
        self.open_notices: list[tuple[str, str]] = []
        self._draw = draw

    def pick(self, options: list[Any]) -> Any:
        return self._draw(st.sampled_from(options))

    def number(self, least: int, most: int) -> int:
        return int(self._draw(st.integers(least, most)))

    @property
    def next(self) -> datetime:
        """When the next entry will be written."""
        return self.log.now + DAY / 86_400

    def legal_act(self) -> None:
        acts = [self.grant, self.wait, self.use, self.refuse, self.pause, self.end, self.settle]
        self.pick([self.grant, *acts])()

    def grant(self) -> None:
        member, purpose = self.pick(list(MEMBERS)), self.pick(list(PURPOSES))
        categories = [CATEGORIES[0], *CATEGORIES[1 : self.number(1, 3)]]
        uses = self.number(1, 3)
        kind = self.pick(["consent.granted", "consent.granted", "consent.requested"])
        expires = self.log.now + DAYS_VALID * DAY
        consent = self.log.grant(
            member,
            kind,
            purposes=[purpose],
            categories=categories,
            expiry=expires,
            frequency={"unit": "day", "uses": uses},
        )
        state = "active" if kind == "consent.granted" else "requested"
        self.held.append(Held(consent, member, purpose, categories, expires, state, uses))

    def wait(self) -> None:
        # Notices are settled first: waiting longer would make them late.
        while self.open_notices:
            self.settle()
        self.log.wait(hours=self.number(1, 240))

    def use(self) -> None:
        day = text(self.next)[:10]
        ready = [
            held
            for held in self.held
            if held.live(self.next)
            and (held.purpose == "contribution" or held.used.get(day, 0) < held.uses_a_day)
        ]
        if ready:
            held = self.pick(ready)
            held.used[day] = held.used.get(day, 0) + 1
            self.use_of(held.id, held.member, held.purpose, held.categories)

    def use_of(self, consent: str, member: str, purpose: str, categories: list[str]) -> int:
        named = dict.fromkeys(categories, consent)
        if purpose == "contribution":
            return self.log.contribute([named], member)
        return self.log.lookup([named], member, refused=1, purpose=purpose)

    def refuse(self) -> None:
        self.log.lookup([], self.pick(list(MEMBERS)), refused=self.number(1, 3))

    def pause(self) -> None:
        for state, kind, after in (
            ("requested", "consent.activated", "active"),
            ("paused", "consent.resumed", "active"),
            ("active", "consent.paused", "paused"),
        ):
            ready = [h for h in self.held if h.state == state and self.next < h.expires]
            if ready:
                held = self.pick(ready)
                self.log.change(kind, held.id, held.member)
                held.state = after
                return

    def end(self) -> None:
        ready = [held for held in self.held if not held.ended()]
        if ready:
            held = self.pick(ready)
            kind = self.pick(["consent.withdrawn", "consent.revoked"])
            index = self.log.change(kind, held.id, held.member)
            held.state = kind.removeprefix("consent.")
            self.open_notices.append((self.log.entries[index]["notice"], held.member))

    def settle(self) -> None:
        if self.open_notices:
            notice, member = self.open_notices.pop()
            self.log.settle(notice, member)

    def illegal_act(self) -> int:
        """One of those that are possible now; returns the entry."""
        acts = [lambda: self.use_of(STRANGER, "alpha", self.pick(list(PURPOSES)), ["inquiries"])]
        acts.append(lambda: self.log.change("consent.withdrawn", STRANGER))
        acts.append(lambda: self.log.add("notice.acknowledged", notice=STRANGER, member="alpha"))
        for held in self.held:
            if not held.live(self.next):
                acts.append(lambda h=held: self.use_of(h.id, h.member, h.purpose, h.categories))
            if held.ended():
                acts.append(lambda h=held: self.log.change("consent.revoked", h.id, h.member))
                acts.append(lambda h=held: self.log.change("consent.resumed", h.id, h.member))
                continue
            if held.state == "active":
                acts.append(lambda h=held: self.log.change("consent.activated", h.id, h.member))
            other = MEMBERS[MEMBERS.index(held.member) - 1]
            acts.append(lambda h=held, o=other: self.use_of(h.id, o, h.purpose, h.categories))
            purpose = PURPOSES[PURPOSES.index(held.purpose) - 1]
            acts.append(lambda h=held, p=purpose: self.use_of(h.id, h.member, p, h.categories))
        return int(self.pick(acts)())


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_legal_history_has_no_finding(data: st.DataObject) -> None:
    history = History(data.draw)
    for _ in range(history.number(0, 40)):
        history.legal_act()
    assert found(history.log.replay()) == []


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_one_illegal_act_is_found_where_it_is(data: st.DataObject) -> None:
    history = History(data.draw)
    for _ in range(history.number(0, 25)):
        history.legal_act()
    # The act is written without a time of its own, so that no other deadline passes by it.
    blamed = history.illegal_act()
    findings = found(history.log.replay())
    assert findings
    assert {entry for _, entry in findings} == {blamed}


# A log that is well-formed holds text in normalisation form C.
TEXT = st.text(max_size=6).map(lambda text: unicodedata.normalize("NFC", text))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["unit", "uses", "purposes", "first", "rows"]), inner)
    ),
    max_leaves=6,
)
COMMON = {"v", "type", "time"}
REPORT = Report("concordat.example", 1, "00" * 32, (), (), {})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_field_of_any_value_ends_the_audit(data: st.DataObject) -> None:
    """A signed log may hold anything that is well-formed: that is a finding, never a crash."""
    log = Logbook()
    consent = log.grant(frequency={"unit": "day", "uses": 9}, purposes=["contribution"])
    lookup = log.lookup([log.grant()], refused=1)
    log.contribute([{"credit_accounts": consent}])
    log.charge()
    notice = log.withdraw(consent, asked_at=text(log.now))
    log.settle(notice)
    log.add("lookup.withheld", items=[{"item": 0}], lookup=lookup, request=log.id())
    log.add("erasure.requested", erasure=STRANGER, subject="00" * 32)
    erased = {"consent": consent, "recipient": "alpha", **log.notice()}
    log.add("erasure.executed", "operator/op", items=[erased], erasure=STRANGER, basis="b", rows=1)
    log.add("dispute.opened", dispute=STRANGER, jurisdiction="CN", answer_by=text(log.now))
    log.add(
        "dispute.refused",
        request=log.id(),
        subject="00" * 32,
        consents={"credit_accounts": NONE},
        about="credit_accounts.other",
        statement_sha256="00" * 32,
    )
    log.add("dispute.overdue", "gateway/g", dispute=STRANGER, member="beta", due=text(log.now))
    log.add("dispute.answered", dispute=STRANGER, outcome="upheld", member="beta")
    log.add(
        "retention.executed",
        "gateway/g",
        jurisdiction="CN",
        kind="adverse",
        before="2020-01",
        rows=2,
    )
    log.add("quota.set", "operator/op", member="alpha", lookups_daily=5, lookups_monthly=9)
    log.add("tokens.rotated", "gateway/g", from_epoch=1, to_epoch=2, subjects=2)
    part(log, STRANGER, 1)
    end(log, STRANGER, 1)
    entry = data.draw(st.sampled_from(log.entries))
    targets = [entry, *log.items.get(log.entries.index(entry), [])]
    target = data.draw(st.sampled_from(targets))
    name = data.draw(st.sampled_from(sorted(target.keys() - COMMON)))
    if data.draw(st.booleans()):
        del target[name]
    else:
        target[name] = data.draw(JSON)
    keys = {
        "ledger": "concordat.example",
        "evidence_keys": [{"key": "11" * 32, "consents": 1}],
        "asking_keys": [{"epoch": 1, "key": "22" * 32}],
    }
    who = Person(SubjectKeys.parse(json.dumps(keys), "concordat.example"))
    # As if both consents were the person's: then every branch that follows them is taken.
    who.consents.update({consent: (0, 0), str(log.entries[7].get("consent")): (0, 1)})
    replay = log.replay(followers=[who])
    who.finish(replay)
    for document in (
        documents.exceptions(REPORT, replay),
        documents.consents(REPORT, replay),
        documents.members(REPORT, replay),
        documents.members(REPORT, replay, "alpha"),
        documents.person(REPORT, replay, who),
    ):
        json.loads(render.as_json(document))
        assert max(map(len, render.as_text(document).splitlines())) <= 100
        for table in document.tables:
            rows = list(csv.reader(io.StringIO(render.as_csv(document, table.name))))
            assert {len(row) for row in rows} == {len(table.columns)}


@pytest.mark.slow
def test_a_hundred_thousand_lookups_take_no_more_memory_than_sixty_thousand() -> None:
    log = Logbook()
    ids = [log.grant() for _ in range(100)]
    lookups = [log.lookup([consent], refused=1) for consent in ids]
    leaves, items = log.encoded()
    shared = [
        (leaf.check(leaves[at]), [leaf.parse_item(one) for one in items[at]]) for at in lookups
    ]
    replay = Replay()
    for index in range(lookups[0]):
        replay.visit(index, leaf.check(leaves[index]), None)
    taken = []
    tracemalloc.start()
    whole = [(leaf.check(leaves[at]), list(map(leaf.parse_item, items[at]))) for at in lookups]
    bytes_of_lookup = tracemalloc.get_traced_memory()[0] / len(whole)
    tracemalloc.stop()
    tracemalloc.start()
    for index in range(100_000):
        fields, some = shared[index % len(shared)]
        replay.visit(lookups[0] + index, fields, some)
        if index + 1 in (60_000, 100_000):
            taken.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    replay.finish()
    assert found(replay) == []
    assert replay.uses.counts.lookups == 100_000
    assert replay.uses.counts.refusals == 100_000
    # Recent lookups are remembered, for answers that are withheld afterwards; 50,000 at most.
    assert RECENT_SUBJECTS < 60_000
    assert taken[1] < 1.25 * taken[0]
    # Of each, far less than the lookup itself, which takes as much as it does in this process.
    assert taken[1] < RECENT_SUBJECTS * bytes_of_lookup / 4
