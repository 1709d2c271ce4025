"""An operator with everything of the gateway's against what members and witnesses kept."""

import shutil
from pathlib import Path

import pytest

import concordat
from concordat_privacy.log.checkpoint import VerifierKey, open_note
from tests.gateways import Gateway, MakeGateway
from tests.gateways import concordat as command
from tests.witnesses import forked, run_witness, with_witnesses

pytestmark = pytest.mark.slow


def size_of(note: str, gateway: Gateway) -> int:
    return open_note(note, [VerifierKey.decode(gateway.ledger_vkey)]).size


def test_what_goes_on_from_an_older_copy_of_all_stores_is_refused_by_who_saw_more(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    """The anchors are rolled back together with the ledger, so the gateway itself sees nothing."""
    gateway = make_gateway(workers=1)
    gateway.start()
    alpha = gateway.join("alpha")
    gateway.stop()
    shutil.copytree(gateway.folder / "data", tmp_path / "older")
    gateway.start()
    with concordat.Client.open(alpha) as client:
        client.count(epsilon=0.001)
        asked = client.count(epsilon=0.002)
        client.verify_receipt(asked.receipt)
        kept = client.checkpoint()
    assert command("budget", "--profile", alpha).returncode == 0
    remembered = (alpha / "checkpoint").read_bytes()
    witness = tmp_path / "witness"
    assert run_witness("init", witness, "--name", "witness.example/alpha").returncode == 0
    follow = ("follow", witness, "--profile", alpha, "--once")
    # No policy of the gateway's names the witness; it follows all the same.
    run_witness(*follow)
    gateway.stop()

    shutil.rmtree(gateway.folder / "data")
    shutil.copytree(tmp_path / "older", gateway.folder / "data")
    gateway.start()
    while True:
        with concordat.Client.open(gateway.auditor) as auditor:
            now = auditor.checkpoint()
        if now.checkpoint.size > size_of(remembered.decode(), gateway) + 1:
            break
        gateway.invite(f"other-{now.checkpoint.size}")

    sizes = f"size {{}} does not extend the one of size {size_of(kept.note, gateway)}"
    with concordat.Client.open(alpha, known_checkpoint=kept.note) as client:
        with pytest.raises(concordat.LedgerForked) as refused:
            client.checkpoint()
        assert sizes.format(now.checkpoint.size) in str(refused.value)
        assert refused.value.seen == kept.note
        assert refused.value.offered == now.note
        with pytest.raises(concordat.LedgerForked):
            client.verify_receipt(asked.receipt)
        assert client.last_checkpoint is not None
        assert client.last_checkpoint.note == kept.note
    # The receipt alone is enough, without any memory.
    with (
        concordat.Client.open(alpha) as client,
        pytest.raises((concordat.LedgerForked, concordat.ReceiptInvalid)),
    ):
        client.verify_receipt(asked.receipt)

    told = command("budget", "--profile", alpha)
    assert told.returncode == 1
    assert "LEDGER_FORKED" in told.stderr
    assert (alpha / "checkpoint").read_bytes() == remembered
    found = run_witness(*follow)
    assert found.returncode == 3
    assert "THE LEDGER HAS FORKED" in found.stderr


def test_two_members_shown_two_histories_have_no_quorum_and_their_witnesses_see_it(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = make_gateway(workers=1)
    folders = {name: tmp_path / f"witness-{name}" for name in ("alpha", "beta")}
    for name, folder in folders.items():
        assert run_witness("init", folder, "--name", f"witness.example/{name}").returncode == 0
    keys = [(folder / "witness.vkey").read_text().strip() for folder in folders.values()]
    with_witnesses(gateway, *((key, "") for key in keys), quorum=2, grace_seconds=0)
    gateway.start()
    alpha, beta = gateway.join("alpha"), gateway.join("beta")

    def follow(name: str, profile: Path) -> tuple[int, str]:
        ended = run_witness("follow", folders[name], "--profile", profile, "--once")
        return ended.returncode, ended.stderr

    def use(profile: Path) -> str | None:
        with concordat.Client.open(profile) as client:
            try:
                client.count(epsilon=0.001)
            except concordat.ConcordatError as error:
                return error.reason
        return None

    assert follow("alpha", alpha)[0] == follow("beta", beta)[0] == 0
    gateway.stop()
    with forked(gateway, tmp_path / "other") as other:
        gateway.start()
        other.start()
        # Alpha is sent to the one, beta to the other, each with entries of its own.
        gateway.invite("gamma")
        other.invite("delta")
        beta_at_other = other.folder / "members" / "beta"
        assert follow("alpha", alpha)[0] == 0
        assert follow("beta", beta_at_other)[0] == 0
        # Each witness was shown a sound history, and neither history has two witnesses.
        assert use(alpha) == "LEDGER_NOT_WITNESSED"
        assert use(beta_at_other) == "LEDGER_NOT_WITNESSED"

        # As soon as a witness meets the history of the other member, it has the proof.
        for name, profile in (("alpha", other.folder / "members" / "alpha"), ("beta", beta)):
            code, said = follow(name, profile)
            assert code == 3
            assert "THE LEDGER HAS FORKED" in said
            assert run_witness("status", folders[name]).returncode == 3
        # And so do two members that exchange no more than their checkpoints.
        with concordat.Client.open(alpha) as client:
            note = client.checkpoint().note
        with (
            concordat.Client.open(beta_at_other, known_checkpoint=note) as client,
            pytest.raises(concordat.LedgerForked),
        ):
            client.checkpoint()
