"""The whole story through both clients, against a real gateway with its own processes."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from concordat import (
    AccountSnapshot,
    AccountStatus,
    AmountBand,
    ApplicationEvent,
    AsyncClient,
    BatchState,
    Client,
    Conflict,
    ConsentDraft,
    ConsentState,
    DataCategory,
    DaysPastDueBand,
    Dimension,
    InvalidInput,
    MemberState,
    NoConsent,
    NotFound,
    NotPermitted,
    PhoneNumber,
    ProductClass,
    Purpose,
    QuotaExhausted,
    ResidentId,
    Row,
    SignalStatus,
    SubjectStatus,
    Suspended,
    Token,
    UsageKind,
    UtilisationBand,
    day_number,
    month_number,
    quarter_number,
)
from concordat_privacy.oprf.ristretto import elements_from_uniform
from tests.fabricate import resident_id
from tests.gateways import Gateway
from tests.sdk_clients import blocking_face

NOW = datetime.now(UTC)
THIS_MONTH = month_number(NOW.date())
EVERYTHING = set(DataCategory) - {DataCategory.UNSPECIFIED}


class Opener(Protocol):
    """Opens a client of the kind under test."""

    def __call__(self, profile: Path) -> Client: ...


@pytest.fixture(params=["blocking", "awaiting"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def opened(kind: str) -> Iterator[Opener]:
    with ExitStack() as stack:

        def make(profile: Path) -> Client:
            if kind == "blocking":
                return stack.enter_context(Client.open(profile))
            return stack.enter_context(blocking_face(lambda: AsyncClient.open(profile)))

        yield make


@pytest.fixture
def lender(gateway: Gateway, opened: Opener, kind: str) -> Client:
    """A member that asks."""
    return opened(gateway.join(f"sdk-lender-{kind}"))


@pytest.fixture
def furnisher(gateway: Gateway, opened: Opener, kind: str) -> Client:
    """A member that contributes."""
    return opened(gateway.join(f"sdk-furnisher-{kind}"))


@pytest.fixture
def person(lender: Client, request: pytest.FixtureRequest) -> Token:
    """A subject of this test's own."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    number = int.from_bytes(digest[:4], "big") % 3_000_000
    return lender.tokenise([ResidentId(resident_id(number))])[0]


def element(number: int) -> bytes:
    """The token value of nobody: an element like any other."""
    return elements_from_uniform(hashlib.sha512(number.to_bytes(8, "big")).digest())


def consent(
    token: Token,
    *purposes: Purpose,
    categories: set[DataCategory] = EVERYTHING,
    notice_version: str = "2026-1",
) -> ConsentDraft:
    return ConsentDraft(
        token=token,
        purposes=set(purposes),
        categories=categories,
        expires_at=NOW + timedelta(days=30),
        notice_version=notice_version,
        evidence_sha256=hashlib.sha256(b"the signed form").digest(),
    )


def account(token: Token, number: int = 1) -> Row:
    """A revolving account opened two years ago, half used, once 30 days late."""
    return Row(
        token,
        AccountSnapshot(
            account_ref=number.to_bytes(16, "big"),
            as_of_month=THIS_MONTH,
            status=AccountStatus.OPEN,
            product=ProductClass.REVOLVING,
            opened_quarter=quarter_number(NOW.date()) - 8,
            limit=AmountBand.FROM_10K_TO_20K,
            balance=AmountBand.FROM_5K_TO_10K,
            days_past_due=DaysPastDueBand.CURRENT,
            utilisation=UtilisationBand.FROM_50_TO_75,
            payment_profile=bytes([DaysPastDueBand.CURRENT] * 5 + [DaysPastDueBand.FROM_30_TO_59]),
        ),
    )


