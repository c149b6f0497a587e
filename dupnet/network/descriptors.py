"""From tiles to compact descriptors: the encoder of the shipped network, and its weights, in numpy alone.

:mod:`dupnet.network.models` builds the same encoder in Keras; a test holds the two equal. Here it needs no
framework, so that ``dupnet find`` starts at once and runs at the speed of the decoder.
:mod:`dupnet.network.comparison` compares two descriptors.

A tile becomes two descriptors:

* **search**, 256 bytes: the tile at a quarter of its size, high-passed, projected onto fixed random
  directions and brought to length one. Its cosine finds candidates among millions.
* **verify**, 64 bytes a 32 px cell (4,096 for a 256 px tile): the cell projected onto seven filters, one a
  band of spatial frequency, in their eight orientations, as int8; beside them the power in each band and the
  cell's mean. Candidates are scored by it without the pixels.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import is_zipfile

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.network.collar_cells import MARK, collar_cells
from dupnet.network.filters import REDUCED_SIZE, SEARCH_BYTES, band_filters, centred_filters, orientations
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, MIN_EVIDENCE_CELLS, SMALLEST_TILE, TILE_SIZE

__all__ = [
    "DESCRIPTOR_VERSION",
    "Descriptors",
    "Head",
    "Weights",
    "describe",
    "describe_cells",
    "join_cells",
    "load_weights",
    "untrained_weights",
    "verify_bytes",
    "weights_bytes",
]

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

WEIGHTS = Path(__file__).parent / "weights" / "dupnet.npz"
SEARCH_PROJECTION = Path(__file__).parent / "weights" / "search_projection.npy"

DESCRIPTOR_VERSION = 2
"""What a cached descriptor means. Raise it with every change of decoding or describing that changes one byte:
a cache made by another version is made anew. A test pins descriptors of fixed tiles to this number."""

N_FILTERS, N_ORIENTATIONS = 7, 8
CODE_LENGTH = 127
"""Length of the eight codes of one filter: products of two such vectors, and their sums, fit into 16 bits."""

POWER_FLOOR = 0.2
"""Added to the power of eight projections, in squared grey levels: a third of what rounding leaves, 8 / 12.
So correlations fade where there is next to nothing to correlate."""

POWER_START, POWER_STEP = -1.7, 1 / 16
"""The stored logarithm of a power: from just below that of the floor, -1.61, in steps of which 255 reach 1.5
million squared levels."""

TILES_AT_A_TIME = 18
"""Tiles described at a time: their numbers, 5 MB, stay near the processor."""


class Head(NamedTuple):
    """Kernels (outputs, inputs + 1) of the dense layers, each with its bias in the last column."""

    cell: list[Float]
    """Of the layers of a cell, at least one."""
    context: Float
    """Of the layer whose mean over its neighbours a cell is seen beside; it has no bias."""
    neighbour: Float
    """Of the layer that sees a cell beside that mean."""
    tile: list[Float]
    """Of the layers after the cells are pooled, the score's the last."""


