"""Overlaps of whole tiles on one grid: what pairs of tiles that look alike propose, and the verdict tile by
tile.

A candidate is a pair of tiles that look alike. Candidates of one image pair that imply the same offset
*propose* one overlap; the proposal is then *judged* tile by tile, and is a duplicate only if every tile that
can be judged agrees: one place on another day agrees on its quays and disagrees on its water.

Tile ``t`` of image ``i`` is tile row ``i * grid.n_tiles + t`` of every per-tile array.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.overlaps import (
    DUPLICATE,
    JUDGED,
    KEY,
    REFUSED,
    SCORE_DECIMALS,
    UNDECIDABLE,
    check_proposals,
    common_size,
)
from dupnet.tiles import Grid, overlaps

__all__ = ["ScorePairs", "judge_tiles", "vote"]

Integers = npt.NDArray[np.int64]
ScorePairs = Callable[[Integers, Integers], npt.NDArray[np.floating]]

TILES_AT_A_TIME = 2**22
"""Tiles of either image that proposals judged together have at most: some 0.2 GB of their numbers."""


def vote(
    rows1: npt.ArrayLike,
    rows2: npt.ArrayLike,
    cosine: npt.ArrayLike,
    grid: Grid = Grid(),
) -> pd.DataFrame:
    """Gather candidate tile pairs into proposed overlaps of image pairs.

    Parameters
    ----------
    rows1, rows2 : (k,) integers
        Tile rows of the candidates, in any order; a pair listed twice, or both ways round, counts once.
    cosine : (k,) floats
        Likeness of each candidate.
    grid : Grid
        The places of tiles in one image; ``grid.tile_size`` is the way in pixels from one to the next.

    Returns
    -------
    DataFrame
        ``image1, image2`` (numbers, image1 < image2), ``y_offset, x_offset`` (pixels), ``n_votes`` (tiles
        that propose this overlap) and ``cosine`` (the highest of them), sorted by the first four. Every
        offset of an image pair is kept: only judging can tell which is real. Two tiles of one image propose
        none.

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
    n_offsets = (2 * grid.rows - 1) * (2 * grid.cols - 1)
    # One integer an overlap, in the order of KEY; int64 serves 10**8 images.
    proposal = (image1 * (int(image2.max(initial=0)) + 1) + image2) * n_offsets + _offset_code(
        row_offset, col_offset, grid
    )
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
            "y_offset": row_offset[rows] * grid.tile_size,
            "x_offset": col_offset[rows] * grid.tile_size,
            "n_votes": np.add.reduceat(is_new, starts, dtype=np.int64) if len(starts) else starts,
            "cosine": np.maximum.reduceat(likeness, starts) if len(starts) else likeness,
        }
    )


