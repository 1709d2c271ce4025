"""Fixtures: a peer that misbehaves on demand, and clients of both kinds that talk to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from concordat import AsyncClient, Client, Environment, Options, Profile
from tests.peer import Certificates, Peer, serving, write_profile
from tests.sdk_clients import blocking_face


class Opener(Protocol):
    """Opens a client of the peer.

    Waits between attempts go into `waits`. They are all the time that passes on the client's own
    clock, so a call gives up after its timeout's worth of them, at once. Its time of day is the
    peer's `clients_time`.
    """

    def __call__(
        self,
        options: Options | None = None,
        known_checkpoint: str | None = None,
        folder: Path | None = None,
    ) -> Client: ...


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    """The authority of all peers."""
    return Certificates()


@pytest.fixture
def peer(certificates: Certificates) -> Iterator[Peer]:
    """A running peer."""
    with serving(certificates) as running:
        yield running


@pytest.fixture
def profile(peer: Peer, certificates: Certificates, tmp_path: Path) -> Path:
    """The folder of one of its members."""
    return write_profile(tmp_path / "alpha", peer, certificates)


@pytest.fixture
def waits() -> list[float]:
    """Seconds that clients waited between attempts; they pass at once."""
    return []


@pytest.fixture(params=["blocking", "awaiting"])
def opened(
    request: pytest.FixtureRequest, profile: Path, peer: Peer, waits: list[float]
) -> Iterator[Opener]:
    """Opens clients, of each kind in turn."""
    clients: list[Client] = []

    async def note_wait(seconds: float) -> None:
        waits.append(seconds)

    def make(
        options: Options | None = None,
        known_checkpoint: str | None = None,
        folder: Path | None = None,
    ) -> Client:
        loaded = Profile.load(folder or profile)
        shared: dict[str, Any] = {
            "environment": Environment(
                monotonic=lambda: sum(waits), random=lambda: 0.5, utc_now=peer.clients_time
            ),
            "known_checkpoint": known_checkpoint,
        }
        if request.param == "blocking":
            client = Client(loaded, options, sleep=waits.append, **shared)
        else:
            client = blocking_face(lambda: AsyncClient(loaded, options, sleep=note_wait, **shared))
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(opened: Opener) -> Client:
    """A client with default options."""
    return opened()
