"""Cosignatures at the gateway: who may bring them, what they count for, what stops without them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import common_pb2, consent_pb2, ledger_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.aggregates import ask
from concordat_gateway.rules.witnesses import Policy, adopt, to_cosign, unwitnessed_seconds
from concordat_gateway.store.control_tables import cosignature
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.log.checkpoint import open_note
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.log.signed_note import parse_note
from concordat_rpc.errors import Refusal
from tests.integration.test_aggregates import AMPLE as AMPLE_CAPS
from tests.integration.test_aggregates import EVERYBODY
from tests.ledgers import appending
from tests.services import (
    CALL_SECONDS,
    Consortium,
    account,
    contribute,
    draft,
    grant,
    grant_one,
    peer,
    reason_of,
    request_id,
    retry_seconds_of,
    serving,
    token,
    withdraw,
)
from tests.stores import START_MICROS, ManualClock, StoreUrls, ledger_key_of_tests, open_journal
from tests.witnesses import (
    GRACE_SECONDS,
    ONE,
    SECONDS,
    STRANGER,
    THREE,
    TWO,
    WITNESSES,
    bring,
    cosigned,
    quorum_of,
    size_of,
    witnessed_journal,
)
from tests.witnesses import to_cosign as asked_for

QUORUM = quorum_of(2)
LOG = ledger_key_of_tests().verifier


@pytest.fixture
def watched(
    store_urls: StoreUrls, signal_store: SignalStore, clock: ManualClock
) -> Iterator[Consortium]:
    """A gateway that wants two of three witnesses, and waits a minute for them."""
    with (
        witnessed_journal(store_urls, clock) as journal,
        serving(journal, signal_store, clock, quorum=QUORUM) as running,
    ):
        yield running


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), reason_of(raised.value)


def look_up(consortium: Consortium) -> signal_pb2.LookupResponse:
    request = signal_pb2.LookupRequest(
        token=token(1), purpose=common_pb2.PURPOSE_UNDERWRITING, request_id=request_id()
    )
    return consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS)


def cosign_all(consortium: Consortium) -> None:
    for caller, key in ((consortium.beta, ONE), (consortium.auditor, TWO)):
        bring(caller, key, asked_for(caller))


def test_members_and_auditors_bring_cosignatures_that_all_can_verify(watched: Consortium) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    note = asked_for(watched.beta)
    assert refusal(lambda: cosigned(watched.gamma)) == (
        grpc.StatusCode.NOT_FOUND,
        "NOT_WITNESSED",
    )
    first = bring(watched.beta, ONE, note)
    assert (first.cosignatures, first.quorum) == (1, 2)
    second = bring(watched.auditor, TWO, note, SECONDS + 1)
    assert (second.cosignatures, second.quorum) == (2, 2)

    found = cosigned(watched.gamma)
    checkpoint = open_note(found, [LOG])
    assert QUORUM.check(found) == {ONE.name: SECONDS, TWO.name: SECONDS + 1}
    leaves = [leaf for _, leaf, _ in watched.journal.entries(0, checkpoint.size)]
    assert (checkpoint.size, checkpoint.root) == (watched.journal.size, merkle_root(leaves))


def test_a_third_cosignature_is_handed_out_too_and_a_repeated_one_once(
    watched: Consortium,
) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    note = asked_for(watched.beta)
    for key in (*WITNESSES, ONE):
        bring(watched.beta, key, note)
    assert set(QUORUM.check(cosigned(watched.beta))) == {key.name for key in WITNESSES}
    assert len(parse_note(cosigned(watched.beta)).signatures) == 4


def test_what_is_no_cosignature_of_this_ledger_is_refused(
    watched: Consortium, ledger_key: object
) -> None:
    grant(watched.alpha, [draft(watched, number) for number in range(3)])
    note = asked_for(watched.beta)
    size = size_of(note)
    body = parse_note(note).text
    other_tree = body.replace(f"\n{size}\n", f"\n{size - 1}\n")

    def add(tree_size: int, line: str) -> tuple[grpc.StatusCode, str]:
        request = ledger_pb2.AddCosignatureRequest(tree_size=tree_size, cosignature=line)
        return refusal(lambda: watched.beta.ledger.AddCosignature(request, timeout=CALL_SECONDS))

    invalid = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    line = ONE.cosign(body, SECONDS)
    assert add(size, STRANGER.cosign(body, SECONDS)) == (
        grpc.StatusCode.NOT_FOUND,
        "WITNESS_UNKNOWN",
    )
    assert add(size, ONE.cosign(other_tree, SECONDS)) == invalid
    assert add(size - 1, line) == invalid
    assert add(size, line + TWO.cosign(body, SECONDS)) == invalid
    assert add(size, "text\n\n" + line) == invalid
    assert add(size, "") == invalid
    assert add(size, "— " + "x" * 2_000) == invalid
    beyond = (grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE")
    assert add(size + 1, line) == beyond
    assert add(2**63, line) == beyond
    assert add(0, line) == beyond
    with watched.journal.read() as connection:
        assert connection.execute(sa.select(cosignature)).all() == []


def test_uses_stop_when_the_grace_is_over_and_what_takes_away_goes_on(
    watched: Consortium,
) -> None:
    consent_id = grant_one(watched.alpha, draft(watched, 1))
    watched.clock.advance(GRACE_SECONDS - 1)
    look_up(watched)
    watched.clock.advance(1)
    size = watched.journal.size

    not_witnessed = (grpc.StatusCode.UNAVAILABLE, "LEDGER_NOT_WITNESSED")
    assert refusal(lambda: look_up(watched)) == not_witnessed
    assert refusal(lambda: grant(watched.beta, [draft(watched, 2)])) == not_witnessed
    rows = [account(watched, 1)]
    assert refusal(lambda: contribute(watched.alpha, rows)) == not_witnessed
    with pytest.raises(Refusal, match="witnesses") as refused:
        ask(
            watched.journal,
            watched.signal_store,
            AMPLE_CAPS,
            peer("alpha"),
            EVERYBODY,
            request_id(),
            CALL_SECONDS,
        )
    assert refused.value.reason == "LEDGER_NOT_WITNESSED"
    assert watched.journal.size == size

    consents = watched.alpha.consents
    pause = consent_pb2.PauseConsentRequest(consent_id=consent_id, reason="x")
    assert consents.PauseConsent(pause, timeout=CALL_SECONDS).receipt.entry_index == size
    resume = consent_pb2.ResumeConsentRequest(consent_id=consent_id, reason="x")
    assert refusal(lambda: consents.ResumeConsent(resume, timeout=CALL_SECONDS)) == not_witnessed
    assert withdraw(watched.alpha, consent_id).receipt.entry_index == size + 1
    assert size_of(asked_for(watched.beta)) == size + 2
    cosign_all(watched)
    look_up(watched)


def test_a_refused_caller_is_told_to_come_back(watched: Consortium) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    watched.clock.advance(GRACE_SECONDS)
    with pytest.raises(grpc.RpcError) as raised:
        look_up(watched)
    assert retry_seconds_of(raised.value) == 5.0


def test_too_few_witnesses_are_none(watched: Consortium) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    bring(watched.beta, ONE, asked_for(watched.beta))
    bring(watched.gamma, ONE, asked_for(watched.gamma))
    watched.clock.advance(GRACE_SECONDS)
    assert refusal(lambda: look_up(watched))[1] == "LEDGER_NOT_WITNESSED"


def test_an_idle_ledger_is_never_overdue(watched: Consortium) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    cosign_all(watched)
    watched.clock.advance(1_000 * GRACE_SECONDS)
    assert unwitnessed_seconds(watched.journal, watched.clock()) == 0
    look_up(watched)


def test_the_oldest_entry_that_was_not_seen_counts_from_its_own_time(watched: Consortium) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    watched.clock.advance(40)
    look_up(watched)
    seen = asked_for(watched.beta)
    watched.clock.advance(10)
    look_up(watched)
    for key in (ONE, TWO):
        bring(watched.beta, key, seen)
    assert unwitnessed_seconds(watched.journal, watched.clock()) == 0
    watched.clock.advance(GRACE_SECONDS - 1)
    assert unwitnessed_seconds(watched.journal, watched.clock()) == GRACE_SECONDS - 1
    look_up(watched)
    watched.clock.advance(1)
    assert refusal(lambda: look_up(watched))[1] == "LEDGER_NOT_WITNESSED"


def test_with_a_grace_of_nothing_the_next_use_waits_for_the_witnesses_of_the_last(
    store_urls: StoreUrls, signal_store: SignalStore, clock: ManualClock
) -> None:
    with (
        witnessed_journal(store_urls, clock, grace_seconds=0) as journal,
        serving(journal, signal_store, clock, quorum=QUORUM) as consortium,
    ):
        grant_one(consortium.alpha, draft(consortium, 1))
        for _ in range(3):
            assert refusal(lambda: look_up(consortium))[1] == "LEDGER_NOT_WITNESSED"
            cosign_all(consortium)
            look_up(consortium)


def test_witnesses_that_cosign_different_trees_have_seen_the_smaller(watched: Consortium) -> None:
    """A busy ledger grows between two witnesses: it must not stop for that."""
    notes = []
    for _ in range(4):
        grant_one(watched.alpha, draft(watched, 1))
        notes.append(watched.journal.checkpoint())
        watched.clock.advance(1)
    bring(watched.beta, ONE, notes[1])
    bring(watched.beta, TWO, notes[3])
    assert refusal(lambda: cosigned(watched.gamma))[1] == "NOT_WITNESSED"
    assert unwitnessed_seconds(watched.journal, watched.clock()) == 2
    watched.clock.advance(GRACE_SECONDS - 3)
    look_up(watched)
    watched.clock.advance(1)
    assert refusal(lambda: look_up(watched))[1] == "LEDGER_NOT_WITNESSED"
    # The third, and the policy counts the two that are furthest.
    bring(watched.beta, THREE, notes[2])
    look_up(watched)


def test_all_witnesses_are_asked_for_one_tree_until_enough_have_signed_it(
    watched: Consortium,
) -> None:
    grant_one(watched.alpha, draft(watched, 1))
    first = asked_for(watched.beta)
    bring(watched.beta, ONE, first)
    look_up(watched)
    assert asked_for(watched.gamma) == first
    bring(watched.gamma, TWO, first)
    assert size_of(cosigned(watched.alpha)) == size_of(first)
    assert size_of(asked_for(watched.gamma)) == size_of(first) + 1
    # A witness that is gone for long does not keep the others from what is new.
    bring(watched.beta, ONE, asked_for(watched.beta))
    look_up(watched)
    watched.clock.advance(61)
    watched.journal.write(appending(1))
    assert size_of(asked_for(watched.beta)) == watched.journal.size


def test_old_cosignatures_are_thinned_to_one_checkpoint_an_hour(watched: Consortium) -> None:
    for minute in range(150):
        watched.journal.write(appending(minute))
        note = watched.journal.checkpoint()
        for key in (ONE, TWO):
            bring(watched.beta, key, note)
        watched.clock.advance(60)
    with watched.journal.read() as connection:
        sizes = sorted(set(connection.execute(sa.select(cosignature.c.tree_size)).scalars()))
    # The tests' clock starts 6 minutes and 40 seconds after the hour.
    assert START_MICROS // 60_000_000 % 60 == 6
    assert sizes == [1, 1 + 54, 1 + 54 + 60, 150]
    for size in sizes:
        with watched.journal.read() as connection:
            of_size = sa.select(cosignature).where(cosignature.c.tree_size == size)
            assert len(connection.execute(of_size).all()) == 2


def test_a_lonely_witness_leaves_one_row_however_long_the_others_are_gone(
    watched: Consortium,
) -> None:
    for number in range(20):
        watched.journal.write(appending(number))
        bring(watched.beta, ONE, watched.journal.checkpoint())
        watched.clock.advance(120)
    with watched.journal.read() as connection:
        assert len(connection.execute(sa.select(cosignature)).all()) == 1


def test_another_policy_counts_what_is_there(
    store_urls: StoreUrls, signal_store: SignalStore, clock: ManualClock
) -> None:
    with (
        open_journal(store_urls, clock) as journal,
        serving(journal, signal_store, clock, quorum=quorum_of(0)) as consortium,
    ):
        grant_one(consortium.alpha, draft(consortium, 1))
        for key in (ONE, TWO):
            bring(consortium.beta, key, journal.checkpoint())
        clock.advance(1_000)
        look_up(consortium)
    with witnessed_journal(store_urls, clock) as journal:
        adopt(journal, quorum_of(2))
        assert unwitnessed_seconds(journal, clock()) == 0
        clock.advance(7)
        adopt(journal, quorum_of(3))
        assert unwitnessed_seconds(journal, clock()) == 1_007
        adopt(journal, quorum_of(1))
        assert unwitnessed_seconds(journal, clock()) == 7


def test_where_no_witness_is_wanted_nothing_stops_and_cosignatures_are_kept_all_the_same(
    store_urls: StoreUrls, signal_store: SignalStore, clock: ManualClock
) -> None:
    none = Policy(quorum_of(0), 0)
    assert none.grace is None
    with (
        open_journal(store_urls, clock) as journal,
        serving(journal, signal_store, clock, quorum=none.quorum) as consortium,
    ):
        grant_one(consortium.alpha, draft(consortium, 1))
        clock.advance(10**6)
        look_up(consortium)
        assert cosigned(consortium.alpha) == journal.checkpoint()
        bring(consortium.beta, ONE, journal.checkpoint())
        at = journal.size
        look_up(consortium)
        assert size_of(cosigned(consortium.alpha)) == at
        with pytest.raises(CheckpointError, match="1 cosignatures"):
            quorum_of(1).check(journal.checkpoint())
        assert quorum_of(1).check(cosigned(consortium.alpha)) == {ONE.name: SECONDS}


def test_an_export_carries_the_cosignatures_of_its_tree(watched: Consortium) -> None:
    grant(watched.alpha, [draft(watched, number) for number in range(5)])
    cosign_all(watched)
    look_up(watched)

    def exported(**options: bool) -> tuple[str, int]:
        request = ledger_pb2.ExportEntriesRequest(**options)
        messages = list(watched.auditor.ledger.ExportEntries(request, timeout=CALL_SECONDS))
        return messages[0].checkpoint, sum(len(message.entries) for message in messages)

    size = watched.journal.size
    newest, entries = exported()
    assert (size_of(newest), entries) == (size, size)
    with pytest.raises(CheckpointError):
        QUORUM.check(newest)
    note, entries = exported(cosigned=True)
    assert (size_of(note), entries) == (size - 1, size - 1)
    assert len(QUORUM.check(note)) == 2


def test_racing_cosignatures_and_entries_leave_one_truth(watched: Consortium) -> None:
    """Whatever comes between, the stored count is the one that the rows give."""
    journal: Journal = watched.journal
    callers = (watched.alpha, watched.beta, watched.gamma)

    def witness(at: int) -> None:
        for _ in range(15):
            bring(callers[at], WITNESSES[at], asked_for(callers[at]))

    journal.write(appending(0))
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(witness, at) for at in range(3)]
        running.append(
            pool.submit(lambda: [journal.write(appending(number)) for number in range(60)])
        )
        for one in running:
            one.result()
    before = unwitnessed_seconds(journal, watched.clock())
    with journal.read() as connection:
        rows = connection.execute(sa.select(cosignature.c.tree_size, cosignature.c.witness)).all()
    newest: dict[str, int] = {}
    for size, name in rows:
        newest[name] = max(size, newest.get(name, 0))
    seen = sorted(newest.values())[-2]
    adopt(journal, QUORUM)
    assert unwitnessed_seconds(journal, watched.clock()) == before
    assert journal.write(lambda transaction: transaction.witnessed_size).value == seen
    assert size_of(to_cosign(journal, QUORUM)) >= seen
