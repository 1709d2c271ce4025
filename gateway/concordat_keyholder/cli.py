"""`concordat keyholder`, the key-holder's command line.

The command line `concordat` finds it by the entry point group ``concordat.commands``: the gateway,
which has that command line, and the key-holder do not import each other. ``python -m
concordat_keyholder`` is the same group.

Every command imports what it needs when it runs, so that help needs no server parts.
"""

from __future__ import annotations

import click

import concordat_rpc  # noqa: F401  first: it settles what gRPC reads when it is imported
from concordat_keyholder.commands.keys import end_epoch, extend_log, forget, new_epoch, reseal
from concordat_keyholder.commands.members import admit, expel, grant, members, quota, usage
from concordat_keyholder.commands.serve import init, request, serve
from concordat_keyholder.commands.shares import join, split, take


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def keyholder() -> None:
    """Hold token keys: serve, rotate, split, admit members."""


for _command in (
    *(init, request, serve),
    *(new_epoch, end_epoch, forget, reseal, extend_log),
    *(split, join, take),
    *(admit, expel, quota, grant, members, usage),
):
    keyholder.add_command(_command)
