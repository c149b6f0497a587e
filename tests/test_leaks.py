from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results import found

import dupnet
from dupnet.splits.assignment import random_split, split
from dupnet.splits.ground import Tables, areas_shown, covered
from dupnet.splits.leaks import PAIR_COLUMNS, audit


def splits_table(*names):
    return pd.DataFrame({"image": [f"{number:03d}.jpg" for number in range(len(names))], "split": names})


def brute_leaks(splits, result):
    """Leaked pixels of each image as a mask, by plain loops over pairs of images."""
    split_of = dict(zip(splits["image"], splits["split"], strict=True))
    place = {row.image: row for row in result.groups.itertuples()}
    masks = {image: np.zeros((place[image].height, place[image].width), bool) for image in split_of}
    for one, two in combinations(sorted(split_of), 2):
        offsets = [
            (row.y_offset, row.x_offset)
            for row in result.overlaps.itertuples()
            if (row.image1, row.image2) == (one, two) and row.verdict in ("duplicate", "altered")
        ]
        first, second = place[one], place[two]
        if first.mosaic == second.mosaic:
            down, right = second.y - first.y, second.x - first.x
            common = (
                min(first.height, down + second.height) - max(down, 0),
                min(first.width, right + second.width) - max(right, 0),
            )
            if min(common) >= 16:
                offsets.append((down, right))
        for down, right in offsets:
            if split_of[one] == split_of[two]:
                continue
            for y in range(max(down, 0), min(first.height, down + second.height)):
                row = slice(max(right, 0), max(min(first.width, right + second.width), 0))
                masks[one][y, row] = True
                masks[two][y - down, row.start - right : max(row.stop - right, 0)] = True
    return masks


