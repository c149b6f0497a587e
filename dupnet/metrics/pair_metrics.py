"""How alike two tiles are: the image metrics of a pair, as functions and in one table.

Each takes two RGB tiles (height, width, 3) uint8 of one shape, and returns a float; tiles of two shapes are a
``ValueError``. :data:`PAIR_METRICS` names them all, hashes included, and says which way each points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.files.extras import extra
from dupnet.hashes import HASHES
from dupnet.metrics.tile_metrics import (
    HIGH_PASS_SIGMA,
    block_medians,
    channel_entropy,
    cooccurrence,
    high_pass,
    histogram_statistics,
)
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, grey_levels

__all__ = [
    "channel_medians",
    "PAIR_METRICS",
    "PairMetric",
    "absolute_difference",
    "colour_difference",
    "correlation",
    "exponential_distance",
    "local_correlation",
    "lowest_cell_correlation",
    "median_subtracted_difference",
    "structural_similarity",
    "structural_similarity_channels",
    "subtract_channel_medians",
    "unequal_values",
]

Image = npt.NDArray[np.uint8]


def unequal_values(tile1: Image, tile2: Image) -> float:
    """How many of the values (pixels times channels) differ at all."""
    _check_shapes(tile1, tile2)
    return float(np.count_nonzero(tile1 != tile2))


def absolute_difference(tile1: Image, tile2: Image) -> float:
    """Sum of the absolute differences of all values, in levels."""
    _check_shapes(tile1, tile2)
    return float(cv2.absdiff(tile1, tile2).sum(dtype=np.int64))


def subtract_channel_medians(image: Image) -> Image:
    """Each channel less its median, wrapping around below zero ("average channel subtraction").

    (height, width, 3) uint8 twice. For looking at a hard pair: a level above the median becomes 1, a level
    below it 255, so that differences of a level or two stand out. Apply it to the common region of both
    images. The median is the lower of two middles.
    """
    return image - channel_medians(image)


def median_subtracted_difference(tile1: Image, tile2: Image) -> float:
    """Sum of absolute differences after :func:`subtract_channel_medians`, around the circle of 256 levels.

    A shift of a whole channel, as between two processings, no longer counts.
    """
    _check_shapes(tile1, tile2)
    wrapped = (subtract_channel_medians(tile1) - subtract_channel_medians(tile2)).view(np.int8)
    return float(np.abs(wrapped.astype(np.int16)).sum(dtype=np.int64))


def exponential_distance(values1: npt.ArrayLike, values2: npt.ArrayLike, scale: float) -> float:
    """Mean of ``1 - exp(-|difference| / scale)`` over two arrays of one shape: 0 (equal) to 1.

    Small differences count in proportion, large ones as an inequality, so that no single outlier dominates.

    Raises
    ------
    ValueError
        If the scale is not positive.
    """
    if scale <= 0:
        raise ValueError(f"scale is {scale}; it must be above 0, in the units of the values.")
    difference = np.abs(np.asarray(values1, dtype=np.float64) - np.asarray(values2, dtype=np.float64))
    return float(np.mean(1 - np.exp(-difference / scale)))


def correlation(tile1: Image, tile2: Image, sigma: float = HIGH_PASS_SIGMA) -> float:
    """Normalised cross-correlation (NCC) of the high-passed tiles at zero shift: -1 to 1.

    0 where either tile has no texture at all: that is no evidence of likeness.
    """
    _check_shapes(tile1, tile2)
    high1, high2 = high_pass(tile1, sigma), high_pass(tile2, sigma)
    high1 -= high1.mean()
    high2 -= high2.mean()
    energy = float(np.vdot(high1, high1)) * float(np.vdot(high2, high2))
    return float(np.clip(np.vdot(high1, high2) / np.sqrt(energy), -1, 1)) if energy > 0 else 0.0


def local_correlation(tile1: Image, tile2: Image, sigma: float = HIGH_PASS_SIGMA) -> npt.NDArray[np.float32]:
    """Correlation cell by cell: two tiles -> (height / 32, width / 32) float32, -1 to 1 or NaN.

    A cell with no more texture than rounding leaves (:data:`dupnet.tiles.EVIDENCE_RMS`) in both tiles has no
    evidence and is NaN. Where only one of them shows texture, its counterpart is missing: near 0.

    Raises
    ------
    ValueError
        If the tiles differ in shape, or a side is not a multiple of 32.
    """
    _check_shapes(tile1, tile2)
    cells1, cells2 = (_cells(high_pass(tile, sigma)) for tile in (tile1, tile2))
    product = np.mean(cells1 * cells2, axis=2)
    power1, power2 = np.mean(cells1**2, axis=2), np.mean(cells2**2, axis=2)
    least = np.float32(EVIDENCE_RMS**2)
    found = product / np.sqrt(np.maximum(power1, least) * np.maximum(power2, least))
    blank = (power1 < least) & (power2 < least)
    return np.asarray(np.where(blank, np.nan, np.clip(found, -1, 1)), dtype=np.float32)


def lowest_cell_correlation(tile1: Image, tile2: Image) -> float:
    """Tenth percentile of :func:`local_correlation` over cells with evidence: -1 to 1, 0 if there is none.

    Duplicates agree everywhere that carries texture; one place on two days agrees in places.
    """
    cells = local_correlation(tile1, tile2)
    seen = cells[~np.isnan(cells)]
    return float(np.quantile(seen, 0.1)) if len(seen) else 0.0


def structural_similarity(tile1: Image, tile2: Image) -> float:
    """SSIM of the grey tiles, windows of 7 x 7 pixels: -1 to 1 (equal).

    Source: Wang, Bovik, Sheikh and Simoncelli, 2004, doi:10.1109/TIP.2003.819861.
    """
    return structural_similarity_channels(grey_levels(tile1), grey_levels(tile2))


def structural_similarity_channels(tile1: Image, tile2: Image) -> float:
    """SSIM of each channel, averaged: -1 to 1 (equal). It also sees a shift of colour.

    The value is that of ``skimage.metrics.structural_similarity`` with its uniform window and sample
    covariance, several times as fast.
    """
    _check_shapes(tile1, tile2)
    window, margin = 7, 3
    # About the middle of the range, so that squares stay exact enough in single precision.
    levels1, levels2 = (tile.astype(np.float32) - np.float32(128) for tile in (tile1, tile2))

    def mean(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        inner = cv2.blur(levels, (window, window))[margin:-margin, margin:-margin]
        return np.asarray(inner, dtype=np.float32)

    sample = np.float32(window**2 / (window**2 - 1))
    light, contrast = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)  # C1 and C2 of the paper
    mean1, mean2 = mean(levels1), mean(levels2)
    variances = sample * (mean(levels1 * levels1 + levels2 * levels2) - mean1 * mean1 - mean2 * mean2)
    covariance = sample * (mean(levels1 * levels2) - mean1 * mean2)
    mean1 += 128
    mean2 += 128
    similarity = (2 * mean1 * mean2 + light) * (2 * covariance + contrast)
    similarity /= (mean1 * mean1 + mean2 * mean2 + light) * (variances + contrast)
    return float(similarity.mean(dtype=np.float64))


def colour_difference(tile1: Image, tile2: Image) -> float:
    """Mean colour difference that the eye sees (CIEDE2000) of the tiles reduced to a quarter: 0 to about 100.

    1 is just noticeable side by side. Source: Sharma, Wu and Dalal, 2005, doi:10.1002/col.20070, as
    scikit-image has it.
    """
    with extra():
        from skimage.color import deltaE_ciede2000, rgb2lab

    _check_shapes(tile1, tile2)
    size = (-(-tile1.shape[1] // 4), -(-tile1.shape[0] // 4))
    lab1, lab2 = (rgb2lab(cv2.resize(tile, size, interpolation=cv2.INTER_AREA)) for tile in (tile1, tile2))
    return float(np.mean(deltaE_ciede2000(lab1, lab2)))


def channel_medians(image: Image) -> Image:
    """The median of each channel, the lower of two middles: (height, width, 3) uint8 to (3,) uint8."""
    # Counting the 256 levels is several times as fast as ordering the values.
    flat = image.reshape(-1, image.shape[2])
    ranks = [np.bincount(channel, minlength=256).cumsum() for channel in flat.T]
    return np.array([np.searchsorted(rank, (len(flat) - 1) // 2, side="right") for rank in ranks], np.uint8)


def _cells(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(height, width) -> (rows, cols, 1024): 32 px cells, each less its mean."""
    rows, cols = levels.shape[0] // CELL_SIZE, levels.shape[1] // CELL_SIZE
    if levels.shape != (rows * CELL_SIZE, cols * CELL_SIZE):
        raise ValueError(f"tile is {levels.shape}; its sides must be multiples of {CELL_SIZE} pixels.")
    cells = levels.reshape(rows, CELL_SIZE, cols, CELL_SIZE).swapaxes(1, 2).reshape(rows, cols, -1)
    return np.asarray(cells - cells.mean(axis=2, keepdims=True), dtype=np.float32)


