"""The benchmark of overlaps at any offset: its counts, its methods, and a run from end to end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

pytest.importorskip("benchmarks.free_offsets", reason="benchmarks are not part of the installed package")

from benchmarks.free_offsets import features, sets
from benchmarks.free_offsets.__main__ import FIND, PEERS, LeftOut, main, of_method
from benchmarks.free_offsets.counting import against_truth, counts, recall_by, with_evidence
from benchmarks.free_offsets.lookalikes import OVERLAYS, REPEATED, ground
from dupnet.acquisitions.layouts import common_regions
from dupnet.images.reading import read_image


def test_each_outcome_is_told_apart() -> None:
    cases = [  # same_day, changed, narrow, decidable, verdict, offset found
        ("found", True, 0, 64, True, "duplicate", 5),
        ("wrong_offset", True, 0, 64, True, "duplicate", 6),
        ("wrong_offset", True, 0, 20, False, "altered", 6),
        ("altered", True, 0, 64, True, "altered", 5),
        ("undecided", True, 0, 64, True, "undecidable", 5),
        ("missed", True, 0, 64, True, None, None),
        ("blank", True, 0, 64, False, "duplicate", 5),
        ("narrow", True, 0, 20, True, None, None),
        ("other_day", False, 0.3, 64, True, None, None),
        ("other_day_accepted", False, 0.3, 64, True, "duplicate", 5),
        ("other_day_altered", False, 0.3, 64, True, "altered", 5),
        ("slightly_changed", False, 0.1, 64, True, None, None),
        ("slightly_changed_accepted", False, 0.1, 64, True, "altered", 5),
        ("unchanged", False, 0, 64, True, "duplicate", 5),
        ("false", None, None, None, None, "duplicate", 5),
        ("false_altered", None, None, None, None, "altered", 5),
        ("nothing", None, None, None, None, "undecidable", 5),
    ]
    names = ["expected", "same_day", "changed", "narrow", "decidable", "verdict", "y_offset"]
    table = pd.DataFrame(cases, columns=names)
    table = table.assign(image1="a", image2=[f"b{number:02}" for number in range(len(table))], x_offset=0)
    truth = table[table["same_day"].notna()].drop(columns="verdict").assign(y_offset=5)
    truth = truth.assign(share=0.3, same_day=truth["same_day"].astype(bool))
    found = table[table["verdict"].notna()][["image1", "image2", "y_offset", "x_offset", "verdict"]]
    judged = against_truth(truth, found)
    assert judged.set_index("image2")["outcome"][table["image2"]].tolist() == table["expected"].tolist()
    row = counts(judged)
    assert (row["pairs"], row["found"], row["wrong_offset"], row["other_day"]) == (5, 1, 2, 3)
    assert (row["slightly_changed"], row["slightly_changed_accepted"]) == (2, 1)
    assert row["recall"] == pytest.approx(1 / 5)
    bins = recall_by(judged)
    assert bins.groupby("by")["pairs"].sum().tolist() == [6, 6]  # the narrow one shows something, too
    assert bins.loc[(bins["by"] == "narrow") & (bins["low"] == 64), "found"].tolist() == [1]
    without = against_truth(truth, found.drop(columns=["y_offset", "x_offset"]))
    assert (without["outcome"] == "found").sum() == 2  # a method that tells no offset has none wrong


def test_a_region_shows_something_in_both_images(tmp_path: Path) -> None:
    picture = ground(300, 0)
    half = picture.copy()
    half[:, 110:] = 255
    for name, image in (("a.png", picture), ("b.png", half)):
        cv2.imwrite(str(tmp_path / name), image)
    pairs = [(0, 0, 300, 300), (0, 100, 300, 200), (0, -200, 300, 100), (0, 280, 300, 20)]
    truth = pd.DataFrame(pairs, columns=["y_offset", "x_offset", "height", "width"])
    judged = with_evidence(truth.assign(image1="a.png", image2="b.png"), tmp_path)
    assert judged["decidable"].tolist() == [True, True, False, False]
    assert judged["narrow"].tolist() == [300, 200, 100, 20]
    assert judged["share"][2] == pytest.approx(1 / 3, abs=1e-5)


@pytest.mark.parametrize("layout", sets.PLACES)
def test_a_layout_lies_inside_and_overlaps(layout: str) -> None:
    picture = np.zeros((2600, 2440, 3), np.uint8)
    places = sets.places_of(layout, picture, 30, seed=1)
    assert (places[:, :2] >= 0).all()
    assert (places[:, :2] + places[:, 2:] <= picture.shape[:2]).all()
    assert len(common_regions(places)) >= len(places) - 1
    assert np.array_equal(places, sets.places_of(layout, picture, 30, seed=1))


def test_a_spoiled_layout_is_saved_once_more(tmp_path: Path) -> None:
    def cut(layout: str, name: str) -> dict[str, npt.NDArray[np.uint8]]:
        source = sets.Source(ground(900, 5))
        folder = sets.cut(lambda: source, layout, tmp_path / name, 3, seed=4).folder
        return {path.name: read_image(path) for path in (folder / "images").iterdir()}

    plain, compressed, noisy, again = (
        cut(*names) for names in (("400", "a"), ("compressed", "b"), ("noisy", "c"), ("noisy", "d"))
    )
    assert set(plain) == set(compressed) == set(noisy)
    for name, image in plain.items():
        assert 1.5 < np.std(noisy[name] - image.astype(float)) < 9
        np.testing.assert_array_equal(noisy[name], again[name])
        assert (compressed[name] != image).mean() > 0.5
        sizes = [(tmp_path / folder / "images" / name).stat().st_size for folder in "abc"]
        assert sizes[1] < 0.6 * sizes[0] and sizes[1] < sizes[2]


def test_what_looks_alike_shows_nothing_in_common() -> None:
    for draw in REPEATED.values():
        one, two = draw(96, 0), draw(96, 1)
        assert one.shape == (96, 96, 3) and one.dtype == np.uint8
        assert (one != two).mean() > 0.5
        np.testing.assert_array_equal(one, draw(96, 0))
    image = ground(256, 0)
    for lay in OVERLAYS.values():
        laid = lay(image)
        assert 0 < (laid != image).mean() < 0.7
        assert np.array_equal(image, ground(256, 0))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy under its own name, an overlap, and an image that shares nothing: ``images/``."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "images").mkdir()
    picture = ground(700, 3)
    images = {
        "a": picture[:400, :400],
        "b": picture[:400, :400],
        "c": picture[130:530, 77:477],
        "d": ground(400, 4),
    }
    for name, image in images.items():
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder


@pytest.mark.parametrize("method", [FIND, *features.METHODS])
def test_a_method_finds_a_copy_and_features_the_overlap(method: str, home: Path) -> None:
    cost, found = of_method(method, home, [])
    assert cost["seconds"] > 0
    pairs = found[["image1", "image2"]].values.tolist()
    assert ["a.jpg", "b.jpg"] in pairs
    assert not {"d.jpg"} & {name for pair in pairs for name in pair}
    if "y_offset" in found:
        assert found[["y_offset", "x_offset"]].values.tolist() == [[0, 0], [130, 77], [130, 77]]


def test_other_tools_run_in_the_interpreter_that_has_them(home: Path, tmp_path: Path) -> None:
    def interpreter(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(f"import json, sys\n{code}\n")
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$0.py" "$@"\n')
        program.chmod(0o755)
        return str(program)

    absent = interpreter("absent", "sys.exit(3)")
    twice = (
        "open(sys.argv[4], 'w').write('b.jpg,a.jpg\\na.jpg,b.jpg\\n'); print(json.dumps({'seconds': 1.5}))"
    )
    for name in PEERS.values():
        cost, found = of_method(name, home, [absent, interpreter("present", twice)])
        assert cost == {"seconds": 1.5}
        assert found.values.tolist() == [["a.jpg", "b.jpg", "duplicate"]]
    with pytest.raises(LeftOut, match="not installed"):
        of_method("fastdup", home, [absent])
    with pytest.raises(LeftOut, match="its licence has ended"):
        of_method("fastdup", home, [interpreter("broken", "sys.exit('its licence has ended')")])


def test_the_benchmark_runs_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.concatenate([ground(1024, 5), ground(1024, 6)], axis=1)
    monkeypatch.setattr(sets, "_sea", lambda: sets.Source(picture))
    monkeypatch.setattr("benchmarks.free_offsets.__main__.COMPARED", ("400",))
    monkeypatch.setattr("benchmarks.free_offsets.__main__.METHODS", {"pHash": features.phash})
    monkeypatch.setattr("benchmarks.free_offsets.__main__.PEERS", {"fastdup": "fastdup"})
    kinds = ("long roof, ribs of 37 px",)
    monkeypatch.setattr("benchmarks.free_offsets.__main__.REPEATED", {kind: REPEATED[kind] for kind in kinds})
    monkeypatch.setattr("benchmarks.free_offsets.__main__.OVERLAYS", {"padding": OVERLAYS["padding"]})
    command = "--sources sea --layouts 400 half --n-images 12 --compared 6 --lookalikes 2 --seeds 3 "
    command += f"--peer-python {sys.executable} --work {tmp_path}/work --out {tmp_path}/out"
    assert main(command.split()) == 0
    out = tmp_path / "out"
    table = pd.read_csv(out / "free_offsets.csv")
    assert table[["source", "layout", "seed"]].values.tolist() == [["sea", "400", 3], ["sea", "half", 3]]
    assert (table["pairs"] > 5).all() and (table["recall"] > 0.8).all()
    assert not table[["wrong_offset", "false", "other_day_accepted"]].any(axis=None)
    assert (table["cache_bytes_an_image"] > 1000).all() and (table["of_floor"] > 0).all()
    recall = pd.read_csv(out / "free_offsets_recall.csv")
    by_share = recall[recall["by"] == "share"].groupby("layout")["pairs"].sum()
    assert by_share.tolist() == table.set_index("layout")["pairs"][by_share.index].tolist()
    assert (out / "free_offsets_errors.csv").exists()
    methods = pd.read_csv(out / "free_offsets_methods.csv").set_index("method")
    assert methods.loc[FIND, "recall"] > methods.loc["pHash", "recall"]
    assert methods.loc["fastdup", "left_out"] == "not installed in an interpreter that --peer-python names"
    lookalikes = pd.read_csv(out / "free_offsets_lookalikes.csv")
    assert lookalikes["collection"].tolist() == [*kinds, "padding"]
    assert (lookalikes["images"] == 2).all()
    assert cv2.imread(str(out / "free_offsets.png")) is not None
    printed = capsys.readouterr().out
    assert "| sea | 400 |" in printed and "| **sea** | all |" in printed
    assert "fastdup was left out: not installed" in printed
    assert main([*command.split(), "--n-images", "0", "--compared", "0", "--lookalikes", "0"]) == 0
    with pytest.raises(SystemExit):
        main(["--sources", "mars"])
