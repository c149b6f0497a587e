"""The tile grid: indices, slices, and every way in which two images of one grid can overlap.

Tiles are numbered row by row from the upper left; for the 3 x 3 grid of a 768 pixel image::

    0 1 2
    3 4 5
    6 7 8

Two images overlap in whole tiles. The offset (row, column) of image 2's origin in image 1's frame, counted in
tiles, fixes which tiles they share; an overlap's *tag* names the first and the last of them as seen from
image 1.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "CELL_SIZE",
    "EVIDENCE_RMS",
    "MIN_EVIDENCE_CELLS",
    "SMALLEST_TILE",
    "Grid",
    "Overlap",
    "cell_texture",
    "grey_levels",
    "is_decidable",
    "is_solid",
    "mirror_tag",
    "neighbours",
    "overlap_at",
    "overlap_of_tag",
    "overlaps",
    "solid_kind",
    "split_tiles",
    "tile_slices",
]

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]

TILE_SIZE = 256
"""Side of a tile in pixels: the stride at which the Airbus images were cut from their acquisitions."""

CELL_SIZE = 32
"""Side in pixels of a cell, the patch whose texture is measured; 8 x 8 of them fill a 256 px tile."""

EVIDENCE_RMS = 0.35
"""Texture in grey levels (root mean square) from which a cell counts as evidence.

