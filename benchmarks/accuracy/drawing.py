"""The figure of the benchmark: errors of every signal, and what each perturbation costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from dupnet import figures
from dupnet.files.atomic import atomic_path

__all__ = ["NAMES", "draw"]

NAMES = {
    "dupnet": "DupNet",
    "dupnet_v0": "DupNet v0, the original",
    "dupnet search descriptor": "DupNet's search descriptor",
    "all metrics together": "all metrics, a forest",
    "lowest_cell_correlation": "correlation, lowest cells",
    "correlation": "correlation of textures",
    "structural_similarity": "structural similarity",
    "perceptual_hash": "perceptual hash",
    "difference_hash": "difference hash",
    "wavelet_hash": "wavelet hash",
    "block_mean_hash": "block mean hash",
    "pdq": "PDQ hash",
    "EfficientNet-Lite0 embedding": "EfficientNet-Lite0 embedding",
}
"""What the signals are called in the figure; another keeps its own name."""

SHOWN = ("dupnet", "dupnet_v0", "correlation", "perceptual_hash", "pdq", "block_mean_hash")
"""Signals whose curves are drawn."""

PANELS = {
    "JPEG quality": "",
    "hue": "degrees",
    "lightness": "%",
    "saturation": "%",
    "gamma": "exponent",
    "noise": "standard deviation, levels",
    "sharpening": "weight",
}
"""Perturbations that have steps, and their units."""

OTHER_DAY = "one place on another day"

LEFT_END = 0.3
"""Errors at which the logarithmic axis begins: an interval that goes on below ends there with an arrow."""


def draw(accuracy: pd.DataFrame, perturbed: pd.DataFrame, path: Path) -> None:
    """Errors of every signal, and recall of some by perturbation.

    Parameters
    ----------
    accuracy
        ``accuracy.csv``; its first collection is drawn.
    perturbed
        ``accuracy_perturbations.csv``.
    path
        The PNG to write.
    """
    first = accuracy[accuracy["collection"] == accuracy["collection"].iloc[0]]
    mean = perturbed.groupby(["perturbation", "step", "signal"])["called_duplicate"].mean().reset_index()
    with figures.style():
        figure = figures.new_figure(height=10.2)
        top, bottom = figure.subfigures(2, 1, height_ratios=[0.24 * len(first) + 0.7, 6.4])
        _errors(top.subplots(), first.sort_values("errors_per_38780", kind="stable"))
        _perturbations(bottom, mean)
        with atomic_path(path) as beside:
            figure.savefig(beside, format="png", dpi=150, metadata={"Software": None})


def _errors(axes: Axes, rows: pd.DataFrame) -> None:
    """One signal a line, fewest errors first; the number stands at the end of its interval."""
    for level, row in enumerate(rows.to_dict("records")):
        errors, low, high = (row[f"errors_per_38780{end}"] for end in ("", "_low", "_high"))
        colour = figures.COLOURS["accent" if row["signal"] == "dupnet" else "duplicate"]
        axes.plot([max(low, LEFT_END), max(high, LEFT_END)], [level, level], color=colour, linewidth=2)
        if low < LEFT_END:
            axes.plot(LEFT_END, level, "<", color=colour, markersize=6, clip_on=False)
        axes.plot(max(errors, LEFT_END), level, "o", color=colour, markersize=6)
        axes.annotate(
            f"{errors:,.0f}",
            (max(high, LEFT_END), level),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
        )
    axes.set_yticks(range(len(rows)), [NAMES.get(name, name) for name in rows["signal"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(LEFT_END, max(38_780, 1.1 * rows["errors_per_38780_high"].max()))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("errors per 38,780 pairs, and 95 % interval")
    axes.grid(visible=True, axis="x")


def _perturbations(figure: SubFigure, mean: pd.DataFrame) -> None:
    """A panel a perturbation. Where curves lie on each other the later ones are thinner, so that all show."""
    panels = figure.subplots(3, 3).ravel()
    for panel, (name, unit) in zip(panels, PANELS.items(), strict=False):
        for number, signal in enumerate(SHOWN):
            rows = mean[(mean["perturbation"] == name) & (mean["signal"] == signal)].sort_values("step")
            panel.plot(
                rows["step"],
                rows["called_duplicate"],
                f"{'osD^vP'[number]}-",
                color=figures.PALETTE[number],
                linewidth=5.5 - 0.9 * number,
                markersize=9 - 1.1 * number,
                label=NAMES[signal],
            )
        panel.set_ylim(-0.06, 1.06)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.set_title(name)
        panel.set_xlabel(unit)
    for panel in panels[:7:3]:
        panel.set_ylabel("duplicates found")
    _other_day(panels[7], mean)
    handles, labels = panels[0].get_legend_handles_labels()
    panels[8].axis("off")
    panels[8].legend(handles, labels, loc="center", borderpad=0, handlelength=1.6)


def _other_day(panel: Axes, mean: pd.DataFrame) -> None:
    """How many pairs of another day each signal takes for duplicates, as bars with their numbers."""
    rows = mean[mean["perturbation"] == OTHER_DAY].set_index("signal")["called_duplicate"].reindex(SHOWN)
    values = rows.to_numpy(float)
    panel.barh(range(len(SHOWN)), values, color=figures.PALETTE[: len(SHOWN)])
    for level, value in enumerate(values):
        text = "–" if np.isnan(value) else f"{value:.2%}" if value else "0"
        panel.text(np.nan_to_num(value), level, f" {text}", va="center", fontsize=9.5)
    panel.set_ylim(len(SHOWN) - 0.4, -0.6)
    panel.set_xlim(0, max(2.2 * np.nanmax(values), 0.02) if np.isfinite(values).any() else 1)
    panel.set_yticks([])
    panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panel.locator_params(axis="x", nbins=3)
    panel.set_title("another day")
    panel.set_xlabel("accepted: lower is better")
