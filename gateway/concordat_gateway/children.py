"""Processes that a supervisor starts, waits for, replaces and stops."""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from concordat_rpc.process import READY

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# A child that dies again right after its start is not started again and again at full speed.
_SHORT_LIFE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 5.0


class ChildFailed(Exception):
    """A child ended before it served; it has said why on stderr."""


class Child:
    """One role in the family, played by one process after another."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        """Start it. `arguments` are those of ``python -m module``."""
        self.name = name
        self.environment = environment
        self.port = 0
        """Port it serves on, once it is ready."""
        self._module = module
        self._arguments = list(arguments)
        self._short_lives = 0
        self._start()

    @property
    def pid(self) -> int:
        """Process id of the present process."""
        return self._process.pid

    def await_ready(self, timeout_seconds: float, stopping: threading.Event) -> bool:
        """Wait until it serves; False if told to stop first. Raises ChildFailed."""
        out = self._process.stdout
        assert out is not None
        end = time.monotonic() + timeout_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while not selector.select(_POLL_SECONDS):
                if stopping.is_set():
                    return False
                if time.monotonic() > end:
                    raise ChildFailed(f"{self.name} does not serve after {timeout_seconds:g} s")
        word, _, port = out.readline().decode().partition(" ")
        if word != READY:
            raise ChildFailed(f"{self.name} ended with code {self._process.wait()}")
        self.port = int(port)
        return True

    def keep_port(self, option: str) -> None:
        """Give successors the port that this process found free."""
        self._arguments += [option, str(self.port)]

    def replace_if_dead(self) -> int | None:
        """Start a successor if it ended; the ended process's id, else None."""
        code = self._process.poll()
        if code is None:
            return None
        lived = time.monotonic() - self._started
        if lived >= _SHORT_LIFE_SECONDS:
            self._short_lives = 0
        pause = min(_LONGEST_PAUSE_SECONDS, self._short_lives * 0.5)
        if lived < pause:
            return None
        self._short_lives += 1
        ended = self._process.pid
        self._close_pipes()
        _log.warning("child ended; starting another", extra={"child": self.name, "exit_code": code})
        self._start()
        return ended

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop_by(self, end_monotonic_seconds: float) -> None:
        """Wait for its end, and end it then if it has not."""
        try:
            self._process.wait(max(0.0, end_monotonic_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("child did not stop in time; killed", extra={"child": self.name})
            self._process.kill()
            self._process.wait()
        self._close_pipes()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  our own module, our own arguments
            [sys.executable, "-m", self._module, *self._arguments],
            # Never written to: its end tells the child that this process is gone.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def stop_all(children: Sequence[Child], seconds: float) -> None:
    """Ask all to stop, and end those that have not after so many seconds."""
    for child in children:
        child.ask_to_stop()
    end = time.monotonic() + seconds
    for child in children:
        child.stop_by(end)
