"""From two descriptors to a score and a verdict: the head of the shipped network, in numpy alone.

:mod:`dupnet.models` builds the same head in Keras, for training; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import ThreadpoolController

from dupnet.descriptors import (
    CODE_LENGTH,
    N_ORIENTATIONS,
    POWER_STEP,
    Weights,
    describe,
    load_weights,
)
from dupnet.tiles import CELL_SIZE
from dupnet.workers import n_workers

__all__ = [
    "DUPLICATE",
    "NOT_DUPLICATE",
    "UNDECIDABLE",
    "compare",
    "compare_cells",
    "score_pairs",
    "verdicts",
]

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DUPLICATE, NOT_DUPLICATE, UNDECIDABLE = "duplicate", "not_duplicate", "undecidable"

LARGEST_GAIN = 3.0
"""Bound of a tile's gain, the logarithm of a ratio of powers: amplitudes 4.5 times as large. Beyond it the
two tiles are no copies of each other, whatever their means."""

CHUNK = 256
"""Pairs scored at a time: enough that threads, each with a chunk of its own, seldom wait for the
interpreter."""

WHOLE_ROWS = 64
"""Pairs come in multiples of this, padded where they are fewer, so that a pair's score depends as little as
may be on what it is scored beside: matrix products take other paths through ragged ends."""

MIN_CHUNKS_TO_SHARE = 4
"""Chunks from which on threads are worth their start."""


def score_pairs(
    verify1: Bytes, verify2: Bytes, weights: Weights | None = None, workers: int | None = None
) -> Float:
    """Score in [0, 1] of each pair of verify descriptors, two (n, bytes) uint8 arrays: (n,) float32.

    The same in either order, and under one flip or quarter turn of both tiles. ``workers`` threads share the
    pairs, one for every core by default.

    Raises
    ------
    ValueError
        If the arrays are not verify descriptors of one tile size.
    """
    weights = weights or load_weights()

    def judged(cells: Float, tile: Float, workspace: Workspace) -> tuple[Float]:
        return (_judge(cells, tile, weights, workspace),)

    return _in_chunks(verify1, verify2, weights, judged, workers)[0]


def compare_cells(verify1: Bytes, verify2: Bytes, weights: Weights | None = None) -> tuple[Float, Float]:
    """What the head of the network sees of each pair: the inputs of its dense layers.

    Returns
    -------
    cells : (n, side, side, 3 n_filters + 6) float32
        Of :class:`dupnet.layers.CellFeatures`, which describes the columns.
    tile : (n, 4 n_filters + 1) float32
        Of :class:`dupnet.layers.TileFeatures`.

    Raises
    ------
    ValueError
        If the arrays are not verify descriptors of one tile size.
    """

    def transposed(cells: Float, tile: Float, _: Workspace) -> tuple[Float, Float]:
        rows, n_cells, n = cells.shape
        side = int(np.sqrt(n_cells))
        by_pair = np.ascontiguousarray(cells[:-1].transpose(2, 1, 0))
        return by_pair.reshape(n, side, side, rows - 1), tile.T

    cells, tile = _in_chunks(verify1, verify2, weights or load_weights(), transposed)
    return cells, tile


class Workspace:
    """Arrays that a thread fills again for every chunk: fresh memory takes longer to get than to fill."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, *shape: int, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """The array of that name, with whatever it last held."""
        if name not in self._arrays or self._arrays[name].shape != shape:
            self._arrays[name] = np.empty(shape, dtype)
        return self._arrays[name]


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _in_chunks(
    verify1: Bytes,
    verify2: Bytes,
    weights: Weights,
    finish: Callable[[Float, Float, Workspace], tuple[Float, ...]],
    workers: int | None = None,
) -> tuple[Float, ...]:
    """``finish`` of what :func:`_features` says of all pairs: arrays with one row a pair, not of the
    workspace."""
    per_cell = weights.n_filters * (N_ORIENTATIONS + 1) + 1
    side = int(np.sqrt(verify1.shape[1] / per_cell))
    if verify1.shape != verify2.shape or verify1.shape[1] != side * side * per_cell:
        raise ValueError(
            f"verify1 has shape {verify1.shape}, verify2 {verify2.shape}; both must hold the same "
            f"number of verify descriptors of one tile size, {per_cell} bytes a cell."
        )
    n = len(verify1)

    def part(start: int, workspace: Workspace) -> tuple[Float, ...]:
        n_here = min(CHUNK, n - start)
        n_padded = n_here + -n_here % WHOLE_ROWS
        # Copied: products that wait for memory take longer than the copy and the products.
        both = workspace.array("verify", 2, n_padded, verify1.shape[1], dtype=np.uint8)
        for copy, verify in zip(both, (verify1, verify2), strict=True):
            copy[:n_here] = verify[start : start + n_here]
            copy[n_here:] = copy[n_here - 1]  # the last pair again
        found = finish(*_features(both[0], both[1], side, weights.n_filters, workspace), workspace)
        return tuple(array[:n_here] for array in found)

    def parts(starts: range) -> list[tuple[Float, ...]]:
        workspace = Workspace()
        return [part(start, workspace) for start in starts]

    if not n:
        empty = np.zeros((1, verify1.shape[1]), np.uint8)
        return tuple(array[:0] for array in _in_chunks(empty, empty, weights, finish))
    starts = range(0, n, CHUNK)
    n_threads = n_workers(workers) if len(starts) >= MIN_CHUNKS_TO_SHARE else 1
    # The products are small: BLAS's own threads would wait for each other longer than they work.
    with _blas().limit(limits=1, user_api="blas"):
        if n_threads == 1:
            found = parts(starts)
        else:
            found = [()] * len(starts)
            with ThreadPoolExecutor(n_threads) as pool:
                shares = pool.map(parts, [starts[thread::n_threads] for thread in range(n_threads)])
                for thread, share in enumerate(shares):
                    found[thread::n_threads] = share
    return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


def _features(
    verify1: Bytes, verify2: Bytes, side: int, n_filters: int, workspace: Workspace
) -> tuple[Float, Float]:
    """What two tiles say of each cell (3 n_filters + 6 and one of ones, cells, n), in the workspace, and of
    the tile (4 n_filters + 1, n).

    As :class:`dupnet.layers.CellFeatures` and :class:`dupnet.layers.TileFeatures`, which describe the rows.
    Pairs come last, side by side, so that every sum over cells runs along whole rows.
    """
    n, n_cells = len(verify1), side * side
    by_cell = (n_filters, n_cells, n)
    ends = np.cumsum([n_cells * n_filters * N_ORIENTATIONS, n_cells * n_filters])
    (codes1, powers1, means1), (codes2, powers2, means2) = (
        np.split(verify, ends, axis=1) for verify in (verify1, verify2)
    )
    factors = (codes.view(np.int8).reshape(n, N_ORIENTATIONS, -1) for codes in (codes1, codes2))
    products = np.einsum("noc,noc->nc", *factors, dtype=np.int16)
    one, two = (cv2.transpose(powers).reshape(by_cell) for powers in (powers1, powers2))

    cells = workspace.array("cells", 3 * n_filters + 7, n_cells, n)
    cells[-1] = 1
    correlation, middle, difference = np.split(cells[: 3 * n_filters], 3)
    correlation[...] = cv2.transpose(products).reshape(by_cell)
    correlation *= 1 / CODE_LENGTH**2
    np.add(one, two, out=middle, dtype=np.float32)
    middle *= POWER_STEP / 6
    np.subtract(one, two, out=difference, dtype=np.float32)
    difference *= POWER_STEP
    # The geometric mean of both powers, but for a factor.
    weight = np.multiply(middle, 3, out=workspace.array("weight", *by_cell))
    np.exp(weight, out=weight)
    weighted = np.multiply(weight, correlation, out=workspace.array("weighted", *by_cell))
    per_cell, per_filter = weight.sum(axis=0), weight.sum(axis=1)
    gain = np.multiply(weight, difference, out=weight).sum(axis=0)
    tile_gain = gain.sum(axis=0) / per_cell.sum(axis=0)
    np.abs(difference, out=difference)
    difference *= 0.5
    # Of powers: its fourth root is half of an amplitude's, taken from one tile and given to the other.
    root = np.exp(np.clip(tile_gain, -LARGEST_GAIN, LARGEST_GAIN) / 4)
    mean1, mean2 = means1.T.astype(np.float32), means2.T.astype(np.float32)
    level, levelled = (mean1 - mean2) / 32, (mean1 / root - mean2 * root) / 32
    whole, uneven_gain, uneven_level, uneven_levelled, brightness, apart = cells[3 * n_filters : -1]
    np.divide(weighted.sum(axis=0), per_cell, out=whole)
    np.abs(gain / per_cell - tile_gain, out=uneven_gain)
    np.abs(level - level.mean(axis=0), out=uneven_level)
    np.abs(levelled - levelled.mean(axis=0), out=uneven_levelled)
    np.multiply(mean1 + mean2, 1 / 510, out=brightness)
    np.multiply(np.abs(level), 0.5, out=apart)

    in_filter = weighted.sum(axis=1)
    tile = [
        in_filter / per_filter,
        (in_filter.sum(axis=0) / per_filter.sum(axis=0))[None],
        correlation.mean(axis=1),
        np.log(per_filter / n_cells) / 3,
        difference.mean(axis=1),
    ]
    return cells, np.concatenate(tile)


def _judge(cells: Float, tile: Float, weights: Weights, workspace: Workspace) -> Float:
    """The dense layers of :func:`dupnet.models.dupnet`: (n,) scores."""
    _, n_cells, n = cells.shape
    side = int(np.sqrt(n_cells))
    *first, neighbour = weights.cell_layers
    hidden = cells.reshape(len(cells), -1)
    for number, kernel in enumerate(first):
        with_ones = workspace.array(f"layer {number}", len(kernel) + 1, n_cells * n)
        with_ones[-1] = 1
        _cut_below_nought(np.matmul(kernel, hidden, out=with_ones[:-1]))
        hidden = with_ones
    # The mean over neighbours is taken of fewer numbers after their kernel than before it, and is the same.
    both = np.matmul(neighbour, hidden, out=workspace.array("both", len(neighbour), n_cells * n))
    judged, beside = np.split(both, 2)
    judged += _neighbourhood_mean(beside.reshape(-1, side, side, n), workspace).reshape(judged.shape)
    _cut_below_nought(judged)
    judged = judged.reshape(-1, n_cells, n)
    hidden = np.concatenate([judged.mean(axis=1), judged.max(axis=1), tile])
    for name in weights.layer_names("tile_"):
        hidden = weights.arrays[f"{name}.kernel"].T @ hidden + weights.arrays[f"{name}.bias"][:, None]
        np.maximum(hidden, 0, out=hidden)
    logit = weights.arrays["score.kernel"].T @ hidden + weights.arrays["score.bias"]
    return np.asarray(1 / (1 + np.exp(-logit[0])), np.float32)


def _cut_below_nought(rows: Float) -> None:
    """The rectifier in place: OpenCV's is eight times as fast as numpy's maximum with a number."""
    cv2.threshold(rows, 0, 0, cv2.THRESH_TOZERO, dst=rows)


def _neighbourhood_mean(image: Float, workspace: Workspace) -> Float:
    """Mean over each cell's 3 x 3 neighbourhood inside the tile, in place: (units, side, side, n)."""
    side = image.shape[1]
    rows = workspace.array("rows", *image.shape)
    rows[:, 0] = image[:, 0]
    np.add(image[:, 1:], image[:, :-1], out=rows[:, 1:])
    rows[:, :-1] += image[:, 1:]
    image[:, :, 0] = rows[:, :, 0]
    np.add(rows[:, :, 1:], rows[:, :, :-1], out=image[:, :, 1:])
    image[:, :, :-1] += rows[:, :, 1:]
    inside = np.full(side, 3, np.float32)
    inside[[0, -1]] = min(side, 2)
    image *= (1 / np.outer(inside, inside))[..., None].astype(np.float32)
    return image


