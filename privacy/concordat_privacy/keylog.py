"""The key log: which token keys there are, since when and until when, signed and append-only.

A key-holder that could show each member another key would recognise a member's people by it. So
the keys stand in a log that everybody has the same copy of: a client pins the log it was given and
takes a later one only if that begins with every entry of its own.

Form: one line of RFC 8785 JSON an entry, an empty line, then a C2SP checkpoint (signed note,
Ed25519) whose root is the RFC 6962 root over the lines. Entries, by their ``type``:

    key     epoch, suite, public_key, valid_from: a new epoch, one above the last, and a key that
            no other epoch has; the first epoch may be any, as in the log that follows a lost one
    split   epoch, threshold, holders [{holder, public_key, update_key}]: the epoch's key is in
            shares; update_key is the holder's share of the ratio to the epoch before, times that
            epoch's public key; "" for all where there is none before, or its ratio is gone
    end     epoch, valid_to: the epoch's last moment, exclusive

Times are RFC 3339 in UTC with six decimals; keys are 32 bytes in hexadecimal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from concordat_privacy.epochs import MAX_EPOCH
from concordat_privacy.log.checkpoint import (
    Checkpoint,
    SigningKey,
    VerifierKey,
    open_note,
    sign,
)
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import Json, encode_item, parse_item
from concordat_privacy.log.merkle import merkle_root
from concordat_privacy.moments import micros_of, rfc3339
from concordat_privacy.oprf import MAX_HOLDERS, SUITE, KeyInvalid, OprfError, PublicKey
from concordat_privacy.oprf.sharing import public_key_of

VERSION: Final = 1
MAX_ENTRIES: Final = 10_000
_MAX_TEXT: Final = 4_000_000
_TIME: Final = re.compile(
    # Not \d, which takes digits of every script.
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
)


class KeyLogError(LogError):
    """A key log is malformed, not signed by its key, or says what cannot be."""


class KeyLogForked(KeyLogError):
    """A key log does not begin with all the entries of an earlier one."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One holder of a split key, by what is public of it."""

    holder: int
    """From 1."""
    public_key: PublicKey
    """Its share of the key, times the generator."""
    update_key: PublicKey | None
    """Its share of the ratio to the epoch before, times that epoch's public key."""


@dataclass(frozen=True, slots=True)
class EpochKey:
    """What the log says of one epoch. Moments are microseconds since 1970."""

    epoch: int
    public_key: PublicKey
    valid_from: int
    """Included."""
    valid_to: int | None = None
    """Excluded; None while no end has been set."""
    threshold: int = 1
    """How many holders answer together; 1 where the key is whole."""
    holders: tuple[Holder, ...] = ()
    """By number; empty where the key is whole."""

    def is_valid(self, now: int) -> bool:
        """Whether the epoch is in use at a moment."""
        return self.valid_from <= now and (self.valid_to is None or now < self.valid_to)


@dataclass(frozen=True, slots=True)
class KeyLog:
    """A key log that was verified, as a whole."""

    entries: tuple[bytes, ...]
    note: str
    keys: tuple[EpochKey, ...] = field(repr=False)
    """Oldest first, at least one."""

    @classmethod
    def open(cls, text: str, verifier_key: VerifierKey) -> KeyLog:
        """Verify and read a log.

        Raises:
            KeyLogError: malformed; not signed by this key; or an entry cannot stand where it does,
                which the message names.
        """
        if len(text) > _MAX_TEXT:
            raise KeyLogError(f"key log: longer than {_MAX_TEXT} characters")
        body, separator, note = text.partition("\n\n")
        if not separator:
            raise KeyLogError("key log: no empty line between its entries and its checkpoint")
        try:
            entries = tuple(line.encode() for line in body.split("\n"))
            checkpoint = open_note(note, [verifier_key])
        except (LogError, UnicodeEncodeError) as error:
            raise KeyLogError(f"key log: {error}") from None
        if (checkpoint.size, checkpoint.root) != (len(entries), merkle_root(entries)):
            raise KeyLogError("key log: its checkpoint is of other entries")
        return cls(entries, note, _read(entries))

    @classmethod
    def signed(cls, entries: Sequence[bytes], key: SigningKey) -> KeyLog:
        """Sign entries as a log. Raises KeyLogError as `open`."""
        keys = _read(entries)
        note = sign(Checkpoint(key.name, len(entries), merkle_root(entries)), key)
        return cls(tuple(entries), note, keys)

    @property
    def text(self) -> str:
        """The whole log, as `open` takes it."""
        return "\n".join(entry.decode() for entry in self.entries) + "\n\n" + self.note

    def check_extends(self, older: KeyLog) -> None:
        """Raises KeyLogForked unless this log begins with all entries of `older`."""
        if self.entries[: len(older.entries)] != older.entries:
            raise KeyLogForked(
                f"key log: {len(self.entries)} entries do not extend the {len(older.entries)} "
                "that were pinned"
            )

    def key(self, epoch: int) -> EpochKey | None:
        """The key of an epoch, if there is one."""
        return next((key for key in self.keys if key.epoch == epoch), None)

    def in_use(self, now: int) -> tuple[EpochKey, ...]:
        """The epochs in use at a moment, oldest first."""
        return tuple(key for key in self.keys if key.is_valid(now))


