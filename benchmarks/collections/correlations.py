"""Overlaps by plain correlation of pixels: the candidates, the veto and the thresholds that it needs.

Correlation takes the place of the network, and nothing else changes: candidates come from `dupnet find`'s
search descriptors, the same tiles count as decidable, and all decidable tiles of an overlap have to agree.
Thresholds err least on tiles of a hard cut of the columns that trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.collections.hashes import KEY
from dupnet.evaluation.scores import best_threshold
from dupnet.files.workers import map_in_order, n_workers
from dupnet.find.overlaps import as_table, image_index
from dupnet.find.search import candidates
from dupnet.find.tile_overlaps import judge_tiles, vote
from dupnet.find.tile_search import SEARCH_THRESHOLD
from dupnet.images.reading import read_grey
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.network.descriptors import describe
from dupnet.tiles import TILE_SIZE, Grid, overlap_at, split_tiles

SIGNALS = ("correlation", "lowest_cell_correlation")
GRID = Grid()
MOST_TUNING_PAIRS = 20_000
"""Tile pairs of either label that a threshold is chosen on."""

Numbers = npt.NDArray[np.int64]
Score = Callable[[Numbers, Numbers], npt.NDArray[np.float32]]


class Tiles(NamedTuple):
    """All tiles of a collection: ``grey`` (n, 256, 256) uint8, on disk; ``decidable`` (n,); and the overlaps
    that their search descriptors propose."""

    names: list[str]
    grey: npt.NDArray[np.uint8]
    decidable: npt.NDArray[np.bool_]
    proposals: pd.DataFrame


@contextmanager
def opened(folder: Path, names: list[str]) -> Iterator[Tiles]:
    """The tiles of the images ``names`` in ``folder``, for as long as they are needed."""
    n = len(names) * GRID.n_tiles
    with TemporaryFile() as file:
        file.truncate(n * TILE_SIZE**2)
        grey = np.memmap(file, np.uint8, "r+", shape=(n, TILE_SIZE, TILE_SIZE))

        def read(number: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
            tiles = np.ascontiguousarray(split_tiles(read_grey(folder / names[number])), np.uint8)
            grey[number * GRID.n_tiles : (number + 1) * GRID.n_tiles] = tiles
            found = describe(tiles)
            return found.search, found.decidable

        search, decidable = zip(*map_in_order(read, range(len(names)), n_workers()), strict=True)
        decidable_tiles = np.concatenate(decidable)
        found = candidates(np.concatenate(search), decidable_tiles, SEARCH_THRESHOLD)
        yield Tiles(names, grey, decidable_tiles, vote(found.rows1, found.rows2, found.cosine, GRID))


def scorer(tiles: Tiles, signal: str) -> Score:
    """Scores of pairs of tiles by a signal."""
    likeness = PAIR_METRICS[signal].likeness

    def score(rows1: Numbers, rows2: Numbers) -> npt.NDArray[np.float32]:
        def one(at: int) -> float:
            return float(likeness(tiles.grey[rows1[at]], tiles.grey[rows2[at]]))

        return np.array(list(map_in_order(one, range(len(rows1)), n_workers())), np.float32)

    return score


def tuned_thresholds(folder: Path, names: list[str], truth: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """For each signal the threshold with the fewest errors among tile pairs of a collection's candidates."""
    rng = np.random.default_rng(seed)
    with opened(folder, names) as tiles:
        rows1, rows2, labels = _labelled(tiles, truth)
        kept = np.concatenate(
            [rng.permutation(np.flatnonzero(labels == label))[:MOST_TUNING_PAIRS] for label in (False, True)]
        )
        return {
            signal: best_threshold(scorer(tiles, signal)(rows1[kept], rows2[kept]), labels[kept])[0]
            for signal in SIGNALS
        }


def _labelled(tiles: Tiles, truth: pd.DataFrame) -> tuple[Numbers, Numbers, npt.NDArray[np.bool_]]:
    """Decidable tile pairs of the proposed overlaps, and whether each is a duplicate."""
    is_duplicate = {
        tuple(row[:4]): bool(row[4]) for row in truth[[*KEY, "is_duplicate"]].itertuples(index=False)
    }
    rows1, rows2, labels = [], [], []
    for row in tiles.proposals.itertuples():
        down, right = row.y_offset // TILE_SIZE, row.x_offset // TILE_SIZE
        overlap = overlap_at(int(down), int(right), GRID)
        one = row.image1 * GRID.n_tiles + np.array(overlap.tiles1)
        two = row.image2 * GRID.n_tiles + np.array(overlap.tiles2)
        seen = tiles.decidable[one] & tiles.decidable[two]
        key = (tiles.names[row.image1], tiles.names[row.image2], int(down), int(right))
        rows1.append(one[seen])
        rows2.append(two[seen])
        labels.append(np.full(int(seen.sum()), is_duplicate.get(key, False)))
    return np.concatenate(rows1), np.concatenate(rows2), np.concatenate(labels)


def accepted_by_correlation(tiles: Tiles, signal: str, threshold: float) -> pd.DataFrame:
    """Overlaps all of whose decidable tiles reach the threshold: the columns ``KEY``."""
    sizes = np.tile([GRID.height, GRID.width], (len(tiles.names), 1))
    judged = judge_tiles(tiles.proposals, sizes, scorer(tiles, signal), tiles.decidable, threshold, GRID)
    accepted = judged[judged["verdict"] == "duplicate"]
    return as_table(accepted, image_index(tiles.names), grid=GRID)[KEY]
