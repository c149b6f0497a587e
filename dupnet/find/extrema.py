"""Where an image has extrema of a band of its spatial frequencies, and what is around them.

The two levels of :mod:`dupnet.find.points` differ in scale alone. An image is worked on in blocks, with as
much around each as decides about the points inside, so that neither its size nor the blocks change a point.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import local
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.find.blocks import Block, Lines, blocks, cut, windows
from dupnet.images.parts import GreyParts, MaskParts

__all__ = [
    "COARSE",
    "FINE",
    "LEVELS",
    "SMALL_BELOW",
    "SOLID_SHARE",
    "UNITS",
    "Level",
    "raw_patches",
    "solid_share",
]

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]
Band = npt.NDArray[np.int16]
Numbers = npt.NDArray[np.intp]

SMALL_BELOW = 256
"""Side in pixels below which an image carries all points that it can: a chip of 128 px has room for some
eight coarse ones."""

UNITS = 128
"""Units of a grey level in the band-passed image: 16 bits are twice as fast as 32."""

_LOOKED_AT = 5
"""Radius in pixels within which every pixel is compared with all others; farther only what is left."""

_buffers = local()  # of each thread
SOLID_SHARE = 0.1
"""Share of a patch that may be solid: solid corners agree everywhere."""


@dataclass(frozen=True)
class Level:
    """How the points of one level are found; lengths in pixels of the image reduced by ``scale``.

    ``sigma_fine`` and ``sigma_coarse`` bound the band, ``side`` is that of a patch, ``contrast`` the least
    value of a point in grey levels. A point is the largest or smallest value within ``small_radius`` in
    small images; in others within ``rim_radius`` where its patch is at most ``rim`` from a side of the
    image, and within ``inner_radius`` elsewhere, or ``dense_radius`` where the image is dense (None: no
    point there). What is largest within more is largest within less, so that all kinds of images share
    points.
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
    small_radius=8, rim_radius=10, inner_radius=None, dense_radius=14,
)  # fmt: skip
"""Points of the rim, some 280 of 768 x 768 px, and of small images, about one in 200 px.

A region of 32 px across is met with patches of 16 px at 8 to 24 px from the rim; of 64 px and more with
those of the coarse level."""

LEVELS = (COARSE, FINE)

Found = tuple[Float, Float, Mask, Float]


