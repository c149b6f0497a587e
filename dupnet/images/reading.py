"""One image read as pixels, from a file of any kind that is known.

A file counts by its first bytes, not by its name's ending. JPEG goes through libjpeg-turbo, pictures of 8
bits (PNG, WebP, BMP, GIF, AVIF) through Pillow, and everything else (TIFF, JPEG 2000, NITF, deep PNG, ...)
through rasterio. The size is taken from the header and checked before any pixel is decoded, so that a small
file cannot ask for all the memory. EXIF orientation is ignored: places are defined on the pixels as stored.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from dupnet.files.atomic import is_utf8
from dupnet.images.collars import collar_mask
from dupnet.images.image import MAX_FILE_BYTES, MAX_PIXELS, Image, Pixels, UnreadableImage, check_size
from dupnet.images.jpeg import decode_jpeg
from dupnet.images.listing import Folders
from dupnet.images.pictures import as_grey, decode_picture
from dupnet.images.stretch import Rendering

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "Kind",
    "Sources",
    "Store",
    "UnreadableImage",
    "decode",
    "kind_of",
    "kind_of_file",
    "load",
    "load_image",
    "load_named",
    "none_usable",
    "read_grey",
    "read_image",
    "read_start",
]


@runtime_checkable
class Store(Protocol):
    """A folder that is no path of this machine, such as a :class:`dupnet.files.storage.Folder`."""

    def read(self, name: str) -> bytes:
        """The bytes of a file; ``FileNotFoundError`` if there is none."""
        ...


Sources = Folders | Store | Sequence[str | os.PathLike[str] | Store]
"""Where images are looked up by name, in order."""

START = 64
"""Bytes that tell the kind of a file."""

_PNG = b"\x89PNG\r\n\x1a\n"

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Bytes of the headers of the versions of BMP that are read, by which it is told from any text that begins
with BM."""

_RASTERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"NITF": "NITF",
    b"NSIF": "NITF",
    b"EHFA_HEADER_TAG": "HFA",
    b"PCIDSK  ": "PCIDSK",
    b"P4": "PNM",
    b"P5": "PNM",
    b"P6": "PNM",
    b"\x01\xda": "SGI",
}
"""First bytes of rasters, and the driver of GDAL that reads them."""

_KNOWN_OTHERS = {
    b"8BPS": "a Photoshop file",
    b"PK\x03\x04": "an archive; unpack it",
    b"\x1f\x8b": "an archive; unpack it",
    b"Rar!": "an archive; unpack it",
    b"7z\xbc\xaf": "an archive; unpack it",
    b"\x89HDF": "HDF5; save its images as TIFF",
    b"CDF": "netCDF; save its images as TIFF",
    b"%PDF": "a PDF",
    b"\0\0\0\x0cJXL ": "JPEG XL; convert it to PNG or TIFF",
    b"\xff\x0a": "JPEG XL; convert it to PNG or TIFF",
    b"<VRTDataset": "a VRT, which names other files; save it as a TIFF",
}
"""First bytes of files that are not read, and what they are."""


class Kind(NamedTuple):
    """What reads a file."""

    reader: str
    """jpeg, picture or raster"""
    driver: str = ""
    """Of GDAL, for a raster."""


def kind_of(start: bytes) -> Kind:
    """What reads a file that begins with these bytes, :data:`START` of them or all.

    Raises
    ------
    UnreadableImage
        If it is empty, or no image that is read; it names the image ``image``.
    """
    if not start:
        raise UnreadableImage("image", "empty file")
    if start.startswith(b"\xff\xd8\xff"):
        return Kind("jpeg")
    if start.startswith(_PNG):
        deep = len(start) > 24 and start[24] > 8
        return Kind("raster", "PNG") if deep else Kind("picture")
    if (start.startswith(b"RIFF") and start[8:12] == b"WEBP") or start.startswith((b"GIF87a", b"GIF89a")):
        return Kind("picture")
    if start[4:8] == b"ftyp":
        if start[8:12] in (b"avif", b"avis"):
            return Kind("picture")
        if start[8:12] in (b"heic", b"heix", b"mif1", b"hevc"):
            raise UnreadableImage("image", "not an image of a known kind: HEIF; convert it to PNG or TIFF")
    n_header = int.from_bytes(start[14:18], "little")
    if start.startswith(b"BM") and len(start) >= 30 and n_header in _BMP_HEADERS:
        return Kind("picture")
    for first, driver in _RASTERS.items():
        if start.startswith(first) and (driver != "PNM" or start[2:3].isspace()):
            return Kind("raster", driver)
    for first, what in _KNOWN_OTHERS.items():
        if start.startswith(first):
            raise UnreadableImage("image", f"not an image of a known kind: {what}")
    raise UnreadableImage("image", "not an image of a known kind")


def kind_of_file(path: str | os.PathLike[str]) -> Kind:
    """What reads a file: by its first bytes, or by the header of ENVI that lies beside raw samples.

    Raises
    ------
    UnreadableImage
        If it cannot be opened, or is no image that is read.
    """
    start = read_start(path)
    try:
        return kind_of(start)
    except UnreadableImage as error:
        for header in (Path(path).with_suffix(".hdr"), Path(f"{os.fspath(path)}.hdr")):
            if start and header.is_file() and read_start(header).startswith(b"ENVI"):
                return Kind("raster", "ENVI")
        raise UnreadableImage(path, error.reason) from None


def none_usable(reasons: Mapping[str, str]) -> ValueError:
    """The error where every file is left out, from the reason of each."""
    some = "; ".join(f"{image!r}: {reason}" for image, reason in list(reasons.items())[:3])
    remedy = ""
    if any(reason.startswith("wrong size") for reason in reasons.values()):
        remedy = "; pass the tile_size (--tile-size) at which this collection was cut"
    more = " ..." if len(reasons) > 3 else ""
    return ValueError(f"None of {len(reasons)} files can be used ({some}{more}){remedy}.")


