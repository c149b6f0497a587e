"""A search at any offset whose steps are tasks finds what one machine finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import fsspec
import numpy as np
import pandas as pd
import pytest
from test_find import TABLES, acquisition, table_bytes
from test_overlay_masks import marked_collection
from test_sharded import Here, here  # noqa: F401

from benchmarks.free_offsets.lookalikes import watermark
from dupnet.cluster.distributed import find_on_cluster
from dupnet.cluster.run import ClusterRun
from dupnet.cluster.sharded_index import Image
from dupnet.commands.cli import main
from dupnet.files.identity import Identity
from dupnet.find.describe import Described
from dupnet.find.engine import find_overlaps
from dupnet.find.portions import MOST_PAIRS
from dupnet.find.verification import PAIRS_AT_A_TIME
from dupnet.network.descriptors import load_weights, weights_bytes

SMALL = {"images_a_task": 2, "points_a_slice": 500}
"""Options that make many small tasks."""


def crops(folder: Path, n: int, sides: tuple[int, int], seed: int, scene: int = 0) -> Path:
    """Images of one acquisition at random places, of sides between the two."""
    rng = np.random.default_rng(seed)
    ground = acquisition(2, seed=scene)
    folder.mkdir(parents=True)
    for number in range(n):
        height, width = rng.integers(*sides, 2, endpoint=True).tolist()
        y, x = (int(rng.integers(0, 512 - side, endpoint=True)) for side in (height, width))
        quality = int(rng.integers(80, 96))
        part = ground[y : y + height, x : x + width]
        cv2.imwrite(str(folder / f"{seed}-{number:02d}.jpg"), part, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = crops(tmp_path_factory.mktemp("any") / "images", 14, (150, 300), 1)
    (folder / "empty.jpg").touch()
    (folder / "copy.jpg").write_bytes((folder / "1-03.jpg").read_bytes())
    return folder


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("local")
    find_overlaps(images, out=out, report=False)
    tables = table_bytes(out)
    assert tables["overlaps.csv"].count(b"\n") > 20
    return tables


def test_small_tasks_give_the_same_bytes(
    here: Here,  # noqa: F811
    images: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MOST_PAIRS % PAIRS_AT_A_TIME == 0  # else scores end in other digits
    monkeypatch.setattr("dupnet.cluster.regions.MOST_PAIRS", PAIRS_AT_A_TIME)
    find_on_cluster(images, "", out=tmp_path, report=False, **SMALL)
    assert table_bytes(tmp_path) == expected
    assert here.n_run["describe"] >= 8 and here.n_run["join"] >= 16 and here.n_run["judge"] >= 2
    assert here.n_run["refine"] >= 1
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["searched"]["offsets"] == "any"
    n_run = dict(here.n_run)
    # A second run describes the file again that could not be used, and joins nothing.
    find_on_cluster(images, "", out=tmp_path, report=False, **SMALL)
    assert table_bytes(tmp_path) == expected
    assert here.n_run["describe"] <= n_run["describe"] + 2 and here.n_run["join"] == n_run["join"]


def test_a_store_that_is_no_disk(here: Here, images: Path, expected: dict[str, bytes]) -> None:  # noqa: F811
    store = fsspec.filesystem("memory")
    for path in images.iterdir():
        store.pipe_file(f"/anywhere/images/{path.name}", path.read_bytes())
    result = find_on_cluster("memory://anywhere/images", "", out="memory://anywhere/out", **SMALL)
    assert {name: store.cat_file(f"/anywhere/out/{name}") for name in TABLES} == expected
    assert result.folders == ()
    assert store.exists("/anywhere/out/report.html")


@pytest.mark.parametrize("is_large", [False, True])
def test_images_of_a_store_are_read_by_copies(
    is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one too large to be decoded at once parts are read later: its copy is there as long as the run."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    tiff = cv2.imencode(".tif", pixels)[1].tobytes()
    fsspec.filesystem("memory").pipe_file("/copied/a.tif", tiff)
    images = {"a.tif": Image("memory://copied", "a.tif", Identity(len(tiff), 0))}
    monkeypatch.setattr("dupnet.images.image.MAX_PIXELS", 1000 if is_large else 2**20)
    run = SimpleNamespace(collection=SimpleNamespace(folders=()), images=images, work=tmp_path)
    none = pd.DataFrame()
    read = ClusterRun.reader(cast(ClusterRun, run), Described(["a.tif"], np.array([[90, 120]]), none, none))
    for _ in range(2):
        assert (read(0)[0][5:60, 7:100] == pixels[5:60, 7:100]).all()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == is_large


def test_images_that_carry_an_overlay(here: Here, tmp_path: Path) -> None:  # noqa: F811
    images = tmp_path / "images"
    images.mkdir()
    marked_collection(images, watermark)
    found = find_overlaps(images, out=tmp_path / "local", report=False)
    assert found.counts["points_of_overlays"] > 0 and len(found.overlaps) == 5
    find_on_cluster(images, "", out=tmp_path / "cluster", report=False, **SMALL)
    assert table_bytes(tmp_path / "cluster") == table_bytes(tmp_path / "local")


def test_two_folders_of_unlike_sizes_held_against_each_other(
    here: Here,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    """Small images make all points dense; pairs within either side are none."""
    other = crops(tmp_path / "other", 5, (70, 110), 2)
    for out, find in (("local", find_overlaps), ("cluster", on_cluster)):
        find(images, out=tmp_path / out, against=other, report=False)
    tables = table_bytes(tmp_path / "cluster")
    assert tables == table_bytes(tmp_path / "local")
    rows = tables["overlaps.csv"].decode().splitlines()[1:]
    assert len(rows) > 3 and all(row.startswith("1-") != (",1-" in row) for row in rows if "copy" not in row)


def on_cluster(*given: object, **named: object) -> object:
    return find_on_cluster(given[0], "", **SMALL, **named)  # type: ignore[arg-type]


def test_a_network_of_ones_own_judges_on_the_workers(
    here: Here,  # noqa: F811
    images: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    own_network: Path,
) -> None:
    for out, find in (("local", find_overlaps), ("cluster", on_cluster)):
        find(images, out=tmp_path / out, weights=own_network, report=False)
    tables = table_bytes(tmp_path / "cluster")
    assert tables == table_bytes(tmp_path / "local")
    assert tables["overlaps.csv"] != expected["overlaps.csv"]


@pytest.fixture
def own_network(tmp_path: Path) -> Path:
    """A file with weights that are not the shipped ones."""
    shipped = load_weights()
    bias = shipped.arrays["first_stage_score.bias"] - 2
    own = replace(shipped, arrays={**shipped.arrays, "first_stage_score.bias": bias}, threshold=0.75)
    path = tmp_path / "own.npz"
    path.write_bytes(weights_bytes(own))
    return path


def test_judgements_are_heeded_and_all_pairs_listed(
    here: Here,  # noqa: F811
    images: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dupnet.find.groups.MAX_STACK", 2)
    monkeypatch.setattr("dupnet.find.engine.MAX_STACK", 2)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes((images / "1-03.jpg").read_bytes())
    command = ["find", str(folder), "--out", str(tmp_path / "out"), "--quiet", "--no-report"]
    command += ["--scheduler", "tcp://a:8786"]

    def n_found(*options: str) -> int:
        assert main([*command, *options]) == 0
        return table_bytes(tmp_path / "out")["overlaps.csv"].count(b"\n") - 1

    assert n_found() == 3 and n_found("--all-pairs") == 6
    judged = "time,image1,image2,overlap_tag,y_offset,x_offset,verdict,reviewer\n"
    judged += "2026-01-01T00:00:00+00:00,0.jpg,1.jpg,,0,0,not_duplicate,Ann\n"
    (tmp_path / "out" / "judgements.csv").write_text(judged)
    assert n_found() == 2
    assert n_found("--ignore-judgements") == 3


def test_nearly_blank_tiles_are_searched_on_their_grid(
    here: Here,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Whole tiles of a grid, half of them nearly blank: the points show the grid, its tiles are searched."""
    rng = np.random.default_rng(5)
    ground = acquisition(5, seed=3)[:640, :640].astype(np.float32)
    ground[:, 384:] = 120 + 0.6 * rng.standard_normal((640, 256, 3)).astype(np.float32)
    ground = ground.clip(0, 255).astype(np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    for y in range(0, 385, 128):
        for x in range(0, 385, 128):
            part = ground[y : y + 256, x : x + 256]
            cv2.imwrite(str(folder / f"{y}-{x}.jpg"), part, [cv2.IMWRITE_JPEG_QUALITY, 95])
    for out, find in (("local", find_overlaps), ("cluster", on_cluster)):
        find(folder, out=tmp_path / out, report=False)
    assert table_bytes(tmp_path / "cluster") == table_bytes(tmp_path / "local")
    record = json.loads((tmp_path / "cluster" / "run.json").read_text())
    assert record["searched"]["grid"] == 128
    assert record["counts"]["tiles"] > 0
