"""A run (:class:`dupnet.find.steps.Run`) whose larger steps are tasks for the workers of a cluster.

At any offset the workers describe images into shards of points, compare the points of slices, and judge
regions, for which they read the images again. The client holds the points of all images on its disk, some
14 kB an image, and lets them vote. On a grid they describe tiles, compare those of two parts of the
collection, and score pairs of tiles. What comes out is what one machine finds.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.cluster.kinds import Kind, Points, Tiles
from dupnet.cluster.regions import compare_slices, judge_on, refine_on
from dupnet.cluster.scheduler import Cluster
from dupnet.cluster.sharded_index import Image, code_of, describe_on, files_of, share_weights, worker_weights
from dupnet.cluster.sharded_search import Search
from dupnet.cluster.shards import Places, read_column, read_verify
from dupnet.files.storage import Folder
from dupnet.find import regions
from dupnet.find.cache import Cache
from dupnet.find.describe import Described
from dupnet.find.footprints import Surveyed
from dupnet.find.join import Compare
from dupnet.find.overlaps import Judge
from dupnet.find.point_index import COLUMNS
from dupnet.find.point_search import PIXEL_BYTES, pixel_bytes, reader
from dupnet.find.recent import Recent
from dupnet.find.scoring import ScoredOnce
from dupnet.find.steps import Run, held_against
from dupnet.find.tile_index import Tiling, columns
from dupnet.find.tile_search import SEARCH_THRESHOLD, TileSearch, propose_by_tiles
from dupnet.network.comparison import decided_scores

if TYPE_CHECKING:  # what the inherited fields are annotated with
    from pathlib import Path  # noqa: F401

    from dupnet.files.workers import ProcessPool  # noqa: F401
    from dupnet.find.collection import Collection  # noqa: F401
    from dupnet.find.recent import Kept  # noqa: F401
    from dupnet.find.results import Clock  # noqa: F401
    from dupnet.images.stretch import Rendering  # noqa: F401
    from dupnet.network.descriptors import Weights  # noqa: F401

__all__ = ["SLICE_POINTS", "ClusterRun"]

SLICE_POINTS = 2**19
"""Points that a task compares: 25 MB, and some 5 s of work."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClusterRun(Run):
    """A run by the workers of a cluster.

    ``cache``: where shards and what tasks find is kept, for client and workers the same. ``images``: by name,
    sorted. ``check_lease``: raises once another run holds the results. The other numbers: as for
    :func:`dupnet.cluster.distributed.find_on_cluster`.
    """

    cluster: Cluster
    cache: Folder
    images: Mapping[str, Image]
    check_lease: Callable[[], None]
    images_a_task: int
    tiles_a_part: int
    exact_up_to: int

    def points(self, dense: bool, stack: ExitStack) -> tuple[Cache, Described]:
        """As on one machine. The cache is the client's own, and holds what the shards do."""
        store, code, described, places = self._shards(Points(dense), self.images)
        cache = stack.enter_context(Cache(self.work / store.name, {"code": code}, COLUMNS))
        _gather(store, described, places, cache)
        return cache, described

    def tiles(self, images: Sequence[str], tiling: Tiling, stack: ExitStack) -> tuple[Described, TileSearch]:
        """As on one machine."""
        kind = Tiles(tiling)
        with self.clock("describe tiles"):
            of_these = {image: self.images[image] for image in images}
            store, code, described, places = self._shards(kind, of_these)
        with self.clock("search tiles"):
            n_tiles = tiling.grid(*described.sizes[0].tolist()).n_tiles
            search = Search(store, places, n_tiles, held_against(self, described))
            found = search.run(
                self.cluster, self.cache, SEARCH_THRESHOLD, self.exact_up_to, self.tiles_a_part
            )
            self.check_lease()
            scores = partial(_scores, self.cluster, store, places, n_tiles, kind, code)
            score = ScoredOnce(search.hashes, scores)
            searched = propose_by_tiles(found, described, search.decidable, score, tiling, self.weights)
        return described, searched

    @property
    def compare(self) -> Compare:
        """The workers compare the points of slices."""
        return partial(compare_slices, self.cluster, self.cache)

    @cached_property
    def sides(self) -> list[int]:
        """As on one machine, of images that are files here; of those in a store nothing is known."""
        return super().sides if self.collection.folders else []

    def reader(self, described: Described) -> Callable[[int], regions.Image]:
        """As on one machine; of images in a store by copies."""
        if self.collection.folders:
            return super().reader(described)

        def read(number: int) -> regions.Image:
            name = described.images[number]
            image, copy = self.images[name], self.work / "copies" / str(number)
            copy.mkdir(parents=True, exist_ok=True)
            found = reader(files_of(Folder(image.folder), {name: image}, copy), described)(number)
            if isinstance(found[0], np.ndarray):  # else its parts are read where they are asked for
                shutil.rmtree(copy)
            return found

        return Recent(read, pixel_bytes, PIXEL_BYTES)

    def refine(
        self, proposals: pd.DataFrame, described: Described, read: Callable[[int], regions.Image]
    ) -> pd.DataFrame:
        """As on one machine; the workers read the images."""
        refined = refine_on(*self._for_regions(described))(proposals)
        self.check_lease()
        return refined

    def judge(self, described: Described, read: Callable[[int], regions.Image]) -> Judge:
        """As on one machine; the workers read the images."""
        return judge_on(*self._for_regions(described))

    def survey(self, described: Described) -> Surveyed | None:
        """As on one machine, of images that are files here; of those in a store nothing."""
        return super().survey(described) if self.collection.folders else None

    def _for_regions(self, described: Described) -> tuple[Any, ...]:
        store = self.cache.folder("regions")
        share_weights(store, self.weights)
        files = [self.images[image] for image in described.images]
        return self.cluster, store, files, described.sizes, self.weights

    def _shards(self, kind: Kind, images: Mapping[str, Image]) -> tuple[Folder, str, Described, Places]:
        code = code_of(kind, self.weights)
        store = self.cache.folder(f"{kind.store}-{code}")
        for stale in self.cache.folders():
            if stale.startswith(f"{kind.store}-") and stale != store.name:
                warnings.warn(
                    "All images are described again: their shards were made by another version of dupnet.",
                    stacklevel=2,
                )
                self.cache.remove(stale)
        share_weights(store, self.weights)
        described, places = describe_on(self.cluster, store, images, kind, code, self.images_a_task)
        self.check_lease()
        return store, code, described, places


