"""How secrets are sealed at rest: wrapped by a key-encryption key that is kept elsewhere.

A method is a :class:`Seal`, which knows where its key-encryption key comes from, and gives a
:class:`Wrapper`, which has it. Here are two, by key-file and by passphrase; a third (a PKCS#11
token that wraps inside the device) is one more class and one more line in ``METHODS``. Nothing
else knows which method is used.

Wrapping is ChaCha20-Poly1305 (RFC 8439) with a random nonce of 96 bits; a key-encryption key wraps
a handful of secrets in its life. Passphrases go through scrypt (RFC 7914).
"""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from concordat_rpc.secret_files import read_secret, write_secret
from concordat_rpc.settings import Settings, SettingsError

KEK_BYTES: Final = 32
MIN_PASSPHRASE: Final = 12
"""Characters of a new passphrase. Long enough to type, too long to try under scrypt."""
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
# 128 MiB and about half a second: once a start, and once for every guess of a thief's.
_SCRYPT_LOG2_N: Final = 17
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1

Parameters: TypeAlias = Mapping[str, int | str]
"""What a method keeps, in the open, beside what it wrapped."""


class SealBroken(Exception):
    """What was wrapped does not open: another key, or it was changed."""


class Wrapper(Protocol):
    """Wraps and unwraps secrets under one key-encryption key."""

    @property
    def parameters(self) -> Parameters:
        """To be kept beside the wrapped secrets, and given to :meth:`Seal.reopen`."""

    def wrap(self, secret: bytes, about: bytes) -> bytes:
        """The secret, sealed; `about` is bound to it and not kept in it."""

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes:
        """The secret again. Raises SealBroken."""


class Seal(Protocol):
    """A method, and where its key-encryption key comes from."""

    @property
    def method(self) -> str:
        """Name in ``METHODS``."""

    def fresh(self) -> Wrapper:
        """A wrapper for secrets that are wrapped anew. Raises SettingsError."""

    def reopen(self, parameters: Settings) -> Wrapper:
        """The wrapper of secrets that were wrapped before. Raises SettingsError."""


