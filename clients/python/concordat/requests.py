"""What callers hand in."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from numbers import Real
from typing import NewType, TypeVar

from concordat.enums import DataCategory, Purpose
from concordat.errors import FieldViolation, InvalidInput
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.consent_terms import NONCE_BYTES
from concordat_privacy.languages import is_language_tag
from concordat_privacy.oprf import Token
from concordat_privacy.periods import Frequency, Period, TimeUnit

REQUEST_ID_BYTES = 16
CONSENT_ID_BYTES = 16
SHA256_BYTES = 32
MAX_NOTICE_VERSION_CHARACTERS = 64
MAX_WITHDRAWAL_METHOD_CHARACTERS = 200
MAX_JURISDICTION_CHARACTERS = 8
MAX_JWS_CHARACTERS = 2_048
MAX_PERIOD = 100_000
MAX_USES = 1_000_000
MAX_TIMEOUT_SECONDS = 86_400

RequestId = NewType("RequestId", bytes)
"""16 bytes that name a write: sent again, they return the first answer."""
ConsentId = NewType("ConsentId", bytes)
"""16 bytes that name a consent, made by the gateway."""

_Enum = TypeVar("_Enum", bound=IntEnum)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ConsentDraft:
    """A consent that a subject gave to the calling member, or is asked for, to be recorded.

    Given, it has evidence of one kind, `evidence_sha256` or `evidence_jws`; asked for, none yet.
    Which fields may be left out is for the policy of its jurisdiction to say (docs/consents.md).

    Raises:
        InvalidInput: names each wrong field.
    """

    token: Token
    purposes: Collection[Purpose]
    """One or more."""
    categories: Collection[DataCategory]
    """One or more."""
    expires_at: datetime
    """With a time zone; at most five years after the start."""
    notice_version: str
    """Version of the notice that the subject was shown, 1 to 64 characters."""
    evidence_sha256: bytes | None = None
    """SHA-256 of the signed consent document that the member keeps, 32 bytes."""
    starts_at: datetime | None = None
    """With a time zone; None: from the moment the gateway records it."""
    notice_sha256: bytes | None = None
    """SHA-256 of the notice, 32 bytes."""
    language: str | None = None
    """Of notice and consent, a BCP 47 tag such as "zh-Hans-CN"."""
    withdrawal_method: str | None = None
    """How the subject can withdraw, such as a URL; 1 to 200 characters."""
    jurisdiction: str | None = None
    """Whose policy it is checked against, such as "CN"; None: the gateway's default."""
    data_life: Period | None = None
    """How long the member may keep what it learns."""
    frequency: Frequency | None = None
    """How often it may be used for lookups; None: without limit."""
    evidence_jws: str | None = None
    """Detached JWS over `concordat.consent_terms` of this draft."""
    evidence_nonce: bytes | None = None
    """16 random bytes, with a JWS now or later: they bind the terms to the subject."""

    def __post_init__(self) -> None:
        wrong = [
            FieldViolation(field, description)
            for field, description in (
                ("token", token_fault(self.token)),
                ("purposes", _members_fault(self.purposes, Purpose)),
                ("categories", _members_fault(self.categories, DataCategory)),
                ("expires_at", _time_fault(self.expires_at)),
                ("starts_at", None if self.starts_at is None else _time_fault(self.starts_at)),
                (
                    "notice_version",
                    text_fault(self.notice_version, MAX_NOTICE_VERSION_CHARACTERS),
                ),
                ("evidence_sha256", _optional_bytes(self.evidence_sha256, SHA256_BYTES)),
                ("notice_sha256", _optional_bytes(self.notice_sha256, SHA256_BYTES)),
                ("language", _language_fault(self.language)),
                (
                    "withdrawal_method",
                    _optional_text(self.withdrawal_method, MAX_WITHDRAWAL_METHOD_CHARACTERS),
                ),
                ("jurisdiction", _optional_text(self.jurisdiction, MAX_JURISDICTION_CHARACTERS)),
                ("data_life", _period_fault(self.data_life)),
                ("frequency", _frequency_fault(self.frequency)),
                ("evidence_jws", _optional_text(self.evidence_jws, MAX_JWS_CHARACTERS)),
                ("evidence_nonce", _optional_bytes(self.evidence_nonce, NONCE_BYTES)),
            )
            if description is not None
        ]
        if not wrong and self.evidence_sha256 is not None and self.evidence_jws is not None:
            wrong.append(FieldViolation("evidence_jws", "beside evidence_sha256; one is wanted"))
        if not wrong and self.starts_at is not None and self.starts_at >= self.expires_at:
            wrong.append(FieldViolation("expires_at", "not after starts_at"))
        if wrong:
            text = "; ".join(f"{fault.field}: {fault.description}" for fault in wrong)
            raise InvalidInput(text, violations=tuple(wrong))


@dataclass(frozen=True, slots=True)
class Row:
    """One row to contribute: whose, and what."""

    token: Token
    record: Record
    """An AccountSnapshot or an ApplicationEvent."""


def checked_time(time: datetime | None, field: str) -> datetime | None:
    """The time, if it is one with a zone, or None. Raises InvalidInput."""
    fault = None if time is None else _time_fault(time)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return time


def checked_token(token: Token, field: str = "token") -> bytes:
    """The token's 32 bytes. Raises InvalidInput for anything that is no Token."""
    fault = token_fault(token)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return token.value


def checked_epoch(token: Token, epoch: int, field: str) -> int:
    """The epoch of all tokens of a call, once one more was looked at; 0 before the first.

    One request names one epoch. Raises InvalidInput for a token of another.
    """
    if epoch in (0, token.epoch):
        return token.epoch
    raise InvalidInput.field(
        field,
        f"a token of epoch {token.epoch} after tokens of epoch {epoch}; make a call for each epoch",
    )


