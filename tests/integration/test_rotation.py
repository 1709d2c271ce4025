"""Rotation: after it everything reads the same, by new tokens and, for a while, by old ones."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat.v1 import common_pb2, consent_pb2, contribution_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import retiring, rotation
from concordat_gateway.rules.aggregates import ask, exact_counts
from concordat_gateway.rules.budgets import Caps
from concordat_gateway.rules.rotation import (
    Progress,
    Rotated,
    RotationError,
    rotate,
)
from concordat_gateway.rules.stores_epoch import adopt_epoch
from concordat_gateway.store.control_tables import consent as consent_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.dp.query import parse
from concordat_privacy.dp.rho import NanoRho
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.errors import Refusal, exhausted
from tests.ledgers import check_ledger
from tests.rotations import ACTOR, means_of
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    account,
    application,
    chunk,
    contribute,
    draft,
    grant,
    grant_one,
    header,
    peer,
    reason_of,
    request_id,
    serving,
    token,
    withdraw,
)
from tests.stores import ManualClock, StoreUrls, statements
from tests.tokenkeys import TokenKeys, peppers

ROOT = Path(__file__).parents[2]
PEOPLE = range(12)
LOOKED_UP = (common_pb2.PURPOSE_UNDERWRITING, common_pb2.PURPOSE_PORTFOLIO_REVIEW)
GIVEN = (common_pb2.PURPOSE_CONTRIBUTION, common_pb2.PURPOSE_AGGREGATE_STATISTICS)
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
BY_PRODUCT = parse([], 1, 1_000_000, 4)
AMPLE = Caps(pool=NanoRho(10**15), member=NanoRho(10**15))
OK = signal_pb2.SUBJECT_STATUS_OK
NO_CONSENT = signal_pb2.SUBJECT_STATUS_NO_CONSENT


@dataclass
class Rotating:
    """A consortium whose keys rotate."""

    consortium: Consortium
    keys: TokenKeys
    steps: list[Progress] = field(default_factory=list)
    meanwhile: Callable[[Progress], None] = lambda _progress: None

    def rotate(self, to_epoch: int | None = None, **options: bool) -> Rotated:
        def report(progress: Progress) -> None:
            self.steps.append(progress)
            self.meanwhile(progress)

        means = means_of(self.consortium.journal, self.consortium.signal_store, self.keys, report)
        return rotate(means, to_epoch, **options)

    def look_up(
        self, number: int, epoch: int = 0, caller: Caller | None = None, purpose: int = 1
    ) -> signal_pb2.SubjectResult:
        request = signal_pb2.LookupRequest(
            token=token(number, epoch or 1),
            purpose=common_pb2.Purpose.ValueType(purpose),
            request_id=request_id(),
            epoch=epoch,
        )
        asked = caller or self.consortium.alpha
        return asked.signals.Lookup(request, timeout=CALL_SECONDS).result

    def consents(self, number: int, epoch: int) -> list[consent_pb2.Consent]:
        request = consent_pb2.ListConsentsRequest(token=token(number, epoch), epoch=epoch)
        listed = self.consortium.alpha.consents.ListConsents(request, timeout=CALL_SECONDS)
        return list(listed.consents)

    def counts(self) -> list[int]:
        consortium = self.consortium
        epoch = consortium.journal.tokens_epoch
        now = consortium.clock.microseconds
        return exact_counts(consortium.journal, consortium.signal_store, BY_PRODUCT, epoch, now)

    def reading(self, epoch: int) -> list[object]:
        """All that a member can read of everybody, by tokens of an epoch."""
        return [
            *(self.look_up(number, epoch) for number in PEOPLE),
            *(self.look_up(number, epoch, purpose=3) for number in PEOPLE),
            *(self.consents(number, epoch) for number in PEOPLE),
        ]


@contextmanager
def rotating(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, keys: TokenKeys
) -> Iterator[Rotating]:
    with serving(journal, signal_store, clock, keys) as consortium:
        yield Rotating(consortium, keys)


@pytest.fixture
def two(journal: Journal, signal_store: SignalStore, clock: ManualClock) -> Iterator[Rotating]:
    """Stores at epoch 1 with data of three members; the key of epoch 2 is there."""
    with rotating(journal, signal_store, clock, TokenKeys.of_epochs(1, 2)) as running:
        fill(running.consortium)
        yield running


def fill(consortium: Consortium) -> None:
    """Beta and gamma furnish, alpha may look most people up; some consents are withdrawn."""
    for number, furnisher in enumerate((consortium.beta, consortium.gamma)):
        people = [person for person in PEOPLE if (person + number) % 3]
        drafts = [draft(consortium, person, GIVEN, (ACCOUNTS, INQUIRIES)) for person in people]
        granted = grant(furnisher, drafts).granted
        rows = [account(consortium, p, ref, product=1 + p % 4) for p in people for ref in (1, 2)]
        rows += [application(consortium, person) for person in people]
        assert contribute(furnisher, rows).rows_accepted == len(rows)
        withdraw(furnisher, granted[0].consent_id)
    for person in PEOPLE[2:]:
        drafts = [draft(consortium, person, [purpose], (ACCOUNTS,)) for purpose in LOOKED_UP]
        granted = grant(consortium.alpha, drafts).granted
        if person % 5 == 0:
            withdraw(consortium.alpha, granted[0].consent_id)


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value


def test_everything_reads_the_same_after_a_rotation(two: Rotating, ledger_key: SigningKey) -> None:
    before, counted = two.reading(1), two.counts()
    statuses = {result.status for result in before[: len(PEOPLE)]}  # type: ignore[attr-defined]
    assert statuses == {OK, NO_CONSENT}
    assert sum(counted) > 0

    assert two.rotate() == Rotated(1, 2, len(PEOPLE))

    assert two.reading(2) == before
    assert two.reading(1) == before
    assert two.counts() == counted
    leaves = [
        json.loads(leaf) for leaf in check_ledger(two.consortium.journal, ledger_key.verifier)
    ]
    [rotated] = [leaf for leaf in leaves if leaf["type"] == "tokens.rotated"]
    assert (rotated["from_epoch"], rotated["to_epoch"], rotated["subjects"]) == (1, 2, 12)
    assert rotated["actor"] == ACTOR


def test_no_old_name_is_left_where_subjects_are_read(two: Rotating, store_urls: StoreUrls) -> None:
    two.rotate()
    old = {subject_key(peppers(1)[1], token(number, 1)) for number in PEOPLE}
    new = {subject_key(peppers(2)[2], token(number, 2)) for number in PEOPLE}
    with two.consortium.journal.read() as connection:
        assert set(connection.execute(sa.select(consent_table.c.subject)).scalars()) == new
        for table in ("subject_element", "subject_alias"):
            found = set(connection.execute(sa.text(f"SELECT subject FROM {table}")).scalars())
            assert found == new, table
        assert connection.execute(sa.text("SELECT count(*) FROM rotation_pair")).scalar() == 0
    stored = two.consortium.signal_store.relations_by_bucket(["subject", "bucket"], 2)
    rows = [(bucket, row) for bucket, found in stored for row in found]
    assert rows
    for bucket, (subject, own_bucket) in rows:
        assert subject in new
        assert subject not in old
        assert bucket == own_bucket == subject[0]


def test_a_split_key_rotates_too(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1)
    keys.add(2, threshold=2, holders=3)
    with rotating(journal, signal_store, clock, keys) as split:
        fill(split.consortium)
        before = split.reading(1)
        # One that lies is found out by its proof, and another one asked.
        keys.liars = {2}
        split.rotate()
        assert split.reading(2) == before


def test_a_lying_key_holder_is_refused_by_the_proof_and_named(
    two: Rotating, caplog: pytest.LogCaptureFixture
) -> None:
    before = two.reading(1)
    two.keys.liars = {0}
    with pytest.raises(Refusal, match="do not prove the update to epoch 2") as refused:
        two.rotate()
    assert refused.value.reason == "KEYHOLDER_UNAVAILABLE"
    assert "an update to epoch 2 is not proven: key-holder 0" in caplog.text
    assert two.reading(1) == before

    two.keys.liars = set()
    two.rotate()
    assert two.reading(2) == before


def test_two_rotations_in_a_row(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    with rotating(journal, signal_store, clock, TokenKeys.of_epochs(1, 2, 3)) as three:
        fill(three.consortium)
        before, counted = three.reading(1), three.counts()
        three.rotate()
        # A person whom only the tokens of epoch 2 have named.
        grant(three.consortium.alpha, [draft(three.consortium, token(50, 2))], epoch=2)
        assert three.rotate(3) == Rotated(2, 3, len(PEOPLE) + 1)

        for epoch in (1, 2, 3):
            assert three.reading(epoch) == before, epoch
            assert three.look_up(50, epoch).status == OK
        assert three.counts() == counted
        with pytest.raises(RotationError, match="the key log has no epoch 4"):
            three.rotate()


def test_old_and_new_tokens_of_a_person_meet(two: Rotating) -> None:
    """Whoever has only the other epoch's token finds the consents that this one's recorded."""
    consortium = two.consortium
    two.rotate()
    grant(consortium.alpha, [draft(consortium, token(30, 1))], epoch=1)
    grant(consortium.alpha, [draft(consortium, token(31, 2))], epoch=2)
    for person in (30, 31):
        for epoch in (1, 2):
            assert two.look_up(person, epoch).status == OK, (person, epoch)
            assert len(two.consents(person, epoch)) == 1, (person, epoch)

    # And rows that an old token brings are read by a new one.
    furnished = [draft(consortium, token(30, 2), GIVEN, (ACCOUNTS,))]
    grant(consortium.beta, furnished, epoch=2)
    assert contribute(consortium.beta, [account(consortium, token(30, 1))], epoch=1).rows_accepted
    by_name = {signal.name: signal for signal in two.look_up(30, 2).signals}
    assert by_name["lenders_open"].band_label == "1"


def test_where_two_epochs_are_taken_a_request_names_its_own(two: Rotating) -> None:
    two.look_up(3)
    two.rotate()
    refused = refusal(lambda: two.look_up(3))
    assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refused) == "EPOCH_REQUIRED"
    refused = refusal(lambda: grant(two.consortium.alpha, [draft(two.consortium, 3)]))
    assert reason_of(refused) == "EPOCH_REQUIRED"


def test_an_epoch_is_taken_once_the_stores_are_there_and_until_it_ends(two: Rotating) -> None:
    # Its key is in use, but no name can be made of its tokens yet.
    assert reason_of(refusal(lambda: two.look_up(3, 2))) == "EPOCH_NOT_ACTIVE"
    two.rotate()
    two.keys.end(1, two.consortium.clock.microseconds + 60_000_000)
    assert two.look_up(3, 1).status == OK
    two.consortium.clock.advance(60)

    for call in (
        lambda: two.look_up(3, 1),
        lambda: two.consents(3, 1),
        lambda: grant(two.consortium.alpha, [draft(two.consortium, 3)], epoch=1),
        lambda: contribute(two.consortium.beta, [account(two.consortium, 3)], epoch=1),
    ):
        refused = refusal(call)
        assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refused) == "EPOCH_NOT_ACTIVE"
    request = signal_pb2.LookupRequest(
        token=token(3, 2), purpose=common_pb2.PURPOSE_UNDERWRITING, request_id=request_id()
    )
    found = two.consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS)
    assert found.result.status == OK


def test_members_work_while_names_are_prepared(two: Rotating) -> None:
    consortium = two.consortium
    before = two.reading(1)
    seen: list[object] = []

    def work(progress: Progress) -> None:
        if progress.step == "prepare" and not seen:
            seen.extend(two.reading(1))
            grant(consortium.alpha, [draft(consortium, person) for person in (20, 21)])

    two.meanwhile = work
    assert two.rotate().subjects == len(PEOPLE) + 2

    assert seen == before
    assert two.look_up(20, 2).status == two.look_up(21, 1).status == OK
    # Each was carried once, however often it was gone through.
    assert two.keys.asked == len(PEOPLE) + 2


@pytest.mark.parametrize("step", ["signals", "control"])
def test_during_the_switch_nothing_that_names_subjects_is_served(two: Rotating, step: str) -> None:
    consortium = two.consortium
    consent_id = grant_one(consortium.alpha, draft(consortium, 40))
    before = two.reading(1)
    refused: list[grpc.RpcError] = []
    counting: list[Refusal] = []

    def work(progress: Progress) -> None:
        if progress.step != step or refused:
            return
        for call in (
            lambda: two.look_up(3, 1),
            lambda: two.look_up(3, 2),
            lambda: two.consents(3, 1),
            lambda: grant(consortium.alpha, [draft(consortium, 3)]),
            lambda: contribute(consortium.beta, [account(consortium, 3)]),
        ):
            refused.append(refusal(call))
        with pytest.raises(Refusal) as uncounted:
            ask(
                consortium.journal,
                consortium.signal_store,
                AMPLE,
                peer("alpha"),
                BY_PRODUCT,
                bytes(16),
                CALL_SECONDS,
            )
        counting.append(uncounted.value)
        # By its id a consent is withdrawn at any time.
        assert withdraw(consortium.alpha, consent_id).HasField("receipt")

    two.meanwhile = work
    two.rotate()

    assert len(refused) == 5
    for error in refused:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(error) == "TOKENS_ROTATING"
        assert any(
            detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
            for detail in rpc_status.from_call(error).details
        )
    assert [refusal.reason for refusal in counting] == ["TOKENS_ROTATING"]
    assert two.reading(2) == before


def test_a_change_under_the_old_names_never_commits_after_the_switch(two: Rotating) -> None:
    consortium = two.consortium
    request = request_id()
    rows = [account(consortium, 4, ref=9)]

    def parts() -> Iterator[contribution_pb2.ContributeRequest]:
        yield header(request)
        yield chunk(rows)
        two.rotate()

    call = lambda: consortium.beta.contributions.Contribute(parts(), timeout=CALL_SECONDS)  # noqa: E731
    size = consortium.journal.size
    error = refusal(call)

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "TOKENS_ROTATING")
    assert consortium.journal.size == size + 1  # the rotation itself
    assert contribute(consortium.beta, rows, request).rows_accepted == 1


def test_a_grant_is_repeated_across_a_rotation(two: Rotating) -> None:
    consortium = two.consortium
    request = consent_pb2.GrantConsentsRequest(
        request_id=request_id(), consents=[draft(consortium, 3)], epoch=1
    )
    first = consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
    two.rotate()
    again = consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)

    assert again.granted == first.granted
    assert len(two.consents(3, 2)) == 3


def test_what_was_accepted_and_not_published_is_moved_too(
    two: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    consortium = two.consortium
    grant(consortium.beta, [draft(consortium, 60, GIVEN, (ACCOUNTS,))])
    grant(consortium.alpha, [draft(consortium, 60)])
    with monkeypatch.context() as patched:
        patched.setattr(SignalStore, "publish", unavailable_store)
        assert contribute(consortium.beta, [account(consortium, 60)]).rows_accepted == 1
    assert consortium.signal_store.staged()

    two.rotate()

    by_name = {signal.name: signal for signal in two.look_up(60, 2).signals}
    assert by_name["lenders_open"].band_label == "1"


def no_more_updates() -> Refusal:
    return exhausted("UPDATES_EXHAUSTED", "no more updates today", "updates/day", 7200)


def test_a_rotation_that_met_the_key_holders_limit_goes_on_the_next_day(two: Rotating) -> None:
    before = two.reading(1)
    two.keys.refusal = no_more_updates()
    with pytest.raises(Refusal) as refused:
        two.rotate()
    assert refused.value.reason == "UPDATES_EXHAUSTED"
    # Members are not kept out meanwhile.
    assert two.reading(1) == before
    two.keys.refusal = None
    two.rotate()
    assert two.reading(2) == before


def test_to_a_member_the_key_holders_limit_is_an_outage(two: Rotating) -> None:
    two.rotate()
    two.keys.refusal = no_more_updates()
    # Nobody whom the member has recorded a consent of.
    with pytest.raises(grpc.RpcError) as refused:
        two.look_up(9_999, 1)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "KEYHOLDER_UNAVAILABLE"


def unavailable_store(*_arguments: object) -> None:
    from concordat_store.database import store_unavailable

    raise store_unavailable()


def test_an_alias_is_its_recipients_own(two: Rotating) -> None:
    """By an old token a member finds what its own consents left, and nothing of another's."""
    two.rotate()
    assert two.look_up(3, 1).status == OK
    assert two.look_up(3, 1, caller=two.consortium.beta).status == NO_CONSENT


