"""``python -m benchmarks.accuracy [--airbus DIR --airbus-labels CSV]``: the tables and the figure.

Derna and Kitsap are fetched into ``data/raw`` where their files are not given. Writes ``accuracy.csv`` (one
row a signal and collection), ``accuracy_errors.csv`` (every pair that dupnet gets wrong),
``accuracy_calibration.csv``, ``accuracy_perturbations.csv`` (of slow signals only those that the figure
draws), ``accuracy_cross_pairs*.csv`` (all tiles of different ground), ``accuracy_decidable.csv``,
``accuracy_throughput.csv``, of Airbus also ``accuracy_airbus_labels.csv``, then ``accuracy.md`` and
``accuracy.png``. No pixel of an Airbus image is ever written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.accuracy import airbus, drawing, output, throughput, unrelated
from benchmarks.accuracy.pairs import (
    AIRBUS_PARTS,
    add_collections,
    cut_sea,
    find_collections,
    hard_pairs,
    held_out_tiles,
    perturbations,
    table_of_pairs,
)
from benchmarks.accuracy.rare import errors_per
from benchmarks.accuracy.signals import COLOUR_PIXELS, Signal, all_signals
from benchmarks.record import write_measured
from dupnet.evaluation.scores import (
    ORIGINAL_OVERLAPS,
    expected_calibration_error,
    quality_with_intervals,
    reliability_table,
    threshold_for_precision,
)
from dupnet.evaluation.trees import cross_validated_scores
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.network.comparison import share_evidence
from dupnet.network.descriptors import describe, load_weights
from dupnet.tiles import grey_levels

ALL_METRICS = "all metrics together"
SLOW_METRICS = ("crop_resistant_hash", "colour_moment_hash")
"""Left out of the combination: 60 ms and more a pair, and no use to it in IMAGE_METRICS.md."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__.split("\n\n")[0]
    )
    add_collections(parser)
    parser.add_argument("--airbus-labels", type=Path, help="labels.csv of judged overlaps of these images")
    parser.add_argument("--only", nargs="*", choices=("airbus", "derna", "kitsap"), help="collections to use")
    parser.add_argument("--pairs", type=int, default=13_000, help="hard pairs of each collection")
    parser.add_argument("--slow-pairs", type=int, default=1000, help="of those, scored by slow signals")
    parser.add_argument("--metric-pairs", type=int, default=600, help="of those, measured by every metric")
    parser.add_argument("--tiles", type=int, default=100, help="tiles of each collection to perturb")
    parser.add_argument("--sea", type=int, default=6144, help="side in px of a drawn sea for unrelated pairs")
    parser.add_argument("--throughput", action="store_true", help="only measure the throughput")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    acquisitions = {
        name: getattr(options, name)
        for name in ("derna", "kitsap")
        if not options.only or name in options.only
    }
    collections = find_collections(options.airbus, acquisitions, options.work)
    tiles = {
        name: held_out_tiles(folder, sorted(groups), options.tiles, options.seed)
        for name, (folder, groups) in collections.items()
    }
    if options.throughput:
        measure_throughput(tiles, options.out)
        return 0
    signals = all_signals()
    thresholds, scores_of_all = {}, []
    for name, (folder, groups) in collections.items():
        scores = score_collection(name, folder, groups, signals, options)
        scores_of_all.append(scores.assign(collection=name, group=name + " " + scores["group"].astype(str)))
    together = pd.concat(scores_of_all, ignore_index=True)
    by_collection = dict(zip(collections, scores_of_all, strict=True))
    parts = {"all": together, **by_collection} if len(collections) > 1 else by_collection
    rows = [row for name, scores in parts.items() for row in judge(name, scores, signals)]
    for signal in signals:
        scored = together.dropna(subset=[signal.name])
        thresholds[signal.name], _ = threshold_for_precision(
            scored[signal.name].to_numpy(), scored["is_duplicate"].to_numpy()
        )
    accuracy = best_first(pd.DataFrame(rows))
    write_measured(accuracy, options.out, "accuracy.csv", "accuracy")
    write_measured(errors_of_dupnet(together), options.out, "accuracy_errors.csv", "accuracy")
    write_measured(calibration(together), options.out, "accuracy_calibration.csv", "accuracy")
    perturbed_by = [signal for signal in signals if not signal.slow or signal.name in drawing.SHOWN]
    perturbed = [perturb(name, found, perturbed_by, thresholds) for name, found in tiles.items()]
    write_measured(pd.concat(perturbed), options.out, "accuracy_perturbations.csv", "accuracy")
    if options.airbus and options.airbus_labels:
        judged = airbus.judge_labels(options.airbus, options.airbus_labels)
        write_measured(judged, options.out, "accuracy_airbus_labels.csv", "accuracy")
    if options.airbus:  # all of them, those that trained too, told apart
        parts = pd.read_csv(AIRBUS_PARTS)
        parts = parts[[(options.airbus / name).exists() for name in parts["image"]]]
        parts = parts[parts["part"] != "reserved"]
        held_out = parts["part"] == "test"
        for name, chosen in (
            ("airbus", parts[held_out]),
            (f"airbus, {unrelated.NOT_HELD_OUT}", parts[~held_out]),
        ):
            if len(chosen):
                collections[name] = options.airbus, dict(zip(chosen["image"], chosen["group"], strict=True))
    if options.sea:
        cut_sea(options.sea, options.work / f"sea_{options.sea}")
        names = [path.name for path in (options.work / f"sea_{options.sea}").iterdir()]
        collections["sea"] = options.work / f"sea_{options.sea}", dict(zip(names, names, strict=True))
    counts, highest, decidable = unrelated.cross_pairs(collections)
    write_measured(counts, options.out, "accuracy_cross_pairs.csv", "accuracy")
    write_measured(highest, options.out, "accuracy_cross_pairs_highest.csv", "accuracy")
    write_measured(decidable, options.out, "accuracy_decidable.csv", "accuracy")
    measure_throughput(tiles, options.out)
    output.write_table(accuracy, options.out / "accuracy.md")
    drawing.draw(accuracy, pd.concat(perturbed), options.out / "accuracy.png")
    print(counts.to_string(index=False))
    print((options.out / "accuracy.md").read_text(encoding="utf-8"))
    print(f"written to {options.out}")
    return 0


