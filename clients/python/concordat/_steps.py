"""Operations: what a public method does, without doing it.

An operation is a generator. It yields steps (send this request, wait, compute), gets each step's
outcome back, and returns the method's result. It touches no network, thread or event loop: the
two clients run the same operations, one by blocking and one by awaiting, so they cannot differ.

A step that fails is thrown into the operation as a ConcordatError.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
T = TypeVar("T")
Message_contra = TypeVar("Message_contra", bound=Message, contravariant=True)
Item_co = TypeVar("Item_co", covariant=True)


class Repeat(Enum):
    """When a failed request may be sent again."""

    SAFE = "reading, or a write that carries its own request id"
    RECORDED = "each attempt that arrives is recorded as a use of data"
    CHARGED = "each attempt that arrives may be charged to a budget"


class Flow(Enum):
    """Which side of a call streams."""

    UNARY = "one request, one reply"
    UPLOAD = "many requests, one reply"
    DOWNLOAD = "one request, many replies"
    CONVERSATION = "many requests, many replies"


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Reply]):
    """One RPC of the contract."""

    service: str
    name: str
    request: type[Request]
    reply: type[Reply]
    repeat: Repeat
    flow: Flow = Flow.UNARY

    @property
    def path(self) -> str:
        """As gRPC spells it."""
        return f"/concordat.v1.{self.service}/{self.name}"


class Reader(Protocol[Message_contra, Item_co]):
    """Turns the messages of a download into items, and checks that it came whole."""

    def accept(self, message: Message_contra, /) -> Sequence[Item_co]:
        """The items of the next message."""

    def finish(self) -> None:
        """The download has ended."""


class Source(Protocol[Item_co]):
    """What gives one item after another, each by an operation of its own."""

    def next(self) -> "Operation[Item_co | None]":
        """The next item; None when there is none any more."""

    def close(self) -> None:
        """No more are wanted."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """Send one request (or the messages of an upload) once. Outcome: the reply."""

    method: Method[Any, Any]
    request: Message | tuple[Message, ...]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. Outcome: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Compute:
    """Run work that keeps a core busy for milliseconds. Outcome: what it returns."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Together:
    """Run operations side by side, at most `width` at once. Outcome: their results, in order.

    `done` is called after each, in order, by the caller's own thread. After the
    first failure none is begun; it is raised once those under way have ended.
    """

    operations: Sequence["Operation[Any]"]
    width: int
    done: Callable[[Any], None]


class Conversation(Protocol):
    """A call with a stream each way. Only its client's runner can make use of one."""

    def cancel(self) -> None:
        """End it now. A second time, or after its end, does nothing."""


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a conversation. Outcome: it. It lasts no longer than the timeout."""

    method: Method[Any, Any]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Say:
    """Send one message of a conversation. Outcome: None, also where it has failed: `Hear` tells."""

    conversation: Conversation
    message: Message


@dataclass(frozen=True, slots=True)
class Finish:
    """Say that nothing follows. Outcome: None."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for the next message of a conversation. Outcome: it; None at the end."""

    conversation: Conversation


Step: TypeAlias = Invoke | Sleep | Compute | Together | Open | Say | Finish | Hear
Operation: TypeAlias = Generator[Step, Any, T]


def compute(work: Callable[[], T]) -> Operation[T]:
    """Compute, with its type."""
    outcome: T = yield Compute(work)
    return outcome