def key_entry(epoch: int, public_key: PublicKey, valid_from: int) -> bytes:
    """The entry of a new epoch."""
    return _entry(
        "key",
        epoch=epoch,
        suite=SUITE,
        public_key=bytes(public_key).hex(),
        valid_from=rfc3339(valid_from),
    )


def split_entry(epoch: int, threshold: int, holders: Iterable[Holder]) -> bytes:
    """The entry that says in which shares an epoch's key is."""
    return _entry(
        "split",
        epoch=epoch,
        threshold=threshold,
        holders=[
            {
                "holder": one.holder,
                "public_key": bytes(one.public_key).hex(),
                "update_key": "" if one.update_key is None else bytes(one.update_key).hex(),
            }
            for one in holders
        ],
    )


def end_entry(epoch: int, valid_to: int) -> bytes:
    """The entry that ends an epoch."""
    return _entry("end", epoch=epoch, valid_to=rfc3339(valid_to))


def _entry(kind: str, **fields: Json) -> bytes:
    return encode_item({"v": VERSION, "type": kind, **fields})


def _read(entries: Sequence[bytes]) -> tuple[EpochKey, ...]:
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise KeyLogError(f"key log: 1 to {MAX_ENTRIES} entries wanted, {len(entries)} found")
    keys: dict[int, EpochKey] = {}
    for at, data in enumerate(entries):
        try:
            _apply(keys, parse_item(data))
        except (LogError, OprfError, ValueError) as error:
            raise KeyLogError(f"key log: entry {at}: {error}") from None
    if not keys:
        raise KeyLogError("key log: no key in it")
    return tuple(keys.values())


def _apply(keys: dict[int, EpochKey], fields: Mapping[str, Json]) -> None:
    """Take one more entry. Raises ValueError, OprfError."""
    kind = fields.get("type")
    if fields.get("v") != VERSION:
        raise ValueError(f"version {fields.get('v')!r} is not known")
    match kind:
        case "key":
            _check_names(fields, {"epoch", "suite", "public_key", "valid_from"})
            _add_key(keys, fields)
        case "split":
            _check_names(fields, {"epoch", "threshold", "holders"})
            _split_key(keys, fields)
        case "end":
            _check_names(fields, {"epoch", "valid_to"})
            _end_key(keys, fields)
        case _:
            raise ValueError(f"type {kind!r} is not known")


def _add_key(keys: dict[int, EpochKey], fields: Mapping[str, Json]) -> None:
    epoch, valid_from = _number(fields, "epoch", MAX_EPOCH), _time(fields, "valid_from")
    if fields["suite"] != SUITE:
        raise ValueError(f"suite is not {SUITE}")
    if keys:
        last = max(keys)
        if epoch != last + 1:
            raise ValueError(f"epoch {epoch} after epoch {last}")
        if valid_from < keys[last].valid_from:
            raise ValueError(f"epoch {epoch} begins before epoch {last}")
    public_key = _public_key(fields, "public_key")
    same = next((key.epoch for key in keys.values() if key.public_key == public_key), None)
    if same is not None:
        # A rotation to the key that was stolen, and tokens that are of two epochs.
        raise ValueError(f"the key of epoch {epoch} is that of epoch {same}")
    keys[epoch] = EpochKey(epoch, public_key, valid_from)


