"""Offline verification: an intact export passes, and any change is found and named."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import leaf_hash, merkle_root
from concordat_privacy.log.report import ProblemKind, Report
from concordat_privacy.log.tiles import bundle_path, encode_bundle, encode_tile, write_export
from concordat_privacy.log.verify import MAX_PROBLEMS, verify_export

KEY = SigningKey("concordat.example/ledger", bytes(32))
ITEMS = [leaf.encode_item({"row": row, "token": "ab" * 16}) for row in range(5)]
BATCH = 2


def entry(index: int, **more: object) -> bytes:
    time = f"2026-01-01T{index // 3600:02}:{index // 60 % 60:02}:{index % 60:02}.000000Z"
    kind = "lookup.permitted" if index % 3 else "consent.granted"
    return leaf.encode({"v": 1, "type": kind, "time": time, "n": index, **more})


def log_of(size: int) -> list[bytes]:
    """Entries of which number 2 is a batch of ITEMS."""
    entries = [entry(index) for index in range(size)]
    entries[BATCH] = entry(BATCH, items=len(ITEMS), items_root=merkle_root(ITEMS).hex())
    return entries


def export(directory: Path, entries: list[bytes], *, items: bool = True) -> Path:
    note = sign(Checkpoint(KEY.name, len(entries), merkle_root(entries)), KEY)
    write_export(directory, entries, note, [(BATCH, ITEMS)] if items else [])
    return directory


def verify(directory: Path) -> Report:
    return verify_export(directory, KEY.verifier)


def kinds(report: Report) -> list[ProblemKind]:
    return [problem.kind for problem in report.problems]


def change(file: Path, at: int, mask: int = 1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= mask
    file.write_bytes(data)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Five entries: one bundle, one tile, both unfinished."""
    return export(tmp_path / "small", log_of(5))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 entries: two full tiles, one unfinished, one tile above. Not to be changed."""
    return export(tmp_path_factory.mktemp("pristine") / "export", log_of(600))


@pytest.fixture
def large(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "large"))


@pytest.mark.parametrize("size", [3, 255, 256, 257, 511, 512, 600])
def test_an_intact_export_verifies(size: int, tmp_path: Path) -> None:
    entries = log_of(size)
    report = verify(export(tmp_path / "export", entries))
    assert report.ok, report.summary()
    assert (report.size, report.root) == (size, merkle_root(entries).hex())
    assert report.warnings == ()
    assert sum(report.counts.values()) == size
    assert report.counts["consent.granted"] == (size + 2) // 3
    assert "verifies" in report.summary()


def test_an_empty_log_verifies(tmp_path: Path) -> None:
    write_export(tmp_path / "export", [], sign(Checkpoint(KEY.name, 0, merkle_root([])), KEY))
    assert verify(tmp_path / "export").ok


def positions_of_entries(entries: list[bytes]) -> Iterator[int]:
    """For each byte of a bundle, length prefixes included, the entry that it belongs to."""
    for index, data in enumerate(entries):
        yield from [index] * (2 + len(data))


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_changed_byte_of_a_bundle_is_pinned_to_its_entry(small: Path, mask: int) -> None:
    entries = log_of(5)
    file = small / bundle_path(0, 5)
    for at, index in enumerate(positions_of_entries(entries)):
        change(file, at, mask)
        report = verify(small)
        assert not report.ok
        assert report.first_wrong_entry == index, f"byte {at}: {report.summary()}"
        assert {(p.kind, p.entry) for p in report.problems} == {(ProblemKind.ENTRY, index)}
        change(file, at, mask)
    assert verify(small).ok


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_changed_byte_of_any_other_file_is_pinned_to_its_file(small: Path, mask: int) -> None:
    expected = {
        "checkpoint": ProblemKind.CHECKPOINT,
        "tile/0/000.p/5": ProblemKind.TILE,
        f"items/{BATCH}.jsonl": ProblemKind.ITEM,
        f"items/{BATCH}.hashes": ProblemKind.ITEM,
    }
    for path, kind in expected.items():
        file = small / path
        for at in range(file.stat().st_size):
            change(file, at, mask)
            report = verify(small)
            assert [(p.kind, p.file) for p in report.problems] == [(kind, path)], (path, at)
            if kind is ProblemKind.ITEM:
                per_item = 32 if path.endswith("hashes") else len(ITEMS[0]) + 1
                (problem,) = report.problems
                assert (problem.entry, problem.item) == (BATCH, at // per_item)
            change(file, at, mask)
    assert verify(small).ok


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_changed_byte_anywhere_in_a_larger_export_is_pinned(
    pristine: Path, tmp_path: Path, data: st.DataObject
) -> None:
    files = sorted(p.relative_to(pristine) for p in pristine.rglob("*") if p.is_file())
    path = data.draw(st.sampled_from(files))
    size = (pristine / path).stat().st_size
    at, mask = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, 255))
    copy = Path(shutil.copytree(pristine, tmp_path / "copy", dirs_exist_ok=True))
    change(copy / path, at, mask)
    report = verify(copy)
    assert {problem.file for problem in report.problems} == {path.as_posix()}, report.summary()
    if path.parts[:2] == ("tile", "entries"):
        first = int(path.parts[2][:3]) * 256
        bundle = log_of(600)[first : first + 256]
        assert report.first_wrong_entry == first + list(positions_of_entries(bundle))[at]
        assert len(report.problems) == 1


def test_several_changed_entries_are_each_named(large: Path) -> None:
    entries = log_of(600)
    starts = [2 + len(encode_bundle(entries[256:index])) for index in (300, 301, 400)]
    for start in starts:
        change(large / bundle_path(1, 256), start + 10)
    change(large / bundle_path(0, 256), 1)
    report = verify(large)
    assert [problem.entry for problem in report.problems] == [0, 300, 301, 400]


def test_an_entry_of_another_length_does_not_blame_the_entries_before_it(large: Path) -> None:
    file = large / bundle_path(0, 256)
    start = len(encode_bundle(log_of(600)[:100]))
    data = file.read_bytes()
    file.write_bytes(data[: start + 20] + b"x" + data[start + 20 :])
    report = verify(large)
    assert report.first_wrong_entry == 100
    assert kinds(report) == [ProblemKind.ENTRY]


def test_a_replaced_entry_with_a_fitting_length_blames_only_itself(large: Path) -> None:
    entries = log_of(600)[:256]
    entries[77] = entry(77, forged=True)
    (large / bundle_path(0, 256)).write_bytes(encode_bundle(entries))
    report = verify(large)
    assert [(p.kind, p.entry) for p in report.problems] == [(ProblemKind.ENTRY, 77)]


def test_an_entry_forged_together_with_its_tile_is_found(large: Path) -> None:
    entries = log_of(600)[:256]
    entries[77] = entry(77, forged=True)
    (large / bundle_path(0, 256)).write_bytes(encode_bundle(entries))
    (large / "tile/0/000").write_bytes(encode_tile(map(leaf_hash, entries)))
    report = verify(large)
    assert [(p.kind, p.file) for p in report.problems] == [(ProblemKind.TILE, "tile/0/000")]
    assert "entries 0 to 255" in report.problems[0].message


def test_a_log_rewritten_throughout_does_not_have_the_signed_root(
    large: Path, tmp_path: Path
) -> None:
    entries = log_of(600)
    entries[77] = entry(77, forged=True)
    forged = export(tmp_path / "forged", entries)
    shutil.copyfile(large / "checkpoint", forged / "checkpoint")
    report = verify(forged)
    assert kinds(report) == [ProblemKind.ROOT]


def test_an_entry_and_the_tile_above_it_can_both_be_wrong(large: Path) -> None:
    change(large / bundle_path(1, 256), 40)
    change(large / "tile/1/000.p/2", 5)
    report = verify(large)
    assert {(p.kind, p.file) for p in report.problems} == {
        (ProblemKind.ENTRY, bundle_path(1, 256)),
        (ProblemKind.TILE, "tile/1/000.p/2"),
    }
    assert report.first_wrong_entry == 256


def test_a_shortened_log_does_not_pass_for_the_whole(large: Path, tmp_path: Path) -> None:
    shorter = export(tmp_path / "shorter", log_of(599))
    shutil.copyfile(large / "checkpoint", shorter / "checkpoint")
    report = verify(shorter)
    assert ProblemKind.MISSING in kinds(report)
    assert ProblemKind.UNEXPECTED in kinds(report)


def test_a_cut_bundle_names_the_entry_that_is_cut(large: Path) -> None:
    entries = log_of(600)[512:]
    (large / bundle_path(2, 88)).write_bytes(
        encode_bundle(entries)[: len(encode_bundle(entries[:9])) + 5]
    )
    report = verify(large)
    assert report.first_wrong_entry == 521
    assert {p.file for p in report.problems} == {bundle_path(2, 88)}


@pytest.mark.parametrize("missing", [0, 300, 511, 599])
def test_an_entry_left_out_of_its_bundle_is_named(large: Path, missing: int) -> None:
    bundle = missing // 256
    entries = log_of(600)[bundle * 256 : (bundle + 1) * 256]
    left = [*entries[: missing % 256], *entries[missing % 256 + 1 :]]
    (large / bundle_path(bundle, len(entries))).write_bytes(encode_bundle(left))
    report = verify(large)
    assert report.first_wrong_entry == missing
    assert not report.ok


@pytest.mark.parametrize("extra", [b"\0", b"\0\0", b"x" * 70_000])
def test_bytes_added_to_a_bundle_are_found(large: Path, extra: bytes) -> None:
    with (large / bundle_path(2, 88)).open("ab") as file:
        file.write(extra)
    (problem,) = verify(large).problems
    assert (problem.kind, problem.file) == (ProblemKind.ENTRY, bundle_path(2, 88))
    assert f"{len(extra)} bytes follow" in problem.message


def test_an_empty_bundle_and_an_empty_tile_are_found(small: Path) -> None:
    (small / bundle_path(0, 5)).write_bytes(b"")
    assert verify(small).first_wrong_entry == 0
    (small / "tile/0/000.p/5").write_bytes(b"")
    assert not verify(small).ok


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("checkpoint", None),
        ("tile/0/000", None),
        ("tile/1/000.p/2", None),
        ("tile/0/002.p/88", None),
        ("tile/entries/001", 256),
        ("tile/entries/002.p/88", 512),
        (f"items/{BATCH}.jsonl", BATCH),
        (f"items/{BATCH}.hashes", BATCH),
    ],
)
def test_a_missing_file_is_named(large: Path, path: str, entry: int | None) -> None:
    (large / path).unlink()
    (problem,) = verify(large).problems
    assert (problem.kind, problem.file, problem.entry) == (ProblemKind.MISSING, path, entry)


def test_without_its_tile_a_changed_entry_is_placed_in_its_bundle(large: Path) -> None:
    (large / "tile/0/001").unlink()
    change(large / bundle_path(1, 256), 40)
    report = verify(large)
    assert set(kinds(report)) == {ProblemKind.MISSING, ProblemKind.ENTRY}
    assert "entries 256 to 511" in report.summary()


def test_an_extra_file_is_named(large: Path) -> None:
    (large / "tile/0/003.p").mkdir()
    (large / "tile/0/003.p/7").write_bytes(bytes(7 * 32))
    (large / "items" / "9.jsonl").write_bytes(b"{}\n")
    report = verify(large)
    assert {(p.kind, p.file) for p in report.problems} == {
        (ProblemKind.UNEXPECTED, "tile/0/003.p/7"),
        (ProblemKind.UNEXPECTED, "items/9.jsonl"),
    }


def test_an_entry_the_log_should_never_have_taken_is_named(tmp_path: Path) -> None:
    entries = log_of(300)
    entries[40] = b'{"b":1, "a":2}'
    entries[270] = entry(270).replace(b'"v":1', b'"v":2')
    report = verify(export(tmp_path / "export", entries))
    assert [(p.kind, p.entry) for p in report.problems] == [
        (ProblemKind.LEAF, 40),
        (ProblemKind.LEAF, 270),
    ]


def test_another_logs_key_refuses_the_checkpoint(small: Path) -> None:
    for key in (SigningKey(KEY.name, b"\1" * 32), SigningKey("another.example", KEY.seed)):
        report = verify_export(small, key.verifier)
        assert kinds(report) == [ProblemKind.CHECKPOINT]
        assert not report.ok
        assert (report.size, report.root) == (0, "")


def test_time_that_runs_backwards_is_found(tmp_path: Path) -> None:
    entries = log_of(300)
    entries[270], entries[271] = entries[271], entries[270]
    report = verify(export(tmp_path / "export", entries))
    assert [(problem.kind, problem.entry) for problem in report.problems] == [
        (ProblemKind.ORDER, 271)
    ]


def test_items_may_only_be_left_out_on_purpose(tmp_path: Path) -> None:
    folder = export(tmp_path / "export", log_of(5), items=False)
    (problem,) = verify(folder).problems
    assert (problem.kind, problem.file) == (ProblemKind.MISSING, "items")
    assert problem.message.endswith("take it as it is by --without-items")
    report = verify_export(folder, KEY.verifier, without_items=True)
    assert report.ok
    assert report.warnings == ("the items of 1 batch entries are missing and were not checked",)


@pytest.mark.parametrize("name", ["tile/entries/000.p/5", "items"])
def test_symbolic_links_are_no_part_of_an_export(small: Path, tmp_path: Path, name: str) -> None:
    (small / name).rename(tmp_path / "elsewhere")
    (small / name).symlink_to(tmp_path / "elsewhere")
    (problem,) = verify(small).problems
    assert (problem.kind, problem.file) == (ProblemKind.UNEXPECTED, name)


def drop_last(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def add_one(lines: list[bytes]) -> list[bytes]:
    return [*lines, b"{}"]


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def repeat(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[3], lines[4]]


@pytest.mark.parametrize(
    ("edit", "item"), [(drop_last, 4), (add_one, None), (swap, 1), (repeat, 4)]
)
def test_items_added_removed_or_moved_are_found(
    small: Path, edit: Callable[[list[bytes]], list[bytes]], item: int | None
) -> None:
    file = small / f"items/{BATCH}.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in edit(ITEMS)))
    (problem,) = verify(small).problems
    assert (problem.kind, problem.entry, problem.item) == (ProblemKind.ITEM, BATCH, item)


def test_items_changed_together_with_their_hashes_are_found(small: Path) -> None:
    forged = [*ITEMS[:3], leaf.encode_item({"row": 3, "forged": True}), ITEMS[4]]
    (small / f"items/{BATCH}.jsonl").write_bytes(b"".join(line + b"\n" for line in forged))
    (small / f"items/{BATCH}.hashes").write_bytes(b"".join(map(leaf_hash, forged)))
    (problem,) = verify(small).problems
    assert (problem.kind, problem.entry) == (ProblemKind.ITEM, BATCH)


def test_a_checkpoint_for_a_giant_log_stops_the_search(small: Path) -> None:
    note = sign(Checkpoint(KEY.name, 2**62, bytes(32)), KEY)
    (small / "checkpoint").write_text(note)
    report = verify(small)
    assert not report.ok
    assert not report.complete
    assert len(report.problems) == MAX_PROBLEMS
    assert "stopped here" in report.summary()


def test_no_directory_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        verify(tmp_path / "nowhere")


def test_one_byte_among_66000_entries_is_found_three_levels_down(tmp_path: Path) -> None:
    entries = [entry(index) for index in range(66_000)]
    directory = export(tmp_path / "export", entries, items=False)
    assert verify(directory).ok
    change(directory / bundle_path(200, 256), 2 + len(entries[51_200]) + 9)
    change(directory / "tile/1/000", 201 * 32)
    report = verify(directory)
    assert {(p.kind, p.entry, p.file) for p in report.problems} == {
        (ProblemKind.ENTRY, 51_201, bundle_path(200, 256)),
        (ProblemKind.TILE, None, "tile/1/000"),
    }


def test_the_verifier_needs_only_python_and_cryptography() -> None:
    program = (
        "import sys; before = set(sys.modules); import concordat_privacy.log.verify; "
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    foreign = set(done.stdout.split()) - sys.stdlib_module_names
    # The binary part of cryptography brings modules whose names start with an underscore.
    assert {name for name in foreign if name[0] != "_"} == {"concordat_privacy", "cryptography"}
