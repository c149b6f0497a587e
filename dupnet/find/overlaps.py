"""From candidate tile pairs to a verdict on every overlap of two images.

A candidate is a pair of tiles that look alike. Candidates of one image pair that imply the same offset
*propose* one overlap; the proposal is then *verified* tile by tile, and is a duplicate only if every tile
that can be judged agrees: one place on another day agrees on its quays and disagrees on its water. Where the
positions of a whole group imply overlaps that no candidate proposed, those are verified too.

Images are numbered in the order of their sorted names, and tile ``t`` of image ``i`` is tile row
``i * grid.n_tiles + t`` of every per-tile array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.tiles import Grid
from dupnet.tiles import overlaps as overlaps_of_grid

__all__ = [
    "COLUMNS",
    "REJECTED_COLUMNS",
    "Verified",
    "complete",
    "concatenate",
    "image_index",
    "neighbours",
    "verify",
    "vote",
]

COLUMNS = (
    "image1",
    "image2",
    "overlap_tag",
    "row_offset",
    "col_offset",
    "n_tiles",
    "n_decidable",
    "score",
    "verdict",
)
"""Columns of the overlaps table, one row an overlap, sorted by image1, image2, row_offset, col_offset."""

REJECTED_COLUMNS = ("image1", "image2", "row_offset", "col_offset", "score")
"""Columns of the table of proposals that verification found not to be duplicates."""

SCORE_DECIMALS = 5
"""What is scored beside a pair changes its score by some 1e-7, for matrix products are blocked otherwise:
rounded so, runs that divide the work in other portions seldom differ, and nearly sure ones are told apart."""

Integers = npt.NDArray[np.int64]
ScorePairs = Callable[[Integers, Integers], npt.NDArray[np.floating]]


class Verified(NamedTuple):
    """What verification made of proposals: the overlaps table, and the proposals that it rejected."""

    overlaps: pd.DataFrame
    rejected: pd.DataFrame


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


def vote(
    rows1: npt.ArrayLike, rows2: npt.ArrayLike, cosine: npt.ArrayLike, grid: Grid = Grid()
) -> pd.DataFrame:
    """Gather candidate tile pairs into proposed overlaps of image pairs.

    Parameters
    ----------
    rows1, rows2 : (k,) integers
        Tile rows of the candidates, in any order; a pair listed twice, or both ways round, counts once.
    cosine : (k,) floats
        Likeness of each candidate.
    grid : Grid
        The tiles of one image.

    Returns
    -------
    DataFrame
        ``image1, image2`` (numbers, image1 < image2), ``row_offset, col_offset``, ``n_votes`` (tiles that
        propose this overlap) and ``cosine`` (the highest of them), sorted by the first four. Every offset of
        an image pair is kept: only verification can tell which is real. Two tiles of one image propose none.

    Raises
    ------
    ValueError
        If the three arrays are not of one length.
    """
    first, second = np.asarray(rows1, dtype=np.int64), np.asarray(rows2, dtype=np.int64)
    likeness = np.asarray(cosine, dtype=np.float32)
    if not first.shape == second.shape == likeness.shape or first.ndim != 1:
        raise ValueError(
            f"rows1, rows2 and cosine have shapes {first.shape}, {second.shape} and {likeness.shape}; "
            "pass three arrays of one length."
        )
    first, second = np.minimum(first, second), np.maximum(first, second)
    between_images = first // grid.n_tiles != second // grid.n_tiles
    first, second, likeness = first[between_images], second[between_images], likeness[between_images]

    image1, tile1 = np.divmod(first, grid.n_tiles)
    image2, tile2 = np.divmod(second, grid.n_tiles)
    row_offset = tile1 // grid.cols - tile2 // grid.cols
    col_offset = tile1 % grid.cols - tile2 % grid.cols
    proposal = _overlap_key(image1, image2, row_offset, col_offset, int(image2.max(initial=0)) + 1, grid)
    # Within one proposal the tile of image 1 identifies the candidate.
    candidate = proposal * grid.n_tiles + tile1
    order = np.argsort(candidate)
    candidate, likeness = candidate[order], likeness[order]
    is_new = np.diff(candidate, prepend=-1) != 0
    starts = np.flatnonzero(np.diff(candidate // grid.n_tiles, prepend=-1))
    rows = order[starts]
    return pd.DataFrame(
        {
            "image1": image1[rows],
            "image2": image2[rows],
            "row_offset": row_offset[rows],
            "col_offset": col_offset[rows],
            "n_votes": np.add.reduceat(is_new, starts, dtype=np.int64) if len(starts) else starts,
            "cosine": np.maximum.reduceat(likeness, starts) if len(starts) else likeness,
        }
    )


def verify(
    proposals: pd.DataFrame,
    images: Sequence[str],
    score_pairs: ScorePairs,
    decidable: npt.ArrayLike,
    threshold: float,
    grid: Grid = Grid(),
    batch_size: int = 16_384,
) -> Verified:
    """Judge every proposed overlap tile by tile.

    Parameters
    ----------
    proposals : DataFrame
        ``image1, image2`` (numbers, image1 < image2), ``row_offset, col_offset``; from :func:`vote`, say.
    images : sequence of str
        Sorted names; number ``i`` is ``images[i]``.
    score_pairs : callable
        (tile rows, tile rows) -> scores in [0, 1], how surely each pair of tiles is a duplicate. It is called
        with at most ``batch_size`` pairs, so that few descriptors are in memory at a time.
    decidable : (len(images) * grid.n_tiles,) bool
        Tiles that carry enough texture to judge by. A tile pair is decidable if both its tiles are.
    threshold : float
        The score from which two tiles agree.
    grid : Grid
        The tiles of one image.
    batch_size : int
        Tile pairs scored at a time.

    Returns
    -------
    Verified
        ``overlaps`` with the columns ``COLUMNS``: ``score`` is the lowest over the decidable tiles,
        ``verdict`` is ``duplicate`` where it reaches the threshold and ``undecidable`` (score NaN) where no
        tile is decidable. ``rejected``: the rest, with the score of the first tile that disagreed; the next
        ones are not scored.

    Raises
    ------
    ValueError
        If a proposal names an image that there is not, or images too far apart to overlap; if ``decidable``
        is not of one value a tile; if the threshold is not in [0, 1].
    """
    index = image_index(images)
    is_decidable = np.asarray(decidable, dtype=bool)
    if is_decidable.shape != (len(index) * grid.n_tiles,):
        raise ValueError(
            f"decidable has shape {is_decidable.shape}; {len(index)} images of {grid.n_tiles} tiles need "
            f"({len(index) * grid.n_tiles},)."
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; scores and their threshold lie in [0, 1].")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    image1, image2, row_offset, col_offset = (
        proposals[name].to_numpy(dtype=np.int64) for name in ("image1", "image2", "row_offset", "col_offset")
    )
    _check_proposals(image1, image2, row_offset, col_offset, len(index), grid)

    tiles1, tiles2 = _shared_tiles(grid)
    code = _offset_code(row_offset, col_offset, grid)
    score = np.full(len(code), np.nan, dtype=np.float64)
    n_decidable = np.zeros(len(code), dtype=np.int64)
    for start in range(0, len(code), batch_size):
        part = slice(start, start + batch_size)
        rows1 = image1[part, None] * grid.n_tiles + tiles1[code[part]]
        rows2 = image2[part, None] * grid.n_tiles + tiles2[code[part]]
        judged = (tiles1[code[part]] >= 0) & is_decidable[rows1] & is_decidable[rows2]
        n_decidable[part] = judged.sum(axis=1)
        score[part] = _lowest_scores(rows1, rows2, judged, score_pairs, threshold)

    n_tiles = (tiles1 >= 0).sum(axis=1)
    tags = np.array([overlap.tag for overlap in overlaps_of_grid(grid)], dtype=object)
    names = index.to_numpy()
    table = pd.DataFrame(
        {
            "image1": names[image1],
            "image2": names[image2],
            "overlap_tag": tags[code],
            "row_offset": row_offset,
            "col_offset": col_offset,
            "n_tiles": n_tiles[code],
            "n_decidable": n_decidable,
            "score": score.round(SCORE_DECIMALS),
            "verdict": np.where(n_decidable > 0, "duplicate", "undecidable").astype(object),
        }
    )
    is_rejected = score < threshold
    return Verified(_in_order(table[~is_rejected]), _in_order(table.loc[is_rejected, list(REJECTED_COLUMNS)]))


def complete(
    groups: pd.DataFrame,
    known: Sequence[pd.DataFrame],
    images: Sequence[str],
    score_pairs: ScorePairs,
    decidable: npt.ArrayLike,
    threshold: float,
    grid: Grid = Grid(),
    batch_size: int = 16_384,
) -> Verified:
    """Verify the overlaps that the positions of a group imply and that nothing proposed.

    Search misses weak tiles (a dark sea after strong compression); geometry does not.

    Parameters
    ----------
    groups : DataFrame
        ``image, group, row, col``: the groups table.
    known : sequence of DataFrame
        Tables with ``image1, image2, row_offset, col_offset`` of what is not to be judged again.
    images, score_pairs, decidable, threshold, grid, batch_size
        As for :func:`verify`.

    Returns
    -------
    Verified
        As for :func:`verify`, for the new overlaps alone. Those without a decidable tile are ``undecidable``:
        that they show the same place and moment follows from their neighbours only.

    Raises
    ------
    ValueError
        If a group has an image that is not among ``images``, or as :func:`verify`.
    """
    index = image_index(images)
    number = index.get_indexer(groups["image"])
    if (number < 0).any():
        raise ValueError(
            f"groups: image {groups['image'].iloc[int(np.argmin(number))]!r} is not among the images."
        )
    by_number = groups.iloc[np.argsort(number)]
    number = np.sort(number)
    row1, row2, row_offset, col_offset = neighbours(
        by_number["group"].to_numpy(), by_number["row"].to_numpy(), by_number["col"].to_numpy(), grid
    )
    implied = _overlap_key(number[row1], number[row2], row_offset, col_offset, len(index), grid)
    seen = [
        _overlap_key(
            index.get_indexer(table["image1"]),
            index.get_indexer(table["image2"]),
            table["row_offset"].to_numpy(dtype=np.int64),
            table["col_offset"].to_numpy(dtype=np.int64),
            len(index),
            grid,
        )
        for table in known
    ]
    new = ~np.isin(implied, np.concatenate(seen)) if seen else np.ones(len(implied), dtype=bool)
    proposals = pd.DataFrame(
        {
            "image1": number[row1[new]],
            "image2": number[row2[new]],
            "row_offset": row_offset[new],
            "col_offset": col_offset[new],
        }
    )
    return verify(proposals, images, score_pairs, decidable, threshold, grid, batch_size)


def neighbours(
    group: npt.ArrayLike, row: npt.ArrayLike, col: npt.ArrayLike, grid: Grid = Grid()
) -> tuple[Integers, Integers, Integers, Integers]:
    """All pairs of images of one group whose positions make them share a tile.

    Parameters
    ----------
    group, row, col : (n,) non-negative integers
        Group of each image, and the place of its upper left tile in the group.
    grid : Grid
        The tiles of one image.

    Returns
    -------
    first, second, row_offset, col_offset : (m,) int64
        Numbers of the two images, first < second, in ascending order; the second's place less the first's.

    Raises
    ------
    ValueError
        If a number is negative.
    """
    groups, rows, cols = (np.asarray(values, dtype=np.int64) for values in (group, row, col))
    if min(groups.min(initial=0), rows.min(initial=0), cols.min(initial=0)) < 0:
        raise ValueError("group, row and col must not be negative; groups.place gives them so.")
    # One integer a place, so wide that what lies past the end of a row or a group is no other's place.
    width = int(cols.max(initial=0)) + 2 * grid.cols
    height = int(rows.max(initial=0)) + grid.rows
    place = (groups * height + rows) * width + cols + grid.cols
    order = np.argsort(place, kind="stable")
    place = place[order]
    found: list[npt.NDArray[np.int64]] = []
    for row_offset in range(grid.rows):
        for col_offset in range(1 - grid.cols if row_offset else 0, grid.cols):
            wanted = place + row_offset * width + col_offset
            left = np.searchsorted(place, wanted, side="left")
            if row_offset == col_offset == 0:
                left = np.arange(1, len(place) + 1)
            count = np.searchsorted(place, wanted, side="right") - left
            first = np.repeat(np.arange(len(place)), count)
            within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
            one, other = order[first], order[np.repeat(left, count) + within]
            sign = np.where(one < other, 1, -1)
            found.append(
                np.stack(
                    [np.minimum(one, other), np.maximum(one, other), sign * row_offset, sign * col_offset]
                )
            )
    pairs = np.concatenate(found, axis=1)
    first, second, down, right = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    return first, second, down, right


def concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several overlaps (or rejected) tables as one, in order, each overlap once."""
    filled = [table for table in tables if len(table)] or [tables[0]]
    together = _in_order(pd.concat(filled, ignore_index=True))
    return together.drop_duplicates(["image1", "image2", "row_offset", "col_offset"], ignore_index=True)


