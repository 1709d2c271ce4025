"""Invitation files: what an operator hands to an institution so that it can join."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

import concordat
from concordat_gateway.profiles import Gateway
from concordat_privacy.keylog import KeyLog
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.errors import LogError
from concordat_rpc.peer import uris_of
from concordat_rpc.secret_files import write_secret


class InvitationInvalid(Exception):
    """A file that is no invitation; the text names what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """One invitation, secret until it is accepted."""

    member_id: str
    gateway: Gateway
    certificate_pem: str
    private_key_pem: str
    expires_at: datetime

    def save(self, file: Path) -> None:
        """Write a new file that only its owner can read; raises FileExistsError."""
        gateway = asdict(self.gateway)
        content = {
            "gateway": gateway.pop("address"),
            **gateway,
            "member_id": self.member_id,
            "certificate_pem": self.certificate_pem,
            "private_key_pem": self.private_key_pem,
            "expires_at": self.expires_at.isoformat(),
        }
        write_secret(file, (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def load(cls, file: Path) -> Invitation:
        """Read a file; raises InvitationInvalid, OSError."""
        try:
            content = json.loads(file.read_bytes())
            return _parse(content)
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise InvitationInvalid(f"{file}: not a JSON file") from None
        except KeyError as error:
            raise InvitationInvalid(f"{file}: {error.args[0]} is missing") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise InvitationInvalid(f"{file}: not an invitation: {error}") from None

    @property
    def key_log_key(self) -> VerifierKey:
        """The key that the invitation says verifies the key log. Raises InvitationInvalid."""
        try:
            return VerifierKey.decode(self.gateway.key_log_vkey)
        except LogError as error:
            raise InvitationInvalid(f"the invitation cannot be used: {error}") from None

    def profile(self) -> concordat.Profile:
        """The invitation as an identity that may accept it, once. Raises InvitationInvalid."""
        key_log_key = self.key_log_key
        try:
            return concordat.Profile(
                gateway=self.gateway.address,
                server_name=self.gateway.server_name,
                spiffe_id=spiffe_id_of(self.certificate_pem.encode()),
                ledger_key=VerifierKey.decode(self.gateway.ledger_vkey),
                key_log_key=key_log_key,
                key_log=KeyLog.open(self.gateway.key_log, key_log_key),
                certificate_pem=self.certificate_pem.encode(),
                private_key_pem=self.private_key_pem.encode(),
                ca_pem=self.gateway.ca_pem.encode(),
            )
        except (ValueError, LogError) as error:
            raise InvitationInvalid(f"the invitation cannot be used: {error}") from None


def spiffe_id_of(certificate_pem: bytes) -> str:
    """The one URI in a certificate."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    [uri] = uris_of(certificate)
    return uri


def _parse(content: Any) -> Invitation:
    return Invitation(
        member_id=str(content["member_id"]),
        gateway=Gateway(
            address=str(content["gateway"]),
            server_name=str(content["server_name"]),
            ca_pem=str(content["ca_pem"]),
            ledger_vkey=str(content["ledger_vkey"]),
            key_log_vkey=str(content["key_log_vkey"]),
            key_log=str(content["key_log"]),
        ),
        certificate_pem=str(content["certificate_pem"]),
        private_key_pem=str(content["private_key_pem"]),
        expires_at=datetime.fromisoformat(content["expires_at"]),
    )
