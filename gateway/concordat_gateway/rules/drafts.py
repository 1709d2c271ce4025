"""Consents as they arrive, and what each must satisfy before it is recorded."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from concordat_gateway.rules.calendar import LAST_MOMENT, more_than_years_apart
from concordat_gateway.rules.requests import SHA256_BYTES
from concordat_gateway.rules.scopes import CATEGORIES, PURPOSES, Mask, mask_of
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.consent_terms import NONCE_BYTES
from concordat_privacy.languages import is_language_tag
from concordat_privacy.oprf import TOKEN_BYTES, is_element
from concordat_privacy.periods import TimeUnit

MAX_NOTICE_CHARACTERS = 64
MAX_WITHDRAWAL_CHARACTERS = 200
MAX_JWS_CHARACTERS = 2_048
MAX_PERIOD = 100_000
MAX_USES = 1_000_000
MAX_VALIDITY_YEARS = 5
_UNITS = frozenset(TimeUnit)


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
    evidence_sha256: bytes = b""
    notice_sha256: bytes = b""
    language: str = ""
    withdrawal_method: str = ""
    jurisdiction: str = ""
    """Code; empty: the gateway's default."""
    data_life: tuple[int, int] | None = None
    """Number of the unit, and how many."""
    frequency: tuple[int, int] | None = None
    """Number of the unit, and uses in it."""
    evidence_jws: str = ""
    evidence_nonce: bytes = b""

    @property
    def purpose_mask(self) -> Mask:
        return mask_of(self.purposes)

    @property
    def category_mask(self) -> Mask:
        return mask_of(self.categories)


def form_problem(draft: ConsentDraft, *, given: bool) -> FieldProblem | None:
    """The first thing wrong with a draft whenever it is recorded.

    `given`: with its evidence; else it is only requested.
    """
    evidence = _evidence_problems(draft) if given else _no_evidence_problems(draft)
    return next(chain(_form_problems(draft), evidence), None)


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
    yield from _required_text("notice_version", draft.notice_version, MAX_NOTICE_CHARACTERS)
    if draft.notice_sha256:
        yield from _exactly("notice_sha256", draft.notice_sha256, SHA256_BYTES)
    if draft.language and not is_language_tag(draft.language):
        yield FieldProblem("language", "MALFORMED", 'a BCP 47 tag is wanted, such as "zh-Hans-CN"')
    if draft.withdrawal_method:
        yield from text_problems(
            "withdrawal_method", draft.withdrawal_method, MAX_WITHDRAWAL_CHARACTERS
        )
    yield from _count_problems("data_life", "value", draft.data_life, MAX_PERIOD)
    yield from _count_problems("frequency", "uses", draft.frequency, MAX_USES)
    if draft.evidence_nonce:
        yield from _exactly("evidence_nonce", draft.evidence_nonce, NONCE_BYTES)


def _evidence_problems(draft: ConsentDraft) -> Iterator[FieldProblem]:
    if not draft.evidence_jws:
        if not draft.evidence_sha256:
            yield FieldProblem("evidence_sha256", "REQUIRED", "it or evidence_jws is required")
        yield from _exactly("evidence_sha256", draft.evidence_sha256, SHA256_BYTES)
        if draft.evidence_nonce:
            yield FieldProblem("evidence_nonce", "INCONSISTENT", "only evidence_jws has a nonce")
        return
    if draft.evidence_sha256:
        yield FieldProblem("evidence_jws", "INCONSISTENT", "beside evidence_sha256: one is wanted")
    if len(draft.evidence_jws) > MAX_JWS_CHARACTERS:
        yield _wrong_length(
            "evidence_jws", len(draft.evidence_jws), MAX_JWS_CHARACTERS, "characters"
        )
    # What is signed must be known before it is recorded.
    for field, present in (
        ("evidence_nonce", bool(draft.evidence_nonce)),
        ("validity.start", draft.starts_at is not None),
        ("jurisdiction", bool(draft.jurisdiction)),
    ):
        if not present:
            yield FieldProblem(field, "REQUIRED", "evidence_jws signs it")


def _no_evidence_problems(draft: ConsentDraft) -> Iterator[FieldProblem]:
    for field in ("evidence_sha256", "evidence_jws"):
        if getattr(draft, field):
            yield FieldProblem(field, "INCONSISTENT", "a request has no evidence yet")


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


def _required_text(field: str, text: str, at_most: int) -> Iterator[FieldProblem]:
    if not text:
        yield FieldProblem(field, "REQUIRED", "it is required")
    yield from text_problems(field, text, at_most)


def text_problems(field: str, text: str, at_most: int) -> Iterator[FieldProblem]:
    """What keeps a text from standing in the ledger, where what looks equal must be equal."""
    if len(text) > at_most:
        yield _wrong_length(field, len(text), at_most, "characters")
    if not text.isprintable() or not unicodedata.is_normalized("NFC", text):
        yield FieldProblem(field, "MALFORMED", "printable text in Unicode NFC is wanted")


def _count_problems(
    field: str, name: str, count: tuple[int, int] | None, at_most: int
) -> Iterator[FieldProblem]:
    if count is None:
        return
    unit, value = count
    if unit not in _UNITS:
        yield FieldProblem(
            f"{field}.unit", "UNKNOWN_VALUE", f"{unit} is not one of {min(_UNITS)} to {max(_UNITS)}"
        )
    low, high = (0, 0) if (field, unit) == ("data_life", TimeUnit.INF) else (1, at_most)
    if not low <= value <= high:
        yield FieldProblem(f"{field}.{name}", "OUT_OF_RANGE", f"{low} to {high} is wanted")


def _exactly(field: str, value: bytes, length: int) -> Iterator[FieldProblem]:
    if len(value) != length:
        yield _wrong_length(field, len(value), length)


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
