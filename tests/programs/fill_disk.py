"""Runs a journal out of disk space and gives the space back; prints what happened as JSON.

The disk is full for this process alone: its files may not grow beyond a limit (RLIMIT_FSIZE).

Usage: python -m tests.programs.fill_disk CONTROL_PATH
"""

import json
import resource
import signal
import sys
from pathlib import Path

from concordat_gateway.ledger.journal import Entry, Journal, Transaction
from concordat_rpc.errors import Refusal
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.stores import ledger_key_of_tests


def main(path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(Database.open(f"sqlite:///{path}"), ledger_key_of_tests(), system_clock)
    acknowledged = [_append(journal).index for _ in range(5)]

    limit = Path(f"{path}-wal").stat().st_size + 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    refusals: list[Refusal] = []
    while len(refusals) < 3:
        try:
            acknowledged.append(_append(journal).index)
        except Refusal as refusal:
            refusals.append(refusal)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    acknowledged.append(_append(journal).index)
    size = journal.size
    journal.close()
    reasons = [[refusal.kind.name, refusal.reason] for refusal in refusals]
    print(json.dumps({"acknowledged": acknowledged, "refusals": reasons, "size": size}))


def _append(journal: Journal) -> Entry:
    def change(transaction: Transaction) -> Entry:
        return transaction.append("test.appended", "test", {"ballast": "x" * 10_000})

    return journal.write(change).value


if __name__ == "__main__":
    main(sys.argv[1])
