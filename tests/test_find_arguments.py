"""Options of `dupnet find` and `dupnet tiles`: each reaches the function that heeds it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from dupnet.commands import cli
from dupnet.find.engine import tiling_of


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the search was called with."""
    seen: dict[str, object] = {}

    def find_overlaps(images: object, **options: object) -> None:
        seen.update(options, images=images)
        raise KeyboardInterrupt  # what follows is another test's affair

    monkeypatch.setattr("dupnet.find.engine.find_overlaps", find_overlaps)
    return seen


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ([], "images", "folder"),
        ([], "moved_to", []),
        ([], "bands", None),
        ([], "stretch", "file"),
        (["other"], "images", ["folder", "other"]),
        (["--images", "a", "b"], "moved_to", ["a", "b"]),
        (["--bands", "4", "3", "2"], "bands", [4, 3, 2]),
        (["--stretch", "collection"], "stretch", "collection"),
        (["--stretch", "0:3000"], "stretch", "0:3000"),
        (["--against", "c"], "against", "c"),
        (["--add"], "add", True),
    ],
)
def test_options_of_find(arguments: list[str], name: str, value: object, called: dict[str, object]) -> None:
    assert cli.main(["find", "folder", *arguments, "--out", "out"]) == 130
    assert called[name] == value


def test_a_list_of_files(called: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list").write_text("a.jpg\nb.jpg\n")
    assert cli.main(["find", "--from-file", str(tmp_path / "list"), "--out", "out"]) == 130
    assert called["images"] == ["a.jpg", "b.jpg"]
    assert cli.main(["find", "c.jpg", "--from-file", str(tmp_path / "list"), "--out", "out"]) == 130
    assert called["images"] == ["c.jpg", "a.jpg", "b.jpg"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"d.jpg\n")))
    assert cli.main(["find", "--from-file", "-", "--out", "out"]) == 130
    assert called["images"] == ["d.jpg"]


def test_one_file_is_a_list_and_no_name_what_is_remembered(called: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert cli.main(["find", str(tmp_path / "a.jpg"), "--out", "out"]) == 130
    assert called["images"] == [str(tmp_path / "a.jpg")]
    assert cli.main(["find", "--out", "out"]) == 130
    assert called["images"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-file", "gone"], "'gone': No such file"),
        (["images", "--stretch", "best"], "stretch is 'best'; it must be"),
        ([], "holds no collection; name the images"),
        (["--images", "new"], "holds no collection; name the images"),
        (["images", "gone"], "no folder or file 'gone'"),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    assert cli.main(["find", *arguments, "--out", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_images_of_tiles_that_have_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def save_tiles(folder: str, out: str, *, moved: bool, **_: object) -> pd.DataFrame:
        seen.append((folder, out, moved))
        return pd.DataFrame(columns=["image", "reason"])

    monkeypatch.setattr("dupnet.images.tiles_on_disk.save_tiles", save_tiles)
    assert cli.main(["tiles", "old", "--out", "out"]) == 0
    assert cli.main(["tiles", "--images", "new", "--out", "out"]) == 0
    assert seen == [("old", "out", False), ("new", "out", True)]
    assert cli.main(["tiles", "--out", "out"]) == 2
    assert cli.main(["tiles", "old", "--images", "new", "--out", "out"]) == 2


def test_a_grid_of_an_impossible_size_is_called_a_grid():
    with pytest.raises(ValueError, match="grid is 100; it must be a multiple of 32 pixels"):
        tiling_of(100, None, None)
    with pytest.raises(ValueError, match="tile_size is 100; it must be"):
        tiling_of(None, 100, None)
