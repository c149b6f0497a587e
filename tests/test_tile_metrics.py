"""Metrics of one tile: worked examples, brute force, and the invariances that their definitions promise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupnet.augment.variation import N_DIHEDRAL, dihedral
from dupnet.metrics.tile_metrics import (
    TILE_METRICS,
    block_medians,
    channel_entropy,
    cooccurrence,
    decode_run_lengths,
    grey_levels,
    high_pass,
    histogram_statistics,
    ship_pixels,
)


def noise(seed: int, size: int = 256) -> np.ndarray:
    levels = np.random.default_rng(seed).standard_normal((size, size, 3)).astype(np.float32)
    return np.clip(120 + 100 * cv2.GaussianBlur(levels, (0, 0), 1.5), 0, 255).astype(np.uint8)


def solid(level: int, size: int = 256) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


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


def test_high_pass_stays_inside_the_tile():
    wide = noise(5, 768)
    tile = wide[256:512, 256:512]
    changed = wide.copy()
    changed[:256] = 255
    assert (high_pass(tile) == high_pass(changed[256:512, 256:512])).all()
    assert np.abs(high_pass(solid(200))).max() < 1e-3  # a border filled with black would show here
