"""`concordat consent ...`: what subjects allow the calling member, and what becomes of it."""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concordat_gateway.commands._client import opened, profile_option
from concordat_gateway.commands._consent_terms import (
    READ_FILE,
    TIME,
    hex_of,
    sha256_of,
    terms_of,
    terms_options,
    together,
    zoned,
)
from concordat_gateway.commands._consent_view import (
    show_change,
    show_consents,
    show_one,
)
from concordat_gateway.commands._identifier import token_of
from concordat_gateway.commands.consent_file import grant_file
from concordat_privacy.shown import printable

if TYPE_CHECKING:
    from concordat import Client, ConsentDraft

_STATES = ("requested", "active", "paused", "withdrawn", "revoked", "expired")
_NONCE_BYTES = 16

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_reason_option = click.option("--reason", required=True, help="Why; goes into the ledger.")
_subject_option = click.option(
    "--resident-id",
    required=True,
    metavar="-",
    help='Always "-": the number is read from standard input, or asked for.',
)


_evidence_options = together(
    click.option(
        "--evidence", type=READ_FILE, help="The signed document; its SHA-256 is recorded."
    ),
    click.option("--evidence-jws", type=READ_FILE, help="File with a detached JWS over the terms."),
)
_nonce_option = click.option(
    "--nonce",
    metavar="HEX",
    help="16 random bytes that bind signed terms to the subject; keep them with the signature.",
)


@click.group()
def consent() -> None:
    """Record, read and end consents."""


consent.add_command(grant_file)


@consent.command()
@_subject_option
@terms_options
@_evidence_options
@_nonce_option
@_json_option
@profile_option
def grant(
    profile: Path,
    as_json: bool,
    evidence: Path | None,
    evidence_jws: Path | None,
    **terms: Any,
) -> None:
    """Record a consent that the subject gave, with its evidence."""
    given = _evidence(evidence, evidence_jws)
    with opened(profile) as client:
        draft = _draft(client, terms, **given)
        result = client.grant_consents([draft])
    for refusal in result.refused:
        raise click.ClickException(
            printable(f"{refusal.field}: {refusal.description} [{refusal.reason}]")
        )
    [granted] = result.granted
    _show_recorded(granted.consent_id, granted.entry_index, None, as_json=as_json)


@consent.command()
@_subject_option
@terms_options
@click.option(
    "--for-signature",
    is_flag=True,
    help="The evidence is to be a JWS: makes a nonce, which you must keep with the signature.",
)
@_json_option
@profile_option
def request(profile: Path, as_json: bool, for_signature: bool, **terms: Any) -> None:
    """Record what the subject is asked for; permits nothing until it is activated."""
    nonce = secrets.token_bytes(_NONCE_BYTES).hex() if for_signature else None
    with opened(profile) as client:
        draft = _draft(client, {**terms, "nonce": nonce})
        result = client.request_consents([draft])
    for refusal in result.refused:
        raise click.ClickException(
            printable(f"{refusal.field}: {refusal.description} [{refusal.reason}]")
        )
    [requested] = result.requested
    _show_recorded(requested.consent_id, requested.entry_index, nonce, as_json=as_json)


@consent.command()
@click.argument("consent_id")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@profile_option
def terms(consent_id: str, out: Path, profile: Path) -> None:
    """Write the exact bytes that the evidence of a requested consent signs to OUT."""
    import concordat

    with opened(profile) as client:
        found = client.get_consent(_id(consent_id))
        recipient = client.profile.spiffe_id.rpartition("/")[2]
        out.write_bytes(concordat.consent_terms(found, recipient))
    click.echo(f"Wrote {out}: RFC 8785 JSON, to be signed byte for byte (docs/consents.md).")


@consent.command()
@click.argument("consent_id")
@_evidence_options
@_json_option
@profile_option
def activate(
    consent_id: str,
    evidence: Path | None,
    evidence_jws: Path | None,
    as_json: bool,
    profile: Path,
) -> None:
    """Record that the subject has given a requested consent."""
    given = _evidence(evidence, evidence_jws)
    with opened(profile) as client:
        change = client.activate_consent(_id(consent_id), **given)
    show_change(change.consent, change.receipt, "active", as_json=as_json)


