"""What a task uses: processor time and memory of this process and of all that it started."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil

__all__ = ["Usage", "cpu_seconds", "watched"]

SAMPLE_SECONDS = 0.1
"""How often memory is looked at."""


def cpu_seconds() -> float:
    """Processor time in user and system mode of this process and of those it started, ended ones included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            used = child.cpu_times()
            spent += used.user + used.system
    return float(spent)


def memory_mb() -> float:
    """Memory that this process and those it started hold now; what they share counts once (PSS, proc(5))."""
    held = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.Error):
            held += process.memory_full_info().pss
    return held / 1e6


class Usage:
    """The most memory held since the start, or since it was last forgotten."""

    def __init__(self) -> None:
        self.peak_mb = 0.0

    def sample(self) -> None:
        """Look at the memory now."""
        self.peak_mb = max(self.peak_mb, memory_mb())


@contextmanager
def watched() -> Iterator[Usage]:
    """Watch the memory, every :data:`SAMPLE_SECONDS`, until the end of the block."""
    usage, is_over = Usage(), Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            usage.sample()

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        is_over.set()
        thread.join()
        usage.sample()
