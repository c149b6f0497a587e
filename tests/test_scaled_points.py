"""Points of an image at several scales and angles."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from textures import textured

from dupnet.find.scaled_points import ScaledPoints, Step, scaled_points

GREY = textured(1, 256, seed=3)[0]
PLAIN = Step(1.0, 1.0, (0.0,))


def places(found: ScaledPoints) -> np.ndarray:
    """Where each point lies, once: (n, 2), sorted."""
    first = np.unique(found.numbers, return_index=True)[1]
    at = np.column_stack([found.y[first], found.x[first]])
    return at[np.lexsort(at.T)]


def of(grey: np.ndarray, *steps: Step, oriented: bool = False) -> ScaledPoints:
    return scaled_points(np.ascontiguousarray(grey), None, steps or (PLAIN,), fine=True, oriented=oriented)


def test_a_negative_has_the_same_points() -> None:
    found, negative = of(GREY), of(255 - GREY)
    assert len(found.y) > 50 and 0.3 < (found.kinds % 2).mean() < 0.7
    away = cKDTree(places(negative)).query(places(found))[0]
    assert (away < 0.05).mean() > 0.97 and abs(len(negative.y) - len(found.y)) < 5


def test_rows_and_columns_are_treated_alike() -> None:
    found, other = places(of(GREY)), places(of(GREY.T))[:, ::-1]
    np.testing.assert_allclose(other[np.lexsort(other.T)], found, atol=0.01)


def test_points_lie_in_the_image_as_it_is_at_every_step() -> None:
    found = of(GREY, PLAIN, Step(0.5, 0.5, (0.0,)))
    assert set(found.steps.tolist()) == {0, 1}
    reduced = found.y[found.steps == 1]
    assert reduced.max() > 200 and len(reduced) < (found.steps == 0).sum()
