"""`concordat member ...`: who belongs to the consortium."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import errors_shown, opened, profile_option, show_table

if TYPE_CHECKING:
    from concordat_privacy.log.checkpoint import VerifierKey

_REASON = click.option("--reason", required=True, help="Why; goes into the ledger.")


@click.group()
def member() -> None:
    """Invite, join, suspend, reinstate, list."""


@member.command()
@click.argument("member_id")
@click.option("--name", required=True, help="The institution's name, for people.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="New file for the invitation. Hand it over on a safe way: it is good once, for whoever "
    "has it.",
)
@profile_option
def invite(member_id: str, name: str, out: Path, profile: Path) -> None:
    """Invite an institution as MEMBER_ID. For the operator.

    An interrupted command leaves OUT.pending; repeated, it goes on from there.
    """
    from concordat_gateway.commands._inviting import InvitingRefused
    from concordat_gateway.commands._inviting import invite as invite_member

    with opened(profile) as client:
        try:
            invited = invite_member(client, member_id, name, out)
        except InvitingRefused as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"Invited {member_id}; the invitation in {out} ends {invited.expires_at:%Y-%m-%d}.")


@member.command()
@click.argument("invitation", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--key-log-vkey",
    metavar="VKEY|@FILE",
    help="The key of the key log, as the key-holder's people told it; an invitation with another "
    "one is refused before anything is written.",
)
def accept(invitation: Path, folder: Path, key_log_vkey: str | None) -> None:
    """Join: make a key, have it certified, write the profile to FOLDER.

    FOLDER must be missing or empty, or hold an attempt that was interrupted.

    The invitation is the gateway operator's word for which token keys are the consortium's. Compare
    the key log's key with the key-holder's people before you make tokens, or give it here.
    """
    from concordat_gateway.commands._invitation import Invitation, InvitationInvalid
    from concordat_gateway.commands._joining import (
        FolderInUse,
        WrongKeyLog,
        join,
        key_fingerprint,
    )

    told = None if key_log_vkey is None else _verifier_key(key_log_vkey)
    with errors_shown():
        try:
            loaded = Invitation.load(invitation)
            joined = join(loaded, folder, told)
        except (InvitationInvalid, FolderInUse, WrongKeyLog) as error:
            raise click.ClickException(str(error)) from None
        fingerprint = key_fingerprint(folder)
    pinned = loaded.key_log_key
    click.echo(f"Joined as {joined.member.member_id}; the profile is in {folder}.")
    click.echo(f"SHA-256 of its public key:\n  {fingerprint}")
    click.echo(f"Key that verifies the key log:\n  {pinned.encode()}")
    click.echo(f"  SHA-256, first half: {pinned.fingerprint}")
    click.echo(
        "Compare both with the key-holder's own people over a way that the gateway has no hand in, "
        "before you make tokens."
    )


@member.command()
@click.argument("member_id")
@_REASON
@profile_option
def suspend(member_id: str, reason: str, profile: Path) -> None:
    """Refuse every further call of MEMBER_ID. For the operator."""
    with opened(profile) as client:
        change = client.suspend_member(member_id, reason)
    _show_change(member_id, "suspended", changed=change.receipt is not None)


@member.command()
@click.argument("member_id")
@_REASON
@profile_option
def reinstate(member_id: str, reason: str, profile: Path) -> None:
    """Lift the suspension of MEMBER_ID. For the operator."""
    with opened(profile) as client:
        change = client.reinstate_member(member_id, reason)
    _show_change(member_id, "active", changed=change.receipt is not None)


@member.command("list")
@profile_option
def list_members(profile: Path) -> None:
    """List the members. For operator and auditor."""
    with opened(profile) as client:
        rows = [("member", "state", "joined", "name")]
        for found in client.list_members():
            joined = "" if found.joined_at is None else f"{found.joined_at:%Y-%m-%d}"
            rows.append((found.member_id, found.state.name, joined, found.display_name))
    show_table(rows)


def _verifier_key(text: str) -> VerifierKey:
    from concordat_privacy.log.checkpoint import VerifierKey
    from concordat_privacy.log.errors import CheckpointError

    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return VerifierKey.decode(text)
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise click.BadParameter(
            f"neither a key nor @ and its file: {error}", param_hint="--key-log-vkey"
        ) from None


def _show_change(member_id: str, state: str, *, changed: bool) -> None:
    click.echo(f"{member_id} is {state} now." if changed else f"{member_id} was {state} before.")
