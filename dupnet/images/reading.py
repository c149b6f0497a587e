"""A folder of images: what is in it, which files are sound, their pixels; images and tiles as JPEG files.

A file counts by its content, not by its name's ending: JPEG, PNG and TIFF are read. Its size is taken from
the header and checked before any pixel is decoded, so that a small file cannot ask for all the memory. JPEG
goes through libjpeg-turbo (simplejpeg) in strict mode: the pixels are those that OpenCV gives, and data that
the decoder had to guess (of a truncated or damaged file) are an error instead of grey filling. EXIF
orientation is ignored, because tiles are defined on the pixels as stored.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import atomic_path, claim, remove_partial
from dupnet.files.workers import map_in_order, n_workers
from dupnet.tiles import TILE_SIZE, Grid, split_tiles

__all__ = [
    "MAX_PIXELS",
    "Store",
    "UnreadableImage",
    "check_present",
    "decode",
    "encode_jpeg",
    "list_images",
    "load",
    "load_named",
    "locate",
    "none_usable",
    "read_grey",
    "read_image",
    "save_tiles",
]

Pixels = npt.NDArray[np.uint8]
Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@runtime_checkable
class Store(Protocol):
    """A folder that is no path of this machine, such as a :class:`dupnet.files.storage.Folder`."""

    def read(self, name: str) -> bytes:
        """The bytes of a file; ``FileNotFoundError`` if there is none."""
        ...


Sources = Folders | Store | Sequence[str | os.PathLike[str] | Store]
"""Where images are looked up by name, in order."""

MAX_PIXELS = 2**26
"""Largest image that is decoded, in pixels (8192 x 8192): 200 MB as RGB, and below what Pillow holds for a
decompression bomb (89 million)."""

MAX_FILE_BYTES = 4 * MAX_PIXELS
"""Largest file that is read: an uncompressed RGBA image of :data:`MAX_PIXELS`."""

TILES_RECORD = "cache/tiles.json"
"""File, within a folder of saved tiles, of what they were made with; beside them it would be listed with the
images."""

_JPEG, _PNG, _TIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class UnreadableImage(ValueError):
    """A file that is left out; :attr:`reason` says why, in words for ``unreadable.csv``."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason


def list_images(folder: str | os.PathLike[str]) -> list[str]:
    """Names of all files of ``folder``, sorted; folders in it are not entered.

    Every name is listed, whatever its ending: what turns out not to be an image is reported when it is read.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    NotADirectoryError
        If it is a file.
    ValueError
        If it holds no file.
    """
    try:
        with os.scandir(folder) as entries:
            is_folder = {entry.name: _is_folder(entry) for entry in entries}
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no folder {os.fspath(folder)!r}.") from None
    except NotADirectoryError:
        raise NotADirectoryError(f"{os.fspath(folder)!r} is a file; give the folder of images.") from None
    if all(is_folder.values()):
        only = ", only folders, which are not entered; give the one with the images" if is_folder else ""
        raise ValueError(f"The folder {os.fspath(folder)!r} holds no file{only}.")
    return sorted(name for name in is_folder if not is_folder[name])


def check_present(images: Collection[str], folder: str | os.PathLike[str]) -> None:
    """Check that a folder has every image that a table names.

    Raises
    ------
    FileNotFoundError
        If it lacks one.
    """
    missing = [image for image in images if not Path(folder, image).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} lacks {len(missing)} of the {len(images)} images of the table, such as "
            f"{missing[0]!r}; name the folder that the table is of."
        )


def none_usable(reasons: Mapping[str, str]) -> ValueError:
    """The error where every file is left out, from the reason of each."""
    some = "; ".join(f"{image!r}: {reason}" for image, reason in list(reasons.items())[:3])
    remedy = ""
    if any(reason.startswith("wrong size") for reason in reasons.values()):
        remedy = "; pass the tile_size (--tile-size) at which this collection was cut"
    more = " ..." if len(reasons) > 3 else ""
    return ValueError(f"None of {len(reasons)} files can be used ({some}{more}){remedy}.")


def locate(image: str, folders: Folders) -> Path:
    """The file of an image: the first of one or several folders that has it.

    Raises
    ------
    FileNotFoundError
        If none has it (any more).
    """
    several = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    for folder in several:
        if Path(folder, image).exists():
            return Path(folder, image)
    raise FileNotFoundError(f"{image!r} is in none of {[os.fspath(folder) for folder in several]}.")


def load_named(image: str, sources: Sources, *, grey: bool) -> tuple[Pixels, str]:
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
                return load(Path(source, image), grey=grey)
            continue
        try:
            data = source.read(image)
        except FileNotFoundError:
            continue
        try:
            return decode(data, grey=grey)
        except UnreadableImage as error:
            raise UnreadableImage(image, error.reason) from None
    raise FileNotFoundError(f"{image!r} is in none of the {len(several)} folders of the collection.")


