"""From a folder of images to every overlap in it, groups, mosaics and a report.

Each image is read once: decoded in grey, described tile by tile, its descriptors kept in a cache. All that
follows (search, verification, groups) is a function of the sorted images and their descriptors. So a run that
was stopped and resumed, or to which images were added, ends with the same bytes as one that did all at once.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from dupnet.files.workers import map_in_order, n_workers
from dupnet.find.cache import Cache
from dupnet.find.collection import CACHE, locked, open_collection
from dupnet.find.describe import Described, Tiling, describe_all, index_of, versions
from dupnet.find.groups import Resolution, resolve
from dupnet.find.overlaps import ScorePairs, vote
from dupnet.find.results import FindResult, write_run, write_tables
from dupnet.find.search import Candidates, candidates
from dupnet.images.reading import Sources, list_images
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import Weights, load_weights
from dupnet.tiles import TILE_SIZE, Grid, overlap_at

__all__ = [
    "PAIRS_AT_A_TIME",
    "SEARCH_THRESHOLD",
    "Clock",
    "FindResult",
    "ScoredOnce",
    "conclude",
    "find_overlaps",
    "recorded_options",
    "write_all",
]

SEARCH_THRESHOLD = 0.6
"""Cosine of two search descriptors from which their tiles are a candidate: far below what duplicates have
(0.87 and more), above what chance brings about."""

PAIRS_AT_A_TIME = 1024
"""Pairs of tiles that one thread scores at a time: 8 MB of descriptors."""

OVERLAPS_AT_A_TIME = 65_536
"""Overlaps that are verified together. As PAIRS_AT_A_TIME, it decides the last digits of scores."""

Rows = npt.NDArray[np.int64]


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
        cache = stack.enter_context(index_of(work / CACHE, tiling, weights))
        if cache.discarded:
            warnings.warn(f"All images are described again: the cache was {cache.discarded}.", stacklevel=2)
        with clock("describe"):
            described = describe_all(
                collection.files,
                cache,
                tiling,
                weights,
                check_content=check_content,
                workers=workers,
                progress=progress,
            )
        grid = tiling.grid(described.height, described.width)
        first_rows = np.array([cache.entries[name].first_row for name in described.images], np.int64)
        decidable = cache.decidable(first_rows, grid.n_tiles)
        is_against = None
        if against is not None:
            is_against = np.array([collection.is_against(name) for name in described.images])
        with clock("search"):
            found = candidates(
                cache.search(first_rows, grid.n_tiles),
                decidable,
                SEARCH_THRESHOLD,
                sides=None if is_against is None else np.repeat(is_against, grid.n_tiles),
                workers=workers,
                progress=progress,
            )
        score_portion = partial(_score_cached, cache, first_rows, grid.n_tiles, weights)
        score = ScoredOnce(
            cache.hashes(first_rows, grid.n_tiles),
            lambda portions: map_in_order(score_portion, portions, workers),
        )
        with clock("verify"):
            result = conclude(found, described, decidable, score, tiling, weights, is_against)
        result.folders = collection.lookup
        result.options = recorded_options(folder, tiling, add, against, check_content=check_content)
        result.seconds = clock.seconds
        if out is not None:
            write_all(result, work, result.folders if report else None, workers, clock)
    return result


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


def conclude(
    found: Candidates,
    described: Described,
    decidable: npt.NDArray[np.bool_],
    score: ScorePairs,
    tiling: Tiling,
    weights: Weights,
    is_against: npt.NDArray[np.bool_] | None = None,
) -> FindResult:
    """From candidates to verified overlaps and groups, wherever the descriptors are.

    Parameters
    ----------
    found : Candidates
        Pairs of rows; tile ``t`` of image ``i`` is row ``i * n_tiles + t``.
    described : Described
        The images.
    decidable : (n_rows,) bool
        Tiles that can be judged.
    score : callable
        (rows, rows) -> score of each pair of rows.
    tiling, weights
        How images were cut and described.
    is_against : (n_images,) bool, optional
        Images held against the others: only overlaps between the two are kept.

    Returns
    -------
    FindResult
        Without folders, options and seconds.
    """
    grid = tiling.grid(described.height, described.width)
    proposals = vote(found.rows1, found.rows2, found.cosine, grid)
    resolution = resolve(
        proposals, described.images, score, decidable, weights.threshold, grid, OVERLAPS_AT_A_TIME
    )
    if is_against is not None:  # places in a group imply overlaps within one side too
        side = pd.Series(is_against, index=described.images)
        across = (
            side.loc[resolution.overlaps["image1"]].array != side.loc[resolution.overlaps["image2"]].array
        )
        resolution = resolution._replace(overlaps=resolution.overlaps[across].reset_index(drop=True))
    picture_grid = Grid.of_image(described.height, described.width, tiling.stride)
    return FindResult(
        overlaps=_with_tags_of(resolution.overlaps, picture_grid),
        groups=resolution.groups,
        cuts=_with_tags_of(resolution.cuts, picture_grid),
        unreadable=described.unreadable,
        converted=described.converted,
        grid=picture_grid,
        folders=(),
        options={},
        counts=_counts(resolution, found, described, decidable, len(proposals)),
        versions=versions(weights),
    )


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start


class ScoredOnce:
    """Scores of pairs of tile rows; pairs of equal content, which crops of one acquisition often are, are
    scored once.

    They are scored in portions, and a score's last digits depend on the portion. Content alone decides what
    is in each, so that they come out the same wherever the portions are scored.

    Parameters
    ----------
    hashes : (n_rows,) uint64
        Of the verify descriptors of all rows.
    score : callable
        Portions, a list of (2, k) rows with k at most ``PAIRS_AT_A_TIME`` -> the (k,) scores of each.
    """

    def __init__(
        self,
        hashes: npt.NDArray[np.uint64],
        score: Callable[[list[Rows]], Iterable[npt.NDArray[np.float32]]],
    ) -> None:
        self.hashes = hashes
        self.score = score
        self.known_keys = np.zeros(0, np.uint64)
        self.known_scores = np.zeros(0, np.float32)

    def __call__(self, rows1: Rows, rows2: Rows) -> npt.NDArray[np.float32]:
        wanted = self.hashes[rows1] * np.uint64(0x9E3779B97F4A7C15) + self.hashes[rows2]
        keys, first, place = np.unique(wanted, return_index=True, return_inverse=True)
        new = ~np.isin(keys, self.known_keys)
        pairs = np.stack([rows1[first[new]], rows2[first[new]]])
        portions = [pairs[:, at : at + PAIRS_AT_A_TIME] for at in range(0, pairs.shape[1], PAIRS_AT_A_TIME)]
        all_keys = np.concatenate([self.known_keys, keys[new]])
        scores = np.concatenate([self.known_scores, *self.score(portions)])
        order = np.argsort(all_keys)
        self.known_keys, self.known_scores = all_keys[order], scores[order]
        found = self.known_scores[np.searchsorted(self.known_keys, keys)]
        return np.asarray(found[place], np.float32)


def _score_cached(
    cache: Cache, first_rows: Rows, n_tiles: int, weights: Weights, pairs: Rows
) -> npt.NDArray[np.float32]:
    """Scores (k,) of pairs (2, k) of tile rows, of which the cache has the descriptors."""
    image, tile = np.divmod(pairs, n_tiles)
    in_cache, place = np.unique(first_rows[image] + tile, return_inverse=True)
    verify = cache.verify(in_cache)
    return score_pairs(verify[place[0]], verify[place[1]], weights, workers=1)


def _with_tags_of(overlaps: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """Overlaps, tag and number of tiles as the grid of the stride counts them where tiles lie closer."""
    offsets = zip(overlaps["row_offset"], overlaps["col_offset"], strict=True)
    seen = [overlap_at(int(row), int(col), grid) for row, col in offsets]
    counted = {"overlap_tag": [one.tag for one in seen], "n_tiles": [one.n_tiles for one in seen]}
    return overlaps.assign(**{name: values for name, values in counted.items() if name in overlaps and seen})


def _counts(
    resolution: Resolution,
    found: Candidates,
    described: Described,
    decidable: npt.NDArray[np.bool_],
    n_proposals: int,
) -> dict[str, int]:
    sizes = resolution.groups["group"].value_counts()
    verdicts = resolution.overlaps["verdict"].value_counts()
    return {
        "images": len(resolution.groups),
        "unreadable": len(described.unreadable),
        "converted": len(described.converted),
        "tiles": len(decidable),
        "tiles_undecidable": int((~decidable).sum()),
        "tiles_equal": found.n_equal,
        "candidates": len(found.rows1),
        "proposals": n_proposals,
        "overlaps": len(resolution.overlaps),
        "duplicate": int(verdicts.get("duplicate", 0)),
        "undecidable": int(verdicts.get("undecidable", 0)),
        "cuts": len(resolution.cuts),
        "groups": len(sizes),
        "groups_of_several": int((sizes > 1).sum()),
        "largest_group": int(sizes.max()),
        "images_in_groups": int(sizes[sizes > 1].sum()),
    }


def write_all(result: FindResult, out: Path, images: Sources | None, workers: int, clock: Clock) -> None:
    """Write the tables, with ``images`` the mosaics and the report too, and last run.json.

    What an earlier run drew goes: it shows other groups, or may.
    """
    for name in ("run.json", "report.html"):
        (out / name).unlink(missing_ok=True)
    if images is None and (out / "mosaics").is_dir():
        shutil.rmtree(out / "mosaics")
    with clock("tables"):
        write_tables(result, out)
    if images is not None:
        from dupnet.report.mosaics import write_mosaics
        from dupnet.report.page import write

        with clock("mosaics"):
            written = write_mosaics(result.groups, images, out / "mosaics", result.grid, workers=workers)
            for stale in set(os.listdir(out / "mosaics")) - set(written["file"]):
                (out / "mosaics" / stale).unlink()
        with clock("report"):
            write(result, images, out / "report.html")
    write_run(result, out)
