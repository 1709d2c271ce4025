"""Where adverse endings go by their first delinquency: what is taken, and what moves the month."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from concordat import (
    AccountSnapshot,
    Client,
    ConsentDraft,
    DataCategory,
    PhoneNumber,
    Purpose,
)
from concordat import Row as SentRow
from concordat.v1 import common_pb2, contribution_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.bands import AccountStatus, ProductClass
from concordat_privacy.catalogue.calendar import month_number
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.jurisdictions import policies
from tests.gateways import MakeGateway
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    PEPPER,
    Consortium,
    account,
    contribute,
    draft,
    grant,
    months_since_1970,
    request_id,
    serving,
    token,
)
from tests.stores import ManualClock

CHARGED_OFF = 4
UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
YEARS_AND_180_DAYS = 7 * 12 + 6
Row = contribution_pb2.ContributionRow


@pytest.fixture(params=["US", "CN"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def consortium(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, place: str
) -> Iterator[Consortium]:
    with serving(journal, signal_store, clock, retention=policies()[place]) as running:
        contribution, categories = 2, (1,)
        drafts = [draft(running, one, [contribution], categories) for one in (1, 2)]
        assert len(grant(running.beta, drafts).granted) == 2
        yield running


def ending(consortium: Consortium, subject: int, months_ago: int, **fields: int) -> Row:
    """A charge-off reported this month whose delinquency began so many months ago."""
    month = months_since_1970(consortium.clock)
    values = {
        "status": CHARGED_OFF,
        "opened_quarter": month // 3 - 40,
        "first_delinquency_month": month - months_ago,
        **fields,
    }
    return account(consortium, subject, **values)


def send_part(consortium: Consortium, *rows: Row) -> contribution_pb2.PartAcknowledged:
    header = contribution_pb2.UploadHeader(
        upload_id=request_id(), epoch=EPOCH, catalogue_version=CATALOGUE_VERSION
    )
    part = contribution_pb2.UploadPart(sequence=1, rows=rows)
    messages = [
        contribution_pb2.ContributeStreamRequest(header=header),
        contribution_pb2.ContributeStreamRequest(part=part),
    ]
    stream = consortium.beta.contributions.ContributeStream
    [_, answer] = stream(iter(messages), timeout=CALL_SECONDS)
    return answer.acknowledged


def held_month(consortium: Consortium) -> int:
    key = subject_key(PEPPER, token(1))
    [(_, relation)] = consortium.signal_store.histories([key], EPOCH)[key].relations
    return relation.first_delinquency_month


def test_an_ending_whose_years_are_over_is_not_taken_again(
    consortium: Consortium, place: str
) -> None:
    rows = [
        ending(consortium, 1, YEARS_AND_180_DAYS),
        ending(consortium, 2, YEARS_AND_180_DAYS + 1),
    ]
    wanted = {
        "US": [(1, "account.first_delinquency_month", "OUT_OF_RANGE")],
        # In China the years begin with the end of the adverse state.
        "CN": [],
    }[place]
    called, streamed = contribute(consortium.beta, rows), send_part(consortium, *rows)
    for refused in (called.refused, streamed.refused):
        assert [(one.item, one.field, one.reason) for one in refused] == wanted


@pytest.mark.parametrize("place", ["US"], indirect=True)
def test_a_report_does_not_make_a_delinquency_younger_and_a_correction_does(
    consortium: Consortium,
) -> None:
    month = months_since_1970(consortium.clock)
    first = contribute(consortium.beta, [ending(consortium, 1, 9, as_of_month=month - 1)])
    assert first.rows_accepted == 1
    newest = contribute(consortium.beta, [ending(consortium, 1, 2)])
    assert newest.rows_accepted == 1
    assert held_month(consortium) == month - 9

    corrected = ending(consortium, 1, 5)
    corrected.replaces.entry_index = newest.receipt.entry_index
    assert contribute(consortium.beta, [corrected]).rows_accepted == 1
    assert held_month(consortium) == month - 5


def all_lookups(consortium: Consortium) -> list[int]:
    """The status of `adverse_ending` of person 1 in each kind of lookup."""
    names = ["adverse_ending"]
    single = consortium.alpha.signals.Lookup(
        signal_pb2.LookupRequest(
            token=token(1), purpose=UNDERWRITING, signals=names, request_id=request_id()
        ),
        timeout=CALL_SECONDS,
    )
    batch = consortium.alpha.signals.BatchLookup(
        signal_pb2.BatchLookupRequest(
            tokens=token(1), purpose=UNDERWRITING, signals=names, request_id=request_id()
        ),
        timeout=CALL_SECONDS,
    )
    messages = [
        signal_pb2.ReviewPortfolioRequest(
            header=signal_pb2.ReviewHeader(review_id=request_id(), signals=names)
        ),
        signal_pb2.ReviewPortfolioRequest(
            chunk=signal_pb2.ReviewChunk(sequence=1, request_id=request_id(), tokens=token(1))
        ),
    ]
    [reviewed] = consortium.alpha.signals.ReviewPortfolio(iter(messages), timeout=CALL_SECONDS)
    results = [single.result, *batch.results, *reviewed.results]
    return [signal.status for result in results for signal in result.signals]


def test_no_lookup_shows_an_ending_from_the_day_on_which_its_years_are_over(
    consortium: Consortium, place: str
) -> None:
    """Nothing is deleted meanwhile: no run of retention is made."""
    purposes = [UNDERWRITING, common_pb2.PURPOSE_PORTFOLIO_REVIEW]
    assert len(grant(consortium.alpha, [draft(consortium, 1, purposes)]).granted) == 1
    taken = contribute(consortium.beta, [ending(consortium, 1, YEARS_AND_180_DAYS)])
    assert taken.rows_accepted == 1
    month = months_since_1970(consortium.clock)

    def seconds_into_next_month(seconds: float) -> None:
        start = datetime(1970 + (month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC)
        consortium.clock.microseconds = round((start.timestamp() + seconds) * 1_000_000)

    present, not_found = signal_pb2.SIGNAL_STATUS_PRESENT, signal_pb2.SIGNAL_STATUS_NOT_FOUND
    assert all_lookups(consortium) == [present] * 3
    seconds_into_next_month(-1)
    assert all_lookups(consortium) == [present] * 3
    seconds_into_next_month(0)
    assert all_lookups(consortium) == [{"US": not_found, "CN": present}[place]] * 3


@pytest.mark.slow
def test_the_clock_is_that_of_the_place_in_the_configuration(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.edit("[signals]\n", '[retention]\njurisdiction = "US"\n\n[signals]\n')
    gateway.start()
    now = datetime.now(UTC)
    month = month_number(now.date())
    with Client.open(gateway.join("lender")) as lender:
        [person] = lender.tokenise([PhoneNumber("+8613900000001")])
        consent = ConsentDraft(
            token=person,
            purposes={Purpose.CONTRIBUTION},
            categories={DataCategory.CREDIT_ACCOUNTS},
            expires_at=now + timedelta(days=30),
            notice_version="2026-1",
            evidence_sha256=hashlib.sha256(b"the signed form").digest(),
        )
        assert len(lender.grant_consents([consent]).granted) == 1
        # Two months beyond the limit, and two within it: the month may turn meanwhile.
        rows = [
            SentRow(
                person,
                AccountSnapshot(
                    account_ref=bytes(16),
                    as_of_month=month - at,
                    status=AccountStatus.CHARGED_OFF,
                    product=ProductClass.REVOLVING,
                    opened_quarter=month // 3 - 40,
                    first_delinquency_month=first,
                ),
            )
            for at, first in enumerate(
                (month - YEARS_AND_180_DAYS - 2, month - YEARS_AND_180_DAYS + 2)
            )
        ]
        result = lender.contribute(rows)
    assert [(one.item, one.field) for one in result.refused] == [
        (0, "account.first_delinquency_month")
    ]
