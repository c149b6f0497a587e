"""Points of an image as it would look resized and rotated, each with a code.

The points of :mod:`dupnet.find.points` agree between images of one scale and direction. Of two images that
differ in both, the finer one is reduced step by step to the scale of the other; at each step its points are
found anew, and their patches are cut out at several angles. One of all these codes is close to that of the
same ground in the coarser image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.find.extrema import COARSE, FINE, LEVELS, SOLID_SHARE, UNITS, Level, solid_share
from dupnet.find.points import CODE_LENGTH, codes_of, load_directions
from dupnet.find.turns import NONE, octants
from dupnet.images.transforms import turned

__all__ = ["ANGLES", "FACTORS", "ScaledPoints", "Step", "scaled_points"]

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.intp]

FACTORS = tuple(0.4 ** (step / 8) for step in range(9))
"""Factors by which the finer image is reduced, 1 to 0.4: codes bear 6 % of difference in scale."""

ANGLES = (-12.0, -6.0, 0.0, 6.0, 12.0)
"""Degrees by which patches are turned: codes bear 3 degrees of difference."""

RADIUS = {COARSE: 13, FINE: 10}
"""Within how many pixels of the reduced image a point is the largest or smallest value."""


class Step(NamedTuple):
    """How an image is changed before its points are found: the factors of its height and width, and the
    angles in degrees at which patches are cut out."""

    factor_y: float
    factor_x: float
    angles: tuple[float, ...]


class ScaledPoints(NamedTuple):
    """Points of an image: ``y, x`` (n,) float32, pixels of the image as it is; ``codes`` (n, 48) int8;
    ``kinds`` as of :class:`dupnet.find.points.Points`; ``steps``, the number of each one's step, ``angles``
    of its angle, and ``turns`` by which its patch was turned, uint8; ``numbers``: which codes belong to one
    point of one step."""

    y: Float
    x: Float
    codes: npt.NDArray[np.int8]
    kinds: Grey
    steps: Grey
    angles: Grey
    turns: Grey
    numbers: npt.NDArray[np.int32]


def scaled_points(
    grey: Grey,
    valid: Mask | None,
    steps: Sequence[Step],
    *,
    fine: bool,
    oriented: bool,
    twice: bool = True,
) -> ScaledPoints:
    """The points of an image at several steps.

    Parameters
    ----------
    grey : (height, width) uint8
        The image.
    valid : (height, width) bool, optional
        Where it shows something; no patch touches another pixel.
    steps : sequence of Step
        Of at most 256.
    fine : bool
        Points at full scale, too, for small images.
    oriented : bool
        Turn each patch as its content says (:mod:`dupnet.find.turns`); some have two codes then.
    twice : bool
        Whether they have: of two images that are compared it is enough if those of one do.
    """
    parts = []
    count = 0
    for which, level in enumerate(LEVELS):
        if level is FINE and not fine:
            continue
        rows: list[tuple[npt.NDArray[np.generic], ...]] = []
        halves = _halved(grey) if level.scale > 1 else grey
        for number, step in enumerate(steps):
            ratio, image, y, x, minima = _extrema(grey, halves, valid, step, level)
            n = len(y)
            if not n:
                continue
            at = [(values + 0.5) / part - 0.5 for values, part in zip((y, x), ratio, strict=True)]
            numbers = np.arange(count, count + n, dtype=np.int32)
            count += n
            for angle, degrees in enumerate(step.angles):
                patches = _rotated_patches(image, y, x, degrees, level.side)
                labels = (np.full(n, value, np.uint8) for value in (number, angle))
                rows.append((patches, minima, *at, *labels, numbers))
        if rows:
            columns = [np.concatenate(of_column) for of_column in zip(*rows, strict=True)]
            parts.append(_coded(which, oriented, twice, *columns))
    if not parts:
        none, empty = np.zeros(0, np.float32), np.zeros(0, np.uint8)
        codes = np.zeros((0, CODE_LENGTH), np.int8)
        return ScaledPoints(none, none, codes, empty, empty, empty, empty, np.zeros(0, np.int32))
    return ScaledPoints(*(np.concatenate(of_column) for of_column in zip(*parts, strict=True)))


def _coded(
    number: int,
    oriented: bool,
    twice: bool,
    patches: Float,
    minima: Mask,
    y: Float,
    x: Float,
    steps: Grey,
    angles: Grey,
    numbers: npt.NDArray[np.int32],
) -> ScaledPoints:
    """Code patches (n, side, side) of one level, each as its content turns it, some twice."""
    side = patches.shape[1]
    turns = np.zeros(len(patches), np.uint8)
    rows = np.arange(len(patches))
    if oriented:
        both = octants(patches, minima)[: 1 + twice]
        rows = np.concatenate([np.flatnonzero(of_turn != NONE) for of_turn in both])
        turns = np.concatenate([of_turn[of_turn != NONE] for of_turn in both])
    raw = np.empty((len(rows), side, side), np.float32)
    for turn in np.unique(turns).tolist():
        raw[turns == turn] = turned(patches[rows[turns == turn]], turn)
    # Plain patches alone: straight borders agree everywhere, and at any scale they are too many.
    kind, keep, codes = codes_of(
        raw.reshape(len(rows), side * side), minima[rows], number, load_directions()
    )[0]
    rows, turns = rows[keep], turns[keep]
    kinds = (2 * kind + minima[rows]).astype(np.uint8)
    return ScaledPoints(
        y[rows].astype(np.float32),
        x[rows].astype(np.float32),
        codes,
        kinds,
        steps[rows],
        angles[rows],
        turns,
        numbers[rows],
    )


def _extrema(
    grey: Grey, halves: Grey, valid: Mask | None, step: Step, level: Level
) -> tuple[tuple[float, float], Float, Float, Float, Mask]:
    """Points of an image, of which ``halves`` is half its size, at one step: pixels of the reduced image to
    one of the image, along y and x; the reduced image, high-passed; positions in it, and which are minima."""
    height, width = grey.shape
    new = [
        max(1, round(length * factor / level.scale))
        for length, factor in zip(grey.shape, (step.factor_y, step.factor_x), strict=True)
    ]
    ratio = new[0] / height, new[1] / width
    none = np.zeros(0, np.float32)
    if min(new) < level.side + 2:
        return ratio, np.zeros((1, 1), np.float32), none, none, np.zeros(0, np.bool_)
    how = cv2.INTER_AREA if max(ratio) <= 1 else cv2.INTER_LINEAR
    source = halves if max(ratio) <= 0.5 else grey
    reduced = np.asarray(cv2.resize(source, (new[1], new[0]), interpolation=how), np.uint8)
    image = reduced * np.float32(UNITS)
    low, smooth = (_blurred(image, sigma) for sigma in (level.sigma_coarse, level.sigma_fine))
    band = np.rint(smooth - low).astype(np.int16)
    half = level.side // 2
    near = None
    if valid is not None and not valid.all():
        bad = cv2.resize((~valid).astype(np.uint8) * 255, (new[1], new[0]), interpolation=cv2.INTER_AREA) > 0
        reach = half + 1 + round(level.sigma_coarse)
        near = cv2.dilate(bad.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
        band[near] = 0
    radius = RADIUS[level]
    around = np.ones((2 * radius + 1,) * 2, np.uint8)
    least = level.contrast * UNITS
    is_point = (cv2.dilate(band, around) == band) & (band >= least)
    is_point |= (cv2.erode(band, around) == band) & (band <= -least)
    if near is not None:
        is_point &= ~near
    inner = is_point[half:-half, half:-half]
    y, x = (at + half for at in np.divmod(np.flatnonzero(inner), inner.shape[1]))
    sound = solid_share(reduced, y, x, half) <= SOLID_SHARE
    y, x = y[sound], x[sound]
    minima = band[y, x] < 0
    return ratio, image - low, *_peak(band, y, x), minima


def _halved(grey: Grey) -> Grey:
    size = max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _peak(band: npt.NDArray[np.int16], y: Numbers, x: Numbers) -> tuple[Float, Float]:
    """Extrema to a part of a pixel, all of them inside."""
    values = band.astype(np.float32)
    found = []
    for at, before, after in (
        (y, values[y - 1, x], values[y + 1, x]),
        (x, values[y, x - 1], values[y, x + 1]),
    ):
        bend = before + after - 2 * values[y, x]
        safe = np.where(bend != 0, bend, np.float32(np.inf))
        found.append((at + np.clip((before - after) / (2 * safe), -0.5, 0.5)).astype(np.float32))
    return found[0], found[1]


def _rotated_patches(image: Float, y: Float, x: Float, degrees: float, side: int) -> Float:
    """Patches around positions, (n, side, side): what lies there once what is shown is rotated back."""
    steps = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    down, right = np.meshgrid(steps, steps, indexing="ij")
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    # The point at (down, right) of the patch lies at that turned counterclockwise of the image.
    rows = (y[:, None, None] + (cosine * down - sine * right)).astype(np.float32).reshape(-1, side)
    cols = (x[:, None, None] + (sine * down + cosine * right)).astype(np.float32).reshape(-1, side)
    at_a_time = 2**14  # OpenCV takes maps of fewer than 2^15 rows
    return np.concatenate(
        [
            cv2.remap(
                image, cols[at : at + at_a_time], rows[at : at + at_a_time], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )
            for at in range(0, len(rows), at_a_time)
        ]
    ).reshape(len(y), side, side)  # fmt: skip


def _blurred(image: Float, sigma: float) -> Float:
    size = 2 * round(3 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma), np.float32)
