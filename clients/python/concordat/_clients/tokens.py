"""Tokens of subjects, and the keys that make them."""

from collections.abc import Iterable

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import token_keys
from concordat._operations import tokens as token_operations
from concordat._operations.tokens import Progress
from concordat.results import TokenKeyInfo
from concordat_privacy.identifiers import Identifier
from concordat_privacy.oprf import Token


class TokenMethods(BlockingMethods):
    """Methods of `Client`."""

    def tokenise(
        self,
        identifiers: Iterable[Identifier],
        *,
        epoch: int | None = None,
        portfolio: bool = False,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> list[Token]:
        """Turn identifiers into tokens without showing them to anybody.

        Blinds in this process, signs each batch of up to 2,000 blinded points with the profile's
        key, has it evaluated, verifies each key-holder's proof under the pinned key log, unblinds.
        Equal identifiers are sent once. Returns one token for each identifier, in order, all of
        one epoch.

        If a later batch fails, `error.partial` holds one entry for each identifier, in order: its
        Token, or None. With `Options(cached_tokens=...)` repeating the call goes on from there.

        Args:
            epoch: key epoch; None for the newest one in use. The gateway's key log is read where
                the pinned one has none in use, or the gateway says that the epoch is not active.
            portfolio: charge the allowance that the key-holder granted for a portfolio, not the
                member's daily and monthly quota.
            progress: called with (done, in all), counting different identifiers; from the
                beginning again if the epoch changed.

        Raises:
            ProofInvalid: a key-holder did not use the pinned key. Of a split key, `holder` names
                it, and others were asked before, where there are enough.
            QuotaExhausted: EVALUATIONS_EXHAUSTED or PORTFOLIO_EXHAUSTED.
            KeyLogForked, KeyLogInvalid: the gateway's key log is not a later one of the pinned.
            ProfileError: no key log is pinned, or it has no such epoch.
        """
        return self._runner.run(
            "tokenise",
            token_operations.tokenise(
                self._context, identifiers, epoch, portfolio, progress, timeout
            ),
        )

    def list_token_keys(self, *, timeout: float | None = None) -> tuple[TokenKeyInfo, ...]:
        """The key epochs, oldest first, after the gateway's key log was verified.

        The client uses that log from now on; `key_log` gives its text, to be kept.

        Raises:
            KeyLogForked: it does not extend the log that was seen before. The error holds both
                signed logs as evidence.
            KeyLogInvalid: it is not signed by the pinned key.
            ProfileError: no key log is pinned.
        """
        return self._runner.run(
            "list_token_keys", token_keys.list_token_keys(self._context, timeout)
        )


class AwaitingTokenMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def tokenise(
        self,
        identifiers: Iterable[Identifier],
        *,
        epoch: int | None = None,
        portfolio: bool = False,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> list[Token]:
        """See `Client.tokenise`."""
        return await self._runner.run(
            "tokenise",
            token_operations.tokenise(
                self._context, identifiers, epoch, portfolio, progress, timeout
            ),
        )

    async def list_token_keys(self, *, timeout: float | None = None) -> tuple[TokenKeyInfo, ...]:
        """See `Client.list_token_keys`."""
        return await self._runner.run(
            "list_token_keys", token_keys.list_token_keys(self._context, timeout)
        )
