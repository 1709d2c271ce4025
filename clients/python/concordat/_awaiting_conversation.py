"""A call with a stream each way, for the awaiting client."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import Message

from concordat._status import from_rpc_error
from concordat._steps import Open


class AwaitingConversation:
    """One conversation, of one event loop."""

    def __init__(self, channel: grpc.aio.Channel, step: Open) -> None:
        method = step.method
        codec = (method.path, method.request.SerializeToString, method.reply.FromString)
        # The stubs know only the form with an iterator, which cannot be waited for.
        connect: Any = channel.stream_stream(*codec)
        self._call = connect(timeout=step.timeout_seconds)

    async def say(self, message: Message) -> None:
        """Send a message. Where the call has failed, `hear` tells."""
        with suppress(asyncio.InvalidStateError, grpc.RpcError):
            await self._call.write(message)

    async def finish(self) -> None:
        """Nothing follows."""
        with suppress(asyncio.InvalidStateError, grpc.RpcError):
            await self._call.done_writing()

    async def hear(self) -> Message | None:
        """The next message; None at the end. Raises ConcordatError."""
        try:
            message = await self._call.read()
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        # At its end gRPC gives a marker that is no message.
        return message if isinstance(message, Message) else None

    def cancel(self) -> None:
        """End it now."""
        self._call.cancel()
