"""Options that no other test misses when they are dropped; ``python tests/options.py`` drops each in turn."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from results import found as made_up
from results import written
from textures import textured

from dupnet.commands import cli
from dupnet.find.results import FindResult

Captured = pytest.CaptureFixture[str]


def said(capsys: Captured, *words: object, status: int = 0) -> str:
    """What a command prints on standard output."""
    capsys.readouterr()
    assert cli.main([os.fspath(word) if isinstance(word, Path) else str(word) for word in words]) == status
    return capsys.readouterr().out


def warned(capsys: Captured, *words: object) -> str:
    """What a command prints on standard error."""
    capsys.readouterr()
    assert cli.main([os.fspath(word) if isinstance(word, Path) else str(word) for word in words]) == 0
    return capsys.readouterr().err


def check_habits(capsys: Captured, *words: object, status: int = 0, has_details: bool = True) -> None:
    """``--quiet`` prints less, ``--json`` prints JSON and nothing else."""
    loud = said(capsys, *words, status=status)
    quiet = said(capsys, *words, "--quiet", status=status)
    assert len(quiet) < len(loud) if has_details else quiet == loud
    assert json.loads(said(capsys, *words, "--json", status=status))


def pairs_of_images(n: int, folder: Path) -> Path:
    """What ``find`` would have made of ``n`` pairs of overlapping images."""
    return written(made_up([(number // 2, 0, number % 2) for number in range(2 * n)]), folder)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the search was called with; it finds two images that overlap, and one that it cannot read."""
    seen: dict[str, object] = {}

    def find_overlaps(images: object, **options: object) -> FindResult:
        seen.update(options, images=images)
        result = made_up([(0, 0, 0), (0, 0, 20)])
        result.unreadable = pd.DataFrame({"image": ["broken.png"], "reason": ["empty"]})
        counts = ("overlaps", "duplicate", "altered", "undecidable", "rejected")
        counts += ("groups_of_several", "largest_group")
        result.counts = {**result.counts, **dict.fromkeys(counts, 1), "unreadable": 1}
        result.seconds = {"join points": 1.0}
        return result

    monkeypatch.setattr("dupnet.find.engine.find_overlaps", find_overlaps)
    return seen


class TestFind:
    def test_every_value_reaches_the_search(self, search: dict[str, object], capsys: Captured) -> None:
        words = "--weights mine.npz --ignore-judgements --check-content --all-pairs --no-report --workers 5"
        words += " --grid 128 --stride 64 --tile-size 96 --turned --rescaled"
        said(capsys, "find", "folder", "-o", "out", *words.split())
        switches = ("ignore_judgements", "check_content", "all_pairs", "turned", "rescaled")
        wanted: dict[str, object] = {"weights": "mine.npz", **dict.fromkeys(switches, True), "report": False}
        wanted |= {"workers": 5, "grid": 128, "stride": 64, "tile_size": 96, "out": "out"}
        assert {name: search[name] for name in wanted} == wanted
        said(capsys, "find", "folder")
        wanted |= dict.fromkeys(("weights", "workers", "grid", "stride", "tile_size"))
        wanted |= dict.fromkeys(switches, False)
        wanted |= {"report": True, "out": str(Path("folder-dupnet").resolve())}
        assert {name: search[name] for name in wanted} == wanted

    def test_verbose_and_json(self, search: dict[str, object], capsys: Captured) -> None:
        assert "broken.png" not in said(capsys, "find", "folder")
        verbose = said(capsys, "find", "folder", "-v")
        assert "left out 'broken.png': empty" in verbose and "join points: 1.0 s" in verbose
        record = json.loads(said(capsys, "find", "folder", "--json"))
        assert record["unreadable"] == [{"image": "broken.png", "reason": "empty"}]


ROW_NUMBERS = re.compile(r"^ *\d+ +(\d{3}\.jpg|stray)", re.MULTILINE)
"""Of a table printed with them, which say nothing."""


