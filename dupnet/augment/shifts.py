"""How far hue, lightness and saturation may shift before a tile no longer looks the same.

The measure is structural similarity by channel (SSIM), which sees structure, contrast, light and colour. The
reference is a change that counts as none: saving the tile once more as a JPEG of quality 75. A
shift is within the limits while it costs nearly every tile no more than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.augment.variation import hls_shift, jpeg
from dupnet.metrics.pair_metrics import absolute_difference, structural_similarity_channels
from dupnet.metrics.tile_metrics import high_pass

__all__ = [
    "STEPS",
    "find_limits",
    "measure_shifts",
    "nearest_similarity",
    "resaved_similarity",
    "share_by_shift",
]

Tiles = npt.NDArray[np.uint8]

STEPS: dict[str, tuple[int, ...]] = {
    "hue": (5, 10, 15, 20, 25, 30, 45, 60, 90),
    "lightness": (5, 10, 15, 20, 25, 30, 40, 50, 75),
    "saturation": (5, 10, 15, 20, 25, 30, 40, 50, 75),
}
"""Sizes of shift that are tried in either direction, in GIMP's units: degrees, percent, percent."""

REFERENCE_QUALITY = 75
"""JPEG quality of the reference: libjpeg's default, and the lowest that training draws."""

MAX_CORRELATION = 0.3
"""Two tiles that correlate less show different places or moments: over twice what was ever found between such
tiles, and less than half of what copies keep."""


def resaved_similarity(tile: Tiles, quality: int = REFERENCE_QUALITY) -> float:
    """Structural similarity of a tile (height, width, 3) with itself saved again as JPEG: 0 to 1.

    4 px at each border are left out, so that the blocks fall elsewhere than in the file the tile came from:
    saving the same blocks at the same quality again would change nothing.
    """
    inner = np.ascontiguousarray(tile[4:-4, 4:-4])
    return structural_similarity_channels(inner, jpeg(inner, quality))


def nearest_similarity(tiles: Tiles) -> npt.NDArray[np.float64]:
    """For each of (n, size, size, 3) tiles the highest structural similarity with a different one: (n,).

    Different means a correlation under 0.3, so that a second copy of the tile does not count; NaN where every
    other tile is a copy.
    """
    n = len(tiles)
    details = np.stack([high_pass(tile).reshape(-1) for tile in tiles])
    details -= details.mean(axis=1, keepdims=True)
    details /= np.maximum(np.linalg.norm(details, axis=1, keepdims=True), 1e-6)
    different = details @ details.T < MAX_CORRELATION
    similarity = np.full((n, n), np.nan)
    for one, two in zip(*np.triu_indices(n, 1), strict=True):
        if different[one, two]:
            similarity[one, two] = structural_similarity_channels(tiles[one], tiles[two])
            similarity[two, one] = similarity[one, two]
    found = np.where(np.isnan(similarity), -np.inf, similarity).max(axis=1)
    return np.where(np.isneginf(found), np.nan, found)


def measure_shifts(tiles: Tiles, steps: Mapping[str, Sequence[int]] = STEPS) -> pd.DataFrame:
    """Each tile beside its own shifted copies, one channel at a time.

    Parameters
    ----------
    tiles : (n, size, size, 3) uint8
        RGB.
    steps
        Sizes of shift by channel; each is applied in both directions.

    Returns
    -------
    DataFrame
        ``tile`` (its number), ``channel``, ``shift``, ``similarity`` of tile and shifted copy (-1 to 1),
        ``sum_of_deltas`` (absolute, levels), ``resaved`` and ``nearest``: the similarities that
        :func:`resaved_similarity` and :func:`nearest_similarity` give for the tile.
    """
    rows = []
    for number, (tile, nearest) in enumerate(zip(tiles, nearest_similarity(tiles), strict=True)):
        resaved = resaved_similarity(tile)
        for channel, sizes in steps.items():
            for shift in (*(-size for size in sizes), *sizes):
                copy = hls_shift(tile, **{channel: shift})
                similarity = structural_similarity_channels(tile, copy)
                delta = absolute_difference(tile, copy)
                rows.append((number, channel, shift, similarity, delta, resaved, nearest))
    names = ["tile", "channel", "shift", "similarity", "sum_of_deltas", "resaved", "nearest"]
    return pd.DataFrame(rows, columns=names)


def share_by_shift(table: pd.DataFrame) -> pd.DataFrame:
    """From what :func:`measure_shifts` returns, one row for each channel and shift, in order.

    ``looks_the_same`` is the share of tiles that the shift costs no more than saving them again,
    ``still_itself`` the share that stay more alike to themselves than to the nearest different tile (both 0
    to 1); ``similarity`` and ``sum_of_deltas`` are medians over the tiles.
    """
    marked = table.assign(
        looks_the_same=table["similarity"] >= table["resaved"],
        # A tile without a different neighbour (NaN) has none to be taken for.
        still_itself=~(table["similarity"] <= table["nearest"]),
    )
    grouped = marked.groupby(["channel", "shift"])
    shares = grouped[["looks_the_same", "still_itself"]].mean()
    return shares.join(grouped[["similarity", "sum_of_deltas"]].median()).reset_index()


def find_limits(shares: pd.DataFrame, column: str = "looks_the_same", share: float = 0.95) -> pd.DataFrame:
    """The largest shift of each channel, downwards and upwards, up to which ``column`` stays at ``share``.

    Parameters
    ----------
    shares
        What :func:`share_by_shift` returns.
    column
        Which share counts.
    share
        Its lowest value, 0 to 1. Every smaller shift must reach it too.

    Returns
    -------
    DataFrame
        ``channel``, ``low`` (0 or negative), ``high`` (0 or positive), in GIMP's units.
    """
    rows = []
    for channel, found in shares.groupby("channel"):
        ends = []
        for sign in (-1, 1):
            side = found[found["shift"] * sign > 0].sort_values("shift", key=np.abs)
            held = side[column].ge(share).cummin()
            ends.append(int(side.loc[held, "shift"].abs().max()) * sign if held.any() else 0)
        rows.append((channel, *ends))
    return pd.DataFrame(rows, columns=["channel", "low", "high"])
