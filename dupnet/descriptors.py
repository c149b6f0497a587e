"""From tiles to compact descriptors, and from two descriptors to a score: the shipped network, in numpy
alone.

:mod:`dupnet.models` builds the same network in Keras, for training; a test holds the two equal. Here it needs
no framework, so that ``dupnet find`` starts at once and runs at the speed of the decoder.

A tile becomes two descriptors:

* **search**, 256 bytes: the tile at a quarter of its size, high-passed, projected onto fixed random
  directions and brought to length one. Its cosine finds candidates among millions.
* **verify**, 64 bytes a 32 px cell (4,096 for a 256 px tile): the cell projected onto seven filters, one a
  band of spatial frequency, in their eight orientations, as int8; beside them the power in each band and the
  cell's mean. It judges candidates without the pixels.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import ThreadpoolController

from dupnet.images import n_workers
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, MIN_EVIDENCE_CELLS, TILE_SIZE

__all__ = [
    "DUPLICATE",
    "NOT_DUPLICATE",
    "SEARCH_BYTES",
    "UNDECIDABLE",
    "Descriptors",
    "Weights",
    "band_filters",
    "compare",
    "compare_cells",
    "describe",
    "load_weights",
    "orientations",
    "score_pairs",
    "search_directions",
    "untrained_weights",
    "verdicts",
    "verify_bytes",
]

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DUPLICATE, NOT_DUPLICATE, UNDECIDABLE = "duplicate", "not_duplicate", "undecidable"

WEIGHTS = Path(__file__).parent / "weights" / "dupnet.npz"
SEARCH_PROJECTION = Path(__file__).parent / "weights" / "search_projection.npy"

REDUCED_SIZE = 64
"""Side in pixels of the reduced tile that is searched by: a quarter of 256, where noise and JPEG have
averaged out."""

SEARCH_BYTES = 256
"""Length of a search descriptor. Unrelated tiles reached a cosine of 0.52 with 128 directions, 0.46 with
256."""

N_FILTERS, N_ORIENTATIONS = 7, 8
CODE_LENGTH = 127
"""Length of the eight codes of one filter: products of two such vectors, and their sums, fit into 16 bits."""

POWER_FLOOR = 0.2
"""Added to the power of eight projections, in squared grey levels: a third of what rounding leaves, 8 / 12.
So correlations fade where there is next to nothing to correlate."""

POWER_START, POWER_STEP = -1.7, 1 / 16
"""The stored logarithm of a power: from just below that of the floor, -1.61, in steps of which 255 reach 1.5
million squared levels."""

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

TILES_AT_A_TIME = 18
"""Tiles described at a time, for the same reason."""


@dataclass(frozen=True)
class Weights:
    """A trained network as plain arrays, by the names that :func:`dupnet.models.to_arrays` gives them.

    ``arrays`` holds ``projection.filters`` (n_filters, 32, 32) and the dense layers ``cell_1``, ``cell_2``,
    ``neighbour``, ``tile_1`` and ``score`` (``.kernel``, ``.bias``); ``search_projection`` is
    :func:`search_directions` as shipped. A score of ``threshold`` or more reads "duplicate".
    """

    arrays: Mapping[str, Float]
    search_projection: Float
    threshold: float

    @cached_property
    def directions(self) -> Float:
        """(1024, 8 n_filters): the filters, centred and of length one, orientation by orientation."""
        turned = orientations(centred_filters(self.arrays["projection.filters"]))
        return np.ascontiguousarray(turned.swapaxes(0, 1).reshape(-1, CELL_SIZE * CELL_SIZE).T)

    @cached_property
    def cell_layers(self) -> list[tuple[Float, Float]]:
        """The layers that judge a cell, and last the one that sees its neighbours: kernel (inputs, outputs)
        and floor (outputs,), so that ``max(inputs @ kernel, floor)`` is the layer's output less a constant,
        ``-floor``.

        ``relu(x + bias)`` is ``max(x, -bias) + bias``; what it adds is the next layer's to add.
        """
        names = self.layer_names("cell_")
        layers, added = [], np.zeros(3 * self.n_filters + 6, np.float32)
        for name in [*names, "neighbour"]:
            kernel, bias = self.arrays[f"{name}.kernel"], self.arrays[f"{name}.bias"]
            if name == "neighbour":
                added = np.concatenate([added, added])
            added = bias + added @ kernel
            layers.append((kernel, -added))
        return layers

    def layer_names(self, start: str) -> list[str]:
        """Names of the dense layers that start so, in their order."""
        kernels = [name.removesuffix(".kernel") for name in self.arrays if name.endswith(".kernel")]
        return sorted(name for name in kernels if name.startswith(start))

    @property
    def n_filters(self) -> int:
        return len(self.arrays["projection.filters"])


@dataclass(frozen=True)
class Descriptors:
    """What is kept of n tiles.

    ``search`` (n, 256) int8: length 127 within rounding, nought where the tile is undecidable; ``verify``
    (n, bytes) uint8; ``decidable`` (n,) bool: whether the pixels carry evidence.
    """

    search: npt.NDArray[np.int8]
    verify: Bytes
    decidable: npt.NDArray[np.bool_]


def verify_bytes(tile_size: int = TILE_SIZE, n_filters: int = N_FILTERS) -> int:
    """Length of a verify descriptor in bytes."""
    return (tile_size // CELL_SIZE) ** 2 * (n_filters * (N_ORIENTATIONS + 1) + 1)


def centred_filters(filters: Float) -> Float:
    """Filters (n, size, size) without their row and column means, of length one.

    So they answer to no stripe and no straight border, which repeat from tile to tile.
    """
    centred = filters - filters.mean(axis=1, keepdims=True)
    centred = centred - centred.mean(axis=2, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True) + 1e-9)
    return np.asarray(centred / length, np.float32)


def orientations(filters: Float) -> Float:
    """(n, size, size) -> (n, 8, size, size): the four quarter turns of each filter and of its mirror
    image."""
    turns = [np.rot90(filters, turn, axes=(1, 2)) for turn in range(4)]
    return np.ascontiguousarray(np.stack(turns + [turn.transpose(0, 2, 1) for turn in turns], axis=1))


def band_filters(n: int, size: int = CELL_SIZE, seed: int = 0) -> Float:
    """The encoder's filters: ``n`` random patterns (n, size, size) of length one, from coarse to fine.

    Each is limited to a ring of spatial frequency, in half waves a cell; between 3 and 23 of them (waves of
    21 to 2.8 px) the rings' edges grow by a constant factor. Compression takes the fine rings first, so what
    each ring keeps tells how much it took.
    """
    rng = np.random.default_rng(seed)
    waves = np.arange(size)
    basis = np.cos(np.pi * np.outer(waves, waves + 0.5) / size) * np.sqrt(2 / size)
    frequency = np.hypot(waves[:, None], waves)
    edges = np.array([1.0, *np.geomspace(3, 23, n - 1), np.hypot(CELL_SIZE, CELL_SIZE)]) * (size / CELL_SIZE)
    patterns = []
    for low, high in itertools.pairwise(edges):
        coefficients = rng.standard_normal((size, size)) * ((frequency >= low) & (frequency < high))
        coefficients[0, :] = coefficients[:, 0] = 0
        patterns.append(basis.T @ coefficients @ basis)
    return centred_filters(np.asarray(patterns, np.float32))


def search_directions(seed: int = 1) -> npt.NDArray[np.int8]:
    """The random directions of the search descriptor: (4096, 256) int8, as shipped in
    ``search_projection.npy``.

    White noise, high-passed like the reduced tile would be (Gaussian of 3 px, so 12 px of the tile), without
    row and column means: projecting onto it is projecting the high-passed tile onto the noise.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((SEARCH_BYTES, REDUCED_SIZE, REDUCED_SIZE)).astype(np.float32)
    slow = [cv2.GaussianBlur(plane, (0, 0), 3, borderType=cv2.BORDER_REFLECT) for plane in noise]
    planes = noise - np.asarray(slow, np.float32)
    planes -= planes.mean(axis=1, keepdims=True)
    planes -= planes.mean(axis=2, keepdims=True)
    directions = planes.reshape(SEARCH_BYTES, -1).T * (127 / np.abs(planes).max())
    return np.asarray(np.rint(directions), np.int8)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=4)
