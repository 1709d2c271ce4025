"""`concordat ledger ...`: export and offline verification."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option
from concordat_gateway.commands._exports import verifier_key

if TYPE_CHECKING:
    from concordat import LedgerEntry
    from concordat_privacy.log.checkpoint import VerifierKey


@click.group()
def ledger() -> None:
    """Export the ledger; re-check an export offline."""


@ledger.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--case", default="", help="What for, in your own words or numbers: it is recorded.")
@profile_option
def export(folder: Path, case: str, profile: Path) -> None:
    """Write the whole ledger to FOLDER, which must not exist. For auditor and operator.

    That you read it is recorded first, in an entry after those that you get.
    """
    from concordat_privacy.log.tiles import TileError, write_export

    if folder.exists():
        raise click.BadParameter(f"{folder} exists already", param_hint="FOLDER")
    with opened(profile) as client, tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
        stream = client.export_entries(case=case)
        first = next(stream, None)
        # An empty ledger has no entry that could carry the checkpoint.
        signed = client.checkpoint() if first is None else first.checkpoint
        entries = stream if first is None else chain([first], stream)
        try:
            write_export(folder, _spooling(entries, spool), signed.note, _spooled(spool))
        except TileError as error:
            raise click.ClickException(f"the gateway's export is wrong: {error}") from None
    click.echo(f"Exported {signed.checkpoint.size} entries to {folder}. Verify them with:")
    click.echo(f"  concordat ledger verify {folder} --key '{client.profile.ledger_key.encode()}'")


@ledger.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--key", required=True, metavar="VKEY|FILE", help="The ledger's verifier key, or its file."
)
@click.option("--without-items", is_flag=True, help="Accept an export without batch items.")
@click.option(
    "--replay", is_flag=True, help="Hold every use against its consent too: concordat audit."
)
@click.pass_context
def verify(
    context: click.Context, folder: Path, key: str, without_items: bool, replay: bool
) -> None:
    """Re-check the export in FOLDER, trusting nobody but the holder of the key.

    That says whether the log is whole and unchanged. Whether what it records was allowed is
    another question: --replay answers it in short, `concordat audit exceptions` in full.

    Ends with code 0 if it verifies, 1 if it does not (with --replay: or if there are exceptions),
    2 for wrong usage.
    """
    from concordat_privacy.log.verify import verify_export

    checkpoint_key = verifier_key(key)
    try:
        if replay:
            context.exit(_replayed(folder, checkpoint_key, without_items))
        report = verify_export(folder, checkpoint_key, without_items=without_items)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(report.summary())
    context.exit(0 if report.ok else 1)


def _replayed(folder: Path, key: VerifierKey, without_items: bool) -> int:
    from concordat_privacy.audit.reading import audit_export

    audit = audit_export(folder, key, without_items=without_items)
    click.echo(audit.report.summary())
    if audit.replay is None:
        return 1
    counts, found = audit.replay.uses.counts, audit.replay.findings.counts.total()
    click.echo(
        f"Replayed: {counts.checked} uses held against their consents, {counts.unfounded} without "
        f"a valid one, {counts.unchecked} not re-checkable. Exceptions: {found}."
    )
    if found:
        click.echo("See them with: concordat audit exceptions")
    return 1 if found else 0


def _spooling(entries: Iterable[LedgerEntry], spool: IO[str]) -> Iterator[bytes]:
    """The entries' bytes; their items are put aside, since the writer wants them afterwards."""
    for entry in entries:
        if entry.items:
            items = [item.decode() for item in entry.items]
            spool.write(json.dumps([entry.index, items]) + "\n")
        yield entry.entry


def _spooled(spool: IO[str]) -> Iterator[tuple[int, list[bytes]]]:
    spool.seek(0)
    for line in spool:
        index, items = json.loads(line)
        yield index, [item.encode() for item in items]
