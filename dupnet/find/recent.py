"""What is remembered up to a number of bytes: results that were asked for last, or images read first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, ParamSpec, TypeVar

__all__ = ["Kept", "Recent"]

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Recent(Generic[Arguments, Result]):
    """A function that remembers its last results; may be called from several threads.

    Parameters
    ----------
    function : callable
        Of arguments that can be hashed. Two threads that ask for the same at once may both compute it.
    size_of : callable
        Bytes of a result.
    max_bytes : int
        Bytes of the results that are remembered; those asked for longest ago are forgotten first.
    """

    def __init__(
        self, function: Callable[Arguments, Result], size_of: Callable[[Result], int], max_bytes: int
    ) -> None:
        self._function = function
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._results: OrderedDict[Hashable, Result] = OrderedDict()
        self._n_bytes = 0
        self._lock = Lock()

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = (args, tuple(sorted(kwargs.items())))
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        result = self._function(*args, **kwargs)
        with self._lock:
            if key not in self._results:
                self._results[key] = result
                self._n_bytes += self._size_of(result)
                while self._n_bytes > self._max_bytes and len(self._results) > 1:
                    self._n_bytes -= self._size_of(self._results.popitem(last=False)[1])
        return result


class Kept(Generic[Result]):
    """What was offered first, by name, up to a number of bytes; may be used from several threads.

    Of a collection that fits, no file is decoded twice.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._held: dict[str, Result] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Kept[Result]], tuple[int]]:
        """In another process it is empty, and stays so: what it would hold there is of no use here."""
        return Kept, (0,)

    def offer(self, name: str, found: Result, n_bytes: int) -> None:
        """Keep it, if there is room and none is kept under that name."""
        with self._lock:
            if name not in self._held and n_bytes <= self._left:
                self._left -= n_bytes
                self._held[name] = found

    def get(self, name: str) -> Result | None:
        """What is kept under a name."""
        return self._held.get(name)
