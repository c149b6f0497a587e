"""From overlaps to groups: one consistent place on a common grid for every image of a rebuilt acquisition.

Each duplicate overlap says where image 2 lies as seen from image 1, and around a loop of overlaps the
offsets must sum to nought. A few do not: a wrong overlap, or two days of one place that look alike in one
tile. Then the weakest overlaps of the loop are *cut*, and reported: those whose evidence is outweighed by
what contradicts them, be it other overlaps or pairs of images that would lie on common ground although
verification told them apart (:mod:`dupnet.find.placement` has the method). The result depends on neither the
order of files nor that of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.overlaps import ScorePairs, complete, concatenate, image_index, verify
from dupnet.find.placement import Relations, residual, solve
from dupnet.tiles import Grid

__all__ = ["CUT_COLUMNS", "Placement", "Resolution", "evidence", "place", "resolve"]

CUT_COLUMNS = (
    "image1",
    "image2",
    "overlap_tag",
    "row_offset",
    "col_offset",
    "n_decidable",
    "score",
    "reason",
    "row_residual",
    "col_residual",
)
"""Columns of the cuts table: each overlap that was given up, why, and by how many tiles it misses its place.
 ``reason`` is ``loop`` (its offset contradicts stronger overlaps; the residual is its offset less the placed
one, that is the sum around the loop) or ``neighbours`` (its two sides would overlap elsewhere too, and there
they are not duplicates: they became groups of their own, and the residual is empty)."""

DOUBT = 1e-3
"""No tile is trusted beyond one error in a thousand, whatever its score: the best signals measured make a
few errors in ten thousand pairs of tiles."""

_KEY = ["image1", "image2", "row_offset", "col_offset"]


class Placement(NamedTuple):
    """``groups``: ``image, group, row, col``, one row an image; ``cuts``: the columns ``CUT_COLUMNS``."""

    groups: pd.DataFrame
    cuts: pd.DataFrame


class Resolution(NamedTuple):
    """What is known of a collection in the end: the overlaps that were not cut, the groups, the cuts."""

    overlaps: pd.DataFrame
    groups: pd.DataFrame
    cuts: pd.DataFrame


def evidence(score: npt.ArrayLike, n_decidable: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How much an overlap proves: ``-n_decidable * ln(1 - score)``, with ``1 - score`` at least ``DOUBT``.

    If each of its tiles agreed by accident with a chance of 1 - score, all would with exp(-evidence). So nine
    tiles that agree count for more than one, and a doubtful tile for less than a sure one.
    """
    doubt = np.maximum(1 - np.asarray(score, dtype=np.float64), DOUBT)
    return np.asarray(-np.asarray(n_decidable) * np.log(doubt))


def place(overlaps: pd.DataFrame, images: Sequence[str], rejected: pd.DataFrame | None = None) -> Placement:
    """Place every image on the grid of its group, cutting the overlaps that stronger evidence contradicts.

    Parameters
    ----------
    overlaps : DataFrame
        The overlaps table. Rows with the verdict ``duplicate`` join images; ``undecidable`` ones do not.
    images : sequence of str
        Every readable image, sorted.
    rejected : DataFrame, optional
        ``image1, image2, row_offset, col_offset, score``: overlaps that verification judged not to be
        duplicates. Each counts, by one tile's evidence, against placing the two images at that very offset.

    Returns
    -------
    Placement
        ``groups``: ``image`` (sorted), ``group`` (numbered by first image; an image without overlaps is a
        group of one), ``row, col`` (place of the image's upper left tile, from 0 in each group). ``cuts``:
        ``CUT_COLUMNS``.

    Raises
    ------
    ValueError
        If the images are not sorted and unique, or a table pairs images that are not among them.
    """
    index = image_index(images)
    duplicates = overlaps[overlaps["verdict"] == "duplicate"].drop_duplicates(_KEY)
    duplicates = duplicates.sort_values(_KEY, kind="stable", ignore_index=True)
    # Thousandths, at least one: a score of nought still joins where nothing speaks against it.
    weight = np.maximum(_thousandths(duplicates["score"], duplicates["n_decidable"]), 1)
    joining = _relations(duplicates, weight, index, "overlaps")
    relations = joining
    if rejected is not None:
        rejected = rejected.drop_duplicates(_KEY)
        weight = -_thousandths(1 - rejected["score"], np.ones(len(rejected)))
        parting = _relations(rejected, weight, index, "rejected")
        relations = Relations(*(np.concatenate(columns) for columns in zip(joining, parting, strict=True)))

    first_image, position = solve(len(index), relations)
    firsts, group = np.unique(first_image, return_inverse=True)
    origin = np.full((len(firsts), 2), np.iinfo(np.int64).max)
    np.minimum.at(origin, group, position)
    position = position - origin[group]
    groups = pd.DataFrame(
        {"image": index.to_numpy(), "group": group, "row": position[:, 0], "col": position[:, 1]}
    )
    return Placement(groups, _cuts(duplicates, joining, group, position))


