"""Threads: how many, and results in order from a few that run ahead."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from threading import Lock, Thread
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["end_with_parent", "map_in_order", "n_workers", "one_blas_thread"]

_lock = Lock()
_limits: list[Any] = []  # of those inside one_blas_thread; the first holds what was before

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


def end_with_parent() -> None:
    """In a process of a pool: end when the one that started it is no more, even if that was killed.

    It would wait for work for ever: a pool's processes hold both ends of the queue that they read.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products of matrices on one thread each, for the whole process, while any of our threads is inside.

    Where products are small or the threads are ours, BLAS's own would wait for each other longer than they
    work.
    """
    with _lock:
        _limits.append(_blas().limit(limits=1, user_api="blas") if not _limits else None)
    try:
        yield
    finally:
        with _lock:
            if len(_limits) == 1:
                _limits[0].restore_original_limits()
                _limits.clear()
            else:
                _limits.pop()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
