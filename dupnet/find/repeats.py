"""Structure that repeats itself: rows of equal roofs, containers, furrows.

Two images of such ground agree wherever their periods fit, and the network takes that for one place: what it
sees is the same. What tells places apart is what does *not* repeat. So where points of an image recur within
it, a region is laid on itself one period aside and the difference taken, in which all that repeats cancels:
of one place the differences of both images still agree, of two places they do not.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.agreement import correlation, high_passed, middle
from dupnet.find.overlaps import ALTERED, DUPLICATE, KEY, REFUSED, Judge
from dupnet.find.point_table import PointTable
from dupnet.find.regions import Image, Region, common_region

__all__ = ["REPEATING", "agreement_beside_repeats", "doubting", "repeating_images"]

Float = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

REPEATING = 0.2
"""Share of the points of an image whose codes recur within it, from which on its ground repeats itself. Of
rows of unequal roofs and furrows it is 0.35 and more, of images of suburbs 0.12 in nine of ten, at most 0.26,
and of others at most 0.13."""

LEAST_AGREEMENT = 0.45
"""Correlation of the differences from which on two regions show one place. Of drawn roofs and furrows that
fit one period aside it is 0.36 at most, of two JPEG files of one place there 0.58 and more, of suburbs 0.84
and more."""

LONGEST = 512
"""Side in pixels of what is looked at of a region."""

NEAREST, FARTHEST = 8, 128
"""Bounds of a period in pixels: two of the roofs of 64 px."""


def repeating_images(points: PointTable, recurring: Mask, ignored: Mask | None = None) -> Mask:
    """Images whose ground repeats itself: (n_images,) bool; ``recurring`` is of the join, as what it
    ``ignored`` was."""
    n_images = len(points.sizes)
    counted = None if ignored is None else ~ignored
    n_points = np.bincount(points.images, counted, minlength=n_images)
    share = np.bincount(points.images, recurring, n_images) / np.maximum(n_points, 1)
    return np.asarray(share >= REPEATING)


def doubting(judge: Judge, repeating: Mask, read: Callable[[int], Image], sizes: npt.ArrayLike) -> Judge:
    """A judge that refuses what agrees only by what repeats, between images of repeating ground.

    Parameters
    ----------
    judge : callable
        What judges first.
    repeating : (n_images,) bool
        Of :func:`repeating_images`.
    read : callable
        Number -> pixels of an image, as for :func:`dupnet.find.verification.judge`.
    sizes : (n_images, 2) integers
        Height and width of every image.
    """
    if not repeating.any():
        return judge
    shapes = np.asarray(sizes, np.int64)

    def judged(pairs: pd.DataFrame) -> pd.DataFrame:
        table = judge(pairs)
        one, two = (table[end].to_numpy(np.int64) for end in KEY[:2])
        rows = np.flatnonzero(
            table["verdict"].isin([DUPLICATE, ALTERED]).to_numpy() & repeating[one] & repeating[two]
        )
        refused = [
            row
            for row, (first, second, y, x) in zip(
                rows.tolist(), table[KEY].to_numpy(np.int64)[rows].tolist(), strict=True
            )
            if agreement_beside_repeats(
                read(first), read(second), common_region(shapes[first], shapes[second], y, x)
            )
            < LEAST_AGREEMENT
        ]
        verdict = table["verdict"].to_numpy(object, copy=True)
        n_differing = table["n_differing"].to_numpy(np.int64, copy=True)
        verdict[refused] = REFUSED
        n_differing[refused] = table["n_decidable"].to_numpy(np.int64)[refused]
        return table.assign(verdict=verdict, n_differing=n_differing)

    return judged


def agreement_beside_repeats(image1: Image, image2: Image, region: Region) -> float:
    """Correlation of what two images show in a region beside what repeats there: -1 to 1; 1 where nothing
    does."""
    part = middle(region, LONGEST, LONGEST)
    first, second = (
        high_passed(np.ascontiguousarray(of_image))
        for of_image in (part.of_first(image1[0]), part.of_second(image2[0]))
    )
    shift = _period(first)
    if shift is None:
        return 1.0
    return correlation(_difference(first, shift), _difference(second, shift))


def _difference(passed: Float, shift: tuple[int, int]) -> Float:
    """An image less itself, (y, x) pixels aside; y is not negative."""
    y, x = shift
    height, width = passed.shape
    here = passed[: height - y, max(0, -x) : width - max(0, x)]
    return np.asarray(here - passed[y:, max(0, x) : width - max(0, -x)])


def _period(passed: Float) -> tuple[int, int] | None:
    """By how many pixels, down and to the right, an image fits itself best; None if it is too small."""
    height, width = passed.shape
    far = tuple(min(FARTHEST, length // 2) for length in (height, width))
    if max(far) < NEAREST:
        return None
    shape = tuple(
        cv2.getOptimalDFTSize(length + reach) for length, reach in zip((height, width), far, strict=True)
    )
    power = np.abs(np.fft.rfft2(passed, shape)) ** 2
    fit = np.fft.irfft2(power, shape)
    downs, rights = np.arange(far[0] + 1), np.arange(-far[1], far[1] + 1)
    # As a correlation: by as many pixels as lie on each other.
    area = (height - downs)[:, None] * (width - np.abs(rights))
    fit = fit[: far[0] + 1, rights] / area
    fit[np.maximum(downs[:, None], np.abs(rights)) < NEAREST] = -np.inf
    down, right = np.unravel_index(int(fit.argmax()), fit.shape)
    return int(downs[down]), int(rights[right])
