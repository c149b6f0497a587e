"""Numbers of a tile, and how alike two tiles are: the image metrics, as functions and in one table.

Functions of one tile return arrays; functions of two tiles of one shape return a float. :data:`PAIR_METRICS`
names every metric of a pair, hashes included, and says which way it points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.hashes import HASHES
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, Grid, is_solid, split_tiles

__all__ = [
    "PAIR_METRICS",
    "TILE_METRICS",
    "PairMetric",
    "absolute_difference",
    "block_medians",
    "channel_entropy",
    "colour_difference",
    "cooccurrence",
    "correlation",
    "decode_run_lengths",
    "exponential_distance",
    "grey_levels",
    "high_pass",
    "histogram_statistics",
    "local_correlation",
    "lowest_cell_correlation",
    "median_subtracted_difference",
    "ship_pixels",
    "structural_similarity",
    "subtract_channel_medians",
    "unequal_values",
]

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]

HIGH_PASS_SIGMA = 3.0
"""Width of the blur that is subtracted, in pixels. It keeps waves, wakes and roofs, a few pixels wide at the
1.5 m of the Airbus images and the 0.3 m of the aerial ones, and drops the slow brightness that neighbours
share."""

MODE_REACH = 5
"""Half-width in levels of the peak around the modal colour."""

COOCCURRENCE_LEVELS = 64
"""Grey levels of the co-occurrence matrix. 256 would leave most of its 65,536 cells with a count of nought or
one."""

COOCCURRENCE_PROPERTIES = ("energy", "contrast", "homogeneity", "correlation")

BLOCK_GRID = 16
"""Block medians a side."""


def grey_levels(tile: Image) -> Image:
    """Grey of an RGB tile, (height, width, 3) -> (height, width) uint8; a grey tile is returned as it is."""
    return tile if tile.ndim == 2 else np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def channel_entropy(tile: Image) -> Values:
    """Shannon entropy of each channel's histogram: (height, width, 3) -> (3,) bits, 0 (one level) to 8."""
    shares = _histograms(tile) / tile[..., 0].size
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1) + 0.0)


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
    from skimage.feature import graycomatrix, graycoprops

    levels = grey_levels(tile) // np.uint8(256 // COOCCURRENCE_LEVELS)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(levels, [1], angles, levels=COOCCURRENCE_LEVELS, symmetric=True, normed=True)
    return np.array([graycoprops(matrix, name).mean() for name in COOCCURRENCE_PROPERTIES])


