"""Augmentation: held to GIMP, to brute force, and to what each copy must leave alone."""

from __future__ import annotations

import colorsys
import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupnet.augment.variation import (
    N_DIHEDRAL,
    AugmentConfig,
    another_day,
    augment_pair,
    dihedral,
    hls_shift,
    jpeg,
    random_hls_shift,
    reprocess,
    soft_blobs,
)
from dupnet.metrics.pair_metrics import correlation, local_correlation

NOTHING = AugmentConfig(hls_probability=0, jpeg_probability=0, reprocess_probability=0)


def texture(seed: int, size: int = 256) -> np.ndarray:
    """A tile of smoothed noise with detail at several scales, most of it in brightness, as in nature."""
    rng = np.random.default_rng(seed)
    levels = np.full((size, size, 3), 110.0, np.float32)
    for sigma, strength in ((1.0, 30), (4.0, 120), (20.0, 500)):
        noise = rng.standard_normal((size, size, 4)).astype(np.float32)
        noise = strength * cv2.GaussianBlur(noise, (0, 0), sigma)
        levels += 0.9 * noise[..., 3:] + 0.3 * noise[..., :3]
    return np.clip(levels, 0, 255).astype(np.uint8)


def shift_of_one_pixel(
    pixel: tuple[int, int, int], hue: float, lightness: float, saturation: float
) -> list[float]:
    """GIMP's formula with the standard library's conversion: an independent oracle, before rounding."""
    h, light, s = colorsys.rgb_to_hls(*(level / 255 for level in pixel))
    h = (h + hue / 360) % 1
    v = lightness / 200
    light = light * (1 + v) if v < 0 else light + v * (1 - light)
    s = min(s * (1 + saturation / 100), 1)
    return [255 * level for level in colorsys.hls_to_rgb(h, light, s)]


level = st.integers(0, 255)
percent = st.floats(-100, 100, allow_nan=False)


@given(st.tuples(level, level, level), st.floats(-180, 180), percent, percent)
def test_hls_shift_is_the_formula(pixel, hue, lightness, saturation):
    found = hls_shift(np.array([[pixel]], np.uint8), hue, lightness, saturation)[0, 0]
    assert np.abs(found - shift_of_one_pixel(pixel, hue, lightness, saturation)).max() <= 0.51


def test_no_shift_is_a_copy():
    tile = texture(0)
    same = hls_shift(tile)
    assert (same == tile).all()
    assert not np.shares_memory(same, tile)


def test_full_turns_and_grey():
    tile = texture(1)
    assert (hls_shift(tile, hue=180) == hls_shift(tile, hue=-180)).all()
    grey = hls_shift(tile, saturation=-100)
    assert (grey == grey[..., :1]).all()
    grey_tile = np.repeat(tile[..., :1], 3, axis=2)
    assert (hls_shift(grey_tile, hue=77) == grey_tile).all()
    assert (hls_shift(np.full((4, 4, 3), 255, np.uint8), lightness=-100) == 128).all()


@pytest.mark.parametrize("shift", [{"hue": 181}, {"lightness": -101}, {"saturation": 100.5}])
def test_shift_out_of_range(shift):
    with pytest.raises(ValueError, match=next(iter(shift))):
        hls_shift(texture(0, 8), **shift)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_only_rgb_bytes_are_shifted(image):
    with pytest.raises(ValueError, match="expected uint8"):
        hls_shift(image, hue=1)


def test_jpeg_keeps_channels_in_order_and_size():
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 200
    coded = jpeg(red, 90)
    assert coded.shape == red.shape
    assert coded[..., 0].mean() > 190
    assert coded[..., 2].mean() < 10


def test_jpeg_is_worse_at_lower_quality_and_the_same_each_time():
    tile = texture(2)
    errors = [np.abs(jpeg(tile, quality).astype(int) - tile).mean() for quality in (97, 85, 60, 20)]
    assert errors == sorted(errors)
    assert errors[0] > 0
    assert (jpeg(tile, 80) == jpeg(tile, 80)).all()


def test_jpeg_halves_the_chroma():
    # Red and blue columns of equal luma: 4:2:0 cannot hold a colour that changes at every pixel.
    tile = np.zeros((32, 32, 3), np.uint8)
    tile[:, ::2] = (200, 60, 60)
    tile[:, 1::2] = (60, 100, 200)
    coded = jpeg(tile, 100)
    assert np.abs(coded[:, ::2].mean((0, 1)) - coded[:, 1::2].mean((0, 1)))[0] < 70


