"""Training: batches that do not depend on workers, runs that resume, settings that are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from test_pair_reader import SIZE, cut_in_tiles, reader

from dupnet.augment.variation import AugmentConfig
from dupnet.network.models import DupnetV0Config, build
from dupnet.pairs.reader import PairReader
from dupnet.training import fitting as training
from dupnet.training.fitting import PairBatches, TrainConfig, predict_pairs, train

CONFIG = TrainConfig(
    model=DupnetV0Config(tile_size=SIZE, filters=(4, 4, 4), dense_units=4),
    epochs=4,
    batch_size=8,
    plateau_patience=1,
    plateau_factor=0.5,
    learning_rate=3e-3,
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Four images of 2 x 2 textured tiles, and all 40 pairs within them."""
    return cut_in_tiles(tmp_path_factory.mktemp("images"))


def test_an_epoch_shows_every_row_once_whoever_reads(
    collection: tuple[Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int, list[int]] = {}
    source = reader(collection)
    original = source.batch

    def record(rows: np.ndarray, epoch: int = 0) -> object:
        shown.setdefault(epoch, []).extend(int(row) for row in rows)
        return original(rows, epoch)

    monkeypatch.setattr(source, "batch", record)
    batches = PairBatches(source, 8, shuffle=True, seed=1)
    for batches.epoch in range(2):
        list(batches)
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(40))
    assert shown[0] != shown[1]


def test_rows_per_epoch_limits_an_epoch(collection: tuple[Path, pd.DataFrame]) -> None:
    batches = PairBatches(reader(collection), 8, shuffle=True, rows_per_epoch=12)
    assert batches.num_batches == 2
    assert [len(labels) for _, labels in batches] == [8, 4]


def test_fit_takes_each_epochs_own_batches(collection: tuple[Path, pd.DataFrame]) -> None:
    """Keras may ask ahead; what it trains on must still be the rows of the epoch that it is in."""
    seen: list[float] = []

    class Sum(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: object) -> object:
            return keras.ops.mean(keras.ops.cast(inputs[0], "float32"), axis=(1, 2, 3))[:, None]  # type: ignore[index]

    def keep(_: object, predicted: object) -> object:
        return keras.ops.sum(predicted)

    tiles = [keras.Input((SIZE, SIZE, 3), dtype="uint8") for _ in range(2)]
    output = keras.layers.Dense(1, trainable=False, kernel_initializer="ones")(Sum()(tiles))
    model = keras.Model(tiles, output)
    model.compile("sgd", keep, run_eagerly=True)
    source = reader(collection, augment=AugmentConfig(), seed=5)
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    batches = PairBatches(source, 8, shuffle=True, rows_per_epoch=8, seed=5)
    model.fit(batches, epochs=3, verbose=0, callbacks=[training._SetEpoch(batches), callback])
    assert len(seen) == 3
    for epoch, loss in enumerate(seen):
        order = np.random.default_rng([5, epoch]).permutation(40)[:8]
        expected = source.batch(order, epoch).tiles1.mean(axis=(1, 2, 3)).sum()
        assert loss == pytest.approx(expected, rel=1e-4)


class Stop(Exception):
    pass


def test_a_stopped_run_goes_on_to_the_same_history(
    collection: tuple[Path, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pairs = collection
    whole = train(pairs, folder, tmp_path / "whole", CONFIG, verbose=0)

    # Stopped in the middle of the third epoch.
    original, calls = PairBatches.__getitem__, []

    def stop_in_third_epoch(self: PairBatches, index: int) -> object:
        calls.append(index)
        if self._shuffle and self.epoch == 2 and index == 2:
            raise Stop
        return original(self, index)

    monkeypatch.setattr(PairBatches, "__getitem__", stop_in_third_epoch)
    with pytest.raises(Exception, match="Stop"):
        train(pairs, folder, tmp_path / "stopped", CONFIG, verbose=0)
    monkeypatch.setattr(PairBatches, "__getitem__", original)
    assert len(pd.read_csv(tmp_path / "stopped" / "history.csv")) == 2

    resumed = train(pairs, folder, tmp_path / "stopped", CONFIG, verbose=0)
    pd.testing.assert_frame_equal(resumed.history, whole.history, rtol=1e-4)
    assert len(whole.history) == CONFIG.epochs
    assert list(whole.history["epoch"]) == [0, 1, 2, 3]
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_best_model_is_kept_and_scores_in_order(
    collection: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    folder, pairs = collection
    found = train(pairs, folder, tmp_path, CONFIG, verbose=0)
    assert found.model.settings == CONFIG.model
    validation = pairs[pairs["split"] == "validation"]
    options = {"augment": CONFIG.augment, "another_day_share": CONFIG.another_day_share, "tile_size": SIZE}
    source = PairReader(validation, folder, **options)  # type: ignore[arg-type]
    scores = predict_pairs(found.model, source, batch_size=4)
    labels = source.batch(range(len(source))).is_duplicate
    loss = -np.mean(np.where(labels == 1, np.log(scores), np.log1p(-scores)))
    assert loss == pytest.approx(found.history["val_loss"].min(), rel=1e-3)


def test_settings_are_written_and_another_run_is_refused(
    collection: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    folder, pairs = collection
    one_epoch = TrainConfig(model=CONFIG.model, epochs=1, batch_size=16, another_day_share=0.0)
    train(pairs, folder, tmp_path, one_epoch, verbose=0)
    written = json.loads((tmp_path / "train.json").read_text())
    assert written["config"]["batch_size"] == 16
    assert written["config"]["model"]["architecture"] == "dupnet_v0"
    assert written["n_rows"] == {"train": 30, "validation": 10}
    with pytest.raises(ValueError, match="another config"):
        train(pairs, folder, tmp_path, CONFIG, verbose=0)


def test_early_stop_ends_a_run_for_good(
    collection: tuple[Path, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pairs = collection
    never_better = TrainConfig(
        model=CONFIG.model, epochs=9, stop_patience=1, learning_rate=0.0, batch_size=16
    )
    first = train(pairs, folder, tmp_path, never_better, verbose=0)
    assert len(first.history) < 9
    monkeypatch.setattr(training.PairBatches, "__getitem__", lambda *_: pytest.fail("trained on"))
    again = train(pairs, folder, tmp_path, never_better, verbose=0)
    pd.testing.assert_frame_equal(again.history, first.history)


def test_training_goes_on_from_a_model(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    folder, pairs = collection
    start = build(CONFIG.model)
    before = start.get_weights()
    still = replace(CONFIG, epochs=1, learning_rate=0.0)
    found = train(pairs, folder, tmp_path, still, start=start, verbose=0)
    for one, two, three in zip(before, found.model.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_a_missing_split_is_named(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    folder, pairs = collection
    with pytest.raises(ValueError, match="validation"):
        train(pairs[pairs["split"] == "train"], folder, tmp_path, CONFIG, verbose=0)


def test_a_table_that_does_not_fit_its_images(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    """Another folder is told, and no training is begun."""
    _, pairs = collection
    with pytest.raises(FileNotFoundError, match=r"lacks 3 of the 3 images of the table, such as '0\.png'"):
        train(pairs, tmp_path, tmp_path / "run", CONFIG, verbose=0)
    assert not (tmp_path / "run").exists()
