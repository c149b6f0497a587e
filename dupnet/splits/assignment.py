"""Splits that do not leak: images of one group show common ground, so every group is in one split as a whole.

The ``group`` column, in the order of one's own images (:func:`group_array`), is what scikit-learn's
``GroupKFold``, ``StratifiedGroupKFold`` and ``GroupShuffleSplit`` take as ``groups``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import read_csv

__all__ = ["SPLIT_NAMES", "group_array", "random_split", "read_strata", "split", "strata_of"]

SPLIT_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}
"""Names of the splits where none are given."""

MAX_STRATA = 10
"""A numeric column of more distinct values than this is stratified by its deciles."""

MAX_SWAPPED_KINDS = 300
"""Kinds of groups up to which exchanges of two are tried; with more, single moves come close enough."""

FEW_GROUPS = 1000
"""Up to this many groups, several starts are tried; with more, one meets the ratios to a few images."""

N_STARTS = 32

TOLERATED = 0.01
"""A share of a split further than this from its ratio, and further than one image makes, is warned of."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def split(
    groups: pd.DataFrame,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    strata: Mapping[str, object] | pd.Series | None = None,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Divide a collection into splits, whole groups together.

    Parameters
    ----------
    groups : DataFrame
        ``image, group``: the groups table.
    ratios : sequence of float
        Share of the images that each split is to have; together 1.
    seed : int
        Which of the equally good splits.
    strata : mapping or Series, optional
        A label or number for each image, whose shares are to be alike in all splits: the number of ships,
        say. Numbers of more than ``MAX_STRATA`` distinct values are grouped into deciles.
    names : sequence of str, optional
        Names of the splits; ``train, validation, test`` for three, ``train, test`` for two.

    Returns
    -------
    DataFrame
        ``image, group, split``, sorted by image. Sizes of the splits, and of each stratum in them, come as
        close to the ratios as moving or exchanging groups can bring them, and no split is empty. A warning
        says so where a split misses its ratio by more than ``TOLERATED`` and more than an image.

    Raises
    ------
    ValueError
        If the ratios are not positive or do not sum to 1, names and ratios differ in number, a name is blank,
        there are fewer groups than splits, or an image has no stratum.
    """
    share, names = _checked(ratios, names)
    table = groups[["image", "group"]].sort_values("image", ignore_index=True)
    _, group = np.unique(table["group"].to_numpy(), return_inverse=True)
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups < len(share):
        raise ValueError(
            f"groups: {n_groups} groups cannot fill {len(share)} splits; groups stay whole, so that this "
            "collection needs fewer splits."
        )
    stratum = np.zeros(len(table), dtype=np.int64)
    if strata is not None:
        stratum = strata_of(table["image"], strata).codes.astype(np.int64)
    n_strata = int(stratum.max()) + 1
    # Column 0 counts all images of a group, the others those of each stratum.
    counts = np.zeros((n_groups, 1 + n_strata), dtype=np.int64)
    np.add.at(counts, (group, 1 + stratum), 1)
    counts[:, 0] = counts.sum(axis=1)
    counts = counts if n_strata > 1 else counts[:, :1]

    rng = np.random.default_rng(seed)
    starts = N_STARTS if n_groups <= FEW_GROUPS else 1
    found = [_assign(counts, share, rng, largest_first=number % 2 == 0) for number in range(starts)]
    assigned = min(found, key=lambda assignment: _miss(counts, share, assignment))
    reached = np.bincount(assigned, weights=counts[:, 0], minlength=len(share)) / len(table)
    if np.abs(reached - share).max() > max(TOLERATED, 1 / len(table)):
        shares = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, reached, strict=True))
        warnings.warn(
            f"Whole groups cannot meet the ratios {tuple(ratios)}: got {shares}; the largest group holds "
            f"{counts[:, 0].max()} of {len(table)} images.",
            stacklevel=2,
        )
    return table.assign(split=np.asarray(names, dtype=object)[assigned[group]])


def random_split(
    images: Sequence[str],
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The usual split, image by image and blind to overlaps, to measure what it leaks: ``image, split``."""
    share, names = _checked(ratios, names)
    ends = np.rint(np.cumsum(share) * len(images)).astype(np.int64)
    rank = np.random.default_rng(seed).permutation(len(images))
    code = np.searchsorted(ends, rank, side="right")
    return pd.DataFrame({"image": sorted(images), "split": np.asarray(names, dtype=object)[code]})