def test_refusals_by_old_tokens_take_the_same_statements(two: Rotating) -> None:
    consortium = two.consortium
    two.rotate()
    unknown, not_alphas, other_purpose = 70, 0, 71
    grant(consortium.alpha, [draft(consortium, token(71, 1), [6])], epoch=1)
    runs = []
    for person in (unknown, not_alphas, other_purpose):
        with statements() as seen:
            assert two.look_up(person, 1).status == NO_CONSENT
        runs.append(seen)
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("flag", [False, True])
def test_subjects_without_an_element_are_counted_and_left_only_on_demand(
    two: Rotating, flag: bool
) -> None:
    consortium = two.consortium

    def forget(transaction: object) -> None:
        keys = [subject_key(peppers(1)[1], token(number, 1)) for number in (3, 4)]
        for key in keys:
            transaction.connection.execute(  # type: ignore[attr-defined]
                sa.text("DELETE FROM subject_element WHERE subject = :key"), {"key": key}
            )

    consortium.journal.write(forget)
    if not flag:
        with pytest.raises(RotationError, match=r"^2 subjects have no sealed element"):
            two.rotate()
        assert two.look_up(3, 1).status == OK
        # A new consent brings the element.
        grant(consortium.alpha, [draft(consortium, person) for person in (3, 4)])
        two.rotate()
        assert two.look_up(3, 2).status == OK
        return
    counted = two.counts()
    assert two.rotate(leave_unsealed=True).subjects == len(PEOPLE) - 2
    assert [two.look_up(number, 2).status for number in (3, 6)] == [NO_CONSENT, OK]
    assert two.counts() == counted
    found = rotation.status(consortium.journal, consortium.signal_store)
    assert (found.epoch, found.signals_epoch, found.rotation) == (2, 2, None)
    assert (found.sealed, found.unsealed) == (len(PEOPLE) - 2, 2)


