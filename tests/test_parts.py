"""Images too large to be decoded at once: the same pixels, points and overlaps as with the whole image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dupnet.find.engine import find_overlaps
from dupnet.find.lattice import CellsOfParts, blocks_at, describe_on_lattice
from dupnet.find.points import find_points
from dupnet.find.results import FindResult
from dupnet.images import parts
from dupnet.images.image import TooLarge, UnreadableImage
from dupnet.images.parts import load_parts, open_parts
from dupnet.images.reading import load_image
from dupnet.network.descriptors import load_weights

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT, WIDTH = 1500, 1300
MOST = 600 * 600
KEY = ["image1", "image2", "y_offset", "x_offset"]


def ground() -> np.ndarray:
    """Something with texture everywhere: (1900, 1900) float32, about 0 to 255."""
    noise = np.random.default_rng(5).standard_normal((1900, 1900)).astype(np.float32)
    return np.clip(sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1.0, 3.0, 9.0)) * 20 + 128, 1, 254)


def write(path: Path, samples: np.ndarray, **more: object) -> None:
    from rasterio import open as open_raster

    layout = {"height": samples.shape[0], "width": samples.shape[1], "count": 1, "dtype": samples.dtype}
    with open_raster(path, "w", driver="GTiff", **layout, **more) as file:
        file.write(samples, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes with a part in common, one of them deep and with no data, and three chips of them."""
    path = tmp_path_factory.mktemp("scenes")
    whole = ground()
    write(path / "a.tif", whole[:HEIGHT, :WIDTH].astype(np.uint8))
    deep = (whole[-HEIGHT:, -WIDTH:] * 10).astype(np.uint16)
    deep[:, :300] = 0
    write(path / "b.tif", deep, nodata=0, tiled=True, blockxsize=256, blockysize=256)
    for name, (y, x) in {"c": (990, 700), "d": (480, 20), "e": (1500, 1480)}.items():
        cv2.imwrite(str(path / f"{name}.png"), whole[y : y + 400, x : x + 400].astype(np.uint8))
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of more than 600 x 600 px are too large, and read in blocks of 512 px."""
    monkeypatch.setattr("dupnet.images.image.MAX_PIXELS", MOST)
    monkeypatch.setattr(parts, "BLOCK", 512)


@pytest.mark.parametrize("name", ["a.tif", "b.tif"])
def test_parts_are_those_of_the_whole_image(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_image(folder / name, grey=True)
    valid = np.ones((HEIGHT, WIDTH), bool) if whole.valid is None else whole.valid
    monkeypatch.setattr(parts, "BLOCK", 512)
    found = load_parts(folder / name)
    assert (found.pixels.shape, found.pixels.dtype, found.note) == ((HEIGHT, WIDTH), np.uint8, whole.note)
    for area in (np.s_[0:10, 0:10], np.s_[500:1040, 290:1030], np.s_[:, 1290:], np.s_[700:700, :9]):
        np.testing.assert_array_equal(found.pixels[area], whole.pixels[area])
        np.testing.assert_array_equal(found.valid[area], valid[area])
    # What is kept may grow to so many blocks, each with its mask.
    assert found.pixels.nbytes == found.valid.nbytes == parts.NEEDED_BLOCKS * (512 * 512 + 512 * 512)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", ["a.tif", "b.tif"])
def test_points_are_those_of_the_whole_image(name: str, dense: bool, folder: Path, small: None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dupnet.images.image.MAX_PIXELS", HEIGHT * WIDTH)
        grey, valid, _ = load_image(folder / name, grey=True)
    wanted = find_points(grey, valid, dense=dense)
    with open_parts(folder / name) as found:
        points = find_points(found.pixels, found.valid, dense=dense)
    assert len(points.kinds) > 500
    for one, other in zip(points, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cells_are_those_of_the_whole_image(
    folder: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dupnet.find.lattice.CELLS_OF_PARTS", 64)
    found = load_parts(folder / "b.tif")
    weights = load_weights()
    cells = CellsOfParts(found.pixels, found.valid, weights)
    grey, valid = found.pixels[:, :], found.valid[:, :]
    wanted = describe_on_lattice(grey, valid, (5, 7), weights).block(69, 263, 20, 30)
    data, flags = cells.block(69, 263, 20, 30)
    np.testing.assert_array_equal(flags, wanted[1])
    assert (np.abs(data.astype(int) - wanted[0]) <= 1).all()
    assert [one.shape[:2] for one in cells.block(69, 263, 0, 3)] == [(0, 3), (0, 3)]
    ys, xs = np.array([[3], [511]]), np.array([[280, 290, 511]])
    for one, other in zip(
        blocks_at(found.pixels, found.valid, ys, xs), blocks_at(grey, valid, ys, xs), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def rows(result: FindResult) -> list[tuple[object, ...]]:
    return list(result.overlaps[[*KEY, "height", "width", "verdict"]].itertuples(index=False, name=None))


def test_overlaps_are_those_of_whole_images(folder: Path, tmp_path: Path, small: None) -> None:
    out = tmp_path / "out"
    found = find_overlaps(folder, out=out, report=False)
    with pytest.raises(TooLarge, match="at most 360000 pixels are decoded"):
        load_image(folder / "a.tif", grey=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dupnet.images.image.MAX_PIXELS", HEIGHT * WIDTH)
        wanted = find_overlaps(folder)
    assert found.unreadable.empty
    assert rows(found) == rows(wanted)
    assert {(one, two) for one, two, *_ in rows(found)} >= {
        ("a.tif", "b.tif"), ("a.tif", "c.png"), ("a.tif", "d.png"), ("b.tif", "c.png"), ("b.tif", "e.png")
    }  # fmt: skip
    np.testing.assert_allclose(found.overlaps["score"], wanted.overlaps["score"], atol=1e-3)
    again = find_overlaps(folder, out=out, report=False)
    assert again.overlaps.equals(found.overlaps)


def test_what_is_no_raster_is_left_out_with_the_reason(tmp_path: Path, small: None) -> None:
    whole = ground().astype(np.uint8)
    for name, side in (("a.png", 500), ("b.png", 500), ("large.png", 700)):
        cv2.imwrite(str(tmp_path / name), whole[:side, :side])
    found = find_overlaps(tmp_path)
    assert found.unreadable.to_numpy().tolist() == [
        ["large.png", "700 x 700 pixels; at most 360000 pixels are decoded"]
    ]


def test_a_scene_that_changes_or_breaks_meanwhile(folder: Path, tmp_path: Path, small: None) -> None:
    data = (folder / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data)
    found = load_parts(tmp_path / "a.tif")
    write(tmp_path / "a.tif", ground()[:1400, :WIDTH].astype(np.uint8))
    with pytest.raises(UnreadableImage, match="changed while it was read"):
        found.pixels[:9, :9]
    (tmp_path / "a.tif").write_bytes(data[: len(data) * 2 // 3])
    cv2.imwrite(str(tmp_path / "b.png"), ground()[:500, :500].astype(np.uint8))
    result = find_overlaps(tmp_path)
    assert result.unreadable["image"].tolist() == ["a.tif"]
    assert "does not decode" in result.unreadable["reason"].iloc[0]
