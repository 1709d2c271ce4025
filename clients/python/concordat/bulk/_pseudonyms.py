"""Pseudonyms of accounts: the same every month, and no account number to anybody else."""

import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Final

from concordat.errors import ProfileError
from concordat_privacy.catalogue.rows import REF_BYTES

KEY_BYTES: Final = 32
_DOMAIN: Final = b"concordat/ref/v1"


def pseudonym(key: bytes, record: str, parts: Sequence[str]) -> bytes:
    """16 bytes for an account or an application: HMAC-SHA256, truncated.

    Of the record's kind and each part with its length, so that no two lists of parts share one.
    """
    framed = bytearray(_DOMAIN)
    for part in (record, *parts):
        data = part.encode("utf-8", "surrogatepass")
        framed += len(data).to_bytes(4, "big") + data
    return hmac.digest(key, framed, "sha256")[:REF_BYTES]


def key_in(file: Path) -> bytes:
    """The key in a file, which is made on first use, for its owner alone.

    Losing it changes every pseudonym: accounts already contributed would be taken for others.
    Raises ProfileError where the file holds no key, cannot be read or others may read it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _made(file)
    except OSError as error:
        raise ProfileError(f"{file}: {error.strerror}", path=file) from None
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ProfileError(f"{file}: is no regular file; a key wanted", path=file)
    with os.fdopen(descriptor, "rb") as opened:
        if os.fstat(descriptor).st_mode & 0o077:
            raise ProfileError(f"{file}: others may read it; chmod 600", path=file)
        text = opened.read(4 * KEY_BYTES)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ProfileError(f"{file}: no key of {KEY_BYTES} bytes in hexadecimal", path=file)
    return key


def _made(file: Path) -> bytes:
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    key = secrets.token_bytes(KEY_BYTES)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(key.hex().encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            # Unlike a rename it leaves a key that another process made meanwhile.
            os.link(unfinished, file)
        except FileExistsError:
            return key_in(file)
    finally:
        unfinished.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key
