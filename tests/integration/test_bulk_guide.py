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
    text: str = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[number]
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
    assert run_python(tmp_path, 1) == "3 recorded, 0 refused"

    assert run_python(tmp_path, 0) == "2 taken, 1 refused"
    assert (tmp_path / "rejects.csv").read_text("utf-8") == block("csv", 1)

    [command] = re.findall(r"^    (concordat contribute .*)$", GUIDE.read_text("utf-8"), re.M)
    arguments = [
        str(tmp_path / word)
        if word in ("october.csv", "map.toml", "alpha", "rejects.csv")
        else word
        for word in command.split()[1:]
    ]
    (tmp_path / "rejects.csv").unlink()
    shell = run(*arguments)
    assert shell.returncode == 1, shell.stderr
    assert "3 rows read, 2 taken, 1 refused" in shell.stdout
    # Both ways have made the same pseudonyms.
    assert len(list(tmp_path.rglob("account-ref.key"))) == 1
    assert (tmp_path / "rejects.csv").read_text("utf-8") == block("csv", 1)
