"""Large folders are drawn as told, and what a run found is held against the truth."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.scaling import crowds


@pytest.mark.parametrize(
    ("kind", "n_files"), [("copies", 12), ("processings", 5), ("blank", 1), ("chips", 12)]
)
def test_images_of_each_kind(kind: str, n_files: int, tmp_path: Path) -> None:
    crowds.draw(kind, 12, tmp_path / "images")
    content = [path.read_bytes() for path in sorted((tmp_path / "images").iterdir())]
    assert len(content) == 12 and len(set(content)) == n_files


def test_one_run(tmp_path: Path) -> None:
    options = ["--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    assert crowds.main(["processings=12", *options]) == 0
    assert crowds.main(["processings=12", "blank=3", *options]) == 0
    table = pd.read_csv(tmp_path / "crowds.csv").set_index("kind")
    assert table["images"].tolist() == [3, 12] and set(table["ended"]) == {"well"}
    assert table.loc["processings", "largest_group"] == 12 and table.loc["blank", "overlaps"] == 0
    assert crowds.main(["processings=12", "--limit", "0.01", *options]) == 0
    assert pd.read_csv(tmp_path / "crowds.csv").set_index("kind").loc["processings", "ended"] == "limit"


def test_pairs_of_chips_are_told_by_their_names() -> None:
    images = ["000-0000-0000-100-100.jpg", "000-0010-0036-100-100.jpg", "000-0010-0037-100-100.jpg"]
    images.append("001-0010-0036-100-100.jpg")
    groups = dict(zip(images, (0, 0, 1, 0), strict=True))
    # 0 and 1 share 90 x 64, 0 and 2 a pixel less, 1 and 2 nearly all.
    assert crowds.true_pairs(images, groups) == "1 of 2"
    assert crowds.true_pairs(["a.jpg"], {"a.jpg": 0}) == crowds.true_pairs([], {}) == ""
