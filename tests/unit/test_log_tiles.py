"""Paths, tiles, bundles, and what an export looks like on disk."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import Tree, leaf_hash, merkle_root
from concordat_privacy.log.tiles import (
    Tile,
    TileError,
    bundle_path,
    decode_bundle,
    decode_tile,
    encode_bundle,
    encode_tile,
    levels_of,
    paths_of,
    tiles_of_level,
    write_export,
)

KEY = SigningKey("concordat.example/ledger", bytes(32))


def note(entries: list[bytes]) -> str:
    return sign(Checkpoint(KEY.name, len(entries), merkle_root(entries)), KEY)


def files(directory: Path) -> set[str]:
    return {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0, 256), "tile/0/000"),
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(1, 999, 256), "tile/1/999"),
        (Tile(1, 1000, 255), "tile/1/x001/000.p/255"),
        # The example of the tlog-tiles specification.
        (Tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
    ],
)
def test_tile_paths(tile: Tile, path: str) -> None:
    assert tile.path == path
    bundle = bundle_path(tile.index, tile.width)
    assert bundle == path.replace(f"tile/{tile.level}/", "tile/entries/")


@pytest.mark.parametrize("width", [0, 257])
def test_a_tile_has_1_to_256_hashes(width: int) -> None:
    with pytest.raises(TileError):
        _ = Tile(0, 0, width).path


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, []),
        (1, ["0/000.p/1"]),
        (255, ["0/000.p/255"]),
        (256, ["0/000", "1/000.p/1"]),
        # The example of the specification: 256 full tiles, one of 12, and three levels.
        (70_000, [*(f"0/{n:03}" for n in range(273)), "0/273.p/112", "1/000", "1/001.p/17"]),
    ],
)
def test_the_tiles_of_a_size(size: int, expected: list[str]) -> None:
    paths = [
        tile.path for level in levels_of(size) for tile in tiles_of_level(size, level) if level < 2
    ]
    assert paths == [f"tile/{path}" for path in expected]


def test_a_log_of_65536_entries_has_three_levels() -> None:
    assert len(levels_of(65_535)) == 2
    assert [tile.path for tile in tiles_of_level(65_536, 2)] == ["tile/2/000.p/1"]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=20), st.data())
def test_a_cut_bundle_names_the_entry_that_is_cut(
    entries: list[bytes], data: st.DataObject
) -> None:
    bundle = encode_bundle(entries)
    cut = data.draw(st.integers(0, len(bundle) - 1))
    with pytest.raises(TileError) as caught:
        decode_bundle(bundle[:cut], len(entries))
    whole = caught.value.entry
    assert whole is not None
    assert len(encode_bundle(entries[:whole])) <= cut < len(encode_bundle(entries[: whole + 1]))


def test_bytes_behind_the_last_entry_are_refused() -> None:
    with pytest.raises(TileError, match="1 bytes follow"):
        decode_bundle(encode_bundle([b"a"]) + b"\0", 1)


def test_an_entry_of_more_than_65535_bytes_is_refused() -> None:
    assert len(encode_bundle([bytes(65_535)])) == 65_537
    with pytest.raises(TileError) as caught:
        encode_bundle([b"", bytes(65_536)])
    assert caught.value.entry == 1


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 96])
def test_a_tile_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(TileError):
        decode_tile(bytes(length), 2)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_an_export_has_exactly_the_files_of_its_size(size: int, tmp_path: Path) -> None:
    entries = [b"entry %d" % index for index in range(size)]
    write_export(tmp_path / "export", iter(entries), note(entries))
    assert files(tmp_path / "export") == {"checkpoint", *paths_of(size)}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    for level in levels_of(size):
        for tile in tiles_of_level(size, level):
            first = tile.index * 256
            hashes = [
                Tree.of(entries[at << 8 * level : (at + 1) << 8 * level]).root
                for at in range(first, first + tile.width)
            ]
            assert (tmp_path / "export" / tile.path).read_bytes() == encode_tile(hashes)


def test_the_items_of_batches_are_written_beside_their_hashes(tmp_path: Path) -> None:
    write_export(tmp_path / "export", [b"batch"], note([b"batch"]), [(0, [b"{}", b'{"a":1}'])])
    items = tmp_path / "export" / "items"
    assert (items / "0.jsonl").read_bytes() == b'{}\n{"a":1}\n'
    assert (items / "0.hashes").read_bytes() == leaf_hash(b"{}") + leaf_hash(b'{"a":1}')


def test_an_export_that_does_not_fit_its_checkpoint_is_not_written(tmp_path: Path) -> None:
    for entries in ([b"a"], [b"a", b"c"], [b"a", b"b", b"c"]):
        with pytest.raises(TileError, match="do not fit the checkpoint"):
            write_export(tmp_path / "export", entries, note([b"a", b"b"]))
    assert list(tmp_path.iterdir()) == []


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(FileExistsError):
        write_export(tmp_path / "export", [b"a"], note([b"a"]))


def test_an_export_that_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> list[bytes]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_export(tmp_path / "export", (broken()[0] for _ in range(1)), note([b"a"]))
    assert list(tmp_path.iterdir()) == []
