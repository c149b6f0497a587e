"""What is burned into many images at one place of the frame: coast lines, legends, watermarks.

It agrees at offset zero between images of any ground, and so is no evidence. Points whose place and code
recur in a large share of the images are left out of the join, unless the images that hold them agree in so
much that they are versions of one image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dupnet.find.points import UNIT

__all__ = ["LEAST_IMAGES", "LEAST_SHARE", "VERSION_SHARE", "overlay_points"]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

LEAST_IMAGES, LEAST_SHARE = 8, 0.05
"""A pattern is an overlay from so many images and this share of the collection."""

VERSION_SHARE = 0.3
"""Where half of the images that hold a pattern have at least this share of their points in such patterns,
they are versions of one image (copies, frames of a standing camera) and the pattern is ground."""

_CELL = 2.0  # px; of four grids, half a cell apart, one has both of two places less than a pixel apart
_MAX_HASH_BITS = 24
_ALIKE = 0.8  # cosine with the mean of the place


def overlay_points(
    y: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    codes: npt.NDArray[np.int8],
    kinds: npt.NDArray[np.uint8],
    images: npt.NDArray[np.int32],
    sizes: Numbers,
) -> Mask:
    """Which points of a collection belong to an overlay: (n,) bool.

    Parameters
    ----------
    y, x, codes, kinds
        Of :func:`dupnet.find.points.find_points`, those of an image together.
    images : (n,) int32
        Number of each point's image, ascending.
    sizes : (number of images, 2) integers
        Height and width. Where they differ, places are also counted from the bottom and from the right.
    """
    least = max(LEAST_IMAGES, int(np.ceil(LEAST_SHARE * len(sizes))))
    marked = np.zeros(len(y), np.bool_)
    patterns: list[Numbers] = []
    if len(y) and len(sizes) >= least:
        for place_y, place_x in _anchored(y, x, images, sizes):
            for shift_y in (0.0, 0.5):
                for shift_x in (0.0, 0.5):
                    rows = np.floor(place_y / _CELL + shift_y).astype(np.int64)
                    columns = np.floor(place_x / _CELL + shift_x).astype(np.int64)
                    patterns.extend(_patterns(rows, columns, codes, kinds, images, least))
    for pattern in patterns:
        marked[pattern] = True
    share = np.bincount(images, marked, len(sizes)) / np.maximum(np.bincount(images, minlength=len(sizes)), 1)
    overlay = np.zeros(len(y), np.bool_)
    for pattern in patterns:
        if np.median(share[images[pattern]]) < VERSION_SHARE:
            overlay[pattern] = True
    return overlay


def _anchored(
    y: npt.NDArray[np.float32], x: npt.NDArray[np.float32], images: npt.NDArray[np.int32], sizes: Numbers
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Places counted from every corner from which they can differ."""
    heights, widths = sizes[:, 0].astype(np.float32), sizes[:, 1].astype(np.float32)
    rows, columns = [y], [x]
    if len(np.unique(heights)) > 1:
        rows.append(heights[images] - 1 - y)
    if len(np.unique(widths)) > 1:
        columns.append(widths[images] - 1 - x)
    for place_y in rows:
        for place_x in columns:
            yield place_y, place_x


def _patterns(
    rows: Numbers,
    columns: Numbers,
    codes: npt.NDArray[np.int8],
    kinds: npt.NDArray[np.uint8],
    images: npt.NDArray[np.int32],
    least: int,
) -> Iterator[Numbers]:
    """Points of one place, kind and code, in at least ``least`` images, as arrays of their numbers."""
    keys = (kinds.astype(np.int64) << 56) | ((rows & (2**28 - 1)) << 28) | (columns & (2**28 - 1))
    # Most places hold few points: those are told by a count of hashed places, without sorting.
    bits = int(np.clip(np.log2(len(keys)) + 2, 8, _MAX_HASH_BITS))
    hashed = (keys.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits)
    candidates = np.flatnonzero((np.bincount(hashed.astype(np.int64)) >= least)[hashed.astype(np.int64)])
    order = candidates[np.argsort(keys[candidates], kind="stable")]
    if not len(order):
        return
    starts = np.flatnonzero(np.concatenate([[True], np.diff(keys[order]) != 0]))
    lengths = np.diff(np.append(starts, len(order)))
    for start, length in zip(starts[lengths >= least], lengths[lengths >= least], strict=True):
        members = order[start : start + length]
        vectors = codes[members].astype(np.float32) / UNIT
        # The mean of what is alike: from the member that most of a sample agree with.
        sample = vectors[:: max(1, len(vectors) // 256)]
        middle = sample[((sample @ sample.T) >= _ALIKE).sum(axis=1).argmax()]
        alike = members[vectors @ middle >= _ALIKE]
        if len(np.unique(images[alike])) >= least:
            yield alike