def judge_tiles(
    proposals: pd.DataFrame,
    sizes: npt.ArrayLike,
    score_pairs: ScorePairs,
    decidable: npt.ArrayLike,
    threshold: float,
    grid: Grid = Grid(),
    tile_size: int | None = None,
    batch_size: int = 16_384,
) -> pd.DataFrame:
    """Judge every proposed overlap tile by tile.

    Parameters
    ----------
    proposals : DataFrame
        :data:`~dupnet.find.overlaps.KEY`, offsets a multiple of ``grid.tile_size``; from :func:`vote`, say.
    sizes : (n_images, 2) integers
        Height and width of each image, in pixels.
    score_pairs : callable
        (tile rows, tile rows) -> scores in [0, 1], how surely each pair of tiles is a duplicate, or NaN where
        they show too little of the same ground to judge by. It is called with at most ``batch_size`` pairs,
        so that few descriptors are in memory at a time.
    decidable : (n_images * grid.n_tiles,) bool
        Tiles that carry enough texture to judge by. A tile pair is decidable if both its tiles are, and it
        has a score.
    threshold : float
        The score from which two tiles agree.
    grid : Grid
        As for :func:`vote`.
    tile_size : int, optional
        Side of a tile where it is more than the way to the next.
    batch_size : int
        Tile pairs scored at a time.

    Returns
    -------
    DataFrame
        The rows of ``proposals``, in order, with :data:`~dupnet.find.overlaps.JUDGED`: ``score`` is the
        lowest over the decidable tiles; ``verdict`` is ``duplicate`` where it reaches the threshold,
        ``undecidable`` (score NaN) where no tile is decidable, and else ``refused``, with the score of the
        first tile that disagreed; the next ones are not scored, and count as decidable.

    Raises
    ------
    ValueError
        If a proposal names an image that there is not, or images too far apart to share a tile; if
        ``decidable`` is not of one value a tile; if the threshold is not in [0, 1].
    """
    n_images = len(np.asarray(sizes))
    is_decidable = np.asarray(decidable, dtype=bool)
    if is_decidable.shape != (n_images * grid.n_tiles,):
        raise ValueError(
            f"decidable has shape {is_decidable.shape}; {n_images} images of {grid.n_tiles} tiles need "
            f"({n_images * grid.n_tiles},)."
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; scores and their threshold lie in [0, 1].")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    check_proposals(proposals, sizes, tile_size or grid.tile_size)
    image1, image2 = (proposals[name].to_numpy(dtype=np.int64) for name in KEY[:2])
    offsets, rest = np.divmod(proposals[["y_offset", "x_offset"]].to_numpy(dtype=np.int64), grid.tile_size)
    if rest.any():
        row = proposals.iloc[int(np.argmax(rest.any(axis=1)))]
        raise ValueError(
            f"proposals: offset ({row['y_offset']}, {row['x_offset']}) is no multiple of "
            f"{grid.tile_size} px, the way from one tile to the next."
        )

    tiles1, tiles2 = _shared_tiles(grid)
    code = _offset_code(offsets[:, 0], offsets[:, 1], grid)
    score = np.full(len(code), np.nan, dtype=np.float64)
    n_decidable = np.zeros(len(code), dtype=np.int64)
    step = max(1, min(batch_size, TILES_AT_A_TIME // grid.n_tiles))
    for start in range(0, len(code), step):
        part = slice(start, start + step)
        rows1 = image1[part, None] * grid.n_tiles + tiles1[code[part]]
        rows2 = image2[part, None] * grid.n_tiles + tiles2[code[part]]
        judged = (tiles1[code[part]] >= 0) & is_decidable[rows1] & is_decidable[rows2]
        score[part], n_undecidable = _lowest_scores(rows1, rows2, judged, score_pairs, threshold)
        n_decidable[part] = judged.sum(axis=1) - n_undecidable
    is_refused = score < threshold
    height, width = common_size(proposals, sizes)
    verdict = np.where(is_refused, REFUSED, np.where(n_decidable > 0, DUPLICATE, UNDECIDABLE))
    found = proposals[KEY].assign(
        height=height,
        width=width,
        n_tiles=(tiles1 >= 0).sum(axis=1)[code],
        n_decidable=n_decidable,
        n_differing=is_refused.astype(np.int64),
        score=score.round(SCORE_DECIMALS),
        verdict=verdict.astype(object),
    )
    return found[list(JUDGED)].reset_index(drop=True)


def _lowest_scores(
    rows1: Integers,
    rows2: Integers,
    judged: npt.NDArray[np.bool_],
    score_pairs: ScorePairs,
    threshold: float,
) -> tuple[npt.NDArray[np.float64], Integers]:
    """Lowest score over the judged tiles (m, n_tiles) to the first that disagrees, NaN if there is none, and
    how many have no score."""
    lowest = np.full(len(judged), np.nan)
    n_undecidable = np.zeros(len(judged), np.int64)
    tile_order = np.argsort(~judged, axis=1, kind="stable")
    n_judged = judged.sum(axis=1)
    for turn in range(int(n_judged.max(initial=0))):
        open_overlaps = np.flatnonzero((n_judged > turn) & ~(lowest < threshold))
        tile = tile_order[open_overlaps, turn]
        scores = score_pairs(rows1[open_overlaps, tile], rows2[open_overlaps, tile])
        lowest[open_overlaps] = np.fmin(lowest[open_overlaps], np.asarray(scores, dtype=np.float64))
        n_undecidable[open_overlaps] += np.isnan(scores)
    return lowest, n_undecidable


def _offset_code(row_offset: Integers, col_offset: Integers, grid: Grid) -> Integers:
    """The number of an offset in the order of :func:`dupnet.tiles.overlaps`."""
    return (row_offset + grid.rows - 1) * (2 * grid.cols - 1) + col_offset + grid.cols - 1


def _shared_tiles(grid: Grid) -> tuple[Integers, Integers]:
    """Tiles shared at each offset, padded with -1: two arrays (n_offsets, grid.n_tiles)."""
    found = overlaps(grid)
    tiles1 = np.full((len(found), grid.n_tiles), -1, dtype=np.int64)
    tiles2 = tiles1.copy()
    for code, overlap in enumerate(found):
        tiles1[code, : overlap.n_tiles] = overlap.tiles1
        tiles2[code, : overlap.n_tiles] = overlap.tiles2
    return tiles1, tiles2
