"""A given split repaired: no group torn, with the fewest images moved."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from dupnet.splits.assignment import kept_together
from dupnet.splits.entries import BUFFER, Splits, entries_of
from dupnet.splits.ground import Found

__all__ = ["MOVE_COLUMNS", "Repair", "repair"]

Integers = npt.NDArray[np.int64]

MOVE_COLUMNS = ("image", "from", "to")
"""Columns of the table of moves. An image that was listed in two splits has a row for each that it leaves."""


class Repair(NamedTuple):
    """``splits``: ``image, group, split``. ``moves``: the columns :data:`MOVE_COLUMNS`. ``unmatched``:
    ``name, split, reason``, names of the given split that fit no image."""

    splits: pd.DataFrame
    moves: pd.DataFrame
    unmatched: pd.DataFrame


def repair(splits: Splits, result: Found, *, keep_revisits: bool = False) -> Repair:
    """Move the fewest images that leave no group in two splits.

    Each group goes where most of its images are; where several splits have as many, to the one that is most
    below its size in the given split. No split is left empty, if there are groups enough. Images that the
    given split leaves out or sets aside as ``buffer`` stay so. A warning says so where a split keeps less
    than half of its images.

    Parameters
    ----------
    splits : DataFrame, mapping or path
        As for :func:`dupnet.splits.leaks.audit`.
    result : FindResult
        What ``find`` found.
    keep_revisits : bool
        Keep images together, too, that show the same ground at another time.

    Raises
    ------
    ValueError, OSError
        As :func:`dupnet.splits.leaks.audit`.
    """
    table = kept_together(result, revisits=keep_revisits)
    entries, unmatched = entries_of(splits, table["image"].tolist())
    listed = entries[entries["split"] != BUFFER]
    group = table["group"].to_numpy()[listed["number"]]
    names, code = np.unique(listed["split"].to_numpy(object), return_inverse=True)
    counts = pd.crosstab(group, code).reindex(columns=range(len(names)), fill_value=0)
    votes = counts.to_numpy()
    is_most = votes == votes.max(axis=1, keepdims=True)
    goal = np.argmax(votes, axis=1)
    # An image listed twice leaves one of its splits: sizes are those that the list gives.
    wanted = votes.sum(axis=0)
    n_images = listed.assign(group=group).drop_duplicates("number")["group"].value_counts()
    size = n_images.reindex(counts.index).to_numpy()
    is_tied = is_most.sum(axis=1) > 1
    held = np.bincount(goal[~is_tied], weights=size[~is_tied], minlength=len(names))
    for row in np.flatnonzero(is_tied)[np.argsort(-size[is_tied], kind="stable")]:
        lack = np.where(is_most[row], wanted - held, -np.inf)
        goal[row] = int(np.argmax(lack))
        held[goal[row]] += size[row]

    _fill_empty(goal, votes)
    left = np.bincount(goal, weights=size, minlength=len(names))
    lost = left < wanted / 2
    if lost.any():
        words = ", ".join(
            f"{name!r} keeps {int(now)} of {before}"
            for name, now, before in zip(names[lost], left[lost], wanted[lost], strict=True)
        )
        warnings.warn(
            f"The fewest moves leave little: {words} images. A new split (`dupnet split DIR --ratios`) "
            "meets its sizes, with more moves.",
            stacklevel=2,
        )
    split_of_group = dict(zip(counts.index, names[goal], strict=True))
    now = listed.assign(to=[split_of_group[number] for number in group])
    moved = now[now["split"] != now["to"]]
    moves = pd.DataFrame(
        {"image": table["image"].to_numpy(object)[moved["number"]], "from": moved["split"], "to": moved["to"]}
    )[list(MOVE_COLUMNS)].reset_index(drop=True)
    kept = pd.concat(
        [
            now[["number", "to"]].rename(columns={"to": "split"}),
            entries.loc[entries["split"] == BUFFER, ["number", "split"]],
        ]
    ).drop_duplicates("number")
    kept = kept.sort_values("number")
    rows = table.iloc[kept["number"]].reset_index(drop=True)
    return Repair(rows.assign(split=kept["split"].to_numpy(object)), moves, unmatched)


def _fill_empty(goal: Integers, votes: Integers) -> None:
    """Give each split a group, if one is empty and there are groups enough, moving the fewest images; in
    place.

    One group stands for each split, and all others stay: the cheapest choice of those is an assignment
    problem."""
    n_groups, n_splits = votes.shape
    if n_groups >= n_splits and len(np.unique(goal)) < n_splits:
        cost = votes.max(axis=1, keepdims=True) - votes
        chosen, split = linear_sum_assignment(cost)
        goal[chosen] = split
