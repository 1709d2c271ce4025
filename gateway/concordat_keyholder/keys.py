"""The token keys at rest: a file of sealed secrets that only the key-holder opens.

Format, version 2: TOML, a table ``[seal]`` with the method and its parameters, and a table
``[[keys]]`` an epoch:

    epoch, holder, threshold   0 and 1 for a whole key; else the share's number and how many answer
    public_key                 of what is held, in hexadecimal
    secret                     the scalar, or the share of it, sealed
    update                     the ratio to the epoch before, or the share of it, sealed; or ""

What is open is bound to each sealed secret, so no record can be given another's place. Version 1,
of older builds, had the secrets in the open; ``concordat keyholder reseal`` seals such a file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from concordat_keyholder.files import SECRET, replace_file, replace_for_good
from concordat_keyholder.sealing import Seal, SealBroken, Wrapper
from concordat_privacy.epochs import MAX_EPOCH
from concordat_privacy.oprf import (
    KEY_BYTES,
    MAX_HOLDERS,
    KeyInvalid,
    PublicKey,
    SecretKey,
    Share,
    key_ratio,
)
from concordat_rpc.secret_files import read_secret
from concordat_rpc.settings import Settings, SettingsError, toml_text

VERSION: Final = 2
_DOMAIN: Final = b"concordat/token-keys/v2"
_KEY, _UPDATE = b"\x01", b"\x02"


@dataclass(frozen=True, slots=True, repr=False)
class HeldKey:
    """What is held of one epoch's key: the whole, or a share."""

    epoch: int
    secret: SecretKey
    holder: int = 0
    """Number of the share; 0 where the key is whole."""
    threshold: int = 1
    """How many holders answer together."""
    update: SecretKey | None = None
    """The ratio of this key to the epoch before, or the holder's share of it."""
    public_key: PublicKey = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public_key", self.secret.public_key())

    @property
    def is_whole(self) -> bool:
        return self.holder == 0

    @property
    def share(self) -> Share:
        return Share(self.holder, self.secret)

    @property
    def update_share(self) -> Share | None:
        return None if self.update is None else Share(self.holder, self.update)

    def without_update(self) -> HeldKey:
        """The same without the ratio: nothing of the epoch before can be told from it."""
        return replace(self, update=None)


@dataclass(frozen=True, slots=True, repr=False)
class HeldKeys:
    """What is held, oldest epoch first."""

    records: tuple[HeldKey, ...]

    @classmethod
    def of(cls, records: Iterable[HeldKey]) -> HeldKeys:
        return cls(tuple(sorted(records, key=lambda record: record.epoch)))

    def __iter__(self) -> Iterator[HeldKey]:
        return iter(self.records)

    def get(self, epoch: int) -> HeldKey | None:
        """What is held of an epoch."""
        return next((record for record in self.records if record.epoch == epoch), None)


def read_keys(file: Path, seal: Seal) -> tuple[HeldKeys, Wrapper]:
    """Unseal the keys; also what they were wrapped with.

    Raises SettingsError, whose text never holds a key: unreadable, malformed, of version 1, sealed
    by another method or key, or changed.
    """
    settings = Settings.parse(file, read_secret(file))
    if not settings.has("version"):
        raise SettingsError(
            f"{file}: a file of an older build, whose keys are in the open; "
            "seal it with: concordat keyholder reseal"
        )
    settings.integer("version", VERSION, VERSION)
    parameters = settings.table("seal")
    method = parameters.text("method")
    if method != seal.method:
        raise SettingsError(
            f"{file}: sealed by {method}, but the configuration's [seal] has {seal.method}"
        )
    wrapper = seal.reopen(parameters)
    try:
        records = [_read_record(table, wrapper) for table in settings.tables("keys")]
    except SealBroken:
        raise SettingsError(
            f"{file}: cannot be unsealed: wrong {method}, or the file was changed"
        ) from None
    settings.finish()
    return _checked(file, records), wrapper


