"""Training: batches that do not depend on workers, runs that resume, settings that are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from test_pair_reader import SIZE, cut_in_tiles, reader

from dupnet.augment.variation import AugmentConfig
from dupnet.network.architectures import DupnetConfig, DupnetV0Config, HeadConfig
from dupnet.network.collar_cells import MARK
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import WEIGHTS, load_weights
from dupnet.pairs.reader import PairReader
from dupnet.training import batches as batches_module
from dupnet.training import fitting, rounds
from dupnet.training.batches import PairBatches, predict_pairs
from dupnet.training.config import TrainConfig
from dupnet.training.crops import Source
from dupnet.training.hard_pairs import USUAL_KINDS
from dupnet.training.material import Material, material_of_table, write_rows
from dupnet.training.rounds import train

CONFIG = TrainConfig(
    model=DupnetV0Config(tile_size=SIZE, filters=(4, 4, 4), dense_units=4),
    epochs=4,
    batch_size=8,
    learning_rate=3e-3,
)
SMALL = DupnetConfig(
    first_stage=HeadConfig((4,), 1, 3, ()), ensemble=HeadConfig((6,), 2, 5, (4,)), n_members=1
)

Collection = tuple[Path, pd.DataFrame]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Four images of 2 x 2 textured tiles, and all 40 pairs within them."""
    folder, pairs = cut_in_tiles(tmp_path_factory.mktemp("images"))
    return folder, pairs.assign(tile_size=SIZE, is_decidable=1)


def noise(seed: int = 0) -> np.ndarray:
    """(800, 800, 3) of blocks and noise: textured everywhere."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(30, 220, (80, 80, 3)), np.ones((10, 10, 1)))
    return np.clip(blocks + rng.normal(0, 8, blocks.shape), 0, 255).astype(np.uint8)


def drawn_from(*names: str) -> Material:
    sources = [Source(name, name, noise()) for name in names]
    return Material(lambda part: sources, dict.fromkeys(names, 1.0))


def train_on(collection: Collection, out: Path, config: TrainConfig = CONFIG) -> rounds.Trained:
    folder, pairs = collection
    return train(material_of_table(pairs, folder, config), out, config)


def test_an_epoch_shows_every_row_once_whoever_reads(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int, list[int]] = {}
    source = reader(collection)
    original = source.batch

    def record(rows: np.ndarray, epoch: int = 0) -> object:
        shown.setdefault(epoch, []).extend(int(row) for row in rows)
        return original(rows, epoch)

    monkeypatch.setattr(source, "batch", record)
    batches = PairBatches(source, 8, seed=1)
    for batches.epoch in range(2):
        list(batches)
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(40))
    assert shown[0] != shown[1]


def test_rows_per_epoch_limits_an_epoch(collection: Collection) -> None:
    batches = PairBatches(reader(collection), 8, seed=0, rows_per_epoch=12)
    assert batches.num_batches == 2
    assert [len(labels) for _, labels in batches] == [8, 4]


def test_fit_takes_each_epochs_own_batches(collection: Collection) -> None:
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
    batches = PairBatches(source, 8, seed=5, rows_per_epoch=8)
    model.fit(batches, epochs=3, verbose=0, callbacks=[fitting._Progress(batches, None, None), callback])
    assert len(seen) == 3
    for epoch, loss in enumerate(seen):
        order = np.random.default_rng([5, epoch]).permutation(40)[:8]
        expected = source.batch(order, epoch).tiles1.mean(axis=(1, 2, 3)).sum()
        assert loss == pytest.approx(expected, rel=1e-4)


class Stop(Exception):
    pass


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Stop in the middle of an epoch of training."""
    original = PairBatches.__getitem__

    def stopped(self: PairBatches, index: int) -> object:
        if self._seed is not None and self.epoch == epoch and index == 2:
            raise Stop("Stop")
        return original(self, index)

    monkeypatch.setattr(batches_module.PairBatches, "__getitem__", stopped)


