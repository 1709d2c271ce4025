"""Tokens that were made before, on disk: a customer is blinded once a key epoch.

The file tells nobody without its key which customers it holds: names of entries are HMACs of
identifiers, tokens are sealed. Who has both files can test guesses of identifiers against it and
read the tokens, as from the memory of this process: keep the key where the profile's is.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from concordat._key_log import newest_in_use
from concordat.bulk._database import connect, faults, transaction
from concordat.client import Client
from concordat.errors import ConcordatError
from concordat_privacy.identifiers import Identifier, oprf_input
from concordat_privacy.oprf import Token

_NONCE_BYTES: Final = 12
_WAIT_SECONDS: Final = 60.0
_NAMES_AT_ONCE: Final = 500


class TokenStore:
    """Tokens by identifier and epoch, in a file that several jobs may share."""

    def __init__(self, file: Path, key: bytes) -> None:
        """Opens or makes the file. Raises JournalError, OSError."""
        self._file = file
        self._naming = hmac.digest(key, b"concordat/token-cache/name", "sha256")
        self._sealing = AESGCM(hmac.digest(key, b"concordat/token-cache/seal", "sha256"))
        self._connection = connect(file, wait_seconds=_WAIT_SECONDS)
        with faults(file):
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS token (epoch INTEGER, name BLOB, sealed BLOB NOT NULL, "
                "PRIMARY KEY (epoch, name)) WITHOUT ROWID"
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, epoch: int, inputs: Sequence[bytes]) -> dict[bytes, Token]:
        """The tokens of those inputs that are kept."""
        by_name = {self._name(value): value for value in inputs}
        names = list(by_name)
        found: dict[bytes, Token] = {}
        with faults(self._file):
            for at in range(0, len(names), _NAMES_AT_ONCE):
                some = names[at : at + _NAMES_AT_ONCE]
                marks = ", ".join("?" * len(some))
                rows = self._connection.execute(
                    f"SELECT name, sealed FROM token WHERE epoch = ? AND name IN ({marks})",  # noqa: S608
                    (epoch, *some),
                )
                for name, sealed in rows:
                    token = self._opened(epoch, name, sealed)
                    if token is not None:
                        found[by_name[name]] = token
        return found

    def keep(self, tokens: dict[bytes, Token]) -> None:
        """Keep tokens by their inputs, and forget those of earlier epochs than the one before."""
        with transaction(self._connection, self._file) as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO token (epoch, name, sealed) VALUES (?, ?, ?)",
                [self._row(value, token) for value, token in tokens.items()],
            )
            if tokens:
                newest = max(token.epoch for token in tokens.values())
                connection.execute("DELETE FROM token WHERE epoch < ?", (newest - 1,))

    def _name(self, value: bytes) -> bytes:
        return hmac.digest(self._naming, value, hashlib.sha256)

    def _row(self, value: bytes, token: Token) -> tuple[int, bytes, bytes]:
        name, nonce = self._name(value), os.urandom(_NONCE_BYTES)
        sealed = self._sealing.encrypt(nonce, token.value, _bound(token.epoch, name))
        return token.epoch, name, nonce + sealed

    def _opened(self, epoch: int, name: bytes, sealed: bytes) -> Token | None:
        try:
            value = self._sealing.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(epoch, name)
            )
            return Token(value, epoch)
        except (InvalidTag, ValueError):
            # Of another key, or damaged: it is made again.
            return None


class Tokeniser:
    """Tokens for a job's rows, all of one epoch a call."""

    def __init__(
        self, client: Client, store: TokenStore, portfolio: bool, timeout: float | None
    ) -> None:
        self._client = client
        self._store = store
        self._portfolio = portfolio
        self._timeout = timeout
        self._refused: set[int] = set()
        self.blinded = 0
        """Identifiers that were blinded and not found in the cache."""

    def refuse(self, epoch: int) -> None:
        """Make no more tokens of an epoch that the gateway does not take, and read its key log."""
        self._refused.add(epoch)
        self._client.list_token_keys(timeout=self._timeout)

    def tokens(self, identifiers: Sequence[Identifier]) -> list[Token]:
        """One token for each identifier, in order. Raises as Client.tokenise."""
        by_input = {oprf_input(identifier): identifier for identifier in identifiers}
        known = self._newest_epoch()
        found = {} if known is None else self._store.find(known, list(by_input))
        made = self._made(by_input, found, None)
        if made and known is not None:
            epoch = next(iter(made.values())).epoch
            if epoch != known:
                # It began meanwhile: what is kept is of the one before.
                found = self._store.find(epoch, list(by_input))
                made |= self._made(by_input, found | made, epoch)
        tokens = found | made
        return [tokens[oprf_input(identifier)] for identifier in identifiers]

    def _made(
        self, wanted: dict[bytes, Identifier], known: dict[bytes, Token], epoch: int | None
    ) -> dict[bytes, Token]:
        missing = [value for value in wanted if value not in known]
        if not missing:
            return {}
        try:
            tokens = self._client.tokenise(
                [wanted[value] for value in missing],
                epoch=epoch,
                portfolio=self._portfolio,
                timeout=self._timeout,
            )
        except ConcordatError as error:
            # They were evaluated and charged: the next run need not do it again.
            if isinstance(error.partial, tuple):
                pairs = zip(missing, error.partial, strict=True)
                self._store.keep({value: token for value, token in pairs if token is not None})
            raise
        made = dict(zip(missing, tokens, strict=True))
        self._store.keep(made)
        self.blinded += len(made)
        return made

    def _newest_epoch(self) -> int | None:
        """In use by what is known of the key log; None where none is."""
        context = self._client._context
        now = context.environment.utc_now()
        key = newest_in_use(context.keys.newest, now, self._refused)
        return None if key is None else key.epoch


def _bound(epoch: int, name: bytes) -> bytes:
    """What a sealed token is sealed to: it cannot be put in another's place."""
    return epoch.to_bytes(4, "big") + name
