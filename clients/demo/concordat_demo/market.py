"""Every contributor's rows about every applicant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from concordat import AccountSnapshot, AccountStatus
from concordat_demo.banding import Record, records
from concordat_demo.data import Loans
from concordat_demo.lenders import CONTRIBUTORS, SHARES, Lender
from concordat_demo.split import divide


@dataclass(frozen=True)
class Book:
    """What one lender contributes."""

    lender: Lender
    records: dict[int, list[Record]]
    """Records by person, for its customers only."""

    @property
    def record_count(self) -> int:
        return sum(map(len, self.records.values()))


@dataclass(frozen=True)
class Market:
    """The books of all contributors."""

    books: tuple[Book, ...]
    people: int
    """All applicants; person numbers are below it."""

    def accounts_of(self, person: int) -> list[tuple[Lender, AccountSnapshot]]:
        """All accounts of a person, with the lender that holds each."""
        return [
            (book.lender, record)
            for book in self.books
            for record in book.records.get(person, [])
            if isinstance(record, AccountSnapshot)
        ]

    def lenders_with_open_accounts(self, person: int) -> list[Lender]:
        """The lenders with which a person has an open account."""
        held_by = {
            lender
            for lender, account in self.accounts_of(person)
            if account.status is AccountStatus.OPEN
        }
        return [book.lender for book in self.books if book.lender in held_by]


def divide_market(loans: Loans, *, today: date, seed: int) -> Market:
    """Divide every applicant's bureau file among the contributors and band it."""
    held: list[dict[int, list[Record]]] = [{} for _ in CONTRIBUTORS]
    for person, file in enumerate(loans.bureau):
        holdings = divide(file, person=person, shares=SHARES, today=today, seed=seed)
        for book, holding in zip(held, holdings, strict=True):
            if contributed := records(holding):
                book[person] = contributed
    return Market(tuple(map(Book, CONTRIBUTORS, held)), people=len(loans))
