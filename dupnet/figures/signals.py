"""Figures of how well signals tell duplicates from the rest: distributions, scores, verdicts, calibration."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from dupnet.figures.style import COLOURS, new_figure, require_columns, style

__all__ = ["confusion", "distributions", "reliability", "score_histogram"]

Floats = npt.NDArray[np.floating]


def distributions(
    table: pd.DataFrame,
    signals: Sequence[str],
    truth: str = "is_duplicate",
    labels: Mapping[str, str] | None = None,
    log_counts: bool = False,
) -> Figure:
    """Duplicates (above the line) and non-duplicates (below it) for several signals on one shared axis.

    Each signal is scaled so that its lowest and highest value (0.1th and 99.9th percentile of all pairs) meet
    the ends of the axis, where they are written. Each histogram is scaled to its own highest bin.

    Parameters
    ----------
    table
        One row a pair: a numeric column for each signal, and the truth.
    signals
        The columns to draw, from top to bottom.
    truth
        The column that is 1 for a duplicate and 0 for a non-duplicate.
    labels
        A name to show for a column, where it differs.
    log_counts
        Draw the logarithm of one plus the count, so that single outliers are seen.

    Raises
    ------
    ValueError
        If a column is missing, or only one of the two classes is there.
    """
    require_columns(table, [*signals, truth])
    is_duplicate = table[truth].to_numpy().astype(bool)
    if is_duplicate.all() or not is_duplicate.any():
        raise ValueError(f"table[{truth!r}] holds one class only; give duplicates and non-duplicates.")
    edges = np.linspace(0, 1, 81)
    with style():
        figure = new_figure(height=0.75 * len(signals) + 1.1)
        axes = figure.subplots()
        for level, signal in enumerate(signals):
            values = table[signal].to_numpy(float)
            low, high = np.nanpercentile(values, (0.1, 99.9))
            scaled = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
            for chosen, colour, sign in (
                (is_duplicate, "duplicate", 1),
                (~is_duplicate, "not_duplicate", -1),
            ):
                counts = np.histogram(scaled[chosen & ~np.isnan(scaled)], edges)[0].astype(float)
                counts = np.log1p(counts) if log_counts else counts
                heights = 0.42 * sign * counts / max(counts.max(), 1)
                name = ("duplicates" if sign > 0 else "non-duplicates") if level == 0 else None
                axes.fill_between(
                    edges,
                    -level,
                    -level + np.append(heights, heights[-1]),
                    step="post",
                    color=COLOURS[colour],
                    linewidth=0,
                    label=name,
                )
            axes.axhline(-level, color=COLOURS["ink"], linewidth=0.6)
            axes.text(-0.015, -level, _short(low, high - low), ha="right", va="center", fontsize=9.5)
            axes.text(1.015, -level, _short(high, high - low), ha="left", va="center", fontsize=9.5)
        names = [
            textwrap.fill((labels or {}).get(signal, signal).replace("_", " "), 20) for signal in signals
        ]
        axes.set_yticks([-level for level in range(len(signals))], names)
        axes.tick_params(axis="y", length=0, pad=48)
        axes.set_xticks([0, 0.5, 1], ["lowest", "half way", "highest"])
        axes.spines["left"].set_visible(False)
        axes.set_ylim(-len(signals) + 0.45, 0.5)
        axes.set_xlim(0, 1)
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def score_histogram(
    scores: Floats, is_duplicate: npt.NDArray[np.generic] | None = None, threshold: float | None = None
) -> Figure:
    """Histogram of scores in [0, 1] on a logarithmic count axis, by class where the truth is known.

    Parameters
    ----------
    scores
        (n,) float.
    is_duplicate
        (n,) truth, 1 or 0.
    threshold
        Score from which a pair is called a duplicate.
    """
    edges = np.linspace(0, 1, 51).tolist()
    with style():
        figure = new_figure(height=3.0)
        axes = figure.subplots()
        if is_duplicate is None:
            axes.hist(scores, edges, color=COLOURS["duplicate"])
        else:
            truth = np.asarray(is_duplicate).astype(bool)
            for chosen, colour, name in (
                (~truth, "not_duplicate", "non-duplicates"),
                (truth, "duplicate", "duplicates"),
            ):
                axes.hist(
                    scores[chosen],
                    edges,
                    color=COLOURS[colour],
                    histtype="stepfilled",
                    alpha=0.75,
                    label=name,
                )
        if threshold is not None:
            axes.axvline(
                threshold,
                color=COLOURS["ink"],
                linestyle="--",
                linewidth=1.2,
                label=f"threshold {threshold:.2f}",
            )
        if threshold is not None or is_duplicate is not None:
            figure.legend(loc="outside upper center", ncols=3)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.set_xlim(0, 1)
        axes.set_xlabel("score")
        axes.set_ylabel("pairs")
    return figure


def confusion(
    counts: npt.ArrayLike,
    classes: Sequence[str] = ("not duplicate", "duplicate"),
    verdicts: Sequence[str] = ("not duplicate", "duplicate"),
    title: str = "",
) -> Figure:
    """Counts of truth (rows) against verdict (columns); right ones blue, wrong ones vermillion, others grey.

    Parameters
    ----------
    counts
        (len(classes), len(verdicts)) integers.
    classes, verdicts
        Names of the rows and of the columns.
    title
        A line above the table.
    """
    table = np.asarray(counts)
    with style():
        figure = new_figure(height=0.85 * len(classes) + 1.0, width=1.4 * len(verdicts) + 2.0)
        axes = figure.subplots()
        for row, name in enumerate(classes):
            for col, verdict in enumerate(verdicts):
                kind = (
                    "duplicate"
                    if name == verdict
                    else "not_duplicate"
                    if verdict in classes
                    else "undecidable"
                )
                colour = COLOURS[kind] if table[row, col] else COLOURS["faint"]
                axes.fill_between([col + 0.03, col + 0.97], row + 0.04, row + 0.96, color=colour, linewidth=0)
                axes.text(
                    col + 0.5,
                    row + 0.5,
                    f"{table[row, col]:,}",
                    ha="center",
                    va="center",
                    fontsize=13,
                    color="white" if table[row, col] else COLOURS["ink"],
                )
        axes.set_xticks(np.arange(len(verdicts)) + 0.5, verdicts)
        axes.set_yticks(np.arange(len(classes)) + 0.5, classes)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set(
            xlim=(0, len(verdicts)), ylim=(len(classes), 0), xlabel="verdict", ylabel="truth", title=title
        )
        axes.spines[:].set_visible(False)
    return figure


def reliability(
    scores: Floats, is_duplicate: npt.NDArray[np.generic], n_bins: int = 10
) -> tuple[Figure, pd.DataFrame]:
    """Reliability diagram: share of true duplicates against the mean score, in bins of equal width.

    Parameters
    ----------
    scores
        (n,) float in [0, 1].
    is_duplicate
        (n,) truth, 1 or 0.
    n_bins
        Bins of [0, 1].

    Returns
    -------
    The figure, and its table: ``mean_score``, ``share_duplicate``, ``n`` for each bin that holds a pair.
    """
    score, truth = np.asarray(scores, float), np.asarray(is_duplicate, float)
    bins = np.minimum((score * n_bins).astype(int), n_bins - 1)
    rows = [
        (score[bins == index].mean(), truth[bins == index].mean(), int((bins == index).sum()))
        for index in np.unique(bins)
    ]
    table = pd.DataFrame(rows, columns=["mean_score", "share_duplicate", "n"])
    error = float(
        (table["n"] * (table["mean_score"] - table["share_duplicate"]).abs()).sum() / table["n"].sum()
    )
    with style():
        figure = new_figure(height=4.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color=COLOURS["undecidable"], linestyle="--", linewidth=1, label="perfect")
        upper.plot(
            table["mean_score"],
            table["share_duplicate"],
            marker="o",
            label=f"measured, expected error {error:.2g}",
        )
        upper.set(ylabel="share of duplicates", ylim=(-0.03, 1.03), xlim=(0, 1))
        upper.legend(loc="upper left")
        centres = (np.unique(bins) + 0.5) / n_bins
        lower.bar(centres, table["n"], width=0.9 / n_bins, color=COLOURS["duplicate"])
        lower.set_yscale("log")
        lower.set(xlabel="score", ylabel="pairs")
    return figure, table


def _short(value: float, span: float) -> str:
    """A number in about two digits; what is next to nothing on an axis that is ``span`` long is called 0."""
    if abs(value) < span / 1000:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
