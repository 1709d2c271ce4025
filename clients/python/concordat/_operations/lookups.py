"""Looking subjects up."""

from collections.abc import Iterable, Mapping, Sequence

from concordat._checks import (
    checked_epoch,
    checked_items,
    checked_member,
    checked_text,
    checked_token,
)
from concordat._context import Context
from concordat._convert import keeping_partial, member_of, month_start
from concordat._methods import BATCH_LOOKUP, LIST_SIGNALS, LOOKUP
from concordat._steps import Operation
from concordat.enums import Coverage, DataCategory, Purpose, SignalStatus, SubjectStatus
from concordat.errors import InvalidInput, ProtocolViolation, QuotaExhausted, ReceiptInvalid
from concordat.results import LookupResult, Receipt, Signal, SignalCatalogue, SignalInfo
from concordat.v1 import common_pb2, signal_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import Token

SUBJECTS_PER_REQUEST = 10_000
FEWER_SUBJECTS = 1_000
"""Where a quota lets no larger request through, however long one waits."""
SECONDS_PER_SUBJECT = 0.002
"""What a large request may take longer by default: signals are computed one subject at a time."""
MAX_SIGNAL_NAME_CHARACTERS = 64
MAX_AGE_MONTHS = 120

_ENTRY = {"lookup"}
_WITH_BAND = (SignalStatus.PRESENT, SignalStatus.STALE)
_WITH_OR_WITHOUT = SignalStatus.DISPUTED
_PARTIAL = (
    "error.partial holds the results of the subjects before the failure, in order; each of them "
    "is recorded in the ledger, so go on with the rest instead of asking again"
)


def lookup(
    context: Context,
    token: Token,
    purpose: Purpose,
    signals: Iterable[str] | None,
    max_age_months: int | None,
    timeout: float | None,
) -> Operation[LookupResult]:
    """Look one subject up."""
    names = signal_names(signals)
    wanted = checked_member(purpose, Purpose, "purpose")
    age = max_age_on_wire(max_age_months)
    request = signal_pb2.LookupRequest(
        token=checked_token(token),
        purpose=_on_wire(wanted),
        signals=names,
        request_id=context.request_id(None),
        epoch=token.epoch,
        max_age_months=age,
    )
    reply = yield from context.send(LOOKUP, request, timeout)
    receipt = _receipt(context, reply.receipt, request, 1)
    return result_of(reply.result, wanted, receipt, names)


def lookup_batch(
    context: Context,
    tokens: Iterable[Token],
    purpose: Purpose,
    signals: Iterable[str] | None,
    max_age_months: int | None,
    timeout: float | None,
) -> Operation[list[LookupResult]]:
    """Look many subjects up, in requests of up to 10,000."""
    names = signal_names(signals)
    wanted = checked_member(purpose, Purpose, "purpose")
    age = max_age_on_wire(max_age_months)
    packed, epoch = _packed(checked_items(tokens, "tokens", "Token"))
    results: list[LookupResult] = []
    at_once = SUBJECTS_PER_REQUEST
    with keeping_partial(lambda: tuple(results), _PARTIAL):
        while len(results) < len(packed):
            batch = packed[len(results) : len(results) + at_once]
            request = signal_pb2.BatchLookupRequest(
                tokens=b"".join(batch),
                purpose=_on_wire(wanted),
                signals=names,
                request_id=context.request_id(None),
                epoch=epoch,
                max_age_months=age,
            )
            seconds = timeout
            if seconds is None:
                seconds = context.options.timeout_seconds + SECONDS_PER_SUBJECT * len(batch)
            try:
                reply = yield from context.send(BATCH_LOOKUP, request, seconds)
            except QuotaExhausted as error:
                if error.retry_after_seconds is not None or len(batch) <= FEWER_SUBJECTS:
                    raise
                # So many are never let through at once, and nothing of them was recorded.
                at_once = FEWER_SUBJECTS
                continue
            results += _results(context, reply, request, batch)
    return results


def list_signals(context: Context, timeout: float | None) -> Operation[SignalCatalogue]:
    """The signals that the gateway releases."""
    request = signal_pb2.ListSignalsRequest()
    reply = yield from context.send(LIST_SIGNALS, request, timeout)
    return SignalCatalogue(
        reply.catalogue_version,
        tuple(
            SignalInfo(
                name=info.name,
                band_labels=tuple(info.band_labels),
                category=member_of(DataCategory, info.category, "category"),
                max_age_months=info.max_age_months,
                reason_en=info.reason_en,
                reason_zh=info.reason_zh,
            )
            for info in reply.signals
        ),
    )


