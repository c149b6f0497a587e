from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find.groups import CUT_COLUMNS, evidence, place, resolve
from dupnet.find.overlaps import COLUMNS, REJECTED_COLUMNS, neighbours, vote
from dupnet.tiles import Grid, overlap_at

QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def names(n):
    return [f"{number:03d}.jpg" for number in range(n)]


def table_of(*rows, grid=Grid()):
    """An overlaps table from rows (image1, image2, row offset, column offset[, score[, decidable tiles]])."""
    full = []
    for image1, image2, down, right, *rest in rows:
        score = rest[0] if rest else 0.99
        overlap = overlap_at(down, right, grid)
        decidable = rest[1] if len(rest) > 1 else overlap.n_tiles
        verdict = "duplicate" if decidable else "undecidable"
        ends = f"{image1:03d}.jpg", f"{image2:03d}.jpg"
        full.append((*ends, overlap.tag, down, right, overlap.n_tiles, decidable, score, verdict))
    return pd.DataFrame(full, columns=list(COLUMNS))


def rejected_of(*rows):
    full = [(f"{image1:03d}.jpg", f"{image2:03d}.jpg", *rest) for image1, image2, *rest in rows]
    return pd.DataFrame(full, columns=list(REJECTED_COLUMNS))


def places(groups):
    return groups[["group", "row", "col"]].values.tolist()


# --- placing --------------------------------------------------------------------------------------


def test_images_are_placed_from_the_smallest_row_and_column():
    groups, cuts = place(table_of((0, 2, -1, 2), (2, 4, -1, -1)), names(5))
    assert groups["image"].tolist() == names(5)
    assert list(groups.columns) == ["image", "group", "row", "col"]
    assert places(groups) == [[0, 2, 0], [1, 0, 0], [0, 1, 2], [2, 0, 0], [0, 0, 1]]
    assert cuts.empty
    assert list(cuts.columns) == list(CUT_COLUMNS)


def test_a_collection_without_overlaps_is_all_groups_of_one():
    groups, cuts = place(table_of(), names(3))
    assert places(groups) == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert cuts.empty
    assert place(table_of(), []).groups.empty


def test_undecidable_overlaps_join_nothing():
    groups, cuts = place(table_of((0, 1, 0, 0, np.nan, 0)), names(2))
    assert groups["group"].tolist() == [0, 1]
    assert cuts.empty


def test_the_weakest_overlap_of_a_loop_is_cut_and_reported():
    # 0 -> 1 -> 2 leads to (2, 1); the direct overlap says (2, 2) and has one decidable tile.
    table = table_of((0, 1, 1, 1, 0.9, 4), (1, 2, 1, 0, 0.9, 6), (0, 2, 2, 2, 0.97, 1))
    groups, cuts = place(table, names(3))
    assert places(groups) == [[0, 0, 0], [0, 1, 1], [0, 2, 1]]
    assert cuts.to_dict("records") == [
        {
            "image1": "000.jpg",
            "image2": "002.jpg",
            "overlap_tag": "88",
            "row_offset": 2,
            "col_offset": 2,
            "n_decidable": 1,
            "score": 0.97,
            "reason": "loop",
            "row_residual": 0,
            "col_residual": 1,
        }
    ]


def test_the_newest_overlap_is_not_cut_if_it_is_the_strongest():
    table = table_of((0, 1, 1, 1, 0.6, 1), (1, 2, 1, 0, 0.9, 6), (0, 2, 2, 2, 0.99, 1))
    groups, cuts = place(table, names(3))
    assert cuts["image2"].tolist() == ["001.jpg"]
    assert (cuts["row_residual"].tolist(), cuts["col_residual"].tolist()) == ([0], [-1])
    assert places(groups) == [[0, 0, 0], [0, 1, 2], [0, 2, 2]]


def test_strength_counts_both_score_and_decidable_tiles():
    def kept(first, second):
        table = table_of((0, 1, 0, 1, *first), (0, 1, 1, 0, *second))
        return place(table, names(2)).cuts["overlap_tag"].tolist() == [overlap_at(1, 0).tag]

    assert kept((0.9, 2), (0.8, 2))
    assert kept((0.8, 3), (0.9, 2))
    assert not kept((0.8, 1), (0.9, 6))
    # Beyond one error in a thousand, only the number of tiles tells.
    assert not kept((0.99999, 2), (0.9990, 3))


