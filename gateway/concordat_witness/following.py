"""Following one gateway: the checkpoint that it wants cosigned is asked for, judged and answered.

The witness asks the gateway, over its own member's or auditor's connection: it needs no port of its
own that others can reach.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import concordat
from concordat_privacy.log.witnessing import AddCheckpoint, WitnessRefusal
from concordat_witness.state import WitnessFolder

_log = logging.getLogger(__name__)


class ForkFound(Exception):
    """The log does not extend what this witness cosigned. `evidence` is the file that shows it."""

    def __init__(self, message: str, evidence: Path) -> None:
        super().__init__(message)
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Brought:
    """A cosignature that the gateway has taken."""

    size: int
    cosignatures: int
    """Configured witnesses that have cosigned this tree by now."""
    wanted: int
    """By the gateway's policy."""


class Follower:
    """Brings cosignatures of one log to its gateway. The folder's lock is its caller's to hold."""

    def __init__(
        self,
        folder: WitnessFolder,
        client: concordat.Client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`client` must have been opened with the checkpoint that the folder remembers.

        Raises WitnessError where the folder follows another log of this name.
        """
        self._folder = folder
        self._client = client
        self._clock = clock
        self._brought = 0
        folder.follow(client.profile.ledger_key)

    def step(self) -> Brought | None:
        """Cosign and bring what the gateway wants cosigned; None where it was brought before.

        What is cosigned is on disk before it leaves. Raises ForkFound, WitnessError, OSError,
        concordat.ConcordatError.
        """
        client, origin = self._client, self._client.profile.ledger_key.name
        try:
            wanted = client.checkpoint_to_cosign()
        except concordat.LedgerForked as error:
            raise self._forked(error.seen, error.offered, str(error)) from error
        size, note = wanted.checkpoint.size, wanted.note
        last = self._folder.seen(origin)
        old = 0 if last is None else last.size
        if last is not None and size < old:
            # An older tree of the same history: what was cosigned last says more.
            size, note = old, last.note
        if size in (0, self._brought):
            return None
        proof = client.consistency_proof(old, size) if 0 < old < size else ()
        try:
            line = self._folder.cosign(AddCheckpoint(old, proof, note), int(self._clock()))
        except WitnessRefusal as refusal:
            seen = "" if last is None else last.note
            raise self._forked(seen, note, str(refusal), proof) from refusal
        brought = Brought(size, *client.add_cosignature(size, line))
        self._brought = size
        return brought

    def _forked(
        self, seen: str, offered: str, why: str, proof: tuple[bytes, ...] = ()
    ) -> ForkFound:
        return ForkFound(why, self._folder.keep_fork(seen, offered, why, proof))


def follow(
    folder: WitnessFolder,
    profile: Path,
    every_seconds: float,
    told: Callable[[Brought], None],
    stopped: Callable[[float], bool],
) -> None:
    """Follow a gateway until `stopped(seconds)`, which waits that long, says so.

    A gateway that cannot be reached is asked again. Raises ForkFound, WitnessError, and
    concordat.ConcordatError for what asking again does not mend.
    """
    last = folder.seen(concordat.Profile.load(profile).ledger_key.name)
    known = None if last is None else last.note
    with concordat.Client.open(profile, known_checkpoint=known) as client:
        follower = Follower(folder, client)
        while True:
            try:
                brought = follower.step()
            except (concordat.Unavailable, concordat.DeadlineExceeded) as error:
                _log.warning("the gateway cannot be asked: %s", error)
                folder.keep_trouble(f"the gateway cannot be asked: {error}", int(time.time()))
            except concordat.ConcordatError as error:
                folder.keep_trouble(f"the gateway refused: {error}", int(time.time()))
                raise
            else:
                folder.keep_trouble("", 0)
                if brought is not None:
                    told(brought)
            if stopped(every_seconds):
                return
