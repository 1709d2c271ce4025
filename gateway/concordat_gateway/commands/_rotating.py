"""`concordat keys rotate`, `status` and `retire`: the operator's side of the token keys."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from concordat_gateway.config import GatewayConfig
    from concordat_gateway.rules.rotation import Progress, Status
    from concordat_privacy.keylog import EpochKey

_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="gateway.toml.",
)
_STEPS = {
    "prepare": "names made for the next epoch",
    "signals": "buckets of signals moved",
    "control": "subjects of control moved",
}


@click.command()
@_config_option
@click.option("--to", "to_epoch", type=click.IntRange(2), help="By default the next epoch.")
@click.option(
    "--leave-unsealed",
    is_flag=True,
    help="Leave subjects behind of which no element is kept; new tokens do not find them.",
)
@click.option(
    "--prepare-anew",
    is_flag=True,
    help="Forget what an interrupted rotation prepared, where the pepper it was made with is lost.",
)
def rotate(
    config_file: Path, to_epoch: int | None, leave_unsealed: bool, prepare_anew: bool
) -> None:
    """Move the stores to the next key epoch, while the gateway serves or not.

    Most of it is done while the gateway serves. During the last part it answers what names
    subjects with UNAVAILABLE, reason TOKENS_ROTATING. If it is interrupted, run it again: it goes
    on. Rotate before the new key's first day, and no member will notice.
    """
    with _errors_shown():
        import secrets
        import threading

        from concordat_gateway.commands._peppers import provide_pepper
        from concordat_gateway.config import load_config
        from concordat_gateway.embedded import running_keyholders
        from concordat_gateway.keyholder import KeyholderClient
        from concordat_gateway.keylog import KeyLogFile
        from concordat_gateway.rules.adopting import adopt_keys
        from concordat_gateway.rules.anchors import check_anchors
        from concordat_gateway.rules.rotation import OWNER_BYTES, Means
        from concordat_gateway.rules.rotation import rotate as rotate_stores
        from concordat_gateway.rules.rotation import status as read_status
        from concordat_gateway.server import (
            endpoints,
            opened_stores,
            opened_subject_keys,
            peppers,
        )
        from concordat_gateway.store.migrate import check_stores
        from concordat_rpc import logs
        from concordat_rpc.peer import read_certificate
        from concordat_rpc.tls import load_identity

        logs.configure("rotation")
        config = load_config(config_file)
        check_stores(*config.stores.all)
        identity = load_identity(
            config.identity.certificate, config.identity.private_key, config.identity.ca
        )
        key_log = KeyLogFile(config.key_log, config.key_log_vkey)
        with (
            _alone(config_file),
            opened_stores(config) as (journal, signals),
            opened_subject_keys(config) as keys,
            running_keyholders(config, threading.Event(), beside_a_gateway=True) as keyholders,
        ):
            check_anchors(journal, keys)
            now = read_status(journal, signals)
            wanted = now.rotation.to_epoch if now.rotation else now.epoch + 1
            # Only for an epoch that there is: a mistaken call leaves nothing behind.
            if to_epoch in (None, wanted) and key_log.current().key(wanted) is not None:
                is_new = not now.is_moving and (prepare_anew or not now.prepared)
                made = provide_pepper(config, wanted, is_new=is_new)
                if made is not None:
                    click.echo(f"Made {made}, the pepper of epoch {wanted}. Back it up.", err=True)
            config = load_config(config_file)
            certificate = read_certificate(identity.certificate_pem, config.trust_domain)
            client = KeyholderClient(endpoints(config, keyholders.addresses), identity)
            # The stores move to a key that the ledger knows, whether a gateway serves it or not.
            adopt_keys(journal, key_log.current(), certificate.peer.spiffe_id)
            means = Means(
                journal=journal,
                signals=signals,
                keys=keys,
                key_log=key_log.current(),
                pepper=peppers(config).pepper,
                update=client.update,
                actor=certificate.peer.spiffe_id,
                report=_Shown(),
                owner=secrets.token_bytes(OWNER_BYTES),
            )
            rotated = rotate_stores(
                means, to_epoch, leave_unsealed=leave_unsealed, prepare_anew=prepare_anew
            )
    click.echo(
        f"The stores are at epoch {rotated.to_epoch}; {rotated.subjects} subjects were moved."
    )
    click.echo(f"Tokens of epoch {rotated.from_epoch} are taken until its end in the key log.")


@click.command()
@_config_option
def status(config_file: Path) -> None:
    """Show the stores' epoch, a rotation under way, and the epochs of the key log."""
    with _errors_shown():
        from concordat_gateway.config import load_config
        from concordat_gateway.keylog import KeyLogFile
        from concordat_gateway.rules.rotation import status as read_status
        from concordat_gateway.server import opened_stores
        from concordat_gateway.store.migrate import check_stores
        from concordat_store.clock import system_clock

        config = load_config(config_file)
        check_stores(*config.stores.all)
        log = KeyLogFile(config.key_log, config.key_log_vkey).current()
        with opened_stores(config) as (journal, signals):
            found = read_status(journal, signals)
    for line in _status_lines(found):
        click.echo(line)
    click.echo("Key log:")
    for key in log.keys:
        click.echo(f"  {_key_line(key, config, system_clock())}")


