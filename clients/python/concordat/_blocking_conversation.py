"""A call with a stream each way, for the blocking client."""

from queue import SimpleQueue

import grpc
from google.protobuf.message import Message

from concordat._status import from_rpc_error
from concordat._steps import Open
from concordat.errors import ClientClosed


class BlockingConversation:
    """One conversation. For one thread, but for `cancel`.

    gRPC takes what is said off a queue, as the gateway takes it off the wire: whoever speaks
    bounds what is under way.
    """

    def __init__(self, channel: grpc.Channel, step: Open) -> None:
        """Raises ClientClosed."""
        method = step.method
        self._said: SimpleQueue[Message | None] = SimpleQueue()
        codec = (method.path, method.request.SerializeToString, method.reply.FromString)
        try:
            self._call = channel.stream_stream(*codec)(
                iter(self._said.get, None), timeout=step.timeout_seconds
            )
        except ValueError as error:
            # gRPC says so when another thread closed the channel a moment ago.
            raise ClientClosed("the client was closed during the call") from error
        self._replies = iter(self._call)

    def say(self, message: Message) -> None:
        """Send a message."""
        self._said.put(message)

    def finish(self) -> None:
        """Nothing follows."""
        self._said.put(None)

    def hear(self) -> Message | None:
        """The next message; None at the end. Raises ConcordatError."""
        try:
            message: Message = next(self._replies)
        except StopIteration:
            return None
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return message

    def cancel(self) -> None:
        """End it now."""
        self._call.cancel()  # type: ignore[no-untyped-call]  # untyped in grpc-stubs
        # Lets the thread go that waits for what is said next.
        self._said.put(None)
