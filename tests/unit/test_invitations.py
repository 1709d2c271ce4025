"""Invitation files carry what a new member pins, and say what is wrong with them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from concordat import Profile
from concordat_gateway.commands._invitation import Invitation, InvitationInvalid
from concordat_gateway.profiles import PROFILE_FILES, Gateway, write_profile
from tests.peer import SERVER_NAME, Certificates, Peer
from tests.peer_ledger import SPIFFE_ID


@pytest.fixture
def peer() -> Peer:
    """Nothing listens behind it."""
    return Peer(port=7443)


@pytest.fixture
def invitation(peer: Peer) -> Invitation:
    certificates = Certificates()
    certificate, key = certificates.issue(SPIFFE_ID)
    return Invitation(
        member_id="alpha",
        gateway=Gateway(
            address="127.0.0.1:7443",
            server_name=SERVER_NAME,
            ca_pem=certificates.ca_pem.decode(),
            ledger_vkey=peer.ledger.key.verifier.encode(),
            key_log_vkey=peer.keyholders.log_key.verifier.encode(),
            key_log=peer.keyholders.log,
        ),
        certificate_pem=certificate.decode(),
        private_key_pem=key.decode(),
        expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


def test_an_invitation_reads_as_it_was_written(invitation: Invitation, tmp_path: Path) -> None:
    file = tmp_path / "invitation.json"
    invitation.save(file)
    assert Invitation.load(file) == invitation


def test_its_profile_pins_the_key_log(invitation: Invitation, peer: Peer, tmp_path: Path) -> None:
    profile = invitation.profile()
    assert profile.key_log is not None
    assert profile.key_log.text == peer.keyholders.log

    write_profile(
        tmp_path,
        invitation.gateway,
        SPIFFE_ID,
        invitation.certificate_pem.encode(),
        invitation.private_key_pem.encode(),
    )
    assert {file.name for file in tmp_path.iterdir()} == set(PROFILE_FILES)
    assert Profile.load(tmp_path) == profile


def without(content: dict[str, Any]) -> None:
    del content["key_log"]


def of_another_signer(content: dict[str, Any]) -> None:
    content["key_log"] = Peer().keyholders.log


def not_a_key(content: dict[str, Any]) -> None:
    content["key_log_vkey"] = "nonsense"


@pytest.mark.parametrize("change", [without, of_another_signer, not_a_key])
def test_an_invitation_whose_key_log_is_wrong_cannot_be_used(
    invitation: Invitation, tmp_path: Path, change: Any
) -> None:
    file = tmp_path / "invitation.json"
    invitation.save(file)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InvitationInvalid):
        Invitation.load(file).profile()
