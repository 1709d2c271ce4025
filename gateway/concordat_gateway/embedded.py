"""The configured key-holders: those on hosts of their own, and embedded ones, started here."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from concordat_gateway.children import Child, stop_all
from concordat_gateway.config import GatewayConfig, Keyholder
from concordat_rpc.address import Address

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


class RunningKeyholders:
    """Where the key-holders are, in the configuration's order."""

    def __init__(self, addresses: Sequence[Address], children: Sequence[Child]) -> None:
        self.addresses = addresses
        self._children = children

    def replace_if_dead(self) -> None:
        """Start successors of embedded ones that ended."""
        for child in self._children:
            child.replace_if_dead()


@contextmanager
def running_keyholders(
    config: GatewayConfig, stopping: threading.Event, *, beside_a_gateway: bool = False
) -> Iterator[RunningKeyholders]:
    """All key-holders for the length of the block.

    Args:
        beside_a_gateway: a serving gateway may run the same embedded key-holders; so these take
            any free ports.

    Raises ChildFailed.
    """
    children: dict[Keyholder, Child] = {}
    options = ["--port", "0"] if beside_a_gateway else []
    try:
        for one in config.keyholders:
            if one.config is not None:
                name = f"keyholder {one.holder}" if one.holder else "keyholder"
                arguments = ["--config", str(one.config), "--with-parent", *options]
                children[one] = Child(name, "concordat_keyholder", arguments, {})
        for child in children.values():
            child.await_ready(_START_SECONDS, stopping)
            # Its port is free as it found it; a successor must be found at the same one.
            child.keep_port("--port")
        addresses = [
            Address("127.0.0.1", children[one].port) if one.address is None else one.address
            for one in config.keyholders
        ]
        yield RunningKeyholders(addresses, list(children.values()))
    finally:
        stop_all(list(children.values()), _STOP_SECONDS)