def load_weights(path: str | os.PathLike[str] | None = None) -> Weights:
    """The shipped weights, or those of a file that :func:`dupnet.models.save_arrays` wrote.

    Raises
    ------
    ValueError
        If the file is not such an archive of plain arrays; nothing in it is ever unpickled.
    """
    path = WEIGHTS if path is None else Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            config = json.loads(str(archive["dupnet.json"]))["config"]
            arrays = {
                name: archive[name].astype(np.float32) for name in archive.files if name != "dupnet.json"
            }
        if config["architecture"] != "dupnet":
            raise ValueError(f"it holds {config['architecture']}")
        projection = np.load(SEARCH_PROJECTION, allow_pickle=False).astype(np.float32)
        weights = Weights(arrays, projection, float(config["threshold"]))
        empty = np.zeros((1, verify_bytes(CELL_SIZE, weights.n_filters)), np.uint8)
        score_pairs(
            empty, empty, weights
        )  # what is missing, or of another shape, shows here and not in a run
        return weights
    except Exception as error:  # a damaged archive makes its parsers raise nearly anything
        raise ValueError(
            f"{path} holds no weights of dupnet ({error}); write them with dupnet.models.save_arrays."
        ) from error


@lru_cache(maxsize=1)
def untrained_weights() -> Weights:
    """The encoder alone, which is fixed: it describes tiles, and scores none."""
    projection = np.load(SEARCH_PROJECTION, allow_pickle=False).astype(np.float32)
    return Weights({"projection.filters": band_filters(N_FILTERS)}, projection, threshold=1.0)


