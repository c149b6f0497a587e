"""Image metrics of a pair: worked examples, brute force, and the invariances that they promise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.augment.variation import N_DIHEDRAL, dihedral, hls_shift, jpeg
from dupnet.metrics.pair_metrics import (
    PAIR_METRICS,
    absolute_difference,
    colour_difference,
    correlation,
    exponential_distance,
    grey_levels,
    high_pass,
    local_correlation,
    lowest_cell_correlation,
    median_subtracted_difference,
    structural_similarity,
    structural_similarity_channels,
    subtract_channel_medians,
    unequal_values,
)

FAST = sorted(set(PAIR_METRICS) - {"crop_resistant_hash"})  # that one takes a second a tile; see test_hashes


def noise(seed: int, size: int = 256) -> np.ndarray:
    levels = np.random.default_rng(seed).standard_normal((size, size, 3)).astype(np.float32)
    return np.clip(120 + 100 * cv2.GaussianBlur(levels, (0, 0), 1.5), 0, 255).astype(np.uint8)


def solid(level: int, size: int = 256) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


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


def test_structural_similarity_is_scikit_images():
    from skimage.metrics import structural_similarity as reference

    for tile1, tile2 in ((noise(20), noise(21)), (noise(20), jpeg(noise(20), 40)), (solid(3), noise(22))):
        expected = reference(tile1, tile2, data_range=255, channel_axis=2)
        assert structural_similarity_channels(tile1, tile2) == pytest.approx(expected, abs=1e-4)
        expected = reference(grey_levels(tile1), grey_levels(tile2), data_range=255)
        assert structural_similarity(tile1, tile2) == pytest.approx(expected, abs=1e-4)


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
