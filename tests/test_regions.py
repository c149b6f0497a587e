"""The cells and tiles of common regions: covered to the rim, the same ground in both, blank where invalid."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dupnet.acquisitions.waves import fractal_noise
from dupnet.find.lattice import describe_on_lattice
from dupnet.find.regions import NARROW, SHORTEST, common_region, compare_regions


@pytest.fixture(scope="module")
def ground():
    noise = 110 + 30 * fractal_noise(900, 900, 0.9, np.random.default_rng(5))
    return np.clip(np.rint(noise), 5, 250).astype(np.uint8)


def compared(image1, image2, y, x, *, valid=(None, None), place=(0, 0)):
    """The cells of what two images share, on the lattice of image 1's place."""
    images = [(image1, valid[0]), (image2, valid[1])]
    phases = [tuple(-at % 32 for at in where) for where in (place, (place[0] + y, place[1] + x))]
    cells = [
        partial(describe_on_lattice, grey, mask, phase)
        for (grey, mask), phase in zip(images, phases, strict=True)
    ]
    region = common_region(image1.shape, image2.shape, y, x)
    readers = tuple((lambda image=image: image) for image in images)
    found = compare_regions([region], [readers], [tuple(cells)], [phases[0]])
    return region, found


def test_common_region_is_the_same_ground_of_both():
    rng = np.random.default_rng(0)
    plane = np.arange(300 * 300).reshape(300, 300)
    for _ in range(200):
        y1, x1, y2, x2 = rng.integers(0, 150, 4)
        h1, w1, h2, w2 = rng.integers(20, 150, 4)
        one, two = plane[y1 : y1 + h1, x1 : x1 + w1], plane[y2 : y2 + h2, x2 : x2 + w2]
        region = common_region(one.shape, two.shape, y2 - y1, x2 - x1)
        shared = np.intersect1d(one, two)
        assert region.height * region.width == len(shared)
        if len(shared):
            np.testing.assert_array_equal(np.unique(region.of_first(one)), shared)
            np.testing.assert_array_equal(region.of_first(one), region.of_second(two))


@pytest.mark.parametrize(
    "size", [(300, 420), (161, 161), (159, 300), (97, 97), (40, 700), (33, 64), (32, 48)]
)
@pytest.mark.parametrize("place", [(0, 0), (7, 90)])
def test_cells_cover_the_region_to_its_rim_and_show_the_same(ground, size, place):
    height, width = size
    one, two = ground[: 100 + height, : 50 + width], ground[100:600, 50:800]
    region, found = compared(one, two, 100, 50, place=place)
    assert (region.height, region.width) == size
    assert len(found.data1) > 0
    np.testing.assert_array_equal(found.data1, found.data2)
    assert found.evidence1.all()
    assert found.evidence2.all()
    assert set(np.concatenate([tiles.ravel() for tiles in found.tiles[0]])) == set(range(len(found.data1)))


@pytest.mark.parametrize("size", [(300, 420), (150, 200), (40, 400)])
def test_a_change_at_any_place_of_the_rim_is_in_a_tile(ground, size):
    height, width = size
    one = ground[10 : 10 + height, 20 : 20 + width]
    for y, x in ((0, 0), (0, width // 2), (height - 6, width - 6), (height // 2, width - 6), (height - 6, 3)):
        two = one.copy()
        two[y : y + 6, x : x + 6] = 255 - two[y : y + 6, x : x + 6]
        _, found = compared(one, two, 0, 0, place=(5, 18))
        assert (found.data1 != found.data2).any(axis=1).sum() > 0


def test_whole_tiles_of_a_grid_need_no_rim(ground):
    _, found = compared(ground[:512, :768], ground[256:768, :768], 256, 0, place=(1024, 512))
    assert [tiles.shape for tiles in found.tiles[0]] == [(3, 64)]
    assert len(found.data1) == found.blocks[0][0] * found.blocks[0][1] == 8 * 24


def test_invalid_cells_are_blank_in_both(ground):
    valid = np.ones((400, 400), bool)
    valid[:130, :90] = False
    one, two = ground[:400, :400], ground[:400, :400].copy()
    two[:130, :90] = 77
    _, found = compared(one, two, 0, 0, valid=(None, valid))
    np.testing.assert_array_equal(found.data1[:, :-1], found.data2[:, :-1])
    assert not found.evidence1.all()
    np.testing.assert_array_equal(found.evidence1, found.evidence2)


def test_what_is_too_small_has_no_tile(ground):
    for height, width in ((31, 300), (32, SHORTEST - 1), (0, 0)):
        _, found = compared(ground[:height, :width], ground[:64, :400], 0, 0)
        assert sum(len(tiles) for tiles in found.tiles[0]) == 0
    assert NARROW > 2 * 31 + 64
