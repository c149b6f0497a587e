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

from dupnet.tiles import CELL_SIZE

__all__ = ["CellFeatures", "CellProjection", "NeighbourhoodMean", "PoolCells"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), as in JPEG and in OpenCV."""


@keras.saving.register_keras_serializable(package="dupnet")
class CellProjection(keras.layers.Layer):  # type: ignore[misc]
    """Cut a tile into cells and project each onto learned filters in all eight orientations.

    Call with RGB tiles (batch, size, size, 3), 0 to 255. Returns, for the ``size / cell_size`` squared cells
    of each, a dictionary of float32 tensors: ``projections`` (batch, rows, cols, n_filters, 8), ``energy``
    (batch, rows, cols, 1), the root mean square in grey levels of the cell after its row and column means are
    removed, and ``mean`` (batch, rows, cols, 1) in grey levels.

    A flip or quarter turn of the tile moves the cells and permutes the last axis of the projections, nothing
    else.
    """

    def __init__(self, n_filters: int = 7, cell_size: int = CELL_SIZE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_filters = n_filters
        self.cell_size = cell_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.filters = self.add_weight(
            shape=(self.n_filters, self.cell_size, self.cell_size),
            # A white cell of root mean square r then projects to about r on each filter.
            initializer=keras.initializers.RandomNormal(stddev=1.0 / self.cell_size),
            name="filters",
        )

    def call(self, tiles: Any) -> dict[str, Any]:
        size, side = self.cell_size, tiles.shape[1] // self.cell_size
        red, green, blue = (ops.cast(tiles[..., channel], "float32") * LUMA[channel] for channel in range(3))
        # Whole levels, as a grey image file holds them and as the numpy encoder gets them.
        grey = ops.round(red + green + blue)
        cells = ops.transpose(ops.reshape(grey, (-1, side, size, side, size)), (0, 1, 3, 2, 4))
        row_means = ops.mean(cells, axis=-1, keepdims=True)
        col_means = ops.mean(cells, axis=-2, keepdims=True)
        mean = ops.mean(row_means, axis=-2, keepdims=True)
        flat = ops.reshape(cells - row_means - col_means + mean, (-1, side, side, size * size))
        energy = ops.sqrt(ops.mean(ops.square(flat), axis=-1, keepdims=True))
        kernel = ops.reshape(ops.stack(_orientations(self.filters), axis=1), (-1, size * size))
        projections = ops.matmul(flat, ops.transpose(kernel))
        projections = ops.reshape(projections, (-1, side, side, self.n_filters, 8))
        return {"projections": projections, "energy": energy, "mean": mean[..., 0]}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> dict[str, tuple[int | None, ...]]:
        side = (input_shape[1] or 0) // self.cell_size
        cells = (input_shape[0], side, side)
        return {"projections": (*cells, self.n_filters, 8), "energy": (*cells, 1), "mean": (*cells, 1)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_filters": self.n_filters, "cell_size": self.cell_size}


def _orientations(filters: Any) -> list[Any]:
    """The four quarter turns of filters (n, size, size) and their mirror images."""
    turns = [ops.rot90(filters, k=turn, axes=(1, 2)) for turn in range(4)]
    return turns + [ops.swapaxes(turn, 1, 2) for turn in turns]


@keras.saving.register_keras_serializable(package="dupnet")
class CellFeatures(keras.layers.Layer):  # type: ignore[misc]
    """What two encodings say of each cell, the same in either order: (batch, rows, cols, 3 n_filters + 5).

    The correlation of the projections, filter by filter and over all of them; sum and absolute difference of
    the log energies, of each filter's projections and of the whole cell; sum and absolute difference of the
    means.
    """

    NOISE = 0.29
    """Grey levels: what rounding to whole levels leaves in a cell that shows nothing (1 / sqrt 12)."""

    def call(self, encoding1: Mapping[str, Any], encoding2: Mapping[str, Any]) -> Any:
        first, second = encoding1["projections"], encoding2["projections"]
        dots = ops.sum(first * second, axis=-1)
        power1, power2 = (ops.sum(ops.square(p), axis=-1) + 8 * self.NOISE**2 for p in (first, second))
        total1, total2 = (ops.sum(power, axis=-1, keepdims=True) for power in (power1, power2))
        total = ops.sum(dots, axis=-1, keepdims=True)
        correlations = [dots / ops.sqrt(power1 * power2), total / ops.sqrt(total1 * total2)]
        levels = [
            (ops.log(power1), ops.log(power2)),
            (ops.log(encoding1["energy"] + self.NOISE), ops.log(encoding2["energy"] + self.NOISE)),
            (encoding1["mean"] / 128.0 - 1.0, encoding2["mean"] / 128.0 - 1.0),
        ]
        symmetric = [part for a, b in levels for part in ((a + b) / 2.0, ops.abs(a - b))]
        return ops.concatenate([*correlations, *symmetric], axis=-1)

    def compute_output_shape(self, encoding1_shape: Any, encoding2_shape: Any) -> tuple[int | None, ...]:
        *cells, n_filters, _ = encoding1_shape["projections"]
        return (*cells, 3 * n_filters + 5)


@keras.saving.register_keras_serializable(package="dupnet")
class NeighbourhoodMean(keras.layers.Layer):  # type: ignore[misc]
    """Each cell beside the mean of its 3 x 3 neighbourhood: (batch, rows, cols, n) -> (batch, rows, cols, 2
    n).

    Cells outside the tile do not count. The mean is the same under every flip and quarter turn.
    """

    def call(self, cells: Any) -> Any:
        rows, cols = cells.shape[1], cells.shape[2]
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        padded, inside = ops.pad(cells, padding), ops.pad(ops.ones_like(cells[:, :, :, :1]), padding)
        windows = [np.s_[:, i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
        means = sum(padded[window] for window in windows) / sum(inside[window] for window in windows)
        return ops.concatenate([cells, means], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * (input_shape[-1] or 0))


@keras.saving.register_keras_serializable(package="dupnet")
class PoolCells(keras.layers.Layer):  # type: ignore[misc]
    """Mean and soft minimum over the cells: (batch, rows, cols, n) -> (batch, 2 n).

    The soft minimum ``-log(mean(exp(-sharpness x))) / sharpness`` lets one disagreeing cell speak
    for the tile.
    """

    def __init__(self, sharpness: float = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sharpness = sharpness

    def call(self, cells: Any) -> Any:
        n_cells = cells.shape[1] * cells.shape[2]
        mean = ops.mean(cells, axis=(1, 2))
        least = -(ops.logsumexp(-self.sharpness * cells, axis=(1, 2)) - np.log(n_cells)) / self.sharpness
        return ops.concatenate([mean, least], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], 2 * (input_shape[-1] or 0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sharpness": self.sharpness}
