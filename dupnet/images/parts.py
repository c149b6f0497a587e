"""An image too large to be decoded at once, as two arrays that read what is asked of them.

What is kept are the blocks asked for last. A part has the same pixels as of the whole image. Declared no data
is the same, too; a collar that nothing declares is looked for block by block, so beside the collars of the
whole image, ground of one exact level that runs across the border of a block counts as one. It carries no
evidence anyway.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dupnet.images.collars import collar_mask
from dupnet.images.image import Image, Mask, Pixels, UnreadableImage
from dupnet.images.raster import Raster, Region
from dupnet.images.stretch import Rendering
from dupnet.images.windows import open_scene

__all__ = ["GreyParts", "MaskParts", "Parts", "load_parts", "open_parts"]

BLOCK = 2048
"""Side in pixels of a block: 4 MB in grey, and as much for its mask, if it has one."""

AROUND = 64
"""Pixels around a block that are read for what lies along its border: collars reach about 24 px further than
what shows them."""

SCANNED_BLOCKS = 64
"""Blocks kept of an image that is read from end to end: three rows of them, up to 43,000 px wide."""

NEEDED_BLOCKS = 16
"""Blocks kept of an image of which some parts are needed."""

Kind = TypeVar("Kind", np.uint8, np.bool_)


class _Blocks:
    """The blocks of an image."""

    def __init__(
        self, read: Callable[[Region], Image], shape: tuple[int, int], side: int, n_blocks: int
    ) -> None:
        self.shape = shape
        self.side = side
        self.nbytes = 2 * side * side * n_blocks
        self._read = read
        self.at: Callable[[int, int], tuple[Pixels, Mask | None]] = lru_cache(n_blocks)(self._block)

    def _block(self, row: int, col: int) -> tuple[Pixels, Mask | None]:
        y, x = row * self.side, col * self.side
        top, left = max(y - AROUND, 0), max(x - AROUND, 0)
        bottom = min(y + self.side + AROUND, self.shape[0])
        right = min(x + self.side + AROUND, self.shape[1])
        pixels, valid, _ = self._read(Region(top, left, bottom - top, right - left))
        outside = collar_mask(pixels)
        if outside is not None:
            valid = outside if valid is None else outside & valid
        area = slice(y - top, y - top + self.side), slice(x - left, x - left + self.side)
        shown = None if valid is None or valid[area].all() else np.ascontiguousarray(valid[area])
        return np.ascontiguousarray(pixels[area]), shown


class _Array(ABC, Generic[Kind]):
    """Something that is sliced as an array of two dimensions, with a step of one."""

    ndim = 2

    def __init__(self, blocks: _Blocks, kind: type[Kind]) -> None:
        self._blocks = blocks
        self.dtype: np.dtype[Kind] = np.dtype(kind)
        self.shape = blocks.shape
        self.nbytes = blocks.nbytes

    def __getitem__(self, area: tuple[slice, slice]) -> npt.NDArray[Kind]:
        (top, bottom, _), (left, right, _) = (
            part.indices(length) for part, length in zip(area, self.shape, strict=True)
        )
        found = np.ones((max(bottom - top, 0), max(right - left, 0)), self.dtype)
        side = self._blocks.side
        for y in range(top // side * side, bottom, side):
            for x in range(left // side * side, right, side):
                part = self._of(*self._blocks.at(y // side, x // side))
                if part is not None:
                    y0, x0 = max(y, top), max(x, left)
                    y1, x1 = min(y + side, bottom), min(x + side, right)
                    found[y0 - top : y1 - top, x0 - left : x1 - left] = part[y0 - y : y1 - y, x0 - x : x1 - x]
        return found

    @abstractmethod
    def _of(self, pixels: Pixels, valid: Mask | None) -> npt.NDArray[Kind] | None:
        """What of a block is meant; None if it is one throughout."""


class GreyParts(_Array[np.uint8]):
    """Grey levels, (height, width) uint8."""

    def _of(self, pixels: Pixels, valid: Mask | None) -> Pixels | None:
        return pixels


class MaskParts(_Array[np.bool_]):
    """Which pixels are valid, (height, width) bool."""

    def _of(self, pixels: Pixels, valid: Mask | None) -> Mask | None:
        return valid


class Parts(NamedTuple):
    """As :class:`dupnet.images.image.Image`, in grey."""

    pixels: GreyParts
    valid: MaskParts
    note: str


def load_parts(path: str | os.PathLike[str], rendering: Rendering = Rendering()) -> Parts:
    """An image of any size of which parts are read, from any thread: the file is opened for each block.

    Raises
    ------
    UnreadableImage
        As :func:`dupnet.images.windows.open_scene`; later, too, where a block is damaged.
    """
    with open_scene(path, rendering) as scene:
        # Percentiles are taken once.
        fixed = scene.fixed(rendering) if isinstance(scene, Raster) else rendering
        shape, note = (scene.height, scene.width), scene.note

    def read(region: Region) -> Image:
        with open_scene(path, fixed) as scene:
            if (scene.height, scene.width) != shape:
                raise UnreadableImage(path, "changed while it was read; run again")
            return scene.read(region, grey=True)

    return _parts(read, shape, note, NEEDED_BLOCKS)


@contextmanager
def open_parts(path: str | os.PathLike[str], rendering: Rendering = Rendering()) -> Iterator[Parts]:
    """The same for one thread that reads all of it, from one opened file.

    Raises
    ------
    UnreadableImage
        As :func:`dupnet.images.windows.open_scene`, also where that shows within the block.
    """
    with open_scene(path, rendering) as scene:
        yield _parts(
            lambda region: scene.read(region, grey=True),
            (scene.height, scene.width),
            scene.note,
            SCANNED_BLOCKS,
        )


def _parts(read: Callable[[Region], Image], shape: tuple[int, int], note: str, n_blocks: int) -> Parts:
    blocks = _Blocks(read, shape, BLOCK, n_blocks)
    return Parts(GreyParts(blocks, np.uint8), MaskParts(blocks, np.bool_), note)
