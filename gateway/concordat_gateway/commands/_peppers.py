"""The peppers' files, as a rotation makes them and as their epoch's end destroys them."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from concordat_gateway.config import GatewayConfig
from concordat_gateway.store.subjects import PEPPER_BYTES
from concordat_rpc.secret_files import replace_secret
from concordat_rpc.settings import SettingsError, toml_text

_TABLE = "[peppers]\n"


def provide_pepper(config: GatewayConfig, epoch: int, *, is_new: bool) -> Path | None:
    """See that there is a pepper of the epoch; its file, where one had to be made.

    It lies beside the others, and the configuration names it. `is_new` where nothing was made with
    it yet; otherwise another one would lose whoever was named with the one that is missing.

    Raises SettingsError where it is missing and not new, or where the configuration cannot be
    changed; the text says what to write there.
    """
    named = config.peppers.get(epoch)
    file = named or next(iter(config.peppers.values())).with_name(f"pepper-{epoch}.key")
    if not is_new and not file.exists():
        raise SettingsError(
            f"{file}: missing, and the rotation under way has made names with this pepper: bring "
            "it back, or, as long as nothing is moved, begin again with --prepare-anew"
        )
    if named is None:
        _name_in_configuration(config.file, epoch, file)
    if file.exists():
        return None
    replace_secret(file, f"{secrets.token_hex(PEPPER_BYTES)}\n".encode())
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
    try:
        replace_secret(configuration, text.replace(_TABLE, _TABLE + line, 1).encode())
    except OSError as error:
        raise SettingsError(
            f"{configuration}: {error.strerror}: add {line.strip()} to [peppers]"
        ) from None
