"""Georeferences: who can overlap, at which offset, and where files and pixels disagree."""

from __future__ import annotations

import math
from pathlib import Path

import formats
import numpy as np
import pandas as pd
import pytest

from dupnet.images.georeference import (
    DISAGREEMENT_COLUMNS,
    FOOTPRINT_COLUMNS,
    Georeference,
    disagreements,
    footprint_pairs,
    predicted_offset,
    read_georeference,
)

UTM = "EPSG:32631"


def chip(y: float, x: float, *, size: int = 300, step: float = 0.5, crs: str = UTM) -> Georeference:
    """A chip at a place of a scene, in its pixels."""
    return Georeference(size, size, (step, 0.0, 500_000 + x * step, 0.0, -step, 5_700_000 - y * step), crs)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    from rasterio.transform import from_origin

    formats.raster(crs=UTM, transform=from_origin(500_000, 5_700_000, 0.5, 0.25))(tmp_path / "a.tif")
    return tmp_path


def test_read_from_a_header(written: Path) -> None:
    found = read_georeference(written / "a.tif")
    transform = (0.5, 0.0, 500_000.0, 0.0, -0.25, 5_700_000.0)
    assert found == Georeference(formats.HEIGHT, formats.WIDTH, transform, UTM)
    assert found.bounds == (
        500_000,
        5_700_000 - 0.25 * formats.HEIGHT,
        500_000 + 0.5 * formats.WIDTH,
        5_700_000,
    )


def test_a_system_by_its_number_and_by_its_text() -> None:
    from rasterio.crs import CRS

    from dupnet.images.georeference import _name_of

    assert _name_of(CRS.from_epsg(4326).to_wkt()) == "EPSG:4326"
    local = 'LOCAL_CS["somewhere",UNIT["metre",1]]'
    assert _name_of(CRS.from_wkt(local).to_wkt()).startswith("LOCAL_CS")
    assert _name_of("") == ""


@pytest.mark.parametrize(
    "name", ["rgb.png", "baseline.jpg", "strips.tif", "cut.tif", "text.jpg", "empty.tif"]
)
def test_files_without_one(name: str, tmp_path: Path) -> None:
    formats.KINDS[name].make(tmp_path / name)
    assert read_georeference(tmp_path / name) is None
    assert read_georeference(tmp_path / "gone.tif") is None


def test_no_pixel_is_read(written: Path) -> None:
    data = (written / "a.tif").read_bytes()
    (written / "a.tif").write_bytes(data[: len(data) - 20_000])
    assert read_georeference(written / "a.tif") is not None


def test_pairs_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 3000, (60, 2))
    georeferences = {f"{number:02d}.tif": chip(*place) for number, place in enumerate(places.tolist())}
    wanted = []
    for one in range(60):
        for other in range(one + 1, 60):
            y, x = (places[other] - places[one]).tolist()
            if abs(y) < 300 and abs(x) < 300:
                wanted.append((f"{one:02d}.tif", f"{other:02d}.tif", y, x, 300 - abs(y), 300 - abs(x)))
    found = footprint_pairs(georeferences).pairs
    assert tuple(found.columns) == FOOTPRINT_COLUMNS
    assert len(wanted) > 10
    pd.testing.assert_frame_equal(found, pd.DataFrame(wanted, columns=FOOTPRINT_COLUMNS), check_dtype=False)


def test_only_pairs_across_two_folders() -> None:
    georeferences = {name: chip(0, 10 * number) for number, name in enumerate("abcd")}
    found = footprint_pairs(georeferences, against={"b", "d"}).pairs
    assert ["".join(pair) for pair in found[["image1", "image2"]].to_numpy()] == ["ab", "ad", "bc", "cd"]


def test_of_a_stack_the_pairs_that_share_most() -> None:
    """Of five chips in a row the first is the first of two pairs only: those with its nearest neighbours."""
    georeferences = {name: chip(0, 10 * number) for number, name in enumerate("abcde")}
    found = footprint_pairs(georeferences, most=2)
    pairs = ["".join(pair) for pair in found.pairs[["image1", "image2"]].to_numpy()]
    assert (pairs, found.n_skipped) == (["ab", "ac", "bc", "bd", "cd", "ce", "de"], 3)


def test_chips_that_touch_share_nothing() -> None:
    assert footprint_pairs({"a": chip(0, 0), "b": chip(0, 300), "c": chip(300, 0)}).pairs.empty
    assert footprint_pairs({"a": chip(0, 0)}).pairs.empty
    assert footprint_pairs({}).pairs.empty


