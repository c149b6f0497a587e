"""The collections: crops of a held-out acquisition, each changed in a way that is known exactly.

Every image is resampled from the acquisition by a transform of its own, then processed and saved as hard cuts
are (:mod:`dupnet.acquisitions.alterations`). So the transform between any two images is known, and what they
share.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.acquisitions.alterations import another_day_tile, draw_processing, process
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.transforms import MATRIX_COLUMNS, decompose, inverse, moved, resampled, turn_matrix, turned
from dupnet.tiles import TILE_SIZE

__all__ = ["KINDS", "Changed", "cut", "truth_of", "whole_day"]

Image = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float64]
Random = np.random.Generator

SIDE = 512
"""Side in pixels of most images, as saved."""

EXPORTED = 640
"""Side of what a labelling service exports."""

OTHER_DAY_SHARE = 0.15
"""Share of the images that show another day."""

LEAST_CHANGED = 0.15
"""Share of the common ground that must differ for a pair to show another day; see
:mod:`benchmarks.free_offsets.counting`."""


class Changed(NamedTuple):
    """An image to be made: its size, and the transform from it into the acquisition's frame."""

    height: int
    width: int
    into: Float
    """(2, 3): points of the image in the acquisition."""
    family: int = -1
    """Which original it is a version of, for sets of versions."""
    within: tuple[int, int, int, int] | None = None
    """Top, left, height and width of the ground that the original shows; beyond, a version is black."""


def _crop(side_y: float, side_x: float, rng: Random, picture: tuple[int, int], margin: float = 0) -> Float:
    """Where a crop of this size lies, as a transform of whole pixels."""
    y, x = (
        int(rng.integers(int(margin), max(int(margin) + 1, int(length - side - margin))))
        for length, side in zip(picture, (side_y, side_x), strict=True)
    )
    return np.array([[1.0, 0, y], [0, 1, x]])


def _resized(into: Float, height: float, width: float, new: tuple[int, int]) -> Float:
    """The transform of what (height, width) of a crop becomes when it is resized to ``new``."""
    factor = np.array([height, width]) / np.array(new)
    linear = into[:, :2] * factor
    return np.column_stack([linear, into[:, 2] + into[:, :2] @ (factor / 2 - 0.5)])


def _rotated(into: Float, height: int, width: int, degrees: float) -> Float:
    """The transform of an image that is rotated around its middle, its size kept."""
    angle = np.radians(degrees)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    return np.column_stack([into[:, :2] @ linear, into[:, 2] + into[:, :2] @ (middle - linear @ middle)])


def _turned(into: Float, height: int, width: int, turn: int) -> Changed:
    """An image that is mirrored and turned."""
    back = inverse(turn_matrix(turn, height, width))
    size = (width, height) if turn % 2 else (height, width)
    return Changed(*size, np.column_stack([into[:, :2] @ back[:, :2], into[:, :2] @ back[:, 2] + into[:, 2]]))


