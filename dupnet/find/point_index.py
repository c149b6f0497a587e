"""Points of a collection in the cache: of each its code, its place in the image, and its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dupnet.find.cache import Arrays, Cache, Entry
from dupnet.find.describe import entry_in_parts, read_entry, versions
from dupnet.find.points import CODE_LENGTH, POINTS_VERSION, find_points, load_directions
from dupnet.images.image import TooLarge, UnreadableImage
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights

__all__ = ["COLUMNS", "describe_points", "open_points"]

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
    directions = [float(array.astype(np.float64).sum()) for array in load_directions()]
    made_by = {**versions(weights), "points": POINTS_VERSION, "directions": directions, "dense": dense}
    made_by["rendering"] = rendering.record()
    del made_by["weights"]  # points do not depend on the network
    if columns != COLUMNS:
        made_by["columns"] = list(columns)
    return Cache(folder, made_by, columns, check_all=check_all)


def describe_points(
    names: Sequence[str],
    files: Mapping[str, Path],
    *,
    dense: bool,
    check_content: bool = False,
    rendering: Rendering = Rendering(),
) -> dict[str, tuple[Entry, Arrays] | str]:
    """Of each image what goes into the cache, a row a point, or the reason why nothing does."""
    found: dict[str, tuple[Entry, Arrays] | str] = {}
    for name in names:
        try:
            try:
                entry, grey, valid = read_entry(files[name], check_content=check_content, rendering=rendering)
                points = find_points(grey, valid, dense=dense)
            except TooLarge:
                with entry_in_parts(files[name], check_content=check_content, rendering=rendering) as parts:
                    entry, points = parts[0], find_points(*parts[1:], dense=dense)
        except UnreadableImage as error:
            found[name] = error.reason
            continue
        found[name] = entry._replace(n_rows=len(points.kinds)), points._asdict()
    return found
