"""Groups and mosaics: places against plain loops, rejected overlaps, and judging with geometry together."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find.groups import evidence, place, resolve
from dupnet.find.overlaps import JUDGED, KEY
from dupnet.find.tile_overlaps import judge_tiles, vote
from dupnet.tiles import Grid, neighbours, overlap_at

QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def table_of(*rows, verdict=None):
    """Judged overlaps from rows (image1, image2, y offset, x offset[, score[, decidable tiles]]).

    The offsets are small, as if a tile were a pixel: placing knows no tiles.
    """
    full = []
    for image1, image2, down, right, *rest in rows:
        score = rest[0] if rest else 0.99
        n_tiles = overlap_at(down, right).n_tiles
        decidable = rest[1] if len(rest) > 1 else n_tiles
        size = 3 - abs(down), 3 - abs(right)
        row_verdict = verdict or ("duplicate" if decidable else "undecidable")
        full.append((image1, image2, down, right, *size, n_tiles, decidable, 0, score, row_verdict))
    return pd.DataFrame(full, columns=list(JUDGED))


def refused_of(*rows):
    return table_of(*[(*row, 1) for row in rows], verdict="refused")


def with_refused(table, *rows):
    return pd.concat([table, refused_of(*rows)], ignore_index=True)


def places(found):
    return found[["mosaic", "y", "x"]].values.tolist()


# --- placing --------------------------------------------------------------------------------------


def test_images_are_placed_from_the_smallest_row_and_column():
    found, rejected = place(table_of((0, 2, -1, 2), (2, 4, -1, -1)), 5)
    assert list(found.columns) == ["group", "mosaic", "y", "x"]
    assert places(found) == [[0, 2, 0], [1, 0, 0], [0, 1, 2], [2, 0, 0], [0, 0, 1]]
    assert found["group"].tolist() == [0, 1, 0, 2, 0]
    assert rejected.empty
    assert list(rejected.columns) == [*JUDGED, "reason", "y_residual", "x_residual"]


def test_a_collection_without_overlaps_is_all_groups_of_one():
    found, rejected = place(table_of(), 3)
    assert places(found) == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert found["group"].tolist() == [0, 1, 2]
    assert rejected.empty
    assert place(table_of(), 0).places.empty


def test_undecidable_overlaps_join_nothing():
    found, rejected = place(table_of((0, 1, 0, 0, np.nan, 0)), 2)
    assert found["mosaic"].tolist() == found["group"].tolist() == [0, 1]
    assert rejected.empty


def test_altered_overlaps_join_by_the_ground_that_agrees():
    altered = table_of((0, 1, 0, 1, 0.5, 6), verdict="altered")
    found, rejected = place(altered, 2)
    assert (places(found), rejected.empty) == ([[0, 0, 0], [0, 0, 1]], True)
    assert found["group"].tolist() == [0, 0]
    # Half of 512 x 768 px is three tiles of 256 px; and the smallest counts for one.
    for size, weaker, stronger in (((512, 768), (1.0, 2), (1.0, 4)), ((40, 40), (0.9, 1), (1.0, 2))):
        altered[["height", "width"]] = size
        for other, given_up in ((weaker, "duplicate"), (stronger, "altered")):
            both = pd.concat([altered, table_of((0, 1, 1, 0, *other))])
            assert place(both, 2).rejected["verdict"].tolist() == [given_up]


def test_an_altered_copy_stays_where_one_neighbour_shows_little_but_the_mark():
    joining = [table_of((0, 1, 0, 1, 0.9, 1), verdict="altered"), table_of((0, 2, 1, 0), (2, 3, 1, 0))]
    parting = table_of((1, 2, 1, -1, 0.01, 1), verdict="revisit")
    joining[0][["height", "width"]] = 400
    assert place(pd.concat([*joining, parting]), 4).places["mosaic"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("verdict", "mosaics"), [("refused", [0, 1, 0]), ("revisit", [0, 1, 0]), ("undecidable", [0, 0, 0])]
)
def test_a_revisit_parts_as_a_refused_overlap_does(verdict, mosaics):
    joining = table_of((0, 1, 0, 1, 0.8, 1), (0, 2, 1, 0))
    parting = table_of((1, 2, 1, -1, 0.01, 1), verdict=verdict)
    assert place(pd.concat([joining, parting]), 3).places["mosaic"].tolist() == mosaics
    # At another offset than that of their places it says nothing.
    parting["x_offset"] = 0
    assert place(pd.concat([joining, parting]), 3).places["mosaic"].tolist() == [0, 0, 0]


def test_the_weakest_overlap_of_a_loop_is_rejected_and_reported():
    # 0 -> 1 -> 2 leads to (2, 1); the direct overlap says (2, 2) and has one decidable tile.
    table = table_of((0, 1, 1, 1, 0.9, 4), (1, 2, 1, 0, 0.9, 6), (0, 2, 2, 2, 0.97, 1))
    found, rejected = place(table, 3)
    assert places(found) == [[0, 0, 0], [0, 1, 1], [0, 2, 1]]
    assert rejected.to_dict("records") == [
        {
            "image1": 0,
            "image2": 2,
            "y_offset": 2,
            "x_offset": 2,
            "height": 1,
            "width": 1,
            "n_tiles": 1,
            "n_decidable": 1,
            "n_differing": 0,
            "score": 0.97,
            "verdict": "duplicate",
            "reason": "loop",
            "y_residual": 0,
            "x_residual": 1,
        }
    ]


def test_the_newest_overlap_is_not_rejected_if_it_is_the_strongest():
    table = table_of((0, 1, 1, 1, 0.6, 1), (1, 2, 1, 0, 0.9, 6), (0, 2, 2, 2, 0.99, 1))
    found, rejected = place(table, 3)
    assert rejected["image2"].tolist() == [1]
    assert (rejected["y_residual"].tolist(), rejected["x_residual"].tolist()) == ([0], [-1])
    assert places(found) == [[0, 0, 0], [0, 1, 2], [0, 2, 2]]


def test_strength_counts_both_score_and_decidable_tiles():
    def kept(first, second):
        table = table_of((0, 1, 0, 1, *first), (0, 1, 1, 0, *second))
        return place(table, 2).rejected[["y_offset", "x_offset"]].values.tolist() == [[1, 0]]

    assert kept((0.9, 2), (0.8, 2))
    assert kept((0.8, 3), (0.9, 2))
    assert not kept((0.8, 1), (0.9, 6))
    # Beyond one error in a thousand, only the number of tiles tells.
    assert not kept((0.99999, 2), (0.9990, 3))


def test_a_weak_link_between_two_days_is_rejected_where_neighbours_are_refused():
    day1 = [(0, 1, 0, 1), (1, 2, 1, 0), (0, 2, 1, 1)]
    day2 = [(3, 4, 0, 1), (4, 5, 1, 0), (3, 5, 1, 1)]
    table = table_of(*day1, *day2, (0, 3, 0, 0, 0.8, 1))
    assert place(table, 6).places["mosaic"].tolist() == [0] * 6
    table = with_refused(table, (1, 4, 0, 0, 0.01), (2, 5, 0, 0, 0.02), (0, 4, 0, 1, 0.1))
    found, rejected = place(table, 6)
    assert places(found) == [[number, *at] for number in (0, 1) for at in ([0, 0], [0, 1], [1, 1])]
    assert rejected[["image1", "image2", "reason"]].values.tolist() == [[0, 3, "neighbours"]]
    assert rejected[["y_residual", "x_residual"]].isna().all(axis=None)
    # What a rejected overlap joins must not be torn apart all the same.
    assert found["group"].tolist() == [0] * 6


def test_one_refused_overlap_does_not_part_well_joined_images():
    table = with_refused(
        table_of((0, 1, 0, 1), (1, 2, 0, 1), (0, 2, 0, 2)), (0, 1, 1, 0, 0.01), (0, 2, 0, -2, 0.3)
    )
    assert place(table, 3).places["mosaic"].tolist() == [0, 0, 0]


def test_a_refused_overlap_listed_twice_counts_once():
    # Images 1 and 2 are joined through 0 alone, by some 3.0; the refused one takes 2.3 or 4.6 off it.
    table = table_of((0, 1, 0, 1, 0.95, 1), (0, 2, 0, 0))
    once, twice = (with_refused(table, *[(1, 2, 0, -1, 0.1)] * times) for times in (1, 2))
    assert place(once, 3).places["mosaic"].tolist() == [0, 0, 0]
    assert place(twice, 3).places["mosaic"].tolist() == [0, 0, 0]
    assert place(with_refused(table, (1, 2, 0, -1, 0.01)), 3).places["mosaic"].tolist() == [0, 1, 0]


def test_a_worthless_score_still_joins_where_nothing_speaks_against_it():
    assert place(table_of((0, 1, 0, 1, 0.0)), 2).places["mosaic"].tolist() == [0, 0]


def world(rng, n_images, n_groups, span, n_wrong):
    """Images at random places, their true overlaps, and wrong ones within and between groups."""
    group, row, col = rng.integers(0, n_groups, n_images), *rng.integers(0, span, (2, n_images))
    threes = np.full(n_images, 3)
    pairs = np.stack(neighbours(group, row, col, threes, threes, 1), axis=1).tolist()
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
    found, rejected = place(table, 12)
    shuffled = table.sample(frac=1, random_state=seed)
    again = place(pd.concat([shuffled, shuffled.iloc[:3]]), 12)
    pd.testing.assert_frame_equal(again.places, found)
    if not table.duplicated(KEY).any():
        pd.testing.assert_frame_equal(again.rejected, rejected)


def components(table, n):
    """What overlaps join, numbered by its first image, by a plain loop."""
    group = np.arange(n)
    for one, other in table[["image1", "image2"]].values:
        group[group == max(group[one], group[other])] = min(group[one], group[other])
    return np.unique(group, return_inverse=True)[1].tolist()


@given(st.integers(0, 10_000), st.booleans())
@QUICK
def test_every_overlap_agrees_with_the_places_or_is_rejected(seed, some_refused):
    rng = np.random.default_rng(seed)
    _, table = world(rng, 12, 2, 5, 4)
    table = table.drop_duplicates(KEY)
    judged = table
    if some_refused:
        ends = [sorted(rng.choice(12, 2, replace=False).tolist()) for _ in range(12)]
        judged = with_refused(table, *[(*pair, *rng.integers(-2, 3, 2).tolist(), 0.01) for pair in ends])
        judged = judged.drop_duplicates(KEY)
    found, rejected = place(judged, 12)
    one, two = (found.loc[table[end]].reset_index() for end in ("image1", "image2"))
    together = (one["mosaic"] == two["mosaic"]).to_numpy()
    y_residual = table["y_offset"].to_numpy() - (two["y"] - one["y"]).to_numpy()
    x_residual = table["x_offset"].to_numpy() - (two["x"] - one["x"]).to_numpy()
    is_rejected = ~together | (y_residual != 0) | (x_residual != 0)
    expected = table.assign(
        y_residual=np.where(together, y_residual, 99), x_residual=np.where(together, x_residual, 99)
    )[is_rejected]
    residuals = ["y_residual", "x_residual"]
    pd.testing.assert_frame_equal(
        rejected[[*JUDGED, *residuals]]
        .fillna(dict.fromkeys(residuals, 99))
        .astype(dict.fromkeys(residuals, "int64")),
        expected.sort_values(KEY)[[*JUDGED, *residuals]].reset_index(drop=True),
    )
    assert (rejected["reason"] == np.where(rejected["y_residual"].isna(), "neighbours", "loop")).all()
    # The groups are the connected components of all overlaps, whatever the mosaics are.
    assert found["group"].tolist() == components(table, 12)
    assert (found.groupby("mosaic")["group"].nunique() == 1).all()
    if not some_refused:
        assert together.all()
        assert found["mosaic"].tolist() == found["group"].tolist()
    assert (found.groupby("mosaic")[["y", "x"]].min() == 0).all(axis=None)
    firsts = found.drop_duplicates("mosaic")["mosaic"].tolist()
    assert firsts == list(range(len(firsts)))


@given(st.integers(0, 10_000))
@QUICK
def test_without_contradictions_the_true_places_come_back(seed):
    rng = np.random.default_rng(seed)
    (group, row, col), table = world(rng, 14, 3, 4, 0)
    # Pixels, not tiles, and none of them special: places are exact at any scale.
    scale = int(rng.integers(1, 1000))
    table[["y_offset", "x_offset"]] *= scale
    found, rejected = place(table, 14)
    assert rejected.empty
    for number, members in found.groupby("mosaic"):
        at = members.index.to_numpy()
        assert len(set(group[at])) == 1, number
        assert (members["y"].to_numpy() == scale * (row[at] - row[at].min())).all()
        assert (members["x"].to_numpy() == scale * (col[at] - col[at].min())).all()


def test_tables_must_pair_known_different_images():
    for table, pair in (
        (table_of((0, 7, 0, 0)), "0 and 7"),
        (table_of((-1, 2, 0, 0)), "-1 and 2"),
        (with_refused(table_of((0, 1, 0, 0)), (1, 9, 0, 0, 0.1)), "1 and 9"),
        (table_of((0, 2, 0, 0), (1, 1, 0, 0)), "1 and 1"),
    ):
        with pytest.raises(ValueError, match=f"judged: images {pair} are paired; .* of the 3 images"):
            place(table, 3)


def test_evidence_of_known_scores():
    np.testing.assert_allclose(evidence([0.9, 0.9, 0.0], [1, 3, 9]), [np.log(10), 3 * np.log(10), 0])
    np.testing.assert_allclose(evidence([0.999, 0.99999, 1.0], 2), [2 * np.log(1000)] * 3)


# --- resolving: judging and geometry together ------------------------------------------------------


class Scene:
    """Images cut from acquisitions; every tile shows a square of ground (acquisition, row, column, day)."""

    def __init__(self, places, days=None, grid=Grid()):
        self.grid, self.n_images = grid, len(places)
        self.sizes = np.tile([grid.rows * grid.tile_size, grid.cols * grid.tile_size], (len(places), 1))
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

        def judge(table):
            return judge_tiles(
                table, self.sizes, self.score_pairs, self.decidable, 0.5, self.grid, batch_size=7
            )

        return resolve(proposals, self.sizes, judge, self.grid.tile_size)

    def tags(self, overlaps):
        size = self.grid.tile_size
        return [
            overlap_at(y // size, x // size, self.grid).tag
            for y, x in overlaps[["y_offset", "x_offset"]].values
        ]

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
    found = scene.resolve(chain)
    overlaps = found.overlaps
    assert overlaps[["image1", "image2"]].values.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert scene.tags(overlaps) == ["18", "48", "88", "38", "78", "48"]
    assert (overlaps["verdict"] == "duplicate").all()
    assert overlaps["n_votes"].tolist() == [1, 0, 0, 1, 0, 1]
    assert places(found.places) == [[0, 0, 0], [0, 0, 256], [0, 256, 256], [0, 512, 512], [1, 0, 0]]
    assert found.rejected.empty and found.refused.empty and found.revisits.empty
    # Every shared tile was scored once.
    assert len(scene.asked) == len(set(scene.asked)) == overlaps["n_tiles"].sum()


def test_what_places_imply_may_be_refused():
    """Images 0 and 2 lie on common ground by way of image 1, and do not look alike there."""
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 0, 2)])
    score = scene.score_pairs
    scene.score_pairs = lambda rows1, rows2: np.where((rows1 < 9) & (rows2 >= 18), 0.1, score(rows1, rows2))
    found = scene.resolve([(1, 9), (9 + 1, 18)])
    assert found.overlaps[["image1", "image2"]].values.tolist() == [[0, 1], [1, 2]]
    assert found.refused[[*KEY, "score", "n_votes"]].values.tolist() == [[0, 2, 0, 512, 0.1, 0]]
    assert found.places["mosaic"].tolist() == [0, 0, 0]


def test_an_overlap_refused_at_one_offset_is_judged_at_another():
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 1, 1)])
    wrong = (0, 9 + 3)  # image 1 one row above image 0
    found = scene.resolve([wrong, (4, 18), (9 + 3, 18)])
    assert found.refused[KEY].values.tolist() == [[0, 1, -256, 0]]
    assert found.overlaps[KEY].values.tolist() == [[0, 1, 0, 256], [0, 2, 256, 256], [1, 2, 256, 0]]


def test_overlaps_on_ground_without_texture_are_listed_as_undecidable():
    scene = Scene([(0, 0, 0), (0, 0, 2), (0, 0, 4)])
    # Images 0 and 1 share a column, 1 and 2 another. In the second only the upper tile is decidable.
    scene.decidable[[9 + 5, 9 + 8]] = False
    overlaps = scene.resolve(scene.candidates()).overlaps
    assert overlaps[["n_tiles", "n_decidable", "verdict"]].values.tolist() == [
        [3, 3, "duplicate"],
        [3, 1, "duplicate"],
    ]
    assert scene.tags(overlaps) == ["28", "28"]
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 2, 2)])
    scene.decidable[8] = False  # the only tile that images 0 and 2 share, and one of those of 0 and 1
    overlaps = scene.resolve(scene.candidates()).overlaps
    assert overlaps[["image1", "image2", "n_decidable", "verdict"]].values.tolist() == [
        [0, 1, 5, "duplicate"],
        [0, 2, 0, "undecidable"],
        [1, 2, 2, "duplicate"],
    ]
    assert scene.tags(overlaps) == ["18", "88", "78"]


def test_one_place_on_two_days_is_two_groups():
    layout = [(0, row, col) for row in range(3) for col in range(3)]
    scene = Scene(layout * 2, [0] * 9 + [1] * 9)
    found = scene.resolve(scene.candidates())
    assert found.places["group"].tolist() == found.places["mosaic"].tolist() == [0] * 9 + [1] * 9
    assert len(found.overlaps) == 2 * 36
    assert found.rejected.empty
    assert len(found.refused) == 81


def test_days_joined_by_one_land_tile_are_parted_by_their_neighbours():
    """The corner tile of all images shows land, the same on both days; one overlap consists of it alone."""
    layout = [(0, row, col) for row in range(3) for col in range(3)]
    scene = Scene(layout * 2, [0] * 9 + [1] * 9)
    land = (scene.ground[:, 1] == 2) & (scene.ground[:, 2] == 2)
    scene.ground[land, 3] = 0
    only_land = (0 * 9 + 8, (9 + 8) * 9 + 0)
    assert (scene.ground[list(only_land)] == scene.ground[8]).all()
    found = scene.resolve(scene.candidates())
    assert found.places["mosaic"].tolist() == [0] * 9 + [1] * 9
    assert found.places["group"].tolist() == [0] * 18
    assert set(found.rejected["reason"]) == {"neighbours"}
    assert [0, 17] in found.rejected[["image1", "image2"]].values.tolist()
    assert (found.overlaps["image1"] // 9 == found.overlaps["image2"] // 9).all()
    assert len(found.overlaps) == 2 * 36


def test_an_overlap_that_contradicts_its_group_is_not_listed():
    """Two of an image's tiles look alike, so that one overlap is verified at two offsets."""
    scene = Scene([(0, 0, 0), (0, 0, 1), (0, 0, 2)])
    score = scene.score_pairs

    def score_pairs(rows1, rows2):
        alike = (rows1 == 6) & (rows2 == 9 + 2)
        return np.where(alike, 0.9, score(rows1, rows2))

    scene.score_pairs = score_pairs
    found = scene.resolve([*scene.candidates(), (6, 9 + 2)])
    assert scene.tags(found.overlaps) == ["18", "28", "18"]
    assert found.rejected[["image1", "image2", "y_offset", "x_offset", "reason"]].values.tolist() == [
        [0, 1, 512, -512, "loop"]
    ]
    assert found.places["x"].tolist() == [0, 256, 512]


