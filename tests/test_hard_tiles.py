"""Tiles of hard pairs: changes that must show do show, and processing moves nothing."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from kept import assert_kept
from textures import Bytes, textured

from dupnet.augment.variation import jpeg
from dupnet.metrics.pair_metrics import correlation
from dupnet.pairs.reader import is_another
from dupnet.training.hard_tiles import (
    cut_by_solid,
    detail_difference,
    draw_dark_look,
    draw_look,
    draw_weak_look,
    processed,
    processed_gently,
    replaced,
    texture,
    to_grey,
    with_ship,
)

N = 40
"""Draws of each kind."""

Draw = Callable[[Bytes, np.random.Generator], Bytes]


def tile(seed: int) -> Bytes:
    """Grey texture of two sizes, as RGB."""
    fine, coarse = textured(2, seed=seed).astype(float)
    levels = 0.5 * fine + 0.5 * cv2.GaussianBlur(coarse, (0, 0), 3)
    return np.repeat(np.rint(levels).astype(np.uint8)[:, :, None], 3, axis=2)


TILE, OTHER = tile(0), tile(1)


def draws(make: Draw, of: Bytes = TILE) -> list[Bytes]:
    return [make(of, np.random.default_rng(seed)) for seed in range(N)]


def part_that_changed(changed: Bytes) -> np.ndarray:
    return (changed != TILE).any(axis=2)


MAKERS: dict[str, Draw] = {
    "dark": lambda one, rng: draw_dark_look(rng)(one),
    "look": lambda one, rng: draw_look(rng)(one),
    "weak": lambda one, rng: draw_weak_look(rng)(one),
    "solid": cut_by_solid,
    "small": lambda one, rng: replaced("small", one, OTHER, rng),
    "day": lambda one, rng: replaced("day", one, OTHER, rng),
    "ship": with_ship,
    "processed": lambda one, rng: np.concatenate(processed([one, OTHER], rng)[0]),
    "gently": lambda one, rng: np.concatenate(processed_gently([one, OTHER], rng)[0]),
}


@pytest.mark.parametrize("name", MAKERS)
def test_equal_draws_give_equal_tiles_and_leave_theirs_alone(name: str) -> None:
    before = TILE.copy(), OTHER.copy()
    seen = set()
    for seed in range(6):
        first, again = (MAKERS[name](TILE, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert first.dtype == np.uint8 and first.shape[1:] == (256, 3)
        seen.add(first.tobytes())
    assert len(seen) > 1
    np.testing.assert_array_equal((TILE, OTHER), before)


def reduced(name: str) -> Bytes:
    """Sixteen draws side by side, grey and reduced to a sixteenth."""
    made = [MAKERS[name](TILE, np.random.default_rng(seed)).mean(axis=2) for seed in range(16)]
    small = [cv2.resize(one, (16, len(one) // 16), interpolation=cv2.INTER_AREA) for one in made]
    return np.rint(np.hstack(small)).astype(np.uint8)


def test_draws_stay_those_that_the_network_was_trained_on() -> None:
    assert_kept(np.vstack([reduced(name) for name in MAKERS]), "hard_tiles")


def test_a_dark_look_is_scattered_pixels_and_a_weak_one_less_contrast() -> None:
    found = draws(MAKERS["dark"])
    assert all((one == one[..., :1]).all() and 1 <= np.ptp(one) <= 8 for one in found)
    white = [bool(one.min() >= 244) for one in found]
    assert all(is_white or one.max() <= 11 for one, is_white in zip(found, white, strict=True))
    assert 0.1 < np.mean(white) < 0.4
    usual = [float((one == np.median(one)).mean()) for one in found]
    assert min(usual) > 0.75 and max(usual) > 0.999
    found = draws(MAKERS["weak"])
    contrast = np.array([one.std() for one in found]) / TILE.std()
    light = np.array([one.mean() for one in found]) / TILE.mean()
    assert 0.11 < contrast.min() < 0.16 and 0.8 < contrast.max() < 1.02
    assert 0.19 < light.min() < 0.3 and 0.9 < light.max() < 1.01
    assert min(correlation(TILE, one) for one in found) > 0.6


def test_most_looks_are_as_it_is_and_glare_saturates_the_brightest() -> None:
    found = draws(MAKERS["look"])
    assert 0.4 < np.mean([np.array_equal(one, TILE) for one in found]) < 0.8
    glaring = [one for one in found if one.mean() > TILE.mean()]
    assert len(glaring) >= 4
    for one in glaring:
        brightest = TILE[..., 0] >= np.quantile(TILE[..., 0], 0.999)
        assert one[brightest].min() >= 220 and np.median(one) < 250
        assert (np.diff([one[level == TILE].max() for level in np.unique(TILE)]) >= 0).all()


def test_a_solid_part_lies_behind_one_edge_and_the_rest_is_as_it_was() -> None:
    colours, sides = set(), set()
    for one in draws(cut_by_solid):
        covered = part_that_changed(one)
        assert 0 < covered.mean() < 1
        low, high = one[covered].min(axis=0).tolist(), one[covered].max(axis=0).tolist()
        assert low == high
        colours.add(tuple(low))
        edges = {"top": covered[0], "bottom": covered[-1], "left": covered[:, 0], "right": covered[:, -1]}
        whole = [side for side, edge in edges.items() if edge.all()]
        sides.update(whole)
        assert whole or covered.mean() < 0.5
    assert colours == {(255, 255, 255), (0, 0, 0), (0, 0, 255)}
    assert sides == {"top", "bottom", "left", "right"}


@pytest.mark.parametrize("kind", ["small", "day", "mix"])
def test_a_replaced_part_shows_or_is_not_given(kind: str) -> None:
    found = [one for one in draws(lambda one, rng: replaced(kind, one, OTHER, rng)) if one is not None]
    assert len(found) > N / 2
    if kind == "mix":  # in some places of one or the other alone, in some evenly
        kept = [1 - part_that_changed(one).mean() for one in found]
        assert max(kept) > 0.2 and min(kept) < 0.08
    for one in found:
        share = part_that_changed(one).mean()
        assert 0.005 < share < 0.3 if kind == "small" else share > 0.3 and is_another(one, TILE)
        assert detail_difference(one, TILE, 6) / np.sqrt(share) > 3
    for seed in range(12):
        assert replaced(kind, TILE, TILE, np.random.default_rng(seed)) is None


def test_a_ship_is_somewhere_and_changes_nothing_elsewhere() -> None:
    found = draws(with_ship)
    changed = [part_that_changed(one) for one in found]
    assert all(60 < part.sum() < 0.5 * part.size for part in changed)
    assert all(np.abs(one.astype(int) - TILE).max() > 20 for one in found)
    assert np.logical_or.reduce(changed)[32:-32, 32:-32].mean() > 0.5
    assert {bool(np.ptp(one, axis=2).max() > 20) for one in found} == {True, False}


def test_processing_moves_nothing_and_tells_the_lower_quality() -> None:
    n_plain = 0
    for seed in range(N):
        (one, two), quality = processed([TILE, TILE], np.random.default_rng(seed))
        assert 50 <= quality <= 100
        assert correlation(one, two) > 0.8 and correlation(TILE, one) > 0.8 and correlation(TILE, two) > 0.8
        (one, two), quality = processed_gently([TILE, OTHER], np.random.default_rng(seed))
        assert quality in (90, 92, 95, 97)
        coded = [np.array_equal(jpeg(plain, quality), found) for plain, found in ((TILE, one), (OTHER, two))]
        assert any(coded)
        n_plain += all(coded)
    assert 0 < n_plain < N


def test_detail_counts_in_levels_whatever_lies_beneath() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10, (256, 256, 1))
    slope = np.linspace(60, 160, 256)[None, :, None]
    noisy, plain = (
        np.rint(np.broadcast_to(one, (256, 256, 3))).astype(np.uint8) for one in (slope + noise, slope)
    )
    assert texture(noisy) == pytest.approx(10, abs=0.3)
    assert texture(plain) < 0.5
    assert detail_difference(noisy, plain, 6) == pytest.approx(10, abs=0.3)
    assert detail_difference(plain, noisy, 6) == detail_difference(noisy, plain, 6)
    assert detail_difference(noisy, noisy + np.uint8(7), 6) == pytest.approx(0, abs=1e-4)
    colours = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    np.testing.assert_allclose(to_grey(colours), colours @ [0.299, 0.587, 0.114], atol=0.51)
