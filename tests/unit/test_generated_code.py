"""The committed code is what the contract generates."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COMMITTED = REPOSITORY / "clients" / "python" / "concordat" / "v1"


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "generate.py", tmp_path],
        check=True,
        capture_output=True,
    )
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "concordat" / "v1").iterdir()}
    committed = {
        path.name: path.read_bytes()
        for path in COMMITTED.iterdir()
        if path.suffix in {".py", ".pyi"} and path.name != "__init__.py"
    }
    assert sorted(fresh) == sorted(committed)
    assert [name for name in fresh if fresh[name] != committed[name]] == []
