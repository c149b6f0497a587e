"""The Keras layers of ``dupnet``: cells, projections in eight orientations, symmetric comparison, pooling.

Each is unchanged, or only permuted, by flips and quarter turns, so that the network built of them is
invariant by construction. Registered with Keras, so that a saved model loads in safe mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from dupnet.network.descriptors import (
    CODE_LENGTH,
    N_FILTERS,
    N_ORIENTATIONS,
    POWER_FLOOR,
    POWER_START,
    POWER_STEP,
)
from dupnet.network.filters import band_filters
from dupnet.network.head import LARGEST_GAIN
from dupnet.tiles import CELL_SIZE

__all__ = ["Cascade", "CellFeatures", "CellProjection", "NeighbourhoodMean", "PoolCells", "TileFeatures"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), as in JPEG and in OpenCV."""


@keras.saving.register_keras_serializable(package="dupnet")
class CellProjection(keras.layers.Layer):  # type: ignore[misc]
    """Cut a tile into cells and project each onto filters in all eight orientations: the verify descriptor.

    Call with RGB or grey tiles (batch, size, size, 3 or 1), 0 to 255. Returns, for the ``size / cell_size``
    squared cells of each, a dictionary of float32 tensors that hold whole numbers, as the bytes of
    :func:`dupnet.network.descriptors.describe` do: ``codes`` (batch, rows, cols, n_filters, 8), the
    projections at length 127 or, near the floor, less; ``powers`` (batch, rows, cols, n_filters), the
    logarithm of their squared length in steps of 1/16; ``mean`` (batch, rows, cols, 1) in grey levels.
    Gradients pass the rounding as if it were not there.

    A flip or quarter turn of the tile moves the cells and permutes the last axis of the codes, nothing else.
    """

    def __init__(self, n_filters: int = N_FILTERS, cell_size: int = CELL_SIZE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_filters = n_filters
        self.cell_size = cell_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.filters = self.add_weight(
            shape=(self.n_filters, self.cell_size, self.cell_size),
            initializer=self._start,
            name="filters",
        )

    def _start(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Random patterns, each in a ring of spatial frequency: from waves as long as the cell to the
        finest."""
        return ops.convert_to_tensor(band_filters(shape[0], shape[1]) * shape[1], dtype="float32")

    def call(self, tiles: Any) -> dict[str, Any]:
        size, side = self.cell_size, tiles.shape[1] // self.cell_size
        levels = ops.cast(tiles, "float32")
        # Whole levels, as a grey image file holds them and as the numpy encoder gets them.
        grey = (
            levels[..., 0]
            if tiles.shape[-1] == 1
            else ops.round(ops.dot(levels, ops.convert_to_tensor(LUMA)))
        )
        cells = ops.transpose(ops.reshape(grey, (-1, side, size, side, size)), (0, 1, 3, 2, 4))
        row_means = ops.mean(cells, axis=-1, keepdims=True)
        col_means = ops.mean(cells, axis=-2, keepdims=True)
        mean = ops.mean(row_means, axis=-2, keepdims=True)
        flat = ops.reshape(cells - row_means - col_means + mean, (-1, side, side, size * size))
        kernel = ops.reshape(ops.stack(_orientations(_centred(self.filters)), axis=1), (-1, size * size))
        projections = ops.matmul(flat, ops.transpose(kernel))
        projections = ops.reshape(projections, (-1, side, side, self.n_filters, N_ORIENTATIONS))
        power = ops.sum(ops.square(projections), axis=-1) + POWER_FLOOR
        codes = projections * ops.expand_dims(CODE_LENGTH / ops.sqrt(power), axis=-1)
        powers = ops.minimum((ops.log(power) - POWER_START) / POWER_STEP, 255.0)
        return {"codes": _rounded(codes), "powers": _rounded(powers), "mean": _rounded(mean[..., 0])}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> dict[str, tuple[int | None, ...]]:
        side = (input_shape[1] or 0) // self.cell_size
        cells = (input_shape[0], side, side)
        return {
            "codes": (*cells, self.n_filters, N_ORIENTATIONS),
            "powers": (*cells, self.n_filters),
            "mean": (*cells, 1),
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_filters": self.n_filters, "cell_size": self.cell_size}


def _centred(filters: Any) -> Any:
    """Filters (n, size, size) without their row and column means, of length one."""
    centred = filters - ops.mean(filters, axis=1, keepdims=True)
    centred = centred - ops.mean(centred, axis=2, keepdims=True)
    return centred / ops.sqrt(ops.sum(ops.square(centred), axis=(1, 2), keepdims=True) + 1e-9)


def _orientations(filters: Any) -> list[Any]:
    """The four quarter turns of filters (n, size, size) and their mirror images."""
    turns = [ops.rot90(filters, k=turn, axes=(1, 2)) for turn in range(4)]
    return turns + [ops.swapaxes(turn, 1, 2) for turn in turns]


def _rounded(values: Any) -> Any:
    return values + ops.stop_gradient(ops.round(values) - values)


@keras.saving.register_keras_serializable(package="dupnet")
class CellFeatures(keras.layers.Layer):  # type: ignore[misc]
    """What two encodings say of each cell, the same in either order: (batch, rows, cols, 3 n_filters + 6).

    In this order: the correlation of the codes, filter by filter; half the absolute difference of their log
    powers, and half the sum (over 3); the correlation over all filters; how far the cell's gain is from that
    of the tile, since processing changes the gain of a whole tile and not of one cell; how far the difference
    of the means, in 32 levels, is from the tile's, as they are and with the tile's gain taken out of them;
    the difference of the means, in 32 levels; and the middle of the means, in 255 levels, for a cell near
    white may be clipped in one tile alone.
    """

    def call(self, encoding1: Mapping[str, Any], encoding2: Mapping[str, Any]) -> Any:
        correlation, difference, middle = _compared(encoding1, encoding2)
        weight = _weight(middle)
        total = ops.sum(weight, axis=-1, keepdims=True)
        gain = ops.sum(weight * difference, axis=-1, keepdims=True) / total
        tile_gain = _tile_mean(total * gain) / _tile_mean(total)
        # Half of it is taken from one tile and given to the other.
        root = ops.exp(ops.clip(tile_gain, -LARGEST_GAIN, LARGEST_GAIN) / 2.0)
        mean1, mean2 = encoding1["mean"], encoding2["mean"]
        level, levelled = (mean1 - mean2) / 32.0, (mean1 / root - mean2 * root) / 32.0
        features = [
            correlation,
            ops.abs(difference),
            middle,
            ops.sum(weight * correlation, axis=-1, keepdims=True) / total,
            ops.abs(gain - tile_gain),
            ops.abs(level - _tile_mean(level)),
            ops.abs(levelled - _tile_mean(levelled)),
            ops.abs(level),
            (mean1 + mean2) / 510.0,
        ]
        return ops.concatenate(features, axis=-1)

    def compute_output_shape(self, encoding1_shape: Any, encoding2_shape: Any) -> tuple[int | None, ...]:
        *cells, n_filters = encoding1_shape["powers"]
        return (*cells, 3 * n_filters + 6)


@keras.saving.register_keras_serializable(package="dupnet")
class TileFeatures(keras.layers.Layer):  # type: ignore[misc]
    """What two encodings say of the tile as a whole, the same in either order: (batch, 4 n_filters + 1).

    In this order: the correlation over all cells, filter by filter, and over all filters; the mean of the
    cells' correlations; the logarithm of the mean power (over 3); the mean of half the absolute difference of
    the log powers. Where compression has left little in each cell, only the whole still tells.
    """

    def call(self, encoding1: Mapping[str, Any], encoding2: Mapping[str, Any]) -> Any:
        correlation, difference, middle = _compared(encoding1, encoding2)
        weight = _weight(middle)
        total, weighted = (ops.mean(part, axis=(1, 2)) for part in (weight, weight * correlation))
        features = [
            weighted / total,
            ops.sum(weighted, axis=-1, keepdims=True) / ops.sum(total, axis=-1, keepdims=True),
            ops.mean(correlation, axis=(1, 2)),
            ops.log(total) / 3.0,
            ops.mean(ops.abs(difference), axis=(1, 2)),
        ]
        return ops.concatenate(features, axis=-1)

    def compute_output_shape(self, encoding1_shape: Any, encoding2_shape: Any) -> tuple[int | None, ...]:
        return (encoding1_shape["powers"][0], 4 * encoding1_shape["powers"][-1] + 1)


def _compared(encoding1: Mapping[str, Any], encoding2: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Correlation, half the signed difference and half the sum (over 3) of the log powers: three (batch,
    rows, cols, n_filters)."""
    correlation = ops.sum(encoding1["codes"] * encoding2["codes"], axis=-1) / CODE_LENGTH**2
    one, two = encoding1["powers"], encoding2["powers"]
    return correlation, (one - two) * (POWER_STEP / 2), (one + two) * (POWER_STEP / 6)


def _weight(middle: Any) -> Any:
    """The geometric mean of both powers, but for a factor."""
    return ops.exp(3.0 * middle)


def _tile_mean(cells: Any) -> Any:
    return ops.mean(cells, axis=(1, 2), keepdims=True)


@keras.saving.register_keras_serializable(package="dupnet")
class NeighbourhoodMean(keras.layers.Layer):  # type: ignore[misc]
    """Mean over each cell's 3 x 3 neighbourhood, itself included: (batch, rows, cols, n) -> the same shape.

    Cells outside the tile do not count. The mean is the same under every flip and quarter turn.
    """

    def call(self, cells: Any) -> Any:
        rows, cols = cells.shape[1], cells.shape[2]
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        padded, inside = ops.pad(cells, padding), ops.pad(ops.ones_like(cells[:, :, :, :1]), padding)
        windows = [np.s_[:, i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
        return sum(padded[window] for window in windows) / sum(inside[window] for window in windows)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@keras.saving.register_keras_serializable(package="dupnet")
class PoolCells(keras.layers.Layer):  # type: ignore[misc]
    """Mean and maximum over the cells: (batch, rows, cols, n) -> (batch, 2 n).

    The maximum lets one disagreeing cell speak for the tile.
    """

    def call(self, cells: Any) -> Any:
        return ops.concatenate([ops.mean(cells, axis=(1, 2)), ops.max(cells, axis=(1, 2))], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], 2 * (input_shape[-1] or 0))


@keras.saving.register_keras_serializable(package="dupnet")
class Cascade(keras.layers.Layer):  # type: ignore[misc]
    """The first stage's score, and in the deferral band the mean of the ensemble's: (batch, 1 + n),
    the first stage's comes first -> (batch, 1).

    A pair is deferred to the ensemble if its logit lies between the bounds of ``deferral_band``. Over the
    first unit inside them the one score passes into the other, so that the result never jumps. In training,
    the mean of all: each learns from every pair.
    """

    def __init__(self, deferral_band: tuple[float, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferral_band = tuple(deferral_band)

    def call(self, scores: Any, training: bool = False) -> Any:
        if training:
            return ops.mean(scores, axis=-1, keepdims=True)
        first, ensemble = scores[:, :1], ops.mean(scores[:, 1:], axis=-1, keepdims=True)
        sure = ops.clip(first, 1e-7, 1 - 1e-7)
        logit = ops.log(sure) - ops.log1p(-sure)
        lowest, highest = self.deferral_band
        band = ops.clip(ops.minimum(logit - lowest, highest - logit), 0.0, 1.0)
        return first + band * (ensemble - first)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "deferral_band": self.deferral_band}
