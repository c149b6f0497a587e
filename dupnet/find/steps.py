"""The steps of the two searches, at any offset and on a grid, from the files to proposals and their judge."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find import footprints
from dupnet.find.cache import Cache
from dupnet.find.collection import Collection
from dupnet.find.describe import Described, describe_all
from dupnet.find.footprints import Surveyed
from dupnet.find.overlaps import KEY, Judge, concatenate
from dupnet.find.point_index import COLUMNS, describe_points, open_points
from dupnet.find.point_search import (
    SMALLEST_IMAGE,
    reader,
    region_judge,
    search_points,
    weak_images,
    with_places,
)
from dupnet.find.points import needs_dense
from dupnet.find.results import Clock
from dupnet.find.tile_index import Tiling, describe_tiles, open_tiles
from dupnet.find.tile_search import search_tiles
from dupnet.find.turns import TURNED_COLUMNS, describe_turned_points
from dupnet.find.verification import refine_offsets
from dupnet.find.votes import EXACT_FROM, PointTable
from dupnet.images.image import MAX_PIXELS
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights
from dupnet.tiles import CELL_SIZE, TILE_SIZE, Grid

__all__ = ["Run", "Search", "held_against", "search_by_points", "search_by_tiles", "searched_tiles"]

SMALLEST_GRID = 128
"""Step in pixels of the smallest grid whose tiles propose overlaps beside the points: smaller tiles look
alike too often."""


class Run(NamedTuple):
    """What all steps of a run share."""

    collection: Collection
    rendering: Rendering
    work: Path
    """Folder of caches and of what does not fit into memory."""
    weights: Weights
    clock: Clock
    check_content: bool
    workers: int
    progress: bool
    turned: bool = False
    """Whether images may be mirrored and turned by quarters, as :mod:`dupnet.find.turned_search` finds."""
    rescaled: bool = False
    """Whether they may be resized and turned by some degrees, as :mod:`dupnet.find.rescaled_search` finds."""


class Points(NamedTuple):
    """The points of a collection, as they were joined."""

    cache: Cache
    table: PointTable
    ignored: npt.NDArray[np.bool_]
    joined: npt.NDArray[np.int32]
    """The images that were, ascending; another stands for each of the rest."""


class Search(NamedTuple):
    """What a search found: proposals, how to judge them, and what is told of the search."""

    described: Described
    proposals: pd.DataFrame
    judge: Judge
    least: int
    """Side in pixels that a common region must have to be judged."""
    grid: Grid | None
    searched: dict[str, Any]
    counts: dict[str, Any]
    surveyed: Surveyed | None = None
    """What files say of where their images lie, if any does."""
    points: Points | None = None
    """What a search at any offset found its proposals by."""


def held_against(run: Run, described: Described) -> npt.NDArray[np.bool_] | None:
    """Which images are those held against the others, (n_images,) bool; None without such."""
    if run.collection.against is None:
        return None
    return np.array([run.collection.is_against(image) for image in described.images])


def _tell(cache: Cache) -> None:
    if cache.discarded:
        warnings.warn(f"All images are described again: the cache was {cache.discarded}.", stacklevel=4)
    if cache.damaged:
        warnings.warn(
            f"{len(cache.damaged)} images are described again: their rows in the cache were damaged.",
            stacklevel=4,
        )


def _tiles(run: Run, files: Mapping[str, Path], tiling: Tiling, stack: ExitStack) -> tuple[Cache, Described]:
    """The tiles of those of the files that are of the most frequent size, all in the cache."""
    cache = stack.enter_context(
        open_tiles(
            run.work / "tiles",
            tiling,
            run.weights,
            check_all=run.check_content,
            rendering=run.rendering,
        )
    )
    _tell(cache)
    describer = partial(
        describe_tiles,
        files=files,
        tiling=tiling,
        weights=run.weights,
        check_content=run.check_content,
        rendering=run.rendering,
    )
    with run.clock("describe tiles"):
        described = describe_all(
            files,
            cache,
            describer,
            one_size=True,
            refused=run.collection.refused,
            check_content=run.check_content,
            workers=run.workers,
            progress=run.progress,
        )
    return cache, described


def search_by_tiles(run: Run, tiling: Tiling, stack: ExitStack) -> Search:
    """Search whole tiles on a grid; caches stay open as long as the stack."""
    cache, described = _tiles(run, run.collection.files, tiling, stack)
    with run.clock("search tiles"):
        found = search_tiles(
            cache,
            described,
            tiling,
            run.weights,
            held_against(run, described),
            run.workers,
            run.progress,
        )
    grid = Grid.of_image(*_size(described.sizes), tiling.stride)
    searched = searched_tiles(tiling)
    return Search(described, found.proposals, found.judge, tiling.tile_size, grid, searched, found.counts)


def search_by_points(run: Run, stack: ExitStack) -> Search:
    """Search any offset; caches stay open as long as the stack."""
    cache, described, dense = _points(run, stack)
    read = reader(run.collection.files, described, run.rendering)
    judge = region_judge(read, described, run.weights, run.workers, run.progress)
    with run.clock("join points"):
        found = search_points(
            cache, described, run.work, held_against(run, described), dense, judge, run.workers, run.progress
        )
    proposals, counts = found.proposals, dict(found.counts)
    step = found.grid or _likely_grid(proposals, described.sizes)
    tiles_searched = step is not None and step >= SMALLEST_GRID
    if tiles_searched:
        assert step is not None
        weak = np.intersect1d(weak_images(found.points, step), found.joined)
        weak = weak[described.sizes[weak].prod(axis=1) <= MAX_PIXELS]  # tiles are cut from whole images
        of_tiles, more = _proposed_by_tiles(run, described, weak, Tiling(step, step), stack)
        proposals = concatenate([proposals, of_tiles])
        skipped = counts["proposals_skipped"] + more.get("proposals_skipped", 0)
        counts |= {**more, "proposals_skipped": skipped}
    with run.clock("refine offsets"):
        proposals = concatenate([refine_offsets(proposals, read, run.workers, run.progress)])
    judge = found.judge
    with run.clock("georeferences"):
        surveyed = footprints.survey(
            run.collection.files, described, held_against(run, described), run.workers
        )
        if surveyed:
            proposed = footprints.propose(surveyed, proposals, described, read, run.workers)
            judge = footprints.confirming(judge, proposed)
            proposals = concatenate([proposals, proposed.table])
    is_one_size = (described.sizes == described.sizes[0]).all()
    grid = Grid.of_image(*_size(described.sizes), step) if step and is_one_size else None
    searched: dict[str, Any] = {
        "offsets": "any",
        "grid": step if tiles_searched else None,
        "smallest_region": CELL_SIZE,
    }
    if surveyed:
        searched["georeferences"] = {
            "images": len(surveyed.georeferences),
            "pairs": len(surveyed.pairs),
            "skipped": surveyed.n_skipped,
        }
    proposals = with_places(proposals, len(described.images))
    kept = Points(cache, found.points, found.ignored, found.joined)
    return Search(described, proposals, judge, CELL_SIZE, grid, searched, counts, surveyed, kept)


def _points(run: Run, stack: ExitStack) -> tuple[Cache, Described, bool]:
    """The points of the images, all in the cache, and whether they are dense.

    Small images match by fine points, which larger ones have everywhere only where there are small ones.
    """
    files = run.collection.files
    dense = False
    while True:
        folder = run.work / f"points{'-dense' * dense}{'-turned' * run.turned}"
        cache = stack.enter_context(
            open_points(
                folder,
                run.weights,
                dense=dense,
                check_all=run.check_content,
                rendering=run.rendering,
                columns=TURNED_COLUMNS if run.turned else COLUMNS,
            )
        )
        _tell(cache)
        describer = partial(
            describe_turned_points if run.turned else describe_points,
            files=files,
            dense=dense,
            check_content=run.check_content,
            rendering=run.rendering,
        )
        with run.clock("describe points"):
            described = describe_all(
                files,
                cache,
                describer,
                smallest=SMALLEST_IMAGE,
                refused=run.collection.refused,
                check_content=run.check_content,
                workers=run.workers,
                progress=run.progress,
            )
        sides = described.sizes.min(axis=1)
        if dense or not needs_dense(int(sides.min())) or needs_dense(int(sides.max())):
            return cache, described, dense or needs_dense(int(sides.max()))
        dense = True


def _likely_grid(proposals: pd.DataFrame, sizes: npt.NDArray[np.int64]) -> int | None:
    """The grid of whole tiles on which images may lie for all that their points say: where the size allows
    it, and no sure offset speaks against it."""
    if (sizes % TILE_SIZE).any() or (sizes == TILE_SIZE).all():
        return None
    sure = proposals.loc[proposals["n_votes"] >= EXACT_FROM, ["y_offset", "x_offset"]].to_numpy(np.int64)
    return None if (sure % TILE_SIZE).any() else TILE_SIZE


def _proposed_by_tiles(
    run: Run, described: Described, weak: npt.NDArray[np.int64], tiling: Tiling, stack: ExitStack
) -> tuple[pd.DataFrame, dict[str, int]]:
    """What tiles of weak images of the most frequent size propose, by the numbers of all images."""
    if not len(weak):
        return pd.DataFrame(columns=[*KEY, "n_votes"], dtype=np.int64), {}
    # A file that changes meanwhile may be usable now, and have no number.
    files = {described.images[number]: run.collection.files[described.images[number]] for number in weak}
    cache, of_one_size = _tiles(run, files, tiling, stack)
    with run.clock("search tiles"):
        found = search_tiles(
            cache, of_one_size, tiling, run.weights, held_against(run, of_one_size), run.workers, run.progress
        )
    number = pd.Index(described.images).get_indexer(of_one_size.images)
    numbered = {end: number[found.proposals[end].to_numpy(np.int64)] for end in KEY[:2]}
    counts = {name: count for name, count in found.counts.items() if name != "proposals"}
    return found.proposals.assign(**numbered)[[*KEY, "n_votes"]], counts


def _size(sizes: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(sizes[0, 0]), int(sizes[0, 1])


def searched_tiles(tiling: Tiling) -> dict[str, Any]:
    """What a search on a grid searches, as :attr:`dupnet.find.results.FindResult.searched`."""
    return {"offsets": "grid", "grid": tiling.stride, "smallest_region": tiling.tile_size}
