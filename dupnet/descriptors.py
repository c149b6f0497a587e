"""From tiles to compact descriptors, and from two descriptors to a score, in numpy alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, MIN_EVIDENCE_CELLS

__all__ = ["Descriptors", "Weights", "compare", "describe", "load_weights", "score_pairs", "verdicts"]

WEIGHTS = Path(__file__).parent / "weights" / "dupnet.npz"
REDUCED_SIZE = 64


@dataclass(frozen=True)
class Weights:
    """The arrays of a trained network."""

    search_projection: npt.NDArray[np.float32]  # (4096, d)
    filters: npt.NDArray[np.float32]  # (n_filters, 32, 32), unit norm, rows and columns sum to nought
    threshold: float


@dataclass(frozen=True)
class Descriptors:
    """What is kept of n tiles."""

    search: npt.NDArray[np.int8]  # (n, d), length 127 within rounding; nought where undecidable
    verify: npt.NDArray[np.uint8]  # (n, bytes)
    decidable: npt.NDArray[np.bool_]  # (n,)


def dihedral_copies(filters: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, s, s) -> (n, 8, s, s): the four quarter turns of each filter and of its mirror image."""
    turns = [np.rot90(filters, turn, axes=(1, 2)) for turn in range(4)]
    return np.ascontiguousarray(np.stack(turns + [turn.transpose(0, 2, 1) for turn in turns], axis=1))


def band_filters(seed: int = 0, edges: tuple[float, ...] = (1.0, 3, 5, 8, 12, 17, 23, 45)) -> npt.NDArray[np.float32]:
    """Random patterns of 32 x 32 pixels, each limited to a ring of spatial frequency (in half waves a cell)."""
    rng = np.random.default_rng(seed)
    size = CELL_SIZE
    u = np.arange(size)
    basis = np.cos(np.pi * np.outer(u, np.arange(size) + 0.5) / size)
    basis *= np.where(u == 0, np.sqrt(1 / size), np.sqrt(2 / size))[:, None]
    radius = np.hypot(*np.meshgrid(u, u, indexing="ij"))
    filters = []
    for low, high in zip(edges, edges[1:]):
        coefficients = rng.standard_normal((size, size)) * ((radius >= low) & (radius < high))
        coefficients[0, :] = coefficients[:, 0] = 0
        pattern = basis.T @ coefficients @ basis
        filters.append(pattern / np.linalg.norm(pattern))
    return np.asarray(filters, np.float32)


def search_projection(d: int = 256, seed: int = 1) -> npt.NDArray[np.float32]:
    """(4096, d) random directions behind the in-tile high-pass of the reduced tile."""
    rng = np.random.default_rng(seed)
    size = REDUCED_SIZE
    patterns = rng.standard_normal((d, size, size)).astype(np.float32)
    patterns = patterns - np.stack([cv2.GaussianBlur(p, (0, 0), 3, borderType=cv2.BORDER_REFLECT) for p in patterns])
    patterns -= patterns.mean(axis=1, keepdims=True)
    patterns -= patterns.mean(axis=2, keepdims=True)
    return np.ascontiguousarray(patterns.reshape(d, -1).T) / size


@lru_cache(maxsize=4)
def load_weights(path: str | os.PathLike[str] | None = None) -> Weights:
    """The shipped weights, or those of a file written by training."""
    return Weights(search_projection(), band_filters(), 0.5)


