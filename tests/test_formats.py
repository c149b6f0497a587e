"""Kinds of files: each is made, and read with the pixels that it should have, or refused with its reason."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import formats
import numpy as np
import pandas as pd
import pytest
from formats import ALIKE, CLOSE, GREY, KINDS, MASKED, RGB, SAME

from dupnet.images.reading import UnreadableImage, decode, load_image

EXTERNAL = ("mask_beside.tif", "rgb.dat")
"""Files that are more than their own bytes."""


@pytest.mark.parametrize("name", KINDS)
def test_a_kind(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kind = KINDS[name]
    kind.make(tmp_path / name)
    capfd.readouterr()  # what writing it said
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for grey in (False, True):
            if not kind.expected:
                with pytest.raises(UnreadableImage) as caught:
                    load_image(tmp_path / name, grey=grey)
                assert kind.said in caught.value.reason
                with pytest.raises(UnreadableImage) as copy:
                    decode((tmp_path / name).read_bytes(), grey=grey)
                assert copy.value.reason == caught.value.reason
                assert str(tmp_path) not in caught.value.reason
                assert "\n" not in caught.value.reason
                continue
            image = load_image(tmp_path / name, grey=grey)
            assert kind.said in image.note
            assert image.pixels.dtype == np.uint8
            assert image.pixels.flags.writeable
            check_pixels(image.pixels, image.valid, kind)
            if name not in EXTERNAL:
                same = decode((tmp_path / name).read_bytes(), grey=grey)
                np.testing.assert_array_equal(same.pixels, image.pixels)
                assert same.note == image.note
    assert capfd.readouterr() == ("", "")


def check_pixels(pixels: np.ndarray, valid: np.ndarray | None, kind: formats.Kind) -> None:
    wanted = np.repeat(GREY[:, :, None], 3, 2) if kind.grey else RGB if kind.shown is None else kind.shown
    if pixels.ndim == 2:
        wanted = cv2.cvtColor(wanted, cv2.COLOR_RGB2GRAY)
    assert pixels.shape == wanted.shape
    inside = np.ones(pixels.shape[:2], bool)
    if kind.masked:
        inside[MASKED] = False
        assert valid is not None
        assert not valid[~inside].any()
        # The edge of a hole of one level is not valid either, for a few pixels.
        assert valid[cv2.erode(inside.astype(np.uint8), np.ones((21, 21), np.uint8), borderValue=1) > 0].all()
    else:
        assert valid is None
    got, expected = pixels[inside].astype(float), wanted[inside].astype(float)
    if kind.expected == SAME:
        np.testing.assert_array_equal(got, expected)
    elif kind.expected == CLOSE:
        assert np.abs(got - expected).mean() < 6
    else:
        assert kind.expected == ALIKE
        assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.95


def test_the_table_of_the_documents_is_what_comes_out(tmp_path: Path) -> None:
    kept = pd.read_csv(formats.RESULT, keep_default_na=False)
    pd.testing.assert_frame_equal(formats.table(tmp_path).astype(object), kept.astype(object))
    assert len(kept) >= 45


def test_colours_by_name_and_by_number_agree(tmp_path: Path) -> None:
    """The picture is in bands 4, 3 and 2, which may be said, found by colour or found by description."""
    from dupnet.images.stretch import Rendering

    array = formats.stacked(6, (4, 3, 2), "uint8", 1)
    formats.raster(array, photometric="minisblack")(tmp_path / "a.tif")
    asked = Rendering.checked((4, 3, 2))
    image = load_image(tmp_path / "a.tif", grey=False, rendering=asked)
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.note == "bands 4 3 2 of 6 taken as red, green and blue"
    grey = load_image(tmp_path / "a.tif", grey=True, rendering=asked).pixels
    np.testing.assert_array_equal(grey, cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))
    with pytest.raises(UnreadableImage, match=r"a\.tif: 6 bands; band 7 is asked for"):
        load_image(tmp_path / "a.tif", grey=True, rendering=Rendering.checked((4, 3, 7)))
    # Files of three bands or fewer are taken as they are.
    formats.raster()(tmp_path / "b.tif")
    np.testing.assert_array_equal(load_image(tmp_path / "b.tif", grey=False, rendering=asked).pixels, RGB)


def out_of_order(path: Path) -> None:
    """A sound TIFF whose directory is not sorted, of which libtiff warns."""
    formats.raster()(path)
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    first, second = (slice(at + 2 + 12 * entry, at + 14 + 12 * entry) for entry in (0, 1))
    data[first], data[second] = data[second], data[first]
    path.write_bytes(data)


def no_animation(path: Path) -> None:
    """A sound PNG that claims to be animated with no frame, of which Pillow warns."""
    formats.pillow("PNG")(path)
    data = path.read_bytes()
    chunk = b"acTL" + bytes(8)
    end_of_header = 33
    control = struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:end_of_header] + control + data[end_of_header:])


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.tif", out_of_order, "GDAL says: .*not sorted"),
        ("a.png", no_animation, "Invalid APNG"),
    ],
)
def test_what_a_library_says_of_a_file_is_in_its_note(
    name: str, make: Callable[[Path], None], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / name)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = load_image(tmp_path / name, grey=False)
        again = load_image(tmp_path / name, grey=False)
    np.testing.assert_array_equal(image.pixels, RGB)
    assert re.search(said, image.note)
    assert str(tmp_path) not in image.note
    assert again.note == image.note
    assert capfd.readouterr() == ("", "")


def test_what_is_said_belongs_to_the_file_that_is_read(tmp_path: Path) -> None:
    """Of files read by several threads, each has its own notes; and other users of rasterio hear theirs."""
    out_of_order(tmp_path / "odd.tif")
    formats.raster()(tmp_path / "even.tif")
    names = ["odd.tif", "even.tif"] * 40
    with ThreadPoolExecutor(4) as pool:
        notes = list(pool.map(lambda name: load_image(tmp_path / name, grey=True).note, names))
    assert all(("sorted" in note) == (name == "odd.tif") for name, note in zip(names, notes, strict=True))


def test_others_still_hear_what_gdal_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import rasterio

    out_of_order(tmp_path / "odd.tif")
    load_image(tmp_path / "odd.tif", grey=True)
    assert not caplog.records
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rasterio.open(tmp_path / "odd.tif").close()
    assert any("not sorted" in record.getMessage() for record in caplog.records)


def test_real_files() -> None:
    """GeoTIFFs of other projects: the sound ones are read, the damaged one is refused."""
    folder = Path(__file__).parents[2] / "shared" / "geotiff"
    if not folder.is_dir():
        pytest.skip("there are no real GeoTIFFs beside the repository")
    outcomes = {path.name: formats.outcome(path)[0] for path in folder.glob("*.tif")}
    assert {name for name, outcome in outcomes.items() if outcome == "refused"} == {"corrupt.tif"}
    assert len(outcomes) > 15