def block_medians(tile: Image) -> Image:
    """Median of each channel in 16 x 16 blocks: (height, width, 3) -> (16, 16, 3) uint8, the lower of two
    middles.

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


def unequal_values(tile1: Image, tile2: Image) -> float:
    """How many of the values (pixels times channels) differ at all."""
    _check_shapes(tile1, tile2)
    return float(np.count_nonzero(tile1 != tile2))


def absolute_difference(tile1: Image, tile2: Image) -> float:
    """Sum of the absolute differences of all values, in levels."""
    _check_shapes(tile1, tile2)
    return float(cv2.absdiff(tile1, tile2).sum(dtype=np.int64))


def subtract_channel_medians(image: Image) -> Image:
    """Each channel less its median, with unsigned wrap-around ("average channel subtraction"), (height,
    width, 3).

    For looking at a hard pair: a level above the median becomes 1, a level below it 255, so that differences
    of a level or two stand out. Apply it to the common region of both images. The median is the lower of two
    middles.
    """
    return image - _channel_medians(image)


def median_subtracted_difference(tile1: Image, tile2: Image) -> float:
    """Sum of absolute differences after :func:`subtract_channel_medians`, around the circle of 256 levels.

    A shift of a whole channel, as between two processings, no longer counts.
    """
    _check_shapes(tile1, tile2)
    wrapped = (subtract_channel_medians(tile1) - subtract_channel_medians(tile2)).view(np.int8)
    return float(np.abs(wrapped.astype(np.int16)).sum(dtype=np.int64))


def exponential_distance(values1: npt.ArrayLike, values2: npt.ArrayLike, scale: float) -> float:
    """Mean of ``1 - exp(-|difference| / scale)`` over two arrays of one shape: 0 (equal) to 1.

    Near nought it counts like a difference, far away like a mere inequality, so no single outlier rules it.

    Raises
    ------
    ValueError
        If the scale is not positive.
    """
    if scale <= 0:
        raise ValueError(f"scale is {scale}; it must be above 0, in the units of the values.")
    difference = np.abs(np.asarray(values1, dtype=np.float64) - np.asarray(values2, dtype=np.float64))
    return float(np.mean(1 - np.exp(-difference / scale)))


def high_pass(tile: Image, sigma: float = HIGH_PASS_SIGMA) -> npt.NDArray[np.float32]:
    """Grey less its Gaussian blur of ``sigma`` pixels: (height, width[, 3]) -> (height, width) float32,
    levels.

    The blur ends at the tile's border, where it mirrors the tile. One that reached into the neighbours, or
    into black, would add edges that the tile does not show.
    """
    grey = grey_levels(tile).astype(np.float32)
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(grey - blurred, dtype=np.float32)


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
    """Correlation cell by cell: two tiles -> (height / 32, width / 32) float32, -1 to 1; NaN without
    evidence.

    A cell with no more texture than rounding leaves (:data:`dupnet.tiles.EVIDENCE_RMS`) in both tiles is NaN.
    Where only one of them shows texture, that texture's counterpart is missing, and the cell counts as near
    0.
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
    """SSIM of the grey tiles, 7 px window: -1 to 1 (equal).

    Source: Wang, Bovik, Sheikh and Simoncelli, 2004, doi:10.1109/TIP.2003.819861, as scikit-image has it.
    """
    from skimage.metrics import structural_similarity as ssim

    _check_shapes(tile1, tile2)
    return float(ssim(grey_levels(tile1), grey_levels(tile2), data_range=255))


def colour_difference(tile1: Image, tile2: Image) -> float:
    """Mean colour difference that the eye sees (CIEDE2000) of the tiles reduced to a quarter: 0 to about 100.

    1 is just noticeable side by side. Source: Sharma, Wu and Dalal, 2005, doi:10.1002/col.20070, as
    scikit-image has it.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    _check_shapes(tile1, tile2)
    size = (-(-tile1.shape[1] // 4), -(-tile1.shape[0] // 4))
    lab1, lab2 = (rgb2lab(cv2.resize(tile, size, interpolation=cv2.INTER_AREA)) for tile in (tile1, tile2))
    return float(np.mean(deltaE_ciede2000(lab1, lab2)))


def _histograms(tile: Image) -> Values:
    """Counts of the 256 levels of each channel: (height, width, c) -> (c, 256)."""
    flat = tile.reshape(-1, tile.shape[2])
    return np.stack([np.bincount(channel, minlength=256).astype(np.float64) for channel in flat.T])


def _channel_medians(image: Image) -> Image:
    flat = image.reshape(-1, image.shape[2])
    middle = (len(flat) - 1) // 2
    return np.asarray(np.partition(flat, middle, axis=0)[middle], dtype=np.uint8)


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


def _solid(tile: Image) -> Values:
    return np.array([float(is_solid(tile))])


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


TILE_METRICS: dict[str, Callable[[Image], npt.NDArray[np.generic]]] = {
    "entropy": channel_entropy,
    "histogram": histogram_statistics,
    "cooccurrence": cooccurrence,
    "block_medians": block_medians,
    "solid": _solid,
}
"""Metrics of one RGB tile by name."""


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
    "correlation": PairMetric(correlation, True, "-1 to 1"),
    "lowest_cell_correlation": PairMetric(lowest_cell_correlation, True, "-1 to 1"),
}
"""Every metric of a pair by name, hashes included."""
