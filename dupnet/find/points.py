"""Points of an image that depend on its content alone, each with a code of the ground around it.

Two crops that share nothing but ground choose the same points there, wherever the crops begin: a point is an
extremum of the band-passed image within a few pixels around. What is around it, normalised and projected onto
learned directions (:mod:`dupnet.training.point_directions`), is its code; codes of one place in two images
agree, and the difference of its two positions is the offset of the images.

There are two *levels*. Coarse points come from the image at half scale and look at 32 x 32 px: they cover the
whole image. Fine points come from the image at full scale and look at 16 x 16 px: they lie along the rim,
where a narrow overlap leaves no room for coarse ones, and anywhere in small images. A *dense* image carries
fine points everywhere: what the images of a collection must be where some of them are small. The points of an
image that is not dense are a subset of those that it has when dense.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "COARSE",
    "CODE_LENGTH",
    "DENSE_BELOW",
    "FINE",
    "LEVELS",
    "POINTS_VERSION",
    "Directions",
    "Level",
    "Points",
    "find_points",
    "load_directions",
    "needs_dense",
    "patches",
]

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

POINTS_VERSION = 1
"""What cached points mean; raised whenever the same image gives other points or codes."""

CODE_LENGTH = 48
"""Numbers of a code (notes on any offset: 48 learned directions; more find hardly more)."""

UNIT = 127
"""Length of a code: one is a unit vector times this, rounded."""

DENSE_BELOW = 256
"""Smallest side, in pixels, of a collection's images below which all of them carry fine points everywhere.

A chip of 128 px holds some 8 coarse points, too few for its narrower overlaps."""

RIM = 32
"""Fine points lie at most so many pixels, beyond their patch, from the nearest side of the image.

A region of 32 px across is met with patches of 16 px at 8 to 24 px from the side; of 64 px and more with
those of the coarse level."""

_BLOCK = 2048  # px; larger images are worked on in blocks, with the same result
_SOLID_SHARE = 0.1
_STRAIGHT_SHARE = 0.65


@dataclass(frozen=True)
class Level:
    """How the points of one level are found; lengths in pixels of the image reduced by ``scale``.

    ``sigma_fine`` and ``sigma_coarse`` bound the band; a point is the largest or smallest value within
    ``radius``, with at least ``contrast`` grey levels; ``side`` is that of its patch; ``sparse_radius`` takes
    the place of ``radius`` where the image is not dense.
    """

    scale: int
    sigma_fine: float
    sigma_coarse: float
    radius: int
    sparse_radius: int
    side: int
    contrast: float

    @property
    def margin(self) -> int:
        """How far around a pixel the image decides whether it is a point, and which code it has."""
        reach = max(self.radius, self.sparse_radius, self.side // 2 + 1)
        return reach + _kernel(self.sigma_coarse) // 2 + 1


COARSE = Level(scale=2, sigma_fine=1.4, sigma_coarse=4.0, radius=10, sparse_radius=10, side=16, contrast=0.3)
"""Points of the whole image: about 300 in 768 x 768 px, one of the size of a car or a wave."""

FINE = Level(scale=1, sigma_fine=1.0, sigma_coarse=3.0, radius=8, sparse_radius=10, side=16, contrast=0.4)
"""Points of the rim and of small images: about one in 200 px when dense."""

LEVELS = (COARSE, FINE)


class Points(NamedTuple):
    """The points of an image, sorted by kind, then y, then x.

    ``y, x``: float32, full-resolution pixels (0 is the centre of the first pixel). ``codes``: (n, 48) int8,
    unit vectors times 127. ``kinds``: uint8, twice the level's number in :data:`LEVELS`, plus 1 for minima;
    only points of one kind can match.
    """

    y: Float
    x: Float
    codes: npt.NDArray[np.int8]
    kinds: npt.NDArray[np.uint8]


class Directions(NamedTuple):
    """What patches are projected onto: ``means`` (levels, 256), ``directions`` (levels, 256, 48), float32."""

    means: Float
    directions: Float


def needs_dense(smallest_side: int) -> bool:
    """Whether the images of a collection must be dense, given its smallest side of an image in pixels."""
    return smallest_side < DENSE_BELOW


@lru_cache(maxsize=1)
def load_directions() -> Directions:
    """The shipped directions, learned by ``python -m dupnet.training.point_directions``."""
    file = resources.files("dupnet.network").joinpath("weights", "point_directions.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return Directions(arrays["means"].astype(np.float32), arrays["directions"].astype(np.float32))


def find_points(
    grey: Grey,
    valid: Mask | None = None,
    directions: Directions | None = None,
    *,
    dense: bool = False,
) -> Points:
    """The points of an image and their codes.

    Parameters
    ----------
    grey : (height, width) uint8
        Of any size; where a side is too short for one patch there are no points.
    valid : (height, width) bool, optional
        False where the image holds no data (collars, padding); no point's patch touches such a pixel.
    directions : Directions, optional
        The shipped ones by default.
    dense : bool
        Fine points everywhere, not only along the rim; see :func:`needs_dense`. Images with a side below
        :data:`DENSE_BELOW` are always dense.

    Raises
    ------
    ValueError
        If ``grey`` is no (height, width) uint8, or ``valid`` has another shape or type.
    """
    directions = directions or load_directions()
    found = []
    for number in range(len(LEVELS)):
        y, x, minima, vectors = patches(grey, valid, number, dense=dense)
        codes = (vectors - directions.means[number]) @ directions.directions[number]
        length = np.sqrt(np.einsum("ij,ij->i", codes, codes))
        codes = np.rint(codes * (UNIT / np.maximum(length, 1e-12))[:, None]).astype(np.int8)
        kinds = (2 * number + minima).astype(np.uint8)
        order = np.lexsort((x, y, kinds))
        found.append((y[order], x[order], codes[order], kinds[order]))
    return Points(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def patches(
    grey: Grey, valid: Mask | None, number: int, *, dense: bool = False
) -> tuple[Float, Float, Mask, Float]:
    """Positions, polarity and normalised patches of the points of level ``number`` of :data:`LEVELS`.

    Returns
    -------
    y, x : (n,) float32
        In pixels of the full resolution.
    minima : (n,) bool
    vectors : (n, side * side) float32
        Mean zero, length one; of minima with the opposite sign, so that both kinds share their directions.

    Raises
    ------
    ValueError
        As :func:`find_points`.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise ValueError(f"grey has shape {grey.shape}, type {grey.dtype}; expected (height, width) uint8.")
    if valid is not None and (valid.shape != grey.shape or valid.dtype != np.bool_):
        raise ValueError(f"valid has shape {valid.shape}, type {valid.dtype}; expected {grey.shape} bool.")
    level = LEVELS[number]
    dense = dense or min(grey.shape) < DENSE_BELOW
    reduced = _reduce(grey, level.scale)
    unfit = None if valid is None or valid.all() else _reduce((~valid).astype(np.uint8) * 255, level.scale)
    parts = [
        _in_block(reduced, unfit, level, block, level.radius if dense else level.sparse_radius)
        for block in _blocks(*reduced.shape, level, dense or level is not FINE)
    ]
    y, x, minima, vectors = (np.concatenate(part) for part in zip(*parts, strict=True))
    shift = (level.scale - 1) / 2
    return (
        (y * level.scale + shift).astype(np.float32),
        (x * level.scale + shift).astype(np.float32),
        minima,
        vectors,
    )


