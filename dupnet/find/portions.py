"""Pairs of images in portions that are judged apart: by processes of this machine, or by a cluster's workers.

A portion carries all that its judge needs, the files of its images among it. Portions lie in the order in
which pairs are judged, and hold whole :data:`~dupnet.find.verification.PAIRS_AT_A_TIME`, so that what comes
out is what one judge finds, to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.files.workers import ProcessPool
from dupnet.find.describe import PROCESSES_FROM, Described
from dupnet.find.overlaps import KEY, Judge
from dupnet.find.point_search import reader, region_judge
from dupnet.find.refinement import refine_offsets
from dupnet.find.verification import PAIRS_AT_A_TIME, in_order
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights

__all__ = ["MOST_PAIRS", "ByProcesses", "Portion", "cut", "joined"]

MOST_PAIRS = 32 * PAIRS_AT_A_TIME
"""Pairs of a portion at most, some seconds of work: of 23,000 pairs of 4,000 images, each is read in 1.2
portions; 1.4 with half as many."""

FEWEST_PAIRS = 4 * PAIRS_AT_A_TIME
"""Pairs of a portion at least: an image is read anew for every portion that shows it."""

Numbers = npt.NDArray[np.int64]


class Portion(NamedTuple):
    """Some pairs, numbered among their own images, and what is known of those."""

    pairs: pd.DataFrame
    described: Described
    files: Mapping[str, Path]
    rendering: Rendering
    weights: Weights

    def judged(self) -> pd.DataFrame:
        """See :func:`dupnet.find.verification.judge`."""
        read = reader(self.files, self.described, self.rendering)
        return region_judge(read, self.described, self.weights, 1)(self.pairs)

    def refined(self) -> pd.DataFrame:
        """See :func:`dupnet.find.refinement.refine_offsets`."""
        return refine_offsets(self.pairs, reader(self.files, self.described, self.rendering), 1)


def cut(pairs: pd.DataFrame, most: int) -> list[tuple[pd.DataFrame, Numbers]]:
    """Pairs in portions of at most ``most``: of each its pairs, numbered among its own images, and the
    numbers of those, ascending. One portion where there is no pair, for the columns that a judge adds."""
    order = in_order(pairs)
    portions = []
    for start in range(0, max(len(pairs), 1), most):
        portion = pairs.iloc[order[start : start + most]].reset_index(drop=True)
        ends = portion[KEY[:2]].to_numpy(np.int64)
        images, number = np.unique(ends, return_inverse=True)
        number = number.reshape(ends.shape)
        portions.append((portion.assign(image1=number[:, 0], image2=number[:, 1]), images))
    return portions


def joined(
    pairs: pd.DataFrame, portions: Iterable[tuple[pd.DataFrame, Numbers]], found: Iterable[pd.DataFrame]
) -> pd.DataFrame:
    """What was found of each portion of ``pairs``, as one table, in their order and by their numbers."""
    parts = [
        table.assign(**{end: images[table[end].to_numpy(np.int64)] for end in KEY[:2]})
        for (_, images), table in zip(portions, found, strict=True)
    ]
    back = np.argsort(in_order(pairs))
    return pd.concat(parts, ignore_index=True).iloc[back].reset_index(drop=True)


@dataclass(frozen=True)
class ByProcesses:
    """Judge and refine many pairs of many images by processes, and few by what is given for those."""

    files: Mapping[str, Path]
    described: Described
    rendering: Rendering
    weights: Weights
    pool: ProcessPool | None
    progress: bool

    def judge(self, pairs: pd.DataFrame, few: Judge) -> pd.DataFrame:
        """As :func:`dupnet.find.verification.judge`."""
        return self._map(Portion.judged, pairs, few, "judge")

    def refine(self, pairs: pd.DataFrame, few: Judge) -> pd.DataFrame:
        """As :func:`dupnet.find.refinement.refine_offsets`."""
        return self._map(Portion.refined, pairs, few, "refine")

    def _map(
        self, task: Callable[[Portion], pd.DataFrame], pairs: pd.DataFrame, few: Judge, name: str
    ) -> pd.DataFrame:
        are_many = len(self.described.images) >= PROCESSES_FROM and len(pairs) >= 4 * FEWEST_PAIRS
        if self.pool is None or not are_many:
            return few(pairs)
        a_worker = -(-len(pairs) // (2 * self.pool.workers * PAIRS_AT_A_TIME)) * PAIRS_AT_A_TIME
        portions = cut(pairs, min(max(a_worker, FEWEST_PAIRS), MOST_PAIRS))
        found = []
        with tqdm(total=len(pairs), desc=name, unit="pair", disable=not self.progress) as bar:
            for table in self.pool.map(task, (self._portion(*one) for one in portions)):
                bar.update(len(table))
                found.append(table)
        return joined(pairs, portions, found)

    def _portion(self, pairs: pd.DataFrame, images: Numbers) -> Portion:
        names = [self.described.images[number] for number in images]
        none = pd.DataFrame()
        described = Described(names, self.described.sizes[images], none, none)
        files = {name: self.files[name] for name in names}
        return Portion(pairs, described, files, self.rendering, self.weights)
