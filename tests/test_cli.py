"""The command line: each command does its step, and an error is one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dupnet.acquisitions.scenes import cut_collection
from dupnet.commands import cli
from dupnet.find.results import read_results
from dupnet.network.descriptors import WEIGHTS
from dupnet.pairs.table import PAIR_COLUMNS
from dupnet.splits.assignment import split
from dupnet.tiles import CELL_SIZE, SMALLEST_TILE
from dupnet.training.config import TrainConfig
from dupnet.training.material import Material
from dupnet.training.rounds import Trained

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "find",
    "split",
    "audit",
    "clean",
    "labels",
    "review",
    "tiles",
    "pairs",
    "train",
    "evaluate",
    "data",
)


@pytest.fixture(scope="module")
def acquisition() -> np.ndarray:
    """(1024, 1280, 3) of noise: textured everywhere."""
    return np.random.default_rng(0).integers(60, 200, (1024, 1280, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def found(acquisition: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of one acquisition, two alone, and what `dupnet find` made of them in ``out``."""
    folder = tmp_path_factory.mktemp("found")
    cut_collection(acquisition[:, :768], folder / "one", image_size=512, prefix="a", n_images=3)
    cut_collection(acquisition[:, 768:], folder / "two", image_size=512, prefix="b", stride=512)
    images = folder / "images"
    (folder / "one" / "images").rename(images)
    for file in (folder / "two" / "images").iterdir():
        file.rename(images / file.name)
    (images / "notes").write_text("no image")
    assert cli.main(["find", str(images), "--out", str(folder / "out"), "--quiet"]) == 0
    return folder


