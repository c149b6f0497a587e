"""One decoded image, the reason why a file is none, and how large it may be."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_FILE_BYTES", "MAX_PIXELS", "Image", "TooLarge", "UnreadableImage", "check_size"]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MAX_PIXELS = 2**26
"""Largest image that is decoded whole, in pixels (8192 x 8192): 200 MB as RGB, and below what Pillow holds
for a decompression bomb (89 million)."""

MAX_FILE_BYTES = 4 * MAX_PIXELS
"""Largest file that is read whole: an uncompressed RGBA image of :data:`MAX_PIXELS`."""


class Image(NamedTuple):
    """The pixels of an image, and what is known of them."""

    pixels: Pixels
    """(height, width, 3) uint8 RGB, or (height, width) uint8 grey."""
    valid: Mask | None
    """(height, width) bool: False where a pixel shows nothing (no data, transparent, a collar); None if all
    are valid."""
    note: str
    """What was converted and how, "" for plain RGB."""


class UnreadableImage(ValueError):
    """A file that is left out; :attr:`reason` says why, in words for ``unreadable.csv``."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason


class TooLarge(UnreadableImage):
    """A file of more pixels than are decoded at once."""


def check_size(height: int, width: int, tile_size: int | None = None, most: int | None = None) -> None:
    """Check a size before any pixel is decoded.

    Raises
    ------
    TooLarge
        If there are more than ``most`` pixels; :data:`MAX_PIXELS` by default.
    UnreadableImage
        If there is none at all, or not a whole number of tiles.
    """
    most = MAX_PIXELS if most is None else most
    if height * width > most:
        raise TooLarge("image", f"{height} x {width} pixels; at most {most} pixels are decoded")
    if height < 1 or width < 1:
        raise UnreadableImage("image", f"{height} x {width} pixels")
    if tile_size and (height % tile_size or width % tile_size):
        raise UnreadableImage(
            "image", f"wrong size: {height} x {width} pixels are not a whole number of {tile_size} px tiles"
        )
