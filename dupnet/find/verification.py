"""From two images and the offset between them to a verdict on what they share.

The network judges the tiles of the region (:mod:`dupnet.find.regions`). Two images are *duplicates* there if
every tile with something to judge by agrees. Of small regions that is not enough: 1 or 2 of 100 of another
day pass, and so do roofs laid on each other a period aside; the pixels must agree, too
(:mod:`dupnet.find.small_regions`). Where some tiles differ, one acquisition may have been *altered*
afterwards, by a watermark, a frame, a collar or an edit: then most of the ground still agrees, piece by
piece. Of another day, a *revisit*, most does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.find.agreement import (
    agreeing_share,
    covered_pixels,
    high_passed_both,
    middle,
)
from dupnet.find.lattice import OnLattice
from dupnet.find.overlaps import (
    AGREEING_SHARE,
    ALTERED,
    DUPLICATE,
    KEY,
    PLACE,
    REFUSED,
    REVISIT,
    SCORE_DECIMALS,
    UNDECIDABLE,
)
from dupnet.find.region_scores import agreeing_shares, score_tiles
from dupnet.find.regions import Compared, Image, Region, common_region, compare_regions
from dupnet.find.small_regions import SMALL_CELLS, SMALL_SIDE, is_misplaced, pixels_agree
from dupnet.find.votes import EXACT_FROM
from dupnet.network.descriptors import Weights, load_weights
from dupnet.tiles import CELL_SIZE

__all__ = [
    "VERDICT_COLUMNS",
    "PAIRS_AT_A_TIME",
    "in_order",
    "judge",
]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

_KINDS: dict[str, Any] = {
    "height": np.int64, "width": np.int64, "n_tiles": np.int64, "n_decidable": np.int64,
    "n_differing": np.int64, "score": np.float64, "verdict": object, AGREEING_SHARE: np.float64,
}  # fmt: skip

VERDICT_COLUMNS = tuple(_KINDS)
"""Columns that :func:`judge` adds to a table of pairs."""

PAIRS_AT_A_TIME = 64
"""Pairs judged together. Fixed, for the last digits of a score depend on what it is computed beside."""

ALTERED_SHARE = 2 / 3
"""Share of the cells with evidence that such tiles must cover. Two copies, 256 px and wider, of which one was
altered reach 0.68 and more but for collars over most of them; versions of another day stay below 0.42."""

ALTERED_WINDOWS = 0.88
"""Share of the windows of 16 px that must agree where no such tiles do, as where one change in the middle of
a chip of 256 px leaves none. 180 copies of 256 px, of Derna and Kitsap, of which a square of up to 6 % was
replaced, reach 0.89; 147 of another day, of which 23 % and more changed, stay below 0.79, and 12 photographed
revisits below 0.13."""

ALTERED_SIDE = 192
"""Narrow side in pixels from which on a region's windows decide so: of 128 px, one of 205 of another day
reached 0.91."""

LONGEST_ASKED = 512
"""Side in pixels of the middle of a region whose windows are asked; a larger one has room for tiles."""

COVERED_PIXELS = 2 * CELL_SIZE**2
"""Pixels from which on an image was altered that covers them, by a collar or a frame, where the other shows
ground."""

REVISIT_VOTES = 8
"""Votes for one offset from which on two images that the network refuses show the same ground."""

BAND = 2048
"""Height in pixels of the bands in which pairs of a group are judged, so that images which are needed
together come one after the other."""


def judge(
    pairs: pd.DataFrame,
    shapes: npt.ArrayLike,
    read: Callable[[int], Image],
    cells: Callable[[int, tuple[int, int]], OnLattice],
    weights: Weights | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Judge what pairs of images share.

    Parameters
    ----------
    pairs : DataFrame
        ``image1, image2`` (numbers), ``y_offset, x_offset`` (pixels: image 2's origin in image 1's frame).
        Where there are ``group, y, x``, the place of image 1 in its group, the group's lattice is used; else
        that of image 1. Where there is ``n_votes``, refused pairs are revisits from :data:`REVISIT_VOTES`
        on. Other columns are kept.
    shapes : (n_images, 2) integers
        Height and width of every image.
    read : callable
        Number -> grey (height, width) uint8 and its valid pixels, bool or None for all. It should remember
        the last few dozen images: pairs are judged in an order by which images come close together.
    cells : callable
        Number and phase -> :func:`dupnet.find.lattice.describe_on_lattice` of the image; it should remember,
        too.
    weights : Weights, optional
        The shipped ones by default.
    workers : int, optional
        Threads; one for every core by default. ``read`` and ``cells`` are called from all of them.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    DataFrame
        The pairs in their order, and :data:`VERDICT_COLUMNS`: ``height, width`` of the common region;
        ``n_tiles``, ``n_decidable`` of them, ``n_differing`` of those; ``score``, the lowest of the decidable
        tiles, of an altered overlap the share of its ground that agrees, NaN if undecidable; ``verdict``:
        ``duplicate``, ``altered``, ``undecidable``, ``revisit`` or ``refused``; ``agreeing_share``, of pairs
        refused at a sure offset, the share of their ground in which the pixels agree, NaN if unknown.
    """
    weights = weights or load_weights()
    order = in_order(pairs)
    wanted = _Wanted(
        pairs[KEY].to_numpy(np.int64)[order],
        (pairs[PLACE[1:]] if "group" in pairs else pairs[KEY[2:]] * 0).to_numpy(np.int64)[order],
        pairs["n_votes"].to_numpy(np.int64)[order] if "n_votes" in pairs else None,
    )
    by_tiles = partial(
        _judged_by_tiles, shapes=np.asarray(shapes, np.int64), read=read, cells=cells, weights=weights
    )
    judged = partial(_judge_part, by_tiles=by_tiles, weights=weights)
    parts = (wanted.part(at) for at in range(0, len(pairs), PAIRS_AT_A_TIME))
    with one_blas_thread():
        bar = tqdm(total=len(pairs), desc="judge", unit="pair", disable=not progress)
        found = []
        with bar:
            for part in map_in_order(judged, parts, n_workers(workers)):
                bar.update(len(part["verdict"]))
                found.append(part)
    empty = {name: np.zeros(0, kind) for name, kind in _KINDS.items()}
    back = np.argsort(order)
    columns = {
        name: np.concatenate([empty[name], *(part[name] for part in found)])[back] for name in VERDICT_COLUMNS
    }
    return pairs.reset_index(drop=True).assign(**columns)


