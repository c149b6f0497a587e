"""The common region of two images, covered by cells to its rim and by tiles that the network can judge.

Where the region is wide, its cells are those of the group's lattice, described once an image
(:mod:`dupnet.find.lattice`). What the lattice leaves at the rim, up to 31 px along each side, and regions
narrower than :data:`NARROW` get cells of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.lattice import (
    EVIDENCE,
    SOLID,
    VALID,
    OnLattice,
    blocks_at,
    describe_blocks,
    folded_tiles,
    spread,
    tiles_of_block,
)
from dupnet.network.descriptors import (
    N_ORIENTATIONS,
    POWER_FLOOR,
    POWER_START,
    POWER_STEP,
    Weights,
    load_weights,
    verify_bytes,
)
from dupnet.tiles import CELL_SIZE

__all__ = ["NARROW", "Compared", "Region", "cell_corners", "common_region", "compare_regions"]

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

SHORTEST = 40
"""Long side in pixels of the smallest region that is judged. With 48 px, 4 to 7 of 700 true pairs of chips of
64 to 128 px are left out, and no pair of another day."""


class Region(NamedTuple):
    """What two images share: its upper left pixel in each of them, and its size, in pixels."""

    top1: int
    left1: int
    top2: int
    left2: int
    height: int
    width: int

    def part(self, down: int, right: int, height: int, width: int) -> Region:
        """So high and wide a part of it, so many pixels down and to the right."""
        corners = (self.top1 + down, self.left1 + right, self.top2 + down, self.left2 + right)
        return Region(*corners, height, width)

    def of_first(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The region in image 1, a view."""
        return image[self.top1 : self.top1 + self.height, self.left1 : self.left1 + self.width]

    def of_second(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The region in image 2, a view."""
        return image[self.top2 : self.top2 + self.height, self.left2 : self.left2 + self.width]


@dataclass(frozen=True)
class Compared:
    """The cells of n regions as either image shows them, m in all.

    ``data1, data2`` (m, 64) uint8, alike where a cell is blank, that is invalid in either image or solid in
    both; ``evidence1, evidence2`` (m,) bool, without blank cells; ``valid_in_one`` (m,) bool, where one image
    is valid throughout, and the other is not; ``starts`` (n + 1,), where the cells of each region begin;
    ``tiles``, of each region arrays (n_tiles, side * side) of numbers of its cells; ``blocks``, of each
    region the rows and columns that its first cells make up.
    """

    data1: Bytes
    data2: Bytes
    evidence1: Mask
    evidence2: Mask
    valid_in_one: Mask
    starts: Numbers
    tiles: list[list[Numbers]]
    blocks: list[tuple[int, int]]


def common_region(shape1: Sequence[int], shape2: Sequence[int], y: int, x: int) -> Region:
    """What two images of these (height, width) share where image 2 lies at (y, x) of image 1.

    Height or width is zero where they share nothing.
    """
    top1, left1 = max(0, int(y)), max(0, int(x))
    height = min(int(shape1[0]), int(y) + int(shape2[0])) - top1
    width = min(int(shape1[1]), int(x) + int(shape2[1])) - left1
    return Region(top1, left1, top1 - int(y), left1 - int(x), max(0, height), max(0, width))


class _Plan(NamedTuple):
    """The cells of a region: a block of the lattice, then cells of its own at (ys, xs) of the region."""

    on_lattice: bool
    start: tuple[int, int]
    """Where in the region the block begins, in pixels."""
    block: tuple[int, int]
    ys: Numbers
    xs: Numbers
    tiles: list[Numbers]

    @property
    def n_cells(self) -> int:
        return self.on_lattice * self.block[0] * self.block[1] + len(self.ys)


def compare_regions(
    regions: Sequence[Region],
    images: Sequence[tuple[Callable[[], Image], Callable[[], Image]]],
    cells: Sequence[tuple[Callable[[], OnLattice], Callable[[], OnLattice]]],
    phases: Sequence[tuple[int, int]],
    weights: Weights | None = None,
) -> Compared:
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
    phases : sequence of (int, int)
        For each region the phase of the first image's cells.
    weights : Weights, optional
        The shipped ones by default.
    """
    weights = weights or load_weights()
    plans = [_plan(region, phase) for region, phase in zip(regions, phases, strict=True)]
    starts = np.cumsum([0, *(plan.n_cells for plan in plans)])
    data = np.empty((2, starts[-1], verify_bytes(CELL_SIZE, weights.n_filters)), np.uint8)
    flags = np.empty((2, starts[-1]), np.uint8)
    pixels: list[Bytes] = []
    shown: list[Bytes] = []
    places: list[tuple[int, int, int]] = []
    for number, (region, plan) in enumerate(zip(regions, plans, strict=True)):
        corners = ((region.top1, region.left1), (region.top2, region.left2))
        end = starts[number]
        if plan.on_lattice:
            end += plan.block[0] * plan.block[1]
            for side, (top, left) in enumerate(corners):
                found = cells[number][side]().block(top + plan.start[0], left + plan.start[1], *plan.block)
                data[side, starts[number] : end] = found[0].reshape(-1, data.shape[2])
                flags[side, starts[number] : end] = found[1].reshape(-1)
        if len(plan.ys):
            for side, (top, left) in enumerate(corners):
                blocks = blocks_at(*images[number][side](), top + plan.ys, left + plan.xs)
                pixels.append(blocks[0])
                shown.append(blocks[1])
                places.append((side, end, starts[number + 1]))
    if pixels:  # described together: many small calls would take twice as long
        described = describe_blocks(np.concatenate(pixels), np.concatenate(shown), weights)
        done = 0
        for side, begin, end in places:
            part = slice(done, done + end - begin)
            data[side, begin:end], flags[side, begin:end] = described.data[part], described.flags[part]
            done = part.stop
    return _compared(data, flags, starts, plans)


def cell_corners(region: Region, phase: tuple[int, int]) -> Numbers:
    """Where the cells of a region begin, (m, 2) pixels from its upper left one, in the order of
    :func:`compare_regions`."""
    plan = _plan(region, phase)
    own = np.column_stack([plan.ys, plan.xs]).astype(np.int64)
    if not plan.on_lattice:
        return own
    block = np.indices(plan.block).reshape(2, -1).T * CELL_SIZE + plan.start
    return np.concatenate([block, own])


def _plan(region: Region, phase: tuple[int, int]) -> _Plan:
    narrow = min(region.height, region.width)
    if narrow < CELL_SIZE:
        none = np.zeros(0, np.int64)
        return _Plan(False, (0, 0), (0, 0), none, none, [])
    if narrow < NARROW:
        ys, xs = _narrow_cells(region.height, region.width)
        block = (len(ys), len(xs))
        return _Plan(
            False, (0, 0), block, np.repeat(ys, len(xs)), np.tile(xs, len(ys)), [_tiles_of_narrow(*block)]
        )
    start, block = _lattice_block(region, phase)
    ys, xs = _rim(region.height, region.width, *start)
    tiles = [tiles_of_block(*block)[1]]
    if len(ys):
        tiles.append(block[0] * block[1] + folded_tiles(len(ys))[1])
    return _Plan(True, start, block, ys, xs, tiles)


def _lattice_block(region: Region, phase: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where in a region the first whole cell of the lattice begins, and how many rows and columns fit."""
    start_y, start_x = (phase[0] - region.top1) % CELL_SIZE, (phase[1] - region.left1) % CELL_SIZE
    return (start_y, start_x), (
        (region.height - start_y) // CELL_SIZE,
        (region.width - start_x) // CELL_SIZE,
    )


@lru_cache(maxsize=4096)
def _rim(height: int, width: int, start_y: int, start_x: int) -> tuple[Numbers, Numbers]:
    """Cells along those sides of a region that the lattice leaves uncovered, once around: y and x of each."""
    ys, xs = spread(height), spread(width)
    sides = [
        (start_y > 0, np.zeros_like(xs), xs),
        ((width - start_x) % CELL_SIZE > 0, ys, np.full_like(ys, width - CELL_SIZE)),
        ((height - start_y) % CELL_SIZE > 0, np.full_like(xs, height - CELL_SIZE), xs[::-1]),
        (start_x > 0, ys[::-1], np.zeros_like(ys)),
    ]
    none = np.zeros(0, np.int64)
    wanted = [(none, none), *((y, x) for is_open, y, x in sides if is_open)]
    return np.concatenate([y for y, _ in wanted]), np.concatenate([x for _, x in wanted])


def _narrow_cells(height: int, width: int) -> tuple[Numbers, Numbers]:
    """Rows and columns of the cells of a narrow region; so many that they make a tile, where its long side is
    at least :data:`SHORTEST`."""
    ys, xs = spread(height), spread(width)
    if len(ys) * len(xs) < 4 and max(height, width) >= SHORTEST:
        return (spread(height, 4), xs) if height > width else (ys, spread(width, 4))
    return ys, xs


@lru_cache(maxsize=4096)
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


def _compared(data: Bytes, flags: Bytes, starts: Numbers, plans: list[_Plan]) -> Compared:
    blank = ((flags & VALID) == 0).any(axis=0) | ((flags & SOLID) > 0).all(axis=0)
    evidence = ((flags & EVIDENCE) > 0) & ~blank
    if blank.any():
        n_codes = (data.shape[2] - 1) // (N_ORIENTATIONS + 1) * N_ORIENTATIONS
        data[:, blank, :n_codes] = 0
        data[:, blank, n_codes:-1] = round((np.log(POWER_FLOOR) - POWER_START) / POWER_STEP)
        for begin, end in pairwise(starts.tolist()):
            hidden = blank[begin:end]
            if hidden.any() and not hidden.all():  # at the mean brightness of the others
                means = data[:, begin:end, -1]
                means[:, hidden] = np.rint(means[:, ~hidden].mean(axis=1))[:, None]
    return Compared(
        data[0],
        data[1],
        evidence[0],
        evidence[1],
        ((flags[0] ^ flags[1]) & VALID) > 0,
        starts,
        [plan.tiles for plan in plans],
        [plan.block for plan in plans],
    )
