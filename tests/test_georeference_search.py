"""Georeferences in the search: they propose, the pixels decide, and where both disagree it is listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.find import footprints, steps
from dupnet.find.engine import find_overlaps
from dupnet.find.results import FindResult, read_results
from dupnet.images.georeference import DISAGREEMENT_COLUMNS, Georeference, footprint_pairs

SIDE = 300
KEY = ["image1", "image2", "y_offset", "x_offset"]

Write = Callable[..., None]


def ground(seed: int) -> np.ndarray:
    """Something with texture everywhere: (900, 900) uint8."""
    noise = np.random.default_rng(seed).standard_normal((900, 900)).astype(np.float32)
    grey = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.0, 3.0, 9.0))
    return np.clip(128 + 20 * grey, 0, 255).astype(np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a chip of a ground at (y, x), and says that it lies at another place."""
    from rasterio import open as open_raster
    from rasterio.transform import from_origin

    (tmp_path / "images").mkdir()

    def chip(name: str, y: int, x: int, told: tuple[float, float] | None = None, seed: int = 0) -> None:
        pixels = ground(seed)[y : y + SIDE, x : x + SIDE]
        if told is None:
            cv2.imwrite(str(tmp_path / "images" / name), pixels)
            return
        place = from_origin(500_000 + told[1] / 2, 5_700_000 - told[0] / 2, 0.5, 0.5)
        layout = {"height": SIDE, "width": SIDE, "count": 1, "dtype": "uint8", "crs": "EPSG:32631"}
        with open_raster(tmp_path / "images" / name, "w", driver="GTiff", transform=place, **layout) as file:
            file.write(pixels, 1)

    return chip


def offsets(result: FindResult) -> dict[tuple[str, str], tuple[int, int]]:
    rows = result.overlaps.loc[result.overlaps["verdict"] == "duplicate", KEY]
    return {(one, two): (y, x) for one, two, y, x in rows.itertuples(index=False, name=None)}


def test_files_of_kinds_that_hold_no_georeference_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.JPG", "b.jpeg", "c.png", "d.webp", "e.gif", "f.bmp", "g.avif", "h.tif", "i.jp2"]
    opened: list[str] = []
    monkeypatch.setattr(footprints, "read_georeference", lambda path: opened.append(path.name))
    described = SimpleNamespace(images=names)
    assert footprints.survey({name: Path(name) for name in names}, described) is None  # type: ignore[arg-type]
    assert opened == ["h.tif", "i.jp2"]


