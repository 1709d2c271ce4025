"""`concordat keys ...`: the token keys and their log. One file a side of it."""

from __future__ import annotations

import click

from concordat_gateway.commands._keys_pinned import list_keys, pin
from concordat_gateway.commands._rotating import retire, rotate, status


@click.group()
def keys() -> None:
    """Token keys: list and pin them; rotate the stores to the next, retire old ones."""


for _command in (list_keys, pin, rotate, status, retire):
    keys.add_command(_command)
