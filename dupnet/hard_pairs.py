"""Training pairs that hold the hard cases, drawn from acquisitions and images by a seed.

Half of the pairs are duplicates: one crop under two processings, each compressed on its own. The other half
are non-duplicates of the kinds in :data:`KINDS`. Both halves go through the same processing, so that it
tells nothing.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from dupnet import augment
from dupnet.alterations import draw_processing, process
from dupnet.descriptors import describe, untrained_weights, verify_bytes
from dupnet.files import atomic_path, write_csv
from dupnet.tiles import TILE_SIZE, is_decidable

__all__ = ["KINDS", "HardPair", "Place", "Source", "draw_pair", "draw_tile", "write_pairs"]

Image = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.float32]

KINDS = {
    "same": 0.14,  # another crop of the same image
    "cross": 0.09,  # a crop of another image
    "alike": 0.17,  # of a dozen crops, here and elsewhere, the one nearest in brightness and texture
    "day": 0.20,  # one place on another day: 30 to 70 % replaced in soft blobs, lit anew
    "small": 0.16,  # one blob of 20 to 90 px replaced
    "ship": 0.08,  # a ship, half of the time with a wake, in one of the two
    "mix": 0.11,  # static structure with other water laid over all of it, more here and less there
    "shift": 0.05,  # the same picture 3 to 40 px aside
}
"""Kinds of non-duplicates and their shares.

Chosen by what the network got wrong on validation pairs.
"""

MILD = augment.AugmentConfig(hue_limit=15, lightness_low=-30, lightness_high=20, saturation_limit=20)
"""One processing of one acquisition, and limits of the HLS shift that hold both those measured in
``notebooks/eda/hls_shift.ipynb`` (15, -30 to 5, 10) and those of the original (10, 20, 20)."""

STRONG = augment.AugmentConfig(
    gain_limit=0.22, gamma_limit=0.25, colour_mix_limit=0.1, sharpen_limit=0.8, noise_limit=2.5
)
"""Two processings of one acquisition: limits that reach past the strongest pair of labelled Airbus images,
which agree at a correlation of 0.87."""


@dataclass(frozen=True)
class Source:
    """Pixels to draw crops from: ``image`` (height, width, 3) uint8 RGB, at least a tile a side.

    ``name`` tells the collection; crops of two sources are never called alike if they share a ``group``.
    """

    name: str
    group: str
    image: Image


DARK_SHARE = 0.12
"""Share of the scenes that are nearly black, or white, but for scattered pixels: what little they show must
agree."""

SHIPS_SHARE = 0.2
"""Share of the scenes that get one to three ships, in both tiles alike: real crops hold few, and a shift in
hue changes the luma of a coloured ship and of nothing around it."""

FULL_REACH = 1.6
"""A hard cut gives every file a processing of its own (:func:`dupnet.alterations.draw_processing`); training
meets one up to so many times as strong."""


PAIRS_AT_A_TIME = 50
"""Pairs that a worker draws before it hands them over."""


class HardPair(NamedTuple):
    """Two grey tiles (256, 256) uint8 and what is known of them; ``quality`` is the lower JPEG quality of
    the two."""

    grey1: Image
    grey2: Image
    is_duplicate: int
    kind: str
    source: str
    group: str
    quality: int


class Place(NamedTuple):
    """Where a tile was drawn: ``row`` and ``col`` in pixels of source number ``source``, of ``group``."""

    source: int
    group: str
    row: int
    col: int


class _Crop(NamedTuple):
    tile: Image
    source: int
    row: int
    col: int


def write_pairs(
    sources: Sequence[Source],
    shares: dict[str, float],
    n: int,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    workers: int = 1,
) -> pd.DataFrame:
    """Draw ``n`` pairs and write what the encoder makes of them: ``path`` (.npy, (n, 2, bytes) uint8, the
    verify descriptors of :func:`dupnet.descriptors.describe`) and a table beside it (.csv).

    ``shares`` gives the share of each source name. Pair ``i`` depends on ``(seed, i)`` alone. With several
    ``workers``, each is a process of its own with a copy of the sources.
    """
    parts = [range(start, min(start + PAIRS_AT_A_TIME, n)) for start in range(0, n, PAIRS_AT_A_TIME)]
    rows: list[tuple[object, ...]] = []
    with atomic_path(path) as beside:
        written = np.lib.format.open_memmap(beside, "w+", np.uint8, (n, 2, verify_bytes(TILE_SIZE)))
        for part, (verify, known) in zip(
            parts, _described(sources, shares, seed, parts, workers), strict=True
        ):
            written[part.start : part.stop] = verify
            rows += known
        written.flush()
    table = pd.DataFrame(rows, columns=list(HardPair._fields[2:]))
    write_csv(table, os.fspath(path).removesuffix(".npy") + ".csv")
    return table


_Described = tuple[npt.NDArray[np.uint8], list[tuple[object, ...]]]


def _described(
    sources: Sequence[Source], shares: dict[str, float], seed: int, parts: Sequence[range], workers: int
) -> Iterator[_Described]:
    draw = _Draw(sources, shares, seed)
    if workers == 1:
        yield from map(draw, tqdm(parts, desc="hard pairs", unit_scale=PAIRS_AT_A_TIME, unit="pair"))
        return
    # Started anew and not forked: a copy of a process that runs threads may wait for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _Draw.adopt, (draw,)) as pool:
        found = pool.map(_Draw.adopted, parts)
        yield from tqdm(found, desc="hard pairs", total=len(parts), unit_scale=PAIRS_AT_A_TIME, unit="pair")


@dataclass(frozen=True)
class _Draw:
    """Draws and describes the pairs of a range; in a process of its own, one that the process keeps."""

    sources: Sequence[Source]
    shares: dict[str, float]
    seed: int

    _kept: ClassVar[_Draw]

    def __call__(self, part: range) -> _Described:
        pairs = [draw_pair(self.sources, self.shares, self.seed, index) for index in part]
        verify = describe(np.stack([tile for pair in pairs for tile in pair[:2]]), untrained_weights()).verify
        return verify.reshape(len(pairs), 2, -1), [pair[2:] for pair in pairs]

    def adopt(self) -> None:
        cv2.setNumThreads(1)
        threadpool_limits(1)
        _Draw._kept = self

    @staticmethod
    def adopted(part: range) -> _Described:
        return _Draw._kept(part)


def draw_pair(sources: Sequence[Source], shares: dict[str, float], seed: int, index: int) -> HardPair:
    """Pair ``index`` of the endless series that ``seed`` stands for.

    Draws again until both tiles carry evidence (:func:`dupnet.tiles.is_decidable`) after all processing:
    where the pixels show nothing, neither label would be true.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        pair = _attempt(sources, shares, rng)
        if pair is not None and is_decidable(np.stack(pair[:2])).all():
            return pair


