"""Where values of many groups agree: bins, weighted medians and counts, of all groups at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BIN", "best_bins", "distinct", "medians", "span"]

Numbers = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

BIN = 4.0
"""Side of a bin in pixels: offsets in one bin agree."""


def best_bins(both: Numbers, dy: Float, dx: Float) -> tuple[Numbers, Float]:
    """For every row the pair's number if its best bin has two votes (else -1), and the median offset in
    it."""
    pair = np.unique(both, return_inverse=True)[1]
    n_pairs = int(pair.max()) + 1
    best = np.zeros(n_pairs, np.int64)
    chosen = np.zeros(len(both), np.bool_)
    # Four grids, half a bin apart: what agrees within half a bin shares a bin of one of them.
    for shift_y in (0.0, 0.5):
        for shift_x in (0.0, 0.5):
            row = np.floor(dy / BIN + shift_y).astype(np.int64)
            column = np.floor(dx / BIN + shift_x).astype(np.int64)
            # Pair, row and column in one number, which sorts like them.
            n_columns = int(column.max()) - int(column.min()) + 1
            n_rows = int(row.max()) - int(row.min()) + 1
            key = (pair * n_rows + (row - row.min())) * n_columns + (column - column.min())
            order = np.argsort(key, kind="stable")  # rows come nearly sorted by pair
            fresh = np.append(True, np.diff(key[order]) != 0)
            number = np.cumsum(fresh) - 1
            counts = np.bincount(number)
            of_bin = pair[order[fresh]]
            # The best of each pair; of equal bins the first, in the order of row and column.
            starts = np.flatnonzero(np.append(True, of_bin[1:] != of_bin[:-1]))
            most = np.maximum.reduceat(counts, starts)
            leading = np.flatnonzero(counts == np.repeat(most, np.diff(np.append(starts, len(of_bin)))))
            winners = leading[np.append(True, np.diff(of_bin[leading]) != 0)]
            better = winners[counts[winners] > best[of_bin[winners]]]
            improved = np.zeros(n_pairs, np.bool_)
            improved[of_bin[better]] = True
            best[of_bin[better]] = counts[better]
            chosen[improved[pair]] = False
            is_better = np.zeros(len(of_bin), np.bool_)
            is_better[better] = True
            chosen[order] |= is_better[number]
    centre = np.stack([medians(pair[chosen], values[chosen], n_pairs) for values in (dy, dx)], axis=1)
    return np.where(best[pair] >= 2, pair, -1), centre[pair]


def medians(group: Numbers, values: Float, n_groups: int, weight: Float | None = None) -> Float:
    """Weighted (lower) median of the values of each group."""
    weight = np.ones(len(values)) if weight is None else weight
    order = np.lexsort((values, group))
    total = np.bincount(group, weight, n_groups)
    before = np.concatenate([[0.0], np.cumsum(total)])[group[order]]
    running = np.cumsum(weight[order]) - before
    reached = np.flatnonzero(running >= total[group[order]] / 2 - 1e-9)
    medians = np.full(n_groups, np.nan)
    # The first that reaches half: written last.
    medians[group[order][reached][::-1]] = values[order][reached][::-1]
    return medians


def distinct(group: Numbers, values: Numbers, n: int) -> Numbers:
    """How many different values each group has."""
    order = np.lexsort((values, group))
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (np.diff(group[order]) != 0) | (np.diff(values[order]) != 0)
    return np.bincount(group[order[fresh]], minlength=n)


def span(group: Numbers, values: Float, n: int) -> Float:
    """Largest less smallest value of each group."""
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, group, values)
    np.maximum.at(high, group, values)
    return np.asarray(high - low)
