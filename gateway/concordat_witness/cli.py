"""`concordat witness`, for members and auditors who watch that the ledger has one history.

The command line `concordat` finds it by the entry point group ``concordat.commands``.
Every command imports what it needs when it runs.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

import concordat_rpc  # noqa: F401  first: it settles what gRPC reads when it is imported
from concordat_privacy.shown import printable

FORKED = 3
"""Exit code where the log has shown two histories."""

_folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def witness() -> None:
    """Watch that a ledger has one history: cosign its checkpoints."""


@witness.command()
@_folder_argument
@click.option(
    "--name", required=True, help="Name on the cosignatures, such as witness.alpha.example/w1."
)
def init(folder: Path, name: str) -> None:
    """Make a witness's key and folder. FOLDER must be missing or empty."""
    from concordat_witness.state import create

    with _errors_shown():
        key = create(folder, name)
    click.echo(f"Made {folder}. Give the operator this key, for [[witnesses.witness]] vkey:")
    click.echo(key.verifier.encode())


@witness.command()
@_folder_argument
@click.option(
    "--profile",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Folder with the identity under which the gateway is asked.",
)
@click.option("--once", is_flag=True, help="Cosign what is newest now, and end.")
@click.option(
    "--every",
    type=click.FloatRange(0.1, 3_600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
def follow(folder: Path, profile: Path, once: bool, every: float) -> None:
    """Follow a gateway: cosign each new checkpoint that extends the last.

    Ends with code 3 where one does not; both checkpoints are then kept in FOLDER/forks.
    """
    from concordat_rpc import logs
    from concordat_witness.following import ForkFound, follow
    from concordat_witness.state import opened

    logs.configure("witness")
    stopping = _stop_signals()
    with _errors_shown(), opened(folder) as state:
        try:
            follow(
                state,
                profile,
                every,
                lambda brought: click.echo(
                    f"Cosigned {brought.size} entries "
                    f"(cosignatures: {brought.cosignatures}, wanted: {brought.wanted})."
                ),
                (lambda _seconds: True) if once else stopping.wait,
            )
        except ForkFound as error:
            click.echo(printable(f"THE LEDGER HAS FORKED: {error}"), err=True)
            click.echo(
                f"Nothing was cosigned. The evidence is in {error.evidence}; show it to the other "
                "members and the auditor.",
                err=True,
            )
            sys.exit(FORKED)


@witness.command()
@_folder_argument
@click.option("--log", "logs", multiple=True, metavar="VKEY", help="Follow this log from now on.")
@click.option("--listen", default="127.0.0.1:7480", show_default=True, help="host:port.")
def serve(folder: Path, logs: tuple[str, ...], listen: str) -> None:
    """Take checkpoints that logs bring (C2SP tlog-witness, POST /add-checkpoint)."""
    from concordat_privacy.log.checkpoint import VerifierKey
    from concordat_privacy.log.errors import CheckpointError
    from concordat_rpc.address import Address
    from concordat_rpc.logs import configure
    from concordat_witness.serving import serve_until
    from concordat_witness.state import opened

    configure("witness")
    try:
        address = Address.parse(listen)
        keys = [VerifierKey.decode(text) for text in logs]
    except (ValueError, CheckpointError) as error:
        raise click.BadParameter(str(error)) from None
    stopping = _stop_signals()
    with _errors_shown(), opened(folder) as state:
        for key in keys:
            state.follow(key)
        serve_until(
            state,
            address,
            stopping,
            lambda port: click.echo(f"concordat witness ready on {address.with_port(port)}"),
        )


@witness.command()
@_folder_argument
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(folder: Path, as_json: bool) -> None:
    """What was cosigned last of each log, and forks that were seen: it ends with 3 then."""
    from concordat_witness.state import WitnessFolder

    with _errors_shown():
        state = WitnessFolder(folder)
        seen = {origin: state.seen(origin) for origin in state.logs}
        forks = state.forks()
    if as_json:
        logs = {origin: one.size if one else None for origin, one in seen.items()}
        shown = {"vkey": state.key.verifier.encode(), "logs": logs, "forks": list(map(str, forks))}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(state.key.verifier.encode())
        for origin, one in seen.items():
            click.echo(f"{origin}: {'nothing yet' if one is None else f'{one.size} entries'}")
        for file in forks:
            click.echo(f"FORK: {file}")
    if forks:
        sys.exit(FORKED)


@contextmanager
def _errors_shown() -> Iterator[None]:
    import concordat
    from concordat_rpc.settings import SettingsError
    from concordat_witness.state import WitnessError

    try:
        yield
    except (WitnessError, concordat.ConcordatError, SettingsError) as error:
        raise click.ClickException(printable(str(error))) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _stop_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # Not from the handler itself: the wait that it interrupts holds the event's lock.
        threading.Thread(target=stopping.set, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
