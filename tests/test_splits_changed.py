"""Common ground of changed images: shares, areas, and labels carried over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dupnet.images.transforms import MATRIX_COLUMNS
from dupnet.splits.changed import areas_of_outlines, inside, mask_carried, shares_of, things_carried
from dupnet.splits.conflicts import _Laid
from dupnet.splits.labels import Thing

Box = tuple[float, float, float, float]

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


@pytest.mark.parametrize("rows", [slice(20, 30), slice(190, 200), slice(0, 0)])
def test_outlines_are_carried_over(rows: slice) -> None:
    """Run lengths go down the columns, the first of them of what lies outside, as COCO has them."""
    mask = np.zeros((200, 100), bool)
    mask[rows, 40:100] = True
    changes = np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0, append=2))
    counts = np.diff(changes, prepend=0).tolist()
    polygon = np.array([(40.0, 20.0), (100.0, 20.0), (100.0, 30.0)])  # x, y
    of_runs, of_polygon = things_carried(
        [Thing("a", (0, 0, 9, 9), (counts, (200, 100))), Thing("b", (0, 0, 9, 9), [polygon])], HALF, (100, 90)
    )
    assert of_polygon.outline is not None and of_runs.outline is not None
    np.testing.assert_allclose(of_polygon.outline[0], polygon / 2)
    lengths, shape = of_runs.outline
    assert shape == (100, 90) and sum(lengths) == 100 * 90
    laid = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(90, 100).T
    np.testing.assert_array_equal(laid, mask_carried(mask, HALF, (100, 90)))


@pytest.mark.parametrize(
    ("box", "is_shown"),
    [
        ((60.0, 40.0, 60.0, 16.0), True),  # its middle is at y = 90, x = 48
        ((60.0, 40.0, 60.0, 22.0), False),  # x = 51, where image 2 does not reach
        ((84.0, 10.0, 34.0, 10.0), False),  # y = 101, below image 1
    ],
)
def test_labels_are_compared_whose_middle_lies_on_common_ground(box: Box, is_shown: bool) -> None:
    laid = _Laid.of(pair_of(HALF).iloc[0].to_dict(), np.array([100, 100]), np.array([200, 100]))
    mine, others = laid.things([Thing("ship", box, None)], [])
    assert bool(mine) == is_shown and others == []
