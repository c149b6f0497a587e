"""The benchmark of changed images: its collections, its counts, and a run from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("benchmarks.transforms", reason="benchmarks are not part of the installed package")

from benchmarks.free_offsets import sets as held_out
from benchmarks.transforms import __main__ as module
from benchmarks.transforms.counting import against_truth, counts, joined_versions, recall_by_share
from benchmarks.transforms.sets import KINDS, cut, truth_of
from dupnet.images.reading import read_image
from dupnet.images.transforms import MATRIX_COLUMNS, resampled


def ground(height: int, width: int) -> np.ndarray:
    import cv2

    noise = np.random.default_rng(0).standard_normal((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(np.rint(120 + 40 * smooth / smooth.std()), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_lays_images_on_each_other(kind: str, tmp_path: Path) -> None:
    """Where the truth says that two images show one ground, they correlate."""
    picture = ground(1600, 1600)
    images = cut(picture, picture, kind, tmp_path, 6, seed=3)
    truth = truth_of(images, np.zeros(picture.shape[:2], bool))
    wide = truth[truth["share"] > 0.2]
    assert len(wide)
    for row in wide.head(4).to_dict("records"):
        one, two = (read_image(tmp_path / "images" / row[f"image{end}"])[..., 1] for end in (1, 2))
        matrix = np.array([row[name] for name in MATRIX_COLUMNS]).reshape(2, 3)
        laid = resampled(two, matrix, *one.shape).astype(float)
        inside = resampled(np.ones_like(two), matrix, *one.shape, nearest=True) > 0
        inside &= (one > 0) & (laid > 0)
        assert np.corrcoef(one[inside], laid[inside])[0, 1] > 0.8


def test_each_outcome_is_told_apart() -> None:
    upright = dict(zip(MATRIX_COLUMNS, (1, 0, 0, 0, 1, 0), strict=True))
    aside = {**upright, "x_shift": 9}
    cases = [  # same day, changed, inside, verdict, transform found
        ("found", True, 0, True, "duplicate", upright),
        ("altered", True, 0, True, "altered", upright),
        ("aside", True, 0, True, "duplicate", aside),
        ("missed", True, 0, True, None, upright),
        ("beyond", True, 0, False, "duplicate", upright),
        ("beyond", False, 0.1, True, "duplicate", upright),
        ("other_day", False, 0.4, True, None, upright),
        ("other_day_accepted", False, 0.4, True, "duplicate", upright),
        ("other_day_altered", False, 0.4, True, "altered", upright),
        ("false", None, None, None, "duplicate", upright),
    ]
    names = [(f"a{number}", f"b{number}") for number in range(len(cases))]
    truth = pd.DataFrame(
        [
            {"image1": one, "image2": two, "share": 0.6, "same_day": same, "changed": changed,
             "inside": inside, **upright}
            for (one, two), (_, same, changed, inside, _, _) in zip(names, cases, strict=True)
            if same is not None
        ]
    )  # fmt: skip
    found = pd.DataFrame(
        [
            {"image1": one, "image2": two, "verdict": verdict, **matrix}
            for (one, two), (*_, verdict, matrix) in zip(names, cases, strict=True)
            if verdict
        ]
    )
    images = pd.DataFrame({"image": [name for pair in names for name in pair], "height": 99, "width": 99})
    table = against_truth(truth, found, images)
    assert dict(zip(table["image1"], table["outcome"], strict=True)) == {
        one: case[0] for (one, _), case in zip(names, cases, strict=True)
    }
    row = counts(table)
    assert (row["pairs"], row["recall"], row["other_day"], row["false"]) == (4, 0.5, 3, 1)
    assert recall_by_share(table).set_index("low")["pairs"].tolist() == [0, 0, 0, 0, 4]


def test_versions_are_joined_through_others() -> None:
    images = pd.DataFrame({"image": list("abcd"), "height": [9, 5, 5, 5], "width": 9, "family": [0, 0, 0, 0]})
    assert joined_versions(images, [("b", "c"), ("a", "b")]) == (3, 2)


def test_a_run_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = ground(1300, 1300)
    monkeypatch.setattr(held_out, "sources", lambda *_: {"kitsap": lambda: held_out.Source(picture)})
    words = ["--sources", "kitsap", "--kinds", "chips, turned", "--n-images", "8", "--compared", "4"]
    assert module.main([*words, "--work", str(tmp_path / "work"), "--out", str(tmp_path)]) == 0
    row = pd.read_csv(tmp_path / "transforms.csv").iloc[0]
    assert row["options"] == "--turned" and row["upright_as_before"] and row["false"] == 0
    methods = pd.read_csv(tmp_path / "transforms_methods.csv")["method"].tolist()
    assert methods[:3] == ["dupnet find", module.PHASH, module.SIFT]
    assert "chips, turned" in (tmp_path / "transforms.md").read_text()
