"""Executes an erasure on stores of the tests, and is killed before one of its writes.

Usage: python -m tests.programs.erase CONTROL_URL SIGNALS_URL ERASURE_ID_HEX WRITES
It ends with code 0 if it comes to its end in fewer than WRITES writes and commits.
"""

import sys

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.erasures import execute
from concordat_gateway.store.signal_store import SignalStore
from concordat_rpc.peer import Peer, Role, spiffe_id
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.programs.kills import kill_before
from tests.services import TRUST_DOMAIN
from tests.stores import ledger_key_of_tests, subject_keys_beside


def main(control_url: str, signals_url: str, erasure_id: str, writes: int) -> None:
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), system_clock)
    signals = SignalStore(Database.open(signals_url), system_clock)
    keys = subject_keys_beside(control_url, system_clock)
    operator = Peer(Role.OPERATOR, "main", spiffe_id(TRUST_DOMAIN, Role.OPERATOR, "main"))
    kill_before(writes)
    execute(journal, signals, keys, operator, bytes.fromhex(erasure_id), "killed", 60)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
