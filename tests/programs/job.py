"""Runs a job of the gateway's on stores of the tests, and is killed before one of its writes.

Usage: python -m tests.programs.job CONTROL_URL SIGNALS_URL retention|notices NOW WRITES
NOW is in microseconds. It ends with code 0 if it comes to its end in fewer than WRITES writes and
commits.
"""

import sys

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.notices import mark_overdue
from concordat_gateway.rules.retention import enforce
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.jurisdictions import policies
from concordat_store.database import Database
from tests.programs.kills import kill_before
from tests.stores import ledger_key_of_tests

GATEWAY = "spiffe://concordat.test/gateway/gateway"


def main(control_url: str, signals_url: str, job: str, now: int, writes: int) -> None:
    def clock() -> int:
        return now

    journal = Journal(Database.open(control_url), ledger_key_of_tests(), clock)
    signals = SignalStore(Database.open(signals_url), clock)
    kill_before(writes)
    if job == "retention":
        enforce(journal, signals, policies()["CN"], GATEWAY, now)
    else:
        mark_overdue(journal, GATEWAY, now)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
