"""The histogram of scores, in percent of a plot's width and height, with the ticks of both axes.

Scores crowd at one, so the axis counts how far they are from it, by the logarithm: 0.9, 0.99 and 0.999 are as
far apart as each other. The axis begins and ends where the scores do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_BARS", "histogram"]

MOST_BARS, FEWEST_BARS = 24, 6
"""Bars of a histogram: the square root of the number of scores, within these."""

NEAREST = 1e-5
"""Distance from one up to which scores are told apart: their last decimal (``SCORE_DECIMALS`` of
:mod:`dupnet.find.overlaps`)."""

LINEAR_UP_TO = 20
"""Count up to which the axis of counts is linear; above, it is logarithmic, so that one overlap is seen
beside thousands."""


def histogram(scores: npt.ArrayLike) -> dict[str, Any] | None:
    """Bars and ticks of the scores in [0, 1], NaN left out; None without any.

    Returns
    -------
    ``bars``: dictionaries of ``low``, ``high`` (scores), ``count``, and ``x``, ``width``, ``height`` in
    percent of the plot; ``x_ticks``, ``y_ticks``: dictionaries of ``at`` in percent and ``label``;
    ``is_log``: whether heights grow with the logarithm.
    """
    values = np.asarray(scores, float)
    values = values[~np.isnan(values)].clip(0, 1)
    if not len(values):
        return None
    distance = -np.log10(np.maximum(1 - values, NEAREST))
    start, stop = _range(distance)
    n_bars = int(np.clip(math.isqrt(len(values)), FEWEST_BARS, MOST_BARS))
    counts, edges = np.histogram(distance.clip(start, stop), np.linspace(start, stop, n_bars + 1))
    top, y_ticks, is_log = _count_axis(int(counts.max()))
    floor = math.log10(0.5)

    def height(count: int) -> float:
        if not count:
            return 0.0
        return 100 * ((math.log10(count) - floor) / (math.log10(top) - floor) if is_log else count / top)

    width = 100 / n_bars
    bars = [
        {
            "low": _score(low),
            "high": _score(high),
            "count": int(count),
            "x": round(number * width, 3),
            "width": round(width, 3),
            "height": round(height(int(count)), 3),
        }
        for number, (count, low, high) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True))
    ]
    return {
        "bars": bars,
        "x_ticks": [
            {"at": round(100 * (at - start) / (stop - start), 3), "label": label}
            for at, label in _score_ticks(start, stop)
        ],
        "y_ticks": [{"at": round(height(tick), 3), "label": f"{tick:,}"} for tick in y_ticks],
        "is_log": is_log,
    }


def _range(distance: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Where the axis begins and ends: quarters of a decade around the scores."""
    low, high = float(distance.min()), float(distance.max())
    start, stop = math.floor(4 * low + 1e-9) / 4, math.ceil(4 * high - 1e-9) / 4
    return start, max(stop, start + 0.5)


def _score(distance: float) -> float:
    return float(1 - 10.0**-distance)


def _score_ticks(start: float, stop: float) -> list[tuple[float, str]]:
    """Scores such as 0.9 and 0.99 within a range of distances, and 0.95 or 0.98 where those are too few."""
    for steps in ((10,), (10, 5), (10, 5, 2)):
        found = []
        for decade in range(6):
            for step in steps:
                at = decade + 1 - math.log10(step)
                if start <= at <= min(stop, -math.log10(NEAREST)):
                    digits = decade + (step < 10)
                    found.append((at, f"{1 - step * 10.0 ** -(decade + 1):.{digits}f}"))
        if len(found) >= 3:
            break
    return sorted(found)


def _count_axis(most: int) -> tuple[int, list[int], bool]:
    """The top of the axis, its ticks, and whether it is logarithmic."""
    if most <= LINEAR_UP_TO:
        step = 1 if most <= 5 else 2 if most <= 10 else 5
        top = step * math.ceil(most / step)
        return top, list(range(0, top + 1, step)), False
    decades = [10**power for power in range(len(str(most)))]
    return max(most, 2 * decades[-1]), decades, True
