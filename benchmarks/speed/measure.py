"""One task in a process of its own, so that time and peak memory are its own: prints one line of JSON.
 ``python -m benchmarks.speed.measure TASK ARGUMENTS`` with the tasks ``floor``, ``find``, ``add``,
``imagehash`` and ``search``; ``seconds`` leaves out starting Python and importing, and so does,
of the first two, ``task_cpu_seconds``, their processor time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.usage import cpu_seconds, watched

Measured = dict[str, Any]

THREADS = 2


def floor(folder: str) -> Measured:
    """Decode every JPEG of a folder fully, in colour, with two threads: what no reader can do without."""
    import cv2

    cv2.setNumThreads(1)

    def decode(path: str) -> int:
        return len(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR))

    paths = [entry.path for entry in os.scandir(folder)]
    start, before = time.perf_counter(), cpu_seconds()
    with ThreadPoolExecutor(THREADS) as pool:
        n_rows = sum(pool.map(decode, paths))
    spent = {"seconds": time.perf_counter() - start, "task_cpu_seconds": cpu_seconds() - before}
    return {**spent, "n_images": len(paths), "n_rows": n_rows}


def find(folder: str, out: str, *options: str) -> Measured:
    """All of `dupnet find` but the report, from scratch; options as ``name`` (on) or ``name=number``."""
    from dupnet.find.engine import find_overlaps

    shutil.rmtree(out, ignore_errors=True)
    start, before = time.perf_counter(), cpu_seconds()
    result = find_overlaps(folder, out=out, report=False, workers=THREADS, **_settings(options))
    spent = {"seconds": time.perf_counter() - start, "task_cpu_seconds": cpu_seconds() - before}
    steps = {f"seconds_{step}": round(value, 3) for step, value in result.seconds.items()}
    return {**spent, "n_images": result.counts["images"], **steps}


def add(folder: str, out: str, *options: str) -> Measured:
    """Add a folder of images to the collection that ``out`` holds; options as of :func:`find`."""
    from dupnet.find.engine import find_overlaps

    start = time.perf_counter()
    result = find_overlaps(folder, out=out, report=False, workers=THREADS, add=True, **_settings(options))
    return {"seconds": time.perf_counter() - start, "n_images": result.counts["images"]}


def _settings(options: Sequence[str]) -> dict[str, Any]:
    parts = (option.partition("=") for option in options)
    return {name: int(number) if number else True for name, _, number in parts}


def imagehash(folder: str, pairs: str) -> Measured:
    """pHash of every tile by ``imagehash``, compared with every other: tile rows into ``pairs``."""
    import imagehash as library
    from PIL import Image

    from benchmarks.collections.hashes import _candidates

    def of_image(path: Path) -> list[np.ndarray]:
        image = Image.open(path)
        corners = [(col, row) for row in range(0, image.height, 256) for col in range(0, image.width, 256)]
        crops = (image.crop((left, top, left + 256, top + 256)) for left, top in corners)
        return [np.packbits(library.phash(crop).hash) for crop in crops]

    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        hashes = list(pool.map(of_image, sorted(Path(folder).iterdir())))
    codes = np.concatenate(hashes).view(np.uint64)
    found = list(_candidates(codes, np.ones(len(codes), bool), 4, 144))
    np.save(pairs, np.concatenate([np.stack(rows, axis=1) for rows in found]))
    return {"seconds": time.perf_counter() - start, "n_images": len(hashes)}


def search(index: str, descriptors: str, pairs: str) -> Measured:
    """Search descriptors for pairs of a cosine of 0.6 and more; the rows found go into ``pairs``."""
    from benchmarks.speed import searching

    rows = np.load(descriptors, mmap_mode="r")
    start = time.perf_counter()
    found, counts = searching.INDEXES[index](rows)
    seconds = time.perf_counter() - start
    np.save(pairs, found)
    return {"seconds": seconds, "n_descriptors": len(rows), "n_pairs": len(found), **counts}


TASKS: dict[str, Callable[..., Measured]] = {
    task.__name__: task for task in (floor, find, add, imagehash, search)
}


def measured(task: Sequence[Any], times: int = 1) -> Measured:
    """Run a task so many times, each in a process of its own: the run that took the least processor time,
    which what else the machine does can only lengthen."""
    command = [sys.executable, "-m", "benchmarks.speed.measure", *map(str, task)]
    runs: list[Measured] = []
    for _ in range(times):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return min(runs, key=lambda run: float(run.get("task_cpu_seconds", run["cpu_seconds"])))


def main() -> None:
    """Run the task that the command line names."""
    with watched() as usage:
        found = TASKS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({**found, "cpu_seconds": cpu_seconds(), "peak_mb": usage.peak_mb}))


if __name__ == "__main__":
    main()
