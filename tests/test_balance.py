"""Groups go to splits as whole groups, as close to the shares as they allow."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dupnet.splits.balance import balanced, counts_of


def sizes(counts: np.ndarray, assigned: np.ndarray, n_splits: int) -> np.ndarray:
    held = np.zeros((n_splits, counts.shape[1]), np.int64)
    np.add.at(held, assigned, counts)
    return held


def test_images_are_counted_by_group_and_stratum() -> None:
    group, stratum = np.array([0, 0, 2, 1, 2, 2]), np.array([1, 0, 1, 1, 1, 0])
    assert counts_of(group, stratum).tolist() == [[2, 1, 1], [1, 0, 1], [3, 1, 2]]
    assert counts_of(group, np.zeros(6, np.int64)).tolist() == [[2], [1], [3]]
    assert counts_of(group[:0], stratum[:0]).shape[0] == 0


@pytest.mark.parametrize("seed", range(4))
def test_single_images_meet_the_shares_exactly(seed: int) -> None:
    counts = np.ones((200, 1), np.int64)
    share = np.array([0.7, 0.2, 0.1])
    assigned = balanced(counts, share, seed)
    assert np.bincount(assigned).tolist() == [140, 40, 20]
    assert (assigned != balanced(counts, share, seed + 1)).any()
    assert (assigned == balanced(counts, share, seed)).all()


@pytest.mark.parametrize("seed", range(6))
def test_no_assignment_of_few_groups_comes_closer(seed: int) -> None:
    """Every one of 2^9 assignments is tried."""
    counts = np.random.default_rng(seed).integers(1, 30, (9, 1))
    share = np.array([0.6, 0.4])
    wanted = share * counts.sum()

    def miss(assigned: np.ndarray) -> float:
        return float(((sizes(counts, assigned, 2)[:, 0] - wanted) ** 2 / wanted).sum())

    best = min(miss(np.array(choice)) for choice in product((0, 1), repeat=9))
    assert miss(balanced(counts, share, seed)) == pytest.approx(best)


def test_no_split_is_empty_where_there_are_groups_enough() -> None:
    counts = np.array([[1000], [1], [1]])
    assert sorted(balanced(counts, np.array([0.98, 0.01, 0.01]), 0)) == [0, 1, 2]
    assert sorted(balanced(counts[:2], np.array([0.5, 0.5]), 0)) == [0, 1]


def test_strata_are_spread_and_sizes_come_first() -> None:
    rng = np.random.default_rng(0)
    stratum = rng.integers(0, 3, 300)
    counts = counts_of(np.arange(300), stratum)
    held = sizes(counts, balanced(counts, np.array([0.5, 0.3, 0.2]), 1), 3)
    assert held[:, 0].tolist() == [150, 90, 60]
    np.testing.assert_allclose(
        held[:, 1:] / held[:, :1], np.tile(counts[:, 1:].mean(axis=0), (3, 1)), atol=0.02
    )
    # One stratum of three images can meet no ratio; it does not spoil the sizes.
    rare = counts_of(np.arange(300), (np.arange(300) < 3).astype(np.int64))
    held = sizes(rare, balanced(rare, np.array([0.8, 0.1, 0.1]), 0), 3)
    assert held[:, 0].tolist() == [240, 30, 30]


def test_of_many_groups_one_start_is_enough() -> None:
    counts = np.random.default_rng(1).geometric(0.3, (3000, 1))
    share = np.array([0.8, 0.1, 0.1])
    held = sizes(counts, balanced(counts, share, 0), 3)[:, 0]
    assert np.abs(held - share * counts.sum()).max() < 2
