"""A member's contributions, corrections and withdrawals, on the gateway's rules: no wire."""

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.contributions import Accepted, contribute
from concordat_gateway.rules.intake import (
    AccountNumbers,
    ApplicationNumbers,
    Header,
    Intake,
    RawRow,
)
from concordat_gateway.rules.withdrawals import (
    RawWithdrawal,
    Taken,
    Withdrawals,
    withdraw_rows,
)
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey, subject_key
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_rpc.peer import Peer
from tests.services import EPOCH, PEPPER, months_since_1970, token
from tests.stores import ManualClock

CALL_SECONDS = 30


class Answer(NamedTuple):
    """What became of a call."""

    entry: int
    refused: list[tuple[int, str, str]]
    """Item, field and reason of each refused row."""


class Furnisher:
    """One member, on open stores."""

    def __init__(
        self, journal: Journal, signals: SignalStore, clock: ManualClock, member: Peer
    ) -> None:
        self.journal, self.signals, self.clock, self.member = journal, signals, clock, member

    def account(
        self,
        subject: int,
        ref: bytes,
        months_ago: int = 0,
        *,
        balance: int = 3,
        days: int = 1,
        profile: bytes = b"",
        replaces: RowRef | None = None,
    ) -> RawRow:
        """A good row about an open account."""
        month = months_since_1970(self.clock)
        numbers = AccountNumbers(
            account_ref=ref,
            as_of_month=month - months_ago,
            status=1,
            product=3,
            opened_quarter=month // 3 - 20,
            limit=5,
            balance=balance,
            past_due=0,
            days_past_due=days,
            utilisation=4,
            spend_volatility=0,
            payment_profile=profile,
        )
        return RawRow(token(subject), numbers, replaces)

    def application(
        self, subject: int, ref: bytes, days_ago: int = 3, replaces: RowRef | None = None
    ) -> RawRow:
        """A good row about an application."""
        numbers = ApplicationNumbers(ref, day_of(self.clock()) - days_ago, 3)
        return RawRow(token(subject), numbers, replaces)

    def contribute(self, rows: Sequence[RawRow], request_id: bytes | None = None) -> Answer:
        """Contribute one batch; a repeat is answered as the first time."""
        header = Header(request_id or os.urandom(16), EPOCH, CATALOGUE_VERSION)
        intake = Intake(header, day_of(self.clock()), EPOCH, _names)
        intake.add(rows)
        committed = contribute(
            self.journal, self.signals, self.member, intake, _reply, CALL_SECONDS
        )
        return _answer(committed.value)

    def withdraw(self, rows: Sequence[RawWithdrawal], request_id: bytes | None = None) -> Answer:
        """Withdraw rows; a repeat is answered as the first time."""
        checked = Withdrawals(request_id or os.urandom(16), EPOCH, rows, EPOCH, _names)
        committed = withdraw_rows(
            self.journal, self.signals, self.member, checked, _reply, CALL_SECONDS
        )
        return _answer(committed.value)


def _reply(done: Accepted | Taken) -> bytes:
    refused = [(one.item, one.field, one.reason) for one in done.refused]
    return json.dumps([done.entry.index, refused]).encode()


def _answer(reply: bytes) -> Answer:
    entry, refused = json.loads(reply)
    return Answer(entry, [(item, field, reason) for item, field, reason in refused])


def _names(tokens: Sequence[bytes]) -> list[SubjectKey]:
    return [subject_key(PEPPER, one) for one in tokens]