def describe(grey_tiles: Bytes, weights: Weights | None = None) -> Descriptors:
    """Describe grey tiles (n, size, size) uint8, the size a multiple of 32 px.

    Raises
    ------
    ValueError
        If the tiles are not squares of whole cells.
    """
    weights = weights or load_weights()
    n, height, width = grey_tiles.shape
    if height != width or not height or height % CELL_SIZE:
        raise ValueError(
            f"grey_tiles has shape {grey_tiles.shape}; tiles must be squares of whole {CELL_SIZE} px cells."
        )
    if not n:
        empty = (
            np.zeros((0, SEARCH_BYTES), np.int8),
            np.zeros((0, verify_bytes(height, weights.n_filters)), np.uint8),
        )
        return Descriptors(*empty, np.zeros(0, bool))
    parts = [_cells(grey_tiles[at : at + TILES_AT_A_TIME], weights) for at in range(0, n, TILES_AT_A_TIME)]
    verify, decidable, reduced = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    # One product for all tiles: the directions, 4 MB, are read from memory once and not for every few tiles.
    projected = reduced @ weights.search_projection
    length = np.linalg.norm(projected, axis=1, keepdims=True)
    search = np.rint(projected * (127 / np.maximum(length, 1e-6))) * decidable[:, None]
    return Descriptors(search.astype(np.int8), verify, decidable)


def _cells(grey_tiles: Bytes, weights: Weights) -> tuple[Bytes, npt.NDArray[np.bool_], Float]:
    """Verify descriptors, decidable or not, and the reduced tiles (n, 4096) about mid grey.

    A verify descriptor holds, one after the other, codes (8, n_filters, cells) int8, the eight projections of
    a cell onto one filter at length 127 or, near the floor, less; powers (n_filters, cells) uint8, the
    logarithm of their squared length; and means (cells) uint8, in grey levels.
    """
    n, size, _ = grey_tiles.shape
    side = size // CELL_SIZE
    by_cell = grey_tiles.reshape(n * side, CELL_SIZE, side, CELL_SIZE).swapaxes(1, 2)
    cells = by_cell.reshape(-1, CELL_SIZE**2).astype(np.float32)
    cells -= 128  # about mid grey, squares keep their precision in float32
    by_place = (cells @ weights.directions).reshape(n, side * side, -1)
    projections = np.ascontiguousarray(by_place.swapaxes(1, 2)).reshape(n, N_ORIENTATIONS, -1, side * side)
    power = np.square(projections).sum(axis=1) + np.float32(POWER_FLOOR)
    projections *= (CODE_LENGTH / np.sqrt(power))[:, None]
    logarithm = (np.log(power) - np.float32(POWER_START)) / np.float32(POWER_STEP)

    pixels = cells.reshape(-1, CELL_SIZE, CELL_SIZE)
    row_means = pixels @ np.full(CELL_SIZE, 1 / CELL_SIZE, np.float32)
    col_means = np.full(CELL_SIZE, 1 / CELL_SIZE, np.float32) @ pixels
    mean = row_means.mean(axis=1)
    square = (cells[:, None] @ cells[:, :, None]).reshape(-1) / CELL_SIZE**2
    # As dupnet.tiles.cell_texture: the variance without that of the means of rows and of columns.
    variance = square - np.square(row_means).mean(axis=1) - np.square(col_means).mean(axis=1) + mean**2
    texture = np.sqrt(np.maximum(variance, 0)).reshape(n, -1)
    decidable = (texture >= EVIDENCE_RMS).sum(axis=1) >= MIN_EVIDENCE_CELLS

    verify = [
        np.rint(projections).astype(np.int8).reshape(n, -1).view(np.uint8),
        np.minimum(np.rint(logarithm), 255).astype(np.uint8).reshape(n, -1),
        np.rint(mean + 128).astype(np.uint8).reshape(n, -1),
    ]
    return np.concatenate(verify, axis=1), decidable, _reduce(grey_tiles)