@dataclass(frozen=True, slots=True, repr=False)
class ChaChaWrapper:
    """A wrapper whose key-encryption key is in this process's memory."""

    _key: bytes
    parameters: Parameters = field(default_factory=dict)

    def wrap(self, secret: bytes, about: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + ChaCha20Poly1305(self._key).encrypt(nonce, secret, about)

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes:
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return ChaCha20Poly1305(self._key).decrypt(nonce, sealed, about)
        except (InvalidTag, ValueError):
            raise SealBroken from None


@dataclass(frozen=True, slots=True)
class KeyFileSeal:
    """Sealed by a file of 32 random bytes in hexadecimal, kept on another medium or mount."""

    file: Path
    method: str = "key-file"

    @classmethod
    def configured(cls, settings: Settings) -> KeyFileSeal:
        return cls(settings.path("key_file"))

    @classmethod
    def created(cls, file: Path) -> KeyFileSeal:
        """Make the file. Raises SettingsError rather than overwrite one."""
        try:
            write_secret(file, f"{secrets.token_hex(KEK_BYTES)}\n".encode())
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from None
        return cls(file)

    def fresh(self) -> Wrapper:
        return ChaChaWrapper(self._key())

    def reopen(self, parameters: Settings) -> Wrapper:
        parameters.finish()
        return ChaChaWrapper(self._key())

    def _key(self) -> bytes:
        try:
            key = bytes.fromhex(read_secret(self.file).decode())
        except ValueError:
            raise SettingsError(f"{self.file}: not hexadecimal") from None
        if len(key) != KEK_BYTES:
            raise SettingsError(f"{self.file}: {KEK_BYTES} bytes wanted, {len(key)} found")
        return key


@dataclass(frozen=True, slots=True)
class PassphraseSeal:
    """Sealed by a passphrase, which a person types or another program hands over.

    `source` is ``prompt``, ``environment:NAME`` or ``file:PATH``; ``file:/dev/fd/3`` is an open
    descriptor. A passphrase in an environment variable can be read by whoever may read the
    process's memory.
    """

    source: str
    method: str = "passphrase"

    @classmethod
    def configured(cls, settings: Settings) -> PassphraseSeal:
        source = settings.text("passphrase")
        if not is_passphrase_source(source):
            raise settings.wrong("passphrase", 'wanted: "prompt", "environment:NAME", "file:PATH"')
        return cls(absolute_source(source, settings.folder))

    def fresh(self) -> Wrapper:
        passphrase = read_passphrase(self.source, is_new=True)
        if len(passphrase) < MIN_PASSPHRASE:
            raise SettingsError(f"passphrase: at least {MIN_PASSPHRASE} characters wanted")
        salt = secrets.token_bytes(_SALT_BYTES)
        parameters: Parameters = {
            "kdf": "scrypt",
            "salt": salt.hex(),
            "log2_n": _SCRYPT_LOG2_N,
            "r": _SCRYPT_R,
            "p": _SCRYPT_P,
        }
        key = _scrypt(passphrase, salt, _SCRYPT_LOG2_N, _SCRYPT_R, _SCRYPT_P)
        return ChaChaWrapper(key, parameters)

    def reopen(self, parameters: Settings) -> Wrapper:
        kdf, salt_hex = parameters.text("kdf"), parameters.text("salt")
        # Bounds, so that a changed file cannot make a start take all memory.
        log2_n = parameters.integer("log2_n", 14, 20)
        r, p = parameters.integer("r", 8, 8), parameters.integer("p", 1, 4)
        parameters.finish()
        try:
            salt = bytes.fromhex(salt_hex)
        except ValueError:
            raise parameters.wrong("salt", "not hexadecimal") from None
        if kdf != "scrypt" or len(salt) < _SALT_BYTES:
            raise parameters.wrong("kdf", "not scrypt with a salt of 16 bytes or more")
        key = _scrypt(read_passphrase(self.source, is_new=False), salt, log2_n, r, p)
        kept: Parameters = {"kdf": kdf, "salt": salt_hex, "log2_n": log2_n, "r": r, "p": p}
        return ChaChaWrapper(key, kept)


METHODS: Final[dict[str, Callable[[Settings], Seal]]] = {
    "key-file": KeyFileSeal.configured,
    "passphrase": PassphraseSeal.configured,
}
"""What makes a seal of the table ``[seal]``, by the method's name."""


def configured_seal(settings: Settings) -> Seal:
    """The seal that a table ``[seal]`` describes. Raises SettingsError."""
    method = settings.text("method")
    make = METHODS.get(method)
    if make is None:
        raise settings.wrong("method", f"{method!r} is none of {', '.join(sorted(METHODS))}")
    seal = make(settings)
    settings.finish()
    return seal


def is_passphrase_source(text: str) -> bool:
    """Whether `read_passphrase` knows such a source."""
    kind, _, name = text.partition(":")
    return text == "prompt" or (kind in {"environment", "file"} and bool(name))


def absolute_source(source: str, folder: Path) -> str:
    """The same source, whose path, if it has one, no longer depends on where a command runs."""
    kind, _, name = source.partition(":")
    return f"file:{folder / name}" if kind == "file" else source


def read_passphrase(source: str, *, is_new: bool) -> str:
    """The passphrase of a source. Raises SettingsError, whose text never holds it."""
    kind, _, name = source.partition(":")
    match kind:
        case "prompt":
            passphrase = _asked(is_new=is_new)
        case "environment":
            passphrase = os.environ.get(name, "")
        case _:
            try:
                passphrase = read_secret(Path(name)).decode().removesuffix("\n")
            except UnicodeDecodeError:
                raise SettingsError(f"passphrase: {name}: not UTF-8 text") from None
            except SettingsError as error:
                raise SettingsError(f"passphrase: {error}") from None
    if not passphrase:
        raise SettingsError(f"passphrase: none was given ({source})")
    return passphrase


def _asked(*, is_new: bool) -> str:
    try:
        # Without a terminal getpass would read the standard input, which may never end.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise SettingsError(
            "passphrase: there is no terminal to ask at; "
            'set passphrase = "file:PATH" or "environment:NAME" in the table [seal]'
        ) from None
    if not is_new:
        return getpass.getpass("Passphrase of the token keys: ")
    passphrase = getpass.getpass("New passphrase of the token keys: ")
    if getpass.getpass("The same again: ") != passphrase:
        raise SettingsError("passphrase: the two differ")
    return passphrase


def _scrypt(passphrase: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=KEK_BYTES, n=2**log2_n, r=r, p=p).derive(passphrase.encode())
