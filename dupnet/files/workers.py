"""Threads and processes: how many, and results in order from a few that run ahead."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from threading import Lock, Thread
from typing import Any, TypeVar

import cv2
from threadpoolctl import ThreadpoolController, threadpool_limits

__all__ = ["ProcessPool", "end_with", "map_in_order", "n_workers", "one_blas_thread"]

PARENT_SECONDS = 0.5
"""How often a process looks whether its parent is there."""

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


def end_with(parent: int) -> None:
    """In a process that ``parent`` started to work for it: end when that is no more, even if it was killed.

    It would wait for work for ever, or for minutes. Where a process keeps the number of a parent that has
    ended, as on Windows, nothing is done.
    """

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Results of ``function`` in the order of ``items``, computed by threads that run a few items ahead.

    Unlike ``Executor.map`` it does not queue everything at once: memory stays bounded by the workers. One
    worker is this thread.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from _in_order(pool, function, items, 4 * workers)


class ProcessPool:
    """Processes that start when work is there for them, and end with the block.

    Threads take turns between calls of numpy and OpenCV: where calls are short, two are hardly faster than
    one, and eight are slower. Processes do not, but take a second to start.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: Executor | None = None

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:  # left idle, it would complain when a notebook's kernel ends
            self._pool.shutdown()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As :func:`map_in_order`; function, items and results must be such as can be pickled.

        Raises
        ------
        ChildProcessError
            If a process is killed, as the system does where memory is short.
        """
        if self._pool is None:
            # A fifth of a second that small runs need not take. Unlike those of the standard library these
            # processes do not run the caller's script again, which needs no guard then.
            from joblib.externals.loky import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(self.workers, initializer=_settle_in, initargs=(os.getpid(),))
        try:
            yield from _in_order(self._pool, function, items, 4 * self.workers)
        except BrokenProcessPool:
            raise ChildProcessError(
                f"One of {self.workers} worker processes was killed, perhaps for want of memory. What was "
                "described so far is kept: run again with fewer workers (--workers)."
            ) from None


def _in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    waiting: list[Future[Result]] = []
    iterator = iter(items)
    try:
        waiting.extend(pool.submit(function, item) for item in islice(iterator, ahead))
        while waiting:
            result = waiting.pop(0).result()
            waiting.extend(pool.submit(function, item) for item in islice(iterator, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def _settle_in(parent: int) -> None:
    """Once in a process: one thread, and an end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the parent is told, too
    end_with(parent)
    cv2.setNumThreads(1)
    threadpool_limits(1)


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
