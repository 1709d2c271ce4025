"""What a cosigned ledger proves to somebody who has keys and files and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import concordat
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.cosignature import Quorum, WitnessKey
from concordat_privacy.log.merkle import verify_consistency
from concordat_privacy.log.proof import TlogProof
from tests.gateways import Gateway, closing_all
from tests.gateways import concordat as command
from tests.witnesses import STRANGER, run_witness, with_witnesses

NAMES = ("witness.example/alpha", "witness.example/auditor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("witnessed")


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    """A serving gateway whose ledger two witnesses have cosigned, and that went on after it."""
    with closing_all(folder) as make:
        made = make(workers=1)
        for at, name in enumerate(NAMES):
            assert run_witness("init", folder / f"w{at}", "--name", name).returncode == 0
        with_witnesses(made, *((vkey_file(folder, at).read_text().strip(), "") for at in (0, 1)))
        made.start()
        profiles = (made.join("alpha"), made.auditor)
        for at, profile in enumerate(profiles):
            followed = run_witness("follow", folder / f"w{at}", "--profile", profile, "--once")
            assert followed.returncode == 0, followed.stderr
        made.invite("beta")
        yield made


def vkey_file(folder: Path, at: int) -> Path:
    return folder / f"w{at}" / "witness.vkey"


def test_an_export_of_the_cosigned_tree_verifies_with_the_witnesses_keys(
    gateway: Gateway, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    made = command("ledger", "export", out, "--cosigned", "--profile", gateway.auditor)
    assert made.returncode == 0, made.stderr
    verify = ("ledger", "verify", out, "--key", gateway.ledger_vkey)
    witnesses = [part for at in (0, 1) for part in ("--witness", vkey_file(folder, at))]

    alone = command(*verify)
    assert alone.returncode == 0, alone.stdout
    assert "whether others were shown the same history" in alone.stdout
    cosigned = command(*verify, *witnesses)
    assert cosigned.returncode == 0, cosigned.stdout
    for name in NAMES:
        assert f"Cosigned by {name} at 20" in cosigned.stdout
    assert "whether others were shown" not in cosigned.stdout

    stranger = ("--witness", STRANGER.verifier.encode())
    unknown = command(*verify, *witnesses, *stranger)
    assert unknown.returncode == 1
    assert "3 cosignatures are needed, found 2" in unknown.stdout
    assert command(*verify, *witnesses, *stranger, "--quorum", "2").returncode == 0
    audited = ("audit", "exceptions", out, "--key", gateway.ledger_vkey)
    assert command(*audited, *witnesses).returncode in (0, 1)
    assert command(*audited, *stranger).returncode == 2

    assert command(*verify, "--quorum", "1").returncode == 2
    assert command(*verify, *witnesses, "--quorum", "3").returncode == 2
    log_key_as_witness = command(*verify, "--witness", gateway.ledger_vkey)
    assert log_key_as_witness.returncode == 2

    # A forged cosignature of a known witness spoils the export.
    checkpoint = out / "checkpoint"
    text = checkpoint.read_text()
    line = next(one for one in text.splitlines() if one.startswith(f"— {NAMES[0]}"))
    middle = len(line) // 2
    checkpoint.write_text(text.replace(line, line[:middle] + line[middle:].swapcase()))
    assert command(*verify, *witnesses, "--quorum", "1").returncode == 1


def test_the_newest_export_is_not_said_to_be_cosigned(
    gateway: Gateway, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    assert command("ledger", "export", out, "--profile", gateway.auditor).returncode == 0
    verify = ("ledger", "verify", out, "--key", gateway.ledger_vkey)
    assert command(*verify).returncode == 0
    refused = command(*verify, "--witness", vkey_file(folder, 0))
    assert refused.returncode == 1
    assert "cosignatures are needed" in refused.stdout


def test_one_entry_is_proven_by_two_files_and_keys(
    gateway: Gateway, folder: Path, tmp_path: Path
) -> None:
    file, entry = tmp_path / "0.tlog-proof", tmp_path / "0.json"
    made = command(
        *("ledger", "proof", "0", "--out", file, "--entry", entry),
        *("--profile", gateway.auditor),
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(entry.read_bytes())["type"]
    assert file.read_text().startswith("c2sp.org/tlog-proof@v1\nindex 0\n")
    check = ("ledger", "check-proof", file, "--entry", entry, "--key", gateway.ledger_vkey)
    witnesses = [part for at in (0, 1) for part in ("--witness", vkey_file(folder, at))]
    proven = command(*check, *witnesses)
    assert proven.returncode == 0, proven.stdout
    assert "Proven: these bytes are entry 0 of" in proven.stdout
    assert f"Cosigned by {NAMES[1]} at 20" in proven.stdout
    assert "No witness was asked for" in command(*check).stdout
    unknown = command(*check, "--witness", STRANGER.verifier.encode())
    assert unknown.returncode == 1
    assert "NOT proven" in unknown.stdout

    other = tmp_path / "other.json"
    other.write_bytes(entry.read_bytes() + b" ")
    changed = command(
        *("ledger", "check-proof", file, "--entry", other, "--key", gateway.ledger_vkey)
    )
    assert changed.returncode == 1
    assert "NOT proven" in changed.stdout
    assert command("ledger", "check-proof", entry, *check[3:]).returncode == 1


def test_a_member_proves_entries_that_it_has_receipts_of(
    gateway: Gateway, folder: Path, tmp_path: Path
) -> None:
    """Also the newest, which no witness has cosigned yet: then the ledger's signature must do."""
    alpha = gateway.join("alpha")
    log = VerifierKey.decode(gateway.ledger_vkey)
    quorum = Quorum((WitnessKey.decode(vkey_file(folder, 0).read_text()),), 1)
    with concordat.Client.open(alpha) as client:
        receipt = client.count(epsilon=0.001).receipt
        proof = TlogProof.decode(client.prove_entry(receipt.entry_index).encode())
        assert proof.verify(receipt.entry, log).size > receipt.entry_index
        assert quorum.check(client.prove_entry(0).note)
        assert client.prove(receipt) == proof
        with pytest.raises(concordat.InvalidInput):
            client.prove_entry(10**6)
    beyond = command(
        *("ledger", "proof", "1000000", "--out", tmp_path / "x", "--profile", alpha),
    )
    assert beyond.returncode == 1
    assert not (tmp_path / "x").exists()


def test_proofs_of_consistency_join_what_the_client_is_asked_to_cosign(gateway: Gateway) -> None:
    with concordat.Client.open(gateway.auditor) as client:
        cosigned, wanted = client.cosigned_checkpoint(), client.checkpoint_to_cosign()
        old, new = cosigned.checkpoint, wanted.checkpoint
        assert old.size < new.size
        proof = client.consistency_proof(old.size, new.size)
        verify_consistency(old.size, new.size, old.root, new.root, proof)
        with pytest.raises(concordat.InvalidInput):
            client.consistency_proof(new.size, old.size)
