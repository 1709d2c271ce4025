"""The canonical bytes of rows, corrections and withdrawals: what roots commit to, and is staged.

One form each, which stays when the catalogue grows: see `pack_row`.
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from concordat_privacy.catalogue.bands import ApplicationOutcome, ProductClass
from concordat_privacy.catalogue.definitions import BANDS, POSITION
from concordat_privacy.catalogue.rows import (
    MAX_PROFILE_MONTHS,
    REF_BYTES,
    AccountSnapshot,
    ApplicationEvent,
    Row,
    RowRef,
)
from concordat_privacy.oprf.token import TOKEN_BYTES

_ACCOUNT_TAG: Final = 1
_APPLICATION_TAG: Final = 2
_LATER_ACCOUNT_TAG: Final = 3
_LATER_APPLICATION_TAG: Final = 4
_CORRECTION_TAG: Final = 5
_ACCOUNT_WITHDRAWN_TAG: Final = 6
_APPLICATION_WITHDRAWN_TAG: Final = 7
_CORRECTION_LAYOUT: Final = struct.Struct(">BQI")
_WITHDRAWAL_LAYOUT: Final = struct.Struct(">BQI16s")
_ACCOUNT_LAYOUT: Final = struct.Struct(">B16sIBBI6sB23s")
_APPLICATION_LAYOUT: Final = struct.Struct(">B16sIB")
_LATER_ACCOUNT_LAYOUT: Final = struct.Struct(">B16sIBBIIB")
_LATER_APPLICATION_LAYOUT: Final = struct.Struct(">B16sIBB")
LEAF_DOMAIN: Final = b"concordat/row/v1"
"""What `row_leaf` begins with."""
_FIRST_BANDS: Final = 6
"""Bands of catalogue version 1: those of the first layout."""


def bands_of(row: AccountSnapshot) -> bytes:
    """The packed bands of an account, without unknown ones at the end."""
    return bytes(_BANDS(row)).rstrip(b"\0")


_BAND_NAMES: Final = tuple(attribute.name for attribute in BANDS)
_BANDS: Final = attrgetter(*_BAND_NAMES)


def pack_row(row: Row) -> bytes:
    """The canonical bytes of a good row: big-endian, first byte the kind.

    Account with attributes of catalogue version 1 only (58 bytes): 1, ref 16, as_of_month u32,
    status, product, opened_quarter u32, limit, balance, past_due, days_past_due, utilisation,
    spend_volatility, profile length, profile padded with zeros to 23. Other accounts: 3, ref 16,
    as_of_month u32, status, product, opened_quarter u32, first_delinquency_month u32, number of
    bands, the bands in the order of `definitions.BANDS` up to the last known one, the profile.
    Application (22 bytes): 2, ref 16, day u32, product; with a known outcome: 4, the same, outcome.
    So a row has one form, which stays when the catalogue grows. Raises ValueError for a row that
    `problems` refuses by length.
    """
    if isinstance(row, ApplicationEvent):
        _check_length(row.application_ref, REF_BYTES)
        return pack_application(row.application_ref, row.day, row.product, row.outcome)
    _check_length(row.account_ref, REF_BYTES)
    if len(row.payment_profile) > MAX_PROFILE_MONTHS:
        raise ValueError(f"payment profile of {len(row.payment_profile)} months")
    return pack_account(
        row.account_ref,
        row.as_of_month,
        row.status,
        row.product,
        row.opened_quarter,
        row.first_delinquency_month,
        bands_of(row),
        row.payment_profile,
    )


def pack_account(
    ref: bytes,
    as_of_month: int,
    status: int,
    product: int,
    opened_quarter: int,
    first_delinquency_month: int,
    bands: bytes,
    profile: bytes,
) -> bytes:
    """As `pack_row`, of checked values; `bands` as `bands_of` gives them."""
    if len(bands) <= _FIRST_BANDS and not first_delinquency_month:
        return _ACCOUNT_LAYOUT.pack(
            _ACCOUNT_TAG,
            ref,
            as_of_month,
            status,
            product,
            opened_quarter,
            bands,
            len(profile),
            profile,
        )
    fixed = _LATER_ACCOUNT_LAYOUT.pack(
        _LATER_ACCOUNT_TAG,
        ref,
        as_of_month,
        status,
        product,
        opened_quarter,
        first_delinquency_month,
        len(bands),
    )
    return fixed + bands + profile


def pack_application(ref: bytes, day: int, product: int, outcome: int) -> bytes:
    """As `pack_row`, of checked values."""
    if outcome:
        return _LATER_APPLICATION_LAYOUT.pack(_LATER_APPLICATION_TAG, ref, day, product, outcome)
    return _APPLICATION_LAYOUT.pack(_APPLICATION_TAG, ref, day, product)


def unpack_row(data: bytes) -> Row:
    """The row that `pack_row` packed. Raises ValueError for anything else."""
    kind = data[0] if data else 0
    row: Row
    if kind == _ACCOUNT_TAG and len(data) == _ACCOUNT_LAYOUT.size:
        row = _unpack_account(data)
    elif kind == _LATER_ACCOUNT_TAG and len(data) >= _LATER_ACCOUNT_LAYOUT.size:
        row = _unpack_later_account(data)
    elif kind == _APPLICATION_TAG and len(data) == _APPLICATION_LAYOUT.size:
        _, ref, day, product = _APPLICATION_LAYOUT.unpack(data)
        row = ApplicationEvent(ref, day, ProductClass(product))
    elif kind == _LATER_APPLICATION_TAG and len(data) == _LATER_APPLICATION_LAYOUT.size:
        _, ref, day, product, outcome = _LATER_APPLICATION_LAYOUT.unpack(data)
        row = ApplicationEvent(ref, day, ProductClass(product), ApplicationOutcome(outcome))
    else:
        raise ValueError(f"{len(data)} bytes of kind {kind} are no packed row")
    if pack_row(row) != data:
        raise ValueError("packed row is not canonical")
    return row


def pack_correction(replaces: RowRef, content: bytes) -> bytes:
    """The canonical bytes of a row that replaces another: 5, entry u64, item u32, then what
    `pack_row` gives of the row itself."""
    return _CORRECTION_LAYOUT.pack(_CORRECTION_TAG, *replaces) + content


def split_correction(content: bytes) -> tuple[RowRef | None, bytes]:
    """What a packed row replaces, None for an ordinary one, and the row itself."""
    if content[0] != _CORRECTION_TAG:
        return None, content
    _, entry, item = _CORRECTION_LAYOUT.unpack_from(content)
    return RowRef(entry, item), content[_CORRECTION_LAYOUT.size :]


class Withdrawn(NamedTuple):
    """What is taken out of the pool: an account with all its months, or an application."""

    row: RowRef
    """The row that it, or its newest month, came from."""
    is_account: bool
    ref: bytes
    """account_ref or application_ref."""


def pack_withdrawal(withdrawn: Withdrawn) -> bytes:
    """The canonical bytes of a withdrawal: 6 for an account or 7 for an application, entry u64,
    item u32, ref 16. Raises ValueError for a reference of another length."""
    _check_length(withdrawn.ref, REF_BYTES)
    tag = _ACCOUNT_WITHDRAWN_TAG if withdrawn.is_account else _APPLICATION_WITHDRAWN_TAG
    return _WITHDRAWAL_LAYOUT.pack(tag, *withdrawn.row, withdrawn.ref)


def unpack_withdrawal(content: bytes) -> Withdrawn | None:
    """What `pack_withdrawal` packed; None for a row."""
    if content[0] not in (_ACCOUNT_WITHDRAWN_TAG, _APPLICATION_WITHDRAWN_TAG):
        return None
    tag, entry, item, ref = _WITHDRAWAL_LAYOUT.unpack(content)
    return Withdrawn(RowRef(entry, item), tag == _ACCOUNT_WITHDRAWN_TAG, ref)


Account: TypeAlias = tuple[bytes, int, int, int, int, int, bytes, bytes]
"""What `pack_account` takes, in its order."""


class PackedAccount(NamedTuple):
    """The numbers of a packed account, in the order in which the pool stores them."""

    account_ref: bytes
    as_of_month: int
    status: int
    product: int
    opened_quarter: int
    first_delinquency_month: int
    bands: bytes
    """Without unknown ones at the end."""
    profile: bytes
    """Of as_of_month and the months before it, newest first."""


def account_numbers(data: bytes) -> PackedAccount | None:
    """The numbers of what `pack_row` packed of an account; None for an application.

    What was packed here is trusted: use `unpack_row` for bytes from elsewhere.
    """
    if data[0] == _ACCOUNT_TAG:
        _, ref, month, status, product, opened, bands, length, rest = _ACCOUNT_LAYOUT.unpack(data)
        first, profile = 0, rest[:length]
    elif data[0] == _LATER_ACCOUNT_TAG:
        fixed = _LATER_ACCOUNT_LAYOUT.unpack_from(data)
        _, ref, month, status, product, opened, first, count = fixed
        at = _LATER_ACCOUNT_LAYOUT.size
        bands, profile = data[at : at + count], data[at + count :]
    else:
        return None
    # Unknown where fewer bands were packed.
    days = bands[_DAYS_AT : _DAYS_AT + 1] or b"\0"
    known = bands.rstrip(b"\0")
    return PackedAccount(ref, month, status, product, opened, first, known, days + profile)


def canonical_account(data: bytes) -> Account | None:
    """The fields of a packed account, whatever their values; None unless `pack_account` makes these
    bytes of them. Its profile is of the months before as_of_month."""
    if not data:
        return None
    if data[0] == _ACCOUNT_TAG:
        if len(data) != _ACCOUNT_LAYOUT.size:
            return None
        _, ref, month, status, product, opened, bands, length, profile = _ACCOUNT_LAYOUT.unpack(
            data
        )
        if length > MAX_PROFILE_MONTHS or len(profile.rstrip(b"\0")) > length:
            return None
        known = bands.rstrip(b"\0")
        return ref, month, status, product, opened, 0, known, profile[:length]
    if data[0] != _LATER_ACCOUNT_TAG or len(data) < _LATER_ACCOUNT_LAYOUT.size:
        return None
    fixed = _LATER_ACCOUNT_LAYOUT.unpack_from(data)
    _, ref, month, status, product, opened, first, count = fixed
    at = _LATER_ACCOUNT_LAYOUT.size
    bands, profile = data[at : at + count], data[at + count :]
    if len(bands) != count or (count and not bands[-1]) or (count <= _FIRST_BANDS and not first):
        return None
    return ref, month, status, product, opened, first, bands, profile


def canonical_application(data: bytes) -> tuple[bytes, int, int, int] | None:
    """As `application_numbers`, of any bytes; None unless `pack_row` makes these of them."""
    if not data:
        return None
    if data[0] == _APPLICATION_TAG and len(data) == _APPLICATION_LAYOUT.size:
        return application_numbers(data)
    if data[0] == _LATER_APPLICATION_TAG and len(data) == _LATER_APPLICATION_LAYOUT.size:
        return application_numbers(data) if data[-1] else None
    return None


def application_numbers(data: bytes) -> tuple[bytes, int, int, int]:
    """Reference, day, product and outcome of what `pack_row` packed of an application; trusted."""
    if data[0] == _APPLICATION_TAG:
        _, ref, day, product = _APPLICATION_LAYOUT.unpack(data)
        return ref, day, product, 0
    _, ref, day, product, outcome = _LATER_APPLICATION_LAYOUT.unpack(data)
    return ref, day, product, outcome


def is_plain(content: bytes) -> bool:
    """Whether packed bytes are a row itself: no correction, no withdrawal."""
    return content[0] < _CORRECTION_TAG


_DAYS_AT: Final = POSITION["days_past_due"]


def _unpack_account(data: bytes) -> AccountSnapshot:
    _, ref, as_of_month, status, product, opened_quarter, *rest = _ACCOUNT_LAYOUT.unpack(data)
    bands, length, profile = rest
    return _account(
        ref, as_of_month, status, product, opened_quarter, 0, [*bands], profile[:length]
    )


def _unpack_later_account(data: bytes) -> AccountSnapshot:
    fixed = _LATER_ACCOUNT_LAYOUT.unpack_from(data)
    _, ref, as_of_month, status, product, opened_quarter, first, count = fixed
    at = _LATER_ACCOUNT_LAYOUT.size
    if count > len(BANDS) or len(data) - at - count not in range(MAX_PROFILE_MONTHS + 1):
        raise ValueError(f"{len(data)} bytes are no packed account with {count} bands")
    bands, profile = [*data[at : at + count]], data[at + count :]
    return _account(ref, as_of_month, status, product, opened_quarter, first, bands, profile)


def _account(
    ref: bytes,
    as_of_month: int,
    status: int,
    product: int,
    opened_quarter: int,
    first_delinquency_month: int,
    bands: list[int],
    profile: bytes,
) -> AccountSnapshot:
    return AccountSnapshot.from_numbers(
        {
            "account_ref": ref,
            "as_of_month": as_of_month,
            "status": status,
            "product": product,
            "opened_quarter": opened_quarter,
            "first_delinquency_month": first_delinquency_month,
            "payment_profile": profile,
            **dict(zip(_BAND_NAMES, bands, strict=False)),
        }
    )


def row_leaf(token: bytes, row: Row) -> bytes:
    """The bytes that a batch's Merkle root commits to for one row.

    "concordat/row/v1", then the subject's 32-byte token, so that the furnisher can check what it
    sent, then `pack_row`, or for a correction `pack_correction`. Raises ValueError as `pack_row`.
    """
    return packed_leaf(token, pack_row(row))


def packed_leaf(token: bytes, content: bytes) -> bytes:
    """As `row_leaf`, of a packed row."""
    _check_length(token, TOKEN_BYTES)
    return LEAF_DOMAIN + token + content


def _check_length(value: bytes, wanted: int) -> None:
    if len(value) != wanted:
        raise ValueError(f"{len(value)} bytes, {wanted} wanted")
