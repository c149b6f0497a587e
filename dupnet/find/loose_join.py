"""Points of some images looked up among those of a collection: which have nearly one code.

As in :mod:`dupnet.find.join`, tables sort points by the signs of their turned codes; here many codes of few
images are laid between the sorted points of all, and each is compared with those around its place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.join import keys_of
from dupnet.find.matches import MIN_COSINE, packed, unpacked
from dupnet.find.points import UNIT

__all__ = ["N_TABLES", "Lookup", "Matches"]

Codes = npt.NDArray[np.int8]
Kinds = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

N_TABLES = 6
"""Tables of a look-up."""

WINDOW = 64
"""Sorted points with which a block of codes is compared."""

BLOCK = 16
"""Codes of a block, which follow each other in the order of a table."""

_BLOCKS_AT_A_TIME = 512


class Matches(NamedTuple):
    """``queries, points`` (n,) int64: what was looked up, and what was found; sorted, no pair twice."""

    queries: Numbers
    points: Numbers


class Lookup:
    """The points of a collection, sorted in several tables.

    Parameters
    ----------
    codes : (n, 48) int8
        Codes.
    kinds : (n,) uint8
        Only points of one kind match.
    """

    def __init__(self, codes: Codes, kinds: Kinds) -> None:
        self._codes = codes
        self._tables = []
        for table in range(N_TABLES):
            keys = keys_of(codes, kinds, table)
            order = np.argsort(keys, kind="stable")
            self._tables.append((keys[order], order))

    def __call__(self, codes: Codes, kinds: Kinds) -> Matches:
        """Points whose code has a cosine of :data:`~dupnet.find.matches.MIN_COSINE` and more with one of
        ``codes`` (m, 48) of ``kinds`` (m,)."""
        found = [np.zeros(0, np.uint64)]
        for table, (keys, order) in enumerate(self._tables):
            queried = keys_of(codes, kinds, table)
            by_key = np.argsort(queried, kind="stable")
            place = np.searchsorted(keys, queried[by_key])
            found.append(self._near(codes, by_key, place, order))
        return Matches(*unpacked(np.unique(np.concatenate(found))))

    def _near(self, codes: Codes, by_key: Numbers, place: Numbers, order: Numbers) -> npt.NDArray[np.uint64]:
        n_blocks = -(-len(by_key) // BLOCK)
        found = []
        if not len(order):
            return np.zeros(0, np.uint64)
        steps = np.arange(WINDOW)
        for first in range(0, n_blocks, _BLOCKS_AT_A_TIME):
            last = min(first + _BLOCKS_AT_A_TIME, n_blocks)
            rows = np.arange(first * BLOCK, last * BLOCK)
            some = by_key[np.minimum(rows, len(by_key) - 1)].reshape(-1, BLOCK)
            middle = place[np.minimum(np.arange(first, last) * BLOCK + BLOCK // 2, len(place) - 1)]
            start = np.clip(middle - WINDOW // 2, 0, max(len(order) - WINDOW, 0))
            around = order[np.minimum(start[:, None] + steps, len(order) - 1)]
            one = codes[some].astype(np.float32)
            two = self._codes[around].astype(np.float32)
            # Products of whole numbers below 2^24: exact in any order of summing.
            products = np.matmul(one, two.transpose(0, 2, 1))
            flat = np.flatnonzero(products >= np.float32(MIN_COSINE * UNIT**2))
            block, rest = np.divmod(flat, BLOCK * WINDOW)
            row, column = np.divmod(rest, WINDOW)
            found.append(packed(some[block, row], around[block, column]))
        return np.concatenate([np.zeros(0, np.uint64), *found])
