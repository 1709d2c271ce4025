"""Witnesses for tests: keys, processes, and what they would say of a ledger."""

import http.client
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from concordat.v1 import ledger_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, parse_checkpoint, sign
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
from concordat_privacy.log.merkle import Tree
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.witnessing import AddCheckpoint
from concordat_store.database import Database
from tests.gateways import Gateway, free_port
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


class Branching:
    """A log whose holder keeps two histories, the same up to entry `fork`."""

    def __init__(self, fork: int, size: int, name: str = "forked.example/ledger") -> None:
        self.key = SigningKey(name, bytes([5] * 32))
        self.size = size
        shared = [b"shared %d" % number for number in range(fork)]
        self.branches = tuple(
            [*shared, *(b"branch %d entry %d" % (branch, n) for n in range(fork, size))]
            for branch in (0, 1)
        )

    def checkpoint(self, branch: int, size: int) -> Checkpoint:
        """The branch's first `size` entries."""
        return Checkpoint(self.key.name, size, Tree.of(self.branches[branch][:size]).root)

    def request(self, branch: int, old: int, size: int) -> AddCheckpoint:
        """Asks to cosign a tree of the branch, proven as well as that branch can."""
        tree = Tree.of(self.branches[branch][:size])
        proof = tree.consistency_proof(old) if 0 < old <= size else []
        note = sign(self.checkpoint(branch, size), self.key)
        return AddCheckpoint(old, tuple(proof), note)

    def branch_of(self, size: int, root: bytes) -> set[int]:
        """The branches that have this tree."""
        return {at for at in (0, 1) if self.checkpoint(at, size).root == root}


def run_witness(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `concordat witness` and wait for it."""
    command = [sys.executable, "-m", "concordat_witness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


class ServingWitness:
    """A `concordat witness serve` process."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "concordat_witness", "serve", str(folder)]
        self._process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        self.port = int(ready.rpartition(":")[2] or 0)
        assert self.port, ready

    @property
    def url(self) -> str:
        """Its submission prefix."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it with no chance to react."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it; the exit code."""
        self._process.terminate()
        return self._process.wait(30)


def post(port: int, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
    """Post a request: status, content type and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()


def with_witnesses(
    gateway: Gateway, *witnesses: tuple[str, str], quorum: int = 1, grace_seconds: int = 3_600
) -> None:
    """Configure witnesses, given as (vkey, URL or ""); works on the gateway's next start."""
    lines = [f"[witnesses]\nquorum = {quorum}\ngrace_seconds = {grace_seconds}\n"]
    for vkey, url in witnesses:
        lines.append(f'[[witnesses.witness]]\nvkey = "{vkey}"\n')
        lines.append(f'url = "{url}"\n' if url else "")
    text = gateway.config.read_text().partition("[witnesses]")[0]
    gateway.config.write_text(text + "".join(lines))


@contextmanager
def forked(gateway: Gateway, folder: Path) -> Iterator[Gateway]:
    """A copy of a stopped gateway: its keys and its past, and from now on a history of its own."""
    shutil.copytree(gateway.folder, folder)
    copy = Gateway.__new__(Gateway)
    copy.folder, copy.port, copy._process = folder, free_port(), None
    for file in (copy.config, *folder.rglob("profile.toml")):
        text = file.read_text().replace(gateway.address, copy.address)
        file.write_text(text.replace(str(gateway.folder), str(folder)))
    try:
        yield copy
    finally:
        copy.close()
