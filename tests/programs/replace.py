"""Corrects or withdraws an account on stores of the tests, and is killed before one of its writes.

Usage: python -m tests.programs.replace CONTROL_URL SIGNALS_URL WHAT SUBJECT ENTRY WRITES
WHAT is "correct" (to balance 6) or "withdraw"; the row is item 0 of ENTRY, of beta's account of
16 zero bytes. It ends with code 0 if it comes to its end in fewer than WRITES writes and commits.
"""

import sys

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.withdrawals import RawWithdrawal
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.catalogue.rows import RowRef
from concordat_store.database import Database
from tests.furnishing import Furnisher
from tests.programs.kills import kill_before
from tests.services import peer, token
from tests.stores import ManualClock, ledger_key_of_tests


def main(
    control_url: str, signals_url: str, what: str, subject: int, entry: int, writes: int
) -> None:
    clock = ManualClock()
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), clock)
    signals = SignalStore(Database.open(signals_url), clock)
    furnisher = Furnisher(journal, signals, clock, peer("beta"))
    row = RowRef(entry, 0)
    kill_before(writes)
    if what == "correct":
        furnisher.contribute([furnisher.account(subject, bytes(16), balance=6, replaces=row)])
    else:
        furnisher.withdraw([RawWithdrawal(token(subject), row, True, bytes(16))])


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:7]))  # type: ignore[arg-type]
