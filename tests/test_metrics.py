"""Image metrics: worked examples, brute force, and the invariances that their definitions promise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.augment import N_DIHEDRAL, dihedral, hls_shift, jpeg
from dupnet.metrics import (
    PAIR_METRICS,
    TILE_METRICS,
    absolute_difference,
    block_medians,
    channel_entropy,
    colour_difference,
    cooccurrence,
    correlation,
    decode_run_lengths,
    exponential_distance,
    grey_levels,
    high_pass,
    histogram_statistics,
    local_correlation,
    lowest_cell_correlation,
    median_subtracted_difference,
    ship_pixels,
    structural_similarity,
    subtract_channel_medians,
    unequal_values,
)

FAST = sorted(set(PAIR_METRICS) - {"crop_resistant_hash"})  # that one takes a second a tile; see test_hashes


def noise(seed: int, size: int = 256) -> np.ndarray:
    levels = np.random.default_rng(seed).standard_normal((size, size, 3)).astype(np.float32)
    return np.clip(120 + 100 * cv2.GaussianBlur(levels, (0, 0), 1.5), 0, 255).astype(np.uint8)


def solid(level: int, size: int = 256) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


# ---------------------------------------------------------------- of one tile


def test_entropy_of_known_histograms():
    tile = solid(9, 16)
    assert channel_entropy(tile).tolist() == [0, 0, 0]
    tile[..., 0] = np.arange(256).reshape(16, 16)  # every level once
    tile[:8, :, 1] = 200  # two levels, half and half
    assert channel_entropy(tile).tolist() == pytest.approx([8, 1, 0])


def test_entropy_is_of_the_histogram_alone():
    tile = noise(0, 32)
    shuffled = np.random.default_rng(0).permutation(tile.reshape(-1, 3)).reshape(tile.shape)
    assert channel_entropy(tile) == pytest.approx(channel_entropy(shuffled))


def test_histogram_statistics_by_hand():
    tile = np.full((2, 4, 3), 50, np.uint8)
    tile[0, 0] = (55, 56, 40)
    mode, near, mean, spread = histogram_statistics(tile).T
    assert mode.tolist() == [50, 50, 50]
    assert near.tolist() == [1, 7 / 8, 7 / 8]
    assert mean.tolist() == [5 / 8, 6 / 8, -10 / 8]
    assert spread == pytest.approx([5 / math.sqrt(8), 6 / math.sqrt(8), 10 / math.sqrt(8)])


def test_cooccurrence_of_solid_and_striped_tiles():
    energy, contrast, homogeneity, corr = cooccurrence(solid(77))
    assert (energy, contrast, homogeneity, corr) == pytest.approx((1, 0, 1, 1))
    striped = solid(0)
    striped[:, ::2] = 4  # one of the 64 steps of grey
    energy, contrast, *_ = cooccurrence(striped)
    # Three of the four directions cross a stripe at every step, one never does: contrast 1, 1, 1, 0.
    assert contrast == pytest.approx(0.75)
    assert energy == pytest.approx(math.sqrt(0.5), abs=0.01)


def test_cooccurrence_by_brute_force():
    tile = noise(1, 16)
    levels = (grey_levels(tile) // 4).astype(int)
    contrasts = []
    for rows, cols in ((0, 1), (-1, 1), (-1, 0), (-1, -1)):
        differences = [
            (levels[r, c] - levels[r + rows, c + cols]) ** 2
            for r in range(16)
            for c in range(16)
            if 0 <= r + rows < 16 and 0 <= c + cols < 16
        ]
        contrasts.append(np.mean(differences))
    assert cooccurrence(tile)[1] == pytest.approx(np.mean(contrasts))


def test_block_medians_by_sorting():
    tile = noise(2, 64)
    found = block_medians(tile)
    assert found.shape == (16, 16, 3)
    for row, col, channel in ((0, 0, 0), (3, 9, 1), (15, 15, 2)):
        block = tile[4 * row : 4 * row + 4, 4 * col : 4 * col + 4, channel]
        assert found[row, col, channel] == sorted(block.ravel())[7]
    with pytest.raises(ValueError, match="multiples of 16"):
        block_medians(noise(2, 40))


@pytest.mark.parametrize("element", range(N_DIHEDRAL))
def test_histograms_and_cooccurrence_do_not_see_turns(element):
    tile = noise(3, 64)
    turned = dihedral(tile, element)
    assert channel_entropy(turned) == pytest.approx(channel_entropy(tile))
    assert histogram_statistics(turned) == pytest.approx(histogram_statistics(tile))
    assert cooccurrence(turned) == pytest.approx(cooccurrence(tile))
    assert (block_medians(turned) == dihedral(block_medians(tile), element)).all()


def test_tile_metrics_are_finite():
    for tile in (noise(4), solid(0), solid(255)):
        for name, metric in TILE_METRICS.items():
            assert np.isfinite(metric(tile)).all(), name
    assert TILE_METRICS["solid"](solid(3)) == [1]
    assert TILE_METRICS["solid"](noise(4)) == [0]


# ---------------------------------------------------------------- ships


def test_run_lengths_down_the_columns_from_one():
    mask = decode_run_lengths("1 2 6 1", (4, 3))
    assert mask.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert not decode_run_lengths("", (4, 3)).any()


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_run_lengths_round_trip(pixels):
    mask = np.array(pixels).reshape(4, 3)
    flat, runs, position = mask.T.ravel(), [], 0
    while position < 12:
        length = 0
        while position + length < 12 and flat[position + length]:
            length += 1
        if length:
            runs += [position + 1, length]
        position += max(length, 1)
    assert (decode_run_lengths(" ".join(map(str, runs)), (4, 3)) == mask).all()


@pytest.mark.parametrize("field", ["3", "1 2 3", "0 4", "12 2", "1 -1", "13 1"])
def test_run_lengths_that_do_not_fit(field):
    with pytest.raises(ValueError, match="run_lengths"):
        decode_run_lengths(field, (4, 3))


def test_ship_pixels_of_each_tile():
    mask = np.zeros((768, 768), bool)
    mask[250:260, 500:520] = True  # across four tiles
    assert ship_pixels(mask).tolist() == [0, 6 * 12, 6 * 8, 0, 4 * 12, 4 * 8, 0, 0, 0]


# ---------------------------------------------------------------- of a pair


def test_differences_by_hand():
    tile1, tile2 = solid(100, 4), solid(100, 4)
    tile2[0, 0] = (90, 100, 130)
    assert unequal_values(tile1, tile2) == 2
    assert absolute_difference(tile1, tile2) == 40
    assert absolute_difference(solid(255), solid(0)) == 255 * 3 * 256 * 256  # no overflow


def test_median_subtraction_wraps_and_forgets_a_shift():
    tile = solid(100, 4)
    tile[0, 0] = (99, 101, 110)
    assert subtract_channel_medians(tile)[0, 0].tolist() == [255, 1, 10]
    assert (subtract_channel_medians(tile)[1:] == 0).all()
    brighter = tile + np.array([3, 9, 1], np.uint8)
    assert median_subtracted_difference(tile, brighter) == 0
    assert median_subtracted_difference(tile, solid(100, 4)) == 12
    assert absolute_difference(tile, brighter) == 13 * 16


def test_exponential_distance_by_hand():
    assert exponential_distance([0, 0], [0, 2], scale=2) == pytest.approx((1 - math.exp(-1)) / 2)
    assert exponential_distance(solid(0), solid(255), scale=1) == pytest.approx(1)
    with pytest.raises(ValueError, match="scale"):
        exponential_distance([0], [1], scale=0)


def test_high_pass_stays_inside_the_tile():
    wide = noise(5, 768)
    tile = wide[256:512, 256:512]
    changed = wide.copy()
    changed[:256] = 255
    assert (high_pass(tile) == high_pass(changed[256:512, 256:512])).all()
    assert np.abs(high_pass(solid(200))).max() < 1e-3  # a border filled with black would show here


def test_correlation_against_numpy():
    tile1 = noise(6, 64)
    tile2 = jpeg(tile1, 70)
    expected = np.corrcoef(high_pass(tile1).ravel(), high_pass(tile2).ravel())[0, 1]
    assert correlation(tile1, tile2) == pytest.approx(expected, abs=1e-5)


def test_correlation_does_not_see_light_and_contrast():
    tile = noise(7)
    other = np.clip(0.6 * tile.astype(float) + 40, 0, 255).astype(np.uint8)
    assert correlation(tile, other) > 0.99
    assert correlation(tile, hls_shift(tile, 5, -10, 10)) > 0.98
    assert correlation(tile, 255 - tile) < -0.99
    assert abs(correlation(tile, noise(8))) < 0.1


def test_no_texture_is_no_evidence():
    assert correlation(solid(9), solid(9)) == 0
    assert correlation(solid(9), noise(9)) == 0
    assert np.isnan(local_correlation(solid(9), solid(200))).all()
    assert lowest_cell_correlation(solid(9), solid(9)) == 0
    assert np.abs(local_correlation(solid(9), noise(9))).max() < 0.01


def test_local_correlation_by_brute_force():
    tile1, tile2 = noise(10, 96), noise(11, 96)
    tile2[32:64, 64:96] = tile1[32:64, 64:96]
    found = local_correlation(tile1, tile2)
    assert found.shape == (3, 3)
    high1, high2 = high_pass(tile1), high_pass(tile2)
    for row in range(3):
        for col in range(3):
            cell = np.s_[32 * row : 32 * row + 32, 32 * col : 32 * col + 32]
            expected = np.corrcoef(high1[cell].ravel(), high2[cell].ravel())[0, 1]
            assert found[row, col] == pytest.approx(expected, abs=1e-4)
    assert np.unravel_index(found.argmax(), (3, 3)) == (1, 2)


def test_lowest_cells_find_what_has_changed():
    tile = noise(12)
    changed = tile.copy()
    changed[:96, :96] = noise(13)[:96, :96]  # 9 of 64 cells
    assert correlation(tile, changed) > 0.8
    assert lowest_cell_correlation(tile, changed) < 0.2
    assert lowest_cell_correlation(tile, jpeg(tile, 80)) > 0.8


def test_structural_similarity_and_colour_difference_at_their_ends():
    tile = noise(14)
    assert structural_similarity(tile, tile) == pytest.approx(1)
    assert structural_similarity(tile, noise(15)) < 0.4
    # Sharma's formula gives 100 between black and white.
    assert colour_difference(solid(0), solid(255)) == pytest.approx(100, abs=0.1)
    assert 0 < colour_difference(solid(100), solid(101)) < 1


@pytest.mark.parametrize("name", FAST)
def test_metric_is_symmetric_and_best_for_equal_tiles(name):
    metric = PAIR_METRICS[name]
    tile1, tile2 = noise(16), hls_shift(noise(17), 120, -60, 80)
    assert metric(tile1, tile2) == pytest.approx(metric(tile2, tile1), rel=1e-6)
    assert metric.likeness(tile1, tile1) > metric.likeness(tile1, tile2)
    best = 1 if metric.higher_is_alike else 0
    assert metric(tile1, tile1) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("name", FAST)
def test_metric_is_finite_on_solid_tiles(name):
    for tile1, tile2 in ((solid(0), solid(0)), (solid(0), solid(255)), (solid(255), noise(18))):
        assert np.isfinite(PAIR_METRICS[name](tile1, tile2))


@pytest.mark.parametrize(
    "name",
    [
        "unequal_values",
        "absolute_difference",
        "median_subtracted_difference",
        "colour_difference",
        "entropy",
        "histogram",
        "cooccurrence",
        "block_medians_unequal",
        "block_medians_exponential",
        "correlation",
        "lowest_cell_correlation",
        "structural_similarity",
    ],
)
@settings(max_examples=10, deadline=None)
@given(element=st.integers(1, N_DIHEDRAL - 1))
def test_metric_does_not_see_a_turn_of_both(name, element):
    tile1, tile2 = noise(19, 128), jpeg(noise(19, 128), 60)
    metric = PAIR_METRICS[name]
    turned = metric(dihedral(tile1, element), dihedral(tile2, element))
    assert turned == pytest.approx(metric(tile1, tile2), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["unequal_values", "correlation", "colour_difference", "structural_similarity"]
)
def test_tiles_of_unequal_shape(name):
    with pytest.raises(ValueError, match="tile2 has shape"):
        PAIR_METRICS[name](noise(0, 64), noise(0, 32))
