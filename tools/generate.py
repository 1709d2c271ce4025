"""Regenerates clients/python/concordat/v1 from proto/.

Usage: python tools/generate.py [OUTPUT_ROOT]. The generators are the oldest
supported ones (constraints.txt), so that the committed code runs everywhere
that pyproject.toml allows.
"""

import importlib.resources
import os
import sys
from pathlib import Path

from grpc_tools import protoc

REPOSITORY = Path(__file__).resolve().parent.parent


def generate(output_root: Path) -> None:
    """Writes the messages, stubs and type stubs below `output_root`/concordat/v1."""
    protos = sorted((REPOSITORY / "proto" / "concordat" / "v1").glob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    output_root.mkdir(parents=True, exist_ok=True)
    # protoc looks for the plug-ins for type stubs on PATH; they are installed beside this Python.
    scripts = Path(sys.executable).parent
    os.environ["PATH"] = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={REPOSITORY / 'proto'}",
            f"--proto_path={well_known}",
            f"--python_out={output_root}",
            f"--grpc_python_out={output_root}",
            f"--mypy_out={output_root}",
            f"--mypy_grpc_out={output_root}",
            *(str(path) for path in protos),
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "clients" / "python")