def same_end(one: rounds.Trained, other: rounds.Trained) -> None:
    pd.testing.assert_frame_equal(one.history, other.history, rtol=1e-4)
    for mine, theirs in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_a_stopped_run_on_pixels_goes_on_to_the_same_end(collection: Collection, tmp_path: Path) -> None:
    whole = train_on(collection, tmp_path / "whole")
    assert list(whole.history["epoch"]) == [0, 1, 2, 3]
    assert whole.model.settings == CONFIG.model
    with pytest.MonkeyPatch.context() as patch:
        stop_in_epoch(patch, 2)
        with pytest.raises(Exception, match="Stop"):
            train_on(collection, tmp_path / "stopped")
    with np.load(tmp_path / "stopped" / "state.npz") as state:
        assert len(json.loads(str(state["history"]))) == 2
    same_end(train_on(collection, tmp_path / "stopped"), whole)


def test_a_run_that_has_ended_trains_no_more(collection: Collection, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1)
    first = train_on(collection, tmp_path, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module.PairBatches, "__getitem__", lambda *_: pytest.fail("trained on"))
        same_end(train_on(collection, tmp_path, config), first)


def test_scores_come_in_the_order_of_the_rows(collection: Collection, tmp_path: Path) -> None:
    folder, pairs = collection
    found = train_on(collection, tmp_path)
    options = {"augment": CONFIG.augment, "another_day_share": CONFIG.another_day_share}
    source = PairReader(pairs[pairs["split"] == "validation"], folder, **options)  # type: ignore[arg-type]
    scores = predict_pairs(found.model, source, batch_size=4)
    labels = source.batch(range(len(source))).is_duplicate
    loss = -np.mean(np.where(labels == 1, np.log(scores), np.log1p(-scores)))
    assert loss == pytest.approx(found.history["val_loss"].iloc[-1], rel=1e-3)


def test_settings_are_written_and_another_run_is_refused(collection: Collection, tmp_path: Path) -> None:
    folder, pairs = collection
    one_epoch = replace(CONFIG, epochs=1, batch_size=16, another_day_share=0.0)
    train_on(collection, tmp_path, one_epoch)
    written = json.loads((tmp_path / "train.json").read_text())
    assert written["config"]["batch_size"] == 16
    assert written["config"]["model"]["architecture"] == "dupnet_v0"
    assert written["drawn_from"]["rows"] == {"train": 30, "validation": 10}
    with pytest.raises(ValueError, match=r"holds a run with another_day_share 0\.0, not 0\.25; choose"):
        train_on(collection, tmp_path, CONFIG)
    fewer = pairs.drop(index=0)
    with pytest.raises(ValueError, match=r"holds a run with rows \{'train': 30, 'validation': 10\}, not"):
        train_on((folder, fewer), tmp_path, one_epoch)


