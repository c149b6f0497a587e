"""From a folder of images to every overlap in it, groups, mosaics and a report.

Each image is read once for the search, and what is kept of it goes into a cache. All that follows (search,
judging, groups) is a function of the sorted images and of what is kept of them. So a run that was stopped and
resumed, or to which images were added, ends with the same bytes as one that did all at once.
"""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from dupnet.files.workers import n_workers
from dupnet.find.collection import CACHE, locked, open_collection
from dupnet.find.describe import describe_all
from dupnet.find.groups import Resolution, resolve
from dupnet.find.results import Clock, FindResult, conclude, write_all
from dupnet.find.tile_index import Tiling, describe_tiles, open_tiles
from dupnet.find.tile_search import search_tiles
from dupnet.images.reading import list_images
from dupnet.network.descriptors import load_weights
from dupnet.tiles import TILE_SIZE, Grid

__all__ = ["across", "find_overlaps", "recorded_options", "searched_tiles"]


def find_overlaps(
    folder: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    tile_size: int = TILE_SIZE,
    stride: int | None = None,
    add: bool = False,
    against: str | os.PathLike[str] | None = None,
    check_content: bool = False,
    report: bool = True,
    workers: int | None = None,
    progress: bool = False,
) -> FindResult:
    """Find every overlap of a folder of images.

    Parameters
    ----------
    folder : path
        JPEG, PNG or TIFF images of one size; what else is in it is listed as unreadable.
    out : path, optional
        Where the tables, the mosaics, the report and the cache of descriptors go. With the same folder, a run
        that was stopped goes on where it was. Without it, nothing is kept on disk.
    tile_size, stride : int
        In pixels. The stride at which the images were cut divides the tile size (its default) and both sides
        of the images. Overlaps are found where two images share a whole tile.
    add : bool
        Add the folder's images to the collection that ``out`` holds.
    against : path, optional
        Look only for overlaps between the images of ``folder`` and those of this one, called ``AGAINST/NAME``
        in the tables.
    check_content : bool
        Tell a changed file by its bytes, not by its size and time of change alone.
    report : bool
        Whether to write mosaics and the report into ``out``; without, those of an earlier run are removed.
    workers : int, optional
        Threads; one for every core by default. The result does not depend on it.
    progress : bool
        Show progress on standard error.

    Raises
    ------
    ValueError
        If the options do not fit together, no image can be used, or ``out`` holds something else.
    OSError
        If a folder is missing, ``out`` cannot be written, or another process is at work in it.
    """
    for name, address in (("folder", folder), ("out", out), ("against", against)):
        if address == "":
            raise ValueError(f"{name} is an empty path; name a folder ('.' is the current one).")
    for address in (folder, out, against):
        if address is not None and "://" in os.fspath(address):
            raise ValueError(f"{os.fspath(address)!r} is a URL; give a scheduler (--scheduler) or a path.")
    if add and out is None:
        raise ValueError("add needs out, the folder of the collection to add to.")
    tiling = Tiling.checked(tile_size, stride)
    workers = n_workers(workers)
    for images in (folder, against):
        if images is not None:
            list_images(images)  # says what is wrong, before anything is written
    weights = load_weights()
    clock = Clock()
    with ExitStack() as stack:
        work = (
            Path(out) if out is not None else Path(stack.enter_context(TemporaryDirectory(prefix="dupnet-")))
        )
        stack.enter_context(locked(work))
        collection = open_collection(work, folder, add, against)
        # Each thread works on an image or a block of its own; threads within a product would only wait.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        cache = stack.enter_context(open_tiles(work / CACHE, tiling, weights, check_all=check_content))
        if cache.discarded:
            warnings.warn(f"All images are described again: the cache was {cache.discarded}.", stacklevel=2)
        if cache.damaged:
            warnings.warn(
                f"{len(cache.damaged)} images are described again: their rows in the cache were damaged.",
                stacklevel=2,
            )
        with clock("describe"):
            described = describe_all(
                collection.files,
                cache,
                partial(
                    describe_tiles,
                    files=collection.files,
                    tiling=tiling,
                    weights=weights,
                    check_content=check_content,
                ),
                one_size=True,
                check_content=check_content,
                workers=workers,
                progress=progress,
            )
        is_against = None
        if against is not None:
            is_against = np.array([collection.is_against(name) for name in described.images])
        with clock("search"):
            search = search_tiles(cache, described, tiling, weights, is_against, workers, progress)
        with clock("judge"):
            resolution = resolve(search.proposals, described.sizes, search.judge, tiling.tile_size)
        result = conclude(
            across(resolution, is_against),
            described,
            grid=Grid.of_image(int(described.sizes[0, 0]), int(described.sizes[0, 1]), tiling.stride),
            weights=weights,
            folders=collection.lookup,
            options=recorded_options(folder, tiling, add, against, check_content=check_content),
            searched=searched_tiles(tiling, against is not None),
            counts=search.counts,
            seconds=clock.seconds,
        )
        if out is not None:
            write_all(result, work, result.folders if report else None, workers, clock)
    return result


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


def searched_tiles(tiling: Tiling, against: bool) -> dict[str, Any]:
    """What a search on a grid searches, as :attr:`dupnet.find.results.FindResult.searched`."""
    return {
        "offsets": "grid",
        "grid": tiling.stride,
        "smallest_region": tiling.tile_size,
        "against": against,
    }


def recorded_options(
    folder: str | os.PathLike[str],
    tiling: Tiling,
    add: bool,
    against: str | os.PathLike[str] | None,
    **others: bool | str,
) -> dict[str, bool | int | str | None]:
    """The options of a run, as ``run.json`` keeps them."""
    return {
        "images": os.fspath(folder),
        "tile_size": tiling.tile_size,
        "stride": tiling.stride,
        "add": add,
        "against": None if against is None else os.fspath(against),
        **others,
    }
