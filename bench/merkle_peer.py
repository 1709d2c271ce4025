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
    made = entries(int(sys.argv[1]))
    seconds = []
    for _ in range(int(sys.argv[2])):
        tree = InmemoryTree(algorithm="sha256")
        started = time.process_time()
        for entry in made:
            tree.append_entry(entry)
        root = tree.get_state()
        seconds.append(time.process_time() - started)
    print(json.dumps({"seconds": min(seconds), "root": root.hex()}))


if __name__ == "__main__":
    main()
