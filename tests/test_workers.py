"""Threads that run ahead, but not far."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_limits

from dupnet.files import workers
from dupnet.files.workers import end_with_parent, map_in_order, n_workers, one_blas_thread


def test_map_in_order_runs_ahead_but_not_far() -> None:
    started: list[int] = []
    gate = threading.Event()

    def work(item: int) -> int:
        started.append(item)
        gate.wait(5)
        return item

    results = map_in_order(work, iter(range(1000)), 2)
    thread = threading.Timer(0.2, gate.set)
    thread.start()
    assert next(results) == 0
    assert len(started) < 20
    assert list(results) == list(range(1, 1000))


def test_map_in_order_passes_errors_on() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    results = map_in_order(work, range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)


def test_workers() -> None:
    assert n_workers(3) == 3
    assert n_workers() >= 1
    with pytest.raises(ValueError, match="workers is 0"):
        n_workers(0)


@pytest.mark.parametrize(("cores", "expected"), [(5, 5), (None, 1)])
def test_workers_where_the_system_does_not_tell_which_cores_a_process_may_use(
    cores: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert n_workers() == expected


def test_products_on_one_thread_while_any_thread_is_inside() -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in workers._blas().info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        assert threads() == {1}
        first.__exit__(None, None, None)  # the one that came first leaves first
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == before


POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from dupnet.files.workers import end_with_parent

with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_processes_of_a_pool_end_with_what_started_them() -> None:
    parent = subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    try:
        parent.communicate(timeout=30)  # ends when nobody is left who could print
    except subprocess.TimeoutExpired:
        os.kill(child, signal.SIGKILL)
        pytest.fail("it waits for work that nobody will give")


def test_the_watch_for_a_parent_keeps_no_process_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    parent_is_over, exits = threading.Event(), list[int]()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(join=parent_is_over.wait))
    monkeypatch.setattr(os, "_exit", exits.append)
    before = set(threading.enumerate())
    end_with_parent()
    (watch,) = set(threading.enumerate()) - before
    assert watch.daemon and exits == []
    parent_is_over.set()
    watch.join(30)
    assert exits == [1]
