"""Matched points vote for the offset of their images; offsets with enough votes are proposals.

Two points of one piece of ground differ in position by the offset of their images, whatever the ground shows.
Points that match by accident scatter over all offsets. How often accidents agree is measured on the
collection itself: in the *control* the points of every second image change places, so that nothing can truly
agree, and the same matches vote again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.consensus import best_bins, distinct, medians, span
from dupnet.find.crowds import strongest
from dupnet.find.matches import MIN_COSINE, Pairs
from dupnet.find.point_table import PointTable, n_inside
from dupnet.find.points import is_fine

__all__ = [
    "COLUMNS",
    "EXACT_FROM",
    "PointTable",
    "Proposals",
    "grid_of",
    "propose",
    "tally",
]

Numbers = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

COLUMNS = (
    "image1", "image2", "y_offset", "x_offset", "height", "width", "n_votes", "n_expected", "deviation",
    "span_y", "span_x", "recurring", "rival_votes",
)  # fmt: skip

EXACT_FROM = 8
"""Votes from which the offset is exact to the pixel, in 998 of 1,000; below, neighbours are worth a look."""

MIN_VOTES, MIN_SHARE = 3, 0.03
"""Least votes of a proposal, and least share of those expected in the region that it claims."""

FEW_VOTES, FEW_SHARE = 2, 0.1
"""Or so few votes, if they are a larger share."""

LEAST_UNIQUE = 2
"""Least votes of codes that recur in neither image. On rows of equal roofs and furrows that fit one period
aside no offset had more than one such vote; the true offset had two and more wherever roofs differ."""

MAX_FALSE_SHARE = 0.5
"""Share of the proposals with so many votes that may be accidents, by the control; beyond, more is asked."""

N_OFFSETS = 3
"""Offsets of one pair that are looked at: the best, and its rivals."""

_NEAR = 2.5  # px from the median: votes for one offset
_CORE = 1.25  # px from the median: votes that the offset is the mean of
_FINE_WEIGHT = 4.0  # a fine point's position is a whole pixel, a coarse one's uncertain by about half a pixel
_SHARES = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45)
_STRIDE = 7919  # a prime: points of an image change places


class Proposals(NamedTuple):
    """``table``: proposed offsets, columns as :data:`COLUMNS`, sorted by image1, image2, then most votes
    first.

    ``n_skipped``: sure offsets (at least :data:`EXACT_FROM` votes) of images with very many that were left
    out, see :mod:`dupnet.find.crowds`. ``n_false``: how many of the table are accidents, by the control.
    ``false_matches``: matched points that support no proposal, an image. ``thresholds``: least share of the
    expected votes that a number of votes needed, above 1 where such proposals were all refused.
    """

    table: pd.DataFrame
    n_false: int
    false_matches: float
    thresholds: dict[int, float]
    n_skipped: int = 0

    def control(self) -> dict[str, Any]:
        """What was asked of proposals, and how often accidents agree, as ``run.json`` keeps it:
        ``min_cosine`` of two codes; ``least_shares``, of the expected votes by their number (None: refused);
        ``accidents``, such proposals of the control, beside ``proposals``; ``loose_matches``, matched points
        an image that support no proposal."""
        shares = {
            str(votes): share if np.isfinite(share) else None for votes, share in self.thresholds.items()
        }
        shares[str(EXACT_FROM)] = MIN_SHARE
        return {
            "min_cosine": MIN_COSINE,
            "least_shares": shares,
            "accidents": self.n_false,
            "proposals": len(self.table),
            "loose_matches": round(self.false_matches, 2),
        }


def told(control: Mapping[str, Any]) -> str:
    """A sentence on :meth:`Proposals.control`; what was asked of proposals is in ``run.json``."""
    return (
        f"Control: the points propose {control['proposals']} overlaps to the network; with the points "
        f"shuffled, so that every proposal is false, they propose {control['accidents']}."
    )


def propose(
    parts: Iterable[Pairs], points: PointTable, recurring: npt.NDArray[np.bool_] | None = None
) -> Proposals:
    """Proposed offsets of all pairs of images, from all matched points.

    Parameters
    ----------
    parts : iterable of Pairs
        Of :func:`dupnet.find.join.join`.
    points : PointTable
        All points that were joined.
    recurring : (n,) bool, optional
        Points whose code recurs within their image; from the join.

    Returns
    -------
    Proposals
        In ``table``: ``image1 < image2`` (numbers), ``y_offset, x_offset`` (pixels: image 2's origin in image
        1's frame), ``height, width`` of the common region; ``n_votes``; ``n_expected``, the votes to expect
        of such a region if every point were found again; ``deviation``, the standard error of the offset in
        pixels; ``span_y, span_x``, how far apart the votes lie; ``recurring``, the share of votes whose code
        recurs within an image (of a region that agrees with itself at another offset, votes prove less);
        ``rival_votes``, the most votes of another offset of the pair.
    """
    starts = np.searchsorted(points.images, np.arange(len(points.sizes) + 1))
    found, shuffled = [], []
    real, accidents = _counts(_empty()), _counts(_empty())
    n_matches = n_sure = 0
    for pairs in parts:
        n_matches += len(pairs.first)
        table, sure = tally(pairs, points, starts, recurring)
        rest = Pairs(pairs.first[~sure], pairs.second[~sure])
        control = tally(rest, points, starts, recurring, shuffled=True)[0]
        real += _counts(table)
        accidents += _counts(control)
        n_sure += _n_sure(table)
        # All rows of an image1 are in one part: those of a crowd are never held together.
        found.append(table[strongest(table, points.sizes, ends=("image1",))])
        shuffled.append(control[strongest(control, points.sizes, ends=("image1",))])
    table = pd.concat([_empty(), *found], ignore_index=True)
    control = pd.concat([_empty(), *shuffled], ignore_index=True)
    thresholds = _thresholds(real, accidents)
    kept = table[_passes(table, thresholds)]
    kept = kept[strongest(kept, points.sizes)].reset_index(drop=True)
    n_false = int(_passes(control, thresholds).sum())
    unexplained = (n_matches - int(kept["n_votes"].sum())) / max(1, len(points.sizes))
    return Proposals(kept, n_false, max(0.0, unexplained), thresholds, n_sure - _n_sure(kept))


def tally(
    pairs: Pairs,
    points: PointTable,
    starts: Numbers,
    recurring: npt.NDArray[np.bool_] | None = None,
    *,
    shuffled: bool = False,
) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """All offsets with at least two votes, and which of the pairs voted for one that is certain.

    ``starts``: (number of images + 1,) where the points of each image begin. ``shuffled``: with the
    places of other points of the second images.
    """
    first, second = pairs
    image1, image2 = points.images[first].astype(np.int64), points.images[second].astype(np.int64)
    placed = _shuffled(second, starts[image2], starts[image2 + 1]) if shuffled else second
    dy = points.y[first].astype(np.float64) - points.y[placed]
    dx = points.x[first].astype(np.float64) - points.x[placed]
    both = image1 * len(points.sizes) + image2
    weight = np.where(is_fine(points.kinds[first]), _FINE_WEIGHT, 1.0)
    sure = np.zeros(len(first), np.bool_)
    left = np.arange(len(first))
    rounds = []
    for turn in range(N_OFFSETS):
        left = left[_several(both[left])]
        if not len(left):
            break
        group, centre = best_bins(both[left], dy[left], dx[left])
        votes = group >= 0
        near = votes & (np.abs(dy[left] - centre[:, 0]) <= _NEAR) & (np.abs(dx[left] - centre[:, 1]) <= _NEAR)
        rows = left[near]
        if not len(rows):
            break
        rounds.append(
            _summary(
                both[rows], first[rows], second[rows], dy[rows], dx[rows], weight[rows], points, recurring
            )
        )
        if not turn:
            many = rounds[-1].set_index("both")["n_votes"].reindex(both[rows]).to_numpy() >= EXACT_FROM
            sure[rows[many]] = True
        left = left[~near]
    if not rounds:
        return _empty(), sure
    table = pd.concat(rounds, ignore_index=True)
    table = table[table["n_votes"] >= FEW_VOTES].reset_index(drop=True)
    table["image1"], table["image2"] = table["both"] // len(points.sizes), table["both"] % len(points.sizes)
    table = _with_regions(table, points, starts)
    table = table[(table["height"] > 0) & (table["width"] > 0)]
    if not len(table):
        return _empty(), sure
    table = table.sort_values(
        ["image1", "image2", "n_votes", "y_offset", "x_offset"], ascending=[True, True, False, True, True]
    )
    best = table.groupby("both")["n_votes"].transform("first")
    next_best = _second(table)
    rank = table.groupby("both").cumcount()
    table["rival_votes"] = np.where(rank == 0, next_best, best)
    return table[list(COLUMNS)].reset_index(drop=True), sure


def _shuffled(number: Numbers, start: Numbers, stop: Numbers) -> Numbers:
    """For each point another one of its image, far from it in the order; neighbours are torn apart."""
    return np.asarray(start + ((number - start) * _STRIDE + 1) % np.maximum(stop - start, 1))


def grid_of(table: pd.DataFrame, sizes: Numbers) -> int | None:
    """The grid on which a collection lies, in pixels, or None.

    Parameters
    ----------
    table : DataFrame
        Proposals.
    sizes : (number of images, 2) integers
        Height and width of the images.

    Returns
    -------
    int or None
        The largest multiple of 32 px, at least 64, of which all sure offsets (at least :data:`EXACT_FROM`
        votes) but one in a hundred, and all sides of images, are multiples; None if there is none, or no
        sure offset other than zero.
    """
    sure = table[table["n_votes"] >= EXACT_FROM]
    offsets = sure[["y_offset", "x_offset"]].to_numpy(np.int64)
    offsets = offsets[(offsets != 0).any(axis=1)]
    sides = np.unique(np.asarray(sizes, np.int64))
    if not len(offsets) or not len(sides):
        return None
    for step in range(int(sides.min()) // 32 * 32, 32, -32):
        if (sides % step == 0).all() and (offsets % step != 0).any(axis=1).mean() <= 0.01:
            return step
    return None


def _several(both: Numbers) -> npt.NDArray[np.bool_]:
    """Which rows belong to a pair of images with at least two rows."""
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] >= FEW_VOTES)


def _summary(
    both: Numbers,
    first: Numbers,
    second: Numbers,
    dy: Float,
    dx: Float,
    weight: Float,
    points: PointTable,
    recurring: npt.NDArray[np.bool_] | None,
) -> pd.DataFrame:
    """One row for each pair of images: the offset of its votes, and what they are like."""
    names, group = np.unique(both, return_inverse=True)
    n = len(names)
    middles = [medians(group, values, n, weight) for values in (dy, dx)]
    core = (np.abs(dy - middles[0][group]) <= _CORE) & (np.abs(dx - middles[1][group]) <= _CORE)
    core_weight = weight * core
    total = np.maximum(np.bincount(group, core_weight, n), 1e-9)
    squares = np.zeros(n)
    offsets = []
    for values, middle in zip((dy, dx), middles, strict=True):
        mean = np.bincount(group, core_weight * values, n) / total
        # Votes that surround no core (two, a little apart): the median stays.
        mean = np.where(total > 1e-6, mean, middle)
        squares += np.bincount(group, core_weight * (values - mean[group]) ** 2, n) / total
        offsets.append(mean)
    n_core = np.maximum(np.bincount(group, core, n), 1)
    votes = np.minimum(distinct(group, first, n), distinct(group, second, n))
    spans = [span(group, values[first].astype(np.float64), n) for values in (points.y, points.x)]
    again = np.zeros(len(first)) if recurring is None else recurring[first] | recurring[second]
    return pd.DataFrame(
        {
            "both": names,
            "y_offset": np.rint(offsets[0]).astype(np.int64),
            "x_offset": np.rint(offsets[1]).astype(np.int64),
            "n_votes": votes,
            # No spread of few votes shows less than a quarter of a pixel each.
            "deviation": np.sqrt(np.maximum(squares / 2, 0.25**2) / n_core),
            "span_y": spans[0],
            "span_x": spans[1],
            "recurring": np.bincount(group, again, n) / np.bincount(group, minlength=n),
        }
    )


def _with_regions(table: pd.DataFrame, points: PointTable, starts: Numbers) -> pd.DataFrame:
    """Add the common region, and the votes to expect in it."""
    one, two = table["image1"].to_numpy(np.int64), table["image2"].to_numpy(np.int64)
    offset = table[["y_offset", "x_offset"]].to_numpy(np.int64)
    size1, size2 = points.sizes[one], points.sizes[two]
    begin = np.maximum(offset, 0)
    extent = np.minimum(size1, offset + size2) - begin
    in_one = n_inside(one, begin, extent, offset, size2, points, starts)
    in_two = n_inside(two, begin - offset, extent, -offset, size1, points, starts)
    table["height"], table["width"] = extent[:, 0], extent[:, 1]
    table["n_expected"] = np.maximum(np.minimum(in_one, in_two), 1)
    return table


def _second(table: pd.DataFrame) -> Numbers:
    """For each row of a table sorted by pair and votes, the votes of its pair's second row (0 if none)."""
    if table.empty:
        return np.zeros(0, np.int64)
    both, votes = table["both"].to_numpy(), table["n_votes"].to_numpy()
    heads = np.flatnonzero(np.concatenate([[True], both[1:] != both[:-1]]))
    number = np.cumsum(np.concatenate([[True], both[1:] != both[:-1]])) - 1
    follows = np.minimum(heads + 1, len(both) - 1)
    second = np.where(both[follows] == both[heads], votes[follows], 0)
    second[follows == heads] = 0
    return np.asarray(second[number])


def _shares(table: pd.DataFrame) -> Float:
    return np.asarray(table["n_votes"] / table["n_expected"], np.float64)


def _n_sure(table: pd.DataFrame) -> int:
    return int(((table["n_votes"] >= EXACT_FROM) & (_shares(table) >= MIN_SHARE)).sum())


def _counts(table: pd.DataFrame) -> Numbers:
    """How many rows have each number of votes below :data:`EXACT_FROM`, and at least each share."""
    votes, shares = table["n_votes"].to_numpy(np.int64), _shares(table)
    counts = np.zeros((EXACT_FROM, len(_SHARES)), np.int64)
    for column, share in enumerate(_SHARES):
        weak = votes[(votes < EXACT_FROM) & (shares >= share)]
        counts[:, column] = np.bincount(weak, minlength=EXACT_FROM)
    return counts


def _thresholds(real: Numbers, accidents: Numbers) -> dict[int, float]:
    """Least share for each number of votes below :data:`EXACT_FROM`, so that few proposals are accidents;
    both counts as of :func:`_counts`."""
    chosen: dict[int, float] = {}
    for votes in range(FEW_VOTES, EXACT_FROM):
        base = FEW_SHARE if votes < MIN_VOTES else MIN_SHARE
        chosen[votes] = np.inf
        for column, share in enumerate(_SHARES):
            if share >= base and accidents[votes, column] <= MAX_FALSE_SHARE * real[votes, column]:
                chosen[votes] = share
                break
    return chosen


def _passes(table: pd.DataFrame, thresholds: dict[int, float]) -> npt.NDArray[np.bool_]:
    """Which offsets have enough votes, :data:`LEAST_UNIQUE` of them of codes that do not recur."""
    votes = table["n_votes"].to_numpy(np.int64)
    least = np.full(EXACT_FROM + 1, np.inf)
    least[FEW_VOTES:EXACT_FROM] = [thresholds[number] for number in range(FEW_VOTES, EXACT_FROM)]
    least[EXACT_FROM] = MIN_SHARE
    enough = _shares(table) >= least[np.minimum(votes, EXACT_FROM)]
    unique = np.rint(votes * (1 - table["recurring"].to_numpy(np.float64)))
    return np.asarray(enough & (unique >= LEAST_UNIQUE))


def _empty() -> pd.DataFrame:
    kinds = {"deviation": float, "span_y": float, "span_x": float, "recurring": float}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, np.int64)) for name in COLUMNS})