@given(st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_counts_agree_with_plain_loops(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    n = data.draw(st.integers(2, 10))
    places = np.stack([rng.integers(0, 3, n), *rng.integers(0, 160, (2, n))], axis=1).tolist()
    sizes = [tuple(row) for row in rng.integers(64, 120, (n, 2)).tolist()]
    pairs = [sorted(rng.choice(n, 2, replace=False).tolist()) for _ in range(4)]
    verdicts = rng.choice(["duplicate", "altered", "undecidable"], len(pairs))
    overlaps = [
        (*pair, *rng.integers(-50, 50, 2).tolist(), verdict)
        for pair, verdict in zip(pairs, verdicts, strict=True)
    ]
    result = found(places, size=sizes, overlaps=overlaps)
    splits = splits_table(*rng.choice(["train", "test", "spare"], n))
    splits = splits.sample(n=int(rng.integers(1, n + 1)), random_state=0)

    seen = audit(splits, result)
    masks = brute_leaks(splits, result)
    split_of = dict(zip(splits["image"], splits["split"], strict=True))
    for row in seen.splits.itertuples():
        members = [image for image, name in split_of.items() if name == row.split]
        assert row.images == len(members)
        assert row.pixels == sum(masks[image].size for image in members)
        assert row.leaked_images == sum(masks[image].any() for image in members)
        assert row.leaked_pixels == sum(int(masks[image].sum()) for image in members)
        assert row.image_share == pytest.approx(row.leaked_images / row.images, abs=1e-4)
        assert row.pixel_share == pytest.approx(row.leaked_pixels / row.pixels, abs=1e-4)
    assert set(seen.splits["split"]) == set(split_of.values())
    assert seen.leaks == any(mask.any() for mask in masks.values())
    assert seen.unassigned == n - len(splits)

    group_of = dict(zip(result.groups["image"], result.groups["group"], strict=True))
    by_group = dict.fromkeys(group_of.values(), 0)
    for image, mask in masks.items():
        by_group[group_of[image]] += int(mask.sum())
    table = seen.groups.set_index("group")["leaked_pixels"]
    assert table.to_dict() == {group: pixels for group, pixels in by_group.items() if pixels}
    assert table.is_monotonic_decreasing
    assert (seen.pairs["height"] * seen.pairs["width"]).is_monotonic_decreasing
    for row in seen.pairs.itertuples():
        assert split_of[row.image1] == row.split1 != row.split2 == split_of[row.image2]


def test_a_leak_is_counted_and_shown():
    result = found([(0, 0, 0), (0, 0, 60), (0, 0, 400), (1, 0, 0), (1, 50, 50), (2, 0, 0)])
    splits = splits_table("train", "test", "test", "test", "train", "train")
    seen = audit(splits, result)
    assert seen.leaks
    counts = {
        "split": ["test", "train"],
        "images": [3, 3],
        "leaked_images": [2, 2],
        "image_share": [0.6667, 0.6667],
        "pixels": [30_000, 30_000],
        "leaked_pixels": [6_500, 6_500],
        "pixel_share": [0.2167, 0.2167],
        "revisited_images": [0, 0],
    }
    assert list(seen.splits.to_dict("list").items()) == list(counts.items())  # in this order
    assert seen.groups.to_dict("records") == [
        {"group": 0, "images": 3, "splits": "test 2, train 1", "leaked_images": 2, "leaked_pixels": 8000},
        {"group": 1, "images": 2, "splits": "test 1, train 1", "leaked_images": 2, "leaked_pixels": 5000},
    ]
    assert seen.pairs.values.tolist() == [
        ["000.jpg", "train", "001.jpg", "test", 0, 0, 60, 100, 40, 0.4, "duplicate"],
        ["003.jpg", "test", "004.jpg", "train", 1, 50, 50, 50, 50, 0.25, "duplicate"],
    ]
    assert tuple(seen.pairs.columns) == PAIR_COLUMNS
    assert "Leak: 2 pairs of images" in seen.verdict()
    assert "2 of 3 images of 'test' (66.7%) and 21.7% of its pixels" in seen.verdict()
    assert "any offset; regions from 32 px" in seen.verdict()


def test_the_common_share_is_that_of_the_smaller_image():
    result = found([(0, 0, 0), (0, 10, 10)], size=[(200, 200), (50, 50)])
    assert audit(splits_table("a", "b"), result).pairs["share"].tolist() == [1.0]


def test_pixels_are_not_counted_twice():
    # Two copies of one corner, and one that covers half of it again.
    result = found([(0, 0, 0), (0, 50, 50), (0, 50, 50), (0, 0, 50)])
    seen = audit(splits_table("train", "test", "test", "test"), result)
    assert seen.splits.set_index("split").loc["train", "leaked_pixels"] == 5000


def test_overlaps_count_even_where_places_do_not_know_of_them():
    result = found([(0, 0, 0), (1, 0, 0)], overlaps=[(0, 1, 0, -60)])
    seen = audit(splits_table("train", "test"), result)
    assert seen.splits["leaked_pixels"].tolist() == [4000, 4000]
    assert not audit(splits_table("test", "test"), result).leaks


def test_altered_copies_leak():
    """One changed part of nine tears nothing apart."""
    result = found([(0, 0, 0), (0, 0, 0)], overlaps=[(0, 1, 0, 0, "altered")])
    assert audit(splits_table("train", "test"), result).pairs["evidence"].tolist() == ["altered"]


def test_places_imply_what_no_overlap_says():
    result = found([(0, 0, 0), (0, 0, 50)], overlaps=[(0, 1, 0, 50, "undecidable")])
    assert audit(splits_table("train", "test"), result).pairs["evidence"].tolist() == ["place"]
    narrow = found([(0, 0, 0), (0, 0, 80)], overlaps=[])
    assert audit(splits_table("train", "test"), narrow).leaks, "20 px, less than is searched, but known"
    strip = found([(0, 0, 0), (0, 0, 90)], overlaps=[])
    assert not audit(splits_table("train", "test"), strip).leaks, "10 px may be an error of the places"


@pytest.mark.parametrize(("y", "x", "evidence"), [(4, 0, 1), (5, 0, 2), (0, -4, 1), (0, -5, 2)])
def test_an_overlap_that_places_tell_of_too_is_one(y, x, evidence):
    """Places are found from many overlaps and may be off by up to 4 pixels."""
    result = found([(0, 0, 0), (0, 0, 50)], overlaps=[(0, 1, y, 50 + x, "duplicate")])
    pairs = audit(splits_table("train", "test"), result).pairs
    assert sorted(pairs["evidence"]) == ["duplicate", "place"][:evidence]


def test_what_cannot_be_decided_is_no_leak_by_itself_and_is_said():
    result = found([(0, 0, 0), (1, 0, 0)], overlaps=[(0, 1, 0, 0, "undecidable")])
    seen = audit(splits_table("train", "test"), result)
    assert not seen.leaks
    assert seen.groups.empty and seen.pairs.empty
    assert any(line.startswith("Not decided: 1 overlaps that follow") for line in seen.limits())


def test_revisits_are_counted_apart():
    result = found([(0, 0, 0), (1, 0, 0), (2, 0, 0)], overlaps=[], revisits=[(0, 1, 0, 10), (1, 2, 0, 0)])
    seen = audit(splits_table("train", "test", "test"), result)
    assert not seen.leaks
    assert seen.splits.set_index("split")["revisited_images"].to_dict() == {"test": 1, "train": 1}
    assert seen.revisits[["image1", "split1", "image2", "split2"]].values.tolist() == [
        ["000.jpg", "train", "001.jpg", "test"]
    ]
    assert any("1 pairs show one ground at two times" in limit for limit in seen.limits())


def test_a_revisit_that_agrees_in_most_of_its_ground_is_not_passed_over_in_silence():
    result = found([(0, 0, 0), (1, 0, 0)], overlaps=[], revisits=[(0, 1, 0, 10)])
    for share, said in ((0.5, True), (0.49, False), (np.nan, False)):
        result.revisits["agreeing_share"] = share
        seen = audit(splits_table("train", "test"), result)
        assert not seen.leaks
        assert (", but 1 pairs to look at: see the notes. Searched" in seen.verdict()) == said
        assert any("1 of these agree in most of their ground" in limit for limit in seen.limits()) == said


def test_contradicted_overlaps_are_listed_and_not_counted():
    result = found([(0, 0, 0), (1, 0, 0)], overlaps=[], rejected=[(0, 1, 0, 20)], groups=[0, 0])
    seen = audit(splits_table("train", "test"), result)
    assert not seen.leaks
    assert seen.doubtful[["image1", "image2", "x_offset", "share"]].values.tolist() == [
        ["000.jpg", "001.jpg", 20, 0.8]
    ]
    assert any("1 overlaps across splits contradict" in limit for limit in seen.limits())


def test_an_image_in_two_splits_is_a_leak():
    result = found([(0, 0, 0), (1, 0, 0)])
    rows = [("000.jpg", "train"), ("000.jpg", "test"), ("001.jpg", "train"), ("001.jpg", "train")]
    seen = audit(pd.DataFrame(rows, columns=["image", "split"]), result)
    assert seen.pairs[["image1", "image2", "share", "evidence"]].values.tolist() == [
        ["000.jpg", "000.jpg", 1.0, "listed twice"]
    ]
    assert seen.splits.set_index("split")["leaked_pixels"].to_dict() == {"test": 10_000, "train": 10_000}
    assert seen.splits["images"].tolist() == [1, 2]


def test_an_image_in_a_split_and_in_the_buffer_is_assigned_once():
    result = found([(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    rows = [("000.jpg", "train"), ("000.jpg", "buffer"), ("001.jpg", "test")]
    seen = audit(pd.DataFrame(rows, columns=["image", "split"]), result)
    assert (seen.unassigned, seen.buffered) == (1, 1)


def test_a_split_by_group_does_not_leak_and_a_random_one_does():
    rng = np.random.default_rng(0)
    n = 200
    places = np.stack([rng.integers(0, 25, n), *rng.integers(0, 300, (2, n))], axis=1)
    result = found(places)
    assert not audit(split(result), result).leaks
    assert audit(random_split(result.groups["image"]), result).leaks


def test_no_leak_is_never_said_without_what_was_searched():
    result = found([(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    result.searched = {"offsets": "grid", "grid": 256, "smallest_region": 32, "against": True}
    result.unreadable = pd.DataFrame({"image": ["x.jpg"], "reason": ["empty file"]})
    splits = pd.concat(
        [splits_table("train", "test", "buffer"), splits_table("train").assign(image="new.jpg")]
    )
    seen = audit(splits, result)
    assert seen.verdict().startswith("No leak found among 2 images in 2 splits.")
    assert "whole tiles on a grid of 256 px only" in seen.verdict()
    said = "\n".join(seen.limits())
    for limit in ("only pairs across the two", "1 files", "1 names of the split fit no", "as 'buffer'"):
        assert limit in said
    assert seen.record()["verdict"] == seen.verdict() and seen.record()["limits"] == seen.limits()


def test_a_part_of_the_collection_can_be_audited():
    result = found([(0, 0, 0), (0, 0, 0), (0, 0, 0)])
    seen = audit(splits_table("train", "train"), result)
    assert not seen.leaks
    assert seen.unassigned == 1
    assert "1 images of the collection are in no split" in seen.limits()


def test_split_names_may_be_numbers():
    seen = audit(splits_table(0, 1), found([(0, 0, 0), (0, 0, 0)]))
    assert seen.splits["split"].tolist() == ["0", "1"]
    assert seen.leaks


def test_a_split_may_be_a_mapping_a_file_or_a_table(tmp_path):
    result = found([(0, 0, 0), (0, 0, 0)])
    table = splits_table("train", "test")
    table.to_csv(tmp_path / "splits.csv", index=False)
    for form in (table, dict(zip(table["image"], table["split"], strict=True)), tmp_path / "splits.csv"):
        assert dupnet.audit(form, result).leaks


def test_tables_of_another_origin_can_be_audited():
    result = found([(0, 0, 0), (0, 0, 0)])
    seen = audit(splits_table("train", "test"), Tables(result.groups))
    assert seen.pairs["evidence"].tolist() == ["place"]
    assert "those of the given tables" in seen.verdict()


def test_splits_that_cannot_be_audited_are_refused():
    result = found([(0, 0, 0), (0, 0, 1)])
    splits = splits_table("train", "test")
    for column in ("image", "split"):
        with pytest.raises(ValueError, match=f"no column '{column}'"):
            audit(splits.drop(columns=column), result)
    with pytest.raises(ValueError, match="there is no row"):
        audit(splits[:0], result)
    for nothing in ("", None, np.nan):
        with pytest.raises(ValueError, match=r"1 images have no split, such as '001\.jpg'"):
            audit(splits_table("train", nothing), result)
    with pytest.raises(ValueError, match=r"none of 2 names fits an image .* such as 'x\.jpg'"):
        audit(splits.assign(image=["x.jpg", "y.jpg"]), result)


# --- areas ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_union_of_rectangles_is_exact(regions):
    mask = np.zeros((60, 60), bool)
    for top, left, height, width in regions:
        mask[top : top + height, left : left + width] = True
    assert covered([regions]).tolist() == [mask.sum()]
    areas = areas_shown([7] * len(regions), *np.array(regions).T)
    assert areas.to_dict() == {7: mask.sum()}


def test_many_regions_of_many_images():
    rng = np.random.default_rng(0)
    image = np.sort(rng.integers(0, 40, 3000))
    regions = np.concatenate([rng.integers(0, 60, (3000, 2)), rng.integers(1, 20, (3000, 2))], axis=1)
    regions[-200:], image[-200:] = regions[-1], 99
    areas = areas_shown(image, *regions.T)
    for number, area in areas.items():
        mask = np.zeros((80, 80), bool)
        for top, left, height, width in regions[image == number]:
            mask[top : top + height, left : left + width] = True
        assert area == mask.sum()


def test_areas_are_those_of_each_image():
    areas = areas_shown([3, 1, 1], [0, 0, 0], [0, 0, 5], [10, 10, 10], [10, 10, 10])
    assert areas.to_dict() == {1: 150, 3: 100}