def verdicts(
    scores: Float,
    decidable1: npt.NDArray[np.bool_],
    decidable2: npt.NDArray[np.bool_],
    weights: Weights | None = None,
) -> npt.NDArray[np.str_]:
    """``duplicate``, ``not_duplicate`` or ``undecidable`` for each of n pairs: (n,) strings.

    Undecidable only where either tile carries no evidence, whatever the score.
    """
    weights = weights or load_weights()
    decided = np.where(scores >= weights.threshold, DUPLICATE, NOT_DUPLICATE)
    return np.where(decidable1 & decidable2, decided, UNDECIDABLE)


def compare(tiles1: Bytes, tiles2: Bytes, weights: Weights | None = None) -> pd.DataFrame:
    """Judge pairs of tiles.

    Parameters
    ----------
    tiles1, tiles2 : (n, size, size, 3) uint8
        RGB; pair ``k`` is ``tiles1[k]`` and ``tiles2[k]``. The size is a multiple of 32, 256 as trained.
    weights : Weights, optional
        The shipped ones by default.

    Returns
    -------
    pandas.DataFrame
        ``score``, float32 from 0 to 1, and ``verdict``: ``duplicate``, ``not_duplicate`` or ``undecidable``.

    Raises
    ------
    ValueError
        If the arrays are not of that shape and dtype, or differ in shape.
    """
    for name, tiles in (("tiles1", tiles1), ("tiles2", tiles2)):
        if not isinstance(tiles, np.ndarray):
            raise ValueError(f"{name} is a {type(tiles).__name__}; stack the tiles with numpy.stack.")
        size = tiles.shape[1] if tiles.ndim == 4 else 0
        if tiles.dtype != np.uint8 or tiles.shape[1:] != (size, size, 3) or not size or size % CELL_SIZE:
            raise ValueError(
                f"{name} is {tiles.dtype} of shape {tiles.shape}; it must be uint8 (n, size, size, 3), RGB, "
                f"the size a multiple of {CELL_SIZE}."
            )
    if tiles1.shape != tiles2.shape:
        raise ValueError(f"tiles1 has shape {tiles1.shape}, tiles2 {tiles2.shape}; pairs need one shape.")
    weights = weights or load_weights()
    scores, decidable = [], []
    for start in range(0, len(tiles1), CHUNK):
        described = [describe(_grey(tiles[start : start + CHUNK]), weights) for tiles in (tiles1, tiles2)]
        scores.append(score_pairs(described[0].verify, described[1].verify, weights))
        decidable.append(described[0].decidable & described[1].decidable)
    score = np.concatenate([np.zeros(0, np.float32), *scores])
    both = np.concatenate([np.zeros(0, bool), *decidable])
    return pd.DataFrame({"score": score, "verdict": verdicts(score, both, both, weights)})


def _grey(tiles: Bytes) -> Bytes:
    """Luma of RGB tiles (n, size, size, 3), rounded to whole levels as in a JPEG file."""
    column = tiles.reshape(-1, tiles.shape[2], 3)
    grey = cv2.cvtColor(np.ascontiguousarray(column), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8).reshape(tiles.shape[:3])
