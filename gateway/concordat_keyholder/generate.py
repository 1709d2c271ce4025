"""``python -m concordat_keyholder.generate --keys token.keys``: make the first token key.

Prints the public key in hex; the secret one is written to the file and nowhere else.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from concordat_keyholder.keys import HeldKeys
from concordat_privacy.oprf import OprfError, generate_key


def main(arguments: list[str] | None = None) -> int:
    """Make a key; returns the exit code."""
    parser = argparse.ArgumentParser(prog="concordat_keyholder.generate")
    parser.add_argument("--keys", type=Path, required=True, help="new file for the secret key")
    parser.add_argument("--epoch", type=int, default=1, help="epoch of the key")
    options = parser.parse_args(arguments)
    try:
        pair = generate_key()
        HeldKeys.create(options.keys, options.epoch, pair)
    except (OprfError, OSError) as error:
        print(f"concordat key-holder: {error}", file=sys.stderr)  # noqa: T201  for the operator
        return 1
    print(bytes(pair.public).hex())  # noqa: T201  the command's result
    return 0


if __name__ == "__main__":
    sys.exit(main())
