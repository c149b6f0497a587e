"""The accuracy benchmark: what it holds out was never trained on, and it runs through on stand-ins."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("benchmarks.accuracy", reason="benchmarks are not part of the installed package")

from benchmarks.accuracy import drawing, unrelated
from benchmarks.accuracy import pairs as benchmark_pairs
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.pairs import hard_pairs, table_of_pairs
from benchmarks.accuracy.signals import all_signals
from dupnet import figures
from dupnet.images.jpeg import encode_jpeg
from dupnet.network.descriptors import load_weights
from dupnet.tiles import TILE_SIZE
from dupnet.training import recipe


def test_airbus_groups_are_in_one_part_each() -> None:
    table = pd.read_csv(benchmark_pairs.AIRBUS_PARTS)
    assert set(table["part"]) == {"train", "validation", "test", "reserved"}
    assert table.loc[table["part"] == "reserved", "group"].map(benchmark_pairs.is_reserved).all()
    assert not table["image"].duplicated().any()
    assert (table.groupby("group")["part"].nunique() == 1).all()


def test_parts_of_an_acquisition_share_no_column() -> None:
    for columns in recipe.COLUMNS.values():
        spans = sorted(columns.values())
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_training_draws_nothing_that_the_benchmark_holds_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acquisitions whose pixels say where they lie, and images that say who they are."""
    wide = np.zeros((1024, 17_408, 3), np.uint8)
    wide[:, :, 0], wide[:, :, 1] = np.arange(17_408) // 256, np.arange(17_408) % 256
    monkeypatch.setattr(recipe.sources, "fetch_derna", lambda folder: "derna")
    monkeypatch.setattr(recipe.sources, "fetch_kitsap", lambda folder: "kitsap")
    monkeypatch.setattr(recipe.sources, "fetch_washington", lambda folder: "washington")
    monkeypatch.setattr(recipe.sources, "fetch_yellowstone", lambda folder: [])
    monkeypatch.setattr(
        recipe.sources, "read_acquisition", lambda name: wide[:, : 5000 if name == "kitsap" else None]
    )
    monkeypatch.setattr(benchmark_pairs, "read_acquisition", recipe.sources.read_acquisition)
    parts = pd.read_csv(benchmark_pairs.AIRBUS_PARTS)
    (tmp_path / "airbus" / "images").mkdir(parents=True)
    parts.to_csv(tmp_path / "airbus" / "parts.csv", index=False)
    for name in parts["image"]:
        (tmp_path / "airbus" / "images" / name).touch()
    read: list[str] = []
    monkeypatch.setattr(recipe, "read_image", lambda path: read.append(Path(path).name) or wide[:768, :768])

    trained = [
        one
        for part in ("train", "validation")
        for one in recipe.acquisitions(part, tmp_path, tmp_path / "airbus")
    ]
    held_out = benchmark_pairs.airbus_held_out(tmp_path / "airbus" / "images")
    assert len(held_out) and not set(read) & set(held_out["image"])
    assert not {one.group for one in trained if one.name == "airbus"} & set(held_out["group"])

    saved: dict[str, np.ndarray] = {}
    monkeypatch.setattr(
        benchmark_pairs.cv2, "imwrite", lambda path, crop, _: saved.update({path: crop[..., ::-1]})
    )
    for name in ("derna", "kitsap"):
        saved.clear()
        benchmark_pairs.cut_held_out(Path(name), name, tmp_path / name)
        tested = {column for crop in saved.values() for column in columns_of(crop)}
        seen = {column for one in trained if one.name == name for column in columns_of(one.image)}
        assert tested and seen and not tested & seen


def columns_of(pixels: np.ndarray) -> list[int]:
    return list(pixels[0, :, 0].astype(int) * 256 + pixels[0, :, 1])


def test_every_signal_ranks_a_copy_above_another_tile() -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (3, TILE_SIZE, TILE_SIZE, 3), dtype=np.uint8)
    tiles = np.stack([cv2.GaussianBlur(tile, (0, 0), 3) for tile in tiles])
    names = []
    for signal in all_signals():
        if signal.name == "dupnet_v0":  # loads TensorFlow; the notebooks use it
            continue
        same, other = signal.score(tiles, tiles), signal.score(tiles, np.roll(tiles, 1, axis=0))
        assert same.shape == other.shape == (3,)
        assert same.min() > other.max(), signal.name
        assert signal.bytes_per_tile > 0 and signal.microseconds["us_compare"] > 0
        names.append(signal.name)
    assert {"dupnet", "correlation", "block_mean_hash", "perceptual_hash", "wavelet_hash"} <= set(names)


