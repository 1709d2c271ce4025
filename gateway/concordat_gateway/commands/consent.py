"""`concordat consent ...`: what subjects allow the calling member, and what becomes of it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from concordat_gateway.commands._client import opened, profile_option
from concordat_gateway.commands._consent_view import (
    show_change,
    show_consents,
    show_one,
)
from concordat_gateway.commands._identifier import token_of
from concordat_privacy.shown import printable

if TYPE_CHECKING:
    from concordat import Client, ConsentDraft

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PURPOSES = (
    "underwriting",
    "contribution",
    "portfolio_review",
    "aggregate_statistics",
    "model_training",
    "dispute",
)
_CATEGORIES = ("credit_accounts", "inquiries", "spending", "trade")
_STATES = ("requested", "active", "paused", "withdrawn", "revoked", "expired")
_UNITS = ("hour", "day", "month", "year", "inf")
_NONCE_BYTES = 16

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_reason_option = click.option("--reason", required=True, help="Why; goes into the ledger.")
_subject_option = click.option(
    "--resident-id",
    required=True,
    metavar="-",
    help='Always "-": the number is read from standard input, or asked for.',
)


def _together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator; they show in the order given."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_terms_options = _together(
    _subject_option,
    click.option(
        "--purpose", "purposes", type=click.Choice(_PURPOSES), multiple=True, required=True
    ),
    click.option(
        "--category", "categories", type=click.Choice(_CATEGORIES), multiple=True, required=True
    ),
    click.option("--starts", type=_TIME, help="UTC unless it says otherwise; default: at once."),
    click.option("--expires", type=_TIME, required=True, help="UTC unless it says otherwise."),
    click.option("--notice-version", required=True),
    click.option("--notice", type=_FILE, help="The notice; its SHA-256 is recorded."),
    click.option("--language", help="BCP 47 tag, such as zh-Hans-CN."),
    click.option("--withdrawal-method", help="How the subject can withdraw, such as a URL."),
    click.option("--jurisdiction", help='Such as "CN"; default: the gateway\'s.'),
    click.option(
        "--data-life",
        type=(int, click.Choice(_UNITS)),
        help='How long what is learned may be kept: "6 month"; "0 inf" without end.',
    ),
    click.option(
        "--frequency",
        type=(int, click.Choice(_UNITS)),
        help='How often it may be used: "3 day" three times a day; "1 inf" once in all.',
    ),
)
_evidence_options = _together(
    click.option("--evidence", type=_FILE, help="The signed document; its SHA-256 is recorded."),
    click.option("--evidence-jws", type=_FILE, help="File with a detached JWS over the terms."),
)
_nonce_option = click.option(
    "--nonce",
    metavar="HEX",
    help="16 random bytes that bind signed terms to the subject; keep them with the signature.",
)


@click.group()
def consent() -> None:
    """Record, read and end consents."""


@consent.command()
@_terms_options
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
        draft = _draft(client, terms, given)
        result = client.grant_consents([draft])
    for refusal in result.refused:
        raise click.ClickException(
            printable(f"{refusal.field}: {refusal.description} [{refusal.reason}]")
        )
    [granted] = result.granted
    _show_recorded(granted.consent_id, granted.entry_index, None, as_json=as_json)


@consent.command()
@_terms_options
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
        draft = _draft(client, {**terms, "nonce": nonce}, {})
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
@click.option(
    "--asked-at", type=_TIME, help="When the subject asked; UTC unless it says otherwise."
)
@click.option("--evidence", type=_FILE, help="The subject's words; their SHA-256 is recorded.")
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
            asked_at=_zoned(asked_at),
            evidence_sha256=None if evidence is None else _sha256(evidence),
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


def _draft(client: Client, terms: dict[str, Any], evidence: dict[str, Any]) -> ConsentDraft:
    import concordat

    life, frequency, notice = terms["data_life"], terms["frequency"], terms["notice"]
    nonce = terms.get("nonce")
    return concordat.ConsentDraft(
        token=token_of(client, terms["resident_id"]),
        purposes={concordat.Purpose[name.upper()] for name in terms["purposes"]},
        categories={concordat.DataCategory[name.upper()] for name in terms["categories"]},
        starts_at=_zoned(terms["starts"]),
        expires_at=_zoned(terms["expires"]),  # type: ignore[arg-type]  # a required option
        notice_version=terms["notice_version"],
        notice_sha256=None if notice is None else _sha256(notice),
        language=terms["language"],
        withdrawal_method=terms["withdrawal_method"],
        jurisdiction=terms["jurisdiction"],
        data_life=life and concordat.Period(concordat.TimeUnit[life[1].upper()], life[0]),
        frequency=frequency
        and concordat.Frequency(concordat.TimeUnit[frequency[1].upper()], frequency[0]),
        evidence_nonce=None if nonce is None else _hex(nonce, "--nonce"),
        **evidence,
    )


def _evidence(document: Path | None, jws: Path | None) -> dict[str, Any]:
    if (document is None) == (jws is None):
        raise click.UsageError("Exactly one of --evidence and --evidence-jws is needed.")
    if document is not None:
        return {"evidence_sha256": _sha256(document)}
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
    return _hex(text, "CONSENT_ID")


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter("not hexadecimal", param_hint=what) from None


def _sha256(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _zoned(time: datetime | None) -> datetime | None:
    from datetime import UTC

    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=UTC)
