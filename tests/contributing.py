"""A member's contributions to a real server: consents, rows, the pool and audit that they make.

What a test does on the gateway's rules, without the wire, is in `tests.furnishing`.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from concordat import (
    AccountSnapshot,
    AccountStatus,
    AmountBand,
    ConsentDraft,
    DataCategory,
    ProductClass,
    Purpose,
    Row,
    Token,
)
from concordat.v1 import common_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.audit.replay import Replay
from concordat_privacy.catalogue.relations import History, Relation
from concordat_privacy.log.checkpoint import SigningKey
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    PEPPER,
    Caller,
    Consortium,
    draft,
    grant,
    grant_one,
    months_since_1970,
    serving,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
EVERYTHING = (
    common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS,
    common_pb2.DATA_CATEGORY_INQUIRIES,
    common_pb2.DATA_CATEGORY_SPENDING,
)

PEOPLE = range(1, 9)


@contextmanager
def consortium_on(
    urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey | None = None, **options: Any
) -> Iterator[Consortium]:
    """A consortium on stores that it opens and closes; `options` are those of `serving`."""
    with (
        open_journal(urls, clock, ledger_key) as journal,
        open_signals(urls, clock) as signals,
        serving(journal, signals, clock, **options) as running,
    ):
        yield running


def allow(
    consortium: Consortium,
    subjects: Collection[int] = PEOPLE,
    categories: Collection[int] = EVERYTHING,
    caller: Caller | None = None,
) -> list[bytes]:
    """The subjects' consents for a member (beta) to contribute; their ids."""
    drafts = [draft(consortium, subject, [CONTRIBUTION], categories) for subject in subjects]
    given = grant(caller or consortium.beta, drafts)
    assert not given.refused
    return [one.consent_id for one in given.granted]


def agreed(
    token: Token,
    *purposes: Purpose,
    categories: Collection[DataCategory] = (DataCategory.CREDIT_ACCOUNTS,),
) -> ConsentDraft:
    """A good consent as the SDK takes it, for thirty days from now."""
    return ConsentDraft(
        token=token,
        purposes=set(purposes),
        categories=set(categories),
        expires_at=datetime.now(UTC) + timedelta(days=30),
        notice_version="2026-1",
        evidence_sha256=hashlib.sha256(b"the signed form").digest(),
    )


def account_row(consortium: Consortium, subject: int, ref: int = 1, balance: int = 3) -> Row:
    """A good row about an open account as the SDK takes it, as of the clock's month."""
    month = months_since_1970(consortium.clock)
    record = AccountSnapshot(
        account_ref=ref.to_bytes(16, "big"),
        as_of_month=month,
        status=AccountStatus.OPEN,
        product=ProductClass.CASH_INSTALMENT,
        opened_quarter=month // 3 - 4,
        balance=AmountBand(balance),
    )
    return Row(Token(token(subject), EPOCH), record)


def history_of(consortium: Consortium, subject: int = 1) -> History:
    """What the pool holds of a subject."""
    key = subject_key(PEPPER, token(subject))
    return consortium.signal_store.histories([key], EPOCH)[key]


def relations(consortium: Consortium, subject: int) -> dict[int, Relation]:
    """What the pool holds of a subject's accounts, by the number that each reference is."""
    held = [relation for _, relation in history_of(consortium, subject).relations]
    return {int.from_bytes(relation.account_ref, "big"): relation for relation in held}


def band_seen(consortium: Consortium, signal: str, subject: int = 1) -> str:
    """Alpha's view of a subject, as a band in words; empty where nothing is seen."""
    grant_one(consortium.alpha, draft(consortium, subject, [UNDERWRITING], EVERYTHING))
    request = signal_pb2.LookupRequest(
        token=token(subject),
        purpose=UNDERWRITING,
        signals=[signal],
        request_id=os.urandom(16),
    )
    [found] = consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS).result.signals
    return found.band_label


def entries_of(journal: Journal, *types: str) -> list[dict[str, Any]]:
    """The fields of the ledger's entries of these types, in its order."""
    leaves: Sequence[dict[str, Any]] = [
        json.loads(leaf) for _, leaf, _ in journal.entries(0, journal.size)
    ]
    return [fields for fields in leaves if fields["type"] in types]


def replayed(journal: Journal) -> Replay:
    """The real entries and items, replayed by the auditor's own code."""
    replay = Replay()
    for index, leaf, items in journal.entries(0, journal.size):
        fields = json.loads(leaf)
        parsed = [json.loads(item) for item in items]
        replay.visit(index, fields, parsed if "items" in fields else None)
    replay.finish()
    return replay


def findings(replay: Replay) -> list[str]:
    """The kinds of what an audit finds wrong, in the order of the log."""
    kinds = [finding.kind.name for finding in replay.sorted_findings()]
    # Members are put in by the tests, not by entries.
    return [kind for kind in kinds if kind != "MEMBER_UNKNOWN"]
