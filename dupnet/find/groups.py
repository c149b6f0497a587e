"""From overlaps to groups: one consistent place for every image of a rebuilt acquisition.

Each duplicate overlap says where image 2 lies as seen from image 1, and around a loop of overlaps the offsets
must sum to zero. A few do not: a wrong overlap, or two days of one place that look alike in one tile. Then
the weakest overlaps of the loop are *rejected*, and reported: those whose evidence is outweighed by what
contradicts them, be it other overlaps or pairs of images that would lie on common ground although judging
told them apart (:mod:`dupnet.find.placement` has the method). The result depends on neither the order of
files nor that of rows.

Images whose places agree form a *mosaic*. A *group* is what must not be torn apart: all that duplicate or
altered overlaps join, rejected ones included.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dupnet.find.overlaps import (
    ALTERED,
    DUPLICATE,
    KEY,
    PLACE,
    REFUSED,
    REVISIT,
    UNDECIDABLE,
    Judge,
    concatenate,
    overlap_keys,
)
from dupnet.find.placement import Relations, residual, solve
from dupnet.tiles import TILE_SIZE, neighbours

__all__ = ["Placement", "Resolution", "close_refusals", "evidence", "joined_groups", "place", "resolve"]

MAX_STACK = 16
"""Copies of one image, all in one place, up to which every pair of them is an overlap of its own. More are a
*stack*: each is paired with its first image alone, and so are they with others, for their pairs grow with the
square of their number."""

DOUBT = 1e-3
"""No tile is trusted beyond one error in a thousand, whatever its score: the best signals measured make a
few errors in ten thousand pairs of tiles."""


CLOSE = 0.02
"""Score of the worst tile from which a refused overlap counts as refused closely: a logit of four below one
half. Ours; it decides only what is shown on request."""


class Placement(NamedTuple):
    """Where images lie, and the overlaps that contradict it.

    ``places``: ``group, mosaic, y, x``, one row an image, in the order of the images; groups and mosaics are
    numbered by their first image, ``y, x`` (pixels) count from zero in each mosaic. ``rejected``: overlaps as
    they were judged, with ``reason, y_residual, x_residual``.
    """

    places: pd.DataFrame
    rejected: pd.DataFrame


class Resolution(NamedTuple):
    """What is known of a collection in the end."""

    overlaps: pd.DataFrame
    """Duplicate, altered and undecidable overlaps that agree with the places."""
    places: pd.DataFrame
    rejected: pd.DataFrame
    revisits: pd.DataFrame
    refused: pd.DataFrame
    """Proposals that the network told apart, but for revisits."""
    n_stacked: int = 0
    """Images of stacks that were paired with the first image of their stack alone."""


def evidence(score: npt.ArrayLike, n_decidable: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How much an overlap proves: ``-n_decidable * ln(1 - score)``, with ``1 - score`` at least ``DOUBT``.

    If each of its tiles agreed by accident with a chance of 1 - score, all would with exp(-evidence). So nine
    tiles that agree count for more than one, and a doubtful tile for less than a sure one.
    """
    doubt = np.maximum(1 - np.asarray(score, dtype=np.float64), DOUBT)
    return np.asarray(-np.asarray(n_decidable) * np.log(doubt))


def place(judged: pd.DataFrame, n_images: int) -> Placement:
    """Place every image in its mosaic, rejecting the overlaps that stronger evidence contradicts.

    Parameters
    ----------
    judged : DataFrame
        Judged overlaps (:data:`dupnet.find.overlaps.JUDGED`). Those with the verdict ``duplicate`` or
        ``altered`` join images. Each ``refused`` one or ``revisit`` counts, by one tile's evidence (or by
        that of ``n_refusing`` tiles, where there is such a column), against placing the two images at that
        very offset. ``undecidable`` ones say nothing.
    n_images : int
        Number of images.

    Raises
    ------
    ValueError
        If a table pairs images that there are not, or one with itself.
    """
    judged = judged.drop_duplicates(KEY).sort_values(KEY, kind="stable", ignore_index=True)
    joining = judged[judged["verdict"].isin([DUPLICATE, ALTERED])].reset_index(drop=True)
    parting = judged[judged["verdict"].isin([REFUSED, REVISIT])]
    joined = _relations(joining, _weight(joining), n_images)
    tiles = parting["n_refusing"].fillna(1) if "n_refusing" in parting else np.ones(len(parting))
    parted = _relations(parting, -_thousandths(1 - parting["score"], tiles), n_images)
    both = Relations(*(np.concatenate(columns) for columns in zip(joined, parted, strict=True)))

    first_image, position = solve(n_images, both)
    firsts, mosaic = np.unique(first_image, return_inverse=True)
    origin = np.full((len(firsts), 2), np.iinfo(np.int64).max)
    np.minimum.at(origin, mosaic, position)
    position = position - origin[mosaic]
    places = pd.DataFrame(
        {
            "group": _connected(n_images, joined),
            "mosaic": mosaic,
            "y": position[:, 0],
            "x": position[:, 1],
        }
    )
    return Placement(places, _rejected(joining, joined, mosaic, position))


