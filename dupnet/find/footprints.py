"""What the georeferences of files propose: overlaps of footprints, moved to where the pixels agree.

A georeference is a proposal like any other. Where points already tell the offset of two images, it says
nothing new; elsewhere it leads to overlaps with too few points to be found by them. It may be some pixels
off, so the offset is that at which the pixels agree best; where they agree nowhere near, the network alone
cannot tell an offset to the pixel, and the overlap is not accepted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.workers import map_in_order
from dupnet.find.agreement import CERTAIN, SMALLEST_TEMPLATE, refine_offset
from dupnet.find.describe import Described
from dupnet.find.overlaps import ALTERED, DUPLICATE, KEY, UNDECIDABLE, Judge, overlap_keys
from dupnet.find.regions import Image, common_region
from dupnet.find.votes import EXACT_FROM
from dupnet.images.georeference import (
    Georeference,
    disagreements,
    footprint_pairs,
    read_georeference,
)
from dupnet.tiles import CELL_SIZE

__all__ = ["Proposed", "Surveyed", "confirming", "contradictions", "propose", "survey"]

PLAIN_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"))
"""Endings of files that are not opened once more to look for a georeference: their kinds hold none."""

MOST_PAIRS = 16
"""Pairs of footprints of which an image is the first at most: as many as copies of one image are paired
(:data:`dupnet.find.groups.MAX_STACK`)."""

RADIUS = 16
"""How far, in pixels, a georeference may be off: 8 m at 0.5 m, more than satellites are without ground
control (CE90 of 3 to 5 m)."""


class Surveyed(NamedTuple):
    """What files say of where their images lie."""

    georeferences: dict[str, Georeference]
    """Image to where it lies; only those whose files say so, at least one."""
    pairs: pd.DataFrame
    """:data:`dupnet.images.georeference.FOOTPRINT_COLUMNS`."""
    n_skipped: int
    """Pairs of footprints that were not looked at (:data:`MOST_PAIRS`)."""


class Proposed(NamedTuple):
    """Overlaps that footprints propose."""

    table: pd.DataFrame
    """:data:`~dupnet.find.overlaps.KEY` and ``n_votes``, which are zero."""
    is_sure: npt.NDArray[np.bool_]
    """Whether the pixels agree there: (n,)."""


def survey(
    files: Mapping[str, Path],
    described: Described,
    is_against: npt.NDArray[np.bool_] | None = None,
    workers: int = 1,
) -> Surveyed | None:
    """Read the georeferences of the usable images, and pair their footprints; None if no file has one.

    ``is_against`` (n_images,): images held against the others; only pairs across the two count.
    """
    names = [name for name in described.images if os.path.splitext(name)[1].lower() not in PLAIN_ENDINGS]
    found = map_in_order(read_georeference, [files[name] for name in names], workers)
    georeferences = {name: one for name, one in zip(names, found, strict=True) if one is not None}
    if not georeferences:
        return None
    against = None if is_against is None else set(np.array(described.images, object)[is_against])
    pairs, n_skipped = footprint_pairs(georeferences, against, MOST_PAIRS)
    return Surveyed(georeferences, pairs, n_skipped)


def propose(
    surveyed: Surveyed,
    proposals: pd.DataFrame,
    described: Described,
    read: Callable[[int], Image],
    workers: int = 1,
) -> Proposed:
    """Overlaps that footprints predict beyond those that points propose, moved to where the pixels agree.

    Parameters
    ----------
    surveyed : Surveyed
        What :func:`survey` found.
    proposals : DataFrame
        :data:`~dupnet.find.overlaps.KEY` and ``n_votes``: what points propose. Where it is sure of a pair, or
        proposes an offset up to :data:`RADIUS` px from the predicted one, points go first.
    described : Described
        The images.
    read : callable
        Number -> grey pixels and which are valid, as for :func:`dupnet.find.verification.judge`.
    workers : int
        Threads.
    """
    pairs = surveyed.pairs[surveyed.pairs["y_offset"].notna()]
    pairs = pairs[pairs[["height", "width"]].min(axis=1) >= CELL_SIZE]
    index = pd.Index(described.images)
    table = pd.DataFrame(
        {
            **{end: index.get_indexer(pairs[end]).astype(np.int64) for end in KEY[:2]},
            **{name: np.rint(pairs[name].to_numpy(np.float64)).astype(np.int64) for name in KEY[2:]},
        }
    )
    # A pair may have several proposals.
    both = table.reset_index().merge(proposals, on=KEY[:2], suffixes=("", "_found"))
    apart = np.maximum(*((both[name] - both[f"{name}_found"]).abs() for name in KEY[2:]))
    known = both.loc[(apart <= RADIUS) | (both["n_votes"] >= EXACT_FROM), "index"].unique()
    table = table.drop(index=known).reset_index(drop=True)
    sizes = described.sizes

    def refined(key: Sequence[int]) -> tuple[int, int, bool]:
        one, two, y, x = key
        region = common_region(sizes[one], sizes[two], y, x)
        radius = min(RADIUS, (min(region.height, region.width) - SMALLEST_TEMPLATE) // 2)
        found = refine_offset(read(one), read(two), y, x, radius) if radius > 0 else None
        if found is None or found.correlation <= CERTAIN:
            return y, x, False
        return found.y_offset, found.x_offset, True

    moved = list(map_in_order(refined, table.to_numpy().tolist(), workers))
    offsets = np.array([one[:2] for one in moved], np.int64).reshape(-1, 2)
    table = table.assign(y_offset=offsets[:, 0], x_offset=offsets[:, 1], n_votes=np.int64(0))
    return Proposed(table[[*KEY, "n_votes"]], np.array([one[2] for one in moved], bool))


def confirming(judge: Judge, proposed: Proposed) -> Judge:
    """A judge that accepts no proposal of a georeference of which the pixels do not tell the offset."""
    unsure = overlap_keys([proposed.table[~proposed.is_sure]])
    return partial(_confirmed, judge=judge, unsure=unsure)


def _confirmed(pairs: pd.DataFrame, judge: Judge, unsure: pd.MultiIndex) -> pd.DataFrame:
    judged = judge(pairs)
    if "n_votes" in pairs:  # what places imply has no votes, and is exact
        is_open = judged["verdict"].isin([DUPLICATE, ALTERED]) & overlap_keys([judged]).isin(unsure)
        judged.loc[is_open & (judged["n_votes"] == 0), "verdict"] = UNDECIDABLE
    return judged


def contradictions(
    surveyed: Surveyed,
    overlaps: pd.DataFrame,
    revisits: pd.DataFrame,
    refused: pd.DataFrame,
    images: Sequence[str],
) -> pd.DataFrame:
    """Where georeferences and pixels disagree: :data:`dupnet.images.georeference.DISAGREEMENT_COLUMNS`.

    ``overlaps`` and ``revisits`` by name, as found; ``refused`` by the numbers of ``images``: of the pairs
    whose footprints overlap, those count that were judged and refused, for what shows nothing cannot
    disagree.
    """
    names = np.array(images, object)
    judged = pd.MultiIndex.from_arrays([names[refused[end].to_numpy(np.int64)] for end in KEY[:2]])
    pairs = surveyed.pairs[pd.MultiIndex.from_frame(surveyed.pairs[list(KEY[:2])]).isin(judged)]
    certain = overlaps[overlaps["verdict"].isin([DUPLICATE, ALTERED])]
    return disagreements(pairs, certain, revisits, surveyed.georeferences)
