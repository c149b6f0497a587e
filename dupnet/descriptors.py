"""From tiles to compact descriptors, and from two descriptors to a score: the shipped network, in numpy
alone. :mod:`dupnet.models` builds the same network in Keras, for training; a test holds the two equal. Here
it needs no framework, so that ``dupnet find`` starts at once and runs at the speed of the decoder.

A tile becomes two descriptors:

* **search**, 256 bytes: the tile at a quarter of its size, high-passed, projected onto fixed random
directions
  and brought to length one. Its cosine finds candidates among millions.
* **verify**, 61 bytes a 32 px cell (3,904 for a 256 px tile): the cell projected onto seven learned filters
in
  their eight orientations, as int8 with a scale, beside its texture and its mean. It judges candidates
  without the pixels.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
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
    "describe",
    "load_weights",
    "orientations",
    "score_pairs",
    "search_directions",
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
"""Length of a search descriptor.

Unrelated tiles reached a cosine of 0.52 with 128 directions, 0.46 with 256.
"""

N_ORIENTATIONS = 8
POWER_FLOOR = 0.2
"""Added to the power of eight projections, in squared grey levels: a third of what rounding leaves, 8 /
12."""

TILE_POWER_FLOOR = POWER_FLOOR / 16
"""The same for the mean over a tile, of which a few cells may carry all the evidence."""

TEXTURE_FLOOR = 0.05
"""Added to a cell's mean square before its logarithm, in squared grey levels: the same share of 1 / 12."""

LARGEST_GAIN = 3.0
"""Bound of a tile's gain, the logarithm of a ratio of powers: amplitudes 4.5 times as large.

Beyond it the two tiles are no copies of each other, whatever their means.
"""

CHUNK = 96
"""Pairs scored at a time, so that the intermediate arrays stay in the processor's cache."""

MIN_CHUNKS_TO_SHARE = 8
"""Chunks from which on threads are worth their start."""

WHOLE_ROWS = 16
"""Rows of a product come in multiples of this, which all take one path through BLAS: a pair's score is the
same to the last bit whatever it is scored beside."""

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
        """(1024, 8 n_filters): the learned filters, centred and of length one, in their eight
        orientations."""
        turned = orientations(centred_filters(self.arrays["projection.filters"]))
        return np.ascontiguousarray(turned.reshape(-1, CELL_SIZE * CELL_SIZE).T)

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


