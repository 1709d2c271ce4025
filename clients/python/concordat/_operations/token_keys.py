"""The key log, as the gateway gives it."""

from concordat._context import Context
from concordat._methods import LIST_TOKEN_KEYS
from concordat._steps import Operation
from concordat.errors import ProtocolViolation
from concordat.results import TokenKeyInfo
from concordat.v1 import token_pb2
from concordat_privacy.keylog import EpochKey, KeyLog
from concordat_privacy.moments import moment_of


def list_token_keys(context: Context, timeout: float | None) -> Operation[tuple[TokenKeyInfo, ...]]:
    """The key epochs of the gateway's key log, once it was verified and taken."""
    log = yield from refreshed_key_log(context, timeout)
    return tuple(_key_info(context, key) for key in log.keys)


def refreshed_key_log(context: Context, timeout: float | None) -> Operation[KeyLog]:
    """The newest key log, after the gateway's was verified, compared and taken.

    Raises KeyLogInvalid, KeyLogForked, and ProfileError where no log is pinned.
    """
    _ = context.keys.newest
    reply = yield from context.send(LIST_TOKEN_KEYS, token_pb2.ListTokenKeysRequest(), timeout)
    offered = context.keys.read(reply.key_log)
    listed = [(key.epoch, key.public_key) for key in reply.keys]
    if listed != [(key.epoch, bytes(key.public_key)) for key in offered.keys]:
        raise ProtocolViolation("the gateway lists other token keys than its key log has")
    return context.keys.take(offered)


def _key_info(context: Context, key: EpochKey) -> TokenKeyInfo:
    return TokenKeyInfo(
        epoch=key.epoch,
        public_key=bytes(key.public_key),
        valid_from=moment_of(key.valid_from),
        valid_to=None if key.valid_to is None else moment_of(key.valid_to),
        pinned=context.keys.is_pinned(key),
        threshold=key.threshold,
        holders=len(key.holders),
    )
