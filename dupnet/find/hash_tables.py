"""Hash tables for descriptors: what is alike falls into one bucket, and buckets are compared in batches.

Several tables of locality-sensitive hashing (after Andoni, Indyk, Laarhoven, Razenshteyn and Schmidt,
"Practical and optimal LSH for angular distance", 2015, arXiv:1509.02897): of two sets of fixed random
directions, the best of each name the buckets that a descriptor falls into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dupnet.files.workers import map_in_order

__all__ = [
    "N_PROBES",
    "N_TABLES",
    "batches",
    "blocks_of",
    "hashed",
    "members_of",
    "pairs_of_blocks",
]

Descriptors = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.int64]
Buckets = npt.NDArray[np.uint16]
Members = tuple[npt.NDArray[np.uint32], Numbers]
"""Members of all buckets and where those of each start: ``members[starts[b]:starts[b + 1]]``, ascending."""

N_TABLES = 16
"""Hash tables. One misses a pair of cosine 0.8 with probability 0.36, of 0.7 with 0.60; all of them with
1e-7 and 3e-4 (benchmarks/speed)."""

N_PROBES = 8
"""Buckets of one table that a descriptor falls into."""

_DIRECTIONS = 128  # of a set; with the opposites of each, two sets name (2 * 128)**2 = 2**16 buckets
_BLOCK = 2048  # rows of a block: a product of two blocks is 16 MB
_BATCH_ROWS = 2**14
_BATCH_PRODUCTS = 2**21


def hashed(
    descriptors: Descriptors, rows: Numbers, tables: Sequence[int] = range(N_TABLES), workers: int = 1
) -> Buckets:
    """The buckets that descriptors fall into: (rows, tables, ``N_PROBES``) uint16."""
    found = np.empty((len(rows), len(tables), N_PROBES), np.uint16)
    signs = [_signs(table, descriptors.shape[1]) for table in tables]

    def hash_block(start: int) -> None:
        block = slice(start, start + _BLOCK)
        vectors = descriptors[rows[block]].astype(np.float32)
        for at, directions in enumerate(signs):
            found[block, at] = _probes(vectors @ directions)

    for _ in map_in_order(hash_block, range(0, len(rows), _BLOCK), workers):
        pass
    return found


def _signs(table: int, length: int) -> npt.NDArray[np.float32]:
    """The directions of a table: (length, 2 * _DIRECTIONS) of +1 and -1."""
    rng = np.random.default_rng([0, table])
    return rng.choice(np.array([-1, 1], np.float32), (length, 2 * _DIRECTIONS))


def _probes(projected: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Buckets (n, N_PROBES) of n descriptors, from their products (n, 2 * _DIRECTIONS) with the directions.

    A bucket is a direction of the first set and one of the second, each with its sign; the best have the
    largest sum of both products. The i-th best of one set and the j-th of the other (counted from 1) can be
    among the best N_PROBES only if i * j <= N_PROBES.
    """
    n = len(projected)
    names, values = [], []
    for part in (projected[:, :_DIRECTIONS], projected[:, _DIRECTIONS:]):
        size = np.abs(part)
        name, value = np.empty((n, N_PROBES), np.int64), np.empty((n, N_PROBES), np.float32)
        for turn in range(N_PROBES):
            best = size.argmax(axis=1)[:, None]
            value[:, turn] = np.take_along_axis(size, best, 1)[:, 0]
            name[:, turn] = (2 * best + (np.take_along_axis(part, best, 1) > 0))[:, 0]
            np.put_along_axis(size, best, -1, 1)
        names.append(name)
        values.append(value)
    ranks = np.arange(N_PROBES)
    i, j = np.nonzero(np.outer(ranks + 1, ranks + 1) <= N_PROBES)
    chosen = np.argsort(-(values[0][:, i] + values[1][:, j]), axis=1, kind="stable")[:, :N_PROBES]
    buckets = names[0][:, i] * (2 * _DIRECTIONS) + names[1][:, j]
    return np.take_along_axis(buckets, chosen, 1).astype(np.uint16)


def members_of(buckets: Buckets, numbers: Numbers) -> Members:
    """``numbers``, ascending, by the buckets (n, N_PROBES) of each."""
    counts = np.bincount(buckets.reshape(-1), minlength=4 * _DIRECTIONS**2)
    order = np.argsort(buckets.reshape(-1), kind="stable")  # of 16 bits: a radix sort
    members = numbers[order // N_PROBES].astype(np.uint32)
    return members, np.concatenate([[0], np.cumsum(counts)])


def batches(first: Members, second: Members) -> Iterator[tuple[Numbers, Numbers]]:
    """Buckets of one group with themselves, or with those of another group, gathered into batches of a
    bounded size: (buckets, members) of either, ended with -1 where a bucket holds fewer.

    Buckets of about one size go together, so that little is padded; one that is too large is taken apart into
    blocks.
    """
    is_one = second is first
    sizes1, sizes2 = np.diff(first[1]), np.diff(second[1])
    order = np.lexsort((sizes2, sizes1))
    order = order[sizes1[order] >= 2] if is_one else order[(sizes1[order] > 0) & (sizes2[order] > 0)]
    is_large = np.maximum(sizes1, sizes2)[order] > _BLOCK
    order, large = order[~is_large], order[is_large]
    at = 0
    while at < len(order):
        ahead = order[at : at + max(1, _BATCH_ROWS // int(sizes1[order[at]]))]
        # All are padded to the largest size.
        width1, width2 = np.maximum.accumulate(sizes1[ahead]), np.maximum.accumulate(sizes2[ahead])
        count = np.arange(1, len(ahead) + 1)
        fits = (count * np.maximum(width1, width2) <= _BATCH_ROWS) & (
            count * width1 * width2 <= _BATCH_PRODUCTS
        )
        batch = ahead[: max(1, int(fits.sum()))]
        one = _padded(*first, batch)
        yield one, one if is_one else _padded(*second, batch)
        at += len(batch)
    for bucket in large:
        blocks = [
            blocks_of(members[starts[bucket] : starts[bucket + 1]]) for members, starts in (first, second)
        ]
        yield from pairs_of_blocks(blocks[0], blocks[0] if is_one else blocks[1])


def blocks_of(numbers: npt.NDArray[Any]) -> list[Numbers]:
    """Numbers in blocks of (1, at most _BLOCK)."""
    numbers = numbers.astype(np.int64)
    return [numbers[None, at : at + _BLOCK] for at in range(0, len(numbers), _BLOCK)]


def pairs_of_blocks(first: list[Numbers], second: list[Numbers]) -> Iterator[tuple[Numbers, Numbers]]:
    """Each block of one group with itself and those after it, or each of one group with each of another."""
    for at, one in enumerate(first):
        yield from ((one, other) for other in (first[at:] if second is first else second))


def _padded(members: npt.NDArray[np.uint32], starts: Numbers, buckets: Numbers) -> Numbers:
    """The members of buckets, a row each: (buckets, largest) int64, ended with -1 where there are fewer."""
    sizes = np.diff(starts)[buckets]
    place = np.arange(sizes.max())
    inside = place < sizes[:, None]
    numbers = np.full(inside.shape, -1, np.int64)
    numbers[inside] = members[(starts[buckets][:, None] + place)[inside]]
    return numbers