def _check_shapes(tile1: Image, tile2: Image) -> None:
    if tile1.shape != tile2.shape:
        raise ValueError(f"tile2 has shape {tile2.shape}; it must be that of tile1, {tile1.shape}.")


def _feature_distance(
    feature: Callable[[Image], npt.NDArray[np.generic]], tile1: Image, tile2: Image
) -> float:
    """Mean absolute difference of a feature of two tiles."""
    _check_shapes(tile1, tile2)
    return float(np.mean(np.abs(feature(tile1).astype(np.float64) - feature(tile2).astype(np.float64))))


def _block_medians_unequal(tile1: Image, tile2: Image) -> float:
    return unequal_values(block_medians(tile1), block_medians(tile2))


def _block_medians_exponential(tile1: Image, tile2: Image) -> float:
    return exponential_distance(block_medians(tile1), block_medians(tile2), scale=4.0)


@dataclass(frozen=True)
class PairMetric:
    """A metric of two RGB tiles of one shape: a float, symmetric in them.

    ``higher_is_alike`` says which way it points. ``unit`` is what it counts in.
    """

    compute: Callable[[Image, Image], float]
    higher_is_alike: bool
    unit: str

    def __call__(self, tile1: Image, tile2: Image) -> float:
        return self.compute(tile1, tile2)

    def likeness(self, tile1: Image, tile2: Image) -> float:
        """The metric, turned so that higher means more alike."""
        value = self.compute(tile1, tile2)
        return value if self.higher_is_alike else -value


