"""Many hard pairs at stored thresholds, and learning curves: runs from end to end on stand-ins."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import rough_scene

pytest.importorskip("benchmarks.accuracy", reason="benchmarks are not part of the installed package")

from benchmarks.accuracy import hard, learning, pairs
from dupnet.network.descriptors import load_weights, weights_bytes

Asked = list[tuple[dict[str, Path | None], str]]


@pytest.fixture(scope="module")
def airbus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for four groups of images of each part."""
    folder = tmp_path_factory.mktemp("airbus")
    parts = pd.read_csv(pairs.AIRBUS_PARTS).drop_duplicates("group").groupby("part").head(4)
    for seed, name in enumerate(parts.loc[parts["part"] != "reserved", "image"]):
        cv2.imwrite(str(folder / name), rough_scene(seed, 16))
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What was asked for; acquisitions are not there."""
    found: Asked = []

    def without(airbus: Path, acquisitions: dict[str, Path | None], work: Path, part: str) -> object:
        found.append((acquisitions, part))
        return pairs.find_collections(airbus, {}, work, part)

    for module in (hard, learning):
        monkeypatch.setattr(module, "find_collections", without)
    return found


def test_hard_pairs_are_counted_by_kind_at_thresholds_of_other_ground(
    airbus: Path, asked: Asked, tmp_path: Path
) -> None:
    command = f"--airbus {airbus} --derna d.tif --kitsap k.tif --pairs 40 --tuning-pairs 30 --seed 3"
    command += f" --work {tmp_path}/work --pictures {tmp_path}/pictures --out {tmp_path}"
    assert hard.main(command.split()) == 0
    files = {"derna": Path("d.tif"), "kitsap": Path("k.tif")}
    assert asked == [(files, "validation"), (files, "test")]
    table = pd.read_csv(tmp_path / "accuracy_hard.csv")
    assert set(table["collection"]) == {"all", "airbus"}
    one = table[(table["collection"] == "airbus") & (table["signal"] == "dupnet")].set_index("kind")
    assert one.loc["all", "n_pairs"] + one.loc["all", "n_undecidable"] == 40
    for column in ("n_pairs", "wrong"):
        assert one.loc["all", column] == one.loc[list(hard.KINDS), column].sum()
    assert (one["threshold"] == load_weights().threshold).all()
    assert (table["groups_wrong"] <= table["wrong"]).all() and (table["n_groups"] <= 4).all()
    assert (table["errors_per_38780_high"] > table["errors_per_38780"]).all()


def test_every_error_is_listed_and_drawn(airbus: Path, asked: Asked, tmp_path: Path) -> None:
    """With weights that call everything a duplicate: what is none is wrong."""
    lenient = tmp_path / "lenient.npz"
    lenient.write_bytes(weights_bytes(replace(load_weights(), threshold=0.0)))
    command = f"--airbus {airbus} --pairs 20 --tuning-pairs 10 --work {tmp_path}/work --weights {lenient}"
    assert hard.main([*command.split(), "--pictures", f"{tmp_path}/pictures", "--out", str(tmp_path)]) == 0
    errors = pd.read_csv(tmp_path / "accuracy_hard_errors.csv")
    assert len(errors) and not errors["is_duplicate"].any()
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {f"airbus_{number}.png" for number in errors["pair"]}
    assert cv2.imread(str(tmp_path / "pictures" / min(drawn))).shape == (256, 1024, 3)


def test_both_networks_learn_from_the_same_pairs(airbus: Path, asked: Asked, tmp_path: Path) -> None:
    command = f"--airbus {airbus} --derna d.tif --kitsap k.tif --pairs 12 --seen 16 --validation-pairs 10"
    command += (
        f" --trial 4 --learning-rates 0.002 --batch-size 4 --seed 5 --work {tmp_path}/work --out {tmp_path}"
    )
    assert learning.main(command.split()) == 0
    assert [part for _, part in asked] == ["train", "validation"]
    table = pd.read_csv(tmp_path / "learning.csv")
    assert table["network"].unique().tolist() == [*learning.BASELINES, "dupnet", "dupnet_v0"]
    assert (table["run"] == "untrained").sum() == 2
    for _, rows in table[table["run"] != "untrained"].groupby("network"):
        assert rows["run"].tolist() == ["trial", "curve", "curve", "curve"]
        assert rows["pairs_seen"].tolist() == [4, 4, 8, 16]
        assert rows["pairs_drawn"].tolist() == [4, 4, 8, 12]
        assert (rows["learning_rate"] == 0.002).all() and (rows["validation_pairs"] == 10).all()
        assert rows["processor_seconds"][rows["run"] == "curve"].is_monotonic_increasing
        assert (rows["wrong"] <= rows["wrong_at_half"]).all()
    assert (tmp_path / "learning.png").stat().st_size > 5000


def test_drawn_pairs_are_read_again(airbus: Path, asked: Asked, tmp_path: Path) -> None:
    options = Namespace(airbus=airbus, derna=None, kitsap=None, work=tmp_path, seed=0)
    first = learning.draw("train", 8, options)
    first_labels = first.is_duplicate.tolist()
    again = learning.draw("train", 8, options)
    np.testing.assert_array_equal(first.tiles, again.tiles)
    assert again.is_duplicate.tolist() == first_labels
    other = learning.draw("train", 8, Namespace(**{**vars(options), "seed": 1}))
    assert not np.array_equal(other.tiles, first.tiles)
