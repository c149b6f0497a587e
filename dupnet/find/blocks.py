"""Parts of an image in which points are looked for at once: whole, in squares, or two opposite rims.

A part holds as much around it as decides about what lies inside, so that no point depends on the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Block", "Lines", "Sliced", "blocks", "cut", "windows"]

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]
Span = tuple[int, int]

_SIDE = 1024  # px; what is made of such a block, 20 MB, stays near the processor


class Sliced(Protocol):
    """An image, or what gives parts of one."""

    def __getitem__(self, area: tuple[slice, slice], /) -> Grey: ...


class Block(NamedTuple):
    """Part of an image: ranges of rows and of columns, in pixels; one of them may be two, far apart."""

    rows: list[Span]
    cols: list[Span]


class Lines(NamedTuple):
    """Rows or columns of a block and of what decides about it: where they are cut from the image, the number
    that each has there, and whether points lie on it."""

    cuts: list[slice]
    numbers: Numbers
    wanted: Mask

    @classmethod
    def of(cls, spans: list[Span], length: int, margin: int, half: int) -> Lines:
        """Of ranges in an image of so many lines; no point lies nearer than ``half`` to its sides."""
        cuts = [slice(max(0, start - margin), min(length, stop + margin)) for start, stop in spans]
        numbers = np.concatenate([np.arange(cut.start, cut.stop) for cut in cuts])
        wanted = np.zeros(length, np.bool_)
        for start, stop in spans:
            wanted[max(start, half) : max(min(stop, length - half), 0)] = True
        return cls(cuts, numbers, wanted[numbers])

    def distance(self, at: Numbers, length: int) -> Numbers:
        """From lines of the block to the nearer side of the image."""
        return np.minimum(self.numbers[at], length - 1 - self.numbers[at])


def blocks(shape: tuple[int, int], rim: int | None, margin: int) -> Iterator[Block]:
    """Disjoint parts of an image: of all of it, or of what is less than ``rim`` px from its sides.

    ``margin``: how far around a pixel the image decides about it.
    """
    height, width = shape
    every_row, every_col = _chunks(0, height), _chunks(0, width)
    if rim is None or min(height, width) <= 2 * (rim + margin):
        for rows in every_row:
            for cols in every_col:
                yield Block([rows], [cols])
        return
    # Opposite rims beside each other: between them lies more than decides about either.
    for cols in every_col:
        yield Block([(0, rim), (height - rim, height)], [cols])
    for rows in _chunks(rim, height - rim):
        yield Block([rows], [(0, rim), (width - rim, width)])


def cut(image: Sliced, rows: Lines, cols: Lines) -> Grey:
    """The pixels of a block."""
    parts = [[image[down, across] for across in cols.cuts] for down in rows.cuts]
    if len(parts) == len(parts[0]) == 1:
        return np.ascontiguousarray(parts[0][0])
    return np.concatenate([np.concatenate(part, axis=1) for part in parts])


def windows(image: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Every square of an image, as a view: (height - side + 1, width - side + 1, side, side)."""
    # numpy's sliding_window_view does the same with checks that cost as much as a small image.
    shape = (image.shape[0] - side + 1, image.shape[1] - side + 1, side, side)
    return np.lib.stride_tricks.as_strided(image, shape, image.strides * 2, writeable=False)


def _chunks(start: int, stop: int) -> list[Span]:
    return [(at, min(at + _SIDE, stop)) for at in range(start, max(stop, start + 1), _SIDE)]