class TestSplit:
    def test_verbose(self, tmp_path: Path, capsys: Captured) -> None:
        """Of many moves, and of many strata, a part is printed."""
        out = pairs_of_images(30, tmp_path / "out")
        images = [f"{number:03}.jpg" for number in range(60)]
        pd.DataFrame({"image": images, "split": list("ab") * 30}).to_csv(tmp_path / "given.csv", index=False)
        pd.DataFrame({"image": images, "kind": [f"k{n // 2}" for n in range(60)]}).to_csv(
            tmp_path / "kinds.csv", index=False
        )
        for options in (["--from", tmp_path / "given.csv"], ["--stratify", tmp_path / "kinds.csv"]):
            command = ("split", out, "-o", tmp_path / f"{options[0]}.csv", *options)
            short, whole = said(capsys, *command), said(capsys, *command, "-v")
            assert len(whole.splitlines()) - len(short.splitlines()) >= 9

    def test_names_that_fit_no_image_are_listed(self, tmp_path: Path, capsys: Captured) -> None:
        (tmp_path / "given.csv").write_text("image,split\n000,a\n001,b\n002,b\n003,b\nstray,a\n")
        command = ("split", pairs_of_images(2, tmp_path / "out"), "-o", tmp_path / "splits.csv", "--from")
        text = said(capsys, *command, tmp_path / "given.csv")
        assert "1 names of the given split fit no image" in text and "stray" in text
        assert not ROW_NUMBERS.search(text)


class TestAudit:
    def test_image_column(self, tmp_path: Path, capsys: Captured) -> None:
        """Two columns name images, and only one of them is torn apart."""
        out = pairs_of_images(2, tmp_path / "out")
        table = tmp_path / "table.csv"
        table.write_text("image,other,split\n000,000,a\n001,002,b\n")
        said(capsys, "audit", table, out, status=1)
        said(capsys, "audit", table, out, "--image-column", "other")

    def test_options_of_a_search(self, search: dict[str, object], tmp_path: Path, capsys: Captured) -> None:
        (tmp_path / "images").mkdir()
        table = tmp_path / "table.csv"
        table.write_text("image,split\n000,a\n001,b\n")
        command = ("audit", table, tmp_path / "images")
        said(capsys, *command, "-o", tmp_path / "out", "--grid", 128, "--workers", 3, status=1)
        assert (search["out"], search["grid"], search["workers"]) == (tmp_path / "out", 128, 3)
        assert (search["turned"], search["rescaled"]) == (False, False)
        said(capsys, *command, "--turned", status=1)
        assert (search["turned"], search["rescaled"]) == (True, False)
        said(capsys, *command, "--rescaled", status=1)
        assert (search["turned"], search["rescaled"]) == (False, True)
        said(capsys, *command, status=1)
        assert (search["out"], search["workers"]) == (tmp_path / "images-dupnet", None)

    def test_habits(self, tmp_path: Path, capsys: Captured) -> None:
        out = pairs_of_images(2, tmp_path / "out")
        table = tmp_path / "table.csv"
        table.write_text("image,split\n000,a\n001,b\n")
        check_habits(capsys, "audit", table, out, status=1)


class TestClean:
    def test_habits(self, tmp_path: Path, capsys: Captured) -> None:
        command = ("clean", pairs_of_images(15, tmp_path / "out"))
        check_habits(capsys, *command)
        assert said(capsys, *command).count("equal, and the other") == 10
        assert not ROW_NUMBERS.search(said(capsys, *command))
        assert said(capsys, *command, "--verbose").count("equal, and the other") == 15


