"""How consents are shown: a row of a table, or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import show_table

if TYPE_CHECKING:
    from concordat import Consent, ConsentManager, Receipt


def show_consents(consents: Sequence[Consent], *, as_json: bool) -> None:
    """Print consents, oldest first."""
    if as_json:
        click.echo(json.dumps([plain(consent) for consent in consents], indent=2))
        return
    if not consents:
        click.echo("No consents.")
        return
    rows = [("consent", "state", "purposes", "categories", "from", "until", "jurisdiction")]
    rows += [
        (
            consent.consent_id.hex(),
            state_words(consent, datetime.now(UTC)),
            ",".join(sorted(purpose.name.lower() for purpose in consent.purposes)),
            ",".join(sorted(category.name.lower() for category in consent.categories)),
            f"{consent.starts_at:%Y-%m-%d}",
            f"{consent.expires_at:%Y-%m-%d}",
            consent.jurisdiction or "",
        )
        for consent in consents
    ]
    show_table(rows)


def show_one(consent: Consent, *, as_json: bool) -> None:
    """Print all fields of one consent that have a value."""
    fields = plain(consent)
    if as_json:
        click.echo(json.dumps(fields, indent=2))
        return
    fields["state"] = state_words(consent, datetime.now(UTC))
    show_table([(name, _text(value)) for name, value in fields.items() if value is not None])


def show_change(consent: Consent, receipt: Receipt | None, word: str, *, as_json: bool) -> None:
    """Print what a change did."""
    if as_json:
        entry = None if receipt is None else receipt.entry_index
        click.echo(json.dumps({"consent": plain(consent), "entry": entry}, indent=2))
    elif receipt is None:
        click.echo(f"{consent.consent_id.hex()} was {word} before: nothing changed.")
    else:
        click.echo(f"{consent.consent_id.hex()} is {word} now, ledger entry {receipt.entry_index}.")


def show_managers(managers: Sequence[ConsentManager], *, as_json: bool) -> None:
    """Print consent managers."""
    if as_json:
        click.echo(json.dumps([plain(manager) for manager in managers], indent=2))
        return
    rows = [("manager", "name", "registered", "disabled", "key (RFC 7638)")]
    rows += [
        (
            manager.manager_id,
            manager.name,
            f"{manager.registered_at:%Y-%m-%d}",
            "" if manager.disabled_at is None else f"{manager.disabled_at:%Y-%m-%d}",
            manager.key.hex(),
        )
        for manager in managers
    ]
    show_table(rows)


def state_words(consent: Consent, now: datetime) -> str:
    """The state, and from when it permits where that is yet to come."""
    name = consent.state.name.lower()
    if consent.starts_at > now and name in ("active", "paused", "requested"):
        return f"{name}, begins {consent.starts_at:%Y-%m-%d %H:%M} UTC"
    return name


def plain(record: Consent | ConsentManager) -> dict[str, object]:
    """A record for JSON: bytes in hexadecimal, times in RFC 3339, names in lower case."""
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def _plain(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat()
        case IntEnum():
            return value.name.lower()
        case frozenset():
            return [_plain(member) for member in sorted(value)]
        case _ if dataclasses.is_dataclass(value):
            return {
                field.name: _plain(getattr(value, field.name))
                for field in dataclasses.fields(value)
            }
        case _:
            return value


def _text(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return " ".join(map(_text, reversed(list(value.values()))))
        case _:
            return str(value)
