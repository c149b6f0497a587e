"""Slices of points that workers compare, kept in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupnet.cluster.regions import compare_slices
from dupnet.files.storage import Folder
from dupnet.find.join import Slice


class Workers:
    """Run so many tasks here, and then stop."""

    def __init__(self, most: int = 99) -> None:
        self.most, self.n_run = most, 0

    def run(self, function: Callable[..., None], tasks: Sequence[tuple[Any, ...]], *_: object) -> None:
        for task in tasks:
            if self.n_run == self.most:
                raise InterruptedError
            function(*task)
            self.n_run += 1


def slices(seed: int) -> list[Slice]:
    """Two slices, in each of which five points are there twice."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        vectors = rng.normal(size=(5, 48))
        codes = np.rint(127 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.int8)
        rows = np.sort(rng.permutation(30)[:10])
        every = np.zeros((30, 48), np.int8)
        every[rows] = np.tile(codes, (2, 1))
        found.append(Slice(0, 4, 8, every, np.zeros(30, np.uint8), rows))
    return found


def test_a_run_that_was_stopped_goes_on_and_leaves_nothing_of_others(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with pytest.raises(InterruptedError):
        list(compare_slices(Workers(most=1), store, slices(0), 0.9))  # type: ignore[arg-type]
    assert len(store.folder("join").files()) == 3  # the points of two slices, and the pairs of one
    workers = Workers()
    found = list(compare_slices(workers, store, slices(0), 0.9))  # type: ignore[arg-type]
    assert workers.n_run == 1
    for (first, second, missed), one in zip(found, slices(0), strict=True):
        pairs = sorted(zip(first.tolist(), second.tolist(), strict=True))
        assert pairs == list(zip(one.numbers[:5].tolist(), one.numbers[5:].tolist(), strict=True))
        assert missed == 0
    list(compare_slices(workers, store, slices(1), 0.9))  # type: ignore[arg-type]
    assert workers.n_run == 3 and len(store.folder("join").files()) == 4
