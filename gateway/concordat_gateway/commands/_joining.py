"""Accepting an invitation so that an interruption at any point loses nothing.

The invitation is good once. The key and the request are therefore on disk before they are sent: an
attempt that never saw its reply is sent again unchanged, and the gateway repeats its answer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

import concordat
from concordat_gateway.commands._invitation import Invitation, spiffe_id_of
from concordat_gateway.pki import key_pem, new_key, new_request
from concordat_gateway.profiles import PROFILE_FILES, write_profile
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_rpc.secret_files import read_secret, write_secret

_KEY = "joining.key.pem"
_REQUEST = "joining.request.pem"
_REQUEST_ID = "joining.request-id"
_FILES = (_KEY, _REQUEST, _REQUEST_ID)


class FolderInUse(Exception):
    """The folder holds something else than an interrupted attempt."""


class WrongKeyLog(Exception):
    """The invitation pins another key for the key log than the key-holder's people told."""

    def __init__(self, invited: str, told: str) -> None:
        super().__init__(
            f"the invitation pins another key log's key, {invited}, than {told}; nothing was "
            "written or sent. Do not join: tell the key-holder's people"
        )


@dataclass(frozen=True, slots=True)
class _Attempt:
    key_pem: bytes
    request_pem: bytes
    request_id: bytes


def join(
    invitation: Invitation, folder: Path, key_log_key: VerifierKey | None = None
) -> concordat.JoinedMember:
    """Accept an invitation and write the member's profile to `folder`.

    `key_log_key` is what the key-holder's people told the member. An invitation that pins another
    key is refused before anything is written or sent.
    Raises WrongKeyLog, FolderInUse, InvitationInvalid, ConcordatError, OSError.
    """
    identity = invitation.profile()
    if key_log_key is not None and identity.key_log_key != key_log_key:
        raise WrongKeyLog(invitation.gateway.key_log_vkey, key_log_key.encode())
    attempt = _begin(folder)
    try:
        with concordat.Client(identity) as client:
            joined = client.accept_invitation(attempt.request_pem, request_id=attempt.request_id)
    except concordat.TechnicalFault:
        raise
    except concordat.ConcordatError:
        # A clear no: the attempt made no member and never will.
        _remove(folder, _FILES)
        raise
    write_profile(
        folder,
        invitation.gateway,
        spiffe_id_of(joined.certificate_pem),
        joined.certificate_pem,
        attempt.key_pem,
    )
    _remove(folder, _FILES)
    return joined


def key_fingerprint(folder: Path) -> str:
    """SHA-256 of a profile's public key (SubjectPublicKeyInfo, DER), in hexadecimal.

    Of the member's own key file: what the gateway certified is what it is compared with.
    """
    key = serialization.load_pem_private_key(read_secret(folder / "key.pem"), password=None)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(public).hexdigest()


def _begin(folder: Path) -> _Attempt:
    folder.mkdir(parents=True, exist_ok=True)
    found = {file.name for file in folder.iterdir()}
    if not found:
        folder.chmod(0o700)
        return _new_attempt(folder)
    # The id is written last: with it, the attempt is complete and may have been sent.
    if found >= set(_FILES) and found <= {*_FILES, *PROFILE_FILES}:
        _remove(folder, PROFILE_FILES)
        return _Attempt(
            read_secret(folder / _KEY),
            (folder / _REQUEST).read_bytes(),
            bytes.fromhex((folder / _REQUEST_ID).read_text()),
        )
    if found < set(_FILES):
        _remove(folder, _FILES)
        return _new_attempt(folder)
    raise FolderInUse(f"{folder} is not empty; nothing was changed")


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _new_attempt(folder: Path) -> _Attempt:
    key = new_key()
    attempt = _Attempt(key_pem(key), new_request(key), os.urandom(16))
    write_secret(folder / _KEY, attempt.key_pem)
    (folder / _REQUEST).write_bytes(attempt.request_pem)
    (folder / _REQUEST_ID).write_text(attempt.request_id.hex())
    return attempt
