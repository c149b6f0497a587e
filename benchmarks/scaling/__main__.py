"""``python -m benchmarks.scaling IMAGES``: rates of the tasks of a cluster, the cost model, and its check.

Times every kind of task alone, in seconds of one core (of processor time, so that other work on the machine
does not count). From these rates the model says what a collection costs. Then IMAGES is searched on real
clusters of one and two worker processes, whose processor time is held against the model. Writes
``scaling_rates.csv``, ``scaling_check.csv`` and ``scaling_model.csv`` into ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import psutil
from distributed import LocalCluster

from dupnet import distributed, sharded_index, sharded_search
from dupnet.descriptors import SEARCH_BYTES, load_weights
from dupnet.distributed import IMAGES_A_TASK, TILES_A_PART, find_on_cluster
from dupnet.files import write_csv
from dupnet.indexing import Tiling
from dupnet.sharded_index import code_of, list_folder
from dupnet.shards import read_shards
from dupnet.storage import Folder

RESULTS = Path(__file__).parents[1] / "results"
TILES = 9
"""Of an image of 768 px."""


def main() -> None:
    """Measure, check, and write the model down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", metavar="IMAGES", help="a folder of at least a few hundred images")
    parser.add_argument("--tiles", type=int, default=TILES_A_PART, help="tiles of a part that is timed")
    options = parser.parse_args()
    rates = measure(Folder(options.images), options.tiles)
    write_csv(pd.DataFrame(rates.items(), columns=["rate", "value"]), RESULTS / "scaling_rates.csv")
    print(pd.Series(rates).to_string())
    checked = pd.DataFrame([check(options.images, n, rates) for n in (1, 2)])
    write_csv(checked.round(3), RESULTS / "scaling_check.csv")
    print(checked.round(3).to_string(index=False))
    rates["pairs_an_image"] = float(checked["pairs_an_image"].iloc[0])
    rows = [(192_556, n) for n in (1, 4, 16)] + [(10_000_000, 256), (1_000_000_000, 4096)]
    model = pd.DataFrame([cost(images, workers, rates) for images, workers in rows])
    write_csv(model.round(3), RESULTS / "scaling_model.csv")
    print(model.round(2).to_string(index=False))


def processor_time(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of processor time of a call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def measure(images: Folder, n_tiles: int) -> dict[str, float]:
    """Seconds of one core, and bytes, of every kind of work."""
    tiling = Tiling(256, 256)
    weights = load_weights()
    code = code_of(tiling, weights)
    rng = np.random.default_rng(0)
    with TemporaryDirectory(prefix="dupnet-") as work:
        store = Folder(work).folder("shards")
        batch = dict(list(list_folder(images).items())[:IMAGES_A_TASK])
        sharded_index.worker_weights(tiling, code)
        describe = processor_time(sharded_index._describe_task, store.address, batch, tiling, code)
        stored = sum(identity.size for identity in store.files().values())
        shard = read_shards(store)[0]

        row = rng.integers(shard.n_rows, size=2048)
        task = (store.address, [shard.key], np.zeros(2048, np.int64), row, np.arange(2048).reshape(2, -1))
        score = processor_time(distributed._score_task, *task, tiling, code)

        folder = Folder(work).folder("search")
        for part in range(2):
            descriptors = rng.standard_normal((n_tiles, SEARCH_BYTES))
            descriptors *= 127 / np.linalg.norm(descriptors, axis=1, keepdims=True)
            store.write(f"random{part}.search", np.rint(descriptors).astype(np.int8).tobytes())
            part_file = sharded_search._packed(
                number=np.arange(part * n_tiles, (part + 1) * n_tiles),
                keys=np.array([f"random{part}"]),
                shard=np.zeros(n_tiles, np.int64),
                row=np.arange(n_tiles),
            )
            folder.write(f"part-{part}.npz", part_file)
        search = processor_time(sharded_search._search_task, store.address, folder.address, 0, 1, 0.6, False)
    return {
        "describe_seconds_an_image": describe / len(batch),
        "stored_bytes_an_image": stored / len(batch),
        "read_bytes_an_image": float(
            np.mean([image.identity.size for image in batch.values() if image.identity])
        ),
        "hashed_search_seconds_a_tile_of_two_parts": search / (2 * n_tiles),
        "score_seconds_a_pair": score / 1024,
        "memory_gigabytes_of_a_search_task": psutil.Process().memory_info().rss / 1e9,
    }


def check(images: str, n_workers: int, rates: dict[str, float]) -> dict[str, float]:
    """A run on a real cluster: the workers' processor time beside what the model says."""
    scored: list[int] = []
    count = distributed._Score._task

    def counted(self: Any, rows: Any) -> Any:
        scored.append(rows.shape[1])
        return count(self, rows)

    distributed._Score._task = counted  # type: ignore[method-assign]
    with (
        TemporaryDirectory(prefix="dupnet-") as out,
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        workers = [
            child
            for child in psutil.Process().children(recursive=True)
            if "spawn" in " ".join(child.cmdline())
        ]
        before = sum(sum(worker.cpu_times()[:2]) for worker in workers)
        start = time.perf_counter()
        result = find_on_cluster(images, cluster.scheduler_address, out=out, report=False, images_a_task=64)
        seconds = time.perf_counter() - start
        spent = sum(sum(worker.cpu_times()[:2]) for worker in workers) - before
        memory = max(worker.memory_info().rss for worker in workers) / 1e9
    distributed._Score._task = count  # type: ignore[method-assign]
    n_images = result.counts["images"]
    predicted = n_images * rates["describe_seconds_an_image"] + sum(scored) * rates["score_seconds_a_pair"]
    return {
        "images": n_images,
        "workers": n_workers,
        "seconds": seconds,
        "processor_seconds": spent,
        "model_processor_seconds": predicted,
        "model_of_measured": predicted / spent,
        "pairs_an_image": sum(scored) / n_images,
        "worker_gigabytes": memory,
    }


def cost(n_images: int, n_workers: int, rates: dict[str, float]) -> dict[str, float]:
    """The model: tasks, bytes and hours of a collection, one core a worker, everything hashed."""
    parts = -(-n_images * TILES // TILES_A_PART)
    pairs = parts * (parts + 1) // 2
    describe = n_images * rates["describe_seconds_an_image"]
    search = pairs * 2 * TILES_A_PART * rates["hashed_search_seconds_a_tile_of_two_parts"]
    verify = n_images * rates["pairs_an_image"] * rates["score_seconds_a_pair"]
    return {
        "images": n_images,
        "workers": n_workers,
        "describe_tasks": -(-n_images // IMAGES_A_TASK),
        "search_tasks": pairs,
        "verify_tasks": int(n_images * rates["pairs_an_image"]) // 1024 + 1,
        "describe_hours": describe / n_workers / 3600,
        "search_hours": search / n_workers / 3600,
        "verify_hours": verify / n_workers / 3600,
        "hours": (describe + search + verify) / n_workers / 3600,
        "read_gigabytes": n_images * rates["read_bytes_an_image"] / 1e9,
        "stored_gigabytes": n_images * rates["stored_bytes_an_image"] / 1e9,
        "search_read_gigabytes": pairs * 2 * TILES_A_PART * SEARCH_BYTES / 1e9,
    }


if __name__ == "__main__":
    main()
