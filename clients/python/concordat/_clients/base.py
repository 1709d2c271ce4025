"""What the clients' methods work with."""

import os
from typing import Self

from concordat._awaiting import AwaitingRunner
from concordat._blocking import BlockingRunner
from concordat._context import Context
from concordat.options import Environment, Options
from concordat.profile import Profile
from concordat.results import SignedCheckpoint


class ClientBase:
    """What a client knows, whichever way it runs."""

    def __init__(
        self,
        profile: Profile,
        options: Options | None = None,
        *,
        environment: Environment | None = None,
        known_checkpoint: str | None = None,
    ) -> None:
        """See `Client`."""
        self._context = Context.of(profile, options, environment, known_checkpoint)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        options: Options | None = None,
        *,
        known_checkpoint: str | None = None,
    ) -> Self:
        """A client of the profile in a folder. Raises ProfileError, ReceiptInvalid."""
        return cls(Profile.load(folder), options, known_checkpoint=known_checkpoint)

    def __repr__(self) -> str:
        profile = self._context.profile
        return f"{type(self).__name__}({profile.spiffe_id} at {profile.gateway})"

    @property
    def profile(self) -> Profile:
        """The profile that the client was opened with."""
        return self._context.profile

    @property
    def last_checkpoint(self) -> SignedCheckpoint | None:
        """The newest checkpoint verified so far; keep its `note` for the next client."""
        return self._context.ledger.seen

    @property
    def key_log(self) -> str | None:
        """The newest key log (text) verified so far; keep it as the profile's keys.log.

        None if the profile pins none. `concordat keys pin` keeps it.
        """
        return self._context.keys.text


class BlockingMethods(ClientBase):
    """Methods that block."""

    _runner: BlockingRunner


class AwaitingMethods(ClientBase):
    """Methods to be awaited."""

    _runner: AwaitingRunner
