"""How well two images agree, pixel by pixel: where small regions need more than the network's word.

All of it works on high-passed images: a pixel less the mean around it, so that brightness and its slow
changes, which processing alters, do not count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.find.regions import Image, Region, common_region
from dupnet.tiles import CELL_SIZE

__all__ = [
    "Registration",
    "agreeing_share",
    "correlation",
    "covered_pixels",
    "differing_share",
    "high_passed",
    "high_passed_both",
    "is_elsewhere",
    "median_window",
    "middle",
    "most_textured",
    "refine_offset",
    "register",
]

Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

BLUR, BLUR_SIZE = 3.0, 15
"""Standard deviation of the Gaussian mean that is taken off, and side of its kernel, in pixels: texture of
waves up to 20 px stays."""


def _dyadic(kernel: npt.NDArray[Any]) -> Float:
    """A kernel in multiples of 1 / 4096, whose float32 sums are exact: what is flat is zero once its mean is
    taken off, and no remainder of rounding that would correlate."""
    parts = np.rint(kernel * 4096)
    parts[len(parts) // 2] += 4096 - parts.sum()
    return np.asarray(parts / 4096, np.float32)


_GAUSSIAN = _dyadic(cv2.getGaussianKernel(BLUR_SIZE, BLUR, cv2.CV_32F))

WINDOW = 8
"""Side in pixels of the windows in which agreement is measured: as fine as the blocks of a JPEG file."""

WINDOW_AGREES = 0.5
"""Correlation of a window from which on what lies under a collar agrees with what the other image shows."""

WINDOW_DIFFERS = 0.3
"""Correlation of a window below which it differs, if its residual says so, too."""

WINDOW_POWER = 8.0
"""Sum of both powers in a window, in squared grey levels, from which on it has texture that can differ."""

LARGE_WINDOW, LARGE_WINDOW_POWER = 16, 2.0
"""Side in pixels of windows that say whether two images agree everywhere, and the power of each, in squared
grey levels, from which on they have texture to say so."""

LARGE_WINDOW_AGREES, LEAST_WINDOWS = 0.6, 128
"""Correlation from which on such a window agrees, and how many must have texture to speak of their share."""

OUTLIER = 2.0
"""A window differs where its residual is so many times the median of the region: what compression leaves is
spread over the region, a change is not."""

RESIDUAL_FLOOR = 0.2
"""Added to that median, in squared grey levels: rounding leaves 1 / 12 in each image."""

APART = 3
"""Pixels from the place of a match from which on another match is another place."""

SMALLEST_TEMPLATE = 16
"""Narrow side in pixels from which on what is looked for says anything."""

FLAT = 0.3
"""Texture in grey levels, as a standard deviation, that rounding to whole levels alone leaves."""

LEAST_SHOWN = 0.5
"""Share of what is looked for that must show something: a single edge is found anywhere along itself."""

LONGEST_TEMPLATE = 128
"""Side in pixels of what is looked for at most: more says little more, and takes longer."""

CERTAIN = 0.4
"""Correlation from which on a match says where: what compression leaves of nearly flat ground reaches 0.3."""

COVERED_POWER = 4.0
"""Power in squared grey levels from which on ground counts as covered where another image is not valid. Dark
water that one processing made black has up to 1.5 levels in the other, squared 2.2."""

LEAST_COVERED = 512
"""Pixels that are valid in one of two images alone from which on it is asked what they show: masks of one
ground differ by as much along its border."""

BAND = 2048
"""Rows of a region that are looked at together: images can be larger than memory."""


class Registration(NamedTuple):
    """Where two images agree best."""

    y_offset: int
    """Of image 2's origin in image 1's frame, in pixels."""
    x_offset: int
    correlation: float
    """There, from -1 to 1."""
    proposed: float
    """Correlation at the offset that was proposed."""
    second: float
    """The best one at least :data:`APART` px from the best; -1 if none was looked at."""


def high_passed(grey: npt.NDArray[Any], valid: npt.NDArray[np.generic] | None = None) -> Float:
    """A grey image (height, width) less its Gaussian mean, mirrored at the rim: float32.

    Zero wherever a pixel that is not ``valid``, bool of that shape, comes into the mean.
    """
    mean = cv2.sepFilter2D(grey, cv2.CV_32F, _GAUSSIAN, _GAUSSIAN, borderType=cv2.BORDER_REFLECT)
    passed = np.asarray(cv2.subtract(grey, mean, dst=mean, dtype=cv2.CV_32F), np.float32)
    if valid is not None:
        reach = np.ones((BLUR_SIZE, BLUR_SIZE), np.uint8)
        passed[cv2.erode(np.asarray(valid, np.uint8), reach) == 0] = 0
    return passed


def high_passed_both(region: Region, first: Image, second: Image) -> tuple[Float, Float]:
    """A region of either image, high-passed, zero where not both are valid."""
    valid = _valid_in_both(region, first, second)
    return high_passed(region.of_first(first[0]), valid), high_passed(region.of_second(second[0]), valid)


def _valid_in_both(region: Region, first: Image, second: Image) -> Mask | None:
    """Which pixels of a region are valid in both images, (height, width) bool, or None for all."""
    masks = [
        of(valid)
        for of, (_, valid) in ((region.of_first, first), (region.of_second, second))
        if valid is not None
    ]
    return np.logical_and.reduce(masks) if masks else None


def covered_pixels(region: Region, first: Image, second: Image) -> int:
    """How many pixels of a region one of two images covers: not valid in it, and texture in the other.

    Where both show the same there, as where a shadow that reaches the border of one crop was taken for a
    collar, nothing is covered.
    """
    n_covered = 0
    for top in range(0, region.height, BAND):
        part = region.part(top, 0, min(BAND, region.height - top), region.width)
        greys = part.of_first(first[0]), part.of_second(second[0])
        masks = (part.of_first, first[1]), (part.of_second, second[1])
        valid1, valid2 = (
            np.ones(greys[0].shape, bool) if valid is None else of(valid) for of, valid in masks
        )
        alone = valid1 != valid2
        if np.count_nonzero(alone) < LEAST_COVERED:
            continue
        rows, cols = (np.flatnonzero(alone.any(axis=axis)) for axis in (1, 0))
        box = tuple(slice(max(0, at[0] - CELL_SIZE), at[-1] + CELL_SIZE) for at in (rows, cols))
        alone, valid1 = alone[box], valid1[box]
        one, two = (high_passed(grey[box]) for grey in greys)
        # Away from the border of what is valid in one alone, which is an edge whatever lies beside it.
        inner = cv2.erode(alone.astype(np.float32), np.ones((BLUR_SIZE, BLUR_SIZE), np.uint8))
        share, product, power1, power2 = (
            cv2.boxFilter(values, -1, (CELL_SIZE, CELL_SIZE), borderType=cv2.BORDER_REFLECT)
            for values in (inner, inner * one * two, inner * one * one, inner * two * two)
        )
        is_textured = np.where(valid1, power1, power2) > COVERED_POWER * np.maximum(share, 1e-3)
        differs = product < WINDOW_AGREES * np.sqrt(np.maximum(power1 * power2, 0) + 0.1 * share**2)
        n_covered += int((alone & is_textured & differs).sum())
    return n_covered


def differing_share(first: Float, second: Float) -> float:
    """Share of the windows of a region in which two images of it, high-passed (height, width) each, differ.

    A window of :data:`WINDOW` px differs where there is texture, the correlation is low, and the residual
    stands out from the rest of the region: two processings of one acquisition differ everywhere alike. At
    least two windows must differ.
    """
    power = float((first * first).sum()), float((second * second).sum())
    second = second * np.float32(np.sqrt(power[0] / max(power[1], 1e-6)))
    product, power1, power2 = _window_means(first, second, WINDOW)
    residual = power1 + power2 - 2 * product
    correlations = product / np.sqrt(np.maximum(power1 * power2, 0) + 0.1)
    differs = (
        (residual > OUTLIER * (np.median(residual) + RESIDUAL_FLOOR))
        & (correlations < WINDOW_DIFFERS)
        & (power1 + power2 > WINDOW_POWER)
    )
    return float(differs.mean()) if differs.sum() >= 2 else 0.0


def agreeing_share(first: Float, second: Float) -> float:
    """Share of the windows of :data:`LARGE_WINDOW` px with texture in either image in which two images of a
    region, high-passed (height, width) each, correlate by :data:`LARGE_WINDOW_AGREES`; NaN if they are few.
    """
    if min(first.shape) < LARGE_WINDOW:
        return np.nan
    product, power1, power2 = _window_means(first, second, LARGE_WINDOW)
    seen = np.maximum(power1, power2) > LARGE_WINDOW_POWER
    if np.count_nonzero(seen) < LEAST_WINDOWS:
        return np.nan
    correlations = product[seen] / np.sqrt(power1[seen] * power2[seen] + 0.1)
    return float(np.mean(correlations > LARGE_WINDOW_AGREES))


def median_window(first: Float, second: Float) -> float:
    """Median correlation of two images of a region, high-passed (height, width) each, over the windows of
    :data:`LARGE_WINDOW` px that have texture in both; NaN if none has.
    """
    product, power1, power2 = _window_means(first, second, LARGE_WINDOW)
    seen = np.minimum(power1, power2) > LARGE_WINDOW_POWER
    if not seen.any():
        return np.nan
    return float(np.median(product[seen] / np.sqrt(power1[seen] * power2[seen])))


def _window_means(first: Float, second: Float, side: int) -> tuple[Float, Float, Float]:
    """Means of the product of two images (height, width), and of the square of each, in windows of ``side``
    px that lie half a window apart."""
    half = side // 2
    height, width = (length // half for length in first.shape)

    def mean(values: Float) -> Float:
        whole = values[: height * half, : width * half]
        quarters = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.boxFilter(quarters, -1, (2, 2))[1:, 1:], np.float32)

    return mean(first * second), mean(first * first), mean(second * second)


def correlation(first: Float, second: Float) -> float:
    """Correlation of two high-passed images of one shape, -1 to 1; zero where either is flat."""
    power = float((first * first).sum() * (second * second).sum())
    return float((first * second).sum() / np.sqrt(max(power, 1e-12)))


def register(first: Float, second: Float, radius: int) -> Registration | None:
    """How far one image of a region must be moved to agree best with another, both high-passed alike.

    The offsets are those by which what the second shows lies too far up and left. None where the region, less
    the radius on each side, is narrower than :data:`SMALLEST_TEMPLATE`, or flat in either image.
    """
    height, width = first.shape
    if radius < 0 or min(height, width) - 2 * radius < SMALLEST_TEMPLATE:
        return None
    inner = np.s_[radius : height - radius, radius : width - radius]
    template = np.ascontiguousarray(first[inner])
    if min(float(template.std()), float(second[inner].std())) < FLAT:
        return None
    surface = _correlations(second, template)
    row, col = divmod(int(surface.argmax()), surface.shape[1])
    steps = np.arange(2 * radius + 1)
    apart = np.maximum(np.abs(steps[:, None] - row), np.abs(steps - col)) >= APART
    return Registration(
        radius - row,
        radius - col,
        float(surface[row, col]),
        float(surface[radius, radius]),
        float(surface[apart].max()) if apart.any() else -1.0,
    )


def refine_offset(first: Image, second: Image, y: int, x: int, radius: int = 3) -> Registration | None:
    """The offset near (y, x), of image 2's origin in image 1's frame, at which the images agree best.

    Parameters
    ----------
    first, second : Image
        Whole images, grey, and which of their pixels are valid: others say nothing.
    y, x : int
        The offset that was proposed, in pixels.
    radius : int
        How far from it to look, in y and in x.

    Returns
    -------
    Registration or None
        None where what they share is, less the radius, narrower than :data:`SMALLEST_TEMPLATE`.
    """
    region = common_region(first[0].shape, second[0].shape, y, x)
    if min(region.height, region.width) < SMALLEST_TEMPLATE + 2 * radius:
        return None
    region = most_textured(region, first, second, radius)
    found = register(*high_passed_both(region, first, second), radius)
    return found and found._replace(y_offset=int(y) + found.y_offset, x_offset=int(x) + found.x_offset)


def most_textured(region: Region, first: Image, second: Image, radius: int) -> Region:
    """Of up to nine parts of a region the one with the most texture in both images.

    No side of it is longer than :data:`LONGEST_TEMPLATE` and the radius on both sides.
    """
    longest = LONGEST_TEMPLATE + 2 * radius
    height, width = min(region.height, longest), min(region.width, longest)
    best, most = middle(region, height, width), -1.0
    if (height, width) == (region.height, region.width):
        return best
    for down in sorted({0, (region.height - height) // 2, region.height - height}):
        for right in sorted({0, (region.width - width) // 2, region.width - width}):
            part = region.part(down, right, height, width)
            valid = _valid_in_both(part, first, second)
            texture = min(
                _texture(of_image[::4], None if valid is None else valid[::4])
                for of_image in (part.of_first(first[0]), part.of_second(second[0]))
            )
            if texture > most:
                best, most = part, texture
    return best


def _texture(grey: npt.NDArray[np.generic], valid: Mask | None) -> float:
    """Standard deviation of the Laplacian, (height, width) each, where no pixel of it is invalid."""
    seen = None if valid is None else cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8))
    laplacian = cv2.Laplacian(np.ascontiguousarray(grey), cv2.CV_32F)
    return float(cv2.meanStdDev(laplacian, mask=seen)[1][0, 0])


def middle(region: Region, height: int, width: int) -> Region:
    """The middle of a region, no higher and wider than so many pixels."""
    height, width = min(region.height, height), min(region.width, width)
    down, right = (region.height - height) // 2, (region.width - width) // 2
    return region.part(down, right, height, width)


def is_elsewhere(first: Image, second: Image, region: Region, radius: int) -> bool:
    """Whether what one image shows in a region lies in the other at another place, as well or better.

    ``first, second`` are whole images, and which pixels are valid; places up to ``radius`` px away count. So
    it is where a roof or a row of containers repeats, and two images were laid on each other a period aside.
    The inner half of the region is looked for, which has room to move where the images end, at half size;
    :func:`register` tells what lies near apart.
    """
    inner = middle(region, region.height // 2, region.width // 2)
    valid = _valid_in_both(inner, first, second)
    one, two = _half(inner.of_first(first[0]), valid), _half(inner.of_second(second[0]), valid)
    if min(np.count_nonzero(one), np.count_nonzero(two)) < LEAST_SHOWN * one.size:
        return False
    if min(float(one.std()), float(two.std())) < FLAT:  # what is flat correlates with all that is flat
        return False
    here = float(cv2.matchTemplate(one, two, cv2.TM_CCOEFF_NORMED)[0, 0])
    there = max(
        _best_apart(one, second, inner.top2, inner.left2, inner, radius),
        _best_apart(two, first, inner.top1, inner.left1, inner, radius),
    )
    return there >= here


def _correlations(image: Float, template: Float) -> Float:
    """Correlation of a template with every window of a high-passed image; -1 where the window is flat, whose
    correlation would be that of rounding errors."""
    surface = cv2.matchTemplate(image, template, cv2.TM_CCOEFF_NORMED)
    size = template.shape[1], template.shape[0]
    power = cv2.boxFilter(image * image, -1, size, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    surface[power[: surface.shape[0], : surface.shape[1]] < FLAT**2] = -1
    return np.asarray(surface, np.float32)


def _half(grey: npt.NDArray[np.generic], valid: npt.NDArray[np.generic] | None) -> Float:
    """An image at half size, high-passed, zero where it is not valid."""
    shown = None if valid is None else _halved(np.asarray(valid, np.uint8) * 255) == 255
    return high_passed(_halved(grey), shown)


def _halved(grey: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    return np.asarray(
        cv2.resize(np.asarray(grey[: 2 * height, : 2 * width]), (width, height), interpolation=cv2.INTER_AREA)
    )


def _best_apart(template: Float, image: Image, top: int, left: int, region: Region, radius: int) -> float:
    """Best correlation of a template of half size in an image, up to ``radius`` px from (top, left)."""
    # A whole number of pixels of half size away, so that the place itself lies on one.
    up, to_left = min(radius, top) // 2 * 2, min(radius, left) // 2 * 2
    y, x = top - up, left - to_left
    around = np.s_[y : top + region.height + radius, x : left + region.width + radius]
    grey, valid = image
    shown = _half(grey[around], None if valid is None else valid[around])
    surface = _correlations(shown, template)
    rows, cols = np.arange(surface.shape[0])[:, None] - up // 2, np.arange(surface.shape[1]) - to_left // 2
    apart = np.maximum(np.abs(rows), np.abs(cols)) >= APART
    return float(surface[apart].max()) if apart.any() else -1.0
