"""The solver behind groups: places on a grid that satisfy as many contradictory relations as can be.

Every relation says where one image lies as seen from another, with a weight: positive for evidence that it
is so, negative for evidence that it is not. Images that relations connect form a group with one frame. The
sum of the weights of all satisfied relations is raised from a spanning forest of the strongest positive
relations on, move by move:

* Each relation of the forest splits its group into two sides. One side is *shifted* to where other relations
  across want it, or *parted* from the other as a group of its own, if that gains.
* Such a side, a whole group, or one image, is *moved* to another group, at the offset that gains most.

In a single loop with one wrong relation this cuts the weakest relation of the loop, and a strong wrong
relation yields to several weaker ones that agree with each other. The best solution of all is NP-hard to find
(without offsets it is correlation clustering); a group without contradiction has only one, and is solved in
closed form.

Weights are whole numbers and ties go to the first relation or image, so that equal input gives equal output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

__all__ = ["Relations", "residual", "solve", "spanned"]

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


class Relations(NamedTuple):
    """Statements on pairs of images: ``b`` (k,) lies at ``offset`` (k, 2) as seen from ``a`` (k,).

    ``weight`` (k,) integers: positive for evidence that it is so, negative for evidence that it is not. The
    positive ones come in the order in which ties are settled.
    """

    a: Integers
    b: Integers
    offset: Integers
    weight: Integers

    def take(self, rows: npt.NDArray[Any]) -> Relations:
        """The relations of the given rows (numbers or a mask)."""
        return Relations(self.a[rows], self.b[rows], self.offset[rows], self.weight[rows])


class _Forest(NamedTuple):
    """A spanning forest: the root of each image, its position and depth seen from there, and its parent."""

    root: Integers
    position: Integers
    depth: Integers
    parent: Integers


class _Move(NamedTuple):
    """Shift the images ``moved`` by ``shift`` tiles into group ``label``."""

    gain: int
    moved: Booleans
    shift: Integers
    label: int


def residual(relations: Relations, position: Integers) -> Integers:
    """Where each relation wants b less where b is, both seen from a: (k, 2) tiles, zero if satisfied."""
    return relations.offset - (position[relations.b] - position[relations.a])


def solve(n: int, relations: Relations) -> tuple[Integers, Integers]:
    """Group and position of n images.

    Parameters
    ----------
    n : int
        Number of images.
    relations : Relations
        Between images 0 to n - 1, none with itself.

    Returns
    -------
    group, position : (n,) and (n, 2) int64
        ``group`` is the number of the group's first image, whose position is (0, 0).
    """
    joining = relations.take(relations.weight > 0)
    forest = _grow(n, joining)
    group, position = forest.root, forest.position
    holds = _holds(relations, group, position)
    contradicted = relations.take(holds != (relations.weight > 0))
    contradicted = contradicted.take(group[contradicted.a] == group[contradicted.b])
    # Nearly all groups are free of contradiction; the others are repaired one by one, images renumbered from
    # zero.
    for number in np.unique(group[contradicted.a]):
        members = np.flatnonzero(group == number)
        local = np.full(n, -1)
        local[members] = np.arange(len(members))
        among = relations.take((local[relations.a] >= 0) & (local[relations.b] >= 0))
        among = among._replace(a=local[among.a], b=local[among.b])
        part, position[members] = _repair(len(members), among)
        group[members] = members[part]
    return group, position


def spanned(n: int, relations: Relations) -> tuple[Integers, Integers]:
    """Group and position of n images as the strongest relations alone have it, whatever contradicts them.

    As :func:`solve`, without its repairs: quick, and good enough to choose a lattice by.
    """
    forest = _grow(n, relations)
    return forest.root, forest.position


def _repair(n: int, relations: Relations) -> tuple[Integers, Integers]:
    """Improve the placement of one group until no move gains."""
    joining = relations.take(relations.weight > 0)
    forest = _grow(n, joining)
    while True:
        move = max(
            _best_split(forest, relations), _best_transfer(forest, relations), key=lambda found: found.gain
        )
        if move.gain <= 0:
            return forest.root, forest.position
        group = np.where(move.moved, move.label, forest.root)
        position = forest.position + move.moved[:, None] * move.shift
        # What a move satisfies connects both sides of it, and what it leaves is connected by the old forest.
        forest = _grow(n, joining.take(_holds(joining, group, position)))


def _holds(relations: Relations, group: Integers, position: Integers) -> Booleans:
    together = group[relations.a] == group[relations.b]
    return np.asarray(together & ~residual(relations, position).any(axis=1))


def _grow(n: int, relations: Relations) -> _Forest:
    """The spanning forest of the heaviest relations, first come first served among equals."""
    order = np.argsort(-relations.weight, kind="stable")
    low = np.minimum(relations.a, relations.b)[order]
    high = np.maximum(relations.a, relations.b)[order]
    # Ranks are all different, so that the forest is unique. They start at 1, because a sparse graph takes 0
    # for no link; of several relations between the same two images the heaviest counts.
    _, heaviest = np.unique(low * n + high, return_index=True)
    graph = coo_array((heaviest + 1.0, (low[heaviest], high[heaviest])), shape=(n, n))
    rows = order[np.sort(minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1)]
    a, b, offset = relations.a[rows], relations.b[rows], relations.offset[rows]

    links = coo_array((np.ones(len(rows)), (a, b)), shape=(n, n))
    component = connected_components(links.tocsr(), directed=False)[1]
    top = np.unique(component, return_index=True)[1]
    # Image n, which does not exist, above the first image of every group: one search from it then visits all.
    ends = np.r_[a, np.full(len(top), n)], np.r_[b, top]
    graph = coo_array((np.ones(len(ends[0])), ends), shape=(n + 1, n + 1))
    parent = breadth_first_order(graph.tocsr(), n, directed=False)[1][:n].astype(np.int64)
    parent[top] = top

    position = np.zeros((n, 2), dtype=np.int64)
    downward = parent[b] == a
    position[np.where(downward, b, a)] = np.where(downward, 1, -1)[:, None] * offset
    depth = (parent != np.arange(n)).astype(np.int64)
    root = parent.copy()
    # After k rounds every image has summed the 2**k steps above it.
    while (root != root[root]).any():
        position += position[root]
        depth += depth[root]
        root = root[root]
    return _Forest(root, position, depth, parent)


def _best_split(forest: _Forest, relations: Relations) -> _Move:
    """The best way to shift or to part what lies below one image of the forest."""
    together = relations.take(forest.root[relations.a] == forest.root[relations.b])
    wanted = residual(together, forest.position)
    holds = np.asarray(~wanted.any(axis=1))
    # What joins each image and all below it to the rest of its group, less what tells the two sides apart.
    held = _sum_across(forest, together.take(holds))
    children = np.flatnonzero(forest.depth > 0)
    if not len(children):
        return _Move(0, np.zeros(len(held), dtype=bool), np.zeros(2, dtype=np.int64), 0)
    child = children[np.argmin(held[children])]
    gain, shift, label = -held[child], np.zeros(2, dtype=np.int64), len(held)
    voted, shifts, votes = _votes(forest, together.take(~holds), wanted[~holds])
    if len(voted):
        gains = votes - held[voted]
        best = int(np.argmax(gains))
        if gains[best] >= gain:
            child, gain, shift, label = voted[best], gains[best], shifts[best], forest.root[voted[best]]
    return _Move(int(gain), _below(forest, int(child)), shift, int(label))


def _best_transfer(forest: _Forest, relations: Relations) -> _Move:
    """The best way to move images to another group: one, alone or with all below it; of a root all of its
    group."""
    n = len(forest.root)
    together = forest.root[relations.a] == forest.root[relations.b]
    across = relations.take(~together)
    if not (across.weight > 0).any():
        return _Move(0, np.zeros(n, dtype=bool), np.zeros(2, dtype=np.int64), 0)
    # Each relation is satisfied if one end moves, alone or with any of the images above that.
    wanted = residual(across, forest.position)
    target, shift = np.r_[forest.root[across.a], forest.root[across.b]], np.r_[wanted, -wanted]
    image, weight = np.r_[across.b, across.a], np.tile(across.weight, 2)
    wishes, wish = np.unique(np.column_stack([target, shift]), axis=0, return_inverse=True)
    choice = image * len(wishes) + wish.ravel()
    choices, gains = _summed(choice + n * len(wishes), weight)
    # What no positive relation wishes for gains no more with all below than parting does.
    rows = np.flatnonzero(np.isin(wish.ravel(), wish.ravel()[weight > 0]))
    more, votes = _summed_upwards(forest, choice[rows], weight[rows], len(wishes))
    choices, gains = np.r_[more, choices], np.r_[votes, gains]
    held = relations.take(together & _holds(relations, forest.root, forest.position))
    alone = np.zeros(n, dtype=np.int64)
    np.add.at(alone, np.r_[held.a, held.b], np.tile(held.weight, 2))
    gains -= np.r_[_sum_across(forest, held), alone][choices // len(wishes)]
    best = int(np.argmax(gains))
    moves, row = divmod(int(choices[best]), len(wishes))
    moved = _below(forest, moves) if moves < n else np.arange(n) == moves - n
    return _Move(int(gains[best]), moved, wishes[row, 1:], int(wishes[row, 0]))


def _summed(choices: Integers, weights: Integers) -> tuple[Integers, Integers]:
    """Each choice once, ascending, and the sum of its weights."""
    found, choice = np.unique(choices, return_inverse=True)
    total = np.zeros(len(found), dtype=np.int64)
    np.add.at(total, choice, weights)
    return found, total


def _summed_upwards(
    forest: _Forest, choices: Integers, weights: Integers, n_wishes: int
) -> tuple[Integers, Integers]:
    """Choices, image * ``n_wishes`` + wish, of images and of all above them, ascending, and for each the sum
    of the weights of that wish at the image and below it."""
    depth = forest.depth[choices // n_wishes]
    order = np.argsort(depth, kind="stable")
    levels = np.split(order, np.searchsorted(depth[order], np.arange(1, depth.max() + 1)))
    carried, sums = choices[:0], weights[:0]
    found = []
    for rows in reversed(levels):  # equal wishes become one on the way up
        carried, sums = _summed(np.r_[carried, choices[rows]], np.r_[sums, weights[rows]])
        found.append((carried, sums))
        carried = forest.parent[carried // n_wishes] * n_wishes + carried % n_wishes
    return _summed(*map(np.concatenate, zip(*found, strict=True)))


def _votes(forest: _Forest, wishes: Relations, wanted: Integers) -> tuple[Integers, Integers, Integers]:
    """Images whose side of the forest relations wish to shift, by how much (k, 2), and with what weight.

    ``wanted`` is the residual of each wish. Only shifts that some positive relation wishes for are listed.
    """
    reach = int(np.abs(wanted).max(initial=0))
    span = 2 * reach + 1

    def ballots(rows: Integers, listed: Integers | None) -> tuple[Integers, Integers]:
        keys, weights = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for climbing, child, from_a in _climb(forest, wishes.a[rows], wishes.b[rows]):
            shift = np.where(from_a, -1, 1)[:, None] * wanted[rows[climbing]] + reach
            key = (child * span + shift[:, 0]) * span + shift[:, 1]
            counts = np.ones(len(key), dtype=bool) if listed is None else np.isin(key, listed)
            keys.append(key[counts])
            weights.append(wishes.weight[rows[climbing]][counts])
        return np.concatenate(keys), np.concatenate(weights)

    keys, weights = ballots(np.flatnonzero(wishes.weight > 0), None)
    more_keys, more_weights = ballots(np.flatnonzero(wishes.weight < 0), np.unique(keys))
    listed, choice = np.unique(np.r_[keys, more_keys], return_inverse=True)
    votes = np.zeros(len(listed), dtype=np.int64)
    np.add.at(votes, choice, np.r_[weights, more_weights])
    shifts = np.column_stack([listed // span % span, listed % span]) - reach
    return listed // span**2, shifts, votes


def _climb(forest: _Forest, a: Integers, b: Integers) -> Iterator[tuple[Integers, Integers, Booleans]]:
    """Step up the paths between a and b: rows still on the way, image stepped from, whether from a's end."""
    rows, low, high = np.arange(len(a)), a.copy(), b.copy()
    while len(rows):
        from_a = forest.depth[low] >= forest.depth[high]
        child = np.where(from_a, low, high)
        yield rows, child, from_a
        low, high = np.where(from_a, forest.parent[low], low), np.where(from_a, high, forest.parent[high])
        on_the_way = low != high
        rows, low, high = rows[on_the_way], low[on_the_way], high[on_the_way]


