"""``python -m benchmarks.collections [--derna data/raw | FILE] [--airbus FOLDER]``: counts against the truth.

Derna (fetched where it is missing) is cut plain and hard for each seed; `find` and two hashes look for
its overlaps, and a random split is audited beside `dupnet split`'s own. Writes ``collections.csv``,
``collections_errors.csv`` (every overlap on which `find` is wrong) and ``collections_leaks.csv``; there
``on_test_ground`` counts the overlaps that lie wholly in columns that no network was trained on. These
columns alone follow, with plain correlation beside `find`, its thresholds tuned on the columns that trained:
``collections_test_ground*.csv``. "Another day" is made, by replacing patches of a crop; no revisit of Derna
was photographed. With ``--airbus``, the overlaps judged in its ``labels.csv``: ``collections_airbus.csv``.
Pixels of Airbus images are never written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.collections.correlations import (
    SIGNALS,
    accepted_by_correlation,
    opened,
    tuned_thresholds,
)
from benchmarks.collections.hashes import KEY, THRESHOLDS, accepted_overlaps, hash_tiles
from benchmarks.markdown import markdown
from benchmarks.record import write_measured
from dupnet.acquisitions.scenes import Collection, cut_collection
from dupnet.acquisitions.sources import ACQUISITIONS, fetch, read_acquisition
from dupnet.find.engine import find_overlaps
from dupnet.find.groups import place
from dupnet.find.results import FindResult
from dupnet.images.reading import read_grey
from dupnet.metrics.pair_metrics import correlation
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe
from dupnet.splits.assignment import random_split, split
from dupnet.splits.ground import Tables
from dupnet.splits.leaks import audit
from dupnet.tiles import TILE_SIZE, Grid, overlap_at, split_tiles
from dupnet.training.recipe import COLUMNS

GRID = Grid()
"""The tiles of an image: the truth of these collections is told in tiles."""

MAX_ERRORS = 100
"""Errors of one collection that are listed."""

SPARSE_SHARE = 0.1
"""Share of the crops of which a second split is made: all crops of one acquisition are one group, a tenth of
them fall into many, as in a collection of many acquisitions."""

OUTCOMES = [
    *("found", "undecided", "missed", "undecidable", "undecidable_accepted"),
    *("other_day", "other_day_accepted", "false"),
]
"""What may come of an overlap, see :func:`against_truth`."""

PROCESSING = ["day", "hue", "lightness", "saturation", "gain", "gamma", "quality"]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.collections", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--derna", type=Path, help="folder to fetch Derna into, or an acquisition's file")
    parser.add_argument("--n-images", type=int, help="crops of the acquisition (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--ground", choices=("whole", "test"), nargs="+", default=["whole", "test"], help="columns to cut"
    )
    parser.add_argument("--cuts", choices=("plain", "hard"), nargs="+", default=["plain", "hard"])
    parser.add_argument("--work", type=Path, help="keep the crops here, and use those already here")
    parser.add_argument("--airbus", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    if options.airbus:
        run_airbus(options.airbus, options.out)
    if options.derna or not options.airbus:
        path = options.derna or Path("data/raw")
        acquisition = read_acquisition(
            path if path.is_file() else fetch(ACQUISITIONS["derna"], path, print)[0]
        )
        for ground in options.ground:
            run_derna(acquisition, options, ground)
    return 0


def run_derna(acquisition: npt.NDArray[np.uint8], options: argparse.Namespace, ground: str) -> None:
    """Plain and hard cuts for each seed; the tables are written anew after each of them."""
    is_test, thresholds = ground == "test", {}
    if is_test:
        thresholds = thresholds_of_training(acquisition, options)
        acquisition = acquisition[:, slice(*COLUMNS["derna"]["test"])]
    file = "collections_test_ground" if is_test else "collections"
    parts: dict[str, list[pd.DataFrame]] = {"": [], "_errors": [], "_leaks": []}
    for cut_name in options.cuts:
        hard = cut_name == "hard"
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="dupnet-collections-") as scratch:
                name = f"{cut_name}_{seed}"
                folder = (options.work or Path(scratch)) / (f"test_{name}" if is_test else name)
                collection = cut(acquisition, folder, options.n_images, hard, seed)
                tables = run_collection(collection, folder / "images", seed, thresholds)
                if not is_test:
                    tables[0]["on_test_ground"] = wholly_on_test_ground(collection)
            for name, table in zip(parts, tables, strict=True):
                table.insert(0, "cut", cut_name)
                table.insert(1, "seed", seed)
                parts[name].append(table)
                together = pd.concat(parts[name], ignore_index=True)
                write_measured(together, options.out, f"{file}{name}.csv", "collections")
    for name in ("", "_leaks"):
        print_table(pd.concat(parts[name], ignore_index=True))


def wholly_on_test_ground(collection: Collection) -> int:
    """True overlaps, with a decidable tile, of crops that both lie in the columns that no network saw."""
    images = collection.images.set_index("image")
    first = COLUMNS["derna"]["test"][0]
    inside = images.index[images["col"] * TILE_SIZE >= first]
    truth = collection.truth
    known = truth[(truth["is_duplicate"] == 1) & (truth["n_decidable"] > 0)]
    return int((known["image1"].isin(inside) & known["image2"].isin(inside)).sum())


def thresholds_of_training(
    acquisition: npt.NDArray[np.uint8], options: argparse.Namespace
) -> dict[str, float]:
    """Thresholds of correlation, from a hard cut of the columns that trained."""
    with tempfile.TemporaryDirectory(prefix="dupnet-collections-") as scratch:
        folder = (options.work or Path(scratch)) / "train_hard"
        ground = acquisition[:, slice(*COLUMNS["derna"]["train"])]
        collection = cut(ground, folder, options.n_images, True, options.seeds[0])
        return tuned_thresholds(folder / "images", sorted(collection.images["image"]), collection.truth)


def cut(
    acquisition: npt.NDArray[np.uint8], folder: Path, n_images: int | None, hard: bool, seed: int
) -> Collection:
    """The collection in ``folder``, cut now unless it is there."""
    if not (folder / "truth.csv").exists():
        cut_collection(acquisition, folder, n_images=n_images, hard=hard, seed=seed, progress=True)
    truth = pd.read_csv(folder / "truth.csv", dtype={"overlap_tag": str})
    return Collection(pd.read_csv(folder / "images.csv"), truth)


def run_collection(
    collection: Collection, images: Path, seed: int, thresholds: dict[str, float] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One collection: counts by signal, the errors of `find`, what splits leak."""
    result = find_overlaps(images, grid=TILE_SIZE, report=False)
    row = {"signal": "dupnet find", "images": len(collection.images)}
    row |= counts(collection.truth, result.overlaps)
    by_correlation = judge_correlations(collection, images, thresholds or {})
    table = pd.DataFrame([row, *by_correlation, *judge_hashes(collection, images)])
    return table, list_errors(collection, result.overlaps, images), leaks(collection.truth, result, seed)


