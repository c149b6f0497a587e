"""An image described once on a lattice of cells, so that any two images of a group compare without pixels.

The lattice belongs to a group: its lines lie at multiples of 32 px of the group's plane, so the same ground falls
into the same cells of every image that shows it. What is kept of a cell is what a verify descriptor keeps of it
(:mod:`dupnet.network.descriptors`), and tiles of 8 x 8, 4 x 4 or 2 x 2 cells are put together from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dupnet.network.descriptors import Weights, describe_cells
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS

__all__ = ["Cells", "cells_at", "describe_on_lattice", "folded_tiles", "spread", "tiles_of_block"]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

TILE_SIDES = (8, 4, 2)
"""Sides in cells of the tiles that are judged, 256, 128 and 64 px; the largest that fits is taken."""

CELLS_AT_A_TIME = 1152
"""Cells described at a time: 18 tiles of 256 px, whose numbers, 5 MB, stay near the processor."""


@dataclass(frozen=True)
class Cells:
    """What is kept of an image on a lattice.

    ``data`` (rows, cols, 64) uint8: see :func:`dupnet.network.descriptors.describe_cells`; ``evidence`` (rows,
    cols) bool: whether a cell has texture to judge by, and every pixel of it is valid; ``valid`` (rows, cols)
    bool; ``phase``: the row and the column of the image at which its first cell begins, 0 to 31 each.
    """

    data: Bytes
    evidence: Mask
    valid: Mask
    phase: tuple[int, int]


def describe_on_lattice(
    grey: Bytes, valid: Mask | None = None, phase: tuple[int, int] = (0, 0), weights: Weights | None = None
) -> Cells:
    """Describe the whole cells of an image.

    Parameters
    ----------
    grey : (height, width) uint8
        An image of any size.
    valid : (height, width) bool, optional
        Pixels that show something; all by default. A cell with another one carries no evidence.
    phase : (int, int)
        Where the first cell begins, 0 to 31: of an image at (y, x) in its group, ``(-y % 32, -x % 32)``.
    weights : Weights, optional
        The shipped ones by default.

    Raises
    ------
    ValueError
        If the image is not grey, or the phase out of range.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8 or (valid is not None and valid.shape != grey.shape):
        raise ValueError(
            f"grey is {grey.dtype} of shape {grey.shape}; pass (height, width) uint8, and valid of that shape."
        )
    if not all(0 <= start < CELL_SIZE for start in phase):
        raise ValueError(f"phase is {phase}; a cell begins within 0 to {CELL_SIZE - 1} px.")
    rows, cols = (
        max(0, length - start) // CELL_SIZE for length, start in zip(grey.shape, phase, strict=True)
    )
    ys, xs = phase[0] + CELL_SIZE * np.arange(rows), phase[1] + CELL_SIZE * np.arange(cols)
    data = np.empty((rows * cols, weights_bytes(weights)), np.uint8)
    texture = np.empty(rows * cols, np.float32)
    shown = np.ones((rows, cols), bool)
    at_a_time = max(1, CELLS_AT_A_TIME // max(cols, 1))
    for row in range(0, rows if cols else 0, at_a_time):
        part = slice(row * cols, (row + at_a_time) * cols)
        blocks = cells_at(grey, ys[row : row + at_a_time, None], xs[None])
        data[part], texture[part] = describe_cells(blocks.reshape(-1, CELL_SIZE, CELL_SIZE), weights)
    if valid is not None:
        shown = cells_at(valid, ys[:, None], xs[None]).all(axis=(2, 3))
    evidence = (texture.reshape(rows, cols) >= EVIDENCE_RMS) & shown
    return Cells(data.reshape(rows, cols, -1), evidence, shown, phase)


def weights_bytes(weights: Weights | None) -> int:
    """Bytes that are kept of a cell."""
    from dupnet.network.descriptors import N_FILTERS, verify_bytes

    return verify_bytes(CELL_SIZE, weights.n_filters if weights else N_FILTERS)


def cells_at(image: npt.NDArray[np.generic], ys: Numbers, xs: Numbers) -> npt.NDArray[np.generic]:
    """The cells whose upper left pixels lie at (ys, xs), arrays of one shape or broadcast: (..., 32, 32)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (CELL_SIZE, CELL_SIZE))
    return windows[ys, xs]


def spread(length: int) -> Numbers:
    """Where the fewest cells begin that cover ``length`` px from end to end, spread evenly; at least 32 px."""
    n = -(-length // CELL_SIZE)
    return np.rint(np.linspace(0, length - CELL_SIZE, n)).astype(np.int64)


@lru_cache(maxsize=4096)
def tiles_of_block(rows: int, cols: int) -> tuple[int, Numbers]:
    """The fewest square tiles that cover a block of cells, of the largest side that fits into it.

    Returns
    -------
    side : int
        In cells, one of :data:`TILE_SIDES`, or 0 if the block is one cell wide.
    cells : (n_tiles, side * side) int64
        Numbers of the cells of each tile, which count row by row through the block. Where the block is no
        whole number of tiles, the last of a row or column lies over the one before.
    """
    side = next((side for side in TILE_SIDES if min(rows, cols) >= side), 0)
    if not side:
        return 0, np.zeros((0, 0), np.int64)
    tops, lefts = (
        np.append(np.arange(0, length - side, side), length - side) for length in (rows, cols)
    )
    within = (np.arange(side)[:, None] * cols + np.arange(side)).ravel()
    corners = (tops[:, None] * cols + lefts).ravel()
    return side, np.asarray(corners[:, None] + within, np.int64)


@lru_cache(maxsize=4096)
def folded_tiles(n_cells: int, largest: int = TILE_SIDES[0]) -> tuple[int, Numbers]:
    """A row of cells folded into square tiles, as :func:`tiles_of_block`; no tile for fewer than 4 cells."""
    side = next((side for side in TILE_SIDES if side <= largest and n_cells >= side * side), 0)
    if not side:
        return 0, np.zeros((0, 0), np.int64)
    starts = np.append(np.arange(0, n_cells - side * side, side * side), n_cells - side * side)
    return side, np.asarray(starts[:, None] + np.arange(side * side), np.int64)
