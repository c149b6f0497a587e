"""The transform that matched points of two images agree on.

A match of two points says not only where one lies in the other image, but also, by the step, angle and turn
that it was found with, how the ground around it is changed. So each match alone proposes a transform,
roughly; where several agree, an affine one is fitted to them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_VOTES", "Fit", "fit_affine", "fit_matches"]

Float = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MIN_VOTES = 3
"""Matches that must agree."""

NEAR, NEAR_SHARE = 5.0, 0.1
"""How far a match may lie from where another proposes it: pixels, and a share of their distance, for scale
and direction are known to 5 % and 3 degrees, each."""

FITTED = 3.0
"""Pixels by which a match may miss the fitted transform."""

AFFINE_VOTES = 8
"""Votes from which an affine transform is fitted; below, the proposed one is scaled and turned as a whole."""

ENOUGH = 300
"""Matches of a pair of images that are looked at, of more every so many."""

SEEDS = 32
"""Matches of a pair of images that propose, at most."""


class Fit(NamedTuple):
    """A transform (2, 3) of points of the second image into the first, and the votes for it."""

    matrix: Float
    n_votes: int


def fit_matches(one: Float, two: Float, linear: Float, groups: Numbers) -> Fit | None:
    """Fit a transform to the matches of two images.

    Parameters
    ----------
    one, two : (n, 2) float64
        Matched points of either image, y and x.
    linear : (n, 2, 2) float64
        What each match says of the transform from the second image to the first, but for the shift.
    groups : (n,) int64
        Number of the point in the second image: matches of one point count once.

    Returns
    -------
    Fit or None
        None where fewer than :data:`MIN_VOTES` agree.
    """
    if len(one) > ENOUGH:
        some = np.linspace(0, len(one) - 1, ENOUGH).astype(np.int64)
        one, two, linear, groups = one[some], two[some], linear[some], groups[some]
    n_seeds = min(len(one), SEEDS)
    # Spread evenly, all seeds at once: what each proposes of every match.
    seeds = np.linspace(0, len(one) - 1, n_seeds).astype(np.int64)
    away = np.einsum("sij,snj->sni", linear[seeds], two[None] - two[seeds][:, None])
    missed = np.linalg.norm(one[None] - one[seeds][:, None] - away, axis=2)
    agree = missed <= NEAR + NEAR_SHARE * np.linalg.norm(away, axis=2)
    largest = np.abs(linear[seeds]).max(axis=(1, 2))[:, None]
    agree &= np.abs(linear[None] - linear[seeds][:, None]).max(axis=(2, 3)) <= _ALIKE * largest
    votes = agree.sum(axis=1)
    best: tuple[int, Mask] | None = None
    for seed in np.argsort(-votes, kind="stable")[:_TRIED].tolist():
        if votes[seed] < max(MIN_VOTES, best[0] + 1 if best else 0):
            break
        n_votes = _distinct(one[agree[seed]], groups[agree[seed]])
        if best is None or n_votes > best[0]:
            best = n_votes, agree[seed]
    if best is None or best[0] < MIN_VOTES:
        return None
    near = best[1]
    guess = linear[near].mean(axis=0)
    matrix = _fitted(one[near], two[near], guess)
    if matrix is None:
        return None
    reach = 4 * FITTED
    for _ in range(5):
        missed = np.linalg.norm(one - two @ matrix[:, :2].T - matrix[:, 2], axis=1)
        near = missed <= reach
        if _distinct(one[near], groups[near]) < MIN_VOTES:
            return None
        refitted = _fitted(one[near], two[near], guess)
        if refitted is None:
            return None
        matrix, reach = refitted, max(FITTED, reach / 2)
    return Fit(matrix, _distinct(one[near], groups[near]))


_TRIED = 4  # seeds of most votes whose votes are counted by points
_ALIKE = 0.3  # of its largest number: what neighbouring steps and angles differ by


def _distinct(one: Float, groups: Numbers) -> int:
    place = np.rint(one).astype(np.int64) @ np.array([1 << 20, 1])
    return min(len(set(groups.tolist())), len(set(place.tolist())))


def _fitted(one: Float, two: Float, guess: Float) -> Float | None:
    """The best transform; of few points one that is like ``guess`` (2, 2), turned and resized."""
    if len(one) >= AFFINE_VOTES:
        matrix = fit_affine(one, two, np.ones(len(one)))
        if matrix is not None and np.abs(matrix[:, :2] - guess).max() < _ALIKE * np.abs(guess).max():
            return matrix
    # A similarity of what the guess makes of the points, as complex numbers.
    there = two @ guess.T
    middle1, middle2 = one.mean(axis=0), there.mean(axis=0)
    a, b = (one - middle1) @ [1, 1j], (there - middle2) @ [1, 1j]
    power = float((b.conj() * b).real.sum())
    if power < 1:
        return None
    factor = complex((b.conj() * a).sum() / power)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    linear = turn @ guess
    return np.column_stack([linear, middle1 - turn @ middle2])


def fit_affine(one: Float, two: Float, weight: Float) -> Float | None:
    """The affine transform (2, 3) of points of the second image, (n, 2), into the first; None where they do
    not span it."""
    middle = np.average(two, axis=0, weights=weight)
    centred = np.column_stack([two - middle, np.ones(len(two))])
    root = np.sqrt(weight)[:, None]
    solution, _, rank, values = np.linalg.lstsq(centred * root, one * root, rcond=None)
    if rank < 3 or values[0] > 1e4 * values[-1]:
        return None
    linear = solution[:2].T
    return np.column_stack([linear, solution[2] - linear @ middle])
