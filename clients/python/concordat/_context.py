"""What the operations of one client share."""

import hashlib
from dataclasses import dataclass

from concordat._channel import check_certificate
from concordat._checks import checked_bytes, checked_timeout, checked_type
from concordat._key_log import KeyLogView
from concordat._ledger import LedgerView
from concordat._retry import send
from concordat._signing import Signer
from concordat._steps import Flow, Method, Operation, Reply, Request
from concordat._token_cache import TokenCache
from concordat.errors import FailedPrecondition
from concordat.options import Environment, Options
from concordat.profile import Profile
from concordat.requests import REQUEST_ID_BYTES, RequestId

EPOCH_NOT_ACTIVE = "EPOCH_NOT_ACTIVE"


@dataclass(frozen=True, slots=True)
class Context:
    """A client's profile, settings and memory."""

    profile: Profile
    options: Options
    environment: Environment
    ledger: LedgerView
    keys: KeyLogView
    signer: Signer
    tokens: TokenCache

    @classmethod
    def of(
        cls,
        profile: Profile,
        options: Options | None,
        environment: Environment | None,
        known_checkpoint: str | None,
    ) -> "Context":
        """The context of a new client.

        Raises InvalidInput, ProfileError for a certificate out of its time, ReceiptInvalid for a
        checkpoint that the ledger did not sign.
        """
        checked_type(profile, Profile, "profile", "Client.open takes a folder")
        settings = Options() if options is None else checked_type(options, Options, "options")
        surroundings = Environment() if environment is None else environment
        if known_checkpoint is not None:
            checked_type(known_checkpoint, str, "known_checkpoint", "keep last_checkpoint.note")
        check_certificate(profile, surroundings.utc_now())
        return cls(
            profile,
            settings,
            surroundings,
            LedgerView(profile.ledger_key, profile.spiffe_id, known_checkpoint),
            KeyLogView(profile),
            Signer.of(profile),
            TokenCache(settings.cached_tokens),
        )

    def send(
        self,
        method: Method[Request, Reply],
        request: Request | tuple[Request, ...],
        timeout: float | None,
    ) -> Operation[Reply]:
        """Invoke a method, with its retries.

        Whatever call learns that an epoch is not in use: the next token is made under a key log
        that was read again.
        """
        seconds = self.timeout_seconds(method.flow, timeout)
        try:
            return (yield from send(self.environment, self.options.retry, method, request, seconds))
        except FailedPrecondition as error:
            if error.reason == EPOCH_NOT_ACTIVE:
                self.keys.doubt()
            raise

    def timeout_seconds(self, flow: Flow, timeout: float | None) -> float:
        """The caller's timeout, else the default for the kind of call. Raises InvalidInput."""
        if timeout is None:
            unary = flow is Flow.UNARY
            return self.options.timeout_seconds if unary else self.options.stream_timeout_seconds
        return checked_timeout(timeout, "timeout")

    def request_id(self, given: bytes | None) -> RequestId:
        """The caller's request id, else a new one. Raises InvalidInput."""
        if given is None:
            return RequestId(self.environment.random_bytes(REQUEST_ID_BYTES))
        return RequestId(checked_bytes(given, "request_id", REQUEST_ID_BYTES))


def resume_advice(items: str, request_id: RequestId) -> str:
    """How to go on with a split write that failed."""
    return (
        f"to go on, call again with all {items} and request_id=bytes.fromhex("
        f"'{request_id.hex()}'): what was recorded is answered from the record"
    )


def numbered_request_id(request_id: RequestId, number: int) -> RequestId:
    """The id of request `number` of a call that is split; the first keeps the call's own.

    Derived, so that repeating the call with the same id repeats the same requests.
    """
    if number == 0:
        return request_id
    text = b"concordat/request/v1" + request_id + number.to_bytes(8, "big")
    return RequestId(hashlib.sha256(text).digest()[:REQUEST_ID_BYTES])
