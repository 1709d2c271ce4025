"""The gateway and the command line, as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from concordat_demo.failure import DemoFailed

CONCORDAT: Final = Path(sys.executable).with_name("concordat")
_READY: Final = "concordat gateway ready on "
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 20
_COMMAND_SECONDS: Final = 120


def concordat(*arguments: str | Path, expect: Sequence[int] = (0,)) -> tuple[int, str]:
    """Run the command line; gives its exit code and what it printed.

    Raises DemoFailed for an exit code that is not in `expect`, with the command's own words.
    """
    command = [str(CONCORDAT), *map(str, arguments)]
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise DemoFailed(f"{CONCORDAT} is not there: pip install '.[server]'") from None
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"no end after {_COMMAND_SECONDS} s: {' '.join(command)}") from None
    if done.returncode not in expect:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise DemoFailed(f"exit code {done.returncode}: {' '.join(command)}\n{said}")
    return done.returncode, done.stdout


def verify_evidence(verifier: Path, evidence: Path, ledger_key: Path) -> tuple[bool, str]:
    """Run the verifier by itself: whether it proves, and its words."""
    command = [sys.executable, "-I", str(verifier), str(evidence)]
    done = subprocess.run(  # noqa: S603 - a file that the command line just wrote, no shell
        [*command, "--key", ledger_key.read_text().strip()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


def free_address() -> str:
    """A loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Gateway:
    """`concordat serve`, from start to a clean stop.

    It is ended by its own process id and in no other way. It gets a session of its own, so that
    Ctrl-C at the terminal reaches the demo alone, which then stops it in order.
    """

    def __init__(self, config: Path, log: Path) -> None:
        self._config = config
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [str(CONCORDAT), "serve", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The supervisor's process id; None when it does not run."""
        return None if self._process is None else self._process.pid

    def stop(self) -> int | None:
        """Drain and stop; gives the exit code, None if it was stopped before."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Its session's processes are all its own.
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if process.poll() is not None:
                raise DemoFailed(f"the gateway ended at once with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"the gateway was not ready after {_START_SECONDS} s")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        return any(line.startswith(_READY) for line in self._log.read_text().splitlines())
