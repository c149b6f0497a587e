"""Codes of points that do not depend on how an image was turned."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from textures import textured

from dupnet.find import turns as module
from dupnet.find.extrema import COARSE, raw_patches
from dupnet.find.points import find_points
from dupnet.images.transforms import N_TURNS, moved, relative_turn, turn_matrix, turned

IMAGE = textured(1, 320, seed=5)[0]


def test_upright_points_are_those_of_an_upright_search() -> None:
    upright, both = find_points(IMAGE), module.find_turned_points(IMAGE)
    for name in upright._fields:
        assert (getattr(upright, name) == getattr(both, name)).all()


@pytest.mark.parametrize("turn", range(N_TURNS))
def test_codes_agree_with_those_of_the_turned_image(turn: int) -> None:
    """At one place, of one kind, and the two turns say how the image was turned."""
    one = module.find_turned_points(np.ascontiguousarray(turned(IMAGE, turn)))
    two = module.find_turned_points(IMAGE)
    places = moved(turn_matrix(turn, *IMAGE.shape), np.column_stack([two.y, two.x]))
    tree = cKDTree(np.column_stack([one.y, one.x, 1000.0 * one.kinds]))
    away, at = tree.query(np.column_stack([places, 1000.0 * two.kinds]))
    near = away < 1
    assert near.mean() > 0.9
    agree = np.zeros(len(at), bool)
    for codes1, turns1 in ((one.turned_codes, one.turns), (one.other_codes, one.other_turns)):
        for codes2, turns2 in ((two.turned_codes, two.turns), (two.other_codes, two.other_turns)):
            known = (turns1[at] != module.NONE) & (turns2 != module.NONE)
            cosine = (codes1[at].astype(int) * codes2.astype(int)).sum(axis=1) / 127**2
            relative = relative_turn[np.minimum(turns1[at], 7), np.minimum(turns2, 7)]
            agree |= known & (cosine > 0.9) & (relative == turn)
    assert agree[near].mean() > 0.9


def test_every_patch_has_one_turn_and_some_have_two() -> None:
    y, _, minima, wide = raw_patches(IMAGE, None, COARSE, False, wide=True)
    first, second = module.octants(wide.reshape(len(y), COARSE.side, COARSE.side), minima)
    assert (first < N_TURNS).all()
    is_two = second != module.NONE
    assert 0.1 < is_two.mean() < 0.8
    assert (second[is_two] != first[is_two]).all()


def test_the_turn_of_a_patch_does_not_depend_on_its_contrast() -> None:
    y, _, minima, wide = raw_patches(IMAGE, None, COARSE, False, wide=True)
    around = wide.reshape(len(y), COARSE.side, COARSE.side)
    for strong, weak in zip(
        module.octants(around, minima), module.octants(around / 1024, minima), strict=True
    ):
        np.testing.assert_array_equal(strong, weak)


def test_an_image_too_small_for_a_patch_has_no_points() -> None:
    found = module.find_turned_points(np.zeros((10, 12), np.uint8))
    assert len(found.y) == 0 and found.turned_codes.shape == (0, 48)
