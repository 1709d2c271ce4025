"""Subjects' keys: evidence keys, live keys, and the asking keys that need no store.

A subject's *evidence key* finds its consents in the ledger, its *asking key* whatever was asked
about it (docs/ledger.md, "How a person is named"). Only its *live key* leads from the name that the
stores have for it to the evidence key: destroy the live key, and the ledger names nobody any more.
"""

import hmac
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from concordat_gateway.store.key_tables import (
    evidence_anchor,
    evidence_key,
    live_anchor,
    live_key,
)
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.log.subjects import KEY_BYTES, asked_commitment, asking_key
from concordat_store.chunks import in_chunks
from concordat_store.clock import Clock
from concordat_store.database import Database

KEY_ID_BYTES: Final = 16
SECRET_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEYS_A_QUERY: Final = 500
_ERASED: Final = b"concordat/erased/v1"


class KeyLost(Exception):
    """A key that must be there is not, or does not open: its store is not this one's, or older."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A state of the ledger that a store has seen."""

    origin: str
    size: int
    root: bytes


class KeyStore:
    """Sealed keys by id, in a store of their own. Thread-safe; make one a process."""

    def __init__(
        self,
        database: Database,
        secret: bytes,
        keys: sa.Table,
        anchor: sa.Table,
        clock: Clock,
    ) -> None:
        """`secret`: SECRET_BYTES of the key file that the store's keys are sealed under."""
        self._database = database
        self._cipher = ChaCha20Poly1305(derived(secret, f"concordat/{keys.name}/v1".encode()))
        self._clock = clock
        # Whether a key is there already or not, it is written: time must not tell which.
        self._keep = sa.text(
            f"INSERT INTO {keys.name} (key_id, sealed, kept_at)"  # noqa: S608 - our own name
            " VALUES (:key_id, :sealed, :kept_at)"
            " ON CONFLICT (key_id) DO UPDATE SET kept_at = excluded.kept_at"
        )
        of_ids = keys.c.key_id.in_(sa.bindparam("ids", expanding=True))
        self._select = sa.select(keys.c.key_id, keys.c.sealed).where(of_ids)
        self._delete = sa.delete(keys).where(of_ids)
        self._old = (
            sa.select(keys.c.key_id)
            .where(keys.c.kept_at < sa.bindparam("before"), keys.c.key_id > sa.bindparam("after"))
            .order_by(keys.c.key_id)
            .limit(_KEYS_A_QUERY)
        )
        self._select_anchor = sa.select(anchor.c.origin, anchor.c.size, anchor.c.root)
        self._set_anchor = sa.text(
            f"INSERT INTO {anchor.name} (id, origin, size, root)"  # noqa: S608 - our own name
            " VALUES (1, :origin, :size, :root) ON CONFLICT (id) DO UPDATE"
            " SET origin = excluded.origin, size = excluded.size, root = excluded.root"
            f" WHERE excluded.size > {anchor.name}.size"
        )

    def keep(
        self, proposed: Mapping[bytes, bytes], present: Collection[bytes]
    ) -> dict[bytes, bytes]:
        """The keys with the ids of `proposed`: those that are there, else the proposed ones.

        Durable when it returns. Raises KeyLost where one of the ids `present`, which must be there,
        is not; nothing is kept then. Raises Refusal UNAVAILABLE where the store fails.
        """
        rows = [
            {"key_id": key_id, "sealed": self._seal(key_id, key), "kept_at": self._clock()}
            for key_id, key in sorted(proposed.items())
        ]
        if not rows:
            return {}
        with self._database.write() as connection:
            connection.execute(self._keep, rows)
            found = self._read(connection, sorted(proposed))
            if any(found[key_id] == proposed[key_id] for key_id in present):
                raise KeyLost("a key that must be there is not")
        return found

    def read(self, ids: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those of the keys that are there. Raises KeyLost, Refusal UNAVAILABLE."""
        with self._database.read() as connection:
            return self._read(connection, sorted(set(ids)))

    def present(self, ids: Iterable[bytes]) -> list[bytes]:
        """Those of the ids that have a key, whether it opens or not."""
        found: list[bytes] = []
        with self._database.read() as connection:
            for chunk in in_chunks(sorted(set(ids)), _KEYS_A_QUERY):
                found += (row.key_id for row in connection.execute(self._select, {"ids": chunk}))
        return found

    def destroy(self, ids: Iterable[bytes]) -> bool:
        """Destroy keys; whether nothing of them is left in the store's own files.

        Idempotent. Raises Refusal UNAVAILABLE where the store fails.
        """
        ordered = sorted(set(ids))
        with self._database.write() as connection:
            for chunk in in_chunks(ordered, _KEYS_A_QUERY):
                connection.execute(self._delete, {"ids": chunk})
        return self._database.forget_deleted()

    def old(self, before: int, after: bytes) -> list[bytes]:
        """Some ids beyond `after`, in order, of keys that nobody has asked for since `before`."""
        with self._database.read() as connection:
            return list(connection.execute(self._old, {"before": before, "after": after}).scalars())

    def anchor(self) -> Anchor | None:
        """The largest state of the ledger that this store has seen."""
        with self._database.read() as connection:
            row = connection.execute(self._select_anchor).one_or_none()
        return None if row is None else Anchor(*row)

    def set_anchor(self, anchor: Anchor) -> None:
        """Remember a state of the ledger, unless a larger one is known."""
        with self._database.write() as connection:
            connection.execute(
                self._set_anchor,
                {"origin": anchor.origin, "size": anchor.size, "root": anchor.root},
            )

    def close(self) -> None:
        """Close the store."""
        self._database.close()

    def _read(self, connection: sa.Connection, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for chunk in in_chunks(ids, _KEYS_A_QUERY):
            for key_id, sealed in connection.execute(self._select, {"ids": chunk}):
                found[key_id] = self._open(key_id, sealed)
        return found

    def _seal(self, key_id: bytes, key: bytes) -> bytes:
        return sealed_with(self._cipher, key, key_id)

    def _open(self, key_id: bytes, sealed: bytes) -> bytes:
        return opened_with(self._cipher, sealed, key_id)


@dataclass(frozen=True, slots=True)
class SubjectKeys:
    """Both stores, and the secret that gives asking keys."""

    evidence: KeyStore
    live: KeyStore
    secret: bytes

    @classmethod
    def of(
        cls,
        evidence: Database,
        live: Database,
        evidence_secret: bytes,
        live_secret: bytes,
        clock: Clock,
    ) -> "SubjectKeys":
        """On opened stores; the secrets are the key files' contents. `live` is erasing."""
        return cls(
            KeyStore(evidence, evidence_secret, evidence_key, evidence_anchor, clock),
            KeyStore(live, live_secret, live_key, live_anchor, clock),
            derived(evidence_secret, b"concordat/asking/v1"),
        )

    def asking_key(self, subject: SubjectKey) -> bytes:
        """The asking key of whoever has this name in the stores, known to the pool or not."""
        return asking_key(self.secret, subject)

    def asked(
        self, entry_type: str, actor: str, subject: SubjectKey, request: bytes, item: int
    ) -> str:
        """How an item of an entry with this request id names a subject that was asked about.

        `actor` is the SPIFFE id that the entry has.
        """
        return asked_commitment(self.asking_key(subject), entry_type, actor, request, item)

    def erased_mark(self, subject: SubjectKey) -> bytes:
        """What is kept of the name of an erased subject, to know it again: 32 bytes."""
        return hmac.digest(self.secret, _ERASED + subject, "sha256")

    def close(self) -> None:
        """Close both stores."""
        self.evidence.close()
        self.live.close()


def new_key() -> bytes:
    """32 random bytes."""
    return os.urandom(KEY_BYTES)


def new_id() -> bytes:
    """16 random bytes."""
    return os.urandom(KEY_ID_BYTES)


def seal(live_key: bytes, content: bytes, label: bytes) -> bytes:
    """Content sealed under a live key: 28 bytes more than it has. `label` says what it is."""
    return sealed_with(ChaCha20Poly1305(live_key), content, label)


def unseal(live_key: bytes, sealed: bytes, label: bytes) -> bytes:
    """What `seal` sealed. Raises KeyLost."""
    return opened_with(ChaCha20Poly1305(live_key), sealed, label)


def derived(secret: bytes, label: bytes) -> bytes:
    """A key of 32 bytes from the content of a key file."""
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"secret: at least {SECRET_BYTES} bytes wanted, {len(secret)} given")
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(secret)


def sealed_with(cipher: ChaCha20Poly1305, content: bytes, label: bytes) -> bytes:
    """Nonce and sealed content."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, label)


def opened_with(cipher: ChaCha20Poly1305, sealed: bytes, label: bytes) -> bytes:
    """The content. Raises KeyLost."""
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label)
    except InvalidTag:
        raise KeyLost("a sealed key does not open with this key") from None
