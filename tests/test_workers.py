"""Threads and processes that run ahead, but not far."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import pytest
from threadpoolctl import threadpool_limits

from dupnet.files import workers
from dupnet.files.workers import ProcessPool, end_with, map_in_order, n_workers, one_blas_thread


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


def _slept(item: int) -> int:
    time.sleep(0.2 if item == 0 else 0)
    return item


def _refused(item: int) -> int:
    if item == 3:
        raise KeyError(item)
    return item


def _killed(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def _settled(_: int) -> tuple[int, int, set[int], int]:
    blas = {pool["num_threads"] for pool in workers._blas().info() if pool["user_api"] == "blas"}
    return os.getpid(), cv2.getNumThreads(), blas, threading.active_count()


def test_a_pool_gives_results_in_order_and_passes_errors_on() -> None:
    with ProcessPool(2) as pool:
        assert list(pool.map(_slept, iter(range(9)))) == list(range(9))
        with pytest.raises(KeyError):
            list(pool.map(_refused, range(10)))
        assert list(pool.map(_slept, range(3))) == [0, 1, 2]


def test_a_pool_is_of_processes_of_one_thread_each_that_are_used_again() -> None:
    with ProcessPool(2) as pool:
        found = [*pool.map(_settled, range(8)), *pool.map(_settled, range(8))]
    processes = {process for process, *_ in found}
    assert len(processes) <= 2 and os.getpid() not in processes
    assert {(threads, *blas) for _, threads, blas, _ in found} == {(1, 1)}
    assert max(n for *_, n in found) < 8  # one watch for the parent a process, not one a task


def test_a_pool_that_ends_leaves_others_alone() -> None:
    """Two searches may run side by side."""
    with ProcessPool(1) as pool:
        results = pool.map(_slept, range(9))
        assert next(results) == 0
        with ProcessPool(1) as another:
            assert list(another.map(_slept, range(2))) == [0, 1]
        assert list(results) == list(range(1, 9))


def test_a_pool_without_work_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib.externals.loky", None)
    with ProcessPool(2):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_process_that_is_killed_is_an_error_with_a_remedy() -> None:
    with (
        pytest.raises(ChildProcessError, match=r"2 worker processes was killed.*--workers"),
        ProcessPool(2) as pool,
    ):
        list(pool.map(_killed, range(10)))


POOL = """
import os, time
from dupnet.files.workers import ProcessPool

def process(item):
    return os.getpid()

with ProcessPool(2) as pool:
    print(next(pool.map(process, range(2))), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_processes_end_with_what_started_them(tmp_path: Path) -> None:
    """That no guard of the script is needed, too."""
    (tmp_path / "script.py").write_text(POOL)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    line = parent.stdout.readline()
    assert line, parent.communicate()[1]
    child = int(line)
    parent.kill()
    try:
        parent.communicate(timeout=30)  # ends when nobody is left who could print
    except subprocess.TimeoutExpired:
        os.kill(child, signal.SIGKILL)
        pytest.fail("it waits for work that nobody will give")


def test_the_watch_for_a_parent_keeps_no_process_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, exits = [1], list[int]()
    monkeypatch.setattr(workers, "PARENT_SECONDS", 0.01)
    monkeypatch.setattr(os, "getppid", lambda: parents[-1])
    monkeypatch.setattr(os, "_exit", exits.append)
    before = set(threading.enumerate())
    end_with(1)
    (watch,) = set(threading.enumerate()) - before
    assert watch.daemon
    watch.join(0.2)
    assert watch.is_alive() and exits == []
    parents.append(2)
    watch.join(30)
    assert exits == [1]


def test_one_worker_is_this_thread() -> None:
    used = set(map_in_order(lambda _: threading.get_ident(), range(10), 1))
    assert used == {threading.get_ident()}
    assert threading.get_ident() not in set(map_in_order(lambda _: threading.get_ident(), range(10), 2))