def read_image(path: str | os.PathLike[str], *, tile_size: int | None = None) -> Pixels:
    """Pixels of an image as stored: (height, width, 3) uint8 RGB.

    Grey, CMYK, palette and alpha are converted, with a warning. ``tile_size`` asks for a whole number of
    tiles of that many pixels.

    Raises
    ------
    UnreadableImage
        If the file is no image, is damaged, too large, or of a size that ``tile_size`` forbids.
    """
    return _warned(path, *load(path, grey=False, tile_size=tile_size))


def read_grey(path: str | os.PathLike[str], *, tile_size: int | None = None) -> Pixels:
    """Like :func:`read_image`, but grey: (height, width) uint8, ITU-R BT.601 luma; of a JPEG its own luma."""
    return _warned(path, *load(path, grey=True, tile_size=tile_size))


def load(path: str | os.PathLike[str], *, grey: bool, tile_size: int | None = None) -> tuple[Pixels, str]:
    """Pixels as of :func:`read_image` or :func:`read_grey`, and what was converted ("" for plain RGB).

    Raises
    ------
    UnreadableImage
        As :func:`read_image`.
    """
    try:
        data = _read_bytes(path)
    except FileNotFoundError:
        raise UnreadableImage(path, "vanished before it was read, or a link that leads nowhere") from None
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened: {error.strerror or error}") from None
    try:
        return decode(data, grey=grey, tile_size=tile_size)
    except UnreadableImage as error:
        raise UnreadableImage(path, error.reason) from None


def decode(data: bytes, *, grey: bool, tile_size: int | None = None) -> tuple[Pixels, str]:
    """Decode the bytes of one JPEG, PNG or TIFF file; see :func:`load`.

    Raises
    ------
    UnreadableImage
        As :func:`load`; it names the image ``image``.
    """
    if not data:
        raise UnreadableImage("image", "empty file")
    if data.startswith(_JPEG):
        return _decode_jpeg(data, grey, tile_size)
    if data.startswith((_PNG, *_TIFF)):
        return _decode_other(data, grey, tile_size)
    raise UnreadableImage("image", "not a JPEG, PNG or TIFF image")


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """An image as a baseline JPEG file with 4:2:0 chroma, as the Airbus images are.

    Parameters
    ----------
    image : (height, width, 3) or (height, width) uint8
        RGB, or grey.
    quality : 1 to 100
        On libjpeg's scale.

    Raises
    ------
    ValueError
        If the quality is not in 1 to 100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; a JPEG quality lies in 1 to 100.")
    # The subsampling is given, since OpenCV's default has changed between versions.
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", stored, options)[1])


def save_tiles(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tile_size: int = TILE_SIZE,
    quality: int = 95,
    workers: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Save every tile of every image of ``folder`` as ``IMAGE_INDEX.jpg`` in ``out``.

    Each file is written beside and renamed; tiles that are there already, and younger than their image, are
    kept, so a stopped run goes on where it was. ``cache/tiles.json`` keeps what the tiles were made with.
    Chroma is 4:2:0, as in the Airbus images.

    Returns
    -------
    pandas.DataFrame
        ``image, reason``: the files that were left out.

    Raises
    ------
    ValueError
        If not one file can be used, two images would write the same tiles (``a.jpg`` and ``a.png``),
        ``tile_size`` or ``quality`` (1 to 100) is out of range, or ``out`` is ``folder`` or holds other files
        than the tiles of these images and settings.
    OSError
        If ``folder`` is missing, or ``out`` cannot be written.
    """
    from tqdm import tqdm

    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; a JPEG quality lies in 1 to 100.")
    if tile_size < 1:
        raise ValueError(f"tile_size is {tile_size}; it must be at least 1 pixel.")
    names = list_images(folder)
    stems: dict[str, str] = {}
    for name in names:
        if stems.setdefault(Path(name).stem, name) != name:
            other = stems[Path(name).stem]
            raise ValueError(f"{other!r} and {name!r} would write the same tiles; rename one of them.")
    if Path(out).exists() and os.path.samefile(folder, out):
        raise ValueError(f"{os.fspath(out)!r} is the folder of the images; choose another one for the tiles.")
    settings = {"images": os.fspath(Path(folder).resolve()), "tile_size": tile_size, "quality": quality}
    claim(out, TILES_RECORD, settings, "dupnet tiles")

    def save(name: str) -> str:
        source = Path(folder, name)
        try:
            image, _ = load(source, grey=False, tile_size=tile_size)
        except UnreadableImage as error:
            return error.reason
        born = source.stat().st_mtime_ns
        grid = Grid.of_image(image.shape[0], image.shape[1], tile_size)
        for index, tile in enumerate(split_tiles(image, grid)):
            target = Path(out, f"{source.stem}_{index}.jpg")
            if target.exists() and target.stat().st_mtime_ns > born:
                continue
            with atomic_path(target) as beside:
                beside.write_bytes(encode_jpeg(np.asarray(tile, np.uint8), quality))
        return ""

    remove_partial(out, older_than=60)  # a tile takes milliseconds to write
    reasons = map_in_order(save, names, n_workers(workers))
    reasons = tqdm(reasons, total=len(names), desc="tiles", unit="image", disable=not progress)
    left_out = [(name, reason) for name, reason in zip(names, reasons, strict=True) if reason]
    if len(left_out) == len(names):
        raise none_usable(dict(left_out))
    return pd.DataFrame(left_out, columns=["image", "reason"])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself: reading it will say so
        return False


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
        raise UnreadableImage(path, "not a regular file")
    if state.st_size > MAX_FILE_BYTES:
        raise UnreadableImage(path, f"{state.st_size} bytes; at most {MAX_FILE_BYTES} are read")
    with open(path, "rb") as file:
        start = file.read(8)
        if start and not start.startswith((_JPEG, _PNG, *_TIFF)):
            raise UnreadableImage(path, "not a JPEG, PNG or TIFF image")
        return start + file.read()


