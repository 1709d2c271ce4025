"""`concordat keys rotate` on a serving gateway, with key-holders as processes of their own."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import concordat
from concordat import (
    AccountSnapshot,
    AccountStatus,
    ConsentDraft,
    PhoneNumber,
    ProductClass,
    Purpose,
    Row,
    SubjectStatus,
    Token,
)
from tests.contributing import agreed
from tests.gateways import CONCORDAT, Gateway, MakeGateway, eventually
from tests.gateways import concordat as run
from tests.splits import keyholder, split_keys
from tests.stores import StoreUrls

# Processes are started and stopped for nearly every test.
pytestmark = pytest.mark.slow

PEOPLE = [PhoneNumber(f"+86138001380{number:02}") for number in range(10)]


def keys(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("keys", *arguments, "--config", gateway.config)


def status(gateway: Gateway) -> str:
    done = keys(gateway, "status")
    assert done.returncode == 0, done.stderr
    return done.stdout


def consents(tokens: Sequence[Token], purpose: Purpose) -> list[ConsentDraft]:
    return [agreed(token, purpose) for token in tokens]


def furnished(client: concordat.Client, tokens: Sequence[Token]) -> None:
    """Rows about people, under consents that they gave to this member."""
    client.grant_consents(consents(tokens, Purpose.CONTRIBUTION))
    month = datetime.now(UTC).date().replace(day=1)
    client.contribute(
        [
            Row(
                token,
                AccountSnapshot(
                    account_ref=number.to_bytes(16, "big"),
                    as_of_month=(month.year - 1970) * 12 + month.month - 1,
                    status=AccountStatus.OPEN,
                    product=ProductClass.REVOLVING,
                    opened_quarter=200,
                ),
            )
            for number, token in enumerate(tokens)
        ]
    )


def reading(client: concordat.Client, tokens: Sequence[Token]) -> list[object]:
    """What a member reads of people."""
    results = client.lookup_batch(tokens, Purpose.UNDERWRITING)
    return [
        [(s.name, s.status, s.band_label) for s in result]
        if result.status is SubjectStatus.OK
        else result.status
        for result in results
    ]


@contextmanager
def asking(client: concordat.Client, tokens: Sequence[Token], want: object) -> Iterator[list[int]]:
    """A member that asks all the time; every answer must be the one it had before."""
    answers = [0]
    stopped = threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        while not stopped.is_set():
            found = reading(client, tokens)
            answers[0] += 1
            if found != want:
                wrong.append(found)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stopped.set()
        thread.join()
    assert not wrong


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def gateway(request: pytest.FixtureRequest, make_gateway: MakeGateway) -> Gateway:
    if request.param == "sqlite":
        return make_gateway()
    urls: StoreUrls = request.getfixturevalue("postgresql_stores")
    return make_gateway(control_url=urls.control_url, signals_url=urls.signals_url)


def test_the_whole_way_of_a_rotation(gateway: Gateway) -> None:
    gateway.start()
    alpha, beta = gateway.join("alpha"), gateway.join("beta")
    with concordat.Client.open(beta) as furnisher, concordat.Client.open(alpha) as member:
        furnished(furnisher, furnisher.tokenise(PEOPLE[:7]))
        old = member.tokenise(PEOPLE)
        member.grant_consents(consents(old[2:], Purpose.UNDERWRITING))
        before = reading(member, old)
        assert "Stores: epoch 1\n  10 subjects have a sealed element" in status(gateway)

        keyholder(gateway, "new-epoch")
        # In use by the key log, but not of use yet: members go on with the old one.
        assert [key.epoch for key in member.list_token_keys()] == [1, 2]
        assert member.tokenise(PEOPLE[:1]) == old[:1]

        with asking(member, old, before) as answers:
            rotated = keys(gateway, "rotate")
            assert rotated.returncode == 0, rotated.stderr
            enough = answers[0] + 2
            eventually(lambda: answers[0] >= enough, "it is answered after the rotation")
        assert "The stores are at epoch 2; 10 subjects were moved." in rotated.stdout
        assert "10/10 subjects of control moved" in rotated.stderr

        new = member.tokenise(PEOPLE)
        assert [token.epoch for token in new] == [2] * len(PEOPLE)
        assert reading(member, new) == reading(member, old) == before
        # A person that the gateway never met, by an old token.
        [late] = member.tokenise([PhoneNumber("+8613900139000")], epoch=1)
        member.grant_consents(consents([late], Purpose.UNDERWRITING))
        [late_new] = member.tokenise([PhoneNumber("+8613900139000")])
        assert reading(member, [late_new]) == reading(member, [late])


def test_an_epoch_that_has_ended_is_retired(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    alpha = gateway.join("alpha")
    with concordat.Client.open(alpha) as member:
        old = member.tokenise(PEOPLE[:2])
        member.grant_consents(consents(old, Purpose.UNDERWRITING))
        before = reading(member, old)
        keyholder(gateway, "new-epoch")
        assert keys(gateway, "rotate").returncode == 0
        member.list_token_keys()
        new = member.tokenise(PEOPLE[:2])
        assert keys(gateway, "retire", "--epoch", "1", "--yes").returncode == 1
        ends = datetime.now(UTC) + timedelta(seconds=2)
        keyholder(gateway, "end-epoch", "--epoch", "1", "--valid-to", ends.isoformat(), "--yes")
        eventually(lambda: datetime.now(UTC) > ends, "the epoch ends")
        with pytest.raises(concordat.FailedPrecondition) as refused:
            reading(member, old)
        assert refused.value.reason == "EPOCH_NOT_ACTIVE"
        assert reading(member, new) == before

    pepper = gateway.folder / "gateway" / "pepper-1.key"
    warned = keys(gateway, "retire", "--epoch", "1")
    assert (warned.returncode, pepper.exists()) == (1, True)
    assert "--yes" in warned.stderr
    retired = keys(gateway, "retire", "--epoch", "1", "--yes")
    assert retired.returncode == 0, retired.stderr
    assert not pepper.exists()
    assert re.search(r"epoch 1: .* not in use, no pepper", status(gateway))

    gateway.stop()
    gateway.start()
    with concordat.Client.open(gateway.auditor) as auditor:
        fields = [json.loads(entry.entry) for entry in auditor.export_entries()]
    told = [(one["type"], one.get("epoch")) for one in fields]
    assert [one for one in told if str(one[0]).startswith(("key.", "tokens."))] == [
        ("key.adopted", 1),
        ("key.adopted", 2),
        ("tokens.rotated", None),
        ("key.retired", 1),
    ]
    # Recorded before anything that could rest on it.
    assert told[0] == ("key.adopted", 1)
    with concordat.Client.open(alpha) as member:
        assert reading(member, new) == before
        assert member.tokenise(PEOPLE[:2]) == new


def test_a_killed_rotate_command_goes_on(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile = gateway.join("alpha")
    with concordat.Client.open(profile) as member:
        old = member.tokenise(PEOPLE)
        member.grant_consents(consents(old, Purpose.UNDERWRITING))
        before = reading(member, old)
        keyholder(gateway, "new-epoch")
        for step in ("names made", "buckets of signals"):
            killed_at(gateway, step)
            assert "rotation from epoch 1 to 2" in status(gateway)
        assert keys(gateway, "rotate", "--to", "2").returncode == 0
        assert reading(member, member.tokenise(PEOPLE)) == before
        assert reading(member, old) == before
    assert "Stores: epoch 2" in status(gateway)


def killed_at(gateway: Gateway, step: str) -> None:
    """Start a rotation to epoch 2, or go on with it, and kill it in the midst of a step."""
    command = [str(CONCORDAT), "keys", "rotate", "--to", "2", "--config", str(gateway.config)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = next((line for line in process.stderr if step in line), None)
        process.send_signal(signal.SIGKILL)
    assert seen is not None, f"it ended without telling of {step!r}"


def test_a_second_pepper_is_made_once_and_named(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    # No such epoch: nothing is made.
    refused = keys(gateway, "rotate")
    assert refused.returncode == 1
    assert "the key log has no epoch 2" in refused.stderr
    assert "pepper-2" not in gateway.config.read_text()

    keyholder(gateway, "new-epoch")
    assert keys(gateway, "rotate").returncode == 0
    made = gateway.folder / "gateway" / "pepper-2.key"
    assert made.stat().st_mode & 0o777 == 0o600
    assert '2 = "gateway/pepper-2.key"' in gateway.config.read_text()
    assert gateway.config.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(made.read_text())) == 32
    assert made.read_text() != Path(made.with_name("pepper-1.key")).read_text()


def test_a_split_key_is_used_and_rotated_and_a_dead_holder_is_not_missed(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile = gateway.join("alpha")
    with concordat.Client.open(profile) as member:
        old = member.tokenise(PEOPLE)
        member.grant_consents(consents(old, Purpose.UNDERWRITING))
        before = reading(member, old)
    gateway.stop()

    keyholder(gateway, "new-epoch")
    split_keys(gateway)
    gateway.start()
    holders = gateway.children("keyholder")
    assert len(holders) == 3
    with concordat.Client.open(profile) as member:
        member.list_token_keys()
        # The same tokens as the whole key made.
        assert member.tokenise(PEOPLE, epoch=1) == old
        os.kill(holders[0], signal.SIGKILL)
        assert member.tokenise(PEOPLE, epoch=1) == old

        rotated = keys(gateway, "rotate")
        assert rotated.returncode == 0, rotated.stderr
        new = member.tokenise(PEOPLE)
        assert {token.epoch for token in new} == {2}
        assert reading(member, new) == reading(member, old) == before
    assert "epoch 2: " in status(gateway)
    assert "split 2 of 3" in status(gateway)
