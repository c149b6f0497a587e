"""How good a signal is: thresholds, errors, intervals, calibration.

A *signal* gives every pair a number that is higher where the tiles are more alike: a network's score, the
negative of a Hamming distance. Rows of one overlap group are not independent, so intervals resample whole
groups and cross-validation never splits one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

__all__ = [
    "ORIGINAL_OVERLAPS",
    "TARGET_PRECISION",
    "Confusion",
    "Interval",
    "SignalQuality",
    "best_threshold",
    "bootstrap_groups",
    "confusion",
    "exact_interval",
    "expected_calibration_error",
    "quality",
    "quality_with_intervals",
    "reliability_table",
    "threshold_for_precision",
    "wilson_interval",
]

ORIGINAL_OVERLAPS = 38_780
"""Labelled overlaps that the original classified, 12 of them wrongly; errors are stated per 38,780."""

TARGET_PRECISION = 0.9999
"""Precision at which the recall is stated: what the peers' benchmarks use."""

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.generic]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Confusion:
    """Counts of pairs by truth and verdict."""

    true_duplicates: int
    missed: int
    false_duplicates: int
    true_non_duplicates: int

    @property
    def n(self) -> int:
        """All pairs."""
        return self.true_duplicates + self.missed + self.false_duplicates + self.true_non_duplicates

    @property
    def errors(self) -> int:
        """Misclassified pairs."""
        return self.missed + self.false_duplicates

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """One row a rate: ``rate, value, low, high, count, of`` with Wilson's interval.

        Precision, recall, errors of all, and errors per 38,780.
        """
        called, are = self.true_duplicates + self.false_duplicates, self.true_duplicates + self.missed
        rows = []
        for name, count, of, scale in (
            ("precision", self.true_duplicates, called, 1),
            ("recall", self.true_duplicates, are, 1),
            ("error_rate", self.errors, self.n, 1),
            ("errors_per_38780", self.errors, self.n, ORIGINAL_OVERLAPS),
        ):
            low, high = wilson_interval(count, of, level) if of else (np.nan, np.nan)
            value = scale * count / of if of else np.nan
            rows.append((name, value, scale * low, scale * high, count, of))
        return pd.DataFrame(rows, columns=["rate", "value", "low", "high", "count", "of"])


class SignalQuality(NamedTuple):
    """Errors per 38,780 at the best threshold, recall at the target precision, area under the ROC curve."""

    errors_per_38780: float
    recall: float
    auc: float


