"""An image described once on a lattice of cells, so that any two images of a group compare without pixels.

The lattice belongs to a group: its lines lie at multiples of 32 px of the group's plane, so the same ground
falls into the same cells of every image that shows it. What is kept of a cell is what a verify descriptor
keeps of it (:mod:`dupnet.network.descriptors`), and tiles of 8 x 8, 4 x 4 or 2 x 2 cells are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.find.blocks import windows
from dupnet.images.parts import GreyParts, MaskParts
from dupnet.network.descriptors import Weights, describe_cells, load_weights, verify_bytes
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS

__all__ = [
    "EVIDENCE",
    "OnLattice",
    "SOLID",
    "VALID",
    "Cells",
    "CellsOfParts",
    "Described",
    "all_tiles",
    "blocks_at",
    "describe_blocks",
    "describe_on_lattice",
    "folded_tiles",
    "spread",
    "tiles_of_block",
]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

TILE_SIDES = (8, 4, 2)
"""Sides in cells of the tiles that are judged, 256, 128 and 64 px; the largest that fits is taken."""

CELLS_AT_A_TIME = 1152
"""Cells described at a time: 18 tiles of 256 px, whose numbers, 5 MB, stay near the processor."""

CELLS_OF_PARTS = 2**15
"""Cells described at a time of an image that is read part by part: 34 MB of pixels."""

SOLID_LEVELS = (4, 251)
"""Levels up to which, and from which on, a pixel is black or white within what JPEG leaves of a solid one."""

SOLID_BLOCKS = 2
"""Of the 16 blocks of 8 x 8 px of a cell, how many must be all black or white for the cell to count as solid:
then part of it shows no ground, and the border of that part would be taken for texture."""


EVIDENCE, VALID, SOLID = 1, 2, 4
"""Bits of the flags of a cell: it has texture to judge by, is valid throughout, and not solid; every pixel of
it is valid; a part of it is saturated or black (:data:`SOLID_BLOCKS`)."""


class Described(NamedTuple):
    """What is kept of m cells: ``data`` (m, 64) uint8, see :func:`dupnet.network.descriptors.describe_cells`,
    and ``flags`` (m,) uint8, the sum of what applies of :data:`EVIDENCE`, :data:`VALID` and
    :data:`SOLID`."""

    data: Bytes
    flags: Bytes


class OnLattice(Protocol):
    """The cells of an image on a lattice."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        ...

    def block(self, top: int, left: int, rows: int, cols: int) -> tuple[Bytes, Bytes]:
        """Data and flags (rows, cols) of the cells whose first pixel lies at (top, left) of the image."""
        ...


@dataclass(frozen=True)
class Cells:
    """What is kept of an image on a lattice: as :class:`Described`, but for (rows, cols) cells.

    ``phase`` is the row and the column of the image at which its first cell begins, 0 to 31 each.
    """

    data: Bytes
    flags: Bytes
    phase: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.data.nbytes + self.flags.nbytes

    def block(self, top: int, left: int, rows: int, cols: int) -> tuple[Bytes, Bytes]:
        """As :meth:`OnLattice.block`."""
        row, col = (top - self.phase[0]) // CELL_SIZE, (left - self.phase[1]) // CELL_SIZE
        area = np.s_[row : row + rows, col : col + cols]
        return self.data[area], self.flags[area]


@dataclass(frozen=True)
class CellsOfParts:
    """The same of an image that is read part by part: cells are described where they are asked for."""

    grey: GreyParts
    valid: MaskParts
    weights: Weights
    nbytes: int = 0

    def block(self, top: int, left: int, rows: int, cols: int) -> tuple[Bytes, Bytes]:
        """As :meth:`OnLattice.block`."""
        step = max(1, CELLS_OF_PARTS // max(cols, 1))
        found = []
        for row in range(0, rows, step):
            y = top + row * CELL_SIZE
            area = np.s_[y : y + min(step, rows - row) * CELL_SIZE, left : left + cols * CELL_SIZE]
            found.append(describe_on_lattice(self.grey[area], self.valid[area], weights=self.weights))
        if not found:
            return self.grey[0:0, 0:0].reshape(0, cols, 0), np.zeros((0, cols), np.uint8)
        return np.concatenate([part.data for part in found]), np.concatenate([part.flags for part in found])


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
            f"grey is {grey.dtype} of shape {grey.shape}; pass (height, width) uint8, valid of that shape."
        )
    if not all(0 <= start < CELL_SIZE for start in phase):
        raise ValueError(f"phase is {phase}; a cell begins within 0 to {CELL_SIZE - 1} px.")
    ys, xs = (
        np.arange(start, length - CELL_SIZE + 1, CELL_SIZE)
        for length, start in zip(grey.shape, phase, strict=True)
    )
    shape = (len(ys), len(xs))
    if not len(ys) or not len(xs):
        blocks, shown = np.zeros((0, CELL_SIZE, CELL_SIZE), np.uint8), np.zeros(0, np.uint8)
    else:
        blocks, shown = blocks_at(grey, valid, ys[:, None], xs[None])
    found = describe_blocks(blocks, shown, weights)
    return Cells(found.data.reshape(*shape, found.data.shape[1]), found.flags.reshape(shape), phase)


