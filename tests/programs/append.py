"""Appends entries from several threads and prints each acknowledged one: `index leaf-hex`.

Usage: python -m tests.programs.append CONTROL_URL NAME THREADS ENTRIES_A_THREAD
"""

import sys
import threading

from concordat_gateway.ledger.journal import Journal, Transaction
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

        index, leaf = journal.write(change).value
        # Only now: what is printed has been acknowledged.
        with _OUTPUT:
            print(index, leaf.hex(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
