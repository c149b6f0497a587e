"""Offsets of few votes, moved to the pixel at which two images agree best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from tqdm import tqdm

from dupnet.files.workers import map_in_order, n_workers
from dupnet.find.agreement import CERTAIN, refine_offset
from dupnet.find.overlaps import KEY
from dupnet.find.regions import Image
from dupnet.find.verification import in_order
from dupnet.find.votes import EXACT_FROM

__all__ = ["refine_offsets"]

REFINED_BY = 3
"""How far in pixels an offset of few votes may be off: points agree to within so much."""


def refine_offsets(
    pairs: pd.DataFrame, read: Callable[[int], Image], workers: int | None = None, progress: bool = False
) -> pd.DataFrame:
    """Move offsets of few votes to where the images agree best, up to :data:`REFINED_BY` px away.

    ``pairs`` with ``n_votes``, and ``read``, as for :func:`judge`. Offsets of :data:`EXACT_FROM` votes and
    more are exact, and stay; so do those of regions too narrow, or too flat, to correlate.
    """
    few = np.flatnonzero(pairs["n_votes"].to_numpy(np.int64) < EXACT_FROM)
    few = few[in_order(pairs.iloc[few])]

    def refined(key: list[int]) -> tuple[int, int]:
        one, two, y, x = key
        found = refine_offset(read(one), read(two), y, x, REFINED_BY)
        is_better = found and found.correlation > max(found.proposed, CERTAIN)
        return (found.y_offset, found.x_offset) if found and is_better else (y, x)

    offsets = pairs[KEY[2:]].to_numpy(np.int64, copy=True)
    keys = pairs[KEY].to_numpy(np.int64)[few].tolist()
    moved = map_in_order(refined, keys, n_workers(workers))
    bar = tqdm(moved, total=len(keys), desc="refine", unit="pair", disable=not progress)
    offsets[few] = np.array(list(bar)).reshape(-1, 2)
    return pairs.assign(y_offset=offsets[:, 0], x_offset=offsets[:, 1])
