"""The tasks of a cluster, run here one by one: shards, parts and stores give what one machine finds."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from test_find import TABLES, acquisition, table_bytes

from dupnet.acquisitions.scenes import cut_collection
from dupnet.cluster import distributed
from dupnet.cluster.distributed import find_on_cluster
from dupnet.cluster.shards import read_shards
from dupnet.commands.cli import main
from dupnet.files.leases import leased
from dupnet.files.storage import Folder
from dupnet.find.engine import find_overlaps
from dupnet.network.descriptors import load_weights, weights_bytes


class Here:
    """A cluster whose tasks run in this process: in any order, and some of them twice."""

    progress = False

    def __init__(self, address: str = "", progress: bool = False) -> None:
        self.n_run: dict[str, int] = {}

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], name: str, n_done: int = 0
    ) -> list[Any]:
        self.n_run[name] = self.n_run.get(name, 0) + len(tasks)
        results: list[Any] = [None] * len(tasks)
        order = np.random.default_rng(len(tasks)).permutation(len(tasks))
        for number in [*order, *order[:2]]:
            results[number] = function(*tasks[number])
        return results


def pictures(report: str) -> list[str]:
    """The pictures of a report."""
    return re.findall(r"data:image/[^\"')]+", report)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    cluster = Here()
    monkeypatch.setattr(distributed, "Cluster", lambda *_: cluster)
    return cluster


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection")
    cut_collection(acquisition(2)[:448, :448], folder, n_images=20, image_size=192, stride=64)
    (folder / "images" / "empty.jpg").touch()
    return folder / "images"


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("local")
    find_overlaps(images, out=out, tile_size=64, report=False)
    tables = table_bytes(out)
    assert tables["overlaps.csv"].count(b"\n") > 30
    return tables


@pytest.mark.parametrize(("images_a_task", "tiles_a_part"), [(1, 1), (3, 20), (100, 10_000)])
def test_portions_change_nothing(
    images_a_task: int,
    tiles_a_part: int,
    here: Here,
    images: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    options = {"images_a_task": images_a_task, "tiles_a_part": tiles_a_part}
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False, **options)
    assert table_bytes(tmp_path) == expected
    n_run = dict(here.n_run)
    # A second run describes the file again that could not be used, searches nothing, and verifies.
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False, **options)
    assert table_bytes(tmp_path) == expected
    assert here.n_run["describe"] == n_run["describe"] + 1
    assert here.n_run["search"] == n_run["search"]


def test_through_the_scheduler_option(
    here: Here, images: Path, expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "find",
        str(images),
        "--out",
        str(tmp_path),
        "--tile-size",
        "64",
        "--scheduler",
        "tcp://a:8786",
    ]
    assert main(command) == 0
    assert table_bytes(tmp_path) == expected
    assert (tmp_path / "report.html").exists()
    assert here.n_run["describe"] > 0  # on the cluster, not on this machine alone
    for excluded in (["--check-content"], ["--workers", "2"]):
        assert main([*command, *excluded]) == 2
        assert "--scheduler excludes" in capsys.readouterr().err


def test_a_network_of_ones_own_reaches_the_workers(
    here: Here, images: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_weights()
    bias = shipped.arrays["first_stage_score.bias"] - 2
    own = replace(shipped, arrays={**shipped.arrays, "first_stage_score.bias": bias}, threshold=0.75)
    (tmp_path / "own.npz").write_bytes(weights_bytes(own))
    find_overlaps(images, out=tmp_path / "local", tile_size=64, report=False, weights=own)
    tables = table_bytes(tmp_path / "local")
    assert tables["overlaps.csv"] != expected["overlaps.csv"]
    command = ["find", str(images), "--tile-size", "64", "--no-report", "--scheduler", "tcp://a:8786"]
    out = tmp_path / "out"
    assert main([*command, "--out", str(out), "--weights", str(tmp_path / "own.npz")]) == 0
    assert table_bytes(out) == tables
    run = json.loads((out / "run.json").read_text())
    assert run["options"]["weights"] == str(tmp_path / "own.npz")
    local = json.loads((tmp_path / "local" / "run.json").read_text())
    assert local["options"]["weights"] == "given as arrays"
    assert local["versions"]["weights"] == run["versions"]["weights"]

    monkeypatch.setattr("dupnet.cluster.sharded_index.share_weights", lambda *_: None)
    monkeypatch.setattr("dupnet.cluster.run.share_weights", lambda *_: None)
    other = replace(own, threshold=0.8)
    with pytest.raises(ValueError, match="A worker has another version of dupnet"):
        find_on_cluster(images, "", out=tmp_path / "other", tile_size=64, report=False, weights=other)


def test_a_store_that_is_no_disk(
    here: Here, images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    store = fsspec.filesystem("memory")
    for path in images.iterdir():
        store.pipe_file(f"/sharded/images/{path.name}", path.read_bytes())
    find_on_cluster("memory://sharded/images", "", out="memory://sharded/out", tile_size=64, images_a_task=7)
    assert {name: store.cat_file(f"/sharded/out/{name}") for name in TABLES} == expected
    out = Folder("memory://sharded/out")
    assert {"run.json", "report.html"} <= out.files().keys()
    assert "lease.json" not in out.folder("cache").files()
    find_overlaps(images, out=tmp_path, tile_size=64)
    mosaics = sorted(os.listdir(tmp_path / "mosaics"))
    assert mosaics
    out.write("mosaics/999999.jpg", b"of a group that is no more")
    find_on_cluster("memory://sharded/images", "", out="memory://sharded/out", tile_size=64, images_a_task=7)
    assert list(out.folder("mosaics").files()) == mosaics
    for name in mosaics:
        assert out.read(f"mosaics/{name}") == (tmp_path / "mosaics" / name).read_bytes()
    # The same pictures; there is no link to an image that is no file.
    local = pictures(tmp_path.joinpath("report.html").read_text())
    assert pictures(out.read("report.html").decode()) == local and len(local) > 10
    find_on_cluster("memory://sharded/images", "", out=out.address, tile_size=64, report=False)
    assert "run.json" in out.files() and "report.html" not in out.files()
    assert not out.folder("mosaics").files()
    with pytest.raises(ValueError, match="not an output folder of `dupnet find`"):
        find_on_cluster("memory://sharded/images", "", out="memory://sharded/images", tile_size=64)
    with pytest.raises(ValueError, match="holds no file"):
        find_on_cluster("memory://sharded/none", "", out="memory://sharded/other", tile_size=64)


def test_added_changed_and_removed_images(here: Here, images: Path, tmp_path: Path) -> None:
    """What is new is described and nothing else; the result is that of a run from scratch."""
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "out"
    first.mkdir()
    second.mkdir()
    names = sorted(path.name for path in images.iterdir() if path.stat().st_size)
    for number, name in enumerate(names):
        shutil.copy2(images / name, (first, second)[number % 2])

    def compare(folder: Path, n_new: int, **options: Any) -> None:
        here.n_run.clear()
        find_on_cluster(folder, "", out=out, tile_size=64, report=False, images_a_task=1, **options)
        assert here.n_run.get("describe", 0) == n_new
        everything = tmp_path / "everything"
        shutil.rmtree(everything, ignore_errors=True)
        everything.mkdir()
        for one in (first, second) if options or second_is_in else (first,):
            shutil.copytree(one, everything, dirs_exist_ok=True)
        shutil.rmtree(tmp_path / "local", ignore_errors=True)
        find_overlaps(everything, out=tmp_path / "local", tile_size=64, report=False)
        assert table_bytes(out) == table_bytes(tmp_path / "local")

    second_is_in = False
    compare(first, 10)
    compare(second, 10, add=True)
    second_is_in = True
    changed, removed = names[0], names[2]
    shutil.copyfile(first / names[4], first / changed)
    os.utime(first / changed, ns=(1, 1))
    (first / removed).unlink()
    compare(first, 1)


def test_against(here: Here, images: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for number, name in enumerate(sorted(os.listdir(images))):
        target = (one, other)[number % 3 == 0]
        target.mkdir(exist_ok=True)
        shutil.copy2(images / name, target)
    find_overlaps(one, out=tmp_path / "local", against=other, tile_size=64, report=False)
    find_on_cluster(
        one,
        "",
        out=tmp_path / "cluster",
        against=other,
        tile_size=64,
        report=False,
        images_a_task=3,
        tiles_a_part=9,
    )
    assert table_bytes(tmp_path / "cluster") == table_bytes(tmp_path / "local")
    assert table_bytes(tmp_path / "local")["overlaps.csv"].count(b"\n") > 10


def test_workers_of_another_version(
    here: Here, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dupnet.cluster import sharded_index

    monkeypatch.setattr(sharded_index, "_shared_weights", lambda store, tiling, code: None)
    with pytest.raises(ValueError, match="another version"):
        find_on_cluster(images, "", out=tmp_path, tile_size=64)


def test_a_shard_that_was_harmed(here: Here, images: Path, tmp_path: Path) -> None:
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False)
    for path in (tmp_path / "cache").glob("shards-*/*.tiles"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="is damaged"):
        find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False)


def test_shards_without_their_last_file_do_not_count(
    here: Here, images: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dupnet.cluster import sharded_index

    monkeypatch.setattr(sharded_index, "IMAGES_AT_A_TIME", 2)  # of a task's four
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False, images_a_task=4)
    (store,) = (tmp_path / "cache").glob("shards-*")
    manifests = sorted(store.glob("*.json"))
    for path in manifests[::2]:
        path.unlink()
    assert len(read_shards(Folder(store))) == len(manifests) // 2
    of_another_version = shutil.copytree(store, store.with_name("shards-0123"))
    with pytest.warns(UserWarning, match="described again"):
        find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False, images_a_task=4)
    assert table_bytes(tmp_path) == expected
    assert not of_another_version.exists()


def test_the_report_of_images_held_against_a_store(here: Here, images: Path, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for number, path in enumerate(sorted(images.iterdir())):
        if path.stat().st_size:
            store.pipe_file(f"/held/{('one', 'other')[number % 3 == 0]}/{path.name}", path.read_bytes())
    out = tmp_path / "out"
    find_on_cluster("memory://held/one", "", out=out, against="memory://held/other", tile_size=64)
    report = (out / "report.html").read_text()
    assert len(pictures(report)) > 10
    assert "other/" in report


def test_the_second_run_on_a_store_stops(here: Here, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupnet.files.leases.RENEWED_EVERY", 0.05)
    store = fsspec.filesystem("memory")
    for path in images.iterdir():
        store.pipe_file(f"/second/images/{path.name}", path.read_bytes())
    out = Folder("memory://second/out")
    with leased(out.folder("cache"), 0.05):
        with pytest.raises(BlockingIOError, match=rf"at work in .*process {os.getpid()} of "):
            find_on_cluster("memory://second/images", "", out=out.address, tile_size=64)
        assert not out.files()
    find_on_cluster("memory://second/images", "", out=out.address, tile_size=64, report=False)
    assert "overlaps.csv" in out.files()


def test_the_last_line_names_the_report_where_it_is(
    here: Here, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = fsspec.filesystem("memory")
    for path in images.iterdir():
        store.pipe_file(f"/line/images/{path.name}", path.read_bytes())
    options = [
        "find",
        "memory://line/images",
        "--scheduler",
        "tcp://somewhere:1",
        "--tile-size",
        "64",
        "--quiet",
    ]
    for more, name in (([], "report.html"), (["--no-report"], "overlaps.csv")):
        assert main([*options, "--out", "memory://line/out/", *more]) == 0
        assert capsys.readouterr().out.endswith(f"Results: memory://line/out/{name}\n")
        assert name in Folder("memory://line/out").files()
