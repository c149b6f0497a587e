"""Tiles of training pairs: how a scene looks, what another moment changes in it, how each file was processed.

Pure functions of tiles (256, 256, 3) uint8 RGB and a generator;
:mod:`dupnet.training.hard_pairs` draws pairs with them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.acquisitions.alterations import draw_processing, process
from dupnet.augment import variation as augment
from dupnet.tiles import TILE_SIZE

__all__ = [
    "cut_by_solid",
    "detail_difference",
    "draw_dark_look",
    "draw_look",
    "draw_weak_look",
    "to_grey",
    "processed",
    "processed_gently",
    "replaced",
    "texture",
    "with_ship",
]

Image = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.float32]

MILD = augment.AugmentConfig(hue_limit=15, lightness_low=-30, lightness_high=20, saturation_limit=20)
"""One processing of one acquisition, and limits of the HLS shift that hold both those measured in
``notebooks/eda/hls_shift.ipynb`` (15, -30 to 5, 10) and those of the original (10, 20, 20)."""

STRONG = augment.AugmentConfig(
    gain_limit=0.22, gamma_limit=0.25, colour_mix_limit=0.1, sharpen_limit=0.8, noise_limit=2.5
)
"""Two processings of one acquisition: limits that reach past the strongest pair of labelled Airbus images,
which agree at a correlation of 0.87."""

FULL_REACH = 1.6
"""A hard cut gives every file a processing of its own
(:func:`dupnet.acquisitions.alterations.draw_processing`); training meets one up to so many times as
strong."""


def draw_dark_look(rng: np.random.Generator) -> Callable[[Image], Image]:
    """Nearly black, or white, but for scattered pixels."""
    quantile = 1 - 10 ** rng.uniform(-3.7, -0.7)
    top, base = rng.uniform(0.8, 8), int(rng.integers(0, 4))
    return partial(_nearly_black, quantile=quantile, top=top, base=base, invert=rng.random() < 0.25)


def draw_look(rng: np.random.Generator) -> Callable[[Image], Image]:
    """As it is, with weak contrast, or glaring."""
    chance = rng.random()
    if chance < 0.24:
        return draw_weak_look(rng)
    if chance < 0.4:
        return partial(_glaring, share=10 ** rng.uniform(-3, -0.7), peak=rng.uniform(225, 262))
    return np.asarray


def draw_weak_look(rng: np.random.Generator) -> Callable[[Image], Image]:
    """Darker, and with as little as an eighth of the contrast."""
    return partial(_weak, contrast=np.exp(rng.uniform(np.log(0.12), 0)), light=rng.uniform(0.2, 1))


def _weak(tile: Image, contrast: float, light: float) -> Image:
    mean = tile.reshape(-1, 3).mean(axis=0)
    return _rounded((tile - mean) * contrast + mean * light)


def _glaring(tile: Image, share: float, peak: float) -> Image:
    """The tile with its brightest ``share`` at ``peak`` and above, where one processing saturates and another
    does not."""
    bright = float(np.quantile(tile.max(axis=2), 1 - share))
    return _rounded(tile * (peak / max(bright, peak / 3)))


def _nearly_black(tile: Image, quantile: float, top: float, base: int, invert: bool) -> Image:
    detail = _detail(tile, 8)
    floor = np.quantile(detail, quantile)
    levels = np.clip((detail - floor) / (detail.max() - floor + 1e-3), 0, 1) * top + base
    return np.repeat(_rounded(255 - levels if invert else levels)[..., None], 3, axis=2)


def cut_by_solid(tile: Image, rng: np.random.Generator) -> Image:
    """White, black or the blue border over a part of the tile, behind a straight or a slanted edge."""
    corners = (
        [int(rng.integers(8, TILE_SIZE - 8))] * 2
        if rng.random() < 0.4
        else rng.integers(0, TILE_SIZE, 2).tolist()
    )
    mask = np.zeros((TILE_SIZE, TILE_SIZE), np.uint8)
    outline = [(0, 0), (TILE_SIZE, 0), (TILE_SIZE, corners[0]), (0, corners[1])]
    cv2.fillPoly(mask, [np.array(outline, np.int32)], 1)
    covered = tile.copy()
    covered[np.rot90(mask, int(rng.integers(4))) > 0] = [(255, 255, 255), (0, 0, 0), (0, 0, 255)][
        int(rng.integers(3))
    ]
    return covered


def replaced(kind: str, tile: Image, other: Image, rng: np.random.Generator) -> Image | None:
    """Part of ``tile`` replaced by ``other``, mostly on the tone of ``tile``: a change that must be
    visible."""
    base, new = tile.astype(np.float32), other.astype(np.float32)
    if rng.random() < 0.8:
        new = np.clip(new - new.mean(axis=(0, 1)) + base.mean(axis=(0, 1)), 0, 255)
    if kind == "mix":
        field = 0.5 + 0.6 * _smooth_field(rng, int(rng.integers(2, 6))) + rng.uniform(-0.2, 0.3)
        even = np.full(field.shape, rng.uniform(0.3, 0.8), np.float32)
        mask = np.clip(field, 0, 1) if rng.random() < 0.5 else even
    else:
        share, low, high = (rng.uniform(0.3, 0.7), 60, 100) if kind == "day" else (0.003, 20, 90)
        mask = _patches(rng, share, low, high)
    levels = base + (new - base) * mask[..., None]
    if kind == "day" and rng.random() < 0.5:
        levels = levels * (1 + 0.12 * _smooth_field(rng, 4)[..., None])
    changed = _rounded(levels)
    change, detail = _detail(changed, 6) - _detail(tile, 6), _detail(tile, 6)
    if kind == "mix":
        # At least a fifth of the tile must disagree by more than processing could explain.
        local, own = (cv2.boxFilter(levels * levels, -1, (48, 48)) for levels in (change, detail))
        return changed if (local > 0.8 * own + 4).mean() >= 0.2 else None
    inside = mask > 0.5
    if inside.sum() < 50 or np.sqrt((change[inside] ** 2).mean()) < max(5.0, 0.7 * texture(tile)):
        return None
    return changed


def _patches(rng: np.random.Generator, share: float, low: float, high: float) -> Levels:
    """Ellipses and squares of ``low`` to ``high`` px until ``share`` of the tile is covered, with soft
    edges."""
    mask = np.zeros((TILE_SIZE, TILE_SIZE), np.float32)
    for _ in range(60):
        if mask.mean() >= share:
            break
        half, (x, y) = rng.uniform(low, high) / 2, (int(rng.integers(0, TILE_SIZE)) for _ in range(2))
        if rng.random() < 0.5:
            axes = (int(half), int(half * rng.uniform(0.5, 1)))
            cv2.ellipse(mask, (x, y), axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
        else:
            cv2.rectangle(mask, (int(x - half), int(y - half)), (int(x + half), int(y + half)), 1.0, -1)
    return _float32(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 4)))


def with_ship(tile: Image, rng: np.random.Generator) -> Image:
    """The tile with a ship more, grey or coloured, half of the time with a wake."""
    length = rng.uniform(20, 110)
    width, angle = max(6, length * rng.uniform(0.15, 0.3)), rng.uniform(0, 180)
    x, y = rng.uniform(20, TILE_SIZE - 20, 2)
    hull = np.zeros((TILE_SIZE, TILE_SIZE), np.float32)
    cv2.fillConvexPoly(hull, cv2.boxPoints(((x, y), (length, width), angle)).astype(np.int32), 1.0)
    hull = _float32(cv2.GaussianBlur(hull, (0, 0), 0.8))[..., None]
    paint = np.empty((TILE_SIZE, TILE_SIZE, 3), np.float32)
    paint[:] = _draw_colour(rng)
    along = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    for _ in range(int(rng.integers(0, 8))):  # hatches, containers, a bridge
        centre = (x, y) + along * length * rng.uniform(-0.45, 0.45)
        block = (centre.tolist(), (length * rng.uniform(0.04, 0.25), width * rng.uniform(0.3, 0.9)), angle)
        cv2.fillConvexPoly(paint, cv2.boxPoints(block).astype(np.int32), _draw_colour(rng).tolist())
    paint = _float32(cv2.GaussianBlur(paint, (0, 0), 0.8))
    levels = tile * (1 - hull) + (paint + 2 * _speckle(rng, 15, 1.2)) * hull
    if rng.random() < 0.5:
        reach = length * rng.uniform(1, 3)
        end = (int(x + np.cos(np.deg2rad(angle)) * reach), int(y + np.sin(np.deg2rad(angle)) * reach))
        wake = np.zeros((TILE_SIZE, TILE_SIZE), np.float32)
        cv2.line(wake, (int(x), int(y)), end, 1.0, int(width))
        wake = _float32(cv2.GaussianBlur(wake, (0, 0), 3))[..., None] * (1 - hull)
        levels = levels + wake * (rng.uniform(5, 40) + _speckle(rng, 20, 1.5))
    return _rounded(levels)


def _draw_colour(rng: np.random.Generator) -> Levels:
    """RGB of a ship's paint: grey, or so coloured that a shift in hue changes its luma."""
    saturation = rng.uniform(0, 1) if rng.random() < 0.5 else 0.0
    return _float32(rng.uniform(60, 255) * (1 - saturation * rng.uniform(0, 1, 3)))


