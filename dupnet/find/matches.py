"""Matched points, as a join finds them: without repetitions, in memory or in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_COSINE", "Pairs", "Parts", "packed", "unpacked"]

Numbers = npt.NDArray[np.int64]
Images = npt.NDArray[np.int32]
Packed = npt.NDArray[np.uint64]

MIN_COSINE = 0.8
"""Least cosine of two codes that count as one."""


class Pairs(NamedTuple):
    """Matched points: ``first`` < ``second``, numbers of points, sorted; no pair twice, none within an
    image."""

    first: Numbers
    second: Numbers


def packed(first: Numbers, second: Numbers) -> Packed:
    """Pairs of numbers below 2**32 as one number each, which sorts like them."""
    return first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)


def unpacked(pairs: Packed) -> Pairs:
    """The numbers of :func:`packed`."""
    return Pairs((pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(2**32 - 1)).astype(np.int64))


class Parts:
    """Pairs found so far, without repetitions, split by the first point; in memory or in files."""

    def __init__(self, images: Images, scratch: str | os.PathLike[str] | None, points: int = 2**20) -> None:
        n = len(images)
        bounds = [0]
        # A part begins where an image begins.
        while bounds[-1] + points < n:
            bounds.append(int(np.searchsorted(images, images[bounds[-1] + points], side="right")))
        self._bounds = np.array(bounds)
        self._images = images
        self.n_parts = len(bounds)
        self._scratch = None if scratch is None else Path(scratch)
        self._held: list[Packed] = [np.zeros(0, np.uint64) for _ in bounds]
        self._waiting: list[list[Packed]] = [[] for _ in bounds]

    def add(self, first: Numbers, second: Numbers) -> None:
        pairs = packed(first, second)
        if self.n_parts == 1:
            self._append(0, pairs)
            return
        part = np.searchsorted(self._bounds, first, side="right") - 1
        for number in np.unique(part):
            self._append(int(number), pairs[part == number])

    def end_of_image(self, pairs: Packed, at: int) -> int:
        """Where the pairs end whose first point is of the image of that of pair ``at``."""
        image = self._images[int(pairs[at] >> np.uint64(32))]
        end = int(np.searchsorted(self._images, image, side="right"))
        return int(np.searchsorted(pairs, np.uint64(end) << np.uint64(32)))

    def read(self, part: int) -> Packed:
        self._settle(part)
        return self._held[part]

    def close(self) -> None:
        for part in range(self.n_parts):
            if self._scratch is not None:
                self._file(part).unlink(missing_ok=True)
            self._held[part] = np.zeros(0, np.uint64)

    def _append(self, part: int, pairs: Packed) -> None:
        waiting = self._waiting[part]
        waiting.append(pairs)
        if sum(map(len, waiting)) > max(2**18, len(self._held[part])):
            self._settle(part)

    def _settle(self, part: int) -> None:
        if not self._waiting[part]:
            return
        merged = np.concatenate([self._held[part], *self._waiting[part]])
        merged.sort()  # several times as fast as numpy's unique, which hashes
        merged = merged[np.append(True, merged[1:] != merged[:-1])[: len(merged)]]
        self._waiting[part] = []
        if self._scratch is not None:
            with open(self._file(part), "wb") as file:  # tofile hides what is wrong with a disk
                file.write(merged.data)
            merged = np.memmap(self._file(part), np.uint64, "r") if len(merged) else merged
        self._held[part] = merged

    def _file(self, part: int) -> Path:
        assert self._scratch is not None
        return self._scratch / f"pairs-{part:05d}.u64"
