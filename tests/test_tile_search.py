"""The search on a grid, from tiles in a cache to proposals and their judge."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from textures import noisy, textured

from dupnet.find.describe import describe_all
from dupnet.find.overlaps import DUPLICATE, KEY
from dupnet.find.search import Candidates
from dupnet.find.tile_index import Tiling, describe_tiles, open_tiles
from dupnet.find.tile_search import TileSearch, propose_by_tiles, search_tiles
from dupnet.network.descriptors import load_weights

SIZE = 64
TILING = Tiling(SIZE, SIZE)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Four images of 2 x 2 tiles: 1 lies right of 0 by a tile, 2 is blank but for a tile of 0, 3 is alone."""
    folder = tmp_path_factory.mktemp("tiles")
    ground = textured(1, 3 * SIZE, contrast=25)[0]
    blank = np.full((2 * SIZE, 2 * SIZE), 90, np.uint8)
    blank[:SIZE, :SIZE] = ground[SIZE : 2 * SIZE, SIZE : 2 * SIZE]
    again = noisy(ground, 2.0)
    alone = textured(1, 2 * SIZE, seed=5, contrast=25)[0]
    pictures = (ground[: 2 * SIZE, : 2 * SIZE], again[: 2 * SIZE, SIZE:], blank, alone)
    files = {}
    for number, picture in enumerate(pictures):
        files[f"{number}.png"] = folder / f"{number}.png"
        cv2.imwrite(str(files[f"{number}.png"]), picture)
    weights = load_weights()
    with open_tiles(folder / "cache", TILING, weights) as cache:
        described = describe_all(
            files, cache, lambda batch: describe_tiles(batch, TILING, weights), one_size=True
        )
        yield SimpleNamespace(cache=cache, described=described, weights=weights)


def searched(cached: SimpleNamespace, is_against: np.ndarray | None = None) -> TileSearch:
    return search_tiles(cached.cache, cached.described, TILING, cached.weights, is_against, 1, False)


def test_overlaps_are_proposed_and_judged(cached: SimpleNamespace) -> None:
    found = searched(cached)
    assert (found.grid.rows, found.grid.cols, found.grid.tile_size) == (2, 2, SIZE)
    assert found.proposals[KEY].to_numpy().tolist() == [
        [0, 1, 0, SIZE],
        [0, 2, SIZE, SIZE],
        [1, 2, SIZE, 0],
    ]
    judged = found.judge(found.proposals)
    assert judged["verdict"].tolist() == [DUPLICATE] * 3
    assert judged["n_tiles"].tolist() == [2, 1, 2] and judged["n_decidable"].tolist() == [2, 1, 1]
    assert judged["score"].between(0.9, 1).all()


def test_counts(cached: SimpleNamespace) -> None:
    counts = searched(cached).counts
    assert counts["tiles"] == 16 and counts["tiles_undecidable"] == 3  # the blank ones
    assert counts["proposals"] == 3 and counts["proposals_skipped"] == 0
    # Tile 3 of image 0 equals tile 0 of image 2; both of them, and tiles 1 and 3, resemble those of image 1.
    assert counts["tiles_equal"] == 1 and counts["candidates"] == 4


def test_only_across_two_sides(cached: SimpleNamespace) -> None:
    found = searched(cached, np.array([False, True, False, False]))
    assert found.proposals[KEY[:2]].to_numpy().tolist() == [[0, 1], [1, 2]]


def test_the_strongest_of_very_many_proposals_are_judged(cached: SimpleNamespace) -> None:
    """Three hundred images that all share tile 0: every pair is a copy, and most are left out and counted."""
    n = 300
    first, second = np.triu_indices(n, 1)
    candidates = Candidates(4 * first, 4 * second, np.full(len(first), 0.9, np.float32), 4 * n, 0, True)
    described = cached.described._replace(
        images=[f"{number:03}" for number in range(n)], sizes=np.full((n, 2), 2 * SIZE)
    )
    scored: list[int] = []

    def score(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        scored.append(len(one))
        return np.where(one == 0, 0.99, 0.01).astype(np.float32)

    found = propose_by_tiles(candidates, described, np.ones(4 * n, bool), score, TILING, cached.weights)
    assert found.counts["proposals"] + found.counts["proposals_skipped"] == len(first)
    assert found.counts["proposals_skipped"] > 0 and found.counts["candidates"] == len(first)
    assert len(np.unique(found.proposals[KEY[:2]])) == n
    judged = found.judge(found.proposals.iloc[:10])
    assert scored[0] == 10 and set(judged["verdict"]) == {"refused"}
