"""Copies as one: images that show the same from the first pixel to the last stand in the report once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dupnet.images.transforms import is_transformed

__all__ = ["Folded", "fold"]


class Folded(NamedTuple):
    """Overlaps with every stack of copies seen as its first image."""

    overlaps: pd.DataFrame
    """The rows that remain, as they were, sorted as before."""
    stacks: dict[str, list[str]]
    """First image of each stack, and all of its images in order, the first among them; the largest first."""
    n_within: int
    """Rows left out because both images are of one stack."""
    n_repeated: int
    """Rows left out because they say of a copy what another row says of the first of its stack."""


def fold(overlaps: pd.DataFrame, groups: pd.DataFrame) -> Folded:
    """See the copies of a collection as stacks.

    Two images are copies if they are duplicates, equally large, at no offset. Altered ones are none.

    Parameters
    ----------
    overlaps : DataFrame
        ``image1, image2, y_offset, x_offset, height, width, verdict``.
    groups : DataFrame
        ``image, height, width``.
    """
    images = pd.Index(groups["image"])
    ends = np.stack([images.get_indexer(overlaps[name]) for name in ("image1", "image2")], axis=1)
    sizes = groups[["height", "width"]].to_numpy(np.int64)
    region = overlaps[["height", "width"]].to_numpy(np.int64)
    is_copy = (overlaps["verdict"].to_numpy() == "duplicate") & (
        (overlaps[["y_offset", "x_offset"]].to_numpy(np.int64) == 0)
        & (sizes[ends[:, 0]] == region)
        & (sizes[ends[:, 1]] == region)
    ).all(axis=1)
    is_copy &= ~is_transformed(overlaps)
    if not is_copy.any():
        return Folded(overlaps, {}, 0, 0)
    joined = ends[is_copy]
    graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(len(images),) * 2)
    stack = connected_components(graph, directed=False)[1]
    names = pd.Series(images.to_numpy(object)).sort_values(kind="stable")
    of_stack = names.groupby(stack[names.index.to_numpy()], sort=False)
    several = {members.iloc[0]: members.tolist() for _, members in of_stack if len(members) > 1}
    is_within = stack[ends[:, 0]] == stack[ends[:, 1]]
    # Of several rows that say the same of two stacks, one stays: that of the first images, if it is there.
    is_first = np.isin(overlaps[["image1", "image2"]].to_numpy(object), _firsts(several, images)).sum(axis=1)
    sign = np.where(stack[ends[:, 0]] <= stack[ends[:, 1]], 1, -1)
    keys = pd.DataFrame(
        {
            "one": stack[ends].min(axis=1),
            "two": stack[ends].max(axis=1),
            "y": sign * overlaps["y_offset"].to_numpy(np.int64),
            "x": sign * overlaps["x_offset"].to_numpy(np.int64),
            "verdict": overlaps["verdict"].to_numpy(object),
        }
    )
    order = np.argsort(-is_first, kind="stable")
    is_repeated = np.zeros(len(overlaps), bool)
    is_repeated[order] = keys.iloc[order].duplicated().to_numpy()
    is_repeated &= ~is_within
    largest_first = dict(sorted(several.items(), key=lambda stack: (-len(stack[1]), stack[0])))
    return Folded(
        overlaps[~is_within & ~is_repeated], largest_first, int(is_within.sum()), int(is_repeated.sum())
    )


def _firsts(stacks: dict[str, list[str]], images: pd.Index) -> list[str]:
    """Every image that stands for itself: the first of a stack, and those of none."""
    others = {name for members in stacks.values() for name in members[1:]}
    return [name for name in images if name not in others]