def processed(tiles: list[Image], rng: np.random.Generator) -> tuple[list[Image], int]:
    """Each tile as its own file might have it: processed, shifted in hue, lightness and saturation,
    compressed."""
    tiles = list(tiles)
    if rng.random() < 0.4:
        tiles = [process(tile, draw_processing(rng, rng.uniform(0.6, FULL_REACH))) for tile in tiles]
        return _compressed(tiles, rng)
    if rng.random() < 0.6:
        which = int(rng.integers(2))
        if rng.random() < 0.4:
            tiles[which] = augment.reprocess(_resampled(tiles[which], rng), rng, STRONG)
        else:
            tiles[which] = augment.reprocess(tiles[which], rng, MILD)
        if rng.random() < 0.5:
            tiles[1 - which] = augment.reprocess(tiles[1 - which], rng, MILD)
    # Each file has a processing of its own, so both may be shifted, and then by as much again.
    tiles = [augment.random_hls_shift(tile, rng, MILD) if rng.random() < 0.5 else tile for tile in tiles]
    return _compressed(tiles, rng)


def _compressed(tiles: list[Image], rng: np.random.Generator) -> tuple[list[Image], int]:
    qualities = [_draw_quality(rng) for _ in tiles]
    tiles = [
        augment.jpeg(tile, quality) if quality < 100 else tile
        for tile, quality in zip(tiles, qualities, strict=False)
    ]
    return tiles, min(qualities)