PAIR_METRICS: dict[str, PairMetric] = {
    "unequal_values": PairMetric(unequal_values, False, "values"),
    "absolute_difference": PairMetric(absolute_difference, False, "levels"),
    "median_subtracted_difference": PairMetric(median_subtracted_difference, False, "levels"),
    "colour_difference": PairMetric(colour_difference, False, "CIEDE2000"),
    "entropy": PairMetric(partial(_feature_distance, channel_entropy), False, "bits"),
    "histogram": PairMetric(partial(_feature_distance, histogram_statistics), False, "mixed"),
    "cooccurrence": PairMetric(partial(_feature_distance, cooccurrence), False, "mixed"),
    "block_medians_unequal": PairMetric(_block_medians_unequal, False, "medians"),
    "block_medians_exponential": PairMetric(_block_medians_exponential, False, "0 to 1"),
    **{
        name: PairMetric(tile_hash.between, False, "bits" if tile_hash.source != "hashlib" else "0 or 1")
        for name, tile_hash in HASHES.items()
    },
    "structural_similarity": PairMetric(structural_similarity, True, "-1 to 1"),
    "structural_similarity_channels": PairMetric(structural_similarity_channels, True, "-1 to 1"),
    "correlation": PairMetric(correlation, True, "-1 to 1"),
    "lowest_cell_correlation": PairMetric(lowest_cell_correlation, True, "-1 to 1"),
}
"""Every metric of a pair by name, hashes included."""