def wilson_interval(count: int, of: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a share ``count / of``: close to the level for any share, never outside 0 to 1.

    Source: Wilson, 1927, doi:10.1080/01621459.1927.10502953.

    Raises
    ------
    ValueError
        If ``count`` is not from 0 to ``of``, or ``of`` is 0.
    """
    return _interval(count, of, level, "wilson")


def exact_interval(count: int, of: int, level: float = 0.95) -> Interval:
    """Clopper and Pearson's interval of a share: never covers less than the level, and so wider.

    For no error among ``of``, its upper end is the honest statement. Source: Clopper and Pearson, 1934,
    doi:10.1093/biomet/26.4.404.

    Raises
    ------
    ValueError
        If ``count`` is not from 0 to ``of``, or ``of`` is 0.
    """
    return _interval(count, of, level, "exact")


def _interval(count: int, of: int, level: float, method: str) -> Interval:
    if of < 1 or not 0 <= count <= of:
        raise ValueError(f"count is {count} of {of}; it must be from 0 to of, and of at least 1.")
    found = binomtest(int(count), int(of)).proportion_ci(level, method)
    return Interval(float(found.low), float(found.high))


def confusion(scores: Floats, is_duplicate: Labels, threshold: float) -> Confusion:
    """Count what a threshold makes of scores (n,); a score at or above it counts as a duplicate."""
    called, are = scores >= threshold, np.asarray(is_duplicate) == 1
    counts = confusion_matrix(are, called, labels=[True, False])
    return Confusion(*(int(count) for count in counts.ravel()))


@dataclass(frozen=True)
class _Steps:
    """Distinct scores from high to low, and the weight of duplicates and of others at or above each."""

    thresholds: Floats
    duplicates: Floats
    non_duplicates: Floats


def _steps(scores: Floats, is_duplicate: Labels, weights: Floats | None = None) -> _Steps:
    scores, are = np.asarray(scores, np.float64), np.asarray(is_duplicate) == 1
    if scores.shape != are.shape or scores.ndim != 1 or not len(scores):
        raise ValueError(
            f"scores has shape {scores.shape}, is_duplicate {are.shape}; both must be (n,), n > 0."
        )
    if np.isnan(scores).any():
        raise ValueError(f"scores holds {np.isnan(scores).sum()} NaN; a signal must rank every pair.")
    weight = np.ones(len(scores)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    duplicates = np.cumsum(np.where(are, weight, 0.0)[order])[last]
    non_duplicates = np.cumsum(np.where(are, 0.0, weight)[order])[last]
    return _Steps(ranked[last], duplicates, non_duplicates)


def best_threshold(scores: Floats, is_duplicate: Labels) -> tuple[float, int]:
    """The threshold with the fewest errors, and their number.

    Between two scores that do equally well the midpoint; infinity where calling nothing a duplicate is best.
    Chosen on the pairs that it is evaluated on, it is optimistic.

    Raises
    ------
    ValueError
        If scores and labels are not both (n,), n > 0, or a score is NaN.
    """
    steps = _steps(scores, is_duplicate)
    errors = np.append(steps.duplicates[-1] - steps.duplicates + steps.non_duplicates, steps.duplicates[-1])
    at = int(np.argmin(errors))
    if at == len(steps.thresholds):
        return np.inf, int(errors[at])
    below = steps.thresholds[at + 1] if at + 1 < len(steps.thresholds) else steps.thresholds[at]
    return float((steps.thresholds[at] + below) / 2), int(errors[at])


def threshold_for_precision(
    scores: Floats, is_duplicate: Labels, precision: float = TARGET_PRECISION
) -> tuple[float, float]:
    """The lowest safe threshold for a precision, and the recall there.

    Conservative in two ways. Every higher threshold keeps the precision too, so that none is chosen that only
    a lucky run of duplicates lifts over the target. And it is the score of the last duplicate that is
    accepted, not a point in the gap below it. Infinity and a recall of 0 if no threshold will do. With fewer
    than ``1 / (1 - precision)`` duplicates, only a threshold without a false duplicate does.

    Raises
    ------
    ValueError
        If there is no duplicate, ``precision`` is not above 0 and at most 1, or as :func:`best_threshold`.
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision is {precision}; it must lie above 0 and be at most 1.")
    steps = _steps(scores, is_duplicate)
    if steps.duplicates[-1] == 0:
        raise ValueError("is_duplicate holds no duplicate; a precision needs some.")
    at = _last_safe(steps, precision)
    if at < 0:
        return np.inf, 0.0
    # A last step that adds only non-duplicates within the allowance would lower the threshold for nothing.
    at = int(np.searchsorted(steps.duplicates, steps.duplicates[at]))
    return float(steps.thresholds[at]), float(steps.duplicates[at] / steps.duplicates[-1])


def _last_safe(steps: _Steps, precision: float) -> int:
    """The last step up to which all have the precision; -1 if there is none."""
    safe = steps.duplicates >= precision * (steps.duplicates + steps.non_duplicates)
    return int(np.argmin(safe)) - 1 if not safe.all() else len(safe) - 1


def quality(
    scores: Floats, is_duplicate: Labels, weights: Floats | None = None, precision: float = TARGET_PRECISION
) -> SignalQuality:
    """The three numbers by which signals are compared; row i of n counts ``weights[i]`` times.

    Raises
    ------
    ValueError
        As :func:`best_threshold`.
    """
    steps = _steps(scores, is_duplicate, weights)
    duplicates, non_duplicates = steps.duplicates, steps.non_duplicates
    n_duplicates, n_others = duplicates[-1], non_duplicates[-1]
    errors = np.append(n_duplicates - duplicates + non_duplicates, n_duplicates).min()
    at = _last_safe(steps, precision)
    gained = np.diff(np.append(0.0, duplicates))
    below = n_others - non_duplicates
    ties = np.diff(np.append(0.0, non_duplicates))
    pairs = n_duplicates * n_others
    return SignalQuality(
        float(ORIGINAL_OVERLAPS * errors / (n_duplicates + n_others)),
        float(duplicates[at] / n_duplicates) if at >= 0 and n_duplicates else 0.0,
        float((gained * (below + ties / 2)).sum() / pairs) if pairs else np.nan,
    )


def bootstrap_groups(
    statistic: Callable[[Floats], Sequence[float]],
    groups: npt.NDArray[np.generic],
    n_draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Percentile intervals of statistics when whole groups are drawn with replacement.

    Parameters
    ----------
    statistic
        Takes the weights (n,) of the rows, how often each was drawn, and returns one or more numbers, such as
        ``lambda weights: quality(scores, is_duplicate, weights)``.
    groups
        (n,) the group of each row.
    n_draws, level, seed
        Number of draws, coverage of the intervals, and the seed of the draws.

    Returns
    -------
    list of Interval
        One for each number. An interval of zero width means that no draw differed, not that the number is
        certain.
    """
    rng = np.random.default_rng(seed)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = int(member.max()) + 1
    drawn = [
        statistic(
            np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)[member].astype(np.float64)
        )
        for _ in range(n_draws)
    ]
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(
        np.asarray(drawn, np.float64).reshape(n_draws, -1), [tail, 100 - tail], axis=0
    )
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def reliability_table(scores: Floats, is_duplicate: Labels, n_bins: int = 10) -> pd.DataFrame:
    """One row a bin of scores that holds any: ``low, high, n, mean_score, share_duplicate``.

    Raises
    ------
    ValueError
        If a score is not in [0, 1].
    """
    scores, are = np.asarray(scores, np.float64), np.asarray(is_duplicate) == 1
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(f"scores span {scores.min()} to {scores.max()}; calibration needs scores in 0 to 1.")
    share, mean = calibration_curve(are, scores, n_bins=n_bins)
    edges = np.linspace(0, 1, n_bins + 1)
    n = np.bincount(np.searchsorted(edges[1:-1], scores), minlength=n_bins)  # the bins of calibration_curve
    table = {"low": edges[:-1][n > 0], "high": edges[1:][n > 0], "n": n[n > 0]}
    return pd.DataFrame({**table, "mean_score": mean, "share_duplicate": share})


def expected_calibration_error(scores: Floats, is_duplicate: Labels, n_bins: int = 10) -> float:
    """Mean distance, over all rows, of a bin's mean score from its share of duplicates: 0 (perfect) to 1.

    Raises
    ------
    ValueError
        If a score is not in [0, 1].
    """
    table = reliability_table(scores, is_duplicate, n_bins)
    gap = (table["mean_score"] - table["share_duplicate"]).abs()
    return float((gap * table["n"]).sum() / table["n"].sum())


def quality_with_intervals(
    scores: Floats, is_duplicate: Labels, groups: npt.NDArray[np.generic]
) -> dict[str, float]:
    """The fields of :class:`SignalQuality`, each with ``_low`` and ``_high`` by bootstrap over groups."""
    found = quality(scores, is_duplicate)
    spans = bootstrap_groups(lambda weights: quality(scores, is_duplicate, weights), groups)
    row: dict[str, float] = {}
    for name, value, (low, high) in zip(found._fields, found, spans, strict=True):
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row
