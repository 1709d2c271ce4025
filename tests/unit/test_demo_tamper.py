"""The demo changes exactly one byte of exactly one entry."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from concordat_demo.tamper import change_one_byte, ledger_size
from concordat_privacy.log.merkle import leaf_hash, root_of
from concordat_privacy.log.tiles import decode_bundle, write_export

SIZE = 300
"""Two bundles, one of them partial."""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    entries = [f"entry {index}".encode() for index in range(SIZE)]
    root = root_of([leaf_hash(entry) for entry in entries])
    note = _unsigned_note(root)
    write_export(tmp_path / "ledger", entries, note)
    return tmp_path / "ledger"


@pytest.mark.parametrize("seed", range(20))
def test_one_entry_differs_in_one_byte(export: Path, tmp_path: Path, seed: int) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(export, copy)
    change = change_one_byte(copy, seed=seed)

    before, after = _entries(export), _entries(copy)
    assert ledger_size(copy) == len(before) == len(after) == SIZE
    assert [i for i in range(SIZE) if before[i] != after[i]] == [change.entry]
    pairs = zip(before[change.entry], after[change.entry], strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [(change.before, change.after)]
    assert (copy / change.file).read_bytes()[change.offset] == change.after


def test_the_seed_decides(export: Path, tmp_path: Path) -> None:
    changes = []
    for name in ("first", "second"):
        shutil.copytree(export, tmp_path / name)
        changes.append(change_one_byte(tmp_path / name, seed=5))
    assert changes[0] == changes[1]


def _entries(export: Path) -> list[bytes]:
    full = (export / "tile/entries/000").read_bytes()
    rest = (export / "tile/entries/001.p/44").read_bytes()
    return decode_bundle(full, 256) + decode_bundle(rest, 44)


def _unsigned_note(root: bytes) -> str:
    """A checkpoint with a signature of nobody's: neither writer nor tamperer looks at it."""
    body = f"example.org/log\n{SIZE}\n{base64.b64encode(root).decode()}\n"
    signature = base64.b64encode(bytes(4 + 64)).decode()
    return f"{body}\n\u2014 example.org/log {signature}\n"
