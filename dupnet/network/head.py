"""The head of the shipped network in numpy alone: what two verify descriptors say, cell by cell and as
wholes, and the dense layers above.

:mod:`dupnet.network.models` builds the same in Keras, for training; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.network.collar_cells import fill_marked, is_marked
from dupnet.network.descriptors import (
    CODE_LENGTH,
    N_ORIENTATIONS,
    POWER_STEP,
    Head,
    Weights,
    load_weights,
)

__all__ = ["CHUNK", "Workspace", "compare_cells", "in_chunks", "logits"]

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

LARGEST_GAIN = 1.5
"""Bound of a tile's gain, the logarithm of a ratio of amplitudes: 4.5 times as large. Beyond it the two tiles
are no copies of each other, whatever their means."""

CHUNK = 320
"""Pairs scored at a time: enough that threads, each with a chunk of its own, seldom wait for the
interpreter."""

WHOLE_ROWS = 64
"""Pairs come in multiples of this, padded where they are fewer, so that a pair's score depends as little as
may be on what it is scored beside: matrix products take other paths through ragged ends."""

MIN_CHUNKS_TO_SHARE = 4
"""Chunks from which on threads are worth their start."""


def compare_cells(verify1: Bytes, verify2: Bytes, weights: Weights | None = None) -> tuple[Float, Float]:
    """What the head of the network sees of each pair: the inputs of its dense layers.

    Returns
    -------
    cells : (n, side, side, 3 n_filters + 6) float32
        Of :class:`dupnet.network.layers.CellFeatures`, which describes the columns.
    tile : (n, 4 n_filters + 1) float32
        Of :class:`dupnet.network.layers.TileFeatures`.

    Raises
    ------
    ValueError
        If the arrays are not verify descriptors of one tile size.
    """

    def transposed(cells: Float, tile: Float, _: Workspace) -> tuple[Float, Float]:
        rows, n_cells, n = cells.shape
        side = int(np.sqrt(n_cells))
        by_pair = np.ascontiguousarray(cells[:-1].transpose(2, 1, 0))
        return by_pair.reshape(n, side, side, rows - 1), tile.T.copy()

    cells, tile = in_chunks(verify1, verify2, weights or load_weights(), transposed)
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


def in_chunks(
    verify1: Bytes,
    verify2: Bytes,
    weights: Weights,
    finish: Callable[[Float, Float, Workspace], tuple[Float, ...]],
    workers: int | None = None,
) -> tuple[Float, ...]:
    """``finish`` of what :func:`_features` says of all pairs: arrays with one row a pair, not of the
    workspace."""
    per_cell = weights.n_filters * (N_ORIENTATIONS + 1) + 1
    n, n_bytes = verify1.shape if verify1.ndim == 2 else (0, 0)
    side = int(np.sqrt(n_bytes / per_cell))
    are_bytes = verify1.dtype == verify2.dtype == np.uint8
    if not are_bytes or verify1.shape != verify2.shape or not side or n_bytes != side * side * per_cell:
        raise ValueError(
            f"verify1 is {verify1.dtype} of shape {verify1.shape}, verify2 {verify2.dtype} of shape "
            f"{verify2.shape}; both must hold the same number of verify descriptors of one tile size, uint8 "
            f"(n, bytes), {per_cell} bytes a cell."
        )
    workers = n_workers(workers)

    def part(start: int, workspace: Workspace) -> tuple[Float, ...]:
        n_here = min(CHUNK, n - start)
        n_padded = n_here + -n_here % WHOLE_ROWS
        # Copied: products that wait for memory take longer than the copy and the products.
        both = workspace.array("verify", 2, n_padded, verify1.shape[1], dtype=np.uint8)
        for copy, verify in zip(both, (verify1, verify2), strict=True):
            copy[:n_here] = verify[start : start + n_here]
            copy[n_here:] = copy[n_here - 1]  # the last pair again
        marked1, marked2 = is_marked(both, side * side, weights.n_filters, N_ORIENTATIONS)
        marked = marked1 | marked2
        if marked.any():
            fill_marked(both, marked, weights.n_filters)
        found = finish(*_features(both[0], both[1], side, weights.n_filters, workspace), workspace)
        return tuple(array[:n_here] for array in found)

    def parts(starts: range) -> list[tuple[Float, ...]]:
        workspace = Workspace()
        return [part(start, workspace) for start in starts]

    if not n:
        empty = np.zeros((1, verify1.shape[1]), np.uint8)
        return tuple(array[:0] for array in in_chunks(empty, empty, weights, finish))
    starts = range(0, n, CHUNK)
    n_threads = workers if len(starts) >= MIN_CHUNKS_TO_SHARE else 1
    with one_blas_thread():
        if n_threads == 1:
            found = parts(starts)
        else:
            found = [()] * len(starts)
            portions = [starts[thread::n_threads] for thread in range(n_threads)]
            for thread, share in enumerate(map_in_order(parts, portions, n_threads)):
                found[thread::n_threads] = share
    return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


def _features(
    verify1: Bytes, verify2: Bytes, side: int, n_filters: int, workspace: Workspace
) -> tuple[Float, Float]:
    """What two tiles say of each cell (3 n_filters + 6 and one of ones, cells, n) and of the tile
    (4 n_filters + 1, n), both in the workspace.

    As :class:`dupnet.network.layers.CellFeatures` and :class:`dupnet.network.layers.TileFeatures`, which
    describe the rows. Pairs come last, side by side, so that every sum over cells runs along whole rows. Each
    step is one call for many numbers: threads wait for the interpreter between calls.
    """
    n, n_cells = len(verify1), side * side
    n_codes = n_cells * n_filters * N_ORIENTATIONS
    codes1, codes2 = (
        verify[:, :n_codes].view(np.int8).reshape(n, N_ORIENTATIONS, -1) for verify in (verify1, verify2)
    )
    products = np.einsum("noc,noc->nc", codes1, codes2, dtype=np.int16)
    (power1, mean1), (power2, mean2) = (
        np.split(cv2.transpose(verify[:, n_codes:]), [n_filters * n_cells]) for verify in (verify1, verify2)
    )

    rows = workspace.array("rows", 5 * n_filters + 7, n_cells, n)
    by_filter = rows[: 5 * n_filters].reshape(5, n_filters * n_cells, n)
    weight, weighted, correlation, difference, middle = by_filter
    np.multiply(cv2.transpose(products), np.float32(1 / CODE_LENGTH**2), out=correlation, dtype=np.float32)
    cv2.addWeighted(power1, POWER_STEP / 2, power2, -POWER_STEP / 2, 0, dst=difference, dtype=cv2.CV_32F)
    cv2.addWeighted(power1, POWER_STEP / 6, power2, POWER_STEP / 6, 0, dst=middle, dtype=cv2.CV_32F)
    # The geometric mean of both powers, but for a factor.
    np.multiply(middle, 3, out=weight)
    cv2.exp(weight, dst=weight)
    np.multiply(weight, difference, out=weighted)
    gain = weighted.reshape(n_filters, n_cells, n).sum(axis=0)
    np.multiply(weight, correlation, out=weighted)
    np.abs(difference, out=difference)
    per_cell, in_cell = by_filter[:2].reshape(2, n_filters, n_cells, n).sum(axis=1)
    tile_gain = gain.sum(axis=0) / per_cell.sum(axis=0)

    whole, uneven_gain, uneven_level, uneven_levelled, apart, brightness, ones = rows[5 * n_filters :]
    np.divide(in_cell, per_cell, out=whole)
    np.divide(gain, per_cell, out=uneven_gain)
    cv2.addWeighted(mean1, 1 / 32, mean2, -1 / 32, 0, dst=uneven_level, dtype=cv2.CV_32F)
    np.abs(uneven_level, out=apart)
    # Half of the gain is taken from one tile and given to the other.
    root = np.exp(np.clip(tile_gain, -LARGEST_GAIN, LARGEST_GAIN) / 2)
    np.subtract(mean1 * (1 / (32 * root)), mean2 * (root / 32), out=uneven_levelled)
    uneven = rows[5 * n_filters + 1 : 5 * n_filters + 4]
    of_tile = uneven.mean(axis=1)
    of_tile[0] = tile_gain
    uneven -= of_tile[:, None]
    np.abs(uneven, out=uneven)
    cv2.addWeighted(mean1, 1 / 510, mean2, 1 / 510, 0, dst=brightness, dtype=cv2.CV_32F)
    ones[...] = 1

    per_filter, in_filter, correlations, differences = _mean_over_cells(rows[: 4 * n_filters]).reshape(
        4, n_filters, n
    )
    tile = workspace.array("tile", 4 * n_filters + 1, n)
    np.divide(in_filter, per_filter, out=tile[:n_filters])
    np.divide(in_filter.sum(axis=0), per_filter.sum(axis=0), out=tile[n_filters])
    rest = tile[n_filters + 1 :].reshape(3, n_filters, n)
    rest[0], rest[2] = correlations, differences
    np.multiply(np.log(per_filter), 1 / 3, out=rest[1])
    return rows[2 * n_filters :], tile


def logits(cells: Float, tile: Float, head: Head, workspace: Workspace) -> Float:
    """The dense layers of :func:`dupnet.network.architectures.heads`: (n,) logits."""
    _, n_cells, n = cells.shape
    n_context, n_neighbour = len(head.context), len(head.neighbour)
    hidden = cells.reshape(len(cells), -1)
    for number, kernel in enumerate(head.cell):
        # With room for the context, in the last, and for a row of ones.
        n_rows = len(kernel) + 1 + (n_context if kernel is head.cell[-1] else 0)
        filled = workspace.array(f"cell {number}", n_rows, n_cells * n)
        filled[-1] = 1
        _relu_inplace(np.matmul(kernel, hidden, out=filled[: len(kernel)]))
        hidden = filled
    context = workspace.array("context", n_context, n_cells * n)
    np.matmul(head.context, hidden[: -1 - n_context], out=context)
    _neighbourhood_mean(context, hidden[-1 - n_context : -1], int(np.sqrt(n_cells)), workspace)
    nearby = np.matmul(head.neighbour, hidden, out=workspace.array("nearby", n_neighbour, n_cells * n))
    _relu_inplace(nearby)
    nearby = nearby.reshape(n_neighbour, n_cells, n)
    below = np.concatenate([_mean_over_cells(nearby), nearby.max(axis=1), tile])
    for kernel in head.tile:
        above = kernel[:, :-1] @ below + kernel[:, -1:]
        below = np.maximum(above, 0)
    return np.asarray(above[0], np.float32)


def _mean_over_cells(rows: Float) -> Float:
    """(n_rows, cells, n) -> (n_rows, n)."""
    n_cells = rows.shape[1]
    return (np.full((1, n_cells), 1 / n_cells, np.float32) @ rows)[:, 0]


def _relu_inplace(rows: Float) -> None:
    """The rectifier in place: OpenCV's is eight times as fast as numpy's maximum with a number."""
    cv2.threshold(rows, 0, 0, cv2.THRESH_TOZERO, dst=rows)


def _neighbourhood_mean(rows: Float, out: Float, side: int, workspace: Workspace) -> None:
    """Mean over each cell's 3 x 3 neighbourhood inside the tile, of rows (units, cells * n)."""
    near = _near(side)
    by_row = (len(rows), side, -1)
    by_col = (len(rows) * side, side, -1)
    means = workspace.array("means", *rows.shape)
    np.matmul(near, rows.reshape(by_row), out=means.reshape(by_row))
    np.matmul(near, means.reshape(by_col), out=out.reshape(by_col))


@lru_cache(maxsize=4)
def _near(side: int) -> Float:
    """Weights (side, side) of each place in a row of cells in the mean of another and those beside it."""
    near = (np.abs(np.subtract.outer(np.arange(side), np.arange(side))) <= 1).astype(np.float32)
    return np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)
