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
    "SMALL_BELOW",
    "Directions",
    "Level",
    "Points",
    "find_points",
    "is_fine",
    "load_directions",
    "needs_dense",
    "patches",
    "prepared",
]

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]
Band = npt.NDArray[np.int16]
Numbers = npt.NDArray[np.intp]

POINTS_VERSION = 1
"""What cached points mean; raised whenever the same image gives other points or codes."""

CODE_LENGTH = 48
"""Numbers of a code (notes on any offset: 48 learned directions; more find hardly more)."""

UNIT = 127
"""Length of a code: one is a unit vector times this, rounded."""

SMALL_BELOW = 256
"""Side in pixels below which an image carries all points that it can: a chip of 128 px has room for some
eight coarse ones."""

DENSE_BELOW = 160
"""Smallest side in pixels of a collection's images below which all of them are to be dense."""

_BLOCK = 2048  # px; larger images are worked on in blocks, with the same result
_UNITS = 128  # of a grey level, in 16 bits: twice as fast as 32
_SOLID_SHARE = 0.1
_STRAIGHT_SHARE = 0.65
_LEAST_ACROSS = 0.75  # grey levels, root mean square: more than rounding and compression leave


@dataclass(frozen=True)
class Level:
    """How the points of one level are found; lengths in pixels of the image reduced by ``scale``.

    ``sigma_fine`` and ``sigma_coarse`` bound the band, ``side`` is that of a patch, ``contrast`` the least
    value of a point in grey levels. A point is the largest or smallest value within ``small_radius`` in small
    images; in others within ``rim_radius`` where its patch is at most ``rim`` from a side of the image, and
    within ``inner_radius`` elsewhere, or ``dense_radius`` where the image is dense (None: no point there).
    What is largest within more is largest within less, so that all kinds of images share points.
    """

    scale: int
    sigma_fine: float
    sigma_coarse: float
    side: int
    contrast: float
    rim: int
    small_radius: int
    rim_radius: int
    inner_radius: int | None
    dense_radius: int

    @property
    def margin(self) -> int:
        """How far around a pixel the image decides whether it is a point, and which code it has."""
        reach = max(self.small_radius, self.rim_radius, self.inner_radius or 0, self.dense_radius)
        return max(reach, self.side // 2 + 1) + _kernel(self.sigma_coarse) // 2 + 1


COARSE = Level(
    scale=2, sigma_fine=1.4, sigma_coarse=4.0, side=16, contrast=0.3, rim=32,
    small_radius=10, rim_radius=10, inner_radius=15, dense_radius=15,
)  # fmt: skip
"""Points of the whole image: some 300 in 768 x 768 px, denser along the rim, where narrow overlaps lie."""

FINE = Level(
    scale=1, sigma_fine=1.0, sigma_coarse=3.0, side=16, contrast=0.4, rim=28,
    small_radius=8, rim_radius=10, inner_radius=None, dense_radius=12,
)  # fmt: skip
"""Points of the rim, some 280 of 768 x 768 px, and of small images, about one in 200 px.

A region of 32 px across is met with patches of 16 px at 8 to 24 px from the rim; of 64 px and more with those
of the coarse level."""

LEVELS = (COARSE, FINE)


class Points(NamedTuple):
    """The points of an image, sorted by kind, then y, then x.

    ``y, x``: float32, full-resolution pixels (0 is the centre of the first pixel). ``codes``: (n, 48) int8,
    unit vectors times 127. ``kinds``: uint8, twice the number of the kind of patch (coarse, fine, coarse and
    straight, fine and straight), plus 1 for minima; only points of one kind can match.
    """

    y: Float
    x: Float
    codes: npt.NDArray[np.int8]
    kinds: npt.NDArray[np.uint8]


class Directions(NamedTuple):
    """What patches are projected onto: ``means`` (4, 256), ``directions`` (4, 256, 48), float32.

    In the order of kinds: plain patches of :data:`LEVELS`, then those of a straight border, mostly. Of the
    latter the means of rows and columns do not count: borders alike are everywhere, what lies along them is
    not.
    """

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
        return prepared(arrays["means"].astype(np.float32), arrays["directions"].astype(np.float32))


def prepared(means: Float, directions: Float) -> Directions:
    """Directions as they are used: those of straight patches without what rows and columns have in common."""
    directions = directions.copy()
    for number, level in enumerate(LEVELS):
        averages = _row_and_column_means(level.side)
        straight = directions[number + len(LEVELS)]
        centred = straight - straight.mean(axis=0)
        directions[number + len(LEVELS)] = centred - level.side * averages @ (averages.T @ centred)
    return Directions(means, directions)


def is_fine(kinds: npt.NDArray[np.uint8]) -> Mask:
    """Whether points of these kinds come from the image at full scale."""
    return np.asarray((kinds >> 1) % len(LEVELS) == LEVELS.index(FINE))


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
        :data:`SMALL_BELOW` have them anyway.

    Raises
    ------
    ValueError
        If ``grey`` is no (height, width) uint8, or ``valid`` has another shape or type.
    """
    directions = directions or load_directions()
    found = []
    for number, level in enumerate(LEVELS):
        y, x, minima, raw = _raw_patches(grey, valid, level, dense)
        plain, straight = number, number + len(LEVELS)
        # One product with all that is linear in the patch: both codes, the means of its rows and columns.
        means = _row_and_column_means(level.side)
        both = (directions.directions[plain], directions.directions[straight])
        products = raw @ np.concatenate([*both, means], axis=1)
        measured = _measures(raw, products[:, 2 * CODE_LENGTH :], level)
        sign = np.where(minima, np.float32(-1), np.float32(1))
        for kind, keep in ((plain, measured.is_plain), (straight, measured.is_straight)):
            first = 0 if kind == plain else CODE_LENGTH
            codes = products[keep, first : first + CODE_LENGTH]
            if kind == plain:
                codes -= measured.mean[keep, None] * both[0].sum(axis=0)
                length = measured.length[keep]
            else:
                length = measured.length_across[keep]
            codes *= (sign[keep] / length)[:, None]
            codes -= directions.means[kind] @ directions.directions[kind]
            norm = np.sqrt(np.einsum("ij,ij->i", codes, codes))
            codes = np.rint(codes * (UNIT / np.maximum(norm, 1e-12))[:, None]).astype(np.int8)
            found.append((y[keep], x[keep], codes, (2 * kind + minima[keep]).astype(np.uint8)))
    y, x, codes, kinds = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((x, y, kinds))
    return Points(y[order], x[order], codes[order], kinds[order])


def patches(
    grey: Grey, valid: Mask | None, number: int, *, dense: bool = False
) -> tuple[Float, Float, Mask, Float]:
    """Positions, polarity and normalised patches of points of one level, plain or straight.

    ``number``: that of the level in :data:`LEVELS` for plain patches; plus the number of levels for straight
    ones, whose means of rows and columns are taken away.

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
    level = LEVELS[number % len(LEVELS)]
    y, x, minima, raw = _raw_patches(grey, valid, level, dense)
    averages = _row_and_column_means(level.side)
    means = raw @ averages
    measured = _measures(raw, means, level)
    vectors = raw - measured.mean[:, None]
    keep, length = measured.is_plain, measured.length
    if number >= len(LEVELS):
        vectors = vectors - level.side * (means - measured.mean[:, None]) @ averages.T
        keep, length = measured.is_straight, measured.length_across
    vectors *= (np.where(minima, np.float32(-1), np.float32(1)) / length)[:, None]
    return y[keep], x[keep], minima[keep], vectors[keep]


def _raw_patches(grey: Grey, valid: Mask | None, level: Level, dense: bool) -> Found:
    """Full-resolution positions, polarity and band-passed patches (n, side * side) of the points of a
    level."""
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise ValueError(f"grey has shape {grey.shape}, type {grey.dtype}; expected (height, width) uint8.")
    if valid is not None and (valid.shape != grey.shape or valid.dtype != np.bool_):
        raise ValueError(f"valid has shape {valid.shape}, type {valid.dtype}; expected {grey.shape} bool.")
    if min(grey.shape) < SMALL_BELOW:
        rim_radius, inner_radius = level.small_radius, level.small_radius
    else:
        rim_radius, inner_radius = level.rim_radius, level.dense_radius if dense else level.inner_radius
    reduced = _reduce(grey, level.scale)
    unfit = None if valid is None or valid.all() else _reduce((~valid).astype(np.uint8) * 255, level.scale)
    parts = [
        _in_block(reduced, unfit, level, block, rim_radius, inner_radius)
        for block in _blocks(*reduced.shape, level, inner_radius is not None)
    ]
    y, x, minima, raw = (np.concatenate(part) for part in zip(*parts, strict=True))
    shift = (level.scale - 1) / 2
    return (
        (y * level.scale + shift).astype(np.float32),
        (x * level.scale + shift).astype(np.float32),
        minima,
        raw,
    )


Block = tuple[int, int, int, int]
Found = tuple[Float, Float, Mask, Float]


def _blocks(height: int, width: int, level: Level, everywhere: bool) -> Iterator[Block]:
    """Disjoint rectangles (top, bottom, left, right) in which to look for points, in reduced pixels."""
    rim = level.side // 2 + level.rim
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


def _in_block(
    reduced: Grey, unfit: Grey | None, level: Level, block: Block, rim_radius: int, inner_radius: int | None
) -> Found:
    """The points inside a block, from the block and as much around it as decides about them."""
    top, bottom, left, right = block
    height, width = reduced.shape
    half, margin = level.side // 2, level.margin
    y0, x0 = max(0, top - margin), max(0, left - margin)
    y1, x1 = min(height, bottom + margin), min(width, right + margin)
    if min(y1 - y0, x1 - x0) < level.side + 2:
        return _none(level)
    area = np.ascontiguousarray(reduced[y0:y1, x0:x1])
    image = area.astype(np.float32) * np.float32(_UNITS)
    low = _blurred(image, level.sigma_coarse)
    band = cv2.subtract(_blurred(image, level.sigma_fine), low, dtype=cv2.CV_16S)
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
    highest, lowest = cv2.dilate(band, _square(rim_radius)), cv2.erode(band, _square(rim_radius))
    least = level.contrast * _UNITS
    extreme = ((highest == band) & (band >= least)) | ((lowest == band) & (band <= -least))
    if inner_radius is not None and inner_radius > rim_radius:
        # A square grown by a square is the larger square.
        beyond = _square(inner_radius - rim_radius)
        rim = level.side // 2 + level.rim
        inner = np.s_[
            max(0, rim - y0) : max(0, height - rim - y0), max(0, rim - x0) : max(0, width - rim - x0)
        ]
        wider = (cv2.dilate(highest, beyond) == band) | (cv2.erode(lowest, beyond) == band)
        extreme[inner] &= wider[inner]
    extreme &= inside
    y, x = np.divmod(np.flatnonzero(extreme), area.shape[1])
    sound = _solid_share(area, y, x, half) <= _SOLID_SHARE
    y, x = y[sound], x[sound]
    if not len(y):
        return _none(level)
    image -= low
    if level.scale == 1:
        # Offsets are whole pixels: the same pixels lie around the point in both images.
        windows = np.lib.stride_tricks.sliding_window_view(image, (level.side, level.side))
        around = windows[y - half, x - half]
        at_y, at_x = y.astype(np.float32), x.astype(np.float32)
    else:
        at_y, at_x = _peak(band, y, x)
        around = _sampled(image, at_y, at_x, level.side)
    return (
        at_y + np.float32(y0),
        at_x + np.float32(x0),
        band[y, x] < 0,
        around.reshape(len(y), level.side**2),
    )


def _solid_share(area: Grey, y: Numbers, x: Numbers, half: int) -> Float:
    """Share of each point's patch that differs from none of its neighbours.

    Solid ground, and a corner of it, agrees with any other.
    """
    solid = cv2.compare(cv2.dilate(area, _square(1)), cv2.erode(area, _square(1)), cv2.CMP_EQ)
    sums = cv2.integral(solid, sdepth=cv2.CV_32S)
    top, bottom, left, right = y - half, y + half, x - half, x + half
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(inside / np.float32(255 * (2 * half) ** 2), np.float32)


def _sampled(image: Float, y: Float, x: Float, side: int) -> Float:
    """Patches around positions between the pixels: (n, side, side), bilinear."""
    steps = np.arange(side, dtype=np.float32) - (side - 1) / 2
    shape = (len(y), side, side)
    rows = np.broadcast_to((y[:, None] + steps)[:, :, None], shape).reshape(-1, side)
    cols = np.broadcast_to((x[:, None] + steps)[:, None, :], shape).reshape(-1, side)
    at_a_time = 2**14  # OpenCV takes maps of fewer than 2^15 rows
    return np.concatenate(
        [
            cv2.remap(image, cols[at : at + at_a_time], rows[at : at + at_a_time], cv2.INTER_LINEAR)
            for at in range(0, len(rows), at_a_time)
        ]
    ).reshape(shape)


class _Measured(NamedTuple):
    """Of each patch: its mean, its length without the mean, and without the means of rows and columns, too;
    whether it is a point as it is, or by what is left across a straight border."""

    mean: Float
    length: Float
    length_across: Float
    is_plain: Mask
    is_straight: Mask


def _measures(raw: Float, means: Float, level: Level) -> _Measured:
    """Measure patches (n, side * side), given the means of their rows and columns, (n, 2 * side)."""
    n_pixels = level.side**2
    mean = means[:, : level.side].mean(axis=1)
    energy = np.maximum(np.einsum("ij,ij->i", raw, raw) - n_pixels * mean**2, 0)
    straight = level.side * np.einsum("ij,ij->i", means, means) - 2 * n_pixels * mean**2
    across = np.maximum(energy - straight, 0)
    is_straight = straight > _STRAIGHT_SHARE * energy
    return _Measured(
        mean,
        np.sqrt(np.maximum(energy, 1e-12)),
        np.sqrt(np.maximum(across, 1e-12)),
        ~is_straight & (energy > (_UNITS * level.contrast / 2) ** 2 * n_pixels),
        is_straight & (across > (_UNITS * _LEAST_ACROSS) ** 2 * n_pixels),
    )


@lru_cache(maxsize=4)
def _row_and_column_means(side: int) -> Float:
    """What gives the means of a flat patch's rows and columns: (side * side, 2 * side)."""
    rows = np.repeat(np.eye(side, dtype=np.float32), side, axis=0)
    columns = np.tile(np.eye(side, dtype=np.float32), (side, 1))
    return np.concatenate([rows, columns], axis=1) / np.float32(side)


def _peak(band: Band, y: Numbers, x: Numbers) -> tuple[Float, Float]:
    """Extrema to a part of a pixel: of the parabola through three values, along y and along x."""
    centre = band[y, x].astype(np.float32)

    def part(before: Band, after: Band) -> Float:
        before, after = before.astype(np.float32), after.astype(np.float32)
        bend = before + after - 2 * centre
        safe = np.where(bend != 0, bend, np.float32(np.inf))
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


def _square(radius: int) -> Grey:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _kernel(sigma: float) -> int:
    """Length of a Gaussian kernel: three sigmas to either side."""
    return 2 * round(3 * sigma) + 1


def _blurred(image: Float, sigma: float) -> Float:
    size = _kernel(sigma)
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma), np.float32)


def _none(level: Level) -> Found:
    empty = np.zeros(0, np.float32)
    return empty, empty, np.zeros(0, np.bool_), np.zeros((0, level.side**2), np.float32)
