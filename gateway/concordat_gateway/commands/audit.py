"""`concordat audit ...`: what was done with persons' data, and whether consents allowed it.

All of it offline, from a verified export alone, but `open`, which asks the gateway for the keys of
one person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concordat_gateway.commands._client import opened, profile_option, replace_file
from concordat_gateway.commands._exports import chosen_quorum, verifier_key, witness_options
from concordat_privacy.shown import printable

if TYPE_CHECKING:
    from concordat_privacy.audit.documents import Document
    from concordat_privacy.audit.replay import Follower, Replay
    from concordat_privacy.log.report import Report

_STATES = ("requested", "active", "paused", "withdrawn", "revoked", "erased", "expired")
_UNVERIFIABLE = 2


@click.group()
def audit() -> None:
    """Answer an auditor's questions from an export of the ledger, offline.

    EXPORT is a folder that `concordat ledger export` wrote, and --key the ledger's verifier key,
    which you should have from somewhere else than the export. Each command verifies the export
    first. Each ends with code 0 if nothing was found, 1 if something was (with --strict also if
    uses could not be re-checked), 2 for wrong usage or an export that does not verify. How to read
    the answers: docs/audit.md.
    """


class _Moment(click.ParamType[str]):
    """A day, of which the whole counts, or a time with its zone."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from concordat_privacy.moments import micros_of, rfc3339

        try:
            if len(value) == 10:
                end = datetime.combine(date.fromisoformat(value), time.max, UTC)
                return rfc3339(micros_of(end))
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if moment.tzinfo is None:
            self.fail("a time needs its zone, such as 2026-11-05T09:30:00Z", param, ctx)
        return rfc3339(micros_of(moment))


