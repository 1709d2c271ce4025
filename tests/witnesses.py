"""Witnesses for tests: keys, their folders, and what they would say of a ledger."""

from collections.abc import Iterator
from contextlib import contextmanager

from concordat.v1 import ledger_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_privacy.log.checkpoint import parse_checkpoint, parse_note
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
from concordat_store.database import Database
from tests.services import CALL_SECONDS, Caller
from tests.stores import ManualClock, StoreUrls, ledger_key_of_tests

WITNESSES = tuple(
    WitnessSigningKey(f"witness.example/w{number}", bytes([number] * 32)) for number in (1, 2, 3)
)
ONE, TWO, THREE = WITNESSES
STRANGER = WitnessSigningKey("witness.example/stranger", bytes([9] * 32))
GRACE_SECONDS = 60
SECONDS = 1_679_315_147
"""When the tests' witnesses cosign."""


def quorum_of(needed: int) -> Quorum:
    """So many of the three."""
    return Quorum(tuple(key.verifier for key in WITNESSES), needed)


@contextmanager
def witnessed_journal(
    urls: StoreUrls, clock: ManualClock, grace_seconds: float = GRACE_SECONDS
) -> Iterator[Journal]:
    """A journal that waits so long for its witnesses."""
    database = Database.open(urls.control_url)
    try:
        grace = round(grace_seconds * 1_000_000)
        journal = Journal(database, ledger_key_of_tests(), clock, grace)
        try:
            yield journal
        finally:
            journal.close()
    finally:
        database.close()


def size_of(note: str) -> int:
    """The size of a checkpoint."""
    return parse_checkpoint(parse_note(note).text).size


def to_cosign(caller: Caller) -> str:
    """The checkpoint that the gateway wants cosigned."""
    request = ledger_pb2.GetCheckpointRequest(to_cosign=True)
    return caller.ledger.GetCheckpoint(request, timeout=CALL_SECONDS).checkpoint


def bring(
    caller: Caller, key: WitnessSigningKey, note: str, seconds: int = SECONDS
) -> ledger_pb2.AddCosignatureResponse:
    """Cosign a checkpoint, whatever it says, and bring the cosignature."""
    line = key.cosign(parse_note(note).text, seconds)
    request = ledger_pb2.AddCosignatureRequest(tree_size=size_of(note), cosignature=line)
    return caller.ledger.AddCosignature(request, timeout=CALL_SECONDS)


def cosigned(caller: Caller) -> str:
    """The newest checkpoint that enough witnesses cosigned."""
    request = ledger_pb2.GetCosignedCheckpointRequest()
    return caller.ledger.GetCosignedCheckpoint(request, timeout=CALL_SECONDS).checkpoint
