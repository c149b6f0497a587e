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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.find.matches import MIN_COSINE, Pairs, Parts, unpacked
from dupnet.find.points import UNIT

__all__ = [
    "MIN_COSINE",
    "N_TABLES",
    "WINDOW",
    "Cells",
    "Compare",
    "Joined",
    "Pairs",
    "Slice",
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

WINDOW = 16
"""A point is compared with so many that follow it in a table, at least. On 2,000 crops of 400 px, 450,000
points, 8 tables propose as many true pairs with 16 as with 64; 6 tables lose 2 of 10,000."""

MAX_WINDOW = 64
WINDOW_POINTS = 2**16
"""Points for each that is compared, beyond the first window: of a larger collection, more lie between two
that belong together."""

SLICE_POINTS = 2**21
"""Points that are held at a time: some 0.5 GB with all that a worker makes of them."""

PAIRS_AT_A_TIME = 2**21
"""Pairs of points that are given at a time: some 0.5 GB with all that their votes take."""

_TURNED = 36  # directions of a code, those of most signal
_ORDER_BITS = 32  # signs of a key; with the kind 36 bits, beside 24 for the place within a slice
_CELL_POINTS = 2**16  # about so many points share the signs that slices are cut by
_MAX_PREFIX = 12
_ROWS = 2**13  # at a time, where codes are turned
_AT_A_TIME = 2**13  # points compared with those that follow; a multiple of every window


class Slice(NamedTuple):
    """Points of some cells of a table, which are compared with each other."""

    table: int
    prefix: int
    window: int
    all_codes: Codes
    all_kinds: Kinds
    rows: Numbers | None
    """Their numbers, ascending; None for all points."""

    @property
    def numbers(self) -> Numbers:
        """Their numbers, ascending."""
        return np.arange(len(self.all_codes)) if self.rows is None else self.rows

    @property
    def codes(self) -> Codes:
        """Their codes, in memory."""
        return np.asarray(self.all_codes if self.rows is None else self.all_codes[self.rows])

    @property
    def kinds(self) -> Kinds:
        """Their kinds."""
        return self.all_kinds if self.rows is None else self.all_kinds[self.rows]


Compare = Callable[[Iterator[Slice], float], Iterator[tuple[Numbers, Numbers, int]]]
"""Slices and the least cosine -> of each what :func:`table_pairs` finds, by the numbers of the points."""


@dataclass
class Joined:
    """What a join found. Iterating gives :class:`Pairs`, part by part, each of other (first) images, and of
    :data:`PAIRS_AT_A_TIME` at most, unless one image has more.

    ``recurring``: (n,) bool, points whose code recurs elsewhere in their own image. ``n_skipped``: pairs of
    points with equal keys that were not compared, in a table on average, since too many look alike.
    """

    recurring: npt.NDArray[np.bool_]
    n_skipped: int
    parts: Parts

    def __iter__(self) -> Iterator[Pairs]:
        for part in range(self.parts.n_parts):
            pairs = self.parts.read(part)
            start = 0
            while start < len(pairs):
                stop = self.parts.end_of_image(pairs, min(start + PAIRS_AT_A_TIME, len(pairs)) - 1)
                yield unpacked(np.asarray(pairs[start:stop]))
                start = stop

    def close(self) -> None:
        """Remove the files of the pairs, where they are in files."""
        self.parts.close()


def join(
    codes: Codes,
    images: Images,
    kinds: Kinds,
    *,
    sides: npt.NDArray[np.bool_] | None = None,
    ignored: npt.NDArray[np.bool_] | None = None,
    answering: npt.NDArray[np.bool_] | None = None,
    min_cosine: float = MIN_COSINE,
    n_tables: int = N_TABLES,
    workers: int | None = None,
    slice_points: int = SLICE_POINTS,
    compare: Compare | None = None,
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
    answering : (n,) bool, optional
        Points of which no two are paired with each other, only with others.
    min_cosine : float
        Least cosine of a pair.
    n_tables : int
        More find more, at their cost.
    workers, slice_points : int
        Threads, as many as there are cores by default, and points that each holds at a time.
    compare : callable, optional
        What compares the points of slices, in order, where it is not threads of this process.
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
    parts = Parts(images, scratch)
    recurring = np.zeros(n, np.bool_)
    skipped = 0
    prefix, window = n_prefix_bits(n), window_of(n)

    slices = _slices(codes, kinds, n_tables, prefix, window, slice_points)
    bar = tqdm(total=n * n_tables, desc="join", unit="point", unit_scale=True, disable=not progress)

    def here(slices: Iterator[Slice], min_cosine: float) -> Iterator[tuple[Numbers, Numbers, int]]:
        def compared(one: Slice) -> tuple[Numbers, Numbers, int]:
            found = table_pairs(codes, kinds, one.rows, one.table, prefix, window, min_cosine)
            bar.update(n if one.rows is None else len(one.rows))
            return found

        return map_in_order(compared, slices, n_workers(workers))

    with one_blas_thread(), bar:
        for first, second, missed in (compare or here)(slices, min_cosine):
            skipped += missed
            if ignored is not None:
                counted = ~(ignored[first] | ignored[second])
                first, second = first[counted], second[counted]
            one, two = images[first], images[second]
            within = one == two
            recurring[first[within]] = True
            recurring[second[within]] = True
            wanted = ~within if sides is None else sides[one] != sides[two]
            if answering is not None:
                wanted &= ~(answering[first] & answering[second])
            parts.add(first[wanted], second[wanted])
    return Joined(recurring, skipped // max(1, n_tables), parts)


def n_prefix_bits(n_points: int) -> int:
    """Signs that the points of one cell share: a table compares within cells, and slices are made of them."""
    return int(np.clip(np.log2(max(1, n_points) / _CELL_POINTS), 0, _MAX_PREFIX))


def window_of(n_points: int) -> int:
    """With how many that follow it a point is compared, in a collection of so many."""
    doublings = np.log2(max(1, n_points) / (WINDOW * WINDOW_POINTS))
    return int(WINDOW * 2 ** np.clip(np.floor(doublings), 0, np.log2(MAX_WINDOW / WINDOW)))


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
    codes: Codes,
    kinds: Kinds,
    rows: Numbers | None,
    table: int,
    prefix: int,
    window: int = WINDOW,
    min_cosine: float = MIN_COSINE,
) -> tuple[Numbers, Numbers, int]:
    """Pairs of points with nearly one code among ``rows`` (ascending; None for all), as one table finds them.

    ``rows`` are all points of some cells, ``prefix`` and ``window`` those of :func:`n_prefix_bits` and
    :func:`window_of` for the whole collection. Returns point numbers ``first`` < ``second``, pairs within an
    image included, and how many pairs of equal keys were not compared.
    """
    held = np.asarray(codes if rows is None else np.take(codes, rows, axis=0))
    keys = keys_of(held, kinds if rows is None else kinds[rows], table)
    if len(held) > 2**24:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    else:
        # Key and place in one number: sorting numbers is several times as fast as sorting by them.
        packed = keys << np.uint64(24)
        packed |= np.arange(len(keys), dtype=np.uint64)
        packed.sort()
        order = (packed & np.uint64(2**24 - 1)).astype(np.int64)
        keys = packed >> np.uint64(24)
    cells = keys >> np.uint64(_ORDER_BITS - prefix)
    least = np.float32(min_cosine * UNIT**2)
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(order), _AT_A_TIME):
        at, to = _close(held, order[start : start + _AT_A_TIME + window], least, window)
        at, to = at + start, to + start
        same = cells[at] == cells[to]
        firsts.append(order[at[same]])
        seconds.append(order[to[same]])
    one, two = np.concatenate(firsts), np.concatenate(seconds)
    first, second = np.minimum(one, two), np.maximum(one, two)
    if rows is not None:
        first, second = rows[first], rows[second]
    return first, second, _skipped(keys, window)


def _close(held: Codes, order: Numbers, least: np.float32, window: int) -> tuple[Numbers, Numbers]:
    """Places (at, to) in ``order`` of points at most ``window`` apart, with a product of at least ``least``.

    ``at`` lies in the first ``_AT_A_TIME``; what follows is there to be compared with.
    """
    n_blocks = min(_AT_A_TIME, -(-len(order) // window) * window) // window
    vectors = np.zeros(((n_blocks + 1) * window, held.shape[1]), np.float32)
    vectors[: len(order)] = np.take(held, order, axis=0)
    length = vectors.shape[1]
    one = vectors[: n_blocks * window].reshape(n_blocks, window, length)
    row, column = vectors.strides
    two = np.lib.stride_tricks.as_strided(
        vectors, (n_blocks, length, 2 * window), (window * row, column, row), writeable=False
    )
    # Products of whole numbers below 2^24: exact in any order of summing.
    flat = np.flatnonzero(one @ two >= least)
    at = flat // (2 * window)
    to = at // window * window + flat % (2 * window)
    ahead = (to > at) & (to <= at + window)
    return at[ahead], to[ahead]


def _skipped(keys: Packed, window: int) -> int:
    """Pairs of equal keys that lie more than ``window`` apart."""
    starts = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, int)
    )
    lengths = np.diff(np.append(starts, len(keys)))
    beyond = lengths[lengths > window] - window
    return int((beyond * (beyond - 1) // 2).sum())


def keys_of(codes: Codes, kinds: Kinds, table: int, bits: int = _ORDER_BITS) -> Packed:
    """Kind and the first ``bits`` signs of the turned codes, the first sign highest."""
    rotation = _rotation(table, codes.shape[1])
    signs = np.empty((len(codes), _ORDER_BITS), np.bool_)
    for start in range(0, len(codes), _ROWS):
        rows = slice(start, start + _ROWS)
        np.greater(codes[rows].astype(np.float32) @ rotation, 0, out=signs[rows])
    keys = np.packbits(signs.reshape(-1)).view(">u4").astype(np.uint64)
    keys |= kinds.astype(np.uint64) << np.uint64(_ORDER_BITS)
    return keys >> np.uint64(_ORDER_BITS - bits)


@lru_cache(maxsize=64)
def _rotation(table: int, length: int) -> npt.NDArray[np.float32]:
    """What turns codes into the values whose signs are the key: (length, 32).

    A random rotation of the first directions, which carry the most signal, in whole multiples of 2^-10, so
    that products with codes are exact on any machine.
    """
    drawn = np.random.default_rng([0, table]).normal(size=(_TURNED, _TURNED))
    turned = np.zeros((length, _ORDER_BITS), np.float32)
    turned[:_TURNED] = np.rint(np.linalg.qr(drawn)[0][:, :_ORDER_BITS] * 1024) / 1024
    return turned


def _slices(
    codes: Codes, kinds: Kinds, n_tables: int, prefix: int, window: int, slice_points: int
) -> Iterator[Slice]:
    for table in range(n_tables):
        if len(codes) <= slice_points:
            yield Slice(table, prefix, window, codes, kinds, None)
            continue
        cells = cells_of(codes, kinds, table, prefix)
        for start, stop in slices_of(cells, slice_points):
            rows = np.flatnonzero((cells >= start) & (cells < stop))
            yield Slice(table, prefix, window, codes, kinds, rows)
