"""Tests of what a collar leaves as evidence."""

from __future__ import annotations

import numpy as np
import pytest

from dupnet.augment.variation import jpeg
from dupnet.network.collar_cells import MARK, collar_cells, fill_marked, is_marked
from dupnet.network.comparison import compare, decided_scores, score_pairs, share_evidence
from dupnet.network.descriptors import N_FILTERS, N_ORIENTATIONS, describe
from dupnet.tiles import grey_levels

N_CELLS = 64
BLACK, WHITE, BLUE = (0, 0, 0), (255, 255, 255), (0, 0, 255)


def water(seed: int, texture: float = 1.5, level: float = 40) -> np.ndarray:
    """Weak sea, (256, 256, 3) uint8."""
    noise = np.random.default_rng(seed).normal(level, texture, (256, 256, 1))
    return np.clip(np.rint(np.repeat(noise, 3, axis=2)), 0, 255).astype(np.uint8)


def with_strip(
    tile: np.ndarray, width: int, colour: tuple[int, int, int] = BLACK, slope: float = 0.0
) -> np.ndarray:
    rows, cols = np.mgrid[:256, :256]
    covered = tile.copy()
    covered[cols < width + slope * rows] = colour
    return covered


def cells_of(tile: np.ndarray) -> np.ndarray:
    found = collar_cells(grey_levels(tile[None]))
    return np.zeros((8, 8), bool) if found is None else found[0]