def resolve(
    proposals: pd.DataFrame,
    images: Sequence[str],
    score_pairs: ScorePairs,
    decidable: npt.ArrayLike,
    threshold: float,
    grid: Grid = Grid(),
    batch_size: int = 16_384,
) -> Resolution:
    """Verify proposals, place the images, verify what their places imply, and again until nothing is new.

    The parameters are those of :func:`dupnet.find.overlaps.verify`. Of overlaps without a decidable tile,
    those that positions imply are listed, as ``undecidable``; overlaps that were cut are not.
    """
    options = (images, score_pairs, decidable, threshold, grid, batch_size)
    found, rejected = verify(proposals, *options)
    found = found[found["verdict"] == "duplicate"]
    while True:
        groups, cuts = place(found, images, rejected)
        implied = complete(groups, [found, rejected], *options)
        is_duplicate = implied.overlaps["verdict"] == "duplicate"
        if not is_duplicate.any() and implied.rejected.empty:
            break
        found = concatenate([found, implied.overlaps[is_duplicate]])
        rejected = concatenate([rejected, implied.rejected])
    is_cut = pd.MultiIndex.from_frame(found[_KEY]).isin(pd.MultiIndex.from_frame(cuts[_KEY]))
    return Resolution(concatenate([found[~is_cut], implied.overlaps]), groups, cuts)


def _thousandths(score: pd.Series, n_decidable: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Evidence in whole thousandths, whose sums do not depend on their order."""
    return np.rint(1000 * evidence(score, n_decidable)).astype(np.int64)


def _relations(table: pd.DataFrame, weight: npt.NDArray[np.int64], index: pd.Index, name: str) -> Relations:
    first, second = (index.get_indexer(table[column]).astype(np.int64) for column in ("image1", "image2"))
    for column, numbers in (("image1", first), ("image2", second)):
        if (numbers < 0).any():
            unknown = table[column].iloc[int(np.argmin(numbers))]
            raise ValueError(f"{name}: {column} {unknown!r} is not among the images.")
    if (first == second).any():
        itself = table["image1"].iloc[int(np.argmax(first == second))]
        raise ValueError(f"{name}: image {itself!r} is paired with itself.")
    return Relations(first, second, table[["row_offset", "col_offset"]].to_numpy(dtype=np.int64), weight)


def _cuts(
    duplicates: pd.DataFrame,
    joining: Relations,
    group: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
) -> pd.DataFrame:
    missed = residual(joining, position)
    apart = group[joining.a] != group[joining.b]
    is_cut = apart | missed.any(axis=1)
    cuts = duplicates[is_cut].assign(
        reason=np.where(apart, "neighbours", "loop")[is_cut].astype(object),
        row_residual=pd.array(missed[is_cut, 0], dtype="Int64"),
        col_residual=pd.array(missed[is_cut, 1], dtype="Int64"),
    )
    cuts.loc[apart[is_cut], ["row_residual", "col_residual"]] = pd.NA
    return cuts[list(CUT_COLUMNS)].reset_index(drop=True)
