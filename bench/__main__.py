"""`python -m bench [--only GROUP]`: measures, prints a table, writes build/bench.json."""

import argparse
import importlib
import os
import sys
from pathlib import Path

from bench import harness

GROUPS = {
    "tokens": ("tokens", "token_costs", "psi"),
    "refusals": ("refusals",),
    "ledger": ("ledger", "journal", "merkle"),
    "signals": ("signals",),
    "streams": ("streams",),
}
"""The modules that measure each group."""
OUTPUT = Path("build/bench.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, help="measure one group")
    parser.add_argument(
        "--rows", type=int, help=f"size of the pool of signals, else {harness.ROWS:,}"
    )
    parser.add_argument(
        "--gigabytes", type=float, help=f"length of the stream, else {harness.GIGABYTES:g}"
    )
    arguments = parser.parse_args()
    only = arguments.only
    if arguments.rows is not None:
        os.environ[harness.ROWS_VARIABLE] = str(arguments.rows)
    if arguments.gigabytes is not None:
        os.environ[harness.GIGABYTES_VARIABLE] = str(arguments.gigabytes)
    figures: list[harness.Figure] = []
    for group in [only] if only else GROUPS:
        for module in GROUPS[group]:
            print(f"measuring {group} ({module}) ...", file=sys.stderr, flush=True)
            figures += importlib.import_module(f"bench.{module}").run()
    harness.write(figures, OUTPUT)
    print(harness.table(figures))
    print(f"\nwritten to {OUTPUT}")


if __name__ == "__main__":
    main()
