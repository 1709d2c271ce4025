"""Inviting an institution so that an interruption at any point loses nothing.

The gateway keeps an invited id for the invitation's lifetime, so an invitation whose key was lost
would bar it. The key and the request are therefore on disk before they are sent: an attempt that
never saw its reply is sent again unchanged, and the gateway repeats its answer.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import concordat
from concordat_gateway.commands._invitation import Invitation
from concordat_gateway.pki import key_pem, new_key, new_request
from concordat_gateway.profiles import Gateway
from concordat_rpc.secret_files import read_secret, write_secret


class InvitingRefused(Exception):
    """The invitation cannot be written; the text says what stands in its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    member_id: str
    display_name: str
    request_id: str
    """16 bytes in hexadecimal."""
    private_key_pem: str
    csr_pem: str

    @classmethod
    def new(cls, member_id: str, display_name: str) -> Self:
        key = new_key()
        return cls(
            member_id=member_id,
            display_name=display_name,
            request_id=os.urandom(16).hex(),
            private_key_pem=key_pem(key).decode(),
            csr_pem=new_request(key).decode(),
        )


def invite(
    client: concordat.Client, member_id: str, display_name: str, out: Path
) -> concordat.InvitedMember:
    """Invite an institution and write its invitation to `out`, or finish an attempt to.

    Raises InvitingRefused, ConcordatError, OSError.
    """
    if client.profile.key_log_key is None or client.key_log is None:
        raise InvitingRefused(
            "this profile pins no key log (key_log_vkey in profile.toml, and keys.log) that an "
            "invitation could hand on"
        )
    pending = out.with_name(f"{out.name}.pending")
    resumed = pending.exists()
    if out.exists() and not resumed:
        raise InvitingRefused(f"{out} exists already")
    attempt = _resume(pending, member_id, display_name) if resumed else None
    if attempt is None:
        attempt = _Attempt.new(member_id, display_name)
        write_secret(pending, json.dumps(asdict(attempt)).encode())
    try:
        key_log_vkey, key_log = _verified_key_log(client)
        invited = client.invite_member(
            attempt.member_id,
            attempt.display_name,
            attempt.csr_pem.encode(),
            request_id=bytes.fromhex(attempt.request_id),
        )
    except concordat.TechnicalFault:
        raise
    except (concordat.ConcordatError, InvitingRefused):
        # A clear no invited nobody. An earlier try of a resumed attempt may have, though.
        if not resumed:
            pending.unlink()
        raise
    if resumed:
        # What the interruption left of it.
        out.unlink(missing_ok=True)
    gateway = Gateway(
        address=client.profile.gateway,
        server_name=client.profile.server_name,
        ca_pem=client.profile.ca_pem.decode(),
        ledger_vkey=client.profile.ledger_key.encode(),
        key_log_vkey=key_log_vkey,
        key_log=key_log,
    )
    _invitation(gateway, attempt, invited).save(out)
    pending.unlink()
    return invited


def _resume(pending: Path, member_id: str, display_name: str) -> _Attempt | None:
    """The attempt that was interrupted; None if it was so before anything was sent."""
    try:
        attempt = _Attempt(**json.loads(read_secret(pending)))
    except (ValueError, TypeError):
        pending.unlink()
        return None
    if (attempt.member_id, attempt.display_name) != (member_id, display_name):
        raise InvitingRefused(
            f"{pending} holds an interrupted invitation of {attempt.member_id} "
            f"({attempt.display_name}): repeat that one, or remove the file to give it up"
        )
    return attempt


def _verified_key_log(client: concordat.Client) -> tuple[str, str]:
    """What the new member is to pin: the log's key, and the longer of profile's and gateway's log.

    A profile that pins keys which the gateway no longer uses would hand them on for good.
    """
    try:
        client.list_token_keys()
    except (concordat.KeyLogInvalid, concordat.KeyLogForked) as error:
        raise InvitingRefused(
            f"nobody was invited: the gateway's key log is not the one that this profile pins, so "
            f"a new member could make no tokens: {error}. If another key-holder took over before "
            "anybody joined, put its keys.log and its log.vkey (key_log_vkey in profile.toml) into "
            "the profiles of operator and auditor; else ask the key-holder what happened"
        ) from None
    key, log = client.profile.key_log_key, client.key_log
    assert key is not None
    assert log is not None
    return key.encode(), log


def _invitation(
    gateway: Gateway, attempt: _Attempt, invited: concordat.InvitedMember
) -> Invitation:
    return Invitation(
        member_id=attempt.member_id,
        gateway=gateway,
        certificate_pem=invited.certificate_pem.decode(),
        private_key_pem=attempt.private_key_pem,
        expires_at=invited.expires_at,
    )
