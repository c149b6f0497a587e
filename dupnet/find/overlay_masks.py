"""Pixels under overlays (:mod:`dupnet.find.overlays`): no verdict is based on them.

What many images of one size carry at one place is their mean, high-passed; ground averages out of it. What
of an image agrees with that mean is taken for no data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.agreement import LARGE_WINDOW, LARGE_WINDOW_AGREES, LARGE_WINDOW_POWER, high_passed
from dupnet.find.overlaps import KEY, Judge
from dupnet.find.overlays import LEAST_IMAGES
from dupnet.find.regions import Image
from dupnet.images.image import MAX_PIXELS

__all__ = ["covered_by", "hiding", "mean_of", "means_of", "reading_without"]

Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

SAMPLE = 48
"""Images whose mean is taken at most."""

ABOVE_GROUND, LEAST_SHARE = 3.0, 0.05
"""The mean of n images is more than what is left of their ground where its power, as a share of theirs, is so
many times 1 / n, and more by so much: over windows of 16 px that share has a deviation of 0.35 / n."""

MARGIN = 4
"""Pixels around what agrees: compression rings."""

GAP = 17
"""Pixels between parts of an overlay, such as lines of text, that are covered, too."""

LARGEST_HOLE = 1 / 32
"""Share of the image up to which an area that an overlay encloses belongs to it, such as a legend's ground.
What a frame or a coast line encloses is larger."""

MOST_COVERED = 0.7
"""Share of an image from which on what agrees is no overlay."""


class Mean(NamedTuple):
    """What images of one size have in common."""

    passed: Float
    """(height, width) grey levels, high-passed."""
    stands_out: Mask
    """(height, width), where that is more than ground leaves."""


def mean_of(images: Iterable[Image]) -> Mean:
    """The mean of images of one size, at least one."""
    total, squares, n = np.zeros(1, np.float32), np.zeros(1, np.float32), 0
    for image in images:  # added up as they come: images can be large
        passed = high_passed(*image)
        total, squares, n = total + passed, squares + passed * passed, n + 1
    mean, of_images = total / np.float32(n), squares / np.float32(n)
    power, of_images = _mean_around(mean * mean), _mean_around(of_images)
    least = np.maximum((ABOVE_GROUND / n + LEAST_SHARE) * of_images, LARGE_WINDOW_POWER)
    return Mean(mean, np.asarray(power > least))


def covered_by(mean: Mean, image: Image) -> Mask:
    """Where an image carries what the mean shows, (height, width) bool."""
    passed = high_passed(*image)
    product, power1, power2 = (
        _mean_around(values) for values in (passed * mean.passed, passed * passed, mean.passed * mean.passed)
    )
    agrees = product > LARGE_WINDOW_AGREES * np.sqrt(np.maximum(power1 * power2, 0) + 0.1)
    around = (agrees & mean.stands_out).astype(np.uint8)
    around = cv2.dilate(around, np.ones((2 * MARGIN + 1,) * 2, np.uint8))
    # As if nothing lay beyond the rim: what an overlay has there is no gap in it.
    padded = cv2.copyMakeBorder(around, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    covered = np.asarray(closed[GAP:-GAP, GAP:-GAP] > 0)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~covered).astype(np.uint8), connectivity=4)
    is_hole = stats[:, cv2.CC_STAT_AREA] <= LARGEST_HOLE * covered.size
    is_hole[0] = False  # what is covered
    covered |= is_hole[labels]
    return covered if covered.mean() < MOST_COVERED else np.zeros_like(covered)


def means_of(
    read: Callable[[int], Image], holders: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> dict[tuple[int, int], Mean]:
    """The mean of each size of image that overlays are known of, by (height, width).

    Parameters
    ----------
    read : callable
        Number -> pixels of an image, as for :func:`dupnet.find.verification.judge`.
    holders : (n,) int64
        Numbers of the images that hold points of an overlay.
    sizes : (n_images, 2) int64
        Height and width of every image. Of a size with fewer than
        :data:`~dupnet.find.overlays.LEAST_IMAGES` holders, or too large to be decoded at once, and
        where the mean shows nothing, there is none.
    """
    means = {}
    for size in np.unique(sizes[holders], axis=0):
        alike = holders[(sizes[holders] == size).all(axis=1)]
        if len(alike) >= LEAST_IMAGES and size.prod() <= MAX_PIXELS:
            sample = alike[np.linspace(0, len(alike) - 1, min(SAMPLE, len(alike))).astype(np.int64)]
            mean = mean_of(map(read, sample.tolist()))
            if mean.stands_out.any():
                means[int(size[0]), int(size[1])] = mean
    return means


def reading_without(
    read: Callable[[int], Image], means: Mapping[tuple[int, int], Mean]
) -> Callable[[int], Image]:
    """A reader of images that takes overlays for no data, given :func:`means_of`."""

    def reading(number: int) -> Image:
        grey, valid = read(number)
        mean = means.get((grey.shape[0], grey.shape[1]))
        if mean is None:
            return grey, valid
        shown = ~covered_by(mean, (grey, valid))
        return grey, shown if valid is None else shown & valid

    return reading


def hiding(judge: Judge, of_marked: Judge, is_marked: Mask) -> Judge:
    """A judge that leaves pairs with a marked image, (n_images,) bool, to another."""
    if not is_marked.any():
        return judge

    def judging(pairs: pd.DataFrame) -> pd.DataFrame:
        apart = is_marked[pairs[KEY[:2]].to_numpy(np.int64)].any(axis=1)
        if not apart.any():
            return judge(pairs)
        if apart.all():
            return of_marked(pairs)
        parts = [
            one(pairs[rows].reset_index(drop=True)) for one, rows in ((judge, ~apart), (of_marked, apart))
        ]
        back = np.argsort(np.concatenate([np.flatnonzero(~apart), np.flatnonzero(apart)]))
        return pd.concat(parts, ignore_index=True).iloc[back].reset_index(drop=True)

    return judging


def _mean_around(values: Float) -> Float:
    size = (LARGE_WINDOW, LARGE_WINDOW)
    return np.asarray(cv2.boxFilter(values, -1, size, borderType=cv2.BORDER_REFLECT), np.float32)
