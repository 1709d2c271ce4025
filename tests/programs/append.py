"""Appends entries from several threads and prints each acknowledged one.

A line an entry: `index leaf-hex base64-of-the-checkpoint`. A call that the store cannot serve now
is repeated, as a member would.

Usage: python -m tests.programs.append CONTROL_URL NAME THREADS ENTRIES_A_THREAD
"""

import base64
import sys
import threading
import time
from collections.abc import Callable

from concordat_gateway.ledger.journal import Committed, Journal, Transaction
from concordat_rpc.errors import Kind, Refusal
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.stores import ledger_key_of_tests

_OUTPUT = threading.Lock()


def main(control_url: str, name: str, threads: int, entries: int) -> None:
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), system_clock)
    workers = [
        threading.Thread(target=_append, args=(journal, f"{name}-{number}", entries))
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    journal.close()


def _append(journal: Journal, name: str, entries: int) -> None:
    for number in range(entries):

        def change(transaction: Transaction, number: int = number) -> tuple[int, bytes]:
            entry = transaction.append("test.appended", name, {"number": number})
            return entry.index, entry.leaf

        committed = _write(journal, change)
        index, leaf = committed.value
        # Only now: what is printed has been acknowledged.
        with _OUTPUT:
            print(index, leaf.hex(), base64.b64encode(committed.checkpoint.encode()).decode())
            sys.stdout.flush()


def _write(
    journal: Journal, change: Callable[[Transaction], tuple[int, bytes]]
) -> Committed[tuple[int, bytes]]:
    while True:
        try:
            return journal.write(change)
        except Refusal as refusal:
            if refusal.kind is not Kind.UNAVAILABLE:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