def write_keys(
    file: Path, keys: HeldKeys, wrapper: Wrapper, method: str, *, for_good: bool = False
) -> None:
    """Write the keys, sealed, in the place of an older file. Raises SettingsError.

    `for_good`: see :func:`.files.replace_for_good`; where what is left out must not come back.
    """
    lines = [
        "# The token keys, sealed. With what seals them they undo the tokens: keep the two apart.",
        f"version = {VERSION}",
        "",
        "[seal]",
        f"method = {toml_text(method)}",
        *(
            f"{name} = {value if isinstance(value, int) else toml_text(value)}"
            for name, value in wrapper.parameters.items()
        ),
    ]
    for record in keys:
        lines += ["", "[[keys]]", *_record_lines(record, wrapper)]
    replace = replace_for_good if for_good else replace_file
    replace(file, ("\n".join(lines) + "\n").encode(), SECRET)


def read_plain_keys(file: Path) -> HeldKeys | None:
    """The keys of a file of version 1, with the ratios between them; None for another version.

    Raises SettingsError, whose text never holds a key.
    """
    settings = Settings.parse(file, read_secret(file))
    if settings.has("version"):
        return None
    plain: dict[int, SecretKey] = {}
    for table in settings.tables("keys"):
        epoch = table.integer("epoch", 1, MAX_EPOCH)
        plain[epoch] = _scalar(table, "secret", _hex(table, "secret"))
        table.finish()
    settings.finish()
    return _checked(
        file,
        [
            HeldKey(
                epoch,
                secret,
                update=key_ratio(plain[epoch - 1], secret) if epoch - 1 in plain else None,
            )
            for epoch, secret in plain.items()
        ],
    )


def _checked(file: Path, records: list[HeldKey]) -> HeldKeys:
    if not records:
        raise SettingsError(f"{file}: keys: at least one key is needed")
    for epoch in {record.epoch for record in records}:
        if sum(record.epoch == epoch for record in records) > 1:
            raise SettingsError(f"{file}: keys: epoch {epoch} is there twice")
    return HeldKeys.of(records)


def _record_lines(record: HeldKey, wrapper: Wrapper) -> list[str]:
    about = _about(record.epoch, record.holder, record.threshold, bytes(record.public_key))
    secret = wrapper.wrap(bytes(record.secret), about + _KEY)
    update = b"" if record.update is None else wrapper.wrap(bytes(record.update), about + _UPDATE)
    return [
        f"epoch = {record.epoch}",
        f"holder = {record.holder}",
        f"threshold = {record.threshold}",
        f'public_key = "{bytes(record.public_key).hex()}"',
        f'secret = "{base64.b64encode(secret).decode()}"',
        f'update = "{base64.b64encode(update).decode()}"',
    ]


def _read_record(table: Settings, wrapper: Wrapper) -> HeldKey:
    """Raises SettingsError, SealBroken."""
    epoch = table.integer("epoch", 1, MAX_EPOCH)
    holder = table.integer("holder", 0, MAX_HOLDERS)
    threshold = table.integer("threshold", 1, MAX_HOLDERS)
    public_key = _hex(table, "public_key")
    secret, update = _base64(table, "secret"), _base64(table, "update", default="")
    table.finish()
    about = _about(epoch, holder, threshold, public_key)
    return HeldKey(
        epoch,
        _scalar(table, "secret", wrapper.unwrap(secret, about + _KEY)),
        holder,
        threshold,
        _scalar(table, "update", wrapper.unwrap(update, about + _UPDATE)) if update else None,
    )


def _about(epoch: int, holder: int, threshold: int, public_key: bytes) -> bytes:
    """What is open of a record, as its secrets are bound to it; of fixed length."""
    numbers = epoch.to_bytes(4, "big") + bytes([holder, threshold])
    return _DOMAIN + numbers + public_key


def _scalar(table: Settings, name: str, scalar: bytes) -> SecretKey:
    try:
        return SecretKey(scalar)
    except KeyInvalid as error:
        raise table.wrong(name, str(error)) from None


def _hex(table: Settings, name: str) -> bytes:
    try:
        value = bytes.fromhex(table.text(name))
    except ValueError:
        raise table.wrong(name, f"{KEY_BYTES} bytes in hexadecimal wanted") from None
    if len(value) != KEY_BYTES:
        raise table.wrong(name, f"{KEY_BYTES} bytes in hexadecimal wanted")
    return value


def _base64(table: Settings, name: str, default: str | None = None) -> bytes:
    try:
        return base64.b64decode(table.text(name, default), validate=True)
    except (binascii.Error, ValueError):
        raise table.wrong(name, "not base64") from None