def draw_tile(
    sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator, *, dark: bool
) -> tuple[Image, Place]:
    """One decidable grey tile (256, 256) uint8, styled, processed and compressed as those of a pair, and its
    place."""
    while True:
        crop = _draw_crop(sources, shares, rng)
        tile = (_draw_dark if dark else _draw_light)(rng)(crop.tile)
        tiles, _ = (_gently if dark else _process)([tile, tile], rng)
        grey = _grey(tiles[0])
        if is_decidable(grey[None]).all():
            return grey, Place(crop.source, sources[crop.source].group, crop.row, crop.col)


def _attempt(
    sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator
) -> HardPair | None:
    crop = _draw_crop(sources, shares, rng)
    style, dark = _draw_style(rng)
    tile = style(crop.tile)
    if not dark and rng.random() < SHIPS_SHARE:
        for _ in range(int(rng.integers(1, 4))):
            tile = _with_ship(tile, rng)
    if rng.random() < 0.06:
        tile = _cut_by_solid(tile, rng)
    if not dark and _texture(tile) < 0.3:
        return None
    first, second, kind = tile, tile, "duplicate"
    if rng.random() < 0.5:
        kind = str(
            rng.choice(
                ["same", "cross", "alike"] if dark else list(KINDS), p=None if dark else list(KINDS.values())
            )
        )
        other = _non_duplicate(kind, tile, crop, style, sources, shares, rng)
        if other is None:
            return None
        first, second = (tile, other) if rng.random() < 0.5 else (other, tile)
    source = sources[crop.source]
    tiles, quality = (_gently if dark and rng.random() < 0.8 else _process)([first, second], rng)
    grey1, grey2 = (_grey(one) for one in tiles)
    return HardPair(grey1, grey2, int(kind == "duplicate"), kind, source.name, source.group, quality)


