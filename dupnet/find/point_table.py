"""The points of a collection as one table, and how many of them two images can share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.extrema import FINE, SMALL_BELOW
from dupnet.find.points import is_fine

__all__ = ["FINE_REACH", "PointTable", "inner_fine", "n_inside"]

Numbers = npt.NDArray[np.int64]

_COUNTED_AT_A_TIME = 2**22  # points of all regions

FINE_REACH = FINE.side // 2 + FINE.rim
"""How far from its sides an image that is neither small nor dense has fine points, in pixels."""


class PointTable(NamedTuple):
    """The points of a collection, those of an image together, images ascending; arrays may be mapped files.

    ``y, x``: (n,) float32. ``kinds``: (n,) uint8. ``images``: (n,) int32. ``sizes``: (number of images, 2),
    as height, width. ``dense``: whether large images have fine points beyond their rim, too, for small ones.
    """

    y: npt.NDArray[np.float32]
    x: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.uint8]
    images: npt.NDArray[np.int32]
    sizes: Numbers
    dense: bool = False


def inner_fine(points: PointTable) -> npt.NDArray[np.bool_]:
    """Fine points within large images, which are there for small images alone: (n,) bool.

    Two large images share coarse points wherever they overlap; with the inner points of both, each pair of
    them would cost several times as much, and accidents would agree more often.
    """
    inner = is_fine(points.kinds) & (points.sizes.min(axis=1) >= SMALL_BELOW)[points.images]
    rows = np.flatnonzero(inner)
    height, width = (points.sizes[:, axis].astype(np.float32)[points.images[rows]] for axis in (0, 1))
    y, x = points.y[rows], points.x[rows]
    from_side = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    inner[rows] = from_side >= FINE_REACH
    return np.asarray(inner, np.bool_)


def n_inside(
    image: Numbers,
    begin: Numbers,
    extent: Numbers,
    offset: Numbers,
    other: Numbers,
    points: PointTable,
    starts: Numbers,
) -> Numbers:
    """Points of each image inside a region, of those that the other image, of this size and offset, has, too.

    That is all coarse ones, and of the fine ones those along the other image's rim, or all if it is small, or
    dense and this one small.
    """
    found = np.zeros(len(image), np.int64)
    lengths = starts[image + 1] - starts[image]
    reach = FINE_REACH
    is_small = points.sizes[image].min(axis=1) < SMALL_BELOW
    everywhere = (other.min(axis=1) < SMALL_BELOW) | (is_small & points.dense)
    fine = is_fine(points.kinds)
    low, high = (edge.astype(np.float32) for edge in (begin, begin + extent))
    near_low, near_high = (edge.astype(np.float32) for edge in (offset + reach, offset + other - 1 - reach))
    ends = np.cumsum(lengths)
    at = 0
    while at < len(image):
        done = ends[at - 1] if at else 0
        to = max(at + 1, int(np.searchsorted(ends, done + _COUNTED_AT_A_TIME, side="right")))
        part = slice(at, to)
        lengths_of = lengths[part]

        def of_points(values: npt.NDArray[Any], part: slice = part, lengths_of: Numbers = lengths_of) -> Any:
            return np.repeat(values[part], lengths_of)

        number = np.arange(int(lengths_of.sum())) + np.repeat(
            starts[image[part]] - (ends[part] - lengths_of - done), lengths_of
        )
        y, x = points.y[number], points.x[number]
        inside = (y >= of_points(low[:, 0])) & (y < of_points(high[:, 0]))
        inside &= (x >= of_points(low[:, 1])) & (x < of_points(high[:, 1]))
        if not everywhere[part].all():
            rim = (y < of_points(near_low[:, 0])) | (y > of_points(near_high[:, 0]))
            rim |= (x < of_points(near_low[:, 1])) | (x > of_points(near_high[:, 1]))
            inside &= rim | ~fine[number] | of_points(everywhere)
        counted = np.append(0, np.cumsum(inside))
        bounds = np.append(0, np.cumsum(lengths_of))
        found[part] = counted[bounds[1:]] - counted[bounds[:-1]]
        at = to
    return found
