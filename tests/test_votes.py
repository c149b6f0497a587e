import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.find import votes
from dupnet.find.join import Pairs, join
from dupnet.find.points import find_points
from dupnet.find.votes import COLUMNS, PointTable, grid_of, propose, tally, told

SIZES = np.full((3, 2), 500)


def table_of(*images, sizes=SIZES, dense=False):
    """A PointTable of lists of (y, x), or (y, x, kind), one list an image."""
    rows = [(*point, 2)[:3] for image in images for point in image]
    y, x, kinds = np.array(rows, float).reshape(-1, 3).T
    owners = np.repeat(np.arange(len(images)), [len(image) for image in images]).astype(np.int32)
    return PointTable(
        y.astype(np.float32), x.astype(np.float32), kinds.astype(np.uint8), owners, np.asarray(sizes), dense
    )


def scattered(n, seed, size=500):
    rng = np.random.default_rng(seed)
    return [tuple(place) for place in rng.uniform(20, size - 20, (n, 2)).round(2)]


def paired(points, *pairs):
    first, second = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return Pairs(first, second)


def test_votes_give_the_offset_to_the_pixel():
    offset = np.array([37, -121])
    one = [(200 + 9 * k, 40 + 13 * k) for k in range(20)]
    rng = np.random.default_rng(0)
    # Coarse points: half a pixel uncertain.
    two = [tuple(np.array(place) - offset + rng.normal(0, 0.3, 2)) for place in one]
    points = table_of([(*place, 0) for place in one], [(*place, 0) for place in two], [])
    found = propose([paired(points, *((k, 20 + k) for k in range(20)))], points).table
    assert list(found.columns) == list(COLUMNS)
    row = found.iloc[0]
    assert len(found) == 1
    assert (row.image1, row.image2, row.y_offset, row.x_offset) == (0, 1, 37, -121)
    assert (row.height, row.width) == (463, 379)
    assert row.n_votes == 20 and row.n_expected == 20
    assert row.deviation < 0.2 and row.rival_votes == 0 and row.recurring == 0
    assert row.span_y == pytest.approx(171, abs=1e-3) and row.span_x == pytest.approx(247, abs=1e-3)


def test_accidents_do_not_shift_the_offset():
    one = [(50 + 17 * k, 60 + 11 * k) for k in range(12)]
    astray = scattered(30, 1)
    two = [(y - 5, x - 8) for y, x in one]
    points = table_of(one + astray, two + scattered(30, 2), [])
    pairs = [(k, 42 + k) for k in range(42)]
    # Three votes two pixels aside would move a mean.
    aside = table_of(one + astray, [(y - 2, x) for y, x in two[:3]] + two[3:] + scattered(30, 2), [])
    for some in (points, aside):
        row = propose([paired(some, *pairs)], some).table.iloc[0]
        assert (row.y_offset, row.x_offset) == (5, 8)


def test_votes_across_the_border_of_bins_are_counted_together():
    for shift in np.arange(0, 5, 0.5):
        one = [(100 + 20 * k, 100 + 7 * k) for k in range(6)]
        two = [(y - shift - (k % 2) * 0.9, x + shift) for k, (y, x) in enumerate(one)]
        points = table_of(one, two, [])
        found = tally(paired(points, *((k, 6 + k) for k in range(6))), points, np.array([0, 6, 12, 12]))[0]
        assert found["n_votes"].tolist() == [6]


def test_several_votes_of_one_point_are_one():
    one, two = [(100, 100), (200, 200), (300, 300)], [(90, 90), (190, 190), (290, 290), (91, 91)]
    points = table_of(one, two, [])
    found = propose([paired(points, (0, 3), (1, 4), (2, 5), (0, 6))], points).table
    assert found["n_votes"].tolist() == [3]


def test_rivals_and_recurring_codes_are_told():
    # Rows of equal roofs: the true offset, and the next roof.
    one = [(100 + 40 * k, 100) for k in range(8)]
    two = [(y - 20, x) for y, x in one]
    points = table_of(one, two, [])
    true = [(k, 8 + k) for k in range(8)]
    next_roof = [(k + 1, 8 + k) for k in range(7)]
    recurring = np.zeros(16, bool)
    recurring[:4] = True
    found = propose([paired(points, *true, *next_roof)], points, recurring).table
    assert found["y_offset"].tolist() == [20, 60]
    assert found["n_votes"].tolist() == [8, 7]
    assert found["rival_votes"].tolist() == [7, 8]
    assert found["recurring"].iloc[0] == pytest.approx(0.5)


