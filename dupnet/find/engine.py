"""From a folder of images to every overlap in it, groups, mosaics and a report.

At any offset: images -> points -> join -> votes for an offset -> places -> each image described on the
lattice of its group -> the network's verdict on what proposals and places say is common ground. On a grid:
images -> tiles -> tiles that look alike -> votes -> the verdict tile by tile. Either way the same solver
places the images, and the same tables come out. Where the points show that a collection lies on a grid, its
tiles propose overlaps, too: they also see nearly blank ground.

Each image is read once for the search, and what is kept of it goes into a cache. All that follows is a
function of the sorted images and of what is kept of them. So a run that was stopped and resumed, or to which
images were added, ends with the same bytes as one that did all at once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from dupnet.files.workers import n_workers
from dupnet.find.cache import Cache
from dupnet.find.calls import check_call
from dupnet.find.collection import (
    CACHE,
    Collection,
    Images,
    list_call,
    locked,
    open_collection,
)
from dupnet.find.describe import Described, describe_all, recorded_weights
from dupnet.find.groups import MAX_STACK, Resolution, resolve
from dupnet.find.judgements import heed
from dupnet.find.overlaps import KEY, Judge, concatenate
from dupnet.find.point_index import describe_points, open_points
from dupnet.find.point_search import (
    SMALLEST_IMAGE,
    reader,
    region_judge,
    search_points,
    weak_images,
    with_places,
)
from dupnet.find.points import needs_dense
from dupnet.find.results import Clock, FindResult, conclude, write_all
from dupnet.find.tile_index import Tiling, describe_tiles, open_tiles
from dupnet.find.tile_search import search_tiles
from dupnet.find.verification import refine_offsets
from dupnet.find.votes import EXACT_FROM
from dupnet.images.collection_stretch import stretch_of_collection
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights, load_weights
from dupnet.tiles import CELL_SIZE, TILE_SIZE, Grid

__all__ = ["across", "find_overlaps", "searched_tiles", "tiling_of"]

SMALLEST_GRID = 128
"""Step in pixels of the smallest grid whose tiles propose overlaps beside the points: smaller tiles look
alike too often."""

PATHS_RECORDED = 20
"""Folders or files of a call that ``run.json`` names."""


class _Run(NamedTuple):
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


class _Search(NamedTuple):
    """What a search found: proposals, how to judge them, and what is told of the search."""

    described: Described
    proposals: pd.DataFrame
    judge: Judge
    least: int
    """Side in pixels that a common region must have to be judged."""
    grid: Grid | None
    searched: dict[str, Any]
    counts: dict[str, Any]


def find_overlaps(
    images: Images | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    grid: int | None = None,
    tile_size: int | None = None,
    stride: int | None = None,
    add: bool = False,
    against: str | os.PathLike[str] | None = None,
    moved_to: Sequence[str | os.PathLike[str]] = (),
    bands: Sequence[int] | None = None,
    stretch: str | tuple[float, float] = "file",
    check_content: bool = False,
    all_pairs: bool = False,
    ignore_judgements: bool = False,
    weights: str | os.PathLike[str] | Weights | None = None,
    report: bool = True,
    workers: int | None = None,
    progress: bool = False,
) -> FindResult:
    """Find every overlap of a folder of images, at any pixel offset.

    Parameters
    ----------
    images : path, or iterable of paths
        A folder, which is entered with all folders in it, several folders, or a list of files; images of any
        sizes from 64 px. What is not an image is listed as unreadable, what accompanies images is counted.
        Images are named by their paths relative to the folder; of several, to what contains them all. None:
        those that ``out`` remembers.
    out : path, optional
        Where the tables, the mosaics, the report and the caches go. With the same folder, a run that was
        stopped goes on where it was. Without it, nothing is kept on disk.
    grid : int, optional
        Search only whole tiles on a grid of so many pixels, of images of one size: quicker, and blind to
        overlaps at any other offset.
    tile_size, stride : int, optional
        The same with tiles larger than the stride at which the images were cut, which divides the tile size
        and both sides of the images. Overlaps are found where two images share a whole tile.
    add : bool
        Add the images to the collection that ``out`` holds.
    against : path, optional
        Look only for overlaps between ``images`` and those of this folder, called ``AGAINST/NAME`` in the
        tables.
    moved_to : sequence of path
        Where the folders of the collection that ``out`` holds are now, if they have moved.
    bands : three int, optional
        Numbers, from 1, of the bands to take as red, green and blue of files of more than three; by default
        those that the file calls so, or the first three.
    stretch : str or (float, float)
        What becomes black and white, of files of more than 8 bits: "file", percentiles 2 and 98 of the file;
        "collection", those of all files of its kind; or two limits, also as "LOW:HIGH".
    check_content : bool
        Tell a changed file by its bytes, not by its size and time of change alone, and check all that the
        cache holds.
    all_pairs : bool
        List every pair of copies of one image, however many there are; without, more than
        :data:`dupnet.find.groups.MAX_STACK` of them are paired with the first alone.
    ignore_judgements : bool
        As the search has it, whatever was judged by eye (``judgements.csv`` in ``out``).
    weights : path or Weights, optional
        A network of one's own (``dupnet.npz`` of ``dupnet train``); the shipped one by default.
    report : bool
        Whether to write mosaics and the report into ``out``; without, those of an earlier run are removed.
    workers : int, optional
        Threads; one for every core by default. The result does not depend on it.
    progress : bool
        Show progress on standard error.

    Raises
    ------
    TypeError
        If images are anything but paths.
    ValueError
        If the options do not fit together, no image can be used, or ``out`` holds something else.
    OSError
        If a folder is missing, ``out`` cannot be written, or another process is at work in it.
    """
    named = check_call(images, out, against, add, moved_to)
    tiling = tiling_of(grid, tile_size, stride)
    rendering = Rendering.checked(bands, stretch)
    used_weights = load_weights(weights)
    # Listed before anything is written: what is wrong is said first.
    listing, held = list_call(named, out, against)
    with ExitStack() as stack:
        work = (
            Path(out) if out is not None else Path(stack.enter_context(TemporaryDirectory(prefix="dupnet-")))
        )
        stack.enter_context(locked(work))
        # Each thread works on an image or a block of its own; threads within a product would only wait.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        collection = open_collection(work, listing, add, held, moved_to)
        clock = Clock()
        if stretch == "collection":
            with clock("stretch"):
                rendering = stretch_of_collection(collection.files.values(), rendering, n_workers(workers))
        run = _Run(
            collection,
            rendering,
            work / CACHE,
            used_weights,
            clock,
            check_content,
            n_workers(workers),
            progress,
        )
        search = _search_points(run, stack) if tiling is None else _search_grid(run, tiling, stack)
        with run.clock("judge"):
            resolution = resolve(
                search.proposals,
                search.described.sizes,
                search.judge,
                search.least,
                None if all_pairs else MAX_STACK,
            )
        is_against = _is_against(run, search.described)
        result = conclude(
            across(resolution, is_against),
            search.described,
            grid=search.grid,
            weights=run.weights,
            folders=run.collection.lookup,
            options={
                "images": None if named is None else [os.fspath(path) for path in named[:PATHS_RECORDED]],
                "grid": grid,
                "tile_size": tiling and tiling.tile_size,
                "stride": tiling and tiling.stride,
                "add": add,
                "against": None if against is None else os.fspath(against),
                "check_content": check_content,
                "all_pairs": all_pairs,
                "ignore_judgements": ignore_judgements,
                "bands": None if bands is None else list(bands),
                "stretch": stretch if isinstance(stretch, str) else list(stretch),
                "rendering": run.rendering.record(),
                "weights": recorded_weights(weights),
            },
            searched={**search.searched, "against": against is not None},
            counts={**search.counts, "ignored": run.collection.ignored},
            seconds=run.clock.seconds,
        )
        if out is not None:
            result = heed(result, work, ignore=ignore_judgements)
            shown = result.folders if report else None
            write_all(result, work, shown, run.workers, run.clock, run.rendering)
    return result


def tiling_of(grid: int | None, tile_size: int | None, stride: int | None) -> Tiling | None:
    """How images are cut into tiles, by the options; None: any offset is searched.

    Raises
    ------
    ValueError
        If the options do not fit together.
    """
    if grid is None:
        return (
            None if tile_size is None and stride is None else Tiling.checked(tile_size or TILE_SIZE, stride)
        )
    if tile_size is not None or stride is not None:
        raise ValueError("grid stands for a tile_size and a stride of so many pixels; leave these out.")
    return Tiling.checked(grid, None)


def _is_against(run: _Run, described: Described) -> npt.NDArray[np.bool_] | None:
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


def _tiles(run: _Run, files: Mapping[str, Path], tiling: Tiling, stack: ExitStack) -> tuple[Cache, Described]:
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


def _search_grid(run: _Run, tiling: Tiling, stack: ExitStack) -> _Search:
    cache, described = _tiles(run, run.collection.files, tiling, stack)
    with run.clock("search tiles"):
        found = search_tiles(
            cache,
            described,
            tiling,
            run.weights,
            _is_against(run, described),
            run.workers,
            run.progress,
        )
    grid = Grid.of_image(*_size(described.sizes), tiling.stride)
    searched = searched_tiles(tiling)
    return _Search(described, found.proposals, found.judge, tiling.tile_size, grid, searched, found.counts)


def _search_points(run: _Run, stack: ExitStack) -> _Search:
    cache, described, dense = _points(run, stack)
    with run.clock("join points"):
        found = search_points(cache, described, run.work, _is_against(run, described), dense, run.workers)
    proposals, counts = found.proposals, dict(found.counts)
    step = found.grid or _likely_grid(proposals, described.sizes)
    tiles_searched = step is not None and step >= SMALLEST_GRID
    if tiles_searched:
        assert step is not None
        weak = weak_images(found.points, step)
        of_tiles, more = _proposed_by_tiles(run, described, weak, Tiling(step, step), stack)
        proposals = concatenate([proposals, of_tiles])
        skipped = counts["proposals_skipped"] + more.get("proposals_skipped", 0)
        counts |= {**more, "proposals_skipped": skipped}
    read = reader(run.collection.files, described, run.rendering)
    with run.clock("refine offsets"):
        proposals = concatenate([refine_offsets(proposals, read, run.workers)])
    is_one_size = (described.sizes == described.sizes[0]).all()
    grid = Grid.of_image(*_size(described.sizes), step) if step and is_one_size else None
    searched = {
        "offsets": "any",
        "grid": step if tiles_searched else None,
        "smallest_region": CELL_SIZE,
    }
    judge = region_judge(read, described, run.weights, run.workers)
    proposals = with_places(proposals, len(described.images))
    return _Search(described, proposals, judge, CELL_SIZE, grid, searched, counts)


def _points(run: _Run, stack: ExitStack) -> tuple[Cache, Described, bool]:
    """The points of the images, all in the cache, and whether they are dense.

    Small images match by fine points, which larger ones have everywhere only where there are small ones.
    """
    files = run.collection.files
    dense = False
    while True:
        folder = run.work / ("points-dense" if dense else "points")
        cache = stack.enter_context(
            open_points(
                folder,
                run.weights,
                dense=dense,
                check_all=run.check_content,
                rendering=run.rendering,
            )
        )
        _tell(cache)
        describer = partial(
            describe_points,
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
    run: _Run, described: Described, weak: npt.NDArray[np.int64], tiling: Tiling, stack: ExitStack
) -> tuple[pd.DataFrame, dict[str, int]]:
    """What tiles of weak images of the most frequent size propose, by the numbers of all images."""
    if not len(weak):
        return pd.DataFrame(columns=[*KEY, "n_votes"], dtype=np.int64), {}
    # A file that changes meanwhile may be usable now, and have no number.
    files = {described.images[number]: run.collection.files[described.images[number]] for number in weak}
    cache, of_one_size = _tiles(run, files, tiling, stack)
    with run.clock("search tiles"):
        found = search_tiles(
            cache, of_one_size, tiling, run.weights, _is_against(run, of_one_size), run.workers, run.progress
        )
    number = pd.Index(described.images).get_indexer(of_one_size.images)
    numbered = {end: number[found.proposals[end].to_numpy(np.int64)] for end in KEY[:2]}
    counts = {name: count for name, count in found.counts.items() if name != "proposals"}
    return found.proposals.assign(**numbered)[[*KEY, "n_votes"]], counts


def _size(sizes: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(sizes[0, 0]), int(sizes[0, 1])


def across(resolution: Resolution, is_against: npt.NDArray[np.bool_] | None) -> Resolution:
    """The overlaps between images held against the others, (n_images,) bool, and these; all without it.

    Places in a group imply overlaps within one side too.
    """
    if is_against is None:
        return resolution

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        sides = is_against[table["image1"].to_numpy(np.int64)], is_against[table["image2"].to_numpy(np.int64)]
        return table[sides[0] != sides[1]].reset_index(drop=True)

    return resolution._replace(overlaps=kept(resolution.overlaps), revisits=kept(resolution.revisits))


def searched_tiles(tiling: Tiling) -> dict[str, Any]:
    """What a search on a grid searches, as :attr:`dupnet.find.results.FindResult.searched`."""
    return {"offsets": "grid", "grid": tiling.stride, "smallest_region": tiling.tile_size}
