"""The demo deletes what it made, and nothing else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from concordat_demo.failure import DemoFailed
from concordat_demo.workspace import prepare


def test_an_earlier_runs_folder_is_replaced(tmp_path: Path) -> None:
    left = prepare(tmp_path / "demo").report
    left.write_text("{}")
    prepare(tmp_path / "demo")
    assert not left.exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.write_text("ten years of work")
    with pytest.raises(DemoFailed, match="did not make"):
        prepare(tmp_path)
    assert mine.read_text() == "ten years of work"


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    with pytest.raises(DemoFailed, match="no folder"):
        prepare(tmp_path / "demo")


def test_where_no_folder_can_be_made_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoFailed, match=r"demo cannot be made or replaced \(Not a directory\)"):
        prepare(tmp_path / "file" / "demo")


def test_a_link_to_a_folder_is_left_alone(tmp_path: Path) -> None:
    report = prepare(tmp_path / "demo").report
    report.write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "demo")
    with pytest.raises(DemoFailed, match="symbolic link"):
        prepare(tmp_path / "link")
    assert report.is_file()


def test_the_folder_of_a_gateway_that_still_serves_is_left_alone(tmp_path: Path) -> None:
    workspace = prepare(tmp_path / "demo")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        workspace.operator.mkdir(parents=True)
        profile = workspace.operator / "profile.toml"
        profile.write_text(f'gateway = "127.0.0.1:{port}"\n')
        with pytest.raises(DemoFailed, match=f"still listens on 127.0.0.1:{port}"):
            prepare(tmp_path / "demo")
    assert profile.is_file()
