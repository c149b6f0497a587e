"""One training: pairs drawn and described, rounds of fitting and mining, a threshold, weights that load.

One run is one folder. It holds the settings (``train.json``), the described pairs, the history
(``history.csv``) and at its end the network, ``dupnet.keras`` for Keras and ``dupnet.npz`` for
``dupnet find --weights``. A run that was stopped goes on where it was, to the same end.

The encoder is fixed (:func:`dupnet.network.filters.band_filters`), so a pair is drawn, described and
forgotten: what is trained, the dense layers, sees what :func:`dupnet.network.head.compare_cells` makes
of two descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd

from dupnet.evaluation.scores import threshold_for_precision
from dupnet.files.atomic import write_csv
from dupnet.files.workers import n_workers
from dupnet.network.architectures import DupnetConfig
from dupnet.network.descriptors import WEIGHTS, load_weights
from dupnet.network.models import (
    build,
    from_arrays,
    load_arrays,
    load_model,
    save_arrays,
    save_model,
    to_arrays,
)
from dupnet.pairs.reader import PairReader
from dupnet.training.batches import PairBatches, PairFeatures
from dupnet.training.config import TrainConfig, keep_settings
from dupnet.training.fitting import fit
from dupnet.training.hard_pairs import draw_faint_pair, draw_pair, draw_usual_pair, write_pairs
from dupnet.training.material import Material, write_rows
from dupnet.training.mining import write_confused
from dupnet.training.rare_pairs import draw_rare_pair

__all__ = ["Trained", "train"]


OnEpoch = Callable[[pd.DataFrame], object] | None
"""What is called after every epoch with the losses so far."""


class Trained(NamedTuple):
    """The network, and losses by epoch: ``epoch, loss, val_loss``, of ``dupnet`` also the ``round``."""

    model: keras.Model
    history: pd.DataFrame


def train(
    material: Material,
    out: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    workers: int | None = None,
    on_epoch: OnEpoch = None,
) -> Trained:
    """Train a network from scratch; goes on with a run that was stopped.

    Parameters
    ----------
    material
        What pairs are drawn from.
    out
        Folder of the run.
    config
        Settings; a run in ``out`` must have been started with the same ones.
    workers
        Processes that draw pairs, one for every core by default; they do not change the result.
    on_epoch
        Called after every epoch with the losses so far of this round: ``epoch, loss, val_loss``. Live curves
        of a notebook are :class:`dupnet.figures.LiveFigure`.

    Raises
    ------
    ValueError
        If ``out`` holds a run of other settings, or ``dupnet_v0`` has no rows to learn from.
    """
    config, out = config or TrainConfig(), Path(out)
    rows = {part: material.rows(part) for part in ("train", "validation")} if material.rows else {}
    sizes = {part: len(reader) for part, reader in rows.items()}
    keep_settings(out, config, {"shares": material.shares, "rows": sizes})
    if isinstance(config.model, DupnetConfig):
        trained, history = _train_on_features(material, rows, out, config, n_workers(workers), on_epoch)
    else:
        trained, history = _train_on_pixels(rows, out, config, on_epoch)
    write_csv(history, out / "history.csv")
    save_arrays(trained, out / f"{config.model.architecture}.npz")
    save_model(trained, out / f"{config.model.architecture}.keras")
    return Trained(load_model(out / f"{config.model.architecture}.keras"), history)


def _train_on_pixels(
    rows: dict[str, PairReader], out: Path, config: TrainConfig, on_epoch: OnEpoch = None
) -> tuple[keras.Model, pd.DataFrame]:
    if not rows:
        raise ValueError("material has no rows; dupnet_v0 learns from the pixels of a table of pairs.")
    keras.utils.set_random_seed(config.seed)
    model = build(config.model)
    history = fit(
        model, rows["train"], config, rows["validation"], state=out / "state.npz", on_epoch=on_epoch
    )
    return model, history


def _train_on_features(
    material: Material,
    rows: dict[str, PairReader],
    out: Path,
    config: TrainConfig,
    workers: int,
    on_epoch: OnEpoch = None,
) -> tuple[keras.Model, pd.DataFrame]:
    drawn = {name: out / f"{name}.npy" for name in ("train", "faint", "rare", "validation", "usual")}
    for part, name, draw, n, seed in (
        ("train", "train", draw_pair, config.n_train, 0),
        ("train", "faint", draw_faint_pair, config.n_faint, 0),
        ("train", "rare", draw_rare_pair, config.n_rare, 0),
        ("validation", "validation", draw_pair, config.n_validation, 1),
        ("validation", "usual", draw_usual_pair, config.n_usual, 2),
    ):
        if n and not drawn[name].exists():
            seed += 1000 * config.seed
            found = material.sources(part)
            write_pairs(found, material.shares, n, drawn[name], seed=seed, workers=workers, draw=draw)
    of_rows = {part: [out / f"rows_{part}.npy"] for part in rows}
    for part, reader in rows.items():
        if not of_rows[part][0].exists():
            write_rows(reader, of_rows[part][0])
    validation = PairFeatures([drawn["validation"], *of_rows.get("validation", [])])
    usual = PairFeatures([drawn["usual"]]) if config.n_usual else validation
    hard = [drawn["train"], *([drawn["rare"]] if config.n_rare else []), *of_rows.get("train", [])]
    faint = [drawn["faint"]] if config.n_faint else []
    mined: list[Path] = []
    histories: list[pd.DataFrame] = []
    for number in range(1, config.n_rounds + 1):
        is_last = number == config.n_rounds
        # The first network looks for what it confuses before it has seen what shows little.
        is_first = number == 1 and not is_last and config.start is None
        learned_from = hard if is_first else [*hard, *faint, *mined]
        epochs = config.epochs if is_last else config.mining_epochs
        model, history = _round(
            learned_from, validation, replace(config, epochs=epochs), out / f"round{number}.npz", on_epoch
        )
        histories.append(history.assign(round=number))
        confused = out / f"confused{number}.npy"
        if not is_last and not confused.exists():
            save_arrays(model, out / f"round{number}_weights.npz")
            weights = load_weights(out / f"round{number}_weights.npz")
            seed = 500 + 1000 * (config.seed + number - 1)
            found = material.sources("train")
            write_confused(found, material.shares, config.n_confused, confused, weights, seed=seed)
        mined.append(confused)
    for name, pairs in {"validation": validation, "usual": usual}.items():
        pairs.table["score"] = _scores(model, pairs)
        write_csv(pairs.table, out / f"{name}_scores.csv")
    threshold = _threshold(usual.table, config.precision)
    together = pd.concat(histories, ignore_index=True)
    settings = replace(model.settings, threshold=threshold)
    return from_arrays(to_arrays(model), settings), together.assign(epoch=together.index)


def _round(
    paths: Sequence[Path],
    validation: PairFeatures,
    config: TrainConfig,
    state: Path,
    on_epoch: OnEpoch = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """A network of ``config.model``, new or from shipped weights, trained on described pairs."""
    keras.utils.set_random_seed(config.seed)
    if config.start is None:
        model = build(config.model)
    else:
        model = load_arrays(WEIGHTS.with_name(config.start))
    heads = model.get_layer("head").get_layer("heads")
    is_trained, pairs = config.start is not None, PairFeatures(paths)
    fitted = fit(heads, pairs, config, validation, state=state, is_trained=is_trained, on_epoch=on_epoch)
    return model, fitted


def _scores(model: keras.Model, pairs: PairFeatures) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Scores (n,) of described pairs, the cascade of the heads included."""
    heads, cascade = (model.get_layer("head").get_layer(name) for name in ("heads", "score"))
    by_head = heads.predict(PairBatches(pairs, 1024), verbose=0)
    return np.asarray(cascade(by_head), np.float32).ravel()


def _threshold(usual: pd.DataFrame, precision: float) -> float:
    """One half, what a calibrated score asks for; where that is not precise enough, the least that is.

    ``usual`` holds ``score`` and ``is_duplicate`` of pairs as collections hold them.
    """
    scores, is_duplicate = usual["score"].to_numpy(), usual["is_duplicate"].to_numpy()
    if not (scores >= 0.5).any() or is_duplicate[scores >= 0.5].mean() >= precision:
        return 0.5
    precise, _ = threshold_for_precision(scores, is_duplicate, precision)
    return float(np.clip(precise, 0.5, 1.0))  # it may be beyond any score
