"""The search on a grid: which tiles of a collection look alike, and the verdict on what they propose."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.workers import map_in_order
from dupnet.find.cache import Cache
from dupnet.find.crowds import strongest
from dupnet.find.describe import Described
from dupnet.find.overlaps import Judge
from dupnet.find.scoring import ScoredOnce
from dupnet.find.search import Candidates, candidates
from dupnet.find.tile_index import Tiling
from dupnet.find.tile_overlaps import ScorePairs, judge_tiles, vote
from dupnet.network.comparison import decided_scores
from dupnet.network.descriptors import Weights
from dupnet.tiles import Grid

__all__ = ["SEARCH_THRESHOLD", "TileSearch", "propose_by_tiles", "search_tiles"]

SEARCH_THRESHOLD = 0.6
"""Cosine of two search descriptors from which their tiles are a candidate: far below what duplicates have
(0.87 and more), above what chance brings about."""

OVERLAPS_AT_A_TIME = 65_536
"""Overlaps that are judged together. As PAIRS_AT_A_TIME, it decides the last digits of scores."""

Rows = npt.NDArray[np.int64]


class TileSearch(NamedTuple):
    """What the search on a grid proposes, and how it judges."""

    proposals: pd.DataFrame
    """As of :func:`dupnet.find.tile_overlaps.vote`."""
    judge: Judge
    grid: Grid
    """The places of tiles in an image."""
    counts: dict[str, int]


def search_tiles(
    cache: Cache,
    described: Described,
    tiling: Tiling,
    weights: Weights,
    is_against: npt.NDArray[np.bool_] | None,
    workers: int,
    progress: bool,
) -> TileSearch:
    """Search the tiles of images of one size, all in the cache.

    ``is_against`` (n_images,): images held against the others; only overlaps between the two are proposed.
    """
    n_tiles = tiling.grid(*described.sizes[0].tolist()).n_tiles
    rows = cache.rows_of(described.images)
    decidable = cache.read("decidable", rows)[:, 0].view(np.bool_)
    found = candidates(
        cache.read("search", rows).view(np.int8),
        decidable,
        SEARCH_THRESHOLD,
        sides=None if is_against is None else np.repeat(is_against, n_tiles),
        workers=workers,
        progress=progress,
    )
    score_portion = partial(_score_cached, cache, rows, weights)
    score = ScoredOnce(
        cache.read("hashes", rows).reshape(-1).view(np.uint64),
        lambda portions: map_in_order(score_portion, portions, workers),
    )
    return propose_by_tiles(found, described, decidable, score, tiling, weights)


def propose_by_tiles(
    found: Candidates,
    described: Described,
    decidable: npt.NDArray[np.bool_],
    score: ScorePairs,
    tiling: Tiling,
    weights: Weights,
) -> TileSearch:
    """From candidates to proposals and their judge, wherever the descriptors are.

    Parameters
    ----------
    found : Candidates
        Pairs of rows; tile ``t`` of image ``i`` is row ``i * n_tiles + t``.
    described : Described
        The images, of one size.
    decidable : (n_rows,) bool
        Tiles that can be judged.
    score : callable
        (rows, rows) -> score of each pair of rows.
    tiling, weights
        How images were cut and described.
    """
    grid = tiling.grid(*described.sizes[0].tolist())
    voted = vote(found.rows1, found.rows2, found.cosine, grid)
    away = voted[["y_offset", "x_offset"]].abs() // grid.tile_size
    n_shared = (grid.rows - away["y_offset"]) * (grid.cols - away["x_offset"])
    kept = strongest(voted.assign(n_expected=n_shared), described.sizes)
    proposals = voted[kept].reset_index(drop=True)

    def judge(table: pd.DataFrame) -> pd.DataFrame:
        return judge_tiles(
            table,
            described.sizes,
            score,
            decidable,
            weights.threshold,
            grid,
            tiling.tile_size,
            OVERLAPS_AT_A_TIME,
        )

    counts = {
        "tiles": len(decidable),
        "tiles_undecidable": int((~decidable).sum()),
        "tiles_equal": found.n_equal,
        "candidates": len(found.rows1),
        "proposals": len(proposals),
        "proposals_skipped": len(voted) - len(proposals),
    }
    return TileSearch(proposals, judge, grid, counts)


def _score_cached(cache: Cache, rows: Rows, weights: Weights, pairs: Rows) -> npt.NDArray[np.float32]:
    """Scores (k,) of pairs (2, k) of tile rows, of which the cache has the descriptors."""
    used, place = np.unique(pairs, return_inverse=True)
    verify = cache.read("verify", rows[used])
    place = place.reshape(2, -1)
    return decided_scores(verify[place[0]], verify[place[1]], weights, workers=1)