def test_both_kinds_of_client_make_the_same_tokens(gateway: Gateway) -> None:
    people = [ResidentId(resident_id(7)), PhoneNumber("138 0013 8000")]
    profile = gateway.join("sdk-tokens")
    with (
        Client.open(profile) as blocking,
        blocking_face(lambda: AsyncClient.open(profile)) as awaiting,
    ):
        tokens = blocking.tokenise(people)
        assert tokens == awaiting.tokenise(people)
        assert len(set(tokens)) == 2
        [key] = blocking.list_token_keys()
        assert key.pinned
        assert {token.epoch for token in tokens} == {key.epoch}
        assert blocking.key_log == (profile / "keys.log").read_text()


def test_a_record_goes_its_whole_way(lender: Client, furnisher: Client, person: Token) -> None:
    assert furnisher.grant_consents([consent(person, Purpose.CONTRIBUTION)]).refused == ()
    contributed = furnisher.contribute(
        [
            account(person),
            Row(
                person,
                ApplicationEvent(bytes(16), day_number(NOW.date()) - 3, ProductClass.REVOLVING),
            ),
        ]
    )
    assert contributed.refused == ()
    assert contributed.rows_accepted == 2

    before = lender.lookup(person, Purpose.UNDERWRITING)
    assert before.status is SubjectStatus.NO_CONSENT
    with pytest.raises(NoConsent):
        before["lenders_open"]

    granted = lender.grant_consents([consent(person, Purpose.UNDERWRITING)])
    result = lender.lookup(person, Purpose.UNDERWRITING)
    assert result.status is SubjectStatus.OK
    assert result["lenders_open"].status is SignalStatus.PRESENT
    assert result["lenders_open"].band_label == "1"
    assert month_number(result["lenders_open"].as_of or NOW.date()) == THIS_MONTH
    known = {info.name for info in lender.list_signals().signals}
    assert {signal.name for signal in result} == known
    assert len(known) >= 12

    for receipt in (contributed.batches[0].receipt,):
        assert furnisher.verify_receipt(receipt).fields["type"] == "contribution.batch"
    for receipt in (before.receipt, result.receipt, granted.receipts[0]):
        verified = lender.verify_receipt(receipt)
        assert verified.entry_index == receipt.entry_index
        assert verified.fields["actor"] == lender.profile.spiffe_id

    lender.withdraw_consent(granted.granted[0].consent_id)
    after = lender.lookup(person, Purpose.UNDERWRITING)
    assert after.status is SubjectStatus.NO_CONSENT


def test_a_consent_can_be_read_listed_and_withdrawn_once(lender: Client, person: Token) -> None:
    draft = consent(
        person, Purpose.UNDERWRITING, Purpose.DISPUTE, categories={DataCategory.INQUIRIES}
    )
    [granted] = lender.grant_consents([draft]).granted
    found = lender.get_consent(granted.consent_id)
    assert found.state is ConsentState.ACTIVE
    assert found.purposes == {Purpose.UNDERWRITING, Purpose.DISPUTE}
    assert found.categories == {DataCategory.INQUIRIES}
    assert found.notice_version == "2026-1"
    assert abs(found.expires_at - draft.expires_at) < timedelta(milliseconds=1)
    assert found.withdrawn_at is None
    assert list(lender.list_consents(person)) == [found]

    withdrawal = lender.withdraw_consent(granted.consent_id)
    assert withdrawal.consent.state is ConsentState.WITHDRAWN
    assert withdrawal.receipt is not None
    assert lender.verify_receipt(withdrawal.receipt).fields["type"] == "consent.withdrawn"
    assert lender.withdraw_consent(granted.consent_id).receipt is None


def test_a_consent_recorded_twice_is_in_force_until_both_are_withdrawn(
    lender: Client, person: Token
) -> None:
    draft = consent(person, Purpose.UNDERWRITING)
    [first] = lender.grant_consents([draft]).granted
    lender.grant_consents([draft])
    lender.withdraw_consent(first.consent_id)
    assert lender.lookup(person, Purpose.UNDERWRITING).status is SubjectStatus.OK

    live = [c for c in lender.list_consents(person) if c.state is ConsentState.ACTIVE]
    assert len(live) == 1
    lender.withdraw_consent(live[0].consent_id)
    assert lender.lookup(person, Purpose.UNDERWRITING).status is SubjectStatus.NO_CONSENT


