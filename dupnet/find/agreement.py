"""How well two images agree, pixel by pixel: where small regions need more than the network's word.

All of it works on high-passed images: a pixel less the mean around it, so that brightness and its slow
changes, which processing alters, do not count.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.find.regions import Region, common_region

__all__ = ["Registration", "differing_share", "high_passed", "is_elsewhere", "refine_offset"]

Bytes = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

BLUR = 3.0
"""Standard deviation in pixels of the Gaussian mean that is taken off: texture of waves up to 20 px stays."""

WINDOW = 8
"""Side in pixels of the windows in which agreement is measured: as fine as the blocks of a JPEG file."""

WINDOW_AGREES = 0.5
"""Correlation of a window from which on it agrees whatever is left."""

WINDOW_POWER = 8.0
"""Sum of both powers in a window, in squared grey levels, from which on it has texture that can differ."""

OUTLIER = 6.0
"""A window differs where its residual is so many times the median of the region: what compression leaves is
spread over the region, a change is not."""

RESIDUAL_FLOOR = 0.2
"""Added to that median, in squared grey levels: rounding leaves 1 / 12 in each image."""

APART = 3
"""Pixels from the place of a match from which on another match is another place."""

LONGEST_TEMPLATE = 192
"""Side in pixels of what is looked for at most: more says little more, and takes longer."""


class Registration(NamedTuple):
    """Where two images agree best: offset in pixels, correlation there, and the best one at least
    :data:`APART` px from it."""

    y_offset: int
    x_offset: int
    correlation: float
    second: float


def high_passed(grey: npt.NDArray[np.generic]) -> Float:
    """A grey image (height, width) less its Gaussian mean, mirrored at the rim: float32."""
    pixels = np.asarray(grey, np.float32)
    return np.asarray(pixels - cv2.GaussianBlur(pixels, (0, 0), BLUR, borderType=cv2.BORDER_REFLECT))


def differing_share(grey1: Bytes, grey2: Bytes) -> float:
    """Share of the windows of a region in which two images of it, (height, width) uint8 each, differ.

    A window of :data:`WINDOW` px differs where there is texture, the correlation is low, and the residual
    stands out from the rest of the region: two processings of one acquisition differ everywhere alike. At
    least two windows must differ.
    """
    first, second = high_passed(grey1), high_passed(grey2)
    power = float((first * first).sum()), float((second * second).sum())
    second *= np.float32(np.sqrt(power[0] / max(power[1], 1e-6)))
    half = WINDOW // 2

    def mean(products: Float) -> Float:
        means = cv2.boxFilter(products, -1, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)
        return np.asarray(means[half : -half + 1 : half, half : -half + 1 : half])

    product, power1, power2 = mean(first * second), mean(first * first), mean(second * second)
    residual = power1 + power2 - 2 * product
    correlation = product / np.sqrt(np.maximum(power1 * power2, 0) + 0.1)
    differs = (
        (residual > OUTLIER * (np.median(residual) + RESIDUAL_FLOOR))
        & (correlation < WINDOW_AGREES)
        & (power1 + power2 > WINDOW_POWER)
    )
    return float(differs.mean()) if differs.sum() >= 2 else 0.0


def is_elsewhere(grey1: Bytes, grey2: Bytes, region: Region, radius: int) -> bool:
    """Whether what one image shows in a region lies in the other at another place, as well or better.

    ``grey1, grey2`` (height, width) uint8 are whole images; places up to ``radius`` px away count. So it is
    where a roof or a row of containers repeats, and two images were laid on each other a period aside.
    """
    first, second = high_passed(grey1), high_passed(grey2)
    here = _correlation(region.of_first(first), region.of_second(second))
    there = max(
        _best_apart(region.of_first(first), second, region.top2, region.left2, radius),
        _best_apart(region.of_second(second), first, region.top1, region.left1, radius),
    )
    return there >= here


def refine_offset(grey1: Bytes, grey2: Bytes, y: int, x: int, radius: int = 3) -> Registration | None:
    """The offset near (y, x), of image 2's origin in image 1's frame, at which the images agree best.

    Parameters
    ----------
    grey1, grey2 : (height, width) uint8
        Whole images.
    y, x : int
        The offset that was proposed, in pixels.
    radius : int
        How far from it to look, in y and in x.

    Returns
    -------
    Registration or None
        None where the images share less than 16 px beyond the radius.
    """
    region = common_region(grey1.shape, grey2.shape, y, x)
    # What is looked for lies so far inside image 2 that it can be moved by the radius.
    top = max(region.top2, radius) - region.top2
    left = max(region.left2, radius) - region.left2
    height = min(region.top2 + region.height, grey2.shape[0] - radius) - region.top2 - top
    width = min(region.left2 + region.width, grey2.shape[1] - radius) - region.left2 - left
    if min(height, width) < 16:
        return None
    if height > LONGEST_TEMPLATE:
        top, height = top + (height - LONGEST_TEMPLATE) // 2, LONGEST_TEMPLATE
    if width > LONGEST_TEMPLATE:
        left, width = left + (width - LONGEST_TEMPLATE) // 2, LONGEST_TEMPLATE
    y1, x1, y2, x2 = region.top1 + top, region.left1 + left, region.top2 + top, region.left2 + left
    template = high_passed(grey1[y1 : y1 + height, x1 : x1 + width])
    around = high_passed(grey2[y2 - radius : y2 + height + radius, x2 - radius : x2 + width + radius])
    surface = cv2.matchTemplate(around, template, cv2.TM_CCOEFF_NORMED)
    row, col = divmod(int(surface.argmax()), surface.shape[1])
    rows, cols = np.arange(surface.shape[0])[:, None], np.arange(surface.shape[1])
    apart = np.maximum(np.abs(rows - row), np.abs(cols - col)) >= APART
    second = float(surface[apart].max()) if apart.any() else -1.0
    # What lies further down in image 2 than proposed brings image 2's origin further up.
    return Registration(int(y) - (row - radius), int(x) - (col - radius), float(surface[row, col]), second)


def _correlation(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> float:
    return float(cv2.matchTemplate(np.asarray(first), np.asarray(second), cv2.TM_CCOEFF_NORMED)[0, 0])


def _best_apart(template: npt.NDArray[np.generic], image: Float, top: int, left: int, radius: int) -> float:
    """Best correlation of a template in an image, ``APART`` to ``radius`` px from a place."""
    height, width = template.shape
    y, x = max(0, top - radius), max(0, left - radius)
    around = image[y : top + height + radius, x : left + width + radius]
    surface = cv2.matchTemplate(around, np.asarray(template), cv2.TM_CCOEFF_NORMED)
    rows, cols = np.arange(surface.shape[0])[:, None] + y, np.arange(surface.shape[1]) + x
    apart = np.maximum(np.abs(rows - top), np.abs(cols - left)) >= APART
    return float(surface[apart].max()) if apart.any() else -1.0
