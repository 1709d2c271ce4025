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
@click.pass_context
def verify(context: click.Context, folder: Path, key: str, without_items: bool) -> None:
    """Re-check the export in FOLDER, trusting nobody but the holder of the key.

    Ends with code 0 if it verifies, 1 if it does not, 2 for wrong usage.
    """
    from concordat_privacy.log.verify import verify_export

    try:
        report = verify_export(folder, _verifier_key(key), without_items=without_items)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(report.summary())
    context.exit(0 if report.ok else 1)


def _verifier_key(text: str) -> VerifierKey:
    from concordat_privacy.log.checkpoint import CheckpointError, VerifierKey

    try:
        if "+" not in text or Path(text).is_file():
            text = Path(text).read_text(encoding="utf-8")
        return VerifierKey.decode(text)
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise click.BadParameter(
            f"neither a key nor its file: {error}", param_hint="--key"
        ) from None


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
