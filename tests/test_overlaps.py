from collections import defaultdict
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find.overlaps import (
    COLUMNS,
    REJECTED_COLUMNS,
    SCORE_DECIMALS,
    complete,
    concatenate,
    image_index,
    neighbours,
    verify,
    vote,
)
from dupnet.tiles import Grid, overlap_at, overlaps

GRIDS = [Grid(), Grid(2, 4), Grid(1, 1), Grid(4, 2, 32)]
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def names(n):
    return [f"{number:03d}.jpg" for number in range(n)]


def score_of(row1, row2):
    """An arbitrary score that depends on both tile rows and not on their order."""
    low, high = np.minimum(row1, row2), np.maximum(row1, row2)
    return ((low * 7919 + high * 104729) % 1000 / 999).astype(np.float32)


class Scores:
    """A score function that remembers what it was asked."""

    def __init__(self, function=score_of):
        self.function, self.asked, self.largest = function, [], 0

    def __call__(self, rows1, rows2):
        assert rows1.shape == rows2.shape
        self.asked += list(zip(rows1.tolist(), rows2.tolist(), strict=True))
        self.largest = max(self.largest, len(rows1))
        return self.function(rows1, rows2)


def proposals(*rows):
    return pd.DataFrame(rows, columns=["image1", "image2", "row_offset", "col_offset"], dtype=np.int64)


# --- voting ---------------------------------------------------------------------------------------


def brute_vote(rows1, rows2, cosine, grid):
    tiles, best = defaultdict(set), defaultdict(lambda: -np.inf)
    for row1, row2, likeness in zip(rows1, rows2, cosine, strict=True):
        (image1, tile1), (image2, tile2) = sorted([divmod(row1, grid.n_tiles), divmod(row2, grid.n_tiles)])
        if image1 == image2:
            continue
        (down1, right1), (down2, right2) = divmod(tile1, grid.cols), divmod(tile2, grid.cols)
        key = (image1, image2, down1 - down2, right1 - right2)
        tiles[key].add((tile1, tile2))
        best[key] = max(best[key], np.float32(likeness))
    return [(*key, len(tiles[key]), best[key]) for key in sorted(tiles)]


@given(st.data())
@QUICK
def test_votes_agree_with_a_plain_loop(data):
    grid = data.draw(st.sampled_from(GRIDS))
    row = st.integers(0, 4 * grid.n_tiles - 1)
    found = data.draw(st.lists(st.tuples(row, row, st.sampled_from([-0.5, 0.25, 0.5, 0.875])), max_size=60))
    rows1, rows2, cosine = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    table = vote(rows1, rows2, cosine, grid)
    assert list(table.columns) == ["image1", "image2", "row_offset", "col_offset", "n_votes", "cosine"]
    assert list(table.itertuples(index=False, name=None)) == brute_vote(rows1, rows2, cosine, grid)


def test_votes_of_a_known_overlap():
    """Images 1 and 2 in the relation that the tag 07 names: image 2 lies one tile to the left."""
    overlap = overlap_at(0, -1)
    rows1, rows2 = np.array(overlap.tiles1) + 9, np.array(overlap.tiles2) + 18
    table = vote(rows1, rows2, [0.9, 0.8, 0.95, 0.7, 0.9, 0.6])
    assert table.to_dict("records") == [
        {
            "image1": 1,
            "image2": 2,
            "row_offset": 0,
            "col_offset": -1,
            "n_votes": 6,
            "cosine": pytest.approx(0.95),
        }
    ]


def test_votes_depend_on_neither_order_nor_direction_nor_repetition():
    rng = np.random.default_rng(0)
    rows1, rows2 = rng.integers(0, 90, (2, 400))
    cosine = rng.random(400).astype(np.float32)
    table = vote(rows1, rows2, cosine)
    order = rng.permutation(800)
    twice = vote(np.r_[rows2, rows1][order], np.r_[rows1, rows2][order], np.r_[cosine, cosine][order])
    pd.testing.assert_frame_equal(twice, table)


def test_several_offsets_of_one_image_pair_are_all_proposed():
    table = vote([0, 0, 4], [9, 10, 13], [0.9, 0.8, 0.7])
    assert table[["row_offset", "col_offset", "n_votes"]].values.tolist() == [[0, -1, 1], [0, 0, 2]]


def test_votes_refuse_columns_of_different_length():
    with pytest.raises(ValueError, match="one length"):
        vote([1, 2], [10, 11], [0.5])
    with pytest.raises(ValueError, match="one length"):
        vote([[1]], [[10]], [[0.5]])


