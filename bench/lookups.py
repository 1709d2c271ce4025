"""A gateway's lookups on SQLite, for figures that compare with one."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Journal, Transaction
from concordat_gateway.rules import lookups
from concordat_gateway.rules.scopes import Purpose
from concordat_gateway.rules.standing import MemberState
from concordat_gateway.rules.subjects import Named
from concordat_gateway.store.control_tables import member
from concordat_gateway.store.migrate import CONTROL, SIGNALS
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.log.subjects import asked_commitment, asking_key
from concordat_privacy.metering import Quota
from concordat_rpc.peer import Peer, Role, spiffe_id
from concordat_store.clock import system_clock
from concordat_store.database import Database
from concordat_store.migration import upgrade

TRUST_DOMAIN = "bench.example"
MEMBER = "lender-1"
_QUOTA = Quota(daily=10**9, monthly=10**9, per_second=1e6, burst=10**6)
SIGNAL = "lenders_open"
"""The one signal that is asked for."""


def _asked(entry_type: str, actor: str, subject: SubjectKey, request: bytes, item: int) -> str:
    return asked_commitment(asking_key(bytes(32), subject), entry_type, actor, request, item)


@dataclass(frozen=True)
class Lookups:
    """The rules of lookups, asked by one member."""

    journal: Journal
    signals: SignalStore

    def look_up(
        self, subjects: Sequence[SubjectKey], signals: Sequence[str] = (SIGNAL,)
    ) -> Committed[lookups.Lookup]:
        """Decide on subjects and record it durably; no names are all signals."""
        question = lookups.Question.of(Purpose.UNDERWRITING, signals, os.urandom(16))
        caller = Peer(Role.MEMBER, MEMBER, spiffe_id(TRUST_DOMAIN, Role.MEMBER, MEMBER))
        named = Named(1, subjects, [None] * len(subjects), [()] * len(subjects), _asked)
        committed = lookups.look_up(
            self.journal, self.signals, caller, named, question, _QUOTA, 60.0
        )
        # Signals are computed as they are taken, as a reply is made of them.
        taken = lookups.Lookup(list(committed.value.results), committed.value.entry)
        return Committed(taken, committed.checkpoint)


@contextmanager
def on_sqlite() -> Iterator[Lookups]:
    """Fresh stores without consents, in a folder that goes at the end: every subject is refused."""
    with tempfile.TemporaryDirectory() as folder:
        control = Database.open(f"sqlite:///{Path(folder)}/control.db")
        signals = Database.open(f"sqlite:///{Path(folder)}/signals.db")
        upgrade(CONTROL, control)
        upgrade(SIGNALS, signals)
        journal = Journal(control, SigningKey.generate(f"{TRUST_DOMAIN}/ledger"), system_clock)
        try:
            journal.write(_join)
            yield Lookups(journal, SignalStore(signals, system_clock))
        finally:
            journal.close()
            control.close()
            signals.close()


def _join(transaction: Transaction) -> None:
    transaction.connection.execute(
        sa.insert(member),
        {
            "member_id": MEMBER,
            "member_no": 1,
            "display_name": "Lender 1",
            "state": MemberState.ACTIVE,
            "invited_at": transaction.now,
            "joined_at": transaction.now,
            "certificate_serial": "1",
        },
    )
