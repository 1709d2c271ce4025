"""`concordat notice ...`: consents that ended, to acknowledge and to delete by."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option, show_table

if TYPE_CHECKING:
    from concordat import Notice, NoticeChange

_NOTICE_BYTES = 16


@click.group()
def notice() -> None:
    """Settle notices of consents that ended."""


@notice.command("list")
@click.option("--all", "with_settled", is_flag=True, help="Also what is settled.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@profile_option
def list_notices(with_settled: bool, as_json: bool, profile: Path) -> None:
    """What is to be acknowledged and deleted, and by when: a member's own, or all for oversight."""
    with opened(profile) as client:
        found = list(client.list_notices(with_settled=with_settled))
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    if not found:
        click.echo(
            "No notices."
            if with_settled
            else "No notices that are not settled (settled ones: --all)."
        )
        return
    rows = [("notice", "consent", "member", "ended", "acknowledge by", "delete by")]
    rows += [
        (
            one.notice_id.hex(),
            one.consent_id.hex(),
            one.recipient,
            one.cause.name.lower(),
            _state(one.acknowledge_by, one.acknowledged_at),
            _state(one.delete_by, one.confirmed_at),
        )
        for one in found
    ]
    show_table(rows)


@notice.command()
@click.argument("notice_id", metavar="NOTICE")
@profile_option
def acknowledge(notice_id: str, profile: Path) -> None:
    """Acknowledge NOTICE (hexadecimal id)."""
    wanted = _id(notice_id)
    with opened(profile) as client:
        change = client.acknowledge_notice(wanted)
    _show(change, "Acknowledged", "Was acknowledged before.")


@notice.command()
@click.argument("notice_id", metavar="NOTICE")
@click.option(
    "--record",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Your own record of the deletion; its SHA-256 goes into the ledger, not the file.",
)
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="When it was deleted (UTC); by default now.",
)
@profile_option
def deleted(notice_id: str, record: Path, at: datetime | None, profile: Path) -> None:
    """Confirm that what was learned under the consent of NOTICE is deleted."""
    import hashlib

    wanted = _id(notice_id)
    digest = hashlib.sha256(record.read_bytes()).digest()
    moment = datetime.now(UTC) if at is None else at.replace(tzinfo=UTC)
    with opened(profile) as client:
        change = client.confirm_deletion(wanted, moment, digest)
    _show(change, "Deletion confirmed", "Was confirmed before.")


def _show(change: NoticeChange, done: str, before: str) -> None:
    if change.receipt is None:
        click.echo(before)
    else:
        click.echo(f"{done}: entry {change.receipt.entry_index}.")


def _id(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != _NOTICE_BYTES:
        raise click.BadParameter(
            f"{2 * _NOTICE_BYTES} hexadecimal digits wanted", param_hint="NOTICE"
        )
    return value


def _state(by: datetime, done: datetime | None) -> str:
    if done is not None:
        return f"done {done:%Y-%m-%d}"
    late = " (overdue)" if datetime.now(UTC) > by else ""
    return f"{by:%Y-%m-%d %H:%M}{late}"


def _plain(one: Notice) -> dict[str, object]:
    def at(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "notice": one.notice_id.hex(),
        "consent": one.consent_id.hex(),
        "member": one.recipient,
        "cause": one.cause.name.lower(),
        "issued_at": at(one.issued_at),
        "acknowledge_by": at(one.acknowledge_by),
        "delete_by": at(one.delete_by),
        "acknowledged_at": at(one.acknowledged_at),
        "deleted_at": at(one.deleted_at),
        "confirmed_at": at(one.confirmed_at),
    }
