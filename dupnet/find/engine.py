"""From a folder of images to every overlap in it, groups, mosaics and a report.

At any offset: images -> points -> join -> votes for an offset -> places -> each image described on the
lattice of its group -> the network's verdict on what proposals and places say is common ground. On a grid:
images -> tiles -> tiles that look alike -> votes -> the verdict tile by tile. Either way the same solver
places the images, and the same tables come out. Where the points show that a collection lies on a grid, its
tiles propose overlaps, too, of images with few points or no certain overlap.

Each image is read once for the search, and what is kept of it goes into a cache. All that follows is a
function of the sorted images and of what is kept of them. So a run that was stopped and resumed, or to which
images were added, ends with the same bytes as one that did all at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from dupnet.files.workers import ProcessPool, n_workers
from dupnet.find.calls import check_call
from dupnet.find.collection import CACHE, Images, list_call, locked, open_collection
from dupnet.find.describe import recorded_weights
from dupnet.find.footprints import contradictions
from dupnet.find.groups import MAX_STACK, Resolution, resolve
from dupnet.find.judgements import heed
from dupnet.find.results import Clock, FindResult, conclude, write_all
from dupnet.find.steps import Run, held_against, search_by_points, search_by_tiles
from dupnet.find.tile_index import Tiling
from dupnet.find.transformed import search_transformed, with_transformed
from dupnet.images.collection_stretch import stretch_of_collection
from dupnet.images.stretch import Rendering
from dupnet.images.transforms import is_transformed
from dupnet.network.descriptors import Weights, load_weights
from dupnet.tiles import TILE_SIZE

__all__ = ["across", "find_overlaps", "found_by", "tiling_of"]

PATHS_RECORDED = 20
"""Folders or files of a call that ``run.json`` names."""


def find_overlaps(
    images: Images | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    grid: int | None = None,
    tile_size: int | None = None,
    stride: int | None = None,
    add: bool = False,
    against: str | os.PathLike[str] | None = None,
    turned: bool = False,
    rescaled: bool = False,
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
    turned : bool
        Find images that were mirrored, turned by quarters, or both, too.
    rescaled : bool
        Find images that were resized by a factor of 0.4 to 2.5, each side by its own, rotated by up to 15
        degrees, or both, too; with ``turned``, also mirrored and turned. With either, tables have the columns
        :data:`dupnet.images.transforms.TRANSFORM_COLUMNS`.
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
        Threads, or processes where there is much to do; one for every core by default. The result does not
        depend on it.
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
    if tiling is not None and (turned or rescaled):
        option = "turned" if turned else "rescaled"
        raise ValueError(f"{option} images lie on no grid; leave out grid, tile_size and stride.")
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
        run = Run(
            collection,
            rendering,
            work / CACHE,
            used_weights,
            clock,
            check_content,
            n_workers(workers),
            progress,
            turned,
            rescaled,
            pool=stack.enter_context(ProcessPool(n_workers(workers))) if n_workers(workers) > 1 else None,
        )
        result = found_by(
            run,
            tiling,
            stack,
            all_pairs=all_pairs,
            options={
                "images": None if named is None else [os.fspath(path) for path in named[:PATHS_RECORDED]],
                "grid": grid,
                "tile_size": tiling and tiling.tile_size,
                "stride": tiling and tiling.stride,
                "add": add,
                "against": None if against is None else os.fspath(against),
                "turned": turned,
                "rescaled": rescaled,
                "check_content": check_content,
                "all_pairs": all_pairs,
                "ignore_judgements": ignore_judgements,
                "bands": None if bands is None else list(bands),
                "stretch": stretch if isinstance(stretch, str) else list(stretch),
                "rendering": run.rendering.record(),
                "weights": recorded_weights(weights),
            },
        )
        if out is not None:
            result = heed(result, work, ignore=ignore_judgements)
            shown = result.folders if report else None
            write_all(result, work, shown, run.workers, run.clock, run.rendering)
    return result


def found_by(
    run: Run,
    tiling: Tiling | None,
    stack: ExitStack,
    *,
    options: Mapping[str, Any],
    all_pairs: bool = False,
) -> FindResult:
    """What a run finds, on whichever machines; caches stay open as long as the stack.

    ``tiling``: the tiles to search, or None for any offset. ``options``: as ``run.json`` keeps them.
    """
    search = search_by_points(run, stack) if tiling is None else search_by_tiles(run, tiling, stack)
    with run.clock("judge"):
        resolution = resolve(
            search.proposals,
            search.described.sizes,
            search.judge,
            search.least,
            None if all_pairs else MAX_STACK,
        )
    counts, searched = search.counts, search.searched
    if run.turned or run.rescaled:
        found = search_transformed(run, search, resolution)
        resolution = with_transformed(resolution, found)
        counts, searched = {**counts, **found.counts}, {**searched, **found.searched}
    is_against = held_against(run, search.described)
    result = conclude(
        across(resolution, is_against),
        search.described,
        grid=search.grid,
        weights=run.weights,
        folders=run.collection.lookup,
        options=options,
        searched={**searched, "against": is_against is not None},
        counts={**counts, "ignored": run.collection.ignored},
        seconds=run.clock.seconds,
    )
    if search.surveyed:
        result.georeference = contradictions(
            search.surveyed,
            result.overlaps[~is_transformed(result.overlaps)],
            result.revisits[~is_transformed(result.revisits)],
            resolution.refused,
            search.described.images,
        )
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
    return Tiling.checked(grid, None, "grid")


def across(resolution: Resolution, is_against: npt.NDArray[np.bool_] | None) -> Resolution:
    """The overlaps between images held against the others, (n_images,) bool, and these; all without it.

    Places in a group imply overlaps within one side too.
    """
    if is_against is None:
        return resolution

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        sides = is_against[table["image1"].to_numpy(np.int64)], is_against[table["image2"].to_numpy(np.int64)]
        return table[sides[0] != sides[1]].reset_index(drop=True)

    return resolution._replace(
        **{name: kept(getattr(resolution, name)) for name in ("overlaps", "revisits", "refused")}
    )
