"""Witnesses and real gateways: followed, brought to, forked, rolled back."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import concordat
from concordat_privacy.log.checkpoint import VerifierKey, open_note
from concordat_privacy.log.cosignature import Quorum, WitnessKey
from concordat_witness.state import WitnessFolder
from tests.gateways import Gateway, MakeGateway, eventually
from tests.witnesses import ServingWitness, forked, run_witness, with_witnesses

pytestmark = pytest.mark.slow

NAME = "witness.example/alpha"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "witness"
    initialised = run_witness("init", made, "--name", NAME)
    assert initialised.returncode == 0, initialised.stderr
    assert (made / "witness.vkey").read_text().strip() in initialised.stdout
    return made


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    """Not started yet."""
    return make_gateway(workers=1)


@pytest.fixture
def witness(folder: Path) -> Iterator[ServingWitness]:
    serving = ServingWitness(folder)
    yield serving
    serving.kill()


def vkey(folder: Path) -> str:
    return (folder / "witness.vkey").read_text().strip()


def follow_once(folder: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    return run_witness("follow", folder, "--profile", profile, "--once")


def seen(folder: Path, gateway: Gateway) -> tuple[int, bytes]:
    origin = VerifierKey.decode(gateway.ledger_vkey).name
    found = WitnessFolder(folder).seen(origin)
    assert found is not None
    return found.size, found.root


def check_cosigned(gateway: Gateway, profile: Path, folder: Path) -> int:
    """The size of the newest cosigned checkpoint, which must verify with both public keys."""
    with concordat.Client.open(profile) as client:
        signed = client.cosigned_checkpoint()
    [log] = [VerifierKey.decode(gateway.ledger_vkey)]
    times = Quorum((WitnessKey.decode(vkey(folder)),), 1).check(signed.note)
    assert abs(times[NAME] - time.time()) < 600
    return open_note(signed.note, [log]).size


def use_refused(profile: Path) -> str | None:
    """Ask the pool a question: the reason why it is refused, or None."""
    with concordat.Client.open(profile) as client:
        try:
            client.count(epsilon=0.001)
        except concordat.ConcordatError as error:
            return error.reason
    return None


def test_a_member_s_witness_follows_the_gateway_and_its_uses_go_on(
    gateway: Gateway, folder: Path
) -> None:
    with_witnesses(gateway, (vkey(folder), ""), grace_seconds=0)
    gateway.start()
    alpha = gateway.join("alpha")
    assert use_refused(alpha) == "LEDGER_NOT_WITNESSED"
    followed = follow_once(folder, alpha)
    assert followed.returncode == 0, followed.stderr
    size, _ = seen(folder, gateway)
    assert f"Cosigned {size} entries (cosignatures: 1, wanted: 1)." in followed.stdout
    assert check_cosigned(gateway, gateway.auditor, folder) == size
    assert use_refused(alpha) is None
    assert use_refused(alpha) == "LEDGER_NOT_WITNESSED"
    # An auditor's connection does as well, and what is cosigned grows.
    assert follow_once(folder, gateway.auditor).returncode == 0
    assert check_cosigned(gateway, alpha, folder) == seen(folder, gateway)[0] > size
    assert run_witness("status", folder).returncode == 0


def test_a_witness_that_the_gateway_does_not_know_is_told_so(
    gateway: Gateway, folder: Path
) -> None:
    gateway.start()
    gateway.invite("alpha")
    refused = follow_once(folder, gateway.auditor)
    assert refused.returncode == 1
    assert "ask the operator to list this key in [witnesses] of gateway.toml" in refused.stderr
    # It has signed, and status says that nobody took the signature.
    status = run_witness("status", folder)
    assert status.returncode == 1
    assert "NOT TAKEN since" in status.stdout
    assert "no witness of this name and key is configured" in status.stdout
    gateway.stop()
    with_witnesses(gateway, (vkey(folder), ""), quorum=0)
    gateway.start()
    assert follow_once(folder, gateway.auditor).returncode == 0
    taken = run_witness("status", folder)
    assert taken.returncode == 0
    assert "NOT TAKEN" not in taken.stdout


def test_a_running_witness_keeps_up_and_outlives_the_gateway_s_restart(
    gateway: Gateway, folder: Path
) -> None:
    with_witnesses(gateway, (vkey(folder), ""))
    gateway.start()
    alpha = gateway.join("alpha")
    command = [sys.executable, "-m", "concordat_witness", "follow", str(folder)]
    running = subprocess.Popen(
        [*command, "--profile", str(alpha), "--every", "0.2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        origin = VerifierKey.decode(gateway.ledger_vkey).name

        def size() -> int:
            found = WitnessFolder(folder).seen(origin)
            return 0 if found is None else found.size

        eventually(lambda: size() > 0, "the first checkpoint is cosigned")
        before = size()
        gateway.stop()
        gateway.start()
        gateway.join("beta")
        eventually(lambda: size() > before, "later checkpoints are cosigned")
        assert running.poll() is None
    finally:
        running.terminate()
        assert running.wait(30) == 0


def test_a_forked_ledger_is_refused_written_down_and_serves_no_use(
    gateway: Gateway, folder: Path, tmp_path: Path
) -> None:
    with_witnesses(gateway, (vkey(folder), ""), grace_seconds=0)
    gateway.start()
    alpha = gateway.join("alpha")
    assert follow_once(folder, alpha).returncode == 0
    gateway.stop()
    with forked(gateway, tmp_path / "fork") as other:
        gateway.start()
        other.start()
        # The same key, the same past, and then two histories of different length.
        gateway.invite("beta")
        other.invite("gamma")
        other.invite("delta")
        assert follow_once(folder, alpha).returncode == 0
        kept = seen(folder, gateway)

        alpha_at_other = other.folder / "members" / "alpha"
        for _ in range(2):
            found = follow_once(folder, alpha_at_other)
            assert found.returncode == 3
            assert "THE LEDGER HAS FORKED" in found.stderr
            assert seen(folder, gateway) == kept
        evidence = WitnessFolder(folder).forks()
        assert evidence
        log = VerifierKey.decode(gateway.ledger_vkey)
        text = evidence[0].read_text()
        ours, theirs = text.partition("-- seen --\n")[2].split("\n-- offered --\n")
        theirs = theirs.partition("\n-- proof")[0]
        first, second = open_note(ours, [log]), open_note(theirs, [log])
        assert (first.size, first.root) == kept
        assert second.size > first.size
        shown = run_witness("status", folder)
        assert shown.returncode == 3
        assert str(evidence[0]) in shown.stdout

        # The fork meets no quorum: what was cosigned before it is all it has, and uses stop.
        assert use_refused(alpha_at_other) == "LEDGER_NOT_WITNESSED"
        # The true one goes on, with the same witness.
        assert follow_once(folder, alpha).returncode == 0
        assert use_refused(alpha) is None


def test_a_rolled_back_ledger_is_refused(gateway: Gateway, folder: Path, tmp_path: Path) -> None:
    with_witnesses(gateway, (vkey(folder), ""))
    gateway.start()
    alpha = gateway.join("alpha")
    gateway.stop()
    with forked(gateway, tmp_path / "backup") as backup:
        gateway.start()
        gateway.invite("beta")
        assert follow_once(folder, alpha).returncode == 0
        kept = seen(folder, gateway)
        backup.start()
        found = follow_once(folder, backup.folder / "members" / "alpha")
        assert found.returncode == 3
        assert "no longer the ledger's tree" in found.stderr
        assert seen(folder, gateway) == kept
        # Also when it has grown beyond what the witness saw.
        for member in ("gamma", "delta", "epsilon"):
            backup.invite(member)
        assert follow_once(folder, backup.folder / "members" / "alpha").returncode == 3
        assert seen(folder, gateway) == kept


def test_the_gateway_brings_checkpoints_to_a_witness_with_an_address(
    gateway: Gateway, folder: Path, tmp_path: Path, witness: ServingWitness
) -> None:
    with_witnesses(gateway, (vkey(folder), witness.url), grace_seconds=0)
    origin = gateway.ledger_vkey
    witness.kill()
    serving = ServingWitness(folder, "--log", origin, "--listen", f"127.0.0.1:{witness.port}")
    try:
        gateway.start()
        alpha = gateway.join("alpha")

        def size() -> int:
            with concordat.Client.open(gateway.auditor) as client:
                return client.checkpoint().checkpoint.size

        def witnessed() -> bool:
            try:
                return check_cosigned(gateway, gateway.auditor, folder) == size()
            except concordat.NotFound:
                return False

        eventually(witnessed, "the newest checkpoint is cosigned")
        assert use_refused(alpha) is None
        eventually(witnessed, "the newest checkpoint is cosigned")
        kept = seen(folder, gateway)
        gateway.stop()
        with forked(gateway, tmp_path / "fork") as other:
            gateway.start()
            gateway.invite("beta")
            eventually(lambda: seen(folder, gateway) > kept, "the true ledger is followed")
            kept = seen(folder, gateway)
            gateway.stop()
            other.start()
            other.invite("gamma")
            other.invite("delta")
            eventually(lambda: "did not cosign" in other.log, "the witness refused the fork")
            assert seen(folder, gateway) == kept
            alpha = other.folder / "members" / "alpha"
            assert use_refused(alpha) == "LEDGER_NOT_WITNESSED"
    finally:
        serving.kill()
