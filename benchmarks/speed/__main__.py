"""``python -m benchmarks.speed [--derna FILE]``: time and memory of `dupnet find`, its search, and peers.

Derna (fetched where it is missing) is cut plain into collections of 1,000, 2,000 and 4,356 images. On each,
in one run: the floor (decode every JPEG in colour with two threads) and `dupnet find` without its report, on
the grid and at any offset, each several times in turn; then what adding a tenth of the images costs on the
grid: ``speed.csv``. Other tools on the smallest collection, with the reason where one was left out:
``speed_peers.csv``. The search alone on synthetic descriptors: ``speed_search.csv``; beside other indexes on
fewer of them: ``speed_indexes.csv``. A size of 0 leaves the file of that part as it is. All that there is
goes into ``speed.md`` and ``speed.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.speed import output, searching
from benchmarks.speed.measure import measured
from benchmarks.speed.peers import NOT_INSTALLED
from dupnet.acquisitions.scenes import cut_collection
from dupnet.acquisitions.sources import fetch_derna, read_acquisition
from dupnet.files.atomic import write_csv
from dupnet.find.tile_overlaps import vote
from dupnet.images.listing import list_images
from dupnet.images.tiles_on_disk import save_tiles
from dupnet.tiles import TILE_SIZE, overlap_at

SIZES = (1000, 2000, 4356)
N_DESCRIPTORS = 1_730_000
"""Tiles of the 192,556 Airbus images."""

N_COMPARED = 200_000
"""Descriptors on which indexes are compared with one another."""

N_EQUAL = 20_000
DESCRIPTOR = 256

PEERS = {"imagededup": "imagededup pHash", "fastdup": "fastdup"}
"""Tools of :mod:`benchmarks.speed.peers`, and what the table calls them."""

PEER_SECONDS = 900
"""Time that one of them is given."""
KEY = ["image1", "image2", "y_offset", "x_offset"]

GRID = f"grid={TILE_SIZE}"
FIND = {output.ON_GRID: [GRID], output.ANYWHERE: []}
"""Ways to search, and the options of each."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n\n")[0])
    parser.add_argument("--derna", type=Path, help="the Derna acquisition (default: fetched into data/raw)")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="images of the collections")
    parser.add_argument("--peers", type=int, default=min(SIZES), help="images for the other tools")
    parser.add_argument("--repeat", type=int, default=3, help="runs of floor and find, in turn")
    parser.add_argument("--descriptors", type=int, default=N_DESCRIPTORS, help="for the search alone")
    parser.add_argument("--compared", type=int, default=N_COMPARED, help="to compare indexes on")
    parser.add_argument(
        "--peer-python",
        nargs="+",
        default=[sys.executable],
        metavar="PYTHON",
        help="interpreters, of which one has imagededup and one fastdup (see benchmarks/speed/peers.py)",
    )
    parser.add_argument("--work", type=Path, default=Path("output/benchmark/speed"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)

    if options.descriptors:
        search = run_search(
            options.work, options.descriptors, min(N_EQUAL, options.descriptors // 10), ["dupnet"]
        )
        write_csv(search, options.out / "speed_search.csv")
    if options.compared:
        indexes = run_search(options.work, options.compared, 0, list(searching.INDEXES)[1:])
        write_csv(indexes, options.out / "speed_indexes.csv")
    if any(options.sizes):
        write_csv(run_find(options), options.out / "speed.csv")
    if options.peers:
        write_csv(run_peers(options), options.out / "speed_peers.csv")
    output.write(options.out)
    print((options.out / "speed.md").read_text())
    return 0


def run_find(options: argparse.Namespace) -> pd.DataFrame:
    """Floor, find and add: ``method, n_images, run, seconds, cpu_seconds, peak_mb, recall, false``."""
    rows: list[dict[str, Any]] = []
    for n_images in options.sizes:
        home = cut(n_images, options)
        images, found = home / "images", home / "found"
        for _ in map(Path.read_bytes, images.iterdir()):  # from memory, for all alike
            pass
        for run in range(options.repeat):
            rows.append({"method": "floor", "run": run, **measured(["floor", images])})
            for method, settings in FIND.items():
                row = measured(["find", images, found, *settings])
                row |= against_truth(found / "overlaps.csv", home / "truth.csv")
                rows.append({"method": method, "run": run, **row})
                print(f"{n_images} images, {method}: {row['seconds']:.2f} s", flush=True)
        rows.append({"method": output.ADD, "run": 0, **add_a_tenth(images, options.work)})
    return pd.DataFrame(rows)


def cut(n_images: int, options: argparse.Namespace) -> Path:
    """The folder of a collection of so many images, cut now unless it is there."""
    home: Path = options.work / f"derna-{n_images}"
    if not (home / "truth.csv").exists():
        acquisition = read_acquisition(options.derna or fetch_derna("data/raw", print))
        shutil.rmtree(home, ignore_errors=True)
        cut_collection(acquisition, home, n_images=n_images, progress=True)
    return home


def add_a_tenth(images: Path, work: Path) -> dict[str, Any]:
    """Find all but a tenth of the images on the grid, then measure adding the rest."""
    parts = [work / "most", work / "rest"]
    for part in (*parts, work / "most-found"):
        shutil.rmtree(part, ignore_errors=True)
    for number, file in enumerate(sorted(images.iterdir())):
        part = parts[number % 10 == 0]
        part.mkdir(exist_ok=True)
        os.link(file, part / file.name)
    measured(["find", parts[0], work / "most-found", GRID])
    return measured(["add", parts[1], work / "most-found", GRID])


class LeftOut(Exception):
    """A tool was not run, or not to its end; the message says why."""


def run_peers(options: argparse.Namespace) -> pd.DataFrame:
    """`find` and other tools: time, memory, recall and false overlaps, or why one was left out."""
    home = cut(options.peers, options)
    images, found, pairs = home / "images", home / "found", home / "pairs.npy"
    row = measured(["find", images, found, GRID])
    rows = [{"method": output.ON_GRID, **row, **against_truth(found / "overlaps.csv", home / "truth.csv")}]
    row = measured(["imagehash", images, pairs])
    counts = overlaps_of(np.load(pairs), list_images(images), home)
    rows.append({"method": "imagehash pHash, every pair of tiles", **row, **counts})
    save_tiles(images, home / "tiles", progress=True)
    for tool, method in PEERS.items():
        try:
            rows.append({"method": method, **peer(tool, images, home, options.peer_python)})
        except LeftOut as reason:
            rows.append({"method": method, "left_out": str(reason)})
        print(f"{method}: {rows[-1].get('left_out') or rows[-1]['seconds']}", flush=True)
    columns = ["method", "n_images", "seconds", "cpu_seconds", "peak_mb", "overlaps", "recall", "false"]
    return pd.DataFrame(rows, columns=[*columns, "left_out"])


def peer(tool: str, images: Path, home: Path, interpreters: list[str]) -> dict[str, Any]:
    """Another tool on the tiles of a collection; an overlap counts as found if all its tiles are."""
    names, pairs = list_images(images), home / f"{tool}.csv"
    script = Path(__file__).with_name("peers.py")
    for interpreter in interpreters:
        command = [interpreter, str(script), tool, str(home / "tiles"), str(pairs)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_SECONDS)
        except subprocess.TimeoutExpired:
            raise LeftOut(f"not done after {PEER_SECONDS} s") from None
        if done.returncode == 0:
            break
        if done.returncode != NOT_INSTALLED:
            raise LeftOut(f"stopped with {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    else:
        raise LeftOut("not installed in an interpreter that --peer-python names")
    stems = {Path(name).stem: number for number, name in enumerate(names)}
    found = pd.read_csv(pairs, header=None, names=["one", "two"])
    tile_rows = [
        [stems[stem] * 9 + int(tile) for stem, tile in (file[:-4].rsplit("_", 1) for file in found[column])]
        for column in found
    ]
    row = {"n_images": len(names), **json.loads(done.stdout.splitlines()[-1])}
    return row | overlaps_of(np.array(tile_rows, np.int64).T, names, home)


def overlaps_of(pairs: np.ndarray, names: list[str], home: Path) -> dict[str, Any]:
    """Counts of the overlaps all of whose tiles are among the pairs of tile rows (n, 2)."""
    votes = vote(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)))
    offsets = votes[["y_offset", "x_offset"]].to_numpy() // TILE_SIZE
    n_tiles = [overlap_at(row, col).n_tiles for row, col in offsets.tolist()]
    found = votes[votes["n_votes"] == n_tiles]
    table = found.assign(image1=np.array(names)[found["image1"]], image2=np.array(names)[found["image2"]])
    write_csv(table.assign(verdict="duplicate"), home / "peer.csv")
    return against_truth(home / "peer.csv", home / "truth.csv")


def against_truth(found: Path, truth: Path) -> dict[str, Any]:
    """Recall of overlaps, exact to the pixel, and the number of false ones."""
    table, true = pd.read_csv(found), pd.read_csv(truth)
    true[["y_offset", "x_offset"]] = true[["row_offset", "col_offset"]] * TILE_SIZE
    called = set(table.loc[table["verdict"] == "duplicate", KEY].itertuples(index=False, name=None))
    are = set(true.loc[true["is_duplicate"] == 1, KEY].itertuples(index=False, name=None))
    return {"overlaps": len(are), "recall": len(called & are) / len(are), "false": len(called - are)}


def run_search(work: Path, n: int, n_equal: int, indexes: list[str]) -> pd.DataFrame:
    """The search alone: ``index, n_descriptors, seconds, cpu_seconds, peak_mb, n_pairs, recall``."""
    rows = []
    path, pairs = work / "descriptors.npy", work / "pairs.npy"
    planted = searching.plant(path, n, DESCRIPTOR, n // 10, n_equal)
    for index in indexes:
        row = measured(["search", index, path, pairs])
        rows.append({"index": index, **row, "recall": searching.recall(np.load(pairs), planted, n)})
        print(f"{n} descriptors, {index}: {rows[-1]['seconds']:.1f} s", flush=True)
    path.unlink()
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(main())
