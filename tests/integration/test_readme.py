"""The README's example runs as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.gateways import Gateway

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_in_the_readme_runs(gateway: Gateway, tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    shutil.copytree(gateway.join("readme-bank"), tmp_path / "alpha")

    ran = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert ran.returncode == 0, ran.stderr
    assert "lenders_open" in ran.stdout
