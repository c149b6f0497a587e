"""Agreement of pixels: exact offsets, changes in small regions, what repeats."""

from __future__ import annotations

import numpy as np
import pytest
from textures import textured

from dupnet.acquisitions.alterations import Processing, process
from dupnet.acquisitions.waves import fractal_noise
from dupnet.find.agreement import (
    differing_share,
    high_passed,
    is_elsewhere,
    median_window,
    refine_offset,
    register,
)
from dupnet.find.regions import Region, common_region
from dupnet.find.small_regions import CLEAN_WINDOW
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.reading import decode


def resaved(grey, quality, gain=1.0):
    """A grey image with a processing and a JPEG compression of its own."""
    colour = process(np.repeat(grey[:, :, None], 3, axis=2), Processing(gain=gain, lightness=3))
    return np.asarray(decode(encode_jpeg(colour, quality), grey=True)[0])


@pytest.fixture(scope="module")
def ground():
    return textured(1, 500, seed=2)[0]


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-2, 3), (3, -3)])
@pytest.mark.parametrize("offset", [(100, 60), (-300, 200), (170, -120), (440, 0)])
def test_offsets_are_refined_to_the_pixel(ground, offset, shift):
    plane = textured(1, 1000, seed=4)[0]
    y, x = offset
    one = resaved(plane[350:850, 250:600], 85)
    two = resaved(plane[350 + y : 850 + y, 250 + x : 600 + x][:500, :350], 95, 0.95)
    found = refine_offset((one, None), (two, None), y + shift[0], x + shift[1], 3)
    assert (found.y_offset, found.x_offset) == offset
    assert found.correlation > 0.8
    assert found.second < 0.6
    assert (found.correlation == found.proposed) == (shift == (0, 0))


def test_too_narrow_a_region_is_not_refined(ground):
    assert refine_offset((ground, None), (ground, None), 490, 0, 3) is None
    assert refine_offset((ground, None), (ground, None), 0, -600, 3) is None
    assert register(high_passed(ground[:20]), high_passed(ground[:20]), 3) is None


@pytest.mark.parametrize("quality", [75, 95])
def test_processing_is_no_difference_and_a_patch_is(ground, quality):
    one, two = resaved(ground[:60, :300], quality), resaved(ground[:60, :300], 90, 1.05)
    assert differing_share(high_passed(one), high_passed(two)) < 0.011
    changed = two.copy()
    changed[20:50, 100:130] = ground[220:250, 300:330]
    assert differing_share(high_passed(one), high_passed(changed)) > 0.02


def test_flat_regions_do_not_differ():
    flat = np.full((40, 40), 90, np.uint8)
    assert differing_share(high_passed(flat), high_passed(flat + 1)) == 0


def test_the_median_window_tells_noise_from_a_change(ground):
    one, two = resaved(ground[200:260, 300:350], 90), resaved(ground[200:260, 300:350], 80)
    changed = two.copy()
    changed[:60, :14] = ground[:60, :14]
    assert median_window(high_passed(one), high_passed(two)) > CLEAN_WINDOW
    assert median_window(high_passed(one), high_passed(changed)) > CLEAN_WINDOW
    noisy = np.clip(two + np.random.default_rng(0).normal(0, 14, two.shape), 0, 255).astype(np.uint8)
    assert median_window(high_passed(one), high_passed(noisy)) < CLEAN_WINDOW
    flat = high_passed(np.full((40, 40), 90, np.uint8))
    assert np.isnan(median_window(flat, flat))


def periodic(rng, period=16):
    """A roof that repeats, and what is not alike between its periods, faint."""
    pattern = 110 + 40 * fractal_noise(100, period, 0.6, rng)
    roof = np.tile(pattern, (1, 300 // period + 1))[:, :300]
    return np.clip(roof + 6 * fractal_noise(100, 300, 0.6, rng), 0, 255).astype(np.uint8)


def test_what_repeats_lies_elsewhere_unless_it_is_laid_right():
    roof = periodic(np.random.default_rng(1))
    one, two = resaved(roof[:, :180], 90), resaved(roof[:, 100:280], 88)
    for x, is_wrong in ((100, False), (84, True), (116, True)):
        region = common_region(one.shape, two.shape, 0, x)
        assert is_elsewhere((one, None), (two, None), region, 64) is is_wrong
        assert (
            is_elsewhere((two, None), (one, None), common_region(two.shape, one.shape, 0, -x), 64) is is_wrong
        )


def test_what_does_not_repeat_is_not_elsewhere(ground):
    region = common_region((200, 200), (200, 200), 120, 140)
    assert not is_elsewhere((ground[:200, :200], None), (ground[120:320, 140:340], None), region, 64)


def test_what_shows_little_is_not_looked_for():
    """Of lines nothing tells where along them two images lie; few of them are no reason to refuse those."""
    region = common_region((120, 120), (120, 120), 20, 30)
    strip, most = np.zeros((2, 120, 120), bool)
    strip[62:], most[30:] = True, True
    found = {"strip": 0, "most": 0}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        lines = np.repeat(rng.integers(60, 180, (50, 1)), 4, axis=0)
        one, two = (
            np.clip(lines[top : top + 120] + rng.normal(0, 15, (120, 120)), 0, 255).astype(np.uint8)
            for top in (40, 60)
        )
        found["strip"] += is_elsewhere((one, strip), (two, None), region, 64)
        found["most"] += is_elsewhere((one, most), (two, None), region, 64)
    assert found["strip"] == 0
    assert found["most"] >= 4


def test_what_is_flat_agrees_with_nothing() -> None:
    """Whatever its level: rounding errors of a flat area would correlate with anything."""
    rng = np.random.default_rng(0)
    for level in (1, 130, 255):
        assert not high_passed(np.full((60, 50), level, np.uint8)).any()
        ground = np.full((200, 300), level, np.uint8)
        ground[60:140, 30:110] = rng.integers(0, 255, (80, 80))
        region = Region(60, 30, 60, 30, 80, 80)
        assert not is_elsewhere((ground, None), (ground, None), region, 64)
        flat, textured = (high_passed(part) for part in (ground[:40, 150:190], ground[60:100, 30:70]))
        assert register(textured, flat, 4) is register(flat, textured, 4) is None
