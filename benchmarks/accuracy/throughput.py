"""Tiles described and pairs compared a second, on all cores, beside dupnet_v0 in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.accuracy.signals import V0_WEIGHTS
from dupnet.files.workers import n_workers
from dupnet.network import comparison, descriptors
from dupnet.tiles import grey_levels

N_PAIRS = 65_536
N_V0_PAIRS = 256
TILES_AT_A_TIME = 18
BATCHES = (16, 32, 64)
"""Batch sizes of dupnet_v0; the fastest counts."""


def measure(tiles1: npt.NDArray[np.uint8], tiles2: npt.NDArray[np.uint8], repeat: int = 5) -> pd.DataFrame:
    """``step, n, seconds, per_second`` of the fastest of ``repeat`` runs, each step once in every round; last
    what dupnet compares to what dupnet_v0 scores, as ``per_second``: from descriptions at hand, and with both
    tiles of every pair described for it alone.

    ``tiles1`` and ``tiles2`` (n, 256, 256, 3) uint8 RGB are pairs of all sorts.
    """
    weights = descriptors.load_weights()
    one, two = grey_levels(tiles1), grey_levels(tiles2)
    verify1, verify2 = descriptors.describe(one, weights).verify, descriptors.describe(two, weights).verify
    rows = np.random.default_rng(0).integers(0, len(one), N_PAIRS)
    many1, many2 = verify1[rows], verify2[rows]
    steps: dict[str, tuple[int, Callable[[], object]]] = {
        "describe a tile": (len(one) + len(two), lambda: _describe(np.concatenate([one, two]), weights)),
        "compare two descriptors": (N_PAIRS, lambda: comparison.score_pairs(many1, many2, weights)),
    }
    if V0_WEIGHTS.exists():
        from dupnet.network.models import load_arrays

        model, n = load_arrays(V0_WEIGHTS), min(N_V0_PAIRS, len(tiles1))
        for size in BATCHES:
            steps[f"dupnet_v0, batches of {size}"] = (
                n,
                lambda size=size: model.predict([tiles1[:n], tiles2[:n]], batch_size=size, verbose=0),
            )
    seconds = dict.fromkeys(steps, np.inf)
    for _, run in steps.values():
        run()  # what is made once: threads, graphs
    for _ in range(repeat):
        for name, (_, run) in steps.items():
            start = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    table = pd.DataFrame(
        [(name, n, seconds[name], n / seconds[name]) for name, (n, _) in steps.items()],
        columns=["step", "n", "seconds", "per_second"],
    )
    v0 = table.loc[table["step"].str.startswith("dupnet_v0"), "per_second"]
    if len(v0):
        speed = table.set_index("step")["per_second"]
        compared, described = float(speed["compare two descriptors"]), float(speed["describe a tile"])
        both = 1 / (1 / compared + 2 / described)
        table.loc[len(table)] = ("pairs compared for one of dupnet_v0", 0, np.nan, compared / v0.max())
        table.loc[len(table)] = (
            "pairs described and compared for one of dupnet_v0",
            0,
            np.nan,
            both / v0.max(),
        )
    return table


def _describe(tiles: npt.NDArray[np.uint8], weights: descriptors.Weights) -> None:
    starts = range(0, len(tiles), TILES_AT_A_TIME)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_workers()) as pool:
        list(pool.map(lambda at: descriptors.describe(tiles[at : at + TILES_AT_A_TIME], weights), starts))
