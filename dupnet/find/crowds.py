"""Images that share ground with very many others: their strongest proposals, and what connects all.

A thousand nearly equal images propose half a million overlaps, of which a thousand connect them. Judging the
rest costs time and memory, and tells nothing that their places do not imply.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from dupnet.find.groups import MAX_STACK

__all__ = ["MAX_PROPOSALS", "strongest"]

MAX_PROPOSALS = 64
"""Proposals of one image that are judged, beside those that connect it: well above the 24 others with which
an image on a 3 x 3 grid shares ground, and as many as :data:`dupnet.find.search.MAX_NEIGHBOURS`."""

COPY_SHARE = 0.5
"""Share of the expected votes from which two images of one size, in one place, are taken for copies: saved
anew, most points are found again; at another time, few are. Of copies, an image keeps no more proposals than
:data:`dupnet.find.groups.MAX_STACK`."""


def strongest(
    table: pd.DataFrame,
    sizes: npt.NDArray[np.int64],
    ends: tuple[str, ...] = ("image1", "image2"),
) -> npt.NDArray[np.bool_]:
    """Which proposals are kept: (n,) bool.

    Those among the :data:`MAX_PROPOSALS` (of copies, ``MAX_STACK``) of most votes of an image, and a spanning
    forest of most votes: what all proposals connect, the kept ones connect.

    Parameters
    ----------
    table : DataFrame
        ``image1, image2, y_offset, x_offset, n_votes, n_expected``.
    sizes : (number of images, 2) int64
        Height and width of the images.
    ends : tuple of str
        Images whose proposals count: of both ends, or of one alone.
    """
    one, two = (table[name].to_numpy(np.int64) for name in ("image1", "image2"))
    votes = table["n_votes"].to_numpy(np.int64)
    is_copy = (table[["y_offset", "x_offset"]].to_numpy(np.int64) == 0).all(axis=1)
    is_copy &= (sizes[one] == sizes[two]).all(axis=1)
    is_copy &= votes >= COPY_SHARE * table["n_expected"].to_numpy(np.float64)
    most = np.where(is_copy, MAX_STACK, MAX_PROPOSALS)
    order = np.lexsort([two, one, -votes])
    rank = np.empty(len(table), np.int64)
    rank[order] = np.arange(len(table))
    kept = np.zeros(len(table), np.bool_)
    for end in ends:
        kept |= _rank_within(2 * table[end].to_numpy(np.int64) + is_copy, rank) < most
    if not kept.all():
        kept[_spanning(one, two, rank, len(sizes))] = True
    return kept


def _rank_within(group: npt.NDArray[np.int64], rank: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The place of each row within its group, by ``rank``."""
    order = np.lexsort([rank, group])
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.repeat(begins, np.diff(np.append(begins, len(group))))
    return place


def _spanning(
    one: npt.NDArray[np.int64], two: npt.NDArray[np.int64], rank: npt.NDArray[np.int64], n_images: int
) -> npt.NDArray[np.int64]:
    """Rows of the spanning forest of the best ranks."""
    by_rank = np.argsort(rank)
    _, first = np.unique((one * n_images + two)[by_rank], return_index=True)
    rows = by_rank[first]  # of each pair of images the best
    # Ranks differ, so that there is one such forest; zero would be no link.
    links = coo_array((rank[rows] + 1.0, (one[rows], two[rows])), shape=(n_images, n_images))
    chosen = minimum_spanning_tree(links.tocsr()).data.astype(np.int64) - 1
    return np.asarray(by_rank[chosen], np.int64)
