"""Identifiers to tokens (RFC 9497 VOPRF)."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from concordat._checks import checked_integer, checked_items
from concordat._context import EPOCH_NOT_ACTIVE, Context
from concordat._convert import batches_of, keeping_partial
from concordat._key_log import newest_in_use
from concordat._operations.evaluations import Evaluations, evaluate
from concordat._operations.token_keys import refreshed_key_log
from concordat._steps import Operation, Together
from concordat.errors import FailedPrecondition, InvalidInput, ProfileError
from concordat.v1 import token_pb2
from concordat_privacy.epochs import MAX_EPOCH
from concordat_privacy.identifiers import Identifier, oprf_input
from concordat_privacy.keylog import EpochKey
from concordat_privacy.oprf import Token

# Half of what one request may carry: two batches in flight keep network and cores both busy.
BATCH_SIZE = 2_000

_PARTIAL = (
    "error.partial holds one entry for each identifier, in order: its token, or None where none "
    "was made; go on with those that have none"
)

Progress: TypeAlias = Callable[[int, int], None]
"""(identifiers done, identifiers in all), called in the caller's own thread."""


def tokenise(
    context: Context,
    identifiers: Iterable[Identifier],
    epoch: int | None,
    portfolio: bool,
    progress: Progress | None,
    timeout: float | None,
) -> Operation[list[Token]]:
    """One token for each identifier, in order."""
    if progress is not None and not callable(progress):
        raise InvalidInput.field("progress", f"{type(progress).__name__} given, no function")
    if not isinstance(portfolio, bool):
        raise InvalidInput.field("portfolio", f"True or False wanted, {portfolio!r} given")
    if epoch is not None:
        checked_integer(epoch, "epoch", 1, MAX_EPOCH)
    given = checked_items(identifiers, "identifiers", "Identifier")
    inputs = [_input(at, identifier) for at, identifier in enumerate(given)]
    quota = token_pb2.EVALUATION_QUOTA_PORTFOLIO if portfolio else token_pb2.EVALUATION_QUOTA_ONLINE

    refused: list[int] = []
    while True:
        key = yield from _key(context, epoch, refused, timeout)
        try:
            return (yield from _under(context, inputs, key, quota, progress, timeout))
        except FailedPrecondition as error:
            # An epoch ended, or began, that the pinned log does not know of; or the two clocks
            # differ and the epoch before is still in use. The caller's own choice stands.
            if error.reason != EPOCH_NOT_ACTIVE or epoch is not None:
                raise
            refused.append(key.epoch)
            log = yield from refreshed_key_log(context, timeout)
            if newest_in_use(log, context.environment.utc_now(), refused) is None:
                raise


def _under(
    context: Context,
    inputs: list[bytes],
    key: EpochKey,
    quota: token_pb2.EvaluationQuota.ValueType,
    progress: Progress | None,
    timeout: float | None,
) -> Operation[list[Token]]:
    """One token for each input under one key."""
    tokens = {
        value: token for value in set(inputs) if (token := context.tokens.get(key.epoch, value))
    }
    # dict.fromkeys keeps the order: equal identifiers are blinded once, and runs are repeatable.
    missing = [value for value in dict.fromkeys(inputs) if value not in tokens]
    tell = _progress_teller(progress, len(tokens), len(tokens) + len(missing))
    evaluations = Evaluations(context, key, quota, timeout)

    def batch(values: list[bytes]) -> Operation[int]:
        made = yield from evaluate(evaluations, values)
        # At once, not when all are done: a later batch's failure does not lose them.
        for value, token in zip(values, made, strict=True):
            tokens[value] = token
            context.tokens.put(value, token)
        return len(made)

    with keeping_partial(lambda: tuple(tokens.get(value) for value in inputs), _PARTIAL):
        yield Together(
            [batch(values) for values in batches_of(missing, BATCH_SIZE)],
            context.options.parallelism,
            tell,
        )
    return [tokens[value] for value in inputs]


def _key(
    context: Context, epoch: int | None, refused: list[int], timeout: float | None
) -> Operation[EpochKey]:
    """The key of the epoch that was asked for, else of the newest in use.

    The gateway is asked for its key log where the known one has none to offer.
    """
    log = context.keys.newest
    if epoch is not None:
        known = log.key(epoch)
        if known is None:
            log = yield from refreshed_key_log(context, timeout)
            known = log.key(epoch)
        if known is None:
            listed = ", ".join(str(key.epoch) for key in log.keys)
            raise ProfileError(f"no token key of epoch {epoch} is in the key log ({listed})")
        return known
    now = context.environment.utc_now()
    newest = newest_in_use(log, now, refused)
    if newest is None or (context.keys.is_doubted and not refused):
        log = yield from refreshed_key_log(context, timeout)
        newest = newest_in_use(log, now, refused)
    if newest is None:
        raise FailedPrecondition(
            f"the key log has no token key in use at {now:%Y-%m-%d %H:%M} UTC; is the clock right?",
            reason=EPOCH_NOT_ACTIVE,
        )
    return newest


def _input(position: int, identifier: Identifier) -> bytes:
    if not isinstance(identifier, Identifier):
        # The value may be an identifier in the clear: it is not repeated.
        raise InvalidInput.field(
            f"identifiers[{position}]",
            f"{type(identifier).__name__} given; wrap it in its kind, e.g. ResidentId(...)",
        )
    return oprf_input(identifier)


def _progress_teller(progress: Progress | None, done: int, total: int) -> Callable[[int], None]:
    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    if done:
        tell(0)
    return tell
