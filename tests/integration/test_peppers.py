"""Pepper files of an installation: missing, replaced by another, not there yet."""

import secrets
from pathlib import Path

import pytest
import sqlalchemy as sa

import concordat
from concordat import Purpose, Token
from concordat_gateway.keyfiles import load_pepper
from concordat_gateway.store.subjects import ElementSeal, SubjectKey, subject_key
from concordat_store.database import Database
from tests.gateways import Gateway, MakeGateway
from tests.integration.test_rotation_processes import (
    PEOPLE,
    consents,
    keyholder,
    keys,
    reading,
    status,
)

UNDERWRITING = Purpose.UNDERWRITING


def pepper_file(gateway: Gateway, epoch: int) -> Path:
    return gateway.folder / "gateway" / f"pepper-{epoch}.key"


def other_pepper(file: Path) -> str:
    """Put another pepper in a file's place; the text it had."""
    before = file.read_text() if file.exists() else ""
    file.touch(0o600)
    file.write_text(f"{secrets.token_hex(32)}\n")
    return before


def with_consents(gateway: Gateway) -> tuple[Path, list[Token], list[object]]:
    """A member's profile, its tokens of people who gave it consent, and what it reads of them."""
    profile = gateway.join("alpha")
    with concordat.Client.open(profile) as member:
        member.list_token_keys()
        tokens = member.tokenise(PEOPLE[:3])
        member.grant_consents(consents(tokens, UNDERWRITING))
        return profile, list(tokens), reading(member, tokens)


@pytest.mark.slow
def test_a_gateway_with_another_pepper_does_not_start(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile, tokens, before = with_consents(gateway)
    gateway.stop()
    right = other_pepper(pepper_file(gateway, 1))

    gateway.launch()
    assert gateway.wait() == 1
    assert "[peppers]: that of epoch 1 is not the one that the stores were sealed" in gateway.log

    pepper_file(gateway, 1).write_text(right)
    gateway.start()
    with concordat.Client.open(profile) as member:
        assert reading(member, tokens) == before


@pytest.mark.slow
def test_a_new_epoch_before_the_first_consent(make_gateway: MakeGateway) -> None:
    """There is no pepper of the new epoch yet: the gateway starts all the same, and rotates."""
    gateway = make_gateway(workers=1)
    keyholder(gateway, "new-epoch")
    gateway.start()
    assert "Stores: epoch 1" in status(gateway)
    rotated = keys(gateway, "rotate")
    assert rotated.returncode == 0, rotated.stderr
    profile, tokens, before = with_consents(gateway)
    assert [token.epoch for token in tokens] == [2] * 3
    gateway.stop()
    gateway.start()
    with concordat.Client.open(profile) as member:
        assert reading(member, tokens) == before


def prepare_one(gateway: Gateway, lost: bytes) -> None:
    """What a killed rotation to epoch 2 leaves of one subject, made with a pepper that is lost."""
    database = Database.open(f"sqlite:///{gateway.folder}/data/control.db")
    pepper = load_pepper(pepper_file(gateway, 1))
    with database.write() as connection:
        found = connection.execute(sa.text("SELECT subject, sealed FROM subject_element"))
        subject, sealed = found.fetchall()[0]
        # Any element will do: what it would be under the next key is not looked at.
        element = ElementSeal(pepper).open(SubjectKey(subject), sealed)
        named = subject_key(lost, element)
        pair = {"old": subject, "new": named, "sealed": ElementSeal(lost).close(named, element)}
        connection.execute(
            sa.text("INSERT INTO rotation VALUES (1, 1, 2, 1, 0, :owner)"), {"owner": bytes(16)}
        )
        connection.execute(sa.text("INSERT INTO rotation_pair VALUES (:old, :new, :sealed)"), pair)
    database.close()


@pytest.mark.slow
def test_a_lost_pepper_is_not_made_again_without_being_told(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile, tokens, before = with_consents(gateway)
    keyholder(gateway, "new-epoch")
    prepare_one(gateway, secrets.token_bytes(32))

    refused = keys(gateway, "rotate")
    assert refused.returncode == 1
    assert "pepper-2.key: missing, and the rotation under way has made names" in refused.stderr
    assert not pepper_file(gateway, 2).exists()
    assert "pepper-2" not in gateway.config.read_text()

    other_pepper(pepper_file(gateway, 2))
    refused = keys(gateway, "rotate")
    assert refused.returncode == 1
    assert "that of epoch 2 is not the one that the stores were sealed with" in refused.stderr

    with concordat.Client.open(profile) as member:
        assert reading(member, tokens) == before
        anew = keys(gateway, "rotate", "--prepare-anew")
        assert anew.returncode == 0, anew.stderr
        member.list_token_keys()
        new = member.tokenise(PEOPLE[:3])
        assert [token.epoch for token in new] == [2] * 3
        assert reading(member, new) == before
