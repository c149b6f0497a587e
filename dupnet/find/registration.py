"""Two images laid on each other by a transform, to a part of a pixel, and what they share.

Whichever of the two is finer is resampled into the frame of the other: nothing is made up. Windows of the
common region are looked for nearby; the transform follows where they are found, until they lie still. What
they still miss by is the residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.find.agreement import high_passed
from dupnet.find.fits import fit_affine
from dupnet.find.regions import Image
from dupnet.images.transforms import bounds, inverse, moved, resampled

__all__ = ["MAX_RESIDUAL", "Laid", "Registered", "laid_size", "lay", "registered"]

Float = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

LEAST_SIDE = 40
"""Sides in pixels of the smallest common region that is registered."""

WINDOWS = 6
"""Windows along a side, at most."""

SIDES = (24, 48)
"""Side in pixels of a window, at least and at most; a fifth of the region's narrow side between."""

RADII = (10, 5, 3, 3)
"""How far in pixels windows are looked for, round by round."""

CORRELATES = 0.5
"""Correlation from which on a window was found."""

LEAST_WINDOWS = 4
"""Windows that must be found."""

TEXTURE = 1.0
"""Grey levels, root mean square, that a window must have when high-passed."""

MAX_RESIDUAL = 0.75
"""Residual in pixels up to which two images lie on each other: what the network bears is 1 px."""


class Laid(NamedTuple):
    """Two images of one region in one frame: pixels and which of them are valid in both images' frames."""

    one: Image
    two: Image
    into: Float
    """(2, 3): points of the first image in this frame."""


class Registered(NamedTuple):
    """A refined transform."""

    matrix: Float
    residual: float
    """In pixels of the coarser image."""
    n_windows: int
    correlation: float
    """Median over the windows."""


def lay(image1: Image, image2: Image, matrix: Float, *, quickly: bool = False) -> Laid | None:
    """What two images share, the finer of them resampled into the frame of the coarser.

    ``matrix``: the transform of image 2 into image 1; ``quickly``: interpolated linearly, good enough to
    look for windows. None where they share nothing.
    """
    if _is_finer(matrix):
        found = _laid_on(image1, image2, matrix, quickly)
        return None if found is None else Laid(found[0], found[1], found[2])
    found = _laid_on(image2, image1, inverse(matrix), quickly)
    if found is None:
        return None
    back = inverse(matrix)
    return Laid(found[1], found[0], np.column_stack([back[:, :2], back[:, 2] + found[2][:, 2]]))