def _reduce(grey_tiles: Bytes) -> Float:
    """Tiles (n, size, size) at the reduced size: (n, 4096), about mid grey."""
    n, size, _ = grey_tiles.shape
    step, rest = divmod(size, REDUCED_SIZE)
    if rest or step > 16:  # no whole number of pixels to an average, or too many for 16 bits
        column = grey_tiles.reshape(n * size, size).astype(np.float32) - 128
        reduced = cv2.resize(column, (REDUCED_SIZE, n * REDUCED_SIZE), interpolation=cv2.INTER_AREA)
        return np.asarray(reduced, np.float32).reshape(n, -1)
    rows = grey_tiles.reshape(n * REDUCED_SIZE, step, size)
    narrow = rows[:, 0].astype(np.uint16)
    for row in range(1, step):
        narrow += rows[:, row]
    total = narrow[:, ::step].astype(np.float32)
    for col in range(1, step):
        total += narrow[:, col::step]
    return np.asarray(total / step**2 - 128, np.float32).reshape(n, -1)


def score_pairs(verify1: Bytes, verify2: Bytes, weights: Weights | None = None) -> Float:
    """Score in [0, 1] of each pair of verify descriptors, two (n, bytes) uint8 arrays: (n,) float32.

    The same in either order, and under one flip or quarter turn of both tiles.

    Raises
    ------
    ValueError
        If the arrays are not verify descriptors of one tile size.
    """
    weights = weights or load_weights()
    return _in_chunks(verify1, verify2, weights, lambda cells, tile: (_judge(cells, tile, weights),))[0]


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

    def transposed(cells: Float, tile: Float) -> tuple[Float, Float]:
        side = int(np.sqrt(cells.shape[1]))
        return cells.transpose(2, 1, 0).reshape(cells.shape[2], side, side, -1), tile.T

    cells, tile = _in_chunks(verify1, verify2, weights or load_weights(), transposed)
    return cells, tile


def _in_chunks(
    verify1: Bytes, verify2: Bytes, weights: Weights, finish: Callable[[Float, Float], tuple[Float, ...]]
) -> tuple[Float, ...]:
    """``finish(*_features(...))`` of all pairs, whose arrays have one row a pair."""
    per_cell = weights.n_filters * (N_ORIENTATIONS + 1) + 1
    side = int(np.sqrt(verify1.shape[1] / per_cell))
    if verify1.shape != verify2.shape or verify1.shape[1] != side * side * per_cell:
        raise ValueError(
            f"verify1 has shape {verify1.shape}, verify2 {verify2.shape}; both must hold the same "
            f"number of verify descriptors of one tile size, {per_cell} bytes a cell."
        )
    n = len(verify1)

    def part(start: int) -> tuple[Float, ...]:
        one, two = (verify[start : start + CHUNK] for verify in (verify1, verify2))
        n_here = len(one)
        if n_here % WHOLE_ROWS:  # the last pair again
            rows = np.minimum(np.arange(n_here + -n_here % WHOLE_ROWS), n_here - 1)
            one, two = one[rows], two[rows]
        found = finish(*_features(one, two, side, weights.n_filters))
        return tuple(array[:n_here] for array in found)

    starts = range(0, n, CHUNK)
    # The products are small: BLAS's own threads would wait for each other longer than they work.
    with _blas().limit(limits=1, user_api="blas"):
        if len(starts) < MIN_CHUNKS_TO_SHARE:
            parts = [part(start) for start in starts]
        else:
            with ThreadPoolExecutor(n_workers()) as pool:
                parts = list(pool.map(part, starts))
    if not parts:
        empty = np.zeros((1, verify1.shape[1]), np.uint8)
        return tuple(array[:0] for array in finish(*_features(empty, empty, side, weights.n_filters)))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _features(verify1: Bytes, verify2: Bytes, side: int, n_filters: int) -> tuple[Float, Float]:
    """What two tiles say of each cell (3 n_filters + 6, cells, n) and of the tile (4 n_filters + 1, n).

    As :class:`dupnet.layers.CellFeatures` and :class:`dupnet.layers.TileFeatures`, which describe the rows.
    Pairs come last, side by side, so that every sum over cells runs along whole rows.
    """
    n, n_cells = len(verify1), side * side
    ends = np.cumsum([n_cells * n_filters * N_ORIENTATIONS, n_cells * n_filters])
    (codes1, powers1, means1), (codes2, powers2, means2) = (
        np.split(verify, ends, axis=1) for verify in (verify1, verify2)
    )
    by_orientation = (n, N_ORIENTATIONS, n_filters * n_cells)
    factors = (codes.view(np.int8).reshape(by_orientation) for codes in (codes1, codes2))
    products = np.multiply(*factors, dtype=np.int16).sum(axis=1, dtype=np.int16)
    one, two = (powers.reshape(n, n_filters, n_cells) for powers in (powers1, powers2))

    cells = np.empty((3 * n_filters + 6, n_cells, n), np.float32)
    correlation, middle, difference = np.split(cells[: 3 * n_filters], 3)
    correlation[...] = products.reshape(n, n_filters, n_cells).transpose(1, 2, 0)
    correlation *= 1 / CODE_LENGTH**2
    middle[...] = np.add(one, two, dtype=np.int16).transpose(1, 2, 0)
    middle *= POWER_STEP / 6
    difference[...] = np.subtract(one, two, dtype=np.int16).transpose(1, 2, 0)
    difference *= POWER_STEP
    weight = np.exp(3 * middle)  # the geometric mean of both powers, but for a factor
    weighted = weight * correlation
    per_cell, per_filter = weight.sum(axis=0), weight.sum(axis=1)
    gain = (weight * difference).sum(axis=0)
    tile_gain = gain.sum(axis=0) / per_cell.sum(axis=0)
    np.abs(difference, out=difference)
    difference *= 0.5
    # Of powers: its fourth root is half of an amplitude's, taken from one tile and given to the other.
    root = np.exp(np.clip(tile_gain, -LARGEST_GAIN, LARGEST_GAIN) / 4)
    mean1, mean2 = means1.T.astype(np.float32), means2.T.astype(np.float32)
    level, levelled = (mean1 - mean2) / 32, (mean1 / root - mean2 * root) / 32
    whole, uneven_gain, uneven_level, uneven_levelled, brightness, apart = cells[3 * n_filters :]
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