def judge_correlations(
    collection: Collection, images: Path, thresholds: dict[str, float]
) -> list[dict[str, object]]:
    """Counts of each signal with a threshold, one row each."""
    if not thresholds:
        return []
    names = sorted(collection.images["image"])
    rows = []
    with opened(images, names) as tiles:
        for signal in SIGNALS:
            found = accepted_by_correlation(tiles, signal, thresholds[signal])
            row = {"signal": f"{signal} >= {thresholds[signal]:.3f}", "images": len(names)}
            rows.append(row | counts(collection.truth, found.assign(verdict="duplicate")))
    return rows


def judge_hashes(collection: Collection, images: Path) -> list[dict[str, object]]:
    """Counts of both hashes at both thresholds, one row each."""
    names = sorted(collection.images["image"])
    hashed = hash_tiles(images, names)
    rows = []
    for name, codes in hashed.codes.items():
        for threshold in THRESHOLDS[name]:
            found = accepted_overlaps(codes, hashed.decidable, names, threshold)
            row = {"signal": f"{name} <= {threshold} of {64 * codes.shape[1]}", "images": len(names)}
            rows.append(row | counts(collection.truth, found.assign(verdict="duplicate")))
    return rows


def against_truth(truth: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Every overlap of either table, one row each, with ``outcome``.

    An overlap of one day is ``found``, ``undecided`` (listed as undecidable) or ``missed`` if it has
    decidable tiles, else ``undecidable`` or, where accepted all the same, ``undecidable_accepted``. Two days
    of one place are ``other_day`` or ``other_day_accepted``. Whatever else was accepted is ``false``.
    """
    table = truth.merge(found[[*KEY, "verdict"]], on=KEY, how="outer")
    table["n_decidable"] = table["n_decidable"].fillna(0).astype(int)
    accepted = table["verdict"] == "duplicate"
    unknown, decidable = table["is_duplicate"].isna(), table["n_decidable"] > 0
    cases = {
        "false": unknown & accepted,
        "nothing": unknown,  # listed as undecidable, and no overlap
        "other_day_accepted": (table["is_duplicate"] == 0) & accepted,
        "other_day": table["is_duplicate"] == 0,
        "undecidable_accepted": ~decidable & accepted,
        "undecidable": ~decidable,
        "found": accepted,
        "undecided": table["verdict"] == "undecidable",
    }
    return table.assign(outcome=np.select(list(cases.values()), list(cases), "missed"))


def counts(truth: pd.DataFrame, found: pd.DataFrame) -> dict[str, float]:
    """Overlaps by outcome, and recall and precision of what was accepted, among the decidable overlaps."""
    number = against_truth(truth, found)["outcome"].value_counts()
    row: dict[str, float] = {name: int(number.get(name, 0)) for name in OUTCOMES}
    row = {"overlaps": row["found"] + row["undecided"] + row["missed"], **row}
    row["other_day"] += row["other_day_accepted"]
    row["undecidable"] += row["undecidable_accepted"]
    accepted = row["found"] + row["other_day_accepted"] + row["false"]
    row["recall"] = round(row["found"] / row["overlaps"], 5) if row["overlaps"] else np.nan
    row["precision"] = round(row["found"] / accepted, 5) if accepted else np.nan
    return row


def list_errors(collection: Collection, found: pd.DataFrame, images: Path) -> pd.DataFrame:
    """Overlaps on which `find` is wrong, with the lowest score and the lowest NCC of their tiles that are
    decidable, and how both images were processed."""
    table = against_truth(collection.truth, found)
    wrong = table[table["outcome"].isin(["missed", "undecided", "false", "other_day_accepted"])]
    processing = collection.images.set_index("image")[PROCESSING].astype(str).agg(" ".join, axis=1)
    rows = []
    for error in wrong.head(MAX_ERRORS).to_dict("records"):
        overlap = overlap_at(error["row_offset"], error["col_offset"])
        tiles1, tiles2 = (
            np.asarray(split_tiles(read_grey(images / name))[list(tiles)], np.uint8)
            for name, tiles in ((error["image1"], overlap.tiles1), (error["image2"], overlap.tiles2))
        )
        described1, described2 = describe(tiles1), describe(tiles2)
        decidable = described1.decidable & described2.decidable
        scores = score_pairs(described1.verify[decidable], described2.verify[decidable])
        alike = [correlation(*pair) for pair in zip(tiles1[decidable], tiles2[decidable], strict=True)]
        measured = {
            "score": min(scores, default=np.nan),
            "correlation": min(alike, default=np.nan),
            "processing1": processing[error["image1"]],
            "processing2": processing[error["image2"]],
        }
        rows.append({name: error[name] for name in ["outcome", *KEY, "n_decidable"]} | measured)
    columns = ["outcome", *KEY, "n_decidable", "score", "correlation", "processing1", "processing2"]
    return pd.DataFrame(rows, columns=columns)


def leaks(truth: pd.DataFrame, result: FindResult, seed: int) -> pd.DataFrame:
    """What a random split and `dupnet split`'s own leak, by the true overlaps: of all images, and of a tenth.

    True overlaps are those of one day with decidable tiles.
    """
    known = truth[(truth["is_duplicate"] == 1) & (truth["n_decidable"] > 0)]
    known = known.assign(
        **{
            f"{axis}_offset": known[f"{name}_offset"] * TILE_SIZE
            for axis, name in (("y", "row"), ("x", "col"))
        },
        **{
            side: TILE_SIZE * (n - known[f"{name}_offset"].abs())
            for side, name, n in (("height", "row", GRID.rows), ("width", "col", GRID.cols))
        },
        n_differing=0,
        score=1.0,
        verdict="duplicate",
    )
    everything = list(result.groups["image"])
    n_sparse = max(3, round(SPARSE_SHARE * len(everything)))
    sparse = sorted(np.random.default_rng(seed).choice(everything, n_sparse, replace=False).tolist())
    rows = []
    for names in (everything, sparse):
        found, true = (grouped(table, names) for table in (result.overlaps, known))
        n_groups, largest = found.groups["group"].nunique(), found.groups["group"].value_counts().max()
        splits = {"random": random_split(names, seed=seed)}
        if n_groups >= 3:
            with warnings.catch_warnings():  # of one large group the ratios are missed, and that is said
                warnings.simplefilter("ignore", UserWarning)
                splits["dupnet split"] = split(found, seed=seed)
        for name, assigned in splits.items():
            total = audit(assigned, true).splits.drop(columns="split").sum().astype(int)
            rows.append(
                {
                    "split": name,
                    "groups": n_groups,
                    "largest_group": largest,
                    "images": total["images"],
                    "leaked_images": total["leaked_images"],
                    "tiles": total["pixels"] // TILE_SIZE**2,
                    "leaked_tiles": total["leaked_pixels"] // TILE_SIZE**2,
                    "leaked_pixels": total["leaked_pixels"],
                }
            )
    return pd.DataFrame(rows)


def grouped(overlaps: pd.DataFrame, names: list[str]) -> Tables:
    """Some images of a collection, and what overlaps say of them alone: groups and places."""
    here = overlaps[overlaps["image1"].isin(names) & overlaps["image2"].isin(names)]
    number = pd.Index(names)
    numbered = here.assign(**{end: number.get_indexer(here[end]) for end in ("image1", "image2")})
    groups = place(numbered, len(names)).places.assign(image=names, height=GRID.height, width=GRID.width)
    return Tables(groups=groups, overlaps=here)


def run_airbus(folder: Path, out: Path) -> None:
    """Judged overlaps, by tiles and by `find`."""
    from benchmarks.accuracy.airbus import judge_labels  # imports TensorFlow

    labels = judge_labels(folder / "images", folder / "labels.csv")
    found = find_overlaps(folder / "images", grid=TILE_SIZE, report=False).overlaps
    listed = found.set_index(["image1", "image2", "overlap_tag"])["verdict"]
    places = labels[["image1", "image2", "overlap_tag"]].itertuples(index=False, name=None)
    labels["find"] = [listed.get(place, "not listed") for place in places]
    write_measured(labels, out, "collections_airbus.csv", "collections")
    print_table(labels.groupby(["is_duplicate", "verdict", "find"]).size().reset_index(name="n"))


def print_table(table: pd.DataFrame) -> None:
    """A table in Markdown."""
    rows = [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in row]
        for row in table.itertuples(index=False)
    ]
    print("", *markdown(list(table.columns), rows), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
