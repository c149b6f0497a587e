"""``dupnet find`` on a Dask cluster: the same steps as tasks over shards, the same result byte for byte.

The client lists the images and hands them out in batches; a worker describes each into a shard (``KEY.*`` in
the store). What follows is the run of :mod:`dupnet.find.engine`, whose larger steps are tasks
(:mod:`dupnet.cluster.run`). The client alone sees the collection as a whole: names, about 150 bytes a tile at
most or 14 kB of points an image on its disk, candidates, overlaps. No worker needs all.

Whatever a task writes is a function of its name, so it may run twice: after a worker was lost, or in two
places at once. What is in the store when a run ends, however it ends, is not computed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dupnet.cluster.run import SLICE_POINTS, ClusterRun
from dupnet.cluster.scheduler import Cluster
from dupnet.cluster.sharded_index import Image, list_folder
from dupnet.files.leases import FILE, leased
from dupnet.files.storage import Folder
from dupnet.files.workers import n_workers
from dupnet.find.collection import CACHE, RECORD, Collection, combine, locked, parse_record
from dupnet.find.describe import recorded_weights
from dupnet.find.engine import found_by, tiling_of
from dupnet.find.judgements import heed
from dupnet.find.results import Clock, FindResult, write_all
from dupnet.find.search import EXACT_UP_TO
from dupnet.find.verdicts import FILE as FILE_OF_JUDGEMENTS
from dupnet.images.reading import Sources
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights, load_weights

__all__ = ["IMAGES_A_TASK", "TILES_A_PART", "find_on_cluster"]

IMAGES_A_TASK = 512
"""Images that one task describes: 4 to 10 s of work, which is what the loss of a worker can cost it."""

TILES_A_PART = 2**18
"""Tiles of a part: 67 MB of search descriptors, and as many of buckets. A task compares two parts: smaller
ones need less memory, and make more tasks that read more (benchmarks/scaling)."""


def find_on_cluster(
    folder: str | os.PathLike[str],
    scheduler: str,
    *,
    out: str | os.PathLike[str],
    grid: int | None = None,
    tile_size: int | None = None,
    stride: int | None = None,
    add: bool = False,
    against: str | os.PathLike[str] | None = None,
    all_pairs: bool = False,
    ignore_judgements: bool = False,
    weights: str | os.PathLike[str] | Weights | None = None,
    report: bool = True,
    progress: bool = False,
    images_a_task: int = IMAGES_A_TASK,
    tiles_a_part: int = TILES_A_PART,
    exact_up_to: int = EXACT_UP_TO,
    points_a_slice: int = SLICE_POINTS,
) -> FindResult:
    """Find every overlap of a folder of images with the workers of a Dask cluster.

    Parameters
    ----------
    folder : path or URL
        Images on any file system that fsspec knows. Client and workers reach it by the same address.
    scheduler : str
        Address of the Dask scheduler, such as ``tcp://10.0.0.1:8786``.
    out : path or URL
        Where tables and shards go; for client and workers the same. A run that was stopped goes on there.
    grid, tile_size, stride, add, against, all_pairs, ignore_judgements, weights, report, progress
        As for :func:`dupnet.find.engine.find_overlaps`; a file of weights is read by the client. Mosaics and
        report are made by the client, which reads the images for them from where they are.
    images_a_task, tiles_a_part : int
        Images that one task describes, and tiles of which it compares twice as many. The result does not
        depend on them.
    points_a_slice : int
        Points that a task compares. The result does not depend on it.
    exact_up_to : int
        As for :func:`dupnet.find.search.candidates`.

    Raises
    ------
    ValueError
        If the options do not fit together, no image can be used, ``out`` holds something else, or the
        workers have another version of dupnet.
    OSError
        If a folder is missing, ``out`` cannot be written, another run is at work in it, or the cluster does
        not answer for long.
    """
    portions = {
        "images_a_task": images_a_task,
        "tiles_a_part": tiles_a_part,
        "points_a_slice": points_a_slice,
    }
    for name, portion in portions.items():
        if portion < 1:
            raise ValueError(f"{name} is {portion}; it must be at least 1.")
    tiling = tiling_of(grid, tile_size, stride)
    used_weights = load_weights(weights)
    clock = Clock()
    results = Folder(out)
    cache = results.folder(CACHE)
    with ExitStack() as stack:
        check_lease = stack.enter_context(_held(results, cache))
        other = None if against is None else Folder(against)
        folders, images, n_ignored = _open_collection(results, Folder(folder), add, other)
        sources = (*folders, *([other.parent] if other else []))
        are_local = all(one.is_local for one in sources)
        run = ClusterRun(
            collection=Collection(
                tuple(one.path for one in sources) if are_local else (),
                Path(other.address) if other else None,
                {name: Path(image.folder, image.file) for name, image in images.items()},
                held=frozenset(
                    name for name, image in images.items() if other and image.folder == other.address
                ),
                ignored=n_ignored,
            ),
            rendering=Rendering(),
            work=Path(stack.enter_context(TemporaryDirectory(prefix="dupnet-"))),
            weights=used_weights,
            clock=clock,
            check_content=False,
            workers=1,
            progress=progress,
            cluster=stack.enter_context(Cluster(scheduler, progress)),
            cache=cache,
            images=images,
            check_lease=check_lease,
            images_a_task=images_a_task,
            tiles_a_part=tiles_a_part,
            exact_up_to=exact_up_to,
            slice_points=points_a_slice,
        )
        result = found_by(
            run,
            tiling,
            stack,
            all_pairs=all_pairs,
            options={
                "images": os.fspath(folder),
                "grid": grid,
                "tile_size": tiling and tiling.tile_size,
                "stride": tiling and tiling.stride,
                "add": add,
                "against": None if against is None else os.fspath(against),
                "all_pairs": all_pairs,
                "ignore_judgements": ignore_judgements,
                "weights": recorded_weights(weights),
                "scheduler": scheduler,
            },
        )
        if FILE_OF_JUDGEMENTS in results.files():
            judged_in = results.path if results.is_local else run.work
            if not results.is_local:
                (judged_in / FILE_OF_JUDGEMENTS).write_bytes(results.read(FILE_OF_JUDGEMENTS))
            result = heed(result, judged_in, ignore=ignore_judgements)
        check_lease()
        local_or_store = [one.path if one.is_local else one for one in sources]
        _write(result, results, local_or_store if report else None, clock)
    return result


@contextmanager
def _held(results: Folder, cache: Folder) -> Iterator[Callable[[], None]]:
    """Hold the output folder for this run; yields a function that raises once it is held no more.

    Raises
    ------
    BlockingIOError
        If another run holds it.
    ValueError
        If it holds something, but nothing that dupnet wrote.
    """
    if results.is_local:
        with locked(results.path):  # by the kernel, which does not forget
            yield lambda: None
        return
    if results.files() and not {FILE, RECORD} & cache.files().keys():
        raise ValueError(
            f"{results.address!r} is not an output folder of `dupnet find`; choose a new or an empty folder."
        )
    with leased(cache) as check:
        yield check


def _open_collection(
    results: Folder, this: Folder, add: bool, other: Folder | None
) -> tuple[list[Folder], dict[str, Image], int]:
    """The collection's folders, all images by name, sorted, with those held against them, and the number of
    files that accompany images."""
    cache = results.folder(CACHE)
    is_known = RECORD in cache.files()
    known = parse_record(cache.read(RECORD), f"{cache.address}/{RECORD}") if is_known else None
    record = combine(known, this.address, other.address if other else None, add, results.address)
    folders = [Folder(address) for address in record["folders"]]
    images: dict[str, Image] = {}
    n_ignored = 0
    for one in folders:
        listed, n_beside = list_folder(one, results)
        n_ignored += n_beside
        for name, image in listed.items():
            if name in images:
                raise ValueError(f"{name!r} is in both {images[name].folder!r} and {one.address!r}.")
            images[name] = image
    if other is not None:
        listed, n_beside = list_folder(other, results)
        n_ignored += n_beside
        images.update((f"{other.name}/{name}", image) for name, image in listed.items())
    cache.write(RECORD, json.dumps(record).encode())
    return folders, dict(sorted(images.items())), n_ignored


def _write(result: FindResult, results: Folder, images: Sources | None, clock: Clock) -> None:
    """Write what a local run writes; to a store by way of a folder here, ``run.json`` last."""
    if results.is_local:
        write_all(result, results.path, images, n_workers(), clock)
        return
    for name in ("run.json", "report.html", *(["mosaics"] if images is None else [])):
        results.remove(name)
    with TemporaryDirectory(prefix="dupnet-") as beside:
        write_all(result, Path(beside), images, n_workers(), clock)
        names = [path.relative_to(beside).as_posix() for path in Path(beside).rglob("*") if path.is_file()]
        for name in sorted(set(names) - {"run.json"}):
            results.write(name, Path(beside, name).read_bytes())
        if images is not None:
            mosaics = results.folder("mosaics")
            for stale in mosaics.files().keys() - {Path(name).name for name in names if "/" in name}:
                mosaics.remove(stale)
        results.write("run.json", Path(beside, "run.json").read_bytes())
