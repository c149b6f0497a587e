"""The tasks of a cluster, run here one by one: shards, parts and stores give what one machine finds."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from test_find import TABLES, acquisition, table_bytes

from dupnet import distributed
from dupnet.cli import main
from dupnet.cluster import Cluster
from dupnet.distributed import find_on_cluster
from dupnet.find import find_overlaps
from dupnet.leases import leased
from dupnet.scenes import cut_collection
from dupnet.search import candidates
from dupnet.sharded_search import Search
from dupnet.shards import TILES, Places, Shard, read_shards
from dupnet.storage import Folder


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
    here: Here, images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    find_overlaps(images, out=tmp_path, tile_size=64, scheduler="tcp://somewhere:8786")
    assert table_bytes(tmp_path) == expected
    assert (tmp_path / "report.html").exists()
    with pytest.raises(ValueError, match="scheduler needs out"):
        find_overlaps(images, scheduler="tcp://somewhere:8786")


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
    assert out.read("report.html") == (tmp_path / "report.html").read_bytes()
    find_on_cluster("memory://sharded/images", "", out=out.address, tile_size=64, report=False)
    assert "run.json" in out.files() and "report.html" not in out.files()
    assert not out.folder("mosaics").files()
    with pytest.raises(ValueError, match="none of `dupnet find`"):
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


def clustered(n: int, seed: int) -> np.ndarray:
    """Descriptors (n, 256) int8 of which many are alike, some equal, some nought, and 100 in one crowd."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n // 4, 256))
    vectors = base[rng.integers(len(base), size=n)] + 0.6 * rng.standard_normal((n, 256))
    vectors[:100] = base[0] + 0.2 * rng.standard_normal((100, 256))
    vectors *= 127 / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = np.rint(vectors).astype(np.int8)
    found[rng.integers(n, size=n // 10)] = found[rng.integers(n, size=n // 10)]
    found[rng.integers(n, size=n // 50)] = 0
    return found[rng.permutation(n)]


@pytest.mark.parametrize("exact_up_to", [0, 10**9])
@pytest.mark.parametrize("sided", [False, True])
def test_search_over_parts_is_the_search(exact_up_to: int, sided: bool, tmp_path: Path) -> None:
    """Every pair, crowd and equal set as in one search, though images of all shards are interleaved."""
    import hashlib

    n_images, n_tiles, n_shards = 120, 9, 7
    descriptors = clustered(n_images * n_tiles, seed=exact_up_to % 7)
    rng = np.random.default_rng(1)
    is_against = rng.random(n_images) < 0.4 if sided else None
    shard_of = rng.integers(n_shards - 2, size=n_images)
    if is_against is not None:
        shard_of = np.where(is_against, n_shards - 2 + shard_of % 2, shard_of)
    decidable = rng.random(n_images * n_tiles) < 0.95
    store = Folder(tmp_path)
    first_row = np.zeros(n_images, np.int64)
    shards = []
    for number in range(n_shards):
        members = rng.permutation(np.flatnonzero(shard_of == number))
        first_row[members] = np.arange(len(members)) * n_tiles
        rows = (members[:, None] * n_tiles + np.arange(n_tiles)).reshape(-1)
        tiles = np.zeros(len(rows), TILES)
        for at, row in enumerate(descriptors[rows]):
            tiles["digest"][at] = np.frombuffer(
                hashlib.blake2b(row.tobytes(), digest_size=16).digest(), "<u8"
            )
        tiles["decidable"], tiles["searched"] = decidable[rows], descriptors[rows].any(axis=1)
        store.write(f"{number}.tiles", tiles.tobytes())
        store.write(f"{number}.search", descriptors[rows].tobytes())
        shards.append(Shard(str(number), {}, len(rows)))
    search = Search(store, Places(shards, shard_of, first_row), n_tiles, is_against)
    found = search.run(Here(), store.folder("cache"), 0.6, exact_up_to, 150)  # type: ignore[arg-type]
    sides = None if is_against is None else np.repeat(is_against, n_tiles)
    whole = candidates(descriptors, decidable, 0.6, sides=sides, exact_up_to=exact_up_to, workers=1)
    assert len(whole.rows1) > 1000
    for name, one, other in zip(whole._fields, found, whole, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_workers_of_another_version(
    here: Here, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dupnet import sharded_index

    monkeypatch.setattr(sharded_index, "_own_code", lambda tiling: "another")
    with pytest.raises(ValueError, match="another version"):
        find_on_cluster(images, "", out=tmp_path, tile_size=64)


def test_a_shard_that_was_harmed(here: Here, images: Path, tmp_path: Path) -> None:
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False)
    for path in (tmp_path / "cache").glob("shards-*/*.tiles"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="is damaged"):
        find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False)


def test_shards_without_their_last_file_do_not_count(
    here: Here, images: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False, images_a_task=4)
    (store,) = (tmp_path / "cache").glob("shards-*")
    manifests = sorted(store.glob("*.json"))
    for path in manifests[::2]:
        path.unlink()
    assert len(read_shards(Folder(store))) == len(manifests) // 2
    find_on_cluster(images, "", out=tmp_path, tile_size=64, report=False, images_a_task=4)
    assert table_bytes(tmp_path) == expected


@pytest.mark.parametrize(
    "address", ["", "foo", ":8786", "tcp://foo", "foo:port", "foo:99999", "foo://foo:8786", "tcp://foo:80/x"]
)
def test_what_is_no_address_is_refused_before_a_client_is_made(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("a client was made"))
    with pytest.raises(ValueError, match=rf"^'{re.escape(address)}' is no address.*--scheduler"):
        Cluster(address).__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "tcp://127.0.0.1:9", "tcp://[::1]:9"])
def test_addresses_of_either_kind_are_tried(address: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(OSError, match="dask scheduler"), Cluster(address, patience=0.1):
        pass


def test_the_report_of_images_held_against_a_store(here: Here, images: Path, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for number, path in enumerate(sorted(images.iterdir())):
        if path.stat().st_size:
            store.pipe_file(f"/held/{('one', 'other')[number % 3 == 0]}/{path.name}", path.read_bytes())
    out = tmp_path / "out"
    find_on_cluster("memory://held/one", "", out=out, against="memory://held/other", tile_size=64)
    report = (out / "report.html").read_text()
    assert report.count("data:image/webp") > 10
    assert "other/" in report


def test_the_second_run_on_a_store_stops(here: Here, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dupnet.leases.RENEWED_EVERY", 0.05)
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
