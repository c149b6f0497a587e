"""One of each of the duplicates: which are kept, for whose sake others go, and the folder of links."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from results import found, written
from textures import textured

from dupnet.commands import cli
from dupnet.splits.ground import common_ground
from dupnet.splits.keeping import KEEP_COLUMNS, REMOVE_COLUMNS, clean, link_images, sharpness

Captured = pytest.CaptureFixture[str]


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.5, 0.9]), st.sampled_from(["largest", "first"]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_no_image_goes_without_a_kept_twin_and_no_two_kept_are_twins(
    seed: int, share: float, rule: str
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 14))
    places = np.stack([rng.integers(0, 2, n), *rng.integers(0, 150, (2, n))], axis=1).tolist()
    result = found(places, size=[tuple(size) for size in rng.integers(60, 120, (n, 2)).tolist()])
    kept = clean(result, rule, share)
    assert tuple(kept.keep) == KEEP_COLUMNS and tuple(kept.remove) == REMOVE_COLUMNS
    assert sorted([*kept.keep["image"], *kept.remove["image"]]) == result.groups["image"].tolist()
    pairs = common_ground(result.overlaps, result.groups)
    images = result.groups["image"].to_numpy()
    shares = {
        frozenset((images[one], images[other])): common
        for one, other, common in pairs[["number1", "number2", "share"]].itertuples(index=False)
        if common >= share
    }
    for row in kept.remove.itertuples():
        assert row.kept in set(kept.keep["image"])
        assert row.share == pytest.approx(shares[frozenset((row.image, row.kept))], abs=1e-4)
    assert not any(pair <= set(kept.keep["image"]) for pair in shares)
    assert kept.keep["n_removed"].sum() == len(kept.remove)


def test_of_a_chain_the_ends_stay() -> None:
    """A shows half of B, and B half of C: B goes for the sake of one of them, and never A for that of B."""
    result = found([(0, 0, 0), (0, 0, 50), (0, 0, 100)])
    kept = clean(result, "first", 0.5)
    assert kept.keep["image"].tolist() == ["000.jpg", "002.jpg"]
    assert kept.remove.values.tolist() == [["001.jpg", "000.jpg", 0.5, "duplicate", "the other comes first"]]
    assert clean(result, "first", 0.51).remove.empty


def test_rules_and_reasons() -> None:
    result = found([(0, 0, 0)] * 3, size=[(90, 90), (100, 100), (90, 90)])

    def decided(rule: str, **options: object) -> dict[str, str]:
        table = clean(result, rule, **options).remove  # type: ignore[arg-type]
        return dict(zip(table["image"], table["kept"] + ": " + table["reason"], strict=True))

    assert decided("largest") == dict.fromkeys(("000.jpg", "002.jpg"), "001.jpg: the other is larger")
    assert decided("first") == dict.fromkeys(("001.jpg", "002.jpg"), "000.jpg: the other comes first")
    sharp = {"000.jpg": 1.0, "001.jpg": 2.0, "002.jpg": 3.0}
    expected = dict.fromkeys(("000.jpg", "001.jpg"), "002.jpg: the other is sharper")
    assert decided("sharpest", detail=sharp.__getitem__) == expected
    assert decided("labelled", labelled={"000.jpg", "002.jpg"}) == {
        "001.jpg": "000.jpg: the other has a label",
        "002.jpg": "000.jpg: equal, and the other comes first",
    }
    alike = clean(found([(0, 0, 0)] * 2)).remove
    assert alike["reason"].tolist() == ["equal, and the other comes first"]


def test_the_share_is_of_the_smaller_image() -> None:
    result = found([(0, 0, 0), (0, 10, 10)], size=[(300, 300), (50, 50)])
    assert clean(result, share=1).remove["image"].tolist() == ["001.jpg"]


def test_what_cannot_be_cleaned_is_refused() -> None:
    result = found([(0, 0, 0), (0, 0, 0)])
    for options, message in (
        ({"rule": "best"}, "rule is 'best'"),
        ({"share": 2}, "share is 2"),
        ({"rule": "sharpest"}, "needs the sharpness"),
        ({"rule": "labelled"}, "none of these images has a label"),
    ):
        with pytest.raises(ValueError, match=message):
            clean(result, **options)  # type: ignore[arg-type]


def test_sharpness() -> None:
    sharp = textured(1, 128)[0]
    blurred = np.asarray(Image.fromarray(sharp).resize((40, 40)).resize((128, 128)))
    assert sharpness(sharp) > 2 * sharpness(blurred)


# --- links ----------------------------------------------------------------------------------------


def test_links_to_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {name: tmp_path / "images" / name for name in ("a.jpg", "train/b.jpg")}
    for file in images.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"pixels")
    assert link_images(images, tmp_path / "soft") == "symbolic links"
    assert (tmp_path / "soft" / "train" / "b.jpg").is_symlink()
    assert (tmp_path / "soft" / "train" / "b.jpg").read_bytes() == b"pixels"

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setitem(link_images.__globals__["_LINKS"], "symbolic links", refuse)
    assert link_images(images, tmp_path / "hard") == "hard links"
    assert os.path.samefile(tmp_path / "hard" / "a.jpg", images["a.jpg"])
    monkeypatch.setitem(link_images.__globals__["_LINKS"], "hard links", refuse)
    assert link_images(images, tmp_path / "copies") == "copies"
    assert not os.path.samefile(tmp_path / "copies" / "a.jpg", images["a.jpg"])
    with pytest.raises(ValueError, match="is not empty"):
        link_images(images, tmp_path / "soft")
    for name in ("../out.jpg", str(tmp_path / "out.jpg")):
        with pytest.raises(ValueError, match="leads out of"):
            link_images({name: images["a.jpg"]}, tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        link_images({"gone.jpg": tmp_path / "gone.jpg"}, tmp_path / "gone")


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two copies, the second sharper, a third image that shares 0.4 with them, and one alone; with files."""
    result = found([(0, 0, 0), (0, 0, 0), (0, 0, 60), (1, 0, 0)])
    result.folders = (tmp_path / "images",)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(result.groups["image"]):
        grey = textured(1, 100, seed=1, contrast=10 + 10 * (number == 1))[0]
        Image.fromarray(grey).save(tmp_path / "images" / image)
    return written(result, tmp_path / "out")


