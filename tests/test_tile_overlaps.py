"""Overlaps of whole tiles: votes gathered, and each proposal judged tile by tile, against plain loops."""

from collections import defaultdict
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find import tile_overlaps
from dupnet.find.overlaps import JUDGED, KEY, SCORE_DECIMALS
from dupnet.find.tile_overlaps import judge_tiles, vote
from dupnet.tiles import Grid, overlap_at, overlaps

GRIDS = [Grid(), Grid(2, 4), Grid(1, 1), Grid(4, 2, 32)]
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def sizes_of(n, grid=Grid()):
    """Sizes of n images of the tiles of a grid."""
    return np.tile([grid.rows * grid.tile_size, grid.cols * grid.tile_size], (n, 1))


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


def proposals(*rows, grid=Grid()):
    """Proposals from rows (image1, image2, tile rows, tile columns of the offset)."""
    table = pd.DataFrame(rows, columns=KEY, dtype=np.int64)
    return table.assign(
        y_offset=table["y_offset"] * grid.tile_size, x_offset=table["x_offset"] * grid.tile_size
    )


def judge(table, n_images, scores, decidable=None, threshold=0.5, grid=Grid(), **options):
    if decidable is None:
        decidable = np.ones(n_images * grid.n_tiles, dtype=bool)
    return judge_tiles(table, sizes_of(n_images, grid), scores, decidable, threshold, grid, **options)


# --- voting ---------------------------------------------------------------------------------------


def brute_vote(rows1, rows2, cosine, grid):
    tiles, best = defaultdict(set), defaultdict(lambda: -np.inf)
    for row1, row2, likeness in zip(rows1, rows2, cosine, strict=True):
        (image1, tile1), (image2, tile2) = sorted([divmod(row1, grid.n_tiles), divmod(row2, grid.n_tiles)])
        if image1 == image2:
            continue
        (down1, right1), (down2, right2) = divmod(tile1, grid.cols), divmod(tile2, grid.cols)
        key = (image1, image2, (down1 - down2) * grid.tile_size, (right1 - right2) * grid.tile_size)
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
    assert list(table.columns) == ["image1", "image2", "y_offset", "x_offset", "n_votes", "cosine"]
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
            "y_offset": 0,
            "x_offset": -256,
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
    assert table[["y_offset", "x_offset", "n_votes"]].values.tolist() == [[0, -256, 1], [0, 0, 2]]


def test_votes_refuse_columns_of_different_length():
    with pytest.raises(ValueError, match="one length"):
        vote([1, 2], [10, 11], [0.5])
    with pytest.raises(ValueError, match="one length"):
        vote([[1]], [[10]], [[0.5]])


# --- judging --------------------------------------------------------------------------------------


