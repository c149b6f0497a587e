"""The Keras networks, ``dupnet_v0`` and ``dupnet``, saved and loaded with their settings.

``dupnet find`` and ``dupnet.compare`` need no Keras: :mod:`dupnet.network.descriptors`,
:mod:`dupnet.network.head` and :mod:`dupnet.network.comparison` evaluate the same ``dupnet`` from plain
arrays, which :func:`to_arrays` and :func:`from_arrays` convert in either direction.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from dupnet.files.atomic import atomic_path, check_keras_file
from dupnet.network.architectures import DupnetConfig, DupnetV0Config, HeadConfig, dupnet, dupnet_v0
from dupnet.network.layers import (
    Cascade,
    CellFeatures,
    CellProjection,
    NeighbourhoodMean,
    PoolCells,
    TileFeatures,
)

__all__ = [
    "FORMAT_VERSION",
    "DupnetConfig",
    "DupnetV0Config",
    "HeadConfig",
    "build",
    "dupnet",
    "dupnet_v0",
    "from_arrays",
    "layer_table",
    "load_arrays",
    "load_model",
    "save_arrays",
    "save_model",
    "to_arrays",
]

FORMAT_VERSION = 3
"""Raised when a saved model can no longer be read by the code that follows."""

SETTINGS_NAME = "dupnet.json"
"""Member of a ``.keras`` archive, and array of a ``.npz`` file, that holds the settings as JSON."""

LARGE_KERNEL, SCALE_ENDING = 1_000_000, ".scale"

STAGES = ("first_stage", "ensemble")
"""Settings of ``dupnet`` that hold settings."""

LARGEST_SETTINGS, LARGEST_DEPTH, LARGEST_SIZE, LARGEST_ARRAY = 2**16, 16, 1024, 2**26
"""Bytes of settings, layers of a kind, any one size, and weights of an array that a file may ask for."""


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


def _layers(model: keras.Model, members: bool = True) -> list[keras.layers.Layer]:
    """The layers that are no models themselves, inner models taken apart, each once; without ``members``,
    those of an ensemble that are built as the first stay whole."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        is_apart = isinstance(layer, keras.Model) and (members or not _is_another_member(layer))
        inner = _layers(layer, members) if is_apart else [layer]
        found.update((one.name, one) for one in inner)
    return list(found.values())


def layer_table(model: keras.Model) -> pd.DataFrame:
    """One row an input or layer, for :func:`dupnet.figures.network`; what is shared stands once, and members
    of an ensemble that are built as the first in one row each.

    Returns
    -------
    pandas.DataFrame
        ``layer`` (name and what it does), ``output_shape`` (such as ``128 x 128 x 16``; of several the
        largest), ``parameters`` (their number) and ``follows`` (whether it takes what the row above gives).
    """
    rows = [(f"{tensor.name}: RGB tile", _shape_text(tensor), 0, False) for tensor in model.inputs]
    for layer in _layers(model, members=False):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        # What comes first in a head takes what is said of the cells, as another member does.
        is_aside = isinstance(layer, keras.Model | TileFeatures) or layer.name.endswith("_cell_1")
        does = "built as member_1" if isinstance(layer, keras.Model) else _what_it_does(layer)
        rows.append((f"{layer.name}: {does}", _shape_text(layer.output), layer.count_params(), not is_aside))
    return pd.DataFrame(rows, columns=["layer", "output_shape", "parameters", "follows"])


def _is_another_member(model: keras.Model) -> bool:
    return bool(model.name.startswith("member_") and model.name != "member_1")


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
            return "mean, maximum over cells"
        case TileFeatures():
            return "compare the two tiles as wholes"
        case Cascade():
            return "first stage; in the deferral band, the ensemble"
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
                f"{name}: holds no {SETTINGS_NAME}; pass one that dupnet.network.models.save_model wrote."
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
        raise ValueError(f"model {model.name!r} carries no settings; build it with dupnet.network.models.")
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
    try:
        values = _with_tuples(stored)
        values.update({key: HeadConfig(**_with_tuples(values[key])) for key in STAGES if key in values})
        config: DupnetConfig | DupnetV0Config = kinds[architecture](**values)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{name}: settings of another version ({error}); train again.") from None
    _check_sizes(config, name)
    return config


def _with_tuples(stored: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


def _check_sizes(config: DupnetConfig | DupnetV0Config, name: str) -> None:
    """Raise for settings that are no sizes, or whose network would not fit into memory."""
    values = asdict(config)
    for head in STAGES:
        values.update({f"{head}.{key}": value for key, value in values.pop(head, {}).items()})
    for key, value in values.items():
        if not _is_sound(key.rpartition(".")[2], value):
            raise ValueError(f"{name}: {key} is {value!r}; such a network is not built.")
    if isinstance(config, DupnetConfig):
        largest = config.n_filters * config.cell_size**2
    else:
        side = config.tile_size // 2 ** len(config.filters)
        largest = side**2 * math.prod(config.filters[-1:]) * config.dense_units
    if largest > LARGEST_ARRAY:
        raise ValueError(f"{name}: an array of {largest:,} weights; such a network is not built.")


def _is_sound(key: str, value: Any) -> bool:
    if key == "architecture":
        return True
    if key == "threshold":
        return isinstance(value, int | float) and 0 <= value <= 1
    if key == "deferral_band":
        are_numbers = isinstance(value, tuple) and all(isinstance(bound, int | float) for bound in value)
        return are_numbers and len(value) == 2 and -math.inf < value[0] < value[1] < math.inf
    sizes = value if key in ("filters", "cell_units", "tile_units") else (value,)
    least = 1 if key == "cell_units" else 0
    is_sound = isinstance(sizes, tuple) and least <= len(sizes) <= LARGEST_DEPTH
    return is_sound and all(type(size) is int and 0 < size <= LARGEST_SIZE for size in sizes)