def test_clean(results: Path, tmp_path: Path, capsys: Captured) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert cli.main(["clean", str(results), "--link", str(tmp_path / "links")]) == 0
    said = capsys.readouterr().out
    assert "3 of 4 images are kept; 1 show 50% or more" in said and "3 symbolic links" in said
    assert "Searched: any offset" in said and "equal, and the other comes first" in said
    assert pd.read_csv(results / "keep.csv")["image"].tolist() == ["000.jpg", "002.jpg", "003.jpg"]
    assert pd.read_csv(results / "remove.csv")["image"].tolist() == ["001.jpg"]
    assert sorted(path.name for path in (tmp_path / "links").iterdir()) == ["000.jpg", "002.jpg", "003.jpg"]
    assert {path: path.read_bytes() for path in (tmp_path / "images").iterdir()} == before
    assert cli.main(["clean", str(results), "--link", str(tmp_path / "links")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_options_of_clean(results: Path, tmp_path: Path, capsys: Captured) -> None:
    lists = tmp_path / "lists"
    command = ["clean", str(results), "-o", str(lists)]
    assert cli.main([*command, "--share", "30%", "-q"]) == 0
    said = capsys.readouterr().out
    assert "2 show 30% or more" in said and "Searched" not in said
    assert not (results / "keep.csv").exists()
    assert cli.main([*command, "--keep", "sharpest", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in record["removed"]] == ["000.jpg"] and record["link"] is None
    (tmp_path / "labels.csv").write_text("file,ship\n001,1\n")
    labels = ["--labels", str(tmp_path / "labels.csv")]
    assert cli.main([*command, "--keep", "labelled", *labels, "-v"]) == 0
    assert "the other has a label" in capsys.readouterr().out
    for wrong in (["--keep", "labelled"], labels):
        assert cli.main([*command, *wrong]) == 2
        assert "go together" in capsys.readouterr().err
    (tmp_path / "images").rename(tmp_path / "moved")
    assert cli.main([*command, "--keep", "sharpest"]) == 2
    capsys.readouterr()
    assert cli.main([*command, "--keep", "sharpest", "--images", str(tmp_path / "moved")]) == 0
    (results / "judgements.csv").write_text(
        "time,image1,image2,overlap_tag,y_offset,x_offset,verdict,reviewer\n"
        "now,000.jpg,001.jpg,,0,0,not_duplicate,\n"
    )
    assert cli.main(command) == 0
    assert "4 of 4 images are kept" in capsys.readouterr().out
    assert cli.main([*command, "--ignore-judgements"]) == 0
    assert "3 of 4 images are kept" in capsys.readouterr().out
    (lists / "keep.csv").write_text("mine\n")
    assert cli.main(command) == 2
    assert "exists and is not a table of image, group, n_removed" in capsys.readouterr().err