def resolve(
    proposals: pd.DataFrame,
    sizes: npt.ArrayLike,
    judge: Judge,
    least: int,
    max_stack: int | None = MAX_STACK,
) -> Resolution:
    """Judge proposals, place the images, judge what their places imply, and again until nothing is new.

    Search misses weak overlaps (a dark sea after strong compression, a narrow region); geometry does not.

    Parameters
    ----------
    proposals : DataFrame
        :data:`~dupnet.find.overlaps.KEY`, ``n_votes``, and what ``judge`` needs beside them.
    sizes : (n_images, 2) integers
        Height and width of each image, in pixels.
    judge : callable
        See :data:`dupnet.find.overlaps.Judge`.
    least : int
        Side in pixels that the common region of two images must have, in both directions, to be judged.
    max_stack : int or None
        See :data:`MAX_STACK`; None to judge every pair of copies.

    Returns
    -------
    Resolution
        Of undecidable overlaps, those that places imply are listed; that they show the same place and moment
        follows from their neighbours only. Overlaps that were rejected are not.
    """
    shape = np.asarray(sizes, dtype=np.int64)
    judged = judge(proposals).assign(n_votes=proposals["n_votes"].to_numpy())
    judged = judged[judged["verdict"] != UNDECIDABLE]
    while True:
        places, rejected = place(judged, len(shape))
        copies, first = _stacked(places, shape, max_stack)
        implied = judge(_implied(places, shape, judged, least, copies, first)).assign(n_votes=0)
        is_known = implied["verdict"] == UNDECIDABLE
        if is_known.all():
            break
        judged = concatenate([judged, implied[~is_known]])
    is_found = judged["verdict"].isin([DUPLICATE, ALTERED])
    is_found &= ~overlap_keys([judged]).isin(overlap_keys([rejected]))
    by_verdict = {verdict: judged[judged["verdict"] == verdict] for verdict in (REVISIT, REFUSED)}
    found = concatenate([judged[is_found], implied])
    return Resolution(
        found[~_within_stacks(found, copies, first)].reset_index(drop=True),
        places,
        rejected,
        _elsewhere(by_verdict[REVISIT], places),
        by_verdict[REFUSED].reset_index(drop=True),
        len(copies),
    )


def close_refusals(refused: pd.DataFrame) -> pd.DataFrame:
    """Of the overlaps that the network refused, those that a person may see otherwise: the worst tile scores
    from :data:`CLOSE`, or more decidable tiles agree than differ."""
    agree = 2 * refused["n_differing"] < refused["n_decidable"]
    return refused[(refused["score"] >= CLOSE) | agree].reset_index(drop=True)


