"""The command line, `concordat`. One file a group of commands in `concordat_gateway.commands`.

Every command imports what it needs when it runs: members' commands work with the base install,
which has no server parts.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import click

import concordat_rpc  # noqa: F401  first: it settles what gRPC reads when it is imported
from concordat_gateway.commands.ask import ask, budget
from concordat_gateway.commands.audit import audit
from concordat_gateway.commands.consent import consent
from concordat_gateway.commands.contribute import contribute, withdraw_rows
from concordat_gateway.commands.dispute import dispute
from concordat_gateway.commands.erasure import erasure
from concordat_gateway.commands.evidence import evidence
from concordat_gateway.commands.init import init
from concordat_gateway.commands.jobs import jobs
from concordat_gateway.commands.keys import keys
from concordat_gateway.commands.ledger import ledger
from concordat_gateway.commands.lookup import lookup
from concordat_gateway.commands.manager import manager
from concordat_gateway.commands.member import member
from concordat_gateway.commands.notice import notice
from concordat_gateway.commands.pki import pki
from concordat_gateway.commands.serve import serve
from concordat_gateway.commands.usage import quota, usage


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="concordat")
def main() -> None:
    """Share banded credit signals between lenders, under a consent ledger."""


_COMMANDS = (
    *(init, serve, member, consent, notice, dispute, erasure, manager, keys, pki, ledger),
    *(audit, evidence, jobs),
    *(contribute, withdraw_rows, ask, budget, lookup, usage, quota),
)
for _command in _COMMANDS:
    main.add_command(_command)

# Commands of other trust domains: their code and the gateway's do not import each other.
for _entry in entry_points(group="concordat.commands"):
    main.add_command(_entry.load(), _entry.name)

if __name__ == "__main__":
    main()
