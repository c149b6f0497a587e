"""Regions judged by the workers of a cluster, and the points of slices compared: the later tasks of a search
at any offset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.cluster.scheduler import Cluster
from dupnet.cluster.sharded_index import Image, code_of, files_of, worker_weights
from dupnet.cluster.shards import packed, token, unpacked
from dupnet.files.storage import Folder
from dupnet.find.describe import Described, versions
from dupnet.find.join import Slice, table_pairs
from dupnet.find.portions import MOST_PAIRS, Portion, cut, joined
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights

__all__ = ["Regions", "compare_slices", "judge_on", "refine_on"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Regions:
    """What verdicts on regions depend on, for :func:`dupnet.cluster.sharded_index.worker_weights`."""

    def made_by(self, weights: Weights) -> list[Any]:
        """All that a verdict depends on, beside the images."""
        return ["regions", versions(weights)]


def judge_on(
    cluster: Cluster, store: Folder, images: Sequence[Image], sizes: Numbers, weights: Weights
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A judge of regions (:data:`dupnet.find.overlaps.Judge`) that has the workers do it.

    ``images``, ``sizes`` (n, 2): file, height and width of each image, by number. ``store``: where the
    weights are.
    """
    return lambda pairs: _on_workers(cluster, _judge_task, pairs, store, images, sizes, weights, "judge")


def refine_on(
    cluster: Cluster, store: Folder, images: Sequence[Image], sizes: Numbers, weights: Weights
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """As :func:`judge_on`, of :func:`dupnet.find.refinement.refine_offsets`."""
    return lambda pairs: _on_workers(cluster, _refine_task, pairs, store, images, sizes, weights, "refine")


def _on_workers(
    cluster: Cluster,
    task: Callable[..., pd.DataFrame],
    pairs: pd.DataFrame,
    store: Folder,
    images: Sequence[Image],
    sizes: Numbers,
    weights: Weights,
    name: str,
) -> pd.DataFrame:
    code = code_of(Regions(), weights)
    portions = cut(pairs, MOST_PAIRS)
    tasks = [
        (store.address, code, portion, [images[number] for number in used], sizes[used])
        for portion, used in portions
    ]
    return joined(pairs, portions, cluster.run(task, tasks, name))


@contextmanager
def _opened(
    store: str, code: str, pairs: pd.DataFrame, images: Sequence[Image], sizes: Numbers
) -> Iterator[Portion]:
    """A portion whose images lie where this machine can read them."""
    weights = worker_weights(store, Regions(), code)
    names = [f"{number:010d}" for number in range(len(images))]
    none = pd.DataFrame()
    with TemporaryDirectory(prefix="dupnet-") as beside:
        files: dict[str, Path] = {}
        for place, folder in enumerate(sorted({image.folder for image in images})):
            of_folder = {
                name: image for name, image in zip(names, images, strict=True) if image.folder == folder
            }
            (Path(beside) / str(place)).mkdir()
            files |= files_of(Folder(folder), of_folder, Path(beside) / str(place))
        yield Portion(pairs, Described(names, sizes, none, none), files, Rendering(), weights)


def _judge_task(
    store: str, code: str, pairs: pd.DataFrame, images: Sequence[Image], sizes: Numbers
) -> pd.DataFrame:
    with _opened(store, code, pairs, images, sizes) as portion:
        return portion.judged()


def _refine_task(
    store: str, code: str, pairs: pd.DataFrame, images: Sequence[Image], sizes: Numbers
) -> pd.DataFrame:
    with _opened(store, code, pairs, images, sizes) as portion:
        return portion.refined()


def compare_slices(
    cluster: Cluster, cache: Folder, slices: Iterable[Slice], min_cosine: float
) -> Iterator[tuple[Numbers, Numbers, int]]:
    """What :func:`dupnet.find.join.table_pairs` finds in each slice, by the workers; kept in ``cache``.

    A slice goes to the store under a name made of its content, so that none is compared twice.
    """
    folder = cache.folder("join")
    done = folder.files()
    names, tasks = [], []
    for one in slices:
        data = packed(codes=one.codes, kinds=one.kinds, numbers=one.numbers)
        name = token([hashlib.blake2b(data).hexdigest(), *one[:3], min_cosine])
        names.append(name)
        if f"{name}.pairs" not in done:
            if f"{name}.points" not in done:
                folder.write(f"{name}.points", data)
            tasks.append((folder.address, name, *one[:3], min_cosine))
    for stale in sorted(done.keys() - {f"{name}.{kind}" for name in names for kind in ("points", "pairs")}):
        folder.remove(stale)
    cluster.run(_compare_task, tasks, "join", len(names) - len(tasks))
    for name in names:
        found = unpacked(folder.read(f"{name}.pairs"))
        yield found["first"], found["second"], int(found["missed"])


def _compare_task(cache: str, name: str, table: int, prefix: int, window: int, min_cosine: float) -> None:
    folder = Folder(cache)
    points = unpacked(folder.read(f"{name}.points"))
    first, second, missed = table_pairs(
        points["codes"], points["kinds"], None, table, prefix, window, min_cosine
    )
    numbers = points["numbers"]
    found = packed(first=numbers[first], second=numbers[second], missed=np.array(missed))
    folder.write(f"{name}.pairs", found)
