"""The search of a cluster, part against part: what the search of one machine finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_sharded import Here

from dupnet.cluster.sharded_search import Search
from dupnet.cluster.shards import TILES, Places, Shard
from dupnet.files.storage import Folder
from dupnet.find.search import candidates


def clustered(n: int, seed: int) -> np.ndarray:
    """Descriptors (n, 256) int8 of which many are alike, some equal, some zero, and 100 in one crowd."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n // 4, 256))
    vectors = base[rng.integers(len(base), size=n)] + 0.6 * rng.standard_normal((n, 256))
    vectors[:100] = base[0] + 0.2 * rng.standard_normal((100, 256))
    vectors *= 127 / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = np.rint(vectors).astype(np.int8)
    found[rng.integers(n, size=n // 10)] = found[rng.integers(n, size=n // 10)]
    found[rng.integers(n, size=n // 50)] = 0
    return found[rng.permutation(n)]


@pytest.mark.parametrize("exact_up_to", [0, 10**9])
@pytest.mark.parametrize("sided", [False, True])
def test_search_over_parts_is_the_search(exact_up_to: int, sided: bool, tmp_path: Path) -> None:
    """Every pair, crowd and equal set as in one search, though images of all shards are interleaved."""
    import hashlib

    n_images, n_tiles, n_shards = 120, 9, 7
    descriptors = clustered(n_images * n_tiles, seed=exact_up_to % 7)
    rng = np.random.default_rng(1)
    is_against = rng.random(n_images) < 0.4 if sided else None
    shard_of = rng.integers(n_shards - 2, size=n_images)
    if is_against is not None:
        shard_of = np.where(is_against, n_shards - 2 + shard_of % 2, shard_of)
    decidable = rng.random(n_images * n_tiles) < 0.95
    store = Folder(tmp_path)
    first_row = np.zeros(n_images, np.int64)
    shards = []
    for number in range(n_shards):
        members = rng.permutation(np.flatnonzero(shard_of == number))
        first_row[members] = np.arange(len(members)) * n_tiles
        rows = (members[:, None] * n_tiles + np.arange(n_tiles)).reshape(-1)
        tiles = np.zeros(len(rows), TILES)
        for at, row in enumerate(descriptors[rows]):
            tiles["digest"][at] = np.frombuffer(
                hashlib.blake2b(row.tobytes(), digest_size=16).digest(), "<u8"
            )
        tiles["decidable"], tiles["searched"] = decidable[rows], descriptors[rows].any(axis=1)
        store.write(f"{number}.tiles", tiles.tobytes())
        store.write(f"{number}.search", descriptors[rows].tobytes())
        shards.append(Shard(str(number), {}, len(rows)))
    search = Search(store, Places(shards, shard_of, first_row), n_tiles, is_against)
    cache = store.folder("cache")
    cache.folder("search-0123").write("part-0.npz", b"of another search")
    here = Here()
    found = search.run(here, cache, 0.6, exact_up_to, 150)  # type: ignore[arg-type]
    assert bool(here.n_run["hash"]) == (exact_up_to == 0)
    assert len(cache.folders()) == 1 and "search-0123" not in cache.folders()
    sides = None if is_against is None else np.repeat(is_against, n_tiles)
    whole = candidates(descriptors, decidable, 0.6, sides=sides, exact_up_to=exact_up_to, workers=1)
    assert len(whole.rows1) > 1000
    for name, one, other in zip(whole._fields, found, whole, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