def test_perturbations_keep_shape_and_change_something() -> None:
    rng = np.random.default_rng(0)
    tile, other = (
        cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), (0, 0), 2) for _ in "ab"
    )
    for (name, _), change in benchmark_pairs.perturbations().items():
        changed = change(tile, other, rng)
        assert changed.shape == tile.shape and changed.dtype == np.uint8
        assert np.array_equal(changed, tile) == (name == "flip of both")


def test_the_command_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("signals", "throughput"):
        monkeypatch.setattr(f"benchmarks.accuracy.{module}.V0_WEIGHTS", tmp_path / "absent")
    rng = np.random.default_rng(0)
    parts = pd.read_csv(benchmark_pairs.AIRBUS_PARTS).query("part == 'test'").drop_duplicates("group")
    names = [*parts["image"][:6]]
    (tmp_path / "airbus").mkdir()
    for name in names:
        pixels = cv2.GaussianBlur(rng.integers(0, 256, (768, 768, 3), dtype=np.uint8), (0, 0), 1.5) * 3
        cv2.imwrite(str(tmp_path / "airbus" / name), pixels)
    labels = tmp_path / "labels.csv"
    labels.write_text(
        f"image1,image2,overlap_tag,is_duplicate\n{names[0]},{names[1]},08,0\n{names[0]},{names[0]},08,1\n"
    )
    command = (
        f"--airbus {tmp_path}/airbus --airbus-labels {labels} --only airbus --pairs 60 --metric-pairs 40 "
    )
    command += f"--tiles 2 --sea 768 --work {tmp_path}/work --out {tmp_path}/out"
    assert main(command.split()) == 0

    accuracy = pd.read_csv(tmp_path / "out" / "accuracy.csv")
    assert set(accuracy["collection"]) == {"airbus"}
    assert (accuracy.query("signal == 'dupnet' and collection != 'all'")["n_pairs"] == 60).all()
    for name in ("errors_per_38780", "recall", "auc"):
        assert (accuracy[f"{name}_low"] <= accuracy[f"{name}_high"]).all()
    assert "all metrics together" in set(accuracy["signal"])
    perturbed = pd.read_csv(tmp_path / "out" / "accuracy_perturbations.csv")
    assert perturbed["called_duplicate"].between(0, 1).all()
    judged = pd.read_csv(tmp_path / "out" / "accuracy_airbus_labels.csv", dtype={"overlap_tag": str})
    assert list(judged["right"]) == [True, True]
    counts = pd.read_csv(tmp_path / "out" / "accuracy_cross_pairs.csv")
    of_two = counts.set_index(["collection1", "collection2"])["n_pairs"]
    assert of_two["airbus", "airbus"] == 9 * 9 * 15 and 0 < of_two["airbus", "sea"] <= 6 * 9 * 9
    assert of_two["all", "all"] == of_two["airbus"].sum() and not counts["n_false_duplicates"].any()
    decidable = pd.read_csv(tmp_path / "out" / "accuracy_decidable.csv").iloc[0]
    assert (decidable["n_images"], decidable["n_tiles"], decidable["n_undecidable"]) == (6, 54, 0)
    reliability = pd.read_csv(tmp_path / "out" / "accuracy_calibration.csv")
    assert reliability["n"].sum() == 60 and reliability["expected_calibration_error"].between(0, 1).all()
    errors = pd.read_csv(tmp_path / "out" / "accuracy_errors.csv")
    called = errors["dupnet"] >= load_weights().threshold
    assert (called != (errors["is_duplicate"] == 1)).all()
    speed = pd.read_csv(tmp_path / "out" / "accuracy_throughput.csv").set_index("step")["per_second"]
    assert list(speed.index) == ["describe a tile", "compare two descriptors"] and (speed > 0).all()
    assert "| dupnet |" in capsys.readouterr().out
    assert (tmp_path / "out" / "accuracy.png").stat().st_size > 10_000


