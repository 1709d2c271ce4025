"""`concordat ledger ...`: exports, proofs of single entries, offline verification."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from concordat_gateway.commands._client import errors_shown, opened, profile_option
from concordat_gateway.commands._exports import chosen_quorum, verifier_key, witness_options
from concordat_privacy.shown import printable

if TYPE_CHECKING:
    import concordat
    from concordat import LedgerEntry
    from concordat_privacy.log.checkpoint import VerifierKey
    from concordat_privacy.log.cosignature import Quorum
    from concordat_privacy.log.report import Report


@click.group()
def ledger() -> None:
    """Export the ledger; prove single entries; re-check exports and proofs offline."""


@ledger.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--case", default="", help="What for, in your own words or numbers: it is recorded.")
@click.option(
    "--cosigned",
    is_flag=True,
    help="End with the newest checkpoint that enough witnesses have cosigned.",
)
@profile_option
def export(folder: Path, case: str, cosigned: bool, profile: Path) -> None:
    """Write the whole ledger to FOLDER, which must not exist. For auditor and operator.

    That you read it is recorded first, in an entry after those that you get.
    """
    from concordat_privacy.log.tiles import TileError, write_export

    if folder.exists():
        raise click.BadParameter(f"{folder} exists already", param_hint="FOLDER")
    with opened(profile) as client, tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
        stream = client.export_entries(case=case, cosigned=cosigned)
        first = next(stream, None)
        # An empty ledger has no entry that could carry the checkpoint.
        signed = client.checkpoint() if first is None else first.checkpoint
        entries = stream if first is None else chain([first], stream)
        try:
            write_export(
                folder,
                _spooling(entries, spool),
                signed.note,
                _spooled(spool),
                _timestamps(client, signed.checkpoint.size),
            )
        except TileError as error:
            raise click.ClickException(
                printable(f"the gateway's export is wrong: {error}")
            ) from None
    click.echo(f"Exported {signed.checkpoint.size} entries to {folder}. Verify them with:")
    click.echo(f"  concordat ledger verify {folder} --key '{client.profile.ledger_key.encode()}'")


@ledger.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--key", required=True, metavar="VKEY|FILE", help="The ledger's verifier key, or its file."
)
@witness_options
@click.option("--without-items", is_flag=True, help="Accept an export without batch items.")
@click.option(
    "--replay", is_flag=True, help="Hold every use against its consent too: concordat audit."
)
@click.option(
    "--tsa-ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificates (PEM) of the time-stamping authority that you trust: check its time-stamps.",
)
@click.pass_context
def verify(
    context: click.Context,
    folder: Path,
    key: str,
    without_items: bool,
    replay: bool,
    tsa_ca: Path | None,
) -> None:
    """Re-check the export in FOLDER, trusting nobody but the holder of the key.

    With --witness the checkpoint must be cosigned too: then the same history was shown to whoever
    trusts those witnesses.

    That says whether the log is whole and unchanged. Whether what it records was allowed is
    another question: --replay answers it in short, `concordat audit exceptions` in full.

    Ends with code 0 if it verifies, 1 if it does not (with --replay: or if there are exceptions),
    2 for wrong usage.
    """
    from concordat_privacy.log.verify import verify_export

    checkpoint_key, quorum = verifier_key(key), chosen_quorum()
    try:
        if replay:
            report, ok = _replayed(folder, checkpoint_key, without_items, quorum)
        else:
            report = verify_export(
                folder, checkpoint_key, without_items=without_items, quorum=quorum
            )
            ok = report.ok
            click.echo(report.summary())
        if tsa_ca is not None and report.ok:
            ok = _stamped(folder, report, tsa_ca) and ok
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    context.exit(0 if ok else 1)


def _stamped(folder: Path, report: Report, ca: Path) -> bool:
    from concordat_privacy.log.stamped import check_timestamps
    from concordat_privacy.log.timestamp import TimestampError, authorities

    try:
        trusted = authorities(ca.read_bytes())
        stamps = check_timestamps(folder, report.origin, report.size, trusted)
    except TimestampError as error:
        raise click.BadParameter(str(error), param_hint="--tsa-ca") from None
    click.echo(stamps.summary())
    return stamps.ok


@ledger.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write, such as 12.tlog-proof.",
)
@click.option(
    "--entry",
    "entry_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the entry itself too, byte for byte. For auditor and operator: it is recorded.",
)
@profile_option
def proof(index: int, out: Path, entry_file: Path | None, profile: Path) -> None:
    """Write the proof that entry INDEX is in the ledger (C2SP tlog-proof).

    It ends in the newest checkpoint that enough witnesses have cosigned, if that has the entry,
    and verifies offline, whoever has it: `concordat ledger check-proof`.
    """
    with opened(profile) as client:
        made = client.prove_entry(index)
        entry = None if entry_file is None else next(client.export_entries(index)).entry
        if entry is not None:
            made.verify(entry, client.profile.ledger_key)
    with errors_shown():
        out.write_text(made.encode(), encoding="utf-8")
        if entry_file is not None and entry is not None:
            entry_file.write_bytes(entry)
    click.echo(f"Wrote {out}. Check it, with the entry in a file, with:")
    key = client.profile.ledger_key.encode()
    click.echo(f"  concordat ledger check-proof {out} --entry FILE --key '{key}'")


@ledger.command("check-proof")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--entry",
    "entry_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The entry, byte for byte.",
)
@click.option(
    "--key", required=True, metavar="VKEY|FILE", help="The ledger's verifier key, or its file."
)
@witness_options
@click.pass_context
def check_proof(context: click.Context, file: Path, entry_file: Path, key: str) -> None:
    """Check offline that the ledger holds an entry, by a tlog-proof FILE.

    Ends with code 0 if it does, 1 if the file does not prove it, 2 for wrong usage.
    """
    from concordat_privacy.log.proof import TlogProof, TlogProofError
    from concordat_privacy.log.report import moment_text

    log_key, quorum = verifier_key(key), chosen_quorum()
    try:
        read = TlogProof.decode(file.read_text(encoding="utf-8"))
        tree = read.verify(entry_file.read_bytes(), log_key, quorum)
    except UnicodeDecodeError:
        click.echo("NOT proven: the file is not UTF-8")
        context.exit(1)
    except TlogProofError as error:
        click.echo(printable(f"NOT proven: {error}"))
        context.exit(1)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(
        printable(f"Proven: these bytes are entry {read.index} of {tree.size} in {tree.origin}.")
    )
    if quorum is None:
        click.echo("No witness was asked for: others may have been shown another history.")
        return
    for name, seconds in sorted(quorum.check(read.note).items()):
        click.echo(printable(f"Cosigned by {name} at {moment_text(seconds)}."))


def _replayed(
    folder: Path, key: VerifierKey, without_items: bool, quorum: Quorum | None
) -> tuple[Report, bool]:
    from concordat_privacy.audit.documents import older_batches_told
    from concordat_privacy.audit.reading import audit_export

    audit = audit_export(folder, key, without_items=without_items, quorum=quorum)
    click.echo(audit.report.summary())
    if audit.replay is None:
        return audit.report, False
    counts, found = audit.replay.uses.counts, audit.replay.findings.counts.total()
    click.echo(
        f"Replayed: {counts.checked} uses held against their consents, {counts.unfounded} without "
        f"a valid one, {counts.unchecked} not re-checkable. Exceptions: {found}."
    )
    if told := older_batches_told(audit.replay):
        click.echo(told)
    if found:
        click.echo("See them with: concordat audit exceptions")
    return audit.report, not found


def _timestamps(client: concordat.Client, size: int) -> Iterator[tuple[int, bytes]]:
    """Those of checkpoints up to this size."""
    after = 0
    while page := client.timestamps(after):
        for one in page:
            if one.size > size:
                return
            yield one.size, one.response
        after = page[-1].size


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
