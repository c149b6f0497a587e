"""The benchmark's table and figure, from its CSV files."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks.markdown import markdown
from dupnet import figures
from dupnet.files.atomic import atomic_path

PANELS = (
    "JPEG quality",
    "hue",
    "lightness",
    "saturation",
    "gamma",
    "noise",
    "sharpening",
    "one place on another day",
)
UNITS = {
    "hue": "degrees",
    "lightness": "%",
    "saturation": "%",
    "gamma": "exponent",
    "noise": "standard deviation, levels",
    "sharpening": "weight",
}
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
SHOWN = ("dupnet", "dupnet_v0", "correlation", "perceptual_hash", "pdq", "block_mean_hash")


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
        "Errors at each signal's own best threshold; in brackets, 95 % intervals by bootstrap over groups.",
        "A pair is compared from descriptions at hand; where none is kept, from pixels.",
        "",
    ]
    with atomic_path(path) as beside:
        beside.write_text("\n".join(lines), encoding="utf-8")


def _span(row: dict[str, float], name: str, style: str) -> str:
    value, low, high = (style.format(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) or value < 0.05 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def draw(accuracy: pd.DataFrame, perturbed: pd.DataFrame, path: Path) -> None:
    """Errors of every signal, and recall of some by perturbation."""
    first = accuracy[accuracy["collection"] == accuracy["collection"].iloc[0]]
    first = first.sort_values("errors_per_38780", ascending=False, kind="stable")
    mean = perturbed.groupby(["perturbation", "step", "signal"])["called_duplicate"].mean().reset_index()
    with figures.style():
        figure = plt.figure(figsize=(10, 9), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.4])
        axes = top.subplots()
        errors = first["errors_per_38780"].to_numpy()
        low, high = (first[f"errors_per_38780_{end}"].to_numpy() for end in ("low", "high"))
        spread = np.maximum([errors - low, high - errors], 0)
        axes.errorbar(
            np.maximum(errors, 0.5), first["signal"], xerr=spread, fmt="o", color=figures.PALETTE[0]
        )
        axes.grid(visible=True, axis="x")
        axes.set_xscale("log")
        axes.set_xlabel("errors per 38,780 pairs at the best threshold (95 % interval)")
        panels = bottom.subplots(2, 4, sharey=True).ravel()
        for panel, name in zip(panels, PANELS, strict=True):
            for colour, marker, signal in zip(figures.PALETTE, "osD^vP", SHOWN, strict=False):
                rows = mean[(mean["perturbation"] == name) & (mean["signal"] == signal)].sort_values("step")
                if len(rows) > 1:
                    panel.plot(
                        rows["step"], rows["called_duplicate"], f"{marker}-", color=colour, label=signal
                    )
                elif len(rows):
                    panel.bar(signal, rows["called_duplicate"], color=colour)
            panel.set_title(name if name != PANELS[-1] else "another day: lower is better")
            panel.set_xlabel(UNITS.get(name, ""))
            if name == PANELS[-1]:
                panel.set_xticks([])
        panels[0].set_ylabel("called duplicate")
        panels[4].set_ylabel("called duplicate")
        bottom.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    with atomic_path(path) as beside:
        figure.savefig(beside, dpi=110)
    plt.close(figure)