def test_receipts_name_the_calls_that_they_are_of(lender: Client, person: Token) -> None:
    lender.grant_consents([consent(person, Purpose.UNDERWRITING)])
    names = ["utilisation", "lenders_open"]
    entries = [
        lender.lookup(person, Purpose.UNDERWRITING, signals=names).receipt.fields,
        lender.lookup_batch([person, person], Purpose.UNDERWRITING)[0].receipt.fields,
        lender.count(epsilon=0.001).receipt.fields,
    ]
    assert len({str(fields["request"]) for fields in entries}) == 3
    assert [fields.get("items") for fields in entries] == [1, 2, None]
    assert entries[0]["purpose"] == "underwriting"
    assert entries[0]["signals"] == ["lenders_open", "utilisation"]


def test_a_refused_consent_has_the_callers_name_of_the_field(lender: Client, person: Token) -> None:
    late = ConsentDraft(
        token=person,
        purposes={Purpose.UNDERWRITING},
        categories=EVERYTHING,
        expires_at=NOW - timedelta(days=1),
        notice_version="2026-1",
        evidence_sha256=bytes(32),
    )
    [refusal] = lender.grant_consents([late]).refused
    assert (refusal.field, refusal.reason) == ("expires_at", "OUT_OF_RANGE")


def test_anothers_consent_does_not_exist(lender: Client, furnisher: Client, person: Token) -> None:
    [granted] = lender.grant_consents([consent(person, Purpose.UNDERWRITING)]).granted
    with pytest.raises(NotFound) as caught:
        furnisher.get_consent(granted.consent_id)
    assert caught.value.reason == "CONSENT_NOT_FOUND"


def test_good_items_are_kept_and_bad_ones_listed(
    lender: Client, furnisher: Client, person: Token
) -> None:
    too_long = ConsentDraft(
        token=person,
        purposes={Purpose.UNDERWRITING},
        categories={DataCategory.INQUIRIES},
        expires_at=NOW + timedelta(days=6 * 366),
        notice_version="2026-1",
        evidence_sha256=bytes(32),
    )
    granting = lender.grant_consents([too_long, consent(person, Purpose.UNDERWRITING)])
    assert [granted.item for granted in granting.granted] == [1]
    assert {refusal.item for refusal in granting.refused} == {0}

    furnisher.grant_consents([consent(person, Purpose.CONTRIBUTION)])
    stranger = Token(element(0), person.epoch)
    contributing = furnisher.contribute([account(stranger), account(person)])
    assert contributing.rows_accepted == 1
    [refusal] = contributing.refused
    assert (refusal.item, refusal.reason) == (0, "NO_CONSENT")


def test_a_repeated_request_id_returns_the_first_answer(lender: Client, person: Token) -> None:
    drafts = [consent(person, Purpose.UNDERWRITING)]
    first = lender.grant_consents(drafts)
    again = lender.grant_consents(drafts, request_id=first.request_id)
    assert again.granted == first.granted
    with pytest.raises(Conflict) as caught:
        lender.grant_consents([consent(person, Purpose.DISPUTE)], request_id=first.request_id)
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_a_batch_can_be_followed(furnisher: Client, person: Token) -> None:
    furnisher.grant_consents([consent(person, Purpose.CONTRIBUTION)])
    [batch] = furnisher.contribute([account(person)]).batches
    status = furnisher.get_batch(batch.request_id)
    assert status.state in set(BatchState)
    assert (status.rows_accepted, status.rows_refused) == (1, 0)
    assert status.entry_index == batch.receipt.entry_index
    with pytest.raises(NotFound):
        furnisher.get_batch(bytes(16))


