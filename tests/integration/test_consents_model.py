"""Consents against a simple model: any order of all changes, lookups and passing time.

The model keeps what happened and looks the state up in a table written down here, not in the rules.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    multiple,
    rule,
    run_state_machine_as_test,
)

from concordat_gateway.ledger.journal import Committed, Journal
from concordat_gateway.rules import consent_changes, consent_grants, consents, lookups
from concordat_gateway.rules.consent_changes import Changed
from concordat_gateway.rules.consent_grants import Grants
from concordat_gateway.rules.drafts import ConsentDraft
from concordat_gateway.rules.lookups import Question
from concordat_gateway.rules.scopes import CATEGORIES, LOOKUP_PURPOSES, PURPOSES, Purpose
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.signals import SIGNALS, SignalStatus
from concordat_privacy.periods import TimeUnit
from concordat_rpc.errors import Kind, Refusal
from concordat_rpc.peer import Peer, Role, spiffe_id
from tests.services import (
    ALL_JURISDICTIONS,
    AMPLE,
    EPOCH,
    TRUST_DOMAIN,
    join_members,
    peer,
    subjects_of,
    token,
)
from tests.stores import ManualClock

SECONDS = 30.0
MINUTE = 60_000_000
DAY = 1_440 * MINUTE
RECIPIENTS = ("alpha", "beta")
OPERATOR = Peer(Role.OPERATOR, "operator", spiffe_id(TRUST_DOMAIN, Role.OPERATOR, "operator"))

some_recipients = st.sampled_from(RECIPIENTS)
some_subjects = st.integers(0, 2)
some_purposes = st.sampled_from(sorted(LOOKUP_PURPOSES))


@dataclass
class Given:
    """What the model remembers of one consent."""

    subject: int
    recipient: str
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    starts_at: int
    expires_at: int
    uses: int | None
    """A day."""
    recorded: str
    """ "requested", "active", "paused", "withdrawn" or "revoked": what was last done to it."""
    used: dict[int, int] = field(default_factory=dict)
    """Uses by day."""

    def state(self, now: int) -> str:
        if self.recorded in ("withdrawn", "revoked") or now < self.expires_at:
            return self.recorded
        return "expired"

    def left(self, now: int) -> int:
        if self.uses is None:
            return 10**9
        return self.uses - self.used.get(now // DAY, 0)


# By state and change: the state after it; "same" where nothing changes; a missing one is refused.
AFTER = {
    ("requested", "activate"): "active",
    ("requested", "withdraw"): "withdrawn",
    ("requested", "revoke"): "revoked",
    ("active", "activate"): "same",
    ("active", "pause"): "paused",
    ("active", "resume"): "same",
    ("active", "withdraw"): "withdrawn",
    ("active", "revoke"): "revoked",
    ("paused", "pause"): "same",
    ("paused", "resume"): "active",
    ("paused", "withdraw"): "withdrawn",
    ("paused", "revoke"): "revoked",
    ("expired", "withdraw"): "withdrawn",
    ("expired", "revoke"): "revoked",
    ("withdrawn", "withdraw"): "same",
    ("revoked", "revoke"): "same",
}
CHANGES = ("activate", "pause", "resume", "withdraw", "revoke")
EVIDENCE = bytes(32)


class ConsentMachine(RuleBasedStateMachine):
    """Does everything twice: with the gateway's rules, and with a dictionary."""

    ids = Bundle("ids")

    def __init__(self, journal: Journal, signals: SignalStore, clock: ManualClock) -> None:
        super().__init__()
        self.journal, self.signals, self.clock = journal, signals, clock
        self.subjects = subjects_of(journal, clock)
        # The stores outlive an example, so each has subjects of its own.
        self.tokens = [token(int.from_bytes(os.urandom(7))) for _ in range(3)]
        self.given: dict[bytes, Given] = {}

    @rule(
        target=ids,
        recipient=some_recipients,
        subjects=st.lists(some_subjects, min_size=1, max_size=3, unique=True),
        purposes=st.frozensets(st.sampled_from(sorted(PURPOSES)), min_size=1),
        categories=st.frozensets(st.sampled_from(sorted(CATEGORIES)), min_size=1),
        starts_in=st.none() | st.integers(-2, 2),
        lasts=st.sampled_from([3, 2, 1, 0, -1, 3 * 1_440]),
        uses=st.none() | st.integers(1, 2),
        given=st.booleans(),
    )
    def record(
        self,
        recipient: str,
        subjects: Sequence[int],
        purposes: frozenset[Purpose],
        categories: frozenset[DataCategory],
        starts_in: int | None,
        lasts: int,
        uses: int | None,
        given: bool,
    ) -> object:
        now = self.clock()
        starts_at = now if starts_in is None else now + starts_in * MINUTE
        expires_at = starts_at + lasts * MINUTE
        drafts = [
            ConsentDraft(
                self.tokens[subject],
                tuple(purposes),
                tuple(categories),
                None if starts_in is None else starts_at,
                expires_at,
                "2026-1",
                EVIDENCE if given else b"",
                frequency=None if uses is None else (TimeUnit.DAY, uses),
            )
            for subject in subjects
        ]
        outcome: list[Grants] = []

        def keep(grants: Grants) -> bytes:
            outcome.append(grants)
            return b""

        record = consent_grants.grant if given else consent_grants.request
        record(
            self.journal,
            peer(recipient),
            os.urandom(16),
            drafts,
            EPOCH,
            self.subjects,
            ALL_JURISDICTIONS,
            keep,
            SECONDS,
        )
        [grants] = outcome
        if lasts <= 0 or expires_at <= now:
            assert not grants.granted
            return multiple()
        assert [granted.item for granted in grants.granted] == list(range(len(subjects)))
        for subject, granted in zip(subjects, grants.granted, strict=True):
            self.given[granted.consent_id] = Given(
                subject,
                recipient,
                purposes,
                categories,
                starts_at,
                expires_at,
                uses,
                "active" if given else "requested",
            )
        return multiple(*(granted.consent_id for granted in grants.granted))

    @rule(consent_id=ids, change=st.sampled_from(CHANGES), by_operator=st.booleans())
    def change(self, consent_id: bytes, change: str, by_operator: bool) -> None:
        given = self.given[consent_id]
        state = given.state(self.clock())
        after = AFTER.get((state, change))
        size = self.journal.size
        if after is None:
            with pytest.raises(Refusal) as refusal:
                self.make_change(given, consent_id, change, by_operator)
            assert refusal.value.kind is Kind.FAILED_PRECONDITION
            assert refusal.value.reason == f"CONSENT_{state.upper()}"
            assert self.journal.size == size
            return
        changed = self.make_change(given, consent_id, change, by_operator)
        assert (changed.entry is None) == (after == "same")
        assert self.journal.size == size + (after != "same")
        if after != "same":
            given.recorded = after
        assert changed.consent.state(self.clock()).name.lower() == given.state(self.clock())

    def make_change(
        self, given: Given, consent_id: bytes, change: str, by_operator: bool
    ) -> Changed:
        recipient = peer(given.recipient)
        ending = OPERATOR if by_operator else recipient
        calls: dict[str, Callable[[], Committed[Changed]]] = {
            "activate": lambda: consent_changes.activate(
                self.journal, recipient, consent_id, EVIDENCE, "", SECONDS
            ),
            "pause": lambda: consent_changes.pause(
                self.journal, recipient, consent_id, "why", SECONDS
            ),
            "resume": lambda: consent_changes.resume(
                self.journal, recipient, consent_id, "why", SECONDS
            ),
            "withdraw": lambda: consent_changes.withdraw(
                self.journal, ending, consent_id, None, b"", SECONDS
            ),
            "revoke": lambda: consent_changes.revoke(
                self.journal, ending, consent_id, "why", "", SECONDS
            ),
        }
        return calls[change]().value

    # Whole minutes throughout, so that starts and expiries are often met to the microsecond.
    @rule(minutes=st.integers(1, 2))
    def wait(self, minutes: int) -> None:
        self.clock.advance(60 * minutes)

    @rule(consent_id=ids)
    def read(self, consent_id: bytes) -> None:
        given = self.given[consent_id]
        consent = consents.get(self.journal, peer(given.recipient), consent_id)
        assert consent.state(self.clock()).name.lower() == given.state(self.clock())

    @rule(recipient=some_recipients, purpose=some_purposes)
    def look_everybody_up(self, recipient: str, purpose: Purpose) -> None:
        self.check_lookup(recipient, purpose)

    @rule(consent_id=ids, moment=st.sampled_from(["now", "at its start", "at its expiry"]))
    def look_up_under(self, consent_id: bytes, moment: str) -> None:
        given = self.given[consent_id]
        moments = {"now": 0, "at its start": given.starts_at, "at its expiry": given.expires_at}
        self.clock.microseconds = max(self.clock(), moments[moment])
        for purpose in sorted(given.purposes & LOOKUP_PURPOSES):
            self.check_lookup(given.recipient, purpose)

    def check_lookup(self, recipient: str, purpose: Purpose) -> None:
        # One subject twice: each position counts for itself.
        asked = [0, 1, 2, 0]
        lookup = lookups.look_up(
            self.journal,
            self.signals,
            peer(recipient),
            self.subjects.named(
                recipient, [self.tokens[subject] for subject in asked], EPOCH, EPOCH, SECONDS
            ),
            Question.of(purpose, [], bytes(16)),
            AMPLE,
            SECONDS,
        ).value
        for subject, result in zip(asked, lookup.results, strict=True):
            covered = self.use(subject, recipient, purpose)
            assert result.permitted == bool(covered)
            refused = {v.name for v in result.signals if v.status is SignalStatus.NO_CONSENT}
            if covered:
                assert refused == {d.name for d in SIGNALS if d.category not in covered}

    @rule(recipient=some_recipients, subject=some_subjects)
    def list_one_subject(self, recipient: str, subject: int) -> None:
        found: list[bytes] = []
        page_token = ""
        for _ in itertools.count():
            page = consents.list_page(
                self.journal,
                peer(recipient),
                self.tokens[subject],
                2,
                page_token,
                EPOCH,
                self.subjects,
                SECONDS,
            )
            found += [consent.consent_id for consent in page.consents]
            page_token = page.next_page_token
            if not page_token:
                break
        assert found == [
            consent_id
            for consent_id, given in self.given.items()
            if given.subject == subject and given.recipient == recipient
        ]

    def use(self, subject: int, recipient: str, purpose: Purpose) -> set[DataCategory]:
        """Categories that the model's live consents still permit once; counts the use of each."""
        now = self.clock()
        covered: set[DataCategory] = set()
        for given in self.given.values():
            if (
                given.subject == subject
                and given.recipient == recipient
                and purpose in given.purposes
                and given.state(now) == "active"
                and given.starts_at <= now
                and given.left(now) > 0
                and given.categories - covered
            ):
                covered |= given.categories
                given.used[now // DAY] = given.used.get(now // DAY, 0) + 1
        return covered

    @rule(days=st.integers(1, 2))
    def sleep(self, days: int) -> None:
        """To the same time of another day: consents that began and last long are fresh again."""
        self.clock.advance(86_400 * days)


@pytest.mark.timeout(300)
def test_consents_behave_as_the_model_says(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    join_members(journal)
    run_state_machine_as_test(
        lambda: ConsentMachine(journal, signal_store, clock),
        settings=settings(max_examples=40, stateful_step_count=30, deadline=None),
    )