def measure_throughput(tiles: dict[str, list[np.ndarray]], out: Path) -> None:
    """Describe and compare the tiles of all collections, half of the pairs copies; beside dupnet_v0."""
    mixed = np.stack([tile for found in tiles.values() for tile in found])
    half = len(mixed) // 2
    table = throughput.measure(mixed, np.concatenate([mixed[:half], mixed[half:][::-1]]))
    write_measured(table, out, "accuracy_throughput.csv", "accuracy")
    print(table.to_string(index=False))


def errors_of_dupnet(scores: pd.DataFrame) -> pd.DataFrame:
    """The pairs that dupnet gets wrong at its shipped threshold, with what correlation says of each."""
    called = scores["dupnet"] >= load_weights().threshold
    wrong = scores[called != (scores["is_duplicate"] == 1)]
    columns = ["collection", "pair", "is_duplicate", "kind", "image1", "tile1", "image2", "tile2"]
    return wrong[[*columns, "dupnet", "correlation", "lowest_cell_correlation"]]


def calibration(scores: pd.DataFrame) -> pd.DataFrame:
    """The reliability table of dupnet's score, with the expected calibration error of all pairs."""
    found, is_duplicate = scores["dupnet"].to_numpy(), scores["is_duplicate"].to_numpy()
    table = reliability_table(found, is_duplicate)
    return table.assign(expected_calibration_error=expected_calibration_error(found, is_duplicate))


