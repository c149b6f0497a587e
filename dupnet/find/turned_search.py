"""The search for copies that were mirrored or turned by quarters: the same steps, on turned images.

A turned image is taken for an image of its own, whose pixels, points and sizes are those of the image after
the turn. So offsets are whole pixels, exact as elsewhere, nothing is resampled, and the verdict is that of
:mod:`dupnet.find.verification`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.cache import Cache
from dupnet.find.collection import SCRATCH
from dupnet.find.describe import Described
from dupnet.find.join import Joined, join
from dupnet.find.matches import Pairs, packed, unpacked
from dupnet.find.overlaps import KEY, concatenate
from dupnet.find.point_search import region_judge
from dupnet.find.points import CODE_LENGTH
from dupnet.find.refinement import refine_offsets
from dupnet.find.regions import Image
from dupnet.find.turns import NONE
from dupnet.find.votes import PointTable, propose
from dupnet.images.image import MAX_PIXELS
from dupnet.images.transforms import N_TURNS, TURNS, relative_turn, turn_matrix, turned, turned_sizes
from dupnet.network.descriptors import Weights

__all__ = ["judge_turned", "propose_turned", "turned_reader"]

Codes = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def propose_turned(
    cache: Cache,
    described: Described,
    points: PointTable,
    ignored: Mask,
    scratch: Path,
    is_against: Mask | None,
    workers: int,
    progress: bool = False,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Propose overlaps of images with turned ones.

    Parameters
    ----------
    cache : Cache
        With :data:`dupnet.find.turns.TURNED_COLUMNS`.
    described : Described
        The images.
    points, ignored : PointTable, (n,) bool
        The points that were joined upright, and those of them that do not count.
    scratch : path
        A folder for what does not fit into memory.
    is_against : (n_images,) bool, optional
        Images held against the others.
    workers, progress
        Threads, and whether to show progress.

    Returns
    -------
    proposals : DataFrame
        :data:`~dupnet.find.overlaps.KEY` and ``n_votes``; ``image2`` is the number of the image, plus the
        number of its turn times that of images: what :func:`turned_reader` reads.
    counts : dict
        What to tell of the search.
    """
    n_images = len(described.images)
    sizes = described.sizes
    # What is read part by part is not turned.
    small = sizes.prod(axis=1) <= MAX_PIXELS
    point, codes, turns = _oriented(cache, described, points, small)
    with TemporaryDirectory(prefix=SCRATCH, dir=scratch) as folder:
        joined = join(
            codes,
            points.images[point],
            points.kinds[point],
            sides=is_against,
            ignored=ignored[point],
            workers=workers,
            scratch=folder,
            progress=progress,
        )
        try:
            recurring = np.zeros(len(points.y), np.bool_)
            recurring[point[joined.recurring]] = True
            found, skipped, false = [], 0, 0
            for turn in range(1, N_TURNS):
                both = _beside_turned(points, turn)
                matches = _of_turn(joined, point, turns, turn, len(points.y))
                proposed = propose(matches, both, np.tile(recurring, 2))
                table = proposed.table[[*KEY, "n_votes"]]
                found.append(table.assign(image2=table["image2"] + (turn - 1) * n_images))
                skipped, false = skipped + proposed.n_skipped, false + proposed.n_false
        finally:
            joined.close()
    proposals = pd.concat(found, ignore_index=True)
    counts = {
        "proposals_turned": len(proposals),
        "proposals_turned_skipped": skipped,
        "proposals_turned_false": false,
    }
    return proposals, counts


