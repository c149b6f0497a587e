import numpy as np
import pandas as pd
import pytest

from dupnet.evaluation import planted_overlaps
from dupnet.tiles import Grid, overlap_at


def test_planted_overlaps_contradict_the_places_of_their_images():
    places = [(row, col) for row in range(2) for col in range(3)]
    groups = pd.DataFrame([*places, (0, 0), (0, 1)], columns=["row", "col"])
    groups["mosaic"] = [0] * 6 + [1] * 2
    grid = Grid(3, 3, 256)
    found = planted_overlaps(groups, grid, 40, np.random.default_rng(0))
    assert 20 < len(found) <= 40 and not found.duplicated(["image1", "image2", "y_offset", "x_offset"]).any()
    for row in found.itertuples():
        assert row.image1 < row.image2 <= 5  # the mosaic of two is too small
        offset = row.y_offset // 256, row.x_offset // 256
        one, two = places[row.image1], places[row.image2]
        assert offset != (two[0] - one[0], two[1] - one[1])
        assert row.n_decidable == overlap_at(*offset, grid).n_tiles
    with pytest.raises(ValueError, match="no mosaic has 7 images"):
        planted_overlaps(groups, grid, 1, np.random.default_rng(0), least=7)
