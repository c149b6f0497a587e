"""Groups of images assigned to splits of given shares, as evenly as whole groups allow."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["balanced", "counts_of"]

MAX_SWAPPED_KINDS = 300
"""Kinds of groups up to which exchanges of two are tried; with more, single moves come close enough."""

FEW_GROUPS = 1000
"""Up to this many groups, several starts are tried; with more, one meets the ratios to a few images."""

N_STARTS = 32

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def balanced(counts: Integers, share: Floats, seed: int) -> Integers:
    """A split for each group, so that sizes come as close to the shares as whole groups allow.

    Parameters
    ----------
    counts : (n_groups, n_columns) int64
        Images of each group: all of them in column 0, those of each stratum in the others, if there are any.
    share : (n_splits,) float64
        What each split is to have; together 1.
    seed : int
        Which of the equally good assignments.

    Returns
    -------
    (n_groups,) int64
        Numbers of splits; none is empty if there are as many groups as splits.
    """
    rng = np.random.default_rng(seed)
    starts = N_STARTS if len(counts) <= FEW_GROUPS else 1
    found = [_assign(counts, share, rng, largest_first=number % 2 == 0) for number in range(starts)]
    return min(found, key=lambda assignment: _miss(counts, share, assignment))


def counts_of(group: Integers, stratum: Integers) -> Integers:
    """Images by group, and by group and stratum if there are several: as :func:`balanced` takes them.

    Parameters
    ----------
    group, stratum : (n_images,) int64
        Numbers from 0.
    """
    counts = np.zeros((int(group.max(initial=-1)) + 1, 2 + int(stratum.max(initial=0))), dtype=np.int64)
    np.add.at(counts, (group, 1 + stratum), 1)
    counts[:, 0] = counts.sum(axis=1)
    return counts if counts.shape[1] > 2 else counts[:, :1]


def _targets(counts: Integers, share: Floats) -> tuple[Floats, Floats]:
    """What each split is to hold of each column of ``counts``, and what a square miss of it is divided by.

    As in chi-square, a square miss counts in units of what was wanted, though of one image at least: the few
    images of a rare stratum must not outweigh the sizes. The sizes count as much as ten strata.
    """
    target = share[:, None] * counts.sum(axis=0)
    unit = np.maximum(target, 1)
    unit[:, 0] /= 10
    return target, unit


def _miss(counts: Integers, share: Floats, assigned: Integers) -> float:
    """How far a split is from the ratios."""
    target, unit = _targets(counts, share)
    held = np.zeros(target.shape)
    np.add.at(held, assigned, counts)
    return float(((held - target) ** 2 / unit).sum())


def _assign(counts: Integers, share: Floats, rng: np.random.Generator, largest_first: bool) -> Integers:
    """A split for each group (n_groups,): one after another, wherever there is room; then improved by moves.

    Drawing among the splits with room makes splits of different seeds differ. The groups that hold the last
    tenth of the images, by preference small ones, go where they are needed most.
    """
    target, unit = _targets(counts, share)
    held = np.zeros(target.shape)
    order = rng.permutation(len(counts))
    if largest_first:
        order = order[np.argsort(-counts[order, 0], kind="stable")]
    placed_before = np.cumsum(counts[order, 0]) - counts[order, 0]
    draws = rng.random(len(order))
    assigned = np.zeros(len(order), dtype=np.int64)
    for group, before, draw in zip(order, placed_before, draws, strict=True):
        count = counts[group]
        room = np.maximum(target[:, 0] - held[:, 0], 0)
        room[room < count[0]] = 0
        if before < 0.9 * target[:, 0].sum() and room.any():
            choice = int(np.searchsorted(np.cumsum(room), draw * room.sum(), side="right"))
        else:
            choice = int(np.argmin(((2 * (held - target) + count) * count / unit).sum(axis=1)))
        held[choice] += count
        assigned[group] = choice
    # No split stays empty: the smallest groups go there, from splits that have others.
    for empty in np.flatnonzero(np.bincount(assigned, minlength=len(share)) == 0):
        spare = np.bincount(assigned, minlength=len(share))[assigned[order]] > 1
        assigned[order[spare][-1]] = empty
    return _improve(counts, share, assigned)


def _improve(counts: Integers, share: Floats, assigned: Integers) -> Integers:
    """Move single groups, or exchange two, while that brings the splits closer to the ratios."""
    # Groups of equal counts are of one kind: what holds for one of them holds for all.
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.ravel()
    target, unit = _targets(counts, share)
    number = np.zeros((len(kinds), len(share)), dtype=np.int64)
    np.add.at(number, (kind, assigned), 1)
    scaled = kinds[None] / np.sqrt(unit)[:, None]
    products = scaled @ scaled.transpose(0, 2, 1) if len(kinds) <= MAX_SWAPPED_KINDS else None
    while True:
        pull = kinds @ ((number.T @ kinds - target) / unit).T
        best = _Change(1e-9, 0, 0, 0, None)
        for source, goal in permutations(range(len(share)), 2):
            # How much the miss falls, but for the squares, if a group of each kind leaves source for goal.
            fall = 2 * (pull[:, source] - pull[:, goal])
            there = number[:, source] > 0
            squares = (scaled[source] ** 2 + scaled[goal] ** 2).sum(axis=1)
            gain = np.where(there, fall - squares, -np.inf)
            if number[:, source].sum() > 1 and gain.max() > best.gain:
                best = _Change(gain.max(), source, goal, int(np.argmax(gain)), None)
            if products is None or source > goal:
                continue
            squares = squares[:, None] + squares[None] - 2 * (products[source] + products[goal])
            possible = there[:, None] & (number[:, goal] > 0)[None]
            gain = np.where(possible, fall[:, None] - fall[None] - squares, -np.inf)
            if gain.max() > best.gain:
                one, other = divmod(int(np.argmax(gain)), len(kinds))
                best = _Change(gain.max(), source, goal, one, other)
        if best.source == best.goal:
            return assigned
        moves = [(best.kind, best.source, best.goal)]
        if best.back is not None:
            moves.append((best.back, best.goal, best.source))
        # Both are looked up before either moves.
        found = [np.flatnonzero((kind == moved) & (assigned == origin))[0] for moved, origin, _ in moves]
        for group, (moved, origin, goal) in zip(found, moves, strict=True):
            assigned[group] = goal
            number[moved, [origin, goal]] += [-1, 1]


class _Change(NamedTuple):
    """A group of ``kind`` goes from ``source`` to ``goal``, perhaps one of kind ``back`` the other way."""

    gain: float
    source: int
    goal: int
    kind: int
    back: int | None
