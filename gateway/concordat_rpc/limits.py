"""Every limit of a server process, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server process takes on. Defaults suit one worker on one core."""

    max_receive_bytes: int = 4 * 1024 * 1024
    """Largest message taken; a larger one is refused with RESOURCE_EXHAUSTED."""
    max_fields: int = 10_000
    """Most rows, consents, names and other fields of a message: each becomes an object when it is
    parsed. More are refused before. No message that is good has half as many."""
    uncounted_bytes: int = 512 * 1024
    """Messages up to this long are parsed without being counted first. They can have half as many
    fields, which take 17 MB; good ones are shorter."""
    max_send_bytes: int = 32 * 1024 * 1024
    """Largest message sent. All signals of a batch of 10,000 subjects have some 20 MB; callers take
    as much. A worker may hold one for each of its threads."""
    unary_threads: int = 8
    """Threads that streams can never take, so that short calls are always served."""
    first_message_seconds: float = 2.0
    """How long a unary call may stay without its message, which holds a thread."""
    silent_calls_per_caller: int = 3
    """How many unary calls of one caller may wait that long at once."""
    crowded_message_seconds: float = 0.05
    """How long any further one may wait: a message comes with its call, so this does honest
    callers no harm, and a caller of silent calls frees its threads quickly."""
    concurrent_streams: int = 8
    """Streaming calls served at once; each holds a thread of its own while it lasts. The next one
    is refused at once with RESOURCE_EXHAUSTED, reason TOO_MANY_STREAMS."""
    concurrent_streams_per_caller: int = 4
    """Of these, how many one caller may hold."""
    concurrent_calls: int = 256
    """Calls running or queued; beyond that gRPC itself refuses with RESOURCE_EXHAUSTED."""
    unary_deadline_seconds: float = 30.0
    """Longest deadline of a unary call; imposed where the caller has none or a longer one."""
    stream_deadline_seconds: float = 300.0
    """The same for a streaming call."""
    stream_idle_seconds: float = 30.0
    """Longest silence between two messages of a request stream, which holds one of few places."""
    connection_age_seconds: float = 3600.0
    """Age at which a connection is asked to be re-made, so that renewed certificates are seen."""
    connection_age_grace_seconds: float = 330.0
    """How long calls of an aged connection may go on; longer than any stream's deadline."""
    keepalive_seconds: float = 60.0
    """Silence after which the server probes whether the caller is still there."""
    drain_seconds: float = 10.0
    """How long running calls may finish when the process is told to stop."""

    @property
    def threads(self) -> int:
        """Threads of the process's pool."""
        return self.unary_threads + self.concurrent_streams