def _sum_across(forest: _Forest, relations: Relations) -> Integers:
    """For each image, the weights of the relations between it or what is below it and the rest: (n,)."""
    total = np.zeros(len(forest.root), dtype=np.int64)
    np.add.at(total, relations.a, relations.weight)
    np.add.at(total, relations.b, relations.weight)
    # Summed over all below an image, a relation with both ends there cancels.
    np.add.at(total, _meeting(forest, relations.a, relations.b), -2 * relations.weight)
    for step, ancestor in enumerate(_ancestors(forest)):
        reaching = np.flatnonzero(forest.depth >= 2**step)
        below = total[reaching].copy()
        np.add.at(total, ancestor[reaching], below)
    return total


def _below(forest: _Forest, image: int) -> Booleans:
    """Which images are ``image`` or below it in the forest: (n,)."""
    found: Booleans = np.arange(len(forest.root)) == image
    for ancestor in _ancestors(forest):
        found |= found[ancestor]
    return found


def _meeting(forest: _Forest, a: Integers, b: Integers) -> Integers:
    """The lowest image above (or at) both a and b, for pairs of one group."""
    ancestors = _ancestors(forest)
    deep = forest.depth[a] >= forest.depth[b]
    low, high = np.where(deep, a, b), np.where(deep, b, a)
    ahead = forest.depth[low] - forest.depth[high]
    for step, ancestor in enumerate(ancestors):
        low = np.where(ahead >> step & 1, ancestor[low], low)
    for ancestor in reversed(ancestors):
        differ = ancestor[low] != ancestor[high]
        low, high = np.where(differ, ancestor[low], low), np.where(differ, ancestor[high], high)
    return np.where(low == high, low, forest.parent[low])


def _ancestors(forest: _Forest) -> list[Integers]:
    """The image 1, 2, 4, ... steps above each image, its root where there are fewer, down to the deepest."""
    ancestors = [forest.parent]
    while 2 ** len(ancestors) <= forest.depth.max(initial=0):
        ancestors.append(ancestors[-1][ancestors[-1]])
    return ancestors
