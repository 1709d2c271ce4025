"""Following one gateway: its newest checkpoint is shown to extend the last, cosigned and brought.

The witness asks the gateway, over its own member's or auditor's connection: it needs no port of its
own that others can reach.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import concordat
from concordat_privacy.log.checkpoint import parse_note
from concordat_privacy.log.witnessing import Seen
from concordat_witness.state import WitnessError, WitnessFolder

_log = logging.getLogger(__name__)


class ForkFound(Exception):
    """The log does not extend what this witness cosigned. `evidence` is the file that shows it."""

    def __init__(self, message: str, evidence: Path) -> None:
        super().__init__(message)
        self.evidence = evidence


def follow_once(
    folder: WitnessFolder, client: concordat.Client, clock: Callable[[], float] = time.time
) -> tuple[Seen, int, int]:
    """Cosign the newest checkpoint of the client's gateway and bring the cosignature.

    Returns what is cosigned now, how many witnesses have cosigned that tree, and how many are
    wanted. The client must know the checkpoint that was cosigned last. Raises ForkFound,
    WitnessError, concordat.ConcordatError; what is cosigned is on disk before it leaves.
    """
    log = client.profile.ledger_key
    folder.follow(log)
    try:
        newest = client.checkpoint()
    except concordat.LedgerForked as error:
        evidence = folder.keep_fork(error.seen, error.offered, str(error))
        raise ForkFound(str(error), evidence) from error
    last = folder.seen(log.name)
    checkpoint = newest.checkpoint
    if last is not None and checkpoint.size < last.size:
        raise WitnessError("the client did not know the checkpoint that was cosigned last")
    seen = Seen(checkpoint.size, checkpoint.root, newest.note)
    if last != seen:
        folder.keep(log.name, seen)
    if not seen.size:
        return seen, 0, 0
    line = folder.key.cosign(parse_note(seen.note).text, int(clock()))
    found, wanted = client.add_cosignature(seen.size, line)
    return seen, found, wanted


def follow(
    folder: WitnessFolder,
    profile: Path,
    every_seconds: float,
    told: Callable[[Seen, int, int], None],
    stopping: Callable[[float], bool],
) -> None:
    """Follow a gateway until `stopping(seconds)`, which waits that long, says so.

    A gateway that cannot be reached is asked again. Raises ForkFound, WitnessError, and
    concordat.ConcordatError for what asking again does not mend.
    """
    last: Seen | None = None
    with _client(folder, profile) as client:
        while True:
            try:
                if last is None or client.checkpoint().checkpoint.size != last.size:
                    last, found, wanted = follow_once(folder, client)
                    told(last, found, wanted)
            except (concordat.Unavailable, concordat.DeadlineExceeded) as error:
                _log.warning("the gateway cannot be asked: %s", error)
            except concordat.LedgerForked as error:
                evidence = folder.keep_fork(error.seen, error.offered, str(error))
                raise ForkFound(str(error), evidence) from error
            if stopping(every_seconds):
                return


def _client(folder: WitnessFolder, profile: Path) -> concordat.Client:
    last = folder.seen(concordat.Profile.load(profile).ledger_key.name)
    return concordat.Client.open(profile, known_checkpoint=last.note if last else None)