def brute_judge(table, decidable, threshold, grid):
    judged = []
    for image1, image2, y_offset, x_offset in table.itertuples(index=False, name=None):
        overlap = overlap_at(y_offset // grid.tile_size, x_offset // grid.tile_size, grid)
        height = (grid.rows - abs(overlap.row_offset)) * grid.tile_size
        width = (grid.cols - abs(overlap.col_offset)) * grid.tile_size
        scores = [
            float(score_of(np.int64(row1), np.int64(row2)))
            for row1, row2 in zip(
                np.array(overlap.tiles1) + image1 * grid.n_tiles,
                np.array(overlap.tiles2) + image2 * grid.n_tiles,
                strict=True,
            )
            if decidable[row1] and decidable[row2]
        ]
        below = [score for score in scores if score < threshold]
        if below:
            score, verdict = round(below[0], SCORE_DECIMALS), "refused"
        elif scores:
            score, verdict = round(min(scores), SCORE_DECIMALS), "duplicate"
        else:
            score, verdict = None, "undecidable"
        counts = overlap.n_tiles, len(scores), int(verdict == "refused")
        judged.append((image1, image2, y_offset, x_offset, height, width, *counts, score, verdict))
    return judged


def records(table):
    return [
        tuple(None if value != value else value for value in row) for row in table.itertuples(index=False)
    ]


@given(st.data())
@QUICK
def test_judging_agrees_with_a_plain_loop(data):
    grid = data.draw(st.sampled_from(GRIDS))
    n_images = data.draw(st.integers(2, 5))
    possible = [
        (*pair, overlap.row_offset, overlap.col_offset)
        for pair in combinations(range(n_images), 2)
        for overlap in overlaps(grid)
    ]
    chosen = data.draw(st.lists(st.sampled_from(possible), unique=True, max_size=25))
    table = proposals(*chosen, grid=grid)
    seed = data.draw(st.integers(0, 1000))
    share = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    decidable = np.random.default_rng(seed).random(n_images * grid.n_tiles) < share
    threshold = data.draw(st.sampled_from([0.0, 0.1, 0.3, 1.0]))
    batch_size = data.draw(st.sampled_from([1, 3, 1000]))
    found = judge(table, n_images, Scores(), decidable, threshold, grid, batch_size=batch_size)
    assert list(found.columns) == list(JUDGED)
    assert records(found) == brute_judge(table, decidable, threshold, grid)


def test_few_tiles_are_scored_at_a_time_and_each_once():
    table = proposals(*[(0, image, 0, 0) for image in range(1, 12)])
    scores = Scores(lambda rows1, rows2: np.ones(len(rows1), np.float32))
    judge(table, 12, scores, batch_size=4)
    assert scores.largest == 4
    assert len(scores.asked) == len(set(scores.asked)) == 11 * 9


def test_of_images_of_many_tiles_fewer_overlaps_are_judged_at_a_time(monkeypatch):
    """The numbers of all tiles of 16,384 overlaps of large images would take gigabytes."""
    table = proposals(*[(0, image, 0, 0) for image in range(1, 12)])
    scores, all_at_once = Scores(), Scores()
    expected = records(judge(table, 12, all_at_once))
    monkeypatch.setattr(tile_overlaps, "TILES_AT_A_TIME", 30)
    assert records(judge(table, 12, scores)) == expected
    assert (all_at_once.largest, scores.largest) == (11, 30 // 9)


def test_a_disagreeing_tile_ends_the_judging_of_its_overlap_only():
    scores = Scores(lambda rows1, rows2: np.where(rows1 == 2, 0.1, 0.9))
    found = judge(proposals((0, 1, 0, 0), (0, 2, 0, 1), (0, 2, 2, 0)), 3, scores)
    asked_of_first = [pair for pair in scores.asked if pair[1] < 18]
    assert asked_of_first == [(0, 9), (1, 10), (2, 11)]
    assert found["verdict"].tolist() == ["refused", "refused", "duplicate"]
    assert found["score"].tolist() == [0.1, 0.1, 0.9]
    assert found["n_differing"].tolist() == [1, 1, 0]


def test_an_overlap_has_the_score_of_its_least_alike_tile_wherever_that_lies():
    for least in range(9):
        scores = Scores(lambda rows1, rows2, least=least: np.where(rows1 == least, 0.6, 0.9))
        assert judge(proposals((0, 1, 0, 0)), 2, scores)["score"].tolist() == [0.6]


def test_tiles_that_cannot_be_judged_are_neither_scored_nor_counted():
    decidable = np.zeros(18, dtype=bool)
    decidable[[0, 4, 9, 8 + 9]] = True  # image 1: tiles 0 and 4; image 2: tiles 0 and 8
    scores = Scores(lambda rows1, rows2: np.full(len(rows1), 0.75, np.float32))
    found = judge(proposals((0, 1, 0, 0)), 2, scores, decidable)
    assert scores.asked == [(0, 9)]
    assert records(found) == [(0, 1, 0, 0, 768, 768, 9, 1, 0, 0.75, "duplicate")]


def test_without_a_decidable_tile_the_verdict_is_undecidable():
    scores = Scores()
    found = judge(proposals((0, 1, 1, -1)), 2, scores, np.zeros(18, dtype=bool))
    assert records(found) == [(0, 1, 256, -256, 512, 512, 4, 0, 0, None, "undecidable")]
    assert scores.asked == []


def test_a_score_at_the_threshold_agrees_and_the_verdict_uses_all_its_digits():
    def verdict(score, threshold):
        function = Scores(lambda rows1, rows2: np.full(len(rows1), score))
        return judge(proposals((0, 1, 0, 2)), 2, function, threshold=threshold)["verdict"].item()

    assert verdict(0.5, 0.5) == "duplicate"
    assert verdict(0.5 - 1e-9, 0.5) == "refused"
    assert verdict(0.0, 0.0) == "duplicate"


def test_of_two_offsets_of_one_pair_the_one_that_agrees_is_a_duplicate():
    """A person judged the Airbus images 9b34f2f64 and e8b058856 at two tags: 05 wrong and 18 right."""
    wrong, right = overlap_at(-1, 0), overlap_at(0, 1)
    assert (wrong.tag, right.tag) == ("05", "18")
    same_ground = {(row1, row2 + 9) for row1, row2 in zip(right.tiles1, right.tiles2, strict=True)}

    def score_pairs(rows1, rows2):
        pairs = zip(rows1.tolist(), rows2.tolist(), strict=True)
        return np.array([0.99 if pair in same_ground else 0.02 for pair in pairs])

    table = vote([1, 2], [9, 9 + 5], [0.8, 0.9])
    assert len(table) == 2
    found = judge(table, 2, score_pairs)
    assert found[["y_offset", "x_offset", "verdict"]].values.tolist() == [
        [-256, 0, "refused"],
        [0, 256, "duplicate"],
    ]


def test_tiles_closer_than_side_by_side_share_what_they_cover():
    """A tile of 64 px every 32 px: images of 3 x 3 places are 128 px long, 2 places apart they share one."""
    grid, ones = Grid(3, 3, 32), Scores(lambda rows1, rows2: np.ones(len(rows1)))
    table, sizes = proposals((0, 1, 2, -2), grid=grid), np.full((2, 2), 128)
    found = judge_tiles(table, sizes, ones, np.ones(18, bool), 0.5, grid, 64)
    assert found[["height", "width", "n_tiles"]].values.tolist() == [[64, 64, 1]]
    with pytest.raises(ValueError, match="share less than 65 px"):
        judge_tiles(table, sizes, ones, np.ones(18, bool), 0.5, grid, 65)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, 1, 0, 0), "pairs images 1 and 1"),
        ((2, 1, 0, 0), "pairs images 2 and 1"),
        ((0, 3, 0, 0), "< 3"),
        ((-1, 2, 0, 0), "pairs images -1 and 2"),
        ((0, 1, 3, 0), r"offset \(768, 0\)"),
        ((0, 1, 0, -3), r"offset \(0, -768\)"),
    ],
)
def test_impossible_proposals_are_refused(row, message):
    with pytest.raises(ValueError, match=f"row 1 .*{message}"):
        judge(proposals((0, 1, 2, -2), row), 3, Scores())