def test_a_proposal_without_texture_proves_nothing():
    scene = Scene([(0, 0, 0), (1, 0, 0)])
    scene.decidable[:] = False
    found = scene.resolve([(0, 9)])
    assert found.overlaps.empty and found.rejected.empty and found.refused.empty
    assert found.places["group"].tolist() == [0, 1]


def test_nothing_proposed_is_nothing_found():
    found = Scene([(0, 0, 0), (0, 0, 1)]).resolve([])
    for table in (found.overlaps, found.rejected, found.refused, found.revisits):
        assert table.empty
        assert set(JUDGED) <= set(table.columns)
    assert found.places["group"].tolist() == [0, 1]


def test_images_of_several_sizes_are_judged_wherever_they_share_enough():
    """Whatever judges: places in pixels imply overlaps off any grid, of images of any sizes."""
    sizes = np.array([(100, 80), (50, 200), (30, 30), (30, 30)])
    at = np.array([(0, 0), (61, -37), (70, 40), (95, 0)])
    days = np.array([0, 0, 1, 0])
    asked = []

    def judge(table):
        asked.extend(table[["image1", "image2"]].values.tolist())
        one, two = table["image1"].to_numpy(), table["image2"].to_numpy()
        true = at[two] - at[one]
        assert (table[["y_offset", "x_offset"]].to_numpy() == true).all()
        assert "y" not in table or (np.diff(table[["y", "x"]].to_numpy() - at[one], axis=0) == 0).all()
        verdict = np.where(days[one] == days[two], "duplicate", "revisit").astype(object)
        bounds = (np.maximum(at[one], at[two]), np.minimum(at[one] + sizes[one], at[two] + sizes[two]))
        height, width = (bounds[1] - bounds[0]).T
        return table[KEY].assign(
            height=height, width=width, n_tiles=1, n_decidable=1, n_differing=0, score=0.9, verdict=verdict
        )

    proposals = pd.DataFrame([(0, 1, 61, -37, 5), (1, 2, 9, 77, 3)], columns=[*KEY, "n_votes"])
    proposals = pd.concat([proposals, pd.DataFrame([(1, 3, 34, 37, 2)], columns=proposals.columns)])
    found = resolve(proposals.reset_index(drop=True), sizes, judge, 16)
    # Images 0 and 3 share 5 rows: too little to be judged.
    assert asked == [[0, 1], [1, 2], [1, 3]]
    assert found.overlaps[[*KEY, "height", "width"]].values.tolist() == [
        [0, 1, 61, -37, 39, 80],
        [1, 3, 34, 37, 16, 30],
    ]
    assert found.revisits[["image1", "image2", "n_votes"]].values.tolist() == [[1, 2, 3]]
    assert found.refused.empty
    assert found.places.values.tolist() == [[0, 0, 0, 37], [0, 0, 61, 0], [1, 1, 0, 0], [0, 0, 95, 37]]
    asked.clear()
    found = resolve(proposals.reset_index(drop=True), sizes, judge, 5)
    assert asked == [[0, 1], [1, 2], [1, 3], [0, 3]]
    assert found.overlaps[["image1", "image2"]].values.tolist() == [[0, 1], [0, 3], [1, 3]]


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
    found = scene.resolve(candidates)
    assert found.rejected.empty
    mosaic = found.places["mosaic"].to_numpy()
    acquisition = np.array([2 * place[0] + day for place, day in zip(layout, days, strict=True)])
    at = np.array(layout)[:, 1:] * grid.tile_size
    pairs = neighbours(acquisition, *at.T, *scene.sizes.T, grid.tile_size)
    wanted = [pair for pair in zip(*pairs, strict=True) if mosaic[pair[0]] == mosaic[pair[1]]]
    assert list(found.overlaps[KEY].itertuples(index=False, name=None)) == wanted
    for number in np.unique(mosaic):
        assert len(set(acquisition[mosaic == number])) == 1


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
    found = scene.resolve([*scene.candidates(), *false])
    assert found.places["mosaic"].tolist() == [0] * 4 + [1] * 4
    assert found.places["group"].tolist() == [0] * 8
    assert found.rejected["reason"].tolist() == ["neighbours"]
    assert len(found.overlaps) == 10
    for one, two in pairwise(found.places["x"].tolist()[:4]):
        assert two == one + 256