Rounding to whole levels alone leaves 0.29 (1 / sqrt 12): a cell below this shows nothing but its rounding.
"""

SMALLEST_TILE = 64
"""Side in pixels of the smallest tile that can be judged: one cell alone is no evidence."""

MIN_EVIDENCE_CELLS = 2
"""Cells with evidence that a tile needs before a verdict on it means anything."""

_TAG_DIGITS = string.digits + string.ascii_lowercase + string.ascii_uppercase


@dataclass(frozen=True)
class Grid:
    """The tiles of one image: ``rows`` x ``cols`` squares of ``tile_size`` pixels."""

    rows: int = 3
    cols: int = 3
    tile_size: int = TILE_SIZE

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "tile_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"Grid: {name} is {getattr(self, name)}; it must be at least 1.")

    @classmethod
    def of_image(cls, height: int, width: int, tile_size: int = TILE_SIZE) -> Grid:
        """The grid of an image of ``height`` x ``width`` pixels.

        Raises
        ------
        ValueError
            If a side is not a whole number of tiles.
        """
        if tile_size < 1 or height < 1 or width < 1 or height % tile_size or width % tile_size:
            raise ValueError(
                f"An image of {height} x {width} pixels is not a whole number of {tile_size} px tiles; "
                "pass the tile_size (--tile-size) at which this collection was cut."
            )
        return cls(height // tile_size, width // tile_size, tile_size)

    @property
    def n_tiles(self) -> int:
        """Tiles of an image."""
        return self.rows * self.cols

    @property
    def height(self) -> int:
        """Of an image, in pixels."""
        return self.rows * self.tile_size

    @property
    def width(self) -> int:
        """Of an image, in pixels."""
        return self.cols * self.tile_size


@dataclass(frozen=True)
class Overlap:
    """One way in which two images of a grid share tiles.

    ``tiles1[k]`` of image 1 covers the same ground as ``tiles2[k]`` of image 2. The offset, in tiles, is that
    of image 2's origin in image 1's frame.
    """

    tag: str
    row_offset: int
    col_offset: int
    tiles1: tuple[int, ...]
    tiles2: tuple[int, ...]

    @property
    def n_tiles(self) -> int:
        """Tiles that the images share."""
        return len(self.tiles1)


def tile_slices(index: int, grid: Grid = Grid()) -> tuple[slice, slice]:
    """Row and column slice of tile ``index`` (0 to ``grid.n_tiles - 1``) in its image.

    Raises
    ------
    ValueError
        If the grid has no such tile.
    """
    if not 0 <= index < grid.n_tiles:
        raise ValueError(
            f"index is {index}; a {grid.rows} x {grid.cols} grid has tiles 0 to {grid.n_tiles - 1}."
        )
    row, col = divmod(index, grid.cols)
    size = grid.tile_size
    return slice(row * size, (row + 1) * size), slice(col * size, (col + 1) * size)


def split_tiles(image: Array, grid: Grid | None = None) -> Array:
    """All tiles of an image, in index order.

    (height, width[, channels]) -> (n_tiles, size, size[, channels]) of the same dtype.

    Raises
    ------
    ValueError
        If the image is not of the grid's size (or, without a grid, not a whole number of 256 px tiles).
    """
    height, width = image.shape[:2]
    if grid is None:
        grid = Grid.of_image(height, width)
    if (height, width) != (grid.height, grid.width):
        raise ValueError(
            f"image is {height} x {width} pixels; a grid of {grid.rows} x {grid.cols} tiles of "
            f"{grid.tile_size} px takes {grid.height} x {grid.width}."
        )
    size, rest = grid.tile_size, image.shape[2:]
    blocks = image.reshape(grid.rows, size, grid.cols, size, *rest).swapaxes(1, 2)
    return blocks.reshape(grid.n_tiles, size, size, *rest)


def overlaps(grid: Grid = Grid()) -> tuple[Overlap, ...]:
    """Every overlap of two images of a grid, by row and then column offset: 25 for the 3 x 3 grid."""
    return tuple(_overlaps_by_offset(grid).values())


def overlap_at(row_offset: int, col_offset: int, grid: Grid = Grid()) -> Overlap:
    """The overlap of two images whose origins lie ``(row_offset, col_offset)`` tiles apart.

    Raises
    ------
    ValueError
        If images so far apart share no tile.
    """
    try:
        return _overlaps_by_offset(grid)[row_offset, col_offset]
    except KeyError:
        raise ValueError(
            f"offset ({row_offset}, {col_offset}): two images of {grid.rows} x {grid.cols} "
            "tiles share no tile there."
        ) from None


def overlap_of_tag(tag: str, grid: Grid = Grid()) -> Overlap:
    """The overlap that ``tag`` names, such as ``"07"``: image 1 without its last column.

    Raises
    ------
    ValueError
        If the grid has no overlap of that name.
    """
    for overlap in overlaps(grid):
        if overlap.tag == tag:
            return overlap
    known = " ".join(overlap.tag for overlap in overlaps(grid))
    raise ValueError(
        f"overlap tag {tag!r} is unknown for a {grid.rows} x {grid.cols} grid; its tags are: {known}"
    )


def mirror_tag(tag: str, grid: Grid = Grid()) -> str:
    """The tag of the same overlap as seen from the other image: of ``"07"`` it is ``"18"``.

    Raises
    ------
    ValueError
        If the grid has no overlap of that name.
    """
    seen = overlap_of_tag(tag, grid)
    return overlap_at(-seen.row_offset, -seen.col_offset, grid).tag


def neighbours(
    group: npt.ArrayLike,
    y: npt.ArrayLike,
    x: npt.ArrayLike,
    height: npt.ArrayLike,
    width: npt.ArrayLike,
    least: int,
) -> tuple[Integers, Integers, Integers, Integers]:
    """All pairs of images of one group that share ground, by their places.

    Parameters
    ----------
    group, y, x, height, width : (n,) integers
        Group of each image, its upper left pixel in the plane of the group, and its size.
    least : int
        Side in pixels that the common region must have at least, in both directions.

    Returns
    -------
    first, second, y_offset, x_offset : (m,) int64
        Numbers of the two images, first < second, in ascending order; the second's place less the first's.
    """
    import shapely

    groups, top, left, rows, cols = (
        np.asarray(values, dtype=np.int64) for values in (group, y, x, height, width)
    )
    bottom, right = top + rows, left + cols
    # One plane for all groups, side by side; whole numbers below 2**53 are exact in it.
    start = left.min(initial=0)
    shift = groups * (right.max(initial=0) - start + 1) - start
    boxes = shapely.box(left + shift, top, right + shift, bottom)
    one, other = shapely.STRtree(boxes).query(boxes) if len(boxes) else np.zeros((2, 0), np.int64)
    first, second = one[one < other].astype(np.int64), other[one < other].astype(np.int64)
    common = np.minimum(
        np.minimum(bottom[first], bottom[second]) - np.maximum(top[first], top[second]),
        np.minimum(right[first], right[second]) - np.maximum(left[first], left[second]),
    )
    # The tree may round: what lies in another group is told apart here.
    kept = (common >= least) & (groups[first] == groups[second])
    first, second = first[kept], second[kept]
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    return first, second, top[second] - top[first], left[second] - left[first]


@lru_cache(maxsize=64)
def _overlaps_by_offset(grid: Grid) -> dict[tuple[int, int], Overlap]:
    return {(found.row_offset, found.col_offset): found for found in _enumerate_overlaps(grid)}


def _enumerate_overlaps(grid: Grid) -> Iterator[Overlap]:
    for row_offset in range(1 - grid.rows, grid.rows):
        for col_offset in range(1 - grid.cols, grid.cols):
            # Image 1's tile (row, col) lies at (row - row_offset, col - col_offset) in image 2.
            rows = range(max(0, row_offset), min(grid.rows, grid.rows + row_offset))
            cols = range(max(0, col_offset), min(grid.cols, grid.cols + col_offset))
            tiles1 = tuple(row * grid.cols + col for row in rows for col in cols)
            shift = row_offset * grid.cols + col_offset
            tiles2 = tuple(index - shift for index in tiles1)
            yield Overlap(_tag(tiles1[0], tiles1[-1], grid), row_offset, col_offset, tiles1, tiles2)


def _tag(first: int, last: int, grid: Grid) -> str:
    if grid.n_tiles <= len(_TAG_DIGITS):
        return _TAG_DIGITS[first] + _TAG_DIGITS[last]
    return f"{first}-{last}"


def grey_levels(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Luma of RGB tiles, rounded to whole levels as in a JPEG file: (..., height, width, 3) -> (..., height,
    width) uint8; a grey tile (height, width) is returned as it is."""
    if tiles.ndim == 2:
        return tiles
    column = np.ascontiguousarray(tiles.reshape(-1, tiles.shape[-2], 3))
    return np.asarray(cv2.cvtColor(column, cv2.COLOR_RGB2GRAY), np.uint8).reshape(tiles.shape[:-1])


