"""Pairs of tiles worth labelling: all within an image, and those that look alike across images.

A tile and its copy are duplicates, and two tiles of one image are not, because they show different ground at
one moment. Two tiles of images that share no ground are not duplicates either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.workers import map_in_order, n_workers
from dupnet.hashes import block_mean_hash, hamming_distance, md5
from dupnet.images.reading import load
from dupnet.tiles import TILE_SIZE, Grid, is_decidable, is_solid, split_tiles

__all__ = [
    "BUFFER",
    "MAX_NON_DUPLICATES",
    "SPLITS",
    "TileSignatures",
    "pairs_across_images",
    "pairs_within_images",
    "tile_signatures",
]

SPLITS = ("train", "validation", "test")

BUFFER = "buffer"
"""Split of images that straddle blocks: they are in no pair."""

MAX_NON_DUPLICATES = 27
"""Non-duplicates kept of one image: with 9 duplicates, the original's 36 rows."""

SOLID_TOLERANCE = 4
"""Grey levels by which a solid tile may vary: what JPEG leaves of a constant block at quality 75 and more."""

POOL_SIZE = 20_000
"""Tiles of a split among which alike ones are sought: bounds the search at 20,000 x 20,000 hashes."""

NEAREST = 10
"""An alike tile is drawn among so many nearest, so that one hub tile cannot dominate the table."""

Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TileSignatures:
    """What pairing needs to know of each tile: row ``image * n_tiles + tile`` of every array."""

    images: tuple[str, ...]
    n_tiles: int
    solid: npt.NDArray[np.bool_]  # (n,)
    decidable: npt.NDArray[np.bool_]  # (n,)
    digest: npt.NDArray[np.str_]  # (n,) MD5 of the pixels
    hash: Bytes  # (n, 32) BlockMeanHash of the grey tile
    colour: Bytes  # (n, 12) mean RGB of the four quarters


