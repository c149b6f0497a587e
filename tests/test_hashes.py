"""Hashes: pinned values, the libraries' own answers, and what a hash must and must not notice."""

from __future__ import annotations

import subprocess
import sys

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from dupnet.augment.variation import jpeg
from dupnet.hashes import (
    HASHES,
    SEGMENT_PIXELS,
    _segments,
    block_mean_hash,
    block_mean_hash_channels,
    colour_moment_hash,
    hamming_distance,
    md5,
    opencv_phash,
)


def pattern(phase: float = 0.0, size: int = 256) -> np.ndarray:
    """Waves of three directions, one a channel: a tile that is the same on every machine."""
    rows, cols = np.mgrid[:size, :size] / size
    waves = [np.sin(2 * np.pi * (3 * rows * k + 5 * cols / k + phase) + k) for k in (1, 2, 3)]
    return np.rint(127 + 90 * np.stack(waves, axis=2)).astype(np.uint8)


def noise(seed: int, size: int = 256) -> np.ndarray:
    levels = np.random.default_rng(seed).standard_normal((size, size, 3)).astype(np.float32)
    return np.clip(120 + 200 * cv2.GaussianBlur(levels, (0, 0), 4), 0, 255).astype(np.uint8)


def grey(tile: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)


def test_md5_of_known_bytes():
    assert md5(np.frombuffer(b"abc", np.uint8)) == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
    tile = noise(0, 16)
    changed = tile.copy()
    changed[3, 3, 1] ^= 1
    assert md5(tile) == md5(np.asfortranarray(tile)) != md5(changed)


@pytest.mark.parametrize("size", [256, 128, 100])
def test_block_mean_hash_is_opencvs(size):
    for seed in range(20):
        tile = grey(noise(seed, size))
        assert (block_mean_hash(tile) == cv2.img_hash.blockMeanHash(tile)[0]).all()


def test_block_mean_hash_is_opencvs_on_near_solid_tiles():
    # Ties between a block and the whole decide these hashes, so they must be resolved alike.
    rng = np.random.default_rng(0)
    for level in (0, 7, 255):
        tile = np.full((256, 256), level, np.uint8)
        assert (block_mean_hash(tile) == cv2.img_hash.blockMeanHash(tile)[0]).all()
        tile[rng.integers(256, size=9), rng.integers(256, size=9)] ^= 3
        assert (block_mean_hash(tile) == cv2.img_hash.blockMeanHash(tile)[0]).all()


def test_block_mean_hash_of_a_stack():
    tiles = np.stack([[grey(noise(seed)) for seed in row] for row in ((0, 1, 2), (3, 4, 5))])
    hashes = block_mean_hash(tiles)
    assert hashes.shape == (2, 3, 32)
    assert (hashes[1, 2] == block_mean_hash(tiles[1, 2])).all()


def test_block_mean_hash_by_its_definition():
    tile = grey(noise(6))
    means = tile.reshape(16, 16, 16, 16).mean(axis=(1, 3)).ravel()
    assert (np.unpackbits(block_mean_hash(tile), bitorder="little") == (means >= tile.mean())).all()


def test_block_mean_hash_by_channel():
    tile = noise(7)
    hashes = block_mean_hash_channels(tile).reshape(3, 32)
    for channel in range(3):
        plane = np.ascontiguousarray(tile[..., channel])
        assert (hashes[channel] == cv2.img_hash.blockMeanHash(plane)[0]).all()


def test_opencv_hashes_take_rgb():
    tile = noise(8)
    backwards = np.ascontiguousarray(tile[..., ::-1])
    assert (opencv_phash(tile) == cv2.img_hash.pHash(backwards)[0]).all()
    assert np.allclose(colour_moment_hash(tile), cv2.img_hash.colorMomentHash(backwards)[0])
    assert not np.allclose(colour_moment_hash(tile), colour_moment_hash(backwards))


@pytest.mark.parametrize(
    "name, function",
    [
        ("average_hash", imagehash.average_hash),
        ("perceptual_hash", imagehash.phash),
        ("difference_hash", imagehash.dhash),
        ("wavelet_hash", imagehash.whash),
        ("colour_hash", imagehash.colorhash),
    ],
)
def test_imagehash_distances_are_its_own(name, function):
    tile1, tile2 = noise(9), pattern()
    expected = function(Image.fromarray(tile1)) - function(Image.fromarray(tile2))
    assert HASHES[name].between(tile1, tile2) == expected > 0


