"""Common ground of changed images: shares, areas, and labels carried over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dupnet.images.transforms import MATRIX_COLUMNS
from dupnet.splits.changed import areas_of_outlines, inside, mask_carried, shares_of, things_carried
from dupnet.splits.labels import Thing

HALF = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
"""Image 2 at half its size, in the upper left corner of image 1."""


def pair_of(matrix: np.ndarray, **others: int) -> pd.DataFrame:
    columns = dict(zip(MATRIX_COLUMNS, matrix.ravel(), strict=True))
    row = {"number1": 0, "number2": 1, "y_offset": 0, "x_offset": 0, "height": 100, "width": 100, **others}
    return pd.DataFrame([{**row, "flip": 0, "turn": 0, "scale": 0.5, "rotation": 0.0, **columns}])


def test_the_share_is_of_the_image_that_is_smaller_when_laid_on_the_other() -> None:
    sizes = np.array([(100, 100), (200, 100)])  # as large as 100 x 50 of image 1
    assert shares_of(pair_of(HALF), sizes).tolist() == pytest.approx([1.0], abs=0.02)
    sizes = np.array([(50, 100), (200, 100)])  # half of it lies outside
    assert shares_of(pair_of(HALF), sizes).tolist() == pytest.approx([0.5], abs=0.02)


def test_each_image_is_counted_in_its_own_frame() -> None:
    sizes = np.array([(100, 100), (200, 100)])
    ends = {"entry1": np.array([7]), "entry2": np.array([9])}
    shown = areas_of_outlines(pair_of(HALF), ends, sizes)
    assert shown[7].shape == (100, 100) and abs(int(shown[7].sum()) - 5_000) <= 200
    assert shown[9].shape == (200, 100) and shown[9].mean() > 0.98


def test_inside_a_polygon_of_either_sense() -> None:
    corners = np.array([(0, 0), (0, 4), (4, 0)], float)
    assert inside(corners, 0, 0, 4, 4).sum() == inside(corners[::-1], 0, 0, 4, 4).sum() == 10


def test_boxes_and_masks_are_carried_over() -> None:
    (thing,) = things_carried([Thing("ship", (20.0, 40.0, 10.0, 30.0), None)], HALF, (100, 100))
    assert thing.label == "ship" and thing.box == pytest.approx((10, 20, 5, 15))
    mask = np.zeros((200, 100), bool)
    mask[20:30, 40:70] = True
    rows, cols = np.nonzero(mask_carried(mask, HALF, (100, 100)))
    assert (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == (10, 15, 20, 35)
