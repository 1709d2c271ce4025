"""Runs operations by awaiting."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from concordat._awaiting_conversation import AwaitingConversation
from concordat._channel import Lifetime, credentials, options
from concordat._convert import FetchPage
from concordat._status import from_rpc_error, named
from concordat._steps import (
    Compute,
    Conversation,
    Finish,
    Hear,
    Invoke,
    Method,
    Open,
    Operation,
    Reader,
    Reply,
    Request,
    Say,
    Sleep,
    Source,
    Step,
    Together,
)
from concordat.errors import Cancelled, ClientClosed, ConcordatError, ProtocolViolation
from concordat.options import Options
from concordat.profile import Profile

_T = TypeVar("_T")


class AwaitingRunner:
    """Connections of one client, all of one event loop, and threads for what keeps cores busy."""

    def __init__(
        self, profile: Profile, settings: Options, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._profile = profile
        self._settings = settings
        self._sleep = sleep
        self._lifetime = Lifetime()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: tuple[grpc.aio.Channel, ...] = ()
        self._turn: cycle[grpc.aio.Channel] = cycle(())
        self._pool = ThreadPoolExecutor(settings.parallelism, thread_name_prefix="concordat")

    async def close(self) -> None:
        """End all calls and connections. A second time does nothing."""
        if not self._lifetime.close() or self._lifetime.forked:
            return
        for channel in self._channels:
            await channel.close(None)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, name: str, operation: Operation[_T]) -> _T:
        """The operation's result. Errors get the name of the public method."""
        with named(name):
            self._check()
            return await self._drive(operation)

    async def pages(self, name: str, fetch: FetchPage[_T]) -> AsyncIterator[_T]:
        """All items of a listing, read page by page as they are consumed."""
        token = ""
        while True:
            page = await self.run(name, fetch(token))
            for item in page.items:
                yield item
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                raise ProtocolViolation("the listing does not advance", operation=name)
            token = page.next_page_token

    async def download(
        self,
        name: str,
        method: Method[Request, Reply],
        request: Request,
        timeout_seconds: float,
        reader: Reader[Reply, _T],
    ) -> AsyncIterator[_T]:
        """What the reader finds in the replies of a download. A break in the middle is raised."""
        with named(name), self._closing_told():
            self._check()
            connect = next(self._turn).unary_stream
            codec = (method.path, method.request.SerializeToString, method.reply.FromString)
            replies = connect(*codec)(request, timeout=timeout_seconds)
            try:
                async for reply in replies:
                    for item in reader.accept(reply):
                        yield item
                reader.finish()
            finally:
                # A caller that stops early would leave the gateway sending.
                replies.cancel()

    async def items(self, name: str, source: Source[_T]) -> AsyncIterator[_T]:
        """What a source gives, item by item as they are consumed."""
        try:
            while (item := await self.run(name, source.next())) is not None:
                yield item
        finally:
            source.close()

    async def _drive(self, operation: Operation[_T]) -> _T:
        try:
            step = next(operation)
            while True:
                try:
                    outcome = await self._perform(step)
                except ConcordatError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(outcome)
        except StopIteration as finished:
            result: _T = finished.value
            return result

    async def _perform(self, step: Step) -> Any:
        match step:
            case Invoke():
                return await self._invoke(step)
            case Compute(work):
                return await self._compute(work)
            case Together():
                return await self._together(step)
            case Sleep(seconds):
                return await self._sleep(seconds)
            case Open():
                self._check()
                with self._closing_told():
                    return AwaitingConversation(next(self._turn), step)
            case Say(conversation, message):
                with self._closing_told():
                    return await _own(conversation).say(message)
            case Finish(conversation):
                with self._closing_told():
                    return await _own(conversation).finish()
            case Hear(conversation):
                with self._closing_told():
                    return await _own(conversation).hear()

    async def _invoke(self, step: Invoke) -> Message:
        self._check()
        method, request, seconds = step.method, step.request, step.timeout_seconds
        codec = (method.path, method.request.SerializeToString, method.reply.FromString)
        channel = next(self._turn)
        with self._closing_told():
            try:
                reply: Message
                if isinstance(request, tuple):
                    reply = await channel.stream_unary(*codec)(iter(request), timeout=seconds)
                else:
                    reply = await channel.unary_unary(*codec)(request, timeout=seconds)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error
        return reply

    async def _compute(self, work: Callable[[], Any]) -> Any:
        try:
            outcome = asyncio.get_running_loop().run_in_executor(self._pool, work)
        except RuntimeError as error:
            raise ClientClosed("the client was closed during the call") from error
        return await outcome

    async def _together(self, step: Together) -> list[Any]:
        results: list[Any] = []
        running: deque[asyncio.Task[Any]] = deque()

        async def collect() -> None:
            result = await running[0]
            running.popleft()
            results.append(result)
            step.done(result)

        try:
            for operation in step.operations:
                if len(running) >= step.width:
                    await collect()
                running.append(asyncio.create_task(self._drive(operation)))
            while running:
                await collect()
        except Exception:
            # What is under way has been asked for, and perhaps charged: its results count.
            await asyncio.gather(*running, return_exceptions=True)
            raise
        finally:
            # Nothing is left, unless this call was itself cancelled.
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return results

    @contextmanager
    def _closing_told(self) -> Iterator[None]:
        """Tell a call that another task's `close` ended from one that was itself cancelled.

        gRPC raises asyncio's CancelledError for both; only the second may pass.
        """
        try:
            yield
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._lifetime.closed or (task is not None and task.cancelling()):
                raise
            raise Cancelled("the client was closed during the call") from error
        except grpc.aio.UsageError as error:
            raise ClientClosed("the client was closed before the call") from error

    def _check(self) -> None:
        """Connect on first use: gRPC ties a channel to the event loop that makes it."""
        self._lifetime.check()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._channels = tuple(
                grpc.aio.secure_channel(
                    self._profile.gateway, credentials(self._profile), options(self._profile)
                )
                for _ in range(self._settings.channels)
            )
            self._turn = cycle(self._channels)
        elif self._loop is not loop:
            raise ClientClosed(
                "this client belongs to another event loop; open one in each", reason="OTHER_LOOP"
            )


def _own(conversation: Conversation) -> AwaitingConversation:
    assert isinstance(conversation, AwaitingConversation)
    return conversation