def test_settings_that_make_no_training_are_refused() -> None:
    for name in ("n_train", "n_validation", "n_rounds", "mining_epochs", "epochs", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
            TrainConfig(**{name: 0})


def test_kinds_keep_their_shares_whatever_the_size() -> None:
    shipped = TrainConfig()
    assert TrainConfig.of_size(shipped.n_train) == shipped
    half = TrainConfig.of_size(shipped.n_train // 2, epochs=3)
    assert (half.n_faint, half.n_confused, half.n_usual, half.epochs) == (50_000, 10_000, 12_000, 3)


def test_a_table_that_does_not_fit_is_named(collection: Collection, tmp_path: Path) -> None:
    folder, pairs = collection
    with pytest.raises(ValueError, match="no rows of split 'validation'"):
        material_of_table(pairs[pairs["split"] == "train"], folder, CONFIG)
    with pytest.raises(FileNotFoundError, match=r"lacks 3 of the 3 images of the table, such as '0\.png'"):
        material_of_table(pairs, tmp_path, CONFIG)
    with pytest.raises(ValueError, match="tiles of 64 px, and this dupnet learns from tiles of 256 px"):
        material_of_table(pairs, folder, TrainConfig())
    with pytest.raises(ValueError, match="tiles of 64 px; dupnet learns from tiles of 256 px"):
        material_of_table(pairs, folder, TrainConfig(model=DupnetConfig(tile_size=SIZE)))
    with pytest.raises(ValueError, match="dupnet_v0 learns from the pixels of a table"):
        train(drawn_from("noise"), tmp_path / "run", CONFIG)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Three images of 2 x 2 tiles of 256 px, one of them blank in a corner, and all pairs within them."""
    folder = tmp_path_factory.mktemp("large")
    rows = []
    for number, split in enumerate(("train", "train", "validation")):
        pixels = noise(number)[:512, :512]
        if number == 1:
            pixels[:256, :256] = 90
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
        for one in range(4):
            for two in range(one, 4):
                is_decidable = int(number != 1 or one > 0)
                rows.append((f"{number}.png", one, f"{number}.png", two, int(one == two), number, split))
                rows[-1] = (*rows[-1], 256, is_decidable)
    columns = ["image1", "tile1", "image2", "tile2", "is_duplicate", "group", "split", "tile_size"]
    return folder, pd.DataFrame(rows, columns=[*columns, "is_decidable"])


def test_images_of_a_part_are_its_sources(table: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, pairs = table
    material = material_of_table(pairs, folder, TrainConfig())
    assert material.rows is not None
    assert [source.group for source in material.sources("validation")] == ["2"]
    assert sorted(source.group for source in material.sources("train")) == ["0", "1"]
    assert len(material.rows("train")) == 16  # of 20, without those of the blank tile
    monkeypatch.setattr("dupnet.training.material.LARGEST_SOURCES", 512 * 512 * 3)
    one_of_them = {seed: _group(pairs, folder, seed) for seed in range(6)}
    assert set(one_of_them.values()) == {"0", "1"}


def _group(pairs: pd.DataFrame, folder: Path, seed: int) -> str:
    (source,) = material_of_table(pairs, folder, TrainConfig(seed=seed)).sources("train")
    return source.group


def test_rows_are_described_as_they_are_read(table: Collection, tmp_path: Path) -> None:
    folder, pairs = table
    rows = PairReader(pairs[pairs["group"] == 1], folder)  # also what shows nothing
    write_rows(rows, tmp_path / "rows.npy")
    verify = np.load(tmp_path / "rows.npy", allow_pickle=False)
    kept = pd.read_csv(tmp_path / "rows.csv")
    assert kept["is_duplicate"].tolist() == [1, 0, 0, 1, 0, 1] and set(kept["kind"]) == {"table"}
    assert (score_pairs(verify[:, 0], verify[:, 1]).round() == kept["is_duplicate"]).all()
    with pytest.raises(ValueError, match="no row shows enough to learn from"):
        write_rows(
            PairReader(pairs[(pairs["group"] == 1) & (pairs["tile2"] == 0)], folder), tmp_path / "n.npy"
        )


def test_training_on_features_ends_in_weights_that_load(table: Collection, tmp_path: Path) -> None:
    folder, pairs = table
    config = TrainConfig(
        model=SMALL,
        n_train=32,
        n_faint=8,
        n_rare=8,
        n_validation=16,
        n_usual=16,
        n_rounds=1,
        epochs=3,
        batch_size=16,
    )
    told: list[list[float]] = []
    material = material_of_table(pairs, folder, config)
    trained = train(
        material, tmp_path / "whole", config, workers=1, on_epoch=lambda seen: told.append(list(seen["loss"]))
    )
    assert told == [trained.history["loss"].tolist()[:n_epochs] for n_epochs in (1, 2, 3)]
    weights = load_weights(tmp_path / "whole" / "dupnet.npz")
    assert 0.5 <= weights.threshold <= 1 and trained.model.settings.threshold == weights.threshold
    scores = pd.read_csv(tmp_path / "whole" / "validation_scores.csv")
    assert scores["kind"].value_counts()["table"] == 10 and len(scores) == 26
    verify = [np.load(tmp_path / "whole" / f"{name}.npy") for name in ("validation", "rows_validation")]
    by_numpy = score_pairs(*np.concatenate(verify).swapaxes(0, 1), weights)
    np.testing.assert_allclose(by_numpy, scores["score"], atol=2e-3)  # features at half precision

    with pytest.MonkeyPatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(Exception, match="Stop"):
            train(material_of_table(pairs, folder, config), tmp_path / "stopped", config, workers=1)
    again = train(material_of_table(pairs, folder, config), tmp_path / "stopped", config, workers=1)
    same_end(again, trained)


def test_a_run_mines_what_it_confuses_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds.write_confused, "__kwdefaults__", {"seed": 0, "n_dark": 4, "n_light": 6})
    config = TrainConfig(
        model=SMALL,
        n_train=40,
        n_faint=8,
        n_rare=8,
        n_validation=20,
        n_usual=20,
        n_confused=9,
        mining_epochs=1,
        epochs=2,
        batch_size=16,
    )
    seen: list[int] = []
    features = rounds.PairFeatures
    monkeypatch.setattr(
        rounds, "PairFeatures", lambda paths: seen.append(len(features(paths))) or features(paths)
    )
    train(drawn_from("noise"), tmp_path, config, workers=1)
    # Watched (but for one pair whose label a collar hides), usual, then what each round learned from.
    assert seen == [19, 20, 48, 65, 74]
    for number in (1, 2):
        confused = pd.read_csv(tmp_path / f"confused{number}.csv", keep_default_na=False)
        assert len(confused) == 9 and not confused["is_duplicate"].any()
        assert len(np.load(tmp_path / f"confused{number}.npy")) == 9
    usual = pd.read_csv(tmp_path / "usual_scores.csv")
    assert len(usual) == 20 and set(usual["kind"]) <= {"duplicate", *USUAL_KINDS}
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["round"].tolist() == [1, 2, 3, 3] and history["epoch"].tolist() == [0, 1, 2, 3]

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    weights = load_weights(tmp_path / "dupnet.npz")
    (tmp_path / "dupnet.npz").unlink()
    train(drawn_from("noise"), tmp_path, config, workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    for name, array in load_weights(tmp_path / "dupnet.npz").arrays.items():
        np.testing.assert_array_equal(array, weights.arrays[name])
    with pytest.raises(ValueError, match="holds a run with epochs 2, not 3; choose another folder"):
        train(drawn_from("noise"), tmp_path, replace(config, epochs=3))
    with pytest.raises(ValueError, match="holds a run with shares"):
        train(drawn_from("other"), tmp_path, config)


def test_the_threshold_is_one_half_or_precise_enough() -> None:
    def table(*labels: int) -> pd.DataFrame:
        return pd.DataFrame({"score": [0.1, 0.4, 0.6, 0.7, 0.8, 0.9], "is_duplicate": labels})

    assert rounds._threshold(table(0, 0, 1, 1, 1, 1), 0.9999) == 0.5
    assert rounds._threshold(table(1, 0, 1, 1, 1, 1), 0.9999) == 0.5
    assert rounds._threshold(table(0, 1, 0, 1, 1, 1), 0.75) == 0.5
    assert rounds._threshold(table(0, 1, 0, 1, 1, 1), 0.9999) == pytest.approx(0.7)
    assert rounds._threshold(table(1, 1, 1, 1, 1, 0), 0.9999) == 1.0


def test_a_tuning_begins_with_the_shipped_weights_and_all_kinds_of_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds.write_confused, "__kwdefaults__", {"seed": 0, "n_dark": 4, "n_light": 6})
    numbers = {"n_train": 40, "n_faint": 8, "n_rare": 12, "n_validation": 8, "n_usual": 8, "n_confused": 9}
    config = TrainConfig(
        **numbers, n_rounds=2, mining_epochs=1, epochs=1, learning_rate=1e-9, start="dupnet_start.npz"
    )
    seen: list[int] = []
    features = rounds.PairFeatures
    monkeypatch.setattr(
        rounds, "PairFeatures", lambda paths: seen.append(len(features(paths))) or features(paths)
    )
    tuned = train(drawn_from("noise"), tmp_path, config, workers=1)
    assert seen == [8, 8, 60, 69]
    start = load_weights(WEIGHTS.with_name("dupnet_start.npz"))
    for name, array in load_weights(tmp_path / "dupnet.npz").arrays.items():
        np.testing.assert_allclose(array, start.arrays[name], atol=1e-4)
    assert tuned.model.settings.ensemble == TrainConfig().model.ensemble


def test_pairs_whose_label_a_collar_may_hide_are_left_out(tmp_path: Path) -> None:
    verify = np.full((5, 2, 4096), 5, np.uint8)
    powers = slice(64 * 7 * 8, 64 * 7 * 8 + 64)
    verify[1:3, 0, powers][:, :40] = MARK
    verify[3, 1, powers] = MARK
    kinds = ["small", "small", "day", "duplicate", "duplicate"]
    np.save(tmp_path / "pairs.npy", verify)
    pd.DataFrame({"is_duplicate": [0, 0, 0, 1, 1], "kind": kinds}).to_csv(tmp_path / "pairs.csv", index=False)
    seen = rounds.PairFeatures([tmp_path / "pairs.npy"])
    assert seen.table["kind"].tolist() == ["small", "day", "duplicate"] and len(seen.cells) == 3
