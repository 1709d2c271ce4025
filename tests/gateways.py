"""Real gateways for tests: `concordat init` and `concordat serve`, as processes of their own.

`gateway` is one for the whole session, for tests that leave it as they found it; `make_gateway`
makes one with other stores or settings, for one test; `closing_all` does for a module's fixtures.
Each is stopped by the process id that started it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from concordat import Client
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.verify import verify_export

CONCORDAT: Final = Path(sys.executable).with_name("concordat")
READY: Final = "concordat gateway ready on "
_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30


def concordat(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line and wait for it."""
    command = [str(CONCORDAT), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gateway:
    """One installation and, while it serves, its supervisor process."""

    def __init__(
        self,
        folder: Path,
        *,
        control_url: str | None = None,
        signals_url: str | None = None,
        workers: int = 2,
        limits: str = "",
    ) -> None:
        """Make an installation in `folder`; `limits` are lines of its [limits] table."""
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        options = ["--listen", self.address, "--workers", str(workers)]
        options += ["--control-url", control_url] if control_url else []
        options += ["--signals-url", signals_url] if signals_url else []
        made = concordat("init", folder, *options)
        assert made.returncode == 0, made.stderr
        if limits:
            self.edit("[limits]\n", f"[limits]\n{limits}\n")

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "gateway.toml"

    @property
    def operator(self) -> Path:
        """The operator's profile."""
        return self.folder / "profiles" / "operator"

    @property
    def auditor(self) -> Path:
        """The auditor's profile."""
        return self.folder / "profiles" / "auditor"

    @property
    def ledger_vkey(self) -> str:
        """The key that checkpoints are verified with."""
        return (self.folder / "gateway" / "ledger.vkey").read_text().strip()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote to stderr in all its runs."""
        return (self.folder / "stderr.log").read_text()

    def edit(self, old: str, new: str) -> None:
        """Change the configuration file; works on the next start."""
        text = self.config.read_text()
        assert old in text, f"{old!r} is not in {text}"
        self.config.write_text(text.replace(old, new))

    def start(self) -> None:
        """Start serving and wait until it does."""
        self.launch()
        end = time.monotonic() + _START_SECONDS
        out = self.folder / "stdout.log"
        while not out.read_text().startswith(READY):
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    def launch(self) -> None:
        """Start the process, ready or not."""
        assert self._process is None
        with (
            (self.folder / "stdout.log").open("wb") as out,
            (self.folder / "stderr.log").open("ab") as log,
        ):
            self._process = subprocess.Popen(
                [str(CONCORDAT), "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        code = self._process.wait(_STOP_SECONDS)
        self._process = None
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int:
        """Drain and stop; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the supervisor with no chance to react, and wait until its children are gone."""
        children = self.children()
        self.signal(signal.SIGKILL)
        self.wait()
        eventually(lambda: not any(map(is_running, children)), "the children ended")

    def children(self, module: str = "") -> list[int]:
        """Process ids of its children, of one module if given, oldest first."""
        return sorted(
            process.pid
            for process in processes()
            if process.parent == self.pid and f"-m concordat_{module}" in process.arguments
        )

    def join(self, member_id: str) -> Path:
        """The profile of a member, which joins on the first call for it."""
        profile = self.folder / "members" / member_id
        if not profile.exists():
            invitation = self.invite(member_id)
            accepted = concordat("member", "accept", invitation, profile)
            assert accepted.returncode == 0, accepted.stderr
        return profile

    def invite(self, member_id: str) -> Path:
        """The file of a new invitation."""
        (self.folder / "members").mkdir(exist_ok=True)
        file = self.folder / "members" / f"{member_id}.json"
        invited = concordat(
            *("member", "invite", member_id, "--name", f"Bank {member_id}"),
            *("--profile", self.operator, "--out", file),
        )
        assert invited.returncode == 0, invited.stderr
        return file

    def accept_unpublished(self, member_id: str, token: bytes) -> bytes:
        """Accept a batch and do not live to publish it, as a worker that is killed in between.

        The batch has one open account of the token's subject. Returns its request_id.
        """
        request_id = os.urandom(16)
        program = [sys.executable, "-m", "tests.programs.accept", str(self.config)]
        ended = subprocess.run(
            [*program, member_id, request_id.hex(), token.hex()],
            cwd=_REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        return request_id

    def close(self) -> None:
        """Stop it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self.stop()


MakeGateway = Callable[..., Gateway]


def export_verified(gateway: Gateway, folder: Path) -> list[dict[str, Any]]:
    """The auditor's export of the ledger, verified offline; the fields of its entries, in order."""
    written = concordat("ledger", "export", folder, "--profile", gateway.auditor)
    assert written.returncode == 0, written.stderr
    report = verify_export(folder, VerifierKey.decode(gateway.ledger_vkey))
    assert report.ok, report.summary()
    with Client.open(gateway.auditor) as auditor:
        return [json.loads(entry.entry) for entry in auditor.export_entries()]


@contextmanager
def closing_all(folder: Path) -> Iterator[MakeGateway]:
    """Makes installations below `folder`; all that still serve are stopped at the end."""
    made: list[Gateway] = []

    def make(**options: object) -> Gateway:
        made.append(Gateway(folder / f"gateway-{len(made)}", **options))  # type: ignore[arg-type]
        return made[-1]

    try:
        yield make
    finally:
        for gateway in made:
            gateway.close()


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[MakeGateway]:
    """Makes installations, with Gateway's options, that are not started yet."""
    with closing_all(tmp_path) as make:
        yield make


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A serving gateway that tests share. Use members of your own, by name."""
    with closing_all(tmp_path_factory.mktemp("shared")) as make:
        shared = make()
        shared.start()
        yield shared


def eventually(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until something holds; fail if it does not in ample time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process of that id runs; one that ended and was not collected does not."""
    return any(process.pid == pid and not process.is_zombie for process in processes())


@dataclass(frozen=True)
class Process:
    """A line of the machine's process table."""

    pid: int
    parent: int
    is_zombie: bool
    arguments: str


def processes() -> list[Process]:
    """The machine's processes, without needing a `ps` where there is /proc."""
    if Path("/proc/self/stat").exists():
        return [found for folder in Path("/proc").glob("[0-9]*") for found in _read_process(folder)]
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    found = []
    for line in listed.stdout.splitlines():
        pid, parent, state, arguments = line.split(None, 3)
        found.append(Process(int(pid), int(parent), state.startswith("Z"), arguments))
    return found


def _read_process(folder: Path) -> Iterator[Process]:
    # It may end while it is read.
    with suppress(FileNotFoundError, ProcessLookupError):
        arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        # The name in parentheses may itself hold spaces and parentheses.
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        yield Process(int(folder.name), int(parent), state == "Z", arguments)
