"""`concordat keyholder new-epoch`, `end-epoch`, `forget`, `reseal` and `extend-log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_keyholder.commands._common import (
    config_option,
    errors_shown,
    loaded,
    log_key_option,
    moment,
    newest_log_option,
    show_log,
    shown,
)
from concordat_privacy.epochs import MAX_EPOCH

if TYPE_CHECKING:
    from concordat_keyholder.epochs import Ending

_EPOCH = click.IntRange(1, MAX_EPOCH)


@click.command("new-epoch", short_help="Make and log the next key.")
@config_option
@click.option("--valid-from", callback=moment, help="Start of its use; by default now.")
@log_key_option
@newest_log_option
def new_epoch(
    config_file: Path, valid_from: int | None, log_key: Path | None, newest: Path | None
) -> None:
    """Make the next epoch's key, with its ratio to the last one, and log it.

    Repeat it if it was interrupted: it goes on with the key that it made.
    """
    with errors_shown():
        from concordat_keyholder.epochs import begin_epoch
        from concordat_store.clock import system_clock

        config = loaded(config_file, log_key)
        log = begin_epoch(config, system_clock() if valid_from is None else valid_from, newest)
    made = log.keys[-1]
    click.echo(f"Epoch {made.epoch} is in use from {shown(made.valid_from)}.")
    show_log(config, log)


@click.command("end-epoch")
@config_option
@click.option("--epoch", type=_EPOCH, required=True)
@click.option("--valid-to", callback=moment, required=True, help="Its last moment, excluded.")
@log_key_option
@newest_log_option
@click.option("--yes", is_flag=True, help="Really end it then; it cannot be changed later.")
@click.option(
    "--leave-gap", is_flag=True, help="Also where no other epoch is in use from that moment on."
)
def end_epoch(
    config_file: Path,
    epoch: int,
    valid_to: int,
    log_key: Path | None,
    newest: Path | None,
    yes: bool,
    leave_gap: bool,
) -> None:
    """Log when an epoch ends. It cannot be changed later.

    Nothing is carried on from an epoch that has ended: the gateway's stores must have left it by
    then (concordat keys rotate), or their subjects stay behind.
    """
    with errors_shown():
        from concordat_keyholder.epochs import end_epoch as end
        from concordat_keyholder.epochs import planned_end

        config = loaded(config_file, log_key)
        plan = planned_end(config, epoch, valid_to, newest)
        if plan.leaves_gap and not leave_gap:
            raise click.ClickException(_gap(plan))
        if not yes:
            raise click.ClickException(
                f"epoch {epoch} would end at {shown(valid_to)}, which cannot be changed later; "
                "say so with --yes"
            )
        log = end(config, epoch, valid_to, newest)
    click.echo(f"Epoch {epoch} ends at {shown(valid_to)}.")
    click.echo("By then the stores must be rotated: nothing is carried on from it afterwards.")
    show_log(config, log)


def _gap(plan: Ending) -> str:
    until = "for good" if plan.resumes_at is None else f"until {shown(plan.resumes_at)}"
    return (
        f"no epoch would be in use from {shown(plan.valid_to)} on, {until}: nothing could be "
        "looked up, consented to or contributed, and it cannot be changed later. Make the next "
        "epoch first, or end this one later; to leave the gap, say --leave-gap"
    )


@click.command(short_help="Destroy a key that has ended.")
@config_option
@click.option("--epoch", type=_EPOCH, required=True)
@click.option("--yes", is_flag=True, help="Really destroy it; there is no way back.")
def forget(config_file: Path, epoch: int, yes: bool) -> None:
    """Destroy the key, or share, of an epoch that has ended, and the ratio that leads away from it.

    Rows that were not moved to a later epoch stay under the old one for good.
    """
    with errors_shown():
        from concordat_keyholder.epochs import check_forgettable, forget_epoch
        from concordat_store.clock import system_clock

        config, now = loaded(config_file), system_clock()
        check_forgettable(config, epoch, now)
        if not yes:
            raise click.ClickException(
                f"this destroys epoch {epoch}'s key for good; say so with --yes"
            )
        forget_epoch(config, epoch, now)
    click.echo(f"Epoch {epoch}'s key is gone from {config.keys}; what that held was overwritten.")
    click.echo("Destroy its backups and snapshots too, and whatever else the disk may have kept.")


@click.command()
@config_option
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Seal by this key-file; made if it is missing.",
)
@click.option(
    "--passphrase", help='Seal by a passphrase: "prompt", "environment:NAME" or "file:PATH".'
)
def reseal(config_file: Path, key_file: Path | None, passphrase: str | None) -> None:
    """Seal the token keys by another key-file or passphrase.

    Also seals the file of an older build, whose keys are in the open. What the file held before is
    overwritten; backups, snapshots and a disk that writes elsewhere may still have it.
    """
    if (key_file is None) == (passphrase is None):
        raise click.UsageError("exactly one is wanted of --key-file and --passphrase")
    with errors_shown():
        from concordat_keyholder.files import turn
        from concordat_keyholder.keys import read_keys, read_plain_keys, write_keys
        from concordat_keyholder.sealing import (
            KeyFileSeal,
            PassphraseSeal,
            Seal,
            absolute_source,
            is_passphrase_source,
        )
        from concordat_rpc.settings import toml_text

        config = loaded(config_file)
        with turn(config.folder):
            keys = read_plain_keys(config.keys)
            if keys is None:
                keys, _ = read_keys(config.keys, config.seal)
            seal: Seal
            if passphrase is not None:
                if not is_passphrase_source(passphrase):
                    raise click.BadParameter("not a source of one", param_hint="--passphrase")
                passphrase = absolute_source(passphrase, Path.cwd())
                seal = PassphraseSeal(passphrase)
                entry = f"passphrase = {toml_text(passphrase)}"
            else:
                assert key_file is not None
                file = key_file.absolute()
                seal = KeyFileSeal(file) if file.exists() else KeyFileSeal.created(file)
                entry = f"key_file = {toml_text(str(file))}"
            write_keys(config.keys, keys, seal.fresh(), seal.method, for_good=True)
    click.echo(f"Sealed {config.keys}. In {config.file} the table [seal] must now say:")
    click.echo(f'  method = "{seal.method}"')
    click.echo(f"  {entry}")


@click.command("extend-log", short_help="Take a longer key log.")
@click.argument("longer", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def extend_log(longer: Path, config_file: Path) -> None:
    """Take the longer key log in the file LONGER, where it was signed on another host."""
    with errors_shown():
        from concordat_keyholder.epochs import extend_log as extend
        from concordat_keyholder.keylog import read_log

        config = loaded(config_file)
        log = read_log(longer, config.key_log_vkey)
        extend(config, log)
    click.echo(f"{config.key_log} has {len(log.entries)} entries.")
