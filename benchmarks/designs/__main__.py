"""``python -m benchmarks.designs [--run runs/dupnet]``: heads of other widths, and heads that see less.

Each is trained by the recipe on the first pairs of a run (``make train`` writes them) and judged on that
run's validation pairs. Writes ``designs.csv``. The held-out parts are not touched.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd

from dupnet.files.atomic import write_csv
from dupnet.network.architectures import DupnetConfig, HeadConfig, heads
from dupnet.network.layers import Cascade
from dupnet.training.batches import PairBatches, PairFeatures
from dupnet.training.config import TrainConfig
from dupnet.training.fitting import fit

K = DupnetConfig.n_filters
CORRELATIONS = [*range(K), 3 * K]
POWERS, GAIN, LEVELS = list(range(K, 3 * K)), [3 * K + 1], list(range(3 * K + 2, 3 * K + 6))
"""Columns of :class:`dupnet.network.layers.CellFeatures`."""

SHIPPED = DupnetConfig.ensemble
NEVER, ALWAYS = (98.0, 99.0), (-99.0, 99.0)
"""Deferral bands beyond every logit, and around all of them."""


class Design(NamedTuple):
    """What differs from the shipped design: settings of the model, columns of a cell that are blanked,
    whether all of the tile are, the share of the epochs, and the seed."""

    model: Mapping[str, Any] = {}
    blanked: Sequence[int] = ()
    no_tile: bool = False
    epochs: float = 1.0
    seed: int = 0


DESIGNS = {
    "as shipped": Design(),
    "from another start": Design(seed=1),
    "a fifth of the epochs": Design(epochs=0.2),
    "one member": Design({"n_members": 1}),
    "the first stage alone": Design({"deferral_band": NEVER}),
    "the ensemble alone": Design({"deferral_band": ALWAYS}),
    "half as wide": Design({"ensemble": HeadConfig((12, 8), 2, 6, (24, 12))}),
    "twice as wide": Design({"ensemble": HeadConfig((48, 32), 8, 24, (96, 48))}),
    "one layer a cell": Design({"ensemble": replace(SHIPPED, cell_units=(24,))}),
    "context of one number": Design({"ensemble": replace(SHIPPED, context_units=1)}),
    "context of twelve numbers": Design({"ensemble": replace(SHIPPED, context_units=12)}),
    "one layer a tile": Design({"ensemble": replace(SHIPPED, tile_units=(48,))}),
    "without the tile as a whole": Design(no_tile=True),
    "without gain": Design(blanked=GAIN),
    "without levels": Design(blanked=LEVELS),
    "without gain and levels": Design(blanked=GAIN + LEVELS),
    "without powers": Design(blanked=POWERS),
    "correlations alone": Design(blanked=POWERS + GAIN + LEVELS, no_tile=True),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.designs", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--run", type=Path, default=Path("runs/dupnet"), help="folder that make train wrote")
    parser.add_argument("--pairs", type=int, default=60_000, help="training pairs, the first of the run")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    files = [options.run / f"{part}.npy" for part in ("train", "validation")]
    missing = [path for path in files if not path.exists()]
    if missing:
        parser.error(f"{missing[0]} does not exist; make train writes it.")
    config = TrainConfig(n_train=options.pairs, epochs=options.epochs)
    train, validation = PairFeatures(files[:1], first=options.pairs), PairFeatures(files[1:])
    rows = []
    for name, design in DESIGNS.items():
        rows.append({"design": name, **judged(design, train, validation, config)})
        print(pd.DataFrame(rows[-1:]).to_string(header=len(rows) == 1, index=False), flush=True)
    write_csv(pd.DataFrame(rows), options.out / "designs.csv")
    return 0


def judged(
    design: Design, train: PairFeatures, validation: PairFeatures, config: TrainConfig
) -> dict[str, object]:
    """Weights, loss and errors at one half of a design's head."""
    keras.utils.set_random_seed(design.seed)
    model = replace(DupnetConfig(), **design.model)
    head = heads(model)
    epochs = max(1, round(config.epochs * design.epochs))
    fit(head, _seen(train, design), replace(config, epochs=epochs))
    seen, table = PairBatches(_seen(validation, design), 1024), validation.table
    scores = np.asarray(Cascade(model.deferral_band)(head.predict(seen, verbose=0))).ravel()
    is_duplicate = table["is_duplicate"].to_numpy()
    wrong, small = (scores >= 0.5) != (is_duplicate == 1), table["kind"].isin(["small", "ship"]).to_numpy()
    likely = np.clip(np.where(is_duplicate == 1, scores, 1 - scores), 1e-7, 1)
    return {
        "weights": head.count_params(),
        "training_pairs": len(train.table),
        "epochs": epochs,
        "validation_pairs": len(table),
        "loss": float(-np.log(likely).mean()),
        "wrong": int(wrong.sum()),
        "wrong_duplicates": int((wrong & (is_duplicate == 1)).sum()),
        "wrong_small_or_ship": int((wrong & small).sum()),
        "wrong_other": int((wrong & ~small & (is_duplicate == 0)).sum()),
    }


def _seen(pairs: PairFeatures, design: Design) -> PairFeatures:
    """The pairs as a design sees them."""
    seen = copy(pairs)
    if design.blanked:
        seen.cells = pairs.cells.copy()
        seen.cells[..., list(design.blanked)] = 0
    if design.no_tile:
        seen.tile = np.zeros_like(pairs.tile)
    return seen


if __name__ == "__main__":
    sys.exit(main())
