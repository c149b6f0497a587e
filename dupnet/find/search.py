"""From search descriptors to candidates: every pair of tiles that look alike.

Small collections are searched exactly, by matrix products over blocks. Large ones go through the tables of
:mod:`dupnet.find.hash_tables`: descriptors that share a bucket are compared exactly.

Directions are of +1 and -1 and descriptors of whole numbers, so every product is a whole number below 2**24,
which float32 holds exactly: what is found does not depend on the size of blocks, the number of workers or the
order of the files, and whether two descriptors are compared depends on these two alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.find.hash_tables import (
    N_TABLES,
    Buckets,
    Descriptors,
    Numbers,
    batches,
    blocks_of,
    hashed,
    members_of,
    pairs_of_blocks,
)

__all__ = [
    "EXACT_UP_TO",
    "MAX_NEIGHBOURS",
    "SEARCH_VERSION",
    "Candidates",
    "candidates",
    "equal_sets",
    "first_of_each",
    "gather",
    "hash_rows",
    "pairs_above",
    "with_equals",
]

SEARCH_VERSION = 1
"""Raised with every change of what is found: parts of a search that another version stored do not count."""

EXACT_UP_TO = 150_000
"""Descriptors up to which every pair is compared, so that none is missed. The hash tables are quicker well
before that; far beyond, nothing else ends in a bearable time (benchmarks/speed)."""

MAX_NEIGHBOURS = 64
"""Later tiles that a tile is paired with at most. A place is seen in at most 9 images of a 3 x 3 grid cut at
a stride of one tile; what looks like more than 64 others looks like everything: it is chained to the next."""

_BATCH_ROWS = 2**14
_COMPACT_AFTER = 2**22

Cosines = npt.NDArray[np.float32]
Found = tuple[Numbers, Cosines]  # keys `number1 * n + number2` of pairs, number1 < number2


class Candidates(NamedTuple):
    """Pairs of tiles that look alike, and what was done to get them."""

    rows1: Numbers
    """Row of the first tile of each pair; pairs are sorted by ``rows1, rows2``, and ``rows1 < rows2``."""
    rows2: Numbers
    cosine: Cosines
    n_searched: int
    """Descriptors that took part."""
    n_equal: int
    """How many of them equal an earlier one bit by bit; these are searched once."""
    exact: bool
    """Whether every pair was compared."""


def candidates(
    descriptors: Descriptors,
    valid: npt.NDArray[np.bool_] | None = None,
    threshold: float = 0.6,
    *,
    sides: npt.NDArray[np.bool_] | None = None,
    workers: int | None = None,
    exact_up_to: int = EXACT_UP_TO,
    progress: bool = False,
) -> Candidates:
    """Every pair of descriptors whose cosine is at least ``threshold``.

    Parameters
    ----------
    descriptors : (n, d) int8
        Search descriptors, d up to 1,024; may be memory-mapped.
    valid : (n,) bool, optional
        Rows that take part; all by default. Rows that are zero throughout never do.
    threshold : float
        Cosine, in (0, 1], from which two tiles are a candidate.
    sides : (n,) bool, optional
        Which of two collections each row is of: only pairs of one row of either are wanted.
    workers : int, optional
        Threads; one for every core by default. The result does not depend on it.
    exact_up_to : int
        Number of different descriptors up to which all pairs are compared.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Candidates
        Where more than ``MAX_NEIGHBOURS`` different tiles are all alike, each is paired with the next so many
        only. Of two sets of equal tiles that are alike, all pairs up to ``MAX_NEIGHBOURS**2``, else the first
        of each.

    Raises
    ------
    ValueError
        If the arrays do not fit together, or the threshold is not in (0, 1].
    """
    if descriptors.ndim != 2 or descriptors.dtype != np.int8:
        raise ValueError(f"descriptors is {descriptors.shape} of {descriptors.dtype}; pass (n, d) int8.")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a cosine in (0, 1] is needed.")
    for name, flags in (("valid", valid), ("sides", sides)):
        if flags is not None and (flags.shape != descriptors.shape[:1] or flags.dtype != bool):
            raise ValueError(
                f"{name} is {flags.dtype} of shape {flags.shape}; {len(descriptors)} descriptors need one "
                "bool each."
            )
    workers = n_workers(workers)
    rows = np.arange(len(descriptors)) if valid is None else np.flatnonzero(valid)
    rows = rows[_squared_lengths(descriptors, rows) > 0]
    members, starts = equal_sets(rows, _leaders(descriptors, rows, sides))
    different = members[starts[:-1]]
    exact = len(different) <= exact_up_to
    found = pairs_above(
        descriptors, different, threshold, exact, sides=sides, workers=workers, progress=progress
    )
    pairs = with_equals(*found, members, starts, within=sides is None)
    return Candidates(*pairs, len(rows), len(rows) - len(different), exact)


def pairs_above(
    descriptors: Descriptors,
    rows: Numbers,
    threshold: float,
    exact: bool,
    *,
    sides: npt.NDArray[np.bool_] | None = None,
    buckets: Buckets | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Found:
    """Pairs of different descriptors whose cosine is at least ``threshold``.

    Parameters
    ----------
    descriptors : (n, d) int8
        Search descriptors.
    rows : (m,) int64
        Rows that take part, ascending. Number ``i`` is ``rows[i]``.
    exact : bool
        Whether to compare every pair, or those alone that share a bucket.
    buckets : (m, N_TABLES, N_PROBES) uint16, optional
        What :func:`dupnet.find.hash_tables.hashed` says of these rows; worked out where it is missing and
        needed.
    threshold, sides, workers, progress
        As for :func:`candidates`.

    Returns
    -------
    keys : (k,) int64
        ``number1 * m + number2``, number1 < number2, sorted; of each number1 the first ``MAX_NEIGHBOURS``.
    cosine : (k,) float32
    """
    searched = _Searched(descriptors, rows, threshold, sides, buckets, workers, progress)
    with one_blas_thread():  # the threads are ours, a product each
        return gather(searched.all_pairs() if exact else searched.hashed_pairs(), len(rows))


class _Searched:
    """Different descriptors, numbered in the order of ``rows``, and the two ways to search them."""

    def __init__(
        self,
        descriptors: Descriptors,
        rows: Numbers,
        threshold: float,
        sides: npt.NDArray[np.bool_] | None,
        buckets: Buckets | None,
        workers: int,
        progress: bool,
    ) -> None:
        self.descriptors = descriptors
        self.rows = rows
        self.threshold = threshold
        numbers = np.arange(len(rows))
        # One group, of which all are compared with one another, or two, each with the other.
        self.groups = [numbers] if sides is None else [numbers[sides[rows] == side] for side in (False, True)]
        self.buckets = buckets
        self.workers = workers
        self.progress = partial(tqdm, desc="search", disable=not progress, unit="step")
        self.squares = _squared_lengths(descriptors, rows)

    def all_pairs(self) -> Iterator[Found]:
        """Every pair, block by block."""
        blocks = [blocks_of(group) for group in self.groups]
        pairs = list(pairs_of_blocks(blocks[0], blocks[-1]))
        return map_in_order(self._alike, self.progress(pairs), self.workers)

    def hashed_pairs(self) -> Iterator[Found]:
        """Every pair that shares a bucket, table by table; a pair is found in every bucket that it shares."""
        for table in self.progress(range(N_TABLES)):
            if self.buckets is None:
                buckets = hashed(self.descriptors, self.rows, [table], self.workers)[:, 0]
            else:
                buckets = self.buckets[:, table]
            members = [members_of(buckets[group], group) for group in self.groups]
            yield from map_in_order(self._alike, batches(members[0], members[-1]), self.workers)

    def _alike(self, batch: tuple[Numbers, Numbers]) -> Found:
        """Pairs above the threshold: of ``batch[0][k]`` with ``batch[1][k]``, for all k; -1 is no number.

        Of each number at most MAX_NEIGHBOURS, or a crowd of tiles that are all alike would take all the
        memory.
        """
        one, other = batch
        vectors1 = self._vectors(one)
        vectors2 = vectors1 if other is one else self._vectors(other)
        products = np.matmul(vectors1, vectors2.swapaxes(1, 2))
        shortest = np.sqrt(self.squares[one].min() * self.squares[other].min())
        # A little lower, so that rounding here loses nothing that the comparison of cosines below would keep.
        above = products >= np.float32(0.9999 * self.threshold * shortest)
        if other is one:  # ascending numbers: each pair once, and none with itself
            above &= np.arange(one.shape[1])[:, None] < np.arange(one.shape[1])
            return self._kept(above, 2, products, one, other)
        if one.max() < other.min():
            return self._kept(above, 2, products, one, other)
        # Of two groups, either may hold the first tile of a pair.
        is_first = one[:, :, None] < other[:, None, :]
        found = [self._kept(above & is_first, 2, products, one, other)]
        found.append(self._kept(above & ~is_first, 1, products, one, other))
        keys, cosines = zip(*found, strict=True)
        return np.concatenate(keys), np.concatenate(cosines)

    def _kept(
        self, above: npt.NDArray[np.bool_], axis: int, products: Cosines, one: Numbers, other: Numbers
    ) -> Found:
        """Pairs whose product is ``above``, and whose cosine is too; of each first number those with the
        first ``MAX_NEIGHBOURS`` along ``axis``."""
        if above.sum(axis=axis).max(initial=0) > MAX_NEIGHBOURS:
            # What is near enough by the shortest lengths alone must take no place.
            lengths = np.sqrt(self.squares[one][:, :, None] * self.squares[other][:, None, :])
            above &= products / lengths >= self.threshold
            above &= np.cumsum(above, axis=axis, dtype=np.int32) <= MAX_NEIGHBOURS
        at = np.flatnonzero(above)
        k, i, j = np.unravel_index(at, products.shape)
        number1, number2 = (one[k, i], other[k, j]) if axis == 2 else (other[k, j], one[k, i])
        cosine = products.reshape(-1)[at] / np.sqrt(self.squares[number1] * self.squares[number2])
        kept = cosine >= self.threshold
        return (number1 * len(self.rows) + number2)[kept], cosine[kept].astype(np.float32)

    def _vectors(self, numbers: Numbers) -> npt.NDArray[np.float32]:
        vectors = self.descriptors[self.rows[numbers]].astype(np.float32)
        vectors[numbers < 0] = 0
        return vectors


def gather(found: Iterable[Found], n: int) -> Found:
    """All found pairs of n numbers, each once, and of each first one the first ``MAX_NEIGHBOURS``.

    Keys (k,) int64 are ``number1 * n + number2``, number1 < number2; they come back sorted, with their
    cosines (k,) float32.
    """
    keys, cosines = np.zeros(0, np.int64), np.zeros(0, np.float32)
    waiting: list[Found] = []
    n_waiting = 0

    def compact() -> Found:
        together = np.concatenate([keys, *(key for key, _ in waiting)])
        unique, first = np.unique(together, return_index=True)
        rank = np.arange(len(unique)) - np.searchsorted(unique, unique // n * n) if n else unique
        kept = rank < MAX_NEIGHBOURS
        return unique[kept], np.concatenate([cosines, *(cosine for _, cosine in waiting)])[first[kept]]

    for pairs in found:
        waiting.append(pairs)
        n_waiting += len(pairs[0])
        if n_waiting > max(_COMPACT_AFTER, len(keys)):
            keys, cosines = compact()
            waiting, n_waiting = [], 0
    return compact()


def hash_rows(rows: npt.NDArray[np.int8] | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """A hash of 64 bits for each row of bytes (n, width): equal for equal rows, and hardly ever else."""
    words = -(-rows.shape[1] // 8)
    factors = np.random.default_rng(0).integers(2**63, size=words, dtype=np.uint64) * 2 + 1
    padded = np.zeros((len(rows), 8 * words), np.uint8)
    padded[:, : rows.shape[1]] = rows.view(np.uint8)
    mixed = padded.view(np.uint64) * factors
    return np.asarray(((mixed ^ (mixed >> 32)) * factors).sum(axis=1), np.uint64)


def equal_sets(rows: Numbers, leader: Numbers) -> tuple[Numbers, Numbers]:
    """Sets of equal rows: ``members[starts[k]:starts[k + 1]]``, ascending; sets by their first.

    ``leader[i]`` is the place in ``rows`` of the first that equals ``rows[i]``.
    """
    by_leader = np.argsort(leader, kind="stable")
    starts = np.flatnonzero(np.diff(leader[by_leader], prepend=-1))
    return rows[by_leader], np.append(starts, len(rows))


def _leaders(descriptors: Descriptors, rows: Numbers, sides: npt.NDArray[np.bool_] | None) -> Numbers:
    """The place in ``rows`` of the first with the same descriptor (and of the same side), of every row."""
    hashes = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _BATCH_ROWS):
        part = rows[start : start + _BATCH_ROWS]
        hashes[start : start + len(part)] = hash_rows(descriptors[part])
    if sides is not None:  # sets of one side each
        hashes ^= sides[rows].astype(np.uint64)
    order = np.argsort(hashes, kind="stable")
    begins = np.ones(len(rows), bool)
    alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    for start in range(0, len(alike), _BATCH_ROWS):  # equal hashes prove nothing
        at = alike[start : start + _BATCH_ROWS]
        begins[at + 1] = (descriptors[rows[order[at]]] != descriptors[rows[order[at + 1]]]).any(axis=1)
    return first_of_each(order, begins)


def first_of_each(order: Numbers, begins: npt.NDArray[np.bool_]) -> Numbers:
    """Of every place the first of its run, where ``order`` lists all places run by run, and ``begins`` says
    where a run does; places of a run ascend."""
    first = np.empty(len(order), np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def with_equals(
    keys: Numbers, cosine: Cosines, members: Numbers, starts: Numbers, within: bool
) -> tuple[Numbers, Numbers, Cosines]:
    """Pairs of rows from pairs of sets of equal rows: all with all, up to ``MAX_NEIGHBOURS**2``, else the
    first of each.

    Parameters
    ----------
    keys, cosine : (k,) int64, (k,) float32
        Of :func:`pairs_above`, where number ``i`` is set ``i``.
    members, starts : (n,) int64, (n_sets + 1,) int64
        Of :func:`equal_sets`.
    within : bool
        Whether rows of one set are pairs too: each with the next ``MAX_NEIGHBOURS``.

    Returns
    -------
    rows1, rows2, cosine : (m,) int64, int64, float32
        Sorted by ``rows1, rows2``, and ``rows1 < rows2``.
    """
    sizes = np.diff(starts)
    # Within a set: each with those that follow it.
    set_of = np.repeat(np.arange(len(sizes)), sizes)
    shared = np.flatnonzero((sizes[set_of] > 1) & within)
    follow: list[tuple[Numbers, Numbers]] = []
    for step in range(1, min(MAX_NEIGHBOURS, int(sizes.max(initial=1)) - 1) + 1):
        shared = shared[shared + step < starts[set_of[shared] + 1]]
        follow.append((members[shared], members[shared + step]))
    # Between two sets: every one with every other.
    set1, set2 = np.divmod(keys, max(len(sizes), 1))
    size1, size2 = sizes[set1], sizes[set2]
    too_many = size1 * size2 > MAX_NEIGHBOURS**2
    size1, size2 = np.where(too_many, 1, size1), np.where(too_many, 1, size2)
    pair = np.repeat(np.arange(len(keys)), size1 * size2)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(size1 * size2) - size1 * size2, size1 * size2)
    place1, place2 = np.divmod(place, size2[pair])
    between = (members[starts[set1[pair]] + place1], members[starts[set2[pair]] + place2])
    row1, row2 = (np.concatenate(rows) for rows in zip(between, *follow, strict=True))
    likeness = np.concatenate([cosine[pair], np.ones(len(row1) - len(pair), np.float32)])
    row1, row2 = np.minimum(row1, row2), np.maximum(row1, row2)
    order = np.lexsort((row2, row1))
    return row1[order], row2[order], likeness[order]


def _squared_lengths(descriptors: Descriptors, rows: Numbers) -> npt.NDArray[np.float64]:
    squares = np.empty(len(rows))
    for start in range(0, len(rows), _BATCH_ROWS):
        part = descriptors[rows[start : start + _BATCH_ROWS]]
        squares[start : start + len(part)] = np.einsum("nd,nd->n", part, part, dtype=np.int32)
    return squares
