"""Who is admitted, by which key, and with which quota.

The gateway has no part in it: whoever runs the consortium's authority or the gateway can make a
certificate for any name, and none that the roster knows.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from cryptography import x509

from concordat_keyholder.certificates import MemberCertificate
from concordat_privacy.metering import Quota
from concordat_privacy.moments import moment_of
from concordat_rpc.errors import permission_denied

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the roster says of one member. Moments are microseconds since 1970."""

    member_id: str
    public_key: bytes | None
    """SubjectPublicKeyInfo; None where only a quota is known yet."""
    admitted_at: int | None
    expelled_at: int | None
    daily: int | None
    monthly: int | None

    @property
    def is_admitted(self) -> bool:
        return self.public_key is not None and self.expelled_at is None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, to compare over another way."""
        return "" if self.public_key is None else fingerprint(self.public_key)

    def quota(self, default: Quota) -> Quota:
        """Its own numbers a day and month, else the default; rate and burst are the default's."""
        if self.daily is None or self.monthly is None:
            return default
        return Quota(
            daily=self.daily,
            monthly=self.monthly,
            per_second=default.per_second,
            burst=default.burst,
        )


def fingerprint(key_der: bytes) -> str:
    """SHA-256 of a SubjectPublicKeyInfo, in hexadecimal."""
    return hashlib.sha256(key_der).hexdigest()


def find(connection: sa.Connection, member_id: str) -> Entry | None:
    """The roster's entry of a member."""
    row = connection.execute(_FIND, {"member_id": member_id}).one_or_none()
    return None if row is None else Entry(*row)


def entries(connection: sa.Connection) -> Sequence[Entry]:
    """The whole roster, by member id."""
    return [Entry(*row) for row in connection.execute(_ALL)]


def check_admitted(
    connection: sa.Connection,
    member: MemberCertificate,
    authority: x509.Certificate | None,
    now: int,
) -> Entry:
    """The entry of a member whose batch may be evaluated.

    Args:
        authority: whose certificates are taken at first sight; None: nobody's.
        now: microseconds since 1970.

    Raises:
        Refusal PERMISSION_DENIED: NOT_ADMITTED, KEY_NOT_ADMITTED.
    """
    entry = find(connection, member.member_id)
    if authority is not None and (
        entry is None or (entry.public_key, entry.expelled_at) == (None, None)
    ):
        if not member.is_issued_by(authority, moment_of(now)):
            raise permission_denied(
                "NOT_ADMITTED", "the certificate is not a valid one of the key-holder's authority"
            )
        connection.execute(_PIN, _admission(member, now))
        _log.info("admitted %s at first sight", member.member_id)
        # Another process may have been first, with another key.
        entry = find(connection, member.member_id)
    if entry is None or not entry.is_admitted:
        raise permission_denied(
            "NOT_ADMITTED", f"the key-holder has not admitted {member.member_id}"
        )
    if entry.public_key != member.key_der:
        raise permission_denied(
            "KEY_NOT_ADMITTED", f"the key-holder has admitted another key of {member.member_id}"
        )
    return entry


def admit(connection: sa.Connection, member: MemberCertificate, now: int) -> None:
    """Admit a member by its present key, whatever there was before."""
    connection.execute(_ADMIT, _admission(member, now))


def expel(connection: sa.Connection, member_id: str, now: int) -> bool:
    """Evaluate nothing for a member any more; whether it was admitted.

    A member that never was cannot come in at first sight either.
    """
    entry = find(connection, member_id)
    connection.execute(_EXPEL, {"member_id": member_id, "now": now})
    return entry is not None and entry.is_admitted


def set_quota(connection: sa.Connection, member_id: str, daily: int, monthly: int) -> None:
    """Give a member numbers of its own."""
    connection.execute(_QUOTA, {"member_id": member_id, "daily": daily, "monthly": monthly})


def _admission(member: MemberCertificate, now: int) -> Mapping[str, object]:
    return {"member_id": member.member_id, "public_key": member.key_der, "now": now}


_COLUMNS: Final = "member_id, public_key, admitted_at, expelled_at, daily, monthly"
_FIND = sa.text(f"SELECT {_COLUMNS} FROM admitted_member WHERE member_id = :member_id")  # noqa: S608
_ALL = sa.text(f"SELECT {_COLUMNS} FROM admitted_member ORDER BY member_id")  # noqa: S608
_PIN = sa.text(
    "INSERT INTO admitted_member (member_id, public_key, admitted_at)"
    " VALUES (:member_id, :public_key, :now)"
    " ON CONFLICT (member_id) DO UPDATE"
    " SET public_key = excluded.public_key, admitted_at = excluded.admitted_at"
    " WHERE admitted_member.public_key IS NULL AND admitted_member.expelled_at IS NULL"
)
_ADMIT = sa.text(
    "INSERT INTO admitted_member (member_id, public_key, admitted_at)"
    " VALUES (:member_id, :public_key, :now)"
    " ON CONFLICT (member_id) DO UPDATE"
    " SET public_key = excluded.public_key, admitted_at = excluded.admitted_at, expelled_at = NULL"
)
_EXPEL = sa.text(
    "INSERT INTO admitted_member (member_id, expelled_at) VALUES (:member_id, :now)"
    " ON CONFLICT (member_id) DO UPDATE SET expelled_at = excluded.expelled_at"
)
_QUOTA = sa.text(
    "INSERT INTO admitted_member (member_id, daily, monthly)"
    " VALUES (:member_id, :daily, :monthly)"
    " ON CONFLICT (member_id) DO UPDATE SET daily = excluded.daily, monthly = excluded.monthly"
)
