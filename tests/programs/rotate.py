"""Rotates a pair of stores from epoch 1 to 2 and is killed before one of its writes.

Usage: python -m tests.programs.rotate CONTROL_URL SIGNALS_URL WRITES
It ends with code 0 if it comes to its end in fewer than WRITES writes and commits.
"""

import sys

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store.signal_store import SignalStore
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.programs.kills import kill_before
from tests.rotations import means_of
from tests.stores import ledger_key_of_tests
from tests.tokenkeys import TokenKeys


def main(control_url: str, signals_url: str, writes: int) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), system_clock)
    signals = SignalStore(Database.open(signals_url), system_clock)
    kill_before(writes)
    rotate(
        means_of(journal, signals, keys),
        None,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