# --- verification ---------------------------------------------------------------------------------


def brute_verify(table, images, decidable, threshold, grid):
    accepted, rejected = [], []
    for image1, image2, down, right in table.itertuples(index=False, name=None):
        overlap = overlap_at(down, right, grid)
        scores = [
            float(score_of(np.int64(row1), np.int64(row2)))
            for row1, row2 in zip(
                np.array(overlap.tiles1) + image1 * grid.n_tiles,
                np.array(overlap.tiles2) + image2 * grid.n_tiles,
                strict=True,
            )
            if decidable[row1] and decidable[row2]
        ]
        key = (images[image1], images[image2])
        below = [score for score in scores if score < threshold]
        if below:
            rejected.append((*key, down, right, round(below[0], SCORE_DECIMALS)))
        else:
            lowest, verdict = (
                (round(min(scores), SCORE_DECIMALS), "duplicate") if scores else (None, "undecidable")
            )
            accepted.append((*key, overlap.tag, down, right, overlap.n_tiles, len(scores), lowest, verdict))
    return sorted(accepted, key=lambda row: row[:2] + row[3:5]), sorted(rejected)


def records(table):
    return [
        tuple(None if value != value else value for value in row) for row in table.itertuples(index=False)
    ]


@given(st.data())
@QUICK
def test_verification_agrees_with_a_plain_loop(data):
    grid = data.draw(st.sampled_from(GRIDS))
    images = names(data.draw(st.integers(2, 5)))
    possible = [
        (*pair, overlap.row_offset, overlap.col_offset)
        for pair in combinations(range(len(images)), 2)
        for overlap in overlaps(grid)
    ]
    chosen = data.draw(st.lists(st.sampled_from(possible), unique=True, max_size=25))
    table = proposals(*chosen)
    seed = data.draw(st.integers(0, 1000))
    share = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    decidable = np.random.default_rng(seed).random(len(images) * grid.n_tiles) < share
    threshold = data.draw(st.sampled_from([0.0, 0.1, 0.3, 1.0]))
    batch_size = data.draw(st.sampled_from([1, 3, 1000]))
    found, rejected = verify(table, images, Scores(), decidable, threshold, grid, batch_size)
    wanted_found, wanted_rejected = brute_verify(table, images, decidable, threshold, grid)
    assert list(found.columns) == list(COLUMNS)
    assert list(rejected.columns) == list(REJECTED_COLUMNS)
    assert records(found) == wanted_found
    assert records(rejected) == wanted_rejected


def test_few_tiles_are_scored_at_a_time_and_each_once():
    table = proposals(*[(0, image, 0, 0) for image in range(1, 12)])
    scores = Scores(lambda rows1, rows2: np.ones(len(rows1), np.float32))
    verify(table, names(12), scores, np.ones(12 * 9, dtype=bool), 0.5, batch_size=4)
    assert scores.largest == 4
    assert len(scores.asked) == len(set(scores.asked)) == 11 * 9


def test_a_disagreeing_tile_ends_the_judging_of_its_overlap_only():
    scores = Scores(lambda rows1, rows2: np.where(rows1 == 2, 0.1, 0.9))
    table = proposals((0, 1, 0, 0), (0, 2, 0, 1))
    found, rejected = verify(table, names(3), scores, np.ones(27, dtype=bool), 0.5)
    asked_of_first = [pair for pair in scores.asked if pair[1] < 18]
    assert asked_of_first == [(0, 9), (1, 10), (2, 11)]
    assert (found["image2"].tolist(), rejected["image2"].tolist()) == ([], ["001.jpg", "002.jpg"])
    assert rejected["score"].tolist() == [0.1, 0.1]


def test_an_overlap_has_the_score_of_its_least_alike_tile_wherever_that_lies():
    for least in range(9):
        scores = Scores(lambda rows1, rows2, least=least: np.where(rows1 == least, 0.6, 0.9))
        found, _ = verify(proposals((0, 1, 0, 0)), names(2), scores, np.ones(18, dtype=bool), 0.5)
        assert found["score"].tolist() == [0.6]


def test_tiles_that_cannot_be_judged_are_neither_scored_nor_counted():
    decidable = np.zeros(18, dtype=bool)
    decidable[[0, 4, 9, 8 + 9]] = True  # image 1: tiles 0 and 4; image 2: tiles 0 and 8
    scores = Scores(lambda rows1, rows2: np.full(len(rows1), 0.75, np.float32))
    found, rejected = verify(proposals((0, 1, 0, 0)), names(2), scores, decidable, 0.5)
    assert scores.asked == [(0, 9)]
    assert records(found) == [("000.jpg", "001.jpg", "08", 0, 0, 9, 1, 0.75, "duplicate")]
    assert rejected.empty


