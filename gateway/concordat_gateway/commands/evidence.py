"""`concordat evidence ...`: bundles for courts and regulators, and their verifier."""

from __future__ import annotations

from pathlib import Path

import click

from concordat_gateway.commands import _exports
from concordat_privacy.shown import printable


@click.group()
def evidence() -> None:
    """Make bundles that can be checked without any of this; print their verifier."""


@evidence.command()
@click.argument("export", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--key", metavar="VKEY|FILE", help="The ledger's verifier key, or its file.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take key and older checkpoint from this profile.",
)
@click.option("--entry", "entries", multiple=True, type=click.IntRange(0), help="An entry.")
@click.option("--consent", "consents", multiple=True, metavar="HEX", help="A consent's id.")
@click.option(
    "--subject-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A person's keys: everything about this person, with what opens its names.",
)
@click.option(
    "--old",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An older signed checkpoint, which the bundle shows to be extended.",
)
@click.option("--old-size", type=click.IntRange(0), help="Its size, to be sure that it is that.")
@click.pass_context
def make(
    context: click.Context,
    export: Path,
    out: Path,
    key: str | None,
    profile: Path | None,
    entries: tuple[int, ...],
    consents: tuple[str, ...],
    subject_key: Path | None,
    old: Path | None,
    old_size: int | None,
) -> None:
    """Make a bundle of evidence, OUT (a folder, or a .zip), from the export in EXPORT. Offline.

    Select by --entry, --consent or --subject-key. The export is verified first. Ends with code 0
    if the bundle proves that its uses were allowed, 1 if it does not show that, or nothing was
    written, 2 for wrong usage.
    """
    from concordat_privacy.evidence.bundle import make_bundle
    from concordat_privacy.evidence.export import ExportFiles
    from concordat_privacy.evidence.persons import Person
    from concordat_privacy.evidence.selection import select
    from concordat_privacy.evidence.writing import write_bundle
    from concordat_privacy.log.checkpoint import parse_checkpoint
    from concordat_privacy.log.errors import LogError
    from concordat_privacy.log.signed_note import parse_note
    from concordat_privacy.log.verify import verify_export
    from concordat_privacy.verifier import verify

    if not (entries or consents or subject_key):
        raise click.UsageError("Give --entry, --consent or --subject-key.")
    if key is None and profile is None:
        raise click.UsageError("Give --key, or --profile.")
    if out.exists():
        raise click.BadParameter(f"{out} exists already", param_hint="OUT")
    verifier_key = _exports.verifier_key(key if key is not None else _profile_key(profile))
    try:
        report = verify_export(export, verifier_key)
        if not report.ok:
            raise click.ClickException(f"the export does not verify.\n{report.summary()}")
        files = ExportFiles(export)
        old_note = _remembered(profile, files.size) if old is None else old.read_text("utf-8")
        if old_size is not None:
            given = files.note if old_note is None else old_note
            if parse_checkpoint(parse_note(given).text).size != old_size:
                raise click.BadParameter(
                    "no signed checkpoint of this size was given; an unsigned one would prove "
                    "nothing",
                    param_hint="--old-size",
                )
        person = None
        if subject_key is not None:
            text = subject_key.read_text(encoding="utf-8")
            person = Person.parse(text, files.checkpoint.origin)
        chosen = select(files, entries=entries, consents=map(str.lower, consents), person=person)
        bundle = make_bundle(files, chosen, verifier_key, old_note)
        write_bundle(out, bundle)
    except (OSError, UnicodeDecodeError, LogError) as error:
        raise click.ClickException(printable(str(error))) from None
    story = verify.check_bundle(bundle, verify.read_key(verifier_key.encode(), 1), [], 0)
    click.echo("\n".join(verify.verdict(story)))
    click.echo(f"\nWritten to {out}. Check it anywhere with:")
    click.echo("  concordat evidence verifier > verify.py")
    click.echo(f"  python verify.py {out} --key '{verifier_key.encode()}'")
    context.exit(0 if story.proven else 1)


@evidence.command()
def verifier() -> None:
    """Print verify.py, the verifier: one file that needs Python and `cryptography` only."""
    from importlib.resources import files

    source = files("concordat_privacy.verifier").joinpath("verify.py").read_bytes()
    click.echo(source, nl=False)


def _remembered(profile: Path | None, size: int) -> str | None:
    """The checkpoint that the profile remembers, unless it is newer than the export.

    It usually is, right after an export: the export itself is recorded in the ledger.
    """
    from concordat_privacy.log.checkpoint import parse_checkpoint
    from concordat_privacy.log.signed_note import parse_note

    memory = None if profile is None else profile / "checkpoint"
    if memory is None or not memory.is_file():
        return None
    note = memory.read_text(encoding="utf-8")
    return note if parse_checkpoint(parse_note(note).text).size <= size else None


def _profile_key(profile: Path | None) -> str:
    import concordat

    try:
        return concordat.Profile.load(Path(str(profile))).ledger_key.encode()
    except (OSError, ValueError, concordat.ConcordatError) as error:
        raise click.BadParameter(str(error), param_hint="--profile") from None