@consent.command()
@click.argument("consent_id")
@_reason_option
@_json_option
@profile_option
def pause(consent_id: str, reason: str, as_json: bool, profile: Path) -> None:
    """Pause a consent: it permits nothing until it is resumed."""
    with opened(profile) as client:
        change = client.pause_consent(_id(consent_id), reason)
    show_change(change.consent, change.receipt, "paused", as_json=as_json)


@consent.command()
@click.argument("consent_id")
@_reason_option
@_json_option
@profile_option
def resume(consent_id: str, reason: str, as_json: bool, profile: Path) -> None:
    """Lift a pause."""
    with opened(profile) as client:
        change = client.resume_consent(_id(consent_id), reason)
    show_change(change.consent, change.receipt, "active", as_json=as_json)


@consent.command()
@click.argument("consent_id")
@click.option("--asked-at", type=TIME, help="When the subject asked; UTC unless it says otherwise.")
@click.option("--evidence", type=READ_FILE, help="The subject's words; their SHA-256 is recorded.")
@_json_option
@profile_option
def withdraw(
    consent_id: str,
    asked_at: datetime | None,
    evidence: Path | None,
    as_json: bool,
    profile: Path,
) -> None:
    """Record that the subject withdraws a consent. The operator may name any."""
    with opened(profile) as client:
        change = client.withdraw_consent(
            _id(consent_id),
            asked_at=zoned(asked_at),
            evidence_sha256=None if evidence is None else sha256_of(evidence),
        )
    show_change(change.consent, change.receipt, "withdrawn", as_json=as_json)


@consent.command()
@click.argument("consent_id")
@_reason_option
@click.option("--manager", metavar="MANAGER", help="The consent manager that revoked it.")
@_json_option
@profile_option
def revoke(consent_id: str, reason: str, manager: str | None, as_json: bool, profile: Path) -> None:
    """End a consent by another than its subject. The operator may name any."""
    with opened(profile) as client:
        change = client.revoke_consent(_id(consent_id), reason, manager_id=manager)
    show_change(change.consent, change.receipt, "revoked", as_json=as_json)


@consent.command()
@click.argument("consent_id")
@_json_option
@profile_option
def show(consent_id: str, as_json: bool, profile: Path) -> None:
    """Show one consent."""
    with opened(profile) as client:
        found = client.get_consent(_id(consent_id))
    show_one(found, as_json=as_json)


@consent.command("list")
@click.option(
    "--resident-id",
    metavar="-",
    help='Only this subject\'s. Always "-": the number is read from standard input.',
)
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only these.")
@_json_option
@profile_option
def list_consents(
    resident_id: str | None, states: tuple[str, ...], as_json: bool, profile: Path
) -> None:
    """List the calling member's consents, oldest first."""
    with opened(profile) as client:
        token = None if resident_id is None else token_of(client, resident_id)
        found = [
            one
            for one in client.list_consents(token)
            if not states or one.state.name.lower() in states
        ]
    show_consents(found, as_json=as_json)


def _draft(client: Client, options: dict[str, Any], **evidence: Any) -> ConsentDraft:
    import concordat

    fields = terms_of(options)
    return concordat.ConsentDraft(
        token=token_of(client, options["resident_id"]), **fields, **evidence
    )


def _evidence(document: Path | None, jws: Path | None) -> dict[str, Any]:
    if (document is None) == (jws is None):
        raise click.UsageError("Exactly one of --evidence and --evidence-jws is needed.")
    if document is not None:
        return {"evidence_sha256": sha256_of(document)}
    assert jws is not None
    try:
        return {"evidence_jws": jws.read_text(encoding="utf-8").strip()}
    except UnicodeDecodeError:
        raise click.BadParameter("not text", param_hint="--evidence-jws") from None


def _show_recorded(consent_id: bytes, entry: int, nonce: str | None, *, as_json: bool) -> None:
    if as_json:
        found = {"consent_id": consent_id.hex(), "entry": entry, "nonce": nonce}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"Consent {consent_id.hex()}, ledger entry {entry}.")
    if nonce is not None:
        click.echo(f"Nonce, to be kept with the signature: {nonce}")


def _id(text: str) -> bytes:
    return hex_of(text, "CONSENT_ID")
