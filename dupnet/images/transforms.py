"""How one image must be changed to lie on another: mirrored, turned, resized, rotated.

A transform takes points of image 2 into the frame of image 1: ``(y1, x1) = matrix @ (y2, x2, 1)``, pixels
counted from the centre of the first. What a table says of it is made of the matrix: whether image 2 is first
mirrored left to right, by how many quarter turns it is then turned, by which factors its height and width so
turned are resized, and by how many degrees the result is rotated; turns and rotations are counterclockwise as
images are shown. The matrix itself stands in the table, too, for nothing else is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "IDENTITY",
    "MATRIX_COLUMNS",
    "N_TURNS",
    "TRANSFORM_COLUMNS",
    "TURNS",
    "Decomposed",
    "bounds",
    "common_outline",
    "in_words",
    "laid",
    "decompose",
    "inverse",
    "is_transformed",
    "matrix_of",
    "moved",
    "relative_turn",
    "resampled",
    "to_image1",
    "transform_columns",
    "turn_matrix",
    "turned",
    "turned_sizes",
]

Float = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Pixels = npt.NDArray[Any]

N_TURNS = 8
"""Ways to lay a rectangle on itself or on its side: number ``4 * flip + quarter turns``."""

MATRIX_COLUMNS = ("yy", "yx", "y_shift", "xy", "xx", "x_shift")
"""The transform's matrix, row by row: ``y1 = yy * y2 + yx * x2 + y_shift``, and x1 likewise."""

TRANSFORM_COLUMNS = (
    "flip", "turn", "scale", "rotation", "scale_y", "scale_x", "residual", *MATRIX_COLUMNS,
)  # fmt: skip
"""What is said of a transform in a table. ``flip``: 1 if image 2 is mirrored left to right first. ``turn``:
degrees by which it is turned then, 0, 90, 180 or 270. ``scale_y, scale_x``: factors of its height and width
as turned; ``scale``: of its side, as their areas have it. ``rotation``: degrees beside the turn, -45 to 45.
``residual``: root mean square in pixels of image 1 by which windows of the two, laid on each other so, still
miss each other; zero where the transform is whole pixels. Then :data:`MATRIX_COLUMNS`."""

IDENTITY: Float = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

_SHRINKS = 0.9  # factor below which a pixel of the result is made of several
_QUARTER = np.array([[0, -1], [1, 0]], np.int64)  # of (y, x), as numpy.rot90 turns an image
_MIRROR = np.array([[1, 0], [0, -1]], np.int64)


class Decomposed(NamedTuple):
    """A transform in words: see :data:`TRANSFORM_COLUMNS`."""

    flip: int
    turn: int
    scale: float
    rotation: float
    scale_y: float
    scale_x: float


def _linear(number: int) -> Numbers:
    """What a turn does to (y, x) around the centre: (2, 2)."""
    mirror = _MIRROR if number >= 4 else np.eye(2, dtype=np.int64)
    return np.asarray(np.linalg.matrix_power(_QUARTER, number % 4) @ mirror, np.int64)


TURNS = np.stack([_linear(number) for number in range(N_TURNS)]).astype(np.float64)
"""What each turn does to (y, x) around the centre: (8, 2, 2)."""


def _number_of(linear: npt.NDArray[np.generic]) -> int:
    return int(np.flatnonzero((linear == TURNS).all(axis=(1, 2)))[0])


relative_turn: Numbers = np.array([[_number_of(one.T @ two) for two in TURNS] for one in TURNS], np.int64)
"""``[a, b]``: the turn that takes image 2 onto image 1, if a turns the first as b turns the second."""


def turned(image: Pixels, number: int) -> Pixels:
    """An image, or a stack of them in the last two axes, mirrored and turned, as a view.

    ``number``: mirrored left to right from 4 on, then turned counterclockwise by ``number % 4`` quarters.
    """
    return np.rot90(image[..., ::-1] if number >= 4 else image, number % 4, axes=(-2, -1))


def turned_sizes(sizes: Numbers, number: int) -> Numbers:
    """Heights and widths (n, 2) of images that were turned."""
    return sizes[:, ::-1] if number % 2 else sizes


def turn_matrix(number: int, height: int, width: int, y: float = 0, x: float = 0) -> Float:
    """The transform (2, 3) of an image of this size that is turned, and then lies at (y, x) of image 1."""
    linear = TURNS[number]
    corner = linear @ np.array([height - 1, width - 1], np.float64)
    shift = np.where(corner < 0, -corner, 0) + np.array([y, x])
    return np.column_stack([linear, shift])


