"""How commands are told whom they are about: on standard input, never on a command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from concordat import Client, Token


def token_of(client: Client, resident_id: str) -> Token:
    """The token of the person whose number is read. `resident_id` is always "-"."""
    import concordat

    if resident_id != "-":
        raise click.BadParameter(
            'only "-": numbers do not belong on a command line', param_hint="--resident-id"
        )
    number: str
    if sys.stdin.isatty():
        number = click.prompt("Resident id", hide_input=True)
    else:
        number = sys.stdin.readline().strip()
    try:
        [token] = client.tokenise([concordat.ResidentId(number)])
    except concordat.IdentifierInvalid as error:
        raise click.ClickException(str(error)) from None
    return token
