"""``python -m benchmarks.accuracy.hard [--airbus DIR]``: many hard pairs, at thresholds set elsewhere.

Hard pairs of held-out ground are drawn as for ``accuracy.csv``, by another seed. ``dupnet`` reads them at its
stored threshold, correlation and the lowest cell's correlation at those that err least on hard pairs from
validation ground. Writes ``accuracy_hard.csv``, one row a collection, kind and signal, and
``accuracy_hard_errors.csv``, every pair that dupnet gets wrong. No pixel is written but, with ``--pictures``,
those of these pairs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from benchmarks.accuracy.pairs import add_collections, find_collections, hard_pairs, table_of_pairs
from benchmarks.accuracy.rare import BASELINES, errors_per
from benchmarks.record import write_measured
from dupnet.evaluation.scores import best_threshold
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.network import comparison, descriptors
from dupnet.pairs.reader import PairBatch
from dupnet.tiles import grey_levels

KINDS = ("duplicate", "another day", "other tile")
TILES = ["image1", "tile1", "image2", "tile2"]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.hard", description=__doc__.split("\n\n")[0]
    )
    add_collections(parser)
    parser.add_argument("--pairs", type=int, default=26_000, help="hard pairs of each collection")
    parser.add_argument("--tuning-pairs", type=int, default=3000, help="of each, that set other thresholds")
    parser.add_argument("--weights", type=Path, help="weights of dupnet (default: the shipped ones)")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of every pair that is wrong")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    weights = descriptors.load_weights(options.weights)
    acquisitions = {"derna": options.derna, "kitsap": options.kitsap}
    scored = {}
    for part, n in (("validation", options.tuning_pairs), ("test", options.pairs)):
        collections = find_collections(options.airbus, acquisitions, options.work, part)
        pictures = options.pictures if part == "test" else None
        scored[part] = pd.concat(
            [
                score(name, folder, groups, n, options.seed, weights, pictures)
                for name, (folder, groups) in collections.items()
            ],
            ignore_index=True,
        )
    thresholds = {"dupnet": weights.threshold}
    decidable = scored["validation"][scored["validation"]["is_decidable"]]
    for name in BASELINES:
        thresholds[name], _ = best_threshold(decidable[name].to_numpy(), decidable["is_duplicate"].to_numpy())
    table = counted(scored["test"], thresholds)
    write_measured(table, options.out, "accuracy_hard.csv", "accuracy", weights)
    wrong = scored["test"][is_wrong(scored["test"], "dupnet", thresholds["dupnet"])]
    columns = ["collection", "pair", "is_duplicate", "kind", *TILES, *thresholds]
    write_measured(wrong[columns], options.out, "accuracy_hard_errors.csv", "accuracy", weights)
    print(table.to_string(index=False))
    return 0


def score(
    name: str,
    folder: Path,
    groups: dict[str, str],
    n: int,
    seed: int,
    weights: descriptors.Weights,
    pictures: Path | None = None,
) -> pd.DataFrame:
    """``n`` hard pairs of a collection, one row each: what they are, and what every signal says.

    Columns: ``collection, pair, group, image1, tile1, image2, tile2, is_duplicate, kind, is_decidable``, and
    one for each signal. A picture of those that dupnet gets wrong goes into ``pictures``.
    """
    pairs = table_of_pairs(folder, groups)
    parts: list[pd.DataFrame] = []
    done = 0
    with tqdm(total=n, desc=f"{name}: hard pairs", unit="pair", file=sys.stderr) as progress:
        for batch, rows in hard_pairs(folder, pairs, n, seed):
            labels = batch.is_duplicate.astype(int)
            no_duplicate = np.where(rows["is_duplicate"] == 1, "another day", "other tile")
            known = rows[["group", *TILES]].assign(
                collection=name,
                pair=np.arange(done, done + len(rows)),
                is_duplicate=labels,
                kind=np.where(labels == 1, "duplicate", no_duplicate),
            )
            part = known.assign(**_scores(batch, weights))
            if pictures is not None:
                for row in np.flatnonzero(is_wrong(part, "dupnet", weights.threshold)):
                    _draw(batch, int(row), pictures / f"{name}_{done + row}.png")
            parts.append(part)
            done += len(part)
            progress.update(len(part))
    return pd.concat(parts, ignore_index=True)


def _scores(batch: PairBatch, weights: descriptors.Weights) -> dict[str, npt.NDArray[np.generic]]:
    one, two = (descriptors.describe(grey_levels(tiles), weights) for tiles in (batch.tiles1, batch.tiles2))
    scores = comparison.score_pairs(one.verify, two.verify, weights)
    found: dict[str, npt.NDArray[np.generic]] = {
        "is_decidable": comparison.is_decided(one.verify, two.verify, scores, weights),
        "dupnet": scores,
    }
    for name in BASELINES:
        likeness = PAIR_METRICS[name].likeness
        values = [likeness(*tiles) for tiles in zip(batch.tiles1, batch.tiles2, strict=True)]
        found[name] = np.nan_to_num(np.array(values, np.float64), nan=-1.0)
    return found


def _draw(batch: PairBatch, row: int, path: Path) -> None:
    """Both tiles as they are, and beside them with their grey levels spread over the whole range."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tiles = [batch.tiles1[row], batch.tiles2[row]]
    for tile in tiles[:2]:
        grey = cv2.normalize(grey_levels(tile[None])[0], np.empty(0, np.uint8), 0, 255, cv2.NORM_MINMAX)
        tiles.append(np.repeat(grey[..., None], 3, axis=2))
    cv2.imwrite(str(path), cv2.cvtColor(np.hstack(tiles), cv2.COLOR_RGB2BGR))


def is_wrong(scored: pd.DataFrame, signal: str, threshold: float) -> npt.NDArray[np.bool_]:
    """Pairs with something to judge by that a signal gets wrong at a threshold."""
    called = scored[signal] >= threshold
    return np.asarray((called != (scored["is_duplicate"] == 1)) & scored["is_decidable"], bool)


def counted(scored: pd.DataFrame, thresholds: dict[str, float]) -> pd.DataFrame:
    """Errors by collection, kind and signal, all together first, with the interval of a binomial share.

    Columns: ``collection, kind, signal, threshold, n_pairs, n_undecidable, wrong, n_groups, groups_wrong``
    and ``errors_per_38780`` with ``_low`` and ``_high``. Pairs of one group are not independent, so
    ``groups_wrong`` says in how many of the groups the errors lie.
    """
    rows = []
    for collection in ("all", *scored["collection"].unique()):
        of_collection = scored if collection == "all" else scored[scored["collection"] == collection]
        for kind in ("all", *KINDS):
            part = of_collection if kind == "all" else of_collection[of_collection["kind"] == kind]
            group = part["collection"] + " " + part["group"].astype(str)
            n = int(part["is_decidable"].sum())
            for signal, threshold in thresholds.items():
                wrong = is_wrong(part, signal, threshold)
                rows.append(
                    {
                        "collection": collection,
                        "kind": kind,
                        "signal": signal,
                        "threshold": threshold,
                        "n_pairs": n,
                        "n_undecidable": len(part) - n,
                        "wrong": int(wrong.sum()),
                        "n_groups": group.nunique(),
                        "groups_wrong": group[wrong].nunique(),
                        **errors_per(int(wrong.sum()), n),
                    }
                )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(main())
