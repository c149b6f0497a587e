"""``python -m benchmarks.designs [--run runs/dupnet]``: heads of other widths, and heads that see less.

Each is trained by the recipe on the first pairs of a run (``make train`` writes them) and judged on that
run's validation pairs. Writes ``designs.csv``. The held-out parts are not touched.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from dupnet.files import write_csv
from dupnet.models import DupnetConfig, judge
from dupnet.recipe import PairFeatures, Recipe

K = DupnetConfig.n_filters
CORRELATIONS = [*range(K), 3 * K]
POWERS, GAIN, LEVELS = list(range(K, 3 * K)), [3 * K + 1], list(range(3 * K + 2, 3 * K + 6))
"""Columns of :class:`dupnet.layers.CellFeatures`."""

DESIGNS: dict[str, tuple[dict[str, object], list[int], bool]] = {
    "as shipped": ({}, [], False),
    "half as wide": ({"cell_units": (8, 6), "neighbour_units": 6, "tile_units": (12,)}, [], False),
    "wider": ({"cell_units": (24, 16), "neighbour_units": 16}, [], False),
    "twice as wide": ({"cell_units": (32, 24), "neighbour_units": 24, "tile_units": (48,)}, [], False),
    "without the tile as a whole": ({}, [], True),
    "without gain": ({}, GAIN, False),
    "without levels": ({}, LEVELS, False),
    "without gain and levels": ({}, GAIN + LEVELS, False),
    "without powers": ({}, POWERS, False),
    "correlations alone": ({}, POWERS + GAIN + LEVELS, True),
}
"""Other settings than the shipped ones, columns of a cell that are blanked, whether all of the tile are."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.designs", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--run", type=Path, default=Path("runs/dupnet"), help="folder that make train wrote")
    parser.add_argument("--pairs", type=int, default=60_000, help="training pairs, the first of the run")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    files = [options.run / f"{part}.npy" for part in ("train", "validation")]
    missing = [path for path in files if not path.exists()]
    if missing:
        parser.error(f"{missing[0]} does not exist; make train writes it.")
    recipe = Recipe(n_train=options.pairs, epochs=options.epochs)
    train = PairFeatures(files[:1], recipe.batch_size, recipe.seed, first=options.pairs)
    validation = PairFeatures(files[1:], 1024, None)
    rows = []
    for name, (changed, cell_columns, no_tile) in DESIGNS.items():
        config = replace(recipe.model, **changed)
        rows.append({"design": name, **judged(config, train, validation, recipe, cell_columns, no_tile)})
        print(pd.DataFrame(rows[-1:]).to_string(header=len(rows) == 1, index=False), flush=True)
    write_csv(pd.DataFrame(rows), options.out / "designs.csv")
    return 0


def judged(
    config: DupnetConfig,
    train: PairFeatures,
    validation: PairFeatures,
    recipe: Recipe,
    cell_columns: list[int],
    no_tile: bool,
) -> dict[str, object]:
    """Weights, loss and errors at one half of a head trained without some columns of cells or of the tile."""
    keras.utils.set_random_seed(recipe.seed)
    head = judge(config)
    cells, whole = head.inputs
    seen = np.ones(cells.shape[-1], np.float32)
    seen[cell_columns] = 0
    blanked = [cells * seen, whole * (0.0 if no_tile else 1.0)]
    model = keras.Model(head.inputs, head(blanked))
    steps = train.num_batches * recipe.epochs
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay), "binary_crossentropy")
    model.fit(train, epochs=recipe.epochs, verbose=0)
    scores, table = model.predict(validation, verbose=0).ravel(), validation.table
    is_duplicate = table["is_duplicate"].to_numpy()
    wrong, small = (scores >= 0.5) != (is_duplicate == 1), table["kind"].isin(["small", "ship"]).to_numpy()
    likely = np.clip(np.where(is_duplicate == 1, scores, 1 - scores), 1e-7, 1)
    return {
        "weights": head.count_params(),
        "training_pairs": len(train.table),
        "validation_pairs": len(table),
        "loss": float(-np.log(likely).mean()),
        "wrong": int(wrong.sum()),
        "wrong_duplicates": int((wrong & (is_duplicate == 1)).sum()),
        "wrong_small_or_ship": int((wrong & small).sum()),
        "wrong_other": int((wrong & ~small & (is_duplicate == 0)).sum()),
    }


if __name__ == "__main__":
    sys.exit(main())
