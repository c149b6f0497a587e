"""``python tests/formats.py``: one file of every kind, whether it is read, and what is said of it.

Writes ``benchmarks/results/formats.csv``, which ``docs/formats.md`` shows; ``tests/test_formats.py`` makes
every file again and checks its pixels.
"""

from __future__ import annotations

import io
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "formats.csv"

HEIGHT, WIDTH = 96, 128


def picture() -> np.ndarray:
    """A smooth picture that lossy compression keeps: (96, 128, 3) uint8, its darkest level 20."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 236, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    return np.clip(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 20, 255)


RGB = picture()
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
BANDS = RGB.transpose(2, 0, 1)

SAME, CLOSE, ALIKE = "same", "close", "alike"
"""How the pixels are as the picture: each of them; but for a few levels; but for gain and offset."""

MASKED = slice(0, 24), slice(0, 40)
"""The part of the picture that is not valid in files with a mask."""


class Kind(NamedTuple):
    """A kind of file."""

    container: str
    what: str
    make: Callable[[Path], None]
    expected: str = SAME
    """How the pixels are, or "" where it is refused."""
    said: str = ""
    """A part of the note, or of the reason."""
    grey: bool = False
    """Whether the picture is stored in grey."""
    masked: bool = False
    """Whether :data:`MASKED` is marked as not valid."""
    shown: np.ndarray | None = None
    """The picture, where fewer colours than its own are stored: (96, 128, 3) uint8."""


def pillow(format: str, mode: str = "RGB", **options: Any) -> Callable[[Path], None]:
    """A file that Pillow writes."""

    def make(path: Path) -> None:
        from PIL import Image

        image = Image.fromarray(GREY) if mode == "L" else Image.fromarray(RGB).convert(mode)
        image.save(path, format, **options)

    return make


def reduced(mode: str) -> np.ndarray:
    """The picture as Pillow has it in a mode of fewer colours."""
    from PIL import Image

    return np.asarray(Image.fromarray(RGB).convert(mode).convert("RGB"))


def transparent(format: str, mode: str = "RGBA", **options: Any) -> Callable[[Path], None]:
    """A file with a transparent part, by Pillow."""

    def make(path: Path) -> None:
        from PIL import Image

        image = Image.fromarray(GREY if mode == "LA" else RGB)
        alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
        alpha[MASKED] = 0
        image.putalpha(Image.fromarray(alpha))
        image.convert(mode).save(path, format, **options)

    return make


def animated(format: str) -> Callable[[Path], None]:
    """Two frames."""

    def make(path: Path) -> None:
        from PIL import Image

        one, other = Image.fromarray(RGB), Image.fromarray(255 - RGB)
        one.save(path, format, save_all=True, append_images=[other])

    return make


def cut(make: Callable[[Path], None], share: float = 0.6) -> Callable[[Path], None]:
    """A file of which the end is missing."""

    def make_cut(path: Path) -> None:
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return make_cut


def raster(
    array: np.ndarray = BANDS,
    driver: str = "GTiff",
    *,
    colours: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    palette: dict[int, tuple[int, int, int, int]] | None = None,
    mask: bool = False,
    overviews: bool = False,
    environment: dict[str, Any] | None = None,
    **profile: Any,
) -> Callable[[Path], None]:
    """A file that rasterio writes."""

    def make(path: Path) -> None:
        import rasterio
        from rasterio.enums import ColorInterp

        with warnings.catch_warnings(), rasterio.Env(**(environment or {})):
            warnings.simplefilter("ignore")
            count, height, width = array.shape
            shape = {"count": count, "height": height, "width": width, "dtype": array.dtype}
            with rasterio.open(path, "w", driver=driver, **shape, **profile) as file:
                if colours:
                    file.colorinterp = [ColorInterp[colour] for colour in colours]
                file.write(array)
                for number, name in enumerate(names, 1):
                    file.set_band_description(number, name)
                if palette:
                    file.write_colormap(1, palette)
                if mask:
                    valid = np.full((height, width), 255, np.uint8)
                    valid[MASKED] = 0
                    file.write_mask(valid)
            if overviews:
                with rasterio.open(path, "r+") as file:
                    file.build_overviews([2, 4])

    return make


def tiff(array: np.ndarray, **options: Any) -> Callable[[Path], None]:
    """A TIFF that tifffile writes."""

    def make(path: Path) -> None:
        import tifffile

        tifffile.imwrite(path, array, **options)

    return make


def pages(path: Path) -> None:
    """A TIFF of two pages."""
    import tifffile

    with tifffile.TiffWriter(path) as file:
        file.write(RGB)
        file.write(RGB)


def written(data: bytes) -> Callable[[Path], None]:
    """A file of these bytes."""
    return lambda path: (path.write_bytes(data), None)[1]


def deep(extension: str, array: np.ndarray) -> Callable[[Path], None]:
    """A file that OpenCV writes."""
    return written(cv2.imencode(extension, array if array.ndim == 2 else array[:, :, ::-1])[1].tobytes())


def with_hole(array: np.ndarray, value: float) -> np.ndarray:
    """An array (bands, height, width) with a value in the place of what is not valid."""
    array = array.copy()
    array[:, MASKED[0], MASKED[1]] = value
    return array


def stacked(n_bands: int, at: tuple[int, int, int], dtype: str = "uint16", factor: int = 40) -> np.ndarray:
    """Bands of noise with those of the picture, times a factor, at three places counted from 1."""
    array = np.random.default_rng(1).integers(0, 9000, (n_bands, HEIGHT, WIDTH)).astype(dtype)
    for band, place in zip(BANDS, at, strict=True):
        array[place - 1] = band.astype(dtype) * factor
    return array


def exif() -> bytes:
    """An EXIF block that asks to turn the picture by a quarter."""
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = 6
    return tags.tobytes()


def lab() -> np.ndarray:
    """The picture in CIELAB as TIFF has it: lightness as a share of 255, the others signed."""
    values = cv2.cvtColor((RGB / 255).astype(np.float32), cv2.COLOR_RGB2LAB)
    return np.dstack([values[:, :, 0] * 2.55, values[:, :, 1:] % 256]).astype(np.uint8)


def jpeg_of(height: int, width: int) -> Callable[[Path], None]:
    """A JPEG whose header claims a size."""
    data = cv2.imencode(".jpg", RGB)[1].tobytes()
    at = data.index(b"\xff\xc0")
    return written(data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :])


def dented_tiff(path: Path) -> None:
    """A JPEG-compressed TIFF with damage in the middle."""
    raster(compress="jpeg", photometric="ycbcr", tiled=True, blockxsize=64, blockysize=64)(path)
    data = bytearray(path.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)


DEEP = (BANDS.astype(np.uint16) * 100).astype(np.uint16)
SENTINEL = tuple(f"B{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, "8A", 9, 10, 11, 12))
PALETTE_OF_GREY = {level: (level, level, level, 255) for level in range(256)}
INVERTED = {level: (255 - level, 255 - level, 255 - level, 255) for level in range(256)}
GREY_BAND = GREY[None]
BITS = reduced("1")[None, :, :, 0] // 255
GEO = {"crs": "EPSG:32631"}

KINDS: dict[str, Kind] = {
    "baseline.jpg": Kind("JPEG", "baseline, 4:2:0", pillow("JPEG", quality=95), CLOSE),
    "progressive.jpg": Kind(
        "JPEG", "progressive, 4:4:4", pillow("JPEG", progressive=True, subsampling=0), CLOSE
    ),
    "grey.jpg": Kind("JPEG", "grey", pillow("JPEG", "L", quality=95), CLOSE, "grey", grey=True),
    "cmyk.jpg": Kind("JPEG", "CMYK", pillow("JPEG", "CMYK", quality=95), CLOSE, "CMYK"),
    "turned.jpg": Kind(
        "JPEG", "EXIF orientation, not applied", pillow("JPEG", quality=95, exif=exif()), CLOSE
    ),
    "cut.jpg": Kind("JPEG", "truncated", cut(pillow("JPEG")), "", "damaged JPEG"),
    "huge.jpg": Kind("JPEG", "over 8192 x 8192 px", jpeg_of(20_000, 20_000), "", "at most 67108864 pixels"),
    "rgb.png": Kind("PNG", "8 bits, RGB", pillow("PNG")),
    "rgba.png": Kind("PNG", "8 bits, RGBA", transparent("PNG"), SAME, "alpha", masked=True),
    "grey.png": Kind("PNG", "8 bits, grey", pillow("PNG", "L"), SAME, "grey", grey=True),
    "grey_alpha.png": Kind(
        "PNG", "8 bits, grey and alpha", transparent("PNG", "LA"), SAME, "alpha", grey=True, masked=True
    ),
    "palette.png": Kind("PNG", "palette", pillow("PNG", "P"), SAME, "palette", shown=reduced("P")),
    "bit.png": Kind("PNG", "1 bit", pillow("PNG", "1"), SAME, "black and white", shown=reduced("1")),
    "deep.png": Kind("PNG", "16 bits, RGB", deep(".png", RGB.astype(np.uint16) * 200), ALIKE, "uint16"),
    "deep_grey.png": Kind(
        "PNG", "16 bits, grey", deep(".png", GREY.astype(np.uint16) * 200), ALIKE, "uint16", grey=True
    ),
    "animated.png": Kind("PNG", "two frames", animated("PNG"), "", "2 frames"),
    "cut.png": Kind("PNG", "truncated", cut(pillow("PNG")), "", "does not decode"),
    "lossless.webp": Kind("WebP", "lossless", pillow("WEBP", lossless=True)),
    "lossy.webp": Kind("WebP", "lossy", pillow("WEBP", quality=90), CLOSE),
    "alpha.webp": Kind(
        "WebP", "RGBA", transparent("WEBP", lossless=True, exact=True), SAME, "alpha", masked=True
    ),
    "animated.webp": Kind("WebP", "two frames", animated("WEBP"), "", "2 frames"),
    "rgb.bmp": Kind("BMP", "24 bits", pillow("BMP")),
    "palette.bmp": Kind("BMP", "palette", pillow("BMP", "P"), SAME, "palette", shown=reduced("P")),
    "bit.bmp": Kind("BMP", "1 bit", pillow("BMP", "1"), SAME, "black and white", shown=reduced("1")),
    "one.gif": Kind("GIF", "one frame", pillow("GIF", "P"), SAME, "palette", shown=reduced("P")),
    "animated.gif": Kind("GIF", "two frames", animated("GIF"), "", "2 frames"),
    "rgb.avif": Kind("AVIF", "8 bits", pillow("AVIF", quality=90), CLOSE),
    "strips.tif": Kind("TIFF", "8 bits, strips", raster()),
    "tiles.tif": Kind("TIFF", "8 bits, tiles", raster(tiled=True, blockxsize=64, blockysize=64)),
    "planes.tif": Kind("TIFF", "8 bits, a plane a band", raster(interleave="band")),
    "big.tif": Kind("BigTIFF", "8 bits", raster(BIGTIFF="YES")),
    "big_endian.tif": Kind("TIFF", "8 bits, big-endian", raster(ENDIANNESS="BIG")),
    "lzw.tif": Kind("TIFF", "LZW, horizontal predictor", raster(compress="lzw", predictor=2)),
    "deflate.tif": Kind("TIFF", "Deflate", raster(compress="deflate")),
    "packbits.tif": Kind("TIFF", "PackBits", raster(compress="packbits")),
    "zstd.tif": Kind("TIFF", "Zstandard", raster(compress="zstd")),
    "lzma.tif": Kind("TIFF", "LZMA", raster(compress="lzma")),
    "jpeg.tif": Kind(
        "TIFF", "JPEG, YCbCr", raster(compress="jpeg", photometric="ycbcr", JPEG_QUALITY=95), CLOSE
    ),
    "webp.tif": Kind("TIFF", "WebP", raster(compress="webp", WEBP_LOSSLESS="YES")),
    "lerc.tif": Kind("TIFF", "LERC", raster(compress="lerc")),
    "lerc_float.tif": Kind(
        "TIFF",
        "LERC and Zstandard, 32 bits float",
        raster(BANDS.astype(np.float32), compress="lerc_zstd"),
        ALIKE,
        "float32",
    ),
    "fax.tif": Kind(
        "TIFF",
        "1 bit, CCITT group 4",
        raster(BITS, compress="ccittfax4", nbits=1),
        SAME,
        "black and white",
        shown=reduced("1"),
    ),
    "nibbles.tif": Kind("TIFF", "4 bits, grey", raster(GREY_BAND // 16, nbits=4), ALIKE, "4 bits", grey=True),
    "min_is_black.tif": Kind(
        "TIFF",
        "8 bits, MINISBLACK, one band",
        raster(GREY_BAND, photometric="minisblack"),
        SAME,
        "grey",
        grey=True,
    ),
    "min_is_black_3.tif": Kind(
        "TIFF", "8 bits, MINISBLACK, three bands", raster(photometric="minisblack"), SAME
    ),
    "min_is_white.tif": Kind(
        "TIFF", "8 bits, MINISWHITE", tiff(255 - GREY, photometric="miniswhite"), SAME, "grey", grey=True
    ),
    "palette.tif": Kind(
        "TIFF", "palette", raster(255 - GREY_BAND, palette=INVERTED), SAME, "palette", grey=True
    ),
    "cmyk.tif": Kind("TIFF", "CMYK", pillow("TIFF", "CMYK"), CLOSE, "CMYK"),
    "lab.tif": Kind("TIFF", "CIELAB", tiff(lab(), photometric="cielab"), ALIKE, "CIELAB"),
    "ycbcr.tif": Kind("TIFF", "YCbCr, not compressed", pillow("TIFF", "YCbCr"), CLOSE),
    "deep.tif": Kind("TIFF", "16 bits, RGB", raster(DEEP, photometric="rgb"), ALIKE, "uint16"),
    "deep_grey.tif": Kind(
        "TIFF", "16 bits, one band", raster(GREY_BAND.astype(np.uint16) * 100), ALIKE, "uint16", grey=True
    ),
    "eleven.tif": Kind(
        "TIFF",
        "11 bits, one band",
        raster(GREY_BAND.astype(np.uint16) * 8, nbits=11),
        ALIKE,
        "11 bits",
        grey=True,
    ),
    "twelve.tif": Kind(
        "TIFF", "12 bits, RGB", raster(BANDS.astype(np.uint16) * 16, nbits=12), ALIKE, "12 bits"
    ),
    "signed.tif": Kind("TIFF", "16 bits signed", raster((BANDS.astype(np.int16) - 128) * 50), ALIKE, "int16"),
    "signed_8.tif": Kind(
        "TIFF", "8 bits signed", raster((BANDS.astype(np.int16) - 128).astype(np.int8)), ALIKE, "int8"
    ),
    "long.tif": Kind("TIFF", "32 bits", raster(BANDS.astype(np.uint32) * 10_000_000), ALIKE, "uint32"),
    "float.tif": Kind("TIFF", "32 bits float", raster(BANDS.astype(np.float32) / 255), ALIKE, "float32"),
    "half.tif": Kind(
        "TIFF", "16 bits float", raster(BANDS.astype(np.float32) / 255, nbits=16), ALIKE, "float32"
    ),
    "double.tif": Kind("TIFF", "64 bits float", raster(BANDS.astype(np.float64) * 1e9), ALIKE, "float64"),
    "complex.tif": Kind(
        "TIFF",
        "complex, its magnitude",
        raster(GREY_BAND.astype(np.complex64) * np.complex64(3 + 4j)),
        ALIKE,
        "complex64",
        grey=True,
    ),
    "two_bands.tif": Kind(
        "TIFF",
        "two bands, the first",
        raster(np.stack([GREY, GREY[::-1]]), photometric="minisblack"),
        SAME,
        "the first of 2 bands",
        grey=True,
    ),
    "rgba.tif": Kind(
        "TIFF",
        "RGBA",
        raster(
            np.concatenate([BANDS, with_hole(np.full_like(GREY_BAND, 255), 0)]),
            photometric="rgb",
            alpha="yes",
        ),
        SAME,
        "alpha",
        masked=True,
    ),
    "four.tif": Kind(
        "TIFF",
        "4 bands, by colour",
        raster(
            stacked(4, (3, 2, 1)), colours=("blue", "green", "red", "undefined"), photometric="minisblack"
        ),
        ALIKE,
        "bands 3 2 1 of 4, red, green and blue by colour",
    ),
    "four_8.tif": Kind(
        "TIFF",
        "4 bands of 8 bits, the first three",
        raster(stacked(4, (1, 2, 3), "uint8", 1), photometric="minisblack"),
        SAME,
        "the first three of 4 bands",
    ),
    "eight.tif": Kind(
        "TIFF",
        "8 bands, the first three",
        raster(stacked(8, (1, 2, 3)), photometric="minisblack"),
        ALIKE,
        "the first three of 8 bands",
    ),
    "thirteen.tif": Kind(
        "TIFF",
        "13 bands, by description",
        raster(stacked(13, (4, 3, 2)), photometric="minisblack", names=SENTINEL),
        ALIKE,
        "bands 4 3 2 of 13, red, green and blue by description",
    ),
    "no_data.tif": Kind("TIFF", "no-data value", raster(with_hole(BANDS, 0), nodata=0), SAME, masked=True),
    "no_data_float.tif": Kind(
        "TIFF",
        "NaN, not declared",
        raster(with_hole(BANDS.astype(np.float32), np.nan)),
        ALIKE,
        "float32",
        masked=True,
    ),
    "mask.tif": Kind(
        "TIFF", "internal mask", raster(mask=True, environment={"GDAL_TIFF_INTERNAL_MASK": True}), masked=True
    ),
    "mask_beside.tif": Kind(
        "TIFF",
        "mask beside it",
        raster(mask=True, environment={"GDAL_TIFF_INTERNAL_MASK": False}),
        masked=True,
    ),
    "overviews.tif": Kind("TIFF", "internal overviews", raster(overviews=True)),
    "cloud.tif": Kind("Cloud-optimised GeoTIFF", "8 bits", raster(driver="COG", compress="deflate")),
    "georeferenced.tif": Kind("GeoTIFF", "8 bits", raster(**GEO)),
    "pages.tif": Kind("TIFF", "two pages", pages, "", "2 frames"),
    "cut.tif": Kind("TIFF", "truncated", cut(raster()), "", "does not decode"),
    "cut_deflate.tif": Kind(
        "TIFF", "truncated, Deflate", cut(raster(compress="deflate")), "", "does not decode"
    ),
    "dented.tif": Kind("TIFF", "damaged, JPEG", dented_tiff, "", "does not decode"),
    "rgb.jp2": Kind(
        "JPEG 2000", "8 bits, reversible", raster(driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    ),
    "lossy.jp2": Kind("JPEG 2000", "8 bits, lossy", raster(driver="JP2OpenJPEG", QUALITY=30), CLOSE),
    "deep.jp2": Kind(
        "JPEG 2000",
        "16 bits",
        raster(DEEP, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES"),
        ALIKE,
        "uint16",
    ),
    "cut.jp2": Kind(
        "JPEG 2000", "truncated", cut(raster(driver="JP2OpenJPEG", QUALITY=100)), "", "does not decode"
    ),
    "rgb.ntf": Kind("NITF", "8 bits, RGB", raster(driver="NITF")),
    "deep.ntf": Kind(
        "NITF",
        "16 bits, one band",
        raster(GREY_BAND.astype(np.uint16) * 100, driver="NITF"),
        ALIKE,
        "uint16",
        grey=True,
    ),
    "rgb.img": Kind("ERDAS Imagine", "8 bits, RGB", raster(driver="HFA")),
    "rgb.dat": Kind("ENVI", "8 bits, RGB, header beside it", raster(driver="ENVI")),
    "rgb.pix": Kind("PCIDSK", "8 bits, RGB", raster(driver="PCIDSK")),
    "rgb.ppm": Kind("PNM", "8 bits, RGB", pillow("PPM")),
    "deep.pgm": Kind(
        "PNM", "16 bits, grey", deep(".pgm", GREY.astype(np.uint16) * 200), ALIKE, "uint16", grey=True
    ),
    "rgb.sgi": Kind("SGI", "8 bits, RGB", pillow("SGI")),
    "photo.heic": Kind("HEIF", "any", written(b"\0\0\0\x18ftypheic" + bytes(80)), "", "HEIF; convert"),
    "photo.jxl": Kind("JPEG XL", "any", written(b"\xff\x0a" + bytes(80)), "", "JPEG XL; convert"),
    "cube.h5": Kind("HDF5", "any", written(b"\x89HDF\r\n\x1a\n" + bytes(80)), "", "HDF5; save its images"),
    "list.vrt": Kind("VRT", "any", written(b"<VRTDataset rasterXSize='9'/>"), "", "names other files"),
    "drawing.psd": Kind("Photoshop", "any", written(b"8BPS" + bytes(80)), "", "not an image of a known kind"),
    "images.zip": Kind("ZIP", "any", written(b"PK\x03\x04" + bytes(80)), "", "unpack it"),
    "text.jpg": Kind("text", "any", written(b"no image"), "", "not an image of a known kind"),
    "empty.tif": Kind("none", "an empty file", written(b""), "", "empty file"),
}
"""Every kind, by the name of its file."""


def outcome(path: Path) -> tuple[str, str]:
    """Whether a file is read, and its note or the reason why it is not."""
    from dupnet.images.reading import UnreadableImage, load_image

    try:
        return "read", load_image(path, grey=False).note
    except UnreadableImage as error:
        return "refused", error.reason


def table(folder: Path) -> pd.DataFrame:
    """A row a kind: ``container, what, outcome, note``."""
    rows = []
    for name, kind in KINDS.items():
        kind.make(folder / name)
        rows.append((name, kind.container, kind.what, *outcome(folder / name)))
    return pd.DataFrame(rows, columns=["file", "container", "what", "outcome", "note"])


def main() -> int:
    """Write the table."""
    with TemporaryDirectory(prefix="dupnet-") as folder:
        found = table(Path(folder))
    buffer = io.StringIO()
    found.to_csv(buffer, index=False, lineterminator="\n")
    RESULT.write_text(buffer.getvalue(), encoding="utf-8")
    print(found.groupby("outcome").size().to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
