"""The consent ledger: the same 100,000 entries through pymerkle, a Merkle tree in pure Python.

Both build an RFC 6962 tree in memory in groups of 256, as the journal does, and then prove every
entry, as a member does with its receipt; they must find the same root. pymerkle is GPL-3.0 and so
runs in an environment of its own (`make bench` makes it; see the Makefile): where that is missing
the figure is left out.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.harness import Figure
from concordat_privacy.log.merkle import Frontier, inclusion_proof, leaf_hash

VERSION = "7.0.0"
PEER = Path("build/pymerkle-venv/bin/python")
# The Makefile puts it there once the package is in.
READY = PEER.parents[1] / f".pymerkle-{VERSION}"
ENTRIES = 100_000
GROUP = 256
ROUNDS = 2
TARGET = 4.0


def run() -> list[Figure]:
    """Measure: about 25 seconds."""
    if not READY.exists():
        print(
            f"ledger.vs_pymerkle: left out, pymerkle {VERSION} is not in build/pymerkle-venv "
            "(make bench puts it there)",
            file=sys.stderr,
        )
        return []
    rounds = [(_ours(), _theirs()) for _ in range(ROUNDS)]
    if len({result["root"] for pair in rounds for result in pair}) != 1:
        raise RuntimeError("the trees have different roots")
    append, prove = (
        [min(float(pair[side][part]) for pair in rounds) for side in (0, 1)]
        for part in ("append", "prove")
    )
    ours, theirs = append[0] + prove[0], append[1] + prove[1]
    return [
        Figure(
            name="ledger.vs_pymerkle",
            value=ENTRIES / ours,
            unit="entries/s",
            reference=ENTRIES / theirs,
            ratio=theirs / ours,
            target=f">= {TARGET}",
            holds=theirs / ours >= TARGET,
            note=(
                f"{ENTRIES:,} entries of 400 bytes: a tree in memory, built {GROUP} entries at a "
                "time with every node kept, and an inclusion proof of each; processor time, the "
                f"better of {ROUNDS} runs each. Reference: pymerkle {VERSION}, InmemoryTree. "
                f"Building alone {append[1] / append[0]:.1f} times as fast, proving alone "
                f"{prove[1] / prove[0]:.1f}"
            ),
        )
    ]


def entries(count: int) -> list[bytes]:
    """As bench.merkle_peer.entries."""
    return [b"%0400d" % number for number in range(count)]


def _ours() -> dict[str, float | str]:
    made = entries(ENTRIES)
    frontier = Frontier()
    kept: dict[tuple[int, int], bytes] = {}
    started = time.process_time()
    for at in range(0, ENTRIES, GROUP):
        frontier, nodes = frontier.extend(map(leaf_hash, made[at : at + GROUP]))
        kept.update(((level, position), digest) for level, position, digest in nodes)
    root = frontier.root
    appended = time.process_time()
    for index in range(ENTRIES):
        inclusion_proof(index, ENTRIES, lambda level, position: kept[level, position])
    proven = time.process_time()
    return {"append": appended - started, "prove": proven - appended, "root": root.hex()}


def _theirs() -> dict[str, float | str]:
    command = [str(PEER), str(Path(__file__).with_name("merkle_peer.py"))]
    ran = subprocess.run(
        [*command, str(ENTRIES), str(GROUP)], check=True, capture_output=True, text=True
    )
    result: dict[str, float | str] = json.loads(ran.stdout)
    return result
