"""Overlaps by perceptual hashes, tile by tile: what `dupnet find` is compared with.

A hash takes the place of the descriptors, and nothing else changes: the same tiles count as decidable, every
pair of tiles within the threshold is a candidate, and all decidable tiles of an overlap have to agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.workers import map_in_order, n_workers
from dupnet.find.overlaps import as_table, image_index
from dupnet.find.tile_overlaps import judge_tiles, vote
from dupnet.hashes import block_mean_hash, opencv_phash
from dupnet.images.reading import read_grey
from dupnet.tiles import Grid, is_decidable, split_tiles

THRESHOLDS = {"pHash": (4, 12), "BlockMeanHash": (12, 26)}
"""Bits, of 64 and of 256, up to which two tiles agree: a strict and a lenient choice."""

IMAGES_AT_A_TIME = 16
"""Images compared with all later ones at a time: 6 million distances of tiles in a collection of 4,792."""

KEY = ["image1", "image2", "row_offset", "col_offset"]

Words = npt.NDArray[np.uint64]


class HashedTiles(NamedTuple):
    """All tiles of a collection: ``codes`` by name of the hash (n, bits / 64), ``decidable`` (n,)."""

    codes: dict[str, Words]
    decidable: npt.NDArray[np.bool_]


def hash_tiles(folder: Path, names: list[str], workers: int | None = None) -> HashedTiles:
    """Both hashes of every tile of the images ``names`` in ``folder``."""

    def of_image(name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        tiles = np.ascontiguousarray(split_tiles(read_grey(folder / name)), np.uint8)
        phash = np.stack([opencv_phash(np.repeat(tile[..., None], 3, axis=2)) for tile in tiles])
        return phash, block_mean_hash(tiles), is_decidable(tiles)

    columns = zip(*map_in_order(of_image, names, n_workers(workers)), strict=True)
    phash, block_mean, decidable = (np.concatenate(column) for column in columns)
    codes = {"pHash": phash.view(np.uint64), "BlockMeanHash": block_mean.view(np.uint64)}
    return HashedTiles(codes, decidable)


def accepted_overlaps(
    codes: Words, decidable: npt.NDArray[np.bool_], names: list[str], max_distance: int, grid: Grid = Grid()
) -> pd.DataFrame:
    """Overlaps all of whose decidable tiles lie within ``max_distance`` bits: the columns ``KEY``.

    Parameters
    ----------
    codes : (n_images * n_tiles, words) uint64
        Hashes of all tiles, images in the order of ``names``.
    decidable : (n_images * n_tiles,) bool
        Tiles that are compared; the others are passed over.
    names : list of str
        Images, sorted.
    max_distance : int
        Bits up to which two tiles agree.
    grid : Grid
        The tiles of one image.
    """

    def agree(rows1: npt.NDArray[np.int64], rows2: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        bits = np.bitwise_count(codes[rows1] ^ codes[rows2]).sum(axis=1, dtype=np.int64)
        return np.asarray(bits <= max_distance, np.float32)

    tables = [pd.DataFrame({column: pd.Series(dtype=object) for column in KEY})]
    sizes = np.tile([grid.height, grid.width], (len(names), 1))
    for rows1, rows2 in _candidates(codes, decidable, max_distance, IMAGES_AT_A_TIME * grid.n_tiles):
        proposals = vote(rows1, rows2, np.zeros(len(rows1)), grid)
        judged = judge_tiles(proposals, sizes, agree, decidable, 0.5, grid)
        found = as_table(judged[judged["verdict"] == "duplicate"], image_index(names), grid=grid)
        tables += [found[KEY]] if len(found) else []
    return pd.concat(tables, ignore_index=True)


def _candidates(
    codes: Words, decidable: npt.NDArray[np.bool_], max_distance: int, block: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows of the decidable tiles within ``max_distance``: those of a block of images with all later ones.

    A block holds whole images, so that the votes for an overlap come together.
    """
    usable = np.flatnonzero(decidable)
    for start in range(0, len(codes), block):
        first, last = np.searchsorted(usable, [start, start + block])
        distance = np.zeros((last - first, len(usable) - first), np.uint16)
        for word in codes[usable[first:]].T:
            distance += np.bitwise_count(word[: last - first, None] ^ word[None])
        one, other = np.nonzero(distance <= max_distance)
        later = one < other
        yield usable[first + one[later]], usable[first + other[later]]
