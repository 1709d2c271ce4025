"""Tokens that were made before."""

import hashlib
import threading
from collections import OrderedDict

from concordat_privacy.oprf import Token


class TokenCache:
    """A bounded map from an OPRF input to its token; the least recently used goes first.

    Keys are SHA-256 of epoch and input, so that identifiers do not stay in memory in the clear.
    (They can be guessed from it: this shortens what a memory dump shows, and protects no more.)
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._tokens: OrderedDict[bytes, Token] = OrderedDict()

    def get(self, epoch: int, oprf_input: bytes) -> Token | None:
        """The token of an input under an epoch, if it is kept."""
        if not self._capacity:
            return None
        key = _key(epoch, oprf_input)
        with self._lock:
            token = self._tokens.get(key)
            if token is not None:
                self._tokens.move_to_end(key)
            return token

    def put(self, oprf_input: bytes, token: Token) -> None:
        """Keep a token."""
        if not self._capacity:
            return
        key = _key(token.epoch, oprf_input)
        with self._lock:
            self._tokens[key] = token
            self._tokens.move_to_end(key)
            if len(self._tokens) > self._capacity:
                self._tokens.popitem(last=False)


def _key(epoch: int, oprf_input: bytes) -> bytes:
    return hashlib.sha256(epoch.to_bytes(4, "big") + oprf_input).digest()