def blobs(sigma: float, height: int = 256) -> np.ndarray:
    """Bright and dark regions as wide as ``sigma``, half of each."""
    levels = cv2.GaussianBlur(np.random.default_rng(3).standard_normal((height, 256)), (0, 0), sigma)
    return np.repeat(np.clip(128 + 20 * levels / levels.std(), 0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize(
    "tile",
    [pattern(), noise(9), blobs(2), blobs(6), blobs(6, height=128), blobs(20)]
    + [np.full((256, 256, 3), level, np.uint8) for level in (0, 128, 129, 255)],
    ids=lambda tile: f"{tile.shape[0]}-{tile.mean():.0f}-{tile.std():.0f}",
)
def test_crop_resistant_hash_is_imagehashs(tile):
    expected = imagehash.crop_resistant_hash(Image.fromarray(tile)).segment_hashes
    found = HASHES["crop_resistant_hash"](tile)
    assert found.tolist() == [np.packbits(segment.hash).tolist() for segment in expected]


def rows_of(n_bright: int, side: int, last: int = 0) -> np.ndarray:
    """A square whose first rows are bright, and some pixels of the row below them."""
    mask = np.zeros((side, side), bool)
    mask[:n_bright] = True
    mask[n_bright, :last] = True
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        rows_of(20, 25),  # as small as a segment must not be
        rows_of(20, 25, last=1),
        rows_of(145, 150),  # the bright pixels and those around the border are fewer than all, and as many
        rows_of(146, 150),
    ],
    ids=["500", "501", "fewer", "as many"],
)
def test_segments_are_imagehashs(mask):
    expected = imagehash._find_all_segments(mask * np.float32(255), 128, SEGMENT_PIXELS)
    boxes = []
    for segment in map(np.array, map(list, expected)):
        (top, left), (bottom, right) = segment.min(axis=0), segment.max(axis=0) + 1
        boxes.append([left, top, right, bottom])
    assert _segments(mask).tolist() == (boxes or [[0, 0, *mask.shape[::-1]]])


def test_without_segments_the_whole_tile_is_one():
    mask = np.indices((30, 40)).sum(axis=0) % 2 == 0  # single pixels
    assert _segments(mask).tolist() == [[0, 0, 40, 30]]


@pytest.mark.parametrize("n_bits, is_apart", [(16, False), (17, True)])
def test_segments_correspond_within_a_quarter_of_the_bits(n_bits, is_apart):
    one, other = np.zeros((1, 8), np.uint8), np.packbits(np.arange(64) < n_bits)[None]
    assert HASHES["crop_resistant_hash"].distance(one, other) == is_apart


def test_segments_without_a_counterpart_count_in_both_directions():
    one, both = np.zeros((1, 8), np.uint8), np.array([[0] * 8, [255] * 8], np.uint8)
    assert HASHES["crop_resistant_hash"].distance(one, both) == 0.25  # none of one, half of the other


@pytest.mark.parametrize(
    "name, expected",
    [
        ("block_mean_hash", "781e0ec3e378380e8f61713c0c87e7f1300c9ee7e1303c9ec6c370189ec7c370"),
        ("opencv_phash", "ff40ff40ff40ffca"),
        ("average_hash", "6ca5d269b55a25d9"),
        ("difference_hash", "89554aad55aa9512"),
    ],
)
def test_pinned_values(name, expected):
    """A hash that was stored must still be found after an update of the libraries."""
    assert HASHES[name](pattern()).tobytes().hex() == expected


def test_hamming_distance_by_counting():
    rng = np.random.default_rng(0)
    hashes1, hashes2 = rng.integers(0, 256, (2, 7, 32), dtype=np.uint8)
    expected = [
        sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(one, two, strict=True))
        for one, two in zip(hashes1, hashes2, strict=True)
    ]
    assert hamming_distance(hashes1, hashes2).tolist() == expected
    assert hamming_distance(hashes1[:, None], hashes2[None]).shape == (7, 7)
    assert hamming_distance(np.full(1000, 255, np.uint8), np.zeros(1000, np.uint8)) == 8000  # no overflow


@pytest.mark.parametrize("other", [np.zeros(31, np.uint8), np.zeros(32, np.int64)])
def test_hamming_distance_of_unlike_hashes(other):
    with pytest.raises(ValueError, match="one length"):
        hamming_distance(np.zeros(32, np.uint8), other)


@pytest.mark.parametrize("name", sorted(HASHES))
def test_distance_is_symmetric_and_nought_for_equal_tiles(name):
    tile_hash = HASHES[name]
    hash1, hash2 = tile_hash(noise(11)), tile_hash(pattern())
    assert tile_hash.distance(hash1, hash1) == 0
    assert tile_hash.distance(hash1, hash2) == tile_hash.distance(hash2, hash1) > 0
    if tile_hash.n_bits:
        used = 8 * hash1.nbytes
        assert used - 8 < tile_hash.n_bits <= used


@pytest.mark.parametrize("name", sorted(set(HASHES) - {"md5", "crop_resistant_hash"}))
def test_a_copy_in_jpeg_is_nearer_than_another_tile(name):
    tile = noise(12)
    tile_hash = HASHES[name]
    assert tile_hash.between(tile, jpeg(tile, 90)) < tile_hash.between(tile, pattern())


def test_hash_libraries_are_loaded_when_needed():
    code = "import sys, dupnet.hashes; print([m for m in ('imagehash', 'scipy', 'pywt') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
