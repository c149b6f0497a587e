"""The common region of two images, covered by cells to its rim and by tiles that the network can judge.

Where the region is wide, its cells are those of the group's lattice, described once an image
(:mod:`dupnet.find.lattice`). What the lattice leaves at the rim, up to 31 px along each side, and regions
narrower than :data:`NARROW` get cells of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.lattice import (
    Cells,
    Described,
    blocks_at,
    describe_blocks,
    folded_tiles,
    spread,
    tiles_of_block,
)
from dupnet.network.descriptors import N_ORIENTATIONS, POWER_FLOOR, POWER_START, POWER_STEP, Weights
from dupnet.tiles import CELL_SIZE

__all__ = ["NARROW", "Compared", "Region", "common_region", "compare_regions"]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

Image = tuple[Bytes, Mask | None]
"""Grey (height, width) uint8, and which pixels are valid (height, width) bool, or None for all."""

NARROW = 160
"""Narrow side in pixels below which a region gets cells of its own: a lattice leaves up to 62 px of it."""

FOLDED_SIDE = 4
"""Side in cells of the tiles that a narrow region is folded into, where it has so many cells. Of strips so
folded another day was accepted in none of 258; of those of 2 x 2 cells in 12 of 872."""


SHORTEST = 48
"""Long side in pixels of the smallest region that is judged."""


class Region(NamedTuple):
    """What two images share: its upper left pixel in each of them, and its size, in pixels."""

    top1: int
    left1: int
    top2: int
    left2: int
    height: int
    width: int

    def of_first(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The region in image 1, a view."""
        return image[self.top1 : self.top1 + self.height, self.left1 : self.left1 + self.width]

    def of_second(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The region in image 2, a view."""
        return image[self.top2 : self.top2 + self.height, self.left2 : self.left2 + self.width]


class Compared(NamedTuple):
    """The m cells of a region as either image shows them.

    ``data1, data2`` (m, 64) uint8, alike where a cell is blank, that is invalid in either image or solid in
    both; ``evidence1, evidence2`` (m,) bool, without blank cells; ``tiles``, arrays (n_tiles, side * side) of
    numbers of cells; ``block``, rows and columns of the block that the first cells make up.
    """

    data1: Bytes
    data2: Bytes
    evidence1: Mask
    evidence2: Mask
    tiles: list[Numbers]
    block: tuple[int, int]


def common_region(shape1: Sequence[int], shape2: Sequence[int], y: int, x: int) -> Region:
    """What two images of these (height, width) share where image 2 lies at (y, x) of image 1.

    Height or width is zero where they share nothing.
    """
    top1, left1 = max(0, int(y)), max(0, int(x))
    height = min(int(shape1[0]), int(y) + int(shape2[0])) - top1
    width = min(int(shape1[1]), int(x) + int(shape2[1])) - left1
    return Region(top1, left1, top1 - int(y), left1 - int(x), max(0, height), max(0, width))


class _Wanted(NamedTuple):
    """Places in a region of the cells that it wants described from pixels."""

    ys: Numbers
    xs: Numbers


def compare_regions(
    regions: Sequence[Region],
    images: Sequence[tuple[Callable[[], Image], Callable[[], Image]]],
    cells: Sequence[tuple[Callable[[], Cells], Callable[[], Cells]]],
    weights: Weights | None = None,
) -> list[Compared]:
    """The cells of regions, each of two images.

    Parameters
    ----------
    regions : sequence of Region
        Those narrower than a cell get no cells.
    images : sequence
        For each region two functions that give the pixels of its images; called where they are needed.
    cells : sequence
        For each region two functions that give the cells of its images on one lattice, that is of phases that
        differ by the offset; called where the region is at least :data:`NARROW` wide.
    weights : Weights, optional
        The shipped ones by default.
    """
    blocks: list[list[tuple[Bytes, Mask | None]]] = []
    on_lattice: list[tuple[Described, Described] | None] = []
    covers: list[tuple[list[Numbers], tuple[int, int]]] = []
    for region, (read1, read2), (cells1, cells2) in zip(regions, images, cells, strict=True):
        known: tuple[Described, Described] | None = None
        wanted: _Wanted | None = None
        tiles: list[Numbers] = []
        block = (0, 0)
        if min(region.height, region.width) >= NARROW:
            first, second = cells1(), cells2()
            starts, block = _lattice_block(region, first.phase)
            known = (
                first.block(region.top1 + starts[0], region.left1 + starts[1], *block),
                second.block(region.top2 + starts[0], region.left2 + starts[1], *block),
            )
            wanted = _rim(region, starts, block)
            tiles = [tiles_of_block(*block)[1]]
            if wanted:
                tiles.append(block[0] * block[1] + folded_tiles(len(wanted.ys))[1])
        elif min(region.height, region.width) >= CELL_SIZE:
            ys, xs = _narrow_cells(region.height, region.width)
            block = (len(ys), len(xs))
            wanted = _Wanted(np.repeat(ys, len(xs)), np.tile(xs, len(ys)))
            tiles = [_tiles_of_narrow(*block)]
        covers.append((tiles, block))
        on_lattice.append(known)
        blocks.append([])
        if wanted:
            (grey1, valid1), (grey2, valid2) = read1(), read2()
            blocks[-1] = [
                blocks_at(grey1, valid1, region.top1 + wanted.ys, region.left1 + wanted.xs),
                blocks_at(grey2, valid2, region.top2 + wanted.ys, region.left2 + wanted.xs),
            ]
    described = iter(_describe([block for both in blocks for block in both], weights))
    compared = []
    none = describe_blocks(np.zeros((0, CELL_SIZE, CELL_SIZE), np.uint8), None, weights)
    for of_block, pixels, (tiles, block) in zip(on_lattice, blocks, covers, strict=True):
        one, two = of_block or (none, none)
        if pixels:
            one, two = _joined(one, next(described)), _joined(two, next(described))
        compared.append(_compared(one, two, tiles, block))
    return compared


def _lattice_block(region: Region, phase: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where in a region the first whole cell of the lattice begins, and how many rows and columns fit."""
    start_y, start_x = (phase[0] - region.top1) % CELL_SIZE, (phase[1] - region.left1) % CELL_SIZE
    return (start_y, start_x), (
        (region.height - start_y) // CELL_SIZE,
        (region.width - start_x) // CELL_SIZE,
    )


def _rim(region: Region, starts: tuple[int, int], block: tuple[int, int]) -> _Wanted | None:
    """Cells along those sides of a region that the lattice leaves uncovered, once around."""
    ys, xs = spread(region.height), spread(region.width)
    end_y, end_x = region.height - CELL_SIZE, region.width - CELL_SIZE
    is_open = [
        starts[0] > 0,
        starts[1] + block[1] * CELL_SIZE < region.width,
        starts[0] + block[0] * CELL_SIZE < region.height,
        starts[1] > 0,
    ]
    sides = [
        (np.zeros_like(xs), xs),
        (ys, np.full_like(ys, end_x)),
        (np.full_like(xs, end_y), xs[::-1]),
        (ys[::-1], np.zeros_like(ys)),
    ]
    wanted = [side for side, is_wanted in zip(sides, is_open, strict=True) if is_wanted]
    if not wanted:
        return None
    return _Wanted(*(np.concatenate(places) for places in zip(*wanted, strict=True)))


def _narrow_cells(height: int, width: int) -> tuple[Numbers, Numbers]:
    """Rows and columns of the cells of a narrow region; so many that they make a tile, where it is half as
    long again as a cell."""
    ys, xs = spread(height), spread(width)
    if len(ys) * len(xs) < 4 and max(height, width) >= SHORTEST:
        return (spread(height, 4), xs) if height > width else (ys, spread(width, 4))
    return ys, xs


def _tiles_of_narrow(rows: int, cols: int) -> Numbers:
    """Tiles of a block of cells: as it lies where it is wide enough, else folded along its length."""
    side, tiles = tiles_of_block(rows, cols)
    if side >= FOLDED_SIDE:
        return tiles
    along = np.arange(rows * cols)
    if rows < cols:
        along = along.reshape(rows, cols).T.ravel()
    side, folded = folded_tiles(len(along), FOLDED_SIDE)
    return along[folded] if side else folded


def _describe(blocks: list[tuple[Bytes, Mask | None]], weights: Weights | None) -> list[Described]:
    """Describe lists of cells together: many small calls would take twice as long."""
    if not blocks:
        return []
    lengths = [len(pixels) for pixels, _ in blocks]
    valid = [np.ones(len(pixels), bool) if shown is None else shown for pixels, shown in blocks]
    found = describe_blocks(np.concatenate([pixels for pixels, _ in blocks]), np.concatenate(valid), weights)
    ends = np.cumsum(lengths)
    parts = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    return [
        Described(found.data[part], found.evidence[part], found.valid[part], found.solid[part])
        for part in parts
    ]


def _joined(first: Described, second: Described) -> Described:
    return Described(
        np.concatenate([first.data, second.data]),
        np.concatenate([first.evidence, second.evidence]),
        np.concatenate([first.valid, second.valid]),
        np.concatenate([first.solid, second.solid]),
    )


def _compared(first: Described, second: Described, tiles: list[Numbers], block: tuple[int, int]) -> Compared:
    blank = ~(first.valid & second.valid) | (first.solid & second.solid)
    data1, data2 = first.data, second.data
    if blank.any():
        data1, data2 = (_blanked(data, blank) for data in (data1, data2))
    return Compared(data1, data2, first.evidence & ~blank, second.evidence & ~blank, tiles, block)


def _blanked(data: Bytes, blank: Mask) -> Bytes:
    """Cells of which those that are blank show nothing, at the mean brightness of the others."""
    n_filters = (data.shape[1] - 1) // (N_ORIENTATIONS + 1)
    filled = data.copy()
    filled[blank, : n_filters * N_ORIENTATIONS] = 0
    filled[blank, n_filters * N_ORIENTATIONS : -1] = round((np.log(POWER_FLOOR) - POWER_START) / POWER_STEP)
    if not blank.all():
        filled[blank, -1] = round(float(data[~blank, -1].mean()))
    return filled
