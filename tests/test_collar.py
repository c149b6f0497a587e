"""Collars: found where they are, straight and slanted, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dupnet.images.collars import collar_mask
from dupnet.images.jpeg import encode_jpeg

SIDE = 256


def texture(seed: int = 0) -> np.ndarray:
    """Ground of many levels: (256, 256) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (32, 32), dtype=np.uint8)
    noise = rng.integers(-9, 10, (SIDE, SIDE))
    return np.clip(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) + noise, 30, 225).astype(
        np.uint8
    )


def strip(width: int = 40) -> np.ndarray:
    inside = np.ones((SIDE, SIDE), bool)
    inside[:, :width] = False
    return inside


def frame(width: int = 16) -> np.ndarray:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[width:-width, width:-width] = True
    return inside


def slanted() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return (y + 0.3 * x > 60) & (x - 0.2 * y < 190)


def corner() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return y + x > 70


SHAPES = {"strip": strip, "frame": frame, "slanted": slanted, "corner": corner}


def with_collar(inside: np.ndarray, level: int) -> np.ndarray:
    return np.where(inside, texture(), level).astype(np.uint8)


@pytest.mark.parametrize("level", [0, 90, 255])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_of_a_collar_and_few_beside_it(shape: str, level: int) -> None:
    inside = SHAPES[shape]()
    valid = collar_mask(with_collar(inside, level))
    assert valid is not None
    assert not valid[~inside].any()
    well_inside = cv2.erode(inside.astype(np.uint8), np.ones((25, 25), np.uint8), borderValue=1) > 0
    assert valid[well_inside].all()
    # Of what is beside it, a few pixels go.
    assert (inside & ~valid).sum() < 6 * 4 * SIDE


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("shape", SHAPES)
def test_ringing_of_jpeg_belongs_to_the_collar(shape: str, quality: int) -> None:
    inside = SHAPES[shape]()
    data = np.frombuffer(encode_jpeg(with_collar(inside, 0), quality), np.uint8)
    valid = collar_mask(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    assert valid is not None
    assert (valid & ~inside).sum() <= 0.01 * (~inside).sum()
    well_inside = cv2.erode(inside.astype(np.uint8), np.ones((25, 25), np.uint8), borderValue=1) > 0
    assert valid[well_inside].all()


def test_a_soft_edge_belongs_to_the_collar() -> None:
    inside = slanted()
    large = with_collar(inside, 0)
    small = cv2.resize(large, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    valid = collar_mask(small)
    assert valid is not None
    assert not (valid & (small < 25)).any()  # ground has 30 and more


def test_collars_of_two_levels() -> None:
    image = texture()
    image[:, :30], image[-40:] = 0, 255
    valid = collar_mask(image)
    assert valid is not None
    assert not valid[:, :30].any() and not valid[-40:].any()
    assert valid[:200, 50:].all()


def test_an_image_of_one_level_is_all_collar() -> None:
    valid = collar_mask(np.full((64, 64), 7, np.uint8))
    assert valid is not None and not valid.any()


def sea(spread: float, level: int = 3) -> np.ndarray:
    """Nearly black sea: (256, 256) uint8."""
    return np.clip(np.random.default_rng(1).normal(level, spread, (SIDE, SIDE)).round(), 0, 255).astype(
        np.uint8
    )


def rounded(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[100:140, 100:140] = 200  # a ship, within
    return image


NO_COLLAR = {
    "texture": texture(),
    "dark sea": sea(0.6),
    "darker sea, half of it of one level": sea(0.4),
    "clipped sea": sea(1.5, 0),
    "sea and a ship": rounded(sea(0.6)),
    "a flat roof within": np.where(cv2.erode(frame(60).astype(np.uint8), None) > 0, 128, texture()),
    "a narrow line": np.where(strip(2), texture(), 0),
    "a short run": np.where(np.pad(np.ones((8, 60), bool), ((0, SIDE - 8), (50, SIDE - 110))), 0, texture()),
    "tiny": texture()[:3, :3],
}


@pytest.mark.parametrize("name", NO_COLLAR)
def test_no_collar(name: str) -> None:
    assert collar_mask(np.ascontiguousarray(NO_COLLAR[name].astype(np.uint8))) is None


def test_faint_texture_within_a_collar_is_kept() -> None:
    """Dark sea whose larger part is of one level: where there is texture, it counts."""
    image = np.full((SIDE, SIDE), 1, np.uint8)
    image[60:120, 60:200] = sea(1.0, 4)[:60, :140]
    valid = collar_mask(image)
    assert valid is not None
    assert valid[62:118, 62:198].mean() > 0.95
    assert not valid[:50].any()
