"""``python -m concordat_keyholder --config keyholder.toml``: serve until told to stop."""

from __future__ import annotations

import sys

try:
    from concordat_keyholder.server import main
except ModuleNotFoundError as error:
    sys.exit(
        f"concordat key-holder: {error.name} is missing: "
        "serving needs the extra `server` (from a clone: pip install '.[server]')"
    )

if __name__ == "__main__":
    sys.exit(main())
