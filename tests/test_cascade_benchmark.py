"""The benchmark of the cascade's parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("benchmarks.designs", reason="benchmarks are not part of the installed package")

from benchmarks.designs.cascade import main, parts_of
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe, load_weights


@pytest.fixture(scope="module")
def verify() -> np.ndarray:
    rng = np.random.default_rng(0)
    tiles = rng.integers(80, 120, (10, 256, 256), dtype=np.uint8)
    other = tiles.copy()
    other[5:] = rng.integers(80, 120, (5, 256, 256), dtype=np.uint8)
    return np.stack([describe(tiles).verify, describe(other).verify], axis=1)


def test_parts_are_those_of_the_cascade(verify: np.ndarray) -> None:
    parts = parts_of(load_weights())
    one, two = np.ascontiguousarray(verify[:, 0]), np.ascontiguousarray(verify[:, 1])
    scores = {name: score_pairs(one, two, weights) for name, weights in parts.items()}
    members = [scores[name] for name in scores if name.startswith("member")]
    assert len(members) == len(load_weights().ensemble)
    np.testing.assert_allclose(np.mean(members, axis=0), scores["all members"], atol=1e-5)
    assert len({tuple(score.tolist()) for score in scores.values()}) >= len(members) + 1


def test_a_run_counts_errors_of_each_part(verify: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "validation.npy", verify)
    labels = pd.DataFrame({"is_duplicate": [1] * 5 + [0] * 5, "kind": ["duplicate"] * 5 + ["same"] * 5})
    labels.to_csv(tmp_path / "validation.csv", index=False)
    assert main(["--run", str(tmp_path), "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "designs_cascade.csv").set_index("part")
    assert (table["n"] == 10).all()
    assert table.loc["cascade", "wrong"] == 0
