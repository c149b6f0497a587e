"""``python -m benchmarks.accuracy.rare [--airbus DIR]``: rare kinds of pairs, drawn by another generator.

Of each kind of :data:`benchmarks.accuracy.rare_pairs.RARE_KINDS` so many pairs of held-out ground, as many
duplicates as not. ``dupnet`` reads them at its stored threshold; correlation and the lowest cell's
correlation at the thresholds that err least on pairs of the same kinds from validation ground. Writes
``accuracy_rare.csv``, one row a kind and signal, and ``accuracy_rare_errors.csv``, every pair that dupnet
gets wrong. Needs Derna and Kitsap (fetched into ``data/raw`` where missing); with ``--airbus``, the folder of
the Airbus images named in ``airbus_parts.csv``. No pixel is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from benchmarks.accuracy.pairs import airbus_sources
from benchmarks.accuracy.rare_pairs import RARE_KINDS, RarePair, draw_rare_pair
from benchmarks.record import write_measured
from dupnet.evaluation.scores import ORIGINAL_OVERLAPS, best_threshold, exact_interval
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.network import comparison, descriptors
from dupnet.tiles import grey_levels
from dupnet.training.crops import Source
from dupnet.training.recipe import acquisitions

BASELINES = ("correlation", "lowest_cell_correlation")
AT_A_TIME = 250


class Scored(NamedTuple):
    """Of n pairs: labels, whether there is anything to judge by, scores by signal, and groups."""

    is_duplicate: npt.NDArray[np.bool_]
    decidable: npt.NDArray[np.bool_]
    scores: dict[str, npt.NDArray[np.float64]]
    groups: npt.NDArray[np.object_]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.rare", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--airbus", type=Path, help="folder of the Airbus images named in airbus_parts.csv")
    parser.add_argument("--data", type=Path, default=Path("data/raw"), help="where acquisitions are kept")
    parser.add_argument("--part", choices=("validation", "test", "reserved"), default="test")
    parser.add_argument("--kinds", nargs="+", choices=tuple(RARE_KINDS), default=list(RARE_KINDS))
    parser.add_argument("--pairs", type=int, default=500, help="pairs of each kind")
    parser.add_argument("--tuning-pairs", type=int, default=150, help="pairs that set other thresholds")
    parser.add_argument("--weights", type=Path, help="weights of dupnet (default: the shipped ones)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    weights = descriptors.load_weights(options.weights)
    thresholds = {"dupnet": weights.threshold}
    if options.tuning_pairs:
        ground = sources_of("validation", options.data, options.airbus)
        tuned = [
            score(kind, ground, options.tuning_pairs, options.seed + 1, weights) for kind in options.kinds
        ]
        thresholds |= {name: threshold_of(tuned, name) for name in BASELINES}
    rows, errors = [], []
    ground = sources_of(options.part, options.data, options.airbus)
    for kind in options.kinds:
        scored = score(kind, ground, options.pairs, options.seed, weights)
        rows += [
            {"part": options.part, "kind": kind, "signal": name, **counted(scored, name, thresholds[name])}
            for name in thresholds
        ]
        errors.append(wrong_pairs(scored, thresholds["dupnet"]).assign(kind=kind))
    table = pd.concat([pd.DataFrame(rows), together(rows)], ignore_index=True)
    name = "accuracy_rare" if options.part == "test" else f"accuracy_rare_{options.part}"
    write_measured(table, options.out, f"{name}.csv", "accuracy", weights)
    all_errors = pd.concat(errors, ignore_index=True)
    write_measured(all_errors, options.out, f"{name}_errors.csv", "accuracy", weights)
    print(table.to_string(index=False))
    return 0


def sources_of(part: str, data: Path, airbus: Path | None) -> list[Source]:
    """Held-out ground of a part. What is reserved are Airbus images alone."""
    found = [] if part == "reserved" else acquisitions(part, data)
    return found + (airbus_sources(airbus, part) if airbus else [])


def score(kind: str, sources: Sequence[Source], n: int, seed: int, weights: descriptors.Weights) -> Scored:
    """``n`` pairs of a kind, judged by every signal."""
    parts = []
    for start in tqdm(range(0, n, AT_A_TIME), desc=kind, file=sys.stderr):
        pairs = [draw_rare_pair(kind, sources, seed, at) for at in range(start, min(start + AT_A_TIME, n))]
        parts.append(_score(pairs, weights))
    return Scored(
        np.concatenate([part.is_duplicate for part in parts]),
        np.concatenate([part.decidable for part in parts]),
        {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores},
        np.concatenate([part.groups for part in parts]),
    )


def _score(pairs: list[RarePair], weights: descriptors.Weights) -> Scored:
    tiles1, tiles2 = np.stack([pair.tile1 for pair in pairs]), np.stack([pair.tile2 for pair in pairs])
    one, two = (descriptors.describe(grey_levels(tiles), weights) for tiles in (tiles1, tiles2))
    scores = {"dupnet": comparison.score_pairs(one.verify, two.verify, weights).astype(np.float64)}
    for name in BASELINES:
        likeness = PAIR_METRICS[name].likeness
        values = [likeness(*pair) for pair in zip(tiles1, tiles2, strict=True)]
        scores[name] = np.nan_to_num(np.array(values, np.float64), nan=-1.0)
    shared = comparison.share_evidence(one.verify, two.verify, weights)
    return Scored(
        np.array([pair.is_duplicate for pair in pairs], bool),
        one.decidable & two.decidable & shared,
        scores,
        np.array([pair.group for pair in pairs], object),
    )


def threshold_of(parts: list[Scored], name: str) -> float:
    """The threshold with the fewest errors among the decidable pairs of all kinds."""
    labels = np.concatenate([part.is_duplicate[part.decidable] for part in parts])
    scores = np.concatenate([part.scores[name][part.decidable] for part in parts])
    return best_threshold(scores, labels)[0]


def counted(scored: Scored, name: str, threshold: float) -> dict[str, object]:
    """Errors of a signal among the decidable pairs, with the 95 % interval of a binomial share."""
    called = scored.scores[name] >= threshold
    seen, labels = scored.decidable, scored.is_duplicate
    false, missed = int((called & ~labels & seen).sum()), int((~called & labels & seen).sum())
    return {
        "threshold": threshold,
        "n_pairs": int(seen.sum()),
        "n_undecidable": int((~seen).sum()),
        "n_duplicates": int((labels & seen).sum()),
        "missed": missed,
        "false": false,
        **errors_per(missed + false, int(seen.sum())),
    }


def errors_per(wrong: int, n: int) -> dict[str, float]:
    """Errors for so many pairs as the original's figure, and their interval."""
    low, high = exact_interval(wrong, max(n, 1))
    return {
        "errors_per_38780": ORIGINAL_OVERLAPS * wrong / max(n, 1),
        "errors_per_38780_low": ORIGINAL_OVERLAPS * low,
        "errors_per_38780_high": ORIGINAL_OVERLAPS * high,
    }


