"""Scores of pairs of tiles, each content once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["PAIRS_AT_A_TIME", "ScoredOnce"]

PAIRS_AT_A_TIME = 1024
"""Pairs of tiles that one thread scores at a time: 8 MB of descriptors."""

Rows = npt.NDArray[np.int64]


class ScoredOnce:
    """Scores of pairs of tile rows; pairs of equal content, which crops of one acquisition often are, are
    scored once.

    They are scored in portions, and a score's last digits depend on the portion. Content alone decides what
    is in each, so that they come out the same wherever the portions are scored.

    Parameters
    ----------
    hashes : (n_rows,) uint64
        Of the verify descriptors of all rows.
    score : callable
        Portions, a list of (2, k) rows with k at most ``PAIRS_AT_A_TIME`` -> the (k,) scores of each.
    """

    def __init__(
        self,
        hashes: npt.NDArray[np.uint64],
        score: Callable[[list[Rows]], Iterable[npt.NDArray[np.float32]]],
    ) -> None:
        self.hashes = hashes
        self.score = score
        self.known_keys = np.zeros(0, np.uint64)
        self.known_scores = np.zeros(0, np.float32)

    def __call__(self, rows1: Rows, rows2: Rows) -> npt.NDArray[np.float32]:
        wanted = self.hashes[rows1] * np.uint64(0x9E3779B97F4A7C15) + self.hashes[rows2]
        keys, first, place = np.unique(wanted, return_index=True, return_inverse=True)
        new = ~np.isin(keys, self.known_keys)
        pairs = np.stack([rows1[first[new]], rows2[first[new]]])
        portions = [pairs[:, at : at + PAIRS_AT_A_TIME] for at in range(0, pairs.shape[1], PAIRS_AT_A_TIME)]
        all_keys = np.concatenate([self.known_keys, keys[new]])
        scores = np.concatenate([self.known_scores, *self.score(portions)])
        order = np.argsort(all_keys)
        self.known_keys, self.known_scores = all_keys[order], scores[order]
        found = self.known_scores[np.searchsorted(self.known_keys, keys)]
        return np.asarray(found[place], np.float32)
