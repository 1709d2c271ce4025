"""`concordat keyholder split`, `join` and `take`."""

from __future__ import annotations

from pathlib import Path

import click

from concordat_keyholder.commands._common import (
    config_option,
    errors_shown,
    loaded,
    log_key_option,
    newest_log_option,
    show_log,
)

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(short_help="Deal the keys out in shares.")
@config_option
@click.option("--threshold", type=int, required=True, help="How many answer together.")
@click.option("--holders", type=int, required=True, help="How many there are.")
@click.option("--out", type=_FOLDER, required=True, help="New folder for the holders' folders.")
@log_key_option
@newest_log_option
def split(
    config_file: Path,
    threshold: int,
    holders: int,
    out: Path,
    log_key: Path | None,
    newest: Path | None,
) -> None:
    """Deal the whole keys out in shares, a folder a holder, and log the public shares.

    Fewer holders than the threshold learn nothing of a key; the loss of as many as leave the
    threshold loses no service.
    """
    with errors_shown():
        from concordat_keyholder.dealing import deal

        config = loaded(config_file, log_key)
        dealt = deal(config, threshold, holders, out.absolute(), newest)
    epochs = ", ".join(map(str, dealt.epochs))
    click.echo(f"Dealt epoch {epochs}, {threshold} of {holders}:")
    for folder in dealt.folders:
        click.echo(f"  {folder}")
    click.echo("Bring each to its holder by a way of its own.")
    if dealt.is_first:
        click.echo("There: request a certificate (concordat keyholder request), set listen,")
        click.echo("reseal the keys, admit the members with their quotas, serve.")
    else:
        click.echo("There the holder takes its new share:")
        click.echo("  concordat keyholder take FOLDER --config keyholder.toml")
    show_log(config, dealt.log)
    click.echo("Then destroy, with every backup, what still has the whole key or all its shares:")
    click.echo(f"  {config.keys}")
    click.echo(f"  {out.absolute()}")
    click.echo("Keep log.key, away from the holders: it signs the key log.")
    quota = config.quota
    click.echo(
        "Each holder meters alone, and a member may choose who answers. So that all together"
    )
    click.echo(f"give what [quota] says now, each holder's should be {threshold}/{holders} of it:")
    click.echo(f"  daily = {max(1, quota.daily * threshold // holders)}")
    click.echo(f"  monthly = {max(1, quota.monthly * threshold // holders)}")


@click.command(short_help="Put shares together to whole keys.")
@click.argument("folders", nargs=-1, required=True, type=_FOLDER)
@click.option("--out", type=_FOLDER, required=True, help="New folder for the whole keys.")
def join(folders: tuple[Path, ...], out: Path) -> None:
    """Put the whole keys together from the threshold of holders' FOLDERS.

    For a new epoch: join, new-epoch --log-key, split --log-key; each holder takes its new share;
    destroy the whole keys again.
    """
    with errors_shown():
        from concordat_keyholder.dealing import folder_config
        from concordat_keyholder.dealing import join as join_shares

        configs = [loaded(folder_config(folder)) for folder in folders]
        epochs = join_shares(configs, out.absolute())
    click.echo(f"{out.absolute()} has the whole key of epoch {', '.join(map(str, epochs))}.")
    click.echo("Destroy it, with seal.key, as soon as it was split again.")


@click.command(short_help="Take the new shares of a dealt folder.")
@click.argument("folder", type=_FOLDER)
@config_option
def take(folder: Path, config_file: Path) -> None:
    """Take the new shares in a dealt FOLDER, and its longer key log."""
    with errors_shown():
        from concordat_keyholder.dealing import folder_config
        from concordat_keyholder.dealing import take as take_shares

        config = loaded(config_file)
        epochs = take_shares(config, loaded(folder_config(folder)))
    new = ", ".join(map(str, epochs)) or "none"
    click.echo(f"Shares of new epochs: {new}. Destroy {folder}.")
