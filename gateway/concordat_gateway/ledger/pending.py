"""A change on its way to the disk: submitted, run, durable or undone."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from concordat_gateway.ledger.transaction import Transaction
from concordat_rpc.errors import deadline_exceeded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """What a change returned, now durable, and the signed tree head that covers its entries."""

    value: T
    checkpoint: str


class Pending(Generic[T]):
    """One change that was handed to the journal, and what became of it."""

    __slots__ = ("_change", "_checkpoint", "_claim", "_done", "_error", "_gate", "_value")

    def __init__(self, change: Callable[[Transaction], T]) -> None:
        self._change = change
        self._claim = threading.Lock()
        # A held lock costs a third of an Event.
        self._gate = threading.Lock()
        self._gate.acquire()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._checkpoint = ""

    def result(self, timeout_seconds: float = 30.0) -> Committed[T]:
        """Wait until the change is durable. Raises what it raised, or as `Journal.write` does."""
        if not self._done:
            if not self._gate.acquire(timeout=timeout_seconds):
                # A change that has not started now never will.
                self.claim()
                raise deadline_exceeded()
            self._gate.release()
        if self._error is not None:
            raise self._error
        return Committed(cast(T, self._value), self._checkpoint)

    @property
    def failed(self) -> bool:
        """Whether the change raised, once it has run."""
        return self._error is not None

    def claim(self) -> bool:
        """Whether the calling thread is the first to claim the change: to run it or to drop it."""
        return self._claim.acquire(blocking=False)

    def run(self, transaction: Transaction, is_fault: Callable[[BaseException], bool]) -> None:
        """Run the change; a fault of the store goes up, anything else is the caller's to see."""
        try:
            self._value = transaction.run(self._change)
        except Exception as error:
            if is_fault(error):
                raise
            self._error = error

    def settle(self, checkpoint: str) -> None:
        """The change is durable, or was undone alone."""
        self._checkpoint = checkpoint
        self._done = True

    def fail(self, error: BaseException) -> None:
        """Nothing of the change's group is durable."""
        if self._error is None:
            self._error = error
        self._done = True

    def wake(self) -> None:
        """Wake the waiter, once the change was settled or failed, and its whole group with it.

        Whoever waits for several of them then sleeps once, not again for each.
        """
        self._gate.release()