@dataclass(frozen=True)
class Weights:
    """A trained network as plain arrays, by the names that :func:`dupnet.network.models.to_arrays` gives
    them.

    ``arrays`` holds ``projection.filters`` (n_filters, 32, 32) and, of each head (``first_stage``,
    ``member_1`` and so on), the dense layers ``_cell_1``, ``_cell_2``, ``_context``, ``_neighbour``,
    ``_tile_1``, ``_tile_2`` and ``_score`` (``.kernel``, and but for ``_context`` ``.bias``);
    ``search_projection`` is :func:`dupnet.network.filters.search_directions` as shipped. ``deferral_band``
    are the logits of the first stage between which the members decide
    (:class:`dupnet.network.layers.Cascade`). A score of ``threshold``
    or more reads "duplicate".
    """

    arrays: Mapping[str, Float]
    search_projection: Float
    deferral_band: tuple[float, float]
    threshold: float

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Another process has the shipped ones itself."""
        if self is _shipped():
            return _shipped, ()
        return Weights, (self.arrays, self.search_projection, self.deferral_band, self.threshold)

    @cached_property
    def directions(self) -> Float:
        """(1024, 8 n_filters): the filters, centred and of length one, orientation by orientation."""
        turned = orientations(centred_filters(self.arrays["projection.filters"]))
        return np.ascontiguousarray(turned.swapaxes(0, 1).reshape(-1, CELL_SIZE * CELL_SIZE).T)

    @cached_property
    def first_stage(self) -> Head:
        """The dense layers that score every pair, as :mod:`dupnet.network.head` wants them."""
        return self._head("first_stage")

    @cached_property
    def ensemble(self) -> list[Head]:
        """Those that score the pairs which the first stage defers."""
        return [self._head(name) for name in self.member_names()]

    def _head(self, name: str) -> Head:
        def layers(names: Iterable[str]) -> list[Float]:
            kernels = (
                np.vstack([self.arrays[f"{layer}.kernel"], self.arrays[f"{layer}.bias"]]) for layer in names
            )
            return [np.ascontiguousarray(kernel.T) for kernel in kernels]

        return Head(
            layers(self.layer_names(f"{name}_cell_")),
            np.ascontiguousarray(self.arrays[f"{name}_context.kernel"].T),
            layers([f"{name}_neighbour"])[0],
            layers([*self.layer_names(f"{name}_tile_"), f"{name}_score"]),
        )

    def member_names(self) -> list[str]:
        """Names of the members of the ensemble, in their order."""
        ending = "_score.kernel"
        scores = (name.removesuffix(ending) for name in self.arrays if name.endswith(ending))
        return sorted((name for name in scores if name.startswith("member_")), key=_number)

    def layer_names(self, start: str) -> list[str]:
        """Names of the dense layers that start so, in their order."""
        kernels = [name.removesuffix(".kernel") for name in self.arrays if name.endswith(".kernel")]
        return sorted((name for name in kernels if name.startswith(start)), key=_number)

    @property
    def n_filters(self) -> int:
        return len(self.arrays["projection.filters"])


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


@dataclass(frozen=True)
class Descriptors:
    """What is kept of n tiles.

    ``search`` (n, 256) int8: length 127 within rounding, zero where the tile is undecidable; ``verify``
    (n, bytes) uint8; ``decidable`` (n,) bool: whether the pixels carry evidence.
    """

    search: npt.NDArray[np.int8]
    verify: Bytes
    decidable: npt.NDArray[np.bool_]


def verify_bytes(tile_size: int = TILE_SIZE, n_filters: int = N_FILTERS) -> int:
    """Length of a verify descriptor in bytes."""
    return (tile_size // CELL_SIZE) ** 2 * (n_filters * (N_ORIENTATIONS + 1) + 1)


def load_weights(source: str | os.PathLike[str] | IO[bytes] | Weights | None = None) -> Weights:
    """The shipped weights, or those of a file of ``dupnet`` that ``dupnet train``,
    :func:`dupnet.network.models.save_arrays` or :func:`weights_bytes` wrote; weights are given back as they
    are.

    Raises
    ------
    ValueError
        If the file is missing, or no such archive of plain arrays; nothing in it is ever unpickled.
    """
    if source is None:
        return _shipped()
    if isinstance(source, Weights):
        return source
    return _read_weights(Path(source) if isinstance(source, str | os.PathLike) else source)


def weights_bytes(weights: Weights) -> bytes:
    """The bytes of a file that :func:`load_weights` reads, so that another machine has the same weights."""
    config = {"architecture": "dupnet", "threshold": weights.threshold}
    config["deferral_band"] = weights.deferral_band
    file = io.BytesIO()
    stored = {"dupnet.json": np.array(json.dumps({"config": config})), **weights.arrays}
    np.savez_compressed(file, allow_pickle=False, **stored)
    return file.getvalue()


@lru_cache(maxsize=1)
def _shipped() -> Weights:
    return _read_weights(WEIGHTS)


def _read_weights(source: Path | IO[bytes]) -> Weights:
    try:
        if isinstance(source, Path):
            source.stat()  # an error that says what is missing
        if not is_zipfile(source):
            raise ValueError("it is no archive of arrays")
        with np.load(source, allow_pickle=False) as archive:
            config = json.loads(str(archive["dupnet.json"]))["config"]
            arrays = {
                name: archive[name].astype(np.float32) for name in archive.files if name != "dupnet.json"
            }
        if scaled := [name for name in arrays if name.endswith(".scale")]:
            raise ValueError(f"{scaled[0]} belongs to a kernel of a million values; load it with load_arrays")
        if config["architecture"] != "dupnet":
            raise ValueError(f"it holds {config['architecture']}")
        projection = np.load(SEARCH_PROJECTION, allow_pickle=False).astype(np.float32)
        lowest, highest = (float(bound) for bound in config["deferral_band"])
        if not lowest < highest:
            raise ValueError(f"deferral_band is between {lowest} and {highest}")
        weights = Weights(arrays, projection, (lowest, highest), float(config["threshold"]))
        _check_shapes(weights)
        return weights
    except Exception as error:  # a damaged archive makes its parsers raise nearly anything
        raise ValueError(
            f"{source} holds no weights of dupnet ({error}); give the dupnet.npz that `dupnet train` wrote."
        ) from error


def _check_shapes(weights: Weights) -> None:
    """What is missing, or of another shape than the layer before it asks for, shows here and not in a run."""
    n, members = weights.n_filters, weights.member_names()
    if not members:
        raise ValueError("there is no member_1")
    shapes: dict[str, tuple[int, ...]] = {"projection.filters": (n, CELL_SIZE, CELL_SIZE)}

    def dense(layer: str, n_inputs: int) -> int:
        n_outputs = weights.arrays[f"{layer}.bias"].size
        shapes.update({f"{layer}.kernel": (n_inputs, n_outputs), f"{layer}.bias": (n_outputs,)})
        return n_outputs

    for head in ("first_stage", *members):
        width = 3 * n + 6
        cell_layers = weights.layer_names(f"{head}_cell_")
        if not cell_layers:
            raise ValueError(f"there is no layer {head}_cell_1")
        for layer in cell_layers:
            width = dense(layer, width)
        n_context = weights.arrays[f"{head}_context.kernel"].shape[-1]
        shapes[f"{head}_context.kernel"] = (width, n_context)
        # The mean and the maximum over cells, and what is said of the tile.
        width = 2 * dense(f"{head}_neighbour", width + n_context) + 4 * n + 1
        for layer in weights.layer_names(f"{head}_tile_"):
            width = dense(layer, width)
        shapes.update({f"{head}_score.kernel": (width, 1), f"{head}_score.bias": (1,)})
    for name, shape in shapes.items():
        if weights.arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {weights.arrays[name].shape}, not {shape}")


@lru_cache(maxsize=1)
def untrained_weights() -> Weights:
    """The encoder alone, which is fixed: it describes tiles, and scores none."""
    projection = np.load(SEARCH_PROJECTION, allow_pickle=False).astype(np.float32)
    filters = {"projection.filters": band_filters(N_FILTERS)}
    return Weights(filters, projection, deferral_band=(-np.inf, np.inf), threshold=1.0)


def describe(grey_tiles: Bytes, weights: Weights | None = None) -> Descriptors:
    """Describe grey tiles (n, size, size) uint8, the size a multiple of 32 px and at least 64.

    Raises
    ------
    ValueError
        If the tiles are of another dtype, or no squares of so many whole cells.
    """
    weights = weights or load_weights()
    n, height, width = grey_tiles.shape if grey_tiles.ndim == 3 else (0, 0, 0)
    if grey_tiles.dtype != np.uint8 or height != width or height < SMALLEST_TILE or height % CELL_SIZE:
        raise ValueError(
            f"grey_tiles is {grey_tiles.dtype} of shape {grey_tiles.shape}; pass uint8 (n, size, size), the "
            f"size a multiple of {CELL_SIZE}, at least {SMALLEST_TILE}."
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
    # Rounded to bytes, the directions do not sum to zero, and would respond to brightness. It is subtracted
    # behind the product, which is exact, so that nothing depends on the tiles beside one.
    projected -= reduced.mean(axis=1, keepdims=True) * weights.search_projection.sum(axis=0)
    length = np.linalg.norm(projected, axis=1, keepdims=True)
    search = np.rint(projected * (127 / np.maximum(length, 1e-6))) * decidable[:, None]
    return Descriptors(search.astype(np.int8), verify, decidable)


def _cells(grey_tiles: Bytes, weights: Weights) -> tuple[Bytes, npt.NDArray[np.bool_], Float]:
    """Verify descriptors, decidable or not, and the reduced tiles (n, 4096) about mid grey."""
    n, size, _ = grey_tiles.shape
    side = size // CELL_SIZE
    by_cell = grey_tiles.reshape(n * side, CELL_SIZE, side, CELL_SIZE).swapaxes(1, 2)
    data, texture = describe_cells(by_cell.reshape(-1, CELL_SIZE, CELL_SIZE), weights)
    evidence = texture.reshape(n, -1) >= EVIDENCE_RMS
    marked = collar_cells(grey_tiles)
    if marked is not None:
        evidence &= ~marked.reshape(n, -1)
        data[marked.ravel(), -1 - weights.n_filters : -1] = MARK
    decidable = evidence.sum(axis=1) >= MIN_EVIDENCE_CELLS
    return join_cells(data.reshape(n, side * side, -1)), decidable, _reduce(grey_tiles)


def describe_cells(grey_cells: Bytes, weights: Weights | None = None) -> tuple[Bytes, Float]:
    """Describe grey cells (m, 32, 32) uint8, of which tiles are made.

    Returns
    -------
    data : (m, 64) uint8
        Of each cell the codes (8, n_filters) int8, its eight projections onto one filter at length 127 or,
        near the floor, less; the powers (n_filters,) uint8, the logarithm of their squared length; and its
        mean in grey levels.
    texture : (m,) float32
        As :func:`dupnet.tiles.cell_texture`.
    """
    weights = weights or load_weights()
    m = len(grey_cells)
    cells = grey_cells.reshape(m, CELL_SIZE**2).astype(np.float32)
    cells -= 128  # about mid grey, squares keep their precision in float32
    projections = np.ascontiguousarray((cells @ weights.directions).T).reshape(N_ORIENTATIONS, -1, m)
    power = np.square(projections).sum(axis=0) + np.float32(POWER_FLOOR)
    projections *= CODE_LENGTH / np.sqrt(power)
    logarithm = (np.log(power) - np.float32(POWER_START)) / np.float32(POWER_STEP)

    pixels = cells.reshape(m, CELL_SIZE, CELL_SIZE)
    row_means = pixels @ np.full(CELL_SIZE, 1 / CELL_SIZE, np.float32)
    col_means = np.full(CELL_SIZE, 1 / CELL_SIZE, np.float32) @ pixels
    mean = row_means.mean(axis=1)
    square = (cells[:, None] @ cells[:, :, None]).reshape(-1) / CELL_SIZE**2
    # As dupnet.tiles.cell_texture: the variance without that of the means of rows and of columns.
    variance = square - np.square(row_means).mean(axis=1) - np.square(col_means).mean(axis=1) + mean**2
    data = np.concatenate(
        [
            np.rint(projections).astype(np.int8).reshape(-1, m).view(np.uint8),
            np.minimum(np.rint(logarithm), 255).astype(np.uint8),
            np.rint(mean + 128).astype(np.uint8)[None],
        ]
    )
    return np.ascontiguousarray(data.T), np.sqrt(np.maximum(variance, 0))


def join_cells(data: Bytes) -> Bytes:
    """Verify descriptors (n, cells * 64) uint8 of tiles of cells (n, cells, 64), row by row in each tile.

    What :func:`describe_cells` says of its cells stands together in a tile: codes (8, n_filters, cells),
    powers (n_filters, cells) and means (cells).
    """
    return np.ascontiguousarray(data.swapaxes(1, 2)).reshape(len(data), -1)


def _reduce(grey_tiles: Bytes) -> Float:
    """Tiles (n, size, size) at the reduced size: (n, 4096), about mid grey."""
    n, size, _ = grey_tiles.shape
    step, rest = divmod(size, REDUCED_SIZE)
    if rest or step > 256:  # no whole number of pixels to an average, or too many for 16 bits
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
