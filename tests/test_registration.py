"""Two images laid on each other by a transform."""

from __future__ import annotations

import numpy as np
from textures import textured

from dupnet.find.registration import lay

GREY = textured(1, 128, seed=3)[0]


def moved_by(y: float, x: float, scale: float = 1.0) -> np.ndarray:
    return np.array([[scale, 0, y], [0, scale, x]])


def test_of_two_images_of_one_scale_the_second_is_resampled() -> None:
    laid = lay((GREY, None), (GREY, None), moved_by(0.5, 0))
    assert laid is not None
    np.testing.assert_array_equal(laid.one[0], GREY[-len(laid.one[0]) :])
    assert not np.array_equal(laid.two[0], GREY[: len(laid.two[0])])
    np.testing.assert_array_equal(laid.into, moved_by(laid.one[0].shape[0] - 128, 0))


def test_the_finer_image_is_resampled() -> None:
    coarse = GREY[:64, :64]
    for one, two, matrix in (
        (coarse, GREY, moved_by(-0.25, -0.25, 0.5)),
        (GREY, coarse, moved_by(0.5, 0.5, 2)),
    ):
        laid = lay((one, None), (two, None), matrix)
        assert laid is not None and laid.one[0].shape == laid.two[0].shape == (64, 64)
        kept = laid.one if one is coarse else laid.two
        np.testing.assert_array_equal(kept[0], coarse)


def test_the_border_of_what_was_resampled_is_left_out() -> None:
    """A pixel there is made in part of what lies beyond it."""
    laid = lay((GREY, None), (GREY, None), moved_by(0, 0))
    assert laid is not None and laid.two[1] is not None
    shown = laid.two[1]
    assert shown[2:-2, 2:-2].all() and not shown[:2].any() and not shown[:, :2].any()
    np.testing.assert_array_equal(shown, shown.T)
