"""Mosaics: the images of a group, each in its place, as one picture of the acquisition."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import simplejpeg

from dupnet.files.atomic import atomic_path
from dupnet.files.workers import map_in_order, n_workers
from dupnet.images.reading import Sources, UnreadableImage
from dupnet.images.reduced import load_reduced
from dupnet.images.stretch import Rendering

__all__ = ["BACKGROUND", "MAX_SIDE", "covering", "mosaic", "mosaic_name", "write_mosaics"]

Pixels = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.int64]

BACKGROUND = 128
"""Grey level of ground that no image shows: neither a cloud's white nor the black of missing data."""

MAX_SIDE = 8192
"""Longest side in pixels of a mosaic that is written: 200 MB while it is drawn."""

QUALITY = 90
"""Of the JPEG files, on libjpeg's scale."""

NEW_SHARES = (1.0, 0.5, 0.25, 0.0)
"""Images that show so much new ground are drawn first: a mosaic in which images overlap many times over is
covered by a fraction of them."""


def mosaic(
    groups: pd.DataFrame,
    number: int,
    folder: Sources,
    max_side: int = MAX_SIDE,
    workers: int | None = None,
    rendering: Rendering = Rendering(),
) -> tuple[Pixels, float]:
    """One mosaic as a picture, (height, width, 3) uint8 RGB, and how many pixels of the images make one of
    it.

    Parameters
    ----------
    groups : DataFrame
        ``image, mosaic, y, x, height, width``: the groups table.
    number : int
        The mosaic to show.
    folder : path, store, or sequence of them
        Where the images are; of several folders, the first that has an image.
    max_side : int
        Longest side in pixels; a longer mosaic is reduced.
    workers : int, optional
        Threads that read images; one for every core by default.
    rendering : Rendering
        What to take of files of more than three bands or 8 bits.

    Raises
    ------
    ValueError
        If there is no such mosaic, or ``max_side`` is below 1.
    FileNotFoundError, UnreadableImage
        If an image cannot be read (any more).
    """
    members = groups[groups["mosaic"] == number].sort_values("image")
    if members.empty:
        raise ValueError(f"mosaic is {number}; the groups table has none of that number.")
    return _draw(members, folder, max_side, n_workers(workers), None, rendering)


def write_mosaics(
    groups: pd.DataFrame,
    folder: Sources,
    out: str | os.PathLike[str],
    *,
    max_side: int = MAX_SIDE,
    workers: int | None = None,
    rendering: Rendering = Rendering(),
) -> pd.DataFrame:
    """Write a picture of every mosaic of two images or more, as ``MOSAIC.jpg`` with six digits, atomically.

    Each image is read at most once, and only if it shows ground that no other image has shown. Ground of an
    image that has vanished meanwhile, or changed, stays grey, with a warning.

    Parameters
    ----------
    groups, folder, max_side, workers, rendering
        As for :func:`mosaic`.
    out : path
        Folder for the pictures.

    Returns
    -------
    DataFrame
        ``mosaic, file, images, reduction, height, width``, one row a picture.

    Raises
    ------
    ValueError
        If ``max_side`` is below 1.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    workers = n_workers(workers)
    sizes = groups["mosaic"].value_counts(sort=False).sort_index()
    by_number = dict(iter(groups.sort_values("image").groupby("mosaic")))
    written, lost = [], list[str]()
    for number in sizes.index[sizes > 1]:
        picture, reduction = _draw(by_number[number], folder, max_side, workers, lost, rendering)
        path = Path(out, mosaic_name(number))
        with atomic_path(path) as beside:
            beside.write_bytes(
                simplejpeg.encode_jpeg(picture, quality=QUALITY, colorspace="RGB", colorsubsampling="420")
            )
        written.append((number, path.name, len(by_number[number]), reduction, *picture.shape[:2]))
    if lost:
        warnings.warn(
            f"{len(lost)} images can no longer be read, or are too large for that, such as "
            f"{lost[0]!r}; their ground stays grey.",
            stacklevel=2,
        )
    return pd.DataFrame(written, columns=["mosaic", "file", "images", "reduction", "height", "width"])


def mosaic_name(number: int) -> str:
    """The file of a mosaic in the folder of mosaics."""
    return f"{number:06d}.jpg"


def covering(members: pd.DataFrame, side: int) -> list[int]:
    """Positions of images of one mosaic that show all of its ground, as seen with ``side`` pixels along its
    longer side; those that show most of it first. ``members``: ``y, x, height, width``."""
    start = members[["y", "x"]].to_numpy(dtype=np.int64)
    stop = start + members[["height", "width"]].to_numpy(dtype=np.int64)
    reduction = max(1.0, float(stop.max()) / side)
    boxes = np.rint(np.concatenate([start, stop], axis=1) / reduction).astype(np.int64)
    height, width = boxes[:, 2:].max(axis=0).tolist()
    return _chosen(boxes, height, width)


def _draw(
    members: pd.DataFrame,
    folder: Sources,
    max_side: int,
    workers: int,
    lost: list[str] | None,
    rendering: Rendering,
) -> tuple[Pixels, float]:
    """Draw images in their places; what cannot be read is added to ``lost``, or is an error without it."""
    if max_side < 1:
        raise ValueError(f"max_side is {max_side}; it must be at least 1 pixel.")
    names = members["image"].to_numpy()
    sizes = members[["height", "width"]].to_numpy(dtype=np.int64)
    start = members[["y", "x"]].to_numpy(dtype=np.int64)
    extent = (start + sizes).max(axis=0)
    reduction = max(1.0, float(extent.max()) / max_side)
    boxes = np.rint(np.concatenate([start, start + sizes], axis=1) / reduction).astype(np.int64)
    height, width = np.maximum(np.rint(extent / reduction).astype(np.int64), 1).tolist()
    chosen = _chosen(boxes, height, width)

    def read(number: int) -> Pixels | None:
        try:
            image, size = load_reduced(names[number], folder, reduction, rendering)
            if size != tuple(sizes[number].tolist()):
                raise UnreadableImage(names[number], f"{size[0]} x {size[1]} pixels by now")
        except (FileNotFoundError, UnreadableImage):
            if lost is None:
                raise
            lost.append(names[number])
            return None
        top, left, bottom, right = boxes[number].tolist()
        if reduction == 1:
            return image
        reduced = cv2.resize(image, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        return np.asarray(reduced, np.uint8)

    canvas = np.full((height, width, 3), BACKGROUND, dtype=np.uint8)
    # Those that show most new ground come last, and so lie on top.
    order = chosen[::-1]
    for number, image in zip(order, map_in_order(read, order, workers), strict=True):
        if image is not None:
            top, left, bottom, right = boxes[number].tolist()
            canvas[top:bottom, left:right] = image
    return canvas, reduction


def _chosen(boxes: Boxes, height: int, width: int) -> list[int]:
    """Which images to draw, those that show most new ground first, in the order given among equals."""
    covered = np.zeros((height, width), bool)
    chosen: dict[int, None] = {}
    for share in NEW_SHARES:
        for number, (top, left, bottom, right) in enumerate(boxes.tolist()):
            area = covered[top:bottom, left:right]
            n_new = area.size - np.count_nonzero(area)
            if number not in chosen and n_new > 0 and n_new >= share * area.size:
                chosen[number] = None
                area[...] = True
    return list(chosen)