def verify_bytes(tile_size: int = TILE_SIZE, n_filters: int = 7) -> int:
    """Length of a verify descriptor in bytes."""
    return (tile_size // CELL_SIZE) ** 2 * (n_filters * N_ORIENTATIONS + 5)


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
    """Where training starts: ``n`` random patterns (n, size, size) of length one, from coarse to fine.

    Each is limited to a ring of spatial frequency, in half waves a cell; between 3 and 23 of them (waves of
    21 to 2.8 px) the rings' edges grow by a constant factor. Compression takes the fine rings first, so
    what each ring keeps tells how much it took.
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
        return Weights(arrays, projection, float(config["threshold"]))
    except Exception as error:  # a damaged archive makes its parsers raise nearly anything
        raise ValueError(
            f"{path} holds no weights of dupnet ({error}); write them with dupnet.models.save_arrays."
        ) from error


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
    """Verify descriptors, decidable or not, and the reduced tiles (n, 4096) about mid grey."""
    n, size, _ = grey_tiles.shape
    side = size // CELL_SIZE
    by_cell = grey_tiles.reshape(n * side, CELL_SIZE, side, CELL_SIZE).swapaxes(1, 2)
    cells = by_cell.reshape(-1, CELL_SIZE**2).astype(np.float32)
    cells -= 128  # about mid grey, squares keep their precision in float32
    projections = (cells @ weights.directions).reshape(n, side * side, -1)
    largest = np.maximum(projections.max(axis=2), -projections.min(axis=2))
    scale = (largest / 127).astype(np.float16)
    codes = np.rint(projections / np.maximum(scale, np.float16(1e-4)).astype(np.float32)[..., None])

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
        np.clip(codes, -127, 127).astype(np.int8).reshape(n, -1).view(np.uint8),
        scale.view(np.uint8),
        texture.astype(np.float16).view(np.uint8),
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
    per_cell = weights.n_filters * N_ORIENTATIONS + 5
    side = int(np.sqrt(verify1.shape[1] / per_cell))
    if verify1.shape != verify2.shape or verify1.shape[1] != side * side * per_cell:
        raise ValueError(
            f"verify1 has shape {verify1.shape}, verify2 {verify2.shape}; both must hold the same "
            f"number of verify descriptors of one tile size, {per_cell} bytes a cell."
        )
    n = len(verify1)
    if n % WHOLE_ROWS:
        place = np.minimum(np.arange(n + -n % WHOLE_ROWS), n - 1)
        verify1, verify2 = verify1[place], verify2[place]

    def score(start: int) -> Float:
        one, two = (_unpack(verify[start : start + CHUNK], side, weights) for verify in (verify1, verify2))
        return _head(one, two, side, weights)

    starts = range(0, len(verify1), CHUNK)
    # The products are small: BLAS's own threads would wait for each other longer than they work.
    with _blas().limit(limits=1, user_api="blas"):
        if len(starts) < MIN_CHUNKS_TO_SHARE:
            scores = [score(start) for start in starts]
        else:
            with ThreadPoolExecutor(n_workers()) as pool:
                scores = list(pool.map(score, starts))
    return np.concatenate(scores)[:n] if scores else np.zeros(0, np.float32)


def _unpack(verify: Bytes, side: int, weights: Weights) -> tuple[Float, Float, Float, Float]:
    """Codes (n * cells, 8 n_filters), scale, texture and mean (n, cells)."""
    n, cells = len(verify), side * side
    ends = np.cumsum([cells * weights.n_filters * N_ORIENTATIONS, 2 * cells, 2 * cells])
    codes, scale, texture, mean = np.split(verify, ends, axis=1)
    return (
        codes.view(np.int8).reshape(n * cells, -1).astype(np.float32),
        np.ascontiguousarray(scale).view(np.float16).astype(np.float32),
        np.ascontiguousarray(texture).view(np.float16).astype(np.float32),
        mean.astype(np.float32),
    )


def _head(
    one: tuple[Float, Float, Float, Float],
    two: tuple[Float, Float, Float, Float],
    side: int,
    weights: Weights,
) -> Float:
    """The head of :func:`dupnet.models.dupnet`: (n,) scores."""
    cells, tile = _features(one, two, weights.n_filters)
    n = len(tile)
    hidden = _dense(_dense(cells, "cell_1", weights), "cell_2", weights)
    beside = np.concatenate([hidden, _neighbourhood_mean(hidden, n, side)], axis=1)
    judged = _dense(beside, "neighbour", weights).reshape(n, side * side, -1)
    pooled = np.concatenate([judged.mean(axis=1), judged.max(axis=1), tile], axis=1)
    hidden = _dense(pooled, "tile_1", weights)
    logit = hidden @ weights.arrays["score.kernel"] + weights.arrays["score.bias"]
    return np.asarray(1 / (1 + np.exp(-logit[:, 0])), np.float32)


def _features(
    one: tuple[Float, Float, Float, Float], two: tuple[Float, Float, Float, Float], n_filters: int
) -> tuple[Float, Float]:
    """What two tiles say of each cell (n * cells, 3 n_filters + 8) and of the tile (n, 4 n_filters + 1).

    As :class:`dupnet.layers.CellFeatures` and :class:`dupnet.layers.TileFeatures`, which describe the
    columns.
    """
    (codes1, scale1, texture1, mean1), (codes2, scale2, texture2, mean2) = one, two
    n, n_cells = scale1.shape
    by_filter = np.repeat(np.eye(n_filters, dtype=np.float32), N_ORIENTATIONS, axis=0)
    flat1, flat2 = scale1.reshape(-1, 1), scale2.reshape(-1, 1)
    dot = ((codes1 * codes2) @ by_filter) * (flat1 * flat2)
    power1, power2 = (
        (codes * codes) @ by_filter * flat**2 for codes, flat in ((codes1, flat1), (codes2, flat2))
    )
    correlation = dot / np.sqrt((power1 + POWER_FLOOR) * (power2 + POWER_FLOOR))
    log1, log2 = np.log(power1 + POWER_FLOOR), np.log(power2 + POWER_FLOOR)
    total, total1, total2 = (part.sum(axis=1) for part in (dot, power1, power2))
    whole = total / np.sqrt((total1 + POWER_FLOOR) * (total2 + POWER_FLOOR))
    texture1, texture2 = (np.log(texture.ravel() ** 2 + TEXTURE_FLOOR) for texture in (texture1, texture2))
    weight = np.sqrt(total1 * total2 + POWER_FLOOR).reshape(n, n_cells)
    gain = np.log((total1 + POWER_FLOOR) / (total2 + POWER_FLOOR)).reshape(n, n_cells)
    tile_gain = (weight * gain).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    root = np.exp(np.clip(tile_gain, -LARGEST_GAIN, LARGEST_GAIN) / 4)
    level, levelled = (mean1 - mean2) / 32, (mean1 / root - mean2 * root) / 32
    cells = np.column_stack(
        [
            correlation,
            (log1 + log2) / 6,
            np.abs(log1 - log2) / 2,
            whole,
            (texture1 + texture2) / 6,
            np.abs(texture1 - texture2) / 2,
            np.abs(gain - tile_gain).ravel(),
            np.abs(level - level.mean(axis=1, keepdims=True)).ravel(),
            np.abs(levelled - levelled.mean(axis=1, keepdims=True)).ravel(),
            (mean1 + mean2).ravel() / 510,
            np.abs(level).ravel() / 2,
        ]
    )
    dot, power1, power2, mean_correlation = (
        part.reshape(n, n_cells, -1).mean(axis=1) for part in (dot, power1, power2, correlation)
    )
    log1, log2 = np.log(power1 + TILE_POWER_FLOOR), np.log(power2 + TILE_POWER_FLOOR)
    tile = np.column_stack(
        [
            dot / np.sqrt((power1 + TILE_POWER_FLOOR) * (power2 + TILE_POWER_FLOOR)),
            dot.sum(axis=1)
            / np.sqrt((power1.sum(axis=1) + TILE_POWER_FLOOR) * (power2.sum(axis=1) + TILE_POWER_FLOOR)),
            mean_correlation,
            (log1 + log2) / 6,
            np.abs(log1 - log2) / 2,
        ]
    )
    return np.asarray(cells, np.float32), np.asarray(tile, np.float32)


def _dense(inputs: Float, name: str, weights: Weights) -> Float:
    outputs: Float = inputs @ weights.arrays[f"{name}.kernel"]
    outputs += weights.arrays[f"{name}.bias"]
    np.maximum(outputs, 0, out=outputs)
    return outputs


def _neighbourhood_mean(cells: Float, n: int, side: int) -> Float:
    """Mean over each cell's 3 x 3 neighbourhood inside the tile: (n * cells, channels), one axis after the
    other."""
    image = cells.reshape(n, side, side, -1)
    for axis in (1, 2):
        total = image.copy()
        ahead, behind = (np.moveaxis(total, axis, 0)[part] for part in (np.s_[1:], np.s_[:-1]))
        source = np.moveaxis(image, axis, 0)
        ahead += source[:-1]
        behind += source[1:]
        count = np.full(side, 3, np.float32)
        count[[0, -1]] = min(side, 2)
        np.moveaxis(total, axis, -1)[...] /= count
        image = total
    return image.reshape(n * side * side, -1)


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
    weights : Weights, optional
        Of another network than the shipped one.

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
        if tiles.ndim != 4 or tiles.shape[-1] != 3 or tiles.dtype != np.uint8:
            raise ValueError(
                f"{name} is {tiles.dtype} of shape {tiles.shape}; it must be uint8 (n, size, size, 3), RGB."
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
