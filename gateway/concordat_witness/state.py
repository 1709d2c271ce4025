"""A witness's folder: its key, the logs it follows, the newest checkpoint it cosigned of each.

    witness.key     the private key, for its owner's eyes only
    witness.vkey    the public key, for the gateway's configuration
    logs            verifier keys of the logs that it follows, one a line
    seen/<hash>     the newest cosigned checkpoint of a log, named after its origin's SHA-256
    trouble         why the last attempt to bring a cosignature failed; missing where it did not
    forks/          evidence: two checkpoints of one log that no proof joins

What was cosigned is on disk before the cosignature leaves: a witness that was killed and comes back
never cosigns a tree that does not extend it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from concordat_privacy.log.checkpoint import VerifierKey, parse_checkpoint
from concordat_privacy.log.cosignature import WitnessSigningKey
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.witnessing import AddCheckpoint, Seen, judge
from concordat_rpc.files import replace_file, sync_folder

KEY = "witness.key"
VKEY = "witness.vkey"
LOGS = "logs"
SEEN = "seen"
FORKS = "forks"
TROUBLE = "trouble"
_LOCK = "lock"


class WitnessError(Exception):
    """A witness's folder cannot be used. The message says which file and why."""


def create(folder: Path, name: str) -> WitnessSigningKey:
    """Make a witness's folder, which must be missing or empty. Raises WitnessError, OSError."""
    if folder.exists() and any(folder.iterdir()):
        raise WitnessError(f"{folder} is not empty")
    try:
        key = WitnessSigningKey.generate(name)
    except CheckpointError as error:
        raise WitnessError(str(error)) from None
    for made in (folder, folder / SEEN, folder / FORKS):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(folder / KEY, (key.encode() + "\n").encode(), 0o600)
    replace_file(folder / VKEY, (key.verifier.encode() + "\n").encode(), 0o644)
    replace_file(folder / LOGS, b"", 0o644)
    return key


class WitnessFolder:
    """A witness's folder. Whoever cosigns from it holds its lock, see `opened`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = _read_key(folder / KEY)
        self.logs = _read_logs(folder / LOGS)

    def follow(self, log: VerifierKey) -> None:
        """Follow a log from now on. Raises WitnessError where another key has its name."""
        known = self.logs.get(log.name)
        if known == log:
            return
        if known is not None:
            raise WitnessError(
                f"{self.folder / LOGS}: {log.name} has another key there ({known.encode()})"
            )
        self.logs = {**self.logs, log.name: log}
        text = "".join(f"{key.encode()}\n" for key in self.logs.values())
        replace_file(self.folder / LOGS, text.encode(), 0o644)

    def seen(self, origin: str) -> Seen | None:
        """What was cosigned last of a log. Raises WitnessError for a damaged file."""
        file = self._seen_file(origin)
        if not file.exists():
            return None
        note = _read(file)
        try:
            checkpoint = parse_checkpoint(parse_note(note).text)
        except CheckpointError as error:
            raise WitnessError(f"{file}: {error}") from None
        if checkpoint.origin != origin:
            raise WitnessError(f"{file}: a checkpoint of {checkpoint.origin}, not of {origin}")
        return Seen(checkpoint.size, checkpoint.root, note)

    def cosign(self, request: AddCheckpoint, seconds: int) -> str:
        """Cosign a checkpoint at a time in POSIX seconds: the signature line, newline included.

        Not for two threads at once. Raises WitnessRefusal, WitnessError, OSError; nothing is
        cosigned then.
        """
        seen = {origin: last for origin in self.logs if (last := self.seen(origin)) is not None}
        origin, newest = judge(request, self.logs, seen)
        if newest != seen.get(origin):
            # On disk before the cosignature exists.
            replace_file(self._seen_file(origin), newest.note.encode(), 0o644)
        return self.key.cosign(parse_note(newest.note).text, seconds)

    def keep_fork(self, seen: str, offered: str, why: str, proof: Sequence[bytes] = ()) -> Path:
        """Write two checkpoints that no proof joins to a file of their own; returns it.

        `proof` is what was given for one and does not join them.
        """
        hashes = "".join(f"{base64.b64encode(digest).decode()}\n" for digest in proof)
        text = (
            f"{why}\n\nBoth checkpoints are signed by the log's key. No proof was given that the\n"
            "second extends the first: the log has shown two histories, or taken one back.\n"
            "Anybody who has the log's key can check both signatures.\n\n"
            f"-- seen --\n{seen}\n-- offered --\n{offered}"
        )
        if hashes:
            text += f"\n-- proof given, which does not join them --\n{hashes}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        file = self.folder / FORKS / f"fork-{digest}.txt"
        if not file.exists():
            replace_file(file, text.encode(), 0o644)
        return file

    def forks(self) -> list[Path]:
        """The evidence that was kept."""
        return sorted((self.folder / FORKS).glob("fork-*.txt"))

    def trouble(self) -> str:
        """Since when and why a gateway has not taken what was cosigned; empty where it has."""
        file = self.folder / TROUBLE
        return _read(file).strip() if file.exists() else ""

    def keep_trouble(self, why: str, seconds: int) -> None:
        """Remember why the last attempt failed; empty: it did not. The first time of it is kept."""
        file, line = self.folder / TROUBLE, " ".join(why.split())
        if not line:
            file.unlink(missing_ok=True)
        elif not self.trouble().endswith(f": {line}"):
            since = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            replace_file(file, f"{since}: {line}\n".encode(), 0o644)

    def _seen_file(self, origin: str) -> Path:
        return self.folder / SEEN / hashlib.sha256(origin.encode()).hexdigest()


@contextmanager
def opened(folder: Path) -> Iterator[WitnessFolder]:
    """A witness's folder for the length of the block. Raises WitnessError where it is in use."""
    if not folder.is_dir():
        raise WitnessError(f"{folder}: no such folder; make one with `concordat witness init`")
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WitnessError(f"{folder} is in use by another process") from None
        sync_folder(folder)
        yield WitnessFolder(folder)
    finally:
        os.close(descriptor)


def _read_key(file: Path) -> WitnessSigningKey:
    try:
        if file.stat().st_mode & 0o077:
            raise WitnessError(f"{file} can be read by others than its owner (chmod 600)")
        return WitnessSigningKey.decode(_read(file))
    except FileNotFoundError:
        raise WitnessError(f"{file} is missing") from None
    except CheckpointError as error:
        raise WitnessError(f"{file}: {error}") from None


def _read_logs(file: Path) -> dict[str, VerifierKey]:
    try:
        keys = [VerifierKey.decode(line) for line in _read(file).splitlines() if line.strip()]
    except FileNotFoundError:
        raise WitnessError(f"{file} is missing") from None
    except CheckpointError as error:
        raise WitnessError(f"{file}: {error}") from None
    logs = {key.name: key for key in keys}
    if len(logs) != len(keys):
        raise WitnessError(f"{file}: one log has two keys")
    return logs


def _read(file: Path) -> str:
    with file.open(encoding="utf-8", newline="") as stream:
        return stream.read(1_000_000)
