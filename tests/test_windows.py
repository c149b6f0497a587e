"""Scenes read in windows: the same pixels as at once, with memory for one window."""

from __future__ import annotations

from pathlib import Path

import formats
import numpy as np
import pytest

from dupnet.images.image import MAX_PIXELS, UnreadableImage
from dupnet.images.raster import Region
from dupnet.images.reading import load_image
from dupnet.images.windows import open_scene, windows_of

SCENES = {
    "rgb.png": formats.pillow("PNG"),
    "alpha.png": formats.transparent("PNG"),
    "rgb.tif": formats.raster(tiled=True, blockxsize=32, blockysize=32),
    "mask.tif": formats.raster(mask=True, environment={"GDAL_TIFF_INTERNAL_MASK": True}),
    "deep.tif": formats.raster(formats.DEEP),
    "eight.tif": formats.raster(formats.stacked(8, (1, 2, 3)), photometric="minisblack"),
    "rgb.jp2": formats.raster(driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES"),
}


@pytest.mark.parametrize("grey", [True, False], ids=["grey", "rgb"])
@pytest.mark.parametrize("name", SCENES)
def test_windows_make_up_the_image(name: str, grey: bool, tmp_path: Path) -> None:
    SCENES[name](tmp_path / name)
    whole = load_image(tmp_path / name, grey=grey)
    height, width = whole.pixels.shape[:2]
    seen = np.zeros((height, width), int)
    with open_scene(tmp_path / name, grey=grey) as scene:
        assert (scene.height, scene.width, scene.note) == (height, width, whole.note)
        for window in windows_of(scene, 50, 7, grey=grey):
            y, x, core = window.y, window.x, window.core
            assert (y, x) == (max(core.y - 7, 0), max(core.x - 7, 0))
            bottom, right = y + window.pixels.shape[0], x + window.pixels.shape[1]
            assert bottom == min(core.y + core.height + 7, height)
            assert right == min(core.x + core.width + 7, width)
            np.testing.assert_array_equal(window.pixels, whole.pixels[y:bottom, x:right])
            if whole.valid is None:
                assert window.valid is None
            else:
                valid = np.ones(window.pixels.shape[:2], bool) if window.valid is None else window.valid
                np.testing.assert_array_equal(valid, whole.valid[y:bottom, x:right])
            seen[core.y : core.y + core.height, core.x : core.x + core.width] += 1
    assert (seen == 1).all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_scene_larger_than_what_is_decoded_at_once(tmp_path: Path) -> None:
    """A sparse file of 100 million pixels, of which one part holds the picture."""
    import rasterio
    from rasterio.windows import Window

    side = 10_240
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "SPARSE_OK": "TRUE", "compress": "deflate"}
    shape = {"count": 3, "height": side, "width": side, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", photometric="rgb", **shape, **layout) as file:
        file.write(formats.BANDS, window=Window(9_000, 8_000, formats.WIDTH, formats.HEIGHT))
    assert side * side > MAX_PIXELS
    with pytest.raises(UnreadableImage, match=r"a\.tif: 10240 x 10240 pixels; at most 67108864"):
        load_image(tmp_path / "a.tif", grey=True)
    with open_scene(tmp_path / "a.tif") as scene:
        assert (scene.height, scene.width) == (side, side)
        part = scene.read(Region(8_000, 9_000, formats.HEIGHT, formats.WIDTH), grey=False)
        np.testing.assert_array_equal(part.pixels, formats.RGB)
        last = list(windows_of(scene, 8192, 16))[-1]
        assert (last.y, last.x, last.pixels.shape) == (8176, 8176, (2064, 2064))
        assert last.core == Region(8192, 8192, 2048, 2048)


def test_a_file_that_breaks_in_the_middle(tmp_path: Path) -> None:
    formats.cut(formats.raster())(tmp_path / "a.tif")
    with (
        pytest.raises(UnreadableImage, match=r"a\.tif: does not decode"),
        open_scene(tmp_path / "a.tif") as scene,
    ):
        list(windows_of(scene, 64))


def test_windows_that_are_none(tmp_path: Path) -> None:
    formats.raster()(tmp_path / "a.tif")
    with open_scene(tmp_path / "a.tif") as scene:
        for side, margin in ((0, 0), (8, -1)):
            with pytest.raises(ValueError, match=r"^side is .* must be at least 1 and 0"):
                next(windows_of(scene, side, margin))
    formats.pillow("PNG")(tmp_path / "a.png")
    with open_scene(tmp_path / "a.png") as scene, pytest.raises(ValueError, match="opened in grey"):
        scene.read(grey=False)
