"""The keys that make tokens."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TokenKeyInfo:
    """A token key epoch, as the verified key log says."""

    epoch: int
    public_key: bytes
    valid_from: datetime
    valid_to: datetime | None
    """The epoch's last moment, exclusive; None while no end has been set."""
    pinned: bool
    """Whether the key log in the profile has this key; else a later log that extends it."""
    threshold: int
    """How many key-holders answer together; 1 where the key is whole."""
    holders: int
    """How many key-holders have a share of the key; 0 where it is whole."""
