"""What made a result table: the weights and the code that it measures, kept beside the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dupnet.files.atomic import write_csv
from dupnet.network.descriptors import DESCRIPTOR_VERSION, Weights, load_weights

__all__ = ["MADE_BY", "MEASURES", "current", "record", "weights_hash", "write_measured"]

MADE_BY = "made_by.csv"
"""Table of the tables: ``table``, the ``benchmark`` that wrote it, its ``version``, the ``descriptors`` it
was made with (:data:`dupnet.network.descriptors.DESCRIPTOR_VERSION`) and the ``weights``."""

MEASURES = {"accuracy": 3, "collections": 2}
"""Version of what each benchmark measures: raise it with every change of its pairs, its counting, or the code
below it (encoder and weights aside, which are told by themselves) that changes a number."""

COLUMNS = ["table", "benchmark", "version", "descriptors", "weights"]


def weights_hash(weights: Weights | None = None) -> str:
    """Twelve digits that stand for trained weights: of the SHA-256 of their arrays and settings."""
    weights = weights or load_weights()
    found = hashlib.sha256(repr((weights.deferral_band, weights.threshold)).encode())
    for name in sorted(weights.arrays):
        found.update(name.encode())
        found.update(weights.arrays[name].tobytes())
    return found.hexdigest()[:12]


def current(benchmark: str, weights: Weights | None = None) -> dict[str, object]:
    """What a table of a benchmark made now is made by."""
    return {
        "benchmark": benchmark,
        "version": MEASURES[benchmark],
        "descriptors": DESCRIPTOR_VERSION,
        "weights": weights_hash(weights),
    }


def record(out: Path, tables: Iterable[str], benchmark: str, weights: Weights | None = None) -> None:
    """Note in ``out / made_by.csv`` what made some tables."""
    path = out / MADE_BY
    known = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=COLUMNS, dtype=str)
    names = list(tables)
    made = pd.DataFrame([{"table": name, **current(benchmark, weights)} for name in names]).astype(str)
    kept = known[~known["table"].isin(names)]
    table = pd.concat([kept, made], ignore_index=True)[COLUMNS].sort_values("table")
    write_csv(table, path)


def write_measured(
    table: pd.DataFrame, out: Path, name: str, benchmark: str, weights: Weights | None = None
) -> None:
    """Write a result table, and note what made it."""
    write_csv(table, out / name)
    record(out, [name], benchmark, weights)
