"""``python -m benchmarks.designs.cascade [--run runs/tuned]``: is the cascade needed?

The parts of shipped weights, each alone, on the pairs that a run drew to validate by: the first stage, each
member of the ensemble, the mean of all members, and the cascade. Errors at one half, mean cross entropy, and
the time for a pair. Needs the folder of a run (``make train`` or ``make tune`` writes it). Writes
``designs_cascade.csv``. The held-out parts are not touched.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import write_csv
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import Weights, load_weights
from dupnet.training.batches import is_told

ALWAYS, NEVER = (-1e6, 1e6), (1e6, 1e6 + 1)
"""Deferral bands around every logit, and beyond all of them."""

SETS = ("validation", "validation_rare", "usual")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.designs.cascade", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--run", type=Path, default=Path("runs/tuned"), help="folder that make tune wrote")
    parser.add_argument("--weights", type=Path, help="weights of dupnet (default: the shipped ones)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    files = {name: options.run / f"{name}.npy" for name in SETS}
    found = {name: path for name, path in files.items() if path.exists()}
    if not found:
        parser.error(f"{options.run} holds none of {', '.join(SETS)}; make tune writes them.")
    weights = load_weights(options.weights)
    rows = []
    for name, path in found.items():
        one, two, labels = read(path)
        for part, arrays in parts_of(weights).items():
            rows.append({"pairs": name, "part": part, **judged(one, two, labels, arrays)})
    table = pd.DataFrame(rows)
    write_csv(table, options.out / "designs_cascade.csv")
    print(table.to_string(index=False))
    return 0


def read(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Descriptors of both tiles of the pairs of a file, and which are duplicates."""
    verify, table = (
        np.load(path, allow_pickle=False),
        pd.read_csv(path.with_suffix(".csv"), keep_default_na=False),
    )
    told = np.array([is_told(*pair) for pair in zip(verify, table["kind"], strict=True)], bool)
    one, two = (np.ascontiguousarray(verify[told, side]) for side in (0, 1))
    return one, two, table.loc[told, "is_duplicate"].to_numpy() == 1


def parts_of(weights: Weights) -> dict[str, Weights]:
    """Weights that score by one part alone."""
    members = weights.member_names()
    found = {"first stage": replace(weights, deferral_band=NEVER)}
    for number, name in enumerate(members, start=1):
        others = tuple(f"{other}_" for other in members if other != name)
        arrays = {key: array for key, array in weights.arrays.items() if not key.startswith(others)}
        found[f"member {number}"] = replace(weights, arrays=arrays, deferral_band=ALWAYS)
    return found | {"all members": replace(weights, deferral_band=ALWAYS), "cascade": weights}


def judged(
    one: npt.NDArray[np.uint8],
    two: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.bool_],
    weights: Weights,
    measure: Callable[[], float] = time.perf_counter,
) -> dict[str, object]:
    """Errors, loss and time of some weights."""
    start = measure()
    scores = score_pairs(one, two, weights, workers=1)
    seconds = measure() - start
    wrong = (scores >= 0.5) != labels
    likely = np.clip(np.where(labels, scores, 1 - scores), 1e-7, 1)
    return {
        "n": len(labels),
        "wrong": int(wrong.sum()),
        "wrong_duplicates": int((wrong & labels).sum()),
        "loss": float(-np.log(likely).mean()),
        "us_compare": 1e6 * seconds / max(len(labels), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
