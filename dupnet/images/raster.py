"""TIFF, JPEG 2000, NITF and other rasters, by rasterio (GDAL): any layout, depth and number of bands.

A file is opened by the one driver of its kind, told by its first bytes: drivers that follow references to
other files or to the network are never tried. What GDAL and its libraries say is caught, by thread, and
becomes part of the note or of the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.images.image import Image, Mask, Pixels, UnreadableImage, check_size
from dupnet.images.messages import cause_of, ignore_missing_georeference, listening, plain
from dupnet.images.pictures import as_grey
from dupnet.images.stretch import Limits, Rendering, filled, limits_of, stretch, wanted_bands

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

__all__ = ["MAX_SCENE_PIXELS", "Raster", "Region", "kind_and_sample", "open_raster", "read_raster"]

MAX_SCENE_PIXELS = 2**34
"""Largest raster that is read in windows, in pixels (131,072 x 131,072): scenes of 30 cm satellites have
45,000 a side. A header alone can claim any number."""

MAX_BLOCK_BYTES = 2**31
"""Largest block of a file (strip or tile), which GDAL decodes whole whatever is asked of it."""

SAMPLE_SIDE = 512
"""Side in pixels of the reduced copy of a file that its limits are taken from."""

OPTIONS = {
    # A listing of the folder at every opening would cost most of the time in folders of 100,000 files.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # What libjpeg had to guess is no pixel.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
}

GUESSED = re.compile(r"premature end|corrupt|missing|truncat|not enough|too short", re.IGNORECASE)
"""Warnings of the libraries below GDAL after which they fill in pixels."""

Samples = npt.NDArray[Any]


class Region(NamedTuple):
    """A part of an image, in pixels."""

    y: int
    x: int
    height: int
    width: int


class Raster:
    """An open raster of any size, of which regions are read as 8-bit RGB.

    ``height``, ``width``, and ``note``: what is taken of it and how.
    """

    def __init__(
        self, dataset: DatasetReader, rendering: Rendering, source: str | os.PathLike[str] | bytes
    ) -> None:
        self._dataset = dataset
        self._source = source
        self.height, self.width = dataset.shape
        self._check()
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        colours = [colour.name.lower() for colour in dataset.colorinterp]
        notes = []
        space = structure.get("SOURCE_COLOR_SPACE", "RGB")
        # libtiff converts some colour spaces, and gives an alpha of its own.
        self._is_converted = space not in ("RGB", "YCbCr") and colours == ["red", "green", "blue", "alpha"]
        try:
            self._bands, note = wanted_bands(colours, dataset.descriptions, rendering.bands)
        except ValueError as error:
            raise UnreadableImage("image", str(error)) from None
        self.dtype = np.dtype(dataset.dtypes[self._bands[0] - 1])
        self._mask_of = self._masks()
        self._palette: Pixels | None = None
        self._limits: list[Limits] | None = None
        bits = int(dataset.tags(self._bands[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
        if colours[self._bands[0] - 1] == "palette" and len(self._bands) == 1:
            self._palette, what = _table_of(dataset, self._bands[0])
            notes.append(what)
        else:
            if self._is_converted:
                note = f"{space}; converted to RGB"
            notes.append(note)
            if self.dtype != np.uint8:
                self._limits, what = self._choose_limits(rendering)
                notes.append(f"{self.dtype}{f' of {bits} bits' if 8 < bits < 16 else ''}, {what}")
            elif bits < 8:
                self._limits = [(0.0, float(2**bits - 1))] * len(self._bands)
                notes.append(f"{bits} bits; scaled to 8")
        if "alpha" in colours and not self._is_converted:
            notes.append("alpha taken as a mask")
        self.note = "; ".join([note for note in notes if note])

    @property
    def kind(self) -> str:
        """Files of one kind may share limits: number of bands, those taken, and type of samples."""
        return f"{self._dataset.count} bands, {' '.join(map(str, self._bands))} taken, {self.dtype}"

    @property
    def is_stretched(self) -> bool:
        """Whether its samples are stretched to 8 bits by limits that are to be chosen."""
        return bool(self.dtype != np.uint8)

    def fixed(self, rendering: Rendering) -> Rendering:
        """A rendering by which files of this kind get the limits of this one."""
        if self._limits is None or not self.is_stretched:
            return rendering
        return replace(rendering, by_kind={**rendering.by_kind, self.kind: tuple(self._limits)})

    def read(self, region: Region | None = None, *, grey: bool) -> Image:
        """A region as RGB or grey, with what is valid in it; None: all of it.

        Raises
        ------
        UnreadableImage
            If it is damaged there.
        """
        with _translated(self._source):
            samples, valid = self._samples(region)
        if self._palette is not None:
            palette = self._palette
            pixels = palette[samples[0], :3]
            shown = palette[samples[0], 3] > 0
            valid = shown if valid is None else valid & shown
        elif self._limits is not None:
            pixels = stretch(samples, self._limits)
        else:
            pixels = np.ascontiguousarray(samples.transpose(1, 2, 0)).astype(np.uint8, copy=False)
        if pixels.shape[2] == 1:
            pixels = np.ascontiguousarray(pixels[:, :, 0]) if grey else np.repeat(pixels, 3, axis=2)
        elif grey:
            pixels = as_grey(pixels)
        return Image(pixels, None if valid is None or valid.all() else valid, self.note)

    def sample(self, side: int = SAMPLE_SIDE) -> tuple[Samples, Mask | None]:
        """Samples (bands, height, width) of a copy of at most ``side`` pixels a side, and the valid ones."""
        height, width = min(self.height, side), min(self.width, side)
        with _translated(self._source):
            samples, valid = self._samples(None, (height, width))
        outside = filled(samples)
        if outside.any():
            valid = ~outside if valid is None else valid & ~outside
        return samples, valid

    def georeference(self) -> tuple[tuple[float, float, float, float, float, float], str] | None:
        """The affine transform from column and row, and the WKT of the reference system or ""; None where the
        file has no transform."""
        with _translated(self._source):
            transform, crs = self._dataset.transform, self._dataset.crs
            if transform.is_identity:
                return None
            a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
            return (a, b, c, d, e, f), crs.to_wkt() if crs else ""

    def _check(self) -> None:
        dataset = self._dataset
        if not dataset.count:
            n_inside = len(dataset.subdatasets)
            raise UnreadableImage("image", f"holds {n_inside} images and none itself; save the one to use")
        if dataset.driver == "GTiff" and len(dataset.subdatasets) > 1:
            n_frames = len(dataset.subdatasets)
            raise UnreadableImage("image", f"{n_frames} frames; save the one to use as an image of its own")
        check_size(self.height, self.width, most=MAX_SCENE_PIXELS)
        block_height, block_width = dataset.block_shapes[0]
        n_bytes = block_height * block_width * dataset.count * _item_size(dataset.dtypes[0])
        if n_bytes > MAX_BLOCK_BYTES:
            raise UnreadableImage(
                "image",
                f"stored in blocks of {block_height} x {block_width} pixels; save it in smaller ones",
            )

    def _choose_limits(self, rendering: Rendering) -> tuple[list[Limits], str]:
        if rendering.limits is not None:
            low, high = rendering.limits
            return [rendering.limits] * len(self._bands), f"{low:g} to {high:g} stretched to 8 bits"
        if self.kind in rendering.by_kind:
            found = list(rendering.by_kind[self.kind])
            source = "the collection's"
        else:
            found = limits_of(*self.sample())
            source = "the file's"
        shown = ", ".join(f"{low:.6g} to {high:.6g}" for low, high in found)
        return found, f"{source} percentiles ({shown}) stretched to 8 bits"

    def _masks(self) -> list[int]:
        """The bands whose masks tell what is valid; none where all is."""
        from rasterio.enums import MaskFlags

        if self._is_converted:
            return []
        flags = [self._dataset.mask_flag_enums[band - 1] for band in self._bands]
        if any(MaskFlags.per_dataset in one for one in flags):
            return self._bands[:1]
        if any(MaskFlags.all_valid in one for one in flags):
            return []
        return self._bands

    def _samples(
        self, region: Region | None, shape: tuple[int, int] | None = None
    ) -> tuple[Samples, Mask | None]:
        from rasterio.windows import Window

        window = None if region is None else Window(region.x, region.y, region.width, region.height)
        out = None if shape is None else (len(self._bands), *shape)
        samples: Samples = self._dataset.read(self._bands, window=window, out_shape=out)
        if samples.dtype.kind == "c":
            samples = np.abs(samples)
        valid: Mask | None = None
        if self._mask_of:
            out = None if shape is None else (len(self._mask_of), *shape)
            masks = self._dataset.read_masks(self._mask_of, window=window, out_shape=out)
            valid = np.asarray((masks > 0).any(axis=0))
        if samples.dtype.kind == "f":
            finite = np.asarray(np.isfinite(samples).any(axis=0))
            if not finite.all():
                valid = finite if valid is None else valid & finite
        return samples, valid


def _item_size(dtype: str) -> int:
    """Bytes of a sample; GDAL has complex integers, which numpy has not."""
    return 8 if dtype.startswith("complex_int") else np.dtype(dtype).itemsize


def _table_of(dataset: DatasetReader, band: int) -> tuple[Pixels, str]:
    """A palette as (entries, 4) RGBA, and what it is."""
    colours: Mapping[int, tuple[int, int, int, int]] = dataset.colormap(band)
    table = np.zeros((65_536 if dataset.dtypes[band - 1] == "uint16" else 256, 4), np.uint8)
    table[:, 3] = 255
    for entry, colour in colours.items():
        table[entry] = colour
    shown = table[: len(colours), :3]
    if len(colours) == 2 and {tuple(colour) for colour in shown.tolist()} == {(0, 0, 0), (255, 255, 255)}:
        return table, "black and white; taken as three equal channels"
    if (shown == shown[:, :1]).all():
        return table, "grey by a palette; taken as three equal channels"
    return table, "palette; converted to RGB"


def read_raster(
    source: str | os.PathLike[str] | bytes,
    driver: str,
    *,
    grey: bool,
    tile_size: int | None = None,
    rendering: Rendering = Rendering(),
) -> Image:
    """A whole raster, from a file or its bytes, as :func:`dupnet.images.reading.decode` reads it.

    Raises
    ------
    UnreadableImage
        If it is damaged, too large to be decoded whole, or does not have the bands asked for.
    """
    said: list[str] = []
    with open_raster(source, driver, rendering, said) as raster:
        check_size(raster.height, raster.width, tile_size)
        image = raster.read(grey=grey)
    return image._replace(note="; ".join([part for part in (image.note, *said) if part]))


def kind_and_sample(
    source: str | os.PathLike[str], driver: str, rendering: Rendering, side: int = SAMPLE_SIDE
) -> tuple[str, Samples, Mask | None] | None:
    """What :func:`dupnet.images.stretch.pooled_limits` takes of one file; None if it is not stretched.

    Raises
    ------
    UnreadableImage
        As :func:`read_raster`.
    """
    with open_raster(source, driver, Rendering(rendering.bands, (0.0, 1.0))) as raster:
        return (raster.kind, *raster.sample(side)) if raster.is_stretched else None


@contextmanager
def open_raster(
    source: str | os.PathLike[str] | bytes,
    driver: str,
    rendering: Rendering = Rendering(),
    said: list[str] | None = None,
) -> Iterator[Raster]:
    """Open a raster by a driver of GDAL.

    Parameters
    ----------
    source : path or bytes
        The file, or what is in it.
    driver : str
        The short name of the driver.
    rendering : Rendering
        How its samples become 8-bit RGB.
    said : list of str, optional
        Gets what the libraries said, once the block ends.

    Raises
    ------
    UnreadableImage
        If it is damaged, of no size that is read, or does not have the bands asked for.
    """
    import rasterio

    ignore_missing_georeference()
    with listening() as heard, ExitStack() as stack:
        with _translated(source):
            stack.enter_context(rasterio.Env(**OPTIONS))
            raster = Raster(stack.enter_context(_open(source, driver, stack)), rendering, source)
        yield raster
    messages = [plain(message, source) for message in dict.fromkeys(heard)]
    if guessed := [message for message in messages if GUESSED.search(message)]:
        raise UnreadableImage("image", f"does not decode: {guessed[0]}")
    if said is not None:
        said.extend(f"GDAL says: {message}" for message in messages[:3])


@contextmanager
def _translated(source: str | os.PathLike[str] | bytes) -> Iterator[None]:
    """Errors of GDAL as reasons; a damaged file brings about nearly any."""
    try:
        yield
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage("image", f"does not decode: {cause_of(error, source)}") from None


def _open(source: str | os.PathLike[str] | bytes, driver: str, stack: ExitStack) -> DatasetReader:
    import rasterio
    from rasterio.io import MemoryFile

    if isinstance(source, bytes):
        return stack.enter_context(MemoryFile(source, filename="image")).open(driver=driver)
    # An absolute path is never taken for an address.
    return rasterio.open(Path(source).absolute(), driver=driver, sharing=False)