def _turns(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    into = _crop(SIDE, SIDE, rng, picture)
    return _turned(into, SIDE, SIDE, int(rng.integers(8)) if number % 2 else 0)


def _rotation(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    into = _crop(SIDE, SIDE, rng, picture, margin=SIDE / 4)
    degrees = rng.uniform(1, 15) * rng.choice([-1, 1]) if number % 2 else 0.0
    return Changed(SIDE, SIDE, _rotated(into, SIDE, SIDE, degrees))


def _scale(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    """Resized to 0.4 to 1 of its side: pairs differ by 0.4 to 2.5."""
    factor = float(np.exp(rng.uniform(np.log(0.4), 0))) if number % 2 else 1.0
    side = round(SIDE / factor) if factor < 1 else 900
    into = _crop(side, side, rng, picture)
    new = SIDE if factor < 1 else side
    return Changed(new, new, _resized(into, side, side, (new, new)))


def _stretch(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    """Every second one of another shape, stretched to a square."""
    if not number % 2:
        return Changed(SIDE, SIDE, _crop(SIDE, SIDE, rng, picture))
    height, width = rng.choice([(600, 800), (800, 600), (540, 960), (720, 900)])
    return Changed(
        EXPORTED, EXPORTED,
        _resized(_crop(height, width, rng, picture), height, width, (EXPORTED, EXPORTED)),
    )  # fmt: skip


def _cropped(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    """Versions of one image: itself, then 97 and 90 % of its side, resized to its size."""
    family = number // 3
    into = _crop(SIDE, SIDE, np.random.default_rng([7, family]), picture)
    share = (1.0, 0.97, 0.9)[number % 3]
    side = round(SIDE * share)
    y, x = rng.integers(SIDE - side + 1, size=2)
    part = into + np.array([[0, 0, y], [0, 0, x]])
    return Changed(SIDE, SIDE, _resized(part, side, side, (SIDE, SIDE)), family)


def _service(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    """An original, then three versions as a labelling service draws them: stretched to a square, mirrored,
    turned by quarters, rotated by up to 15 degrees, cropped to 80 to 100 % of its sides."""
    family, version = divmod(number, 4)
    height, width = [(768, 1024), (900, 900), (720, 960)][family % 3]
    into = _crop(height, width, np.random.default_rng([8, family]), picture)
    if not version:
        return Changed(height, width, into, family)
    within = int(into[0, 2]), int(into[1, 2]), height, width
    size_y, size_x = height, width
    if rng.random() < 0.5:
        keep = rng.uniform(0.8, 1)
        size_y, size_x = round(height * keep), round(width * keep)
        y, x = rng.integers(height - size_y + 1), rng.integers(width - size_x + 1)
        into = into + np.array([[0, 0, y], [0, 0, x]])
    into = _resized(into, size_y, size_x, (EXPORTED, EXPORTED))
    if rng.random() < 0.5:
        into = _rotated(into, EXPORTED, EXPORTED, rng.uniform(-15, 15))
    turn = int(rng.integers(8)) if rng.random() < 0.5 else 0
    return _turned(into, EXPORTED, EXPORTED, turn)._replace(family=family, within=within)


def _chips(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    """Chips of 64 to 256 px, mirrored and turned."""
    side = int(rng.choice([64, 128, 256]))
    window = min(picture[0], 700), min(picture[1], 700)
    return _turned(_crop(side, side, rng, window), side, side, int(rng.integers(8)) if number % 2 else 0)


def _chip_versions(rng: Random, number: int, picture: tuple[int, int]) -> Changed:
    """Whole chips of 256 px and versions at 0.4 to 1 of their side, rotated by up to 15 degrees."""
    family, version = divmod(number, 3)
    into = _crop(256, 256, np.random.default_rng([9, family]), picture, margin=64)
    if not version:
        return Changed(256, 256, into, family)
    side = round(256 * float(np.exp(rng.uniform(np.log(0.4), 0))))
    into = _resized(into, 256, 256, (side, side))
    return Changed(side, side, _rotated(into, side, side, rng.uniform(-15, 15)), family)


KINDS: dict[str, Callable[[Random, int, tuple[int, int]], Changed]] = {
    "quarter turns, mirror": _turns,
    "1 to 15 degrees": _rotation,
    "scale 0.4 to 2.5": _scale,
    "stretched to 640": _stretch,
    "cropped to 90, 97 %": _cropped,
    "labelling service": _service,
    "chips, turned": _chips,
    "chips, resized": _chip_versions,
}
"""By the name in the table: from random numbers, the number of the image, and the size of the acquisition to
the image to be made."""


def whole_day(picture: Image, seed: int) -> Image:
    """The acquisition on another day."""
    day = picture.copy()
    for row in range(picture.shape[0] // TILE_SIZE):
        for col in range(picture.shape[1] // TILE_SIZE):
            tile = another_day_tile(picture, row, col, TILE_SIZE, seed)
            day[row * TILE_SIZE : (row + 1) * TILE_SIZE, col * TILE_SIZE : (col + 1) * TILE_SIZE] = tile
    return day


def cut(picture: Image, other_day: Image, kind: str, folder: Path, n_images: int, seed: int) -> pd.DataFrame:
    """Write a collection into ``folder/images``; its table, with the transform of each image."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    window = picture.shape[0], picture.shape[1]
    made = [(KINDS[kind](rng, number, window), 1) for number in range(n_images)]
    again = rng.choice(n_images, round(OTHER_DAY_SHARE * n_images), replace=False)
    made += [(made[number][0]._replace(family=-1), 2) for number in np.sort(again).tolist()]
    names = [f"{number:05}.jpg" for number in rng.permutation(10 * len(made))[: len(made)]]
    for (image, day), name in zip(made, names, strict=True):
        shown = picture if day == 1 else other_day
        processing = draw_processing(rng)
        pixels = process(_drawn(shown, image), processing)
        (folder / "images" / name).write_bytes(encode_jpeg(pixels, processing.quality))
        matrix = dict(zip(MATRIX_COLUMNS, image.into.ravel(), strict=True))
        rows.append(
            {"image": name, "height": image.height, "width": image.width, "day": day,
             "family": image.family, **matrix}
        )  # fmt: skip
    return pd.DataFrame(rows).sort_values("image", ignore_index=True)


def _drawn(picture: Image, image: Changed) -> Image:
    """The pixels of an image: exact where it is only turned, else resampled; black beyond the picture."""
    said = decompose(image.into)
    if abs(said.scale - 1) < 1e-9 and abs(said.rotation) < 1e-9:
        corners = moved(image.into, [[0, 0], [image.height - 1, image.width - 1]])
        top, left = np.rint(corners.min(axis=0)).astype(int)
        bottom, right = np.rint(corners.max(axis=0)).astype(int)
        area = picture[top : bottom + 1, left : right + 1]
        turn = said.turn // 90 + 4 * said.flip
        # The image turned so lies on the area: the area turned back is the image.
        back = next(
            number for number in range(8)
            if np.allclose(turn_matrix(turn, 9, 9)[:, :2] @ turn_matrix(number, 9, 9)[:, :2], np.eye(2))
        )  # fmt: skip
        return np.ascontiguousarray(np.moveaxis(turned(np.moveaxis(area, 2, 0), back), 0, 2))
    to_image = inverse(image.into)
    corners = moved(image.into, [[0, 0], [0, image.width], [image.height, 0], [image.height, image.width]])
    top, left = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 8, 0)
    bottom, right = np.ceil(corners.max(axis=0)).astype(int) + 8
    area = picture[top:bottom, left:right]
    shifted = np.column_stack([to_image[:, :2], to_image[:, 2] + to_image[:, :2] @ (top, left)])
    drawn = resampled(area, shifted, image.height, image.width)
    if image.within is not None:
        y, x, height, width = image.within
        shown = np.zeros(area.shape[:2], np.uint8)
        shown[max(y - top, 0) : y - top + height, max(x - left, 0) : x - left + width] = 1
        drawn[resampled(shown, shifted, image.height, image.width, nearest=True) == 0] = 0
    return drawn


def truth_of(images: pd.DataFrame, differs: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Every pair that shares ground: the transform of image 2 into image 1, share, and whether of one day.

    ``share``: of the ground of the smaller image. ``changed``: share of the common ground that differs, by
    where the days do (height, width) bool. ``inside``: whether the transform is one that the options are for.
    """
    rows = []
    entries = images.to_dict("records")
    for one, two in combinations(entries, 2):
        into = [np.array([entry[name] for name in MATRIX_COLUMNS]).reshape(2, 3) for entry in (one, two)]
        outlines = [
            moved(matrix, [(-0.5, -0.5), (-0.5, entry["width"] - 0.5),
                           (entry["height"] - 0.5, entry["width"] - 0.5), (entry["height"] - 0.5, -0.5)])
            for matrix, entry in zip(into, (one, two), strict=True)
        ]  # fmt: skip
        if (outlines[0].max(axis=0) < outlines[1].min(axis=0)).any() or (
            outlines[1].max(axis=0) < outlines[0].min(axis=0)
        ).any():
            continue
        common, ground = cv2.intersectConvexConvex(*(outline.astype(np.float32) for outline in outlines))
        smaller = min(cv2.contourArea(outline.astype(np.float32)) for outline in outlines)
        if not common:
            continue
        same_day = one["day"] == two["day"]
        back = inverse(into[0])
        matrix = np.column_stack([back[:, :2] @ into[1][:, :2], moved(back, into[1][:, 2][None])[0]])
        said = decompose(matrix)
        factors = np.array([said.scale_y, said.scale_x])
        inside = abs(said.rotation) <= 15.5 and ((factors > 0.39) & (factors < 2.57)).all()
        rows.append(
            {"image1": one["image"], "image2": two["image"], "share": round(common / smaller, 4),
             "same_day": same_day, "changed": 0.0 if same_day else _changed(differs, ground),
             "inside": inside, "family1": one["family"],
             "family2": two["family"], **said._asdict(),
             **dict(zip(MATRIX_COLUMNS, matrix.ravel(), strict=True))}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _changed(differs: npt.NDArray[np.bool_], ground: npt.NDArray[np.float32]) -> float:
    """Share of a polygon, (n, 1, 2) y and x, that differs."""
    corners = np.rint(ground[:, 0, ::-1]).astype(np.int32)
    left, top = np.maximum(corners.min(axis=0), 0)
    right, bottom = corners.max(axis=0) + 1
    inside = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillConvexPoly(inside, corners - (left, top), 1)
    part = differs[top:bottom, left:right]
    inside = inside[: part.shape[0], : part.shape[1]] > 0
    return round(float(part[inside].mean()), 4) if inside.any() else 0.0
