"""What leaves the process, read on the wire: bands, tokens and pseudonyms, and no raw value."""

import base64
import hashlib
import os
import struct
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from concordat import Client, Options, ResidentId, RetryPolicy, TechnicalFault
from concordat.bulk import upload
from tests.bulkfiles import (
    Account,
    account_ref,
    accounts,
    csv_bytes,
    expected,
    furnisher,
    mapping_text,
    pool,
)
from tests.fabricate import resident_id
from tests.gateways import Gateway
from tests.wiretap import tapping

ONE_TRY = Options(channels=1, retry=RetryPolicy(max_attempts=1))


@pytest.fixture(scope="module")
def profile(gateway: Gateway) -> Path:
    return furnisher(gateway, "bulk-tapped")


def spellings(one: Account) -> Iterator[bytes]:
    """The raw values of a row as they might be written: long enough not to occur by chance."""
    number = resident_id(one.person)
    texts = {
        number,
        number.lower(),
        number[:6] + number[8:17],
        f"{number[:6]} {number[6:14]} {number[14:]}",
        f"{number[:6]}-{number[6:14]}-{number[14:]}",
        "".join(chr(ord(character) + 0xFEE0) for character in number),
        number[6:14] + number[14:17],
        one.account,
        one.account[:16],
        one.opened.isoformat(),
        f"{one.opened:%Y%m%d}",
        f"{one.opened:%d/%m/%Y}",
    }
    for text in texts:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            yield text.encode(encoding)
        for wrapped in (base64.b64encode(text.encode()), text.encode().hex().encode()):
            # Without padding: the text may stand within a longer one.
            yield wrapped[: len(wrapped) // 4 * 4 - 4]
        for name in ("md5", "sha1", "sha256"):
            digest = hashlib.new(name, text.encode()).digest()
            yield from (digest, digest[:16], digest.hex().encode())
    for amount in (one.balance, one.overdue, one.limit_wan * 10_000):
        if amount >= 1_000:
            yield from _amount_spellings(amount)


def _amount_spellings(amount: Decimal) -> Iterator[bytes]:
    for text in (f"{amount:.2f}", f"{amount:,.2f}", f"{amount * 100:.0f}"):
        if len(text) >= 6:
            yield text.encode()
    cents = int(amount * 100)
    for order in "<>":
        yield struct.pack(f"{order}d", float(amount))
        yield struct.pack(f"{order}q", cents)


def test_no_raw_value_is_on_the_wire(gateway: Gateway, profile: Path, tmp_path: Path) -> None:
    held = accounts(400, seed=21)
    file = tmp_path / "file.csv"
    file.write_bytes(csv_bytes(one.line() for one in held))
    (tmp_path / "map.toml").write_text(mapping_text())
    with tapping(gateway, profile, tmp_path) as (tap, tapped), Client.open(tapped) as client:
        report = upload(
            client, file, tmp_path / "map.toml", journal=tmp_path / "a.journal", batch_rows=150
        )
        tokens = client.tokenise(ResidentId(resident_id(one.person)) for one in held)
        messages, wire = tap.messages, tap.sent

    assert report.rows_accepted == 400
    key = bytes.fromhex((tmp_path / "account-ref.key").read_text())
    for one, token in zip(held, tokens, strict=True):
        # It is the right wire: what is meant to leave is found there.
        assert account_ref(key, one.account) in messages
        assert token.value in messages
        for spelling in spellings(one):
            assert spelling not in messages
            assert spelling not in wire
    assert key not in messages


def test_the_search_finds_a_raw_value_that_is_sent(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    [one] = accounts(1, seed=22)
    with tapping(gateway, profile, tmp_path) as (tap, tapped), Client.open(tapped) as client:
        with pytest.raises(Exception, match="NOT_FOUND"):
            client.pause_consent(os.urandom(16), f"of {resident_id(one.person)}, {one.account}")
        assert any(spelling in tap.messages for spelling in spellings(one))


@pytest.mark.parametrize("sent_bytes", [1, 4_000, 12_000, 40_000])
def test_an_answer_that_is_lost_is_asked_for_again(
    gateway: Gateway, profile: Path, tmp_path: Path, sent_bytes: int
) -> None:
    held = accounts(600, seed=sent_bytes)
    file = tmp_path / "file.csv"
    file.write_bytes(csv_bytes(one.line() for one in held))
    (tmp_path / "map.toml").write_text(mapping_text())
    journal = tmp_path / "a.journal"
    with tapping(gateway, profile, tmp_path) as (tap, tapped):
        with Client.open(tapped, ONE_TRY) as client:
            tap.cut_answer_after(sent_bytes)
            with pytest.raises(TechnicalFault):
                upload(client, file, tmp_path / "map.toml", journal=journal, batch_rows=200)
        with Client.open(tapped) as client:
            report = upload(client, file, tmp_path / "map.toml", journal=journal, batch_rows=200)

    assert (report.rows_read, report.rows_accepted, report.batches) == (600, 600, 3)
    assert len(set(report.entries)) == 3
    key = bytes.fromhex((tmp_path / "account-ref.key").read_text())
    found = pool(gateway, profile)
    assert all(found[ref] == row for ref, row in expected(key, held).items())