def test_other_grids_have_no_offset() -> None:
    """Another resolution, another projection of the same ground, another orientation."""
    from rasterio.warp import transform_bounds

    one = chip(0, 0, size=2000)
    west, south, east, north = transform_bounds(UTM, "EPSG:3857", *one.bounds)
    web = Georeference(
        900, 900, ((east - west) / 900, 0.0, west, 0.0, (south - north) / 900, north), "EPSG:3857"
    )
    quarter = Georeference(2000, 2000, (0.0, 0.5, 500_000.0, 0.5, 0.0, 5_699_000.0), UTM)
    table = footprint_pairs({"a": one, "b": chip(10, 10, size=1000, step=1.0), "c": web, "d": quarter}).pairs
    assert table[["image1", "image2"]].to_numpy().tolist() == [
        ["a", "b"], ["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"], ["c", "d"]
    ]  # fmt: skip
    assert table[["y_offset", "x_offset", "height", "width"]].isna().all(axis=None)


def test_files_that_name_no_system_are_compared_with_each_other_alone() -> None:
    table = footprint_pairs({"a": chip(0, 0), "b": chip(9, 9, crs=""), "c": chip(5, 6, crs="")}).pairs
    assert table[["image1", "image2", "y_offset", "x_offset"]].to_numpy().tolist() == [["b", "c", -4.0, -3.0]]


def test_a_rotated_grid_has_offsets_too() -> None:
    angle = math.radians(30)
    a, b = 2 * math.cos(angle), 2 * math.sin(angle)
    one = Georeference(200, 200, (a, b, 100.0, b, -a, 200.0), UTM)
    y, x = 37, -12
    other = Georeference(200, 200, (a, b, 100 + a * x + b * y, b, -a, 200 + b * x - a * y), UTM)
    assert predicted_offset(one, other) == pytest.approx((y, x))
    table = footprint_pairs({"one": one, "other": other}).pairs
    assert table[["y_offset", "x_offset", "height", "width"]].iloc[0].tolist() == pytest.approx(
        [y, x, 163, 188]
    )


NONE = pd.DataFrame(columns=["image1", "image2", "y_offset", "x_offset"])


def found(*rows: tuple[str, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image1", "image2", "y_offset", "x_offset"])


def test_where_files_and_pixels_agree_nothing_is_said() -> None:
    georeferences = {"a": chip(0, 0), "b": chip(100.4, 50), "c": chip(0, 250)}
    pairs = footprint_pairs(georeferences).pairs
    assert len(pairs) == 3
    # a and c share a strip of 50 pixels, which need not be confirmed; plain.jpg says nothing of its place.
    overlaps = found(("a", "b", 102, 51), ("b", "plain.jpg", 7, 7))
    revisits = found(("b", "c", -100, 200))
    table = disagreements(pairs, overlaps, revisits, georeferences)
    assert tuple(table.columns) == DISAGREEMENT_COLUMNS
    assert table.empty


def test_where_they_disagree_the_reason_is_given() -> None:
    georeferences = {
        "a": chip(0, 0),
        "b": chip(100, 50),
        "c": chip(9000, 0),
        "d": chip(100, 0, step=0.6),
        "e": chip(60, 60),
    }
    pairs = footprint_pairs(georeferences).pairs
    overlaps = found(("a", "b", 100, 90), ("a", "c", 0, 0), ("a", "d", 5, 5))
    table = disagreements(pairs, overlaps, NONE, georeferences)
    rows = {
        (one, two): (round(y), round(x), why)
        for one, two, y, x, *_, why in table.dropna().to_numpy().tolist()
    }
    assert set(rows) == {("a", "b"), ("a", "c")}
    assert rows["a", "b"][:2] == (100, 50) and "another offset" in rows["a", "b"][2]
    assert rows["a", "c"][:2] == (9000, 0) and "at two places" in rows["a", "c"][2]
    others = table.set_index(["image1", "image2"])["reason"].to_dict()
    assert "one grid, the georeferences are not" in others["a", "d"]
    for pair in (("a", "e"), ("b", "e")):
        assert "another time, or a wrong georeference" in others[pair]
    assert len(table) == 5


def test_chips_of_one_scene_from_their_files(tmp_path: Path) -> None:
    from rasterio.transform import from_origin

    places = {"a.tif": (0, 0), "b.tif": (30, 40), "c.tif": (500, 0)}
    for name, (y, x) in places.items():
        origin = from_origin(500_000 + 10 * x, 5_700_000 - 10 * y, 10, 10)
        formats.raster(formats.DEEP, crs=UTM, transform=origin)(tmp_path / name)
    georeferences = {name: read_georeference(tmp_path / name) for name in places}
    table = footprint_pairs({name: one for name, one in georeferences.items() if one is not None}).pairs
    assert table.to_numpy().tolist() == [["a.tif", "b.tif", 30.0, 40.0, 66.0, 88.0]]
