"""Training from a pair table: batches, fit with validation, checkpoints, a history that survives a stop.

One run is one folder. It holds the settings (``train.json``), the history so far (``history.csv``), the best
model by validation loss (``model.keras``) and what it needs to go on (``state/``).
Calling :func:`train` again with the same settings goes on where the last epoch ended, to the same history.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet import __version__
from dupnet.augment.variation import AugmentConfig
from dupnet.files.atomic import atomic_path, write_csv
from dupnet.network.models import DupnetConfig, DupnetV0Config, build, load_model, save_model
from dupnet.pairs.reader import PairReader

__all__ = ["PairBatches", "TrainConfig", "Trained", "predict_pairs", "train"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run, written beside its result as ``train.json``.

    ``rows_per_epoch`` limits an epoch to so many rows drawn anew each time, as the original took 5 % of its
    pairs. ``another_day_share`` is the share of duplicates turned into one place on another day. The learning
    rate is cut by ``plateau_factor`` after ``plateau_patience`` epochs, and training ends after
    ``stop_patience`` epochs, without a better validation loss.
    """

    model: DupnetConfig | DupnetV0Config = field(default_factory=DupnetConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    another_day_share: float = 0.25
    epochs: int = 20
    rows_per_epoch: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    stop_patience: int = 6
    seed: int = 0


class Trained(NamedTuple):
    """The best model, and the history: ``epoch, loss, accuracy, val_loss, val_accuracy, learning_rate``."""

    model: keras.Model
    history: pd.DataFrame


class PairBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of a pair table for ``fit`` and ``predict``: ``((tiles1, tiles2), is_duplicate)``.

    Tiles are (n, size, size, 3) uint8, labels (n, 1) float32. With ``shuffle``, the rows come in an order of
    their own for each :attr:`epoch`, and varied anew. A callback sets the epoch, because Keras announces the
    end of an epoch more often than epochs end. The reader's threads make a batch; Keras's own workers run
    ahead into the next epoch.
    """

    def __init__(
        self,
        reader: PairReader,
        batch_size: int = 64,
        *,
        shuffle: bool = False,
        rows_per_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._reader = reader
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._n_rows = min(len(reader), rows_per_epoch or len(reader))
        self._seed = seed
        self.epoch = 0

    @property
    def num_batches(self) -> int:
        return -(-self._n_rows // self._batch_size)

    def __getitem__(self, index: int) -> tuple[tuple[npt.NDArray[np.uint8], ...], npt.NDArray[np.float32]]:
        order = np.arange(len(self._reader))
        if self._shuffle:
            order = np.random.default_rng([self._seed, self.epoch]).permutation(order)
        start = index * self._batch_size
        batch = self._reader.batch(order[start : min(start + self._batch_size, self._n_rows)], self.epoch)
        return (batch.tiles1, batch.tiles2), batch.is_duplicate[:, None]


class _SetEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the batches which epoch it is."""

    def __init__(self, batches: PairBatches) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches.epoch = epoch


class _RunState(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps a run's state after every epoch, and brings it back.

    Must come last in the list of callbacks: it records what the others have decided, and restores them after
    they have reset themselves.
    """

    KEPT = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")

    def __init__(self, out: Path, others: list[Any]) -> None:
        super().__init__()
        self._out, self._others = out, others
        self._folder = out / "state"
        self.history: list[dict[str, float]] = []
        self._restored: list[dict[str, Any]] = []

    def restore(self, model: keras.Model) -> int:
        """Load the last epoch's weights into a compiled model; the number of epochs done."""
        path = self._folder / "state.json"
        if not path.exists():
            return 0
        state = json.loads(path.read_text(encoding="utf-8"))
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self._folder / state["weights"])
        self.history = state["history"]
        self._restored = state["callbacks"]
        return len(self.history)

    @property
    def has_ended(self) -> bool:
        return any(kept.get("stopped_epoch") for kept in self._restored)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        for callback, kept in zip(self._others, self._restored, strict=False):
            vars(callback).update(kept)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        entry = {name: float(value) for name, value in (logs or {}).items()}
        best = min((past["val_loss"] for past in self.history), default=np.inf)
        self.history.append({"epoch": epoch, **entry})
        if entry["val_loss"] < best:
            save_model(self.model, self._out / "model.keras")
        # A new name for each epoch: state.json always names weights that are whole.
        weights = self._folder / f"epoch_{epoch}.weights.h5"
        self._folder.mkdir(exist_ok=True)
        self.model.save_weights(weights)
        state = {
            "weights": weights.name,
            "history": self.history,
            "callbacks": [*map(self._kept, self._others)],
        }
        with atomic_path(self._folder / "state.json") as beside:
            beside.write_text(json.dumps(state), encoding="utf-8")
        for old in self._folder.glob("*.weights.h5"):
            if old != weights:
                old.unlink()
        write_csv(pd.DataFrame(self.history), self._out / "history.csv")

    def _kept(self, callback: Any) -> dict[str, float | None]:
        found = {name: getattr(callback, name) for name in self.KEPT if hasattr(callback, name)}
        return {name: None if value is None else float(value) for name, value in found.items()}


def train(
    pairs: pd.DataFrame,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    start: keras.Model | None = None,
    workers: int | None = None,
    verbose: int = 2,
) -> Trained:
    """Train on split ``train``, watch split ``validation``; goes on with a run that was stopped.

    Parameters
    ----------
    pairs
        A pair table, columns as :data:`dupnet.pairs.table.PAIR_COLUMNS`.
    folder
        Where its images are.
    out
        Folder of the run.
    config
        Settings; the run in ``out`` must have been started with the same ones.
    start
        A model of ``config.model`` to go on from, such as one trained on other images; it is left as it is.
    workers
        Threads that make batches; they do not change the result.
    verbose
        As of Keras: 0 silent, 1 a bar, 2 a line an epoch.

    Raises
    ------
    ValueError
        If a split is empty, or ``out`` holds a run with other settings.
    """
    config = config or TrainConfig()
    out = Path(out)
    readers = {}
    for split in ("train", "validation"):
        rows = pairs[pairs["split"] == split]
        if rows.empty:
            raise ValueError(f"pairs has no rows of split {split!r}; training needs train and validation.")
        readers[split] = PairReader(
            rows,
            folder,
            augment=config.augment,
            another_day_share=config.another_day_share,
            tile_size=config.model.tile_size,
            seed=config.seed,
            workers=workers,
        )
    _write_settings(config, {split: len(reader) for split, reader in readers.items()}, out)

    keras.utils.set_random_seed(config.seed)
    model = build(config.model)
    if start is not None:
        model.set_weights(start.get_weights())
    model.compile(keras.optimizers.Adam(config.learning_rate), "binary_crossentropy", metrics=["accuracy"])
    callbacks = [
        keras.callbacks.ReduceLROnPlateau("val_loss", config.plateau_factor, config.plateau_patience),
        keras.callbacks.EarlyStopping("val_loss", patience=config.stop_patience),
    ]
    state = _RunState(out, callbacks)
    done = state.restore(model)
    if done < config.epochs and not state.has_ended:
        batches = PairBatches(
            readers["train"],
            config.batch_size,
            shuffle=True,
            rows_per_epoch=config.rows_per_epoch,
            seed=config.seed,
        )
        model.fit(
            batches,
            validation_data=PairBatches(readers["validation"], config.batch_size),
            initial_epoch=done,
            epochs=config.epochs,
            callbacks=[_SetEpoch(batches), *callbacks, state],
            shuffle=False,
            verbose=verbose,
        )
    return Trained(load_model(out / "model.keras"), pd.DataFrame(state.history))


def _write_settings(config: TrainConfig, n_rows: dict[str, int], out: Path) -> None:
    settings = {
        "config": asdict(config),
        "n_rows": n_rows,
        "versions": {"dupnet": __version__, "keras": keras.__version__, "backend": keras.backend.backend()},
    }
    path = out / "train.json"
    if path.exists():
        before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(settings))
        changed = [name for name in ("config", "n_rows") if before.get(name) != now[name]]
        if changed:
            raise ValueError(f"{out}: holds a run with another {' and '.join(changed)}; use another folder.")
    with atomic_path(path) as beside:
        beside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def predict_pairs(model: keras.Model, reader: PairReader, batch_size: int = 64) -> npt.NDArray[np.float32]:
    """Scores of all rows of a reader, in order: (n,) float32."""
    scores = model.predict(PairBatches(reader, batch_size), verbose=0)
    return np.asarray(scores, np.float32).reshape(-1)