def _lowest_scores(
    rows1: Integers,
    rows2: Integers,
    judged: npt.NDArray[np.bool_],
    score_pairs: ScorePairs,
    threshold: float,
) -> npt.NDArray[np.float64]:
    """Lowest score over the judged tiles (m, n_tiles) to the first that disagrees; NaN if there is none."""
    lowest = np.full(len(judged), np.nan)
    tile_order = np.argsort(~judged, axis=1, kind="stable")
    n_judged = judged.sum(axis=1)
    for turn in range(int(n_judged.max(initial=0))):
        open_overlaps = np.flatnonzero((n_judged > turn) & ~(lowest < threshold))
        tile = tile_order[open_overlaps, turn]
        scores = score_pairs(rows1[open_overlaps, tile], rows2[open_overlaps, tile])
        if np.isnan(scores).any():
            raise ValueError("score_pairs gave NaN; every pair of decidable tiles needs a score in [0, 1].")
        lowest[open_overlaps] = np.fmin(lowest[open_overlaps], np.asarray(scores, dtype=np.float64))
    return lowest


def _check_proposals(
    image1: Integers, image2: Integers, row_offset: Integers, col_offset: Integers, n_images: int, grid: Grid
) -> None:
    wrong = (image1 < 0) | (image1 >= image2) | (image2 >= n_images)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"proposals: row {at} pairs images {image1[at]} and {image2[at]}; numbers must satisfy "
            f"0 <= image1 < image2 < {n_images}."
        )
    apart = (np.abs(row_offset) >= grid.rows) | (np.abs(col_offset) >= grid.cols)
    if apart.any():
        at = int(np.argmax(apart))
        raise ValueError(
            f"proposals: row {at} has offset ({row_offset[at]}, {col_offset[at]}), at which two images of "
            f"{grid.rows} x {grid.cols} tiles share none."
        )


