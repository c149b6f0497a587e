"""Common ground of images, in pixels: which pairs show the same place at the same moment, and how much of it.

Two things tell: an overlap that was verified (``duplicate`` or ``altered``), and the places of two images in
one mosaic, where they coincide over a region of at least :data:`SMALLEST_REGION`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.overlaps import AGREEING_SHARE
from dupnet.images.transforms import TRANSFORM_COLUMNS, is_transformed
from dupnet.splits.changed import shares_of
from dupnet.tiles import neighbours

__all__ = [
    "PAIR_COLUMNS",
    "SMALLEST_REGION",
    "Found",
    "Tables",
    "areas_shown",
    "common_ground",
    "covered",
    "relations",
]

Integers = npt.NDArray[np.int64]

PAIR_COLUMNS = ("number1", "number2", "y_offset", "x_offset", "height", "width", "share", "evidence")
"""Columns of a table of common ground. ``number1`` and ``number2`` are rows of the groups table, image 2's
origin is at ``y_offset, x_offset`` in image 1, ``height, width`` are those of the common region, all in
pixels; ``share`` is its share of the smaller image; ``evidence`` is ``duplicate``, ``altered``, ``place``."""

SMALLEST_REGION = 16
"""Pixels a side from which the places of two images count as common ground: half of what the search itself
needs, and so wide that a place that is off by a pixel or two is no matter."""

CELLS_AT_A_TIME = 2_000_000
"""Cells of areas that are looked at together: some 50 MB."""

SAME_OFFSET = 4
"""Pixels by which the offset of an overlap and that of the two places may differ and mean the same."""


_OVERLAP = ["image1", "image2", "y_offset", "x_offset", "height", "width", "verdict"]


class Found(Protocol):
    """What splits, audits and lists to clean read of a :class:`dupnet.find.results.FindResult`."""

    @property
    def overlaps(self) -> pd.DataFrame: ...
    @property
    def groups(self) -> pd.DataFrame: ...
    @property
    def rejected(self) -> pd.DataFrame: ...
    @property
    def revisits(self) -> pd.DataFrame: ...
    def coverage(self) -> list[str]: ...


@dataclass(frozen=True)
class Tables:
    """Tables of another origin in the place of a result: a simulation, or the truth of a collection."""

    groups: pd.DataFrame
    overlaps: pd.DataFrame = field(default_factory=partial(pd.DataFrame, columns=_OVERLAP))
    rejected: pd.DataFrame = field(default_factory=partial(pd.DataFrame, columns=_OVERLAP))
    revisits: pd.DataFrame = field(default_factory=partial(pd.DataFrame, columns=_OVERLAP[:-1]))

    def coverage(self) -> list[str]:
        """What was searched."""
        return ["Searched: nothing; overlaps and places are those of the given tables."]


def common_ground(
    overlaps: pd.DataFrame, groups: pd.DataFrame, *, least: int = SMALLEST_REGION
) -> pd.DataFrame:
    """Every pair of images with common ground.

    Parameters
    ----------
    overlaps : DataFrame
        ``image1, image2, y_offset, x_offset, height, width, verdict``; rows that are not ``duplicate`` or
        ``altered`` say nothing.
    groups : DataFrame
        ``image, mosaic, y, x, height, width``.
    least : int
        Side in pixels of the common region from which places alone tell.

    Returns
    -------
    DataFrame
        The columns :data:`PAIR_COLUMNS`, sorted by the two numbers. Images that overlap at several offsets
        have a row for each. Where the overlaps have them,
        :data:`dupnet.images.transforms.TRANSFORM_COLUMNS` too, missing for pairs that places tell of.
    """
    verified = relations(overlaps[overlaps["verdict"].isin(("duplicate", "altered"))], groups)
    verified = verified.rename(columns={"verdict": "evidence"})
    by_place = _by_place(groups, least)
    # A pair that both tell of, at one offset, is listed as what was verified.
    known = verified.merge(
        by_place[["number1", "number2", "y_offset", "x_offset"]].reset_index(),
        on=["number1", "number2"],
        suffixes=("", "_placed"),
    )
    same = (known["y_offset"] - known["y_offset_placed"]).abs() <= SAME_OFFSET
    same &= (known["x_offset"] - known["x_offset_placed"]).abs() <= SAME_OFFSET
    same &= ~is_transformed(known)
    by_place = by_place.drop(index=known.loc[same, "index"].unique())
    some = [table for table in (verified, by_place) if len(table)] or [verified]
    pairs = pd.concat(some, ignore_index=True)
    pairs["share"] = shares_of(pairs, groups[["height", "width"]].to_numpy(np.int64))
    changes = [name for name in TRANSFORM_COLUMNS if name in pairs]
    return pairs[[*PAIR_COLUMNS, *changes]].sort_values(
        ["number1", "number2", "y_offset", "x_offset"], ignore_index=True
    )


def relations(table: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """A table of pairs of images (overlaps, revisits, rejected) with their row numbers in the groups table,
    ``number1, number2``, in front; pairs with an image that is not in it are left out."""
    index = pd.Index(groups["image"])
    numbers = {f"number{end}": index.get_indexer(table[f"image{end}"]).astype(np.int64) for end in ("1", "2")}
    known = (numbers["number1"] >= 0) & (numbers["number2"] >= 0)
    kept = [
        column
        for column in (
            "y_offset",
            "x_offset",
            "height",
            "width",
            "verdict",
            AGREEING_SHARE,
            *TRANSFORM_COLUMNS,
        )
        if column in table
    ]
    found = table[kept].assign(**numbers)[known]
    lengths = [column for column in ("y_offset", "x_offset", "height", "width") if column in found]
    return found.astype(dict.fromkeys(lengths, np.int64))[["number1", "number2", *kept]]


def areas_shown(
    image: npt.ArrayLike, top: npt.ArrayLike, left: npt.ArrayLike, height: npt.ArrayLike, width: npt.ArrayLike
) -> pd.Series:
    """Pixels of each image that its regions cover together, none counted twice.

    Parameters
    ----------
    image : (n,) integers
        The image that each region is of.
    top, left, height, width : (n,) integers
        The regions, in pixels.

    Returns
    -------
    Series of int64, indexed by image
    """
    regions = np.stack([np.asarray(values, np.int64) for values in (image, top, left, height, width)], axis=1)
    regions = np.unique(regions, axis=0)
    images, start, count = np.unique(regions[:, 0], return_index=True, return_counts=True)
    areas = np.zeros(len(images), dtype=np.int64)
    # Images with about as many regions go together, short of some the first of their own again.
    size = 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64)
    for number in np.unique(size):
        members = np.flatnonzero(size == number)
        for part in np.array_split(members, max(1, len(members) * int(number) ** 2 // CELLS_AT_A_TIME)):
            rank = np.arange(number)[None]
            rows = start[part, None] + np.where(rank < count[part, None], rank, 0)
            areas[part] = covered(regions[rows, 1:])
    return pd.Series(areas, index=images)


def covered(regions: npt.ArrayLike) -> Integers:
    """Areas of the unions of rectangles (m, k, 4), ``top, left, height, width``, exact: (m,) int64.

    The edges of k rectangles divide the plane into a grid of cells, each of which is wholly covered or not.
    """
    top, left, height, width = np.moveaxis(np.asarray(regions, dtype=np.int64), -1, 0)
    sides = []
    for begin, length in ((top, height), (left, width)):
        edges = np.sort(np.concatenate([begin, begin + length], axis=1), axis=1)
        inside = (begin[:, :, None] <= edges[:, None, :-1]) & (
            edges[:, None, 1:] <= (begin + length)[:, :, None]
        )
        sides.append((np.diff(edges, axis=1), inside.astype(np.float32)))
    (rows, in_rows), (cols, in_cols) = sides
    is_covered = np.matmul(in_rows.transpose(0, 2, 1), in_cols) > 0
    return np.asarray(np.einsum("mr,mrc,mc->m", rows, is_covered, cols), np.int64)


def _by_place(groups: pd.DataFrame, least: int) -> pd.DataFrame:
    """The common ground that the places of a mosaic imply."""
    mosaic, y, x, height, width = (
        groups[name].to_numpy(dtype=np.int64) for name in ("mosaic", "y", "x", "height", "width")
    )
    first, second, down, right = neighbours(mosaic, y, x, height, width, least)
    return pd.DataFrame(
        {
            "number1": first,
            "number2": second,
            "y_offset": down,
            "x_offset": right,
            "height": np.minimum(height[first], down + height[second]) - np.maximum(down, 0),
            "width": np.minimum(width[first], right + width[second]) - np.maximum(right, 0),
            "evidence": np.full(len(first), "place", dtype=object),
        }
    )
