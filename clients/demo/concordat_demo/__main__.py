"""`python -m concordat_demo`: the whole story in under three minutes."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

import concordat
from concordat_demo.data import DataMissing, load
from concordat_demo.failure import DemoFailed
from concordat_demo.identities import resident_id
from concordat_demo.lenders import SCORING
from concordat_demo.narrator import Narrator
from concordat_demo.processes import CONCORDAT
from concordat_demo.story import Story
from concordat_demo.workspace import Workspace, prepare

_DEFAULT_OUTPUT: Final = Path("build/demo")
_INTERRUPTED: Final = 128 + signal.SIGINT


def main() -> int:
    """Tell the story. Exit code 0, 1 if a step failed, 130 if it was interrupted."""
    arguments = _parser().parse_args()
    # Python takes Ctrl-C only where it was not ignored at the start, as it is in a background job.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    narrator = Narrator()
    try:
        return _run(arguments.output, arguments.applicants, narrator)
    except KeyboardInterrupt:
        narrator.warn("interrupted; the gateway is stopped")
        return _INTERRUPTED


def _run(output: Path, applicants: int | None, narrator: Narrator) -> int:
    try:
        # The loans first: where they cannot be had, no folder is made or replaced.
        loans = load(applicants)
        workspace = prepare(output)
    except (DemoFailed, DataMissing, ValueError) as failure:
        narrator.warn(str(failure))
        return 1
    try:
        Story(workspace, narrator, loans).tell()
    except (DemoFailed, DataMissing, ValueError, OSError, concordat.ConcordatError) as failure:
        narrator.warn(f"FAILED at: {narrator.current or 'the start'}")
        narrator.warn(str(failure))
        if workspace.gateway_log.is_file():
            narrator.warn(f"the gateway's log: {_shown(workspace.gateway_log)}")
        return 1
    _say_what_is_left(narrator, workspace)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m concordat_demo", description=__doc__)
    parser.add_argument(
        "--applicants",
        type=int,
        metavar="N",
        help="use this many of the 9,857 loans (200 or more; fewer make the model's figures noise)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=_DEFAULT_OUTPUT,
        metavar="DIR",
        help=f"folder for what is left behind; an earlier run's is replaced ({_DEFAULT_OUTPUT})",
    )
    return parser


def _interrupt(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say_what_is_left(narrator: Narrator, workspace: Workspace) -> None:
    program = _shown(CONCORDAT)
    profile = _shown(workspace.profile(SCORING))
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in narrator.seconds.items())
    narrator.say()
    narrator.say(f"Seconds: {steps}; seconds_total {narrator.seconds_total:.1f}.")
    narrator.say(f"Left behind in {_shown(workspace.root)}:")
    narrator.say("  report.json  every figure above      report.png  what the signals are worth")
    narrator.say("  gateway/     the gateway's data       ledger/     the exported ledger")
    narrator.say(
        "  evidence/    a lookup, with proofs    verify.py   checks it, needs nothing of ours"
    )
    narrator.say()
    narrator.say(
        "Three commands to try next, from this folder: serve the gateway again (in a terminal of "
        "its own),"
    )
    narrator.say("look somebody up, and find the changed byte (exit code 1):")
    narrator.say(f"  {program} serve --config {_shown(workspace.gateway_config)}")
    narrator.say(
        f"  echo {resident_id(0)} | {program} lookup --profile {profile} "
        "--resident-id - --purpose underwriting"
    )
    narrator.say(
        f"  {program} ledger verify {_shown(workspace.tampered_ledger)} "
        f"--key {_shown(workspace.ledger_key)}"
    )


def _shown(path: Path) -> str:
    """As it can be typed in the current folder: relative where it is below it."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path.absolute()) if relative.startswith("..") else relative)


if __name__ == "__main__":
    sys.exit(main())
