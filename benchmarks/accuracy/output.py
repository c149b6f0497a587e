"""The benchmark's table, from its CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.markdown import markdown
from dupnet.files.atomic import atomic_path

HEADINGS = (
    "signal",
    "pairs",
    "errors per 38,780",
    "recall at 99.99 % precision",
    "area under ROC",
    "µs to describe a tile",
    "µs to compare a pair",
    "bytes a tile",
)


def write_table(accuracy: pd.DataFrame, path: Path) -> None:
    """One Markdown table a collection, best signal first."""
    lines = ["# Accuracy on held-out hard pairs", ""]
    for collection, rows in accuracy.groupby("collection", sort=False):
        lines += [f"## {collection}: {rows['n_pairs'].max():,} pairs", ""]
        cells = [
            [
                row["signal"],
                f"{row['n_pairs']:,}",
                _span(row, "errors_per_38780", "{:,.0f}"),
                _span(row, "recall", "{:.4f}"),
                _span(row, "auc", "{:.5f}"),
                _number(row["us_describe"]),
                _number(row["us_compare"]),
                f"{row['bytes_per_tile']:,}",
            ]
            for row in rows.to_dict("records")
        ]
        lines += [*markdown(HEADINGS, cells), ""]
    lines += [
        "Errors at each signal's own best threshold; in brackets, 95 % intervals by bootstrap over groups;",
        "those of errors are at least as wide as a binomial interval.",
        "Pairs are compared by stored descriptors, or by pixels for signals without a descriptor; times are",
        "means over all collections.",
        "",
    ]
    with atomic_path(path) as beside:
        beside.write_text("\n".join(lines), encoding="utf-8")


def _span(row: dict[str, float], name: str, style: str) -> str:
    value, low, high = (style.format(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) or value < 0.05 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
