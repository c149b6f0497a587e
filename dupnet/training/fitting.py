"""Fitting a network to labelled pairs, epoch by epoch; a run that was stopped goes on after the last one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from dupnet.files.atomic import atomic_path
from dupnet.training.batches import PairBatches, PairFeatures, Pairs
from dupnet.training.config import TrainConfig

__all__ = ["fit"]

WATCHED_AT_A_TIME = 1024
"""Validation pairs in a batch of features; of pixels, a batch is as in training."""

Spreads = list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def fit(
    network: keras.Model,
    train: Pairs,
    config: TrainConfig,
    validation: Pairs | None = None,
    *,
    state: Path | None = None,
    is_trained: bool = False,
    on_epoch: Callable[[pd.DataFrame], object] | None = None,
) -> pd.DataFrame:
    """Train a network in place; returns losses, one row an epoch.

    ``network`` scores what ``train`` shows of a pair: of features the dense layers of ``dupnet``
    (:func:`dupnet.network.architectures.heads`), each head for itself; of pixels a whole network. After
    every epoch the file ``state`` holds all that is needed to go on, which the next call does, and
    ``on_epoch`` is called with the losses so far. A network that ``is_trained`` is tuned: it begins as it is.

    Features have mean zero and deviation one meanwhile, for they differ tenfold in size; afterwards the
    layers that see them first hold that.
    """
    spreads: Spreads = []
    model = network
    if isinstance(train, PairFeatures):
        spreads = [_spread(features) for features in (train.cells, train.tile)]
        levelled = [
            (part - mean) / deviation for part, (mean, deviation) in zip(network.inputs, spreads, strict=True)
        ]
        model = keras.Model(network.inputs, network(levelled))
        if is_trained:
            _take_out(network, spreads)
    batches = PairBatches(train, config.batch_size, seed=config.seed, rows_per_epoch=config.rows_per_epoch)
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate, batches.num_batches * config.epochs
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay), _loss_of_each)
    progress = _Progress(batches, state, on_epoch)
    done = progress.restore(model)
    if done < config.epochs:
        size = WATCHED_AT_A_TIME if isinstance(validation, PairFeatures) else config.batch_size
        model.fit(
            batches,
            validation_data=None if validation is None else PairBatches(validation, size),
            initial_epoch=done,
            epochs=config.epochs,
            callbacks=[progress],
            shuffle=False,
            verbose=2,
        )
    if spreads:
        _fold_in(network, spreads)
    return pd.DataFrame(progress.history)


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the batches which epoch it is, and keeps what a run needs to go on."""

    def __init__(
        self, batches: PairBatches, path: Path | None, on_epoch: Callable[[pd.DataFrame], object] | None
    ) -> None:
        super().__init__()
        self._batches, self._path, self._tell = batches, path, on_epoch
        self.history: list[dict[str, float]] = []

    def restore(self, model: keras.Model) -> int:
        """Bring a compiled model to where the last epoch ended; the number of epochs done."""
        if self._path is None or not self._path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        with np.load(self._path, allow_pickle=False) as kept:
            for number, variable in enumerate(_variables(model)):
                variable.assign(kept[str(number)])
            self.history = json.loads(str(kept["history"]))
        return len(self.history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.history.append({"epoch": epoch, **{name: float(value) for name, value in (logs or {}).items()}})
        if self._path is not None:
            arrays = [ops.convert_to_numpy(variable) for variable in _variables(self.model)]
            named = {str(number): np.asarray(array) for number, array in enumerate(arrays)}
            with atomic_path(self._path) as beside, open(beside, "wb") as file:
                np.savez(file, allow_pickle=False, history=np.array(json.dumps(self.history)), **named)
        if self._tell is not None:
            self._tell(pd.DataFrame(self.history))


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _loss_of_each(is_duplicate: Any, scores: Any) -> Any:
    """Cross entropy of every score of a pair, the mean of all."""
    return keras.losses.binary_crossentropy(ops.broadcast_to(is_duplicate, ops.shape(scores)), scores)


def _spread(features: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and standard deviation of each column, from some of the rows; one for what never changes."""
    some = features[:: max(1, len(features) // 20_000)].reshape(-1, features.shape[-1]).astype(np.float32)
    mean, deviation = some.mean(axis=0, dtype=np.float64), some.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)


def _fold_in(heads: keras.Model, spreads: Spreads) -> None:
    """Let the layers that see features first take them as they are."""
    for layer, seen, bias, kernel, (mean, deviation) in _first_layers(heads, spreads):
        seen /= deviation[:, None]
        layer.set_weights([kernel, bias - mean @ seen])


def _take_out(heads: keras.Model, spreads: Spreads) -> None:
    """Undo :func:`_fold_in`: let these layers take features of mean zero and deviation one."""
    for layer, seen, bias, kernel, (mean, deviation) in _first_layers(heads, spreads):
        bias = bias + mean @ seen
        seen *= deviation[:, None]
        layer.set_weights([kernel, bias])


def _first_layers(heads: keras.Model, spreads: Spreads) -> Iterator[tuple[Any, ...]]:
    """Each layer that sees features first, the rows of its kernel that do, its bias, its kernel, and the
    spread of these features."""
    for head in (layer for layer in heads.layers if isinstance(layer, keras.Model)):
        names = [layer.name for layer in head.layers]
        first_of_tile = names[names.index(f"{head.name}_join") + 1]
        for name, spread in zip((f"{head.name}_cell_1", first_of_tile), spreads, strict=True):
            layer = head.get_layer(name)
            kernel, bias = layer.get_weights()
            # Of the tile, behind what is pooled of its cells.
            yield layer, kernel[-len(spread[0]) :], bias, kernel, spread
