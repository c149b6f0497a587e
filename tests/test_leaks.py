from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find.overlaps import COLUMNS, neighbours
from dupnet.splits.assignment import random_split, split
from dupnet.splits.leaks import audit
from dupnet.tiles import Grid, overlap_at


def groups_table(*places):
    rows = [(f"{number:03d}.jpg", *place) for number, place in enumerate(places)]
    return pd.DataFrame(rows, columns=["image", "group", "row", "col"])


def splits_table(*names):
    return pd.DataFrame({"image": [f"{number:03d}.jpg" for number in range(len(names))], "split": names})


def overlaps_table(*rows, grid=Grid()):
    full = []
    for image1, image2, down, right, *verdict in rows:
        overlap = overlap_at(down, right, grid)
        ends = f"{image1:03d}.jpg", f"{image2:03d}.jpg"
        shape = overlap.n_tiles, overlap.n_tiles
        full.append((*ends, overlap.tag, down, right, *shape, 0.9, *(verdict or ["duplicate"])))
    return pd.DataFrame(full, columns=list(COLUMNS))


NO_OVERLAPS = overlaps_table()


def brute_leaks(splits, overlaps, groups, grid):
    """Leaked (image, tile) pairs, by plain loops over pairs of images."""
    split_of = dict(zip(splits["image"], splits["split"], strict=True))
    place = {row.image: row for row in groups.itertuples()}
    leaked = set()
    for one, two in combinations(sorted(split_of), 2):
        offsets = [
            (row.row_offset, row.col_offset)
            for row in overlaps.itertuples()
            if (row.image1, row.image2) == (one, two) and row.verdict == "duplicate"
        ]
        if place[one].group == place[two].group:
            offsets.append((place[two].row - place[one].row, place[two].col - place[one].col))
        for down, right in offsets:
            if split_of[one] != split_of[two] and abs(down) < grid.rows and abs(right) < grid.cols:
                shared = overlap_at(down, right, grid)
                leaked |= {(one, tile) for tile in shared.tiles1} | {(two, tile) for tile in shared.tiles2}
    return leaked


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_counts_agree_with_plain_loops(data):
    grid = data.draw(st.sampled_from([Grid(), Grid(2, 3, 32), Grid(1, 1, 16)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    n = data.draw(st.integers(1, 14))
    groups = groups_table(*zip(rng.integers(0, 3, n), *rng.integers(0, 6, (2, n)), strict=True))
    splits = splits_table(*rng.choice(["train", "test", "spare"], n))
    splits = splits.sample(n=int(rng.integers(1, n + 1)), random_state=0)
    pairs = [sorted(rng.choice(n, 2, replace=False).tolist()) for _ in range(4 if n > 1 else 0)]
    offset = [
        (int(rng.integers(1 - grid.rows, grid.rows)), int(rng.integers(1 - grid.cols, grid.cols)))
        for _ in pairs
    ]
    verdicts = rng.choice(["duplicate", "undecidable"], len(pairs))
    rows = [(*pair, *shift, verdict) for pair, shift, verdict in zip(pairs, offset, verdicts, strict=True)]
    overlaps = overlaps_table(*rows, grid=grid)

    found = audit(splits, overlaps, groups, grid, n_examples=100)
    leaked = brute_leaks(splits, overlaps, groups, grid)
    split_of = dict(zip(splits["image"], splits["split"], strict=True))
    expected = {}
    for name in sorted(set(split_of.values())):
        members = [image for image, at in split_of.items() if at == name]
        tiles = [tile for tile in leaked if tile[0] in members]
        expected[name] = {
            "images": len(members),
            "leaked_images": len({image for image, _ in tiles}),
            "tiles": len(members) * grid.n_tiles,
            "leaked_tiles": len(tiles),
            "leaked_pixels": len(tiles) * grid.tile_size**2,
        }
    assert found.splits.set_index("split").to_dict("index") == expected
    assert found.leaks == bool(leaked)
    assert found.unassigned == n - len(splits)

    group_of = dict(zip(groups["image"], groups["group"], strict=True))
    by_group = {number: [tile for tile in leaked if group_of[tile[0]] == number] for number in range(3)}
    table = found.groups.set_index("group")
    assert table["leaked_tiles"].to_dict() == {k: len(tiles) for k, tiles in by_group.items() if tiles}
    assert table["leaked_tiles"].is_monotonic_decreasing
    assert table["leaked_images"].to_dict() == {k: len({t[0] for t in v}) for k, v in by_group.items() if v}
    for row in found.examples.itertuples():
        assert split_of[row.image1] == row.split1 != row.split2 == split_of[row.image2]
        shared = overlap_at(row.row_offset, row.col_offset, grid)
        assert row.n_tiles == shared.n_tiles
        assert {(row.image1, tile) for tile in shared.tiles1} <= leaked
        assert {(row.image2, tile) for tile in shared.tiles2} <= leaked


def test_a_leak_is_counted_and_shown():
    groups = groups_table((0, 0, 0), (0, 0, 1), (0, 0, 5), (1, 0, 0), (1, 2, 2), (2, 0, 0))
    splits = splits_table("train", "test", "test", "test", "train", "train")
    found = audit(splits, NO_OVERLAPS, groups)
    assert found.leaks
    assert found.splits.to_dict("list") == {
        "split": ["test", "train"],
        "images": [3, 3],
        "leaked_images": [2, 2],
        "tiles": [27, 27],
        "leaked_tiles": [7, 7],
        "leaked_pixels": [7 * 65536, 7 * 65536],
    }
    assert found.groups.to_dict("records") == [
        {
            "group": 0,
            "images": 3,
            "splits": "test 2, train 1",
            "leaked_images": 2,
            "tiles": 27,
            "leaked_tiles": 12,
            "leaked_pixels": 12 * 65536,
        },
        {
            "group": 1,
            "images": 2,
            "splits": "test 1, train 1",
            "leaked_images": 2,
            "tiles": 18,
            "leaked_tiles": 2,
            "leaked_pixels": 2 * 65536,
        },
    ]
    assert found.examples.values.tolist() == [
        [0, "000.jpg", "train", "001.jpg", "test", 0, 1, 6],
        [1, "003.jpg", "test", "004.jpg", "train", 2, 2, 1],
    ]
    assert audit(splits, NO_OVERLAPS, groups, n_examples=1).examples["group"].tolist() == [0]


def test_an_example_is_the_pair_that_shares_most_and_then_the_first():
    groups = groups_table((0, 0, 0), (0, 1, 1), (0, 0, 1), (0, 1, 0))
    splits = splits_table("a", "b", "b", "b")
    found = audit(splits, NO_OVERLAPS, groups)
    assert found.examples[["image1", "image2", "n_tiles"]].values.tolist() == [["000.jpg", "002.jpg", 6]]


def test_overlaps_count_even_where_groups_do_not_know_of_them():
    groups = groups_table((0, 0, 0), (1, 0, 0))
    overlaps = overlaps_table((0, 1, 0, -1))
    found = audit(splits_table("train", "test"), overlaps, groups)
    assert found.splits["leaked_tiles"].tolist() == [6, 6]
    assert found.groups["group"].tolist() == [0, 1]
    assert found.examples[["image1", "image2", "row_offset", "col_offset"]].values.tolist() == [
        ["000.jpg", "001.jpg", 0, -1]
    ]
    assert not audit(splits_table("test", "test"), overlaps, groups).leaks


def test_what_cannot_be_decided_is_no_leak_by_itself():
    groups = groups_table((0, 0, 0), (1, 0, 0))
    overlaps = overlaps_table((0, 1, 0, 0, "undecidable"))
    found = audit(splits_table("train", "test"), overlaps, groups)
    assert not found.leaks
    assert found.groups.empty and found.examples.empty
    assert list(found.examples.columns)[:3] == ["group", "image1", "split1"]


def test_a_split_by_group_does_not_leak_and_a_random_one_does():
    rng = np.random.default_rng(0)
    n = 200
    group = rng.integers(0, 25, n)
    row, col = rng.integers(0, 5, (2, n))
    groups = groups_table(*zip(group, row, col, strict=True))
    overlaps = overlaps_table(*np.stack(neighbours(group, row, col), axis=1).tolist())
    assert not audit(split(groups), overlaps, groups).leaks
    assert audit(random_split(groups["image"]), overlaps, groups).leaks


def test_a_part_of_the_collection_can_be_audited():
    groups = groups_table((0, 0, 0), (0, 0, 0), (0, 0, 0))
    found = audit(splits_table("train", "train"), overlaps_table((0, 2, 0, 0)), groups)
    assert not found.leaks
    assert found.unassigned == 1


def test_split_names_may_be_numbers():
    groups = groups_table((0, 0, 0), (0, 0, 0))
    found = audit(splits_table(0, 1), NO_OVERLAPS, groups)
    assert found.splits["split"].tolist() == ["0", "1"]
    assert found.leaks


def test_splits_that_cannot_be_audited_are_refused():
    groups = groups_table((0, 0, 0), (0, 0, 1))
    splits = splits_table("train", "test")
    for column in ("image", "split"):
        with pytest.raises(ValueError, match=f"no column '{column}'"):
            audit(splits.drop(columns=column), NO_OVERLAPS, groups)
    with pytest.raises(ValueError, match="there is no row"):
        audit(splits[:0], NO_OVERLAPS, groups)
    for nothing in ("", None, np.nan):
        with pytest.raises(ValueError, match=r"1 images have no split, such as '001\.jpg'"):
            audit(splits_table("train", nothing), NO_OVERLAPS, groups)
    with pytest.raises(ValueError, match=r"'000\.jpg' is listed more than once"):
        audit(pd.concat([splits, splits]), NO_OVERLAPS, groups)
    with pytest.raises(ValueError, match=r"1 images are not in the groups table, such as '002\.jpg'"):
        audit(splits_table("train", "test", "test"), NO_OVERLAPS, groups)
