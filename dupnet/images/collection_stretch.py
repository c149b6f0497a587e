"""One stretch for all files of a collection, so that a sample has one level in every image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from dupnet.files.workers import map_in_order
from dupnet.images.image import Mask, UnreadableImage
from dupnet.images.raster import Samples, kind_and_sample
from dupnet.images.reading import kind_of_file
from dupnet.images.stretch import Rendering, pooled_limits

__all__ = ["stretch_of_collection"]

N_FILES = 500
"""Files that the limits are taken from, evenly spread over the names: 2 million samples a band."""

SIDE = 64
"""Side in pixels of the reduced copy of each."""


def stretch_of_collection(
    paths: Iterable[str | os.PathLike[str]], rendering: Rendering, workers: int = 1
) -> Rendering:
    """A rendering with limits for every kind of file among ``paths`` that is stretched.

    What cannot be read has no say. The same files give the same limits.
    """
    every = sorted(os.fspath(path) for path in paths)
    chosen = every[:: -(-len(every) // N_FILES)] if every else []
    samples = map_in_order(partial(_sample, rendering=rendering), chosen, workers)
    return replace(rendering, by_kind=pooled_limits(one for one in samples if one is not None))


def _sample(path: str, rendering: Rendering) -> tuple[str, Samples, Mask | None] | None:
    try:
        kind = kind_of_file(path)
        return kind_and_sample(path, kind.driver, rendering, SIDE) if kind.reader == "raster" else None
    except UnreadableImage:
        return None
