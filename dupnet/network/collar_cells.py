"""Cells of a tile that a collar touches: they are marked in the descriptor, and prove nothing.

Where an acquisition ends, a strip of one level (no data) meets its content. The border between the two is the
strongest edge of such a tile, and other places have one like it. So a cell that holds a part of the strip, or
of what JPEG and resampling leave beside it, is marked, and a pair is judged by the cells that neither tile
has marked.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.images.collars import BLOCK, RUN, collars_by_level
from dupnet.tiles import CELL_SIZE

__all__ = ["MARK", "collar_cells", "fill_marked", "is_marked"]

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

MARK = 0
"""Byte of every power of a marked cell: below that of the floor, 1, so that no cell has it by itself."""

LEAST_CONTENT = 2 * CELL_SIZE**2
"""Pixels of the smallest part of a tile that counts as content beside a collar: two cells, as many as a
verdict asks for. Scattered pixels on flat ground are what a nearly black tile has to show."""

LEAST_JUMP = 2
"""Levels by which content must differ from the collar beside it, twice what rounding can make of one level.
Below, the border is no stronger than the texture of weak sea."""

TOLERANCE, LEAST_STRAIGHT, MOST_CORNERS = 3.0, 0.95, 2
"""The border of a collar is straight, or has one corner or two: so large a share of its pixels lie within so
many pixels of a polygon around the collar, or around the content, with no more corners inside the tile. Flat
parts of dark sea, and clipped clouds, have ragged borders."""

SMOOTHED = 7
"""Side in pixels of the square whose majority tells collar from content, where texture reaches its level."""

BESIDE = 3 * BLOCK
"""Pixels beside a collar whose median, but for the block next to it, is the level of the content there."""


def collar_cells(grey_tiles: Bytes) -> Bools | None:
    """True where a cell holds a part of a collar or of its border; None where no tile has one.

    Parameters
    ----------
    grey_tiles : (n, size, size) uint8
        The size a multiple of 32 px.

    Returns
    -------
    (n, size / 32, size / 32) bool, or None
    """
    n, size, _ = grey_tiles.shape
    found: Bools | None = None
    for number in np.flatnonzero(_has_run_on_border(grey_tiles)):
        collar = _straight_collar(grey_tiles[number])
        if collar is None:
            continue
        if found is None:
            found = np.zeros((n, size // CELL_SIZE, size // CELL_SIZE), bool)
        side = size // CELL_SIZE
        found[number] = collar.reshape(side, CELL_SIZE, side, CELL_SIZE).any(axis=(1, 3))
    return found


def _has_run_on_border(grey_tiles: Bytes) -> Bools:
    """Which tiles have a run of one level on their border, as a collar has (:data:`RUN`): (n,) bool."""
    n = len(grey_tiles)
    lines = np.concatenate([grey_tiles[:, 0], grey_tiles[:, -1], grey_tiles[:, :, 0], grey_tiles[:, :, -1]])
    same = (lines[:, 1:] == lines[:, :-1]).astype(np.uint8)
    runs = cv2.erode(same, np.ones((1, RUN - 1), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(runs.any(axis=1).reshape(4, n).any(axis=0), bool)


def _straight_collar(grey: Bytes) -> Bools | None:
    """The collars (size, size) of a tile and what compression leaves beside them, or None."""
    found: Bools | None = None
    for level, collar in collars_by_level(grey).items():
        near = cv2.dilate(collar.astype(np.uint8), _square(BLOCK)) > 0
        beside = (cv2.dilate(collar.astype(np.uint8), _square(BESIDE)) > 0) & ~near
        if not beside.any():
            continue
        jump = float(np.median(grey[beside])) - level
        if abs(jump) < LEAST_JUMP:
            continue
        # The border lies where levels are half way, whatever rings beside it.
        like = (np.abs(grey.astype(np.float32) - level) < abs(jump) / 2) & near
        content = _large_parts(cv2.medianBlur(like.astype(np.uint8), SMOOTHED) == 0)
        if content is None:
            continue
        part = 1 - content  # with what is scattered inside the collar
        border = (cv2.dilate(part, _square(1)) > 0) & (content > 0)
        if not part.any():
            continue
        if _is_straight(border, part) or _is_straight(border, content):
            beyond = cv2.dilate(part, _square(BLOCK)) > 0
            found = beyond if found is None else found | beyond
    return found


def _large_parts(valid: Bools) -> Bytes | None:
    """The parts of a mask of :data:`LEAST_CONTENT` pixels and more, as 0 and 1; None without any."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(valid.astype(np.uint8), connectivity=4)
    is_large = stats[:, cv2.CC_STAT_AREA] >= LEAST_CONTENT
    is_large[0] = False
    return is_large[parts].astype(np.uint8) if is_large.any() else None


def _is_straight(border: Bools, part: Bytes) -> bool:
    """Whether a border (size, size) follows the outline of a polygon of few corners around ``part``."""
    rows = np.flatnonzero(part.any(axis=1))
    left, right = part[rows].argmax(axis=1), part.shape[1] - 1 - part[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([left, rows], axis=1), np.stack([right, rows], axis=1)]).astype(np.int32)
    polygon = cv2.approxPolyDP(cv2.convexHull(ends), TOLERANCE, closed=True)
    corners, last = polygon.reshape(-1, 2), len(part) - 1
    inside = ((corners > TOLERANCE) & (corners < last - TOLERANCE)).all(axis=1)
    if inside.sum() > MOST_CORNERS:
        return False
    outline = cv2.polylines(np.ones_like(part), [polygon], True, 0)
    distance = cv2.distanceTransform(outline, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return bool((distance[border] <= TOLERANCE).mean() >= LEAST_STRAIGHT)


def _square(radius: int) -> Bytes:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def is_marked(verify: Bytes, n_cells: int, n_filters: int, n_orientations: int) -> Bools:
    """Which cells of verify descriptors (..., bytes) are marked: (..., n_cells) bool."""
    first_powers = n_cells * n_filters * n_orientations
    return np.asarray(verify[..., first_powers : first_powers + n_cells] == MARK)


def fill_marked(both: Bytes, marked: Bools, n_filters: int) -> None:
    """Put in place of each cell that either tile of a pair has marked, in both tiles, the nearest cell that
    neither has, so that the pair is judged by what is left.

    Of several as near, the one with the most power: which does not depend on how the tiles are turned.

    Parameters
    ----------
    both : (2, n, bytes) uint8
        The verify descriptors of the first and the second tiles, changed in place.
    marked : (n, n_cells) bool
        Cells marked in either tile.
    n_filters
        Powers of a cell.
    """
    n_cells = marked.shape[1]
    places = np.stack(np.divmod(np.arange(n_cells), int(np.sqrt(n_cells))))
    distance = np.square(places[:, :, None] - places[:, None]).sum(axis=0)
    for row in np.flatnonzero(marked.any(axis=1)):
        left, gone = np.flatnonzero(~marked[row]), np.flatnonzero(marked[row])
        if not len(left):
            continue
        cells = both[:, row].reshape(2, -1, n_cells)
        power = cells[:, -1 - n_filters : -1].sum(axis=(0, 1), dtype=np.int64)[left]
        # Ranks leave the distance in front: it differs by at least one.
        rank = power / (1 + power.max())
        nearest = left[np.argmin(distance[np.ix_(gone, left)] - rank, axis=1)]
        cells[:, :, gone] = cells[:, :, nearest]
        both[:, row] = cells.reshape(2, -1)
