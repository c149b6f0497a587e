"""The steps of the two searches, at any offset and on a grid, from the files to proposals and their judge."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.workers import ProcessPool
from dupnet.find import footprints
from dupnet.find.cache import Cache
from dupnet.find.collection import Collection
from dupnet.find.describe import Described, describe_all
from dupnet.find.footprints import Surveyed
from dupnet.find.join import SLICE_POINTS, Compare
from dupnet.find.overlaps import KEY, Judge, concatenate
from dupnet.find.overlay_masks import hiding, means_of, reading_without
from dupnet.find.point_index import COLUMNS, describe_points, open_points
from dupnet.find.point_search import (
    KEPT_BYTES,
    PIXEL_BYTES,
    SMALLEST_IMAGE,
    PointSearch,
    pixel_bytes,
    reader,
    region_judge,
    search_points,
    weak_images,
    with_places,
)
from dupnet.find.points import find_points, needs_dense
from dupnet.find.portions import ByProcesses
from dupnet.find.recent import Kept, Recent
from dupnet.find.refinement import refine_offsets
from dupnet.find.regions import Image
from dupnet.find.repeats import doubting
from dupnet.find.results import Clock
from dupnet.find.tile_index import Tiling, describe_tiles, open_tiles
from dupnet.find.tile_search import TileSearch, search_tiles
from dupnet.find.turns import TURNED_COLUMNS, find_turned_points
from dupnet.find.votes import EXACT_FROM, PointTable
from dupnet.images.headers import sizes_at_the_ends
from dupnet.images.image import MAX_PIXELS
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights
from dupnet.tiles import CELL_SIZE, TILE_SIZE, Grid

__all__ = ["Run", "Search", "held_against", "search_by_points", "search_by_tiles", "searched_tiles"]

SMALLEST_GRID = 128
"""Step in pixels of the smallest grid whose tiles propose overlaps beside the points: smaller tiles look
alike too often."""


THREADS_FROM = 512
"""Shorter side in pixels of the largest image from which on threads pay. Of smaller ones the calls are so
short that they wait for each other: for crops of 400 px two threads take nine tenths of the time of one, and
1.3 times its processor time; for crops of 600 px three quarters, and 1.2 times."""


@dataclass(frozen=True)
class Run:
    """What all steps of a run share, and how the larger ones are done: by threads of this process.

    A cluster (:mod:`dupnet.cluster.run`) does them by its workers. What comes out is the same.
    """

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
    slice_points: int = SLICE_POINTS
    """Points of a join that are compared at a time."""
    pool: ProcessPool | None = None
    """What describes the points of many images, and judges many pairs, in place of threads."""
    kept: Kept[Image] = field(default_factory=lambda: Kept(KEPT_BYTES))
    """Pixels of the images that were described first, for the judge."""

    @property
    def compare(self) -> Compare | None:
        """What compares the points of a join, if not threads of this process."""
        return None

    def points(self, dense: bool, stack: ExitStack) -> tuple[Cache, Described]:
        """The points of the images, all in the cache, which stays open as long as the stack."""
        opened = open_points(
            self.work / f"points{'-dense' * dense}{'-turned' * self.turned}",
            self.weights,
            dense=dense,
            check_all=self.check_content,
            rendering=self.rendering,
            columns=TURNED_COLUMNS if self.turned else COLUMNS,
        )
        cache = stack.enter_context(opened)
        find = find_turned_points if self.turned else find_points
        describer = partial(describe_points, dense=dense, find=find, kept=self.kept)
        settings = {"smallest": SMALLEST_IMAGE, "pool": self.pool}
        return cache, self._described(self.collection.files, cache, describer, **settings)

    def tiles(self, images: Sequence[str], tiling: Tiling, stack: ExitStack) -> tuple[Described, TileSearch]:
        """Search the tiles of those images that are of the most frequent size; of one that changes meanwhile
        there may be none."""
        opened = open_tiles(
            self.work / "tiles", tiling, self.weights, check_all=self.check_content, rendering=self.rendering
        )
        cache = stack.enter_context(opened)
        describer = partial(describe_tiles, tiling=tiling, weights=self.weights)
        files = {image: self.collection.files[image] for image in images}
        with self.clock("describe tiles"):
            described = self._described(files, cache, describer, one_size=True)
        with self.clock("search tiles"):
            sides = held_against(self, described)
            found = search_tiles(cache, described, tiling, self.weights, sides, self.workers, self.progress)
        return described, found

    @cached_property
    def sides(self) -> list[int]:
        """The shorter sides of the smallest and the largest image, as far as headers tell."""
        return [min(size) for size in sizes_at_the_ends(self.collection.files.values())]

    @property
    def threads(self) -> int:
        """Threads that describe and judge images."""
        return self.workers if max(self.sides, default=THREADS_FROM) >= THREADS_FROM else 1

    def reader(self, described: Described) -> Callable[[int], Image]:
        """From the number of an image to its pixels."""
        return reader(self.collection.files, described, self.rendering, self.kept)

    def refine(
        self, proposals: pd.DataFrame, described: Described, read: Callable[[int], Image]
    ) -> pd.DataFrame:
        """See :func:`dupnet.find.refinement.refine_offsets`."""
        here = partial(refine_offsets, read=read, workers=self.threads, progress=self.progress)
        return self._by_processes(described).refine(proposals, here)

    def judge(self, described: Described, read: Callable[[int], Image]) -> Judge:
        """See :func:`dupnet.find.point_search.region_judge`."""
        here = region_judge(read, described, self.weights, self.threads, self.progress)
        return partial(self._by_processes(described).judge, few=here)

    def _by_processes(self, described: Described) -> ByProcesses:
        files = self.collection.files
        return ByProcesses(files, described, self.rendering, self.weights, self.pool, self.progress)

    def survey(self, described: Described) -> Surveyed | None:
        """What files say of where their images lie, if any does."""
        sides = held_against(self, described)
        return footprints.survey(self.collection.files, described, sides, self.workers)

    def _described(
        self, files: Mapping[str, Path], cache: Cache, describer: Callable[..., Any], **settings: Any
    ) -> Described:
        """Bring an open cache up to date with the files: :func:`dupnet.find.describe.describe_all`, with what
        all describers of a run share."""
        if cache.discarded:
            warnings.warn(f"All images are described again: the cache was {cache.discarded}.", stacklevel=5)
        if cache.damaged:
            warnings.warn(
                f"{len(cache.damaged)} images are described again: their rows in the cache were damaged.",
                stacklevel=5,
            )
        return describe_all(
            files,
            cache,
            partial(describer, check_content=self.check_content, rendering=self.rendering),
            refused=self.collection.refused,
            check_content=self.check_content,
            workers=self.threads,
            progress=self.progress,
            **settings,
        )


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


def search_by_tiles(run: Run, tiling: Tiling, stack: ExitStack) -> Search:
    """Search whole tiles on a grid; caches stay open as long as the stack."""
    described, found = run.tiles(list(run.collection.files), tiling, stack)
    grid = Grid.of_image(*_size(described.sizes), tiling.stride)
    searched = searched_tiles(tiling)
    return Search(described, found.proposals, found.judge, tiling.tile_size, grid, searched, found.counts)


def search_by_points(run: Run, stack: ExitStack) -> Search:
    """Search any offset; caches stay open as long as the stack."""
    cache, described, dense = _points(run, stack)
    read = run.reader(described)
    with run.clock("join points"):
        found = search_points(
            cache,
            described,
            run.work,
            held_against(run, described),
            dense,
            run.judge(described, read),
            run.workers,
            run.progress,
            run.compare,
            run.slice_points,
        )
    step = found.grid or _likely_grid(found.proposals, described.sizes)
    searched: dict[str, Any] = {
        "offsets": "any",
        "grid": step if step and step >= SMALLEST_GRID else None,
        "smallest_region": CELL_SIZE,
        "control": found.control,
    }
    proposals, counts = found.proposals, found.counts
    if searched["grid"]:
        proposals, counts = _with_those_of_tiles(run, found, described, searched["grid"], stack)
    with run.clock("refine offsets"):
        proposals = concatenate([run.refine(proposals, described, read)])
    judge = _beside_overlays(run, found, described, read)
    judge = doubting(judge, found.repeating, read, described.sizes)
    with run.clock("georeferences"):
        surveyed = run.survey(described)
        if surveyed:
            proposed = footprints.propose(surveyed, proposals, described, read, run.workers)
            judge = footprints.confirming(judge, proposed)
            proposals = concatenate([proposals, proposed.table])
            searched["georeferences"] = {
                "images": len(surveyed.georeferences),
                "pairs": len(surveyed.pairs),
                "skipped": surveyed.n_skipped,
            }
    is_one_size = (described.sizes == described.sizes[0]).all()
    grid = Grid.of_image(*_size(described.sizes), step) if step and is_one_size else None
    proposals = with_places(proposals, len(described.images))
    kept = Points(cache, found.points, found.ignored, found.joined)
    return Search(described, proposals, judge, CELL_SIZE, grid, searched, counts, surveyed, kept)


def _beside_overlays(
    run: Run, found: PointSearch, described: Described, read: Callable[[int], Image]
) -> Judge:
    """A judge that takes overlays for no data. Images that may carry one are judged on this machine."""
    holders = np.unique(found.points.images[found.ignored]).astype(np.int64)
    means = means_of(read, holders, described.sizes)
    hidden = Recent(reading_without(read, means), pixel_bytes, PIXEL_BYTES)
    of_marked = region_judge(hidden, described, run.weights, run.threads, run.progress)
    is_marked = np.array([tuple(size) in means for size in described.sizes.tolist()], np.bool_)
    return hiding(found.judge, of_marked, is_marked)


def _points(run: Run, stack: ExitStack) -> tuple[Cache, Described, bool]:
    """The points of the images, all in the cache, and whether they are dense.

    Small images match by fine points, which larger ones have everywhere only where there are small ones.
    """
    # By the headers alone: what they do not tell shows when the images have been described.
    dense = _dense_beside_small(run.sides)
    while True:
        with run.clock("describe points"):
            cache, described = run.points(dense, stack)
        is_right = _dense_beside_small(described.sizes.min(axis=1).tolist())
        if dense == is_right:
            return cache, described, dense
        dense = is_right


def _dense_beside_small(sides: Iterable[int]) -> bool:
    """Whether some images are so small that the others must be dense, by the shorter side of each."""
    usable = [side for side in sides if side >= SMALLEST_IMAGE]
    return bool(usable) and needs_dense(min(usable)) and not needs_dense(max(usable))


def _likely_grid(proposals: pd.DataFrame, sizes: npt.NDArray[np.int64]) -> int | None:
    """The grid of whole tiles on which images may lie for all that their points say: where the size allows
    it, and no sure offset speaks against it."""
    if (sizes % TILE_SIZE).any() or (sizes == TILE_SIZE).all():
        return None
    sure = proposals.loc[proposals["n_votes"] >= EXACT_FROM, ["y_offset", "x_offset"]].to_numpy(np.int64)
    return None if (sure % TILE_SIZE).any() else TILE_SIZE


def _with_those_of_tiles(
    run: Run, found: PointSearch, described: Described, step: int, stack: ExitStack
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Proposals and counts of the points, and of the tiles of weak images of the most frequent size."""
    weak = np.intersect1d(weak_images(found.points, step, found.proposals), found.joined)
    weak = weak[described.sizes[weak].prod(axis=1) <= MAX_PIXELS]  # tiles are cut from whole images
    if not len(weak):
        return found.proposals, found.counts
    of_one_size, by_tiles = run.tiles(
        [described.images[number] for number in weak], Tiling(step, step), stack
    )
    # A file that changes meanwhile may be usable now, and have no number.
    number = pd.Index(described.images).get_indexer(of_one_size.images)
    numbered = by_tiles.proposals.assign(
        **{end: number[by_tiles.proposals[end].to_numpy(np.int64)] for end in KEY[:2]}
    )
    counts = {
        **found.counts,
        **by_tiles.counts,
        "proposals": found.counts["proposals"],
        "proposals_skipped": found.counts["proposals_skipped"] + by_tiles.counts["proposals_skipped"],
    }
    return concatenate([found.proposals, numbered[[*KEY, "n_votes"]]]), counts


def _size(sizes: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(sizes[0, 0]), int(sizes[0, 1])


def searched_tiles(tiling: Tiling) -> dict[str, Any]:
    """What a search on a grid searches, as :attr:`dupnet.find.results.FindResult.searched`."""
    return {"offsets": "grid", "grid": tiling.stride, "smallest_region": tiling.tile_size}
