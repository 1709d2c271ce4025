"""Audit an export: verify it and replay it in one pass over its files.

Entries are replayed as they are read, before the root is known to fit. That is safe because the
replay is thrown away unless the whole export verifies, and it spares a second reading in which the
files could have become others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from concordat_privacy.audit.entry import Moment
from concordat_privacy.audit.replay import Follower, Replay
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.cosignature import Quorum
from concordat_privacy.log.report import Report
from concordat_privacy.log.verify import verify_export


@dataclass(frozen=True, slots=True)
class Audit:
    """What came out: the verification, and the replay if the export verifies."""

    report: Report
    replay: Replay | None


def audit_export(
    directory: Path,
    key: VerifierKey,
    *,
    as_of: Moment | None = None,
    followers: Sequence[Follower] = (),
    without_items: bool = False,
    quorum: Quorum | None = None,
) -> Audit:
    """Verify an export against the log's key, and its witnesses' if a quorum is given; replay it.

    Nothing that a follower saw counts where `replay` is None. Raises as `verify_export`.
    """
    replay = Replay(as_of, followers)
    report = verify_export(
        directory, key, without_items=without_items, visit=replay.visit, quorum=quorum
    )
    if not report.ok:
        return Audit(report, None)
    replay.finish()
    return Audit(report, replay)
