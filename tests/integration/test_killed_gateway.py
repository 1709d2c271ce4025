"""A gateway that is killed in the middle of a batch: nothing is lost, nothing is taken twice."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from concordat import (
    AccountSnapshot,
    AccountStatus,
    Client,
    PhoneNumber,
    ProductClass,
    Purpose,
    Row,
    SubjectStatus,
    TechnicalFault,
    Token,
    month_number,
    quarter_number,
)
from tests.contributing import agreed
from tests.gateways import MakeGateway, export_verified
from tests.stores import StoreUrls

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
PEOPLE = 300
ACCOUNTS_EACH = 20
REQUEST_ID = hashlib.sha256(b"the batch that is interrupted").digest()[:16]


def rows(people: list[Token]) -> Iterator[Row]:
    """Six messages of rows: twenty open accounts a person."""
    for token in people:
        for number in range(1, ACCOUNTS_EACH + 1):
            yield Row(
                token,
                AccountSnapshot(
                    account_ref=number.to_bytes(16, "big"),
                    as_of_month=month_number(NOW.date()),
                    status=AccountStatus.OPEN,
                    product=ProductClass.CASH_INSTALMENT,
                    opened_quarter=quarter_number(NOW.date()) - 4,
                ),
            )


@pytest.mark.parametrize("rows_before", [0, 2_500, PEOPLE * ACCOUNTS_EACH])
def test_a_batch_is_taken_once_however_often_the_gateway_dies(
    make_gateway: MakeGateway, store_urls: StoreUrls, tmp_path: Path, rows_before: int
) -> None:
    gateway = make_gateway(
        control_url=store_urls.control_url, signals_url=store_urls.signals_url, workers=1
    )
    gateway.start()
    profile = gateway.join("furnisher")
    with Client.open(profile) as furnisher:
        people = furnisher.tokenise(PhoneNumber(f"+8613800{n:06d}") for n in range(PEOPLE))
        granted = furnisher.grant_consents(
            [agreed(token, Purpose.CONTRIBUTION, Purpose.UNDERWRITING) for token in people]
        )
        assert not granted.refused

        def rows_and_death() -> Iterator[Row]:
            yield from islice(rows(people), rows_before)
            gateway.kill()
            yield from islice(rows(people), rows_before, None)

        with pytest.raises(TechnicalFault):
            furnisher.contribute(rows_and_death(), request_id=REQUEST_ID, timeout=3)
    gateway.start()

    # Now from the other end: it dies while it works on the whole batch, at whatever moment.
    with Client.open(profile) as furnisher, suppress(TechnicalFault):
        death = threading.Timer(0.1, gateway.kill)

        def rows_then_death() -> Iterator[Row]:
            yield from rows(people)
            death.start()

        furnisher.contribute(rows_then_death(), request_id=REQUEST_ID, timeout=3)
    death.join()
    gateway.start()

    with Client.open(profile) as furnisher:
        first = furnisher.contribute(rows(people), request_id=REQUEST_ID)
        again = furnisher.contribute(rows(people), request_id=REQUEST_ID)
        found = furnisher.lookup_batch(people, Purpose.UNDERWRITING, signals=["open_accounts"])
        furnisher.verify_receipt(first.batches[0].receipt)
    assert first.rows_accepted == again.rows_accepted == PEOPLE * ACCOUNTS_EACH
    assert first.batches[0].receipt.entry_index == again.batches[0].receipt.entry_index
    assert {result.status for result in found} == {SubjectStatus.OK}
    assert {result["open_accounts"].band_label for result in found} == {"11+"}

    kinds = Counter(entry["type"] for entry in export_verified(gateway, tmp_path / "export"))
    assert kinds["consent.granted"] == PEOPLE
    assert kinds["contribution.batch"] == 1
