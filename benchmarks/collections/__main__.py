"""``python -m benchmarks.collections [--derna data/raw | FILE] [--airbus FOLDER]``: counts against the truth.

Derna (fetched where it is missing) is cut plain and hard for each seed; `dupnet find` and two hashes look for
its overlaps, and a random split of it is audited beside `dupnet split`'s own. Writes ``collections.csv``,
``collections_errors.csv`` (every overlap on which `find` is wrong) and ``collections_leaks.csv``. With
``--airbus``, the overlaps judged in its ``labels.csv``: ``collections_airbus.csv``. Pixels of Airbus images
are never written.
With ``--kills 5``, only ``collections_kills.csv``: `find` on the plain cut, killed at five random moments
and resumed.
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

from benchmarks.collections.hashes import KEY, THRESHOLDS, accepted_overlaps, hash_tiles
from benchmarks.collections.kills import kill_and_resume
from benchmarks.markdown import markdown
from dupnet.acquisitions.scenes import Collection, cut_collection
from dupnet.acquisitions.sources import ACQUISITIONS, fetch, read_acquisition
from dupnet.files.atomic import write_csv
from dupnet.find.engine import find_overlaps
from dupnet.find.results import FindResult
from dupnet.images.reading import read_grey
from dupnet.metrics.pair_metrics import correlation
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe
from dupnet.splits.assignment import kept_together, random_split, split
from dupnet.splits.ground import Tables
from dupnet.splits.leaks import audit
from dupnet.tiles import TILE_SIZE, overlap_at, split_tiles

MAX_ERRORS = 100
"""Errors of one collection that are listed."""

SPARSE_SHARE = 0.1
"""Share of the crops of which a second split is made: all crops of one acquisition are one group, a tenth of
them fall into many, as in a collection of many acquisitions."""

COUNTS = ["images", "leaked_images", "pixels", "leaked_pixels"]
"""What is summed over the splits of an audit."""

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
    parser.add_argument("--work", type=Path, help="keep the crops here, and use those already here")
    parser.add_argument("--airbus", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--kills", type=int, default=0, help="only kill runs so many times, and resume them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    if options.airbus:
        run_airbus(options.airbus, options.out)
    if options.derna or not options.airbus:
        path = options.derna or Path("data/raw")
        acquisition = read_acquisition(
            path if path.is_file() else fetch(ACQUISITIONS["derna"], path, print)[0]
        )
        (run_kills if options.kills else run_derna)(acquisition, options)
    return 0


def run_derna(acquisition: npt.NDArray[np.uint8], options: argparse.Namespace) -> None:
    """Plain and hard cuts for each seed; the tables are written anew after each of them."""
    parts: dict[str, list[pd.DataFrame]] = {"": [], "_errors": [], "_leaks": []}
    for hard in (False, True):
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="dupnet-collections-") as scratch:
                folder = (options.work or Path(scratch)) / f"{'hard' if hard else 'plain'}_{seed}"
                collection = cut(acquisition, folder, options.n_images, hard, seed)
                tables = run_collection(collection, folder / "images", seed)
            for name, table in zip(parts, tables, strict=True):
                table.insert(0, "cut", "hard" if hard else "plain")
                table.insert(1, "seed", seed)
                parts[name].append(table)
                write_csv(pd.concat(parts[name], ignore_index=True), options.out / f"collections{name}.csv")
    for name in ("", "_leaks"):
        print_table(pd.concat(parts[name], ignore_index=True))


def run_kills(acquisition: npt.NDArray[np.uint8], options: argparse.Namespace) -> None:
    """The plain cut of the first seed: runs killed and resumed, one row."""
    with tempfile.TemporaryDirectory(prefix="dupnet-collections-") as scratch:
        folder = (options.work or Path(scratch)) / f"plain_{options.seeds[0]}"
        collection = cut(acquisition, folder, options.n_images, False, options.seeds[0])
        counts = kill_and_resume(folder / "images", Path(scratch), options.kills, options.seeds[0])
    table = pd.DataFrame([{"cut": "plain", "images": len(collection.images), **counts}])
    write_csv(table, options.out / "collections_kills.csv")
    print_table(table)


def cut(
    acquisition: npt.NDArray[np.uint8], folder: Path, n_images: int | None, hard: bool, seed: int
) -> Collection:
    """The collection in ``folder``, cut now unless it is there."""
    if not (folder / "truth.csv").exists():
        cut_collection(acquisition, folder, n_images=n_images, hard=hard, seed=seed, progress=True)
    truth = pd.read_csv(folder / "truth.csv", dtype={"overlap_tag": str})
    return Collection(pd.read_csv(folder / "images.csv"), truth)


def run_collection(
    collection: Collection, images: Path, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One collection: counts by signal, the errors of `find`, what splits leak."""
    result = find_overlaps(images, report=False)
    row = {"signal": "dupnet find", "images": len(collection.images)}
    row |= counts(collection.truth, result.overlaps)
    table = pd.DataFrame([row, *judge_hashes(collection, images)])
    return table, list_errors(collection, result.overlaps, images), leaks(collection.truth, result, seed)


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
    side, tile = result.groups["height"].iloc[0], TILE_SIZE
    known = known.assign(
        verdict="duplicate",
        y_offset=tile * known["row_offset"],
        x_offset=tile * known["col_offset"],
        height=side - tile * known["row_offset"].abs(),
        width=side - tile * known["col_offset"].abs(),
    )
    everything = list(result.groups["image"])
    n_sparse = max(3, round(SPARSE_SHARE * len(everything)))
    sparse = sorted(np.random.default_rng(seed).choice(everything, n_sparse, replace=False).tolist())
    rows = []
    for names in (everything, sparse):
        here = known[known["image1"].isin(names) & known["image2"].isin(names)]
        found = result.overlaps[result.overlaps["image1"].isin(names) & result.overlaps["image2"].isin(names)]
        # Groups of these images alone, and no place but what their own overlaps tell.
        alone = result.groups[result.groups["image"].isin(names)].reset_index(drop=True)
        alone = alone.assign(group=alone.index, mosaic=alone.index, y=0, x=0)
        groups = kept_together(Tables(alone, found))
        n_groups, largest = groups["group"].nunique(), groups["group"].value_counts().max()
        splits = {"random": random_split(names, seed=seed)}
        if n_groups >= 3:
            with warnings.catch_warnings():  # of one large group the ratios are missed, and that is said
                warnings.simplefilter("ignore", UserWarning)
                splits["dupnet split"] = split(groups, seed=seed)
        for name, assigned in splits.items():
            total = audit(assigned, Tables(alone, here)).splits[COUNTS].sum()
            rows.append({"split": name, "groups": n_groups, "largest_group": largest, **total})
    return pd.DataFrame(rows)


def run_airbus(folder: Path, out: Path) -> None:
    """Judged overlaps, by tiles and by `find`."""
    from benchmarks.accuracy.airbus import judge_labels  # imports TensorFlow

    labels = judge_labels(folder / "images", folder / "labels.csv")
    found = find_overlaps(folder / "images", report=False).overlaps
    listed = found.set_index(["image1", "image2", "overlap_tag"])["verdict"]
    places = labels[["image1", "image2", "overlap_tag"]].itertuples(index=False, name=None)
    labels["find"] = [listed.get(place, "not listed") for place in places]
    write_csv(labels, out / "collections_airbus.csv")
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
