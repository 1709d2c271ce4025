"""What the gateway needs to know, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from concordat_privacy.catalogue.signals import Disputed
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.cosignature import Quorum, WitnessKey
from concordat_privacy.metering import Quota
from concordat_rpc.address import Address
from concordat_rpc.limits import Limits


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where a process's certificate, key and trusted authority are. PEM files."""

    certificate: Path
    private_key: Path
    """Must be readable by its owner only."""
    ca: Path


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """Where the stores are: ``sqlite:////absolute/path`` or ``postgresql://...``."""

    control: str
    signals: str
    """On PostgreSQL it may be the same database as `control`."""
    evidence: str
    """Subjects' evidence keys: kept as long as the ledger."""
    live_keys: str
    """Subjects' live keys, which erasure destroys: not to be in long-lived backups."""

    @property
    def all(self) -> tuple[str, str, str, str]:
        """In the order in which they are migrated."""
        return self.control, self.signals, self.evidence, self.live_keys


@dataclass(frozen=True, slots=True)
class Keyholder:
    """Where a key-holder is."""

    holder: int
    """Its number, where it holds a share of a split key; 0 where it holds whole keys."""
    config: Path | None
    """Configuration of an embedded key-holder, which the supervisor starts on loopback."""
    address: Address | None
    """Address of a key-holder that runs on a host of its own."""
    server_name: str
    """Name that the key-holder's certificate must carry."""


@dataclass(frozen=True, slots=True)
class Membership:
    """How members are admitted."""

    ca_key: Path
    """The authority's private key, with which member certificates are signed."""
    invitation_lifetime: timedelta
    certificate_lifetime: timedelta


@dataclass(frozen=True, slots=True)
class PrivacyBudgets:
    """Caps on what differentially private answers may ever reveal, as epsilon at delta 1e-6."""

    pool_epsilon: float
    """Of all answers to all members together: colluding members learn no more than this."""
    member_epsilon: float
    """Of the answers that one member asks for."""


@dataclass(frozen=True, slots=True)
class ConsentPolicies:
    """Under which jurisdictions' policies consents are taken."""

    jurisdictions: tuple[str, ...]
    """Codes of `concordat_privacy.jurisdictions`."""
    default: str
    """That of drafts that name none; one of them."""


@dataclass(frozen=True, slots=True)
class Witness:
    """One of the ledger's witnesses."""

    key: WitnessKey
    url: str
    """Where the gateway brings its checkpoints (C2SP tlog-witness); "": the witness follows the
    gateway by itself and brings its cosignatures."""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Who must have seen the ledger, and for how long they may be missing."""

    quorum: Quorum
    grace: timedelta
    listed: tuple[Witness, ...]


@dataclass(frozen=True, slots=True)
class Timestamps:
    """The time-stamping authority (RFC 3161) that checkpoints are brought to."""

    url: str
    ca: Path
    """Its root certificates, and intermediates that it does not send. PEM."""
    every: timedelta


@dataclass(frozen=True, slots=True)
class UploadAges:
    """When an upload counts as left, and for how long what came of it can be asked."""

    abandoned_after: timedelta = timedelta(days=30)
    """From the last part of an upload that was not ended."""
    answered_for: timedelta = timedelta(days=180)
    """From its end, or from when it counts as abandoned: for so long a part that comes again is
    answered, and refused rows are listed."""


DEFAULT_AGES: Final = UploadAges()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Everything `concordat serve` needs to know."""

    file: Path
    """The file this was read from."""
    listen: Address
    trust_domain: str
    workers: int
    """Serving processes; one a core."""
    resume_seconds: float
    """How often batches that were accepted but not published are looked for. A worker that could
    not publish has nobody else to do it, unless its caller asks again."""
    alarm_seconds: float
    """How often all members' counters are looked at for alarms."""
    job_seconds: float
    """How often overdue notices and the like are looked for, see `concordat_gateway.jobs`."""
    metrics: Address | None
    """Loopback address of the Prometheus endpoint; None: no endpoint."""
    identity: IdentityFiles
    stores: StoreUrls
    ledger_key: Path
    """The ledger's signing key (signed-note skey text)."""
    evidence_key: Path
    """32 secret bytes in hex: the evidence store's keys are sealed under it, and asking keys are
    derived from it."""
    live_key: Path
    """32 secret bytes in hex: the live-key store's keys are sealed under it."""
    peppers: Mapping[int, Path]
    """By key epoch: 32 secret bytes in hex, which key the HMAC under which the stores know a
    subject. The file of an epoch that has ended may be gone."""
    key_log: Path
    """The signed key log, see `concordat_privacy.keylog`. It is read again when it changes."""
    key_log_vkey: VerifierKey
    """The key that the key log must be signed with."""
    keyholders: tuple[Keyholder, ...]
    """At least one, in the file's order."""
    membership: Membership
    budgets: PrivacyBudgets
    consents: ConsentPolicies
    retention: str
    """Code of the jurisdiction whose policy says how long adverse rows stay."""
    upload_ages: UploadAges
    disputed: Disputed
    """What becomes of accounts, and of categories, that their subject disputes."""
    witnesses: Witnesses
    timestamps: Timestamps | None
    """None: no time-stamps."""
    lookup_quota: Quota
    carried_quota: Quota
    """Of a member's tokens of earlier epochs that are carried over."""
    limits: Limits