def tile_signatures(
    folder: str | os.PathLike[str],
    images: Sequence[str],
    *,
    tile_size: int = TILE_SIZE,
    workers: int | None = None,
) -> TileSignatures:
    """Read images of one size and describe their tiles.

    Raises
    ------
    UnreadableImage
        If an image does not decode or is not a whole number of tiles.
    ValueError
        If ``images`` is empty or an image is of another size than the first.
    """
    if not images:
        raise ValueError("images is empty; name at least one image.")

    def describe(name: str) -> tuple[Grid, list[npt.NDArray[np.generic]]]:
        pixels, _ = load(Path(folder, name), grey=False, tile_size=tile_size)
        grid = Grid.of_image(pixels.shape[0], pixels.shape[1], tile_size)
        tiles = np.asarray(split_tiles(pixels, grid), np.uint8)
        grey = np.stack([np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), np.uint8) for tile in tiles])
        solid = np.array([is_solid(tile, SOLID_TOLERANCE) for tile in tiles])
        digest = np.array([md5(tile) for tile in tiles])
        quarters = tiles.reshape(len(tiles), 2, tile_size // 2, 2, tile_size // 2, 3).mean(axis=(2, 4))
        colour = np.rint(quarters).astype(np.uint8).reshape(len(tiles), 12)
        return grid, [solid, is_decidable(grey), digest, block_mean_hash(grey), colour]

    found = list(map_in_order(describe, images, n_workers(workers)))
    grid = found[0][0]
    for name, (other, _) in zip(images, found, strict=True):
        if other != grid:
            raise ValueError(
                f"{name}: {other.rows} x {other.cols} tiles, {images[0]} has {grid.rows} x {grid.cols}; "
                "make one pair table for each size."
            )
    columns = [np.concatenate(parts) for parts in zip(*(signature for _, signature in found), strict=True)]
    return TileSignatures(tuple(images), grid.n_tiles, *columns)


def pairs_within_images(
    signatures: TileSignatures, max_non_duplicates: int = MAX_NON_DUPLICATES
) -> pd.DataFrame:
    """The original's pairs: each tile with itself, and different tiles of one image.

    Nine tiles give 9 pairs (i, i) and 36 unordered pairs (i, j), 45 in all; the original's "at most 36,
    9 + 27" comes of keeping only the 27 pairs (i, j) most alike in BlockMeanHash.
    ``max_non_duplicates=36`` keeps them all. Solid tiles make no pair, and neither do two different tiles
    with equal pixels.

    Returns
    -------
    pandas.DataFrame
        :data:`PAIR_COLUMNS` up to ``is_decidable``.
    """
    first, second = np.array(list(_unordered(signatures.n_tiles))).T
    parts = []
    for image in range(len(signatures.images)):
        row1, row2 = image * signatures.n_tiles + first, image * signatures.n_tiles + second
        same = first == second
        equal = ~same & (signatures.digest[row1] == signatures.digest[row2])
        usable = ~signatures.solid[row1] & ~signatures.solid[row2] & ~equal
        distance = hamming_distance(signatures.hash[row1], signatures.hash[row2])
        candidates = np.flatnonzero(usable & ~same)
        kept = candidates[np.argsort(distance[candidates], kind="stable")[:max_non_duplicates]]
        chosen = np.concatenate([np.flatnonzero(usable & same), np.sort(kept)])
        parts.append(np.stack([row1[chosen], row2[chosen]], axis=1))
    rows = np.concatenate(parts)
    return _table(signatures, rows, np.full(len(rows), "within_image"))


def _unordered(n_tiles: int) -> Iterator[tuple[int, int]]:
    yield from ((tile, tile) for tile in range(n_tiles))
    yield from combinations(range(n_tiles), 2)


def pairs_across_images(
    signatures: TileSignatures, groups: pd.Series, splits: pd.Series, n_per_image: float = 9.0, seed: int = 0
) -> pd.DataFrame:
    """Non-duplicates that look alike: tiles of images of different groups, in one split.

    Half of them are alike in BlockMeanHash, half in colour. That they are no duplicates rests on ``groups``:
    images that share ground must be in one group. Tiles without texture are left out.

    Returns
    -------
    pandas.DataFrame
        :data:`PAIR_COLUMNS` up to ``is_decidable``; at most ``n_per_image`` times as many rows as images.
    """
    rng = np.random.default_rng(seed)
    names = np.repeat(np.array(signatures.images, dtype=object), signatures.n_tiles)
    group = groups.reindex(signatures.images).to_numpy().repeat(signatures.n_tiles)
    split = splits.reindex(signatures.images).to_numpy().repeat(signatures.n_tiles)
    parts, origins = [np.empty((0, 2), np.int64)], [np.empty(0, object)]
    others = sorted(set(splits) - {*SPLITS, BUFFER})
    for one in (*SPLITS, *others):
        pool = np.flatnonzero((split == one) & signatures.decidable & ~signatures.solid)
        pool = np.sort(rng.permutation(pool)[:POOL_SIZE])
        wanted = round(n_per_image * len(set(names[split == one])) / 2)
        for origin in ("alike_hash", "alike_colour") if len(pool) else ():
            queries = rng.choice(pool, size=wanted, replace=wanted > len(pool))
            for query in queries:
                distance = _distance(signatures, origin, query, pool)
                distance[group[pool] == group[query]] = np.inf
                nearest = np.argpartition(distance, min(NEAREST, len(pool) - 1))[:NEAREST]
                nearest = nearest[np.isfinite(distance[nearest])]
                if len(nearest):
                    parts.append(np.array([[query, pool[rng.choice(nearest)]]]))
                    origins.append(np.array([origin], dtype=object))
    rows, origin_of_row = np.sort(np.concatenate(parts), axis=1), np.concatenate(origins)
    _, once = np.unique(rows, axis=0, return_index=True)
    once = once[signatures.digest[rows[once, 0]] != signatures.digest[rows[once, 1]]]
    return _table(signatures, rows[once], origin_of_row[once])


def _distance(signatures: TileSignatures, origin: str, query: int, pool: Integers) -> npt.NDArray[np.float64]:
    if origin == "alike_hash":
        apart = hamming_distance(signatures.hash[query], signatures.hash[pool])
    else:
        apart = np.abs(signatures.colour[pool].astype(np.int64) - signatures.colour[query]).sum(axis=1)
    return np.asarray(apart, np.float64)


def _table(signatures: TileSignatures, rows: Integers, origins: npt.NDArray[np.generic]) -> pd.DataFrame:
    row1, row2 = rows[:, 0], rows[:, 1]
    names = np.array(signatures.images, dtype=object)
    return pd.DataFrame(
        {
            "image1": names[row1 // signatures.n_tiles],
            "tile1": row1 % signatures.n_tiles,
            "image2": names[row2 // signatures.n_tiles],
            "tile2": row2 % signatures.n_tiles,
            "is_duplicate": (row1 == row2).astype(np.int64),
            "origin": origins.astype(str),
            "block_mean_distance": hamming_distance(signatures.hash[row1], signatures.hash[row2]),
            "is_decidable": (signatures.decidable[row1] & signatures.decidable[row2]).astype(np.int64),
        }
    )
