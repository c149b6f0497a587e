"""What is not installed with the package itself: each library's extra, and one line that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lazy_loader

__all__ = ["EXTRA_OF", "MissingExtra", "attach", "extra"]

EXTRA_OF = {
    "dask": "dask",
    "distributed": "dask",
    "flask": "review",
    "fsspec": "dask",
    "h5py": "train",
    "imagehash": "metrics",
    "ipywidgets": "review",
    "keras": "train",
    "matplotlib": "notebooks",
    "pyarrow": "parquet",
    "skimage": "metrics",
    "sklearn": "train",
    "tensorflow": "train",
}
"""Library to the extra that brings it (``pip install 'dupnet[EXTRA]'``)."""


class MissingExtra(ImportError):
    """A library is not installed that only some functions need."""


@contextmanager
def extra() -> Iterator[None]:
    """Turn the failure to import a library of an extra into one line that names the extra.

    Raises
    ------
    MissingExtra
        If such a library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA_OF:
            raise
        raise MissingExtra(
            f"This needs {library}, which is not installed: pip install 'dupnet[{EXTRA_OF[library]}]'.",
            name=library,
        ) from None


def attach(
    package: str, submod_attrs: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """As :func:`lazy_loader.attach`, for a room whose names may need a library of an extra."""
    found, listed, names = lazy_loader.attach(package, submod_attrs=dict(submod_attrs))

    def get(name: str) -> Any:
        with extra():
            return found(name)

    return get, listed, names
