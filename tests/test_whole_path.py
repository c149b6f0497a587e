"""The whole way with nothing replaced: sample, find, split, pairs, train, evaluate, find by those weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from dupnet.commands.cli import main
from dupnet.evaluation.signals import known_overlaps
from dupnet.files.atomic import read_csv

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
ACQUISITIONS = ("kitsap-1", "kitsap-2", "kitsap-5", "kitsap-6")
"""Few images, and textured ones, of one day: what little training reaches is told apart."""


def test_a_network_of_ones_own_finds_the_overlaps_of_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_csv(SAMPLE / "images.csv")
    images = table.loc[table["acquisition"].isin(ACQUISITIONS), "image"].tolist()
    folder, out, run = (tmp_path / name for name in ("images", "found", "run"))
    folder.mkdir()
    for name in images:
        shutil.copy(SAMPLE / "images" / name, folder)

    assert main(["find", str(folder), "--out", str(out), "--no-report", "--quiet"]) == 0
    shipped = json.loads((out / "run.json").read_text())
    assert main(["split", str(out), "--ratios", "0.5", "0.25", "0.25"]) == 0
    splits = pd.read_csv(out / "splits.csv").set_index("image")["split"]
    pairs = tmp_path / "pairs.csv"
    assert main(["pairs", str(out), "--out", str(pairs), "--rows", "80"]) == 0
    made = pd.read_csv(pairs)
    assert (made["split"] == made["image1"].map(splits)).all() and (made["tile_size"] == 256).all()

    options = ["--pairs", "160", "--rounds", "1", "--epochs", "5", "--batch-size", "8", "--workers", "1"]
    assert main(["train", str(pairs), str(folder), "--out", str(run), *options]) == 0
    capsys.readouterr()
    said = []
    for network in (["--weights", str(run / "dupnet.npz")], ["--model", str(run / "dupnet.keras")]):
        assert main(["evaluate", str(pairs), str(folder), *network]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    counts = {line.split()[0]: line.split()[1] for line in said[0].splitlines()[2:]}
    assert float(counts["recall"]) >= 0.8 and float(counts["precision"]) >= 0.8

    weights = ["--weights", str(run / "dupnet.npz")]
    assert main(["find", str(folder), "--out", str(out), "--no-report", "--quiet", *weights]) == 0
    own = json.loads((out / "run.json").read_text())
    assert own["options"]["weights"] == str(run / "dupnet.npz")
    assert own["versions"]["weights"] != shipped["versions"]["weights"]
    truth = known_overlaps(SAMPLE / "images")
    truth = truth[truth["is_duplicate"].eq(1) & truth["image1"].isin(images) & truth["image2"].isin(images)]
    wanted = set(zip(truth["image1"], truth["image2"], strict=True))
    found = read_csv(out / "overlaps.csv", dtype=str)
    found_pairs = set(zip(found["image1"], found["image2"], strict=True))
    assert len(wanted & found_pairs) >= 0.8 * len(wanted)
    assert len(found_pairs - wanted) <= 0.2 * len(wanted)
