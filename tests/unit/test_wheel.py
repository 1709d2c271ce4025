"""What is shipped: the packages with their types and migrations, and nothing else."""

import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = {
    "concordat",
    "concordat_gateway",
    "concordat_store",
    "concordat_keyholder",
    "concordat_privacy",
    "concordat_rpc",
    "concordat_witness",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    [file] = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_it_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert top == PACKAGES


def test_it_carries_types_generated_code_and_migrations(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"concordat/py.typed", "concordat_privacy/py.typed"} <= names
    assert "concordat/v1/signal_pb2.pyi" in names
    assert "concordat_privacy/verifier/verify.py" in names
    assert {f"concordat/bulk/mappings/{name}.toml" for name in ("metro2", "pboc2")} <= names
    for package, store in (
        ("concordat_gateway", "control"),
        ("concordat_gateway", "signals"),
        ("concordat_keyholder", "keyholder"),
    ):
        folder = f"{package}/store/migrations/{store}"
        assert f"{folder}/env.py" in names
        assert any(name.startswith(f"{folder}/versions/v0001") for name in names)


def test_the_base_install_is_the_sdk(wheel: zipfile.ZipFile) -> None:
    [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    wanted = message_from_string(wheel.read(metadata).decode()).get_all("Requires-Dist") or []
    base = {entry.split(">")[0].split("<")[0] for entry in wanted if "extra ==" not in entry}
    assert base == {
        "click",
        "cryptography",
        "grpcio",
        "grpcio-status",
        "phonenumbers",
        "protobuf",
        "python-stdnum",
        "rfc8785",
    }
