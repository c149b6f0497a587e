"""What a hard cut does to its crops."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dupnet.acquisitions.alterations import (
    SOLID_KINDS,
    Processing,
    alter,
    another_day_tile,
    draw_processing,
    process,
    solid_tile,
)
from dupnet.acquisitions.waves import fractal_noise
from dupnet.augment.variation import hls_shift
from dupnet.images.jpeg import encode_jpeg
from dupnet.tiles import is_decidable, solid_kind


@pytest.fixture(scope="module")
def acquisition():
    rng = np.random.default_rng(0)
    grey = 120 + 40 * fractal_noise(1024, 1024, 0.7, rng)
    return np.clip(np.stack([grey, grey, 0.8 * grey], axis=-1), 0, 255).astype(np.uint8)


def test_unchanged_processing_is_a_copy(acquisition):
    processed = process(acquisition, Processing())
    assert np.array_equal(processed, acquisition)
    assert not np.shares_memory(processed, acquisition)


def test_processing_by_hand():
    image = np.array([[[0, 100, 255]]], np.uint8)
    assert process(image, Processing(gain=0.5)).tolist() == [[[0, 50, 128]]]
    assert process(image, Processing(gain=2.0)).tolist() == [[[0, 200, 255]]]
    assert process(image, Processing(gamma=2.0)).tolist() == [[[0, 39, 255]]]
    shifted = process(image, Processing(hue=60, lightness=10, saturation=-20))
    assert np.array_equal(shifted, hls_shift(image, 60, 10, -20))


def test_drawn_processing_stays_in_range():
    drawn = [draw_processing(np.random.default_rng(seed)) for seed in range(300)]
    assert all(max(abs(p.hue), abs(p.lightness), abs(p.saturation)) <= 8 for p in drawn)
    assert all(0.94 <= value <= 1.06 for p in drawn for value in (p.gain, p.gamma))
    assert {p.quality for p in drawn} == set(range(75, 98))


def test_jpeg_quality(acquisition):
    sizes = [len(encode_jpeg(acquisition[:256, :256], quality)) for quality in (50, 75, 95)]
    assert sizes == sorted(sizes)
    with Image.open(io.BytesIO(encode_jpeg(acquisition[:256, :256], 95))) as decoded:
        assert np.abs(np.asarray(decoded).astype(int) - acquisition[:256, :256]).mean() < 4
    with pytest.raises(ValueError, match="quality is 101"):
        encode_jpeg(acquisition, 101)


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_solid_tiles_prove_nothing(kind):
    for seed in range(8):
        tile = solid_tile(kind, 256, np.random.default_rng(seed))
        assert solid_kind(tile, 12) == kind
        assert not is_decidable(tile[None, ..., 2])[0]


def test_the_borders_four_sides_differ():
    tiles = {solid_tile("blue", 64, np.random.default_rng(seed)).tobytes() for seed in range(60)}
    inner_edges = set()
    for seed in range(60):
        off = (solid_tile("blue", 64, np.random.default_rng(seed)) != (0, 0, 255)).any(axis=-1)
        inner_edges.add(
            (bool(off[0].all()), bool(off[-1].all()), bool(off[:, 0].all()), bool(off[:, -1].all()))
        )
    assert len(inner_edges) == 4
    assert len(tiles) > 30


def test_unknown_solid_kind():
    with pytest.raises(ValueError, match="'red'"):
        solid_tile("red", 8, np.random.default_rng(0))


def test_another_day_replaces_part_of_every_tile(acquisition):
    for row in range(4):
        for col in range(4):
            tile = acquisition[256 * row : 256 * row + 256, 256 * col : 256 * col + 256]
            later = another_day_tile(acquisition, row, col, 256, seed=5)
            assert np.array_equal(later, another_day_tile(acquisition, row, col, 256, seed=5))
            # Soft edges change a little more than the share that counts as replaced, equal grey a little
            # less.
            changed = (later != tile).any(axis=-1).mean()
            assert 0.25 < changed < 0.85
    assert not np.array_equal(later, another_day_tile(acquisition, row, col, 256, seed=6))


def test_another_day_changes_what_carries_the_evidence():
    rng = np.random.default_rng(1)
    calm = np.full((1024, 1024, 3), 60, np.uint8)
    calm[..., 0] += rng.integers(0, 2, (1024, 1024), dtype=np.uint8)
    calm[40:60, 200:220] = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)  # a ship
    later = another_day_tile(calm, 0, 0, 256, seed=0)
    assert np.abs(later[40:60, 200:220].astype(int) - calm[40:60, 200:220]).mean() > 20


def test_a_watermark_lies_in_any_of_the_four_corners():
    corners = set()
    for seed in range(30):
        marked = alter(np.zeros((200, 200, 3), np.uint8), "watermark", np.random.default_rng(seed))
        row, col = (places.mean() for places in np.nonzero(marked.any(axis=2)))
        corners.add((row < 100, col < 100))
    assert len(corners) == 4
