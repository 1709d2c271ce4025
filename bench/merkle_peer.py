"""The work of bench/merkle.py with pymerkle: run by the Python of its own environment.

pymerkle is GPL-3.0, so nothing of ours depends on it or imports it, this file apart, which is
never shipped. Prints one JSON object.
"""

import json
import sys
import time

from pymerkle import InmemoryTree


def entries(count: int) -> list[bytes]:
    """As bench.merkle.entries."""
    return [b"%0400d" % number for number in range(count)]


def main() -> None:
    count, group = int(sys.argv[1]), int(sys.argv[2])
    made = entries(count)
    tree = InmemoryTree(algorithm="sha256")
    started = time.process_time()
    for at in range(0, count, group):
        tree.append_entries(made[at : at + group])
    root = tree.get_state()
    appended = time.process_time()
    for index in range(1, count + 1):
        tree.prove_inclusion(index, count)
    proven = time.process_time()
    print(
        json.dumps({"append": appended - started, "prove": proven - appended, "root": root.hex()})
    )


if __name__ == "__main__":
    main()
