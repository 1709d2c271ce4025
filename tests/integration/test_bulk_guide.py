"""The example of docs/contributing-data.md runs as it stands, from a shell and from Python."""

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.fabricate import resident_check_digit
from tests.gateways import Gateway
from tests.gateways import concordat as run

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "contributing-data.md"


def block(language: str, number: int = 0) -> str:
    """The text of one of the guide's blocks."""
    text: str = re.findall(rf"```{language}\n(.*?)```", guide(), re.DOTALL)[number]
    return text


def guide() -> str:
    """The page, with an expiry that is yet to come whenever this runs."""
    year = str(datetime.now(UTC).year + 1)
    text = GUIDE.read_text("utf-8")
    for written in ("2027-10-31", "2027, 10, 31"):
        assert written in text
        text = text.replace(written, written.replace("2027", year))
    return text


def run_python(folder: Path, number: int) -> str:
    """What one of the guide's blocks of Python says last."""
    ran = subprocess.run(
        [sys.executable, "-c", block("python", number)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()[-1]


def command(folder: Path, begins: str) -> list[str]:
    """The arguments of the guide's one command that begins so, with files in a folder."""
    [line] = re.findall(rf"^    ({begins} october.*)$", guide(), re.M)
    files = {"october.csv", "map.toml", "alpha", "rejects.csv", "no-consent.csv", "form.pdf"}
    return [str(folder / word) if word in files else word for word in line.split()[1:]]


def test_the_example_of_the_guide_runs(gateway: Gateway, tmp_path: Path) -> None:
    shutil.copytree(gateway.join("guide-files"), tmp_path / "alpha")
    # The guide's month is some day too old to be taken.
    month = datetime.now(UTC).date().replace(day=1)
    example = block("csv").replace("2026-10-31", month.isoformat())
    (tmp_path / "october.csv").write_text(example, "gb18030")
    (tmp_path / "map.toml").write_text(block("toml"), "utf-8")
    numbers = [line.split(",")[0] for line in example.splitlines()[1:]]
    for number in numbers:
        assert number[-1] == resident_check_digit(number[:-1])
    (tmp_path / "form.pdf").write_bytes(b"the form that all signed")
    assert run_python(tmp_path, 1) == "3 recorded, 0 refused"
    # The command's job is the one that Python's call has ended: nobody is granted twice.
    shell = run(*command(tmp_path, "concordat consent grant-file"))
    assert shell.returncode == 0, shell.stderr
    assert "3 rows read, 3 consents recorded, 0 refused, 0 of persons named before" in shell.stdout
    assert "nothing was sent now" in shell.stderr

    assert run_python(tmp_path, 0) == "2 taken, 1 refused"
    assert (tmp_path / "rejects.csv").read_text("utf-8") == block("csv", 1)

    (tmp_path / "rejects.csv").unlink()
    shell = run(*command(tmp_path, "concordat contribute"))
    assert shell.returncode == 1, shell.stderr
    assert "3 rows read, 2 taken, 1 refused" in shell.stdout
    # Both ways have made the same pseudonyms.
    assert len(list(tmp_path.rglob("account-ref.key"))) == 1
    assert (tmp_path / "rejects.csv").read_text("utf-8") == block("csv", 1)