def best_first(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Each collection's rows by their errors; the collections in the order that they have."""
    parts = [rows for _, rows in accuracy.groupby("collection", sort=False)]
    by = ["errors_per_38780", "signal"]
    return pd.concat([rows.sort_values(by, kind="stable") for rows in parts], ignore_index=True)


def score_collection(
    name: str, folder: Path, groups: dict[str, str], signals: list[Signal], options: argparse.Namespace
) -> pd.DataFrame:
    """One row a pair: ``pair`` (its number), ``is_duplicate``, ``kind``, ``group``, the tiles, each signal,
    and for the first rows each metric. Pairs that show too little of the same ground are left out."""
    weights = load_weights()
    pairs = table_of_pairs(folder, groups)
    metrics = {key: metric for key, metric in PAIR_METRICS.items() if key not in SLOW_METRICS}
    parts, done = [], 0
    progress = tqdm(total=options.pairs, desc=f"{name}: hard pairs", unit="pair", file=sys.stderr)
    for batch, rows in hard_pairs(folder, pairs, options.pairs, options.seed):
        label = batch.is_duplicate.astype(int)
        kind = np.where(
            label == 1, "duplicate", np.where(rows["is_duplicate"] == 1, "another day", "other tile")
        )
        known = rows[["group", "image1", "tile1", "image2", "tile2"]]
        part = known.assign(pair=np.arange(done, done + len(rows)), is_duplicate=label, kind=kind)
        for signal in signals:
            n = min(len(part), max(0, options.slow_pairs - done)) if signal.slow else len(part)
            scores = signal.score(batch.tiles1[:n], batch.tiles2[:n]) if n else np.empty(0)
            part[signal.name] = np.append(scores, np.full(len(part) - n, np.nan))
        n = min(len(part), max(0, options.metric_pairs - done))
        for key, metric in metrics.items():
            values = [
                metric.likeness(*tiles) for tiles in zip(batch.tiles1[:n], batch.tiles2[:n], strict=True)
            ]
            part[f"metric {key}"] = np.append(values, np.full(len(part) - n, np.nan))
        done += len(part)
        one, two = (describe(grey_levels(tiles), weights).verify for tiles in (batch.tiles1, batch.tiles2))
        parts.append(part[share_evidence(one, two, weights)])
        progress.update(len(part))
    progress.close()
    return pd.concat(parts, ignore_index=True)


def judge(collection: str, scores: pd.DataFrame, signals: list[Signal]) -> list[dict[str, object]]:
    """Quality of each signal, and its cost over all collections; then of all metrics together, by a
    cross-validated random forest."""
    rows: list[dict[str, object]] = []
    for signal in signals:
        scored = scores.dropna(subset=[signal.name])
        labels, groups = scored["is_duplicate"].to_numpy(), scored["group"].to_numpy()
        found = with_exact_interval(
            quality_with_intervals(scored[signal.name].to_numpy(), labels, groups), len(scored)
        )
        cost = {**signal.microseconds, "bytes_per_tile": signal.bytes_per_tile}
        rows.append(
            {"collection": collection, "signal": signal.name, "n_pairs": len(scored), **found, **cost}
        )
    metrics = [column for column in scores.columns if column.startswith("metric ")]
    measured = scores.dropna(subset=metrics)
    if len(measured):
        labels, groups = measured["is_duplicate"].to_numpy(), measured["group"].to_numpy()
        forest = cross_validated_scores(measured[metrics], labels, groups)
        found = quality_with_intervals(forest, labels, groups)
        found = with_exact_interval(found, len(measured))
        rows.append(
            {"collection": collection, "signal": ALL_METRICS, "n_pairs": len(measured), **found}
            | {"us_describe": 0.0, "us_compare": np.nan, "bytes_per_tile": COLOUR_PIXELS}
        )
    return rows


def with_exact_interval(found: dict[str, float], n: int) -> dict[str, float]:
    """The qualities of ``n`` pairs, the interval of their errors no narrower than that of a binomial share:
    no bootstrap over groups draws an error where none was made, and would promise that there is none."""
    exact = errors_per(round(found["errors_per_38780"] * n / ORIGINAL_OVERLAPS), n)
    return found | {
        "errors_per_38780_low": min(found["errors_per_38780_low"], exact["errors_per_38780_low"]),
        "errors_per_38780_high": max(found["errors_per_38780_high"], exact["errors_per_38780_high"]),
    }


def perturb(
    collection: str, tiles: list[np.ndarray], signals: list[Signal], thresholds: dict[str, float]
) -> pd.DataFrame:
    """The share of tiles called duplicates of their originals, by perturbation, step and signal.

    Columns: ``collection, perturbation, step, signal, n, called_duplicate``. Both go through JPEG at quality
    95 last, as files would. The threshold is that of 99.99 % precision on the hard pairs. Of one place on
    another day nothing should be called a duplicate; a tile that would lend itself its detail is left out.
    """
    rng = np.random.default_rng(0)
    from dupnet.augment.variation import jpeg

    rows = []
    originals = np.stack([jpeg(tile, 95) for tile in tiles])
    for (name, step), change in tqdm(
        perturbations().items(), desc=f"{collection}: perturbations", file=sys.stderr
    ):
        others = rng.permutation(len(tiles))
        changed = [change(tile, tiles[other], rng) for tile, other in zip(tiles, others, strict=True)]
        changed = np.stack([tile if name == "JPEG quality" else jpeg(tile, 95) for tile in changed])
        first = originals[:, :, ::-1] if name == "flip of both" else originals
        second = changed[:, :, ::-1] if name == "flip of both" else changed
        counted = (others != np.arange(len(tiles))) | (name != drawing.OTHER_DAY)
        if not counted.any():
            continue
        for signal in signals:
            scores = signal.score(np.ascontiguousarray(first[counted]), np.ascontiguousarray(second[counted]))
            called = float((scores >= thresholds[signal.name]).mean())
            row = (collection, name, step, signal.name, int(counted.sum()), called)
            rows.append(row)
    columns = ["collection", "perturbation", "step", "signal", "n", "called_duplicate"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    sys.exit(main())
