"""Where libsodium comes from. Each case runs in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from concordat_privacy.oprf import blind_batch, derive_key_pair, evaluate_batch

SCALARS = bytes([9, *bytes(31)]) + bytes([7, *bytes(31)])

EVALUATE = """
from concordat_privacy.oprf import blind_batch, derive_key_pair, evaluate_batch, sodium
scalars = bytes([9, *bytes(31)]) + bytes([7, *bytes(31)])
pair = derive_key_pair(bytes(32), b"")
_, blinded = blind_batch([b"a", b"b"], blinds=scalars)
evaluated, proof = evaluate_batch(pair.secret, blinded, proof_scalar=scalars[:32])
print(sodium.load().source, (evaluated + proof).hex())
"""

# A system without anonymous memory files, such as macOS.
NO_MEMORY_FILES = "import os\nif hasattr(os, 'memfd_create'): del os.memfd_create\n"

NO_LIBRARY = """
import ctypes
def refuse(*args, **kwargs): raise OSError("cannot open shared object file")
ctypes.CDLL = refuse
"""

NO_WHEEL = "import sys\nsys.modules['rbcl'] = None\n"

FAILS = """
from concordat_privacy.oprf import SodiumUnavailable, generate_key
try:
    generate_key()
except SodiumUnavailable as error:
    print(error)
else:
    print("found one")
"""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def run(script: str, temporary: Path, source: str = "", path: Path | None = None) -> str:
    environment = {**os.environ, "CONCORDAT_SODIUM": source, "TMPDIR": str(temporary)}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def expected() -> str:
    pair = derive_key_pair(bytes(32), b"")
    _, blinded = blind_batch([b"a", b"b"], blinds=SCALARS)
    evaluated, proof = evaluate_batch(pair.secret, blinded, proof_scalar=SCALARS[:32])
    return (evaluated + proof).hex()


@pytest.mark.parametrize("prelude", ["", NO_MEMORY_FILES], ids=["memory file", "temporary file"])
def test_the_wheel_gives_equal_results_and_leaves_no_file(prelude: str, temporary: Path) -> None:
    pytest.importorskip("rbcl", reason="the wheel rbcl (extra sodium) is not installed")
    assert run(prelude + EVALUATE, temporary, "wheel") == f"wheel {expected()}"
    assert list(temporary.iterdir()) == []


def test_the_wheel_steps_in_where_the_system_has_none(temporary: Path) -> None:
    pytest.importorskip("rbcl", reason="the wheel rbcl (extra sodium) is not installed")
    only_private_files = """
import ctypes
open_any = ctypes.CDLL
def open_no_system_library(name, *args, **kwargs):
    if not name.startswith(("/proc/", "/tmp", "/var", "/private")): raise OSError(name)
    return open_any(name, *args, **kwargs)
ctypes.CDLL = open_no_system_library
"""
    assert run(only_private_files + EVALUATE, temporary).startswith("wheel ")


def test_a_broken_wheel_leaves_no_file(temporary: Path, tmp_path: Path) -> None:
    package = tmp_path / "broken" / "rbcl"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_sodium.py").write_text("sodium_bs = bytes.fromhex('7f454c46')\n")
    said = run(NO_MEMORY_FILES + FAILS, temporary, "wheel", package.parent)
    assert "wheel rbcl" in said
    assert list(temporary.iterdir()) == []


def test_a_wheel_of_another_form_is_said_so(temporary: Path, tmp_path: Path) -> None:
    package = tmp_path / "other" / "rbcl"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_sodium.py").write_text("sodium_bs = b''\n")
    assert "in the form" in run(FAILS, temporary, "wheel", package.parent)


def test_without_any_library_the_error_says_how_to_get_one(temporary: Path) -> None:
    said = run(NO_LIBRARY + NO_WHEEL + FAILS, temporary)
    assert "libsodium not found" in said
    for way in ("apt install libsodium23", "brew install libsodium", "[sodium]"):
        assert way in said


def test_a_forced_source_is_not_replaced(temporary: Path) -> None:
    assert "not installed" in run(NO_WHEEL + FAILS, temporary, "wheel")
    assert "not found" in run(NO_LIBRARY + FAILS, temporary, "system")


def test_an_unknown_source_is_refused(temporary: Path) -> None:
    assert "must be 'system' or 'wheel'" in run(FAILS, temporary, "homebrew")


def test_an_old_library_is_passed_over(temporary: Path) -> None:
    """The C library opens and has no ristretto255, as libsodium before 1.0.18 has none."""
    old = """
import ctypes
open_any = ctypes.CDLL
ctypes.CDLL = lambda *args, **kwargs: open_any(None)
"""
    assert "crypto_" in run(old + FAILS, temporary, "system")
