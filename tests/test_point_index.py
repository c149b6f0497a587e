"""Points of images, as they go into their cache and come out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from textures import textured

from dupnet.find.point_index import COLUMNS, describe_points, open_points
from dupnet.find.points import find_points
from dupnet.find.recent import Kept
from dupnet.find.regions import Image
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import load_weights

NAMES = ["a.png", "broken.png", "b.png"]
GREY = textured(1, 160, seed=3)[0]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two images, the second of them narrower, and one that cannot be read."""
    found = {name: tmp_path / name for name in NAMES}
    cv2.imwrite(str(found["a.png"]), GREY)
    cv2.imwrite(str(found["b.png"]), GREY[:, :96])
    found["broken.png"].write_bytes(found["a.png"].read_bytes()[:100])
    return found


@pytest.mark.parametrize("dense", [False, True])
def test_of_each_image_its_points_or_why_there_are_none(dense: bool, files: dict[str, Path]) -> None:
    kept = Kept[Image](10**6)
    found = describe_points(files, dense=dense, kept=kept)
    assert list(found) == NAMES
    reason = found.pop("broken.png")
    assert isinstance(reason, str) and reason and kept.get("broken.png") is None
    for name, (entry, columns) in found.items():
        grey = GREY if name == "a.png" else GREY[:, :96]
        assert (entry.height, entry.width) == grey.shape
        assert entry.n_rows == len(columns["kinds"]) > 20
        assert {column: rows[0].nbytes for column, rows in columns.items()} == COLUMNS
        for column, expected in find_points(grey, None, dense=dense)._asdict().items():
            np.testing.assert_array_equal(columns[column], expected)
        pixels, valid = kept.get(name) or (None, None)
        np.testing.assert_array_equal(pixels, grey)
        assert valid is None


def test_what_was_kept_is_there_until_what_points_depend_on_changes(
    files: dict[str, Path], tmp_path: Path
) -> None:
    weights, folder = load_weights(), tmp_path / "cache"
    entry, columns = describe_points({"a.png": files["a.png"]}, dense=False)["a.png"]
    another_network = replace(weights, threshold=0.25)  # points do not depend on it
    for of_points in (
        {"dense": True},
        {"dense": False, "rendering": Rendering(bands=(3, 2, 1))},
        {"dense": False, "columns": {**COLUMNS, "more": 1}},
    ):
        with open_points(folder, weights, dense=False) as cache:
            cache.append("a.png", entry, columns)
        with open_points(folder, another_network, dense=False) as cache:
            assert list(cache.entries) == ["a.png"] and not cache.discarded
            rows = cache.rows_of(["a.png"])
            np.testing.assert_array_equal(cache.read("kinds", rows).ravel(), columns["kinds"])
        with open_points(folder, weights, **of_points) as cache:
            assert not cache.entries and cache.discarded