def _gather(store: Folder, described: Described, places: Places, cache: Cache) -> None:
    """Put the points of the images into a cache, shard by shard."""
    for number in np.unique(places.shard).tolist():
        shard = places.shards[number]
        rows = {name: read_column(store, shard, name, width) for name, width in COLUMNS.items()}
        for at in np.flatnonzero(places.shard == number).tolist():
            image = described.images[at]
            entry = shard.entries[image]
            part = slice(entry.first_row, entry.first_row + entry.n_rows)
            cache.append(image, entry, {name: data[part] for name, data in rows.items()})
        cache.flush()


def _scores(
    cluster: Cluster,
    store: Folder,
    places: Places,
    n_tiles: int,
    kind: Tiles,
    code: str,
    pairs: list[Numbers],
) -> list[npt.NDArray[np.float32]]:
    """Scores (k,) of each portion (2, k) of pairs of tile rows, a task each."""

    def task(portion: Numbers) -> tuple[Any, ...]:
        rows, pair = np.unique(portion, return_inverse=True)
        image, tile = np.divmod(rows, n_tiles)
        used, shard = np.unique(places.shard[image], return_inverse=True)
        keys = [places.shards[number].key for number in used]
        return store.address, keys, shard, places.first_row[image] + tile, pair.reshape(2, -1), kind, code

    return cluster.run(_score_task, [task(portion) for portion in pairs], "verify")


def _score_task(
    store: str,
    keys: Sequence[str],
    shard: Numbers,
    row: Numbers,
    pair: Numbers,
    kind: Tiles,
    code: str,
) -> npt.NDArray[np.float32]:
    """Scores (n,) of pairs (2, n) of tiles; tile ``k`` is row ``row[k]`` of shard ``keys[shard[k]]``."""
    weights = worker_weights(store, kind, code)
    order = np.lexsort((row, shard))
    verify = read_verify(
        Folder(store), keys, shard[order], row[order], columns(kind.tiling, weights)["verify"]
    )
    place = np.argsort(order)[pair]
    return decided_scores(verify[place[0]], verify[place[1]], weights, workers=1)