def test_jpeg_of_grey_and_of_a_bad_quality():
    grey = texture(3)[..., 0].copy()
    assert jpeg(grey, 95).shape == grey.shape
    with pytest.raises(ValueError, match="quality"):
        jpeg(grey, 0)


def test_dihedral_elements_are_the_eight_of_the_square():
    tile = np.arange(9).reshape(3, 3)
    assert len({dihedral(tile, element).tobytes() for element in range(N_DIHEDRAL)}) == 8
    assert dihedral(tile, 1).tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]  # counterclockwise
    assert dihedral(tile, 4).tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]  # left and right exchanged


def test_dihedral_is_a_group():
    tile = np.arange(16).reshape(4, 4)
    known = {dihedral(tile, element).tobytes() for element in range(N_DIHEDRAL)}
    for first in range(N_DIHEDRAL):
        products = {dihedral(dihedral(tile, first), second).tobytes() for second in range(N_DIHEDRAL)}
        assert products == known
    for element in (0, 2, 4, 5, 6, 7):
        assert (dihedral(dihedral(tile, element), element) == tile).all()
    assert (dihedral(dihedral(tile, 1), 3) == tile).all()


@pytest.mark.parametrize("element", range(N_DIHEDRAL))
def test_dihedral_of_channels_and_stacks(element):
    stack = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    turned = dihedral(stack, element)
    assert turned.flags.c_contiguous
    for index in range(5):
        assert (turned[index] == dihedral(stack[index], element)).all()
        for channel in range(3):
            assert (turned[index, ..., channel] == dihedral(stack[index, ..., channel], element)).all()
    grey = dihedral(stack[..., 0], element)
    assert (grey == turned[..., 0]).all()


def test_dihedral_of_an_unknown_element():
    with pytest.raises(ValueError, match="element is 8"):
        dihedral(np.zeros((2, 2)), 8)


def test_augmented_duplicates_stay_registered():
    rng = np.random.default_rng(0)
    for seed in range(12):
        tile1, tile2 = augment_pair(texture(seed), texture(seed), rng)
        assert tile1.dtype == tile2.dtype == np.uint8
        assert tile1.shape == tile2.shape == (256, 256, 3)
        assert correlation(tile1, tile2) > 0.9
        assert np.nanmin(local_correlation(tile1, tile2)) > 0.6


def test_augmented_non_duplicates_stay_apart():
    rng = np.random.default_rng(1)
    for seed in range(6):
        assert correlation(*augment_pair(texture(seed), texture(seed + 50), rng)) < 0.2


def test_both_tiles_are_turned_alike_and_sometimes_exchanged():
    tile1, tile2 = texture(0, 64), texture(1, 64)
    seen = set()
    for seed in range(100):
        found = augment_pair(tile1, tile2, np.random.default_rng(seed), NOTHING)
        plain = {(dihedral(tile1, e).tobytes(), dihedral(tile2, e).tobytes()): e for e in range(N_DIHEDRAL)}
        key = tuple(tile.tobytes() for tile in found)
        swapped = key not in plain
        seen.add((plain[key[::-1] if swapped else key], swapped))
    assert len(seen) == 16


def test_only_one_tile_is_shifted():
    config = dataclasses.replace(NOTHING, hls_probability=1)
    tile = texture(4, 64)
    turned = {dihedral(tile, element).tobytes() for element in range(N_DIHEDRAL)}
    for seed in range(10):
        pair = augment_pair(tile, tile, np.random.default_rng(seed), config)
        assert sum(one.tobytes() in turned for one in pair) == 1


def test_half_of_the_tiles_are_saved_again_each_on_its_own():
    config = dataclasses.replace(AugmentConfig(), hls_probability=0, reprocess_probability=0)
    tile = texture(4, 64)
    turned = {dihedral(tile, element).tobytes() for element in range(N_DIHEDRAL)}
    rng = np.random.default_rng(0)
    kept = [[one.tobytes() in turned for one in augment_pair(tile, tile, rng, config)] for _ in range(200)]
    assert 160 < np.sum(kept) < 240
    assert 70 < sum(one != two for one, two in kept) < 130


