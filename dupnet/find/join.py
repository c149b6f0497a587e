"""Points of different images that have nearly one code: a join of a collection's points with themselves.

Comparing every two points would be quadratic. Instead each of several *tables* turns the codes by a rotation
of its own, takes the signs as a key, sorts the points by it and compares each with those that follow next:
two codes that nearly agree share most signs, so that some table puts them close together (sorted keys in the
manner of the LSH forest, Bawa, Condie and Ganesan, 2005, doi:10.1145/1060745.1060840). What a point costs is
the same however many points there are, and however many look alike.

The result depends neither on the number of workers nor on how the work is sliced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.find.points import UNIT

__all__ = [
    "MIN_COSINE",
    "N_TABLES",
    "WINDOW",
    "Cells",
    "Joined",
    "Pairs",
    "cells_of",
    "join",
    "keys_of",
    "n_prefix_bits",
    "slices_of",
    "table_pairs",
]

Codes = npt.NDArray[np.int8]
Kinds = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Images = npt.NDArray[np.int32]
Packed = npt.NDArray[np.uint64]
Cells = npt.NDArray[np.uint16]

N_TABLES = 8
"""Tables of a join."""

WINDOW = 64
"""A point is compared with so many that follow it in a table."""

MIN_COSINE = 0.8
"""Least cosine of two codes that count as one."""

SLICE_POINTS = 2**21
"""Points that are held at a time: some 0.5 GB with all that a worker makes of them."""

PAIRS_AT_A_TIME = 2**21
"""Pairs of points that are given at a time: some 0.5 GB with all that their votes take."""

_ORDER_BITS = 36  # signs of a key; with the kind 40 bits, beside 24 for the place within a slice
_CELL_POINTS = 2**16  # about so many points share the signs that slices are cut by
_MAX_PREFIX = 12
_ROWS = 2**16  # at a time, where codes are turned
_BLOCKS = 128  # of WINDOW rows, at a time


class Pairs(NamedTuple):
    """Matched points: ``first`` < ``second``, numbers of points, sorted; no pair twice, none within an
    image."""

    first: Numbers
    second: Numbers


@dataclass
class Joined:
    """What a join found. Iterating gives :class:`Pairs`, part by part, each of other (first) images, and of
    :data:`PAIRS_AT_A_TIME` at most, unless one image has more.

    ``recurring``: (n,) bool, points whose code recurs elsewhere in their own image. ``n_skipped``: pairs of
    points with equal keys that were not compared, in a table on average, since too many look alike.
    """

    recurring: npt.NDArray[np.bool_]
    n_skipped: int
    parts: _Parts

    def __iter__(self) -> Iterator[Pairs]:
        for part in range(self.parts.n_parts):
            packed = self.parts.read(part)
            start = 0
            while start < len(packed):
                stop = self.parts.end_of_image(packed, min(start + PAIRS_AT_A_TIME, len(packed)) - 1)
                some = np.asarray(packed[start:stop])
                yield Pairs((some >> np.uint64(32)).astype(np.int64), (some & _LOW).astype(np.int64))
                start = stop

    def close(self) -> None:
        """Remove the files of the pairs, where they are in files."""
        self.parts.close()


_LOW = np.uint64(2**32 - 1)


def join(
    codes: Codes,
    images: Images,
    kinds: Kinds,
    *,
    sides: npt.NDArray[np.bool_] | None = None,
    ignored: npt.NDArray[np.bool_] | None = None,
    min_cosine: float = MIN_COSINE,
    n_tables: int = N_TABLES,
    workers: int | None = None,
    slice_points: int = SLICE_POINTS,
    scratch: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Joined:
    """All pairs of points of different images that have nearly one code, as far as the tables find them.

    Parameters
    ----------
    codes : (n, 48) int8
        Of :func:`dupnet.find.points.find_points`, those of an image together; may be mapped from a file.
    images : (n,) int32
        Number of the image of each point, ascending.
    kinds : (n,) uint8
        Only points of one kind match.
    sides : (number of images,) bool, optional
        Then only images of two different sides are paired.
    ignored : (n,) bool, optional
        Points that do not count, such as those of :func:`dupnet.find.overlays.overlay_points`.
    min_cosine : float
        Least cosine of a pair.
    n_tables : int
        More find more, at their cost.
    workers, slice_points : int
        Threads, as many as there are cores by default, and points that each holds at a time.
    scratch : path, optional
        Folder for pairs that are not held in memory; :meth:`Joined.close` removes what was written there.
    progress : bool
        Show progress on standard error.

    Raises
    ------
    ValueError
        If the arrays do not belong together, images are not ascending, or there are 2**32 points or more.
    """
    n = len(codes)
    if not len(images) == len(kinds) == n:
        raise ValueError(
            f"{n} codes, {len(images)} image numbers and {len(kinds)} kinds; give one of each a point."
        )
    if n >= 2**32:
        raise ValueError(f"{n} points; a join takes fewer than {2**32}. Join parts of the collection.")
    if n and (np.diff(images) < 0).any():
        raise ValueError("image numbers are not ascending; keep the points of an image together, in order.")
    parts = _Parts(images, scratch)
    recurring = np.zeros(n, np.bool_)
    skipped = 0
    prefix = n_prefix_bits(n)

    def in_slice(task: tuple[int, Numbers | None]) -> tuple[Numbers, Numbers, int, int]:
        size = n if task[1] is None else len(task[1])
        return *table_pairs(codes, kinds, task[1], task[0], prefix, min_cosine), size

    bar = tqdm(total=n * n_tables, desc="join", unit="point", unit_scale=True, disable=not progress)
    with one_blas_thread(), bar:
        threads = n_workers(workers)
        for first, second, missed, size in map_in_order(
            in_slice, _tasks(codes, kinds, n_tables, prefix, slice_points, threads), threads
        ):
            bar.update(size)
            skipped += missed
            if ignored is not None:
                counted = ~(ignored[first] | ignored[second])
                first, second = first[counted], second[counted]
            one, two = images[first], images[second]
            within = one == two
            recurring[first[within]] = True
            recurring[second[within]] = True
            wanted = ~within if sides is None else sides[one] != sides[two]
            parts.add(first[wanted], second[wanted])
    return Joined(recurring, skipped // max(1, n_tables), parts)


def n_prefix_bits(n_points: int) -> int:
    """Signs that the points of one cell share: a table compares within cells, and slices are made of them."""
    return int(np.clip(np.log2(max(1, n_points) / _CELL_POINTS), 0, _MAX_PREFIX))


def cells_of(codes: Codes, kinds: Kinds, table: int, prefix: int) -> Cells:
    """The cell of each point in a table: its kind and the first ``prefix`` signs of its key."""
    cells = np.empty(len(codes), np.uint16)
    for start in range(0, len(codes), _ROWS):
        rows = slice(start, start + _ROWS)
        keys = keys_of(codes[rows], kinds[rows], table, prefix)
        cells[rows] = keys.astype(np.uint16)
    return cells


def slices_of(cells: Cells, slice_points: int) -> list[tuple[int, int]]:
    """Ranges of cells [start, stop) of at most ``slice_points`` points, or of one cell."""
    counts = np.bincount(cells, minlength=1)
    ranges, start, held = [], 0, 0
    for cell, count in enumerate(counts):
        if held and held + count > slice_points:
            ranges.append((start, cell))
            start, held = cell, 0
        held += int(count)
    ranges.append((start, len(counts)))
    return ranges


def table_pairs(
    codes: Codes, kinds: Kinds, rows: Numbers | None, table: int, prefix: int, min_cosine: float = MIN_COSINE
) -> tuple[Numbers, Numbers, int]:
    """Pairs of points with nearly one code among ``rows`` (ascending; None for all), as one table finds them.

    ``rows`` are all points of some cells. Returns point numbers ``first`` < ``second``, pairs within an image
    included, and how many pairs of equal keys were not compared.
    """
    held = np.asarray(codes if rows is None else codes[rows])
    keys = np.concatenate(
        [
            keys_of(
                held[start : start + _ROWS],
                (kinds if rows is None else kinds[rows])[start : start + _ROWS],
                table,
            )
            for start in range(0, len(held), _ROWS)
        ]
        or [np.zeros(0, np.uint64)]
    )
    if len(held) > 2**24:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    else:
        # Key and place in one number: sorting numbers is several times as fast as sorting by them.
        packed = np.sort(keys << np.uint64(24) | np.arange(len(keys), dtype=np.uint64))
        order = (packed & np.uint64(2**24 - 1)).astype(np.int64)
        keys = packed >> np.uint64(24)
    cells = keys >> np.uint64(_ORDER_BITS - prefix)
    least = np.float32(min_cosine * UNIT**2)
    firsts, seconds = [], []
    for start in range(0, len(order), _BLOCKS * WINDOW):
        at, to = _close(held, order[start : start + (_BLOCKS + 1) * WINDOW], least)
        at, to = at + start, to + start
        same = cells[at] == cells[to]
        firsts.append(order[at[same]])
        seconds.append(order[to[same]])
    one, two = (
        np.concatenate([*firsts, np.zeros(0, np.int64)]),
        np.concatenate([*seconds, np.zeros(0, np.int64)]),
    )
    first, second = np.minimum(one, two), np.maximum(one, two)
    if rows is not None:
        first, second = rows[first], rows[second]
    return first, second, _skipped(keys)


def _close(held: Codes, order: Numbers, least: np.float32) -> tuple[Numbers, Numbers]:
    """Places (at, to) in ``order`` of points at most WINDOW apart, with a product of at least ``least``.

    ``at`` lies in the first ``_BLOCKS`` windows; what follows is there to be compared with.
    """
    n_blocks = min(_BLOCKS, -(-len(order) // WINDOW))
    vectors = np.zeros(((n_blocks + 1) * WINDOW, held.shape[1]), np.float32)
    vectors[: len(order)] = held[order]
    length = vectors.shape[1]
    one = vectors[: n_blocks * WINDOW].reshape(n_blocks, WINDOW, length)
    row, column = vectors.strides
    two = np.lib.stride_tricks.as_strided(
        vectors, (n_blocks, length, 2 * WINDOW), (WINDOW * row, column, row), writeable=False
    )
    # Products of whole numbers below 2^24: exact in any order of summing.
    flat = np.flatnonzero(one @ two >= least)
    at = flat // (2 * WINDOW)
    to = at // WINDOW * WINDOW + flat % (2 * WINDOW)
    ahead = (to > at) & (to <= at + WINDOW)
    return at[ahead], to[ahead]


def _skipped(keys: Packed) -> int:
    """Pairs of equal keys that lie more than WINDOW apart."""
    starts = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, int)
    )
    lengths = np.diff(np.append(starts, len(keys)))
    beyond = lengths[lengths > WINDOW] - WINDOW
    return int((beyond * (beyond - 1) // 2).sum())


def keys_of(codes: Codes, kinds: Kinds, table: int, bits: int = _ORDER_BITS) -> Packed:
    """Kind and the signs of the turned codes, the first sign highest."""
    signs = codes.astype(np.float32) @ _rotation(table, codes.shape[1])[:, :bits] > 0
    keys = kinds.astype(np.uint64) << np.uint64(bits)
    if bits:
        padded = np.zeros((len(codes), 64), np.bool_)
        padded[:, 64 - bits :] = signs
        keys |= np.packbits(padded, axis=1).view(">u8")[:, 0].astype(np.uint64)
    return keys


@lru_cache(maxsize=64)
def _rotation(table: int, length: int) -> npt.NDArray[np.float32]:
    """What turns codes into the values whose signs are the key: (length, 36).

    A random rotation of the first directions, which carry the most signal, in whole multiples of 2^-10, so
    that products with codes are exact on any machine.
    """
    drawn = np.random.default_rng([0, table]).normal(size=(_ORDER_BITS, _ORDER_BITS))
    turned = np.zeros((length, _ORDER_BITS), np.float32)
    turned[:_ORDER_BITS] = np.rint(np.linalg.qr(drawn)[0] * 1024) / 1024
    return turned


def _tasks(
    codes: Codes, kinds: Kinds, n_tables: int, prefix: int, slice_points: int, workers: int
) -> Iterator[tuple[int, Numbers | None]]:
    """Every table and the points of each of its slices."""
    for table in range(n_tables):
        if len(codes) <= slice_points:
            yield table, None
            continue
        cells = cells_of(codes, kinds, table, prefix)
        for start, stop in slices_of(cells, slice_points):
            yield table, np.flatnonzero((cells >= start) & (cells < stop))


class _Parts:
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
        packed = first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
        if self.n_parts == 1:
            self._append(0, packed)
            return
        part = np.searchsorted(self._bounds, first, side="right") - 1
        for number in np.unique(part):
            self._append(int(number), packed[part == number])

    def end_of_image(self, packed: Packed, at: int) -> int:
        """Where the pairs end whose first point is of the image of that of pair ``at``."""
        image = self._images[int(packed[at] >> np.uint64(32))]
        end = int(np.searchsorted(self._images, image, side="right"))
        return int(np.searchsorted(packed, np.uint64(end) << np.uint64(32)))

    def read(self, part: int) -> Packed:
        self._settle(part)
        return self._stored(part)

    def close(self) -> None:
        for part in range(self.n_parts):
            if self._scratch is not None:
                self._file(part).unlink(missing_ok=True)
            self._held[part] = np.zeros(0, np.uint64)

    def _append(self, part: int, packed: Packed) -> None:
        waiting = self._waiting[part]
        waiting.append(packed)
        if sum(map(len, waiting)) > max(2**18, len(self._held[part])):
            self._settle(part)

    def _settle(self, part: int) -> None:
        if not self._waiting[part]:
            return
        merged = np.unique(np.concatenate([self._stored(part), *self._waiting[part]]))
        self._waiting[part] = []
        if self._scratch is not None:
            with open(self._file(part), "wb") as file:  # tofile hides what is wrong with a disk
                file.write(merged.data)
            merged = np.memmap(self._file(part), np.uint64, "r") if len(merged) else merged
        self._held[part] = merged

    def _stored(self, part: int) -> Packed:
        return self._held[part]

    def _file(self, part: int) -> Path:
        assert self._scratch is not None
        return self._scratch / f"pairs-{part:05d}.u64"
