"""What the search at any offset hands on to that of whole tiles."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dupnet.find.overlaps import KEY
from dupnet.find.point_search import LEAST_POINTS, weak_images
from dupnet.find.point_table import PointTable
from dupnet.find.votes import EXACT_FROM


def test_weak_are_images_with_an_empty_tile_or_without_a_sure_proposal() -> None:
    """Five images of two tiles each; only the left tile of image 0 holds too few points."""
    n_points = np.array([[LEAST_POINTS - 1, LEAST_POINTS], *[[LEAST_POINTS, LEAST_POINTS]] * 4])
    image, tile = (at.repeat(n_points.ravel()) for at in np.indices(n_points.shape).reshape(2, -1))
    n = len(image)
    points = PointTable(
        np.full(n, 5, np.float32),
        (tile * 128 + 7).astype(np.float32),
        np.zeros(n, np.uint8),
        image.astype(np.int32),
        np.tile([128, 256], (5, 1)),
    )
    rows = [(0, 1, 0, 128, EXACT_FROM), (1, 2, 0, 0, EXACT_FROM), (2, 3, 0, 0, EXACT_FROM - 1)]
    proposals = pd.DataFrame(rows, columns=[*KEY, "n_votes"])
    assert weak_images(points, 128, proposals).tolist() == [0, 3, 4]
    assert weak_images(points, 256, proposals).tolist() == [3, 4]
