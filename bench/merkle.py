"""The consent ledger: the same 100,000 entries through pymerkle, a Merkle tree in pure Python.

Both build an RFC 6962 tree in memory, one entry after another, every node kept, and must find the
same root. pymerkle is GPL-3.0 and so runs in an environment of its own (`make bench` makes it; see
the Makefile): where that is missing the figure is left out.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.harness import Figure
from concordat_privacy.log.merkle import Frontier, leaf_hash

VERSION = "7.0.0"
PEER = Path("build/pymerkle-venv/bin/python")
# The Makefile puts it there once the package is in.
READY = PEER.parents[1] / f".pymerkle-{VERSION}"
ENTRIES = 100_000
ROUNDS = 3
TARGET = 4.0


def run() -> list[Figure]:
    """Measure: about 20 seconds."""
    if not READY.exists():
        print(
            f"ledger.vs_pymerkle: left out, pymerkle {VERSION} is not in build/pymerkle-venv "
            "(make bench puts it there)",
            file=sys.stderr,
        )
        return []
    seconds, root = _ours()
    command = [str(PEER), str(Path(__file__).with_name("merkle_peer.py"))]
    ran = subprocess.run(
        [*command, str(ENTRIES), str(ROUNDS)], check=True, capture_output=True, text=True
    )
    theirs = json.loads(ran.stdout)
    if theirs["root"] != root:
        raise RuntimeError("the two trees have different roots")
    ratio = theirs["seconds"] / seconds
    return [
        Figure(
            name="ledger.vs_pymerkle",
            value=ENTRIES / seconds,
            unit="entries/s",
            reference=ENTRIES / theirs["seconds"],
            ratio=ratio,
            target=f">= {TARGET}",
            holds=ratio >= TARGET,
            note=(
                f"{ENTRIES:,} entries of 400 bytes, appended one by one to a tree in memory that "
                "keeps every node, and its root; processor time, the best of "
                f"{ROUNDS} runs each. Reference: pymerkle {VERSION}, InmemoryTree"
            ),
        )
    ]


def entries(count: int) -> list[bytes]:
    """As bench.merkle_peer.entries."""
    return [b"%0400d" % number for number in range(count)]


def _ours() -> tuple[float, str]:
    made = entries(ENTRIES)
    seconds = []
    for _ in range(ROUNDS):
        frontier = Frontier()
        kept: dict[tuple[int, int], bytes] = {}
        started = time.process_time()
        for entry in made:
            frontier, nodes = frontier.extend((leaf_hash(entry),))
            for node in nodes:
                kept[node.level, node.position] = node.hash
        root = frontier.root
        seconds.append(time.process_time() - started)
    return min(seconds), root.hex()
