"""From two images and the offset between them to a verdict on what they share.

The common region is covered by cells to its rim, the cells are put together into tiles, and the network judges
the tiles. Where the region is wide, the cells are those of the group's lattice, described once an image
(:mod:`dupnet.find.lattice`); what the lattice leaves at the rim, and regions narrower than :data:`NARROW`, get
cells of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.find.lattice import CELLS_AT_A_TIME, Cells, cells_at, folded_tiles, spread, tiles_of_block
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import POWER_FLOOR, POWER_START, POWER_STEP, Weights, describe_cells, join_cells, load_weights
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, MIN_EVIDENCE_CELLS

__all__ = ["Region", "common_region", "judge"]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Read = Callable[[int], tuple[Bytes, Mask | None]]
Describe = Callable[[int, tuple[int, int]], Cells]

NARROW = 160
"""Narrow side in pixels below which a region gets cells of its own: a lattice would leave up to 62 px of it."""

PAIRS_AT_A_TIME = 64

SCORE_DECIMALS = 5


class Region(NamedTuple):
    """What two images share: its upper left pixel in each of them, and its size, in pixels."""

    top1: int
    left1: int
    top2: int
    left2: int
    height: int
    width: int


def common_region(shape1: Sequence[int], shape2: Sequence[int], y: int, x: int) -> Region:
    top1, left1 = max(0, y), max(0, x)
    height = min(shape1[0], y + shape2[0]) - top1
    width = min(shape1[1], x + shape2[1]) - left1
    return Region(top1, left1, top1 - y, left1 - x, max(0, height), max(0, width))


class Compared(NamedTuple):
    """The cells of a region as either image shows them, and the tiles that they are put together to."""

    data1: Bytes
    data2: Bytes
    evidence1: Mask
    evidence2: Mask
    valid: Mask
    tiles: list[Numbers]


def judge(
    pairs: pd.DataFrame, shapes: npt.ArrayLike, read: Read, cells: Describe,
    weights: Weights | None = None, workers: int | None = None,
) -> pd.DataFrame:
    weights = weights or load_weights()
    sizes = np.asarray(shapes, np.int64)
    parts = [pairs.iloc[at : at + PAIRS_AT_A_TIME] for at in range(0, len(pairs), PAIRS_AT_A_TIME)]
    with one_blas_thread():
        found = list(map_in_order(lambda part: _judge(part, sizes, read, cells, weights), parts, n_workers(workers)))
    return pd.concat(found, ignore_index=True)


def _judge(pairs, shapes, read, cells, weights):
    rows = list(pairs[["image1", "image2", "y_offset", "x_offset"]].itertuples(index=False))
    places = pairs[["y", "x"]].to_numpy() if "y" in pairs else np.zeros((len(pairs), 2), np.int64)
    regions = [common_region(shapes[one], shapes[two], y, x) for one, two, y, x in rows]
    compared = []
    for (one, two, y, x), (y1, x1), region in zip(rows, places, regions, strict=True):
        if min(region.height, region.width) < CELL_SIZE:
            compared.append(None)
        elif min(region.height, region.width) < NARROW:
            compared.append(own_cells(region, read(one), read(two), weights))
        else:
            phase1 = (int(-y1) % CELL_SIZE, int(-x1) % CELL_SIZE)
            phase2 = ((phase1[0] - y) % CELL_SIZE, (phase1[1] - x) % CELL_SIZE)
            compared.append(lattice_cells(region, cells(one, phase1), cells(two, phase2), read(one), read(two), weights))
    return score(rows, regions, compared, weights)


def own_cells(region, image1, image2, weights):
    ys, xs = spread(region.height), spread(region.width)
    rows, cols = len(ys), len(xs)
    one, two = (describe_at(image, top + ys[:, None], left + xs[None], weights)
        for image, top, left in ((image1, region.top1, region.left1), (image2, region.top2, region.left2)))
    number = np.arange(rows * cols)
    side, tiles = tiles_of_block(rows, cols)
    if side < 4:
        along = number.reshape(rows, cols).T.ravel() if rows < cols else number
        side, folded = folded_tiles(len(number), 4)
        tiles = along[folded] if side else folded
    return Compared(one[0], two[0], one[1], two[1], one[2] & two[2], [tiles] if side else [])


def describe_at(image, ys, xs, weights):
    grey, valid = image
    blocks = cells_at(grey, ys, xs).reshape(-1, CELL_SIZE, CELL_SIZE)
    data, texture = describe_cells(blocks, weights)
    shown = np.ones(len(data), bool) if valid is None else cells_at(valid, ys, xs).all(axis=(-1, -2)).ravel()
    return data, (texture >= EVIDENCE_RMS) & shown, shown


def lattice_cells(region, cells1, cells2, image1, image2, weights):
    starts, counts = [], []
    for axis in (0, 1):
        start = region[axis] + (cells1.phase[axis] - region[axis]) % CELL_SIZE
        starts.append(start)
        counts.append((region[axis] + region[4 + axis] - start) // CELL_SIZE)
    rows, cols = counts
    blocks = []
    for number, of_image in ((0, cells1), (1, cells2)):
        first = [(starts[axis] - region[axis] + region[2 * number + axis] - of_image.phase[axis]) // CELL_SIZE for axis in (0, 1)]
        area = np.s_[first[0] : first[0] + rows, first[1] : first[1] + cols]
        blocks.append((of_image.data[area].reshape(rows * cols, -1), of_image.evidence[area].ravel(), of_image.valid[area].ravel()))
    tiles = [tiles_of_block(rows, cols)[1]]
    ys, xs = rim(region, starts, counts)
    if len(ys):
        for number, image in ((0, image1), (1, image2)):
            more = describe_at(image, region[2 * number] + ys, region[2 * number + 1] + xs, weights)
            blocks[number] = tuple(np.concatenate(both) for both in zip(blocks[number], more, strict=True))
        tiles.append(rows * cols + folded_tiles(len(ys))[1])
    (data1, evidence1, valid1), (data2, evidence2, valid2) = blocks
    return Compared(data1, data2, evidence1, evidence2, valid1 & valid2, tiles)


def rim(region, starts, counts):
    """Where in a region (y, x) the cells along those of its sides lie that the lattice leaves uncovered."""
    before = [starts[axis] - region[axis] for axis in (0, 1)]
    after = [region[4 + axis] - before[axis] - counts[axis] * CELL_SIZE for axis in (0, 1)]
    ys, xs = spread(region.height), spread(region.width)
    end_y, end_x = region.height - CELL_SIZE, region.width - CELL_SIZE
    sides = []
    if before[0]: sides.append((np.zeros_like(xs), xs))
    if after[1]: sides.append((ys, np.full_like(ys, end_x)))
    if after[0]: sides.append((np.full_like(xs, end_y), xs[::-1]))
    if before[1]: sides.append((ys[::-1], np.zeros_like(ys)))
    if not sides:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return tuple(np.concatenate(part) for part in zip(*sides, strict=True))


def score(rows, regions, compared, weights):
    by_side = {}
    for number, found in enumerate(compared):
        for tiles in (found.tiles if found else []):
            if len(tiles):
                by_side.setdefault(tiles.shape[1], []).append((number, tiles))
    n = len(rows)
    n_tiles = np.zeros(n, int); n_dec = np.zeros(n, int); n_diff = np.zeros(n, int); low = np.full(n, np.nan)
    records=[]
    for per_tile, entries in by_side.items():
        owner = np.concatenate([np.full(len(t), k) for k, t in entries])
        d1 = np.concatenate([compared[k].data1[t] for k, t in entries])
        d2 = np.concatenate([compared[k].data2[t] for k, t in entries])
        valid = np.concatenate([compared[k].valid[t] for k, t in entries])
        e1 = np.concatenate([compared[k].evidence1[t] for k, t in entries]) & valid
        e2 = np.concatenate([compared[k].evidence2[t] for k, t in entries]) & valid
        dec = (e1.sum(1) >= MIN_EVIDENCE_CELLS) & (e2.sum(1) >= MIN_EVIDENCE_CELLS)
        s = np.full(len(owner), np.nan)
        if dec.any():
            s[dec] = score_pairs(join_cells(d1[dec]), join_cells(d2[dec]), weights, workers=1)
        np.add.at(n_tiles, owner, 1); np.add.at(n_dec, owner[dec], 1)
        np.add.at(n_diff, owner[dec], s[dec] < weights.threshold)
        np.fmin.at(low, owner, s)
    out = pd.DataFrame(rows, columns=["image1","image2","y_offset","x_offset"])
    out["height"] = [r.height for r in regions]; out["width"] = [r.width for r in regions]
    out["n_tiles"], out["n_decidable"], out["n_differing"], out["score"] = n_tiles, n_dec, n_diff, low.round(SCORE_DECIMALS)
    out["verdict"] = np.where(n_dec == 0, "undecidable", np.where(n_diff == 0, "duplicate", "refused"))
    return out