def _judge(cells: Float, tile: Float, weights: Weights) -> Float:
    """The dense layers of :func:`dupnet.models.dupnet`: (n,) scores."""
    _, n_cells, n = cells.shape
    *first, (kernel, floor) = weights.cell_layers
    hidden = cells.reshape(len(cells), -1).T
    for one_kernel, one_floor in first:
        hidden = hidden @ one_kernel
        _raise_to(one_floor, hidden, n)
    # The mean over neighbours is taken of fewer numbers after their kernel than before it, and is the same.
    alone, beside = kernel[: hidden.shape[1]], kernel[hidden.shape[1] :]
    judged = _neighbourhood_mean((hidden @ beside).reshape(n_cells, -1))
    judged = judged.reshape(len(hidden), -1)
    judged += hidden @ alone
    _raise_to(floor, judged, n)
    judged = judged.reshape(n_cells, n, -1)
    hidden = np.concatenate([judged.mean(axis=0) - floor, judged.max(axis=0) - floor, tile.T], axis=1)
    for name in weights.layer_names("tile_"):
        hidden = hidden @ weights.arrays[f"{name}.kernel"] + weights.arrays[f"{name}.bias"]
        np.maximum(hidden, 0, out=hidden)
    logit = hidden @ weights.arrays["score.kernel"] + weights.arrays["score.bias"]
    return np.asarray(1 / (1 + np.exp(-logit[:, 0])), np.float32)


def _raise_to(floor: Float, rows: Float, n: int) -> None:
    """``max(rows, floor)`` in place, ``n`` rows at a time: one long row is faster than many short ones."""
    long_rows = rows.reshape(-1, n * rows.shape[1])
    np.maximum(long_rows, np.tile(floor, n), out=long_rows)


def _neighbourhood_mean(cells: Float) -> Float:
    """Mean over each cell's 3 x 3 neighbourhood inside the tile: (cells, n), one axis after the other."""
    side = int(np.sqrt(len(cells)))
    image = cells.reshape(side, side, -1)
    rows = image.copy()
    rows[1:] += image[:-1]
    rows[:-1] += image[1:]
    both = rows.copy()
    both[:, 1:] += rows[:, :-1]
    both[:, :-1] += rows[:, 1:]
    inside = np.full(side, 3, np.float32)
    inside[[0, -1]] = min(side, 2)
    both *= (1 / np.outer(inside, inside))[..., None].astype(np.float32)
    return both.reshape(cells.shape)


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
