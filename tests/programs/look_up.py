"""Looks subjects up as a gateway process of its own, and stops between the permit and the answer.

Usage: python -m tests.programs.look_up CONTROL_URL SIGNALS_URL MEMBER SUBJECT...
Prints "read" once the signals are read, waits for a line, and prints for each subject whether
anything about it was answered, and the number of lenders that was told, as JSON.
"""

import json
import sys
from collections.abc import Sequence

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.lookups import Question, look_up
from concordat_gateway.rules.scopes import Purpose
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.relations import History
from concordat_store.database import Database
from tests.services import AMPLE, EPOCH, peer, subjects_of, token
from tests.stores import ManualClock, ledger_key_of_tests


class _Stopping(SignalStore):
    def histories(self, subjects: Sequence[SubjectKey], epoch: int) -> dict[SubjectKey, History]:
        found = super().histories(subjects, epoch)
        print("read", flush=True)
        sys.stdin.readline()
        return found


def main(control_url: str, signals_url: str, member: str, *subjects: str) -> None:
    clock = ManualClock()
    journal = Journal(Database.open(control_url), ledger_key_of_tests(), clock)
    signals = _Stopping(Database.open(signals_url), clock)
    tokens = [token(int(subject)) for subject in subjects]
    named = subjects_of(journal, clock).named(member, tokens, EPOCH, EPOCH, 60)
    question = Question.of(Purpose.UNDERWRITING, ["lenders_open"], bytes(16))
    committed = look_up(journal, signals, peer(member), named, question, AMPLE, 60)
    results = committed.value.results
    print(json.dumps([[r.permitted, [signal.band for signal in r.signals]] for r in results]))
    journal.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