def test_few_votes_need_a_larger_share():
    one, two = ([(*place, 0) for place in scattered(60, seed)] for seed in (3, 4))
    agreed = [(250, 250), (300, 330)]
    many = table_of(one + agreed, two + [(y - 3, x - 4) for y, x in agreed], [])
    few = table_of(one[:8] + agreed, two[:8] + [(y - 3, x - 4) for y, x in agreed], [])
    assert len(propose([paired(many, (60, 122), (61, 123))], many).table) == 0
    assert len(propose([paired(few, (8, 18), (9, 19))], few).table) == 1


def test_expected_votes_are_the_points_that_both_can_have():
    # 30 in the common region of either image, 10 outside; the fine ones inside the other image do not count.
    inside = [(100 + 5 * k, 100 + 5 * k, 0) for k in range(30)]
    fine = [(250, 200 + 3 * k, 2) for k in range(10)]
    outside = [(490, 10 + k, 0) for k in range(10)]
    one = inside + fine + outside
    two = [(y + 100, x + 50, kind) for y, x, kind in inside + fine]
    pairs = [(k, 50 + k) for k in range(30)]
    sparse = table_of(one, two, [])
    found = propose([paired(sparse, *pairs)], sparse).table.iloc[0]
    assert (found.y_offset, found.x_offset) == (-100, -50) and (found.height, found.width) == (400, 450)
    assert found.n_expected == 30
    within = [(y - 100, x - 100, kind) for y, x, kind in inside + fine]
    small = table_of(one, within, [], sizes=[(500, 500), (200, 200), (500, 500)], dense=True)
    assert propose([paired(small, *pairs)], small).table.iloc[0].n_expected == 40


def test_the_control_measures_accidents_and_demands_more():
    rng = np.random.default_rng(5)
    n_images, n_points = 120, 30
    sizes = np.full((n_images, 2), 60)
    images = [[tuple(place) for place in rng.uniform(5, 55, (n_points, 2))] for _ in range(n_images)]
    points = table_of(*images, sizes=sizes)
    # Accidents alone, so many in so small images that some agree.
    first = rng.integers(0, n_images * n_points, 200000)
    second = rng.integers(0, n_images * n_points, 200000)
    keep = points.images[first] < points.images[second]
    accidents = paired(points, *set(zip(first[keep].tolist(), second[keep].tolist(), strict=True)))
    found = propose([accidents], points)
    loose = votes.tally(accidents, points, np.searchsorted(points.images, np.arange(n_images + 1)))[0]
    assert (loose["n_votes"] >= 2).sum() > 500
    assert len(found.table) < 50
    assert found.thresholds[2] == np.inf
    assert found.false_matches > 100


def test_parts_give_what_the_whole_gives():
    one = [(100 + 20 * k, 100 + 7 * k) for k in range(9)]
    two = [(y - 4, x - 40) for y, x in one]
    three = [(y - 60, x + 5) for y, x in one]
    points = table_of(one, two, three)
    pairs = paired(points, *((k, 9 + k) for k in range(9)), *((9 + k, 18 + k) for k in range(9)))
    whole = propose([pairs], points).table
    parts = [Pairs(pairs.first[:9], pairs.second[:9]), Pairs(pairs.first[9:], pairs.second[9:])]
    pd.testing.assert_frame_equal(whole, propose(parts, points).table)
    assert len(whole) == 2


def test_nothing_matched():
    points = table_of(scattered(5, 1), scattered(5, 2), [])
    found = propose([], points)
    assert list(found.table.columns) == list(COLUMNS) and not len(found.table)
    assert found.n_false == 0 and found.false_matches == 0
    assert len(propose([paired(points, (0, 5))], points).table) == 0