def _split_key(keys: dict[int, EpochKey], fields: Mapping[str, Json]) -> None:
    key = _known(keys, fields)
    if key.holders:
        raise ValueError(f"epoch {key.epoch} is split already")
    listed = fields["holders"]
    if not isinstance(listed, list):
        raise ValueError("holders is no list")
    holders = tuple(_holder(one) for one in listed)
    if [one.holder for one in holders] != list(range(1, len(holders) + 1)):
        raise ValueError("holders are not numbered from 1 on")
    threshold = _number(fields, "threshold", MAX_HOLDERS)
    if not 2 <= threshold <= len(holders) <= MAX_HOLDERS:
        raise ValueError(f"threshold {threshold} of {len(holders)} holders")
    _check_shares(holders, threshold, key, keys.get(key.epoch - 1))
    keys[key.epoch] = replace(key, threshold=threshold, holders=holders)


def _check_shares(
    holders: Sequence[Holder], threshold: int, key: EpochKey, before: EpochKey | None
) -> None:
    """Any `threshold` of the shares must make the key: then so do all other choices.

    And one fewer must not: shares of a lower threshold would make it too.
    """
    common = holders[: threshold - 1]
    if _makes(key, [(one.holder, one.public_key) for one in common]):
        raise KeyInvalid(f"fewer than {threshold} shares make the key")
    if _makes(key, _updates(common)):
        raise KeyInvalid(f"fewer than {threshold} shares make the ratio")
    for last in holders[threshold - 1 :]:
        chosen = [*common, last]
        if not _makes(key, [(one.holder, one.public_key) for one in chosen]):
            raise KeyInvalid(f"the share of holder {last.holder} does not fit the key")
        updates = _updates(chosen)
        if updates and before is None:
            raise KeyInvalid("a ratio to an epoch that is not there")
        if updates and (len(updates) != len(chosen) or not _makes(key, updates)):
            raise KeyInvalid(f"the ratio's share of holder {last.holder} does not fit the keys")


def _updates(holders: Sequence[Holder]) -> list[tuple[int, PublicKey]]:
    return [(one.holder, one.update_key) for one in holders if one.update_key is not None]


def _makes(key: EpochKey, public_shares: Sequence[tuple[int, PublicKey]]) -> bool:
    return bool(public_shares) and public_key_of(public_shares) == key.public_key


def _end_key(keys: dict[int, EpochKey], fields: Mapping[str, Json]) -> None:
    key, valid_to = _known(keys, fields), _time(fields, "valid_to")
    if key.valid_to is not None:
        raise ValueError(f"epoch {key.epoch} has its end already")
    if valid_to <= key.valid_from:
        raise ValueError(f"epoch {key.epoch} ends before it begins")
    keys[key.epoch] = replace(key, valid_to=valid_to)


def _known(keys: Mapping[int, EpochKey], fields: Mapping[str, Json]) -> EpochKey:
    epoch = _number(fields, "epoch", MAX_EPOCH)
    if epoch not in keys:
        raise ValueError(f"no key of epoch {epoch} before")
    return keys[epoch]


def _holder(fields: Json) -> Holder:
    if not isinstance(fields, dict) or fields.keys() != {"holder", "public_key", "update_key"}:
        raise ValueError("a holder has holder, public_key and update_key")
    return Holder(
        _number(fields, "holder", MAX_HOLDERS),
        _public_key(fields, "public_key"),
        None if fields["update_key"] == "" else _public_key(fields, "update_key"),
    )


def _check_names(fields: Mapping[str, Json], wanted: set[str]) -> None:
    if fields.keys() != wanted | {"v", "type"}:
        raise ValueError(f"its fields are not v, type, {', '.join(sorted(wanted))}")


def _number(fields: Mapping[str, Json], name: str, most: int) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} is not 1 to {most}")
    return value


def _public_key(fields: Mapping[str, Json], name: str) -> PublicKey:
    value = fields[name]
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{name} is not 64 lower-case hexadecimal digits")
    return PublicKey(bytes.fromhex(value))


def _time(fields: Mapping[str, Json], name: str) -> int:
    value = fields[name]
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{name} is not a time like 2026-11-22T00:00:00.000000Z")
    moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return micros_of(moment)
