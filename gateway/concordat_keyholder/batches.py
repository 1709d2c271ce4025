"""Whether a batch that a gateway brought is evaluated: the member's signature, and its meter.

Nothing here believes the gateway. The member signed the batch with the key that the roster knows,
a moment ago, for this quota; it is charged once, in one durable transaction, before anything is
evaluated; and brought again it is answered again, a few times, for nothing.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from cryptography import x509

from concordat_keyholder import allowances, roster
from concordat_keyholder.certificates import MemberCertificate
from concordat_keyholder.roster import Entry
from concordat_privacy.metering import Exhausted, Quota, Scope
from concordat_privacy.oprf import ELEMENT_BYTES
from concordat_privacy.signing import EvaluationStatement
from concordat_rpc.errors import Refusal, again_in, exhausted, permission_denied
from concordat_store import meters

FRESH_MICROS: Final = 5 * 60 * 1_000_000
"""How far a batch's time may be from this clock, before or after."""
MAX_REPEATS: Final = 32
"""How often one charged batch is answered again. More only make work.

One call of the gateway asks a holder of a split key once for each set that fails, each for another
holder's sake: at most n - t + 1 = 15 times, with 16 holders of which 2 answer together. The calls
after it find who is down by a greeting, and ask once. So 32 are two such calls, or one and a
client's own repeats through an outage. What they give is no new information: the same elements."""


class Charged(enum.IntEnum):
    """What a batch is charged to; numbers of the contract's EvaluationQuota."""

    ONLINE = 1
    PORTFOLIO = 2


_SCOPES = {Scope.RATE: "rate", Scope.DAY: "day", Scope.MONTH: "month"}


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A batch with the certificate and the signature that came with it."""

    statement: EvaluationStatement
    member: MemberCertificate
    signature: bytes

    @property
    def size(self) -> int:
        """How many elements."""
        return len(self.statement.blinded_elements) // ELEMENT_BYTES

    @property
    def charged_to(self) -> Charged:
        return Charged(self.statement.quota)


def check_signed(batch: SignedBatch, now: int) -> None:
    """Raises Refusal PERMISSION_DENIED: SIGNATURE_INVALID, REQUEST_STALE."""
    if not batch.statement.is_signed_by(batch.member.key, batch.signature):
        raise permission_denied(
            "SIGNATURE_INVALID", "the batch is not signed by the certificate's key as it stands"
        )
    off = now - batch.statement.signed_at
    if abs(off) > FRESH_MICROS:
        raise permission_denied(
            "REQUEST_STALE",
            f"the batch was signed {abs(off) / 1e6:.0f} s "
            f"{'before' if off > 0 else 'after'} the key-holder's clock; "
            f"at most {FRESH_MICROS / 1e6:.0f} s are allowed",
        )


def charge(
    connection: sa.Connection,
    batch: SignedBatch,
    quota: Quota,
    authority: x509.Certificate | None,
    now: int,
) -> None:
    """Charge a batch, in the caller's transaction; returns only if it may be evaluated.

    Args:
        quota: of members that have none of their own.
        authority: see :func:`.roster.check_admitted`.
        now: microseconds since 1970.

    Raises:
        Refusal PERMISSION_DENIED: NOT_ADMITTED, KEY_NOT_ADMITTED, NONCE_REUSED.
        Refusal RESOURCE_EXHAUSTED: EVALUATIONS_EXHAUSTED, PORTFOLIO_EXHAUSTED. The caller's
            transaction must then be undone, as it is where the exception leaves it.
    """
    entry = roster.check_admitted(connection, batch.member, authority, now)
    if _is_repeat(connection, batch):
        return
    match batch.charged_to:
        case Charged.ONLINE:
            _charge_online(connection, batch, entry, quota, now)
        case Charged.PORTFOLIO:
            _charge_portfolio(connection, batch, now)


def forget_nonces(connection: sa.Connection, now: int) -> None:
    """Drop the nonces of batches that are too old to be brought again."""
    connection.execute(_FORGET, {"now": now})


def _is_repeat(connection: sa.Connection, batch: SignedBatch) -> bool:
    """Note the nonce; whether this very batch was charged before."""
    statement = batch.statement
    row = {
        "member_id": batch.member.member_id,
        "nonce": statement.nonce,
        "content": hashlib.sha256(statement.message()).digest(),
        # Longer than it can be fresh, so that a clock that is set back a little opens no gap.
        "expires_at": statement.signed_at + 2 * FRESH_MICROS,
    }
    # A second transaction with the nonce waits here for the first one's end.
    if connection.execute(_NOTE, row).first() is not None:
        return False
    repeated = connection.execute(_REPEAT, {**row, "most": MAX_REPEATS}).first()
    if repeated is None:
        raise permission_denied(
            "NONCE_REUSED",
            f"the nonce was used for another batch, or the batch was repeated {MAX_REPEATS} times",
        )
    return True


def _charge_online(
    connection: sa.Connection, batch: SignedBatch, entry: Entry, default: Quota, now: int
) -> None:
    over = meters.charge(
        connection, entry.member_id, Charged.ONLINE, batch.size, entry.quota(default), now
    )
    if over is not None:
        raise _over_quota(entry.member_id, batch.size, entry.quota(default), over)


def _charge_portfolio(connection: sa.Connection, batch: SignedBatch, now: int) -> None:
    member_id = batch.member.member_id
    if not allowances.charge(connection, member_id, batch.size, now):
        raise exhausted(
            "PORTFOLIO_EXHAUSTED",
            f"no allowance of {batch.size} evaluations is left to {member_id}; "
            "the key-holder grants them",
            f"member:{member_id}/evaluations/portfolio",
        )
    meters.count(connection, member_id, Charged.PORTFOLIO, batch.size, now)


def _over_quota(member_id: str, size: int, quota: Quota, over: Exhausted) -> Refusal:
    scope = _SCOPES[over.scope]
    limit = f"{over.limit} a {scope}"
    if over.scope is Scope.RATE:
        limit = f"{over.limit} at once, {quota.per_second:g} a second"
    wait = over.retry_seconds
    advice = "ask for fewer at once" if wait is None else again_in(wait)
    return exhausted(
        "EVALUATIONS_EXHAUSTED",
        f"{size} evaluations more are too many: the member has at most {limit}; {advice}",
        f"member:{member_id}/evaluations/{scope}",
        over.retry_seconds,
    )


_NOTE = sa.text(
    "INSERT INTO nonce (member_id, nonce, content, repeats, expires_at)"
    " VALUES (:member_id, :nonce, :content, 0, :expires_at)"
    " ON CONFLICT (member_id, nonce) DO NOTHING RETURNING repeats"
)
_REPEAT = sa.text(
    "UPDATE nonce SET repeats = repeats + 1"
    " WHERE member_id = :member_id AND nonce = :nonce AND content = :content AND repeats < :most"
    " RETURNING repeats"
)
_FORGET = sa.text("DELETE FROM nonce WHERE expires_at < :now")