def test_without_a_decidable_tile_the_verdict_is_undecidable():
    scores = Scores()
    found, rejected = verify(proposals((0, 1, 1, -1)), names(2), scores, np.zeros(18, dtype=bool), 0.5)
    assert records(found) == [("000.jpg", "001.jpg", "37", 1, -1, 4, 0, None, "undecidable")]
    assert scores.asked == []
    assert rejected.empty


def test_a_score_at_the_threshold_agrees_and_the_verdict_uses_all_its_digits():
    def verdicts(score, threshold):
        function = Scores(lambda rows1, rows2: np.full(len(rows1), score))
        found, _ = verify(proposals((0, 1, 0, 2)), names(2), function, np.ones(18, dtype=bool), threshold)
        return found["verdict"].tolist()

    assert verdicts(0.5, 0.5) == ["duplicate"]
    assert verdicts(0.5 - 1e-9, 0.5) == []
    assert verdicts(0.0, 0.0) == ["duplicate"]


def test_of_two_offsets_of_one_pair_the_one_that_agrees_remains():
    """A person judged the Airbus images 9b34f2f64 and e8b058856 at two tags: 05 wrong and 18 right."""
    wrong, right = overlap_at(-1, 0), overlap_at(0, 1)
    assert (wrong.tag, right.tag) == ("05", "18")
    same_ground = {(row1, row2 + 9) for row1, row2 in zip(right.tiles1, right.tiles2, strict=True)}

    def score_pairs(rows1, rows2):
        pairs = zip(rows1.tolist(), rows2.tolist(), strict=True)
        return np.array([0.99 if pair in same_ground else 0.02 for pair in pairs])

    table = vote([1, 2], [9, 9 + 5], [0.8, 0.9])
    assert len(table) == 2
    found, rejected = verify(table, names(2), score_pairs, np.ones(18, dtype=bool), 0.5)
    assert found[["overlap_tag", "verdict"]].values.tolist() == [["18", "duplicate"]]
    assert rejected[["row_offset", "col_offset"]].values.tolist() == [[-1, 0]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, 1, 0, 0), "pairs images 1 and 1"),
        ((2, 1, 0, 0), "pairs images 2 and 1"),
        ((0, 3, 0, 0), "< 3"),
        ((-1, 2, 0, 0), "pairs images -1 and 2"),
        ((0, 1, 3, 0), r"offset \(3, 0\)"),
        ((0, 1, 0, -3), r"offset \(0, -3\)"),
    ],
)
def test_impossible_proposals_are_refused(row, message):
    with pytest.raises(ValueError, match=f"row 1 .*{message}"):
        verify(proposals((0, 1, 2, -2), row), names(3), Scores(), np.ones(27, dtype=bool), 0.5)


def test_impossible_arguments_are_refused():
    table = proposals((0, 1, 0, 0))
    with pytest.raises(ValueError, match=r"decidable has shape \(17,\).*\(18,\)"):
        verify(table, names(2), Scores(), np.ones(17, dtype=bool), 0.5)
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            verify(table, names(2), Scores(), np.ones(18, dtype=bool), threshold)
    with pytest.raises(ValueError, match="batch_size is 0"):
        verify(table, names(2), Scores(), np.ones(18, dtype=bool), 0.5, batch_size=0)


def test_a_score_that_is_no_number_is_refused():
    scores = Scores(lambda rows1, rows2: np.where(rows1 == 4, np.nan, 0.9))
    with pytest.raises(ValueError, match="score_pairs gave NaN"):
        verify(proposals((0, 1, 0, 0)), names(2), scores, np.ones(18, dtype=bool), 0.5)


def test_images_are_numbered_by_sorted_unique_names():
    assert list(image_index(["a", "b", "c"])) == ["a", "b", "c"]
    assert len(image_index([])) == 0
    for wrong in (["b", "a"], ["a", "a"]):
        with pytest.raises(ValueError, match="sorted"):
            image_index(wrong)


# --- geometry of groups ---------------------------------------------------------------------------


def brute_neighbours(group, row, col, grid):
    found = []
    for first, second in combinations(range(len(group)), 2):
        down, right = row[second] - row[first], col[second] - col[first]
        if group[first] == group[second] and abs(down) < grid.rows and abs(right) < grid.cols:
            found.append((first, second, down, right))
    return found


