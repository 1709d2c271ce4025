"""Both clients behind one blocking face, so that one suite of tests runs against both."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache, wraps
from types import TracebackType
from typing import Any, Self, cast

from concordat import AsyncClient, Client


class _Awaited:
    """An AsyncClient whose methods block: they run on an event loop in a thread of its own."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._client = make()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not callable(value):
            return value

        @wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            outcome = value(*args, **kwargs)
            return _iterate(outcome) if isinstance(outcome, AsyncIterator) else _wait(outcome)

        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _wait(self._client.close())


def blocking_face(make: Callable[[], AsyncClient]) -> Client:
    """An AsyncClient that tests use as if it were a Client."""
    return cast(Client, _Awaited(make))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def _wait(awaitable: Awaitable[Any]) -> Any:
    async def run() -> Any:
        return await awaitable

    return asyncio.run_coroutine_threadsafe(run(), _loop()).result()


def _iterate(items: AsyncIterator[Any]) -> Iterator[Any]:
    while True:
        try:
            yield _wait(anext(items))
        except StopAsyncIteration:
            return