def _oriented(
    cache: Cache, described: Described, points: PointTable, small: Mask
) -> tuple[Numbers, Codes, npt.NDArray[np.uint8]]:
    """The turned codes of points: the number of each one's point, ascending, the codes, and their turns."""
    names = [described.images[number] for number in np.unique(points.images)]
    rows = cache.rows_of(names)
    of_small = small[points.images]
    turns = [cache.read(name, rows)[:, 0] for name in ("turns", "other_turns")]
    chosen = [np.flatnonzero((turn != NONE) & of_small) for turn in turns]
    point = np.concatenate(chosen)
    order = np.argsort(point, kind="stable")
    codes = np.empty((len(point), CODE_LENGTH), np.int8)
    at = np.argsort(order, kind="stable")  # where each lies when sorted
    begin = 0
    for name, some in zip(("turned_codes", "other_codes"), chosen, strict=True):
        codes[at[begin : begin + len(some)]] = cache.read(name, rows[some]).view(np.int8)
        begin += len(some)
    turned_by = np.concatenate([turn[some] for turn, some in zip(turns, chosen, strict=True)])
    return point[order], codes, turned_by[order]


def _of_turn(
    joined: Joined, point: Numbers, turns: npt.NDArray[np.uint8], turn: int, n_points: int
) -> Iterator[Pairs]:
    """Matched points whose images lie on each other by one turn, the second of them as turned, whose numbers
    follow those of all points; each pair once."""
    for pairs in joined:
        of_turn = relative_turn[turns[pairs.first], turns[pairs.second]] == turn
        first, second = point[pairs.first[of_turn]], point[pairs.second[of_turn]]
        once = unpacked(np.unique(packed(first, second)))
        yield Pairs(once.first, once.second + n_points)


def _beside_turned(points: PointTable, turn: int) -> PointTable:
    """The points of the images as they are, and after them those of the images that were turned."""
    n_images = len(points.sizes)
    linear = TURNS[turn]
    corner = (points.sizes - 1) @ linear.T
    shift = np.where(corner < 0, -corner, 0)[points.images]
    at = [linear[axis, 0] * points.y + linear[axis, 1] * points.x + shift[:, axis] for axis in (0, 1)]
    return PointTable(
        np.concatenate([points.y, at[0].astype(np.float32)]),
        np.concatenate([points.x, at[1].astype(np.float32)]),
        np.tile(points.kinds, 2),
        np.concatenate([points.images, points.images + np.int32(n_images)]),
        np.concatenate([points.sizes, turned_sizes(points.sizes, turn)]),
        points.dense,
    )


def turned_reader(read: Callable[[int], Image], n_images: int) -> Callable[[int], Image]:
    """A function from an image's number, plus that of its turn times that of images, to its turned pixels."""

    def read_turned(number: int) -> Image:
        turn, image = divmod(number, n_images)
        grey, valid = read(image)
        if not turn:
            return grey, valid
        return (
            np.ascontiguousarray(turned(grey, turn)),
            None if valid is None else np.ascontiguousarray(turned(valid, turn)),
        )

    return read_turned


def judge_turned(
    proposals: pd.DataFrame,
    described: Described,
    read: Callable[[int], Image],
    weights: Weights,
    workers: int,
    progress: bool = False,
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Judge proposals of :func:`propose_turned`.

    Returns
    -------
    judged : DataFrame
        As :func:`dupnet.find.verification.judge` has them, with the numbers of images.
    matrices : (n, 2, 3) float64
        The transform of each.
    """
    n_images = len(described.images)
    every = np.concatenate([turned_sizes(described.sizes, turn) for turn in range(N_TURNS)])
    read_turned = turned_reader(read, n_images)
    refined = concatenate([refine_offsets(proposals, read_turned, workers, progress)])
    judge = region_judge(read_turned, described._replace(sizes=every), weights, workers, progress)
    judged = judge(refined)
    turns, image2 = np.divmod(judged["image2"].to_numpy(np.int64), n_images)
    offsets = judged[["y_offset", "x_offset"]].to_numpy(np.float64).tolist()
    matrices = [
        turn_matrix(turn, height, width, y, x)
        for turn, (height, width), (y, x) in zip(
            turns.tolist(), described.sizes[image2].tolist(), offsets, strict=True
        )
    ]
    return judged.assign(image2=image2), np.array(matrices, np.float64).reshape(-1, 2, 3)