@given(st.data())
@QUICK
def test_neighbours_agree_with_a_plain_loop(data):
    grid = data.draw(st.sampled_from(GRIDS))
    place = st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 7))
    places = data.draw(st.lists(place, max_size=30))
    group, row, col = (list(column) for column in zip(*places, strict=True)) if places else ([], [], [])
    found = neighbours(group, row, col, grid)
    assert [tuple(pair) for pair in np.stack(found, axis=1).tolist()] == brute_neighbours(
        group, row, col, grid
    )


def test_neighbours_refuse_negative_places():
    for places in ([[-1], [0], [0]], [[0], [-1], [0]], [[0], [0], [-1]]):
        with pytest.raises(ValueError, match="negative"):
            neighbours(*places)


def groups_table(places):
    return pd.DataFrame(places, columns=["image", "group", "row", "col"])


def test_positions_complete_what_search_missed():
    images = names(4)
    # 0 and 1 are known to overlap, 1 and 2 were rejected; 0 and 2, and 2 and 3, were never proposed.
    groups = groups_table(
        [("003.jpg", 0, 4, 0), ("001.jpg", 0, 0, 1), ("000.jpg", 0, 0, 0), ("002.jpg", 0, 2, 2)]
    )
    known = verify(proposals((0, 1, 0, 1)), images, Scores(np.maximum), np.ones(36, dtype=bool), 0.5).overlaps
    rejected = pd.DataFrame([("001.jpg", "002.jpg", 2, 1, 0.1)], columns=list(REJECTED_COLUMNS))
    scores = Scores(lambda rows1, rows2: np.where(rows2 >= 27, 0.2, 0.9))
    found, new_rejected = complete(groups, [known, rejected], images, scores, np.ones(36, dtype=bool), 0.5)
    assert records(found) == [("000.jpg", "002.jpg", "88", 2, 2, 1, 1, 0.9, "duplicate")]
    assert records(new_rejected) == [("002.jpg", "003.jpg", 2, -2, 0.2)]
    assert scores.asked == [(8, 18), (24, 29)]


def test_overlaps_implied_without_texture_are_undecidable():
    groups = groups_table([("000.jpg", 0, 0, 0), ("001.jpg", 0, 0, 0)])
    found, rejected = complete(groups, [], names(2), Scores(), np.zeros(18, dtype=bool), 0.5)
    assert records(found) == [("000.jpg", "001.jpg", "08", 0, 0, 9, 0, None, "undecidable")]
    assert rejected.empty


def test_another_offset_of_a_known_pair_is_no_reason_to_skip_it():
    groups = groups_table([("000.jpg", 0, 0, 0), ("001.jpg", 0, 0, 1)])
    known = pd.DataFrame([("000.jpg", "001.jpg", 1, 0, 0.1)], columns=list(REJECTED_COLUMNS))
    scores = Scores(lambda rows1, rows2: np.ones(len(rows1)))
    found, _ = complete(groups, [known], names(2), scores, np.ones(18, dtype=bool), 0.5)
    assert found["overlap_tag"].tolist() == ["18"]


def test_completing_a_part_of_the_images_keeps_their_numbers():
    groups = groups_table([("002.jpg", 0, 0, 0), ("001.jpg", 0, 0, 0)])
    scores = Scores(lambda rows1, rows2: np.ones(len(rows1)))
    complete(groups, [], names(3), scores, np.ones(27, dtype=bool), 0.5)
    assert scores.asked == [(9 + tile, 18 + tile) for tile in range(9)]


def test_groups_of_unknown_images_are_refused():
    groups = groups_table([("000.jpg", 0, 0, 0), ("stray.jpg", 0, 0, 1)])
    with pytest.raises(ValueError, match=r"stray\.jpg"):
        complete(groups, [], names(2), Scores(), np.ones(18, dtype=bool), 0.5)


def test_tables_are_joined_in_order_each_overlap_once():
    columns = list(REJECTED_COLUMNS)
    one = pd.DataFrame([("b", "c", 0, 0, 0.5)], columns=columns)
    other = pd.DataFrame(
        [("b", "c", 0, 0, 0.4), ("a", "c", 1, 0, 0.3), ("a", "c", -1, 0, 0.2)], columns=columns
    )
    assert concatenate([one, other]).values.tolist() == [
        ["a", "c", -1, 0, 0.2],
        ["a", "c", 1, 0, 0.3],
        ["b", "c", 0, 0, 0.5],
    ]
    empty = one.iloc[:0]
    assert concatenate([empty, one]).equals(one)
    assert list(concatenate([empty, empty]).columns) == columns