class TestLabels:
    def test_columns(self, tmp_path: Path, capsys: Captured) -> None:
        """Two columns name images, two hold labels; one of each agrees."""
        command = ("labels", tmp_path / "labels.csv", pairs_of_images(2, tmp_path / "out"))
        (tmp_path / "labels.csv").write_text("image,other,ship,cloud\n000,000,1,1\n001,002,0,1\n")
        said(capsys, *command, "--label-column", "ship", status=1)
        said(capsys, *command, "--label-column", "cloud")
        said(capsys, *command, "--label-column", "ship", "--image-column", "other")

    def test_habits(self, tmp_path: Path, capsys: Captured) -> None:
        command = ("labels", tmp_path / "labels.csv", pairs_of_images(25, tmp_path / "out"))
        rows = [f"{number:03},{number % 2}" for number in range(50)]
        (tmp_path / "labels.csv").write_text("\n".join(["image,ship", *rows]))
        check_habits(capsys, *command, status=1)
        assert said(capsys, *command, status=1).count(".jpg") == 2 * 20
        assert said(capsys, *command, "-v", status=1).count(".jpg") == 2 * 25


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Four images of 2 x 2 tiles of 64 px, two of which overlap by half; all in the split ``test``."""
    folder = tmp_path_factory.mktemp("tiled")
    images = folder / "images"
    images.mkdir()
    for number in range(3):
        grey = textured(1, 192, seed=number, contrast=25)[0]
        Image.fromarray(grey[:128, :128]).save(images / f"{number}.png")
    Image.fromarray(grey[64:, :128]).save(images / "3.png")
    (images / "broken.png").write_bytes(b"no image")
    out = folder / "out"
    command = ["find", str(images), "-o", str(out), "-q", "--no-report", "--grid", "64"]
    assert cli.main(command) == 0
    names = [f"{number}.png" for number in range(4)]
    pd.DataFrame({"image": names, "split": "test"}).to_csv(out / "splits.csv", index=False)
    assert cli.main(["pairs", str(out), "-o", str(folder / "pairs"), "-q"]) == 0
    return SimpleNamespace(images=images, out=out, pairs=folder / "pairs.csv")


class TestPairs:
    def test_tile_size(self, tiled: SimpleNamespace, tmp_path: Path, capsys: Captured) -> None:
        assert set(pd.read_csv(tiled.pairs)["tile_size"]) == {64}
        said(capsys, "pairs", tiled.out, "-o", tmp_path / "small", "--tile-size", 32)
        assert set(pd.read_csv(tmp_path / "small.csv")["tile_size"]) == {32}

    def test_habits(self, tiled: SimpleNamespace, tmp_path: Path, capsys: Captured) -> None:
        check_habits(capsys, "pairs", tiled.out, "-o", tmp_path / "pairs")


class TestEvaluate:
    def test_weights(self, tiled: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
        asked: list[object] = []

        def load_weights(path: object = None) -> None:
            asked.append(path)
            raise ValueError("asked for weights")

        monkeypatch.setattr("dupnet.network.descriptors.load_weights", load_weights)
        for options in (["--weights", "mine.npz"], []):
            said(capsys, "evaluate", tiled.pairs, tiled.images, *options, status=2)
        assert asked == ["mine.npz", None]

    def test_habits(self, tiled: SimpleNamespace, capsys: Captured) -> None:
        check_habits(capsys, "evaluate", tiled.pairs, tiled.images)


class TestTiles:
    def test_tiles_go_beside_the_images_or_where_told(
        self, tiled: SimpleNamespace, tmp_path: Path, capsys: Captured
    ) -> None:
        said(capsys, "tiles", tiled.images, "--tile-size", 64, "-o", tmp_path / "tiles")
        assert len(list((tmp_path / "tiles").glob("*.jpg"))) == 16
        said(capsys, "tiles", tiled.images, "--tile-size", 64)
        assert len(list(tiled.images.with_name("images-tiles").glob("*.jpg"))) == 16

    def test_habits(self, tiled: SimpleNamespace, tmp_path: Path, capsys: Captured) -> None:
        command = ("tiles", tiled.images, "--tile-size", 64, "-o", tmp_path / "tiles")
        assert "1 files left out" in said(capsys, *command)
        assert "left out 'broken.png'" in warned(capsys, *command)
        assert warned(capsys, *command, "--quiet") == ""
        record = json.loads(said(capsys, *command, "--json"))
        assert [row["image"] for row in record["left_out"]] == ["broken.png"]


class TestData:
    def test_habits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
        Image.fromarray(np.repeat(textured(1, 192)[0][..., None], 3, axis=2)).save(tmp_path / "large.png")
        command = ("data", "cut", tmp_path / "large.png", "--image-size", 128, "--stride", 64, "-o")
        record = json.loads(said(capsys, *command, tmp_path / "out", "--json"))
        assert record == {"collections": [str(tmp_path / "out")]}
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        assert warned(capsys, *command, tmp_path / "loud")
        assert not warned(capsys, *command, tmp_path / "quiet", "--quiet")