def test_many_subjects_are_looked_up_in_order(lender: Client, person: Token) -> None:
    lender.grant_consents([consent(person, Purpose.PORTFOLIO_REVIEW)])
    strangers = [Token(element(number), person.epoch) for number in range(1_100)]
    results = lender.lookup_batch([*strangers, person], Purpose.PORTFOLIO_REVIEW)
    assert [result.status for result in results] == [SubjectStatus.NO_CONSENT] * 1_100 + [
        SubjectStatus.OK
    ]
    assert lender.verify_receipt(results[-1].receipt).fields["items"] == 1_101


def test_a_portfolio_is_reviewed_chunk_by_chunk(lender: Client, person: Token) -> None:
    lender.grant_consents([consent(person, Purpose.PORTFOLIO_REVIEW)])
    strangers = [Token(element(number), person.epoch) for number in range(1_100)]
    results = list(lender.review_portfolio([*strangers, person], max_age_months=6))
    assert [result.status for result in results[:-1]] == [SubjectStatus.NO_CONSENT] * 1_100
    assert results[-1].status is SubjectStatus.OK
    first, last = (lender.verify_receipt(results[at].receipt).fields for at in (0, -1))
    assert (first["sequence"], first["items"]) == (1, 1_000)
    assert (last["sequence"], last["items"]) == (2, 101)
    assert first["review"] == last["review"]


def test_only_wanted_signals_are_answered(lender: Client, person: Token) -> None:
    lender.grant_consents([consent(person, Purpose.UNDERWRITING)])
    result = lender.lookup(person, Purpose.UNDERWRITING, signals=["utilisation"])
    assert [signal.name for signal in result] == ["utilisation"]
    with pytest.raises(InvalidInput) as caught:
        lender.lookup(person, Purpose.UNDERWRITING, signals=["no_such_signal"])
    assert any("signals" in violation.field for violation in caught.value.violations)


def test_a_consent_that_does_not_cover_a_category_says_so(lender: Client, person: Token) -> None:
    only = {DataCategory.INQUIRIES}
    lender.grant_consents([consent(person, Purpose.UNDERWRITING, categories=only)])
    result = lender.lookup(person, Purpose.UNDERWRITING)
    assert result["utilisation"].status is SignalStatus.NO_CONSENT


def test_a_purpose_that_is_not_for_lookups_is_refused(lender: Client, person: Token) -> None:
    with pytest.raises(InvalidInput) as caught:
        lender.lookup(person, Purpose.MODEL_TRAINING)
    assert [violation.field for violation in caught.value.violations] == ["purpose"]


def test_a_question_is_charged_once_and_grouped_by_bands(
    lender: Client, furnisher: Client, person: Token
) -> None:
    furnisher.grant_consents([consent(person, Purpose.CONTRIBUTION, Purpose.AGGREGATE_STATISTICS)])
    furnisher.contribute([account(person)])
    answer = lender.count(
        {Dimension.UTILISATION: {UtilisationBand.FROM_50_TO_75}}, Dimension.PRODUCT, epsilon=0.5
    )
    assert len(answer.cells) > 1
    assert answer.charged_rho > 0
    assert answer.error_95 >= 1
    again = lender.count(
        {Dimension.UTILISATION: {UtilisationBand.FROM_50_TO_75}}, Dimension.PRODUCT, epsilon=0.5
    )
    if again.snapshot == answer.snapshot:
        assert (again.cells, again.charged_rho) == (answer.cells, 0)
    scopes = {budget.scope: budget for budget in lender.budget()}
    assert scopes["pool"].spent_rho >= answer.charged_rho
    assert scopes["pool"].left_rho == scopes["pool"].cap_rho - scopes["pool"].spent_rho
    lender.verify_receipt(answer.receipt)


