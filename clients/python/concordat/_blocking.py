"""Runs operations by blocking."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import cycle
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from concordat._blocking_conversation import BlockingConversation
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
from concordat.errors import ClientClosed, ConcordatError, ProtocolViolation
from concordat.options import Options
from concordat.profile import Profile

_T = TypeVar("_T")


class BlockingRunner:
    """Connections of one client, and the threads that operations run side by side on."""

    def __init__(self, profile: Profile, settings: Options, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._lifetime = Lifetime()
        self._channels = tuple(
            grpc.secure_channel(profile.gateway, credentials(profile), options(profile))
            for _ in range(settings.channels)
        )
        self._turn = cycle(self._channels)
        self._pool = ThreadPoolExecutor(settings.parallelism, thread_name_prefix="concordat")
        self._lock = threading.Lock()

    def close(self) -> None:
        """End all calls and connections. A second time does nothing."""
        if not self._lifetime.close() or self._lifetime.forked:
            return
        for channel in self._channels:
            channel.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, name: str, operation: Operation[_T]) -> _T:
        """The operation's result. Errors get the name of the public method."""
        with named(name):
            self._lifetime.check()
            return self._drive(operation)

    def pages(self, name: str, fetch: FetchPage[_T]) -> Iterator[_T]:
        """All items of a listing, read page by page as they are consumed."""
        token = ""
        while True:
            page = self.run(name, fetch(token))
            yield from page.items
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                raise ProtocolViolation("the listing does not advance", operation=name)
            token = page.next_page_token

    def download(
        self,
        name: str,
        method: Method[Request, Reply],
        request: Request,
        timeout_seconds: float,
        reader: Reader[Reply, _T],
    ) -> Iterator[_T]:
        """What the reader finds in the replies of a download. A break in the middle is raised."""
        with named(name):
            self._lifetime.check()
            connect = self._next_channel().unary_stream
            codec = (method.path, method.request.SerializeToString, method.reply.FromString)
            replies = connect(*codec)(request, timeout=timeout_seconds)
            try:
                for reply in replies:
                    yield from reader.accept(reply)
                reader.finish()
            finally:
                # A caller that stops early would leave the gateway sending.
                replies.cancel()  # type: ignore[no-untyped-call]  # untyped in grpc-stubs

    def items(self, name: str, source: Source[_T]) -> Iterator[_T]:
        """What a source gives, item by item as they are consumed."""
        try:
            while (item := self.run(name, source.next())) is not None:
                yield item
        finally:
            source.close()

    def _drive(self, operation: Operation[_T]) -> _T:
        try:
            step = next(operation)
            while True:
                try:
                    outcome = self._perform(step)
                except ConcordatError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(outcome)
        except StopIteration as finished:
            result: _T = finished.value
            return result

    def _perform(self, step: Step) -> Any:
        match step:
            case Invoke():
                return self._invoke(step)
            case Compute(work):
                return work()
            case Together():
                return self._together(step)
            case Sleep(seconds):
                return self._sleep(seconds)
            case Open():
                self._lifetime.check()
                return BlockingConversation(self._next_channel(), step)
            case Say(conversation, message):
                return _own(conversation).say(message)
            case Finish(conversation):
                return _own(conversation).finish()
            case Hear(conversation):
                return _own(conversation).hear()

    def _invoke(self, step: Invoke) -> Message:
        self._lifetime.check()
        method, request, seconds = step.method, step.request, step.timeout_seconds
        codec = (method.path, method.request.SerializeToString, method.reply.FromString)
        channel = self._next_channel()
        try:
            reply: Message
            if isinstance(request, tuple):
                reply = channel.stream_unary(*codec)(iter(request), timeout=seconds)
            else:
                reply = channel.unary_unary(*codec)(request, timeout=seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        except ValueError as error:
            # gRPC says so when another thread closed the channel a moment ago.
            raise ClientClosed("the client was closed during the call") from error
        return reply

    def _next_channel(self) -> grpc.Channel:
        with self._lock:
            return next(self._turn)

    def _together(self, step: Together) -> list[Any]:
        results: list[Any] = []
        if len(step.operations) == 1:
            # One identifier is the usual case in scoring: a change of threads would only cost.
            results.append(self._drive(step.operations[0]))
            step.done(results[0])
            return results
        running: deque[Future[Any]] = deque()

        def collect() -> None:
            result = running.popleft().result()
            results.append(result)
            step.done(result)

        try:
            for operation in step.operations:
                if len(running) >= step.width:
                    collect()
                running.append(self._submit(operation))
            while running:
                collect()
        except Exception:
            # What is under way has been asked for, and perhaps charged: its results count.
            for future in running:
                future.cancel()
            wait(running)
            raise
        except BaseException:
            # Somebody pressed Ctrl-C: nothing is waited for.
            for future in running:
                future.cancel()
            raise
        return results

    def _submit(self, operation: Operation[Any]) -> Future[Any]:
        try:
            return self._pool.submit(self._drive, operation)
        except RuntimeError as error:
            raise ClientClosed("the client was closed during the call") from error


def _own(conversation: Conversation) -> BlockingConversation:
    assert isinstance(conversation, BlockingConversation)
    return conversation
