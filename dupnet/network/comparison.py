"""From two descriptors to a score and a verdict: what the head (:mod:`dupnet.network.head`) says of a pair,
and whether the two tiles show enough of the same ground for it to mean anything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from dupnet.network.collar_cells import is_marked
from dupnet.network.descriptors import (
    N_ORIENTATIONS,
    POWER_START,
    POWER_STEP,
    Weights,
    describe,
    load_weights,
)
from dupnet.network.head import CHUNK, Workspace, in_chunks, logits
from dupnet.tiles import CELL_SIZE, MIN_EVIDENCE_CELLS, SMALLEST_TILE, grey_levels

__all__ = [
    "DUPLICATE",
    "NOT_DUPLICATE",
    "UNDECIDABLE",
    "compare",
    "decided_scores",
    "is_decided",
    "score_pairs",
    "share_evidence",
    "verdicts",
]

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DUPLICATE, NOT_DUPLICATE, UNDECIDABLE = "duplicate", "not_duplicate", "undecidable"

SURE_SCORE = 0.99
"""Score from which on two tiles that share little are duplicates; below, nothing is said of them. Of 334 such
hard pairs of Airbus tiles (``benchmarks.accuracy.hard``) 77 of 86 duplicates reach it, and none of 28 of
another day, of which two are above one half, nor of 220 of other tiles."""

SHOWN_POWER = 2.0
"""Mean power of a filter from which on a cell shows something. Of cells of dark sea nearly all with a texture
of EVIDENCE_RMS have more, and most with one of less than 0.3, which is what rounding leaves, have less."""

POWERS = np.exp(POWER_START + POWER_STEP * np.arange(256)).astype(np.float32)
"""The power that each byte of a descriptor stands for."""


def score_pairs(
    verify1: Bytes, verify2: Bytes, weights: Weights | None = None, workers: int | None = None
) -> Float:
    """Score in [0, 1] of each pair of verify descriptors, two (n, bytes) uint8 arrays: (n,) float32.

    The same in either order, and under one flip or quarter turn of both tiles. ``workers`` threads share the
    pairs, one for every core by default.

    Raises
    ------
    ValueError
        If the arrays are not verify descriptors of one tile size.
    """
    weights = weights or load_weights()

    def first(cells: Float, tile: Float, workspace: Workspace) -> tuple[Float]:
        return (logits(cells, tile, weights.first_stage, workspace),)

    def ensemble(cells: Float, tile: Float, workspace: Workspace) -> tuple[Float]:
        members = [expit(logits(cells, tile, member, workspace)) for member in weights.ensemble]
        return (np.mean(members, axis=0, dtype=np.float32),)

    of_first = in_chunks(verify1, verify2, weights, first, workers)[0]
    scores: Float = expit(of_first)
    # As dupnet.network.layers.Cascade.
    lowest, highest = weights.deferral_band
    band = np.clip(np.minimum(of_first - np.float32(lowest), np.float32(highest) - of_first), 0, 1)
    deferred = np.flatnonzero(band)
    if len(deferred):
        found = in_chunks(verify1[deferred], verify2[deferred], weights, ensemble, workers)[0]
        scores[deferred] += band[deferred] * (found - scores[deferred])
    marked = _marked_in_either(verify1, verify2, weights)
    scores[(~marked).sum(axis=1) < MIN_EVIDENCE_CELLS] = 0
    return scores


def share_evidence(verify1: Bytes, verify2: Bytes, weights: Weights | None = None) -> npt.NDArray[np.bool_]:
    """Whether two tiles of a pair show enough of the same ground to judge by, whatever the score: (n,) bool.

    A sixteenth of the cells, and no fewer than two, must show something in both, and be marked as a collar in
    neither: all that a clipped cloud and a dark sea have in common can be one spot.
    """
    weights = weights or load_weights()
    shared = ~_marked_in_either(verify1, verify2, weights)
    n_filters, n_cells = weights.n_filters, shared.shape[1]
    for verify in (verify1, verify2):
        powers = verify[:, n_cells * n_filters * N_ORIENTATIONS : -n_cells]
        powers = powers.reshape(len(verify), n_filters, n_cells)
        total = np.zeros(shared.shape, np.float32)
        for number in range(n_filters):
            total += POWERS[powers[:, number]]
        shared &= total >= n_filters * SHOWN_POWER
    return np.asarray(shared.sum(axis=1) >= max(MIN_EVIDENCE_CELLS, n_cells // 16))


def _marked_in_either(verify1: Bytes, verify2: Bytes, weights: Weights) -> npt.NDArray[np.bool_]:
    """Cells (n, cells) of pairs that a collar touches in one of the tiles."""
    n_filters = weights.n_filters
    n_cells = verify1.shape[1] // (n_filters * (N_ORIENTATIONS + 1) + 1)
    marked1, marked2 = (
        is_marked(verify, n_cells, n_filters, N_ORIENTATIONS) for verify in (verify1, verify2)
    )
    return marked1 | marked2


def is_decided(
    verify1: Bytes, verify2: Bytes, scores: Float, weights: Weights | None = None
) -> npt.NDArray[np.bool_]:
    """Whether the scores of pairs mean anything: (n,) bool.

    They do where the two share enough (:func:`share_evidence`), and where they are as much alike as
    :data:`SURE_SCORE` asks.
    """
    return share_evidence(verify1, verify2, weights) | (scores >= SURE_SCORE)


def decided_scores(
    verify1: Bytes, verify2: Bytes, weights: Weights | None = None, workers: int | None = None
) -> Float:
    """As :func:`score_pairs`, but NaN where :func:`is_decided` is false."""
    scores = score_pairs(verify1, verify2, weights, workers)
    scores[~is_decided(verify1, verify2, scores, weights)] = np.nan
    return scores


def verdicts(
    scores: Float,
    decidable1: npt.NDArray[np.bool_],
    decidable2: npt.NDArray[np.bool_],
    weights: Weights | None = None,
) -> npt.NDArray[np.str_]:
    """``duplicate``, ``not_duplicate`` or ``undecidable`` for each of n pairs: (n,) strings.

    Undecidable only where either tile carries no evidence, whatever the score.
    """
    weights = weights or load_weights()
    decided = np.where(scores >= weights.threshold, DUPLICATE, NOT_DUPLICATE)
    return np.where(decidable1 & decidable2, decided, UNDECIDABLE)


def compare(tiles1: Bytes, tiles2: Bytes, weights: Weights | None = None) -> pd.DataFrame:
    """Score pairs of tiles, and give each a verdict.

    Parameters
    ----------
    tiles1, tiles2 : (n, size, size, 3) uint8
        RGB; pair ``k`` is ``tiles1[k]`` and ``tiles2[k]``. The size is a multiple of 32 and at least 64, 256
        as trained.
    weights : Weights, optional
        The shipped ones by default.

    Returns
    -------
    pandas.DataFrame
        ``score``, float32 from 0 to 1, and ``verdict``: ``duplicate``, ``not_duplicate`` or ``undecidable``.

    Raises
    ------
    ValueError
        If the arrays are not of that shape and dtype, or differ in shape.
    """
    for name, tiles in (("tiles1", tiles1), ("tiles2", tiles2)):
        if not isinstance(tiles, np.ndarray):
            raise ValueError(f"{name} is a {type(tiles).__name__}; stack the tiles with numpy.stack.")
        size = tiles.shape[1] if tiles.ndim == 4 else 0
        is_whole = size >= SMALLEST_TILE and not size % CELL_SIZE
        if tiles.dtype != np.uint8 or tiles.shape[1:] != (size, size, 3) or not is_whole:
            raise ValueError(
                f"{name} is {tiles.dtype} of shape {tiles.shape}; it must be uint8 (n, size, size, 3), RGB, "
                f"the size a multiple of {CELL_SIZE}, at least {SMALLEST_TILE}."
            )
    if tiles1.shape != tiles2.shape:
        raise ValueError(f"tiles1 has shape {tiles1.shape}, tiles2 {tiles2.shape}; pairs need one shape.")
    weights = weights or load_weights()
    scores, decidable = [], []
    for start in range(0, len(tiles1), CHUNK):
        described = [
            describe(grey_levels(tiles[start : start + CHUNK]), weights) for tiles in (tiles1, tiles2)
        ]
        pair = (described[0].verify, described[1].verify)
        scores.append(score_pairs(*pair, weights))
        decided = is_decided(*pair, scores[-1], weights)
        decidable.append(described[0].decidable & described[1].decidable & decided)
    score = np.concatenate([np.zeros(0, np.float32), *scores])
    both = np.concatenate([np.zeros(0, bool), *decidable])
    return pd.DataFrame({"score": score, "verdict": verdicts(score, both, both, weights)})
