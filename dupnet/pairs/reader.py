"""The pixels behind a pair table: tiles read, varied and labelled, each pair from its own seed.

What a row shows depends on the seed, the epoch and the row alone, never on who reads it or in which order. So
workers change nothing, and a stopped training goes on as if it had not been stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.augment.variation import AugmentConfig, another_day, augment_pair
from dupnet.files.workers import n_workers
from dupnet.images.listing import check_present
from dupnet.images.reading import load
from dupnet.metrics.pair_metrics import local_correlation
from dupnet.pairs.table import tile_size_of
from dupnet.tiles import MIN_EVIDENCE_CELLS, Grid, split_tiles

__all__ = ["PairBatch", "PairReader", "is_another"]

CACHED_IMAGES = 400
"""Decoded images kept: 700 MB of 768 x 768 RGB."""

CHANGED_CORRELATION, LEAST_CHANGED_SHARE = 0.5, 0.1
"""A pair is called another day only if a tenth of the cells that carry texture correlate by less than a half:
what was replaced by something much like it, or by its own copy in another light, shows the same moment."""

Image = npt.NDArray[np.uint8]


class PairBatch(NamedTuple):
    """``tiles1``, ``tiles2``: (n, size, size, 3) uint8 RGB; ``is_duplicate``: (n,) float32, 1 or 0."""

    tiles1: Image
    tiles2: Image
    is_duplicate: npt.NDArray[np.float32]


class PairReader:
    """Reads the rows of a pair table (columns as :data:`dupnet.pairs.table.PAIR_COLUMNS`).

    Parameters
    ----------
    pairs
        The table; only image1, tile1, image2, tile2 and is_duplicate are used. In place of tiles it may say
        at which pixel they begin: y1, x1, y2, x2.
    folder
        Where the images are.
    augment
        How both tiles are varied (:func:`dupnet.augment.variation.augment_pair`); None to leave them as they
        are.
    another_day_share
        Share of the duplicates that are read as one place on another day, and so labelled 0.
    tile_size
        Side of a tile in pixels; by default that of the table, which must not be another.
    seed
        Of everything that is drawn.
    workers
        Threads that make a batch; one for each core by default.
    cached_images
        Decoded images kept in memory.

    Raises
    ------
    ValueError
        If the table has no rows, lacks a column, or counts in tiles of another size.
    FileNotFoundError
        If the folder lacks an image of the table.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        folder: str | os.PathLike[str],
        *,
        augment: AugmentConfig | None = None,
        another_day_share: float = 0.0,
        tile_size: int | None = None,
        seed: int = 0,
        workers: int | None = None,
        cached_images: int = CACHED_IMAGES,
    ) -> None:
        if {"y1", "x1", "y2", "x2"} <= set(pairs.columns):
            corners = {
                f"tile{end}": list(zip(pairs[f"y{end}"], pairs[f"x{end}"], strict=True)) for end in "12"
            }
            pairs = pairs.assign(**corners)
        columns = ("image1", "tile1", "image2", "tile2", "is_duplicate")
        missing = [column for column in columns if column not in pairs.columns]
        if missing or not len(pairs):
            fault = f"lacks the column(s) {', '.join(missing)}" if missing else "has no rows"
            raise ValueError(f"pairs {fault}; make it with dupnet.pairs.table.make_pairs.")
        check_present(pd.unique(pairs[["image1", "image2"]].to_numpy().ravel()), folder)
        self._rows = list(pairs[list(columns)].itertuples(index=False, name=None))
        self._folder = Path(folder)
        self._augment = augment
        self._another_day_share = another_day_share
        self.tile_size = tile_size_of(pairs, tile_size)
        self._seed = seed
        self._pool = ThreadPoolExecutor(n_workers(workers))
        self._tiles = lru_cache(maxsize=cached_images)(self._read_tiles)
        self._pixels = lru_cache(maxsize=cached_images)(self._read_pixels)

    def __len__(self) -> int:
        return len(self._rows)

    def pair(self, row: int, epoch: int = 0) -> tuple[Image, Image, int]:
        """Both tiles of a row, (size, size, 3) uint8 RGB, and its label, as they are in one epoch.

        Raises
        ------
        UnreadableImage
            If an image cannot be read.
        ValueError
            If the table names a tile that its image does not have.
        """
        image1, tile1, image2, tile2, label = self._rows[row]
        rng = np.random.default_rng([self._seed, epoch, row])
        first, second = self._tile(image1, tile1), self._tile(image2, tile2)
        if label and rng.random() < self._another_day_share:
            other = self._tile_of_row(int(rng.integers(len(self._rows))))
            changed = another_day(second, other, rng)
            if is_another(second, changed):
                second, label = changed, 0
        if self._augment is not None:
            first, second = augment_pair(first, second, rng, self._augment)
        return first, second, int(label)

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64], epoch: int = 0) -> PairBatch:
        """The pairs of several rows, made by the workers."""
        found = list(self._pool.map(lambda row: self.pair(int(row), epoch), rows))
        firsts, seconds, labels = zip(*found, strict=True)
        return PairBatch(np.stack(firsts), np.stack(seconds), np.array(labels, np.float32))

    def batches(self, size: int, epoch: int = 0) -> Iterator[PairBatch]:
        """All rows in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))), epoch)

    def _tile(self, image: str, tile: int | tuple[int, int]) -> Image:
        if isinstance(tile, tuple):
            (top, left), pixels = tile, self._pixels(image)
            part = pixels[top : top + self.tile_size, left : left + self.tile_size]
            if min(tile) < 0 or part.shape[:2] != (self.tile_size, self.tile_size):
                raise ValueError(
                    f"{image}: the table names a tile of {self.tile_size} px at ({top}, {left}), but the "
                    f"image has {pixels.shape[0]} x {pixels.shape[1]} pixels; name the folder that the table "
                    "is of."
                )
            return np.ascontiguousarray(part)
        tiles = self._tiles(image)
        if not 0 <= tile < len(tiles):
            raise ValueError(
                f"{image}: the table names tile {tile}, but of {self.tile_size} px tiles the image has "
                f"{len(tiles)}; pass the tile_size (--tile-size) of the table."
            )
        return np.asarray(tiles[tile], np.uint8)

    def _tile_of_row(self, row: int) -> Image:
        return self._tile(self._rows[row][0], self._rows[row][1])

    def _read_pixels(self, image: str) -> Image:
        return load(self._folder / image, grey=False)[0]

    def _read_tiles(self, image: str) -> Image:
        pixels, _ = load(self._folder / image, grey=False, tile_size=self.tile_size)
        grid = Grid.of_image(pixels.shape[0], pixels.shape[1], self.tile_size)
        return np.asarray(split_tiles(pixels, grid), np.uint8)


def is_another(tile: Image, changed: Image) -> bool:
    """Whether enough of a tile's texture is gone for the two to show different moments."""
    cells = local_correlation(tile, changed)
    seen = cells[~np.isnan(cells)]
    return len(seen) >= MIN_EVIDENCE_CELLS and bool(
        (seen < CHANGED_CORRELATION).mean() >= LEAST_CHANGED_SHARE
    )
