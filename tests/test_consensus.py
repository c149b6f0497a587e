"""Where values of many groups agree, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from dupnet.find.consensus import best_bins, distinct, medians, span


@pytest.mark.parametrize("seed", range(5))
def test_medians_counts_and_spans_agree_with_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, values = rng.integers(0, 6, 60), rng.integers(0, 9, 60).astype(float)
    group[:6] = np.arange(6)  # none is empty
    middle, counts, spans = (
        medians(group, values, 6),
        distinct(group, values.astype(int), 6),
        span(group, values, 6),
    )
    for number in range(6):
        own = np.sort(values[group == number])
        assert middle[number] == own[(len(own) - 1) // 2]
        assert counts[number] == len(set(own.tolist()))
        assert spans[number] == own[-1] - own[0]


def test_a_weight_moves_the_median() -> None:
    group, values = np.zeros(3, int), np.array([1.0, 2.0, 3.0])
    assert medians(group, values, 1, np.array([1.0, 1.0, 5.0])).tolist() == [3.0]


def test_of_each_pair_the_offset_of_most_rows_wins() -> None:
    """Pair 7: three rows near (10, 20), two far off; pair 9: nothing agrees."""
    both = np.array([7, 7, 7, 7, 7, 9, 9])
    down = np.array([10.0, 10.4, 9.8, 100.0, 101.0, 0.0, 50.0])
    right = np.array([20.0, 20.1, 19.9, -40.0, -41.0, 0.0, 70.0])
    pair, centre = best_bins(both, down, right)
    assert pair.tolist() == [0, 0, 0, 0, 0, -1, -1]
    assert centre[0].tolist() == [10.0, 20.0]