def test_help_is_light() -> None:
    """`dupnet --help` loads nothing that takes time: no array, table, image or network library."""
    code = (
        "import sys\n"
        "from dupnet.commands.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'pandas', 'cv2', 'PIL', 'keras', 'tensorflow', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"    {name} " in done.stdout for name in COMMANDS)


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "dupnet", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dupnet ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: dupnet {command}" in capsys.readouterr().out


def test_help_says_which_tiles_find_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["find", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"a multiple of {CELL_SIZE} and at least {SMALLEST_TILE}" in said
    assert "it divides the side of a tile" in said


def test_find_needs_no_network_library(found: Path) -> None:
    code = (
        "import sys, tempfile, dupnet\n"
        "result = dupnet.find_overlaps(sys.argv[1])\n"
        "assert len(result.groups)\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, found / "images"], cwd=ROOT, check=True)


def test_find(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = found / "out"
    assert cli.main(["find", str(found / "images"), "--out", str(out), "--no-report", "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert "5 images" in said.out
    assert "1 files left out" in said.out
    assert said.err == "", "no progress in a log file"
    truth = pd.read_csv(found / "one" / "truth.csv")
    assert len(read_results(out).overlaps) == len(truth)


def test_splits_are_listed_in_the_order_of_their_names(
    found: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in "01234":
        options = ["--ratios", "0.6", "0.2", "0.2", "--names", "first", "second", "another", "--seed", seed]
        assert cli.main(["split", str(found / "out"), *options]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [row[0] for row in rows[2:5]] == ["first", "second", "another"]


def test_split_by_a_column(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = read_results(found / "out").groups["image"]
    pd.DataFrame({"image": images, "ships": [0, 1, 0, 1, 0]}).to_csv(tmp_path / "ships.csv", index=False)
    options = [
        "split",
        str(found / "out"),
        "--ratios",
        "0.75",
        "0.25",
        "--stratify",
        str(tmp_path / "ships.csv"),
    ]
    assert cli.main([*options, "--column", "ships"]) == 0
    said = capsys.readouterr().out
    counts, strata = said.split("Share of each stratum in each split:")
    assert counts.index("train") < counts.index("test")
    splits = pd.read_csv(found / "out" / "splits.csv")["split"].to_numpy()
    for ships, images in ((0, [0, 2, 4]), (1, [1, 3])):
        shares = [round(float((splits[images] == name).mean()), 4) for name in ("train", "test")]
        row = next(line.split() for line in strata.splitlines() if line.startswith(f"{ships} "))
        assert [float(cell) for cell in row[1:]] == [len(images), *shares]
    assert cli.main([*options, "--column", "boats"]) == 2
    assert "boats" in capsys.readouterr().err


def test_tiles(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tiles", str(found / "images"), "--out", str(tmp_path / "tiles")]) == 0
    assert len(list((tmp_path / "tiles").glob("*.jpg"))) == 20
    assert "left out 'notes'" in capsys.readouterr().err
    assert cli.main(["tiles", str(found / "images"), "--out", str(found / "images")]) == 2
    assert capsys.readouterr().err.endswith("choose another one for the tiles.\n")


def test_pairs_and_evaluate(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "pairs.parquet", tmp_path / "out"
    shutil.copytree(found / "out", out, ignore=shutil.ignore_patterns("splits.csv"))
    command = ["pairs", str(out), "--out", str(table), "--rows", "30"]
    assert cli.main([*command, "--ratios", "0.6", "0.2", "0.2", "--seed", "4"]) == 0
    pairs = pd.read_parquet(table)
    assert len(pairs) == 30 and (pairs["tile_size"] == 256).all()
    assert table.with_suffix(".csv").exists()
    said = capsys.readouterr().out
    assert f"Written to {table} and {table.with_suffix('.csv')}" in said and "made here, seed 4" in said
    # The split is that of `dupnet split`.
    splits = split(read_results(out).groups, (0.6, 0.2, 0.2), 4).set_index("image")["split"]
    assert (pairs["split"] == pairs["image1"].map(splits)).all()
    groups = (out / "groups.csv").read_bytes()
    assert cli.main([*command[:3], str(out / "groups.csv"), "--ratios", "0.6", "0.2", "0.2"]) == 2
    assert "groups.csv' exists and is not a table of image1" in capsys.readouterr().err
    assert (out / "groups.csv").read_bytes() == groups
    assert cli.main(["evaluate", str(table), str(found / "images"), "--split", "train"]) == 0
    said = capsys.readouterr().out
    assert f"{(pairs['split'] == 'train').sum()} pairs of split 'train'" in said
    assert "errors_per_38780" in said
    for options, message in (
        (["--split", "holdout"], "has no split 'holdout'; it has 'train'"),
        (["--tile-size", "64"], "tile_size is 64, but the table is of tiles of 256 px"),
        (["--weights", "a.npz", "--model", "b.keras"], "holds no weights of dupnet"),
        (["--weights", str(WEIGHTS), "--model", "b.keras"], "--model and --weights exclude each other"),
    ):
        assert cli.main(["evaluate", str(table), str(found / "images"), *options]) == 2
        assert message in capsys.readouterr().err


def test_pairs_keep_to_a_split(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, table = tmp_path / "out", str(tmp_path / "pairs")
    shutil.copytree(found / "out", out)
    command = ["pairs", str(out), "--out", table]
    assert cli.main(["split", str(out), "--ratios", "0.6", "0.4", "--names", "learn", "judge"]) == 0
    assert cli.main(command) == 0
    assert f"Split: {out / 'splits.csv'}" in capsys.readouterr().out
    splits = pd.read_csv(out / "splits.csv")
    given = splits.assign(split=splits["split"].map({"learn": "a", "judge": "b"}))
    assert (pd.read_csv(f"{table}.csv")["split"].unique() == ["learn", "judge"]).all()
    given.to_csv(tmp_path / "given.csv", index=False)
    assert cli.main([*command, "--splits", str(tmp_path / "given.csv")]) == 0
    assert set(pd.read_csv(f"{table}.csv")["split"]) == {"a", "b"}
    assert set(pd.read_csv(f"{table}.csv")["tile_size"]) == {256}
    assert cli.main([*command, "--tile-size", "128"]) == 0
    smaller = pd.read_csv(f"{table}.csv")
    assert set(smaller["tile_size"]) == {128} and smaller["tile1"].max() == 15
    capsys.readouterr()
    torn = given.assign(split=["a", "b", "a", "b", "a"])
    for name, frame, message in (
        ("torn.csv", torn, "share ground and are in different splits"),
        ("short.csv", given[1:], f"is no split of {out}: it lacks '{given['image'][0]}'"),
        ("twice.csv", pd.concat([given, given[:1]]), f"lists '{given['image'][0]}' twice"),
        ("unknown.csv", pd.concat([given, given[:1].assign(image="z")]), "it lists 'z', which it lacks"),
        ("column.csv", given.drop(columns="split"), "lacks the column(s) split"),
    ):
        frame.to_csv(tmp_path / name, index=False)
        assert cli.main([*command, "--splits", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err
    assert cli.main([*command, "--ratios", "0.6", "0.2", "0.2"]) == 2
    assert "--ratios are for a collection without a split" in capsys.readouterr().err


def test_every_option_of_train_reaches_the_training(
    found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it does with them is tested with the training."""
    images, table = str(found / "images"), str(tmp_path / "pairs.csv")
    splits = split(read_results(found / "out").groups, (0.6, 0.2, 0.2))
    splits.to_csv(tmp_path / "splits.csv", index=False)
    command = ["pairs", str(found / "out"), "--out", table, "--splits", str(tmp_path / "splits.csv")]
    assert cli.main(command) == 0
    called: list[tuple[Any, ...]] = []

    def train(material: Material, out: str, config: TrainConfig, *, workers: int | None) -> Trained:
        called.append((material, out, config, workers))
        return Trained(None, pd.DataFrame({"epoch": [0], "loss": [0.5]}))

    monkeypatch.setattr("dupnet.training.rounds.train", train)
    options = "--pairs 93000 --rounds 2 --epochs 4 --batch-size 5 --rows-per-epoch 6 --seed 7 --workers 8"
    assert cli.main(["train", table, images, "--out", "run", *options.split()]) == 0
    assert "Written to run/dupnet.npz and run/dupnet.keras" in capsys.readouterr().out
    assert (
        cli.main(["train", table, images, "--out", "run", "--model", "dupnet_v0", *options.split()[4:]]) == 0
    )
    assert cli.main(["train", table, images, "--out", "run"]) == 0
    capsys.readouterr()
    assert cli.main(["train", table, images, "--out", "run", "--quiet"]) == 0
    assert capsys.readouterr().out == "Written to run/dupnet.npz and run/dupnet.keras\n"
    assert cli.main(["train", table, images, "--out", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["history"] == [{"epoch": 0, "loss": 0.5}]
    material, out, config, workers = called[0]
    numbers = {
        "n_rounds": 2,
        "epochs": 4,
        "mining_epochs": 4,
        "batch_size": 5,
        "rows_per_epoch": 6,
        "seed": 7,
    }
    assert config == TrainConfig.of_size(93_000, **numbers) and config.n_faint == 20_000
    assert (out, workers) == ("run", 8)
    assert material.sources("train") and material.rows("train").pair(0)[0].shape == (256, 256, 3)
    assert called[1][2].model.architecture == "dupnet_v0"
    assert (called[1][2].batch_size, called[1][2].epochs) == (5, 4)
    assert called[2][2] == TrainConfig.of_size(100_000)


def test_missing_files_are_noticed_before_keras_is_imported(
    found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("keras", "dupnet.network.models", "dupnet.training.rounds"):
        monkeypatch.setitem(sys.modules, name, None)
    images, table, absent = str(found / "images"), str(tmp_path / "pairs.csv"), str(tmp_path / "absent.keras")
    image = read_results(found / "out").groups["image"][0]
    row = dict.fromkeys(PAIR_COLUMNS, 0) | {"split": "test", "image1": image, "image2": image}
    row["tile_size"] = 256
    pd.DataFrame([row]).to_csv(table, index=False)
    (tmp_path / "text.keras").touch()
    for command, message in (
        (["train", absent, images, "--out", "run"], "absent.keras"),
        (["train", table, str(tmp_path / "nowhere"), "--out", "run"], "no folder"),
        (["evaluate", table, images, "--model", absent], "absent.keras': no such file"),
        (["evaluate", table, images, "--model", str(tmp_path / "text.keras")], "not a .keras file"),
    ):
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and message in said


def test_pairs_of_solid_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing makes a pair: an error, and no empty table."""
    (tmp_path / "images").mkdir()
    for name, level in (("a", 255), ("b", 0), ("c", 90)):
        Image.new("RGB", (512, 512), (level,) * 3).save(tmp_path / "images" / f"{name}.png")
    out = str(tmp_path / "out")
    assert cli.main(["find", str(tmp_path / "images"), "--out", out, "--no-report", "--quiet"]) == 0
    assert cli.main(["pairs", out, "--out", str(tmp_path / "pairs")]) == 2
    assert "solid tiles make none" in capsys.readouterr().err
    assert not (tmp_path / "pairs.parquet").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["find", "nowhere", "--out", "out"], "no folder 'nowhere'"),
        (["find", ".", "--out", "out", "--tile-size", "100"], "tile_size is 100"),
        (["find", ".", "--out", "s3://bucket/out"], "'s3://bucket/out' is a URL; give a scheduler"),
        (["find", "s3://bucket/images", "--out", "out"], "'s3://bucket/images' is a URL"),
        (["find", ".", "--out", "file"], "'file' is a file; choose a folder"),
        (["find", ".", "--out", "out"], "None of 1 files can be used"),
        (["find", "", "--out", "out"], "images is an empty path"),
        (["split", "nowhere"], "no finished run"),
        (["split", "nowhere", "--column", "ships"], "--column ships goes with --stratify CSV"),
        (["data", "cut", "nowhere.tif"], "'nowhere.tif': No such file or directory"),
        (["audit", "splits.csv", "nowhere"], "'nowhere' is neither the output folder"),
        (["pairs", "nowhere", "--out", "pairs"], "no finished run"),
        (["tiles", "nowhere", "--out", "out"], "no folder 'nowhere'"),
        (["tiles", "", "--out", "out"], "no folder ''"),
        (["evaluate", "pairs", "images", "--out", "out"], "--out goes with --labels"),
        (["data", "cut"], "dupnet data cut IMAGE"),
        (["data", "derna", "image.png"], "none with any other source"),
        (["review", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line(
    command: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.main([*command, "--quiet"] if command[0] == "find" else command) == 2
    said = capsys.readouterr().err
    assert said.startswith("dupnet: ")
    assert said.count("\n") == 1
    assert message in said


def test_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dupnet.find.engine.find_overlaps", interrupt)
    assert cli.main(["find", str(tmp_path), "--out", str(tmp_path / "out")]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def defect(*_: object, **__: object) -> None:
        raise KeyError("defect")

    monkeypatch.setattr("dupnet.find.engine.find_overlaps", defect)
    with pytest.raises(KeyError):
        cli.main(["find", str(tmp_path), "--out", str(tmp_path / "out")])
