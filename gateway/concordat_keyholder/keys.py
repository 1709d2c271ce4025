"""The token keys at rest: a file that only the key-holder reads.

Format: TOML, one ``[[keys]]`` table an epoch with ``epoch`` and ``secret`` (the scalar in hex).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from concordat_privacy.oprf import KEY_BYTES, KeyInvalid, KeyPair, SecretKey
from concordat_rpc.secret_files import read_secret, write_secret
from concordat_rpc.settings import Settings

_MAX_EPOCH = 2**32 - 1


@dataclass(frozen=True, slots=True, repr=False)
class HeldKeys:
    """Key pairs by epoch."""

    pairs: Mapping[int, KeyPair]

    @classmethod
    def load(cls, file: Path) -> HeldKeys:
        """Read the keys; raises SettingsError, whose text never holds a key."""
        settings = Settings.parse(file, read_secret(file))
        pairs: dict[int, KeyPair] = {}
        for table in settings.tables("keys"):
            epoch = table.integer("epoch", 1, _MAX_EPOCH)
            if epoch in pairs:
                raise table.wrong("epoch", f"{epoch} is there twice")
            pairs[epoch] = KeyPair.from_secret(_secret(table))
            table.finish()
        settings.finish()
        if not pairs:
            raise settings.wrong("keys", "at least one key is needed")
        return cls(pairs)

    @staticmethod
    def create(file: Path, epoch: int, pair: KeyPair) -> None:
        """Write a new file with one key; raises FileExistsError rather than overwrite one."""
        text = (
            "# Secret: whoever reads this can undo the tokens.\n"
            f'[[keys]]\nepoch = {epoch}\nsecret = "{bytes(pair.secret).hex()}"\n'
        )
        write_secret(file, text.encode())


def _secret(settings: Settings) -> SecretKey:
    try:
        scalar = bytes.fromhex(settings.text("secret"))
    except ValueError:
        raise settings.wrong("secret", f"{KEY_BYTES} bytes in hexadecimal wanted") from None
    try:
        return SecretKey(scalar)
    except KeyInvalid as error:
        raise settings.wrong("secret", str(error)) from None
