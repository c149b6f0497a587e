"""``python -m benchmarks.free_offsets [--raw DIR] [--airbus FOLDER]``: overlaps found and invented.

Hard cuts of held-out parts (:mod:`benchmarks.free_offsets.sets`), of every layout and with versions of
another day, are searched by `dupnet find`, the quieter of two runs, beside the floor (decode every file in
colour with two threads), the quietest of three: ``free_offsets.csv``, by common share and narrow side
``free_offsets_recall.csv``, every error ``free_offsets_errors.csv``. Smaller ones, beside local features and
hashes on all pairs and other tools, with the reason where one was left out: ``free_offsets_methods.csv``.
Images that only look alike: ``free_offsets_lookalikes.csv``. A number of 0 images leaves the files of that
part as they are. All that there is goes into ``free_offsets.md`` and ``free_offsets.png``. Pixels are never
written there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.free_offsets import output, sets
from benchmarks.free_offsets.counting import OFFSET, PAIR, against_truth, counts, recall_by, with_evidence
from benchmarks.free_offsets.features import METHODS
from benchmarks.free_offsets.lookalikes import OVERLAYS, REPEATED, SIDE, ground
from benchmarks.speed.measure import measured
from benchmarks.speed.peers import NOT_INSTALLED
from dupnet.files.atomic import write_csv
from dupnet.find.results import read_table

FIND = "dupnet find"

COMPARED = ("400", "256-1024")
"""Layouts of the smaller collections, on which every method is run."""

PEERS = {
    "imagededup": "imagededup pHash",
    "imagededup_cnn": "imagededup CNN",
    "fastdup": "fastdup",
}
"""Tools of :mod:`benchmarks.speed.peers`, and what the table calls them."""

METHOD_SECONDS = 1800
"""Time that another method is given on one collection."""

ERRORS = (
    *("wrong_offset", "false", "false_altered", "other_day_accepted", "other_day_altered"),
    *("slightly_changed_accepted", "altered"),
)
MAX_ERRORS = 50
"""Errors of one collection that are listed, missed pairs aside."""

PROCESSING = ["day", "hue", "lightness", "saturation", "gain", "gamma", "quality"]


class LeftOut(Exception):
    """A method was not run, or not to its end; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.free_offsets", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="to fetch acquisitions into")
    parser.add_argument("--airbus", type=Path, help="folder with images/: a mosaic of those held out, too")
    parser.add_argument("--sources", nargs="+", help="of derna, kitsap, sea, airbus (default: all there are)")
    parser.add_argument("--layouts", nargs="+", default=list(sets.PLACES), choices=sets.PLACES)
    parser.add_argument("--n-images", type=int, default=240, help="crops of a collection (0: skip)")
    parser.add_argument("--compared", type=int, default=40, help="crops, for every method (0: skip)")
    parser.add_argument("--lookalikes", type=int, default=12, help="images that only look alike (0: skip)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument(
        "--peer-python",
        nargs="+",
        default=[sys.executable],
        metavar="PYTHON",
        help="interpreters, of which one has imagededup and one fastdup (see benchmarks/speed/peers.py)",
    )
    parser.add_argument("--work", type=Path, default=Path("output/benchmark/free_offsets"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    all_sources = sets.sources(options.raw, options.airbus)
    if unknown := set(options.sources or ()) - set(all_sources):
        parser.error(f"--sources {', '.join(sorted(unknown))}: known are {', '.join(all_sources)}")
    chosen = {name: read for name, read in all_sources.items() if name in (options.sources or all_sources)}
    if options.n_images:
        run_find(chosen, options)
    if options.compared:
        run_methods(chosen, options)
    if options.lookalikes:
        write_csv(run_lookalikes(options), options.out / "free_offsets_lookalikes.csv")
    output.write(options.out)
    print((options.out / "free_offsets.md").read_text(encoding="utf-8"))
    return 0


def run_find(chosen: dict[str, Any], options: argparse.Namespace) -> None:
    """Every layout of every source; the tables are written anew after each."""
    parts: dict[str, list[pd.DataFrame]] = {"": [], "_recall": [], "_errors": []}
    for seed in options.seeds:
        for name, source in chosen.items():
            for layout in options.layouts:
                cut = sets.cut(
                    source, layout, options.work / f"{name}-{layout}-{seed}", options.n_images, seed
                )
                tables = of_find(cut)
                about = pd.DataFrame({"source": [name], "layout": [layout], "seed": [seed]})
                for part, table in zip(parts, tables, strict=True):
                    parts[part].append(about.merge(table, how="cross"))
                    write_csv(pd.concat(parts[part]), options.out / f"free_offsets{part}.csv")
                row = tables[0].iloc[0]
                print(f"{name} {layout}: recall {row['recall']}, false {row['false']}", flush=True)


def of_find(cut: sets.Cut) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`dupnet find` on a collection: one row of counts and cost, recall by bins, errors."""
    row, found = searched(cut.folder)
    table = against_truth(with_evidence(cut.truth, cut.folder / "images"), found)
    counted = pd.DataFrame([{"images": len(cut.images), **counts(table), **row}])
    errors = table[table["outcome"].isin(ERRORS)].head(MAX_ERRORS)
    processing = cut.images.set_index("image")[PROCESSING].astype(str).agg(" ".join, axis=1)
    columns = ["outcome", *PAIR, *OFFSET, "y_found", "x_found", "height", "width", "changed", "share"]
    processed = {f"processing{end}": errors[f"image{end}"].map(processing) for end in "12"}
    return counted, recall_by(table), errors.reindex(columns=columns).assign(**processed)


def searched(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Cost of `dupnet find` on ``folder/images`` beside the floor, and the overlaps that it lists."""
    images, out = folder / "images", folder / "found"
    for path in images.iterdir():  # from memory, for all alike
        path.read_bytes()
    floor = measured(["floor", images], 3)
    found = measured(["find", images, out], 2)
    n_images = len(list(images.iterdir()))
    cached = sum(path.stat().st_size for path in (out / "cache").rglob("*") if path.is_file())
    cost = {
        "seconds": round(found["seconds"], 3),
        "cpu_seconds": round(found["task_cpu_seconds"], 3),
        "floor_cpu_seconds": round(floor["task_cpu_seconds"], 3),
        "of_floor": round(found["task_cpu_seconds"] / floor["task_cpu_seconds"], 2),
        "cache_bytes_an_image": round(cached / n_images),
        "peak_mb": round(found["peak_mb"], 1),
    }
    return cost, read_table(out / "overlaps.csv")


def run_methods(chosen: dict[str, Any], options: argparse.Namespace) -> None:
    """Smaller collections, every method: ``free_offsets_methods.csv`` and the recall behind the figure."""
    rows: list[dict[str, Any]] = []
    bins: list[pd.DataFrame] = []
    seed = options.seeds[0] + 1000
    for name, source in chosen.items():
        for layout in COMPARED:
            cut = sets.cut(source, layout, options.work / f"{name}-{layout}-small", options.compared, seed)
            truth = with_evidence(cut.truth, cut.folder / "images")
            for method in (FIND, *METHODS, *PEERS.values()):
                about = {"source": name, "layout": layout, "method": method, "images": len(cut.images)}
                try:
                    cost, found = of_method(method, cut.folder, options.peer_python)
                except LeftOut as reason:
                    rows.append({**about, "left_out": str(reason)})
                else:
                    table = against_truth(truth, found)
                    cost["tells_offsets"] = set(OFFSET) <= set(found)
                    rows.append({**about, **counts(table), **cost})
                    bins.append(recall_by(table).assign(**about))
                print(f"{name} {layout} {method}: {rows[-1].get('recall', 'left out')}", flush=True)
    write_csv(pd.DataFrame(rows), options.out / "free_offsets_methods.csv")
    write_csv(pd.concat(bins), options.out / "free_offsets_methods_recall.csv")


def of_method(method: str, folder: Path, interpreters: Sequence[str]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Cost of a method, and the pairs that it accepts, each once, with ``verdict``."""
    if method == FIND:
        return searched(folder)
    out = folder / "pairs.csv"
    if method in METHODS:
        command = [sys.executable, "-m", "benchmarks.free_offsets.features", method, folder / "images", out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=METHOD_SECONDS, check=True)
        found = read_table(out)
    else:
        tool = next(tool for tool, name in PEERS.items() if name == method)
        done = run_peer(tool, folder / "images", out, interpreters)
        found = pd.read_csv(out, header=None, names=PAIR, dtype=str)
        found = pd.DataFrame(np.sort(found.to_numpy(dtype=object), axis=1), columns=PAIR).drop_duplicates()
    seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return {"seconds": round(seconds, 3)}, found.assign(verdict="duplicate")


def run_peer(
    tool: str, images: Path, pairs: Path, interpreters: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run a tool of :mod:`benchmarks.speed.peers` with the first interpreter that has it.

    Raises
    ------
    LeftOut
        If none has, or it does not end well.
    """
    script = Path(__file__).parents[1] / "speed" / "peers.py"
    for interpreter in interpreters:
        command = [interpreter, str(script), tool, str(images), str(pairs)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=METHOD_SECONDS)
        except subprocess.TimeoutExpired:
            raise LeftOut(f"not done after {METHOD_SECONDS} s") from None
        if done.returncode == 0:
            return done
        if done.returncode != NOT_INSTALLED:
            raise LeftOut(f"stopped with {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    raise LeftOut("not installed in an interpreter that --peer-python names")


def run_lookalikes(options: argparse.Namespace) -> pd.DataFrame:
    """Images of which no two show the same: ``collection, images, duplicate, altered, seconds``."""
    plain = [ground(SIDE, 1000 + number) for number in range(options.lookalikes)]
    collections = {name: partial(draw, SIDE) for name, draw in REPEATED.items()}
    collections |= {name: partial(_laid, lay, plain) for name, lay in OVERLAYS.items()}
    rows = []
    for name, draw in collections.items():
        with tempfile.TemporaryDirectory(prefix="dupnet-lookalikes-") as scratch:
            (Path(scratch) / "images").mkdir()
            for number in range(options.lookalikes):
                path = str(Path(scratch) / "images" / f"{number:03}.jpg")
                cv2.imwrite(path, draw(number)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            cost, found = searched(Path(scratch))
        verdicts = found["verdict"].value_counts()
        accepted = {verdict: int(verdicts.get(verdict, 0)) for verdict in ("duplicate", "altered")}
        rows.append({"collection": name, "images": len(plain), **accepted, "seconds": cost["seconds"]})
        print(f"{name}: {accepted['duplicate']} false", flush=True)
    return pd.DataFrame(rows)


def _laid(lay: Callable[[sets.Image], sets.Image], images: Sequence[sets.Image], number: int) -> sets.Image:
    return lay(images[number])


if __name__ == "__main__":
    sys.exit(main())