def moved(matrix: npt.ArrayLike, points: npt.ArrayLike) -> Float:
    """Points of image 2 in the frame of image 1: (n, 2) as y, x, of both."""
    transform = np.asarray(matrix, np.float64)
    return np.asarray(np.asarray(points, np.float64) @ transform[:, :2].T + transform[:, 2])


def to_image1(row: Mapping[str, Any] | pd.Series, points: npt.ArrayLike) -> Float:
    """Points of image 2 in the frame of image 1, by a row of the overlaps table.

    Parameters
    ----------
    row : mapping
        A row of ``overlaps.csv``, of a run with or without ``--turned`` and ``--rescaled``.
    points : (n, 2)
        As y, x; pixels of image 2, 0 the centre of the first.

    Returns
    -------
    (n, 2) float64
        As y, x; pixels of image 1.
    """
    return moved(matrix_of(row), points)


def matrix_of(row: Mapping[str, Any] | pd.Series) -> Float:
    """The transform (2, 3) of a row of the overlaps table: image 2 into the frame of image 1."""
    if "yy" not in row or pd.isna(row["yy"]):
        shift = float(row["y_offset"]), float(row["x_offset"])
        return np.column_stack([np.eye(2), shift])
    return np.array([float(row[name]) for name in MATRIX_COLUMNS]).reshape(2, 3)


def inverse(matrix: npt.ArrayLike) -> Float:
    """The transform the other way around.

    Raises
    ------
    ValueError
        If it has none.
    """
    transform = np.asarray(matrix, np.float64)
    if abs(np.linalg.det(transform[:, :2])) < 1e-12:
        raise ValueError(f"the transform {transform.tolist()} lays an image on a line; it has no inverse.")
    linear = np.linalg.inv(transform[:, :2])
    return np.column_stack([linear, -linear @ transform[:, 2]])


def bounds(matrix: npt.ArrayLike, height: int, width: int) -> tuple[int, int, int, int]:
    """Upper left pixel, height and width of what an image of this size covers in image 1, enclosed."""
    corners = [(-0.5, -0.5), (-0.5, width - 0.5), (height - 0.5, -0.5), (height - 0.5, width - 0.5)]
    at = moved(matrix, corners) + 0.5
    begin, end = np.floor(at.min(axis=0) + 0.01), np.ceil(at.max(axis=0) - 0.01)
    top, left, bottom, right = (int(value) for value in (*begin, *end))
    return top, left, bottom - top, right - left


def decompose(matrix: npt.ArrayLike) -> Decomposed:
    """A transform in words."""
    linear = np.asarray(matrix, np.float64)[:, :2]
    flip = int(np.linalg.det(linear) < 0)
    unflipped = linear @ _MIRROR if flip else linear
    angle = np.degrees(np.arctan2(unflipped[1, 0] - unflipped[0, 1], unflipped[0, 0] + unflipped[1, 1]))
    quarters = int(np.rint(angle / 90))
    resized = unflipped @ np.linalg.matrix_power(_QUARTER, -quarters % 4)
    scale_y, scale_x = np.linalg.norm(resized, axis=0)
    return Decomposed(
        flip,
        quarters % 4 * 90,
        float(np.sqrt(abs(np.linalg.det(linear)))),
        float(angle - 90 * quarters),
        float(scale_y),
        float(scale_x),
    )


def transform_columns(matrices: npt.ArrayLike, residuals: npt.ArrayLike) -> pd.DataFrame:
    """:data:`TRANSFORM_COLUMNS` of transforms (n, 2, 3) and their residuals (n,), rounded."""
    every = np.asarray(matrices, np.float64).reshape(-1, 2, 3)
    said = pd.DataFrame([decompose(matrix) for matrix in every], columns=list(Decomposed._fields))
    said = said.astype({"flip": np.int64, "turn": np.int64}).round(4) + 0.0
    said = said.assign(residual=np.asarray(residuals, np.float64).round(3))
    for name, values in zip(MATRIX_COLUMNS, every.reshape(-1, 6).T, strict=True):
        said[name] = values.round(6) + 0.0  # no negative zero
    kinds = {"flip": np.int64, "turn": np.int64}
    return said[list(TRANSFORM_COLUMNS)].astype(kinds)


