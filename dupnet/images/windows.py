"""Images of any size, read window by window: a scene needs no more memory than one window of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from dupnet.images.collars import collar_mask
from dupnet.images.image import Image, Mask, Pixels, UnreadableImage
from dupnet.images.pictures import as_grey
from dupnet.images.raster import Raster, Region, open_raster
from dupnet.images.reading import kind_of_file, load_image
from dupnet.images.stretch import Rendering

__all__ = ["Scene", "Window", "open_scene", "windows_of"]

SIDE = 4096
"""Side in pixels of what a window is responsible for: 50 MB as RGB."""


class Scene(Protocol):
    """An open image of any size."""

    height: int
    width: int
    note: str

    def read(self, region: Region | None = None, *, grey: bool) -> Image:
        """The pixels of a region, RGB or grey, and what is valid in it; None: all of it."""
        ...


class Window(NamedTuple):
    """A part of a scene with its surroundings."""

    y: int
    x: int
    """Place of the first pixel in the scene."""
    pixels: Pixels
    valid: Mask | None
    core: Region
    """What no other window is responsible for, in pixels of the scene; the cores tile the scene."""


class _Whole:
    """A decoded image as a scene."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.height, self.width = image.pixels.shape[:2]
        self.note = image.note

    def read(self, region: Region | None = None, *, grey: bool) -> Image:
        y, x, height, width = region or Region(0, 0, self.height, self.width)
        place = slice(y, y + height), slice(x, x + width)
        pixels, valid, note = self._image
        part = pixels[place]
        valid = None if valid is None or valid[place].all() else valid[place]
        if grey and part.ndim == 3:
            part = as_grey(part)
        elif not grey and part.ndim == 2:
            raise ValueError("The scene was opened in grey.")
        return Image(part, valid, note)


@contextmanager
def open_scene(
    path: str | os.PathLike[str], rendering: Rendering = Rendering(), *, grey: bool = True
) -> Iterator[Scene]:
    """Open an image of any size. Rasters are read in parts, from the disk; other kinds are decoded at once.

    Raises
    ------
    UnreadableImage
        If it is no image, or damaged, also where that shows within the block; or if it is of a kind that is
        decoded at once, and too large for that.
    """
    try:
        kind = kind_of_file(path)
        if kind.reader == "raster":
            with open_raster(path, kind.driver, rendering) as raster:
                yield raster
        else:
            yield _Whole(load_image(path, grey=grey, rendering=rendering))
    except UnreadableImage as error:
        raise UnreadableImage(path, error.reason) from None


def windows_of(scene: Scene, side: int = SIDE, margin: int = 0, *, grey: bool = True) -> Iterator[Window]:
    """The windows of a scene, row by row: each core with a margin, as far as the scene goes.

    Parameters
    ----------
    scene : Scene
        As :func:`open_scene` gives it.
    side : int
        Of a core, in pixels.
    margin : int
        Pixels around a core that are read too, where there are any.
    grey : bool
        Grey or RGB.

    Raises
    ------
    ValueError
        If the side is not positive, or the margin is negative.
    """
    if side < 1 or margin < 0:
        raise ValueError(f"side is {side} and margin {margin}; they must be at least 1 and 0 pixels.")
    for y in range(0, scene.height, side):
        for x in range(0, scene.width, side):
            core = Region(y, x, min(side, scene.height - y), min(side, scene.width - x))
            top, left = max(y - margin, 0), max(x - margin, 0)
            bottom = min(y + core.height + margin, scene.height)
            right = min(x + core.width + margin, scene.width)
            image = scene.read(Region(top, left, bottom - top, right - left), grey=grey)
            yield Window(top, left, image.pixels, _valid(image, isinstance(scene, Raster)), core)


def _valid(image: Image, look_for_collars: bool) -> Mask | None:
    """What is valid in a window; of a decoded image, its collars are known."""
    if not look_for_collars:
        return image.valid
    outside = collar_mask(image.pixels if image.pixels.ndim == 2 else as_grey(image.pixels))
    if outside is None or image.valid is None:
        return image.valid if outside is None else outside
    return outside & image.valid
