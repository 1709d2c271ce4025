"""The peppers' files, as a rotation makes them and as their epoch's end destroys them."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from concordat_gateway.config import GatewayConfig
from concordat_gateway.store.subjects import PEPPER_BYTES
from concordat_rpc.secret_files import write_secret
from concordat_rpc.settings import SettingsError, toml_text

_TABLE = "[peppers]\n"


def provide_pepper(config: GatewayConfig, epoch: int) -> Path | None:
    """See that there is a pepper of the epoch; its file, where one had to be made.

    It lies beside the others, and the configuration names it. Raises SettingsError where the
    configuration cannot be changed; the text says what to write there.
    """
    file = config.peppers.get(epoch)
    if file is None:
        file = next(iter(config.peppers.values())).with_name(f"pepper-{epoch}.key")
        _name_in_configuration(config.file, epoch, file)
    if file.exists():
        return None
    write_secret(file, f"{secrets.token_hex(PEPPER_BYTES)}\n".encode())
    return file


def destroy_pepper(file: Path) -> bool:
    """Overwrite and remove a pepper's file; False if there is none.

    What a backup or the disk's own copies still hold is not reached.
    """
    with suppress(FileNotFoundError):
        with file.open("r+b") as opened:
            opened.write(os.urandom(len(opened.read())))
            opened.flush()
            os.fsync(opened.fileno())
        file.unlink()
        return True
    return False


def _name_in_configuration(configuration: Path, epoch: int, file: Path) -> None:
    named = Path(os.path.relpath(file, configuration.parent))
    line = f"{epoch} = {toml_text(str(named))}\n"
    text = configuration.read_text(encoding="utf-8")
    if _TABLE not in text:
        raise SettingsError(f"{configuration}: add {line.strip()} to [peppers]")
    changed = configuration.with_name(f"{configuration.name}.changed")
    try:
        changed.unlink(missing_ok=True)
        write_secret(changed, text.replace(_TABLE, _TABLE + line, 1).encode())
        changed.replace(configuration)
    except OSError as error:
        raise SettingsError(
            f"{configuration}: {error.strerror}: add {line.strip()} to [peppers]"
        ) from None
