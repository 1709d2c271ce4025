"""Withdrawals of rows: accounts and applications of a member leave the pool.

The same way as a contribution: staged, decided and recorded in one control transaction with its
entry, published. It only takes away, so no consent is asked for; and it is acknowledged only once
no lookup sees the rows any more.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Item, Journal, Transaction
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.publication import (
    BATCH_ID_BYTES,
    RECORDED_BATCHES,
    packed,
    publish,
    recorded_batch,
)
from concordat_gateway.rules.replacing import Held, Replacing, Wanted, held_of
from concordat_gateway.rules.requests import (
    Fingerprint,
    Reply,
    Request,
    check_request_id,
    find,
    once,
)
from concordat_gateway.rules.standing import require_active
from concordat_gateway.rules.uses import ROWS_AN_ITEM
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey, require_epoch
from concordat_privacy.catalogue.packing import Withdrawn, pack_withdrawal, packed_leaf
from concordat_privacy.catalogue.rows import REF_BYTES, FieldProblem, RowRef
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import invalid
from concordat_rpc.peer import Peer

MAX_ROWS = 1_000


class RawWithdrawal(NamedTuple):
    """A withdrawal as it arrived, nothing of it checked."""

    token: bytes
    row: RowRef | None
    is_account: bool
    ref: bytes
    """account_ref or application_ref; empty where neither came."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a call's rows."""

    rows: int
    """That were withdrawn."""
    refused: Sequence[ItemRefusal]
    entry: Entry


class _Candidate(NamedTuple):
    item: int
    subject: SubjectKey
    content: bytes
    leaf: bytes
    wanted: Wanted


def check_count(rows: int) -> None:
    """Whether a call may have so many, before anything is made of them.

    Raises Refusal INVALID_ARGUMENT.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise invalid("rows", f"1 to {MAX_ROWS} rows wanted, {rows} given")


class Withdrawals:
    """The checked rows of one call."""

    def __init__(
        self,
        request_id: bytes,
        epoch: int,
        rows: Sequence[RawWithdrawal],
        store_epoch: int,
        names: Callable[[Sequence[bytes]], Sequence[SubjectKey]],
    ) -> None:
        """`names` gives the stores' names of the subjects of tokens, under `store_epoch`.

        Raises Refusal INVALID_ARGUMENT, and what naming subjects raises.
        """
        self.request_id = check_request_id(request_id)
        self.epoch = epoch
        self.store_epoch = store_epoch
        check_count(len(rows))
        fingerprint = Fingerprint("WithdrawRows")
        fingerprint.add(epoch)
        self.refused: list[ItemRefusal] = []
        good: list[tuple[int, bytes, Withdrawn]] = []
        seen: dict[tuple[bytes, bool, bytes], int] = {}
        for item, raw in enumerate(rows):
            fingerprint.add(raw.token, *(raw.row or (None,)), int(raw.is_account), raw.ref)
            checked = _checked(raw)
            if isinstance(checked, Withdrawn):
                first = seen.setdefault((raw.token, raw.is_account, raw.ref), item)
                if first == item:
                    good.append((item, raw.token, checked))
                    continue
                checked = FieldProblem(
                    _ref_field(raw), "DUPLICATE", f"withdrawn by row {first} already"
                )
            self.refused.append(ItemRefusal.of(item, checked))
        self.digest = fingerprint.digest()
        subjects = names([token for _, token, _ in good]) if good else ()
        self.candidates = [
            _candidate(item, token, subject, withdrawn)
            for (item, token, withdrawn), subject in zip(good, subjects, strict=True)
        ]


def withdraw_rows(
    journal: Journal,
    signals: SignalStore,
    furnisher: Peer,
    rows: Withdrawals,
    to_reply: Callable[[Taken], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Take rows out of the pool; no lookup decided after this returns sees them.

    Returns the bytes that `to_reply` made, now or when the same request came first. Raises Refusal
    ALREADY_EXISTS (REQUEST_ID_REUSED), UNAVAILABLE, DEADLINE_EXCEEDED; after the last two it may
    have been recorded: a repeat finishes it.
    """
    request = Request(furnisher.spiffe_id, "WithdrawRows", rows.request_id, rows.digest)
    with journal.read() as connection:
        recorded = find(connection, request)
    batch_id: bytes | None = None
    if recorded is not None:
        committed = Committed(recorded.body, journal.checkpoint())
    else:
        wanted = [candidate.wanted for candidate in rows.candidates]
        held = held_of(journal, signals, furnisher, wanted, rows.store_epoch)
        staged = batch_id = os.urandom(BATCH_ID_BYTES)
        signals.stage(staged, [StagedRow(c.item, c.subject, c.content) for c in rows.candidates])

        def change(transaction: Transaction) -> bytes:
            def work() -> Reply:
                taken = _record(transaction, furnisher, staged, rows, held)
                return Reply(to_reply(taken), taken.entry.index)

            return once(transaction, request, work)

        committed = journal.write(change, timeout_seconds)
        with journal.read() as connection:
            recorded = find(connection, request)
        assert recorded is not None  # it committed now, or with the first call
    of_entry = {"member_id": furnisher.name, "entry": recorded.entry_index}
    with journal.ask() as asked:
        batch = recorded_batch(asked, _BY_ENTRY, of_entry)
    assert batch is not None  # it committed together with the reply that led here
    publish(journal, signals, batch, batch_id)
    return committed


