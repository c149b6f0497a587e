"""The speed benchmark: planted descriptors, the indexes on them, other tools, and what the table says."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.speed import drawing, output, searching
from benchmarks.speed.__main__ import LeftOut, peer
from dupnet import figures
from dupnet.acquisitions.scenes import cut_collection
from dupnet.images.tiles_on_disk import save_tiles

EXACT = ["dupnet, every pair", "faiss flat"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """2,000 descriptors, and their 200 planted pairs."""
    path = tmp_path_factory.mktemp("planted") / "descriptors.npy"
    pairs = searching.plant(path, 2000, 256, 200, 0)
    return np.load(path), pairs


def test_planted_pairs_have_the_cosines_that_were_drawn(planted: tuple[np.ndarray, np.ndarray]) -> None:
    descriptors, pairs = planted
    one, other = (descriptors[pairs[:, side]].astype(np.float64) for side in (0, 1))
    cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    lowest, highest = searching.PLANTED_COSINES
    assert lowest - 0.01 < cosine.min() < lowest + 0.05
    assert highest - 0.05 < cosine.max() <= highest + 1e-9
    assert len(np.unique(pairs)) == 400


@pytest.mark.parametrize("name", list(searching.INDEXES))
def test_an_index_gives_pairs_above_the_threshold(name: str, planted: tuple[np.ndarray, np.ndarray]) -> None:
    descriptors, pairs = planted
    found = searching.INDEXES[name](descriptors)[0]
    share = searching.recall(found, pairs, len(descriptors))
    assert share == 1 if name in EXACT else share > 0.5
    unit = descriptors / np.linalg.norm(descriptors.astype(np.float64), axis=1, keepdims=True)
    if "MultiHash" not in name:  # which counts bits, not cosines
        assert (unit[found[:, 0]] * unit[found[:, 1]]).sum(axis=1).min() > searching.SEARCH_THRESHOLD - 0.02
    assert (found[:, 0] != found[:, 1]).all()


def test_recall_of_half_is_half() -> None:
    planted = np.array([[0, 1], [2, 3]])
    assert searching.recall(np.array([[1, 0], [0, 3]]), planted, 4) == 0.5


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut collection with its tiles."""
    folder = tmp_path_factory.mktemp("collection")
    noise = np.random.default_rng(0).integers(256, size=(1280, 1280, 3), dtype=np.uint8)
    cut_collection(noise, folder, n_images=6)
    save_tiles(folder / "images", folder / "tiles")
    return folder


def tool(folder: Path, *lines: str) -> str:
    """A program that stands in for the interpreter of another tool."""
    (folder / "tool.py").write_text("\n".join(("import json, sys", *lines)))
    program = folder / "tool"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$0.py" "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_a_tool_that_pairs_every_tile_finds_and_invents(home: Path, tmp_path: Path) -> None:
    every_pair = tool(
        tmp_path,
        "import itertools, pathlib",
        "tiles = sorted(path.name for path in pathlib.Path(sys.argv[3]).glob('*.jpg'))",
        "pairs = itertools.combinations(tiles, 2)",
        "open(sys.argv[4], 'w').writelines(f'{one},{two}\\n' for one, two in pairs)",
        "print(json.dumps({'seconds': 1}))",
    )
    absent = tool_that_is_absent(tmp_path / "other")
    row = peer("fastdup", home / "images", home, [absent, every_pair])
    assert row["n_images"] == 6
    assert row["recall"] == 1
    assert row["false"] > 0


def tool_that_is_absent(folder: Path) -> str:
    folder.mkdir()
    return tool(folder, "sys.exit(3)")


def test_a_tool_that_is_left_out_says_why(home: Path, tmp_path: Path) -> None:
    with pytest.raises(LeftOut, match="not installed"):
        peer("fastdup", home / "images", home, [tool_that_is_absent(tmp_path / "absent")])
    broken = tool(tmp_path, "sys.exit('its licence has ended')")
    with pytest.raises(LeftOut, match="its licence has ended"):
        peer("fastdup", home / "images", home, [broken])


def test_the_table_tells_what_was_measured(tmp_path: Path) -> None:
    measured = {"n_descriptors": 1000, "seconds": 2.0, "peak_mb": 10.0}
    rows = [
        {"index": "exact", "cpu_seconds": 40.0, "recall": 1.0},
        {"index": "quick", "cpu_seconds": 3.0, "recall": 0.9},
        {"index": "tables", "cpu_seconds": 4.0, "recall": 0.99995},
    ]
    pd.DataFrame([measured | row for row in rows]).to_csv(tmp_path / "speed_indexes.csv", index=False)
    find = {"method": "dupnet find", "n_images": 12, "recall": 1.0, "false": 0, "cpu_seconds": 5.0}
    peers = pd.DataFrame([measured | find, {"method": "fastdup", "left_out": "not installed"}])
    peers.to_csv(tmp_path / "speed_peers.csv", index=False)
    output.write(tmp_path)
    text = (tmp_path / "speed.md").read_text()
    assert "| 1,000 | quick | 2.0 | 3.0 | 10 MB | 0.900000 |" in text
    assert "99.99% of the planted pairs: tables 4 s, exact 40 s." in text
    assert "| dupnet find | 2.0 | 5.0 | 10 MB | 1.00000 | 0 |" in text
    assert "fastdup was left out: not installed." in text
    assert "| fastdup" not in text


def test_the_figure_has_the_other_tools_in_it(tmp_path: Path) -> None:
    peers = pd.DataFrame(
        {
            "method": ["dupnet find", "another", "left out"],
            "n_images": 1000,
            "seconds": [2.0, 9.0, np.nan],
            "overlaps": [50, 50, np.nan],
            "recall": [1.0, 0.9, np.nan],
            "false": [0, 7, np.nan],
            "left_out": [None, None, "no wheel"],
        }
    )
    with figures.style():
        axes = figures.new_figure().subplots()
        drawing._beside(axes, peers[peers["left_out"].isna()])
    assert [text.get_text() for text in axes.texts] == [" 2.0 s", " 9.0 s, 5 missed, 7 false"]
    speed = pd.DataFrame({"method": ["floor", "floor"], "n_images": [10, 20], "seconds": [1.0, 2.0]})
    for number, table in enumerate((peers, None, peers.tail(1))):
        drawing.draw(speed, table, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000
