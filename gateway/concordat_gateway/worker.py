"""A serving process. The supervisor starts several; they share one port."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

import concordat_rpc  # noqa: F401  first: it shuts TLS 1.2 out before gRPC is imported
from concordat_gateway.config import load_config
from concordat_gateway.server import built_server
from concordat_rpc import logs
from concordat_rpc.address import Address
from concordat_rpc.errors import Refusal
from concordat_rpc.process import serve_until_stopped
from concordat_rpc.server import PortTaken
from concordat_rpc.settings import SettingsError
from concordat_store.engines import StoreError


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="concordat_gateway.worker")
    parser.add_argument("--config", type=Path, required=True, help="gateway.toml")
    parser.add_argument("--port", type=int, required=True, help="the gateway's port")
    parser.add_argument(
        "--keyholder",
        action="append",
        required=True,
        help="host:port of a key-holder; one for each that is configured, in their order",
    )
    options = parser.parse_args(arguments)
    logs.configure("worker")
    try:
        config = load_config(options.config)
        keyholders = [Address.parse(text) for text in options.keyholder]
        with built_server(config, port=options.port, keyholders=keyholders) as server:
            collect_seldom()
            serve_until_stopped(server, with_parent=True)
    except (SettingsError, StoreError, PortTaken, Refusal) as error:
        print(f"concordat: {error}", file=sys.stderr)  # noqa: T201  for the operator
        return 1
    return 0


def collect_seldom() -> None:
    """Let the collector of cycles run a hundred times less often than by default.

    A batch makes hundreds of thousands of small objects at once, none of them in a cycle: looking
    at them again and again would take a third of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(70_000, 20, 20)


if __name__ == "__main__":
    sys.exit(main())