def without_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points propose nothing."""
    search = steps.search_points

    def nothing(*args: object) -> object:
        found = search(*args)  # type: ignore[arg-type]
        return found._replace(proposals=found.proposals.iloc[:0], grid=None)

    monkeypatch.setattr(steps, "search_points", nothing)


def test_a_georeference_some_pixels_off_leads_to_the_exact_offset(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.tif", 0, 0, (0, 0))
    write("b.tif", 100, 50, (100, 50))
    write("c.tif", 250, 40, (245.3, 47.6))  # 5 and 8 pixels off
    write("d.tif", 0, 0)  # says nothing of its place
    without_points(monkeypatch)
    result = find_overlaps(tmp_path / "images", out=tmp_path / "out", report=False)
    assert offsets(result) == {
        ("a.tif", "b.tif"): (100, 50),
        ("a.tif", "c.tif"): (250, 40),
        ("b.tif", "c.tif"): (150, -10),
    }
    listed = result.georeference.set_index(["image1", "image2"])
    assert set(listed.index) == {("a.tif", "c.tif"), ("b.tif", "c.tif")}
    assert listed.loc[("a.tif", "c.tif")].drop("reason").tolist() == pytest.approx([245.3, 47.6, 250, 40])
    assert listed["reason"].str.contains("another offset").all()
    assert result.searched["georeferences"] == {"images": 3, "pairs": 3, "skipped": 0}
    assert any("Pixels and georeferences disagree on 2 pairs" in line for line in result.coverage())
    assert "3 pairs whose footprints overlap" in result.summary()


def test_what_is_listed(write: Write, tmp_path: Path) -> None:
    """A chip at two places, and footprints of which the pixels show something else, blank ones left out."""
    write("a.tif", 0, 0, (0, 0))
    write("b.tif", 100, 50, (5_000, 50))
    write("c.tif", 0, 0, (100, 100), seed=1)
    write("d.jpg", 100, 50)
    out = tmp_path / "out"
    result = find_overlaps(tmp_path / "images", out=out, report=False)
    assert offsets(result)["a.tif", "b.tif"] == (100, 50)
    reasons = result.georeference.set_index(["image1", "image2"])["reason"].to_dict()
    assert set(reasons) == {("a.tif", "b.tif"), ("a.tif", "c.tif")}
    assert "at two places" in reasons["a.tif", "b.tif"]
    assert "pixels do not agree" in reasons["a.tif", "c.tif"]
    written = read_results(out)
    pd.testing.assert_frame_equal(written.georeference, result.georeference, check_dtype=False)
    assert written.coverage() == result.coverage()
    (out / "georeference.csv").write_text("image1,image2\n")
    with pytest.raises(ValueError, match=r"georeference\.csv' lacks the column.*predicted_y"):
        read_results(out)


def test_ground_without_texture_neither_joins_nor_disagrees(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = np.random.default_rng(3).integers(100, 102, (900, 900), dtype=np.uint8)
    monkeypatch.setattr("test_georeference_search.ground", lambda seed: np.roll(flat, 37 * seed))
    write("a.tif", 0, 0, (0, 0))
    write("b.tif", 100, 50, (100, 50), seed=1)
    result = find_overlaps(tmp_path / "images")
    assert result.overlaps.empty
    assert result.searched["georeferences"]["pairs"] == 1
    assert result.georeference.empty


def test_where_points_are_sure_the_georeference_is_not_asked(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.tif", 0, 0, (0, 0))
    write("b.tif", 100, 50, (150, 50))
    proposed = []
    propose = footprints.propose

    def recorded(*args: object) -> footprints.Proposed:
        proposed.append(propose(*args))  # type: ignore[arg-type]
        return proposed[-1]

    monkeypatch.setattr(footprints, "propose", recorded)
    result = find_overlaps(tmp_path / "images")
    assert offsets(result) == {("a.tif", "b.tif"): (100, 50)}
    assert [len(one.table) for one in proposed] == [0]
    assert result.georeference[["found_y", "found_x"]].to_numpy().tolist() == [[100, 50]]


def test_only_pairs_across_two_sides(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write(f"{number}.tif", 40 * number, 0, (40 * number, 0))
    (tmp_path / "held").mkdir()
    (tmp_path / "images" / "0.tif").rename(tmp_path / "held" / "0.tif")
    without_points(monkeypatch)
    result = find_overlaps(tmp_path / "images", against=tmp_path / "held")
    assert result.searched["georeferences"]["pairs"] == 2
    assert offsets(result) == {("1.tif", "held/0.tif"): (-40, 0), ("2.tif", "held/0.tif"): (-80, 0)}


def test_without_georeferences_nothing_changes(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one picture is opened once more, and what an earlier run listed goes."""
    write("a.tif", 0, 0, (0, 0))
    write("b.tif", 100, 50, (100, 50))
    out = tmp_path / "out"
    find_overlaps(tmp_path / "images", out=out, report=False)
    assert (out / "georeference.csv").read_text() == ",".join(DISAGREEMENT_COLUMNS) + "\n"
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.tif").unlink()
        write(f"{name}.png", 0, 0)
    monkeypatch.setattr(footprints, "read_georeference", pytest.fail)
    result = find_overlaps(tmp_path / "images", out=out, report=False)
    assert not (out / "georeference.csv").exists()
    assert "georeferences" not in json.loads((out / "run.json").read_text())["searched"]
    assert not any("eoreference" in line for line in result.coverage())
    assert tuple(read_results(out).georeference.columns) == DISAGREEMENT_COLUMNS


def test_pairs_of_a_stack_are_bounded() -> None:
    """Those of one grid come first, and of these the ones that share most."""

    def chip(y: float, step: float = 0.5) -> Georeference:
        size = round(150 / step)
        return Georeference(size, size, (step, 0, 500_000, 0, -step, 5_700_000 - y / 2), "EPSG:32631")

    stack = {f"{number:02d}": chip(number) for number in range(20)} | {"00x": chip(0, 0.25)}
    found = footprint_pairs(stack, most=3)
    assert found.pairs["image1"].value_counts().max() == 3
    first = found.pairs[found.pairs["image1"] == "00"]
    assert first["image2"].tolist() == ["01", "02", "03"]
    assert found.n_skipped + len(found.pairs) == 21 * 20 // 2 == len(footprint_pairs(stack).pairs)
    across = footprint_pairs(stack, {"00", "01"}).pairs
    assert len(across) == 2 * 19