def blocks_at(
    grey: Bytes | GreyParts, valid: Mask | MaskParts | None, ys: Numbers, xs: Numbers
) -> tuple[Bytes, Bytes]:
    """The pixels of cells whose upper left pixels lie at (ys, xs), arrays that broadcast: (m, 32, 32) uint8.

    Beside them :data:`VALID` or 0 of each, (m,) uint8.
    """
    blocks: Bytes = _cut(grey, ys, xs).reshape(-1, CELL_SIZE, CELL_SIZE)
    if valid is None:
        return blocks, np.full(len(blocks), VALID, np.uint8)
    shown = _cut(valid, ys, xs).reshape(len(blocks), -1)
    return blocks, np.where(shown.all(axis=1), VALID, 0).astype(np.uint8)


def _cut(image: npt.NDArray[Any] | GreyParts | MaskParts, ys: Numbers, xs: Numbers) -> npt.NDArray[Any]:
    if isinstance(image, np.ndarray):
        return np.asarray(windows(image, CELL_SIZE)[ys, xs])
    places = zip(*(at.ravel().tolist() for at in np.broadcast_arrays(ys, xs)), strict=True)
    return np.stack([image[y : y + CELL_SIZE, x : x + CELL_SIZE] for y, x in places])


def describe_blocks(blocks: Bytes, shown: Bytes, weights: Weights | None = None) -> Described:
    """Describe cells as :func:`blocks_at` gives them."""
    weights = weights or load_weights()
    m = len(blocks)
    data = np.empty((m, verify_bytes(CELL_SIZE, weights.n_filters)), np.uint8)
    texture, solid = np.empty(m, np.float32), np.empty(m, bool)
    for at in range(0, m, CELLS_AT_A_TIME):
        part = slice(at, at + CELLS_AT_A_TIME)
        data[part], texture[part] = describe_cells(blocks[part], weights)
        solid[part] = _solid(blocks[part])
    evidence = (texture >= EVIDENCE_RMS) & (shown == VALID) & ~solid
    return Described(data, (EVIDENCE * evidence + SOLID * solid + shown).astype(np.uint8))


def _solid(blocks: Bytes) -> Mask:
    column = np.ascontiguousarray(blocks).reshape(-1, CELL_SIZE)
    grey = cv2.inRange(column, SOLID_LEVELS[0] + 1, SOLID_LEVELS[1] - 1)
    # Eight rows of a cell in a line, folded into one: eight bytes of that are zero where a block is solid.
    line = grey.reshape(-1, 8 * CELL_SIZE)
    for half in (4 * CELL_SIZE, 2 * CELL_SIZE, CELL_SIZE):
        line = cv2.bitwise_or(line[:, :half], line[:, half:])
    by_block = line.view(np.uint64).reshape(len(blocks), 16)
    return np.asarray(np.count_nonzero(by_block == 0, axis=1) >= SOLID_BLOCKS)


@lru_cache(maxsize=4096)
def spread(length: int, at_least: int = 1) -> Numbers:
    """Where the fewest cells begin that cover ``length`` px, 32 or more, from end to end, evenly spread."""
    n = max(at_least, -(-length // CELL_SIZE))
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
    tops, lefts = (np.append(np.arange(0, length - side, side), length - side) for length in (rows, cols))
    return side, _tiles_at(tops, lefts, cols, side)


@lru_cache(maxsize=1024)
def all_tiles(rows: int, cols: int, side: int) -> Numbers:
    """The cells (n_tiles, side * side) of every square of ``side`` cells in a block of rows x cols."""
    return _tiles_at(np.arange(rows - side + 1), np.arange(cols - side + 1), cols, side)


def _tiles_at(tops: Numbers, lefts: Numbers, cols: int, side: int) -> Numbers:
    within = (np.arange(side)[:, None] * cols + np.arange(side)).ravel()
    return np.asarray((tops[:, None] * cols + lefts).ravel()[:, None] + within, np.int64)


@lru_cache(maxsize=4096)
def folded_tiles(n_cells: int, largest: int = TILE_SIDES[0]) -> tuple[int, Numbers]:
    """A row of cells folded into square tiles, as :func:`tiles_of_block`; no tile for fewer than 4 cells."""
    side = next((side for side in TILE_SIDES if side <= largest and n_cells >= side * side), 0)
    if not side:
        return 0, np.zeros((0, 0), np.int64)
    starts = np.append(np.arange(0, n_cells - side * side, side * side), n_cells - side * side)
    return side, np.asarray(starts[:, None] + np.arange(side * side), np.int64)
