"""An image as it is shown, smaller than it is: of a JPEG, libjpeg decodes only the size that is needed."""

from __future__ import annotations

import math
import os
from pathlib import Path

from dupnet.images.image import Pixels, UnreadableImage, check_size
from dupnet.images.reading import Sources, Store, kind_of_file, load_named
from dupnet.images.stretch import Rendering

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
        the nearest step below that libjpeg has (eighths), any other file not at all.
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
    pixels, _ = load_named(name, sources, grey=False, rendering=rendering)
    return pixels, (pixels.shape[0], pixels.shape[1])


def _local_jpeg(name: str, sources: Sources) -> Path | None:
    """The file of an image if it is a JPEG in a folder of this machine."""
    several = [sources] if isinstance(sources, str | os.PathLike | Store) else list(sources)
    for source in several:
        if isinstance(source, Store):
            return None
        path = Path(source, name)
        if path.exists():
            try:
                return path if kind_of_file(path).reader == "jpeg" else None
            except UnreadableImage:
                return None
    return None
