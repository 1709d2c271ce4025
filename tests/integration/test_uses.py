"""Every use in the ledger is tied to the consent that allowed it."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

import grpc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run

from concordat.v1 import common_pb2, consent_pb2, signal_pb2
from concordat_gateway.ledger.journal import Item, Journal, Transaction
from concordat_gateway.rules.permits import Ground
from concordat_gateway.rules.scopes import ConsentId, Mask, Purpose, mask_of
from concordat_gateway.rules.uses import UntiedUseError, append_use, use_items
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.relations import History
from concordat_privacy.log.leaf import Json
from concordat_store.database import Database
from tests.services import (
    CALL_SECONDS,
    MEMBERS,
    Caller,
    Consortium,
    account,
    application,
    contribute,
    draft,
    grant,
    peer,
    serving,
    token,
    withdraw,
)
from tests.stores import START_MICROS, ManualClock, StoreUrls
from tests.uses import NOBODY, UseChecker

OK = signal_pb2.SUBJECT_STATUS_OK
CATEGORIES = (
    common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS,
    common_pb2.DATA_CATEGORY_INQUIRIES,
    common_pb2.DATA_CATEGORY_SPENDING,
)
PURPOSES = (
    common_pb2.PURPOSE_UNDERWRITING,
    common_pb2.PURPOSE_CONTRIBUTION,
    common_pb2.PURPOSE_PORTFOLIO_REVIEW,
)
SUBJECTS = 2

members = st.sampled_from(MEMBERS[:2])
subjects = st.integers(0, SUBJECTS - 1)
looked_up = st.lists(subjects, min_size=1, max_size=4)


class MeddledStore(SignalStore):
    """The signals store, where something can happen between the reading and the answer."""

    meanwhile: Callable[[], None] | None = None

    def histories(self, subjects: Sequence[SubjectKey], epoch: int) -> dict[SubjectKey, History]:
        found = super().histories(subjects, epoch)
        if self.meanwhile is not None:
            self.meanwhile()
        return found


@pytest.fixture
def store(store_urls: StoreUrls, clock: ManualClock) -> Iterator[MeddledStore]:
    with closing(Database.open(store_urls.signals_url)) as database:
        yield MeddledStore(database, clock)


class UseMachine(RuleBasedStateMachine):
    """Members do whatever they may in any order; an outsider reads the ledger as it grows."""

    ids = Bundle("ids")

    def __init__(self, consortium: Consortium, store: MeddledStore) -> None:
        super().__init__()
        self.consortium, self.store = consortium, store
        # The stores outlive an example, so each has subjects of its own.
        self.tokens = [token(int.from_bytes(os.urandom(6))) for _ in range(SUBJECTS)]
        self.subject_of: dict[str, int] = {}
        self.withdrawn: set[bytes] = set()

    @rule(
        target=ids,
        member=members,
        of=st.lists(subjects, min_size=1, max_size=2, unique=True),
        purposes=st.just({*PURPOSES}) | st.sets(st.sampled_from(PURPOSES), min_size=1),
        categories=st.just({*CATEGORIES}) | st.sets(st.sampled_from(CATEGORIES), min_size=1),
        starts_in=st.none() | st.just(60),
        lasts=st.sampled_from([7200, 86_400, 60]),
        uses=st.none() | st.just(1),
    )
    def give(
        self,
        member: str,
        of: Sequence[int],
        purposes: set[int],
        categories: set[int],
        starts_in: int | None,
        lasts: int,
        uses: int | None,
    ) -> object:
        drafts = [
            draft(self.consortium, self.tokens[one], purposes, categories, starts_in, lasts)
            for one in of
        ]
        for one in drafts if uses else ():
            one.frequency.unit = consent_pb2.TIME_UNIT_HOUR
            one.frequency.uses = uses or 0
        granted = grant(self.caller(member), drafts).granted
        self.subject_of |= {one.consent_id.hex(): of[one.item] for one in granted}
        return multiple(*((member, one.consent_id) for one in granted))

    @rule(given=ids)
    def take_back(self, given: tuple[str, bytes]) -> None:
        member, consent_id = given
        withdraw(self.caller(member), consent_id)
        self.withdrawn.add(consent_id)

    @rule(given=ids, paused=st.booleans())
    def pause_or_resume(self, given: tuple[str, bytes], paused: bool) -> None:
        member, consent_id = given
        consents = self.caller(member).consents
        # What its state does not allow is refused, and changes nothing.
        with suppress(grpc.RpcError):
            if paused:
                consents.PauseConsent(
                    consent_pb2.PauseConsentRequest(consent_id=consent_id, reason="a test"),
                    timeout=CALL_SECONDS,
                )
            else:
                consents.ResumeConsent(
                    consent_pb2.ResumeConsentRequest(consent_id=consent_id, reason="a test"),
                    timeout=CALL_SECONDS,
                )

    @rule(seconds=st.sampled_from([1, 59, 60, 61, 3600]))
    def wait(self, seconds: int) -> None:
        self.consortium.clock.advance(seconds)

    @rule(member=members, of=st.lists(subjects, min_size=1, max_size=6), kinds=st.integers(0, 63))
    def furnish(self, member: str, of: Sequence[int], kinds: int) -> None:
        rows = [
            application(self.consortium, self.tokens[one], ref)
            if kinds >> ref & 1
            else account(self.consortium, self.tokens[one], ref, spend_volatility=ref % 3)
            for ref, one in enumerate(of)
        ]
        response = contribute(self.caller(member), rows)
        refused = {refusal.item for refusal in response.refused}
        accepted = [one for item, one in enumerate(of) if item not in refused]
        items = self.items_of(response.receipt.entry_index)
        uses = [item["uses"][index] for item in items for index in item["rows"]]
        assert [self.subjects_in(use) for use in uses] == [{one} for one in accepted]

    @rule(member=members, of=looked_up, purpose=st.sampled_from([PURPOSES[0], PURPOSES[2]]))
    def look_up(self, member: str, of: Sequence[int], purpose: int) -> None:
        self.looked_up(member, of, purpose)

    @rule(given=ids, of=looked_up, purpose=st.sampled_from([PURPOSES[0], PURPOSES[2]]))
    def look_up_while_one_is_taken_back(
        self, given: tuple[str, bytes], of: Sequence[int], purpose: int
    ) -> None:
        member, consent_id = given
        already = consent_id in self.withdrawn

        def meanwhile() -> None:
            self.take_back(given)

        self.store.meanwhile = meanwhile
        try:
            response, items = self.looked_up(member, of, purpose)
        finally:
            self.store.meanwhile = None
        for result, item in zip(response.results, items, strict=True):
            rests_on_it = consent_id.hex() in item["consents"].values()
            assert not (rests_on_it and already)
            permitted = item["decision"] == "permit"
            assert (result.status == OK) == (permitted and not rests_on_it)
            assert bool(result.signals) == (result.status == OK)

    def looked_up(
        self, member: str, of: Sequence[int], purpose: int
    ) -> tuple[signal_pb2.BatchLookupResponse, list[dict[str, Any]]]:
        request = signal_pb2.BatchLookupRequest(
            tokens=b"".join(self.tokens[one] for one in of),
            purpose=common_pb2.Purpose.ValueType(purpose),
            request_id=os.urandom(16),
        )
        response = self.caller(member).signals.BatchLookup(request, timeout=CALL_SECONDS)
        items = self.items_of(response.receipt.entry_index)
        for one, item in zip(of, items, strict=True):
            assert self.subjects_in(item["consents"]) <= {one}
        return response, items

    def subjects_in(self, use: Mapping[str, str]) -> set[int]:
        return {self.subject_of[consent] for consent in use.values() if consent != NOBODY}

    def items_of(self, entry_index: int) -> list[dict[str, Any]]:
        [(_, _, items)] = self.consortium.journal.entries(entry_index, entry_index + 1)
        return [json.loads(item) for item in items]

    def caller(self, member: str) -> Caller:
        caller = getattr(self.consortium, member)
        assert isinstance(caller, Caller)
        return caller

    def teardown(self) -> None:
        journal = self.consortium.journal
        assert UseChecker().read(journal.entries(0, journal.size)).problems == []


def test_no_order_of_events_appends_a_use_that_an_outsider_would_reject(
    journal: Journal, store: MeddledStore, clock: ManualClock
) -> None:
    with serving(journal, store, clock) as consortium:
        run(
            lambda: UseMachine(consortium, store),
            settings=settings(max_examples=60, stateful_step_count=20, deadline=None),
        )
    assert UseChecker().read(journal.entries(0, journal.size)).uses


def test_the_outsider_sees_what_is_wrong(consortium: Consortium) -> None:
    everything = draft(consortium, 1, PURPOSES, CATEGORIES)
    [mine] = grant(consortium.beta, [everything]).granted
    [others] = grant(consortium.gamma, [everything]).granted
    contribute(consortium.beta, [account(consortium, 1)])
    entries = list(consortium.journal.entries(0, consortium.journal.size))
    assert UseChecker().read(entries).problems == []
    *before, (index, leaf, (item,)) = entries

    def problems(leaf: bytes, item: bytes) -> list[str]:
        return UseChecker().read([*before, (index, leaf, (item,))]).problems

    assert problems(leaf.replace(b"2026-", b"2036-"), item)
    for wrong in (others.consent_id.hex(), "ab" * 16, NOBODY):
        assert problems(leaf, item.replace(mine.consent_id.hex().encode(), wrong.encode())), wrong
    assert problems(leaf, item.replace(b"credit_accounts", b"another"))
    withdraw(consortium.beta, mine.consent_id)
    [ended] = consortium.journal.entries(index + 1, index + 2)
    assert UseChecker().read([*before, ended, entries[-1]]).problems


SUBJECT, ANOTHER = SubjectKey(bytes(32)), SubjectKey(b"\1" * 32)
GROUND = Ground(
    SUBJECT,
    ConsentId(b"\2" * 16),
    "beta",
    mask_of([Purpose.CONTRIBUTION]),
    mask_of([DataCategory.CREDIT_ACCOUNTS]),
    START_MICROS,
    START_MICROS + 1,
    START_MICROS,
    None,
    None,
    None,
    "ZZ",
)
USE = ((DataCategory.CREDIT_ACCOUNTS,), (GROUND.consent_id,))


def lookup_item(consent: str, decision: str) -> list[Item]:
    content: dict[str, Json] = {"consents": {"credit_accounts": consent}, "decision": decision}
    return [Item(content)]


GOOD: dict[str, Any] = {
    "items": use_items([USE]),
    "purpose": Purpose.CONTRIBUTION,
    "subjects": [SUBJECT],
    "grounds": [GROUND],
}


def append(journal: Journal, changed: Mapping[str, Any]) -> None:
    call: dict[str, Any] = GOOD | changed
    purpose, items = call.pop("purpose"), call.pop("items")

    def change(transaction: Transaction) -> None:
        append_use(transaction, "test.used", peer("beta"), purpose, {}, items, **call)

    journal.write(change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"grounds": []},
        {"grounds": [GROUND._replace(subject=ANOTHER)]},
        {"grounds": [GROUND._replace(recipient="alpha")]},
        {"grounds": [GROUND._replace(purposes=mask_of([Purpose.UNDERWRITING]))]},
        {"grounds": [GROUND._replace(categories=mask_of([DataCategory.INQUIRIES]))]},
        {"grounds": [GROUND._replace(categories=Mask(0))]},
        {"grounds": [GROUND._replace(starts_at=START_MICROS + 1)]},
        {"grounds": [GROUND._replace(expires_at=START_MICROS)]},
        {"grounds": [GROUND._replace(activated_at=None)]},
        {"grounds": [GROUND._replace(paused_at=START_MICROS)]},
        {"grounds": [GROUND._replace(withdrawn_at=START_MICROS)]},
        {"grounds": [GROUND._replace(revoked_at=START_MICROS)]},
        {"purpose": Purpose.UNDERWRITING},
        {"subjects": [ANOTHER]},
        {"items": use_items([((DataCategory.SPENDING,), (GROUND.consent_id,))])},
        {"items": use_items([((DataCategory.CREDIT_ACCOUNTS,), (ConsentId(bytes(16)),))])},
        {"items": lookup_item(GROUND.consent_id.hex(), "refuse")},
        {"items": lookup_item(NOBODY, "permit")},
        {"items": lookup_item("ab" * 16, "permit")},
    ],
)
def test_a_use_that_its_consent_does_not_allow_is_an_error_and_appends_nothing(
    journal: Journal, wrong: Mapping[str, Any]
) -> None:
    with pytest.raises(UntiedUseError):
        append(journal, wrong)
    assert journal.size == 0


def test_a_use_without_a_subject_of_its_own_is_an_error(journal: Journal) -> None:
    for subjects in ([], [SUBJECT, SUBJECT]):
        with pytest.raises(ValueError, match="zip"):
            append(journal, {"subjects": subjects})
    assert journal.size == 0


def test_a_use_that_its_consent_allows_is_appended(journal: Journal) -> None:
    append(journal, {})
    append(journal, {"items": lookup_item(GROUND.consent_id.hex(), "permit")})
    append(journal, {"items": lookup_item(NOBODY, "refuse"), "grounds": []})
    assert journal.size == 3
