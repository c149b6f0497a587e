"""Threads: how many, and results in order from a few that run ahead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["map_in_order", "n_workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def n_workers(workers: int | None = None) -> int:
    """The number of worker threads asked for, or one for every core that this process may use.

    Raises
    ------
    ValueError
        If fewer than one is asked for.
    """
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1.")
    return workers


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Results of ``function`` in the order of ``items``, computed by threads that run a few items ahead.

    Unlike ``Executor.map`` it does not queue everything at once: memory stays bounded by the workers.
    """
    waiting: list[Future[Result]] = []
    iterator = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(function, item) for item in islice(iterator, 4 * workers))
            while waiting:
                result = waiting.pop(0).result()
                waiting.extend(pool.submit(function, item) for item in islice(iterator, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
