"""How what a job does with rows meets how they travel."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from concordat.bulk.mapping import Mapped
from concordat.client import Client
from concordat.requests import REQUEST_ID_BYTES, RequestId
from concordat.results import ItemRefusal
from concordat_privacy.catalogue.rows import FieldProblem, RowRef
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.oprf import Token


@dataclass(frozen=True, slots=True)
class Parcel:
    """Rows that are sent together, as the journal keeps them: sent again byte for byte."""

    sequence: int
    """Of the span of the source that they are of."""
    request_id: bytes
    """Names the call, or the upload that it is a part of."""
    part: int | None
    """Its number in the upload, from 1; None for a call."""
    epoch: int
    catalogue_version: int
    rows: bytes
    """All rows, as a serialised message of the contract."""
    numbers: Sequence[int]
    """The source's number of each row."""


@dataclass(frozen=True, slots=True)
class LastPart:
    """The newest part of a job, and so the upload that can be gone on with."""

    upload_id: bytes
    part: int
    epoch: int
    catalogue_version: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a parcel. `refused` is in the source's own numbers."""

    rows_accepted: int
    rows_refused: int
    refused: Sequence[ItemRefusal]
    """Empty where the gateway only remembers how many there were."""
    entry_index: int | None

    @property
    def names_refused(self) -> bool:
        """Whether it is known which rows were refused."""
        return len({refusal.item for refusal in self.refused}) == self.rows_refused


class EpochEndedError(Exception):
    """The gateway takes no tokens of a parcel's epoch any more, and has not taken it either."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"of epoch {epoch}")
        self.epoch = epoch


PreparedRow: TypeAlias = tuple[int, Token, Record, RowRef | None]
"""The source's number of a row, its subject, what it says, and what it replaces or withdraws."""


def request_id(job_id: bytes, sequence: int, epoch: int) -> RequestId:
    """The id of what begins with a span; another where its rows were tokenised again."""
    numbers = sequence.to_bytes(8, "big") + epoch.to_bytes(4, "big")
    named = hashlib.sha256(b"concordat/bulk/v1" + job_id + numbers).digest()
    return RequestId(named[:REQUEST_ID_BYTES])


@dataclass(frozen=True, slots=True)
class Line:
    """What every way to the gateway needs."""

    client: Client
    job_id: bytes
    timeout: float | None
    """Seconds for each answer."""


class Way(Protocol):
    """How a job's parcels reach the gateway, one after another."""

    width: int
    """How many may be under way: sent, and their answers not asked for."""

    def continues(self, epoch: int, /) -> bool:
        """Whether a parcel of that epoch can follow those before it. If not: `end` first."""

    def parcel(self, sequence: int, rows: Sequence[PreparedRow]) -> Parcel:
        """The next one: rows, all of one epoch, one or more."""

    def send(self, parcel: Parcel) -> None:
        """Put it on its way. Sent before, it is answered from the gateway's record."""

    def answer(self) -> Delivery:
        """What became of the oldest parcel under way. Raises EpochEndedError, ConcordatError."""

    def end(self) -> None:
        """Nothing follows what was sent, all of which was answered. Raises ConcordatError."""

    def close(self) -> None:
        """Leave, whatever is under way."""


class Work(Protocol):
    """What a job does with the rows of its source."""

    facts: Mapping[str, bytes]
    """What makes another job of it, beside source, mapping, key and member."""

    awaited: int | None
    """How many rows it wants; None: however many there are."""

    def wants(self, number: int, /) -> bool:
        """Whether the source's row of that number is for it."""

    def faults(self, mapped: Mapped, today_day: int, /) -> list[FieldProblem]:
        """What is wrong with a mapped row."""

    def row(self, number: int, token: Token, mapped: Mapped) -> PreparedRow:
        """A row without faults, with its subject."""

    def way(self, line: Line, last: LastPart | None, /) -> Way:
        """How its parcels travel, after the newest part that they are not to repeat."""
