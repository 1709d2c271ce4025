"""`concordat keys ...`: the token keys and their log. One file a side of it."""

from __future__ import annotations

import click

from concordat_gateway.commands._keys_pinned import list_keys, pin


@click.group()
def keys() -> None:
    """Token keys: list and pin them."""


for _command in (list_keys, pin):
    keys.add_command(_command)
