"""Tables that documents quote are of the weights and the code that are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("benchmarks.record", reason="benchmarks are not part of the installed package")

from benchmarks import record
from dupnet.network.descriptors import Weights, load_weights

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

PREFIXES = {"accuracy": "accuracy", "collections": "collections"}
"""Benchmark by the start of its tables' names."""


def benchmark_of(name: str) -> str | None:
    return PREFIXES.get(name.removesuffix(".csv").split("_")[0])


def tables() -> list[str]:
    return sorted(path.name for path in RESULTS.glob("*.csv") if benchmark_of(path.name))


def is_current(name: str) -> bool:
    made_by = RESULTS / record.MADE_BY
    if not made_by.exists():
        return False
    known = pd.read_csv(made_by, dtype=str).set_index("table")
    benchmark = benchmark_of(name)
    assert benchmark is not None
    expected = {key: str(value) for key, value in record.current(benchmark).items()}
    return name in known.index and known.loc[name].to_dict() == expected


@pytest.mark.parametrize("name", tables())
def test_a_table_is_as_new_as_what_it_measures(name: str) -> None:
    """If this fails, run the benchmark again: `make bench-accuracy`, `make bench-collections`, or for
    accuracy_rare.csv `python -m benchmarks.accuracy.rare`."""
    assert is_current(name)


def test_weights_are_told_by_every_array_and_setting() -> None:
    weights = load_weights()
    assert record.weights_hash(weights) == record.weights_hash()
    name = next(iter(weights.arrays))
    arrays = {**weights.arrays, name: weights.arrays[name] + np.float32(1e-3)}
    others = [
        Weights(arrays, weights.search_projection, weights.deferral_band, weights.threshold),
        Weights(weights.arrays, weights.search_projection, (-1.0, 1.0), weights.threshold),
        Weights(weights.arrays, weights.search_projection, weights.deferral_band, 0.9),
    ]
    assert len({record.weights_hash(), *(record.weights_hash(one) for one in others)}) == 4


def test_a_table_written_again_is_noted_once(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1]})
    for name in ("accuracy_b.csv", "accuracy_a.csv", "accuracy_b.csv"):
        record.write_measured(table, tmp_path, name, "accuracy")
    made = pd.read_csv(tmp_path / record.MADE_BY, dtype=str)
    assert made["table"].tolist() == ["accuracy_a.csv", "accuracy_b.csv"]
    assert (made["weights"] == record.weights_hash()).all()