def _of_export(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options that all these commands have."""
    for decorate in (
        click.option(
            "--table",
            metavar="NAME",
            default="",
            help="With --format csv: which of the answer's tables; the main one otherwise.",
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "csv", "json"]),
            default="table",
            show_default=True,
        ),
        click.option(
            "--as-of",
            type=_Moment(),
            help="Leave out what is later, and count as due what was due by then: a day, or a "
            "time with its zone. The last entry's time if not given.",
        ),
        click.option(
            "--strict",
            is_flag=True,
            help="End with code 1 also where a use could not be held against a consent.",
        ),
        click.option("--without-items", is_flag=True, help="Accept an export without items."),
        witness_options,
        click.option(
            "--key",
            required=True,
            metavar="VKEY|FILE",
            help="The ledger's verifier key, or its file.",
        ),
        click.argument("export", type=click.Path(path_type=Path, exists=True, file_okay=False)),
    ):
        command = decorate(command)
    return command


@audit.command()
@_of_export
def exceptions(
    export: Path,
    key: str,
    without_items: bool,
    strict: bool,
    as_of: str | None,
    form: str,
    table: str,
) -> None:
    """List everything that is not as it should be: uses without consent, what came late or never.

    Tables: findings, kinds, unchecked, aggregates, budgets, disputes, erasures, views.
    """
    from concordat_privacy.audit import documents

    report, replay = _audited(export, key, without_items, as_of)
    _answer(documents.exceptions(report, replay), form, table, strict)


@audit.command()
@_of_export
@click.option("--member", metavar="ID", default="", help="Only those given to this member.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
def consents(
    export: Path,
    key: str,
    without_items: bool,
    strict: bool,
    as_of: str | None,
    form: str,
    table: str,
    member: str,
    state: str | None,
) -> None:
    """List consents with their states and uses, and what was found about them.

    Tables: consents, states, findings.
    """
    from concordat_privacy.audit import documents

    report, replay = _audited(export, key, without_items, as_of)
    _check_member(replay, member)
    _answer(documents.consents(report, replay, member, state or ""), form, table, strict)


@audit.command()
@_of_export
@click.option("--member", metavar="ID", default="", help="Only this one, in detail.")
def member(
    export: Path,
    key: str,
    without_items: bool,
    strict: bool,
    as_of: str | None,
    form: str,
    table: str,
    member: str,
) -> None:
    """Sum up what members did: lookups by decision, rows, consents, notices, findings.

    Tables: members, findings; with --member also notices, consents.
    """
    from concordat_privacy.audit import documents

    report, replay = _audited(export, key, without_items, as_of)
    _check_member(replay, member)
    _answer(documents.members(report, replay, member), form, table, strict)


@audit.command()
@_of_export
@click.option(
    "--subject",
    "subject_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The person's keys, as the operator opened them for this audit.",
)
def person(
    export: Path,
    key: str,
    without_items: bool,
    strict: bool,
    as_of: str | None,
    form: str,
    table: str,
    subject_file: Path,
) -> None:
    """Follow one person: every consent, lookup, contribution, dispute and erasure, in order.

    Says whether the history is complete: all of the person's consents are there, each once, and
    every lookup that they permitted is found by the person's asking keys too.

    Tables: history, consents, findings.
    """
    from concordat_privacy.audit import documents
    from concordat_privacy.audit.person import Person
    from concordat_privacy.audit.subject_keys import SubjectKeys, SubjectKeysError

    try:
        text = subject_file.read_text(encoding="utf-8")
        keys = SubjectKeys.parse(text, verifier_key(key).name)
    except (OSError, UnicodeDecodeError, SubjectKeysError) as error:
        raise click.BadParameter(str(error), param_hint="--subject") from None
    who = Person(keys)
    report, replay = _audited(export, key, without_items, as_of, [who])
    who.finish(replay)
    _answer(documents.person(report, replay, who), form, table, strict)


@audit.command("open")
@click.option("--consent", metavar="HEX", help="A consent of the person, also an erased one.")
@click.option("--token", metavar="HEX", help="The person's token.")
@click.option("--epoch", type=click.IntRange(1), help="Key epoch of the token.")
@click.option("--case", required=True, metavar="REF", help="Your own reference; it is recorded.")
@click.option(
    "--permission-sha256",
    required=True,
    metavar="HEX",
    help="Hash of the document by which the person or a court permits it; it is recorded.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="New file for the keys. Who has it finds everything about the person in the ledger.",
)
@profile_option
def open_person(
    consent: str | None,
    token: str | None,
    epoch: int | None,
    case: str,
    permission_sha256: str,
    out: Path,
    profile: Path,
) -> None:
    """Have one person's keys opened by the gateway, for `concordat audit person`. For auditors."""
    from concordat import Token

    if (consent is None) == (token is None):
        raise click.UsageError("exactly one of --consent and --token is wanted")
    if (token is None) != (epoch is None):
        raise click.UsageError("--token and --epoch go together")
    if out.exists():
        raise click.BadParameter(f"{out} exists", param_hint="--out")
    with opened(profile) as client:
        found = client.open_subject(
            consent_id=None if consent is None else _hex(consent, "--consent"),
            token=None if token is None else Token(_hex(token, "--token"), epoch or 1),
            case=case,
            permission_sha256=_hex(permission_sha256, "--permission-sha256"),
        )
        replace_file(out, found.keys_file())
    consents = sum(one.consents for one in found.evidence_keys)
    click.echo(f"Wrote {out}: {consents} consents, {len(found.asking_keys)} asking keys.")
    click.echo(f"The opening is entry {found.receipt.entry_index} of the ledger.")


def _hex(text: str, option: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter("not hexadecimal", param_hint=option) from None


def _audited(
    export: Path,
    key: str,
    without_items: bool,
    as_of: str | None,
    followers: Sequence[Follower] = (),
) -> tuple[Report, Replay]:
    """The audit of an export that verifies; ends the command with code 2 for another one."""
    from concordat_privacy.audit.reading import audit_export

    checkpoint_key, quorum = verifier_key(key), chosen_quorum()
    try:
        found = audit_export(
            export,
            checkpoint_key,
            as_of=as_of,
            followers=followers,
            without_items=without_items,
            quorum=quorum,
        )
    except OSError as error:
        click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
        raise click.exceptions.Exit(_UNVERIFIABLE) from None
    if found.replay is None:
        click.echo(found.report.summary(), err=True)
        click.echo("Nothing was audited: what does not verify proves nothing.", err=True)
        raise click.exceptions.Exit(_UNVERIFIABLE)
    return found.report, found.replay


def _check_member(replay: Replay, member: str) -> None:
    """End the command unless the ledger knows the member, or none is named."""
    from concordat_privacy.audit import documents

    if member and not documents.has_member(replay, member):
        raise click.BadParameter(f"the ledger knows no member {member}", param_hint="--member")


def _answer(document: Document, form: str, table: str, strict: bool) -> None:
    """Print a document; ends the command with code 1 where it has findings.

    `strict`: also where uses could not be re-checked.
    """
    from concordat_privacy.audit import render

    names = [one.name for one in document.tables]
    if table and (form != "csv" or table not in names):
        raise click.BadParameter(
            f"with --format csv one of {', '.join(names)}", param_hint="--table"
        )
    if form == "csv":
        click.echo(render.as_csv(document, table), nl=False)
    else:
        click.echo(render.as_json(document) if form == "json" else render.as_text(document))
    if form == "csv" and document.unchecked:
        # The table alone would not tell.
        click.echo(printable(document.verdict), err=True)
    failed = not document.ok or (strict and document.unchecked > 0)
    raise click.exceptions.Exit(1 if failed else 0)
