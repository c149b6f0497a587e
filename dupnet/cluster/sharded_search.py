"""The search of :mod:`dupnet.find.search` over shards: tasks that each compare two parts of a collection.

A *part* is a few shards. Its file lists the rows of its shards that take part, each with its number among all
different descriptors of the collection. The buckets of a large collection are worked out part by part, once
for all pairs of parts. So a task needs what is known of two parts, and what it finds is what
:func:`dupnet.find.search.candidates` finds among them: whether two descriptors are compared depends on these
two alone, and of several neighbours the first are kept by number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from dupnet.cluster.scheduler import Cluster
from dupnet.cluster.shards import Places, packed, read_search, read_tiles, token, unpacked
from dupnet.files.storage import Folder
from dupnet.find.hash_tables import hashed
from dupnet.find.search import (
    SEARCH_VERSION,
    Candidates,
    equal_sets,
    first_of_each,
    gather,
    pairs_above,
    with_equals,
)
from dupnet.network.filters import SEARCH_BYTES

__all__ = ["Search"]

Numbers = npt.NDArray[np.int64]


class _Part(NamedTuple):
    """Different descriptors of a few shards of one side: their numbers, shards, and rows in these."""

    number: Numbers
    shard: Numbers
    row: Numbers
    is_against: bool


class Search:
    """What is known of all tiles, ``n_tiles`` an image, and the search among them.

    ``is_against`` (n_images,) bool: only pairs of an image of which it is true and one of which it is not are
    wanted. :attr:`decidable` (n_images * n_tiles,) bool: tiles that can be judged; :attr:`hashes`, as many
    uint64, of their verify descriptors.
    """

    def __init__(
        self,
        store: Folder,
        places: Places,
        n_tiles: int,
        is_against: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.store = store
        self.places = places
        self.n_tiles = n_tiles
        self.is_against = is_against
        n_rows = len(places.shard) * n_tiles
        self.decidable = np.zeros(n_rows, bool)
        self.hashes = np.zeros(n_rows, np.uint64)
        searched = np.zeros(n_rows, bool)
        digest = np.zeros((n_rows, 2), np.uint64)
        counts = np.bincount(places.shard, minlength=len(places.shards))
        by_shard = np.split(np.argsort(places.shard, kind="stable"), np.cumsum(counts)[:-1])
        for shard, of_shard in zip(places.shards, by_shard, strict=True):
            if len(of_shard):
                rows = self._rows_of(of_shard)
                tiles = read_tiles(store, shard)[self._in_shard(rows)]
                self.decidable[rows], searched[rows] = tiles["decidable"], tiles["searched"]
                self.hashes[rows], digest[rows] = tiles["verify_hash"], tiles["digest"]
        self.rows = np.flatnonzero(self.decidable & searched)
        keys = [digest[self.rows, 0], digest[self.rows, 1]]
        if is_against is not None:
            keys.append(is_against[self.rows // self.n_tiles])
        self.members, self.starts = equal_sets(self.rows, _first_equal(keys))
        self.different = self.members[self.starts[:-1]]

    def run(
        self, cluster: Cluster, cache: Folder, threshold: float, exact_up_to: int, tiles_a_part: int
    ) -> Candidates:
        """What :func:`dupnet.find.search.candidates` returns, with what the tasks found kept in ``cache``."""
        exact = len(self.different) <= exact_up_to
        parts = list(self._parts(tiles_a_part))
        data = [self._file_of(part) for part in parts]
        sides = [part.is_against for part in parts]
        content = [hashlib.blake2b(part).hexdigest() for part in data]
        name = f"search-{token([SEARCH_VERSION, threshold, exact, sides, content])}"
        for stale in cache.folders():
            if stale.startswith("search-") and stale != name:
                cache.remove(stale)
        folder = cache.folder(name)
        done = folder.files()
        for number, part in enumerate(data):
            if f"part-{number}.npz" not in done:
                folder.write(f"part-{number}.npz", part)
        pairs = [
            (one, other)
            for one in range(len(parts))
            for other in range(one, len(parts))
            if self.is_against is None or sides[one] != sides[other]
        ]
        tasks = [
            (self.store.address, folder.address, one, other, threshold, exact)
            for one, other in pairs
            if f"pair-{one}-{other}.npz" not in done
        ]
        hashing = [
            (self.store.address, folder.address, part)
            for part in range(len(parts))
            if not exact and f"hashed-{part}.npz" not in done
        ]
        cluster.run(_hash_task, hashing, "hash", len(parts) - len(hashing))
        cluster.run(_search_task, tasks, "search", len(pairs) - len(tasks))

        def found() -> Iterator[tuple[Numbers, npt.NDArray[np.float32]]]:
            for one, other in tqdm(pairs, desc="gather", disable=not cluster.progress):
                arrays = unpacked(folder.read(f"pair-{one}-{other}.npz"))
                yield arrays["number1"] * len(self.different) + arrays["number2"], arrays["cosine"]

        merged = gather(found(), len(self.different))
        candidates = with_equals(*merged, self.members, self.starts, within=self.is_against is None)
        n_equal = len(self.rows) - len(self.different)
        return Candidates(*candidates, len(self.rows), n_equal, exact)

    def _parts(self, tiles_a_part: int) -> Iterator[_Part]:
        """Whole shards together, of one side, in the order of their first images."""
        image, tile = np.divmod(self.different, self.n_tiles)
        shard, row = self.places.shard[image], self.places.first_row[image] + tile
        names, first, counts = np.unique(shard, return_index=True, return_counts=True)
        side = np.zeros(len(names), bool) if self.is_against is None else self.is_against[image[first]]
        by_shard = np.split(np.argsort(shard, kind="stable"), np.cumsum(counts)[:-1])
        together: list[int] = []

        def part() -> _Part:
            numbers = np.sort(np.concatenate([by_shard[at] for at in together]))
            return _Part(numbers, shard[numbers], row[numbers], bool(side[together[0]]))

        for at in np.argsort(first).tolist():
            n_tiles = counts[[*together, at]].sum()
            if together and (n_tiles > tiles_a_part or side[at] != side[together[0]]):
                yield part()
                together = []
            together.append(at)
        if together:
            yield part()

    def _file_of(self, part: _Part) -> bytes:
        used, shard = np.unique(part.shard, return_inverse=True)
        keys = np.array([self.places.shards[number].key for number in used])
        return packed(number=part.number, keys=keys, shard=shard, row=part.row)

    def _rows_of(self, images: Numbers) -> Numbers:
        return (images[:, None] * self.n_tiles + np.arange(self.n_tiles)).reshape(-1)

    def _in_shard(self, rows: Numbers) -> Numbers:
        image, tile = np.divmod(rows, self.n_tiles)
        return self.places.first_row[image] + tile


def _first_equal(keys: Sequence[npt.NDArray[Any]]) -> Numbers:
    """Of every place, the first place at which all keys are the same."""
    order = np.lexsort(keys)
    begins = np.zeros(len(order), bool)
    begins[:1] = True
    for key in keys:
        begins[1:] |= key[order[1:]] != key[order[:-1]]
    return first_of_each(order, begins)  # lexsort is stable: places of a run ascend


def _hash_task(store: str, folder: str, part: int) -> None:
    """Keep the buckets that the descriptors of a part fall into."""
    threadpool_limits(1, user_api="blas")  # for good: a worker's threads have a task each
    where = Folder(folder)
    descriptors = _read_part(Folder(store), unpacked(where.read(f"part-{part}.npz")))
    buckets = hashed(descriptors, np.arange(len(descriptors)))
    where.write(f"hashed-{part}.npz", packed(buckets=buckets))


def _search_task(store: str, folder: str, one: int, other: int, threshold: float, exact: bool) -> None:
    """Compare the descriptors of two parts, or those of one with one another."""
    threadpool_limits(1, user_api="blas")  # for good: a worker's threads have a task each
    where = Folder(folder)
    of_parts = sorted({one, other})
    parts = [unpacked(where.read(f"part-{part}.npz")) for part in of_parts]
    descriptors = [_read_part(Folder(store), part) for part in parts]
    buckets = None
    if not exact:
        buckets = np.concatenate([unpacked(where.read(f"hashed-{part}.npz"))["buckets"] for part in of_parts])
    numbers = np.concatenate([part["number"] for part in parts])
    side = np.repeat(np.arange(len(parts)) > 0, [len(part["number"]) for part in parts])
    order = np.argsort(numbers)
    found, cosine = pairs_above(
        np.concatenate(descriptors)[order],
        np.arange(len(order)),
        threshold,
        exact,
        sides=side[order] if one != other else None,
        buckets=None if buckets is None else buckets[order],
    )
    first, second = np.divmod(found, max(len(order), 1))
    numbers = numbers[order]
    data = packed(number1=numbers[first], number2=numbers[second], cosine=cosine)
    where.write(f"pair-{one}-{other}.npz", data)


def _read_part(store: Folder, part: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int8]:
    """Search descriptors of a part, in its order."""
    found = np.empty((len(part["row"]), SEARCH_BYTES), np.int8)
    for number, key in enumerate(part["keys"].tolist()):
        of_shard = np.flatnonzero(part["shard"] == number)
        found[of_shard] = read_search(store, key, part["row"][of_shard])
    return found
