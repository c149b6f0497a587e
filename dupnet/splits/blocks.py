"""A spatial split inside large groups: by square blocks of their mosaics, with a buffer between the splits.

A collection cut from one acquisition is one group, which cannot be in two splits as a whole. Its ground can
be divided: each image goes where the block of its centre goes, and of images of two splits that share ground
one is set aside (``buffer``), so that no pixel is in two splits."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.splits.balance import balanced, counts_of
from dupnet.splits.ground import Found, common_ground, relations

__all__ = ["split_blocks"]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def split_blocks(
    result: Found,
    table: pd.DataFrame,
    share: Floats,
    seed: int,
    stratum: Integers,
    blocks: int,
    *,
    keep_revisits: bool = False,
) -> Integers:
    """A split for each image, groups larger than the smallest split divided by blocks.

    Parameters
    ----------
    result : FindResult
        What ``find`` found.
    table : DataFrame
        ``image, group``: what is kept together, sorted by image.
    share : (n_splits,) float64
        What each split is to have; together 1.
    seed : int
        Which of the equally good splits.
    stratum : (n_images,) int64
        Of each image, in the order of ``table``.
    blocks : int
        Side of a block in pixels.
    keep_revisits : bool
        Whether ground shown at two times counts as common ground, too.

    Returns
    -------
    (n_images,) int64
        Numbers of splits; ``n_splits`` stands for the buffer.

    Raises
    ------
    ValueError
        If there are too few blocks and groups, or a split is empty.
    """
    if blocks < 1:
        raise ValueError(f"blocks is {blocks}; a block needs a side of at least 1 px.")
    places = result.groups.set_index("image").loc[table["image"]].reset_index()
    _, group, size = np.unique(table["group"].to_numpy(), return_inverse=True, return_counts=True)
    is_large = (size > share.min() * len(table))[group]
    unit = _units(places, group, is_large, blocks)
    n_units = int(unit.max()) + 1
    if n_units < len(share):
        raise ValueError(
            f"blocks: {n_units} blocks of {blocks} px and groups cannot fill {len(share)} splits; "
            "choose smaller blocks."
        )
    assigned = balanced(counts_of(unit, stratum), share, seed)[unit]
    first, second = _conflicts(result, places, keep_revisits=keep_revisits)
    across = assigned[first] != assigned[second]
    assigned[_dropped(first[across], second[across], share[assigned])] = len(share)
    left = np.bincount(assigned, minlength=len(share))[: len(share)]
    if not left.all():
        raise ValueError(
            f"blocks: with blocks of {blocks} px a split is left empty: all its images share ground with "
            "another; choose larger blocks, another seed, or fewer splits."
        )
    return assigned


def _units(places: pd.DataFrame, group: Integers, is_large: npt.NDArray[np.bool_], blocks: int) -> Integers:
    """What goes to one split as a whole, numbered: small groups, and blocks of the mosaics of large ones."""
    block = np.stack(
        [
            np.where(is_large, 1, 0),
            np.where(is_large, places["mosaic"], group),
            *(
                np.where(is_large, (places[at] + places[side] // 2) // blocks, 0)
                for at, side in (("y", "height"), ("x", "width"))
            ),
        ],
        axis=1,
    )
    return np.asarray(np.unique(block, axis=0, return_inverse=True)[1], np.int64).ravel()


def _conflicts(result: Found, places: pd.DataFrame, *, keep_revisits: bool) -> tuple[Integers, Integers]:
    """Pairs of images that must not be in two splits: common ground of any width, contradicted overlaps, and
    revisits if they are to be kept together."""
    tables = [result.rejected, *([result.revisits] if keep_revisits else [])]
    pairs = [common_ground(result.overlaps, places, least=1), *(relations(table, places) for table in tables)]
    both = np.concatenate([table[["number1", "number2"]].to_numpy(np.int64) for table in pairs])
    both = np.unique(np.sort(both, axis=1), axis=0)
    return both[:, 0], both[:, 1]


def _dropped(first: Integers, second: Integers, weight: Floats) -> list[int]:
    """Images to set aside so that none of the pairs is left: as few as can be found quickly.

    Always the one in most pairs goes next. One of a small split counts for more, as it has fewer to give:
    ``weight`` (n_images,) is the share of the split of each image.
    """
    rivals: dict[int, set[int]] = {}
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        rivals.setdefault(one, set()).add(other)
        rivals.setdefault(other, set()).add(one)
    queue = [(-len(others) * weight[image], image, len(others)) for image, others in rivals.items()]
    heapify(queue)
    dropped = []
    while queue:
        _, image, count = heappop(queue)
        if count != len(rivals[image]):  # it has changed since
            continue
        if count == 0:
            continue
        dropped.append(image)
        for other in rivals[image]:
            rivals[other].discard(image)
            heappush(queue, (-len(rivals[other]) * weight[other], other, len(rivals[other])))
        rivals[image] = set()
    return dropped
