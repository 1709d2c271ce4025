"""A lender's files for bulk contribution, and what must be in the pool after them.

The expectation is worked out here from the raw values by chains of comparisons, not by the
catalogue's functions.
"""

import csv
import hashlib
import hmac
import io
import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from concordat import Client, DataCategory, Purpose, ResidentId
from concordat_store.database import Database
from tests.contributing import agreed
from tests.fabricate import resident_id
from tests.gateways import Gateway
from tests.stores import StoreUrls

TODAY: Final = datetime.now(UTC).date()
COLUMNS: Final = (
    *("证件号码", "account", "as_of", "state", "opened"),
    *("limit_wan", "balance", "overdue", "days", "history"),
)
MAPPING: Final = """
version = 1

[file]
encoding = "ENCODING"
empty = ["NA"]

[subject]
kind = "cn-resident-id/1"
column = "证件号码"

[account]
account_ref = "account"
as_of_month = { column = "as_of" }
status = { column = "state", codes = { "1" = "OPEN", "2" = "CLOSED" } }
product = { constant = "REVOLVING" }
opened_quarter = { column = "opened", format = "%Y%m%d" }
limit = { column = "limit_wan", unit = 10000 }
balance = { column = "balance", grouping = "," }
past_due = { column = "overdue" }
days_past_due = "days"
payment_profile = { column = "history", codes = { N = "CURRENT", "1" = "FROM_8_TO_29" } }
"""
_STATES: Final = {"1": 1, "2": 2}
_HISTORY: Final = {"N": 1, "1": 3}

Relation = tuple[int, int, int, int, int, bytes, bytes]
"""as_of_month, status, product, opened_quarter, first_delinquency_month, bands (limit, balance,
past due, days; zeros at the end cut), 24 months."""


def mapping_text(encoding: str = "utf-8") -> str:
    """The mapping of these files."""
    return MAPPING.replace("ENCODING", encoding)


@dataclass(frozen=True)
class Account:
    """One line as the lender has it."""

    person: int
    account: str
    as_of: date
    state: str
    opened: date
    limit_wan: Decimal
    balance: Decimal
    overdue: Decimal
    days: int
    history: str

    def line(self) -> dict[str, str]:
        """Its columns, as text."""
        return {
            "证件号码": resident_id(self.person),
            "account": self.account,
            "as_of": self.as_of.isoformat(),
            "state": self.state,
            "opened": f"{self.opened:%Y%m%d}",
            "limit_wan": str(self.limit_wan),
            "balance": f"{self.balance:,}",
            "overdue": str(self.overdue) if self.overdue else "NA",
            "days": str(self.days),
            "history": self.history,
        }

    def values(self) -> dict[str, object]:
        """Its columns, as a table's types."""
        return {
            "证件号码": resident_id(self.person),
            "account": self.account,
            "as_of": self.as_of,
            "state": int(self.state),
            "opened": self.opened,
            "limit_wan": float(self.limit_wan),
            "balance": self.balance,
            "overdue": self.overdue or None,
            "days": self.days,
            "history": self.history,
        }

    def relation(self) -> Relation:
        """What the pool must hold of it."""
        quarter = (self.opened.year - 1970) * 4 + (self.opened.month - 1) // 3
        days = days_band(self.days)
        profile = bytes([days, *(_HISTORY[letter] for letter in self.history)])
        return (
            (self.as_of.year - 1970) * 12 + self.as_of.month - 1,
            _STATES[self.state],
            3,
            quarter,
            0,
            bytes(
                (
                    amount_band(self.limit_wan * 10_000),
                    amount_band(self.balance),
                    amount_band(self.overdue) if self.overdue else 0,
                    days,
                )
            ),
            profile.ljust(24, b"\0"),
        )


