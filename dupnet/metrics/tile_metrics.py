"""Numbers of one tile: entropy, histogram, co-occurrence, block medians, texture, ship pixels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import entr

from dupnet.files.extras import extra
from dupnet.tiles import Grid, grey_levels, is_solid, split_tiles

__all__ = [
    "TILE_METRICS",
    "block_medians",
    "channel_entropy",
    "cooccurrence",
    "decode_run_lengths",
    "high_pass",
    "histogram_statistics",
    "ship_pixels",
]

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]

HIGH_PASS_SIGMA = 3.0
"""Width of the blur that is subtracted, in pixels. What is left holds waves, wakes and roofs, which are a few
pixels wide at the 1.5 m of the Airbus images and the 0.3 m of the aerial ones; the slow brightness that
neighbours share is gone."""

MODE_REACH = 5
"""Half-width in levels of the peak around the modal colour."""

COOCCURRENCE_LEVELS = 64
"""Grey levels of the co-occurrence matrix; 256 would leave most of its 65,536 cells at a count of 0 or 1."""

COOCCURRENCE_PROPERTIES = ("energy", "contrast", "homogeneity", "correlation")

BLOCK_GRID = 16
"""Block medians a side."""


def channel_entropy(tile: Image) -> Values:
    """Shannon entropy of each channel's histogram: (height, width, 3) -> (3,) bits, 0 (one level) to 8."""
    return np.asarray(entr(_histograms(tile) / tile[..., 0].size).sum(axis=1) / np.log(2) + 0.0)


def histogram_statistics(tile: Image) -> Values:
    """Each channel's histogram around its mode: (height, width, 3) -> (3, 4) float64.

    The columns: the modal level (0 to 255; the lowest of equals), the share of pixels within 5 levels of it
    (0 to 1), and the mean and root mean square distance from it in levels.
    """
    shares = _histograms(tile) / tile[..., 0].size
    mode = shares.argmax(axis=1)
    distance = np.arange(256)[None, :] - mode[:, None]
    near = (shares * (np.abs(distance) <= MODE_REACH)).sum(axis=1)
    mean = (shares * distance).sum(axis=1)
    spread = np.sqrt((shares * distance**2).sum(axis=1))
    return np.stack([mode.astype(np.float64), near, mean, spread], axis=1)


def cooccurrence(tile: Image) -> Values:
    """Grey-level co-occurrence: (height, width[, 3]) -> (4,) energy, contrast, homogeneity, correlation.

    Of horizontal, vertical and diagonal neighbours, averaged over the four directions, on 64 levels. A solid
    tile has energy, homogeneity and correlation 1, contrast 0.

    Source: Haralick, Shanmugam and Dinstein, 1973, doi:10.1109/TSMC.1973.4309314, as scikit-image has it.
    """
    with extra():
        from skimage.feature import graycomatrix, graycoprops

    levels = grey_levels(tile) // np.uint8(256 // COOCCURRENCE_LEVELS)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(levels, [1], angles, levels=COOCCURRENCE_LEVELS, symmetric=True, normed=True)
    return np.array([graycoprops(matrix, name).mean() for name in COOCCURRENCE_PROPERTIES])


def block_medians(tile: Image) -> Image:
    """Median (the lower of two middles) of 16 x 16 blocks: (height, width, 3) -> (16, 16, 3) uint8.

    Raises
    ------
    ValueError
        If a side is not a multiple of 16.
    """
    height, width, channels = tile.shape
    if height % BLOCK_GRID or width % BLOCK_GRID:
        raise ValueError(f"tile is {height} x {width} pixels; its sides must be multiples of {BLOCK_GRID}.")
    rows, cols = height // BLOCK_GRID, width // BLOCK_GRID
    blocks = tile.reshape(BLOCK_GRID, rows, BLOCK_GRID, cols, channels).transpose(0, 2, 4, 1, 3)
    middle = (rows * cols - 1) // 2
    return np.partition(blocks.reshape(BLOCK_GRID, BLOCK_GRID, channels, -1), middle, axis=3)[..., middle]


def decode_run_lengths(run_lengths: str, shape: tuple[int, int] = (768, 768)) -> npt.NDArray[np.bool_]:
    """The mask that an Airbus ``EncodedPixels`` field holds: (height, width) bool, empty for an empty field.

    Pairs of a start and a length, pixels counted from 1, down the columns.

    Raises
    ------
    ValueError
        If the field is no such list or reaches past the image.
    """
    numbers = np.array([int(word) for word in run_lengths.split()], dtype=np.int64)
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    height, width = shape
    paired = len(starts) == len(lengths) and (numbers >= 1).all()
    if not paired or (starts + lengths > height * width).any():
        raise ValueError(
            f"run_lengths {run_lengths[:40]!r} do not fit {height} x {width} pixels; "
            "expected pairs 'start length', counted from 1."
        )
    steps = np.zeros(height * width + 1, dtype=np.int32)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    return np.asarray((np.cumsum(steps[:-1]) > 0).reshape(width, height).T)


def ship_pixels(mask: npt.NDArray[np.bool_], grid: Grid = Grid()) -> npt.NDArray[np.int64]:
    """Ship pixels of each tile: (grid.height, grid.width) bool -> (n_tiles,) int64."""
    return np.asarray(split_tiles(mask, grid).sum(axis=(1, 2), dtype=np.int64))


def high_pass(tile: Image, sigma: float = HIGH_PASS_SIGMA) -> npt.NDArray[np.float32]:
    """Grey levels less their Gaussian blur of ``sigma`` px: (height, width[, 3]) -> (height, width) float32.

    The blur ends at the tile's border, where it mirrors the tile. One that reached into the neighbours, or
    into black, would add edges that the tile does not show.
    """
    grey = grey_levels(tile).astype(np.float32)
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(grey - blurred, dtype=np.float32)


def _histograms(tile: Image) -> Values:
    """Counts of the 256 levels of each channel: (height, width, c) -> (c, 256)."""
    flat = tile.reshape(-1, tile.shape[2])
    return np.stack([np.bincount(channel, minlength=256).astype(np.float64) for channel in flat.T])


def _solid(tile: Image) -> Values:
    return np.array([float(is_solid(tile))])


TILE_METRICS: dict[str, Callable[[Image], npt.NDArray[np.generic]]] = {
    "entropy": channel_entropy,
    "histogram": histogram_statistics,
    "cooccurrence": cooccurrence,
    "block_medians": block_medians,
    "solid": _solid,
}
"""Metrics of one RGB tile by name."""
