"""What is said of two images that share ground, from a proposal to a row of the table of overlaps.

Inside the search, images are numbered in the order of their sorted names, and an overlap is known by its two
images and the offset, in pixels, of image 2's origin in image 1's frame (:data:`KEY`). Names come last, with
:func:`as_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.images.transforms import is_transformed
from dupnet.tiles import Grid, overlaps

__all__ = [
    "ALTERED",
    "COLUMNS",
    "JUDGED",
    "KEY",
    "PLACE",
    "REFUSED",
    "REJECTED_COLUMNS",
    "REVISIT",
    "REVISIT_COLUMNS",
    "SCORE_DECIMALS",
    "Judge",
    "as_table",
    "check_proposals",
    "common_size",
    "concatenate",
    "image_index",
    "overlap_keys",
]

Integers = npt.NDArray[np.int64]

KEY = ["image1", "image2", "y_offset", "x_offset"]
"""What tells one overlap from another; ``image1 < image2``."""

PLACE = ["group", "y", "x"]
"""Place of image 1 in the plane of its group, in pixels: its lattice is that of the group."""

JUDGED = (*KEY, "height", "width", "n_tiles", "n_decidable", "n_differing", "score", "verdict")
"""Columns of a table of judged overlaps, images as numbers."""

COLUMNS = (
    "image1",
    "image2",
    "overlap_tag",
    "row_offset",
    "col_offset",
    "y_offset",
    "x_offset",
    "height",
    "width",
    "n_tiles",
    "n_decidable",
    "n_differing",
    "score",
    "verdict",
)
"""Columns of the overlaps table, one row an overlap, sorted by image1, image2, y_offset, x_offset. Tag, row
and column offset count in tiles of the grid, and are empty off it."""

REVISIT_COLUMNS = ("image1", "image2", "y_offset", "x_offset", "height", "width", "n_votes", "score")
"""Columns of the table of revisits: the same ground at another time. One more may follow,
:data:`AGREEING_SHARE`."""

AGREEING_SHARE = "agreeing_share"
"""Of a revisit the share of its windows of 16 px with texture in which the pixels agree, of its middle where
it is large; empty where they are few, or the offset is not sure. Photographed revisits reach 0.13, copies of
256 px and wider of which up to 6 % was changed 0.8 and more."""

REJECTED_COLUMNS = (*COLUMNS, "reason", "y_residual", "x_residual")
"""Columns of the table of rejected overlaps: each that was given up although its tiles agree, why, and by how
many pixels it misses its place. ``reason`` is ``loop`` (its offset contradicts stronger overlaps; the
residual is its offset less the placed one, that is the sum around the loop) or ``neighbours`` (its two sides
would overlap elsewhere too, and there they are not duplicates: they became mosaics of their own, and the
residual is empty)."""

DUPLICATE, ALTERED, UNDECIDABLE = "duplicate", "altered", "undecidable"
REVISIT, REFUSED = "revisit", "refused"

SCORE_DECIMALS = 5
"""What is scored beside a pair changes its score by some 1e-7, for matrix products are blocked otherwise:
rounded so, runs that divide the work in other portions seldom differ, and nearly sure ones are told apart."""

Judge = Callable[[pd.DataFrame], pd.DataFrame]
"""Proposals (``KEY``, and ``PLACE`` where it is known) -> the same rows with
:data:`JUDGED`. The verdict is ``duplicate``, ``altered``, ``undecidable``, ``revisit`` or ``refused``."""


def image_index(images: Sequence[str]) -> pd.Index:
    """Image names as an index that numbers them.

    Raises
    ------
    ValueError
        If the names are not sorted, or one appears twice: numbers would depend on the order of the files.
    """
    index = pd.Index(images, dtype=object)
    for before, after in pairwise(index):
        if before >= after:
            raise ValueError(
                f"images: {after!r} follows {before!r}; pass every name once, sorted: sorted(set(images))."
            )
    return index


def common_size(proposals: pd.DataFrame, sizes: npt.ArrayLike) -> tuple[Integers, Integers]:
    """Height and width of the region that the two images of each proposal share, zero where they share none.

    ``sizes`` (n_images, 2): height and width of each image, in pixels.
    """
    shape = np.asarray(sizes, dtype=np.int64)
    found = []
    for axis, column in enumerate(("y_offset", "x_offset")):
        offset = proposals[column].to_numpy(dtype=np.int64)
        end1 = shape[proposals["image1"].to_numpy(dtype=np.int64), axis]
        end2 = offset + shape[proposals["image2"].to_numpy(dtype=np.int64), axis]
        found.append(np.maximum(np.minimum(end1, end2) - np.maximum(offset, 0), 0))
    return found[0], found[1]


def check_proposals(proposals: pd.DataFrame, sizes: npt.ArrayLike, least: int = 1) -> None:
    """Check that proposals name two images each that share a region of ``least`` pixels in both directions.

    Raises
    ------
    ValueError
        If one does not.
    """
    n_images = len(np.asarray(sizes))
    image1, image2 = (proposals[name].to_numpy(dtype=np.int64) for name in KEY[:2])
    wrong = (image1 < 0) | (image1 >= image2) | (image2 >= n_images)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"proposals: row {at} pairs images {image1[at]} and {image2[at]}; numbers must satisfy "
            f"0 <= image1 < image2 < {n_images}."
        )
    apart = np.minimum(*common_size(proposals, sizes)) < least
    if apart.any():
        row = proposals.iloc[int(np.argmax(apart))]
        raise ValueError(
            f"proposals: row {int(np.argmax(apart))} has offset ({row['y_offset']}, {row['x_offset']}), at "
            f"which its two images share less than {least} px."
        )


def concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several tables of overlaps as one, in order, each overlap once; of equal ones the first counts."""
    filled = [table for table in tables if len(table)] or [tables[0]]
    together = pd.concat(filled, ignore_index=True).sort_values(KEY, kind="stable", ignore_index=True)
    return together.drop_duplicates(KEY, ignore_index=True)