def is_transformed(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which overlaps are of an image that lies on the other only when changed: (n,) bool."""
    if "yy" not in table:
        return np.zeros(len(table), np.bool_)
    linear = table[["yy", "yx", "xy", "xx"]].to_numpy(np.float64)
    return np.asarray((linear != [1, 0, 0, 1]).any(axis=1) & ~np.isnan(linear[:, 0]))


def resampled(
    image: npt.NDArray[np.uint8],
    matrix: npt.ArrayLike,
    height: int,
    width: int,
    *,
    nearest: bool = False,
    linear: bool = False,
) -> npt.NDArray[np.uint8]:
    """An image 2 in the frame of image 1, (height, width, ...) uint8, zero where it does not reach.

    What becomes smaller is averaged before, so that nothing finer than a pixel is left in it. ``nearest``:
    each pixel as it is, for masks; ``linear``: interpolated so, in place of by cubic polynomials, which is
    quicker.
    """
    transform = np.asarray(matrix, np.float64)
    factors = np.linalg.norm(transform[:, :2], axis=0)
    source: Pixels = np.ascontiguousarray(image)
    if not nearest and factors.min() < _SHRINKS:
        size = np.maximum(np.rint(np.array(source.shape[:2]) * np.minimum(factors, 1)), 1).astype(int)
        ratio = size / np.array(source.shape[:2])
        source = cv2.resize(source, (int(size[1]), int(size[0])), interpolation=cv2.INTER_AREA)
        # A pixel of the reduced image, (p + 0.5) / ratio - 0.5, in the frame of image 1.
        transform = np.column_stack(
            [transform[:, :2] / ratio, transform[:, 2] + transform[:, :2] @ (0.5 / ratio - 0.5)]
        )
    swapped = np.array(
        [
            [transform[1, 1], transform[1, 0], transform[1, 2]],
            [transform[0, 1], transform[0, 0], transform[0, 2]],
        ]
    )
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR if linear else cv2.INTER_CUBIC
    return np.asarray(
        cv2.warpAffine(
            source,
            swapped,
            (width, height),
            flags=how,
            borderMode=cv2.BORDER_CONSTANT if nearest else cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def laid(
    image: npt.NDArray[np.uint8], matrix: npt.ArrayLike, *, nearest: bool = False
) -> npt.NDArray[np.uint8]:
    """An image 2 as it lies on image 1: what :func:`bounds` says that it covers, zero where it does not."""
    transform = np.asarray(matrix, np.float64)
    top, left, height, width = bounds(transform, image.shape[0], image.shape[1])
    into = np.column_stack([transform[:, :2], transform[:, 2] - (top, left)])
    drawn = resampled(image, into, height, width, nearest=nearest)
    if not nearest:
        shown = resampled(np.ones(image.shape[:2], np.uint8), into, height, width, nearest=True)
        drawn[shown == 0] = 0
    return drawn


def common_outline(matrix: npt.ArrayLike, size1: Sequence[int], size2: Sequence[int]) -> Float:
    """What two images share, as the corners (k, 2) of a polygon in image 1: y and x of pixel edges.

    ``matrix``: the transform (2, 3) of image 2 into image 1; sizes as height, width.
    """
    one, two = (
        np.array([(0, 0), (0, width), (height, width), (height, 0)], np.float64)
        for height, width in (size1, size2)
    )
    laid = moved(matrix, two - 0.5) + 0.5
    area, common = cv2.intersectConvexConvex(one.astype(np.float32), laid.astype(np.float32))
    return np.zeros((0, 2)) if not area else common[:, 0].astype(np.float64)


def in_words(row: Mapping[str, Any] | pd.Series) -> str:
    """How image 2 of a row of the overlaps table must be changed; empty where it must not."""
    matrix = matrix_of(row)
    if (matrix[:, :2] == np.eye(2)).all():
        return ""
    said = decompose(matrix)
    words = ["mirrored"] * said.flip
    if said.turn:
        words.append(f"turned by {said.turn}°")
    if max(abs(said.scale_y - 1), abs(said.scale_x - 1)) >= 0.0005:
        alike = abs(said.scale_y - said.scale_x) < 0.0005
        factors = f"{said.scale:.3f}" if alike else f"{said.scale_y:.3f} x {said.scale_x:.3f}"
        words.append(f"resized by {factors}")
    if abs(said.rotation) >= 0.05:
        words.append(f"rotated by {said.rotation:.1f}°")
    return ", ".join(words)
