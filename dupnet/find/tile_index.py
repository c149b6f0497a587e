"""Tiles of a collection in the cache: of each a search and a verify descriptor, and whether it is
decidable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.cache import Arrays, Cache, Entry
from dupnet.find.describe import read_entry, versions
from dupnet.find.search import hash_rows
from dupnet.images.image import UnreadableImage
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import DESCRIPTOR_VERSION, Weights, describe, verify_bytes
from dupnet.network.filters import SEARCH_BYTES
from dupnet.tiles import CELL_SIZE, SMALLEST_TILE, Grid

__all__ = ["Tiling", "columns", "describe_tiles", "made_by", "open_tiles"]

Grey = npt.NDArray[np.uint8]

MAX_TILES = 2048
"""Tiles of one image at most. The tiles that two images share are listed for every offset, which takes 64
bytes times the square of their number: 270 MB."""

TILES_AT_A_TIME = 72
"""Tiles that are described together, of whole images: enough to be fast, few enough for large images."""


class Tiling(NamedTuple):
    """Tiles of ``tile_size`` pixels, at every multiple of ``stride`` pixels."""

    tile_size: int
    stride: int

    @classmethod
    def checked(cls, tile_size: int, stride: int | None, name: str = "tile_size") -> Tiling:
        """A tiling, with the tile size, which an error calls by ``name``, as the default of the stride.

        Raises
        ------
        ValueError
            If the tile size is not whole cells, or one alone, or the stride does not divide it.
        """
        if tile_size < SMALLEST_TILE or tile_size % CELL_SIZE:
            raise ValueError(
                f"{name} is {tile_size}; it must be a multiple of {CELL_SIZE} pixels, at least "
                f"{SMALLEST_TILE}."
            )
        stride = tile_size if stride is None else stride
        if stride < 1 or tile_size % stride:
            raise ValueError(f"stride is {stride}; it must divide the tile_size, {tile_size}.")
        return cls(tile_size, stride)

    def grid(self, height: int, width: int) -> Grid:
        """The places of tiles in an image of that size; from one to the next it is the stride."""
        rows, cols = ((side - self.tile_size) // self.stride + 1 for side in (height, width))
        return Grid(rows, cols, self.stride)

    def split(self, grey: Grey) -> Grey:
        """The tiles of an image, row by row: (n, tile_size, tile_size)."""
        windows = np.lib.stride_tricks.sliding_window_view(grey, (self.tile_size, self.tile_size))
        return windows[:: self.stride, :: self.stride].reshape(-1, self.tile_size, self.tile_size)


def open_tiles(
    folder: Path,
    tiling: Tiling,
    weights: Weights,
    *,
    check_all: bool = False,
    rendering: Rendering = Rendering(),
) -> Cache:
    """The cache of tiles in ``folder``; emptied if made by other code, weights, tiling or rendering."""
    return Cache(folder, made_by(tiling, weights, rendering), columns(tiling, weights), check_all=check_all)


def made_by(tiling: Tiling, weights: Weights, rendering: Rendering = Rendering()) -> dict[str, Any]:
    """All that descriptors depend on, beside the images."""
    settings = {"descriptors": DESCRIPTOR_VERSION, **tiling._asdict(), "rendering": rendering.record()}
    return {**versions(weights), **settings}


def columns(tiling: Tiling, weights: Weights) -> dict[str, int]:
    """What is kept of a tile, and in how many bytes."""
    verify = verify_bytes(tiling.tile_size, weights.n_filters)
    return {"search": SEARCH_BYTES, "verify": verify, "decidable": 1, "hashes": 8}


def describe_tiles(
    files: Mapping[str, Path],
    tiling: Tiling,
    weights: Weights,
    check_content: bool = False,
    rendering: Rendering = Rendering(),
) -> dict[str, tuple[Entry, Arrays] | str]:
    """Of each image what goes into the cache, a row a tile, or the reason why nothing does."""
    found: dict[str, tuple[Entry, Arrays] | str] = {}
    last = list(files)[-1:]
    waiting: list[tuple[str, Entry, Grey]] = []

    def describe_waiting() -> None:
        together = np.concatenate([cut for _, _, cut in waiting])
        # Padded: products of an odd number of rows take another path through BLAS, and round differently.
        place = np.arange(len(together) + -len(together) % 4)
        described = describe(together[np.minimum(place, len(together) - 1)], weights)
        start = 0
        for name, entry, cut in waiting:
            rows = slice(start, start + len(cut))
            start += len(cut)
            found[name] = (
                entry,
                {
                    "search": described.search[rows],
                    "verify": described.verify[rows],
                    "decidable": described.decidable[rows],
                    "hashes": hash_rows(described.verify[rows]),
                },
            )
        waiting.clear()

    for name, file in files.items():
        try:
            waiting.append((name, *_read(file, tiling, check_content, rendering)))
        except UnreadableImage as error:
            found[name] = error.reason
        if waiting and (sum(len(cut) for _, _, cut in waiting) >= TILES_AT_A_TIME or [name] == last):
            describe_waiting()
    return found


def _read(path: Path, tiling: Tiling, check_content: bool, rendering: Rendering) -> tuple[Entry, Grey]:
    entry, grey, _ = read_entry(
        path, tile_size=tiling.stride, check_content=check_content, rendering=rendering
    )
    if min(grey.shape) < tiling.tile_size:
        reason = (
            f"wrong size: {entry.height} x {entry.width} pixels, less than a tile of {tiling.tile_size} px"
        )
        raise UnreadableImage(path, reason)
    n_tiles = tiling.grid(*grey.shape).n_tiles
    if n_tiles > MAX_TILES:
        reason = (
            f"{n_tiles} tiles at a stride of {tiling.stride} px, over {MAX_TILES}; take a larger one, or "
            "none, by which any offset is searched"
        )
        raise UnreadableImage(path, reason)
    cut = tiling.split(grey)
    return entry._replace(n_rows=len(cut)), cut