def test_offsets_off_the_grid_are_refused():
    for y_offset, x_offset in ((256, 255), (1, 0)):
        table = pd.DataFrame([(0, 1, 0, 0), (0, 1, y_offset, x_offset)], columns=KEY)
        with pytest.raises(ValueError, match=rf"offset \({y_offset}, {x_offset}\) is no multiple of 256 px"):
            judge(table, 2, Scores())


def test_impossible_arguments_are_refused():
    table = proposals((0, 1, 0, 0))
    with pytest.raises(ValueError, match=r"decidable has shape \(17,\).*\(18,\)"):
        judge(table, 2, Scores(), np.ones(17, dtype=bool))
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            judge(table, 2, Scores(), threshold=threshold)
    with pytest.raises(ValueError, match="batch_size is 0"):
        judge(table, 2, Scores(), batch_size=0)


def test_a_pair_of_tiles_without_a_score_decides_nothing():
    """Both tiles show something, but not the same ground."""
    scores = Scores(lambda rows1, rows2: np.where(rows1 == 4, np.nan, 0.9))
    found = judge(proposals((0, 1, 0, 0)), 2, scores)
    assert records(found) == [(0, 1, 0, 0, 768, 768, 9, 8, 0, 0.9, "duplicate")]
    none = Scores(lambda rows1, rows2: np.full(len(rows1), np.nan))
    assert records(judge(proposals((0, 1, 0, 0)), 2, none)) == [
        (0, 1, 0, 0, 768, 768, 9, 0, 0, None, "undecidable")
    ]
    refused = Scores(lambda rows1, rows2: np.where(rows1 == 4, np.nan, 0.1))
    assert judge(proposals((0, 1, 0, 0)), 2, refused)["verdict"].tolist() == ["refused"]
