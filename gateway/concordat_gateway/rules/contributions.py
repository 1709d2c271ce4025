"""Contributions: banded rows into the pool, each under a consent, all or nothing a batch.

Two stores, one order: rows are staged where nobody sees them; one control transaction asks for
every row's consent and records the batch; then the rows are published. A crash before the
transaction leaves staged rows that nobody will ever see, one after it leaves an accepted batch
that `resume` publishes.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.intake import Candidate, Intake
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.permits import NO_PERMIT, Ground, permits
from concordat_gateway.rules.publication import (
    BATCH_ID_BYTES,
    RECORDED_BATCHES,
    RecordedBatch,
    packed,
    publish,
    publish_accepted,
    recorded_batch,
)
from concordat_gateway.rules.refusals import pack_refusals
from concordat_gateway.rules.replacing import Held, Replacing, held_of
from concordat_gateway.rules.requests import Reply, Request, check_request_id, find, once
from concordat_gateway.rules.scopes import ConsentId, Purpose
from concordat_gateway.rules.standing import require_active
from concordat_gateway.rules.uses import Use, append_use, use_items
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import require_epoch
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.rows import CATEGORY_FIELDS
from concordat_privacy.jurisdictions import UNNAMED, Policy, policies
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.merkle import merkle_root
from concordat_rpc.errors import Refusal, not_found
from concordat_rpc.peer import Peer
from concordat_store.clock import Clock

ORPHAN_AGE_MICROSECONDS = 15 * 60 * 1_000_000
"""Age at which a staged batch without a decision is given up: longer than any call lasts, so that
no other process can still be about to decide on it."""

_log = logging.getLogger(__name__)


class BatchState(IntEnum):
    """Numbers as in `concordat.v1` (contribution.proto)."""

    ACCEPTED = 1
    PUBLISHED = 2


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a batch's rows."""

    rows_accepted: int
    refused: Sequence[ItemRefusal]
    """In the order of the rows."""
    entry: Entry


