"""Hard examples by the network's own score: tiles of different ground that it takes for each other.

A network meets its rarest errors in none of the pairs that are drawn at random. Among a few thousand tiles
there are millions of pairs, and all of them can be scored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import atomic_path, write_csv
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import Weights, describe
from dupnet.tiles import TILE_SIZE
from dupnet.training.crops import Place, Source
from dupnet.training.hard_pairs import draw_tile

__all__ = ["confused", "write_confused"]

N_DARK, N_LIGHT = 2000, 2400
"""Tiles of each kind that are compared: 6.8 million pairs with a nearly black tile, 2.9 million others."""

AT_A_TIME = 65_536


def write_confused(
    sources: Sequence[Source],
    shares: dict[str, float],
    n: int,
    path: str | os.PathLike[str],
    weights: Weights,
    *,
    seed: int = 0,
    n_dark: int = N_DARK,
    n_light: int = N_LIGHT,
) -> pd.DataFrame:
    """Write the ``n`` non-duplicates of the highest scores, in the files of
    :func:`dupnet.training.hard_pairs.write_pairs`.

    All pairs of ``n_dark`` nearly black tiles and ``n_light`` others are scored. What a nearly black tile
    shows is a handful of pixels, and two of them agree more often than a random draw would tell.
    """
    rng = np.random.default_rng((seed, n_dark, n_light))
    drawn = [draw_tile(sources, shares, rng, dark=number < n_dark) for number in range(n_dark + n_light)]
    verify = describe(np.stack([tile for tile, _ in drawn]), weights).verify
    places = [place for _, place in drawn]
    found = confused(verify, places, n, weights)
    table = pd.DataFrame(
        {
            "is_duplicate": 0,
            "kind": "confused",
            "source": "",
            "group": [places[tile].group for tile in found["tile1"]],
            "quality": 90,
        }
    )
    with atomic_path(path) as beside:
        np.save(beside, verify[found[["tile1", "tile2"]].to_numpy()])
        write_csv(table, os.fspath(path).removesuffix(".npy") + ".csv")  # before the array is there for all
    return table


def confused(
    verify: npt.NDArray[np.uint8], places: Sequence[Place], n: int, weights: Weights
) -> pd.DataFrame:
    """The ``n`` pairs of tiles from different places with the highest scores, highest first: ``tile1, tile2,
    score``.

    ``verify`` holds the verify descriptors (k, bytes) of the tiles, each of them compared with all that
    follow.
    """
    columns = pd.DataFrame(places, columns=list(Place._fields))
    source, row, col = (columns[name].to_numpy() for name in ("source", "row", "col"))
    group = columns["group"].factorize()[0]
    parts = []
    first, second = np.triu_indices(len(verify), 1)
    for start in range(0, len(first), AT_A_TIME):
        one, two = first[start : start + AT_A_TIME], second[start : start + AT_A_TIME]
        # Of one source, tiles that do not meet; of two, those of two groups: images of one group may show one
        # place.
        clear = np.maximum(abs(row[one] - row[two]), abs(col[one] - col[two])) >= TILE_SIZE
        apart = np.where(source[one] == source[two], clear, group[one] != group[two])
        one, two = one[apart], two[apart]
        scores = score_pairs(verify[one], verify[two], weights)
        highest = np.argsort(-scores, kind="stable")[:n]
        parts.append(pd.DataFrame({"tile1": one[highest], "tile2": two[highest], "score": scores[highest]}))
    table = pd.concat(parts, ignore_index=True).sort_values("score", ascending=False, kind="stable")
    return table.head(n).reset_index(drop=True)
