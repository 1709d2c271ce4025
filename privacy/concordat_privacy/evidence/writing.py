"""Lays a bundle down as a folder or as a .zip, whole or not at all."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """The bundle as a .zip: sorted, uncompressed, without clocks, so that equal gives equal."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name)
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[name])
    return stream.getvalue()


def write_bundle(out: Path, files: Mapping[str, bytes]) -> None:
    """Write to `out`, which must not exist; a name that ends in .zip gives a .zip.

    Raises FileExistsError, OSError.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists already")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:
        made = Path(aside) / "bundle"
        if out.suffix == ".zip":
            made.write_bytes(zip_bytes(files))
        else:
            for name, data in files.items():
                file = made / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        shutil.move(made, out)
