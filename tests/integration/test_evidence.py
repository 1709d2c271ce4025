"""Evidence of a real run: grants, lookups, a withdrawal; exported, bundled, checked elsewhere."""

import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from concordat import Client, PhoneNumber, Purpose
from tests.contributing import agreed
from tests.evidences import GRANT_2, VKEY, Ledger, keys, lay, relisted
from tests.gateways import Gateway, closing_all, concordat

NOW = datetime.now(UTC)
GUIDE = Path(__file__).parents[2] / "docs" / "evidence.md"


class Run:
    """What a lender did, and its export."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self.gateway, self.folder, self.export = gateway, folder, folder / "export"
        with Client.open(gateway.join("lender")) as lender:
            people = lender.tokenise(PhoneNumber(f"+8613900{n:06d}") for n in range(4))
            granted = lender.grant_consents(
                [agreed(token, Purpose.UNDERWRITING) for token in people[:3]]
            ).granted
            self.consents = [one.consent_id.hex() for one in granted]
            lender.lookup_batch(people, Purpose.UNDERWRITING)
            lender.withdraw_consent(granted[0].consent_id)
            lender.lookup(people[0], Purpose.UNDERWRITING)
        written = concordat("ledger", "export", self.export, "--profile", gateway.auditor)
        assert written.returncode == 0, written.stderr
        self.verifier = folder / "elsewhere" / "verify.py"
        self.verifier.parent.mkdir()
        printed = concordat("evidence", "verifier")
        assert printed.returncode == 0, printed.stderr
        self.verifier.write_text(printed.stdout)

    def make(self, name: str, *options: str) -> Path:
        out = self.folder / name
        made = concordat(
            "evidence", "make", self.export, out, "--profile", self.gateway.auditor, *options
        )
        assert made.returncode == 0, made.stdout + made.stderr
        return out

    def verify(self, bundle: Path, key: str = "") -> tuple[int, str]:
        command = [sys.executable, "-I", str(self.verifier), str(bundle)]
        command += ["--key", key or self.gateway.ledger_vkey]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stdout + ended.stderr

    def lookups(self) -> list[int]:
        """Indexes of the lookups, read from the export by themselves."""
        from concordat_privacy.evidence.export import ExportFiles

        return [n for n, _, f in ExportFiles(self.export).entries() if f["type"] == "lookup"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("evidence")
    with closing_all(folder) as make:
        gateway = make(workers=1)
        gateway.start()
        yield Run(gateway, folder)


def test_a_permitted_lookup_is_proven_with_its_consents(run: Run) -> None:
    first, _ = run.lookups()
    code, text = run.verify(run.make("lookup.zip", "--entry", str(first)))
    assert code == 0, text
    assert text.count("looked a subject up for underwriting") == 4
    assert text.count("permitted.") == 3
    assert text.count("refused.") == 1
    for consent in run.consents:
        assert f"The consent {consent}, granted on" in text
    # The consent was withdrawn only after the lookup: both are told.
    assert f"the consent {run.consents[0]} was withdrawn" in text


def test_a_consents_life_and_uses_are_proven(run: Run) -> None:
    code, text = run.verify(run.make("consent", "--consent", run.consents[0]))
    assert code == 0, text
    assert "was granted to the member lender" in text
    assert "was withdrawn" in text
    assert text.count("permitted.") == 1
    assert run.consents[1] not in text


def test_a_refusal_after_the_withdrawal_is_proven(run: Run) -> None:
    _, second = run.lookups()
    code, text = run.verify(run.make("refused", "--entry", str(second)))
    assert code == 0, text
    assert "refused." in text
    assert "permitted." not in text


def test_another_ledgers_key_proves_nothing(run: Run) -> None:
    bundle = run.make("foreign", "--consent", run.consents[0])
    name, _, _ = run.gateway.ledger_vkey.split("+", 2)
    from concordat_privacy.log.checkpoint import SigningKey

    other = SigningKey(name, bytes(32)).verifier.encode()
    code, text = run.verify(bundle, other)
    assert code == 1
    assert "not signed by the ledger's key" in text


def test_a_file_changed_in_a_real_bundle_is_named(run: Run) -> None:
    bundle = run.make("changed", "--consent", run.consents[1])
    entry = min(bundle.glob("entries/*.json"))
    entry.write_bytes(entry.read_bytes().replace(b"underwriting", b"underwritinh"))
    code, text = run.verify(bundle)
    assert code == 1
    assert f"entries/{entry.name}: not the file that manifest.json lists" in text
    files = {
        file.relative_to(bundle).as_posix(): file.read_bytes()
        for file in bundle.rglob("*")
        if file.is_file()
    }
    files = relisted(files)
    manifest = json.loads(files["manifest.json"])
    manifest["ledger"] = run.gateway.ledger_vkey.split("+")[0]
    listed = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    lay(bundle, {"manifest.json": listed})
    code, text = run.verify(bundle)
    assert code == 1
    assert "the inclusion proof does not lead to the root" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--entry", "99999"), "the export has"),
        (("--consent", "ff" * 16), "does not hold its grant"),
        ((), "Give --entry"),
        (("--entry", "0", "--old-size", "9999"), "no signed checkpoint of this size"),
    ],
)
def test_what_cannot_be_made_is_not_written(
    options: tuple[str, ...], words: str, run: Run, tmp_path: Path
) -> None:
    key = run.gateway.ledger_vkey
    made = concordat("evidence", "make", run.export, tmp_path / "out", "--key", key, *options)
    assert made.returncode in (1, 2)
    assert words in made.stderr
    assert not (tmp_path / "out").exists()


def test_an_export_that_no_witness_cosigned_says_so(run: Run, tmp_path: Path) -> None:
    command = ("ledger", "export", tmp_path / "out", "--profile", run.gateway.auditor)
    made = concordat(*command, "--cosigned")
    assert made.returncode == 3
    assert "no witness has cosigned this checkpoint" in made.stderr
    assert (tmp_path / "out" / "checkpoint").exists()
    again = concordat(*command)
    assert again.returncode == 2
    assert "exists already: choose another" in " ".join(again.stderr.split())


def test_a_strangers_keys_select_nothing(run: Run, tmp_path: Path) -> None:
    origin = run.gateway.ledger_vkey.split("+")[0]
    file = tmp_path / "keys.json"
    file.write_text(keys().replace("concordat.example/ledger", origin))
    made = concordat(
        *("evidence", "make", run.export, tmp_path / "out", "--profile", run.gateway.auditor),
        *("--subject-key", file),
    )
    assert made.returncode == 1
    assert "nothing in the export" in made.stderr


def test_the_guides_commands_do_what_it_says(run: Run, tmp_path: Path) -> None:
    """Every command of docs/evidence.md runs as it stands, but for names and keys."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line]
    assert len(lines) >= 4
    values = {
        "consortium/profiles/auditor": run.gateway.auditor,
        "CONSENT": run.consents[0],
        "LEDGER_VKEY": run.gateway.ledger_vkey,
    }
    for line in lines:
        words = [str(values.get(word, word)) for word in shlex.split(line)]
        target = None
        if ">" in words:
            at = words.index(">")
            words, target = words[:at], tmp_path / words[at + 1]
        command = {"concordat": [Path(sys.executable).with_name("concordat")]}
        program = command.get(words[0], [sys.executable])
        ended = subprocess.run(
            [*program, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=90
        )
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
        if target is not None:
            target.write_text(ended.stdout)


def test_everything_about_a_person_is_made_from_the_persons_keys(tmp_path: Path) -> None:
    Ledger().write(tmp_path / "export")
    (tmp_path / "old").write_text(Ledger().note(100))
    (tmp_path / "keys.json").write_text(keys())
    made = concordat(
        *("evidence", "make", tmp_path / "export", tmp_path / "out.zip", "--key", VKEY),
        *("--subject-key", tmp_path / "keys.json", "--old", tmp_path / "old"),
        *("--old-size", "100"),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "looked person 1 up for underwriting" in made.stdout
    assert "It signed its first 100 entries too" in made.stdout


def test_a_bundle_by_keys_that_are_older_than_the_export_warns(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.entries[60] = {"type": "tokens.rotated", "from_epoch": 1, "to_epoch": 2, "subjects": 3}
    ledger.write(tmp_path / "export")
    for name, consents, epoch, entry in (("a", 1, 2, GRANT_2), ("b", 2, 1, 60), ("c", 2, 2, None)):
        content = json.loads(keys(consents=consents))
        content["asking_keys"][0]["epoch"] = epoch
        (tmp_path / "keys.json").write_text(json.dumps(content))
        made = concordat(
            *("evidence", "make", tmp_path / "export", tmp_path / name, "--key", VKEY),
            *("--subject-key", tmp_path / "keys.json"),
        )
        warned = f"opened before entry {entry} of this export. Have them opened again"
        assert (warned in made.stderr) == (entry is not None)
        assert made.returncode == (0 if entry is None else 1), made.stdout + made.stderr
        assert (tmp_path / name / "manifest.json").exists()


def test_an_older_checkpoint_of_another_history_makes_no_bundle(tmp_path: Path) -> None:
    Ledger().write(tmp_path / "export")
    other = Ledger()
    other.entries[0]["member"] = "mallory"
    (tmp_path / "old").write_text(other.note(100))
    made = concordat(
        *("evidence", "make", tmp_path / "export", tmp_path / "out", "--key", VKEY),
        *("--entry", "3", "--old", tmp_path / "old"),
    )
    assert made.returncode == 1
    assert "does not extend the older checkpoint" in made.stderr
    assert not (tmp_path / "out").exists()
