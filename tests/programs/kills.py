"""Kills this process before one of its writes to a database."""

import os
import signal

import sqlalchemy as sa

from concordat_store.engines import WRITES


def kill_before(writes: int) -> None:
    """From now on, count statements that write and durable commits; kill before number `writes`."""
    left = writes

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "BEGIN")):
            count()

    def note_commit(connection: sa.Connection) -> None:
        if connection.get_execution_options().get(WRITES):
            count()

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    sa.event.listen(sa.Engine, "commit", note_commit)
