"""Corrections and withdrawals through both clients: the same calls, the same results."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from concordat import (
    AccountSnapshot,
    AccountStatus,
    ApplicationEvent,
    AsyncClient,
    Client,
    InvalidInput,
    Options,
    ProductClass,
    Profile,
    Row,
    RowRef,
    RowWithdrawal,
    Token,
)
from concordat.results.uploads import ROWS_PER_PART
from concordat_privacy.log.checkpoint import SigningKey
from tests.contributing import account_row, allow, consortium_on, relations
from tests.sdk_clients import blocking_face
from tests.services import (
    EPOCH,
    Consortium,
    token,
    write_profile,
)
from tests.stores import ManualClock, StoreUrls


@pytest.fixture
def consortium(sqlite_stores: StoreUrls, clock: ManualClock) -> Iterator[Consortium]:
    with consortium_on(sqlite_stores, clock) as running:
        allow(running)
        yield running


@pytest.fixture(params=["blocking", "awaiting"])
def client(
    request: pytest.FixtureRequest,
    consortium: Consortium,
    tmp_path: Path,
    ledger_key: SigningKey,
    clock: ManualClock,
) -> Iterator[Client]:
    write_profile(tmp_path / "beta", "beta", consortium.server.port, ledger_key)
    profile, options = Profile.load(tmp_path / "beta"), Options(channels=1)
    made = (
        Client(profile, options)
        if request.param == "blocking"
        else blocking_face(lambda: AsyncClient(profile, options))
    )
    with made:
        yield made


def balances(consortium: Consortium, subject: int) -> list[int]:
    return [int(relation.balance) for relation in relations(consortium, subject).values()]


def test_a_row_is_named_by_its_number_whatever_was_refused_before_it(
    consortium: Consortium, client: Client
) -> None:
    good = account_row(consortium, 1)
    assert isinstance(good.record, AccountSnapshot)
    rows = [
        replace(good, record=replace(good.record, status=AccountStatus.UNSPECIFIED)),  # not sent
        account_row(consortium, 9),  # no consent
        good,
        replace(good, record=replace(good.record, account_ref=b"short")),  # not sent
        account_row(consortium, 2),
    ]
    result = client.contribute(rows)
    assert [refusal.item for refusal in result.refused] == [0, 1, 3]
    [batch] = result.batches
    entry = batch.receipt.entry_index
    assert (result.row(2), result.row(4)) == (RowRef(entry, 1), RowRef(entry, 2))
    assert batch.row(4) == result.row(4)
    for number in (0, 1, 3, 5, -1):
        with pytest.raises(InvalidInput):
            result.row(number)
        with pytest.raises(InvalidInput):
            batch.row(number)

    corrected = client.contribute(
        [
            replace(account_row(consortium, 2, balance=5), replaces=result.row(4)),
            replace(account_row(consortium, 1, balance=5), replaces=RowRef(10**9, 0)),
        ]
    )
    assert [(one.item, one.field, one.reason) for one in corrected.refused] == [
        (1, "replaces", "NO_SUCH_ROW")
    ]
    assert (balances(consortium, 1), balances(consortium, 2)) == ([3], [5])
    gone = client.withdraw_rows(
        [
            RowWithdrawal(good.token, result.row(2), account_ref=good.record.account_ref),
            RowWithdrawal(good.token, result.row(4), application_ref=bytes(16)),
        ]
    )
    assert (gone.rows_withdrawn, len(gone.receipts)) == (1, 1)
    assert [(one.item, one.field, one.reason) for one in gone.refused] == [
        (1, "row", "ALREADY_REPLACED")
    ]
    assert gone.receipts[0].fields["type"] == "contribution.withdrawn"
    assert (balances(consortium, 1), balances(consortium, 2)) == ([], [5])


def test_rows_of_an_upload_are_named_by_their_number_in_it(
    consortium: Consortium, client: Client
) -> None:
    rows = [account_row(consortium, 1 + n % 3, n) for n in range(ROWS_PER_PART + 2)]
    rows[1] = replace(rows[1], token=Token(token(9), EPOCH))
    first, second = client.contribute_stream(rows)
    assert first.row(2) == RowRef(first.receipt.entry_index, 2)
    assert second.row(ROWS_PER_PART + 1) == RowRef(second.receipt.entry_index, 1)
    for number in (1, ROWS_PER_PART, -1):
        with pytest.raises(InvalidInput):
            first.row(number)
    with pytest.raises(InvalidInput):
        second.row(0)
    right = [
        replace(account_row(consortium, 1 + 2 % 3, 2, balance=6), replaces=first.row(2)),
        replace(account_row(consortium, 1, 1, balance=6), replaces=first.row(0)),
        replace(account_row(consortium, 1, 0), replaces="that one"),  # type: ignore[arg-type]
    ]
    [part] = client.contribute_stream(right)
    assert [(one.item, one.field, one.reason) for one in part.refused] == [
        (1, "replaces", "OTHER_ROW"),
        (2, "replaces", "WRONG_TYPE"),
    ]


def test_more_rows_than_a_call_takes_are_withdrawn_in_several(
    consortium: Consortium, client: Client
) -> None:
    rows = [account_row(consortium, 1, n) for n in range(1_002)]
    result = client.contribute(rows)
    gone = client.withdraw_rows(
        RowWithdrawal(row.token, result.row(n), account_ref=row.record.account_ref)
        for n, row in enumerate(rows)
        if isinstance(row.record, AccountSnapshot)
    )
    assert (gone.rows_withdrawn, gone.refused, len(gone.receipts)) == (1_002, (), 2)
    assert balances(consortium, 1) == []
    # The same call with the same id is answered from the record.
    again = client.withdraw_rows(
        [
            RowWithdrawal(row.token, result.row(n), account_ref=row.record.account_ref)
            for n, row in enumerate(rows)
            if isinstance(row.record, AccountSnapshot)
        ],
        request_id=gone.request_id,
    )
    assert again.rows_withdrawn == 1_002


def test_an_application_is_corrected_and_withdrawn(consortium: Consortium, client: Client) -> None:
    day = consortium.clock.microseconds // 86_400_000_000
    event = ApplicationEvent(bytes(16), day - 3, ProductClass.REVOLVING)
    person = Token(token(1), EPOCH)
    first = client.contribute([Row(person, event)])
    second = client.contribute([Row(person, replace(event, day=day - 2), first.row(0))])
    gone = client.withdraw_rows([RowWithdrawal(person, second.row(0), application_ref=bytes(16))])
    assert gone.rows_withdrawn == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"token": "11010019000101000X"}, "token"),
        ({"row": (1, 2)}, "row"),
        ({"row": RowRef(-1, 0)}, "row"),
        ({"row": RowRef(0, 2**32)}, "row"),
        ({"account_ref": b"short"}, "account_ref"),
        ({"account_ref": None}, "account_ref"),
        ({"application_ref": bytes(16)}, "account_ref"),
    ],
)
def test_a_withdrawal_that_cannot_be_sent_is_not_made(
    values: dict[str, object], field: str
) -> None:
    good = {"token": Token(token(1), EPOCH), "row": RowRef(1, 0), "account_ref": bytes(16)}
    with pytest.raises(InvalidInput) as error:
        RowWithdrawal(**(good | values))  # type: ignore[arg-type]
    assert [violation.field for violation in error.value.violations] == [field]