def accounts(number: int, *, people: int = 40, seed: int = 1, first: int = 0) -> list[Account]:
    """Accounts with amounts that occur nowhere else by chance."""
    chance = random.Random(seed)
    found = []
    for at in range(first, first + number):
        is_open = chance.random() < 0.8
        days = chance.choice([0, 0, 0, 1, 7, 8, 29]) if is_open else 0
        found.append(
            Account(
                person=chance.randrange(people),
                account=f"62220{chance.randrange(10**10):010d}{at:06d}",
                as_of=TODAY.replace(day=1),
                state="1" if is_open else "2",
                opened=TODAY.replace(day=1) - timedelta(days=chance.randrange(800, 5000)),
                limit_wan=Decimal(chance.randrange(1, 20 * 10**5)) / 10**5,
                balance=(
                    Decimal(chance.randrange(100_000, 9_999_999)) / 100 if is_open else Decimal(0)
                ),
                overdue=Decimal(chance.randrange(100_000, 999_999)) / 100 if days else Decimal(0),
                days=days,
                history="".join(chance.choice("NNN1") for _ in range(chance.randrange(20))),
            )
        )
    return found


def amount_band(amount: Decimal) -> int:
    """The band of an amount (proto/concordat/v1/bands.proto)."""
    if amount == 0:
        return 1
    above = [1_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000]
    return 2 + sum(amount >= bound for bound in above)


def days_band(days: int) -> int:
    """The band of days past due (proto/concordat/v1/bands.proto)."""
    return 1 + sum(days >= bound for bound in (1, 8, 30, 60, 90, 180))


def csv_bytes(
    lines: Iterable[dict[str, str]], encoding: str = "utf-8", columns: Sequence[str] = COLUMNS
) -> bytes:
    """A CSV file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().encode(encoding)


def account_ref(key: bytes, number: str) -> bytes:
    """The pseudonym of an account, as docs/contributing-data.md says it is made."""
    parts = (b"account", number.encode())
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.new(key, b"concordat/ref/v1" + framed, hashlib.sha256).digest()[:16]


def expected(key: bytes, held: Iterable[Account]) -> dict[bytes, Relation]:
    """What the pool must hold, by pseudonym."""
    return {account_ref(key, one.account): one.relation() for one in held}


def pool(gateway: Gateway, member: Path, urls: StoreUrls | None = None) -> dict[bytes, Relation]:
    """What a gateway holds of a member's accounts, each once or the test fails.

    `urls`: its stores, where they are not the SQLite files of its installation.
    """
    data = f"sqlite:///{gateway.folder}/data"
    control_url = f"{data}/control.db" if urls is None else urls.control_url
    signals_url = f"{data}/signals.db" if urls is None else urls.signals_url
    with closing(Database.open(control_url)) as database, database.read() as connection:
        number = connection.execute(_MEMBER_NO, {"member_id": member.name}).scalar_one()
    with closing(Database.open(signals_url)) as database, database.read() as connection:
        rows = connection.execute(_RELATIONS, {"member_no": number}).all()
    found: dict[bytes, Relation] = {
        bytes(ref): (*numbers, bytes(bands), bytes(profile))  # type: ignore[misc]
        for ref, *numbers, bands, profile in rows
    }
    assert len(found) == len(rows), "an account twice, of two subjects"
    return found


_MEMBER_NO = sa.text("SELECT member_no FROM member WHERE member_id = :member_id")
_RELATIONS = sa.text(
    "SELECT account_ref, as_of_month, status, product, opened_quarter, first_delinquency_month, "
    "bands, profile FROM relation WHERE member_no = :member_no"
)

PEOPLE = 40
"""Whose consents `furnisher` has."""


def furnisher(gateway: Gateway, member_id: str) -> Path:
    """The profile of a member that may contribute of persons 0 to PEOPLE - 1."""
    profile = gateway.join(member_id)
    with Client.open(profile) as client:
        consent_all(client, PEOPLE)
    return profile


def consent_all(client: Client, people: int) -> None:
    """Record consents to contribute of persons 0 to `people` - 1."""
    tokens = client.tokenise(ResidentId(resident_id(person)) for person in range(people))
    granted = client.grant_consents(
        agreed(
            token,
            Purpose.CONTRIBUTION,
            categories=[DataCategory.CREDIT_ACCOUNTS, DataCategory.INQUIRIES],
        )
        for token in tokens
    )
    assert not granted.refused
