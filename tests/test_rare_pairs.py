"""Tests of the training pairs of rare kinds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from textures import rough_scene, textured

from dupnet.network.collar_cells import collar_cells
from dupnet.tiles import is_decidable
from dupnet.training.crops import Source
from dupnet.training.rare_pairs import (
    _DRAWS,
    RARE_KINDS,
    _correlation,
    _fine,
    _share_evidence,
    draw_rare_pair,
)


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return [Source(name, name, rough_scene(seed, 14)) for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def drawn(sources):
    shares = {"one": 0.5, "two": 0.5}
    return [draw_rare_pair(sources, shares, 0, index) for index in range(80)]


def test_every_kind_is_drawn_with_both_labels(drawn):
    kinds = {pair.kind for pair in drawn}
    assert kinds == {*RARE_KINDS, *(f"other {kind}" for kind in RARE_KINDS)}
    assert all(pair.is_duplicate == (not pair.kind.startswith("other ")) for pair in drawn)
    assert sum(RARE_KINDS.values()) == pytest.approx(1)


def test_both_tiles_carry_evidence(drawn):
    for pair in drawn:
        assert pair.grey1.shape == pair.grey2.shape == (256, 256)
        assert is_decidable(np.stack([pair.grey1, pair.grey2])).all()


def test_a_pair_depends_on_seed_and_index_alone(sources, drawn):
    again = draw_rare_pair(sources, {"one": 0.5, "two": 0.5}, 0, 7)
    np.testing.assert_array_equal(again.grey1, drawn[7].grey1)
    np.testing.assert_array_equal(again.grey2, drawn[7].grey2)


def test_collars_are_such_as_the_encoder_marks(drawn):
    collars = [pair for pair in drawn if pair.kind.endswith("collar")]
    found = [collar_cells(np.stack([pair.grey1, pair.grey2])) for pair in collars]
    assert np.mean([marked is not None for marked in found]) > 0.5


def test_a_lifted_tile_was_nearly_black_and_little_repeats(drawn):
    lifted = [pair for pair in drawn if pair.kind == "lifted"]
    assert max(min(pair.grey1.mean(), pair.grey2.mean()) for pair in lifted) < 30
    for pair in (pair for pair in drawn if pair.kind.endswith("little")):
        np.testing.assert_array_equal(pair.grey1[:128], pair.grey1[128:])


def test_compressed_pairs_are_of_a_low_quality_and_detail_is_left(drawn):
    compressed = [pair for pair in drawn if pair.kind.endswith("compressed")]
    assert {pair.is_duplicate for pair in compressed} == {0, 1}
    assert all(18 <= pair.quality < 50 for pair in compressed)
    alike = {
        label: np.mean(
            [
                _correlation(_fine(pair.grey1), _fine(pair.grey2))
                for pair in compressed
                if pair.is_duplicate == label
            ]
        )
        for label in (0, 1)
    }
    assert alike[1] > 0.4 and alike[1] > alike[0]


def test_of_compression_that_leaves_blocks_alone_no_pair_is_drawn(sources):
    flat = np.full((256, 256, 3), 90, np.uint8)
    flat[::2, ::2] += 2  # what a quality below 50 takes away
    rng = np.random.default_rng(0)
    assert all(_DRAWS["compressed"](flat, flat, True, rng) is None for _ in range(6))


def test_noise_is_on_one_of_the_two_or_on_both(sources):
    tile = sources[0].image[:256, :256]
    rng = np.random.default_rng(0)
    noisy = []
    for _ in range(24):
        found = _DRAWS["noise"](tile, tile, True, rng)
        if found is not None:
            noisy.append(sum(float(cv2.Laplacian(grey, cv2.CV_32F).std()) > 20 for grey in found[:2]))
    assert {1, 2} <= set(noisy)


def test_one_pixel_aside_is_no_duplicate_where_texture_tells(sources):
    tile, other = sources[0].image[:256, :256], sources[1].image[:256, :256]
    rng = np.random.default_rng(0)
    draws = [_DRAWS["aside"](tile, other, False, rng) for _ in range(6)]
    grey1, grey2, _ = next(found for found in draws if found is not None)
    fits = []
    for down in (-2, -1, 0, 1, 2):
        for right in (-2, -1, 0, 1, 2):
            moved = np.roll(grey1.astype(float), (down, right), (0, 1))
            fits.append((np.corrcoef(moved.ravel(), grey2.astype(float).ravel())[0, 1], (down, right)))
    assert max(fits)[1] != (0, 0)


@pytest.mark.parametrize(("side", "alike", "shares"), [(72, 3, 0), (80, 4, 0), (168, 24, 2), (176, 25, 4)])
def test_four_cells_that_both_show_are_evidence_enough(side, alike, shares):
    """Of a tile that shows something in one corner alone, and another in the same corner or the opposite."""
    texture = textured(1, 256, seed=1)[0]
    corner, opposite = np.zeros((2, 256, 256), np.uint8)
    corner[:side, :side], opposite[-side:, -side:] = texture[:side, :side], texture[-side:, -side:]
    for other, n_cells in ((corner, alike), (opposite, shares)):
        marked = collar_cells(np.stack([corner, other]))
        assert marked is not None and int((~marked.any(axis=0)).sum()) == n_cells
        assert _share_evidence(corner, other) == (n_cells >= 4)
