"""``python -m benchmarks.scaling IMAGES``: rates of the tasks of a cluster, the cost model, and its check.

Times every kind of work alone, in seconds of processor time (so that other work on the machine does not
count): the tasks, the start of a worker, what a worker spends on a task besides it and on waiting, and the
client. From these rates the model says what a collection costs. Then IMAGES is searched by hashing on real
clusters of worker processes on this machine, whose time is held against the model. Writes
``scaling_rates.csv``, ``scaling_check.csv`` and ``scaling_model.csv``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import psutil
from distributed import Client, LocalCluster

from dupnet.cluster import run as cluster_run
from dupnet.cluster import sharded_index, sharded_search
from dupnet.cluster.distributed import IMAGES_A_TASK, TILES_A_PART, find_on_cluster
from dupnet.cluster.kinds import Tiles
from dupnet.cluster.sharded_index import code_of, list_folder
from dupnet.cluster.shards import packed, read_shards
from dupnet.files.atomic import write_csv
from dupnet.files.storage import Folder
from dupnet.find.hash_tables import N_PROBES, N_TABLES
from dupnet.find.scoring import PAIRS_AT_A_TIME
from dupnet.find.tile_index import Tiling
from dupnet.network.descriptors import load_weights
from dupnet.network.filters import SEARCH_BYTES

RESULTS = Path(__file__).parents[1] / "results"

TILES = 9
"""Of an image of 768 px."""

IMAGES_OF_A_CHECK, PARTS_OF_A_CHECK = 64, 16
"""Images of a describing task, and parts, of the runs that are held against the model: enough tasks for 16
workers."""

UNITS = {
    "describe an image": (1e3, "ms"),
    "hash a tile": (1e6, "µs"),
    "search, a tile of the two parts of a task": (1e6, "µs"),
    "score a pair of tiles": (1e6, "µs"),
    "start a worker": (1, "s"),
    "a task, beside its work": (1e3, "ms"),
    "a worker that waits, a second": (1e3, "ms"),
    "client and scheduler, an image": (1e3, "ms"),
    "shards, an image": (1e-3, "kB"),
    "JPEG, an image": (1e-3, "kB"),
    "memory of a worker after it": (1e-9, "GB"),
}
"""Rates, and the unit in which each is written down: factor and name."""

Rates = dict[str, float]


def main() -> None:
    """Measure, check, and write the model down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", metavar="IMAGES", help="a folder of at least a thousand images")
    parser.add_argument("--tiles", type=int, default=TILES_A_PART, help="tiles of a part that is timed")
    parser.add_argument(
        "--runs",
        metavar="IMAGES:WORKERS",
        nargs="+",
        default=["1000:1", "1000:2"],
        help="the first so many images, on so many workers, to hold against the model",
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rates = measure(Folder(options.images), options.tiles) | measure_workers()
    checked = []
    for run in options.runs:
        n_images, n_workers = (int(number) for number in run.split(":"))
        with first_of(options.images, n_images) as folder:
            checked.append(check(folder, n_workers, rates))
        print(pd.DataFrame(checked[-1:]).round(3).T.to_string(), flush=True)
    table = pd.DataFrame(checked)
    rates["client and scheduler, an image"] = float(
        table["client_processor_seconds"].sum() / table["images"].sum()
    )
    for row in checked:
        row["model_seconds"] += rates["client and scheduler, an image"] * row["images"]
        row["model_of_seconds"] = row["model_seconds"] / row["seconds"]
    write_csv(pd.DataFrame(checked).round(3), options.out / "scaling_check.csv")
    table = pd.DataFrame(
        [(rate, value * UNITS[rate][0], UNITS[rate][1]) for rate, value in rates.items()],
        columns=["rate", "value", "unit"],
    )
    write_csv(
        table.assign(value=table["value"].map(lambda value: float(f"{value:.4g}"))),
        options.out / "scaling_rates.csv",
    )
    print(table.to_string(index=False))
    pairs_an_image = float(checked[-1]["pairs_an_image"])
    rows = [(192_556, n) for n in (1, 4, 16)] + [(10_000_000, 256), (1_000_000_000, 4096)]
    model = pd.DataFrame([cost(images, workers, pairs_an_image, rates) for images, workers in rows])
    write_csv(model.round(3), options.out / "scaling_model.csv")
    print(model.round(2).T.to_string())


@contextmanager
def first_of(folder: str, n: int) -> Iterator[str]:
    """A folder of links to the first images of another."""
    with TemporaryDirectory(prefix="dupnet-") as links:
        for path in islice(sorted(Path(folder).resolve().iterdir()), n):
            os.symlink(path, Path(links) / path.name)
        yield links


def processor_time(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of processor time of a call, with what the process does beside it meanwhile."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def memory() -> float:
    """Bytes of memory of this process."""
    return float(psutil.Process().memory_info().rss)


def measure(images: Folder, n_tiles: int) -> Rates:
    """Seconds of one core, and bytes, of every kind of work that a task does, on a worker.

    On a worker the same work costs about twice what it costs elsewhere: Dask's own threads are part of it.
    """
    tiling = Tiling(256, 256)
    code = code_of(Tiles(tiling), load_weights())
    rng = np.random.default_rng(0)
    with (
        TemporaryDirectory(prefix="dupnet-") as work,
        workers_of(1) as (address, _),
        Client(address) as client,
    ):

        def timed(task: Callable[..., Any], *arguments: Any) -> float:
            return float(client.submit(processor_time, task, *arguments, pure=False).result())

        store = Folder(work).folder("shards")
        batch = dict(list(list_folder(images).items())[:IMAGES_A_TASK])
        client.submit(_start, code).result()
        describe = timed(sharded_index._describe_task, store.address, batch, Tiles(tiling), code)
        stored = sum(identity.size for identity in store.files().values())
        shard = read_shards(store)[0]

        row = rng.integers(shard.n_rows, size=2048)
        task = (store.address, [shard.key], np.zeros(2048, np.int64), row, np.arange(2048).reshape(2, -1))
        timed(cluster_run._score_task, *task, Tiles(tiling), code)
        score = np.mean([timed(cluster_run._score_task, *task, Tiles(tiling), code) for _ in range(5)])

        folder = Folder(work).folder("search")
        for part in range(2):
            _write_part(store, folder, part, n_tiles, rng)
            hashed = timed(sharded_search._hash_task, store.address, folder.address, part)
        search = timed(sharded_search._search_task, store.address, folder.address, 0, 1, 0.6, False)
        after = client.submit(memory, pure=False).result()
    sizes = [image.identity.size for image in batch.values() if image.identity]
    return {
        "describe an image": describe / len(batch),
        "hash a tile": hashed / n_tiles,
        "search, a tile of the two parts of a task": search / (2 * n_tiles),
        "score a pair of tiles": float(score) / 1024,
        "shards, an image": stored / len(batch),
        "JPEG, an image": float(np.mean(sizes)),
        "memory of a worker after it": after,
    }


def _write_part(store: Folder, folder: Folder, part: int, n_tiles: int, rng: np.random.Generator) -> None:
    """A part of a search whose descriptors are random: nothing in it is alike."""
    descriptors = rng.standard_normal((n_tiles, SEARCH_BYTES))
    descriptors *= 127 / np.linalg.norm(descriptors, axis=1, keepdims=True)
    store.write(f"random{part}.search", np.rint(descriptors).astype(np.int8).tobytes())
    part_file = packed(
        number=np.arange(part * n_tiles, (part + 1) * n_tiles),
        keys=np.array([f"random{part}"]),
        shard=np.zeros(n_tiles, np.int64),
        row=np.arange(n_tiles),
    )
    folder.write(f"part-{part}.npz", part_file)


@contextmanager
def workers_of(n_workers: int) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A cluster of worker processes on this machine: its address, and the processes."""
    with LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster:
        children = psutil.Process().children(recursive=True)
        workers = [child for child in children if "spawn" in " ".join(child.cmdline())]
        yield cluster.scheduler_address, workers


def spent_by(workers: list[psutil.Process]) -> float:
    """Seconds of processor time that processes have taken so far."""
    return float(sum(sum(worker.cpu_times()[:2]) for worker in workers))


def _start(code: str) -> None:
    sharded_index.worker_weights(Tiles(Tiling(256, 256)), code)


def _nothing(number: int) -> int:
    return number


def measure_workers(n_tasks: int = 500, wait: float = 15.0) -> Rates:
    """Seconds of processor time that a worker takes besides the work of its tasks."""
    code = code_of(Tiles(Tiling(256, 256)), load_weights())
    with workers_of(1) as (address, workers), Client(address) as client:
        time.sleep(2)
        before = spent_by(workers)
        client.submit(_start, code).result()
        started = spent_by(workers) - before
        time.sleep(1)
        before = spent_by(workers)
        time.sleep(wait)
        waiting = (spent_by(workers) - before) / wait
        before, begin = spent_by(workers), time.perf_counter()
        client.gather(client.map(_nothing, range(n_tasks), pure=False))
        spent = spent_by(workers) - before - waiting * (time.perf_counter() - begin)
    return {
        "start a worker": started,
        "a task, beside its work": max(spent, 0.0) / n_tasks,
        "a worker that waits, a second": waiting,
    }


def work(
    n_images: int, n_tiles: int, n_pairs: float, images_a_task: int, tiles_a_part: int, rates: Rates
) -> dict[str, dict[str, float]]:
    """The model: ``tasks`` of every step, and their ``seconds`` of processor time.

    ``n_tiles`` are different from one another and searched by hashing, in parts of ``tiles_a_part``.
    """
    n_parts = -(-n_tiles // tiles_a_part)
    tasks = {
        "describe": -(-n_images // images_a_task),
        "hash": n_parts,
        "search": n_parts * (n_parts + 1) // 2,
        "verify": int(n_pairs) // PAIRS_AT_A_TIME + 1,
    }
    # A part with itself has half the tiles of one with another.
    searched = n_parts * n_tiles
    seconds = {
        "describe": n_images * rates["describe an image"],
        "hash": n_tiles * rates["hash a tile"],
        "search": searched * rates["search, a tile of the two parts of a task"],
        "verify": n_pairs * rates["score a pair of tiles"],
        "tasks": sum(tasks.values()) * rates["a task, beside its work"],
    }
    return {"tasks": tasks, "seconds": seconds}


def check(images: str, n_workers: int, rates: Rates) -> dict[str, float]:
    """A run on a real cluster: its seconds, and the workers' processor time, beside what the model says; but
    for the client's part of ``model_seconds``."""
    scored: list[int] = []
    score = cluster_run._scores

    def counted(*arguments: Any) -> Any:
        scored.extend(portion.shape[1] for portion in arguments[-1])
        return score(*arguments)

    tiles_a_part = -(-len(list_folder(Folder(images))) * TILES // PARTS_OF_A_CHECK)
    with (
        TemporaryDirectory(prefix="dupnet-") as out,
        workers_of(n_workers) as (address, workers),
        patch.object(cluster_run, "_scores", counted),
    ):
        before, client_before, start = spent_by(workers), time.process_time(), time.perf_counter()
        result = find_on_cluster(
            images,
            address,
            out=out,
            grid=256,
            report=False,
            images_a_task=IMAGES_OF_A_CHECK,
            tiles_a_part=tiles_a_part,
            exact_up_to=0,
        )
        seconds = time.perf_counter() - start
        spent, client = spent_by(workers) - before, time.process_time() - client_before
        memory = max(worker.memory_info().rss for worker in workers) / 1e9
    n_images, n_tiles = result.counts["images"], result.counts["tiles"]
    n_searched = n_tiles - result.counts["tiles_undecidable"] - result.counts["tiles_equal"]
    parts = work(n_images, n_searched, sum(scored), IMAGES_OF_A_CHECK, tiles_a_part, rates)["seconds"]
    parts["start"] = n_workers * rates["start a worker"]
    busy = sum(parts.values())
    parts["waiting"] = max(n_workers * seconds - busy, 0.0) * rates["a worker that waits, a second"]
    return {
        "images": n_images,
        "workers": n_workers,
        "seconds": seconds,
        "model_seconds": busy / n_workers,
        "processor_seconds": spent,
        "model_processor_seconds": sum(parts.values()),
        "model_of_measured": sum(parts.values()) / spent,
        **{f"model_{name}": value for name, value in parts.items()},
        "client_processor_seconds": client,
        "pairs_an_image": sum(scored) / n_images,
        "worker_gigabytes": memory,
    }


def cost(n_images: int, n_workers: int, pairs_an_image: float, rates: Rates) -> dict[str, float]:
    """What the model says of a collection: tasks, bytes and hours, one core a worker."""
    found = work(n_images, n_images * TILES, n_images * pairs_an_image, IMAGES_A_TASK, TILES_A_PART, rates)
    tasks, seconds = found["tasks"], found["seconds"]
    beside = seconds.pop("tasks") + n_workers * rates["start a worker"]
    core_hours = (sum(seconds.values()) + beside) / 3600
    client = n_images * rates["client and scheduler, an image"] / 3600
    bytes_a_tile = SEARCH_BYTES + N_TABLES * N_PROBES * 2
    return {
        "images": n_images,
        "workers": n_workers,
        **{f"{step}_tasks": number for step, number in tasks.items()},
        **{f"{step}_hours": value / 3600 / n_workers for step, value in seconds.items()},
        "beside_hours": beside / 3600 / n_workers,
        "client_hours": client,
        "hours": core_hours / n_workers + client,
        "core_hours": core_hours,
        "read_gigabytes": n_images * rates["JPEG, an image"] / 1e9,
        "stored_gigabytes": n_images * rates["shards, an image"] / 1e9,
        "hashed_gigabytes": n_images * TILES * N_TABLES * N_PROBES * 2 / 1e9,
        "search_read_gigabytes": tasks["hash"] * n_images * TILES * bytes_a_tile / 1e9,
    }


if __name__ == "__main__":
    main()
