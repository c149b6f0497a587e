"""Hard examples by the network's own score: pairs that it doubts, and tiles that it takes for each other.

A network meets most of its errors in cases too rare for a random draw. Both searches here draw from training
parts alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.descriptors import Weights, describe, score_pairs
from dupnet.files import atomic_path, write_csv
from dupnet.hard_pairs import HardPair, Place, Source, draw_tile
from dupnet.tiles import TILE_SIZE

__all__ = ["DOUBT", "confused", "doubted", "write_confused"]

DOUBT = 0.08
"""A pair is doubted if its score is so far from its label: two drawn pairs in a hundred."""

N_DARK, N_LIGHT = 600, 1000
"""Tiles of each kind that are compared with each other, 0.8 million pairs: half a minute."""

AT_A_TIME = 9_600


def doubted(weights: Weights) -> Callable[[HardPair], bool]:
    """Whether the score of a pair is far from its label, for :func:`dupnet.hard_pairs.write_pairs`."""

    def is_doubted(pair: HardPair) -> bool:
        described = describe(np.stack(pair[:2]), weights)
        score = score_pairs(described.verify[:1], described.verify[1:], weights)[0]
        return bool(abs(score - pair.is_duplicate) > DOUBT)

    return is_doubted


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
    :func:`dupnet.hard_pairs.write_pairs`.

    All pairs of ``n_dark`` nearly black tiles with each other and with ``n_light`` others are scored, where a
    random draw meets too few: what a nearly black tile shows is a handful of pixels.
    """
    rng = np.random.default_rng((seed, n_dark, n_light))
    drawn = [draw_tile(sources, shares, rng, dark=number < n_dark) for number in range(n_dark + n_light)]
    grey, places = np.stack([tile for tile, _ in drawn]), [place for _, place in drawn]
    first, second = np.triu_indices(len(grey), 1)
    dark = first < n_dark
    found = confused(grey, places, first[dark], second[dark], n, weights)
    with atomic_path(path) as beside:
        pixels = np.lib.format.open_memmap(beside, "w+", np.uint8, (len(found), 2, TILE_SIZE, TILE_SIZE))
        pixels[:] = grey[found[["tile1", "tile2"]].to_numpy()]
        pixels.flush()
    table = pd.DataFrame(
        {
            "is_duplicate": 0,
            "kind": "confused",
            "source": "",
            "group": [places[tile].group for tile in found["tile1"]],
            "quality": 90,
        }
    )
    write_csv(table, os.fspath(path).removesuffix(".npy") + ".csv")
    return table


def confused(
    grey: npt.NDArray[np.uint8],
    places: Sequence[Place],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    n: int,
    weights: Weights,
) -> pd.DataFrame:
    """The ``n`` pairs of tiles from different places with the highest scores, highest first: ``tile1, tile2,
    score``.

    ``grey`` holds tiles (k, 256, 256) uint8; ``first`` and ``second`` number those to compare.
    """
    verify = describe(grey, weights).verify
    scores = np.concatenate(
        [
            score_pairs(verify[first[at : at + AT_A_TIME]], verify[second[at : at + AT_A_TIME]], weights)
            for at in range(0, len(first), AT_A_TIME)
        ]
    )
    table = pd.DataFrame({"tile1": first, "tile2": second, "score": scores})
    table = table.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    apart = [
        _apart(places[one], places[two]) for one, two in zip(table["tile1"], table["tile2"], strict=True)
    ]
    return table[apart].head(n).reset_index(drop=True)


def _apart(one: Place, two: Place) -> bool:
    """Whether two tiles cannot show the same ground; those of two images of one group may."""
    if one.source != two.source:
        return one.group != two.group
    return max(abs(one.row - two.row), abs(one.col - two.col)) >= TILE_SIZE
