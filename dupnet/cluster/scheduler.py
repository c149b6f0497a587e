"""A Dask cluster as a list of workers that may be lost, behind a scheduler that may be lost too."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from tqdm import tqdm

__all__ = ["Cluster"]

AHEAD = 2000
"""Tasks that the scheduler is given at a time; it needs a few kilobytes for each."""

FIRST_PATIENCE = 120.0
"""Seconds to wait for the scheduler and a first worker when a run starts."""

PATIENCE = 600.0
"""Seconds to wait for a scheduler that was there before."""

RETRIES = 3
"""Times that a task is tried again when it fails, because its store did not answer, say."""


class Cluster:
    """The scheduler at ``address`` and its workers; a context manager.

    ``progress`` shows a bar for each step. ``patience`` is for how many seconds to wait for a lost scheduler.

    A task that a lost worker was at is given to another one (by Dask); all tasks that were not done when the
    connection to the scheduler was lost are handed out again when there is one again.

    Raises
    ------
    ValueError
        If Dask is not installed, or the address is none.
    OSError
        If the scheduler, or a first worker, does not answer in time.
    """

    def __init__(self, address: str, progress: bool = False, patience: float = PATIENCE) -> None:
        self.address = address
        self.progress = progress
        self.patience = patience
        self._client: Any = None

    def __enter__(self) -> Cluster:
        self._connect(min(FIRST_PATIENCE, self.patience))
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def run(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], name: str, n_done: int = 0
    ) -> list[Any]:
        """Results of ``function(*task)`` for every task, in order.

        ``name`` and ``n_done`` (what an earlier run has done) are for the progress bar.

        Raises
        ------
        OSError
            If a task fails for good, or there is no scheduler for longer than the patience.
        ValueError
            As raised by the function.
        """
        results: list[Any] = [None] * len(tasks)
        waiting = dict.fromkeys(range(len(tasks)))
        bar = tqdm(
            total=len(tasks) + n_done, initial=n_done, desc=name, unit="task", disable=not self.progress
        )
        with bar:
            while waiting:
                for number, result in self._results(function, tasks, list(waiting)):
                    results[number] = result
                    del waiting[number]
                    bar.update()
                if waiting:
                    tqdm.write("dupnet: lost the scheduler; waiting for it", file=sys.stderr)
                    self._connect(self.patience)
        return results

    def _results(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], numbers: list[int]
    ) -> Iterator[tuple[int, Any]]:
        """Results as they come, until all are there or the scheduler is lost."""
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        client = self._client
        number_of: dict[str, int] = {}
        ahead = iter(numbers)

        def submit(count: int) -> list[Any]:
            futures = []
            for number in islice(ahead, count):
                futures.append(client.submit(function, *tasks[number], pure=False, retries=RETRIES))
                number_of[futures[-1].key] = number
            return futures

        try:
            running = as_completed(submit(AHEAD), loop=client.loop)
        except Exception as error:
            if client.status == "running":
                raise
            tqdm.write(f"dupnet: {error}", file=sys.stderr)
            return
        for future in running:
            if future.status == "finished":
                try:
                    result = future.result()
                except Exception:  # lost between its end and this call: it is run again
                    return
                yield number_of.pop(future.key), result
                if client.status != "running":
                    return
                running.update(submit(1))
            elif future.status == "error":
                failure = future.exception()
                if isinstance(failure, KilledWorker):
                    raise OSError(f"A task was given up; every worker that ran it was lost: {failure}")
                raise failure
            else:  # cancelled or lost: there is no scheduler any more that knows it
                return

    def _connect(self, patience: float) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ValueError("A scheduler needs Dask: pip install 'dupnet[dask]'.") from None
        _check(self.address)  # a client of no address would be left half made, and its end waits for nothing
        self._disconnect()
        end = time.monotonic() + patience
        while True:
            try:
                self._client = Client(self.address, timeout=min(10.0, patience), set_as_default=False)
                self._client.wait_for_workers(1, timeout=max(1.0, end - time.monotonic()))
                return
            except (OSError, TimeoutError) as error:
                self._disconnect()
                if time.monotonic() > end:
                    raise OSError(
                        f"No scheduler with a worker answers at {self.address!r} ({error}); start them with "
                        "`dask scheduler` and `dask worker`."
                    ) from None
                time.sleep(min(1.0, patience))

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close(timeout=5)
            self._client = None


def _check(address: str) -> None:
    """Raise a ValueError where ``address`` leads to no scheduler, whatever listens."""
    from distributed.comm.addressing import get_address_host_port

    try:
        host, port = get_address_host_port(address)
    except ValueError:
        host, port = "", 0
    if not host or not 0 < port < 65536:
        raise ValueError(
            f"{address!r} is no address of a scheduler; give the one that `dask scheduler` prints, such as "
            "tcp://10.0.0.1:8786 (the option --scheduler)."
        )
