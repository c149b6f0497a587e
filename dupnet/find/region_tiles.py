"""The tiles by which a region was judged, one by one: where each lies, and its score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dupnet.find.lattice import describe_on_lattice
from dupnet.find.overlaps import SCORE_DECIMALS
from dupnet.find.region_scores import decidable_tiles, tile_scores
from dupnet.find.regions import Image, Region, cell_corners, compare_regions
from dupnet.network.comparison import decided_scores
from dupnet.network.descriptors import Weights, describe, load_weights
from dupnet.tiles import CELL_SIZE, SMALLEST_TILE

__all__ = ["ScoredTile", "tiles_of_grid", "tiles_of_region"]


class ScoredTile(NamedTuple):
    """A part of a region, in pixels from its upper left one; a tile along the rim encloses others."""

    top: int
    left: int
    height: int
    width: int
    score: float | None
    """None where it shows nothing to judge by."""


def tiles_of_region(
    image1: Image, image2: Image, region: Region, phase: tuple[int, int], weights: Weights | None = None
) -> list[ScoredTile]:
    """The tiles that :func:`dupnet.find.verification.judge` takes of a region, the lowest score that of the
    table.

    Parameters
    ----------
    image1, image2 : Image
        Grey pixels, and which of them are valid.
    region : Region
        What they share.
    phase : (int, int)
        Where the lattice of their group begins in image 1.
    weights : Weights, optional
        The shipped ones by default.
    """
    weights = weights or load_weights()
    y, x = region.top1 - region.top2, region.left1 - region.left2
    other = ((phase[0] - y) % CELL_SIZE, (phase[1] - x) % CELL_SIZE)
    pixels = (lambda: image1, lambda: image2)
    cells = (
        lambda: describe_on_lattice(*image1, phase, weights),
        lambda: describe_on_lattice(*image2, other, weights),
    )
    compared = compare_regions([region], [pixels], [cells], [phase], weights)
    corners = cell_corners(region, phase)
    found = []
    for tiles in compared.tiles[0]:
        if not len(tiles):
            continue
        scores = np.full(len(tiles), np.nan)
        decidable = decidable_tiles(compared, tiles)
        scores[decidable] = tile_scores(compared, tiles[decidable], weights)
        for cells_of, score in zip(tiles, scores.round(SCORE_DECIMALS).tolist(), strict=True):
            top, left = corners[cells_of].min(axis=0).tolist()
            bottom, right = (corners[cells_of].max(axis=0) + CELL_SIZE).tolist()
            found.append(
                ScoredTile(top, left, bottom - top, right - left, None if np.isnan(score) else score)
            )
    return found


def tiles_of_grid(
    image1: Image,
    image2: Image,
    region: Region,
    tile_size: int,
    stride: int,
    weights: Weights | None = None,
) -> list[ScoredTile]:
    """The tiles that a search on a grid takes of a region; those too small for the network have no score."""
    tops, lefts = (range(0, side - tile_size + 1, stride) for side in (region.height, region.width))
    corners = [(top, left) for top in tops for left in lefts]
    if not corners or tile_size < SMALLEST_TILE or tile_size % CELL_SIZE:
        return [ScoredTile(*corner, tile_size, tile_size, None) for corner in corners]
    weights = weights or load_weights()
    described = [
        describe(
            np.stack([part[top : top + tile_size, left : left + tile_size] for top, left in corners]), weights
        )
        for part in (region.of_first(image1[0]), region.of_second(image2[0]))
    ]
    scores = decided_scores(described[0].verify, described[1].verify, weights, workers=1)
    decidable = described[0].decidable & described[1].decidable & ~np.isnan(scores)
    return [
        ScoredTile(*corner, tile_size, tile_size, round(float(score), SCORE_DECIMALS) if shown else None)
        for corner, score, shown in zip(corners, scores, decidable, strict=True)
    ]