def _draw_crop(
    sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator, near: _Crop | None = None
) -> _Crop:
    """A crop at multiples of 8 px, the grid of JPEG blocks; with ``near``, of its source and clear of
    it."""
    if near is None:
        names = [name for name in shares if any(source.name == name for source in sources)]
        weights = np.array([shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        number = int(rng.choice([i for i, source in enumerate(sources) if source.name == name]))
    else:
        number = near.source
    image = sources[number].image
    for _ in range(50):
        row, col = (int(rng.integers(0, (side - TILE_SIZE) // 8 + 1)) * 8 for side in image.shape[:2])
        if near is None or max(abs(row - near.row), abs(col - near.col)) >= TILE_SIZE:
            break
    tile = np.ascontiguousarray(image[row : row + TILE_SIZE, col : col + TILE_SIZE])
    return _Crop(tile, number, row, col)


def _apart(one: _Crop, other: _Crop, sources: Sequence[Source]) -> bool:
    if one.source == other.source:
        return max(abs(one.row - other.row), abs(one.col - other.col)) >= TILE_SIZE
    return sources[one.source].group != sources[other.source].group


def _draw_style(rng: np.random.Generator) -> tuple[Callable[[Image], Image], bool]:
    """How the scene itself looks, and whether it is nearly black (or white) but for scattered pixels."""
    return (_draw_dark(rng), True) if rng.random() < DARK_SHARE else (_draw_light(rng), False)


def _draw_dark(rng: np.random.Generator) -> Callable[[Image], Image]:
    quantile = 1 - 10 ** rng.uniform(-3.7, -0.7)
    top, base = rng.uniform(0.8, 8), int(rng.integers(0, 4))
    return partial(_nearly_black, quantile=quantile, top=top, base=base, invert=rng.random() < 0.25)


def _draw_light(rng: np.random.Generator) -> Callable[[Image], Image]:
    """As it is, with weak contrast, or glaring."""
    chance = rng.random()
    if chance < 0.24:
        return partial(_weak, contrast=np.exp(rng.uniform(np.log(0.12), 0)), light=rng.uniform(0.2, 1))
    if chance < 0.4:
        return partial(_glaring, share=10 ** rng.uniform(-3, -0.7), peak=rng.uniform(225, 262))
    return np.asarray


def _weak(tile: Image, contrast: float, light: float) -> Image:
    mean = tile.reshape(-1, 3).mean(axis=0)
    return _to_uint8((tile - mean) * contrast + mean * light)


def _glaring(tile: Image, share: float, peak: float) -> Image:
    """The tile with its brightest ``share`` at ``peak`` and above, where one processing saturates and another
    does not."""
    bright = float(np.quantile(tile.max(axis=2), 1 - share))
    return _to_uint8(tile * (peak / max(bright, peak / 3)))


def _nearly_black(tile: Image, quantile: float, top: float, base: int, invert: bool) -> Image:
    detail = _detail(tile, 8)
    floor = np.quantile(detail, quantile)
    levels = np.clip((detail - floor) / (detail.max() - floor + 1e-3), 0, 1) * top + base
    return np.repeat(_to_uint8(255 - levels if invert else levels)[..., None], 3, axis=2)


def _cut_by_solid(tile: Image, rng: np.random.Generator) -> Image:
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


def _non_duplicate(
    kind: str,
    tile: Image,
    crop: _Crop,
    style: Callable[[Image], Image],
    sources: Sequence[Source],
    shares: dict[str, float],
    rng: np.random.Generator,
) -> Image | None:
    """A tile that differs from ``tile`` as ``kind`` says, or None where the difference could not be
    seen."""
    if kind == "ship":
        return _with_ship(tile, rng)
    if kind == "shift":
        step = int(rng.integers(3, 40)) * (1 if rng.random() < 0.5 else -1)
        moved = np.roll(tile, step, axis=int(rng.integers(2)))
        return moved if _difference(moved, tile, 4) >= max(2.0, 0.7 * _texture(tile)) else None
    if kind == "cross":
        other = _draw_crop(sources, shares, rng)
        if not _apart(crop, other, sources):
            return None
        return (style if rng.random() < 0.5 else _draw_style(rng)[0])(other.tile)
    alike = kind == "alike" or (kind != "same" and rng.random() < 0.7)
    found = _most_alike(crop, sources, shares, rng) if alike else _draw_crop(sources, shares, rng, near=crop)
    if found is None or not _apart(crop, found, sources):
        return None
    other_tile = style(found.tile)
    if kind in ("same", "alike"):
        return other_tile
    if kind == "day" and rng.random() < 0.3:
        return augment.another_day(tile, other_tile, rng)
    return _replaced(kind, tile, other_tile, rng)


def _most_alike(
    crop: _Crop, sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator
) -> _Crop | None:
    def distance(one: _Crop, other: _Crop) -> float:
        level = abs(float(one.tile.mean()) - float(other.tile.mean())) / 20
        return level + abs(float(np.log((_texture(one.tile) + 0.5) / (_texture(other.tile) + 0.5))))

    draws = [_draw_crop(sources, shares, rng, near=crop if rng.random() < 0.4 else None) for _ in range(12)]
    draws = [draw for draw in draws if _apart(crop, draw, sources)]
    return min(draws, key=lambda draw: distance(crop, draw), default=None)


def _replaced(kind: str, tile: Image, other: Image, rng: np.random.Generator) -> Image | None:
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
    changed = _to_uint8(levels)
    difference, detail = _detail(changed, 6) - _detail(tile, 6), _detail(tile, 6)
    if kind == "mix":
        # At least a fifth of the tile must disagree by more than processing could explain.
        local, own = (cv2.boxFilter(levels * levels, -1, (48, 48)) for levels in (difference, detail))
        return changed if (local > 0.8 * own + 4).mean() >= 0.2 else None
    inside = mask > 0.5
    if inside.sum() < 50 or np.sqrt((difference[inside] ** 2).mean()) < max(5.0, 0.7 * _texture(tile)):
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


def _with_ship(tile: Image, rng: np.random.Generator) -> Image:
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
    return _to_uint8(levels)


def _draw_colour(rng: np.random.Generator) -> Levels:
    """RGB of a ship's paint: grey, or so coloured that a shift in hue changes its luma."""
    saturation = rng.uniform(0, 1) if rng.random() < 0.5 else 0.0
    return _float32(rng.uniform(60, 255) * (1 - saturation * rng.uniform(0, 1, 3)))


def _process(tiles: list[Image], rng: np.random.Generator) -> tuple[list[Image], int]:
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


def _gently(tiles: list[Image], rng: np.random.Generator) -> tuple[list[Image], int]:
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


def _grey(tile: Image) -> Image:
    return np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), np.uint8)


def _detail(tile: Image, scale: float) -> Levels:
    grey = _grey(tile).astype(np.float32)
    return _float32(grey - cv2.GaussianBlur(grey, (0, 0), scale))


def _texture(tile: Image) -> float:
    return float(_detail(tile, 4).std())


def _difference(one: Image, other: Image, scale: float) -> float:
    return float(np.sqrt(np.mean((_detail(one, scale) - _detail(other, scale)) ** 2)))


def _smooth_field(rng: np.random.Generator, nodes: int) -> Levels:
    noise = rng.standard_normal((nodes, nodes), dtype=np.float32)
    return _float32(cv2.resize(noise, (TILE_SIZE, TILE_SIZE), interpolation=cv2.INTER_CUBIC))


def _speckle(rng: np.random.Generator, strength: float, scale: float) -> Levels:
    noise = rng.normal(0, strength, (TILE_SIZE, TILE_SIZE)).astype(np.float32)
    return _float32(cv2.GaussianBlur(noise, (0, 0), scale))[..., None]


def _float32(array: npt.ArrayLike) -> Levels:
    return np.asarray(array, dtype=np.float32)


def _to_uint8(levels: npt.NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)
