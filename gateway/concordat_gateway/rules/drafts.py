"""Consents as they arrive, and what each must satisfy before it is recorded."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from concordat_gateway.rules.calendar import LAST_MOMENT, more_than_years_apart
from concordat_gateway.rules.scopes import CATEGORIES, PURPOSES, Mask, mask_of
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.oprf import TOKEN_BYTES, is_element

EVIDENCE_BYTES = 32
MAX_NOTICE_CHARACTERS = 64
MAX_VALIDITY_YEARS = 5


@dataclass(frozen=True, slots=True)
class ConsentDraft:
    """A consent to be recorded, nothing of it checked."""

    token: bytes
    purposes: tuple[int, ...]
    categories: tuple[int, ...]
    starts_at: int | None
    """Microseconds since the epoch; None: from the moment it is recorded."""
    expires_at: int | None
    notice_version: str
    evidence_sha256: bytes

    @property
    def purpose_mask(self) -> Mask:
        return mask_of(self.purposes)

    @property
    def category_mask(self) -> Mask:
        return mask_of(self.categories)


def form_problem(draft: ConsentDraft) -> FieldProblem | None:
    """The first thing wrong with a draft whenever it is recorded."""
    return next(_form_problems(draft), None)


def time_problem(draft: ConsentDraft, now: int) -> FieldProblem | None:
    """The first thing wrong with the validity of a well-formed draft recorded at `now`."""
    return next(_time_problems(draft, now), None)


def _form_problems(draft: ConsentDraft) -> Iterator[FieldProblem]:
    if len(draft.token) != TOKEN_BYTES:
        yield _wrong_length("token", len(draft.token), TOKEN_BYTES)
    elif not is_element(draft.token):
        # It could not be carried to the next key epoch.
        yield FieldProblem("token", "MALFORMED", "not a canonical element other than the identity")
    yield from _set_problems("purposes", draft.purposes, PURPOSES)
    yield from _set_problems("categories", draft.categories, CATEGORIES)
    for field, moment in (("start", draft.starts_at), ("expiry", draft.expires_at)):
        if moment is not None and not 0 <= moment <= LAST_MOMENT:
            yield FieldProblem(
                f"validity.{field}", "OUT_OF_RANGE", "a time from 1970 to 9999 is wanted"
            )
    if draft.expires_at is None:
        yield FieldProblem("validity.expiry", "REQUIRED", "an expiry is required")
    yield from _notice_problems(draft.notice_version)
    if len(draft.evidence_sha256) != EVIDENCE_BYTES:
        yield _wrong_length("evidence_sha256", len(draft.evidence_sha256), EVIDENCE_BYTES)


def _set_problems(
    field: str, numbers: tuple[int, ...], known: frozenset[int]
) -> Iterator[FieldProblem]:
    if not numbers:
        yield FieldProblem(field, "REQUIRED", "at least one is required")
    seen: set[int] = set()
    for position, number in enumerate(numbers):
        if number not in known:
            yield FieldProblem(
                f"{field}[{position}]",
                "UNKNOWN_VALUE",
                f"{number} is not one of {min(known)} to {max(known)}",
            )
        if number in seen:
            yield FieldProblem(f"{field}[{position}]", "DUPLICATE", "each may be named once")
        seen.add(number)


def _notice_problems(notice_version: str) -> Iterator[FieldProblem]:
    field = "notice_version"
    if not notice_version:
        yield FieldProblem(field, "REQUIRED", "the version of the notice is required")
    if len(notice_version) > MAX_NOTICE_CHARACTERS:
        yield _wrong_length(field, len(notice_version), MAX_NOTICE_CHARACTERS, "characters")
    # The version stands in the ledger, where what looks equal must be equal.
    if not notice_version.isprintable() or not unicodedata.is_normalized("NFC", notice_version):
        yield FieldProblem(field, "MALFORMED", "printable text in Unicode NFC is wanted")


def _time_problems(draft: ConsentDraft, now: int) -> Iterator[FieldProblem]:
    start = now if draft.starts_at is None else draft.starts_at
    expiry = draft.expires_at
    if expiry is None or expiry <= now:
        yield FieldProblem("validity.expiry", "OUT_OF_RANGE", "the expiry has passed")
    elif expiry <= start:
        yield FieldProblem("validity.expiry", "OUT_OF_RANGE", "the expiry is not after the start")
    elif more_than_years_apart(start, expiry, MAX_VALIDITY_YEARS):
        yield FieldProblem(
            "validity.expiry",
            "OUT_OF_RANGE",
            f"the expiry is more than {MAX_VALIDITY_YEARS} years after the start",
        )


def _wrong_length(field: str, given: int, wanted: int, unit: str = "bytes") -> FieldProblem:
    at_most = "at most " if unit == "characters" else ""
    return FieldProblem(field, "WRONG_LENGTH", f"{given} {unit}, {at_most}{wanted} wanted")
