"""The Keras networks, ``dupnet_v0`` and ``dupnet``: built, saved and loaded with their settings.

Written with ``keras`` and ``keras.ops`` alone, so that any Keras backend runs them. ``dupnet find`` and
``dupnet.compare`` need none: :mod:`dupnet.descriptors` and :mod:`dupnet.comparison` evaluate the same
``dupnet`` from plain arrays, which :func:`to_arrays` and :func:`from_arrays` carry to and fro.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from dupnet.descriptors import N_FILTERS
from dupnet.files import atomic_path, check_keras_file
from dupnet.layers import CellFeatures, CellProjection, NeighbourhoodMean, PoolCells, TileFeatures
from dupnet.tiles import CELL_SIZE, TILE_SIZE

__all__ = [
    "FORMAT_VERSION",
    "DupnetConfig",
    "DupnetV0Config",
    "build",
    "dupnet",
    "dupnet_v0",
    "from_arrays",
    "judge",
    "layer_table",
    "load_arrays",
    "load_model",
    "save_arrays",
    "save_model",
    "to_arrays",
]

FORMAT_VERSION = 2
"""Raised when a saved model can no longer be read by the code that follows."""

SETTINGS_NAME = "dupnet.json"
"""Member of a ``.keras`` archive, and array of a ``.npz`` file, that holds the settings as JSON."""

LARGE_KERNEL, SCALE_ENDING = 1_000_000, ".scale"

LARGEST_SETTINGS, LARGEST_DEPTH, LARGEST_SIZE, LARGEST_ARRAY = 2**16, 16, 1024, 2**26
"""Bytes of settings, layers of a kind, any one size, and weights of an array that a file may ask for."""


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
class DupnetConfig:
    """Settings of :func:`dupnet`.

    ``channels`` is 3 for RGB tiles, 1 for grey ones. ``n_filters`` filters of ``cell_size`` x ``cell_size``
    pixels see each cell in eight orientations. ``cell_units`` are the widths of the layers that judge one
    cell, of which there is at least one; ``context_units`` the numbers whose mean over its neighbours a cell
    is seen beside, ``neighbour_units`` the width of the layer that sees it so, ``tile_units`` those after the
    cells are pooled. A score from ``threshold`` up reads "duplicate".
    """

    tile_size: int = TILE_SIZE
    channels: int = 3
    cell_size: int = CELL_SIZE
    n_filters: int = N_FILTERS
    cell_units: tuple[int, ...] = (16, 8)
    context_units: int = 4
    neighbour_units: int = 8
    tile_units: tuple[int, ...] = (32, 16)
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
    return keras.Model([first, second], judge(config)([cells, whole]), name="head")


def judge(config: DupnetConfig) -> keras.Model:
    """The dense layers of ``dupnet``, all that :mod:`dupnet.recipe` trains.

    What two descriptors say of each cell (batch, rows, cols, 3 * n_filters + 6) and of the tile
    (batch, 4 * n_filters + 1), as :func:`dupnet.comparison.compare_cells` gives it -> score (batch, 1).
    """
    side = config.tile_size // config.cell_size
    inputs = [
        keras.Input((side, side, 3 * config.n_filters + 6), name="cells"),
        keras.Input((4 * config.n_filters + 1,), name="whole"),
    ]
    cells, whole = inputs
    for number, units in enumerate(config.cell_units, start=1):
        cells = keras.layers.Dense(units, activation="relu", name=f"cell_{number}")(cells)
    beside = keras.layers.Dense(config.context_units, use_bias=False, name="context")(cells)
    beside = NeighbourhoodMean(name="neighbourhood")(beside)
    cells = keras.layers.Concatenate(name="beside")([cells, beside])
    cells = keras.layers.Dense(config.neighbour_units, activation="relu", name="neighbour")(cells)
    pooled = PoolCells(name="pool")(cells)
    tile = keras.layers.Concatenate(name="join")([pooled, whole])
    for number, units in enumerate(config.tile_units, start=1):
        tile = keras.layers.Dense(units, activation="relu", name=f"tile_{number}")(tile)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(tile)
    return keras.Model(inputs, score, name="judge")


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


def to_arrays(model: keras.Model) -> dict[str, npt.NDArray[np.float32]]:
    """The weights as float32 by name, ``<layer>.<variable>``, such as ``projection.filters``."""
    return {
        f"{layer.name}.{variable.name}": np.asarray(ops.convert_to_numpy(variable), np.float32)
        for layer in _layers(model)
        for variable in layer.weights
    }


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], config: DupnetConfig | DupnetV0Config) -> keras.Model:
    """The model of ``config`` with the weights that :func:`to_arrays` names; other arrays are ignored.

    Raises
    ------
    ValueError
        If an array is missing or of the wrong shape.
    """
    model = build(config)
    for layer in _layers(model):
        for variable in layer.weights:
            name = f"{layer.name}.{variable.name}"
            if name not in arrays or arrays[name].shape != tuple(variable.shape):
                found = f"has shape {arrays[name].shape}" if name in arrays else "is missing"
                raise ValueError(
                    f"arrays: {name} {found}; {config.architecture} needs shape {tuple(variable.shape)}."
                )
            variable.assign(np.asarray(arrays[name], np.float32))
    return model


def build(config: DupnetConfig | DupnetV0Config) -> keras.Model:
    """The untrained network that a configuration describes."""
    return dupnet(config) if isinstance(config, DupnetConfig) else dupnet_v0(config)


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that are no models themselves, inner models taken apart, each once."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        inner = _layers(layer) if isinstance(layer, keras.Model) else [layer]
        found.update((one.name, one) for one in inner)
    return list(found.values())


def layer_table(model: keras.Model) -> pd.DataFrame:
    """One row an input or layer, for :func:`dupnet.figures.network`; what is shared stands once.

    Returns
    -------
    pandas.DataFrame
        ``layer`` (name and what it does), ``output_shape`` (such as ``128 x 128 x 16``; of several the
        largest) and ``parameters`` (their number).
    """
    rows = [(f"{tensor.name}: RGB tile", _shape_text(tensor), 0) for tensor in model.inputs]
    rows += [
        (f"{layer.name}: {_what_it_does(layer)}", _shape_text(layer.output), layer.count_params())
        for layer in _layers(model)
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    return pd.DataFrame(rows, columns=["layer", "output_shape", "parameters"])


def _what_it_does(layer: keras.layers.Layer) -> str:
    match layer:
        case keras.layers.Conv2D():
            return f"{layer.kernel_size[0]} x {layer.kernel_size[1]} convolution, {layer.activation.__name__}"
        case keras.layers.MaxPooling2D():
            return f"{layer.pool_size[0]} x {layer.pool_size[1]} max pooling"
        case keras.layers.Dense():
            return f"dense, {layer.activation.__name__}"
        case CellProjection():
            return f"{layer.n_filters} filters x 8 orientations"
        case CellFeatures():
            return "compare the two tiles' cells"
        case NeighbourhoodMean():
            return "mean of 3 x 3 cells"
        case PoolCells():
            return "mean and maximum over cells"
        case TileFeatures():
            return "compare the two tiles as wholes"
    return str(type(layer).__name__).lower()


def _shape_text(output: Any) -> str:
    largest = max(keras.tree.flatten(output), key=lambda part: int(np.prod(part.shape[1:])))
    return " x ".join(str(length) for length in largest.shape[1:])


def save_arrays(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write weights and settings as ``.npz``: half the bytes and less, scores the same to 1e-2.

    The small arrays of ``dupnet`` stay float32, those of ``dupnet_v0`` become float16. A kernel of a million
    values and more becomes int8 with a scale for each output, in an array ``<name>.scale``: dupnet_v0's dense
    layer holds 84 % of its weights.

    Raises
    ------
    ValueError
        If a weight does not fit.
    """
    dtype = np.float32 if isinstance(model.settings, DupnetConfig) else np.float16
    stored: dict[str, npt.NDArray[Any]] = {
        SETTINGS_NAME: np.array(json.dumps(_settings_of(model), sort_keys=True))
    }
    for name, array in to_arrays(model).items():
        with np.errstate(over="ignore"):  # found below, and named
            stored[name] = array.astype(dtype)
        if not np.isfinite(stored[name]).all():
            raise ValueError(
                f"model: {name} holds values beyond {np.dtype(dtype)}; its training diverged, train again."
            )
        if array.size >= LARGE_KERNEL:
            scale = np.abs(array).max(axis=tuple(range(array.ndim - 1))) / 127 + 1e-12
            stored[name] = np.rint(array / scale).astype(np.int8)
            stored[f"{name}{SCALE_ENDING}"] = scale.astype(np.float32)
    with atomic_path(path) as beside:
        np.savez_compressed(beside, allow_pickle=False, **stored)


