"""The HLS shift against the copies that the real GIMP made, and the naming of those."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dupnet.augment.gimp import HLSComparison, copy_name, parse_copy_name, read_comparisons

FOLDER = Path(__file__).parents[1] / "data" / "persistent" / "gimp_hls"
COMPARISONS = read_comparisons(FOLDER)


def build_script():
    spec = importlib.util.spec_from_file_location("gimp_build", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "comparison",
    COMPARISONS,
    ids=lambda found: copy_name(found.name, found.hue, found.lightness, found.saturation),
)
def test_shift_is_gimps(comparison):
    summary = comparison.summary()
    assert summary["between_mean"] < 0.2  # the requirement is 1; rounding alone explains a fraction of that
    assert summary["between_max"] <= 1
    assert summary["gimp_sum"] > 10_000  # the copy is a shifted one


def test_every_shift_of_the_script_is_there():
    build = build_script()
    found = {(c.name, c.hue, c.lightness, c.saturation) for c in COMPARISONS}
    assert found == {(image, *shift) for image in ("chart", "roof") for shift in build.shifts()}


def test_chart_is_what_the_script_computes():
    chart = next(c.image for c in COMPARISONS if c.name == "chart")
    assert np.abs(build_script().chart().astype(int) - chart).max() <= 1


def test_deltas_and_their_sums():
    image = np.full((2, 2, 3), 100, np.uint8)
    gimp = image.copy()
    gimp[0, 0] = (110, 99, 100)
    found = HLSComparison("plain", image, gimp)
    assert found.deltas()["gimp"][0, 0].tolist() == [10, -1, 0]
    assert (found.deltas()["between"] == -found.deltas()["gimp"]).all()
    summary = found.summary()
    assert (summary["gimp_sum"], summary["gimp_max"], summary["opencv_sum"]) == (11, 10, 0)
    assert summary["gimp_unequal"] == pytest.approx(2 / 12)


def test_names_round_trip():
    for shift in ((0, 0, 0), (-180, 100, -5), (7, -50, 20)):
        assert parse_copy_name(copy_name("some_roof", *shift) + ".png") == ("some_roof", *shift)
    with pytest.raises(ValueError, match="not of the form"):
        parse_copy_name("roof.png")


def test_sizes_must_agree_and_a_folder_must_hold_copies(tmp_path):
    with pytest.raises(ValueError, match="gimp_copy"):
        HLSComparison("x", np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="holds no copies"):
        read_comparisons(tmp_path)
