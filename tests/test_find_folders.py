"""A search through folders of deep files: names, what is left out, bands and stretch, images that move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import formats
import numpy as np
import pandas as pd
import pytest

from dupnet.find.engine import find_overlaps
from dupnet.find.results import read_results

PLACES = {"train/a.tif": (0, 0), "train/deep/a.tif": (37, 61), "val/a.tif": (90, 20), "val/b.tif": (400, 400)}
"""Chips of one scene; the last shares no ground."""

SIDE = 192


def scene() -> np.ndarray:
    """A scene of 5 bands of 16 bits, of which 3, 2, 1 show ground: (5, 600, 600)."""
    rng = np.random.default_rng(3)
    ground = sum(
        cv2.resize(rng.normal(0, 1, (size, size, 3)), (600, 600), interpolation=cv2.INTER_CUBIC)
        for size in (20, 80, 300)
    )
    levels = 1500 + 300 * ground.transpose(2, 0, 1)
    noise = rng.normal(1500, 400, (2, 600, 600))
    return np.clip(np.concatenate([levels[::-1], noise]), 1, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips") / "images"
    bands = scene()
    for name, (y, x) in PLACES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        part = np.ascontiguousarray(bands[:, y : y + SIDE, x : x + SIDE])
        formats.raster(part, photometric="minisblack", compress="deflate")(folder / name)
    for name in ("README.md", "train/labels.csv", "train/.hidden.tif", "val/a.tfw"):
        (folder / name).write_text("no image")
    (folder / "val" / "broken.tif").write_bytes((folder / "val" / "b.tif").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def out(chips: Path) -> Path:
    """The results, below the images."""
    find_overlaps(chips, out=chips / "out", bands=(3, 2, 1), stretch="collection", workers=1)
    return chips / "out"


def test_what_is_found(out: Path) -> None:
    result = read_results(out)
    assert result.groups["image"].tolist() == sorted(PLACES)
    found = {
        (one, other): (y, x)
        for one, other, y, x in result.overlaps[["image1", "image2", "y_offset", "x_offset"]].itertuples(
            index=False
        )
    }
    together = sorted(PLACES)[:3]
    wanted = {
        (one, other): tuple(np.subtract(PLACES[other], PLACES[one]).tolist())
        for one in together
        for other in together
        if one < other
    }
    assert found == wanted
    assert set(result.overlaps["verdict"]) == {"duplicate"}


def test_what_is_left_out_is_said(out: Path) -> None:
    result = read_results(out)
    assert result.counts["ignored"] == 4
    assert "4 hidden files and files that accompany images" in result.summary()
    assert result.unreadable["image"].tolist() == ["val/broken.tif"]
    assert "does not decode" in result.unreadable["reason"].iloc[0]


def test_bands_and_stretch_are_said_and_recorded(out: Path) -> None:
    result = read_results(out)
    assert result.converted["image"].tolist() == sorted(PLACES)
    for note in result.converted["note"]:
        assert "bands 3 2 1 of 5 taken as red, green and blue" in note
        assert "uint16, the collection's percentiles" in note
    assert len(set(result.converted["note"])) == 1  # one stretch for all
    options = json.loads((out / "run.json").read_text())["options"]
    assert (options["bands"], options["stretch"]) == ([3, 2, 1], "collection")
    assert list(options["rendering"]["by_kind"]) == ["5 bands, 3 2 1 taken, uint16"]


def test_mosaics_show_the_bands_that_were_asked_for(out: Path) -> None:
    from dupnet.images.reading import load
    from dupnet.images.stretch import read_rendering

    options = json.loads((out / "run.json").read_text())["options"]
    (picture,) = (out / "mosaics").glob("*.jpg")
    drawn = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB).astype(float)
    rendering = read_rendering(options["rendering"])
    shown, _ = load(out.parent / "train" / "a.tif", grey=False, rendering=rendering)
    assert np.abs(drawn[:60, :60] - shown[:60, :60]).mean() < 12  # JPEG
    other, _ = load(out.parent / "train" / "a.tif", grey=False)
    assert np.abs(drawn[:60, :60] - other[:60, :60]).mean() > 20


def test_other_bands_are_described_anew(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out.parent, tmp_path / "images", ignore=shutil.ignore_patterns("out"))
    shutil.copytree(out, tmp_path / "out")
    with pytest.warns(UserWarning, match="described again"):
        find_overlaps(
            moved_to=[tmp_path / "images"], out=tmp_path / "out", bands=(3, 2, 1), report=False, workers=1
        )


def test_images_that_have_moved(out: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    shutil.copytree(out, tmp_path / "out")
    shutil.copytree(out.parent, tmp_path / "new", ignore=shutil.ignore_patterns("out"))
    before = read_results(out)
    elsewhere = read_results(tmp_path / "out", images=tmp_path / "new")
    assert elsewhere.path("train/deep/a.tif") == tmp_path / "new" / "train" / "deep" / "a.tif"
    same = {"bands": (3, 2, 1), "stretch": "collection", "report": False, "workers": 1}
    result = find_overlaps(out=tmp_path / "out", moved_to=[tmp_path / "new"], **same)
    assert not [one for one in recwarn if "described again" in str(one.message)]
    assert result.folders == (tmp_path / "new",)
    pd.testing.assert_frame_equal(read_results(tmp_path / "out").overlaps, before.overlaps)
    again = find_overlaps(out=tmp_path / "out", **same)
    assert again.folders == (tmp_path / "new",)
    with pytest.raises(ValueError, match=r"if they have moved|holds the overlaps of"):
        find_overlaps(out.parent, out=tmp_path / "out", **same)


def test_a_list_of_files_in_python(chips: Path) -> None:
    paths = [chips / name for name in ("val/a.tif", "train/a.tif")]
    result = find_overlaps(iter(paths), bands=(3, 2, 1), workers=1)
    assert result.groups["image"].tolist() == ["train/a.tif", "val/a.tif"]
    assert len(result.overlaps) == 1
    assert result.options["images"] == [str(path) for path in paths]