@pytest.mark.parametrize("colour", [BLACK, WHITE, BLUE])
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("quality", [100, 95, 75])
def test_a_strip_and_what_compression_leaves_beside_it_are_marked(colour, slope, quality):
    tile = with_strip(water(0), 60, colour, slope)
    found = cells_of(jpeg(tile, quality) if quality < 100 else tile)
    edge = 60 + slope * np.arange(256)
    for row in range(8):
        last = int(edge[32 * row : 32 * row + 32].max())
        assert found[row, : last // 32 + 1].all()
        assert not found[row, (last + 13) // 32 + 1 :].any()


def test_saturated_clouds_scattered_pixels_and_plain_sea_are_no_collar():
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:256, :256]
    ragged = 90 + 25 * np.sin(rows / 14) + 12 * np.sin(rows / 5 + 1)
    cloud = np.where((cols < ragged)[..., None], 255, water(2, 12, 150)).astype(np.uint8)
    nearly_black = np.zeros((256, 256, 3), np.uint8)
    nearly_black[rng.random((256, 256)) > 0.99] = 6
    for tile in (cloud, nearly_black, water(3, 0.3), np.full((256, 256, 3), 255, np.uint8)):
        assert not cells_of(tile).any()


def test_marks_stand_in_the_powers_and_no_other_cell_has_one():
    tiles = np.stack([with_strip(water(0), 60), water(1), np.zeros((256, 256, 3), np.uint8)])
    marked = is_marked(describe(grey_levels(tiles)).verify, N_CELLS, N_FILTERS, N_ORIENTATIONS)
    assert MARK == 0
    assert marked[0].sum() == 24
    assert not marked[1:].any()


def test_the_strip_is_no_evidence_for_a_verdict_of_decidable():
    nothing_else = with_strip(np.full((256, 256, 3), 90, np.uint8), 100, slope=0.4)
    assert not describe(grey_levels(nothing_else[None])).decidable[0]


@pytest.mark.parametrize("aside", [0, 1, 5, 10, 20])
@pytest.mark.parametrize("colour", [BLACK, WHITE, BLUE])
def test_another_place_behind_the_same_strip_is_no_duplicate(aside, colour):
    one = np.stack([jpeg(with_strip(water(10), 90, colour, 0.2), 90)])
    other = np.stack([jpeg(with_strip(water(11), 90 + aside, colour, 0.2), 90)])
    assert compare(one, other)["verdict"].tolist() == ["not_duplicate"]


def test_the_same_place_behind_a_strip_is_a_duplicate_whatever_the_strip():
    ground = water(12, 4)
    plain, covered = (
        np.stack([ground] * 2),
        np.stack([with_strip(ground, 70, WHITE, 0.2), with_strip(ground, 100, BLUE)]),
    )
    found = compare(plain, covered)
    assert found["verdict"].tolist() == ["duplicate", "duplicate"]


def test_without_a_shared_cell_nothing_can_be_said():
    left = with_strip(water(13), 140)
    right = np.ascontiguousarray(with_strip(water(13), 140)[:, ::-1])
    assert compare(left[None], right[None])["verdict"].tolist() == ["undecidable"]
    verify1, verify2 = (describe(grey_levels(tile[None])).verify for tile in (left, right))
    assert not share_evidence(verify1, verify2).any()
    assert score_pairs(verify1, verify2)[0] == 0


def with_spot(level: int = 0) -> np.ndarray:
    """Flat but for a ship of 12 px that lies over the border of two cells."""
    tile = np.full((256, 256, 3), level, np.uint8)
    tile[100:112, 90:102] = np.random.default_rng(0).integers(60, 200, (12, 12, 1))
    return tile


def test_of_one_spot_in_common_a_sure_score_alone_decides():
    """Another ship at one place is no proof of another day: what lay around it is not seen."""
    other_spot = with_spot()
    other_spot[100:112, 90:102] = np.random.default_rng(5).integers(60, 200, (12, 12, 1))
    for other, verdict in ((with_spot(), "duplicate"), (other_spot, "undecidable")):
        pair = [describe(grey_levels(tile[None])) for tile in (with_spot(), other)]
        assert pair[0].decidable[0] and pair[1].decidable[0]
        assert not share_evidence(pair[0].verify, pair[1].verify)[0]
        assert compare(with_spot()[None], other[None])["verdict"].tolist() == [verdict]
        score = decided_scores(pair[0].verify, pair[1].verify)[0]
        assert np.isnan(score) == (verdict == "undecidable")


@pytest.mark.parametrize(("size", "n_cells"), [(64, 2), (128, 2), (256, 4)])
def test_a_sixteenth_of_the_cells_must_show_something_in_both(size, n_cells):
    textured = water(17, 3)[:size, :size]
    for n_shown in (n_cells - 1, n_cells):
        flat = np.full_like(textured, 40)
        for cell in range(n_shown):
            flat[:32, 32 * cell : 32 * cell + 32] = textured[:32, 32 * cell : 32 * cell + 32]
        verify = [describe(grey_levels(tile[None])).verify for tile in (flat, textured)]
        assert share_evidence(*verify).tolist() == [n_shown == n_cells]
        assert share_evidence(*verify[::-1]).tolist() == [n_shown == n_cells]


def test_rounding_alone_shows_nothing_and_a_little_more_does():
    for texture, shows in ((0.0, False), (0.5, True)):
        verify = describe(grey_levels(water(18, texture)[None])).verify
        assert share_evidence(verify, verify).tolist() == [shows]


def test_a_pair_with_marks_scores_the_same_in_either_order_and_turned():
    one, two = with_strip(water(14, 3), 90, slope=0.35), with_strip(water(15, 3), 90, slope=0.35)
    two[:, 160:] = one[:, 160:]
    scores = []
    for turn in range(4):
        turned = [np.rot90(tile, turn) for tile in (one, two)]
        verify = [describe(grey_levels(np.ascontiguousarray(tile)[None])).verify for tile in turned]
        scores += [score_pairs(*verify)[0], score_pairs(*verify[::-1])[0]]
    assert np.ptp(scores) < 1e-3


def test_marked_cells_are_filled_from_the_nearest_of_both_tiles():
    rng = np.random.default_rng(0)
    both = rng.integers(1, 120, (2, 3, N_CELLS * (N_FILTERS * 9 + 1))).astype(np.uint8)
    marked = np.zeros((3, N_CELLS), bool)
    marked[1].reshape(8, 8)[:, :2] = True
    marked[2] = True
    filled = both.copy()
    fill_marked(filled, marked, N_FILTERS)
    np.testing.assert_array_equal(filled[:, [0, 2]], both[:, [0, 2]])  # of nothing, nothing can be filled
    before, after = (data[:, 1].reshape(2, -1, 8, 8) for data in (both, filled))
    np.testing.assert_array_equal(after[..., 2:], before[..., 2:])
    for col in (0, 1):
        np.testing.assert_array_equal(after[..., col], before[..., 2])