def load_arrays(path: str | os.PathLike[str]) -> keras.Model:
    """The model that :func:`save_arrays` wrote.

    Raises
    ------
    ValueError
        If the file is of another version, is damaged, or holds no such model.
    """
    name = os.fspath(path)
    with _damage_named(name), np.load(path, allow_pickle=False) as stored:
        if SETTINGS_NAME not in stored:
            raise ValueError(f"{name}: holds no {SETTINGS_NAME}; it was not written by save_arrays.")
        config = _config_from(str(stored[SETTINGS_NAME]), name)
        arrays = {key: stored[key] for key in stored.files if key != SETTINGS_NAME}
    with _damage_named(name):
        for key in [key for key in arrays if key.endswith(SCALE_ENDING)]:
            arrays[key.removesuffix(SCALE_ENDING)] = arrays[key.removesuffix(SCALE_ENDING)] * arrays.pop(key)
        return from_arrays(arrays, config)


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write a ``.keras`` file that also holds the settings.

    Raises
    ------
    ValueError
        If ``path`` does not end in ``.keras``.
    """
    if not os.fspath(path).endswith(".keras"):
        raise ValueError(f"path is {os.fspath(path)!r}; a model file must end in .keras.")
    settings = json.dumps(_settings_of(model), indent=1, sort_keys=True)
    with atomic_path(path) as beside:
        model.save(beside)
        with zipfile.ZipFile(beside, "a") as archive:
            archive.writestr(SETTINGS_NAME, settings)


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """The model that :func:`save_model` wrote, with its ``settings``; not compiled.

    The network is built from the settings, and of Keras's part of the file only the weights are read: no
    class that the file names is made, and no code that it holds (``Lambda``) runs.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no such model, is damaged, or is of another version.
    """
    name = os.fspath(path)
    check_keras_file(path)
    with _damage_named(name), zipfile.ZipFile(path) as archive:
        members = {member.filename: member.file_size for member in archive.infolist()}
        if members.get(SETTINGS_NAME, LARGEST_SETTINGS + 1) > LARGEST_SETTINGS:
            raise ValueError(
                f"{name}: holds no {SETTINGS_NAME}; pass one that dupnet.models.save_model wrote."
            )
        settings = archive.read(SETTINGS_NAME).decode()
        if damaged := archive.testzip():  # Keras does not look at the checksums
            raise ValueError(f"the checksum of {damaged} is wrong")
    config = _config_from(settings, name)
    with _damage_named(name):
        model = build(config)
        model.load_weights(path)
    return model


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """What a damaged file makes zipfile, h5py, numpy or Keras raise becomes a ValueError that names it."""
    try:
        yield
    except Exception as error:
        is_clear = isinstance(error, ValueError) and str(error).startswith(name)
        if is_clear or isinstance(error, FileNotFoundError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: is damaged, or no model of dupnet ({reason}).") from error


def _settings_of(model: keras.Model) -> dict[str, Any]:
    config = getattr(model, "settings", None)
    if not isinstance(config, DupnetConfig | DupnetV0Config):
        raise ValueError(f"model {model.name!r} carries no settings; build it with dupnet.models.")
    return {"format": FORMAT_VERSION, "keras": keras.__version__, "config": asdict(config)}


def _config_from(settings_text: str, name: str) -> DupnetConfig | DupnetV0Config:
    with _damage_named(name):
        settings = json.loads(settings_text)
        stored = dict(settings["config"])
        format_version, architecture = settings.get("format"), stored.pop("architecture", None)
    if format_version != FORMAT_VERSION:
        raise ValueError(
            f"{name}: written in format {format_version!r}, this code reads {FORMAT_VERSION}; "
            "train again, or use the version of dupnet that wrote it."
        )
    kinds: dict[Any, Any] = {"dupnet": DupnetConfig, "dupnet_v0": DupnetV0Config}
    if architecture not in ("dupnet", "dupnet_v0"):
        raise ValueError(f"{name}: architecture {architecture!r} is unknown; known are {', '.join(kinds)}.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    try:
        config: DupnetConfig | DupnetV0Config = kinds[architecture](**values)
    except TypeError as error:
        raise ValueError(f"{name}: settings of another version ({error}); train again.") from None
    _check_sizes(config, name)
    return config


def _check_sizes(config: DupnetConfig | DupnetV0Config, name: str) -> None:
    """Raise for settings that are no sizes, or whose network would not fit into memory."""
    for key, value in asdict(config).items():
        if key == "architecture":
            continue
        is_many = isinstance(getattr(type(config), key), tuple)
        sizes = value if is_many else (value,)
        if key == "threshold":
            is_sound = isinstance(value, int | float) and 0 <= value <= 1
        else:
            least = 1 if key == "cell_units" else 0
            is_sound = isinstance(sizes, tuple) and least <= len(sizes) <= LARGEST_DEPTH
            is_sound = is_sound and all(type(size) is int and 0 < size <= LARGEST_SIZE for size in sizes)
        if not is_sound:
            raise ValueError(f"{name}: {key} is {value!r}; such a network is not built.")
    if isinstance(config, DupnetConfig):
        largest = config.n_filters * config.cell_size**2
    else:
        side = config.tile_size // 2 ** len(config.filters)
        largest = side**2 * math.prod(config.filters[-1:]) * config.dense_units
    if largest > LARGEST_ARRAY:
        raise ValueError(f"{name}: an array of {largest:,} weights; such a network is not built.")
