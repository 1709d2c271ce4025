"""Rows in their packed form: the same rows, taken and refused as in messages."""

import hashlib
import json
import os
import struct
from collections.abc import Sequence

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import contribution_pb2
from concordat_gateway.ledger.journal import Transaction
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from tests.contributing import PEOPLE, allow, history_of
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    Consortium,
    account,
    application,
    fields_of,
    months_since_1970,
    reason_of,
    token,
)

Message = contribution_pb2.ContributeStreamRequest
Row = contribution_pb2.ContributionRow

# fmt: off
BANDS = [
    "limit", "balance", "past_due", "days_past_due", "utilisation", "spend_volatility",
    "five_class", "scheduled_payment", "payment_ratio", "utilisation_trend", "remaining_terms",
    "extensions", "fraud_flag", "spend_spike", "scene_anomaly", "refund_ratio",
    "income_regularity", "invoice_days_past_due", "settlement_punctuality", "buyer_concentration",
    "order_volatility", "dilution",
]
# fmt: on


def packed(row: Row) -> bytes:
    """A row as the contract's comment on packed_rows says."""
    if row.WhichOneof("record") == "application":
        event = row.application
        body = event.application_ref + struct.pack(">IB", event.day, event.product)
        content = b"\2" + body if not event.outcome else b"\4" + body + bytes([event.outcome])
    else:
        one = row.account
        bands = bytes(getattr(one, name) for name in BANDS).rstrip(b"\0")
        fixed = one.account_ref + struct.pack(
            ">IBBI", one.as_of_month, one.status, one.product, one.opened_quarter
        )
        profile = one.payment_profile
        if len(bands) <= 6 and not one.first_delinquency_month:
            rest = bands.ljust(6, b"\0") + bytes([len(profile)]) + profile.ljust(23, b"\0")
            content = b"\1" + fixed + rest
        else:
            first = struct.pack(">IB", one.first_delinquency_month, len(bands))
            content = b"\3" + fixed + first + bands + profile
    if row.HasField("replaces"):
        named = struct.pack(">QI", row.replaces.entry_index, row.replaces.item)
        content = b"\5" + named + content
    return row.token + content


def part_of(sequence: int, rows: Sequence[Row | bytes]) -> contribution_pb2.UploadPart:
    return contribution_pb2.UploadPart(
        sequence=sequence,
        rows=[row for row in rows if isinstance(row, Row)],
        packed_rows=[row for row in rows if isinstance(row, bytes)],
    )


def send(
    consortium: Consortium, upload: bytes, *parts: contribution_pb2.UploadPart
) -> list[contribution_pb2.ContributeStreamResponse]:
    header = contribution_pb2.UploadHeader(
        upload_id=upload, epoch=EPOCH, catalogue_version=CATALOGUE_VERSION
    )
    messages = [Message(header=header), *(Message(part=part) for part in parts)]
    return list(
        consortium.beta.contributions.ContributeStream(iter(messages), timeout=CALL_SECONDS)
    )


def taken(
    consortium: Consortium, rows: Sequence[Row | bytes], upload: bytes | None = None
) -> contribution_pb2.PartAcknowledged:
    opened, answer = send(consortium, upload or os.urandom(16), part_of(1, rows))
    assert opened.opened.takes_packed_rows
    return answer.acknowledged


def told(acknowledged: contribution_pb2.PartAcknowledged) -> list[tuple[int, str, str, str]]:
    return [(one.item, one.field, one.reason, one.description) for one in acknowledged.refused]


def pool(consortium: Consortium) -> list[object]:
    return [history_of(consortium, subject) for subject in PEOPLE]


def good_and_bad(consortium: Consortium) -> list[Row]:
    month = months_since_1970(consortium.clock)
    later = {"five_class": 2, "refund_ratio": 1, "first_delinquency_month": month - 3}
    event = application(consortium, 3)
    decided = Row.FromString(event.SerializeToString())
    decided.application.application_ref = bytes(15) + b"\x09"
    decided.application.outcome = contribution_pb2.ApplicationEvent(outcome=1).outcome
    return [
        account(consortium, 1, payment_profile=bytes([1, 2, 0, 1])),
        account(consortium, 2, **later),
        event,
        decided,
        account(consortium, 1),  # the same account and month as row 0
        account(consortium, 99),  # nobody's consent
        account(consortium, 4, as_of_month=month + 2),
        account(consortium, 4, status=0),
        account(consortium, 4, past_due=4),
        account(consortium, 4, 5, utilisation=200),
        account(consortium, 4, 6, fraud_flag=77),
        application(consortium, 5, days_ago=-9),
        account(consortium, b"short"),
        Row(token=token(6)),
        account(consortium, 7, 8, opened_quarter=0),
    ]


def test_packed_rows_are_taken_and_refused_as_the_same_rows_in_messages(
    consortium: Consortium,
) -> None:
    allow(consortium)
    rows = good_and_bad(consortium)

    in_messages = taken(consortium, rows)
    first = pool(consortium)
    # A token of another length moves what follows it: it has no packed form.
    in_packed = taken(
        consortium, [packed(row) if row.WhichOneof("record") else row.token for row in rows[:12]]
    )

    assert in_packed.rows_accepted == in_messages.rows_accepted == 4
    assert told(in_packed) == told(in_messages)[:8]
    assert {reason for _, _, reason, _ in told(in_packed)} == {
        *("DUPLICATE", "NO_CONSENT", "OUT_OF_RANGE", "REQUIRED", "INCONSISTENT", "UNKNOWN_BAND")
    }
    entries = [json.loads(one.receipt.entry) for one in (in_messages, in_packed)]
    assert entries[0]["rows_root"] == entries[1]["rows_root"]
    assert pool(consortium) == first


