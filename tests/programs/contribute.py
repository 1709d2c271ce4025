"""Stages a batch, accepts it in the control store, and dies as if its plug was pulled.

Usage: python -m tests.programs.contribute CONTROL_URL SIGNALS_URL BATCH_HEX ROWS_JSON WHEN
WHEN is "after-stage", "after-accept" or "after-publish"; ROWS_JSON is [[subject, content], ...] in
hexadecimal.
"""

import json
import os
import signal
import sys

from concordat_gateway.ledger.journal import Entry, Journal, Transaction
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.stores import ledger_key_of_tests


def main(control_url: str, signals_url: str, batch: str, rows_json: str, when: str) -> None:
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), system_clock)
    signals = SignalStore(Database.open(signals_url), system_clock)
    batch_id = bytes.fromhex(batch)
    rows = [
        StagedRow(number, SubjectKey(bytes.fromhex(subject)), bytes.fromhex(content))
        for number, (subject, content) in enumerate(json.loads(rows_json))
    ]

    def accept(transaction: Transaction) -> Entry:
        return transaction.append("contribution.batch", "test", {"batch": batch})

    signals.stage(batch_id, rows)
    if when == "after-stage":
        os.kill(os.getpid(), signal.SIGKILL)
    journal.write(accept)
    if when == "after-accept":
        os.kill(os.getpid(), signal.SIGKILL)
    signals.publish(batch_id, 1, ())
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:6])