def overlap_keys(tables: Sequence[pd.DataFrame]) -> pd.MultiIndex:
    """The overlaps of tables, as an index to look them up in."""
    return pd.MultiIndex.from_frame(pd.concat([table[KEY].astype(np.int64) for table in tables]))


def as_table(
    judged: pd.DataFrame, index: pd.Index, columns: Sequence[str] = COLUMNS, grid: Grid | None = None
) -> pd.DataFrame:
    """Overlaps with the names of their images; with a grid, with their tags and offsets in tiles too."""
    names = index.to_numpy()
    table = judged.assign(**{end: names[judged[end].to_numpy(dtype=np.int64)] for end in KEY[:2]})
    if "overlap_tag" in columns:
        tags = np.full(len(table), "", dtype=object)
        tiles = np.zeros((len(table), 2), dtype=np.int64)
        is_on_grid = np.zeros(len(table), dtype=bool)
        if grid is not None:
            tiles, rest = np.divmod(judged[["y_offset", "x_offset"]].to_numpy(dtype=np.int64), grid.tile_size)
            reach = np.array([grid.rows, grid.cols])
            is_on_grid = ~rest.any(axis=1) & (np.abs(tiles) < reach).all(axis=1) & ~is_transformed(judged)
            known = np.array([one.tag for one in overlaps(grid)], dtype=object)
            number = (tiles + reach - 1) @ np.array([2 * grid.cols - 1, 1])
            tags[is_on_grid] = known[number[is_on_grid]]
        offsets = {
            name: pd.arrays.IntegerArray(np.ascontiguousarray(values), ~is_on_grid)
            for name, values in zip(("row_offset", "col_offset"), tiles.T, strict=True)
        }
        table = table.assign(overlap_tag=tags, **offsets)
    return table[list(columns)].reset_index(drop=True)
