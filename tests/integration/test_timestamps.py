"""Time-stamps of checkpoints, from a real authority (`openssl ts`) to the auditor who checks."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from concordat import Client
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.timestamps import after, keep, newest_size
from concordat_gateway.timestamping import Stamper
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.stamped import check_timestamps
from concordat_privacy.log.tiles import write_export
from concordat_privacy.log.timestamp import (
    TimestampError,
    authorities,
    new_request,
    verify_timestamp,
)
from tests.gateways import MakeGateway, concordat, eventually
from tests.ledgers import appending, leaves_of
from tests.tsa import OPENSSL, Authority, serving

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="time-stamps NOT tested: no openssl binary")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def authority(made: Authority) -> Authority:
    made.fault = None
    return made


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    with serving(authority) as address:
        yield address


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority, which nobody here trusts."""
    return Authority(tmp_path_factory.mktemp("tsa") / "two")


def trusted(authority: Authority) -> list[x509.Certificate]:
    return authorities(authority.ca.read_bytes())


def grown(journal: Journal, entries: int) -> int:
    for number in range(entries):
        journal.write(appending(number))
    return journal.size


def test_the_newest_checkpoint_is_stamped_and_the_stamp_verifies_for_anybody(
    journal: Journal, authority: Authority, url: str, tmp_path: Path
) -> None:
    size = grown(journal, 5)
    stamper = Stamper(journal, url, trusted(authority))
    assert stamper.stamp() == size
    [(stamped, response)] = after(journal, 0)
    body = parse_note(journal.checkpoint()).text
    assert stamped == size
    when = verify_timestamp(response, body, trusted(authority))
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=5)

    # By openssl too, over nothing but the checkpoint's text.
    (tmp_path / "body").write_text(body)
    (tmp_path / "tsr").write_bytes(response)
    assert OPENSSL is not None
    files = ["-data", str(tmp_path / "body"), "-in", str(tmp_path / "tsr")]
    verified = subprocess.run(
        [OPENSSL, "ts", "-verify", *files, "-CAfile", str(authority.ca)], capture_output=True
    )
    assert verified.returncode == 0, verified.stderr


def test_an_idle_ledger_is_stamped_once(journal: Journal, authority: Authority, url: str) -> None:
    stamper = Stamper(journal, url, trusted(authority))
    before = authority.queries
    assert stamper.stamp() == 0
    assert authority.queries == before
    size = grown(journal, 2)
    for _ in range(3):
        assert stamper.stamp() == size
    assert authority.queries == before + 1
    assert stamper.stamp() == newest_size(journal) == size


def test_what_is_no_stamp_of_this_checkpoint_is_not_kept(
    journal: Journal, authority: Authority, stranger: Authority, url: str
) -> None:
    size = grown(journal, 3)
    stamper = Stamper(journal, url, trusted(authority))
    body = parse_note(journal.checkpoint()).text
    another_text = authority.answer(new_request(body + "x").as_bytes())
    another_request = authority.answer(new_request(body).as_bytes())
    another_authority = stranger.answer(new_request(body).as_bytes())
    for fault in (b"", b"junk", b"\x30" * 100_000, another_text, another_request):
        authority.fault = fault
        with pytest.raises(TimestampError):
            stamper.stamp()
    with pytest.raises(TimestampError):
        verify_timestamp(another_authority, body, trusted(authority))
    with pytest.raises(TimestampError):
        verify_timestamp(another_request, body, [])
    assert newest_size(journal) == 0
    authority.fault = None
    assert stamper.stamp() == size


def test_an_authority_that_is_away_is_told_without_a_stamp(journal: Journal) -> None:
    grown(journal, 1)
    with pytest.raises(TimestampError, match="refused"):
        Stamper(journal, "http://127.0.0.1:1/tsr", []).stamp()


def test_stamps_are_listed_in_order_and_in_parts(journal: Journal) -> None:
    for size in range(120, 0, -1):
        keep(journal, size, b"%d" % size)
    keep(journal, 7, b"another")
    sizes: list[int] = []
    while page := after(journal, sizes[-1] if sizes else 0):
        assert len(page) <= 50
        assert all(response == b"%d" % size for size, response in page)
        sizes += [size for size, _ in page]
    assert sizes == list(range(1, 121))
    assert after(journal, 2**64 - 1) == []


def test_the_stamps_of_an_export_are_held_against_its_entries(
    journal: Journal, authority: Authority, stranger: Authority, url: str, tmp_path: Path
) -> None:
    stamper = Stamper(journal, url, trusted(authority))
    stamped = []
    for entries in (1, 254, 2, 300):
        grown(journal, entries)
        stamped.append(stamper.stamp())
    export = tmp_path / "export"
    note = journal.checkpoint()
    origin, size = note.split("\n")[0], journal.size
    write_export(export, leaves_of(journal), note, (), after(journal, 0))

    found = check_timestamps(export, origin, size, trusted(authority))
    assert found.ok
    assert [at for at, _ in found.times] == stamped
    assert not check_timestamps(export, origin, size, trusted(stranger)).times
    # Two of them exchanged, and one cut off.
    first, second, third = (export / "timestamps" / f"{at}.tsr" for at in stamped[:3])
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    third.write_bytes(third.read_bytes()[:-1])
    found = check_timestamps(export, origin, size, trusted(authority))
    assert not found.ok
    assert len(found.problems) == 3
    assert [at for at, _ in found.times] == stamped[3:]
    shutil.rmtree(export / "timestamps")
    assert not check_timestamps(export, origin, size, trusted(authority)).ok


def test_a_gateway_s_export_carries_stamps_that_the_command_checks(
    make_gateway: MakeGateway, authority: Authority, stranger: Authority, url: str, tmp_path: Path
) -> None:
    gateway = make_gateway(workers=1)
    with gateway.config.open("a") as file:
        file.write(f'[timestamps]\nurl = "{url}"\nca = "{authority.ca}"\nevery_seconds = 1\n')
    gateway.start()
    gateway.invite("alpha")

    def stamped() -> bool:
        with Client.open(gateway.auditor) as client:
            return bool(client.timestamps())

    eventually(stamped, "a checkpoint is stamped")
    folder = tmp_path / "export"
    exported = concordat("ledger", "export", folder, "--profile", gateway.auditor)
    assert exported.returncode == 0, exported.stderr
    verify = ("ledger", "verify", folder, "--key", gateway.ledger_vkey)
    assert concordat(*verify).returncode == 0
    checked = concordat(*verify, "--tsa-ca", authority.ca)
    assert checked.returncode == 0, checked.stdout
    assert "Time-stamps that verify: " in checked.stdout
    doubted = concordat(*verify, "--tsa-ca", stranger.ca)
    assert doubted.returncode == 1
    assert "Wrong time-stamp: " in doubted.stdout
    assert concordat(*verify, "--tsa-ca", folder / "checkpoint").returncode == 2


def test_an_authority_s_file_that_is_none_stops_the_gateway_at_its_start(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(workers=1)
    with gateway.config.open("a") as file:
        file.write('[timestamps]\nurl = "http://127.0.0.1:1/"\nca = "gateway.toml"\n')
    gateway.launch()
    assert gateway.wait() != 0
    assert "gateway.toml: no certificates in PEM" in gateway.log