def group_array(groups: pd.DataFrame, images: Sequence[str]) -> Integers:
    """The group of each of ``images``, in their order: the ``groups`` argument of scikit-learn's splitters.

    Raises
    ------
    ValueError
        If an image has no group.
    """
    found = groups.set_index("image")["group"].reindex(list(images))
    if found.isna().any():
        raise ValueError(f"images: {found.index[found.isna()][0]!r} is not in the groups table.")
    return np.asarray(found, dtype=np.int64)


def read_strata(path: str | os.PathLike[str], images: Sequence[str], column: str | None = None) -> pd.Series:
    """A column of a CSV as strata: one value an image, indexed by image.

    The images are in the column ``image``, or else in the first one (``ImageId`` in the Airbus files), the
    strata in ``column``, or else in the first of the others. If any image has several rows (one a ship), the
    value of each image is the number of its rows in which the column is not empty.

    Raises
    ------
    ValueError
        If the file is no CSV table, there is no such column, or an image has no row.
    OSError
        If the file cannot be read.
    """
    table = read_csv(path)
    key = "image" if "image" in table else table.columns[0]
    others = list(table.columns.drop(key))
    if column is None and others:
        column = others[0]
    if column not in others:
        raise ValueError(f"column is {column!r}; {os.fspath(path)} has, beside {key!r}: {others}.")
    values = table.set_index(table[key].astype(str))[column]
    if values.index.has_duplicates:
        values = values.notna().groupby(level=0).sum()
    missing = pd.Index(images).difference(values.index)
    if len(missing):
        raise ValueError(f"{os.fspath(path)} has no row for {len(missing)} images, such as {missing[0]!r}.")
    return values.reindex(list(images))


def strata_of(images: Sequence[str], strata: Mapping[str, object] | pd.Series) -> pd.Categorical:
    """The stratum of each image by name: its label, or the lowest and highest number of its decile.

    Parameters
    ----------
    images : sequence of str
        Names of n images.
    strata : mapping or Series
        A label or number for each image, see :func:`split`.

    Returns
    -------
    Categorical
        n values, such as ``harbour`` or ``0 to 3``; numbers are in ascending order.

    Raises
    ------
    ValueError
        If an image has no stratum.
    """
    values = pd.Series(dict(strata), dtype=object).reindex(list(images)).infer_objects()
    if values.isna().any():
        raise ValueError(f"strata: image {values.index[values.isna()][0]!r} has no value.")
    if not pd.api.types.is_numeric_dtype(values):
        return pd.Categorical(values.astype(str))
    if values.nunique() <= MAX_STRATA:
        return pd.Categorical(values)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, MAX_STRATA + 1)))
    decile = np.searchsorted(edges[1:-1], np.asarray(values, dtype=np.float64), side="left")
    ends = values.groupby(decile).agg(["min", "max"])
    names = [f"{low} to {high}" if low < high else str(low) for low, high in ends.to_numpy()]
    return pd.Categorical.from_codes(np.searchsorted(ends.index, decile), names)


def _checked(ratios: Sequence[float], names: Sequence[str] | None) -> tuple[Floats, Sequence[str]]:
    share = np.asarray(ratios, dtype=np.float64)
    if len(share) < 2 or not (share > 0).all() or abs(share.sum() - 1) > 1e-6:
        raise ValueError(f"ratios are {tuple(ratios)}; give at least two positive shares that sum to 1.")
    if names is None:
        if len(share) not in SPLIT_NAMES:
            raise ValueError(f"names: {len(share)} ratios have no names of their own; pass as many names.")
        names = SPLIT_NAMES[len(share)]
    if len(names) != len(share) or len(set(names)) != len(names):
        raise ValueError(f"names are {tuple(names)}; {len(share)} ratios need as many different names.")
    if not all(name.strip() for name in names):
        raise ValueError(f"names are {tuple(names)}; a split needs a name that is not blank.")
    return share / share.sum(), names


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
