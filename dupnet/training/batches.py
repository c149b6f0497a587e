"""Batches of labelled pairs for Keras, of tiles as pixels or of what two descriptors say of each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.network.collar_cells import is_marked
from dupnet.network.descriptors import N_FILTERS, N_ORIENTATIONS, untrained_weights, verify_bytes
from dupnet.network.head import compare_cells
from dupnet.pairs.reader import PairReader
from dupnet.tiles import CELL_SIZE, MIN_EVIDENCE_CELLS

__all__ = ["FeatureBatch", "PairBatches", "PairFeatures", "Pairs", "is_told", "predict_pairs"]

AT_A_TIME = 4096
"""Pairs whose features are computed at a time."""

LOCAL_KINDS = ("small", "ship", "mix")
"""Kinds of non-duplicates (:data:`dupnet.training.hard_pairs.KINDS`) that differ in a part of the tile."""

Rows = Sequence[int] | npt.NDArray[np.int64]


class FeatureBatch(NamedTuple):
    """``cells`` (n, side, side, columns) float32 and ``tile`` (n, columns) float32 of
    :func:`dupnet.network.head.compare_cells`; ``is_duplicate`` (n,) float32, 1 or 0."""

    cells: npt.NDArray[np.float32]
    tile: npt.NDArray[np.float32]
    is_duplicate: npt.NDArray[np.float32]


class Pairs(Protocol):
    """Labelled pairs: a :class:`dupnet.pairs.reader.PairReader`, or :class:`PairFeatures`."""

    def __len__(self) -> int: ...

    def batch(self, rows: Rows, epoch: int = 0) -> tuple[npt.NDArray[Any], ...]:
        """What is seen of some pairs, and last their labels (n,)."""


class PairFeatures:
    """Described pairs, in memory: what the head of the network sees of them.

    ``cells`` (n, side, side, columns) float16, ``tile`` (n, columns) float32 and ``table`` hold all pairs of
    the files of :func:`dupnet.training.hard_pairs.write_pairs`, or the ``first`` of each.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], first: int | None = None) -> None:
        found = [_read(path, first) for path in paths]
        self.cells = np.concatenate([cells for cells, _, _ in found])
        self.tile = np.concatenate([tile for _, tile, _ in found])
        self.table = pd.concat([table for _, _, table in found], ignore_index=True)
        self._labels = self.table["is_duplicate"].to_numpy(np.float32)

    def __len__(self) -> int:
        return len(self.table)

    def batch(self, rows: Rows, epoch: int = 0) -> FeatureBatch:
        """Some pairs, the same in every epoch."""
        chosen = np.asarray(rows)
        return FeatureBatch(self.cells[chosen].astype(np.float32), self.tile[chosen], self._labels[chosen])


def _read(
    path: str | os.PathLike[str], first: int | None
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32], pd.DataFrame]:
    """What the head sees of the pairs of a file, the cells at half precision: 3.5 kB a pair.

    Of tiles with a collar (:mod:`dupnet.network.collar_cells`) those pairs are left out that share too little
    beside it, and those of :data:`LOCAL_KINDS`: what differs may lie behind it.
    """
    verify = np.load(path, mmap_mode="r", allow_pickle=False)[:first]
    table = pd.read_csv(os.fspath(path).removesuffix(".npy") + ".csv", keep_default_na=False, nrows=first)
    told = np.array([is_told(*pair) for pair in zip(verify, table["kind"], strict=True)], bool)
    rows, table = np.flatnonzero(told), table[told]
    parts = []
    for start in range(0, len(rows), AT_A_TIME):
        some = verify[rows[start : start + AT_A_TIME]]
        one, two = (np.ascontiguousarray(some[:, side]) for side in (0, 1))
        cells, tile = compare_cells(one, two, untrained_weights())
        parts.append((cells.astype(np.float16), tile))
    halves, tiles = zip(*parts, strict=True)
    return np.concatenate(halves), np.concatenate(tiles), table


def is_told(verify: npt.NDArray[np.uint8], kind: str) -> bool:
    """Whether the label of a described pair (2, bytes) is true of the cells that are not marked."""
    n_cells = verify.shape[1] // verify_bytes(CELL_SIZE)
    marked1, marked2 = is_marked(verify, n_cells, N_FILTERS, N_ORIENTATIONS)
    left = int((~(marked1 | marked2)).sum())
    return left == n_cells or (left >= MIN_EVIDENCE_CELLS and kind not in LOCAL_KINDS)


class PairBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches for ``fit`` and ``predict``: what is seen of the pairs, and ``is_duplicate`` (n, 1) float32.

    With a ``seed``, the pairs come in an order of their own for each :attr:`epoch`, and a reader's are varied
    anew. A callback sets the epoch, because Keras announces the end of an epoch more often than epochs end.
    A reader's threads make a batch; Keras's own workers run ahead into the next epoch.
    """

    def __init__(
        self,
        pairs: Pairs,
        batch_size: int = 64,
        *,
        seed: int | None = None,
        rows_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self._pairs = pairs
        self._batch_size = batch_size
        self._n_rows = min(len(pairs), rows_per_epoch or len(pairs))
        self._seed = seed
        self.epoch = 0

    @property
    def num_batches(self) -> int:
        return -(-self._n_rows // self._batch_size)

    def __getitem__(self, index: int) -> tuple[tuple[npt.NDArray[Any], ...], npt.NDArray[np.float32]]:
        order = np.arange(len(self._pairs))
        if self._seed is not None:
            order = np.random.default_rng([self._seed, self.epoch]).permutation(order)
        start = index * self._batch_size
        rows = order[start : min(start + self._batch_size, self._n_rows)]
        *seen, labels = self._pairs.batch(rows, self.epoch)
        return tuple(seen), labels[:, None]


def predict_pairs(model: keras.Model, reader: PairReader, batch_size: int = 64) -> npt.NDArray[np.float32]:
    """Scores of all rows of a reader, in order: (n,) float32."""
    scores = model.predict(PairBatches(reader, batch_size), verbose=0)
    return np.asarray(scores, np.float32).reshape(-1)
