"""Consents against a simple model: any order of grants, withdrawals, lookups and passing time."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

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

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import consent_changes, consent_grants, consents, lookups
from concordat_gateway.rules.consent_grants import Grants
from concordat_gateway.rules.consent_states import ConsentState
from concordat_gateway.rules.drafts import ConsentDraft
from concordat_gateway.rules.lookups import Question
from concordat_gateway.rules.scopes import CATEGORIES, LOOKUP_PURPOSES, PURPOSES, Purpose
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.signals import SIGNALS, SignalStatus
from tests.services import ALL_JURISDICTIONS, AMPLE, EPOCH, join_members, peer, subjects_of, token
from tests.stores import ManualClock

SECONDS = 30.0
MINUTE = 60_000_000
RECIPIENTS = ("alpha", "beta")

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
    withdrawn: bool = False


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
        lasts=st.sampled_from([3, 2, 1, 0, -1]),
    )
    def grant(
        self,
        recipient: str,
        subjects: Sequence[int],
        purposes: frozenset[Purpose],
        categories: frozenset[DataCategory],
        starts_in: int | None,
        lasts: int,
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
                bytes(32),
            )
            for subject in subjects
        ]
        outcome: list[Grants] = []

        def keep(grants: Grants) -> bytes:
            outcome.append(grants)
            return b""

        consent_grants.grant(
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
                subject, recipient, purposes, categories, starts_at, expires_at
            )
        return multiple(*(granted.consent_id for granted in grants.granted))

    @rule(consent_id=ids)
    def withdraw(self, consent_id: bytes) -> None:
        given = self.given[consent_id]
        committed = consent_changes.withdraw(
            self.journal, peer(given.recipient), consent_id, None, b"", SECONDS
        )
        assert (committed.value.entry is None) == given.withdrawn
        given.withdrawn = True

    # Whole minutes throughout, so that starts and expiries are often met to the microsecond.
    @rule(minutes=st.integers(1, 2))
    def wait(self, minutes: int) -> None:
        self.clock.advance(60 * minutes)

    @rule(consent_id=ids)
    def read(self, consent_id: bytes) -> None:
        given = self.given[consent_id]
        consent = consents.get(self.journal, peer(given.recipient), consent_id)
        if given.withdrawn:
            expected = ConsentState.WITHDRAWN
        else:
            expired = self.clock() >= given.expires_at
            expected = ConsentState.EXPIRED if expired else ConsentState.ACTIVE
        assert consent.state(self.clock()) is expected

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
        lookup = lookups.look_up(
            self.journal,
            self.signals,
            peer(recipient),
            self.subjects.named(recipient, self.tokens, EPOCH, EPOCH, SECONDS),
            Question.of(purpose, [], bytes(16)),
            AMPLE,
            SECONDS,
        ).value
        for subject, result in enumerate(lookup.results):
            covered = self.covered(subject, recipient, purpose)
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

    def covered(self, subject: int, recipient: str, purpose: Purpose) -> frozenset[DataCategory]:
        """Categories that the model's live consents cover."""
        now = self.clock()
        live = [
            given.categories
            for given in self.given.values()
            if given.subject == subject
            and given.recipient == recipient
            and purpose in given.purposes
            and not given.withdrawn
            and given.starts_at <= now < given.expires_at
        ]
        return frozenset().union(*live)


@pytest.mark.timeout(300)
def test_consents_behave_as_the_model_says(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    join_members(journal)
    run_state_machine_as_test(
        lambda: ConsentMachine(journal, signal_store, clock),
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
    )
