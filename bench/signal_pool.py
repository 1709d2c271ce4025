"""A gateway with a pool of a given size: rows, the consents that they need, and who asks.

Everything follows from numbers, so that two runs contribute the same. A person has three accounts
and one application with one furnisher: four rows.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from bench.lookups import MEMBER
from concordat import Client, Profile
from concordat.requests import Row
from concordat_gateway.config import load_config
from concordat_gateway.rules.calendar import DAY_MICROSECONDS, day_of
from concordat_gateway.rules.scopes import CONSENT_ID_BYTES, Purpose, mask_of
from concordat_gateway.server import peppers
from concordat_gateway.store.control_tables import consent
from concordat_gateway.store.subjects import SubjectKey, subject_key
from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
)
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.rows import REF_BYTES, AccountSnapshot, ApplicationEvent
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.oprf import Token
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.gateways import Gateway

ROWS_A_PERSON = 4
ASKER, FURNISHER = MEMBER, "lender-2"
Send = Callable[[Client, list[Row]], int]
_CATEGORIES = (DataCategory.CREDIT_ACCOUNTS, DataCategory.INQUIRIES)
_CONSENTS_A_STATEMENT = 20_000
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Pool:
    """A serving gateway and its two members."""

    gateway: Gateway
    control_url: str
    signals_url: str
    persons: int

    def subjects(self, numbers: Sequence[int]) -> list[SubjectKey]:
        """What the stores call some persons."""
        pepper = peppers(load_config(self.gateway.config)).pepper(FIRST_EPOCH)
        return [subject_key(pepper, token_of(number).value) for number in numbers]

    def client(self, member: str) -> Client:
        """A client of a member, to be closed."""
        return Client(Profile.load(self.gateway.join(member)))


@contextmanager
def serving(
    folder: Path, persons: int, control_url: str | None, signals_url: str | None
) -> Iterator[Pool]:
    """A gateway of one worker, with consents and no rows; stores are SQLite unless named."""
    gateway = Gateway(
        folder / "gateway", control_url=control_url, signals_url=signals_url, workers=1
    )
    try:
        gateway.start()
        for member in (ASKER, FURNISHER):
            gateway.join(member)
        stores = load_config(gateway.config).stores
        pool = Pool(gateway, stores.control, stores.signals, persons)
        _consent(pool)
        yield pool
    finally:
        gateway.close()


def token_of(number: int) -> Token:
    """The token of a person: to the gateway, 32 bytes like any others."""
    return Token(_hashed("token", number), FIRST_EPOCH)


def rows_of(first: int, last: int) -> list[Row]:
    """The rows of persons from `first` up to `last`, which is not among them."""
    day = day_of(system_clock())
    month = month_of_day(day)
    rows = []
    for number in range(first, last):
        token = token_of(number)
        for account in range(ROWS_A_PERSON - 1):
            digest = _hashed("account", number * ROWS_A_PERSON + account)
            rows.append(
                Row(
                    token,
                    AccountSnapshot(
                        account_ref=digest[:REF_BYTES],
                        as_of_month=month,
                        status=AccountStatus.OPEN,
                        product=ProductClass(1 + digest[16] % 4),
                        opened_quarter=month // 3 - 8 - digest[17] % 40,
                        limit=AmountBand(4 + digest[18] % 6),
                        balance=AmountBand(2 + digest[19] % 7),
                        past_due=AmountBand.ZERO,
                        days_past_due=DaysPastDueBand.CURRENT,
                        utilisation=UtilisationBand(1 + digest[20] % 6),
                        payment_profile=bytes(1 + (one > 250) for one in digest[:23]),
                    ),
                )
            )
        digest = _hashed("application", number)
        event = ApplicationEvent(
            digest[:REF_BYTES], day - 1 - digest[16], ProductClass(1 + digest[17] % 4)
        )
        rows.append(Row(token, event))
    return rows


class Memory:
    """Samples how much memory a gateway's workers have, in a thread, while something runs."""

    def __init__(self, gateway: Gateway) -> None:
        self._files = [
            Path(f"/proc/{pid}/status")
            for pid in gateway.children("gateway")
            if Path(f"/proc/{pid}/status").exists()
        ]
        self.bytes: list[int] = []
        """All samples; none where the machine has no /proc."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while self._files and not self._ended.wait(_SAMPLE_SECONDS):
            self.bytes.append(sum(map(_resident, self._files)))


@dataclass
class Contributed:
    """Rows of the furnisher, how long they took, and what memory the gateway had meanwhile."""

    rows: int = 0
    seconds: float = 0.0
    memory: list[int] = field(default_factory=list)
    """Bytes, sample by sample."""


def contribute(pool: Pool, persons: range, rows_a_call: int, send: Send) -> Contributed:
    """Contribute the rows of some persons, all of which must be taken.

    Rows are made before they are contributed, `rows_a_call` at a time, which is not counted.
    """
    done = Contributed()
    step = max(1, rows_a_call // ROWS_A_PERSON)
    with pool.client(FURNISHER) as client:
        for first in range(persons.start, persons.stop, step):
            rows = rows_of(first, min(first + step, persons.stop))
            with Memory(pool.gateway) as memory:
                started = time.perf_counter()
                accepted = send(client, rows)
                done.seconds += time.perf_counter() - started
            done.memory += memory.bytes
            done.rows += accepted
            if accepted != len(rows):
                raise RuntimeError(f"only {accepted} of {len(rows)} rows were taken")
    return done


def by_stream(client: Client, rows: list[Row]) -> int:
    """How many rows were taken, part by part on one stream."""
    return sum(part.rows_accepted for part in client.contribute_stream(rows))


def by_batches(client: Client, rows: list[Row]) -> int:
    """How many rows were taken, batch after batch."""
    return client.contribute(rows).rows_accepted


def _consent(pool: Pool) -> None:
    """Put consents straight into the control store: the figures are about rows.

    A short cut. Those that the API records have an entry each, and keys of their subject, which
    neither contributing nor looking up reads.
    """
    now = system_clock()
    wanted = ((FURNISHER, Purpose.CONTRIBUTION), (ASKER, Purpose.UNDERWRITING))
    database = Database.open(pool.control_url)
    try:
        for first in range(0, pool.persons, _CONSENTS_A_STATEMENT):
            numbers = range(first, min(first + _CONSENTS_A_STATEMENT, pool.persons))
            rows = [
                {
                    "consent_id": _hashed(recipient, number)[:CONSENT_ID_BYTES],
                    "subject": subject,
                    "recipient": recipient,
                    "purposes": mask_of([purpose]),
                    "categories": mask_of(_CATEGORIES),
                    "starts_at": now,
                    "expires_at": now + 365 * DAY_MICROSECONDS,
                    "notice_version": "1",
                    "evidence_sha256": bytes(32),
                    "granted_at": now,
                    "activated_at": now,
                    "grant_entry": 0,
                    "commitment": _hashed("commitment", number),
                }
                for number, subject in zip(numbers, pool.subjects(numbers), strict=True)
                for recipient, purpose in wanted
            ]
            with database.write() as connection:
                connection.execute(sa.insert(consent), rows)
        if not database.is_sqlite:
            # As autovacuum does within a minute: without it a plan reads every consent.
            with database.write() as connection:
                connection.execute(sa.text("ANALYZE consent"))
    finally:
        database.close()


def _hashed(what: str, number: int) -> bytes:
    return hashlib.sha256(f"{what} {number}".encode()).digest()


def _resident(status: Path) -> int:
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
