"""The recipe: parts that never meet, and a training in small that ends in weights that load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import load_weights
from dupnet.network.models import DupnetConfig, JudgeConfig
from dupnet.training import recipe
from dupnet.training.hard_pairs import USUAL_KINDS, Source, write_pairs
from dupnet.training.recipe import COLUMNS, Recipe, airbus_parts, train_from_pairs


def test_parts_of_an_acquisition_do_not_meet() -> None:
    for columns in COLUMNS.values():
        ends = [columns[part] for part in ("train", "validation", "test")]
        assert all(first < end for first, end in ends)
        assert ends[0][1] <= ends[1][0] and ends[1][1] <= ends[2][0]


def test_airbus_groups_stay_whole_and_held_out_ones_are_tested() -> None:
    groups = pd.Series({f"{i:03d}.jpg": f"g{i // 3}" for i in range(90)})
    parts = airbus_parts(groups, ["004.jpg", "050.jpg"])
    assert parts.groupby("group")["part"].nunique().eq(1).all()
    assert (parts[parts["group"].isin(["g1", "g16"])]["part"] == "test").all()
    counts = parts.drop_duplicates("group")["part"].value_counts()
    assert counts.to_dict() == {"train": 18, "validation": 4, "test": 8}


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the parts are train, validation, test"):
        recipe.acquisitions("dev", tmp_path)


def test_training_in_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(30, 220, (80, 80, 3)), np.ones((10, 10, 1))) + rng.normal(
        0, 8, (800, 800, 3)
    )
    source = Source("noise", "noise", np.clip(noise, 0, 255).astype(np.uint8))
    for name, n, seed in (("train", 48, 0), ("validation", 24, 1)):
        write_pairs([source], {"noise": 1.0}, n, tmp_path / f"{name}.npy", seed=seed)
    small = DupnetConfig(screen=JudgeConfig((4,), 1, 3, ()), ensemble=JudgeConfig((6, 6), 2, 5, (4,)))
    settings = Recipe(model=small, n_train=48, n_validation=24, epochs=2, batch_size=16)
    out = tmp_path / "run"
    train_from_pairs([tmp_path / "train.npy"], tmp_path / "validation.npy", out, settings)

    weights = load_weights(out / "dupnet.npz")
    assert 0.5 <= weights.threshold <= 1
    assert len(pd.read_csv(out / "history.csv")) == 2
    assert json.loads((out / "recipe.json").read_text())["n_train"] == 48
    validation = pd.read_csv(out / "validation_scores.csv")
    verify = np.load(tmp_path / "validation.npy", allow_pickle=False)
    by_numpy = score_pairs(verify[:, 0], verify[:, 1], weights)
    np.testing.assert_allclose(by_numpy, validation["score"], atol=2e-3)  # features at half precision


def test_a_run_mines_what_it_confuses_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(30, 220, (80, 80, 3)), np.ones((10, 10, 1)))
    source = Source(
        "derna", "derna", np.clip(blocks + rng.normal(0, 8, blocks.shape), 0, 255).astype(np.uint8)
    )
    monkeypatch.setattr(recipe, "acquisitions", lambda part, data, airbus: [source])
    monkeypatch.setattr(recipe, "n_workers", lambda: 1)
    monkeypatch.setattr(recipe.write_confused, "__kwdefaults__", {"seed": 0, "n_dark": 4, "n_light": 6})
    small = DupnetConfig(screen=JudgeConfig((4,), 1, 3, ()), ensemble=JudgeConfig((6,), 2, 5, (4,)))
    settings = Recipe(
        model=small,
        n_train=40,
        n_faint=8,
        n_validation=20,
        n_usual=20,
        n_confused=9,
        mining_epochs=1,
        epochs=2,
        batch_size=16,
    )
    recipe.train(tmp_path, recipe=settings)
    for number in (1, 2):
        confused = pd.read_csv(tmp_path / f"confused{number}.csv", keep_default_na=False)
        assert len(confused) == 9 and not confused["is_duplicate"].any()
        assert len(np.load(tmp_path / f"confused{number}.npy")) == 9
    usual = pd.read_csv(tmp_path / "usual_scores.csv")
    assert len(usual) == 20 and set(usual["kind"]) <= {"duplicate", *USUAL_KINDS}
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["round"].tolist() == [1, 2, 3, 3] and history["epoch"].tolist() == [0, 1, 2, 3]
    assert (tmp_path / "dupnet.npz").read_bytes() == (tmp_path / "round3" / "dupnet.npz").read_bytes()

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    (tmp_path / "dupnet.npz").unlink()
    recipe.train(tmp_path, recipe=settings)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    assert load_weights(tmp_path / "dupnet.npz").threshold >= 0.5
    with pytest.raises(ValueError, match="holds a run with epochs 2, not 3; choose another folder"):
        recipe.train(tmp_path, recipe=replace(settings, epochs=3))


def test_the_threshold_is_one_half_or_precise_enough() -> None:
    def table(*labels: int) -> pd.DataFrame:
        return pd.DataFrame({"score": [0.1, 0.4, 0.6, 0.7, 0.8, 0.9], "is_duplicate": labels})

    assert recipe._threshold(table(0, 0, 1, 1, 1, 1), 0.9999) == 0.5
    assert recipe._threshold(table(1, 0, 1, 1, 1, 1), 0.9999) == 0.5
    assert recipe._threshold(table(0, 1, 0, 1, 1, 1), 0.75) == 0.5
    assert recipe._threshold(table(0, 1, 0, 1, 1, 1), 0.9999) == pytest.approx(0.7)
    assert recipe._threshold(table(1, 1, 1, 1, 1, 0), 0.9999) == 1.0