def test_the_same_rows_are_the_same_part_in_either_form(consortium: Consortium) -> None:
    allow(consortium)
    rows = good_and_bad(consortium)[:12]
    for first, second in ((rows, [*map(packed, rows)]), ([*map(packed, rows)], rows)):
        upload = os.urandom(16)
        answer = taken(consortium, first, upload)
        again = taken(consortium, second, upload)
        assert again.receipt.entry == answer.receipt.entry
        assert told(again) == told(answer)
        with pytest.raises(grpc.RpcError) as caught:
            taken(consortium, [*second[:-1], second[0]], upload)
        assert reason_of(caught.value) == "SEQUENCE_REUSED"


def earlier_digest(rows: Sequence[Row]) -> bytes:
    """What a part of accounts and applications was known by before rows had a packed form."""

    def value(data: bytes) -> bytes:
        return b"b" + struct.pack(">Q", len(data)) + data

    def number(n: int) -> bytes:
        text = str(n).encode()
        return b"i" + struct.pack(">Q", len(text)) + text

    method = b"ContributePart"
    taken_in = b"s" + struct.pack(">Q", len(method)) + method
    taken_in += number(EPOCH) + number(CATALOGUE_VERSION)
    for row in rows:
        taken_in += value(row.token)
        if row.WhichOneof("record") == "application":
            event = row.application
            numbers = struct.pack(">2q", event.day, event.product)
            taken_in += value(event.application_ref) + value(numbers)
            continue
        one = row.account
        numbers = struct.pack(
            ">10q",
            *(one.as_of_month, one.status, one.product, one.opened_quarter),
            *(getattr(one, name) for name in BANDS[:6]),
        )
        taken_in += value(one.account_ref) + value(numbers) + value(one.payment_profile)
    return hashlib.sha256(taken_in).digest()


def test_a_part_that_was_recorded_before_there_was_a_packed_form_is_known_again(
    consortium: Consortium,
) -> None:
    allow(consortium)
    rows = [account(consortium, 1), application(consortium, 2), account(consortium, 3, status=0)]
    upload = os.urandom(16)
    answer = taken(consortium, rows, upload)

    def as_before(transaction: Transaction) -> None:
        transaction.connection.execute(
            sa.update(batch_table)
            .where(batch_table.c.upload_id == upload)
            .values(content_sha256=earlier_digest(rows))
        )

    consortium.journal.write(as_before)
    for form in (rows, [*map(packed, rows)]):
        assert taken(consortium, form, upload).receipt.entry == answer.receipt.entry
    with pytest.raises(grpc.RpcError) as caught:
        taken(consortium, [*map(packed, rows[:2])], upload)
    assert reason_of(caught.value) == "SEQUENCE_REUSED"


def test_what_is_no_packed_row_is_refused_by_its_number_and_keeps_no_other_back(
    consortium: Consortium,
) -> None:
    allow(consortium)
    row = packed(account(consortium, 1))
    later = packed(account(consortium, 2, five_class=1))
    bad = [
        b"",
        token(1)[:31],
        token(1),
        token(1) + b"\0",
        token(1) + os.urandom(40),
        row + b"\0",
        row[:-1],
        # Bands of version 1 alone in the later form, and an unknown band at the end.
        token(1) + b"\3" + row[33:59] + bytes(4) + bytes([5]) + row[59:64] + bytes(0),
        later[:-1] + b"\0",
        # A withdrawal is no row.
        token(1) + b"\6" + bytes(28),
        token(1) + b"\5" + bytes(3),
        token(1) + b"\5" + bytes(12) + b"\5" + bytes(12) + row[32:],
        os.urandom(70_000),
    ]
    answer = taken(consortium, [later, *bad, row])
    assert answer.rows_accepted == 2
    reasons = [(item, field, reason) for item, field, reason, _ in told(answer)]
    assert reasons == [
        (1, "token", "WRONG_LENGTH"),
        (2, "token", "WRONG_LENGTH"),
        (3, "record", "REQUIRED"),
        *((item, "record", "MALFORMED") for item in range(4, len(bad) + 1)),
    ]


def test_a_correction_comes_packed(consortium: Consortium) -> None:
    allow(consortium)
    first = taken(consortium, [packed(account(consortium, 1))])
    correction = account(consortium, 1, balance=6)
    correction.replaces.entry_index = first.receipt.entry_index
    corrected = taken(consortium, [packed(correction)])
    assert (corrected.rows_accepted, told(corrected)) == (1, [])
    assert json.loads(corrected.receipt.entry)["replaced"] == 1
    again = taken(consortium, [packed(correction)])
    assert [(one[1], one[2]) for one in told(again)] == [("replaces", "ALREADY_REPLACED")]


def test_a_part_has_one_form(consortium: Consortium) -> None:
    allow(consortium)
    row = account(consortium, 1)
    for rows, field in (
        ([row, packed(row)], "part.packed_rows"),
        ([packed(row)] * 4_001, "part.rows"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            send(consortium, os.urandom(16), part_of(1, rows))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
        assert fields_of(caught.value) == [field]
