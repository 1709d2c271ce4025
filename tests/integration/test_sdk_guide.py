"""The examples of the guide run as they stand, in order."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.gateways import Gateway

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "sdk.md"


def test_the_examples_of_the_guide_run(gateway: Gateway, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) >= 8
    for name in ("alpha", "beta"):
        shutil.copytree(gateway.join(f"guide-{name}"), tmp_path / name)

    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ran.returncode == 0, ran.stderr
    first, *_ = (line for line in ran.stdout.splitlines() if line.startswith("PRESENT"))
    assert first.split()[1] == "1"
