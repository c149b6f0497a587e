"""Figures of how well signals tell duplicates from the rest: distributions, scores, verdicts, calibration."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from dupnet.evaluation.scores import expected_calibration_error, reliability_table, wilson_interval
from dupnet.figures.style import COLOURS, new_figure, require_columns, style

__all__ = ["distributions", "reliability", "score_histogram"]

Floats = npt.NDArray[np.floating]

N_BINS = 80
"""Bins of a distribution, or so: as many as can be told apart at half width."""

ODDS_REACH = 5
"""Score histograms reach from odds of 1 to 100,000 to odds of 100,000 to 1."""


def distributions(
    table: pd.DataFrame,
    signals: Sequence[str],
    truth: str = "is_duplicate",
    labels: Mapping[str, str] | None = None,
    log_counts: bool = False,
) -> Figure:
    """Duplicates (above the line) and non-duplicates (below it) for several signals on one shared axis.

    Each signal is scaled so that its lowest and highest value (0.1th and 99.9th percentile of all pairs) meet
    the ends of the axis, where they are written. Each histogram is scaled to its own highest bar, whose count
    stands on the right.

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
    with style():
        figure = new_figure(height=0.75 * len(signals) + 1.1)
        axes = figure.subplots()
        for level, signal in enumerate(signals):
            values = table[signal].to_numpy(float)
            low, high = np.nanpercentile(values, (0.1, 99.9))
            edges = _edges(values, low, high)
            values = np.clip(values, low, high)
            places = (edges - low) / (edges[-1] - low)
            for chosen, colour, sign in (
                (is_duplicate, "duplicate", 1),
                (~is_duplicate, "not_duplicate", -1),
            ):
                counts = np.histogram(values[chosen & ~np.isnan(values)], edges)[0].astype(float)
                axes.text(
                    1.15,
                    -level + 0.2 * sign,
                    f"{counts.max():,.0f}",
                    ha="right",
                    va="center",
                    fontsize=9.5,
                    color=COLOURS[colour],
                )
                counts = np.log1p(counts) if log_counts else counts
                heights = 0.42 * sign * counts / max(counts.max(), 1)
                name = ("duplicates" if sign > 0 else "non-duplicates") if level == 0 else None
                axes.fill_between(
                    places,
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
        axes.text(1.15, 0.62, "highest bar", ha="right", va="center", fontsize=9.5)
        axes.set_yticks([-level for level in range(len(signals))], names)
        axes.tick_params(axis="y", length=0, pad=48)
        axes.set_xticks([0, 0.5, 1], ["lowest", "half way", "highest"])
        axes.spines["left"].set_visible(False)
        axes.set_ylim(-len(signals) + 0.45, 0.5)
        axes.set_xlim(0, 1)
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def score_histogram(
    scores: Floats,
    is_duplicate: npt.NDArray[np.generic] | None = None,
    threshold: float | None = None,
    counted: str = "pairs",
) -> Figure:
    """Histogram of scores in [0, 1], by class where the truth is known; counts on a logarithmic axis.

    The scores are spread by their odds, s / (1 - s), on a logarithmic scale: nearly all lie next to 0 or 1,
    where equal steps of the score would show two bars. The outermost bars hold all that lies beyond. The axis
    begins and ends where the scores do, and holds the threshold.

    Parameters
    ----------
    scores
        (n,) float.
    is_duplicate
        (n,) truth, 1 or 0.
    threshold
        Score from which a pair is called a duplicate.
    counted
        What has a score: the label of the counts.
    """
    edges = np.linspace(-ODDS_REACH, ODDS_REACH, 10 * ODDS_REACH + 1).tolist()
    places = _log_odds(scores)
    with style():
        figure = new_figure(height=3.0)
        axes = figure.subplots()
        if is_duplicate is None:
            axes.hist(places, edges, color=COLOURS["duplicate"])
        else:
            truth = np.asarray(is_duplicate).astype(bool)
            for chosen, colour, name in (
                (~truth, "not_duplicate", "non-duplicates"),
                (truth, "duplicate", "duplicates"),
            ):
                axes.hist(
                    places[chosen],
                    edges,
                    color=COLOURS[colour],
                    histtype="stepfilled",
                    alpha=0.75,
                    label=name,
                )
        if threshold is not None:
            axes.axvline(
                float(_log_odds(np.array([threshold]))[0]),
                color=COLOURS["ink"],
                linestyle="--",
                linewidth=1.2,
                label=f"threshold {threshold:.2f}",
            )
        if threshold is not None or is_duplicate is not None:
            figure.legend(loc="outside upper center", ncols=3)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        low, high = _shown_range(places, threshold)
        axes.set_xlim(low, high)
        nines = [0.9, 0.99, 0.999, 0.9999]
        ticks = np.array([*(1 - tick for tick in reversed(nines)), 0.5, *nines])
        at = _log_odds(ticks)
        is_inside = (at >= low) & (at <= high) & (np.isclose(ticks, 0.5) | (np.abs(at) > 0.1 * (high - low)))
        axes.set_xticks(at[is_inside], [f"{tick:.4g}" for tick in ticks[is_inside]])
        axes.set_xlabel("score, spread by its odds")
        axes.set_ylabel(counted)
    return figure


def reliability(
    scores: Floats, is_duplicate: npt.NDArray[np.generic], n_bins: int = 10
) -> tuple[Figure, pd.DataFrame]:
    """Reliability diagram: share of true duplicates against the mean score, in bins of equal width.

    Each share with Wilson's interval of 95 %: a bin of a handful of pairs says little.

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
    The figure, and its table, as :func:`dupnet.evaluation.scores.reliability_table` makes it.
    """
    table = reliability_table(scores, is_duplicate, n_bins)
    error = expected_calibration_error(scores, is_duplicate, n_bins)
    counts = [(round(row.share_duplicate * row.n), row.n) for row in table.itertuples()]
    spans = np.array([wilson_interval(count, of) for count, of in counts])
    share = table["share_duplicate"].to_numpy()
    with style():
        figure = new_figure(height=4.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color=COLOURS["undecidable"], linestyle="--", linewidth=1, label="perfect")
        upper.errorbar(
            table["mean_score"],
            share,
            yerr=np.clip([share - spans[:, 0], spans[:, 1] - share], 0, None),
            fmt="o",
            color=COLOURS["duplicate"],
            elinewidth=1.4,
            label=f"measured with its 95 % interval, expected error {error:.2g}",
        )
        upper.set(ylabel="share of duplicates", ylim=(-0.03, 1.03), xlim=(-0.02, 1.02))
        figure.legend(loc="outside upper center", ncols=2)
        lower.bar(
            (table["low"] + table["high"]) / 2, table["n"], width=0.9 / n_bins, color=COLOURS["duplicate"]
        )
        lower.set_yscale("log")
        lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        lower.set(xlabel="score", ylabel="pairs")
    return figure, table


def _edges(values: Floats, low: float, high: float) -> Floats:
    """Edges of some 80 bins from ``low`` to past ``high``, each a whole number of the values' own steps wide.

    Bits come in steps of one or two; bins of another width would be empty by turns.
    """
    if high <= low:
        return np.array([low, low + 1.0])
    step = float(np.diff(np.unique(values[~np.isnan(values)])).min())
    width = step * max(1, round((high - low) / N_BINS / step))
    return np.asarray(low + width * np.arange(int((high - low) / width + 1e-6) + 2), dtype=float)


def _shown_range(places: Floats, threshold: float | None) -> tuple[float, float]:
    """Where the axis of a histogram of scores begins and ends."""
    held = places if threshold is None else np.append(places, _log_odds(np.array([threshold])))
    if not len(held):
        return -ODDS_REACH, ODDS_REACH
    low, high = np.floor(held.min() * 5) / 5 - 0.1, np.ceil(held.max() * 5) / 5 + 0.1
    return float(max(low, -ODDS_REACH)), float(min(max(high, low + 1), ODDS_REACH))


def _log_odds(scores: Floats) -> Floats:
    """Decimal logarithm of the odds of scores in [0, 1], held within the reach of the axis."""
    end = 1 / (1 + 10.0**ODDS_REACH)
    kept = np.clip(np.asarray(scores, float), end, 1 - end)
    return np.asarray(np.clip(np.log10(kept / (1 - kept)), -ODDS_REACH, ODDS_REACH))


def _short(value: float, span: float) -> str:
    """A number in about two digits; what is next to nothing on an axis that is ``span`` long is called 0."""
    if abs(value) < span / 1000:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
