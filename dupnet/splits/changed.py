"""Common ground of images of which one was mirrored, turned, resized or rotated: its area, and labels on it.

Everything is counted in image 1's frame, in which image 2 lies as the transform of their overlap says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.images.transforms import common_outline, inverse, is_transformed, matrix_of, moved, resampled
from dupnet.splits.labels import Thing, mask_of_counts

__all__ = ["areas_of_outlines", "inside", "mask_carried", "shares_of", "things_carried"]

Float = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Size = Sequence[int]


def _area(outline: Float) -> float:
    return float(cv2.contourArea(outline.astype(np.float32))) if len(outline) else 0.0


def shares_of(pairs: pd.DataFrame, sizes: Integers) -> Float:
    """Share of the smaller image that each pair has in common, (n,) float64.

    ``pairs``: ``number1, number2, height, width`` and, of images that were changed,
    :data:`dupnet.images.transforms.MATRIX_COLUMNS`. ``sizes``: (n_images, 2) heights and widths. The smaller
    image is that of less area when both are laid on each other.
    """
    area = sizes.prod(axis=1)
    smaller = np.minimum(area[pairs["number1"]], area[pairs["number2"]])
    share = (pairs["height"] * pairs["width"] / np.maximum(smaller, 1)).to_numpy(np.float64).copy()
    for row in np.flatnonzero(is_transformed(pairs)).tolist():
        pair = pairs.iloc[row]
        one, two = sizes[int(pair["number1"])], sizes[int(pair["number2"])]
        matrix = matrix_of(pair)
        laid = float(two.prod()) * abs(float(np.linalg.det(matrix[:, :2])))
        share[row] = _area(common_outline(matrix, one.tolist(), two.tolist())) / min(float(one.prod()), laid)
    return np.asarray(np.minimum(share, 1.0), np.float64)


def areas_of_outlines(
    pairs: pd.DataFrame, entries: Mapping[str, Integers], sizes: Integers
) -> dict[int, Mask]:
    """Which pixels of each entry lie on common ground, by pairs of which some are of changed images.

    Parameters
    ----------
    pairs : DataFrame
        ``number1, number2, y_offset, x_offset`` and the transform, rows of the entries concerned.
    entries : mapping
        ``entry1`` and ``entry2`` of each pair.
    sizes : (n_images, 2) int64
        Heights and widths.

    Returns
    -------
    dict
        Number of the entry to (height, width) bool.
    """
    shown: dict[int, Mask] = {}
    for row, pair in enumerate(pairs.to_dict("records")):
        one, two = sizes[pair["number1"]].tolist(), sizes[pair["number2"]].tolist()
        matrix = matrix_of(pair)
        outline = common_outline(matrix, one, two)
        if not len(outline):
            continue
        of_two = moved(inverse(matrix), outline - 0.5) + 0.5
        for end, size, corners in (("entry1", one, outline), ("entry2", two, of_two)):
            entry = int(entries[end][row])
            mask = shown.setdefault(entry, np.zeros(size, np.bool_))
            top, left = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0).tolist()
            bottom, right = np.minimum(np.ceil(corners.max(axis=0)).astype(int), size).tolist()
            mask[top:bottom, left:right] |= inside(corners, top, left, bottom - top, right - left)
    return shown


def inside(outline: Float, top: int, left: int, height: int, width: int) -> Mask:
    """Which pixels of an area, (height, width) bool, have their centre inside a convex polygon, (k, 2) as y
    and x of pixel edges."""
    y, x = np.arange(top, top + height) + 0.5, np.arange(left, left + width) + 0.5
    following = np.roll(outline, -1, axis=0)
    cross = [
        (x[None] - at[1]) * (to[0] - at[0]) - (y[:, None] - at[0]) * (to[1] - at[1])
        for at, to in zip(outline, following, strict=True)
    ]
    is_left, is_right = (np.all([sign * side >= 0 for side in cross], axis=0) for sign in (1, -1))
    return np.asarray(is_left | is_right)


def things_carried(things: Sequence[Thing], matrix: Float, size1: Size) -> list[Thing]:
    """Boxes and outlines of image 2 in image 1's frame: a box as what encloses its corners there."""
    carried = []
    for thing in things:
        top, left, height, width = thing.box
        corners = [(top, left), (top, left + width), (top + height, left), (top + height, left + width)]
        at = moved(matrix, np.array(corners) - 0.5) + 0.5
        begin, end = at.min(axis=0), at.max(axis=0)
        box = float(begin[0]), float(begin[1]), float(end[0] - begin[0]), float(end[1] - begin[1])
        carried.append(Thing(thing.label, box, _outline_carried(thing.outline, matrix, size1)))
    return carried


def _outline_carried(outline: Any, matrix: Float, size1: Size) -> Any:
    if outline is None:
        return None
    if isinstance(outline, tuple):
        laid = mask_carried(mask_of_counts(*outline), matrix, size1)
        flat = laid.T.ravel().astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1] if len(flat) else 0]])))
        runs = np.diff(np.concatenate([[0], edges]))
        return runs.tolist(), (laid.shape[0], laid.shape[1])
    return [(moved(matrix, polygon[:, ::-1] - 0.5) + 0.5)[:, ::-1] for polygon in outline]


def mask_carried(mask: Mask, matrix: Float, size1: Size) -> Mask:
    """A mask of image 2 in image 1's frame, (height, width) bool."""
    return resampled(mask.astype(np.uint8), matrix, int(size1[0]), int(size1[1]), nearest=True) > 0
