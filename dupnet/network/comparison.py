"""From two descriptors to a score and a verdict: the head of the shipped network, in numpy alone.

:mod:`dupnet.network.models` builds the same head in Keras, for training; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.network.collar_cells import fill_marked, is_marked
from dupnet.network.descriptors import (
    CODE_LENGTH,
    N_ORIENTATIONS,
    POWER_START,
    POWER_STEP,
    Head,
    Weights,
    describe,
    load_weights,
)
from dupnet.tiles import CELL_SIZE, MIN_EVIDENCE_CELLS, SMALLEST_TILE, grey_levels

__all__ = [
    "DUPLICATE",
    "NOT_DUPLICATE",
    "UNDECIDABLE",
    "compare",
    "compare_cells",
    "score_pairs",
    "decided_scores",
    "share_evidence",
    "verdicts",
]

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DUPLICATE, NOT_DUPLICATE, UNDECIDABLE = "duplicate", "not_duplicate", "undecidable"

LARGEST_GAIN = 1.5
"""Bound of a tile's gain, the logarithm of a ratio of amplitudes: 4.5 times as large. Beyond it the two tiles
are no copies of each other, whatever their means."""

CHUNK = 320
"""Pairs scored at a time: enough that threads, each with a chunk of its own, seldom wait for the
interpreter."""

WHOLE_ROWS = 64
"""Pairs come in multiples of this, padded where they are fewer, so that a pair's score depends as little as
may be on what it is scored beside: matrix products take other paths through ragged ends."""

SURE_SCORE = 0.99
"""Score from which on two tiles that share little are duplicates; below, nothing is said of them. Of 1,177
such hard pairs of Airbus tiles 517 of 545 duplicates reached it, and none of 205 of another day, of which two
were above one half."""

SHOWN_POWER = 2.0
"""Mean power of a filter from which on a cell shows something. Of cells of dark sea nearly all with a texture
of EVIDENCE_RMS have more, and most with one of less than 0.3, which is what rounding leaves, have less."""

POWERS = np.exp(POWER_START + POWER_STEP * np.arange(256)).astype(np.float32)
"""The power that each byte of a descriptor stands for."""

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

    def first(cells: Float, tile: Float, workspace: Workspace) -> tuple[Float]:
        return (_logits(cells, tile, weights.first_stage, workspace),)

    def ensemble(cells: Float, tile: Float, workspace: Workspace) -> tuple[Float]:
        members = [expit(_logits(cells, tile, member, workspace)) for member in weights.ensemble]
        return (np.mean(members, axis=0, dtype=np.float32),)

    logits = _in_chunks(verify1, verify2, weights, first, workers)[0]
    scores: Float = expit(logits)
    # As dupnet.network.layers.Cascade.
    lowest, highest = weights.deferral_band
    band = np.clip(np.minimum(logits - np.float32(lowest), np.float32(highest) - logits), 0, 1)
    deferred = np.flatnonzero(band)
    if len(deferred):
        found = _in_chunks(verify1[deferred], verify2[deferred], weights, ensemble, workers)[0]
        scores[deferred] += band[deferred] * (found - scores[deferred])
    marked = _marked_in_either(verify1, verify2, weights)
    scores[(~marked).sum(axis=1) < MIN_EVIDENCE_CELLS] = 0
    return scores


def share_evidence(verify1: Bytes, verify2: Bytes, weights: Weights | None = None) -> npt.NDArray[np.bool_]:
    """Whether two tiles of a pair show enough of the same ground to judge by, whatever the score: (n,) bool.

    A sixteenth of the cells, and no fewer than two, must show something in both, and be marked as a collar in
    neither: all that a clipped cloud and a dark sea have in common can be one spot.
    """
    weights = weights or load_weights()
    shared = ~_marked_in_either(verify1, verify2, weights)
    n_filters, n_cells = weights.n_filters, shared.shape[1]
    for verify in (verify1, verify2):
        powers = verify[:, n_cells * n_filters * N_ORIENTATIONS : -n_cells]
        powers = powers.reshape(len(verify), n_filters, n_cells)
        total = np.zeros(shared.shape, np.float32)
        for number in range(n_filters):
            total += POWERS[powers[:, number]]
        shared &= total >= n_filters * SHOWN_POWER
    return np.asarray(shared.sum(axis=1) >= max(MIN_EVIDENCE_CELLS, n_cells // 16))


def _marked_in_either(verify1: Bytes, verify2: Bytes, weights: Weights) -> npt.NDArray[np.bool_]:
    """Cells (n, cells) of pairs that a collar touches in one of the tiles."""
    n_filters = weights.n_filters
    n_cells = verify1.shape[1] // (n_filters * (N_ORIENTATIONS + 1) + 1)
    marked1, marked2 = (
        is_marked(verify, n_cells, n_filters, N_ORIENTATIONS) for verify in (verify1, verify2)
    )
    return marked1 | marked2


def decided_scores(
    verify1: Bytes, verify2: Bytes, weights: Weights | None = None, workers: int | None = None
) -> Float:
    """As :func:`score_pairs`, but NaN for pairs that cannot be decided.

    Those share too little (:func:`share_evidence`), and are not even there so much alike as
    :data:`SURE_SCORE` asks.
    """
    scores = score_pairs(verify1, verify2, weights, workers)
    scores[~share_evidence(verify1, verify2, weights) & (scores < SURE_SCORE)] = np.nan
    return scores


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
        return tuple(array[:0] for array in _in_chunks(empty, empty, weights, finish))
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


def _logits(cells: Float, tile: Float, head: Head, workspace: Workspace) -> Float:
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
    """Score pairs of tiles, and give each a verdict.

    Parameters
    ----------
    tiles1, tiles2 : (n, size, size, 3) uint8
        RGB; pair ``k`` is ``tiles1[k]`` and ``tiles2[k]``. The size is a multiple of 32 and at least 64, 256
        as trained.
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
        is_whole = size >= SMALLEST_TILE and not size % CELL_SIZE
        if tiles.dtype != np.uint8 or tiles.shape[1:] != (size, size, 3) or not is_whole:
            raise ValueError(
                f"{name} is {tiles.dtype} of shape {tiles.shape}; it must be uint8 (n, size, size, 3), RGB, "
                f"the size a multiple of {CELL_SIZE}, at least {SMALLEST_TILE}."
            )
    if tiles1.shape != tiles2.shape:
        raise ValueError(f"tiles1 has shape {tiles1.shape}, tiles2 {tiles2.shape}; pairs need one shape.")
    weights = weights or load_weights()
    scores, decidable = [], []
    for start in range(0, len(tiles1), CHUNK):
        described = [
            describe(grey_levels(tiles[start : start + CHUNK]), weights) for tiles in (tiles1, tiles2)
        ]
        pair = (described[0].verify, described[1].verify)
        scores.append(score_pairs(*pair, weights))
        decided = share_evidence(*pair, weights) | (scores[-1] >= SURE_SCORE)
        decidable.append(described[0].decidable & described[1].decidable & decided)
    score = np.concatenate([np.zeros(0, np.float32), *scores])
    both = np.concatenate([np.zeros(0, bool), *decidable])
    return pd.DataFrame({"score": score, "verdict": verdicts(score, both, both, weights)})