def test_a_weak_link_between_two_days_is_cut_where_neighbours_are_rejected():
    day1 = [(0, 1, 0, 1), (1, 2, 1, 0), (0, 2, 1, 1)]
    day2 = [(3, 4, 0, 1), (4, 5, 1, 0), (3, 5, 1, 1)]
    table = table_of(*day1, *day2, (0, 3, 0, 0, 0.8, 1))
    assert place(table, names(6)).groups["group"].tolist() == [0] * 6
    rejected = rejected_of((1, 4, 0, 0, 0.01), (2, 5, 0, 0, 0.02), (0, 4, 0, 1, 0.1))
    groups, cuts = place(table, names(6), rejected)
    assert groups["group"].tolist() == [0, 0, 0, 1, 1, 1]
    assert groups[["row", "col"]].values.tolist() == [[0, 0], [0, 1], [1, 1]] * 2
    assert cuts[["image1", "image2", "reason"]].values.tolist() == [["000.jpg", "003.jpg", "neighbours"]]
    assert cuts[["row_residual", "col_residual"]].isna().all(axis=None)


def test_one_rejected_overlap_does_not_part_well_joined_images():
    table = table_of((0, 1, 0, 1), (1, 2, 0, 1), (0, 2, 0, 2))
    rejected = rejected_of((0, 1, 1, 0, 0.01), (0, 2, 0, 2, 0.3))
    assert place(table, names(3), rejected).groups["group"].tolist() == [0, 0, 0]


def test_a_rejected_overlap_listed_twice_counts_once():
    table = table_of((0, 1, 0, 1, 0.95, 1))
    once = rejected_of((0, 1, 0, 1, 0.1))
    assert place(table, names(2), once).groups["group"].tolist() == [0, 0]
    assert place(table, names(2), pd.concat([once, once])).groups["group"].tolist() == [0, 0]
    assert place(table, names(2), rejected_of((0, 1, 0, 1, 0.01))).groups["group"].tolist() == [0, 1]


def test_a_worthless_score_still_joins_where_nothing_speaks_against_it():
    assert place(table_of((0, 1, 0, 1, 0.0)), names(2)).groups["group"].tolist() == [0, 0]


def world(rng, n_images, n_groups, span, n_wrong):
    """Images at random places, their true overlaps, and wrong ones within and between groups."""
    group, row, col = rng.integers(0, n_groups, n_images), *rng.integers(0, span, (2, n_images))
    pairs = np.stack(neighbours(group, row, col), axis=1).tolist()
    wrong = []
    for _ in range(n_wrong):
        image1, image2 = sorted(rng.choice(n_images, 2, replace=False).tolist())
        wrong.append((image1, image2, *rng.integers(-2, 3, 2).tolist()))
    return (group, row, col), table_of(*[(*pair, float(rng.uniform(0.5, 1))) for pair in pairs + wrong])


@given(st.integers(0, 10_000))
@QUICK
def test_the_order_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    _, table = world(rng, 12, 2, 5, 4)
    groups, cuts = place(table, names(12))
    shuffled = table.sample(frac=1, random_state=seed)
    again = place(pd.concat([shuffled, shuffled.iloc[:3]]), names(12))
    pd.testing.assert_frame_equal(again.groups, groups)
    if not table.duplicated(["image1", "image2", "row_offset", "col_offset"]).any():
        pd.testing.assert_frame_equal(again.cuts, cuts)