def test_a_notice_of_adverse_rows_stands_in_the_batchs_entry(
    furnisher: Client, person: Token
) -> None:
    furnisher.grant_consents([consent(person, Purpose.CONTRIBUTION)])
    notice = hashlib.sha256(b"what the subject was told").digest()
    [batch] = furnisher.contribute([account(person)], adverse_notice_sha256=notice).batches
    assert batch.receipt.fields["adverse_notice_sha256"] == notice.hex()
    assert batch.receipt.fields["adverse"] == 1
    with pytest.raises(InvalidInput) as refused:
        furnisher.contribute([account(person)], adverse_notice_sha256=notice[:31])
    assert [one.field for one in refused.value.violations] == ["adverse_notice_sha256"]


def test_a_view_names_its_case(opened: Opener, gateway: Gateway) -> None:
    auditor = opened(gateway.auditor)
    list(auditor.export_entries(case="2026/18"))
    last = list(auditor.export_entries())[-1]
    assert json.loads(last.entry)["case"] == "2026/18"


def test_an_auditor_exports_and_may_not_look_anybody_up(
    gateway: Gateway, opened: Opener, lender: Client, person: Token
) -> None:
    receipt = lender.lookup(person, Purpose.UNDERWRITING).receipt
    auditor = opened(gateway.auditor)
    entries = list(auditor.export_entries())
    assert entries[receipt.entry_index].entry == receipt.entry
    assert len(entries) == entries[0].checkpoint.checkpoint.size
    with pytest.raises(NotPermitted):
        auditor.lookup(person, Purpose.UNDERWRITING)
    with pytest.raises(NotPermitted):
        list(lender.export_entries())


def test_a_suspension_works_on_an_open_connection(
    gateway: Gateway, opened: Opener, kind: str
) -> None:
    member_id = f"sdk-suspended-{kind}"
    member = opened(gateway.join(member_id))
    operator = opened(gateway.operator)
    member.list_signals()

    change = operator.suspend_member(member_id, "a test")
    assert change.member.state is MemberState.SUSPENDED
    assert change.receipt is not None
    with pytest.raises(Suspended):
        member.list_signals()
    assert operator.suspend_member(member_id, "again").receipt is None

    operator.reinstate_member(member_id, "it was a test")
    member.list_signals()
    states = {found.member_id: found.state for found in operator.list_members(page_size=1)}
    assert states[member_id] is MemberState.ACTIVE


def test_a_member_may_not_do_what_operators_do(lender: Client) -> None:
    with pytest.raises(NotPermitted) as caught:
        lender.suspend_member("sdk-lender", "because")
    assert caught.value.operation == "suspend_member"


def test_usage_counts_what_was_asked_and_a_quota_ends_it(
    gateway: Gateway, opened: Opener, kind: str
) -> None:
    member_id = f"sdk-metered-{kind}"
    member, operator = opened(gateway.join(member_id)), opened(gateway.operator)
    [token] = member.tokenise([PhoneNumber("138 0013 8000")])
    assert member.lookup(token, Purpose.UNDERWRITING).status is SubjectStatus.NO_CONSENT

    [counted] = operator.usage(member_id)
    assert counted.member_id == member_id
    assert counted[UsageKind.LOOKUPS].today == counted[UsageKind.LOOKUPS_REFUSED].today == 1
    assert counted[UsageKind.EVALUATIONS].today == 1

    receipt = operator.set_lookup_quota(member_id, 2, 2)
    assert operator.verify_receipt(receipt).fields["lookups_daily"] == 2
    assert operator.usage(member_id)[0][UsageKind.LOOKUPS].daily_limit == 2
    member.lookup(token, Purpose.UNDERWRITING)
    with pytest.raises(QuotaExhausted) as caught:
        member.lookup(token, Purpose.UNDERWRITING)
    assert caught.value.reason == "LOOKUPS_EXHAUSTED"
    assert caught.value.subject is not None
    assert member.usage()[0][UsageKind.LOOKUPS].today == 2
    with pytest.raises(NotFound):
        member.usage("sdk-lender-blocking-and-nobody")