def _elsewhere(revisits: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Revisits without those whose two images lie elsewhere in one mosaic: these agree by accident, as
    structure that repeats itself does."""
    first, second = (revisits[end].to_numpy(np.int64) for end in KEY[:2])
    mosaic = places["mosaic"].to_numpy(np.int64)
    position = places[["y", "x"]].to_numpy(np.int64)
    offset = revisits[["y_offset", "x_offset"]].to_numpy(np.int64)
    is_placed_so = (position[second] - position[first] == offset).all(axis=1)
    return revisits[(mosaic[first] != mosaic[second]) | is_placed_so].reset_index(drop=True)


def _stacked(
    places: pd.DataFrame, sizes: npt.NDArray[np.int64], max_stack: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images of stacks but the first of each, and of each of them that first."""
    none = np.zeros(0, np.int64)
    if max_stack is None:
        return none, none
    spot = np.column_stack([places[["mosaic", "y", "x"]].to_numpy(np.int64), sizes])
    _, first, stack, count = np.unique(
        spot, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    leader = first[stack.ravel()]
    copies = np.flatnonzero((count[stack.ravel()] > max_stack) & (leader != np.arange(len(spot))))
    return copies, leader[copies]


def _within_stacks(
    found: pd.DataFrame, copies: npt.NDArray[np.int64], leaders: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Overlaps of copies that were proposed, but with another image than their leader: (n,) bool.

    Of a copy whose overlap with its leader is none, all are kept.
    """
    one, two = (found[end].to_numpy(np.int64) for end in KEY[:2])
    n_images = max(int(two.max(initial=0)), int(copies.max(initial=0))) + 1
    is_with_leader = np.isin(one * n_images + two, leaders * n_images + copies)
    listed = np.zeros(n_images, np.bool_)
    listed[two[is_with_leader]] = True
    return np.asarray((listed[one] | listed[two]) & ~is_with_leader)


def _implied(
    places: pd.DataFrame,
    sizes: npt.NDArray[np.int64],
    known: pd.DataFrame,
    least: int,
    copies: npt.NDArray[np.int64],
    leaders: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """Overlaps that places imply and that were not judged yet, with the place of image 1.

    ``copies`` are paired with their ``leaders`` alone.
    """
    number = np.setdiff1d(np.arange(len(places)), copies)
    some = places.iloc[number]
    first, second, down, right = neighbours(
        some["mosaic"], some["y"], some["x"], sizes[number, 0], sizes[number, 1], least
    )
    zero = np.zeros(len(copies), np.int64)
    columns = (
        np.concatenate([number[first], leaders]),
        np.concatenate([number[second], copies]),
        np.concatenate([down, zero]),
        np.concatenate([right, zero]),
    )
    first = columns[0]
    table = pd.DataFrame(dict(zip(KEY, columns, strict=True)))
    # Counted from the first image of the mosaic, as in dupnet.find.point_search.with_places: on one lattice,
    # each image is described once.
    mosaic = places["mosaic"].to_numpy(np.int64)
    origin = np.unique(mosaic, return_index=True)[1][mosaic[first]]
    position = places[["y", "x"]].to_numpy(np.int64)
    at = position[first] - position[origin]
    table = table.assign(**dict(zip(PLACE, (origin, *at.T), strict=True)))
    return table[~overlap_keys([table]).isin(overlap_keys([known]))].reset_index(drop=True)


def _weight(joining: pd.DataFrame) -> npt.NDArray[np.int64]:
    """What overlaps prove, in thousandths; at least one, for a score of zero still joins where nothing speaks
    against it.

    An altered one proves as much as sure tiles of :data:`~dupnet.tiles.TILE_SIZE` of the ground that agrees
    would, at least one: where a mark covers most of what an image shares with one neighbour, which is refused
    then, what it shares with others must outweigh that.
    """
    is_altered = joining["verdict"] == ALTERED
    agreeing = joining["score"] * joining["height"] * joining["width"] / TILE_SIZE**2
    n_tiles = joining["n_decidable"].astype(np.float64).mask(is_altered, agreeing.clip(lower=1))
    return np.maximum(_thousandths(joining["score"].mask(is_altered, 1.0), n_tiles), 1)


def _thousandths(score: pd.Series, n_decidable: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Evidence in whole thousandths, whose sums do not depend on their order."""
    return np.rint(1000 * evidence(score, n_decidable)).astype(np.int64)


def _relations(table: pd.DataFrame, weight: npt.NDArray[np.int64], n_images: int) -> Relations:
    first, second = (table[column].to_numpy(dtype=np.int64) for column in KEY[:2])
    wrong = (first < 0) | (second < 0) | (first >= n_images) | (second >= n_images) | (first == second)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"judged: images {first[at]} and {second[at]} are paired; pass two different ones of the "
            f"{n_images} images, numbered from 0."
        )
    return Relations(first, second, table[["y_offset", "x_offset"]].to_numpy(dtype=np.int64), weight)


def _connected(n_images: int, relations: Relations) -> npt.NDArray[np.int64]:
    """What relations connect, numbered by the first image: (n_images,)."""
    links = coo_array((np.ones(len(relations.a)), (relations.a, relations.b)), shape=(n_images, n_images))
    component = connected_components(links.tocsr(), directed=False)[1]
    firsts, place_of = np.unique(component, return_index=True)
    return np.asarray(np.argsort(np.argsort(place_of))[np.searchsorted(firsts, component)], np.int64)


def joined_groups(
    group: npt.NDArray[np.int64], one: npt.NDArray[np.int64], two: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Groups of images, (n_images,), that pairs of images (k,) join, too, numbered by the first image."""
    n = len(group)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    links = Relations(
        np.concatenate([first[inverse], one]),
        np.concatenate([np.arange(n), two]),
        np.zeros((n + len(one), 2), np.int64),
        np.ones(n + len(one), np.int64),
    )
    return _connected(n, links)


def _rejected(
    joining: pd.DataFrame,
    relations: Relations,
    mosaic: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
) -> pd.DataFrame:
    missed = residual(relations, position)
    apart = mosaic[relations.a] != mosaic[relations.b]
    is_rejected = apart | missed.any(axis=1)
    residuals = {
        name: pd.arrays.IntegerArray(missed[is_rejected, axis].copy(), apart[is_rejected])
        for axis, name in enumerate(("y_residual", "x_residual"))
    }
    reason = np.where(apart, "neighbours", "loop")[is_rejected].astype(object)
    return joining[is_rejected].assign(reason=reason, **residuals).reset_index(drop=True)