def checked_text(text: str, field: str, at_most: int) -> str:
    """The text if it has 1 to `at_most` characters. Raises InvalidInput."""
    fault = text_fault(text, at_most)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return text


def checked_bytes(value: bytes, field: str, length: int) -> bytes:
    """The bytes if there are `length`. Raises InvalidInput."""
    fault = bytes_fault(value, length)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return bytes(value)


def checked_member(value: _Enum, kind: type[_Enum], field: str) -> _Enum:
    """The enumeration's member. Raises InvalidInput for 0 and for anything else."""
    if not isinstance(value, kind):
        raise InvalidInput.field(field, f"{value!r} is no {kind.__name__}")
    if value == 0:
        raise InvalidInput.field(field, f"{kind.__name__} wanted, none given")
    return value


def checked_integer(value: int, field: str, low: int, high: int) -> int:
    """The number if it is in low..high. Raises InvalidInput."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInput.field(field, f"{value!r}, an integer from {low} to {high} wanted")
    return value


def checked_number(value: float, field: str) -> float:
    """The number if it is a finite one. Raises InvalidInput."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidInput.field(field, f"{value!r}, a finite number wanted")
    return float(value)


def checked_timeout(seconds: float, field: str) -> float:
    """The timeout if it is longer than nothing and at most a day. Raises InvalidInput."""
    if not 0 < checked_number(seconds, field) <= MAX_TIMEOUT_SECONDS:
        raise InvalidInput.field(
            field, f"{seconds!r}, more than 0 and at most {MAX_TIMEOUT_SECONDS} seconds wanted"
        )
    return float(seconds)


def checked_type(value: _T, kind: type[_T], field: str, advice: str = "") -> _T:
    """The value if it is of the type. Raises InvalidInput, which does not repeat the value."""
    if not isinstance(value, kind):
        raise InvalidInput.field(
            field, f"{kind.__name__} wanted, {type(value).__name__} given{advice and '; '}{advice}"
        )
    return value


def checked_items(items: Iterable[_T], field: str, kind: str) -> Iterable[_T]:
    """What can be iterated over. Raises InvalidInput; the items are not looked at."""
    if not isinstance(items, Iterable):
        raise InvalidInput.field(
            field,
            f"a list or another iterable of {kind} wanted, {type(items).__name__} given; "
            "put a single one in a list",
        )
    return items


def text_fault(text: object, at_most: int) -> str | None:
    """What keeps a text from being sent, or None."""
    if not isinstance(text, str):
        return f"text wanted, {type(text).__name__} given"
    if not 1 <= len(text) <= at_most:
        return f"{len(text)} characters, 1 to {at_most} wanted"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is no character"
    return None


def bytes_fault(value: object, length: int) -> str | None:
    """What keeps bytes from being sent, or None."""
    if not isinstance(value, bytes | bytearray):
        return f"{length} bytes wanted, {type(value).__name__} given"
    if len(value) != length:
        return f"{len(value)} bytes, {length} wanted"
    return None


def token_fault(token: object) -> str | None:
    """What keeps this from being a token, or None."""
    if isinstance(token, Token):
        return None
    return f"a Token wanted, {type(token).__name__} given; Client.tokenise makes tokens"


def _optional_bytes(value: object, length: int) -> str | None:
    return None if value is None else bytes_fault(value, length)


def _optional_text(text: object, at_most: int) -> str | None:
    return None if text is None else text_fault(text, at_most)


def _language_fault(language: object) -> str | None:
    if language is None:
        return None
    if not isinstance(language, str) or not is_language_tag(language):
        return 'a BCP 47 tag wanted, such as "zh-Hans-CN"'
    return None


def _period_fault(period: object) -> str | None:
    if period is None:
        return None
    if not isinstance(period, Period):
        return f"a Period wanted, {type(period).__name__} given"
    low, high = (0, 0) if period.unit is TimeUnit.INF else (1, MAX_PERIOD)
    return _count_fault(period.unit, period.value, low, high)


def _frequency_fault(frequency: object) -> str | None:
    if frequency is None:
        return None
    if not isinstance(frequency, Frequency):
        return f"a Frequency wanted, {type(frequency).__name__} given"
    return _count_fault(frequency.unit, frequency.uses, 1, MAX_USES)


def _count_fault(unit: object, count: object, low: int, high: int) -> str | None:
    if not isinstance(unit, TimeUnit):
        return f"{unit!r} is no TimeUnit"
    if not isinstance(count, int) or isinstance(count, bool) or not low <= count <= high:
        return f"{count!r} units, {low} to {high} wanted"
    return None


def _time_fault(time: object) -> str | None:
    if not isinstance(time, datetime):
        return f"a datetime wanted, {type(time).__name__} given"
    if time.utcoffset() is None:
        return "without a time zone; say which, e.g. datetime.UTC"
    try:
        time.astimezone(UTC)
    except OverflowError:
        return "beyond the years 1 to 9999 in UTC"
    return None


def _members_fault(values: object, kind: type[IntEnum]) -> str | None:
    if isinstance(values, str) or not isinstance(values, Collection):
        return f"a set of {kind.__name__} wanted, {type(values).__name__} given"
    if not values:
        return "one or more wanted, none given"
    for value in values:
        if not isinstance(value, kind) or value == 0:
            return f"{value!r} is no {kind.__name__}"
    if len(set(values)) != len(values):
        return "the same one twice"
    return None