def processed_gently(tiles: list[Image], rng: np.random.Generator) -> tuple[list[Image], int]:
    """JPEG alone, at the qualities of crops of one processing: scattered pixels would not survive
    more."""
    qualities = [int(rng.choice([90, 92, 95, 95, 95, 97])) for _ in tiles]
    return [augment.jpeg(tile, quality) for tile, quality in zip(tiles, qualities, strict=False)], min(
        qualities
    )


def _draw_quality(rng: np.random.Generator) -> int:
    """JPEG quality of a file: often 95, as the Airbus files; 100 stands for none."""
    chance = rng.random()
    if chance < 0.3:
        return 95
    if chance < 0.97:
        return int(rng.integers(75, 99) if chance < 0.8 else rng.integers(50, 75))
    return 100


def _resampled(tile: Image, rng: np.random.Generator) -> Image:
    """The tile resampled up to 0.45 px aside, in three cases of ten: another processing may have its own
    grid."""
    if rng.random() >= 0.3:
        return tile
    right, down = rng.uniform(-0.45, 0.45, 2)
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(
        tile, move, (TILE_SIZE, TILE_SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def to_grey(tile: Image) -> Image:
    """Luma (256, 256) of a tile, as in JPEG."""
    return np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), np.uint8)


def _detail(tile: Image, scale: float) -> Levels:
    grey = to_grey(tile).astype(np.float32)
    return _float32(grey - cv2.GaussianBlur(grey, (0, 0), scale))


def texture(tile: Image) -> float:
    """Standard deviation of what is finer than 4 px, in grey levels."""
    return float(_detail(tile, 4).std())


def detail_difference(one: Image, other: Image, scale: float) -> float:
    """Root mean square difference of what is finer than ``scale`` px, in grey levels."""
    return float(np.sqrt(np.mean((_detail(one, scale) - _detail(other, scale)) ** 2)))


def _smooth_field(rng: np.random.Generator, nodes: int) -> Levels:
    noise = rng.standard_normal((nodes, nodes), dtype=np.float32)
    return _float32(cv2.resize(noise, (TILE_SIZE, TILE_SIZE), interpolation=cv2.INTER_CUBIC))


def _speckle(rng: np.random.Generator, strength: float, scale: float) -> Levels:
    noise = rng.normal(0, strength, (TILE_SIZE, TILE_SIZE)).astype(np.float32)
    return _float32(cv2.GaussianBlur(noise, (0, 0), scale))[..., None]


def _float32(array: npt.ArrayLike) -> Levels:
    return np.asarray(array, dtype=np.float32)


def _rounded(levels: npt.NDArray[np.floating]) -> Image:
    """Rounded half to even, where :mod:`dupnet.augment.variation` rounds half up: the shipped weights were
    trained on these."""
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)