class _Wanted(NamedTuple):
    """Pairs to be judged: :data:`KEY` (n, 4), place of image 1 (n, 2), and votes (n,) or None."""

    keys: Numbers
    places: Numbers
    votes: Numbers | None

    def part(self, start: int) -> _Wanted:
        rows = slice(start, start + PAIRS_AT_A_TIME)
        return _Wanted(self.keys[rows], self.places[rows], None if self.votes is None else self.votes[rows])


def in_order(pairs: pd.DataFrame) -> Numbers:
    """An order of pairs by which images that are near each other in a group come close together."""
    image1, image2 = (pairs[name].to_numpy(np.int64) for name in ("image1", "image2"))
    if "group" not in pairs:
        return np.lexsort([image2, image1])
    y, x = (pairs[name].to_numpy(np.int64) for name in ("y", "x"))
    return np.lexsort([image2, image1, x, y // BAND, pairs["group"].to_numpy(np.int64)])


@dataclass
class _Part:
    """Pairs that are judged together, and what is known of each: arrays (n,), by the names of their columns.

    ``votes``: what places say, without votes, is as exact as what they follow from. ``misplaced``: refused,
    since the two images agree better elsewhere.
    """

    regions: list[Region]
    images: Sequence[tuple[Callable[[], Image], Callable[[], Image]]]
    compared: Compared
    votes: Numbers
    n_tiles: Numbers
    n_decidable: Numbers
    n_differing: Numbers
    score: npt.NDArray[np.float64]
    verdict: npt.NDArray[np.object_]
    misplaced: Mask
    agreeing_share: npt.NDArray[np.float64]

    def having(self, verdict: str, also: Mask | bool = True) -> list[int]:
        """Numbers of the pairs of this verdict, of which ``also`` holds."""
        return np.flatnonzero((self.verdict == verdict) & also).tolist()

    def count(self, cells: Mask) -> Numbers:
        """How many cells of each region are true."""
        return np.diff(np.append(0, np.cumsum(cells))[self.compared.starts])

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """By the names of :data:`VERDICT_COLUMNS`."""
        sides = np.array([(region.height, region.width) for region in self.regions], np.int64).reshape(-1, 2)
        named = {name: getattr(self, name) for name in VERDICT_COLUMNS[2:]}
        rounded = {name: named[name].round(SCORE_DECIMALS) for name in ("score", AGREEING_SHARE)}
        return {"height": sides[:, 0], "width": sides[:, 1], **named, **rounded}


def _judge_part(
    wanted: _Wanted, by_tiles: Callable[[_Wanted], _Part], weights: Weights
) -> dict[str, npt.NDArray[Any]]:
    part = by_tiles(wanted)
    _refuse_by_pixels(part)
    _find_covered(part)
    _find_altered(part, weights)
    if wanted.votes is not None:
        are_of_one_place = ~part.misplaced & (wanted.votes >= REVISIT_VOTES)
        part.verdict[part.having(REFUSED, are_of_one_place)] = REVISIT
    return part.columns()


def _judged_by_tiles(
    wanted: _Wanted,
    shapes: Numbers,
    read: Callable[[int], Image],
    cells: Callable[[int, tuple[int, int]], OnLattice],
    weights: Weights,
) -> _Part:
    """By the network alone: duplicates if every tile with something to judge by agrees."""
    regions, images, lattices, phases = [], [], [], []
    for (one, two, y, x), place in zip(wanted.keys.tolist(), wanted.places.tolist(), strict=True):
        regions.append(common_region(shapes[one], shapes[two], y, x))
        images.append((partial(read, one), partial(read, two)))
        phase = (-place[0] % CELL_SIZE, -place[1] % CELL_SIZE)
        other = ((phase[0] - y) % CELL_SIZE, (phase[1] - x) % CELL_SIZE)
        lattices.append((partial(cells, one, phase), partial(cells, two, other)))
        phases.append(phase)
    compared = compare_regions(regions, images, lattices, phases, weights)
    n_tiles, n_decidable, n_differing, score = score_tiles(compared, weights)
    verdict = np.full(len(regions), DUPLICATE, object)
    verdict[n_decidable == 0] = UNDECIDABLE
    verdict[n_differing > 0] = REFUSED
    votes = np.full(len(regions), EXACT_FROM) if wanted.votes is None else wanted.votes
    misplaced, agreeing = np.zeros(len(regions), bool), np.full(len(regions), np.nan)
    return _Part(
        regions,
        images,
        compared,
        votes,
        n_tiles,
        n_decidable,
        n_differing,
        score,
        verdict,
        misplaced,
        agreeing,
    )


def _refuse_by_pixels(part: _Part) -> None:
    """Refuse what the pixels of a small region, or of one whose offset is not sure, do not bear out."""
    n_seen = part.count(part.compared.evidence1 & part.compared.evidence2)
    for number in part.having(DUPLICATE):
        region, is_sure = part.regions[number], bool(part.votes[number] >= EXACT_FROM)
        is_small = min(region.height, region.width) < SMALL_SIDE or bool(n_seen[number] < SMALL_CELLS)
        found = pixels_agree(region, part.images[number], float(part.score[number]), is_small, is_sure)
        if not found.agree:
            part.verdict[number], part.misplaced[number] = REFUSED, found.misplaced
            part.n_differing[number] = part.n_decidable[number]


def _find_covered(part: _Part) -> None:
    """Call those altered of which a collar or a frame in one image covers what the other shows."""
    for number in part.having(DUPLICATE, part.count(part.compared.valid_in_one) > 0):
        region = part.regions[number]
        n_covered = covered_pixels(region, *(read() for read in part.images[number]))
        if n_covered >= COVERED_PIXELS:
            part.verdict[number], part.n_differing[number] = ALTERED, 1
            part.score[number] = 1 - n_covered / (region.height * region.width)


def _find_altered(part: _Part, weights: Weights) -> None:
    """Call those altered that the network refused for some tiles, while most of the ground agrees."""
    refused = part.having(REFUSED, ~part.misplaced)
    for number, share in zip(refused, agreeing_shares(part.compared, refused, weights), strict=True):
        region, images = part.regions[number], part.images[number]
        if share < ALTERED_SHARE and part.votes[number] >= EXACT_FROM:
            asked = middle(region, LONGEST_ASKED, LONGEST_ASKED)
            windows = agreeing_share(*high_passed_both(asked, images[0](), images[1]()))
            part.agreeing_share[number] = windows
            is_wide = min(region.height, region.width) >= ALTERED_SIDE
            if asked == region and is_wide and windows >= ALTERED_WINDOWS:
                share = windows
        if share >= ALTERED_SHARE and not is_misplaced(region, images):
            part.verdict[number], part.score[number] = ALTERED, share