@given(st.integers(0, 10_000))
@QUICK
def test_every_overlap_agrees_with_the_groups_or_is_cut(seed):
    rng = np.random.default_rng(seed)
    _, table = world(rng, 12, 2, 5, 4)
    table = table.drop_duplicates(["image1", "image2", "row_offset", "col_offset"])
    groups, cuts = place(table, names(12))
    at = groups.set_index("image")
    one, two = at.loc[table["image1"]].reset_index(), at.loc[table["image2"]].reset_index()
    together = (one["group"] == two["group"]).to_numpy()
    row_residual = table["row_offset"].to_numpy() - (two["row"] - one["row"]).to_numpy()
    col_residual = table["col_offset"].to_numpy() - (two["col"] - one["col"]).to_numpy()
    is_cut = ~together | (row_residual != 0) | (col_residual != 0)
    key = ["image1", "image2", "row_offset", "col_offset"]
    expected = table[is_cut].assign(row_residual=row_residual[is_cut], col_residual=col_residual[is_cut])
    pd.testing.assert_frame_equal(
        cuts[[*key, "row_residual", "col_residual"]].astype(
            {"row_residual": "int64", "col_residual": "int64"}
        ),
        expected.sort_values(key)[[*key, "row_residual", "col_residual"]].reset_index(drop=True),
    )
    assert (cuts["reason"] == "loop").all()
    # Without evidence that parts, the groups are the connected components of all overlaps.
    assert together.all()
    assert (groups.groupby("group")[["row", "col"]].min() == 0).all(axis=None)
    firsts = groups.drop_duplicates("group")["group"].tolist()
    assert firsts == list(range(len(firsts)))


@given(st.integers(0, 10_000))
@QUICK
def test_without_contradictions_the_true_places_come_back(seed):
    rng = np.random.default_rng(seed)
    (group, row, col), table = world(rng, 14, 3, 4, 0)
    found, cuts = place(table, names(14))
    assert cuts.empty
    for number, members in found.groupby("group"):
        at = members.index.to_numpy()
        assert len(set(group[at])) == 1, number
        assert (members["row"].to_numpy() == row[at] - row[at].min()).all()
        assert (members["col"].to_numpy() == col[at] - col[at].min()).all()


def test_tables_must_pair_known_different_images():
    with pytest.raises(ValueError, match=r"overlaps: image2 '007\.jpg' is not among"):
        place(table_of((0, 7, 0, 0)), names(3))
    with pytest.raises(ValueError, match=r"rejected: image1 '009\.jpg' is not among"):
        place(table_of((0, 1, 0, 0)), names(3), rejected_of((9, 1, 0, 0, 0.1)))
    with pytest.raises(ValueError, match=r"overlaps: image '001\.jpg' is paired with itself"):
        place(table_of((0, 2, 0, 0), (1, 1, 0, 0)), names(3))
    with pytest.raises(ValueError, match="sorted"):
        place(table_of(), ["b", "a"])


def test_evidence_of_known_scores():
    np.testing.assert_allclose(evidence([0.9, 0.9, 0.0], [1, 3, 9]), [np.log(10), 3 * np.log(10), 0])
    np.testing.assert_allclose(evidence([0.999, 0.99999, 1.0], 2), [2 * np.log(1000)] * 3)


# --- resolving: verification and geometry together ------------------------------------------------


class Scene:
    """Images cut from acquisitions; every tile shows a square of ground (acquisition, row, column, day)."""

    def __init__(self, places, days=None, grid=Grid()):
        self.grid, self.images = grid, names(len(places))
        tile_row, tile_col = np.divmod(np.arange(grid.n_tiles), grid.cols)
        days = days or [0] * len(places)
        self.ground = np.array(
            [
                (acquisition, row + down, col + right, day)
                for (acquisition, row, col), day in zip(places, days, strict=True)
                for down, right in zip(tile_row, tile_col, strict=True)
            ]
        )
        self.decidable = np.ones(len(self.ground), dtype=bool)
        self.asked = []

    def score_pairs(self, rows1, rows2):
        self.asked += list(zip(rows1.tolist(), rows2.tolist(), strict=True))
        return np.where((self.ground[rows1] == self.ground[rows2]).all(axis=1), 0.98, 0.01)

    def resolve(self, candidates):
        rows1, rows2 = zip(*candidates, strict=True) if candidates else ((), ())
        proposals = vote(rows1, rows2, np.ones(len(rows1)), self.grid)
        return resolve(proposals, self.images, self.score_pairs, self.decidable, 0.5, self.grid, 7)

    def candidates(self):
        """Every pair of decidable tiles on the same ground, whatever the day."""
        place_of = self.ground[:, :3]
        rows = np.flatnonzero(self.decidable)
        return [
            (row1, row2)
            for number, row1 in enumerate(rows)
            for row2 in rows[number + 1 :]
            if (place_of[row1] == place_of[row2]).all()
            and row1 // self.grid.n_tiles != row2 // self.grid.n_tiles
        ]


