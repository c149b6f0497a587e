"""``python -m benchmarks.scaling.crowds [KIND=N ...]``: large folders, in bounded memory.

``copies``: one image, each saved with a gain, an offset and a JPEG quality of its own. ``processings``: one
image under five processings, thousands of equal files of each. ``blank``: equal blank chips. ``chips``:
images of 64 to 128 px anywhere in textured ground. All are drawn, none is fetched. Each is searched by a
process of its own; of it ``crowds.csv`` has seconds, processor seconds and peak memory, what was joined and
listed, and how many pairs of the truth are in one group. ``--limit GB``: end a run that holds more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import write_csv
from dupnet.find.results import read_results
from dupnet.images.jpeg import encode_jpeg

SIZES = {"copies": 20_000, "processings": 20_000, "blank": 100_000, "chips": 50_000}
"""Kinds, and their numbers of images by default."""

SIDE = 256
"""Side of a copy in pixels."""

SCENE, CHIPS_A_SCENE = 2048, 500
"""Side of the ground that chips are cut from: one of them shares ground with one or two others."""

WATCHED_EVERY = 0.5
"""Seconds from one look at the memory of a run to the next."""

Pixels = npt.NDArray[np.uint8]

RUN = "import sys; from dupnet.commands.cli import main; sys.exit(main(sys.argv[1:]))"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and search each kind, and keep what it took; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling.crowds", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND=N", help=f"of {', '.join(SIZES)} (default: all)")
    parser.add_argument("--limit", type=float, default=4.0, metavar="GB", help="of a run (default: 4)")
    parser.add_argument("--workers", type=int, default=1, help="threads of a run (default: 1)")
    parser.add_argument("--work", type=Path, default=Path("output/benchmark/crowds"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    wanted = [kind.partition("=")[::2] for kind in options.kinds] or [(kind, "") for kind in SIZES]
    path = options.out / "crowds.csv"
    for kind, number in wanted:
        n_images = int(number or SIZES[kind])
        home = options.work / f"{kind}-{n_images}"
        if not (home / "images").is_dir():
            draw(kind, n_images, home / "drawing")
            (home / "drawing").rename(home / "images")
        row = searched(home, options.limit, options.workers)
        row = {"kind": kind, "images": n_images, "limit_gb": options.limit, **row}
        print(row, flush=True)
        known = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["kind", "images"])
        known = known[(known["kind"] != kind) | (known["images"] != n_images)]
        table = pd.concat([known, pd.DataFrame([row])] if len(known) else [pd.DataFrame([row])])
        write_csv(table.sort_values(["kind", "images"], ignore_index=True), path)
    return 0


def draw(kind: str, n_images: int, folder: Path) -> None:
    """Make the images of one kind."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    if kind == "blank":
        content = encode_jpeg(np.full((64, 64), 255, np.uint8), 95)
        for number in range(n_images):
            (folder / f"{number:06}.jpg").write_bytes(content)
    elif kind in ("copies", "processings"):
        one = ground(SIDE, rng).astype(np.float32)
        n_drawn = n_images if kind == "copies" else 5
        files = []
        for number in range(n_images):
            if number < n_drawn:
                levels = one * rng.uniform(0.85, 1.15) + rng.uniform(-10, 10)
                changed = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
                files.append(encode_jpeg(changed, int(rng.integers(60, 96))))
            content = files[number % n_drawn] if kind == "processings" else files.pop()
            (folder / f"{number:06}.jpg").write_bytes(content)
    elif kind == "chips":
        for number in range(n_images):
            if number % CHIPS_A_SCENE == 0:
                scene = ground(SCENE, rng)
            height, width = rng.integers(64, 129, 2)
            y, x = rng.integers(0, SCENE - height), rng.integers(0, SCENE - width)
            content = encode_jpeg(np.ascontiguousarray(scene[y : y + height, x : x + width]), 95)
            (folder / f"{number // CHIPS_A_SCENE:03}-{y:04}-{x:04}-{height}-{width}.jpg").write_bytes(content)
    else:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(SIZES)}.")


def ground(side: int, rng: np.random.Generator) -> Pixels:
    """Textured ground, (side, side) uint8."""
    fine = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), 1.5)
    coarse = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), 6.0)
    levels = 110 + 18 * fine / fine.std() + 18 * coarse / coarse.std()
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def searched(home: Path, limit: float, workers: int) -> dict[str, object]:
    """Search a folder by a process of its own: what that took, and what it found."""
    out = home / "found"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", RUN, "find", str(home / "images"), "-o", str(out), "-q"]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, held(process.pid))
        if peak > limit * 1024:
            process.kill()
            process.wait()
            return {"seconds": round(time.perf_counter() - start), "peak_mb": round(peak), "ended": "limit"}
        time.sleep(WATCHED_EVERY)
    row = {"seconds": round(time.perf_counter() - start), "peak_mb": round(peak), "ended": "well"}
    if process.returncode:
        return {**row, "ended": f"status {process.returncode}"}
    result = read_results(out)
    groups = dict(result.groups[["image", "group"]].itertuples(index=False, name=None))
    sizes = result.groups["group"].value_counts()
    return {
        **row,
        **{step.replace(" ", "_"): round(seconds, 1) for step, seconds in result.seconds.items()},
        "found": len(result.groups),
        "points": result.counts.get("points", 0),
        "proposals": result.counts.get("proposals", 0),
        "overlaps": len(result.overlaps),
        "groups_of_several": int((sizes > 1).sum()),
        "largest_group": int(sizes.max()),
        "report_mb": round(os.path.getsize(out / "report.html") / 1e6, 1),
        "truth": true_pairs(list(groups), groups),
    }


def true_pairs(images: Sequence[str], groups: dict[str, int], least: int = 64) -> str:
    """Of chips, how many pairs that truly share ``least`` px both ways are in one group, of how many."""
    if not images or images[0].count("-") != 4:
        return ""
    places = np.array([[int(part) for part in name.removesuffix(".jpg").split("-")] for name in images])
    together = n_pairs = 0
    for scene in np.unique(places[:, 0]):
        rows = np.flatnonzero(places[:, 0] == scene)
        y, x, height, width = places[rows, 1:].T
        shared = [
            np.minimum.outer(at + side, at + side) - np.maximum.outer(at, at)
            for at, side in ((y, height), (x, width))
        ]
        first, second = np.nonzero(np.triu(np.minimum(*shared) >= least, 1))
        n_pairs += len(first)
        together += sum(
            groups[images[rows[one]]] == groups[images[rows[two]]]
            for one, two in zip(first, second, strict=True)
        )
    return f"{together} of {n_pairs}"


def held(process: int) -> float:
    """Resident memory of a process in MB; zero where it is gone, or where the system does not tell."""
    try:
        with open(f"/proc/{process}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


if __name__ == "__main__":
    sys.exit(main())
