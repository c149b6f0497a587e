"""An image as it is shown, smaller than it is: of a JPEG, libjpeg decodes only the size that is needed."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np

from dupnet.images.image import Pixels, TooLarge, UnreadableImage, check_size
from dupnet.images.reading import Sources, Store, kind_of_file, load_named
from dupnet.images.stretch import Rendering
from dupnet.images.windows import SIDE, open_scene, windows_of

__all__ = ["load_reduced"]

SLOW_BELOW = 2.0
"""Factors of reduction below which libjpeg's reduced transforms cost as much as the full one."""


def load_reduced(
    name: str, sources: Sources, factor: float, rendering: Rendering = Rendering()
) -> tuple[Pixels, tuple[int, int]]:
    """An image by its name, reduced by at most ``factor``, and its height and width in the file.

    Parameters
    ----------
    name, sources
        As for :func:`dupnet.images.reading.load_named`.
    factor : float
        How many pixels of the file one pixel of the result may stand for, along a side; a JPEG is reduced by
        the nearest step below that libjpeg has (eighths), a raster too large to be decoded at once by a whole
        number, any other file not at all.
    rendering : Rendering
        What to take of files of more than three bands or 8 bits.

    Returns
    -------
    (height, width, 3) uint8 RGB, and the height and the width of the image before it was reduced.

    Raises
    ------
    FileNotFoundError, UnreadableImage
        As :func:`dupnet.images.reading.load_named`.
    """
    if factor >= SLOW_BELOW and (path := _local_jpeg(name, sources)) is not None:
        import simplejpeg

        try:
            data = path.read_bytes()
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            check_size(height, width)
            if colours not in ("CMYK", "YCCK"):
                least = {"min_height": math.ceil(height / factor), "min_width": math.ceil(width / factor)}
                reduced = simplejpeg.decode_jpeg(data, "RGB", min_factor=SLOW_BELOW, **least)
                return reduced, (height, width)
        except (OSError, ValueError):
            pass  # the way that names every reason
    try:
        pixels, _ = load_named(name, sources, grey=False, rendering=rendering)
    except TooLarge:
        path = _local(name, sources)
        if path is None:
            raise
        return _scene_reduced(path, max(int(factor), 1), rendering)
    return pixels, (pixels.shape[0], pixels.shape[1])


def _scene_reduced(path: Path, factor: int, rendering: Rendering) -> tuple[Pixels, tuple[int, int]]:
    """A raster too large to be decoded at once, reduced by a whole ``factor``, window by window."""
    with open_scene(path, rendering, grey=False) as scene:
        height, width = scene.height, scene.width
        check_size(math.ceil(height / factor), math.ceil(width / factor))
        reduced = np.empty((math.ceil(height / factor), math.ceil(width / factor), 3), np.uint8)
        for window in windows_of(scene, side=SIDE // factor * factor or factor, grey=False):
            y, x, *shape = (value / factor for value in window.core)
            rows, cols = (math.ceil(side) for side in shape)
            part = cv2.resize(window.pixels, (cols, rows), interpolation=cv2.INTER_AREA)
            reduced[int(y) : int(y) + rows, int(x) : int(x) + cols] = part
    return reduced, (height, width)


def _local_jpeg(name: str, sources: Sources) -> Path | None:
    """The file of an image if it is a JPEG in a folder of this machine."""
    path = _local(name, sources)
    try:
        return path if path is not None and kind_of_file(path).reader == "jpeg" else None
    except UnreadableImage:
        return None


def _local(name: str, sources: Sources) -> Path | None:
    """The file of an image if it is in a folder of this machine."""
    several = [sources] if isinstance(sources, str | os.PathLike | Store) else list(sources)
    for source in several:
        if isinstance(source, Store):
            return None
        path = Path(source, name)
        if path.exists():
            return path
    return None
