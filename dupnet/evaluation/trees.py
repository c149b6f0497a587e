"""Decision trees on signals, as the original had them, and signals compared on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold
from sklearn.tree import DecisionTreeClassifier

from dupnet.evaluation.scores import ORIGINAL_OVERLAPS, bootstrap_groups, quality_with_intervals

__all__ = ["compare_signals", "cross_validated_scores", "fit_tree", "log_losses", "lowest_of_overlaps"]

Floats = npt.NDArray[np.floating]
Labels = npt.ArrayLike


def fit_tree(
    features: pd.DataFrame, is_duplicate: Labels, max_depth: int | None = 1
) -> DecisionTreeClassifier:
    """A decision tree on the columns of ``features``, the same every time; depth None grows it whole."""
    return DecisionTreeClassifier(max_depth=max_depth, random_state=0).fit(features, np.asarray(is_duplicate))


def cross_validated_scores(
    features: pd.DataFrame, is_duplicate: Labels, groups: npt.NDArray[np.generic], n_folds: int = 5
) -> Floats:
    """Share of duplicates that a model fitted to other groups predicts for each row: (n,) 0 to 1.

    One column: a decision tree of depth 1, that is a threshold. Several: a random forest of 200 trees.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    labels, groups = np.asarray(is_duplicate), np.asarray(groups)
    if len(np.unique(groups)) < n_folds:
        raise ValueError(
            f"groups: {len(np.unique(groups))} for {n_folds} folds; lower n_folds or add groups."
        )
    scores = np.full(len(labels), np.nan)
    values = features.to_numpy(np.float64)
    for fitted, held_out in GroupKFold(n_folds).split(values, labels, groups):
        if values.shape[1] == 1:
            model: Any = DecisionTreeClassifier(max_depth=1, random_state=0)
        else:
            model = RandomForestClassifier(200, min_samples_leaf=2, random_state=0, n_jobs=1)
        model.fit(values[fitted], labels[fitted])
        scores[held_out] = model.predict_proba(values[held_out])[:, list(model.classes_).index(1)]
    return scores


def compare_signals(
    features: pd.DataFrame,
    is_duplicate: Labels,
    groups: npt.NDArray[np.generic],
    combinations: Mapping[str, Sequence[str]] | None = None,
    *,
    n_folds: int = 5,
) -> pd.DataFrame:
    """Each column of ``features`` (n rows) alone, and each combination of them, on the same pairs.

    ``cross_validated_errors`` counts, on every row, the verdict of a model fitted to other groups; the
    threshold it carries over is what a user would have. ``errors_per_38780``, ``recall`` at 99.99 % precision
    and ``auc`` judge the signal at thresholds of its own choice. All intervals are by bootstrap over groups.

    Returns
    -------
    pandas.DataFrame
        ``signal, n, cross_validated_errors`` and, for each of ``cross_validated_per_38780``,
        ``errors_per_38780``, ``recall`` and ``auc``, the value and ``_low`` and ``_high``.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    labels, groups = np.asarray(is_duplicate), np.asarray(groups)
    signals = {column: [column] for column in features.columns}
    rows = []
    for name, columns in {**signals, **dict(combinations or {})}.items():
        folded = cross_validated_scores(features[list(columns)], labels, groups, n_folds)
        is_wrong = ((folded >= 0.5) != (labels == 1)).astype(np.float64)
        low, high = bootstrap_groups(partial(_errors_per_38780, is_wrong), groups)[0]
        signal = features[columns[0]].to_numpy(np.float64) if len(columns) == 1 else folded
        row: dict[str, Any] = {
            "signal": name,
            "n": len(labels),
            "cross_validated_errors": int(is_wrong.sum()),
            "cross_validated_per_38780": ORIGINAL_OVERLAPS * is_wrong.mean(),
            "cross_validated_per_38780_low": low,
            "cross_validated_per_38780_high": high,
        }
        row.update(quality_with_intervals(signal, labels, groups))
        rows.append(row)
    return pd.DataFrame(rows)


def _errors_per_38780(is_wrong: Floats, weights: Floats) -> list[float]:
    return [float(ORIGINAL_OVERLAPS * (weights * is_wrong).sum() / weights.sum())]


def lowest_of_overlaps(scores: Floats, overlaps: npt.NDArray[np.generic]) -> pd.Series:
    """Each overlap's lowest tile score, by which the original classified: Series indexed by overlap."""
    return pd.Series(np.asarray(scores, np.float64)).groupby(np.asarray(overlaps)).min().rename("score")


def log_losses(scores: Floats, is_duplicate: Labels) -> Floats:
    """Binary cross-entropy of each row: (n,) from 0 up.

    For showing what must not be a feature. It is ``-log(score)`` for a duplicate and ``-log(1 - score)`` for
    any other pair, so beside the score it spells out the label: a tree that is given both is right on every
    pair, whatever the network learned.
    """
    kept = np.clip(np.asarray(scores, np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(-np.where(np.asarray(is_duplicate) == 1, np.log(kept), np.log1p(-kept)))
