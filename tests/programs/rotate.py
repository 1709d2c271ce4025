"""Rotates a pair of stores from epoch 1 to 2 and is killed before one of its writes.

Usage: python -m tests.programs.rotate CONTROL_URL SIGNALS_URL WRITES
It ends with code 0 if it comes to its end in fewer than WRITES writes and commits.
"""

import os
import signal
import sys

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.rotation import OWNER_BYTES, Means, rotate
from concordat_gateway.store.signal_store import SignalStore
from concordat_store.clock import system_clock
from concordat_store.database import Database
from concordat_store.engines import WRITES
from tests.stores import ledger_key_of_tests
from tests.tokenkeys import TokenKeys, peppers


def main(control_url: str, signals_url: str, writes: int) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), system_clock)
    signals = SignalStore(Database.open(signals_url), system_clock)
    left = writes

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "BEGIN")):
            count()

    sa.event.listen(sa.Engine, "before_cursor_execute", note)

    def note_commit(connection: sa.Connection) -> None:
        if connection.get_execution_options().get(WRITES):
            count()

    sa.event.listen(sa.Engine, "commit", note_commit)
    rotate(
        Means(
            journal=journal,
            signals=signals,
            key_log=keys.log(),
            pepper=peppers(1, 2).__getitem__,
            update=keys.update,
            actor="spiffe://concordat.test/gateway/main",
            report=lambda _progress: None,
            owner=os.urandom(OWNER_BYTES),
        ),
        None,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