@click.command()
@_config_option
@click.option("--epoch", type=click.IntRange(1), required=True)
@click.option("--yes", is_flag=True, help="Really destroy its pepper; there is no way back.")
def retire(config_file: Path, epoch: int, yes: bool) -> None:
    """Destroy the pepper of an epoch that has ended, and whatever is sealed under it.

    Then nobody can tell any more which subject an old entry of the ledger was about from an old
    token: the aliases stay, but their old side cannot be computed.
    """
    with _errors_shown():
        from concordat_gateway.commands._peppers import destroy_pepper
        from concordat_gateway.config import load_config
        from concordat_gateway.keylog import KeyLogFile
        from concordat_gateway.rules.retiring import check_forgettable, forget_elements
        from concordat_gateway.server import opened_stores
        from concordat_gateway.store.migrate import check_stores
        from concordat_rpc.peer import read_certificate
        from concordat_rpc.tls import load_identity
        from concordat_store.clock import system_clock

        config = load_config(config_file)
        check_stores(*config.stores.all)
        log = KeyLogFile(config.key_log, config.key_log_vkey).current()
        file = config.peppers.get(epoch)
        with _alone(config_file), opened_stores(config) as (journal, _):
            now = system_clock()
            check_forgettable(journal, log, epoch, now)
            if not yes:
                raise click.ClickException(
                    f"this destroys {file or f'the pepper of epoch {epoch}'} for good; "
                    "say so with --yes"
                )
            identity = load_identity(
                config.identity.certificate, config.identity.private_key, config.identity.ca
            )
            actor = read_certificate(identity.certificate_pem, config.trust_domain).peer.spiffe_id
            leftovers = forget_elements(journal, log, epoch, now, actor)
            destroyed = file is not None and destroy_pepper(file)
    click.echo(f"Forgot {leftovers} elements that were still sealed under epoch {epoch}.")
    if destroyed:
        click.echo(f"Destroyed {file}. Destroy its backups too, take it out of [peppers], and")
        click.echo("restart the gateway: its processes may have it in memory.")
    else:
        click.echo(f"There is no pepper of epoch {epoch} any more.")


class _Shown:
    """Shows progress on stderr, now and then, with the rate."""

    def __init__(self) -> None:
        self._step = ""
        self._began = self._shown = 0.0
        self._from = 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.step != self._step:
            self._step, self._began, self._from, self._shown = progress.step, now, progress.done, 0
        if now - self._shown < 1 and progress.done != progress.total:
            return
        self._shown = now
        seconds = now - self._began
        rate = f", {(progress.done - self._from) / seconds:,.0f}/s" if seconds > 0 else ""
        click.echo(f"{progress.done:,}/{progress.total:,} {_STEPS[progress.step]}{rate}", err=True)


def _status_lines(found: Status) -> Iterator[str]:
    if found.rotation is None:
        yield f"Stores: epoch {found.epoch}"
    else:
        under_way = found.rotation
        yield (
            f"Stores: rotation from epoch {under_way.from_epoch} to {under_way.to_epoch}, "
            f"{under_way.state.name.lower()}; `concordat keys rotate` goes on with it"
        )
        yield f"  {found.prepared} subjects are prepared, {under_way.moved} moved"
    yield f"  {found.sealed} subjects have a sealed element, which a rotation needs"
    if found.unsealed:
        yield f"  {found.unsealed} subjects have no sealed element and cannot be moved"


def _key_line(key: EpochKey, config: GatewayConfig, now: int) -> str:
    from concordat_store.clock import rfc3339

    end = "open" if key.valid_to is None else rfc3339(key.valid_to)
    split = f", split {key.threshold} of {len(key.holders)}" if key.holders else ""
    use = "in use" if key.is_valid(now) else "not in use"
    file = config.peppers.get(key.epoch)
    pepper = "pepper held" if file is not None and file.exists() else "no pepper"
    return f"epoch {key.epoch}: {rfc3339(key.valid_from)} to {end}, {use}{split}, {pepper}"


@contextmanager
def _alone(config_file: Path) -> Iterator[None]:
    """One process at a time changes an installation's epochs; a dead one holds no lock."""
    # Not the file itself: it is replaced where a pepper is added.
    with config_file.parent.joinpath(f".{config_file.name}.keys-lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(
                "another `concordat keys` command is at work on this installation"
            ) from None
        yield


@contextmanager
def _errors_shown() -> Iterator[None]:
    try:
        from concordat_gateway.children import ChildFailed
        from concordat_gateway.keyholder import UPDATES_EXHAUSTED
        from concordat_gateway.rules.rotation import RotationError
        from concordat_privacy.oprf import OprfError
        from concordat_rpc.errors import Refusal
        from concordat_rpc.settings import SettingsError
        from concordat_store.engines import StoreError
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing: this needs the extra `server`"
            " (from a clone: pip install '.[server]')"
        ) from None
    try:
        yield
    except (SettingsError, StoreError, RotationError, ChildFailed, OprfError) as error:
        raise click.ClickException(str(error)) from None
    except Refusal as refusal:
        if refusal.reason == UPDATES_EXHAUSTED:
            hours = (refusal.retry_after_seconds or 0) / 3600
            raise click.ClickException(
                f"{refusal.message}. What was done is kept: run it again in {hours:.1f} hours to "
                "go on, or at once if the key-holder's operator raises updates_daily"
            ) from None
        raise click.ClickException(
            f"{refusal.message}. What was done is kept: run it again to go on"
        ) from None