def describe(grey_tiles: npt.NDArray[np.uint8], weights: Weights | None = None) -> Descriptors:
    """Describe grey tiles (n, size, size) uint8."""
    weights = weights or load_weights()
    n, size, _ = grey_tiles.shape
    side = size // CELL_SIZE
    search = np.zeros((n, weights.search_projection.shape[1]), np.int8)
    reduced = np.stack([cv2.resize(t, (REDUCED_SIZE, REDUCED_SIZE), interpolation=cv2.INTER_AREA) for t in grey_tiles])
    projected = reduced.reshape(n, -1).astype(np.float32) @ weights.search_projection
    cells = grey_tiles.reshape(n, side, CELL_SIZE, side, CELL_SIZE).swapaxes(2, 3)
    cells = cells.reshape(n, side * side, CELL_SIZE, CELL_SIZE).astype(np.float32)
    mean = cells.mean(axis=(2, 3))
    cells -= cells.mean(axis=2, keepdims=True)
    cells -= cells.mean(axis=3, keepdims=True)
    texture = np.sqrt(np.mean(cells**2, axis=(2, 3)))
    directions = dihedral_copies(weights.filters).reshape(-1, CELL_SIZE * CELL_SIZE)
    projections = cells.reshape(n, side * side, -1) @ directions.T
    scale = np.abs(projections).max(axis=2) / 127
    codes = np.rint(projections / np.maximum(scale, 1e-6)[..., None]).astype(np.int8)
    decidable = (texture >= EVIDENCE_RMS).sum(axis=1) >= MIN_EVIDENCE_CELLS
    length = np.linalg.norm(projected, axis=1, keepdims=True)
    search[:] = np.rint(127 * projected / np.maximum(length, 1e-6)) * decidable[:, None]
    verify = np.concatenate(
        [
            codes.reshape(n, -1).view(np.uint8),
            scale.astype(np.float16).view(np.uint8),
            texture.astype(np.float16).view(np.uint8),
            np.rint(mean).astype(np.uint8),
        ],
        axis=1,
    )
    return Descriptors(search, verify, decidable)


def score_pairs(
    verify1: npt.NDArray[np.uint8], verify2: npt.NDArray[np.uint8], weights: Weights | None = None
) -> npt.NDArray[np.float32]:
    """Score in [0, 1] of each pair of verify descriptors (n, bytes): (n,) float32."""
    n, width = verify1.shape
    n_cells = width // (56 + 5)
    def unpack(verify: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        codes = np.ascontiguousarray(verify[:, : 56 * n_cells]).view(np.int8).reshape(n, n_cells, 56)
        scale = np.ascontiguousarray(verify[:, 56 * n_cells : 58 * n_cells]).view(np.float16)
        return codes * scale.astype(np.float32)[..., None]
    p1, p2 = unpack(verify1), unpack(verify2)
    dot = np.einsum("ncf,ncf->nc", p1, p2)
    e1, e2 = np.einsum("ncf,ncf->nc", p1, p1), np.einsum("ncf,ncf->nc", p2, p2)
    whole = dot.sum(1) / np.sqrt(e1.sum(1) * e2.sum(1) + 1e-6)
    return np.asarray(1 / (1 + np.exp(-20 * (whole - 0.7))), np.float32)


def verdicts(
    scores: npt.NDArray[np.float32],
    decidable1: npt.NDArray[np.bool_],
    decidable2: npt.NDArray[np.bool_],
    weights: Weights | None = None,
) -> npt.NDArray[np.str_]:
    """``duplicate``, ``not_duplicate`` or ``undecidable`` for each pair."""
    weights = weights or load_weights()
    decided = np.where(scores >= weights.threshold, "duplicate", "not_duplicate")
    return np.where(decidable1 & decidable2, decided, "undecidable")


def compare(tiles1: npt.NDArray[np.uint8], tiles2: npt.NDArray[np.uint8]) -> pd.DataFrame:
    """Score pairs of RGB tiles: two (n, size, size, 3) uint8 arrays -> DataFrame with ``score`` and ``verdict``."""
    grey1, grey2 = (np.stack([cv2.cvtColor(t, cv2.COLOR_RGB2GRAY) for t in tiles]) for tiles in (tiles1, tiles2))
    one, two = describe(grey1), describe(grey2)
    scores = score_pairs(one.verify, two.verify)
    return pd.DataFrame({"score": scores, "verdict": verdicts(scores, one.decidable, two.decidable)})