def test_a_chain_of_candidates_is_completed_by_geometry():
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 2, 2), (1, 0, 0)])
    chain = [(1, 9), (9 + 3, 18), (18 + 4, 27)]
    overlaps, groups, cuts = scene.resolve(chain)
    assert overlaps[["image1", "image2", "overlap_tag"]].values.tolist() == [
        ["000.jpg", "001.jpg", "18"],
        ["000.jpg", "002.jpg", "48"],
        ["000.jpg", "003.jpg", "88"],
        ["001.jpg", "002.jpg", "38"],
        ["001.jpg", "003.jpg", "78"],
        ["002.jpg", "003.jpg", "48"],
    ]
    assert (overlaps["verdict"] == "duplicate").all()
    assert places(groups) == [[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 2, 2], [1, 0, 0]]
    assert cuts.empty
    # Every shared tile was scored once.
    assert len(scene.asked) == len(set(scene.asked)) == overlaps["n_tiles"].sum()


def test_overlaps_on_ground_without_texture_are_listed_as_undecidable():
    scene = Scene([(0, 0, 0), (0, 0, 2), (0, 0, 4)])
    # Images 0 and 1 share a column, 1 and 2 another. In the second only the upper tile is decidable.
    scene.decidable[[9 + 5, 9 + 8]] = False
    overlaps, _, _ = scene.resolve(scene.candidates())
    assert overlaps[["overlap_tag", "n_tiles", "n_decidable", "verdict"]].values.tolist() == [
        ["28", 3, 3, "duplicate"],
        ["28", 3, 1, "duplicate"],
    ]
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 2, 2)])
    scene.decidable[8] = False  # the only tile that images 0 and 2 share, and one of those of 0 and 1
    overlaps, _, _ = scene.resolve(scene.candidates())
    assert overlaps[["image1", "image2", "overlap_tag", "n_decidable", "verdict"]].values.tolist() == [
        ["000.jpg", "001.jpg", "18", 5, "duplicate"],
        ["000.jpg", "002.jpg", "88", 0, "undecidable"],
        ["001.jpg", "002.jpg", "78", 2, "duplicate"],
    ]


def test_one_place_on_two_days_is_two_groups():
    layout = [(0, row, col) for row in range(3) for col in range(3)]
    scene = Scene(layout * 2, [0] * 9 + [1] * 9)
    overlaps, groups, cuts = scene.resolve(scene.candidates())
    assert groups["group"].tolist() == [0] * 9 + [1] * 9
    assert len(overlaps) == 2 * 36
    assert cuts.empty


def test_days_joined_by_one_land_tile_are_parted_by_their_neighbours():
    """The corner tile of all images shows land, the same on both days; one overlap consists of it alone."""
    layout = [(0, row, col) for row in range(3) for col in range(3)]
    scene = Scene(layout * 2, [0] * 9 + [1] * 9)
    land = (scene.ground[:, 1] == 2) & (scene.ground[:, 2] == 2)
    scene.ground[land, 3] = 0
    only_land = (0 * 9 + 8, (9 + 8) * 9 + 0)
    assert (scene.ground[list(only_land)] == scene.ground[8]).all()
    overlaps, groups, cuts = scene.resolve(scene.candidates())
    assert groups["group"].tolist() == [0] * 9 + [1] * 9
    assert set(cuts["reason"]) == {"neighbours"}
    assert ["000.jpg", "017.jpg"] in cuts[["image1", "image2"]].values.tolist()
    day = {name: number // 9 for number, name in enumerate(scene.images)}
    assert (overlaps["image1"].map(day) == overlaps["image2"].map(day)).all()
    assert len(overlaps) == 2 * 36


def test_an_overlap_that_contradicts_its_group_is_not_listed():
    """Two of an image's tiles look alike, so that one overlap is verified at two offsets."""
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 0, 2)])
    score = scene.score_pairs

    def score_pairs(rows1, rows2):
        alike = (rows1 == 6) & (rows2 == 9 + 2)
        return np.where(alike, 0.9, score(rows1, rows2))

    scene.score_pairs = score_pairs
    overlaps, groups, cuts = scene.resolve([*scene.candidates(), (6, 9 + 2)])
    assert overlaps["overlap_tag"].tolist() == ["18", "28", "18"]
    assert cuts[["overlap_tag", "row_offset", "col_offset", "reason"]].values.tolist() == [
        ["66", 2, -2, "loop"]
    ]
    assert groups["col"].tolist() == [0, 1, 2]


