import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find.placement import Relations, residual, solve
from dupnet.tiles import neighbours

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def relations(*rows):
    """Rows (a, b, y offset, x offset, weight)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    return Relations(table[:, 0], table[:, 1], table[:, 2:4], table[:, 4])


def value(found, group, position):
    """Sum of the weights of the satisfied relations: what the solver raises."""
    satisfied = (group[found.a] == group[found.b]) & ~residual(found, position).any(axis=1)
    return int(found.weight[satisfied].sum())


def best_value(n, found):
    """The highest sum there is, from every consistent choice of positive relations."""
    positive = np.flatnonzero(found.weight > 0)
    best = 0
    for choice in range(2 ** len(positive)):
        group, position = np.arange(n), np.zeros((n, 2), dtype=np.int64)
        for bit, row in enumerate(positive):
            if not choice >> bit & 1:
                continue
            a, b = found.a[row], found.b[row]
            if group[a] != group[b]:
                moved = group == group[b]
                position[moved] += position[a] + found.offset[row] - position[b]
                group[moved] = group[a]
            elif (position[b] - position[a] != found.offset[row]).any():
                break
        else:
            best = max(best, value(found, group, position))
    return best


def same_up_to_translation(group, position, wanted_group, wanted_position):
    assert len(set(zip(group.tolist(), wanted_group.tolist(), strict=True))) == len(set(group.tolist()))
    assert len(set(group.tolist())) == len(set(wanted_group.tolist()))
    for number in np.unique(group):
        shift = (position - wanted_position)[group == number]
        assert (shift == shift[0]).all()


@given(st.data())
@QUICK
def test_small_problems_are_solved_to_the_best(data):
    n = data.draw(st.integers(2, 5))
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda ends: ends[0] != ends[1])
    offset = st.tuples(st.integers(-1, 1), st.integers(0, 1))
    joining = data.draw(st.lists(st.tuples(pair, offset, st.integers(1, 20)), max_size=7))
    parting = data.draw(st.lists(st.tuples(pair, offset, st.integers(-20, -1)), max_size=3))
    found = relations(*[(*ends, *shift, weight) for ends, shift, weight in joining + parting])
    group, position = solve(n, found)
    assert value(found, group, position) == best_value(n, found)
    # Groups are called by their first image, which is their origin.
    for number in np.unique(group):
        assert number == np.flatnonzero(group == number)[0]
        assert position[number].tolist() == [0, 0]


def test_harder_problems_are_solved_nearly_always_to_the_best():
    """The search is a local one: on small problems full of contradictions it misses the best now and then."""
    rng = np.random.default_rng(0)
    reached, n_problems = 0, 60
    for _ in range(n_problems):
        n = int(rng.integers(4, 8))
        ends = rng.integers(0, n, (14, 2))
        weight = np.r_[rng.integers(1, 20, 9), -rng.integers(1, 20, 5)]
        keep = ends[:, 0] != ends[:, 1]
        found = Relations(ends[keep, 0], ends[keep, 1], rng.integers(0, 2, (14, 2))[keep], weight[keep])
        group, position = solve(n, found)
        got, best = value(found, group, position), best_value(n, found)
        assert got >= 0.8 * best
        reached += got == best
    assert reached >= n_problems - 2


@given(st.data())
@QUICK
def test_a_consistent_group_gets_its_own_positions_back(data):
    n = data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    position = rng.integers(-50, 50, (n, 2))
    links = rng.integers(0, n, (data.draw(st.integers(0, 30)), 2))
    links = links[links[:, 0] != links[:, 1]]
    group = np.arange(n)
    for a, b in links:
        group[group == group[b]] = group[a]
    found = Relations(
        links[:, 0],
        links[:, 1],
        position[links[:, 1]] - position[links[:, 0]],
        rng.integers(1, 9, len(links)),
    )
    got_group, got_position = solve(n, found)
    same_up_to_translation(got_group, got_position, group, position)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_planted_wrong_overlaps_are_found(seed):
    """Every image of the group has several true neighbours; wrong overlaps are as strong as true ones."""
    rng = np.random.default_rng(seed)
    side = 7
    row, col = (axis.ravel() for axis in np.mgrid[:side, :side])
    shuffled = rng.permutation(side**2)
    row, col = row[shuffled], col[shuffled]
    threes = np.full(side**2, 3)
    first, second, down, right = neighbours(np.zeros(side**2, dtype=int), row, col, threes, threes, 1)
    n_wrong = 20
    ends = np.array([rng.choice(side**2, 2, replace=False) for _ in range(n_wrong)])
    offset = rng.integers(-2, 3, (n_wrong, 2))
    true = np.column_stack([row[ends[:, 1]] - row[ends[:, 0]], col[ends[:, 1]] - col[ends[:, 0]]])
    offset[(offset == true).all(axis=1)] += 7
    found = Relations(
        np.r_[first, ends[:, 0]],
        np.r_[second, ends[:, 1]],
        np.r_[np.column_stack([down, right]), offset],
        np.full(len(first) + n_wrong, 1000),
    )
    group, position = solve(side**2, found)
    assert (group == 0).all()
    same_up_to_translation(group, position, np.zeros(side**2, dtype=int), np.column_stack([row, col]))
    assert residual(found, position).any(axis=1).tolist() == [False] * len(first) + [True] * n_wrong


@given(st.integers(0, 10_000))
@QUICK
def test_the_direction_of_a_relation_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    n, k = 6, 9
    a = rng.integers(0, n, k)
    b = (a + rng.integers(1, n, k)) % n
    found = Relations(a, b, rng.integers(-1, 2, (k, 2)), rng.choice([-5, 3, 4, 7], k))
    turn = rng.random(k) < 0.5
    turned = Relations(
        np.where(turn, b, a),
        np.where(turn, a, b),
        np.where(turn, -1, 1)[:, None] * found.offset,
        found.weight,
    )
    for got, wanted in zip(solve(n, turned), solve(n, found), strict=True):
        np.testing.assert_array_equal(got, wanted)


@given(st.integers(0, 10_000))
@QUICK
def test_moving_the_frame_of_an_image_moves_only_that_image(seed):
    """If image k counted its place from another corner, all its offsets would change, and nothing else."""
    rng = np.random.default_rng(seed)
    n, k = 6, 9
    a = rng.integers(0, n, k)
    b = (a + rng.integers(1, n, k)) % n
    found = Relations(a, b, rng.integers(-1, 2, (k, 2)), rng.permutation(k) * 2 - 5)
    frame = rng.integers(-9, 10, (n, 2))
    moved = found._replace(offset=found.offset + frame[b] - frame[a])
    group, position = solve(n, found)
    moved_group, moved_position = solve(n, moved)
    assert value(moved, moved_group, moved_position) == value(found, group, position)
    if best_value(n, found) == value(found, group, position):
        np.testing.assert_array_equal(moved_group, group)


# --- the cases that the method is for -------------------------------------------------------------


def satisfied(found, n):
    group, position = solve(n, found)
    return ((group[found.a] == group[found.b]) & ~residual(found, position).any(axis=1)).tolist()


def test_the_weakest_relation_of_a_contradictory_loop_is_cut():
    for weakest in range(4):
        weights = [50, 60, 70, 80]
        weights[weakest] = 10
        found = relations(
            (0, 1, 0, 1, weights[0]),
            (1, 2, 1, 0, weights[1]),
            (2, 3, 0, -1, weights[2]),
            (0, 3, 2, 0, weights[3]),
        )
        assert satisfied(found, 4) == [row != weakest for row in range(4)]


def test_several_that_agree_outweigh_a_strong_one():
    # Each of images 2, 3 and 4 is tied to both 0 and 1, and puts 1 one column to the right of 0.
    through = [(middle, end, 0, end, 30) for middle in (2, 3, 4) for end in (0, 1)]
    found = relations((0, 1, 0, 2, 80), *through)
    assert satisfied(found, 5) == [False] + [True] * 6
    # Two paths of 30 carry less than 80.
    found = relations((0, 1, 0, 2, 80), *through[:4])
    assert satisfied(found, 4)[0]


def test_two_sides_shift_as_wholes_when_the_link_between_them_is_wrong():
    left = [(0, 1, 0, 1, 90), (1, 2, 1, 0, 90), (0, 2, 1, 1, 90)]
    right = [(3, 4, 0, 1, 90), (4, 5, 1, 0, 90), (3, 5, 1, 1, 90)]
    wrong = [(0, 3, 5, 5, 80)]
    true = [(1, 4, 2, 0, 30), (2, 5, 2, 0, 30), (0, 5, 3, 1, 30)]
    found = relations(*left, *right, *wrong, *true)
    assert satisfied(found, 6) == [True] * 6 + [False] + [True] * 3


def test_two_offsets_of_one_pair_cannot_both_hold():
    assert satisfied(relations((0, 1, 0, 1, 20), (0, 1, 1, 0, 30)), 2) == [False, True]
    assert satisfied(relations((0, 1, 0, 1, 20), (1, 0, 0, -1, 15), (0, 1, 1, 0, 30)), 2) == [
        True,
        True,
        False,
    ]


def test_of_equals_the_first_is_kept():
    assert satisfied(relations((0, 1, 0, 1, 20), (0, 1, 1, 0, 20)), 2) == [True, False]
    assert satisfied(relations((0, 1, 1, 0, 20), (0, 1, 0, 1, 20)), 2) == [True, False]


def two_days(link_weight, n_rejected, rejected_weight=-40):
    """Two days of one place, four images each on the same four places, joined by one overlap (0 and 4)."""
    places = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    rows = []
    for day in (0, 4):
        for a in range(4):
            for b in range(a + 1, 4):
                rows.append((day + a, day + b, *(places[b] - places[a]), 50))
    rows.append((0, 4, 0, 0, link_weight))
    apart = [
        (a, 4 + b, *(places[b] - places[a]), rejected_weight) for a in range(4) for b in range(4) if a or b
    ]
    return relations(*rows, *apart[:n_rejected])


def test_a_weak_link_between_two_days_is_cut():
    group, position = solve(8, two_days(70, 15))
    assert group.tolist() == [0, 0, 0, 0, 4, 4, 4, 4]
    assert position[4:].tolist() == position[:4].tolist()


def test_a_link_that_outweighs_what_speaks_against_it_stays():
    assert (solve(8, two_days(70, 1))[0] == 0).all()
    assert (solve(8, two_days(80, 2))[0] == 0).all()
    assert (solve(8, two_days(79, 2))[0] == [0, 0, 0, 0, 4, 4, 4, 4]).all()


def test_what_is_rejected_at_another_offset_does_not_count():
    found = relations((0, 1, 0, 1, 10), (0, 1, 0, 0, -1000), (1, 0, 0, 1, -1000))
    assert satisfied(found, 2) == [True, False, False]


def test_a_side_shifts_to_where_less_is_rejected():
    # Image 2 may lie at column 1 or 2; the heavier offset puts it on image 1, which differs.
    found = relations((0, 1, 0, 1, 90), (0, 2, 0, 1, 50), (0, 2, 0, 2, 30), (1, 2, 0, 0, -40))
    assert satisfied(found, 3) == [True, False, True, False]


def test_parted_groups_merge_where_that_gains():
    """Once images 0 and 1 are parted, image 2 is free to join either, at the offset that most want."""
    found = relations((0, 1, 0, 0, 10), (0, 1, 0, 0, -100), (0, 2, 1, 0, 5), (1, 2, 1, 0, 7), (1, 2, 0, 1, 4))
    group, position = solve(3, found)
    assert group.tolist() == [0, 1, 1]
    assert position.tolist() == [[0, 0], [0, 0], [1, 0]]


def test_of_several_groups_two_merge_at_the_offset_that_most_want():
    """Images 0 and 1 may only meet again once image 2, which parts them at that offset, has left image 1."""
    found = relations(
        (0, 1, 0, 0, 10), (0, 1, 0, 0, -100), (0, 1, 0, 1, 5), (0, 1, 1, 0, 4),
        (1, 2, 0, 0, 8), (1, 2, 0, 0, -9), (0, 2, 0, 1, -10), (0, 2, 1, 0, -10),
    )  # fmt: skip
    group, position = solve(3, found)
    assert group.tolist() == [0, 0, 2]
    assert position.tolist() == [[0, 0], [0, 1], [0, 0]]
    assert value(found, group, position) == best_value(3, found) == 5


def test_where_shifting_and_parting_gain_alike_the_group_stays_whole():
    found = relations((0, 1, 0, 0, 10), (0, 1, 0, 0, -100), (0, 1, 0, 1, 5), (0, 1, 0, 1, -5))
    group, position = solve(2, found)
    assert group.tolist() == [0, 0]
    assert position.tolist() == [[0, 0], [0, 1]]


def gain_of_moving_one(found, group, position):
    """What is gained at most by moving one image to another group, alone."""
    gains = [0]
    for row in np.flatnonzero((group[found.a] != group[found.b]) & (found.weight > 0)):
        for image, other, sign in ((found.b[row], found.a[row], 1), (found.a[row], found.b[row], -1)):
            moved, there = group.copy(), position.copy()
            moved[image], there[image] = group[other], position[other] + sign * found.offset[row]
            gains.append(value(found, moved, there) - value(found, group, position))
    return max(gains)


def test_of_two_days_that_look_alike_in_part_no_image_would_be_better_with_the_other():
    rng, n = np.random.default_rng(5), 12
    for _ in range(100):
        day, place = rng.integers(0, 2, n), rng.integers(-3, 4, (n, 2))
        first, second = np.nonzero(np.triu(rng.random((n, n)) < 0.5, 1))
        is_joined = (day[first] == day[second]) != (rng.random(len(first)) < 0.15)
        weight = np.where(is_joined, 1, -1) * rng.integers(5, 20, len(first))
        found = Relations(first, second, place[second] - place[first], weight)
        assert gain_of_moving_one(found, *solve(n, found)) == 0


@pytest.mark.parametrize("n", [0, 1, 5])
def test_images_without_relations_are_groups_of_one(n):
    group, position = solve(n, relations())
    assert group.tolist() == list(range(n))
    assert position.tolist() == [[0, 0]] * n


def test_relations_that_only_part_join_nothing():
    group, _ = solve(3, relations((0, 1, 0, 1, -5), (1, 2, 0, 1, -5)))
    assert group.tolist() == [0, 1, 2]


def test_a_long_chain_keeps_its_positions():
    n = 1000
    found = Relations(
        np.arange(n - 1), np.arange(1, n), np.tile([[1, -1]], (n - 1, 1)), np.ones(n - 1, dtype=np.int64)
    )
    group, position = solve(n, found)
    assert (group == 0).all()
    np.testing.assert_array_equal(position, np.arange(n)[:, None] * [1, -1])
    # A ring of 1,000 that closes wrongly by one tile is cut at its weakest link, wherever that is.
    found = Relations(
        np.r_[found.a, n - 1],
        np.r_[found.b, 0],
        np.r_[found.offset, [[1 - n, n]]],
        np.r_[found.weight * 9, 9],
    )
    for weakest in (0, 417, n - 1):
        weight = found.weight.copy()
        weight[weakest] = 8
        broken = found._replace(weight=weight)
        assert np.flatnonzero(residual(broken, solve(n, broken)[1]).any(axis=1)).tolist() == [weakest]