@dataclass(frozen=True, slots=True)
class Origin:
    """What a batch is: a call, or a part of an upload."""

    request_id: bytes | None = None
    upload_id: bytes | None = None
    sequence: int | None = None

    @property
    def fields(self) -> dict[str, Json]:
        """How its entry names it."""
        if self.request_id is not None:
            return {"request": self.request_id.hex()}
        assert self.upload_id is not None
        return {"upload": self.upload_id.hex(), "sequence": self.sequence}


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What became of a batch."""

    state: BatchState
    rows_accepted: int
    rows_refused: int
    entry_index: int
    accepted_at: int
    """Microseconds since the epoch."""


def contribute(
    journal: Journal,
    signals: SignalStore,
    furnisher: Peer,
    intake: Intake,
    to_reply: Callable[[Accepted], bytes],
    timeout_seconds: float,
    jurisdiction: str = UNNAMED,
) -> Committed[bytes]:
    """Take a complete batch: its good rows are in the pool when this returns.

    `jurisdiction` is the code of the policy that consents without one of their own are under.
    Where publishing fails the batch is accepted all the same; `resume`, or a repeated request,
    publishes it. Returns the bytes that `to_reply` made, now or when the same request came first.
    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (REQUEST_ID_REUSED), UNAVAILABLE,
    DEADLINE_EXCEEDED; a repeat with the same request_id then finds out what happened.
    """
    digest = intake.finish()
    request = Request(furnisher.spiffe_id, "Contribute", intake.header.request_id, digest)
    with journal.read() as connection:
        recorded = find(connection, request)
    if recorded is not None:
        _publish_request(journal, signals, furnisher, request.request_id)
        return Committed(recorded.body, journal.checkpoint())

    held = held_of(journal, signals, furnisher, intake.wanted, intake.store_epoch)
    batch_id = stage(signals, intake)

    def change(transaction: Transaction) -> bytes:
        def work() -> Reply:
            origin = Origin(request_id=request.request_id)
            accepted = record(
                transaction, furnisher, batch_id, intake, digest, origin, jurisdiction, held
            )
            return Reply(to_reply(accepted), accepted.entry.index)

        return once(transaction, request, work)

    # Nothing is discarded where this raises: the commit may have happened, or may still happen.
    committed = journal.write(change, timeout_seconds)
    _publish_request(journal, signals, furnisher, request.request_id, staged=batch_id)
    return committed


def get_batch(
    journal: Journal, signals: SignalStore, furnisher: Peer, request_id: bytes
) -> BatchStatus:
    """What became of a batch of the furnisher.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (BATCH_NOT_FOUND).
    """
    check_request_id(request_id)
    batch = _find(journal, furnisher, request_id)
    if batch is None:
        raise not_found("BATCH_NOT_FOUND", "the calling member has no batch with this request_id")
    published = signals.is_published(batch.batch_id)
    return BatchStatus(
        BatchState.PUBLISHED if published else BatchState.ACCEPTED,
        batch.rows_accepted,
        batch.rows_refused,
        batch.entry,
        batch.accepted_at,
    )


def resume(journal: Journal, signals: SignalStore, clock: Clock) -> None:
    """Finish what a crash or a failing store interrupted. Run at start; safe at any time.

    Accepted batches are published; staged rows of batches that were never accepted are discarded
    once they are older than any call can be. Raises Refusal UNAVAILABLE where a store fails.
    """
    # Asked first: a batch that is not accepted by the time it is looked up below never will be.
    given_up = frozenset(signals.staged_before(clock() - ORPHAN_AGE_MICROSECONDS))
    for batch_id in publish_accepted(journal, signals):
        if batch_id in given_up:
            signals.discard(batch_id)
            _log.info("discarded batch %s, never accepted", batch_id.hex())


def stage(signals: SignalStore, intake: Intake) -> bytes:
    """Keep the well-formed rows where nobody sees them; returns the new batch's id.

    Raises Refusal UNAVAILABLE.
    """
    batch_id = os.urandom(BATCH_ID_BYTES)
    signals.stage(batch_id, [StagedRow(c.item, c.subject, c.content) for c in intake.candidates])
    return batch_id


def record(
    transaction: Transaction,
    furnisher: Peer,
    batch_id: bytes,
    intake: Intake,
    digest: bytes,
    origin: Origin,
    jurisdiction: str,
    held: Held,
) -> Accepted:
    """Ask for every row's consent and record what is taken of a staged batch.

    `held` is what the pool holds where the batch corrects it, see `held_of`.

    Raises Refusal UNAVAILABLE, PERMISSION_DENIED (the member is suspended).
    """
    transaction.require_witnessed()
    require_epoch(transaction.tokens_epoch, intake.store_epoch)
    require_active(transaction.connection, furnisher.name)
    permitted = permits(
        transaction.connection,
        furnisher.name,
        Purpose.CONTRIBUTION,
        {candidate.subject for candidate in intake.candidates},
        transaction.now,
    )
    notice = intake.header.adverse_notice_sha256
    noticed = {} if notice else _wanting_notice(permitted.grounds, jurisdiction)
    replacing = Replacing(transaction, furnisher, [w.row for w in intake.wanted], held)
    taken: list[Candidate] = []
    replaced: list[list[Json]] = []
    uses: list[Use] = []
    refused = list(intake.refused)
    for candidate in intake.candidates:
        permit = permitted.get(candidate.subject, NO_PERMIT)
        consents = permit.behind(candidate.needs)
        if consents is None:
            missing = next(one for one in candidate.needs if one not in permit.consents)
            refused.append(_no_consent(candidate.item, missing))
            continue
        if candidate.adverse and (wanting := [c for c in consents if c in noticed]):
            refused.append(_no_notice(candidate.item, noticed[wanting[0]]))
            continue
        if candidate.wanted is not None:
            refusal = replacing.take(candidate.item, "replaces", candidate.wanted)
            if refusal is not None:
                refused.append(refusal)
                continue
            one = replacing.taken[-1]
            replaced.append([len(taken), one.row.entry_index, one.position])
        taken.append(candidate)
        uses.append((candidate.needs, consents))
    refused.sort(key=lambda refusal: refusal.item)
    root = merkle_root(map(_leaf, taken, uses))
    fields: dict[str, Json] = {
        "adverse": sum(candidate.adverse for candidate in taken),
        "batch": batch_id.hex(),
        "catalogue": intake.header.catalogue_version,
        "epoch": intake.header.epoch,
        "refused": len(refused),
        "request_sha256": digest.hex(),
        "rows": len(taken),
        "rows_root": root.hex(),
        **origin.fields,
    }
    if replaced:
        fields["replaced"] = len(replaced)
    if notice:
        fields["adverse_notice_sha256"] = notice.hex()
    entry = append_use(
        transaction,
        "contribution.batch",
        furnisher,
        Purpose.CONTRIBUTION,
        fields,
        use_items(uses, replaced),
        subjects=[candidate.subject for candidate in taken],
        grounds=permitted.grounds,
        changes_pool=bool(taken),
    )
    transaction.connection.execute(
        _INSERT,
        {
            "batch_id": batch_id,
            "member_id": furnisher.name,
            "request_id": origin.request_id,
            "rows_accepted": len(taken),
            "rows_refused": len(refused),
            "refused_rows": packed([refusal.item for refusal in refused]),
            "root": root,
            "entry": entry.index,
            "accepted_at": transaction.now,
            "upload_id": origin.upload_id,
            "sequence": origin.sequence,
            "content_sha256": digest if origin.upload_id else None,
            "refusals": pack_refusals(refused) if origin.upload_id else None,
        },
    )
    replacing.mark(entry.index)
    return Accepted(len(taken), refused, entry)


def _leaf(candidate: Candidate, use: Use) -> bytes:
    """What the batch's root commits to for one row: `row_leaf` of its token, then the 16-byte id
    of the consent behind each category it needs, in order of the categories.

    The items say the same in plain, without the row: whoever has them and no row knows which
    consent allowed each row, and the furnisher, who holds token, row and consent ids, can show
    that a row was or was not taken, and under which.
    """
    return candidate.leaf + b"".join(use[1])


def _no_consent(item: int, category: DataCategory) -> ItemRefusal:
    # Without the fields that need more than accounts the same row could be taken.
    names = CATEGORY_FIELDS.get(category)
    return ItemRefusal(
        item,
        f"account.{names[0]}" if names else "token",
        "NO_CONSENT",
        f"no live consent of the subject to contribute {category.name.lower()}",
    )


def _wanting_notice(grounds: Sequence[Ground], default: str) -> dict[ConsentId, Policy]:
    """The consents whose jurisdiction wants a notice before adverse rows, with its policy."""
    wanting = {code: policy for code, policy in policies().items() if policy.adverse_notice}
    codes = ((ground.consent_id, ground.jurisdiction or default) for ground in grounds)
    return {consent_id: wanting[code] for consent_id, code in codes if code in wanting}


def _no_notice(item: int, policy: Policy) -> ItemRefusal:
    return ItemRefusal(
        item,
        "",
        "ADVERSE_NOTICE_REQUIRED",
        f"adverse, and the policy of {policy.name} wants its subject told beforehand: "
        "header.adverse_notice_sha256 is the notice's hash",
    )


def _publish_request(
    journal: Journal,
    signals: SignalStore,
    furnisher: Peer,
    request_id: bytes,
    staged: bytes | None = None,
) -> None:
    """Publish the accepted batch of this request; give up `staged` if that is another one."""
    batch = _find(journal, furnisher, request_id)
    assert batch is not None  # it committed together with the reply that led here
    try:
        publish(journal, signals, batch, staged)
    except Refusal:
        # The batch is accepted, and saying anything else would be wrong.
        _log.warning("batch %s is accepted, but not yet published", batch.batch_id.hex())


def _find(journal: Journal, furnisher: Peer, request_id: bytes) -> RecordedBatch | None:
    parameters = {"member_id": furnisher.name, "request_id": request_id}
    with journal.ask() as connection:
        return recorded_batch(connection, _BY_REQUEST, parameters)


_INSERT = sa.insert(batch_table)
_BY_REQUEST = RECORDED_BATCHES.where(
    batch_table.c.member_id == sa.bindparam("member_id"),
    batch_table.c.request_id == sa.bindparam("request_id"),
)