def _record(
    transaction: Transaction, furnisher: Peer, batch_id: bytes, rows: Withdrawals, held: Held
) -> Taken:
    require_epoch(transaction.tokens_epoch, rows.store_epoch)
    require_active(transaction.connection, furnisher.name)
    replacing = Replacing(transaction, furnisher, [c.wanted.row for c in rows.candidates], held)
    refused = list(rows.refused)
    taken: list[_Candidate] = []
    for candidate in rows.candidates:
        refusal = replacing.take(candidate.item, "row", candidate.wanted)
        if refusal is None:
            taken.append(candidate)
        else:
            refused.append(refusal)
    refused.sort(key=lambda refusal: refusal.item)
    root = merkle_root([candidate.leaf for candidate in taken])
    fields: dict[str, Json] = {
        "batch": batch_id.hex(),
        "epoch": rows.epoch,
        "refused": len(refused),
        "request": rows.request_id.hex(),
        "request_sha256": rows.digest.hex(),
        "rows": len(taken),
        "rows_root": root.hex(),
    }
    named: list[list[Json]] = [[one.row.entry_index, one.position] for one in replacing.taken]
    items = [
        Item({"first": first, "withdrawn": [*named[first : first + ROWS_AN_ITEM]]})
        for first in range(0, len(named), ROWS_AN_ITEM)
    ]
    entry = transaction.append(
        "contribution.withdrawn", furnisher.spiffe_id, fields, items, changes_pool=bool(taken)
    )
    transaction.connection.execute(
        _INSERT,
        {
            "batch_id": batch_id,
            "member_id": furnisher.name,
            "request_id": None,
            "rows_accepted": len(taken),
            "rows_refused": len(refused),
            "refused_rows": packed([refusal.item for refusal in refused]),
            "root": root,
            "entry": entry.index,
            "accepted_at": transaction.now,
        },
    )
    replacing.mark(entry.index)
    return Taken(len(taken), refused, entry)


def _candidate(item: int, token: bytes, subject: SubjectKey, withdrawn: Withdrawn) -> _Candidate:
    content = pack_withdrawal(withdrawn)
    place = (subject, withdrawn.is_account, withdrawn.ref)
    leaf = packed_leaf(token, content)
    return _Candidate(item, subject, content, leaf, Wanted(withdrawn.row, place))


def _checked(raw: RawWithdrawal) -> Withdrawn | FieldProblem:
    if len(raw.token) != TOKEN_BYTES:
        return FieldProblem(
            "token", "WRONG_LENGTH", f"{len(raw.token)} bytes, {TOKEN_BYTES} wanted"
        )
    if raw.row is None:
        return FieldProblem("row", "REQUIRED", "the row's entry and item are wanted")
    if len(raw.ref) != REF_BYTES:
        return FieldProblem(
            _ref_field(raw), "WRONG_LENGTH", f"{len(raw.ref)} bytes, {REF_BYTES} wanted"
        )
    return Withdrawn(raw.row, raw.is_account, raw.ref)


def _ref_field(raw: RawWithdrawal) -> str:
    return "account_ref" if raw.is_account else "application_ref"


_INSERT = sa.insert(batch_table)
_BY_ENTRY = RECORDED_BATCHES.where(
    batch_table.c.member_id == sa.bindparam("member_id"),
    batch_table.c.entry == sa.bindparam("entry"),
)
