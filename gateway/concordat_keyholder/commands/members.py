"""`concordat keyholder admit`, `expel`, `quota`, `grant`, `members` and `usage`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_keyholder.commands._common import (
    config_option,
    errors_shown,
    member_argument,
    opened,
    show_table,
    show_verifier_key,
    shown,
)
from concordat_privacy.moments import micros_of

if TYPE_CHECKING:
    from concordat_keyholder.config import KeyholderConfig
    from concordat_keyholder.roster import Entry

_AMOUNT = click.IntRange(1, 10**12)


@click.command(short_help="Admit a member by its key.")
@member_argument
@config_option
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The member's certificate, PEM.",
)
def admit(member_id: str, config_file: Path, certificate: Path) -> None:
    """Admit MEMBER by the key in its certificate, in the place of any key before.

    Compare both fingerprints with the member over a way that neither the gateway nor the authority
    has a hand in: the certificate alone proves nothing here, and the member knows the key log only
    from its invitation, which the gateway's operator wrote.
    """
    with opened(config_file) as (config, database):
        from concordat_keyholder import roster
        from concordat_keyholder.certificates import CertificateInvalid, read_pem
        from concordat_store.clock import system_clock

        try:
            member = read_pem(certificate.read_bytes(), config.trust_domain)
        except CertificateInvalid as error:
            raise click.ClickException(f"{certificate}: {error}") from None
        if member.member_id != member_id:
            raise click.ClickException(
                f"{certificate}: is {member.member_id}'s and not {member_id}'s"
            )
        with database.write() as connection:
            roster.admit(connection, member, system_clock())
    click.echo(f"Admitted {member_id}. SHA-256 of its public key:")
    click.echo(f"  {roster.fingerprint(member.key_der)}")
    click.echo("The member compares in its turn the key that verifies the key log:")
    show_verifier_key(config.key_log_vkey)


@click.command(short_help="Evaluate nothing for a member.")
@member_argument
@config_option
def expel(member_id: str, config_file: Path) -> None:
    """Evaluate nothing for MEMBER any more, until it is admitted again."""
    _check(member_id)
    with opened(config_file) as (_, database):
        from concordat_keyholder import roster
        from concordat_store.clock import system_clock

        with database.write() as connection:
            was_admitted = roster.expel(connection, member_id, system_clock())
    click.echo(f"Expelled {member_id}." if was_admitted else f"{member_id} was not admitted.")


@click.command()
@member_argument
@config_option
@click.option("--daily", type=_AMOUNT, required=True, help="Evaluations a day, UTC.")
@click.option("--monthly", type=_AMOUNT, required=True, help="Evaluations a month, UTC.")
def quota(member_id: str, config_file: Path, daily: int, monthly: int) -> None:
    """Give MEMBER a quota of its own."""
    if monthly < daily:
        raise click.UsageError(f"{monthly} a month is less than {daily} a day")
    _check(member_id)
    with opened(config_file) as (config, database):
        from concordat_keyholder import roster

        with database.write() as connection:
            roster.set_quota(connection, member_id, daily, monthly)
            known = roster.entries(connection)
    click.echo(f"{member_id}: {daily} evaluations a day, {monthly} a month.")
    _tell_unless_admitted(member_id, config, known)


@click.command(short_help="Grant an allowance for a portfolio.")
@member_argument
@config_option
@click.option("--evaluations", type=_AMOUNT, required=True, help="How many, once.")
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), required=True, help="Last day, UTC, included."
)
def grant(member_id: str, config_file: Path, evaluations: int, until: datetime) -> None:
    """Grant MEMBER an allowance to tokenise a portfolio, in the place of an older one."""
    _check(member_id)
    expires_at = micros_of(until.replace(tzinfo=UTC) + timedelta(days=1))
    with opened(config_file) as (config, database):
        from concordat_keyholder import allowances, roster
        from concordat_store.clock import system_clock

        now = system_clock()
        if expires_at <= now:
            raise click.BadParameter("is over", param_hint="--until")
        with database.write() as connection:
            allowances.grant(connection, member_id, evaluations, expires_at, now)
            known = roster.entries(connection)
    click.echo(f"{member_id}: {evaluations} evaluations for a portfolio until {until:%Y-%m-%d}.")
    _tell_unless_admitted(member_id, config, known)


@click.command()
@config_option
def members(config_file: Path) -> None:
    """List who is admitted, by which key, and its quota."""
    with opened(config_file) as (config, database):
        from concordat_keyholder import roster

        with database.read() as connection:
            entries = roster.entries(connection)
        rows: list[tuple[object, ...]] = [
            ("MEMBER", "STATE", "SINCE", "A DAY", "A MONTH", "SHA-256 OF ITS PUBLIC KEY")
        ]
        for entry in entries:
            if entry.expelled_at is not None:
                state, since = "expelled", entry.expelled_at
            elif entry.is_admitted:
                state, since = "admitted", entry.admitted_at or 0
            else:
                state, since = "not yet", 0
            own = entry.quota(config.quota)
            when = shown(since) if since else ""
            rows.append((entry.member_id, state, when, own.daily, own.monthly, entry.fingerprint))
        show_table(rows)


@click.command()
@config_option
def usage(config_file: Path) -> None:
    """Show what members have used of their quotas and allowances, and gateways of the updates.

    Updates carry elements to the next key epoch, in rotations and in the overlap that follows.
    """
    with opened(config_file) as (config, database):
        from concordat_keyholder import allowances, roster, updates
        from concordat_keyholder.batches import Charged
        from concordat_store import meters
        from concordat_store.clock import system_clock

        now = system_clock()
        with database.read() as connection:
            granted = {one.member_id: one for one in allowances.allowances(connection)}
            known = {one.member_id: one for one in roster.entries(connection)}
            rows: list[tuple[object, ...]] = [
                ("MEMBER", "TODAY", "OF", "THIS MONTH", "OF", "PORTFOLIO", "OF", "UNTIL")
            ]
            for member_id in sorted(known.keys() | granted.keys()):
                meter = meters.read(connection, member_id, Charged.ONLINE, now)
                own = known[member_id].quota(config.quota) if member_id in known else config.quota
                allowance = granted.get(member_id)
                rows.append(
                    (
                        *(member_id, meter.today, own.daily, meter.this_month, own.monthly),
                        "" if allowance is None else allowance.used,
                        "" if allowance is None else allowance.granted,
                        "" if allowance is None else shown(allowance.expires_at),
                    )
                )
            updated = updates.used(connection, now)
        show_table(rows)
        if updated:
            click.echo()
            show_table(
                [
                    ("GATEWAY", "UPDATES TODAY", "OF", "THIS MONTH"),
                    *(
                        (
                            *("all" if gateway == updates.ALL else gateway, meter.today),
                            *(config.updates_daily if gateway == updates.ALL else "",),
                            meter.this_month,
                        )
                        for gateway, meter in updated.items()
                    ),
                ]
            )


def _tell_unless_admitted(member_id: str, config: KeyholderConfig, known: Sequence[Entry]) -> None:
    # In development whoever has a certificate is admitted by its first batch.
    if config.admission.value == "roster" and not any(
        one.member_id == member_id and one.is_admitted for one in known
    ):
        click.echo(f"{member_id} is not admitted here; nothing is evaluated for it until it is.")


def _check(member_id: str) -> None:
    """A mistyped name would be kept and never asked for."""
    with errors_shown():
        from concordat_rpc.peer import Role, spiffe_id

        try:
            spiffe_id("example.org", Role.MEMBER, member_id)
        except ValueError:
            raise click.BadParameter("not a member id", param_hint="MEMBER") from None
