"""`concordat usage` and `concordat quota ...`: how much members ask, and how much they may."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option, show_table

if TYPE_CHECKING:
    from concordat import MemberUsage


@click.command()
@click.option("--member", metavar="MEMBER", help="Only this one; for operator and auditor.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@profile_option
def usage(member: str | None, as_json: bool, profile: Path) -> None:
    """Show counters, limits and alarms: a member's own, or all for operator and auditor.

    Days and months begin at midnight UTC. What the alarms mean is in docs/usage.md.
    """
    with opened(profile) as client:
        members = client.usage(member)
    if as_json:
        click.echo(json.dumps([_plain(found) for found in members], indent=2))
        return
    rows = [("member", "counted", "today", "limit", "this month", "limit")]
    rows += [
        (
            found.member_id,
            one.kind.name.lower(),
            str(one.today),
            _limit(one.daily_limit),
            str(one.this_month),
            _limit(one.monthly_limit),
        )
        for found in members
        for one in found.usage
    ]
    show_table(rows)
    _show_alarms(members)


@click.group()
def quota() -> None:
    """Set what a member may ask."""


@quota.command("set")
@click.argument("member_id")
@click.option("--daily", type=click.IntRange(1), required=True, help="Lookups a day.")
@click.option("--monthly", type=click.IntRange(1), required=True, help="Lookups a month.")
@profile_option
def set_quota(member_id: str, daily: int, monthly: int, profile: Path) -> None:
    """Set MEMBER_ID's quota of lookups, from the next one on. For the operator.

    It goes into the ledger. Rate and burst stay as the gateway configures them.
    """
    with opened(profile) as client:
        client.set_lookup_quota(member_id, daily, monthly)
    click.echo(f"{member_id} may make {daily} lookups a day and {monthly} a month now.")


def _show_alarms(members: Sequence[MemberUsage]) -> None:
    alarms = [(found.member_id, alarm) for found in members for alarm in found.alarms]
    if not alarms:
        click.echo("No alarms in the last 31 days.")
        return
    click.echo()
    rows = [("day", "member", "alarm", "")]
    rows += [
        (alarm.day.isoformat(), member_id, alarm.kind.name, alarm.description)
        for member_id, alarm in alarms
    ]
    show_table(rows)


def _limit(limit: int | None) -> str:
    return "" if limit is None else str(limit)


def _plain(found: MemberUsage) -> dict[str, object]:
    return {
        "member": found.member_id,
        "as_of": found.as_of.isoformat(),
        "usage": {
            one.kind.name.lower(): {
                "today": one.today,
                "this_month": one.this_month,
                "daily_limit": one.daily_limit,
                "monthly_limit": one.monthly_limit,
            }
            for one in found.usage
        },
        "alarms": [
            {
                "day": alarm.day.isoformat(),
                "kind": alarm.kind.name,
                "description": alarm.description,
            }
            for alarm in found.alarms
        ],
    }
