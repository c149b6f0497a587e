"""The search for copies that were resized, stretched, rotated by some degrees.

Points of every image, as it is, lie ready; then every image is reduced step by step, and what it shows at
each step is looked up among them. Matches of two images propose a transform, which windows of the pixels
refine. The verdict is the network's, on the common region in the frame of the coarser image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.files.workers import map_in_order, n_workers, one_blas_thread
from dupnet.find.describe import Described
from dupnet.find.extrema import SMALL_BELOW
from dupnet.find.fits import MIN_VOTES, Fit, fit_matches
from dupnet.find.loose_join import Lookup
from dupnet.find.overlaps import KEY
from dupnet.find.point_search import region_judge
from dupnet.find.recent import Recent
from dupnet.find.regions import Image
from dupnet.find.registration import MAX_RESIDUAL, Laid, Registered, laid_size, lay, registered
from dupnet.find.scaled_points import ANGLES, FACTORS, ScaledPoints, Step, scaled_points
from dupnet.images.image import MAX_PIXELS
from dupnet.images.transforms import TURNS, bounds, decompose, inverse
from dupnet.network.descriptors import Weights

__all__ = ["Candidates", "Sought", "judge_rescaled", "propose_rescaled", "steps_of"]

Numbers = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Read = Callable[[int], Image]

MAX_ROTATION = 20.0
"""Degrees beyond which a fit is none of those that are searched."""

FACTOR_RANGE = 0.37, 2.7
"""What each side of an image may be resized by."""

MAX_CANDIDATES = 64
"""Images with which one image, as the finer of two, is registered: those of most votes."""

ASPECT_STEP = 0.1
"""Logarithm of the ratio of two factors, of height and width, that counts as a stretch of its own."""

MAX_ASPECTS = 4
"""Stretches of one image that are tried at all angles, since its shape and those of others say that it may
have been stretched so: the most frequent."""

OTHER_ASPECTS = (-3, -1.5, 1.5, 3)
"""Stretches, in steps, that are tried without rotation of any image: by 0.74 to 1.35."""

LEAST_CHANGE = 1.0
"""Pixels, at the rim of an image, by which it must be changed beside its turn."""

LAID_BYTES = 2**27
"""What is remembered of regions that were resampled."""


class Candidates(NamedTuple):
    """Pairs of images, image1 < image2, the transform of image 2 into image 1 of each, and the votes for
    it."""

    image1: Numbers
    image2: Numbers
    matrices: Float
    n_votes: Numbers
    counts: dict[str, int]


class Sought(NamedTuple):
    """Which pairs of images are looked for."""

    known: set[tuple[int, int]]
    """Pairs, smaller number first, that are not."""
    mosaics: Numbers
    """Of each image what it is placed in: two of one mosaic lie on each other as they are."""
    is_against: Mask | None
    """Images held against the others, if any: pairs are of both."""


def steps_of(number: int, sizes: Numbers, turned: bool) -> list[Step]:
    """How an image is changed before its points are looked up: reduced in steps; stretched, too, as its shape
    and those of others say that it may have been."""
    shape = np.log(sizes[:, 0] / sizes[:, 1])
    ratios = shape - shape[number]
    if turned:  # onto its side
        ratios = np.concatenate([ratios, -shape - shape[number]])
    kinds, frequent = np.unique(np.rint(ratios / ASPECT_STEP).astype(int), return_counts=True)
    possible = np.abs(kinds * ASPECT_STEP) <= np.log(FACTOR_RANGE[1])
    order = np.argsort(-frequent[possible], kind="stable")[:MAX_ASPECTS]
    aspects: dict[float, tuple[float, ...]] = dict.fromkeys(kinds[possible][order].tolist(), ANGLES)
    for aspect in OTHER_ASPECTS:
        if all(abs(aspect - known) > 1 for known in aspects):
            aspects[aspect] = (0.0,)
    return [
        Step(factor * np.exp(aspect * ASPECT_STEP / 2), factor * np.exp(-aspect * ASPECT_STEP / 2), angles)
        for aspect, angles in sorted(aspects.items())
        for factor in FACTORS
    ]


def propose_rescaled(
    described: Described,
    read: Read,
    images: npt.NDArray[np.int32],
    sought: Sought,
    turned: bool,
    workers: int,
    progress: bool = False,
) -> Candidates:
    """Pairs of images that points say lie on each other when changed.

    Parameters
    ----------
    described : Described
        The images.
    read : callable
        From an image's number to its pixels.
    images : (n,) int32
        Those to be looked at, ascending.
    sought : Sought
        Which pairs of them are looked for.
    turned : bool
        Whether they may be mirrored and turned by quarters, too.
    workers, progress
        Threads, and whether to show progress.
    """
    sizes = described.sizes
    usable = images[sizes[images].prod(axis=1) <= MAX_PIXELS].astype(np.int64)
    fine = bool(sizes[usable].min(initial=SMALL_BELOW) < SMALL_BELOW)

    def points_of(steps: Sequence[Step], twice: bool, number: int) -> ScaledPoints:
        return scaled_points(*read(number), steps, fine=fine, oriented=turned, twice=twice)

    with one_blas_thread():
        bar = partial(tqdm, total=len(usable), unit="image", disable=not progress)
        base = list(
            bar(
                map_in_order(partial(points_of, [Step(1, 1, (0.0,))], True), usable.tolist(), workers),
                desc="points",
            )
        )
        owners = np.repeat(usable, [len(points.y) for points in base])
        together = ScaledPoints(*(np.concatenate(parts) for parts in zip(*base, strict=True)))
        lookup = Lookup(together.codes, together.kinds)

        def fitted(number: int) -> list[tuple[int, int, Fit]]:
            steps = steps_of(number, sizes, turned)
            queried = points_of(steps, False, number)
            return _fits(number, queried, steps, together, owners, lookup, sought)

        fits = [
            fit
            for of_image in bar(map_in_order(fitted, usable.tolist(), workers), desc="rescaled")
            for fit in of_image
        ]
    return _merged(fits, {"points_rescaled": len(together.codes)})


def _fits(
    number: int,
    queried: ScaledPoints,
    steps: Sequence[Step],
    points: ScaledPoints,
    images: Numbers,
    lookup: Lookup,
    sought: Sought,
) -> list[tuple[int, int, Fit]]:
    """Images on which one lies when changed: their numbers, its own, and the fit of it into each."""
    matches = lookup(queried.codes, queried.kinds)
    other = images[matches.points]
    wanted = sought.mosaics[other] != sought.mosaics[number]
    if sought.is_against is not None:
        wanted &= sought.is_against[other] != sought.is_against[number]
    rows, at = matches.queries[wanted], matches.points[wanted]
    other = other[wanted]
    if not len(other):
        return []
    # The turn that takes the looked up image onto the other, when each patch was turned as its content says.
    linear = _linear_of(queried, rows, points.turns[at], steps)
    kind = (np.linalg.det(linear) < 0).astype(np.int64)
    group = other * 2 + kind
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    found = []
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
        if end - begin < MIN_VOTES:
            continue
        some = order[begin:end]
        two = int(other[some[0]])
        if (min(number, two), max(number, two)) in sought.known:
            continue
        one_at = np.column_stack([points.y[at[some]], points.x[at[some]]]).astype(np.float64)
        two_at = np.column_stack([queried.y[rows[some]], queried.x[rows[some]]]).astype(np.float64)
        fit = fit_matches(one_at, two_at, linear[some], queried.numbers[rows[some]].astype(np.int64))
        if fit is not None and _is_sought(fit.matrix):
            found.append((two, number, fit))
    found.sort(key=lambda fit: (-fit[2].n_votes, fit[0]))
    return found[:MAX_CANDIDATES]


def _is_sought(matrix: Float) -> bool:
    said = decompose(matrix)
    low, high = FACTOR_RANGE
    return (
        abs(said.rotation) <= MAX_ROTATION
        and low <= min(said.scale_y, said.scale_x) <= max(said.scale_y, said.scale_x) <= high
    )


def _is_changed(matrix: Float, size: Numbers) -> bool:
    """Whether a transform is more than a turn: by more than a pixel across image 2, of this size. What is no
    more was judged as it is."""
    missed = np.abs(matrix[:, :2] - TURNS).sum(axis=2).max(axis=1) * float(size.max()) / 2
    return bool(missed.min() > LEAST_CHANGE)


def _linear_of(
    queried: ScaledPoints, rows: Numbers, turns: npt.NDArray[np.uint8], steps: Sequence[Step]
) -> Float:
    """What each match says of the transform of the looked up image, but for the shift: (n, 2, 2)."""
    every = np.zeros((len(steps), len(ANGLES), 2, 2))
    for number, step in enumerate(steps):
        for which, angle in enumerate(step.angles):
            sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
            back = np.array([[cosine, sine], [-sine, cosine]])
            every[number, which] = back @ np.diag([step.factor_y, step.factor_x])
    shown = every[queried.steps[rows], queried.angles[rows]]
    turned_by = TURNS[turns].transpose(0, 2, 1) @ TURNS[queried.turns[rows]]
    return np.asarray(turned_by @ shown)


def _merged(fits: Sequence[tuple[int, int, Fit]], counts: dict[str, int]) -> Candidates:
    """Each pair of images once, with the transform of most votes."""
    best: dict[tuple[int, int], tuple[int, Float]] = {}
    for one, two, fit in fits:
        key, matrix = (one, two), fit.matrix
        if one > two:
            key, matrix = (two, one), inverse(matrix)
        if key not in best or fit.n_votes > best[key][0]:
            best[key] = fit.n_votes, matrix
    keys = sorted(best)
    return Candidates(
        np.array([one for one, _ in keys], np.int64),
        np.array([two for _, two in keys], np.int64),
        np.array([best[key][1] for key in keys]).reshape(-1, 2, 3),
        np.array([best[key][0] for key in keys], np.int64),
        {**counts, "proposals_rescaled": len(keys)},
    )


def judge_rescaled(
    candidates: Candidates,
    described: Described,
    read: Read,
    weights: Weights,
    workers: int,
    progress: bool = False,
) -> tuple[pd.DataFrame, Float, Float]:
    """Refine candidates on the pixels, and judge what they share.

    Returns
    -------
    judged : DataFrame
        As :func:`dupnet.find.verification.judge` has them; ``y_offset, x_offset``: the upper left corner of
        what image 2, changed, covers in image 1's frame; ``height, width`` of what it shares with image 1.
    matrices : (n, 2, 3) float64
        The refined transform of each.
    residuals : (n,) float64
        In pixels of image 1.
    """
    pairs = list(
        zip(candidates.image1.tolist(), candidates.image2.tolist(), candidates.matrices, strict=True)
    )

    def refine(pair: tuple[int, int, Float]) -> Registered | None:
        one, two, matrix = pair
        return registered(read(one), read(two), matrix)

    refined = map_in_order(refine, pairs, n_workers(workers))
    bar = tqdm(refined, total=len(pairs), desc="register", unit="pair", disable=not progress)
    kept = [
        (number, found)
        for number, found in enumerate(bar)
        if found is not None
        and found.residual <= MAX_RESIDUAL
        and _is_sought(found.matrix)
        and _is_changed(found.matrix, described.sizes[pairs[number][1]])
    ]
    number = np.array([number for number, _ in kept], np.int64)
    matrices = np.array([found.matrix for _, found in kept]).reshape(-1, 2, 3)
    image1, image2 = candidates.image1[number], candidates.image2[number]

    def laid(at: int) -> Laid:
        found = lay(read(int(image1[at])), read(int(image2[at])), matrices[at])
        assert found is not None  # it was registered so
        return found

    recent = Recent(laid, lambda found: 4 * found.one[0].nbytes, LAID_BYTES)
    shapes = [
        laid_size(described.sizes[one], described.sizes[two], matrix)
        for one, two, matrix in zip(image1, image2, matrices, strict=True)
    ]

    def read_laid(number: int) -> Image:
        found = recent(number // 2)
        return found.two if number % 2 else found.one

    count = np.arange(len(kept))
    zero = np.zeros(len(kept), np.int64)
    proposals = pd.DataFrame(
        dict(zip(KEY, (2 * count, 2 * count + 1, zero, zero), strict=True)), dtype=np.int64
    ).assign(n_votes=candidates.n_votes[number])
    sizes = np.repeat(np.array(shapes, np.int64).reshape(-1, 2), 2, axis=0)
    judge = region_judge(read_laid, described._replace(sizes=sizes), weights, workers, progress)
    judged = judge(proposals)
    covered = [bounds(matrix, *described.sizes[two]) for matrix, two in zip(matrices, image2, strict=True)]
    top, left, tall, wide = np.array(covered, np.int64).reshape(-1, 4).T
    size1 = described.sizes[image1]
    scale = np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2])))
    judged = judged.assign(
        image1=image1,
        image2=image2,
        y_offset=top,
        x_offset=left,
        height=np.minimum(top + tall, size1[:, 0]) - np.maximum(top, 0),
        width=np.minimum(left + wide, size1[:, 1]) - np.maximum(left, 0),
    )
    return judged, matrices, np.array([found.residual for _, found in kept]) * np.maximum(scale, 1)
