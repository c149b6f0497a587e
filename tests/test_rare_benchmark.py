"""The benchmark of rare kinds of pairs: what it draws, and a run from end to end on stand-ins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from textures import rough_scene

pytest.importorskip("benchmarks.accuracy", reason="benchmarks are not part of the installed package")

from benchmarks.accuracy import rare
from benchmarks.accuracy.rare_pairs import RARE_KINDS, draw_rare_pair
from dupnet.network.descriptors import load_weights
from dupnet.training.crops import Source

SIDES = {
    "tiles of 64 px": 64,
    "tiles of 128 px": 128,
    "strips of 32 x 128 px": 64,
    "strips of 32 x 512 px": 128,
}


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return [
        Source(name, name, np.hstack([rough_scene(seed, 16), rough_scene(seed + 10, 16)]))
        for seed, name in enumerate(("one", "two"))
    ]


@pytest.mark.parametrize("kind", RARE_KINDS)
def test_a_kind_has_both_labels_and_depends_on_its_number_alone(kind: str, sources: list[Source]) -> None:
    pairs = [draw_rare_pair(kind, sources, 0, index) for index in range(8)]
    side = SIDES.get(kind, 256)
    assert {pair.is_duplicate for pair in pairs} == {0, 1}
    assert all(tile.shape == (side, side, 3) for pair in pairs for tile in pair[:2])
    again = draw_rare_pair(kind, sources, 0, 5)
    np.testing.assert_array_equal(again.tile2, pairs[5].tile2)


def test_a_run_writes_every_kind_and_signal(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[str] = []
    monkeypatch.setattr(rare, "acquisitions", lambda part, folder: parts.append(part) or sources)
    kinds = ["collar", "tiles of 64 px"]
    command = ["--pairs", "12", "--tuning-pairs", "10", "--out", str(tmp_path), "--kinds", *kinds]
    assert rare.main(command) == 0
    assert parts == ["validation", "test"]
    table = pd.read_csv(tmp_path / "accuracy_rare.csv")
    assert set(table["kind"]) == {*kinds, "all"}
    assert set(table["signal"]) == {"dupnet", *rare.BASELINES}
    assert (table["n_pairs"] + table["n_undecidable"]).tolist() == [12] * 6 + [24] * 3
    wrong = table["missed"] + table["false"]
    np.testing.assert_allclose(table["errors_per_38780"], 38_780 * wrong / table["n_pairs"])
    assert (table["errors_per_38780_low"] <= table["errors_per_38780"]).all()
    assert (table["errors_per_38780"] <= table["errors_per_38780_high"]).all()
    dupnet = table[table["signal"] == "dupnet"]
    assert (dupnet["threshold"] == load_weights().threshold).all()
    errors = pd.read_csv(tmp_path / "accuracy_rare_errors.csv")
    assert len(errors) == wrong[(table["signal"] == "dupnet") & (table["kind"] == "all")].iloc[0]
    assert set(pd.read_csv(tmp_path / "made_by.csv")["table"]) == {
        "accuracy_rare.csv",
        "accuracy_rare_errors.csv",
    }


def test_what_is_reserved_is_drawn_from_no_acquisition(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rare, "acquisitions", lambda part, folder: pytest.fail("no acquisition is reserved"))
    asked: list[str] = []
    monkeypatch.setattr(rare, "airbus_sources", lambda folder, part: asked.append(part) or sources)
    command = ["--part", "reserved", "--airbus", str(tmp_path), "--pairs", "4", "--tuning-pairs", "0"]
    assert rare.main([*command, "--kinds", "noise of 5 levels", "--out", str(tmp_path)]) == 0
    assert asked == ["reserved"]
    assert pd.read_csv(tmp_path / "accuracy_rare_reserved.csv")["n_pairs"].tolist() == [4, 4]
