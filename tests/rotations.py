"""What a rotation works with, in tests: stores, token keys in memory, and the peppers of tests."""

import os
from collections.abc import Callable
from typing import Final

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.rotation import OWNER_BYTES, Means, Progress
from concordat_gateway.store.signal_store import SignalStore
from concordat_store.clock import system_clock
from tests.stores import subject_keys_of
from tests.tokenkeys import TokenKeys, peppers

ACTOR: Final = "spiffe://concordat.test/gateway/main"


def means_of(
    journal: Journal,
    signals: SignalStore,
    keys: TokenKeys,
    report: Callable[[Progress], None] = lambda _progress: None,
) -> Means:
    """The means of one process, an owner of its own; there are peppers of epochs 1 to 3."""
    return Means(
        journal=journal,
        signals=signals,
        keys=subject_keys_of(journal, system_clock),
        key_log=keys.log(),
        pepper=peppers(1, 2, 3).__getitem__,
        update=keys.update,
        actor=ACTOR,
        report=report,
        owner=os.urandom(OWNER_BYTES),
    )
