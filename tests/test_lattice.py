"""Cells on a lattice: tiles made of them are those that the network describes, at any phase."""

from __future__ import annotations

import numpy as np
import pytest

from dupnet.acquisitions.waves import fractal_noise
from dupnet.find.lattice import (
    EVIDENCE,
    SOLID,
    VALID,
    all_tiles,
    describe_on_lattice,
    folded_tiles,
    spread,
    tiles_of_block,
)
from dupnet.network.descriptors import describe, join_cells
from dupnet.tiles import is_decidable


@pytest.fixture(scope="module")
def ground():
    noise = 110 + 30 * fractal_noise(620, 700, 0.9, np.random.default_rng(3))
    return np.clip(np.rint(noise), 5, 250).astype(np.uint8)


@pytest.mark.parametrize("size", [256, 128, 64])
@pytest.mark.parametrize("phase", [(0, 0), (5, 31)])
def test_tiles_of_cells_equal_the_descriptors_of_tiles(ground, size, phase):
    cells = describe_on_lattice(ground, phase=phase)
    rows, cols = cells.flags.shape
    assert (rows, cols) == ((620 - phase[0]) // 32, (700 - phase[1]) // 32)
    side, tiles = tiles_of_block(size // 32, 2 * size // 32)
    assert (side, len(tiles)) == (size // 32, 2)
    top, left = phase[0] + 64, phase[1] + 32
    data, flags = cells.block(top, left, size // 32, 2 * size // 32)
    pixels = np.stack([ground[top : top + size, at : at + size] for at in (left, left + size)])
    expected = describe(pixels)
    np.testing.assert_array_equal(join_cells(data.reshape(-1, 64)[tiles]), expected.verify)
    has_evidence = (flags.ravel()[tiles] & EVIDENCE) > 0
    np.testing.assert_array_equal(has_evidence.sum(axis=1) >= 2, is_decidable(pixels))


def test_cells_without_evidence(ground):
    image = ground.copy()
    image[:100, :100] = 128  # nothing but one level
    image[200:300, 40:] = 0  # black, with a border inside cells
    valid = np.ones(image.shape, bool)
    valid[500, 600] = False
    flags = describe_on_lattice(image, valid).flags
    evidence, is_valid, solid = ((flags & bit) > 0 for bit in (EVIDENCE, VALID, SOLID))
    assert not evidence[:3, :3].any()
    assert solid[6:9, 2:].all()
    assert not evidence[6:9, 1:].any()
    assert not is_valid[15, 18]
    assert not evidence[15, 18]
    assert is_valid.sum() == is_valid.size - 1
    assert evidence[10:15].all()
    assert not solid[10:].any()


@pytest.mark.parametrize("shape", [(31, 400), (400, 20), (32, 32)])
def test_small_images_have_few_cells_or_none(shape):
    cells = describe_on_lattice(np.zeros(shape, np.uint8))
    assert cells.data.shape == (shape[0] // 32, shape[1] // 32, 64)
    assert cells.flags.shape == cells.data.shape[:2]


def test_spread_covers_from_end_to_end():
    for length in range(32, 400):
        starts = spread(length)
        assert starts[0] == 0
        assert starts[-1] == length - 32
        assert (np.diff(starts) <= 32).all()
        assert len(starts) == -(-length // 32)
    assert len(spread(50, 4)) == 4


@pytest.mark.parametrize(("rows", "cols", "side"), [(8, 8, 8), (9, 20, 8), (7, 30, 4), (2, 9, 2), (3, 3, 2)])
def test_tiles_cover_a_block(rows, cols, side):
    found, tiles = tiles_of_block(rows, cols)
    assert found == side
    assert len(tiles) == -(-rows // side) * -(-cols // side)
    assert set(tiles.ravel()) == set(range(rows * cols))
    numbers = np.arange(rows * cols).reshape(rows, cols)
    squares = {
        tuple(numbers[row : row + side, col : col + side].ravel())
        for row in range(rows - side + 1)
        for col in range(cols - side + 1)
    }
    assert {tuple(tile) for tile in tiles} <= squares
    assert {tuple(tile) for tile in all_tiles(rows, cols, side)} == squares


def test_a_row_of_cells_folds_into_tiles():
    assert tiles_of_block(1, 9)[0] == 0
    assert folded_tiles(3)[0] == 0
    for n_cells in range(4, 150):
        side, tiles = folded_tiles(n_cells)
        assert side == (8 if n_cells >= 64 else 4 if n_cells >= 16 else 2)
        assert set(tiles.ravel()) == set(range(n_cells))
        assert (np.diff(tiles, axis=1) == 1).all()
    assert folded_tiles(100, 4)[0] == 4


def test_bad_input_is_named(ground):
    with pytest.raises(ValueError, match="float64"):
        describe_on_lattice(ground.astype(float))
    with pytest.raises(ValueError, match="valid of that shape"):
        describe_on_lattice(ground, np.ones((3, 3), bool))
    with pytest.raises(ValueError, match=r"phase is \(0, 32\)"):
        describe_on_lattice(ground, phase=(0, 32))