def _offset_code(row_offset: Integers, col_offset: Integers, grid: Grid) -> Integers:
    """The number of an offset in the order of ``tiles.overlaps``."""
    return (row_offset + grid.rows - 1) * (2 * grid.cols - 1) + col_offset + grid.cols - 1


def _overlap_key(
    image1: Integers, image2: Integers, row_offset: Integers, col_offset: Integers, n_images: int, grid: Grid
) -> Integers:
    """An integer an overlap, ordered by image1, image2, row_offset, col_offset; int64 serves 10**8 images."""
    n_offsets = (2 * grid.rows - 1) * (2 * grid.cols - 1)
    return (image1 * n_images + image2) * n_offsets + _offset_code(row_offset, col_offset, grid)


def _shared_tiles(grid: Grid) -> tuple[Integers, Integers]:
    """Tiles shared at each offset, padded with -1: two arrays (n_offsets, grid.n_tiles)."""
    found = overlaps_of_grid(grid)
    tiles1 = np.full((len(found), grid.n_tiles), -1, dtype=np.int64)
    tiles2 = tiles1.copy()
    for code, overlap in enumerate(found):
        tiles1[code, : overlap.n_tiles] = overlap.tiles1
        tiles2[code, : overlap.n_tiles] = overlap.tiles2
    return tiles1, tiles2


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(
        ["image1", "image2", "row_offset", "col_offset"], kind="stable", ignore_index=True
    )
