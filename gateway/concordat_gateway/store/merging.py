"""Accepted rows into the state that lookups read: a relation an account, an inquiry an application.

The hot path of publishing: rows are tuples of numbers here, and none is made into more.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from concordat_gateway.store import signal_sql as sql
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.packing import (
    PackedAccount,
    account_numbers,
    application_numbers,
    is_plain,
    split_correction,
    unpack_withdrawal,
)
from concordat_privacy.catalogue.relations import correct_numbers, merge_numbers
from concordat_store.chunks import in_chunks
from concordat_store.direct import rows_of

_Key = tuple[SubjectKey, bytes]
_Held = tuple[PackedAccount, int, int]
"""An account, and the row that its newest month came from: entry and position there."""


def merge_rows(
    connection: sa.Connection, member_no: int, entry: int, rows: Iterable[StagedRow]
) -> None:
    """Merge the rows of a member's batch, in the order it sent them, into what readers see.

    `entry` is the batch's in the ledger.
    """
    accounts: list[tuple[_Key, PackedAccount, int, bool]] = []
    inquiries: dict[_Key, tuple[int, int, int, int, int]] = {}
    for item, subject, staged in rows:
        content, corrects = staged, False
        if not is_plain(staged):
            withdrawn = unpack_withdrawal(staged)
            if withdrawn is not None:
                # A batch holds either rows or withdrawals.
                connection.execute(
                    sql.DELETE_RELATION if withdrawn.is_account else sql.DELETE_INQUIRY,
                    {**sql.one_subject(subject), "member_no": member_no, "ref": withdrawn.ref},
                )
                continue
            _, content = split_correction(staged)
            corrects = True
        numbers = account_numbers(content)
        if numbers is not None:
            accounts.append(((subject, numbers[0]), numbers, item, corrects))
        else:
            # A correction of an application is no other than its second report.
            ref, day, product, outcome = application_numbers(content)
            inquiries[subject, ref] = day, product, outcome, entry, item

    state = _existing(connection, member_no, {key[0] for key, *_ in accounts}) if accounts else {}
    changed: set[_Key] = set()
    for key, numbers, item, corrects in accounts:
        before = state.get(key)
        changed.add(key)
        if before is None:
            state[key] = numbers, entry, item
            continue
        held, held_entry, held_item = before
        merged = (correct_numbers if corrects else merge_numbers)(held, numbers)
        if numbers.as_of_month >= held.as_of_month:
            state[key] = merged, entry, item
        else:
            state[key] = merged, held_entry, held_item

    # In key order: neighbours share a page.
    sql.upsert_relations(
        connection, [sql.relation_row(key[0], member_no, *state[key]) for key in sorted(changed)]
    )
    sql.upsert_inquiries(
        connection,
        [(key[0], member_no, key[1], key[0][0], *inquiries[key]) for key in sorted(inquiries)],
    )


def _existing(
    connection: sa.Connection, member_no: int, subjects: set[SubjectKey]
) -> dict[_Key, _Held]:
    """What the member's accounts of subjects are by now."""
    found: dict[_Key, _Held] = {}
    for chunk in in_chunks(sorted(subjects), sql.SUBJECTS_A_STATEMENT):
        parameters: Mapping[str, Any] = {"member_no": member_no, **sql.subject_span(chunk)}
        for subject, _, entry, item, *stored in rows_of(
            connection, sql.SELECT_RELATIONS_OF, parameters
        ):
            account = PackedAccount._make(stored)
            found[subject, account.account_ref] = account, entry, item
    return found