def _laid_on(coarse: Image, fine: Image, matrix: Float, quickly: bool) -> tuple[Image, Image, Float] | None:
    """The common region in the frame of the coarse image, and the shift into it."""
    extent = _extent(coarse[0].shape, fine[0].shape, matrix)
    if extent is None:
        return None
    top, left, bottom, right = extent
    into = np.column_stack([matrix[:, :2], matrix[:, 2] - (top, left)])
    size = bottom - top, right - left
    # Half a pixel at the border of an image is made of what lies beyond it.
    corners = [(0.5, 0.5), (0.5, fine[0].shape[1] - 1.5), (fine[0].shape[0] - 1.5, fine[0].shape[1] - 1.5)]
    outline = moved(into, [*corners, (fine[0].shape[0] - 1.5, 0.5)])[:, ::-1]
    filled = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(filled, np.rint(outline * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    inside = cv2.erode(filled, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1) > 0
    area = np.s_[top:bottom, left:right]
    # What a rotation leaves black in the corners of one copy is no change to the ground that both show.
    both = inside
    if fine[1] is not None:
        both = both & (resampled(fine[1].astype(np.uint8), into, *size, nearest=True) > 0)
    if coarse[1] is not None:
        both = both & coarse[1][area]
    pixels = resampled(fine[0], into, *size, linear=quickly)
    shift = np.array([[1.0, 0, -top], [0, 1, -left]])
    return (np.ascontiguousarray(coarse[0][area]), both), (pixels, both), shift


def _is_finer(matrix: Float) -> bool:
    """Whether image 2 is the finer one, or neither is."""
    return bool(abs(np.linalg.det(matrix[:, :2])) <= 1)


def laid_size(size1: Sequence[int], size2: Sequence[int], matrix: Float) -> tuple[int, int] | None:
    """Height and width of what :func:`lay` gives of images of these sizes; None where they share nothing."""
    sizes = (size1, size2) if _is_finer(matrix) else (size2, size1)
    found = _extent(*sizes, matrix if _is_finer(matrix) else inverse(matrix))
    return None if found is None else (found[2] - found[0], found[3] - found[1])


def _extent(coarse: Sequence[int], fine: Sequence[int], matrix: Float) -> tuple[int, int, int, int] | None:
    """Rows and columns of the coarse image, from and to, that the fine one covers; None if they are few."""
    top, left, tall, wide = bounds(matrix, fine[0], fine[1])
    bottom, right = min(top + tall, coarse[0]), min(left + wide, coarse[1])
    top, left = max(top, 0), max(left, 0)
    return None if min(bottom - top, right - left) < LEAST_SIDE else (top, left, bottom, right)


def registered(image1: Image, image2: Image, matrix: Float) -> Registered | None:
    """Refine a transform that is right to some pixels; None where the images do not follow it.

    Parameters
    ----------
    image1, image2 : Image
        Grey (height, width) uint8, and their valid pixels.
    matrix : (2, 3) float64
        Of image 2 into image 1.
    """
    residual, n_windows, correlation = np.inf, 0, 0.0
    for radius in RADII:
        laid = lay(image1, image2, matrix, quickly=True)
        if laid is None:
            return None
        at, moved_by, found = _windows(laid, radius)
        if len(at) < LEAST_WINDOWS:
            return None
        # Where image 2 shows what image 1 shows at ``at``: both in the common frame.
        frame2 = _composed(laid.into, matrix)
        two = moved(inverse(frame2), at + moved_by)
        one = moved(inverse(laid.into), at)
        fitted, kept = _robust(one, two, found, rigid=len(at) < 2 * LEAST_WINDOWS, guess=matrix)
        if fitted is None or not _is_like(fitted, matrix):
            return None
        scale = min(1.0, 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        missed = np.linalg.norm(one - moved(fitted, two), axis=1)[kept] * scale
        residual, n_windows = float(np.sqrt((missed**2).mean())), int(kept.sum())
        correlation = float(np.median(found[kept]))
        matrix = fitted
        if residual < 0.15 and np.abs(moved_by[kept]).max() < 0.5:
            break
    return (
        None
        if laid_size(image1[0].shape, image2[0].shape, matrix) is None
        else Registered(matrix, residual, n_windows, correlation)
    )


def _is_like(matrix: Float, before: Float) -> bool:
    """Whether a refined transform still is what it was: neither mirrored, nor another in area by half."""
    return bool(0.67 < np.linalg.det(matrix[:, :2]) / np.linalg.det(before[:, :2]) < 1.5)


def _composed(after: Float, before: Float) -> Float:
    return np.column_stack([after[:, :2] @ before[:, :2], after[:, :2] @ before[:, 2] + after[:, 2]])


def _windows(laid: Laid, radius: int) -> tuple[Float, Float, Float]:
    """Middles of windows of image 1 (n, 2), how far from there image 2 shows the same, and how well."""
    (one, valid1), (two, valid2) = laid.one, laid.two
    assert valid1 is not None and valid2 is not None
    height, width = one.shape
    side = int(np.clip(min(height, width) // 5, *SIDES))
    radius = min(radius, (min(height, width) - side) // 2 - 1)
    first, second = high_passed(one), high_passed(two)
    both = (valid1 & valid2).astype(np.uint8)
    none = np.zeros((0, 2))
    if radius < 1:
        return none, none, np.zeros(0)
    spots = [_spread(radius, length - side - radius, side // 2) for length in (height, width)]
    at, by, how = [], [], []
    for y in spots[0].tolist():
        for x in spots[1].tolist():
            around = np.s_[y - radius : y + side + radius, x - radius : x + side + radius]
            if not both[around].all():
                continue
            template = first[y : y + side, x : x + side]
            if template.std() < TEXTURE:
                continue
            surface = cv2.matchTemplate(second[around], np.ascontiguousarray(template), cv2.TM_CCOEFF_NORMED)
            row, col = divmod(int(surface.argmax()), surface.shape[1])
            best = float(surface[row, col])
            if best < CORRELATES or row in (0, 2 * radius) or col in (0, 2 * radius):
                continue
            part = _part(surface[row - 1 : row + 2, col]), _part(surface[row, col - 1 : col + 2])
            at.append((y + (side - 1) / 2, x + (side - 1) / 2))
            by.append((row - radius + part[0], col - radius + part[1]))
            how.append(best)
    return np.array(at).reshape(-1, 2), np.array(by).reshape(-1, 2), np.array(how)


def _spread(first: int, last: int, step: int) -> npt.NDArray[np.int64]:
    """Where windows begin, evenly from the first to the last place, no closer than ``step`` px."""
    n_windows = min(WINDOWS, 1 + (last - first) // step)
    return np.unique(np.rint(np.linspace(first, last, n_windows)).astype(np.int64))


def _part(values: npt.NDArray[np.generic]) -> float:
    """Where a parabola through three values has its top, from the middle one."""
    before, middle, after = (float(value) for value in values)
    bend = before + after - 2 * middle
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


def _robust(one: Float, two: Float, weight: Float, *, rigid: bool, guess: Float) -> tuple[Float | None, Mask]:
    """A transform of the second points into the first that most agree on, and which do."""
    kept = np.ones(len(one), np.bool_)
    matrix: Float | None = None
    for _ in range(4):
        matrix = None if rigid else fit_affine(one[kept], two[kept], weight[kept])
        if matrix is None:  # the shift alone
            shift = np.median(one[kept] - two[kept] @ guess[:, :2].T, axis=0)
            matrix = np.column_stack([guess[:, :2], shift])
        missed = np.linalg.norm(one - moved(matrix, two), axis=1)
        reach = max(1.0, 2.5 * float(np.median(missed)))
        again = missed <= reach
        if again.sum() < LEAST_WINDOWS:
            return None, kept
        if (again == kept).all():
            break
        kept = again
    return matrix, kept
