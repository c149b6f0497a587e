"""Points of a collection in the cache: of each its code, its place in the image, and its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dupnet.find.cache import Arrays, Cache, Entry
from dupnet.find.describe import entry_in_parts, read_entry, versions
from dupnet.find.points import CODE_LENGTH, POINTS_VERSION, find_points, load_directions
from dupnet.find.recent import Kept
from dupnet.find.regions import Image
from dupnet.images.image import TooLarge, UnreadableImage
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights

__all__ = ["COLUMNS", "describe_points", "made_by", "open_points"]

COLUMNS = {"codes": CODE_LENGTH, "y": 4, "x": 4, "kinds": 1}
"""What is kept of a point, and in how many bytes; ``y, x`` are float32."""


def open_points(
    folder: Path,
    weights: Weights,
    *,
    dense: bool,
    check_all: bool = False,
    rendering: Rendering = Rendering(),
    columns: Mapping[str, int] = COLUMNS,
) -> Cache:
    """The cache of points in ``folder``; emptied if made by other code, directions or rendering, or if it has
    other columns."""
    made: dict[str, Any] = made_by(weights, dense=dense, rendering=rendering)
    if columns != COLUMNS:
        made["columns"] = list(columns)
    return Cache(folder, made, columns, check_all=check_all)


def made_by(weights: Weights, *, dense: bool, rendering: Rendering = Rendering()) -> dict[str, Any]:
    """All that points depend on, beside the images."""
    directions = [float(array.astype(np.float64).sum()) for array in load_directions()]
    made = {**versions(weights), "points": POINTS_VERSION, "directions": directions, "dense": dense}
    made["rendering"] = rendering.record()
    del made["weights"]  # points do not depend on the network
    return made


def describe_points(
    files: Mapping[str, Path],
    *,
    dense: bool,
    check_content: bool = False,
    rendering: Rendering = Rendering(),
    find: Callable[..., NamedTuple] = find_points,
    kept: Kept[Image] | None = None,
) -> dict[str, tuple[Entry, Arrays] | str]:
    """Of each image what goes into the cache, a row a point, or the reason why nothing does.

    ``files``: image name to file.

    ``find``: what finds the points of an image, as :func:`dupnet.find.points.find_points` does; its fields
    are the columns of the cache. ``kept``: what remembers the pixels, too, for those who judge the images
    later.
    """
    found: dict[str, tuple[Entry, Arrays] | str] = {}
    for name, file in files.items():
        try:
            try:
                entry, grey, valid = read_entry(file, check_content=check_content, rendering=rendering)
                points = find(grey, valid, dense=dense)
                if kept is not None:
                    kept.offer(name, (grey, valid), grey.nbytes + (0 if valid is None else valid.nbytes))
            except TooLarge:
                with entry_in_parts(file, check_content=check_content, rendering=rendering) as parts:
                    entry, points = parts[0], find(*parts[1:], dense=dense)
        except UnreadableImage as error:
            found[name] = error.reason
            continue
        columns = points._asdict()
        found[name] = entry._replace(n_rows=len(columns["kinds"])), columns
    return found
