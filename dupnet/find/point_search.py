"""The search at any offset: which images of a collection share ground, and the verdict on what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.cache import Cache
from dupnet.find.collection import SCRATCH
from dupnet.find.describe import Described
from dupnet.find.join import SLICE_POINTS, Compare, join
from dupnet.find.lattice import CellsOfParts, OnLattice, describe_on_lattice
from dupnet.find.near_copies import near_copies, recalling
from dupnet.find.overlaps import KEY, PLACE, Judge
from dupnet.find.overlays import overlay_points
from dupnet.find.placement import Relations, spanned
from dupnet.find.point_table import PointTable, inner_fine
from dupnet.find.points import CODE_LENGTH
from dupnet.find.recent import Kept, Recent
from dupnet.find.regions import Image
from dupnet.find.repeats import repeating_images
from dupnet.find.verification import judge
from dupnet.find.votes import EXACT_FROM, grid_of, propose
from dupnet.images.image import TooLarge
from dupnet.images.parts import GreyParts, MaskParts, load_parts
from dupnet.images.reading import load_image
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights

__all__ = [
    "KEPT_BYTES",
    "SMALLEST_IMAGE",
    "PointSearch",
    "pixel_bytes",
    "reader",
    "region_judge",
    "search_points",
    "weak_images",
    "with_places",
]

SMALLEST_IMAGE = 64
"""Least side in pixels of an image that is searched."""

IN_MEMORY = 2**28
"""Bytes of codes from which they lie in a file while they are joined."""

ROWS_AT_A_TIME = 2**20

LEAST_POINTS = 16
"""Points of a tile from which on an overlap that shows it is found by them, even if most are lost to
compression: votes are enough from two on."""

KEPT_BYTES, PIXEL_BYTES, CELL_BYTES = 2**27, 2**27, 2**27
"""What is remembered of images: pixels from when their points were found, 220 images of 768 x 768 px; while
regions are judged, those of as many others, and the cells of 3,500."""


class PointSearch(NamedTuple):
    """What the search at any offset proposes."""

    proposals: pd.DataFrame
    """:data:`~dupnet.find.overlaps.KEY` and ``n_votes``."""
    grid: int | None
    """The step in pixels of the grid on which the collection lies, if it lies on one."""
    points: PointTable
    """The points that were joined."""
    joined: npt.NDArray[np.int32]
    """The images that were joined, ascending; another stands for each of the rest."""
    ignored: npt.NDArray[np.bool_]
    """Those of them that belong to an overlay."""
    counts: dict[str, int]
    judge: Judge
    """The judge that was given, which knows what it has judged."""
    control: dict[str, Any]
    """See :meth:`dupnet.find.votes.Proposals.control`."""
    repeating: npt.NDArray[np.bool_]
    """Images whose ground repeats itself, (n_images,)."""


def search_points(
    cache: Cache,
    described: Described,
    scratch: Path,
    is_against: npt.NDArray[np.bool_] | None,
    dense: bool,
    judge: Judge,
    workers: int,
    progress: bool = False,
    compare: Compare | None = None,
    slice_points: int = SLICE_POINTS,
) -> PointSearch:
    """Propose overlaps of the images, all in the cache, by their points.

    ``is_against`` (n_images,): images held against the others; only overlaps between the two are proposed.
    ``scratch``: a folder for what does not fit into memory. ``judge``: see
    :func:`dupnet.find.near_copies.near_copies`. ``compare``, ``slice_points``: see
    :func:`dupnet.find.join.join`.
    """
    near = near_copies(cache, described.images, described.sizes, is_against, judge)
    every = np.arange(len(described.images))
    joined_images = np.setdiff1d(every, near.proposals["image2"]).astype(np.int32)
    names = [described.images[number] for number in joined_images]
    rows = cache.rows_of(names)
    images = np.repeat(joined_images, [cache.entries[name].n_rows for name in names])
    n_points = np.array([cache.entries[name].n_rows for name in described.images], np.int64)
    kinds = cache.read("kinds", rows)[:, 0]
    y, x = (cache.read(name, rows).reshape(-1).view(np.float32) for name in ("y", "x"))
    points = PointTable(y, x, kinds, images, described.sizes, dense)
    # On Windows codes that are still mapped stay; the next run removes them.
    with TemporaryDirectory(prefix=SCRATCH, dir=scratch, ignore_cleanup_errors=True) as folder:
        codes = _codes(cache, rows, Path(folder))
        overlay = overlay_points(y, x, codes, kinds, images, described.sizes)
        joined = join(
            codes,
            images,
            kinds,
            sides=is_against,
            ignored=overlay,
            answering=inner_fine(points) if dense else None,
            workers=workers,
            slice_points=slice_points,
            compare=compare,
            scratch=folder,
            progress=progress,
        )
        try:
            found = propose(joined, points, joined.recurring)
        finally:
            joined.close()
    proposals = pd.concat([found.table, near.proposals], ignore_index=True)
    return PointSearch(
        proposals[[*KEY, "n_votes"]],
        grid_of(proposals, described.sizes),
        points,
        joined_images,
        overlay,
        {
            "points": len(rows),
            "points_of_overlays": int(overlay.sum()),
            "images_with_few_points": int((n_points < LEAST_POINTS).sum()),
            "matches_skipped": joined.n_skipped,
            "proposals": len(proposals),
            "proposals_skipped": found.n_skipped,
            "proposals_false": found.n_false,
        },
        recalling(judge, near.judged),
        found.control(),
        repeating_images(points, joined.recurring, overlay),
    )


def weak_images(points: PointTable, step: int, proposals: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Images whose overlaps points may miss, on a grid of ``step`` pixels.

    A tile of theirs holds few points, or none of their ``proposals`` is sure: points of dark water are many,
    and noise.
    """
    n_images = len(points.sizes)
    rows, cols = np.maximum(points.sizes // step, 1).T
    n_tiles = rows * cols
    start = np.cumsum(n_tiles) - n_tiles
    row = np.minimum((points.y / step).astype(np.int64), rows[points.images] - 1)
    col = np.minimum((points.x / step).astype(np.int64), cols[points.images] - 1)
    count = np.bincount(start[points.images] + row * cols[points.images] + col, minlength=int(n_tiles.sum()))
    fewest = np.minimum.reduceat(count, start) if n_images else count
    sure = proposals.loc[proposals["n_votes"] >= EXACT_FROM, KEY[:2]].to_numpy(np.int64)
    is_sure = np.bincount(sure.ravel(), minlength=n_images) > 0
    return np.flatnonzero((fewest < LEAST_POINTS) | ~is_sure)


def with_places(proposals: pd.DataFrame, n_images: int) -> pd.DataFrame:
    """Proposals with the place of image 1 in its group, as the strongest proposals alone have it."""
    offset = proposals[["y_offset", "x_offset"]].to_numpy(np.int64)
    first, second = (proposals[name].to_numpy(np.int64) for name in KEY[:2])
    weight = proposals["n_votes"].to_numpy(np.int64)
    root, position = spanned(n_images, Relations(first, second, offset, weight))
    places = (root[first], position[first, 0], position[first, 1])
    return proposals[[*KEY, "n_votes"]].assign(**dict(zip(PLACE, places, strict=True)))


def reader(
    files: Mapping[str, Path],
    described: Described,
    rendering: Rendering = Rendering(),
    kept: Kept[Image] | None = None,
) -> Callable[[int], Image]:
    """A function from the number of an image to its pixels: kept, else read, and the last remembered."""

    def read(number: int) -> Image:
        path = files[described.images[number]]
        try:
            image = load_image(path, grey=True, rendering=rendering)
        except TooLarge:
            # What is done to these pixels is to ask for their shape, and to cut regions out of them.
            return cast(Image, load_parts(path, rendering)[:2])
        return image.pixels, image.valid

    recent = Recent(read, pixel_bytes, PIXEL_BYTES)
    if kept is None:
        return recent

    def kept_or_read(number: int) -> Image:
        return kept.get(described.images[number]) or recent(number)

    return kept_or_read


def region_judge(
    read: Callable[[int], Image],
    described: Described,
    weights: Weights,
    workers: int,
    progress: bool = False,
) -> Judge:
    """A judge of regions, which reads the images where it needs them."""

    def cells(number: int, phase: tuple[int, int]) -> OnLattice:
        grey, valid = read(number)
        if isinstance(grey, GreyParts):
            return CellsOfParts(grey, cast(MaskParts, valid), weights)
        return describe_on_lattice(grey, valid, phase, weights)

    return partial(
        judge,
        shapes=described.sizes,
        read=read,
        cells=Recent(cells, _cell_bytes, CELL_BYTES),
        weights=weights,
        workers=workers,
        progress=progress,
    )


def pixel_bytes(image: Image) -> int:
    """Bytes of an image in memory, its mask included."""
    return image[0].nbytes + (0 if image[1] is None else image[1].nbytes)


def _cell_bytes(cells: OnLattice) -> int:
    return cells.nbytes


def _codes(cache: Cache, rows: npt.NDArray[np.int64], folder: Path) -> npt.NDArray[np.int8]:
    """The codes of the points, (len(rows), CODE_LENGTH) int8, in memory or in a file of ``folder``."""
    if len(rows) * CODE_LENGTH <= IN_MEMORY:
        return cache.read("codes", rows).view(np.int8)
    path = folder / "codes"
    with open(path, "wb") as file:  # written, not mapped: a full disk is an error then, else it kills Python
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            file.write(cache.read("codes", rows[start : start + ROWS_AT_A_TIME]).data)
    return np.memmap(path, np.int8, "r", shape=(len(rows), CODE_LENGTH))