def test_a_proposal_without_texture_proves_nothing():
    scene = Scene([(0, 0, 0), (1, 0, 0)])
    scene.decidable[:] = False
    overlaps, groups, cuts = scene.resolve([(0, 9)])
    assert overlaps.empty and cuts.empty
    assert groups["group"].tolist() == [0, 1]


def test_nothing_proposed_is_nothing_found():
    overlaps, groups, cuts = Scene([(0, 0, 0), (0, 0, 1)]).resolve([])
    assert overlaps.empty and cuts.empty
    assert list(overlaps.columns) == list(COLUMNS)
    assert groups["group"].tolist() == [0, 1]


@given(st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_every_true_overlap_of_a_scene_is_found_and_no_other(data):
    """Search proposes a random part of what is on the same ground, day or no day, and some nonsense."""
    grid = data.draw(st.sampled_from([Grid(), Grid(2, 2), Grid(1, 3)]))
    place_of = st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 4))
    layout = data.draw(st.lists(place_of, min_size=2, max_size=9))
    days = data.draw(st.lists(st.integers(0, 1), min_size=len(layout), max_size=len(layout)))
    scene = Scene(layout, days, grid)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    candidates = [pair for pair in scene.candidates() if rng.random() < 0.7]
    candidates += [tuple(pair) for pair in rng.integers(0, len(scene.ground), (10, 2))]
    overlaps, groups, cuts = scene.resolve(candidates)
    assert cuts.empty
    whole = [(*place, day) for place, day in zip(layout, days, strict=True)]
    group_of = dict(zip(groups["image"], groups["group"], strict=True))
    wanted = set()
    acquisition = np.array([2 * place[0] + day for place, day in zip(layout, days, strict=True)])
    rows, cols = np.array(layout)[:, 1], np.array(layout)[:, 2]
    for first, second, down, right in zip(*neighbours(acquisition, rows, cols, grid), strict=True):
        ends = scene.images[first], scene.images[second]
        if group_of[ends[0]] == group_of[ends[1]]:
            wanted.add((*ends, down, right))
    found = overlaps[["image1", "image2", "row_offset", "col_offset"]].itertuples(index=False, name=None)
    assert set(found) == wanted
    for _, members in groups.groupby("group"):
        assert len({(whole[at][0], whole[at][3]) for at in members.index}) == 1


def test_groups_do_not_chain_through_one_doubtful_overlap():
    """Two strips of an acquisition each, which one false overlap would join side by side."""
    strip = [(0, 0, col) for col in range(4)] + [(1, 0, col) for col in range(4)]
    scene = Scene(strip)
    score = scene.score_pairs
    false = {(8, 4 * 9)}

    def score_pairs(rows1, rows2):
        asked = zip(rows1.tolist(), rows2.tolist(), strict=True)
        return np.where([pair in false for pair in asked], 0.7, score(rows1, rows2))

    scene.score_pairs = score_pairs
    overlaps, groups, cuts = scene.resolve([*scene.candidates(), *false])
    assert groups["group"].tolist() == [0] * 4 + [1] * 4
    assert cuts["reason"].tolist() == ["neighbours"]
    assert len(overlaps) == 10
    for one, two in pairwise(groups["col"].tolist()[:4]):
        assert two == one + 1