def is_solid(tile: Array, tolerance: int = 0) -> bool:
    """Whether a tile (size, size[, channels]) is one colour: no channel spans over ``tolerance`` levels."""
    flat = tile.reshape(tile.shape[0] * tile.shape[1], -1).astype(np.int16)
    return bool((flat.max(axis=0) - flat.min(axis=0) <= tolerance).all())


def solid_kind(tile: Array, tolerance: int = 4) -> str:
    """What a solid RGB tile (size, size, 3) uint8 shows: ``white``, ``black``, ``blue`` or ``other``.

    White is saturated cloud, blue an acquisition's border: pure blue, slightly off at its inner edge. The
    empty string for a tile that is not solid within ``tolerance`` levels; 4 is what JPEG leaves of a
    constant block at quality 75 and more.
    """
    if not is_solid(tile, tolerance):
        return ""
    red, green, blue = (int(level) for level in np.median(tile.reshape(-1, 3).astype(np.float64), axis=0))
    if min(red, green, blue) >= 255 - tolerance:
        return "white"
    if max(red, green, blue) <= tolerance:
        return "black"
    if blue >= 200 and max(red, green) <= 55:
        return "blue"
    return "other"


def cell_texture(grey_tiles: Array) -> npt.NDArray[np.float32]:
    """Texture of each 32 px cell, the root mean square in grey levels.

    (n, size, size) grey, any dtype -> (n, size / 32, size / 32) float32. The mean of every row and of
    every column of the cell is subtracted first: what a stripe or a straight border shows is constant along
    one of them, repeats from tile to tile, and proves nothing.

    Raises
    ------
    ValueError
        If the tiles are not squares of whole cells.
    """
    n, height, width = grey_tiles.shape
    if height != width or height % CELL_SIZE or not height:
        raise ValueError(
            f"grey_tiles has shape {grey_tiles.shape}; tiles must be squares of whole {CELL_SIZE} px cells."
        )
    side = height // CELL_SIZE
    cells = grey_tiles.reshape(n, side, CELL_SIZE, side, CELL_SIZE).astype(np.float32)
    cells = cells - cells.mean(axis=2, keepdims=True)
    cells -= cells.mean(axis=4, keepdims=True)
    return np.asarray(np.sqrt(np.mean(cells**2, axis=(2, 4))), np.float32)


def is_decidable(grey_tiles: Array) -> npt.NDArray[np.bool_]:
    """Which grey tiles (n, size, size) carry enough texture to judge by: (n,) bool.

    Saturated cloud, black, the border, and stripes of those carry none.

    Raises
    ------
    ValueError
        If the tiles are not squares of whole cells.
    """
    evidence = cell_texture(grey_tiles) >= EVIDENCE_RMS
    return np.asarray(evidence.sum(axis=(1, 2)) >= MIN_EVIDENCE_CELLS)
