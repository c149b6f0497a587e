"""The Keras networks, ``dupnet`` and ``dupnet_v0``, and their settings.

Written with ``keras`` and ``keras.ops`` alone, so that any Keras backend runs them;
:mod:`dupnet.network.models` saves and loads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from dupnet.network.descriptors import N_FILTERS
from dupnet.network.layers import (
    Cascade,
    CellFeatures,
    CellProjection,
    NeighbourhoodMean,
    PoolCells,
    TileFeatures,
)
from dupnet.tiles import CELL_SIZE, TILE_SIZE

__all__ = ["DupnetConfig", "DupnetV0Config", "HeadConfig", "dupnet", "dupnet_v0", "heads"]


@dataclass(frozen=True)
class DupnetV0Config:
    """Settings of :func:`dupnet_v0`.

    The defaults are the network of the original's figure.
    """

    tile_size: int = TILE_SIZE
    filters: tuple[int, ...] = (16, 32, 64, 128, 256)
    dense_units: int = 128
    threshold: float = 0.5
    architecture: str = field(default="dupnet_v0", init=False)


@dataclass(frozen=True)
class HeadConfig:
    """Settings of the dense layers that make a score of what two descriptors say.

    ``cell_units`` are the widths of the layers of one cell, of which there is at least one;
    ``context_units`` the numbers whose mean over its neighbours a cell is seen beside, ``neighbour_units``
    the width of the layer that sees it so, ``tile_units`` those after the cells are pooled.
    """

    cell_units: tuple[int, ...]
    context_units: int
    neighbour_units: int
    tile_units: tuple[int, ...]


@dataclass(frozen=True)
class DupnetConfig:
    """Settings of :func:`dupnet`.

    ``channels`` is 3 for RGB tiles, 1 for grey ones. ``n_filters`` filters of ``cell_size`` x ``cell_size``
    pixels see each cell in eight orientations. The ``first_stage`` scores every pair; where its logit is
    between the bounds of ``deferral_band``, the mean of the ``n_members`` of the ``ensemble`` takes over
    (:class:`dupnet.network.layers.Cascade`). A score from ``threshold`` up reads "duplicate".

    Widths and bounds were chosen on validation pairs (``benchmarks/results/designs_tried.csv``): between -6
    and 5 are 3.5 % of the hard ones and 0.3 % of those as collections hold them.
    """

    tile_size: int = TILE_SIZE
    channels: int = 3
    cell_size: int = CELL_SIZE
    n_filters: int = N_FILTERS
    first_stage: HeadConfig = HeadConfig((8,), 2, 4, (16,))
    ensemble: HeadConfig = HeadConfig((24, 16), 4, 12, (48, 24))
    n_members: int = 3
    deferral_band: tuple[float, float] = (-6.0, 5.0)
    threshold: float = 0.5
    architecture: str = field(default="dupnet", init=False)


def dupnet(config: DupnetConfig | None = None) -> keras.Model:
    """The siamese network: two uint8 RGB tiles (batch, size, size, 3) -> score (batch, 1) in [0, 1].

    One ``encoder``, called twice, turns a tile into a small descriptor; one ``head`` compares two descriptors
    without the pixels. By construction the score is the same in either order and under joint flips and
    quarter turns of both tiles.

    Raises
    ------
    ValueError
        If the tile is not a whole number of cells.
    """
    config = config or DupnetConfig()
    if config.tile_size % config.cell_size or config.tile_size < config.cell_size:
        raise ValueError(
            f"tile_size is {config.tile_size}; it must be a multiple of the cells' {config.cell_size}."
        )
    encoder = _encoder(config)
    head = _head(config, encoder)
    tile1, tile2 = _tile_inputs(config.tile_size, config.channels)
    model = keras.Model([tile1, tile2], head([encoder(tile1), encoder(tile2)]), name="dupnet")
    model.settings = config
    return model


def _encoder(config: DupnetConfig) -> keras.Model:
    tile = keras.Input((config.tile_size, config.tile_size, config.channels), dtype="uint8", name="tile")
    projection = CellProjection(config.n_filters, config.cell_size, name="projection")
    return keras.Model(tile, projection(tile), name="encoder")


def _head(config: DupnetConfig, encoder: keras.Model) -> keras.Model:
    first, second = (
        {part: keras.Input(spec.shape[1:], name=f"{part}{side}") for part, spec in encoder.output.items()}
        for side in (1, 2)
    )
    cells = CellFeatures(name="cell_features")(first, second)
    whole = TileFeatures(name="tile_features")(first, second)
    score = Cascade(config.deferral_band, name="score")(heads(config)([cells, whole]))
    return keras.Model([first, second], score, name="head")


def heads(config: DupnetConfig) -> keras.Model:
    """The dense layers of ``dupnet``, all that :mod:`dupnet.training.rounds` trains.

    What two descriptors say of each cell (batch, rows, cols, 3 * n_filters + 6) and of the tile
    (batch, 4 * n_filters + 1), as :func:`dupnet.network.head.compare_cells` gives it -> the score of
    the first stage and those of the members of the ensemble (batch, 1 + n_members).
    """
    side = config.tile_size // config.cell_size
    inputs = [
        keras.Input((side, side, 3 * config.n_filters + 6), name="cells"),
        keras.Input((4 * config.n_filters + 1,), name="whole"),
    ]
    members = [f"member_{number}" for number in range(1, config.n_members + 1)]
    all_heads = [_dense_head(inputs, config.first_stage, "first_stage")]
    all_heads += [_dense_head(inputs, config.ensemble, name) for name in members]
    scores = keras.layers.Concatenate(name="scores")([head(inputs) for head in all_heads])
    return keras.Model(inputs, scores, name="heads")


def _dense_head(inputs: list[Any], config: HeadConfig, name: str) -> keras.Model:
    cells, whole = inputs

    def dense(values: Any, units: int, layer: str, activation: str | None = "relu") -> Any:
        return keras.layers.Dense(units, activation, use_bias=bool(activation), name=f"{name}_{layer}")(
            values
        )

    for number, units in enumerate(config.cell_units, start=1):
        cells = dense(cells, units, f"cell_{number}")
    beside = dense(cells, config.context_units, "context", activation=None)
    beside = NeighbourhoodMean(name=f"{name}_neighbourhood")(beside)
    cells = keras.layers.Concatenate(name=f"{name}_beside")([cells, beside])
    cells = dense(cells, config.neighbour_units, "neighbour")
    pooled = PoolCells(name=f"{name}_pool")(cells)
    tile = keras.layers.Concatenate(name=f"{name}_join")([pooled, whole])
    for number, units in enumerate(config.tile_units, start=1):
        tile = dense(tile, units, f"tile_{number}")
    return keras.Model(inputs, dense(tile, 1, "score", activation="sigmoid"), name=name)


def dupnet_v0(config: DupnetV0Config | None = None) -> keras.Model:
    """The original's network: two uint8 RGB tiles (batch, size, size, 3) -> score (batch, 1) in [0, 1].

    Both tiles are stacked to six channels; each 3 x 3 convolution is followed by ReLU and 2 x 2 max pooling.
    The score depends on the order of the tiles and on their orientation.

    Raises
    ------
    ValueError
        If the tile cannot be halved as often as there are convolutions.
    """
    config = config or DupnetV0Config()
    halvings = len(config.filters)
    if config.tile_size % 2**halvings or config.tile_size < 2**halvings:
        raise ValueError(
            f"tile_size is {config.tile_size}; {halvings} poolings need a multiple of {2**halvings}."
        )
    tile1, tile2 = _tile_inputs(config.tile_size)
    stacked = keras.layers.Concatenate(name="stack")([tile1, tile2])
    features = keras.layers.Rescaling(1.0 / 255.0, name="rescale")(stacked)
    for number, filters in enumerate(config.filters, start=1):
        features = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv_{number}")(
            features
        )
        features = keras.layers.MaxPooling2D(2, name=f"pool_{number}")(features)
    features = keras.layers.Flatten(name="flatten")(features)
    features = keras.layers.Dense(config.dense_units, activation="relu", name="dense")(features)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(features)
    model = keras.Model([tile1, tile2], score, name="dupnet_v0")
    model.settings = config
    return model


def _tile_inputs(tile_size: int, channels: int = 3) -> list[Any]:
    shape = (tile_size, tile_size, channels)
    return [keras.Input(shape, dtype="uint8", name=name) for name in ("tile1", "tile2")]
