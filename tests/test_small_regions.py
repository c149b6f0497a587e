"""Of small regions the pixels must bear the network out."""

from __future__ import annotations

import numpy as np
from textures import textured

from dupnet.acquisitions.alterations import Processing, process
from dupnet.find.regions import common_region
from dupnet.find.small_regions import Agreement, is_misplaced, pixels_agree
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.reading import decode

PLANE = textured(1, 600, seed=4)[0]


def crop(y: int, x: int, height: int, width: int, quality: int = 90) -> np.ndarray:
    part = PLANE[y : y + height, x : x + width]
    colour = process(np.repeat(part[:, :, None], 3, axis=2), Processing(gain=1.02))
    return np.asarray(decode(encode_jpeg(colour, quality), grey=True)[0])


def verdict(one: np.ndarray, two: np.ndarray, y: int, x: int, score: float = 1.0, sure: bool = True):
    region = common_region(one.shape, two.shape, y, x)
    return pixels_agree(region, (lambda: (one, None), lambda: (two, None)), score, True, sure)


def test_a_true_region_agrees_at_its_place_alone() -> None:
    one, two = crop(0, 0, 120, 120), crop(50, 45, 120, 120, 80)
    assert verdict(one, two, 50, 45) == Agreement(True)
    assert verdict(one, two, 50, 45, sure=False) == Agreement(True)
    assert verdict(one, two, 52, 43, sure=False) == Agreement(False, misplaced=True)
    region = common_region(one.shape, two.shape, 52, 43)
    assert is_misplaced(region, (lambda: (one, None), lambda: (two, None)))


def test_a_changed_patch_and_a_doubtful_score_are_refused() -> None:
    one, two = crop(0, 0, 120, 120), crop(50, 45, 120, 120)
    changed = two.copy()
    changed[10:40, 10:40] = crop(400, 400, 30, 30)
    assert not verdict(one, changed, 50, 45).agree
    assert not verdict(one, two, 50, 45, score=0.98).agree  # 70 x 75 px: one tile or two
    large, other = crop(0, 0, 300, 300), crop(100, 40, 300, 300)
    assert verdict(large, other, 100, 40, score=0.98).agree


def test_noise_explains_a_doubtful_score_where_it_lowers_the_correlation() -> None:
    """70 x 75 px, which show the same ground with noise of as many levels as the texture has."""
    rng = np.random.default_rng(1)
    one, two = (
        np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        for image in (crop(0, 0, 120, 120), crop(50, 45, 120, 120))
    )
    assert verdict(one, two, 50, 45, score=0.9).agree
    changed = two.copy()
    changed[10:40, 10:40] = crop(400, 400, 30, 30)
    assert not verdict(one, changed, 50, 45, score=0.9).agree


def test_what_is_not_valid_in_either_image_is_no_difference() -> None:
    one, two = crop(0, 0, 300, 300), crop(100, 40, 300, 300)
    spoiled = two.copy()
    spoiled[:20] = 0
    valid = np.ones(two.shape, bool)
    valid[:20] = False
    region = common_region(one.shape, two.shape, 100, 40)
    images = (lambda: (one, None), lambda: (spoiled, valid))
    assert pixels_agree(region, images, 1.0, True, True).agree
    assert not pixels_agree(region, (images[0], lambda: (spoiled, None)), 1.0, True, True).agree


def test_a_strip_without_data_does_not_say_that_a_small_region_lies_elsewhere() -> None:
    one, two = crop(0, 0, 120, 120), crop(50, 45, 120, 120)
    spoiled, valid = two.copy(), np.ones(two.shape, bool)
    spoiled[:20], valid[:20] = 0, False
    region = common_region(one.shape, two.shape, 50, 45)
    for mask, agree in ((valid, True), (None, False)):
        images = (lambda: (one, None), lambda mask=mask: (spoiled, mask))
        assert pixels_agree(region, images, 1.0, True, True).agree == agree


def test_where_one_image_shows_nothing_neither_speaks() -> None:
    """Solid ground that reaches the border is a collar of one crop, and part of the picture in the other."""
    plane = textured(1, 200, seed=4, contrast=2)[0]
    plane[:80] = 0
    one, two = plane[20:148, :128], plane[10:138, 30:158]
    valid = np.ones(one.shape, bool)
    valid[:60] = False
    images = (lambda: (one, valid), lambda: (two, None))
    assert pixels_agree(common_region(one.shape, two.shape, -10, 30), images, 1.0, True, True).agree
    assert pixels_agree(common_region(two.shape, one.shape, 10, -30), images[::-1], 1.0, True, True).agree


def test_nothing_is_shown_where_neither_is_valid() -> None:
    """Beside the region one image is bright, the other dark: no edge may come of what is put there."""
    plane = textured(1, 128, seed=6, contrast=2)[0].astype(np.int16)
    one, two = (np.concatenate([plane, plane[:, :60] + lift], axis=1) for lift in (90, -90))
    valid = np.ones(one.shape, bool)
    valid[:50, :80] = False
    one, two = one.astype(np.uint8), np.roll(two, 60, axis=1).astype(np.uint8)
    images = (lambda: (one, valid), lambda: (two, np.roll(valid, 60, axis=1)))
    region = common_region(one.shape, two.shape, 0, -60)
    assert pixels_agree(region, images, 1.0, True, False) == Agreement(True)


def test_of_a_tiny_region_few_votes_and_little_agreement_are_too_little() -> None:
    """Two images with noise, whose high-passed pixels correlate by 0.55: two sheds look as much alike."""
    noise = np.random.default_rng(0).normal(0, 12, (120, 120))
    for y, x, agree in ((50, 50, True), (70, 64, False)):  # 70 x 70 px in common, and 50 x 56
        one, two = crop(0, 0, 120, 120), crop(y, x, 120, 120)
        two = np.clip(two + noise, 0, 255).astype(np.uint8)
        assert verdict(one, two, y, x).agree
        assert verdict(one, two, y, x, sure=False).agree == agree