def test_unrelated_tiles_are_compared_each_with_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    tile = cv2.GaussianBlur(rng.integers(0, 256, (768, 768, 3), dtype=np.uint8), (0, 0), 1.5) * 3
    for folder, names in (("a", "xyz"), ("b", "pq")):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), np.roll(tile, 300 * number, axis=1))
    cv2.imwrite(str(tmp_path / "b" / "p.png"), np.full((768, 768, 3), 255, np.uint8))
    monkeypatch.setattr(unrelated, "PAIRS_AT_A_TIME", 50)
    groups = {"a": {"x.png": "1", "y.png": "2", "z.png": "2"}, "b": {"p.png": "1", "q.png": "2"}}
    collections = {name: (tmp_path / name, found) for name, found in groups.items()}
    counts, highest, decidable = unrelated.cross_pairs(collections)
    found = counts.set_index(["collection1", "collection2"])["n_pairs"].to_dict()
    totals = {("all", "all"): 5 * 81, ("all held out", "all held out"): 5 * 81}
    assert found == {("a", "a"): 2 * 81, ("a", "b"): 3 * 81, **totals}  # p shows nothing
    seen = unrelated.cross_pairs({"a": collections["a"], f"b, {unrelated.NOT_HELD_OUT}": collections["b"]})[0]
    assert seen["n_pairs"].tolist()[-2:] == [5 * 81, 2 * 81]
    assert decidable.set_index("collection")["n_undecidable"].to_dict() == {"a": 0, "b": 9}
    # b/q and a/y are one picture: called false here, and found first.
    first = highest.head(9)
    assert (
        set(first["image1"] + first["image2"]) == {"y.pngq.png"} and (first["tile1"] == first["tile2"]).all()
    )
    assert counts["n_false_duplicates"].tolist() == [0, 9, 9, 9]


def test_no_pair_is_drawn_twice_in_a_batch(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 768, 768, 3)).astype(np.uint8)
    for number, image in enumerate(images):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(image, 90))
    pairs = table_of_pairs(tmp_path, {f"{number}.jpg": str(number) for number in range(30)})
    _, rows = next(hard_pairs(tmp_path, pairs, 180, seed=1))
    assert len(rows) == 180
    assert not rows.duplicated().any()


def test_the_figure_cuts_no_interval_and_names_every_signal(tmp_path: Path) -> None:
    signals = ["dupnet", "pdq", "mine"]
    accuracy = pd.DataFrame(
        {
            "collection": "all",
            "signal": signals,
            "errors_per_38780": [1.0, 700.0, 38_000.0],
            "errors_per_38780_low": [0.0, 500.0, 37_000.0],
            "errors_per_38780_high": [3.0, 900.0, 39_000.0],
        }
    )
    with figures.style():
        axes = figures.new_figure().subplots()
        drawing._errors(axes, accuracy)
    low, high = axes.get_xlim()
    for line in axes.lines:
        places = np.asarray(line.get_xdata(), float)
        assert low <= places.min() and places.max() <= high
    assert [text.get_text() for text in axes.get_yticklabels()] == ["DupNet", "PDQ hash", "mine"]
    assert [text.get_text() for text in axes.texts] == ["1", "700", "38,000"]
    steps = [
        {"perturbation": name, "step": step, "signal": signal, "called_duplicate": 0.5}
        for name in (*drawing.PANELS, drawing.OTHER_DAY)
        for step in ((0.0,) if name == drawing.OTHER_DAY else (1.0, 2.0))
        for signal in drawing.SHOWN
    ]
    drawing.draw(accuracy, pd.DataFrame(steps), tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").stat().st_size < 300_000


def test_another_day_is_drawn_with_its_numbers() -> None:
    rows = pd.DataFrame({"signal": ["dupnet", "pdq"], "called_duplicate": [0.0, 0.012]})
    with figures.style():
        axes = figures.new_figure().subplots()
        drawing._other_day(axes, rows.assign(perturbation=drawing.OTHER_DAY))
    assert [text.get_text().strip() for text in axes.texts] == ["0", "–", "–", "–", "1.20%", "–"]