def load_named(
    image: str, sources: Sources, *, grey: bool, rendering: Rendering = Rendering()
) -> tuple[Pixels, str]:
    """As :func:`load`, of an image by its name: from the first of one or several folders that has it.

    Raises
    ------
    FileNotFoundError
        If none has it (any more).
    UnreadableImage
        As :func:`load`.
    """
    several = [sources] if isinstance(sources, str | os.PathLike | Store) else list(sources)
    for source in several:
        if not isinstance(source, Store):
            if Path(source, image).exists():
                return load(Path(source, image), grey=grey, rendering=rendering)
            continue
        try:
            data = source.read(image)
        except FileNotFoundError:
            continue
        try:
            found = decode(data, grey=grey, rendering=rendering)
        except UnreadableImage as error:
            raise UnreadableImage(image, error.reason) from None
        return found.pixels, found.note
    raise FileNotFoundError(f"{image!r} is in none of the {len(several)} folders of the collection.")


def read_image(path: str | os.PathLike[str], *, tile_size: int | None = None) -> Pixels:
    """Pixels of an image as stored: (height, width, 3) uint8 RGB.

    What is not plain RGB is converted, with a warning. ``tile_size`` asks for a whole number of tiles of that
    many pixels.

    Raises
    ------
    UnreadableImage
        If the file is no image, is damaged, too large, or of a size that ``tile_size`` forbids.
    """
    return _warned(path, *load(path, grey=False, tile_size=tile_size))


def read_grey(path: str | os.PathLike[str], *, tile_size: int | None = None) -> Pixels:
    """Like :func:`read_image`, but grey: (height, width) uint8, ITU-R BT.601 luma; of a JPEG its own luma."""
    return _warned(path, *load(path, grey=True, tile_size=tile_size))


def load(
    path: str | os.PathLike[str],
    *,
    grey: bool,
    tile_size: int | None = None,
    rendering: Rendering = Rendering(),
) -> tuple[Pixels, str]:
    """Pixels as of :func:`read_image` or :func:`read_grey`, and what was converted ("" for plain RGB).

    Raises
    ------
    UnreadableImage
        As :func:`read_image`.
    """
    image = _load(path, grey, tile_size, rendering)
    return image.pixels, image.note


def load_image(
    path: str | os.PathLike[str],
    *,
    grey: bool,
    tile_size: int | None = None,
    rendering: Rendering = Rendering(),
) -> Image:
    """As :func:`load`, with what of the image is valid: no no-data values, nothing transparent, no collar.

    Raises
    ------
    UnreadableImage
        As :func:`read_image`.
    """
    return _without_collars(_load(path, grey, tile_size, rendering))


def decode(
    data: bytes, *, grey: bool, tile_size: int | None = None, rendering: Rendering = Rendering()
) -> Image:
    """Decode the bytes of one file; see :func:`load_image`, without looking for collars.

    Raises
    ------
    UnreadableImage
        As :func:`load`; it names the image ``image``.
    """
    kind = kind_of(data[:START])
    if kind.reader == "jpeg":
        return decode_jpeg(data, grey=grey, tile_size=tile_size)
    if kind.reader == "picture":
        _check_png(data, tile_size)
        return decode_picture(data, grey=grey, tile_size=tile_size)
    from dupnet.images.raster import read_raster

    return read_raster(data, kind.driver, grey=grey, tile_size=tile_size, rendering=rendering)


def read_start(path: str | os.PathLike[str]) -> bytes:
    """The first :data:`START` bytes of a file.

    Raises
    ------
    UnreadableImage
        If it is no regular file, or cannot be opened.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise UnreadableImage(path, "not a regular file")
        with open(path, "rb") as file:
            return file.read(START)
    except FileNotFoundError:
        raise UnreadableImage(path, "vanished before it was read, or a link that leads nowhere") from None
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened: {error.strerror or error}") from None


def _load(path: str | os.PathLike[str], grey: bool, tile_size: int | None, rendering: Rendering) -> Image:
    kind = kind_of_file(path)
    try:
        if kind.reader == "raster" and is_utf8(os.fspath(Path(path).absolute())):
            from dupnet.images.raster import read_raster

            return read_raster(path, kind.driver, grey=grey, tile_size=tile_size, rendering=rendering)
        return decode(_read_bytes(path), grey=grey, tile_size=tile_size, rendering=rendering)
    except UnreadableImage as error:
        raise type(error)(path, error.reason) from None
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened: {error.strerror or error}") from None


def _without_collars(image: Image) -> Image:
    grey = image.pixels if image.pixels.ndim == 2 else as_grey(image.pixels)
    outside = collar_mask(grey)
    if outside is None:
        return image
    return image._replace(valid=outside if image.valid is None else outside & image.valid)


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    n_bytes = os.stat(path).st_size
    if n_bytes > MAX_FILE_BYTES:
        raise UnreadableImage(path, f"{n_bytes} bytes; at most {MAX_FILE_BYTES} are read")
    with open(path, "rb") as file:
        return file.read()


def _warned(path: str | os.PathLike[str], pixels: Pixels, note: str) -> Pixels:
    if note:
        warnings.warn(f"{os.fspath(path)}: {note}", stacklevel=3)
    return pixels


def _check_png(data: bytes, tile_size: int | None) -> None:
    if data.startswith(_PNG) and len(data) >= 24:  # before Pillow, which warns about large images
        check_size(int.from_bytes(data[20:24]), int.from_bytes(data[16:20]), tile_size)
