"""Scores of the tiles of many regions at once: how many differ, and how much of the ground agrees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dupnet.find.lattice import all_tiles
from dupnet.find.regions import Compared
from dupnet.network.comparison import decided_scores
from dupnet.network.descriptors import Weights, join_cells
from dupnet.tiles import MIN_EVIDENCE_CELLS

__all__ = ["agreeing_shares", "decidable_tiles", "score_tiles", "tile_scores"]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

ALTERED_TILE = 4
"""Side in cells of the tiles by which ground agrees in spite of an alteration: 128 px, of which another day
was accepted in 0 of 3,579."""

ALTERED_CELLS = 32
"""Cells with evidence that it takes: two tiles apart."""

TILES_AT_A_TIME = 2048
"""Tiles of several regions that are scored together so: few calls for many small regions, and of a large one
no more than it has."""


def score_tiles(
    compared: Compared, weights: Weights
) -> tuple[Numbers, Numbers, Numbers, npt.NDArray[np.float64]]:
    """Of each region how many tiles there are, can be judged, and differ; the lowest score, NaN if none."""
    n = len(compared.tiles)
    counts = np.zeros((3, n), np.int64)
    lowest = np.full(n, np.nan)
    by_size: dict[int, list[tuple[int, Numbers]]] = {}
    for number, of_region in enumerate(compared.tiles):
        for tiles in of_region:
            if len(tiles):
                by_size.setdefault(tiles.shape[1], []).append((number, tiles))
    for size in sorted(by_size):
        owner = np.repeat([number for number, _ in by_size[size]], [len(tiles) for _, tiles in by_size[size]])
        tiles = np.concatenate([tiles for _, tiles in by_size[size]]) + compared.starts[owner][:, None]
        decidable = decidable_tiles(compared, tiles)
        scores = np.full(len(owner), np.nan)
        scores[decidable] = tile_scores(compared, tiles[decidable], weights)
        np.add.at(counts[0], owner, 1)
        np.add.at(counts[1], owner, ~np.isnan(scores))
        np.add.at(counts[2], owner, scores < weights.threshold)
        np.fmin.at(lowest, owner, scores)
    return counts[0], counts[1], counts[2], lowest


def tile_scores(compared: Compared, tiles: Numbers, weights: Weights) -> npt.NDArray[np.float32]:
    """Scores (n_tiles,) of tiles (n_tiles, cells) of all regions, NaN where the images show too little of the
    same ground to judge by."""
    if not len(tiles):
        return np.zeros(0, np.float32)
    first, second = (join_cells(data[tiles]) for data in (compared.data1, compared.data2))
    return decided_scores(first, second, weights, workers=1)


def decidable_tiles(compared: Compared, tiles: Numbers) -> Mask:
    """Which tiles carry evidence in each of the two images; the others need no score."""
    first, second = (
        evidence[tiles].sum(axis=1) >= MIN_EVIDENCE_CELLS
        for evidence in (compared.evidence1, compared.evidence2)
    )
    return np.asarray(first & second)


def agreeing_shares(compared: Compared, numbers: list[int], weights: Weights) -> list[float]:
    """Of each of these regions the share of its cells with evidence that lie in a 128 px tile that agrees;
    zero if they are few."""
    seen = compared.evidence1 & compared.evidence2
    agrees = np.zeros(len(seen), bool)
    blocks, waiting, n_waiting = [], [], 0
    for number in numbers:
        rows, cols = compared.blocks[number]
        block = slice(compared.starts[number], compared.starts[number] + rows * cols)
        blocks.append(block)
        if min(rows, cols) >= ALTERED_TILE and np.count_nonzero(seen[block]) >= ALTERED_CELLS:
            waiting.append(all_tiles(rows, cols, ALTERED_TILE) + block.start)
            n_waiting += len(waiting[-1])
        if waiting and (n_waiting >= TILES_AT_A_TIME or number == numbers[-1]):
            tiles = np.concatenate(waiting)
            tiles = tiles[decidable_tiles(compared, tiles)]
            agrees[tiles[tile_scores(compared, tiles, weights) >= weights.threshold]] = True
            waiting, n_waiting = [], 0
    agrees &= seen
    return [float(agrees[block].sum() / max(1, int(seen[block].sum()))) for block in blocks]