def together(rows: list[dict[str, object]]) -> pd.DataFrame:
    """All kinds in one row a signal."""
    table = pd.DataFrame(rows)
    sums = ["n_pairs", "n_undecidable", "n_duplicates", "missed", "false"]
    all_kinds = table.groupby("signal", sort=False)[sums].sum().reset_index()
    first = table.drop_duplicates("signal").set_index("signal")
    all_kinds["part"], all_kinds["kind"] = first["part"].iloc[0], "all"
    all_kinds["threshold"] = first["threshold"].reindex(all_kinds["signal"]).to_numpy()
    wrong = all_kinds["missed"] + all_kinds["false"]
    spans = [errors_per(int(one), int(n)) for one, n in zip(wrong, all_kinds["n_pairs"], strict=True)]
    return pd.concat([all_kinds, pd.DataFrame(spans)], axis=1)[list(table.columns)]


def wrong_pairs(scored: Scored, threshold: float) -> pd.DataFrame:
    """The decidable pairs that dupnet gets wrong, with what every signal says of them."""
    wrong = scored.decidable & ((scored.scores["dupnet"] >= threshold) != scored.is_duplicate)
    rows = np.flatnonzero(wrong)
    values = {name: scores[rows] for name, scores in scored.scores.items()}
    return pd.DataFrame(
        {"pair": rows, "is_duplicate": scored.is_duplicate[rows].astype(int), "group": scored.groups[rows]}
        | values
    )


if __name__ == "__main__":
    sys.exit(main())
