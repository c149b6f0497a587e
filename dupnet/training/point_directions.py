"""The directions onto which the patches of points are projected, learned from public acquisitions.

One piece of ground is cut twice, a little aside, each crop under a processing and a compression of its own.
Points that both crops choose at one place give pairs of patches that should have one code; what differs
between them is noise. The directions are those in which patches differ most for the noise that they have
(Fisher's linear discriminant of places), each scaled to unit variance, so that the codes of unrelated patches
are spread evenly.

``python -m dupnet.training.point_directions --raw data/raw`` writes the shipped file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.spatial import cKDTree

from dupnet.acquisitions.alterations import draw_processing, process
from dupnet.acquisitions.sources import read_acquisition
from dupnet.files.atomic import atomic_path
from dupnet.files.workers import one_blas_thread
from dupnet.find.extrema import LEVELS
from dupnet.find.points import CODE_LENGTH, Directions, patches, prepared
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.reading import decode

__all__ = ["COLUMNS", "directions_of", "draw_crops", "learn", "matched_patches", "write_directions"]

Image = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]

COLUMNS = {"derna": (0, 8192), "kitsap": (0, 2304)}
"""Columns in pixels of each acquisition that are learned from: those that the networks train on."""

FILES = {"derna": "derna/Libya-2023-07-01.tif", "kitsap": "kitsap/RGB5k.tif"}
"""Where ``dupnet data fetch`` puts the acquisitions, below the raw folder."""

N_CROPS = 1500
"""Pieces of ground, two thirds of them from Derna: some 100,000 pairs of patches a level."""

MOVED = 20  # px, at most: how far the second crop lies from the first, in y and in x
SIDES = (192, 512)  # px, both included
_NEAR = 1.0  # reduced px: two points at one place
_FLOOR = 1e-3  # of the mean noise, added to every direction, so that none seems to be without


def draw_crops(acquisition: Image, rng: np.random.Generator) -> tuple[Image, Image, tuple[int, int]]:
    """Two grey crops (height, width) uint8 of one size, processed and compressed on their own, and (y, x) of
    the second's origin in the first's frame."""
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    y = int(rng.integers(MOVED, acquisition.shape[0] - height - MOVED + 1))
    x = int(rng.integers(MOVED, acquisition.shape[1] - width - MOVED + 1))
    offset = tuple(int(step) for step in rng.integers(-MOVED, MOVED + 1, 2))
    crops = []
    for dy, dx in ((0, 0), offset):
        crop = np.ascontiguousarray(acquisition[y + dy : y + dy + height, x + dx : x + dx + width])
        processing = draw_processing(rng)
        data = encode_jpeg(process(crop, processing), processing.quality)
        crops.append(decode(data, grey=True)[0])
    return crops[0], crops[1], (offset[0], offset[1])


def matched_patches(first: Image, second: Image, offset: tuple[int, int], number: int) -> tuple[Float, Float]:
    """Patches of one kind (:func:`dupnet.find.points.patches`) that both crops chose at one place: two (n,
    256)."""
    y1, x1, minima1, vectors1 = patches(first, None, number, dense=True)
    y2, x2, minima2, vectors2 = patches(second, None, number, dense=True)
    if not len(y1) or not len(y2):
        return vectors1[:0], vectors2[:0]
    tree = cKDTree(np.stack([y2 + offset[0], x2 + offset[1]], axis=1))
    near = _NEAR * LEVELS[number % len(LEVELS)].scale
    distance, nearest = tree.query(np.stack([y1, x1], axis=1), distance_upper_bound=near)
    one = np.flatnonzero(np.isfinite(distance))
    one = one[minima1[one] == minima2[nearest[one]]]
    return vectors1[one], vectors2[nearest[one]]


def directions_of(first: Float, second: Float) -> tuple[Float, Float]:
    """Mean patch (d,) and directions (d, 48) from pairs of patches, two (n, d) float32.

    Raises
    ------
    ValueError
        If there are fewer pairs than a patch has pixels.
    """
    if len(first) < first.shape[1]:
        raise ValueError(f"{len(first)} pairs of patches of {first.shape[1]} pixels; many more are needed.")
    both = np.concatenate([first, second]).astype(np.float64)
    mean = both.mean(axis=0)
    signal = (both - mean).T @ (both - mean) / len(both)
    differences = (first - second).astype(np.float64)
    noise = differences.T @ differences / (2 * len(differences))
    noise += _FLOOR * np.trace(noise) / len(noise) * np.eye(len(noise))
    ratio, vectors = scipy.linalg.eigh(signal, noise)
    best = np.argsort(-ratio, kind="stable")[:CODE_LENGTH]
    directions = vectors[:, best] / np.sqrt(ratio[best])
    # An eigenvector may point either way; its largest element is positive.
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(len(best))]
    return mean.astype(np.float32), (directions * np.sign(largest)).astype(np.float32)


def learn(acquisitions: Sequence[Image], shares: Sequence[float], n_crops: int, seed: int = 0) -> Directions:
    """Directions of every kind of patch, from ``n_crops`` pieces of ground, ``shares`` of them of each
    acquisition."""
    drawn: list[list[tuple[Float, Float]]] = [[] for _ in range(2 * len(LEVELS))]
    for number in range(n_crops):
        rng = np.random.default_rng([seed, number])
        acquisition = acquisitions[int(rng.choice(len(acquisitions), p=shares))]
        first, second, offset = draw_crops(acquisition, rng)
        for kind, found in enumerate(drawn):
            found.append(matched_patches(first, second, offset, kind))
    with one_blas_thread():
        learned = [
            directions_of(*(np.concatenate(side) for side in zip(*found, strict=True))) for found in drawn
        ]
    means, directions = (np.stack(arrays) for arrays in zip(*learned, strict=True))
    return prepared(means, directions)


def write_directions(raw: Path, out: Path, n_crops: int = N_CROPS, seed: int = 0) -> Directions:
    """Learn from the acquisitions below ``raw`` and write ``out``, a file of :func:`load_directions`.

    Raises
    ------
    FileNotFoundError
        If an acquisition is missing.
    """
    parts = [
        np.ascontiguousarray(read_acquisition(raw / FILES[name])[:, slice(*COLUMNS[name])])
        for name in ("derna", "kitsap")
    ]
    learned = learn(parts, (2 / 3, 1 / 3), n_crops, seed)
    with atomic_path(out) as beside, beside.open("wb") as stream:
        np.savez(
            stream, means=learned.means.astype(np.float16), directions=learned.directions.astype(np.float16)
        )
    return learned


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dupnet.training.point_directions", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="where acquisitions are kept")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    parser.add_argument("--n-crops", type=int, default=N_CROPS, help="pieces of ground to learn from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    write_directions(options.raw, options.out, options.n_crops, options.seed)


if __name__ == "__main__":
    main()
