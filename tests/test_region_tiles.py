"""The tiles of a region one by one: the lowest score is that of the search, and they lie in the region."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from textures import noisy, textured

from dupnet.find.lattice import describe_on_lattice
from dupnet.find.region_tiles import tiles_of_grid, tiles_of_region
from dupnet.find.regions import common_region
from dupnet.find.verification import judge
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe
from dupnet.tiles import Grid, split_tiles

SCENE = textured(1, 700)[0]


def crops(y: int, x: int, shape1: tuple[int, int], shape2: tuple[int, int]) -> list[np.ndarray]:
    """Two crops of the scene, the second noisy, at (y, x) of the first."""
    top, left = max(0, -y), max(0, -x)
    first = SCENE[top : top + shape1[0], left : left + shape1[1]]
    second = SCENE[top + y : top + y + shape2[0], left + x : left + x + shape2[1]]
    return [first, noisy(second[None], 18)[0]]


@pytest.mark.parametrize(
    ("y", "x", "shape1", "shape2"),
    [
        (0, 0, (256, 256), (256, 256)),  # one tile of the lattice
        (13, -7, (400, 380), (300, 330)),  # lattice and rim
        (-210, 40, (300, 300), (300, 300)),  # narrow: cells of its own
        (20, 262, (320, 300), (256, 300)),  # a strip, folded
    ],
)
def test_the_lowest_score_is_that_of_the_table(
    y: int, x: int, shape1: tuple[int, int], shape2: tuple[int, int]
) -> None:
    images = crops(y, x, shape1, shape2)
    pairs = pd.DataFrame(
        [[0, 1, y, x, 0, 45, 70]], columns=["image1", "image2", "y_offset", "x_offset", "group", "y", "x"]
    )
    found = judge(
        pairs,
        [image.shape for image in images],
        lambda number: (images[number], None),
        lambda number, phase: describe_on_lattice(images[number], None, phase),
        workers=1,
    ).iloc[0]
    region = common_region(shape1, shape2, y, x)
    tiles = tiles_of_region((images[0], None), (images[1], None), region, (-45 % 32, -70 % 32))
    assert len(tiles) == found["n_tiles"] > 0
    scores = [tile.score for tile in tiles if tile.score is not None]
    assert min(scores) == pytest.approx(found["score"], abs=2e-5) and min(scores) < 1
    for tile in tiles:
        assert 0 <= tile.top <= tile.top + tile.height <= region.height
        assert 0 <= tile.left <= tile.left + tile.width <= region.width
        assert min(tile.height, tile.width) >= 32


def test_a_changed_part_lowers_the_score_of_its_tile() -> None:
    one = SCENE[:512, :512]
    two = one.copy()
    two[256:, :256] = textured(1, 256, seed=7)[0]
    region = common_region(one.shape, two.shape, 0, 0)
    tiles = tiles_of_region((one, None), (two, None), region, (0, 0))
    low = [(tile.top, tile.left) for tile in tiles if tile.score is not None and tile.score < 0.5]
    assert low == [(256, 0)]


def test_tiles_of_a_grid_are_scored_as_they_are() -> None:
    one, two = crops(64, 0, (256, 192), (256, 192))
    one = one.copy()
    one[64:128, :64] = 7  # nothing to judge by
    region = common_region(one.shape, two.shape, 64, 0)
    tiles = tiles_of_grid((one, None), (two, None), region, 64, 64)
    assert [(tile.top, tile.left) for tile in tiles] == [(y, x) for y in (0, 64, 128) for x in (0, 64, 128)]
    assert [tile.score is None for tile in tiles] == [True, *[False] * 8]
    described = [
        describe(split_tiles(image[:192] if k else image[64:], Grid(3, 3, 64)))
        for k, image in enumerate((one, two))
    ]
    expected = score_pairs(described[0].verify, described[1].verify)
    assert [tile.score for tile in tiles[1:]] == pytest.approx(expected[1:].tolist(), abs=2e-5)
    # Tiles larger than the stride lie over each other; those that the network cannot judge have no score.
    assert len(tiles_of_grid((one, None), (two, None), region, 128, 64)) == 4
    assert {tile.score for tile in tiles_of_grid((one, None), (two, None), region, 48, 48)} == {None}
