"""The size of an image as its header has it, without decoding: a hint, before anything else is known."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["size_in_header", "sizes_at_the_ends"]

LOOKED_AT = 64
"""Files of the fewest bytes, and of the most, whose headers are read."""


def size_in_header(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Height and width in pixels, or None where Pillow knows neither the kind nor the size."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever decodes it will tell
        try:
            with Image.open(path) as image:
                width, height = image.size
        except Exception:  # a damaged header makes its parsers raise nearly anything
            return None
    return height, width


def sizes_at_the_ends(paths: Iterable[str | os.PathLike[str]]) -> list[tuple[int, int]]:
    """Sizes of the files of the fewest bytes and of the most, among which the smallest and the largest images
    most likely are; those that are known."""
    by_bytes = []
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):  # whoever opens a pipe waits for what may never come
                by_bytes.append((status.st_size, path))
    by_bytes.sort(key=lambda found: found[0])
    ends = by_bytes if len(by_bytes) <= 2 * LOOKED_AT else [*by_bytes[:LOOKED_AT], *by_bytes[-LOOKED_AT:]]
    sizes = (size_in_header(path) for _, path in ends)
    return [size for size in sizes if size is not None]
