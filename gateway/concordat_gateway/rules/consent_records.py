"""The record of a consent: its fields, as the store keeps them and as ledger entries name them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from concordat_gateway.rules.consent_states import ConsentState, Times, state_of
from concordat_gateway.rules.scopes import (
    CONSENT_ID_BYTES,
    ConsentId,
    Mask,
    Purpose,
    categories_in,
    covers,
    names_of,
    purposes_in,
)
from concordat_gateway.store.control_tables import consent as consent_table
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.consent_terms import Terms
from concordat_privacy.log.leaf import Json
from concordat_privacy.periods import Frequency, Period, TimeUnit
from concordat_rpc.errors import Refusal, invalid, not_found
from concordat_rpc.peer import Peer, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What shows that the subject consented: a document's hash, or a verified JWS."""

    evidence_sha256: bytes | None = None
    evidence_jws: str | None = None
    evidence_jws_sha256: bytes | None = None
    evidence_terms_sha256: bytes | None = None
    evidence_signer: str | None = None
    """"subject" or "manager:<id>"."""
    evidence_key: bytes | None = None
    """RFC 7638 thumbprint of the key that signed."""

    def columns(self) -> dict[str, object]:
        """As the store keeps it."""
        columns = asdict(self)
        del columns["evidence_jws_sha256"]
        return columns

    def fields(self) -> dict[str, Json]:
        """As ledger entries name it."""
        fields: dict[str, Json] = {}
        for name in ("evidence_sha256", "evidence_jws_sha256", "evidence_key"):
            value: bytes | None = getattr(self, name)
            if value is not None:
                fields[name] = value.hex()
        if self.evidence_signer is not None:
            fields["evidence_signer"] = self.evidence_signer
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A recorded consent. Moments are microseconds since the epoch; fields as in the store."""

    consent_id: ConsentId
    subject: SubjectKey
    recipient: str
    purposes: Mask
    categories: Mask
    starts_at: int
    expires_at: int
    notice_version: str
    granted_at: int
    grant_entry: int
    commitment: bytes
    salt: bytes | None = None
    notice_sha256: bytes | None = None
    language: str | None = None
    withdrawal_method: str | None = None
    jurisdiction: str | None = None
    policies: int = 0
    data_life_unit: int | None = None
    data_life_value: int | None = None
    frequency_unit: int | None = None
    frequency_uses: int | None = None
    evidence_sha256: bytes | None = None
    evidence_subject: bytes | None = None
    evidence_jws: str | None = None
    evidence_terms_sha256: bytes | None = None
    evidence_signer: str | None = None
    evidence_key: bytes | None = None
    requested_at: int | None = None
    activated_at: int | None = None
    paused_at: int | None = None
    resumed_at: int | None = None
    withdrawn_at: int | None = None
    revoked_at: int | None = None
    revoked_by: str | None = None
    reason: str | None = None
    asked_at: int | None = None

    def state(self, now: int) -> ConsentState:
        """State at a moment. A consent that has not started yet is ACTIVE."""
        return state_of(self.times, now)

    @property
    def times(self) -> Times:
        """What decides its state."""
        return Times(
            starts_at=self.starts_at,
            expires_at=self.expires_at,
            activated_at=self.activated_at,
            paused_at=self.paused_at,
            withdrawn_at=self.withdrawn_at,
            revoked_at=self.revoked_at,
        )

    @property
    def data_life(self) -> Period | None:
        """How long the recipient may keep what it learns."""
        if self.data_life_unit is None or self.data_life_value is None:
            return None
        return Period(TimeUnit(self.data_life_unit), self.data_life_value)

    @property
    def frequency(self) -> Frequency | None:
        """How often it may be used."""
        if self.frequency_unit is None or self.frequency_uses is None:
            return None
        return Frequency(TimeUnit(self.frequency_unit), self.frequency_uses)

    @property
    def terms(self) -> Terms:
        """What was consented, as entries and signatures have it."""
        return Terms(
            purposes=purpose_names(self.purposes),
            categories=category_names(self.categories),
            starts_at=self.starts_at,
            expires_at=self.expires_at,
            notice_version=self.notice_version,
            notice_sha256=self.notice_sha256 or b"",
            language=self.language or "",
            withdrawal_method=self.withdrawal_method or "",
            jurisdiction=self.jurisdiction or "",
            data_life=self.data_life,
            frequency=self.frequency,
        )

    @property
    def concerns_pool(self) -> bool:
        """Whether answers about the whole pool can rest on it."""
        return covers(self.purposes, Purpose.CONTRIBUTION) or covers(
            self.purposes, Purpose.AGGREGATE_STATISTICS
        )

    def naming_fields(self) -> dict[str, Json]:
        """The fields by which every entry about the consent names it."""
        return {
            "consent": self.consent_id.hex(),
            "recipient": self.recipient,
            "subject": self.commitment.hex(),
        }


def purpose_names(purposes: Mask) -> list[str]:
    """Names of purposes as entries write them."""
    return [str(name) for name in names_of(purposes_in(purposes))]


def category_names(categories: Mask) -> list[str]:
    """Names of categories as entries write them."""
    return [str(name) for name in names_of(categories_in(categories))]


def check_consent_id(consent_id: bytes) -> None:
    """Raises Refusal INVALID_ARGUMENT for another length than an id's."""
    if len(consent_id) != CONSENT_ID_BYTES:
        raise invalid("consent_id", f"{CONSENT_ID_BYTES} bytes wanted, {len(consent_id)} given")


def find(connection: sa.Connection, caller: Peer, consent_id: bytes) -> Consent:
    """A consent that the caller may name: a member its own, the operator any.

    Another member's and none at all cannot be told apart. Raises Refusal NOT_FOUND
    (CONSENT_NOT_FOUND).
    """
    if caller.role is Role.OPERATOR:
        row = connection.execute(_BY_ID, {"id": consent_id}).one_or_none()
    else:
        row = connection.execute(
            _OF_RECIPIENT_BY_ID, {"id": consent_id, "recipient": caller.name}
        ).one_or_none()
    if row is None:
        raise _no_such_consent()
    return consent_of(row)


def consent_of(row: sa.Row[tuple[object, ...]]) -> Consent:
    """The consent of a row of COLUMNS."""
    return Consent(**row._mapping)


def insert(connection: sa.Connection, consents: list[Consent]) -> None:
    """Record new consents."""
    connection.execute(_INSERT, [asdict(consent) for consent in consents])


def update(connection: sa.Connection, consent_id: ConsentId, columns: Mapping[str, object]) -> None:
    """Change columns of one consent."""
    connection.execute(
        sa.update(consent_table)
        .where(consent_table.c.consent_id == sa.bindparam("id"))
        .values({name: sa.bindparam(name) for name in columns}),
        {"id": consent_id, **columns},
    )


def _no_such_consent() -> Refusal:
    return not_found("CONSENT_NOT_FOUND", "the caller has no consent with this id")


COLUMNS = [consent_table.c[name] for name in Consent.__dataclass_fields__]
_INSERT = sa.insert(consent_table)
_BY_ID = sa.select(*COLUMNS).where(consent_table.c.consent_id == sa.bindparam("id"))
_OF_RECIPIENT_BY_ID = _BY_ID.where(consent_table.c.recipient == sa.bindparam("recipient"))
