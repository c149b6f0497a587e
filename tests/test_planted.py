"""Planted overlaps contradict the places, and stand once each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dupnet.evaluation.planted import planted_overlaps
from dupnet.tiles import Grid, overlap_at


def groups(n: int) -> pd.DataFrame:
    return pd.DataFrame({"mosaic": [0] * n + [1], "row": [*range(n), 0], "col": [0] * (n + 1)})


def test_every_planted_overlap_is_wrong() -> None:
    table, grid = groups(6), Grid(3, 3, 256)
    planted = planted_overlaps(table, grid, 20, np.random.default_rng(3))
    key = ["image1", "image2", "y_offset", "x_offset"]
    assert 0 < len(planted) <= 20 and not planted.duplicated(key).any()
    assert (planted["score"] == 0.999).all()  # as sure as a true one, and less than certain
    for row in planted.itertuples():
        one, two = table.loc[row.image1], table.loc[row.image2]
        assert row.image1 < row.image2 < 6  # never of the small mosaic
        assert (row.y_offset, row.x_offset) != (256 * (two.row - one.row), 256 * (two.col - one.col))
        assert row.n_decidable == overlap_at(row.y_offset // 256, row.x_offset // 256, grid).n_tiles


def test_small_mosaics_are_refused() -> None:
    with pytest.raises(ValueError, match="no mosaic has 5 images"):
        planted_overlaps(groups(3), Grid(3, 3, 256), 1, np.random.default_rng(0))
