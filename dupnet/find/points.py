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

from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.extrema import FINE, LEVELS, UNITS, Level, raw_patches
from dupnet.images.parts import GreyParts, MaskParts

__all__ = [
    "CODE_LENGTH",
    "DENSE_BELOW",
    "POINTS_VERSION",
    "Directions",
    "Points",
    "codes_of",
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

POINTS_VERSION = 2
"""What cached points mean; raised whenever the same image gives other points or codes."""

CODE_LENGTH = 48
"""Numbers of a code: so many learned directions; more find hardly more."""

UNIT = 127
"""Length of a code: one is a unit vector times this, rounded."""

DENSE_BELOW = 160
"""Smallest side in pixels of a collection's images below which all of them are to be dense."""

_STRAIGHT_SHARE = 0.65
_LEAST_ACROSS = 0.75  # grey levels, root mean square: more than rounding and compression leave


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
    """What patches are projected onto, by kind: plain patches of both levels, then straight ones of both.

    ``means``: (4, 256) float32, the mean patch. ``directions``: (4, 256, 48) float32, without what a patch's
    mean, and for straight patches the means of its rows and columns, have to do with: borders alike are
    everywhere, what lies along them is not. ``matrices``: (2, 256, 128), of each level both kinds' directions
    and what gives the means of rows and columns. ``origins``: (4, 48), the codes of the mean patches.
    """

    means: Float
    directions: Float
    matrices: Float
    origins: Float


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
    """Directions from what was learned: means (4, 256) and directions (4, 256, 48)."""
    directions = directions - directions.mean(axis=1, keepdims=True)
    for number, level in enumerate(LEVELS, start=len(LEVELS)):
        averages = _row_and_column_means(level.side)
        directions[number] -= level.side * averages @ (averages.T @ directions[number])
    matrices = [
        np.concatenate([*directions[number :: len(LEVELS)], _row_and_column_means(level.side)], axis=1)
        for number, level in enumerate(LEVELS)
    ]
    return Directions(means, directions, np.stack(matrices), np.einsum("kp,kpc->kc", means, directions))


def is_fine(kinds: npt.NDArray[np.uint8]) -> Mask:
    """Whether points of these kinds come from the image at full scale."""
    return np.asarray((kinds >> 1) % len(LEVELS) == LEVELS.index(FINE))


def find_points(
    grey: Grey | GreyParts,
    valid: Mask | MaskParts | None = None,
    directions: Directions | None = None,
    *,
    dense: bool = False,
) -> Points:
    """The points of an image and their codes.

    Parameters
    ----------
    grey : (height, width) uint8
        Of any size; where a side is too short for one patch there are no points. An image too large to be
        decoded at once as :class:`dupnet.images.parts.Parts` has it: the points are the same.
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
        y, x, minima, raw = raw_patches(grey, valid, level, dense)
        for kind, keep, codes in codes_of(raw, minima, number, directions):
            found.append((y[keep], x[keep], codes, (2 * kind + minima[keep]).astype(np.uint8)))
    y, x, codes, kinds = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((x, y, kinds))
    return Points(y[order], x[order], codes[order], kinds[order])


def codes_of(
    raw: Float, minima: Mask, number: int, directions: Directions
) -> list[tuple[int, Mask, npt.NDArray[np.int8]]]:
    """Codes of raw patches of one level, plain ones and straight ones: the kind, which of the patches are of
    it (n,) bool, and the codes of those."""
    level = LEVELS[number]
    # One product with all that is linear in the patch: both codes, the means of its rows and columns.
    products = raw @ directions.matrices[number]
    measured = _measures(raw, products[:, 2 * CODE_LENGTH :], level)
    sign = np.where(minima, np.float32(-1), np.float32(1))
    found = []
    for kind, keep, length in (
        (number, measured.is_plain, measured.length),
        (number + len(LEVELS), measured.is_straight, measured.length_across),
    ):
        first = CODE_LENGTH * (kind // len(LEVELS))
        codes = products[keep, first : first + CODE_LENGTH]
        codes *= (sign[keep] / length[keep])[:, None]
        codes -= directions.origins[kind]
        norm = np.sqrt(np.einsum("ij,ij->i", codes, codes))
        codes *= (UNIT / np.maximum(norm, 1e-12))[:, None]
        found.append((kind, keep, np.rint(codes, out=codes).astype(np.int8)))
    return found


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
    y, x, minima, raw = raw_patches(grey, valid, level, dense)
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
        ~is_straight & (energy > (UNITS * level.contrast / 2) ** 2 * n_pixels),
        is_straight & (across > (UNITS * _LEAST_ACROSS) ** 2 * n_pixels),
    )


@lru_cache(maxsize=4)
def _row_and_column_means(side: int) -> Float:
    """What gives the means of a flat patch's rows and columns: (side * side, 2 * side)."""
    rows = np.repeat(np.eye(side, dtype=np.float32), side, axis=0)
    columns = np.tile(np.eye(side, dtype=np.float32), (side, 1))
    return np.asarray(np.concatenate([rows, columns], axis=1) / side, np.float32)
