"""One lender at work: what its own systems would do with the SDK."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from concordat import (
    BatchState,
    Client,
    ConsentDraft,
    ConsentId,
    ContributionResult,
    DataCategory,
    LookupResult,
    Purpose,
    ResidentId,
    Row,
    Token,
)
from concordat_demo.failure import DemoFailed
from concordat_demo.identities import resident_id
from concordat_demo.lenders import Lender
from concordat_demo.market import Book

NOTICE_VERSION: Final = "2026-1"
NOTICE_SHA256: Final = hashlib.sha256(
    b"We share banded credit signals about you with other lenders, for the purposes that you allow."
).digest()
"""Of the notice that the applicants were shown."""
ADVERSE_NOTICE_SHA256: Final = hashlib.sha256(
    b"You are in arrears with us. We report it to the other lenders, as you allowed."
).digest()
"""Of the notice that borrowers in arrears were sent before it was reported."""
PER_REQUEST: Final = 1_000
"""Consents, and subjects of a lookup, in one request."""
_CONSENT_DAYS: Final = 365
_PUBLISH_SECONDS: Final = 60

Done = Callable[[int], None]
"""Told how many more are done."""


@dataclass
class Party:
    """A lender with its open client, and what it remembers of its customers."""

    lender: Lender
    client: Client
    tokens: dict[int, Token] = field(default_factory=dict)
    """By person."""
    consents: dict[int, ConsentId] = field(default_factory=dict)
    """By person."""

    def tokenise(self, people: Sequence[int], done: Done) -> None:
        """Turn these people's resident ids into tokens. The ids stay in this process."""
        for part in _parts(people, 2 * PER_REQUEST):
            tokens = self.client.tokenise([ResidentId(resident_id(person)) for person in part])
            self.tokens.update(zip(part, tokens, strict=True))
            done(len(part))

    def grant(
        self,
        people: Sequence[int],
        purposes: Collection[Purpose],
        categories: Collection[DataCategory],
        done: Done,
    ) -> None:
        """Record the consent that each of these people gave to this lender.

        Raises DemoFailed if one is refused.
        """
        expires_at = datetime.now(UTC) + timedelta(days=_CONSENT_DAYS)
        for part in _parts(people, PER_REQUEST):
            result = self.client.grant_consents(
                [
                    ConsentDraft(
                        token=self.tokens[person],
                        purposes=purposes,
                        categories=categories,
                        expires_at=expires_at,
                        notice_version=NOTICE_VERSION,
                        evidence_sha256=self._evidence(person),
                        notice_sha256=NOTICE_SHA256,
                        language="en-US",
                        withdrawal_method=f"mailto:privacy@{self.lender.member_id}.example",
                        jurisdiction="US",
                    )
                    for person in part
                ]
            )
            if result.refused:
                first = result.refused[0]
                raise DemoFailed(f"{self.lender.member_id}: a consent was refused: {first}")
            self.consents.update(
                (part[granted.item], granted.consent_id) for granted in result.granted
            )
            done(len(part))

    def contribute(self, book: Book, done: Done) -> ContributionResult:
        """Contribute the whole book; returns when lookups see it.

        Raises DemoFailed if a row is refused.
        """
        # The law of the consents wants subjects told before anything adverse is contributed.
        result = self.client.contribute(
            self._rows(book, done), adverse_notice_sha256=ADVERSE_NOTICE_SHA256
        )
        if result.refused:
            first = result.refused[0]
            raise DemoFailed(
                f"{self.lender.member_id}: {len(result.refused)} rows were refused, first {first}"
            )
        for batch in result.batches:
            self._wait_until_published(batch.request_id)
        return result

    def look_up(
        self, people: Sequence[int], signals: Sequence[str], done: Done
    ) -> list[LookupResult]:
        """The pooled signals about these people, in their order."""
        results: list[LookupResult] = []
        for part in _parts(people, PER_REQUEST):
            results += self.client.lookup_batch(
                [self.tokens[person] for person in part], Purpose.UNDERWRITING, signals=signals
            )
            done(len(part))
        return results

    def _rows(self, book: Book, done: Done) -> Iterator[Row]:
        for person, records in book.records.items():
            for record in records:
                yield Row(self.tokens[person], record)
            done(len(records))

    def _wait_until_published(self, request_id: bytes) -> None:
        deadline = time.monotonic() + _PUBLISH_SECONDS
        while self.client.get_batch(request_id).state is not BatchState.PUBLISHED:
            if time.monotonic() > deadline:
                raise DemoFailed(f"a batch was not published after {_PUBLISH_SECONDS} s")
            time.sleep(0.1)

    def _evidence(self, person: int) -> bytes:
        """Stands for the hash of the signed document, which the lender would keep."""
        document = f"{self.lender.member_id}: consent of applicant {person}, {NOTICE_VERSION}"
        return hashlib.sha256(document.encode()).digest()


def _parts(people: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(people), size):
        yield people[first : first + size]
