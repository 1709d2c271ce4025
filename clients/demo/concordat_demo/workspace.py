"""The folder that a run leaves behind, and what is where in it."""

from __future__ import annotations

import shutil
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path

from concordat_demo.failure import DemoFailed
from concordat_demo.lenders import Lender

_MARKER = ".concordat-demo"
_MARKER_TEXT = "Made by `python -m concordat_demo`, which deletes this folder when it runs again.\n"


@dataclass(frozen=True)
class Workspace:
    """Paths below the output folder."""

    root: Path

    @property
    def gateway(self) -> Path:
        """What `concordat init` makes: configuration, keys, stores."""
        return self.root / "gateway"

    @property
    def gateway_config(self) -> Path:
        return self.gateway / "gateway.toml"

    @property
    def gateway_log(self) -> Path:
        """Everything that the gateway's processes print."""
        return self.root / "gateway.log"

    @property
    def operator(self) -> Path:
        return self.gateway / "profiles" / "operator"

    @property
    def auditor(self) -> Path:
        return self.gateway / "profiles" / "auditor"

    @property
    def ledger_key(self) -> Path:
        return self.gateway / "gateway" / "ledger.vkey"

    @property
    def lenders(self) -> Path:
        """One profile folder a lender."""
        return self.root / "lenders"

    def profile(self, lender: Lender) -> Path:
        """The profile with which a lender opens its client."""
        return self.lenders / lender.member_id

    @property
    def invitations(self) -> Path:
        return self.root / "invitations"

    @property
    def ledger(self) -> Path:
        """The exported ledger."""
        return self.root / "ledger"

    @property
    def tampered_ledger(self) -> Path:
        """A copy of it with one byte changed."""
        return self.root / "ledger-tampered"

    @property
    def evidence(self) -> Path:
        """One lookup as a bundle of evidence."""
        return self.root / "evidence"

    @property
    def verifier(self) -> Path:
        """The single file that checks it."""
        return self.root / "verify.py"

    @property
    def report(self) -> Path:
        return self.root / "report.json"

    @property
    def plot(self) -> Path:
        return self.root / "report.png"


def prepare(root: Path) -> Workspace:
    """An empty workspace at `root`; what an earlier run left there is deleted.

    Raises DemoFailed for a folder with other things in it, where a gateway still serves from it,
    and where the file system refuses. No process is ended: it may be somebody's.
    """
    workspace = Workspace(root)
    try:
        if root.exists():
            _check_is_ours(root)
            _check_not_serving(workspace)
            shutil.rmtree(root)
        workspace.lenders.mkdir(parents=True)
        workspace.invitations.mkdir()
        (root / _MARKER).write_text(_MARKER_TEXT)
    except OSError as error:
        reason = error.strerror or error
        raise DemoFailed(
            f"{root} cannot be made or replaced ({reason}); choose another folder with --output"
        ) from None
    return workspace


def _check_is_ours(root: Path) -> None:
    if not root.is_dir():
        raise DemoFailed(f"{root} exists and is no folder; choose another one with --output")
    if any(root.iterdir()) and not (root / _MARKER).is_file():
        raise DemoFailed(
            f"{root} holds things that the demo did not make; choose another folder with --output"
        )


def _check_not_serving(workspace: Workspace) -> None:
    profile = workspace.operator / "profile.toml"
    if not profile.is_file():
        return
    host, _, port = str(tomllib.loads(profile.read_text()).get("gateway", "")).rpartition(":")
    if not port.isdigit():
        return
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, int(port))) == 0:
            raise DemoFailed(
                f"a server still listens on {host}:{port}, where an earlier run's gateway serves "
                f"from {workspace.root}; stop it first, or choose another folder with --output"
            )