def _warned(path: str | os.PathLike[str], pixels: Pixels, note: str) -> Pixels:
    if note:
        warnings.warn(f"{os.fspath(path)}: {note}", stacklevel=3)
    return pixels


def _check_size(height: int, width: int, tile_size: int | None) -> None:
    if height * width > MAX_PIXELS:
        raise UnreadableImage("image", f"{height} x {width} pixels; at most {MAX_PIXELS} pixels are decoded")
    if tile_size and (height % tile_size or width % tile_size or not height or not width):
        raise UnreadableImage(
            "image", f"wrong size: {height} x {width} pixels are not a whole number of {tile_size} px tiles"
        )


def _decode_jpeg(data: bytes, grey: bool, tile_size: int | None) -> tuple[Pixels, str]:
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(height, width, tile_size)
        if colours in ("CMYK", "YCCK"):
            return _decode_other(data, grey, tile_size)
        pixels: Pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except UnreadableImage:
        raise
    except ValueError as error:
        raise UnreadableImage("image", f"damaged JPEG: {str(error).strip().rstrip('.')}") from None
    note = "grey; taken as three equal channels" if colours == "Gray" else ""
    return (pixels[:, :, 0] if grey else pixels), note


_CONVERTED = {
    "L": "grey; taken as three equal channels",
    "1": "black and white; taken as three equal channels",
    "P": "palette; converted to RGB",
    "LA": "grey with alpha; alpha dropped, taken as three equal channels",
    "PA": "palette with alpha; alpha dropped, converted to RGB",
    "RGBA": "alpha channel dropped",
    "RGBX": "fourth channel dropped",
    "CMYK": "CMYK; converted to RGB",
    "YCbCr": "YCbCr; converted to RGB",
    "LAB": "CIELAB; converted to RGB",
}


def _decode_other(data: bytes, grey: bool, tile_size: int | None) -> tuple[Pixels, str]:
    from PIL import Image, UnidentifiedImageError

    png = data.startswith(_PNG)
    if png and len(data) >= 24:  # before Pillow, which warns about large images on standard error
        _check_size(int.from_bytes(data[20:24]), int.from_bytes(data[16:20]), tile_size)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "TIFF"]) as image:
            _check_size(image.height, image.width, tile_size)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise UnreadableImage("image", f"{frames} frames; save the one to use as an image of its own")
            # Pillow silently drops the low byte of 16-bit RGB.
            bits = data[24] if png else max(_bits_of_tiff(image))
            if bits > 8 or image.mode not in ("RGB", *_CONVERTED):
                raise UnreadableImage("image", f"{bits} bits a channel ({image.mode}); convert it to 8 bits")
            pixels: Pixels = np.array(image.convert("RGB"))
            note = _CONVERTED.get(image.mode, "")
    except UnreadableImage:
        raise
    except UnidentifiedImageError:  # its message holds a memory address, another one in every run
        raise UnreadableImage("image", "does not decode: damaged, or of an unknown kind") from None
    except Exception as error:  # a damaged file makes Pillow's parsers raise nearly anything
        reason = str(error).strip() or type(error).__name__
        raise UnreadableImage("image", f"does not decode: {reason}") from None
    if grey:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), note
    return pixels, note


def _bits_of_tiff(image: object) -> tuple[int, ...]:
    bits_per_sample = 258  # TIFF 6.0, section 8
    tags = getattr(image, "tag_v2", {})
    return tuple(tags.get(bits_per_sample, (8,)))