@pytest.mark.parametrize("seed", range(3))
def test_equal_generators_give_equal_pairs(seed):
    tile1, tile2 = texture(5, 64), texture(6, 64)
    first, second = (augment_pair(tile1, tile2, np.random.default_rng(seed)) for _ in range(2))
    assert all((one == two).all() for one, two in zip(first, second, strict=True))
    assert (tile1 == texture(5, 64)).all()  # what came in is left as it was


def test_random_shift_stays_within_the_limits(monkeypatch):
    drawn = []
    monkeypatch.setattr("dupnet.augment.variation.hls_shift", lambda image, *shift: drawn.append(shift))
    rng, config = np.random.default_rng(0), AugmentConfig()
    for _ in range(500):
        random_hls_shift(texture(0, 8), rng, config)
    lowest, highest = np.min(drawn, axis=0), np.max(drawn, axis=0)
    low = np.array([-config.hue_limit, config.lightness_low, -config.saturation_limit])
    high = np.array([config.hue_limit, config.lightness_high, config.saturation_limit])
    assert (low <= lowest).all() and (highest <= high).all()
    assert (highest - lowest > 0.95 * (high - low)).all()


def test_reprocessed_tile_is_changed_everywhere_and_moved_nowhere():
    rng = np.random.default_rng(2)
    for seed in range(6):
        tile = texture(seed)
        again = reprocess(tile, rng)
        assert (again != tile).mean() > 0.3
        assert correlation(tile, again) > 0.95


def test_reprocessing_adds_nothing_to_saturation():
    tile = texture(7, 64)
    tile[:32] = 255
    tile[32:40] = 0
    again = reprocess(tile, np.random.default_rng(0))
    assert (again[:32] == 255).all()
    assert (again[32:40] == 0).all()


def test_reprocessing_without_limits_is_the_identity():
    config = AugmentConfig(gain_limit=0, gamma_limit=0, colour_mix_limit=0, sharpen_limit=0, noise_limit=0)
    tile = texture(8, 64)
    assert (reprocess(tile, np.random.default_rng(0), config) == tile).all()


def test_sharpening_adds_or_takes_at_most_its_limit_of_the_detail():
    config = AugmentConfig(gain_limit=0, gamma_limit=0, colour_mix_limit=0, noise_limit=0)
    tile = texture(8, 64)
    detail = tile - cv2.GaussianBlur(tile.astype(np.float32), (0, 0), 1.0)
    free = (tile > 60) & (tile < 195)  # nothing is clipped there
    rng = np.random.default_rng(0)
    weights = []
    for _ in range(60):
        added = (reprocess(tile, rng, config).astype(np.float32) - tile)[free]
        weights.append(added @ detail[free] / (detail[free] @ detail[free]))
    assert -0.31 < min(weights) < -0.25 and 0.25 < max(weights) < 0.31


def test_another_day_agrees_in_places_only():
    rng = np.random.default_rng(3)
    for seed in range(8):
        tile, other = texture(seed), texture(seed + 100)
        day = another_day(tile, other, rng)
        cells = local_correlation(tile, day)
        assert np.nanmax(cells) > 0.8, "nothing of the place is left"
        assert np.nanmin(cells) < 0.3, "nothing has changed"
        assert 0.1 < correlation(tile, day) < 0.9


def test_another_day_of_unequal_shapes():
    with pytest.raises(ValueError, match="other_tile"):
        another_day(texture(0, 64), texture(0, 32), np.random.default_rng(0))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_blobs_cover_their_share_softly(share):
    mask = soft_blobs((256, 256), share, 80, np.random.default_rng(4))
    assert mask.shape == (256, 256)
    assert 0 <= mask.min() <= mask.max() <= 1 + 1e-6
    assert abs((mask > 0.5).mean() - share) < 0.05
    assert 0.01 < ((mask > 0.1) & (mask < 0.9)).mean() < 0.3


def test_blobs_have_their_size():
    # Mean length of the runs across a mask that covers half: about the blob's diameter.
    runs = []
    for seed in range(5):
        rows = soft_blobs((512, 512), 0.5, 80, np.random.default_rng(seed)) > 0.5
        runs.append(512 * 512 / np.count_nonzero(np.diff(rows.astype(int), axis=1)))
    assert 50 < np.mean(runs) < 110
