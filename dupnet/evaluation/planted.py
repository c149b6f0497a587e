"""Overlaps that are wrong by construction, to see what a search makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dupnet.tiles import Grid, overlap_at

__all__ = ["planted_overlaps"]

SCORE = 0.999
"""Of a planted overlap: as sure of itself as a true one."""


def planted_overlaps(
    groups: pd.DataFrame, grid: Grid, n_wrong: int, rng: np.random.Generator, least: int = 5
) -> pd.DataFrame:
    """Wrong overlaps between images of one mosaic, at an offset that their places contradict.

    Parameters
    ----------
    groups : DataFrame
        ``mosaic, row, col``, one row an image: the groups table of a search on a grid.
    grid : Grid
        The tiles of one image.
    n_wrong : int
        How many; none stands twice, so there can be fewer.
    rng : Generator
        Draws them.
    least : int
        Images that a mosaic must have.

    Returns
    -------
    ``image1, image2`` (rows of ``groups``), ``y_offset, x_offset``, ``n_decidable, n_differing, score,
    verdict``: as :func:`dupnet.find.place` takes them.

    Raises
    ------
    ValueError
        If no mosaic has so many images.
    """
    large = groups[groups["mosaic"].map(groups["mosaic"].value_counts()) >= least]
    if large.empty:
        raise ValueError(f"no mosaic has {least} images.")
    rows: list[tuple[int, int, int, int, int]] = []
    while len(rows) < n_wrong:
        members = large[large["mosaic"] == rng.choice(large["mosaic"].unique())]
        one, two = members.sample(2, random_state=rng).sort_index().itertuples()
        offset = (
            int(rng.integers(1 - grid.rows, grid.rows)),
            int(rng.integers(1 - grid.cols, grid.cols)),
        )
        if offset != (two.row - one.row, two.col - one.col):
            pixels = (offset[0] * grid.tile_size, offset[1] * grid.tile_size)
            rows.append((one.Index, two.Index, *pixels, overlap_at(*offset, grid).n_tiles))
    key = ["image1", "image2", "y_offset", "x_offset"]
    found = pd.DataFrame(rows, columns=[*key, "n_decidable"]).drop_duplicates(key)
    return found.assign(n_differing=0, score=SCORE, verdict="duplicate")
