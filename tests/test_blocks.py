"""Large groups are divided by ground: by blocks of their mosaics, and no pixel is in two splits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from results import found

from dupnet.find.results import FindResult
from dupnet.splits.blocks import split_blocks
from dupnet.tiles import neighbours

HALVES = np.array([0.5, 0.5])


def scene(n: int = 20, step: int = 60) -> FindResult:
    """``n`` x ``n`` images of 100 px, ``step`` px apart: one acquisition."""
    return found([(0, step * (k // n), step * (k % n)) for k in range(n * n)])


def divided(result: FindResult, blocks: int, seed: int = 0, **options: bool) -> np.ndarray:
    table = result.groups[["image", "group"]]
    return split_blocks(result, table, HALVES, seed, np.zeros(len(table), np.int64), blocks, **options)


def pairs_that_share(result: FindResult) -> tuple[np.ndarray, np.ndarray]:
    groups = result.groups
    first, second, _, _ = neighbours(
        groups["mosaic"], groups["y"], groups["x"], groups["height"].to_numpy(), groups["width"].to_numpy(), 1
    )
    return first, second


def test_no_pixel_is_in_two_splits_and_few_images_are_set_aside() -> None:
    result = scene()
    assigned = divided(result, 400)
    first, second = pairs_that_share(result)
    split = (assigned[first] < 2) & (assigned[second] < 2)
    assert (assigned[first] == assigned[second])[split].all()
    assert set(assigned) == {0, 1, 2} and (assigned == 2).mean() < 0.35
    # Each that was set aside shares ground with both, or would without another that was.
    near = {image: set() for image in range(len(assigned))}
    for one, two in zip(first, second, strict=True):
        near[one].add(two)
        near[two].add(one)
    aside = [image for image in near if assigned[image] == 2]
    assert all(any(assigned[other] != assigned[image] for other in near[image]) for image in aside)


def test_images_go_where_the_block_of_their_centre_goes() -> None:
    """Far enough apart that none is set aside."""
    result = scene(16, step=100)
    assigned = divided(result, 400)
    assert set(assigned) == {0, 1}
    groups = result.groups
    block = (groups["y"] + 50) // 400 * 10 + (groups["x"] + 50) // 400
    assert pd.Series(assigned).groupby(block.to_numpy()).nunique().max() == 1
    assert block.nunique() == 16 and abs((assigned == 0).mean() - 0.5) < 0.01
    assert (divided(result, 400, seed=1) != assigned).any()


def test_small_groups_stay_whole() -> None:
    places = [(0, 60 * (k // 12), 60 * (k % 12)) for k in range(144)]
    places += [(1 + k // 2, 0, 50 * (k % 2)) for k in range(40)]
    result = found(places)
    assigned = divided(result, 300)
    small = pd.Series(assigned[144:]).groupby(np.arange(40) // 2)
    assert small.nunique().max() == 1 and set(assigned[144:]) <= {0, 1}
    assert len(set(assigned[:144])) == 3


def test_contradicted_overlaps_and_on_request_revisits_are_common_ground() -> None:
    """Two acquisitions, and image k of one is a revisit of image k of the other."""
    places = [(n, 100 * (k // 8), 100 * (k % 8)) for n in range(2) for k in range(64)]
    again = [(k, 64 + k, 0, 0) for k in range(64)]
    torn = {}
    for name, options in (("revisits", {"revisits": again}), ("rejected", {"rejected": again})):
        result = found(places, overlaps=[], groups=[0] * 128, **options)  # type: ignore[arg-type]
        for kept in (False, True):
            assigned = divided(result, 200, keep_revisits=kept)
            pairs = assigned[:64], assigned[64:]
            torn[name, kept] = bool(((pairs[0] != pairs[1]) & (pairs[0] < 2) & (pairs[1] < 2)).any())
    assert torn == {
        ("revisits", False): True,
        ("revisits", True): False,
        ("rejected", False): False,
        ("rejected", True): False,
    }


def test_what_cannot_be_divided() -> None:
    result = scene(4)
    with pytest.raises(ValueError, match="blocks is 0; a block needs a side of at least 1 px"):
        divided(result, 0)
    with pytest.raises(ValueError, match="1 blocks of 4000 px and groups cannot fill 2 splits"):
        divided(result, 4000)
    line = found([(0, 0, 5 * k) for k in range(10)])
    with pytest.raises(ValueError, match="with blocks of 5 px a split is left empty"):
        divided(line, 5)
