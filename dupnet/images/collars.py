"""Collars: what fills an image where its acquisition ends, straight or slanted.

A collar is of exactly one level (black, white or another), lies along the border of the image, and is at
least a strip. Noise, even of one level, is no collar: it is told by how few of its pixels are alike with all
around them. Beside an edge, JPEG leaves ringing and resampling a soft transition; both belong to the collar.
"""

from __future__ import annotations

import cv2
import numpy as np

from dupnet.images.image import Mask, Pixels

__all__ = ["collar_mask", "collars_by_level"]

RUN = 24
"""Pixels of one level in a row, on the border, from which it is looked for a collar there."""

STRIP = 4
"""Width in pixels of the narrowest collar: it has as many pixels as a strip of that width along the shorter
side."""

BLOCK = 8
"""Side in pixels of a JPEG block (ITU-T T.81), within which an edge rings."""

RINGING = 24
"""Levels by which a pixel of a collar may ring beside an edge, at a JPEG quality of 75 and more."""

SOFT = 2
"""Pixels beyond a collar that belong to its edge: bicubic resampling reaches that far."""

MOST_LEVELS = 4
"""Levels on the border that are tried, those of the longest runs first."""

_FILLED, _REFUSED = 128, 1  # of parts that were looked at; others are 255, what is not flat 0
_REACH = 3 * (BLOCK + SOFT)  # px around a collar that say how far it goes


def collar_mask(grey: Pixels) -> Mask | None:
    """False where a pixel lies in a collar, or None if there is none.

    Parameters
    ----------
    grey : (height, width) uint8
        Grey levels; of RGB its luma.
    """
    levels = _levels_on_border(grey)
    if not levels:
        return None
    collar = np.zeros(grey.shape, np.uint8)
    for level in levels:
        _add_collar(collar, grey, level)
    return None if not collar.any() else collar == 0


def collars_by_level(grey: Pixels) -> dict[int, Mask]:
    """True where a pixel lies in a collar, level by level of those that :func:`collar_mask` joins."""
    found: dict[int, Mask] = {}
    for level in _levels_on_border(grey):
        collar = np.zeros(grey.shape, np.uint8)
        _add_collar(collar, grey, level)
        if collar.any():
            found[level] = collar > 0
    return found


def _levels_on_border(grey: Pixels) -> list[int]:
    """Levels of long runs along the four borders, longest first."""
    longest: dict[int, int] = {}
    for line in (grey[0], grey[-1], grey[:, 0], grey[:, -1]):
        ends = np.flatnonzero(line[1:] != line[:-1])
        bounds = np.concatenate([[-1], ends, [len(line) - 1]])
        runs = bounds[1:] - bounds[:-1]
        for run in np.flatnonzero(runs >= min(RUN, len(line))):
            level = int(line[ends[run]] if run < len(ends) else line[-1])
            longest[level] = max(longest.get(level, 0), int(runs[run]))
    return sorted(longest, key=lambda level: (-longest[level], level))[:MOST_LEVELS]


def _add_collar(collar: Pixels, grey: Pixels, level: int) -> None:
    """Mark the collars of a level in ``collar``."""
    least = STRIP * min(grey.shape)
    alike = cv2.inRange(grey, level, level)
    if cv2.countNonZero(alike) < least:
        return
    # Beyond the border nothing speaks against it.
    flat: Pixels = np.asarray(
        cv2.erode(alike, _square(1), borderType=cv2.BORDER_CONSTANT, borderValue=255), np.uint8
    )
    area = _fill_from_border(flat, least)
    if area is None:
        return
    core = cv2.dilate(cv2.inRange(flat[area], _FILLED, _FILLED), _square(1))
    # Faint texture is no ringing: that needs an edge close by.
    like = cv2.inRange(grey[area], max(level - RINGING, 0), min(level + RINGING, 255))
    by_an_edge = cv2.dilate(cv2.bitwise_not(like), _square(BLOCK))
    near = cv2.dilate(core, _square(BLOCK))
    ringing = cv2.bitwise_and(cv2.bitwise_and(like, by_an_edge), near)
    solid = cv2.morphologyEx(cv2.bitwise_or(ringing, core), cv2.MORPH_OPEN, _square(1))
    edge = cv2.bitwise_and(cv2.dilate(solid, _square(SOFT)), by_an_edge)
    collar[area] |= cv2.bitwise_or(core, edge).astype(np.uint8)


def _fill_from_border(flat: Pixels, least: int) -> tuple[slice, slice] | None:
    """Set the connected parts of 255 that touch the border and have ``least`` pixels to :data:`_FILLED`.

    Returns the part of the image that they and what is near them can change, None if there are none.
    """
    height, width = flat.shape
    filled: list[tuple[int, int, int, int]] = []
    for line, to_seed in (
        (flat[0], lambda at: (at, 0)),
        (flat[-1], lambda at: (at, height - 1)),
        (flat[:, 0], lambda at: (0, at)),
        (flat[:, -1], lambda at: (width - 1, at)),
    ):
        at = 0
        # A view: what was filled from elsewhere is not found again.
        while (found := np.flatnonzero(line[at:] == 255)).size:
            at += int(found[0])
            n_pixels, _, _, (left, top, across, down) = cv2.floodFill(
                flat, None, to_seed(at), _FILLED, flags=8
            )
            if n_pixels >= least:
                filled.append((top, left, top + down, left + across))
            else:
                cv2.floodFill(flat, None, to_seed(at), _REFUSED, flags=8)
    if not filled:
        return None
    tops, lefts, bottoms, rights = zip(*filled, strict=True)
    return (
        slice(max(0, min(tops) - _REACH), max(bottoms) + _REACH),
        slice(max(0, min(lefts) - _REACH), max(rights) + _REACH),
    )


def _square(radius: int) -> Pixels:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
