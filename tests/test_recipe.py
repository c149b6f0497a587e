"""The recipe: parts that never meet, and settings that reach the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dupnet.training import recipe
from dupnet.training.config import TrainConfig
from dupnet.training.recipe import COLUMNS, SHARES, airbus_parts


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


def test_every_option_reaches_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[tuple[Any, ...]] = []
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(recipe, "train", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(
        recipe, "acquisitions", lambda part, folder, airbus: asked.append((part, folder, airbus))
    )
    numbers = {name: 7 + place for place, name in enumerate(recipe.NUMBERS)}
    options = [word for name, n in numbers.items() for word in (f"--{name.replace('_', '-')}", str(n))]
    options += ["--learning-rate", "0.125", "--start", "dupnet_start.npz"]
    recipe.main([*options, "--out", "here", "--data", "there", "--airbus", "elsewhere"])
    recipe.main([])
    (material, out, config), (_, _, default) = called
    tuning = {"learning_rate": 0.125, "start": "dupnet_start.npz"}
    assert (out, config) == (Path("here"), replace(TrainConfig(), **numbers, **tuning))
    assert default == TrainConfig()
    assert material.shares == SHARES and material.rows is None
    material.sources("validation")
    assert asked == [("validation", Path("there"), Path("elsewhere"))]