def test_from_images_to_offsets():
    """Points, join and votes together: crops of one ground, two crops of another."""
    rng = np.random.default_rng(0)
    grounds = []
    for _ in range(2):
        layers = [
            cv2.GaussianBlur(rng.normal(size=(600, 600)).astype(np.float32), (0, 0), s) for s in (1.2, 3, 8)
        ]
        total = sum(w * layer / layer.std() for w, layer in zip((12, 16, 20), layers, strict=True))
        grounds.append(np.clip(120 + total, 0, 255).astype(np.uint8))
    places = [(0, 0, 0), (0, 33, 70), (0, 291, 5), (0, 150, 268), (1, 10, 10), (1, 61, 133)]
    images = []
    for ground, y, x in places:
        crop = grounds[ground][y : y + 300, x : x + 300]
        data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 97))])[1]
        images.append(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    found = [find_points(image) for image in images]
    owners = np.repeat(np.arange(len(found)), [len(one.y) for one in found]).astype(np.int32)
    y, x, codes, kinds = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    joined = join(codes, owners, kinds)
    table = propose(joined, PointTable(y, x, kinds, owners, np.full((6, 2), 300)), joined.recurring).table
    got = {(r.image1, r.image2, r.y_offset, r.x_offset) for r in table.itertuples()}
    expected = set()
    for one in range(6):
        for two in range(one + 1, 6):
            dy, dx = (places[two][k] - places[one][k] for k in (1, 2))
            narrow = 300 - max(abs(dy), abs(dx))
            if places[one][0] == places[two][0] and narrow >= 30:
                expected.add((one, two, dy, dx))
    assert len(expected) >= 5
    assert got >= expected
    # What is narrower than 30 px may be found, too, but nothing is wrong.
    assert all(
        places[one][0] == places[two][0]
        and (dy, dx) == (places[two][1] - places[one][1], places[two][2] - places[one][2])
        for one, two, dy, dx in got
    )


def sure_table(offsets):
    return pd.DataFrame(
        {"y_offset": [y for y, _ in offsets], "x_offset": [x for _, x in offsets], "n_votes": 20}
    )


def test_a_grid_is_told():
    sizes = np.full((9, 2), 768)
    assert grid_of(sure_table([(256, 0), (-256, 512), (0, 0)]), sizes) == 256
    assert grid_of(sure_table([(128, 0), (-256, 512)]), sizes) == 128
    # 384 divides 768, too, and all of these offsets.
    assert grid_of(sure_table([(384, 0), (0, 384)]), sizes) == 384
    assert grid_of(sure_table([(256, 0), (-256, 511)]), sizes) is None
    assert grid_of(sure_table([(0, 0)]), sizes) is None
    assert grid_of(sure_table([(32, 0)]), sizes) is None
    assert grid_of(sure_table([(256, 0)]), np.array([[768, 768], [512, 700]])) is None


def test_a_grid_holds_in_spite_of_one_offset_in_a_hundred():
    sizes = np.full((9, 2), 512)
    assert grid_of(sure_table([(256, 0)] * 99 + [(3, 0)]), sizes) == 256
    assert grid_of(sure_table([(256, 0)] * 97 + [(3, 0)] * 3), sizes) is None


def test_unsure_offsets_say_nothing_of_a_grid():
    table = sure_table([(256, 0), (7, 9)])
    table.loc[1, "n_votes"] = votes.EXACT_FROM - 1
    assert grid_of(table, np.full((9, 2), 768)) == 256


def test_votes_of_codes_that_recur_are_not_enough():
    one = [(100 + 17 * k, 100 + 30 * k) for k in range(12)]
    points = table_of(one, [(y - 7, x - 9) for y, x in one], [])
    pairs = paired(points, *((k, 12 + k) for k in range(12)))
    recurring = np.ones(24, bool)
    recurring[[0, 12]] = False
    assert len(propose([pairs], points, recurring).table) == 0
    # Recurring in either image counts.
    recurring[1] = False
    assert len(propose([pairs], points, recurring).table) == 0
    recurring[13] = False
    assert len(propose([pairs], points, recurring).table) == 1


def test_what_was_asked_of_proposals_is_told():
    offsets = [(250 + 7 * k, 240 + 5 * k) for k in range(12)]
    points = table_of(offsets, [(y - 5, x - 8) for y, x in offsets], [])
    found = propose([paired(points, *((k, 12 + k) for k in range(12)))], points)
    control = found.control()
    assert control["proposals"] == 1 and control["accidents"] == found.n_false
    assert control["least_shares"]["2"] >= 0.1 and control["least_shares"]["8"] == 0.03
    assert told(control | {"accidents": 3}) == (
        "Control: the points propose 1 overlaps to the network; with the points shuffled, so that every "
        "proposal is false, they propose 3."
    )
