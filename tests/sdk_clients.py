"""Both clients behind one blocking face, so that one suite of tests runs against both."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Self, cast

from concordat import AsyncClient, Client


class _Awaited:
    """An AsyncClient whose methods block: they run on an event loop in a thread of its own."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = make()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not callable(value):
            return value

        @wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            outcome = value(*args, **kwargs)
            if isinstance(outcome, AsyncIterator):
                return self._iterate(outcome)
            return self._wait(outcome)

        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, awaitable: Any) -> Any:
        async def run() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._wait(anext(items))
            except StopAsyncIteration:
                return


def blocking_face(make: Callable[[], AsyncClient]) -> Client:
    """An AsyncClient that tests use as if it were a Client."""
    return cast(Client, _Awaited(make))