def raw_patches(
    grey: Grey | GreyParts, valid: Mask | MaskParts | None, level: Level, dense: bool, *, wide: bool = False
) -> Found:
    """Full-resolution positions, polarity and band-passed patches (n, side * side) of the points of a level.

    ``wide``: patches that have their point in the middle, so that they can be turned around it: at full scale
    (side + 1) * (side + 1), of which what is wanted without are the first ``side`` rows and columns.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise ValueError(f"grey has shape {grey.shape}, type {grey.dtype}; expected (height, width) uint8.")
    if valid is not None and (valid.shape != grey.shape or valid.dtype != np.bool_):
        raise ValueError(f"valid has shape {valid.shape}, type {valid.dtype}; expected {grey.shape} bool.")
    inner_radius: int | None
    if min(grey.shape) < SMALL_BELOW:
        rim_radius, inner_radius = level.small_radius, level.small_radius
    else:
        rim_radius, inner_radius = level.rim_radius, level.dense_radius if dense else level.inner_radius
    reduced: Grey | _Reduced
    reduced = _Reduced(grey, level.scale) if isinstance(grey, GreyParts) else _reduce(grey, level.scale)
    unfit: Grey | _Reduced | None
    if isinstance(valid, MaskParts):
        unfit = _Reduced(valid, level.scale)
    else:
        unfit = None if valid is None or valid.all() else _reduce(_invalid(valid), level.scale)
    rim = level.side // 2 + level.rim if inner_radius is None else None
    parts = [
        _in_block(reduced, unfit, level, block, rim_radius, inner_radius, wide)
        for block in blocks((reduced.shape[0], reduced.shape[1]), rim, level.margin)
    ]
    y, x, minima, raw = (
        parts[0] if len(parts) == 1 else (np.concatenate(part) for part in zip(*parts, strict=True))
    )
    shift = (level.scale - 1) / 2
    return (
        (y * level.scale + shift).astype(np.float32),
        (x * level.scale + shift).astype(np.float32),
        minima,
        raw,
    )


def _in_block(
    reduced: Grey | _Reduced,
    unfit: Grey | _Reduced | None,
    level: Level,
    block: Block,
    rim_radius: int,
    inner_radius: int | None,
    wide: bool,
) -> Found:
    """The points inside a block, from the block and as much around it as decides about them."""
    height, width = reduced.shape
    half = level.side // 2
    rows, cols = (
        Lines.of(spans, length, level.margin, half)
        for spans, length in ((block.rows, height), (block.cols, width))
    )
    if min(len(rows.numbers), len(cols.numbers)) < level.side + 2:
        return _none(level, wide)
    area = cut(reduced, rows, cols)
    low = _blurred(area, level.sigma_coarse, "low")
    band: Band = _buffer("band", area.shape, np.int16)
    cv2.subtract(_blurred(area, level.sigma_fine, "fine"), low, dst=band, dtype=cv2.CV_16S)
    near = None
    if unfit is not None:
        bad = (cut(unfit, rows, cols) > 0).astype(np.uint8)
        near = cv2.dilate(bad, _square(half + 1 + round(level.sigma_coarse))) > 0
        # What no data does to the band around it is nothing that a neighbour should have to compete with.
        band[near] = 0
    y, x, reach = _extrema(band, level.contrast * UNITS, rim_radius, inner_radius)
    keep = rows.wanted[y] & cols.wanted[x]
    if near is not None:
        keep &= ~near[y, x]
    if inner_radius is not None and inner_radius > rim_radius:
        rim = half + level.rim
        keep &= reach | (rows.distance(y, height) < rim) | (cols.distance(x, width) < rim)
    y, x = y[keep], x[keep]
    sound = solid_share(area, y, x, half) <= SOLID_SHARE
    y, x = y[sound], x[sound]
    if not len(y):
        return _none(level, wide)
    image = np.multiply(area, np.float32(UNITS), out=_buffer("image", area.shape, np.float32))
    cv2.subtract(image, low, dst=image)
    if level.scale == 1:
        # Offsets are whole pixels: the same pixels lie around the point in both images.
        # Mirrored beyond the last pixel, of which a wide patch has one more than must lie inside the image.
        wider = np.pad(image, (0, 1), "symmetric") if wide else image
        around = windows(wider, level.side + wide)[y - half, x - half]
        at_y, at_x = np.zeros(len(y), np.float32), np.zeros(len(y), np.float32)
    else:
        at_y, at_x = _peak(band, y, x)
        around = _sampled(image, at_y + y.astype(np.float32), at_x + x.astype(np.float32), level.side)
    return (
        at_y + rows.numbers[y].astype(np.float32),
        at_x + cols.numbers[x].astype(np.float32),
        band[y, x] < 0,
        around.reshape(len(y), -1),
    )


def _extrema(
    band: Band, least: float, radius: int, wider: int | None
) -> tuple[Numbers, Numbers, npt.NDArray[np.bool_]]:
    """Where the band is largest or smallest within ``radius``, by ``least`` or more, and whether it is so
    within ``wider``, too: rows, columns, bool."""
    width = band.shape[1]
    flat = band.ravel()
    near = _buffer("near", band.shape, np.int16)
    found: list[tuple[Numbers, Mask]] = []
    for sign, grow in ((1, cv2.dilate), (-1, cv2.erode)):
        grow(band, _square(_LOOKED_AT), dst=near)
        at = np.flatnonzero(near == band)
        at = at[sign * flat[at] >= least]
        at = at[sign * flat[at] >= sign * _beyond(near, *np.divmod(at, width), radius, sign)]
        reach = np.ones(len(at), np.bool_)
        if wider is not None and wider > radius:
            reach = sign * flat[at] >= sign * _beyond(near, *np.divmod(at, width), wider, sign)
        found.append((at, reach))
    at = np.concatenate([at for at, _ in found])
    order = np.argsort(at, kind="stable")
    y, x = np.divmod(at[order], width)
    return y, x, np.concatenate([reach for _, reach in found])[order]


def _beyond(near: Band, y: Numbers, x: Numbers, radius: int, sign: int) -> Band:
    """Largest (``sign`` 1) or smallest (-1) value within ``radius`` of (y, x), from those within
    :data:`_LOOKED_AT` of every pixel."""
    steps = _steps(radius)
    rows = np.minimum(np.maximum(y + steps, 0), near.shape[0] - 1)
    cols = np.minimum(np.maximum(x + steps, 0), near.shape[1] - 1)
    values = near[rows[:, None], cols[None]]
    return np.asarray(values.max(axis=(0, 1)) if sign > 0 else values.min(axis=(0, 1)), np.int16)


@lru_cache(maxsize=16)
def _steps(radius: int) -> Numbers:
    """How far to go for squares of :data:`_LOOKED_AT` that together are one of ``radius``: (k, 1)."""
    reach, n_steps = radius - _LOOKED_AT, -(-(2 * radius + 1) // (2 * _LOOKED_AT + 1))
    return np.rint(np.linspace(-reach, reach, n_steps)).astype(np.intp)[:, None]


def solid_share(area: Grey, y: Numbers, x: Numbers, half: int) -> Float:
    """Share of each point's patch that differs from none of its neighbours.

    Solid ground, and a corner of it, agrees with any other.
    """
    if not len(y):
        return np.zeros(0, np.float32)
    above = cv2.dilate(area, _square(1), dst=_buffer("above", area.shape, np.uint8))
    below = cv2.erode(area, _square(1), dst=_buffer("below", area.shape, np.uint8))
    solid = cv2.compare(above, below, cv2.CMP_EQ, dst=above)
    around = windows(solid, 2 * half)[y - half, x - half].reshape(len(y), -1)
    return np.asarray(np.count_nonzero(around, axis=1) / np.float32(around.shape[1]), np.float32)


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


def _reduce(image: Grey, scale: int) -> Grey:
    """The image at 1 / ``scale``, by area; what is left over to the right and below is not used."""
    if scale == 1:
        return image
    height, width = image.shape[0] // scale, image.shape[1] // scale
    if not height or not width:
        return np.zeros((height, width), np.uint8)
    whole = np.ascontiguousarray(image[: height * scale, : width * scale])
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class _Reduced:
    """What :func:`_reduce` makes of an image, or of where it is not valid, part by part."""

    def __init__(self, image: GreyParts | MaskParts, scale: int) -> None:
        self._image = image
        self._scale = scale
        self.shape = image.shape[0] // scale, image.shape[1] // scale

    def __getitem__(self, area: tuple[slice, slice]) -> Grey:
        rows, cols = (slice(part.start * self._scale, part.stop * self._scale) for part in area)
        if isinstance(self._image, MaskParts):
            return _reduce(_invalid(self._image[rows, cols]), self._scale)
        return _reduce(self._image[rows, cols], self._scale)


def _invalid(valid: Mask) -> Grey:
    return np.asarray((~valid).astype(np.uint8) * 255, np.uint8)


def _square(radius: int) -> Grey:
    return _ones(2 * radius + 1)


@lru_cache(maxsize=64)
def _ones(side: int) -> Grey:
    return np.ones((side, side), np.uint8)


def _kernel(sigma: float) -> int:
    """Length of a Gaussian kernel: three sigmas to either side."""
    return 2 * round(3 * sigma) + 1


def _blurred(image: Grey, sigma: float, name: str) -> Float:
    """The image in :data:`UNITS`, less what is finer than a Gaussian."""
    along, down = _gaussian(sigma)
    buffer = _buffer(name, image.shape, np.float32)
    return np.asarray(cv2.sepFilter2D(image, cv2.CV_32F, along, down, dst=buffer), np.float32)


@lru_cache(maxsize=8)
def _gaussian(sigma: float) -> tuple[Float, Float]:
    """Along rows; and down columns, times :data:`UNITS`."""
    kernel = np.asarray(cv2.getGaussianKernel(_kernel(sigma), sigma, cv2.CV_32F), np.float32)
    return kernel, kernel * np.float32(UNITS)


def _buffer(name: str, shape: tuple[int, int], kind: type[np.generic]) -> npt.NDArray[Any]:
    """An array of this thread's to write into, whatever it holds.

    Fresh memory has to be mapped page by page, which takes as long as what is computed in it.
    """
    size = shape[0] * shape[1]
    held = getattr(_buffers, name, None)
    if held is None or held.size < size:
        held = np.empty(size, kind)
        setattr(_buffers, name, held)
    return np.asarray(held[:size].reshape(shape))


def _none(level: Level, wide: bool) -> Found:
    empty = np.zeros(0, np.float32)
    side = level.side + (wide and level.scale == 1)
    return empty, empty, np.zeros(0, np.bool_), np.zeros((0, side**2), np.float32)


def _peak(band: Band, y: Numbers, x: Numbers) -> tuple[Float, Float]:
    """By what part of a pixel extrema lie aside: of the parabola through three values, along y and x."""
    centre = band[y, x].astype(np.float32)

    def part(below: Band, above: Band) -> Float:
        before, after = below.astype(np.float32), above.astype(np.float32)
        bend = before + after - 2 * centre
        safe = np.where(bend != 0, bend, np.float32(np.inf))
        return np.asarray(np.clip((before - after) / (2 * safe), -0.5, 0.5))

    height, width = band.shape
    above, below = band[np.maximum(y - 1, 0), x], band[np.minimum(y + 1, height - 1), x]
    left, right = band[y, np.maximum(x - 1, 0)], band[y, np.minimum(x + 1, width - 1)]
    return part(above, below).astype(np.float32), part(left, right).astype(np.float32)
