"""`concordat keys list` and `concordat keys pin`: what a profile knows of the token keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option, show_table
from concordat_gateway.profiles import KEY_LOG

if TYPE_CHECKING:
    import concordat


@click.command("list")
@profile_option
def list_keys(profile: Path) -> None:
    """List the key epochs.

    The gateway's key log is verified first: the profile's key must have signed it, and it must
    begin with every entry of the pinned one. Then it is kept in the profile; the last column tells
    what was there before.
    """
    with opened(profile) as client:
        found = client.list_token_keys()
    show_table([("epoch", "public key", "from", "to", "held by", "pinned"), *map(_line, found)])


@click.command()
@profile_option
def pin(profile: Path) -> None:
    """Keep the gateway's key log in the profile, if it extends the pinned one.

    Every command keeps what it learns; this one asks the gateway.
    """
    with opened(profile) as client:
        client.list_token_keys()
        newest = client.key_log
        pinned = client.profile.key_log
    if newest is None or pinned is None:
        # Listing has refused such a profile already.
        raise click.ClickException("the profile pins no key log")
    if newest == pinned.text:
        click.echo(f"The profile has the newest key log: {len(pinned.entries)} entries.")
        return
    click.echo(f"{profile / KEY_LOG} extends to the gateway's key log now.")


def _line(key: concordat.TokenKeyInfo) -> tuple[str, ...]:
    return (
        str(key.epoch),
        key.public_key.hex(),
        f"{key.valid_from:%Y-%m-%d %H:%M}",
        "" if key.valid_to is None else f"{key.valid_to:%Y-%m-%d %H:%M}",
        f"{key.threshold} of {key.holders}" if key.holders else "one",
        "yes" if key.pinned else "no",
    )
