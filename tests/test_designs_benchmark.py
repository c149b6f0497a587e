"""The benchmark of designs: what it leaves out is not seen, and it runs from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.designs import __main__ as designs
from dupnet.network.layers import CellFeatures
from dupnet.training.batches import PairFeatures
from dupnet.training.config import TrainConfig
from dupnet.training.crops import Source
from dupnet.training.hard_pairs import write_pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(30, 220, (60, 60, 3)), np.ones((10, 10, 1)))
    image = np.clip(blocks + rng.normal(0, 8, blocks.shape), 0, 255).astype(np.uint8)
    folder = tmp_path_factory.mktemp("run")
    for name, n, seed in (("train", 40, 0), ("validation", 20, 1)):
        write_pairs([Source("noise", "noise", image)], {"noise": 1.0}, n, folder / f"{name}.npy", seed=seed)
    return folder


def test_columns_are_those_of_the_layer() -> None:
    every = sorted(designs.CORRELATIONS + designs.POWERS + designs.GAIN + designs.LEVELS)
    shape = {"powers": (None, 8, 8, designs.K)}
    assert every == list(range(CellFeatures().compute_output_shape(shape, shape)[-1]))


def test_a_head_that_sees_nothing_learns_nothing(run: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=16)
    train, validation = (PairFeatures([run / f"{part}.npy"]) for part in ("train", "validation"))
    sees_nothing = designs.Design(blanked=range(train.cells.shape[-1]), no_tile=True)
    blind = designs.judged(sees_nothing, train, validation, config)
    labels = validation.table["is_duplicate"]
    assert blind["wrong"] in (int(labels.sum()), int((1 - labels).sum()))


def test_the_command_from_end_to_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ["a fifth of the epochs", "as shipped", "twice as wide"]
    monkeypatch.setattr(designs, "DESIGNS", {name: designs.DESIGNS[name] for name in chosen})
    assert designs.main(f"--run {run} --pairs 30 --epochs 2 --out {run}".split()) == 0
    table = pd.read_csv(run / "designs.csv")
    assert table["design"].tolist() == chosen and (table["training_pairs"] == 30).all()
    assert table["epochs"].tolist() == [1, 2, 2]
    assert table["weights"].is_monotonic_increasing
    kinds = table["wrong_duplicates"] + table["wrong_small_or_ship"] + table["wrong_other"]
    assert (table["wrong"] == kinds).all()
    with pytest.raises(SystemExit):
        designs.main(["--run", str(run / "absent")])