Block = tuple[int, int, int, int]
Found = tuple[Float, Float, Mask, Float]


def _blocks(height: int, width: int, level: Level, everywhere: bool) -> Iterator[Block]:
    """Disjoint rectangles (top, bottom, left, right) in which to look for points, in reduced pixels."""
    rim = level.side // 2 + RIM // level.scale
    if everywhere or min(height, width) <= 2 * rim:
        areas = [(0, height, 0, width)]
    else:
        areas = [
            (0, rim, 0, width),
            (rim, height - rim, 0, rim),
            (rim, height - rim, width - rim, width),
            (height - rim, height, 0, width),
        ]
    for top, bottom, left, right in areas:
        for y in range(top, max(bottom, 1), _BLOCK):
            for x in range(left, max(right, 1), _BLOCK):
                yield y, min(y + _BLOCK, bottom), x, min(x + _BLOCK, right)


def _in_block(reduced: Grey, unfit: Grey | None, level: Level, block: Block, radius: int) -> Found:
    """The points inside a block, from the block and as much around it as decides about them."""
    top, bottom, left, right = block
    height, width = reduced.shape
    half, margin = level.side // 2, level.margin
    y0, x0 = max(0, top - margin), max(0, left - margin)
    y1, x1 = min(height, bottom + margin), min(width, right + margin)
    if min(y1 - y0, x1 - x0) < level.side + 2:
        return _none(level)
    area = np.ascontiguousarray(reduced[y0:y1, x0:x1])
    image = area.astype(np.float32)
    low = _blurred(image, level.sigma_coarse)
    band = _blurred(image, level.sigma_fine) - low
    # A patch and the three pixels of the parabola lie inside the image.
    inside = np.zeros(area.shape, np.bool_)
    inside[
        max(top, half) - y0 : max(0, min(bottom, height - half) - y0),
        max(left, half) - x0 : max(0, min(right, width - half) - x0),
    ] = True
    if unfit is not None:
        bad = unfit[y0:y1, x0:x1] > 0
        reach = 2 * (half + 1 + round(level.sigma_coarse)) + 1
        near = cv2.dilate(bad.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        # What no data does to the band around it is nothing that a neighbour should have to compete with.
        band[near] = 0
        inside &= ~near
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    maxima = (cv2.dilate(band, window) == band) & (band >= level.contrast)
    minima = (cv2.erode(band, window) == band) & (band <= -level.contrast)
    y, x = np.nonzero((maxima | minima) & inside)
    # Solid: no difference to any neighbour. Such ground, and a corner of it, agrees with any other.
    square = np.ones((3, 3), np.uint8)
    solid = (cv2.dilate(area, square) == cv2.erode(area, square)).astype(np.float32)
    share = cv2.boxFilter(solid, -1, (level.side, level.side))[y, x]
    sound = share <= _SOLID_SHARE
    y, x = y[sound], x[sound]
    if not len(y):
        return _none(level)
    if level.scale == 1:
        # Offsets are whole pixels: the same pixels lie around the point in both images.
        windows = np.lib.stride_tricks.sliding_window_view(image - low, (level.side, level.side))
        around = windows[y - half, x - half]
        at_y, at_x = y.astype(np.float32), x.astype(np.float32)
    else:
        at_y, at_x = _peak(band, y, x)
        steps = np.arange(level.side, dtype=np.float32) - (level.side - 1) / 2
        shape = (len(y), level.side, level.side)
        rows = np.broadcast_to((at_y[:, None] + steps)[:, :, None], shape).reshape(-1, level.side)
        cols = np.broadcast_to((at_x[:, None] + steps)[:, None, :], shape).reshape(-1, level.side)
        # OpenCV's maps must stay below 2^15 rows.
        around = np.concatenate(
            [
                cv2.remap(image - low, cols[at : at + 2**14], rows[at : at + 2**14], cv2.INTER_LINEAR)
                for at in range(0, len(rows), 2**14)
            ]
        ).reshape(shape)
    keep, vectors = _normalised(around, level)
    negative = band[y, x] < 0
    vectors[negative[keep]] *= -1
    return at_y[keep] + np.float32(y0), at_x[keep] + np.float32(x0), negative[keep], vectors


def _normalised(around: Float, level: Level) -> tuple[Mask, Float]:
    """Which patches hold more than a straight border, and those, flat, of mean zero and length one."""
    around = around - around.mean((1, 2), keepdims=True)
    energy = np.einsum("ijk,ijk->i", around, around)
    rows, cols = around.mean(2), around.mean(1)
    straight = level.side * (np.einsum("ij,ij->i", rows, rows) + np.einsum("ij,ij->i", cols, cols))
    keep = (straight <= _STRAIGHT_SHARE * energy) & (energy > (level.contrast / 2 * level.side) ** 2)
    vectors = around[keep].reshape(-1, level.side**2) / np.sqrt(energy[keep])[:, None]
    return keep, vectors


def _peak(band: Float, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]) -> tuple[Float, Float]:
    """Extrema to a part of a pixel: of the parabola through three values, along y and along x."""
    centre = band[y, x]

    def part(before: Float, after: Float) -> Float:
        bend = before + after - 2 * centre
        safe = np.where(np.abs(bend) > 1e-6, bend, np.float32(np.inf))
        return np.clip((before - after) / (2 * safe), -0.5, 0.5)

    height, width = band.shape
    above, below = band[np.maximum(y - 1, 0), x], band[np.minimum(y + 1, height - 1), x]
    left, right = band[y, np.maximum(x - 1, 0)], band[y, np.minimum(x + 1, width - 1)]
    return (y + part(above, below)).astype(np.float32), (x + part(left, right)).astype(np.float32)


def _reduce(image: Grey, scale: int) -> Grey:
    """The image at 1 / ``scale``, by area; what is left over to the right and below is not used."""
    if scale == 1:
        return image
    height, width = image.shape[0] // scale, image.shape[1] // scale
    if not height or not width:
        return np.zeros((height, width), np.uint8)
    whole = np.ascontiguousarray(image[: height * scale, : width * scale])
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _kernel(sigma: float) -> int:
    """Length of a Gaussian kernel: three sigmas to either side."""
    return 2 * round(3 * sigma) + 1


def _blurred(image: Float, sigma: float) -> Float:
    size = _kernel(sigma)
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma), np.float32)


def _none(level: Level) -> Found:
    empty = np.zeros(0, np.float32)
    return empty, empty, np.zeros(0, np.bool_), np.zeros((0, level.side**2), np.float32)
