"""The fixed filters that describe a tile: of band limits and random numbers alone, nothing learned."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.tiles import CELL_SIZE

__all__ = [
    "REDUCED_SIZE",
    "SEARCH_BYTES",
    "band_filters",
    "centred_filters",
    "orientations",
    "search_directions",
]

Float = npt.NDArray[np.float32]

REDUCED_SIZE = 64
"""Side in pixels of the reduced tile that is searched by: a quarter of 256, where noise and JPEG have
averaged out."""

SEARCH_BYTES = 256
"""Length of a search descriptor. Unrelated tiles reached a cosine of 0.52 with 128 directions, 0.46 with
256."""


def centred_filters(filters: Float) -> Float:
    """Filters (n, size, size) without their row and column means, of length one.

    So they answer to no stripe and no straight border, which repeat from tile to tile.
    """
    centred = filters - filters.mean(axis=1, keepdims=True)
    centred = centred - centred.mean(axis=2, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True) + 1e-9)
    return np.asarray(centred / length, np.float32)


def orientations(filters: Float) -> Float:
    """(n, size, size) -> (n, 8, size, size): the four quarter turns of each filter and of its mirror
    image."""
    turns = [np.rot90(filters, turn, axes=(1, 2)) for turn in range(4)]
    return np.ascontiguousarray(np.stack(turns + [turn.transpose(0, 2, 1) for turn in turns], axis=1))


def band_filters(n: int, size: int = CELL_SIZE) -> Float:
    """The encoder's filters: ``n`` random patterns (n, size, size) of length one, from coarse to fine.

    Each is limited to a ring of spatial frequency, in half waves a cell; between 3 and 23 of them (waves of
    21 to 2.8 px) the rings' edges grow by a constant factor. Compression takes the fine rings first, so what
    each ring keeps tells how much it took.
    """
    rng = np.random.default_rng(0)
    waves = np.arange(size)
    basis = np.cos(np.pi * np.outer(waves, waves + 0.5) / size) * np.sqrt(2 / size)
    frequency = np.hypot(waves[:, None], waves)
    edges = np.array([1.0, *np.geomspace(3, 23, n - 1), np.hypot(CELL_SIZE, CELL_SIZE)]) * (size / CELL_SIZE)
    patterns = []
    for low, high in itertools.pairwise(edges):
        coefficients = rng.standard_normal((size, size)) * ((frequency >= low) & (frequency < high))
        coefficients[0, :] = coefficients[:, 0] = 0
        patterns.append(basis.T @ coefficients @ basis)
    return centred_filters(np.asarray(patterns, np.float32))


def search_directions() -> npt.NDArray[np.int8]:
    """The random directions of the search descriptor: (4096, 256) int8, as shipped in
    ``search_projection.npy``.

    White noise, high-passed like the reduced tile would be (Gaussian of 3 px, so 12 px of the tile), without
    row and column means: projecting onto it is projecting the high-passed tile onto the noise.
    """
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((SEARCH_BYTES, REDUCED_SIZE, REDUCED_SIZE)).astype(np.float32)
    slow = [cv2.GaussianBlur(plane, (0, 0), 3, borderType=cv2.BORDER_REFLECT) for plane in noise]
    planes = noise - np.asarray(slow, np.float32)
    planes -= planes.mean(axis=1, keepdims=True)
    planes -= planes.mean(axis=2, keepdims=True)
    directions = planes.reshape(SEARCH_BYTES, -1).T * (127 / np.abs(planes).max())
    return np.asarray(np.rint(directions), np.int8)