def _results(
    context: Context,
    reply: signal_pb2.BatchLookupResponse,
    request: signal_pb2.BatchLookupRequest,
    batch: Sequence[bytes],
) -> list[LookupResult]:
    """The results of one request, checked. Raises ProtocolViolation, ReceiptInvalid."""
    if len(reply.results) != len(batch):
        raise ProtocolViolation(
            f"{len(batch)} subjects were asked for, {len(reply.results)} answered",
        )
    receipt = _receipt(context, reply.receipt, request, len(batch))
    purpose, names = Purpose(request.purpose), request.signals
    return [result_of(result, purpose, receipt, names) for result in reply.results]


def _packed(tokens: Iterable[Token]) -> tuple[list[bytes], int]:
    """The tokens' bytes, and the epoch of all of them; 0 without tokens."""
    packed: list[bytes] = []
    epoch = 0
    for at, token in enumerate(tokens):
        packed.append(checked_token(token, f"tokens[{at}]"))
        epoch = checked_epoch(token, epoch, f"tokens[{at}]")
    return packed, epoch


def _receipt(
    context: Context,
    receipt: common_pb2.Receipt,
    request: signal_pb2.LookupRequest | signal_pb2.BatchLookupRequest,
    subjects: int,
) -> Receipt:
    """The receipt, if its entry records this request and no other."""
    recorded: dict[str, Json] = {
        "request": request.request_id.hex(),
        "purpose": Purpose(request.purpose).name.lower(),
        "items": subjects,
        # None: the entry has no such field.
        "max_age_months": request.max_age_months or None,
    }
    return lookup_receipt(context, receipt, recorded, request.signals)


def lookup_receipt(
    context: Context,
    receipt: common_pb2.Receipt,
    recorded: Mapping[str, Json],
    names: Sequence[str],
) -> Receipt:
    """The receipt, if its entry says what is `recorded`, and that these signals were asked for."""
    checked = context.ledger.receipt(receipt, _ENTRY, recorded)
    signals = checked.fields.get("signals")
    # In the catalogue's order, whatever order they were asked for in.
    if names and (not isinstance(signals, list) or sorted(map(str, signals)) != sorted(set(names))):
        raise ReceiptInvalid(
            f"entry {checked.entry_index} is not this call's: it records other signals than "
            "those that were asked for"
        )
    return checked


def _on_wire(purpose: Purpose) -> common_pb2.Purpose.ValueType:
    return common_pb2.Purpose.ValueType(purpose)


def max_age_on_wire(months: int | None) -> int:
    """As the wire has it: 0 for None. Raises InvalidInput."""
    if months is None:
        return 0
    # bool is an int, and True no age.
    if not isinstance(months, int) or isinstance(months, bool) or not 1 <= months <= MAX_AGE_MONTHS:
        raise InvalidInput.field(
            "max_age_months", f"1 to {MAX_AGE_MONTHS} months wanted, or None for the catalogue's"
        )
    return months


def signal_names(signals: Iterable[str] | None) -> list[str]:
    """As the wire has them: none for None. Raises InvalidInput."""
    if signals is None:
        return []
    if isinstance(signals, str):
        raise InvalidInput.field("signals", "a list of names wanted, one name given")
    names = [
        checked_text(name, f"signals[{at}]", MAX_SIGNAL_NAME_CHARACTERS)
        for at, name in enumerate(checked_items(signals, "signals", "names"))
    ]
    if not names:
        # The wire takes an empty list for "all", the opposite of what was asked.
        raise InvalidInput.field("signals", "one or more names wanted, or None for all")
    return names


def result_of(
    result: signal_pb2.SubjectResult, purpose: Purpose, receipt: Receipt, names: Sequence[str]
) -> LookupResult:
    """A subject's result, checked. Raises ProtocolViolation."""
    status = member_of(SubjectStatus, result.status, "result.status")
    if status is SubjectStatus.NO_CONSENT:
        if result.signals:
            raise ProtocolViolation("a result without consent came with signals")
        return LookupResult(status, purpose, receipt, ())
    signals = tuple(_signal(signal) for signal in result.signals)
    missing = set(names) - {signal.name for signal in signals}
    if missing or not signals:
        raise ProtocolViolation(
            f"the result lacks signals that were asked for: {', '.join(sorted(missing)) or 'all'}"
        )
    return LookupResult(status, purpose, receipt, signals)


def _signal(signal: signal_pb2.Signal) -> Signal:
    status = member_of(SignalStatus, signal.status, f"{signal.name}.status")
    with_band = signal.band > 0
    if with_band != (status in _WITH_BAND) and status is not _WITH_OR_WITHOUT:
        raise ProtocolViolation(f"signal {signal.name!r}: {status.name} with band {signal.band}")
    return Signal(
        name=signal.name,
        status=status,
        band=signal.band,
        band_label=signal.band_label,
        as_of=month_start(signal.as_of_month) if with_band else None,
        coverage=_coverage(signal),
    )


def _coverage(signal: signal_pb2.Signal) -> Coverage:
    if not signal.coverage:
        return Coverage.UNSPECIFIED  # the contract's own word for "nothing was computed"
    return member_of(Coverage, signal.coverage, f"{signal.name}.coverage")
