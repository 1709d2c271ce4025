"""docs/consents.md: its examples run as they stand, its table is the data."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from concordat_privacy.jurisdictions import policies
from tests.gateways import Gateway

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "consents.md"


def test_the_examples_of_the_consent_guide_run(gateway: Gateway, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) >= 5
    shutil.copytree(gateway.join("consent-guide-alpha"), tmp_path / "alpha")
    shutil.copytree(gateway.operator, tmp_path / "consortium" / "profiles" / "operator")
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_table_of_policies_is_the_data() -> None:
    rows = {
        code: [cell.strip() for cell in rest.split("|")]
        for code, rest in re.findall(r"^\| ([A-Z]{2}) \|(.*)\|$", GUIDE.read_text(), re.MULTILINE)
    }
    expected = {
        code: [
            policy.name,
            ", ".join(f"`{field}`" for field in policy.requires),
            str(policy.purposes_per_consent),
            f"{policy.consent_max_years} years",
            f"{policy.withdrawal_days} days",
        ]
        for code, policy in policies().items()
    }
    assert rows == expected