def test_only_the_next_epoch_can_be_rotated_to(two: Rotating) -> None:
    for wrong in (1, 3):
        with pytest.raises(RotationError, match=f"the next is 2, not {wrong}"):
            two.rotate(wrong)
    two.rotate(2)


def test_elements_are_forgotten_once_their_epoch_has_ended(two: Rotating) -> None:
    consortium, clock = two.consortium, two.consortium.clock

    def forget() -> int:
        log = two.keys.log()
        return retiring.forget_elements(consortium.journal, log, 1, clock.microseconds, ACTOR)

    with pytest.raises(RotationError, match="epoch 1 has not ended"):
        forget()
    two.keys.end(1, clock.microseconds)
    with pytest.raises(RotationError, match="the stores have not left epoch 1"):
        forget()
    two.rotate()
    assert forget() == forget() == 0
    assert two.look_up(3, 2).status == OK
    entries = [json.loads(leaf) for _, leaf, _ in consortium.journal.entries(0, 10**6)]
    [retired] = [entry for entry in entries if entry["type"] == "key.retired"]
    assert (retired["epoch"], retired["actor"]) == (1, ACTOR)


def test_stores_without_subjects_begin_at_the_newest_epoch(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    keys = TokenKeys.of_epochs(1, 2, 3)
    keys.end(1, clock.microseconds)
    adopt_epoch(journal, signal_store, keys.log(), {1, 2, 3}, clock.microseconds)
    with rotating(journal, signal_store, clock, keys) as running:
        grant(running.consortium.alpha, [draft(running.consortium, token(1, 3))], epoch=3)
        assert running.look_up(1, 3).status == OK
        later = TokenKeys.of_epochs(1, 2, 3)
        later.end(3, clock.microseconds)
        adopt_epoch(journal, signal_store, later.log(), {1, 2, 3}, clock.microseconds)
        assert journal.tokens_epoch == 3


def writes_before_the_kill() -> Sequence[int]:
    """Few and many in turn, so that no point is out of reach and most are hit."""
    return [1, 2, 3, 5, 8, 10, 12, 14, 17, 21, 26, *([50] * 20)]


@pytest.mark.slow
def test_a_rotation_killed_again_and_again_goes_on(two: Rotating, store_urls: StoreUrls) -> None:
    before, counted = two.reading(1), two.counts()
    kills = 0
    for writes in writes_before_the_kill():
        urls = (store_urls.control_url, store_urls.signals_url)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.programs.rotate", *urls, str(writes)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
        kills += 1
        if two.consortium.journal.tokens_epoch == 1:
            assert two.look_up(3, 1).status == OK
        else:
            assert reason_of(refusal(lambda: two.look_up(3, 1))) == "TOKENS_ROTATING"
    else:
        pytest.fail("it never came to its end")

    assert kills >= 10
    assert two.reading(2) == before
    assert two.reading(1) == before
    assert two.counts() == counted
    assert rotation.status(two.consortium.journal, two.consortium.signal_store).rotation is None
