"""Points whose codes do not depend on how the image was turned: each patch is coded as its own content turns
it.

Of the eight ways to mirror and turn a patch one puts its first moments, where its weight lies as seen from
the point, into one octant. In an image that was turned the patch is turned back by that; so codes of one
place agree, and the two turns say how one image must be turned to lie on the other. Moments near the border
of an octant may fall on either side of it: such a patch has a second code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.find.extrema import LEVELS, raw_patches
from dupnet.find.point_index import COLUMNS
from dupnet.find.points import CODE_LENGTH, Directions, codes_of, load_directions
from dupnet.images.parts import GreyParts, MaskParts
from dupnet.images.transforms import N_TURNS, TURNS, turned

__all__ = [
    "NONE",
    "TURNED_COLUMNS",
    "TurnedPoints",
    "find_turned_points",
    "octants",
]

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Bytes = npt.NDArray[np.uint8]

TURNED_COLUMNS = {
    **COLUMNS,
    "turned_codes": CODE_LENGTH,
    "turns": 1,
    "other_codes": CODE_LENGTH,
    "other_turns": 1,
}
"""What is kept of a point that may be turned, and in how many bytes."""

NONE = 255
"""The turn of a code that there is not."""

NEAR_BORDER = 0.17
"""Sine of the angle, 10 degrees, of a patch's moments to the border of their octant below which it has a
second code."""


class TurnedPoints(NamedTuple):
    """The points of an image as :class:`dupnet.find.points.Points`, in that order, with their codes when
    turned: (n, 48) int8, and by which turn (n,) uint8; likewise the second, :data:`NONE` without one."""

    y: Float
    x: Float
    codes: Codes
    kinds: Bytes
    turned_codes: Codes
    turns: Bytes
    other_codes: Codes
    other_turns: Bytes


def find_turned_points(
    grey: Grey | GreyParts,
    valid: Mask | MaskParts | None = None,
    *,
    dense: bool = False,
) -> TurnedPoints:
    """The points of an image, their codes, and those that they have however the image is turned.

    Parameters, and what is raised, as of :func:`dupnet.find.points.find_points`, whose points these are.
    """
    directions = load_directions()
    found = []
    for number, level in enumerate(LEVELS):
        y, x, minima, wide = raw_patches(grey, valid, level, dense, wide=True)
        side = level.side + (level.scale == 1)
        around = wide.reshape(len(y), side, side)
        upright = np.ascontiguousarray(around[:, : level.side, : level.side]).reshape(len(y), level.side**2)
        first, second = octants(around, minima)
        first_codes, second_codes = (
            _turned_codes(around, minima, turns, number, directions) for turns in (first, second)
        )
        for kind, keep, codes in codes_of(upright, minima, number, directions):
            straight = kind // len(LEVELS)
            of_kind = [
                (turns[keep], every[straight][keep])
                for turns, every in ((first, first_codes), (second, second_codes))
            ]
            for turns, coded in of_kind:
                # A patch whose code there would be of the other kind matches nothing.
                turns[~coded.any(axis=1)] = NONE
            kinds = (2 * kind + minima[keep]).astype(np.uint8)
            (turns1, codes1), (turns2, codes2) = of_kind
            found.append((y[keep], x[keep], codes, kinds, codes1, turns1, codes2, turns2))
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    order = np.lexsort((columns[1], columns[0], columns[3]))
    return TurnedPoints(*(column[order] for column in columns))


def octants(around: Float, minima: Mask) -> tuple[Bytes, Bytes]:
    """The turn that puts the moments of each patch into the first octant, 0 <= x <= y, and the one that puts
    them just beyond its nearer border, or :data:`NONE`."""
    n, side = around.shape[:2]
    from_middle = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    sign = np.where(minima, np.float32(-1), np.float32(1))
    moments = np.stack(
        [around.sum(axis=2) @ from_middle * sign, around.sum(axis=1) @ from_middle * sign], axis=1
    )
    first, second = np.full(n, NONE, np.uint8), np.full(n, NONE, np.uint8)
    length = np.maximum(np.hypot(*moments.T), 1e-6)
    for number in range(N_TURNS):
        y, x = (moments @ TURNS[number].T).T / length
        inside = (x >= 0) & (x <= y)
        first[inside & (first == NONE)] = number
        # Beyond x = 0, and beyond x = y.
        beyond = (x < 0) & (x > -NEAR_BORDER) & (y > 0)
        beyond |= (y < x) & ((x - y) / np.sqrt(2) < NEAR_BORDER) & (y > 0)
        second[beyond & ~inside] = number
    return first, second


def _turned_codes(
    around: Float, minima: Mask, turns: Bytes, number: int, directions: Directions
) -> tuple[Codes, Codes]:
    """Codes of patches that are turned each in its way, as plain ones and as straight ones, (n, 48) each;
    zero where a patch is not of the kind, or has no turn."""
    side = LEVELS[number].side
    codes = np.zeros((len(around), CODE_LENGTH), np.int8), np.zeros((len(around), CODE_LENGTH), np.int8)
    rows = [np.flatnonzero(turns == turn) for turn in range(N_TURNS)]
    parts = [turned(around[of_turn], turn)[:, :side, :side] for turn, of_turn in enumerate(rows)]
    order = np.concatenate(rows)
    patches = np.concatenate(parts).reshape(len(order), side**2)
    for kind, keep, found in codes_of(patches, minima[order], number, directions):
        codes[kind // len(LEVELS)][order[keep]] = found
    return codes
