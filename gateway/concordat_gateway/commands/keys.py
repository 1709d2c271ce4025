"""`concordat keys ...`: the token keys and their log. One file a side of it."""

from __future__ import annotations

import click

from concordat_gateway.commands._rotating import retire, rotate, status


@click.group()
def keys() -> None:
    """Token keys: rotate the stores to the next, retire old ones."""


for _command in (rotate, status, retire):
    keys.add_command(_command)
