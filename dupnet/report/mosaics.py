"""Mosaics: the images of a group, each in its place, as one picture of the acquisition."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import simplejpeg

from dupnet.files.atomic import atomic_path
from dupnet.files.workers import map_in_order, n_workers
from dupnet.images.reading import Sources, UnreadableImage, load_named
from dupnet.tiles import Grid, split_tiles

__all__ = ["BACKGROUND", "mosaic", "write_mosaics"]

Pixels = npt.NDArray[np.uint8]

BACKGROUND = 128
"""Grey level of ground that no image shows: neither a cloud's white nor the black of missing data."""

MAX_IN_MEMORY = 2**26
"""Bytes of a canvas from which it lies in a temporary file instead."""

LONGEST_SIDE = 8192
"""Longest side of a mosaic in pixels; a JPEG can have 65,500."""


def mosaic(
    groups: pd.DataFrame,
    group: int,
    folder: Sources,
    grid: Grid = Grid(),
    reduction: int = 1,
    workers: int | None = None,
) -> Pixels:
    """One group as one picture: (rows * tile, cols * tile, 3) uint8 RGB, tile = grid.tile_size / reduction.

    Parameters
    ----------
    groups : DataFrame
        ``image, group, row, col``: the groups table.
    group : int
        The group to show.
    folder : path, store, or sequence of them
        Where the images are; of several folders, the first that has an image.
    grid : Grid
        The tiles of one image.
    reduction : int
        How many pixels of the images make one of the mosaic; a divisor of the tile size.
    workers : int, optional
        Threads that read images; one for every core by default.

    Raises
    ------
    ValueError
        If there is no such group, or reduction does not divide the tile size.
    """
    members = groups[groups["group"] == group].sort_values("image")
    if members.empty:
        raise ValueError(f"group is {group}; the groups table has none of that number.")
    height, width = _size(members, grid, reduction)
    canvas = np.full((height, width, 3), BACKGROUND, dtype=np.uint8)
    _draw(canvas, members, folder, grid, reduction, n_workers(workers))
    return canvas


def write_mosaics(
    groups: pd.DataFrame,
    folder: Sources,
    out: str | os.PathLike[str],
    grid: Grid = Grid(),
    workers: int | None = None,
) -> pd.DataFrame:
    """Write a mosaic of every group of several images, as ``GROUP.jpg`` with six digits, atomically.

    Each image is read at most once, and only if it shows ground that no other image has shown; large canvases
    lie in a temporary file in ``out`` while they are drawn. A mosaic longer than :data:`LONGEST_SIDE` pixels
    is reduced by halves until it is not. Ground of an image that has vanished meanwhile, or that cannot be
    read any more, stays grey, with a warning.

    Parameters
    ----------
    groups, folder, grid, workers
        As for :func:`mosaic`.
    out : path
        Folder for the mosaics.

    Returns
    -------
    DataFrame
        ``group, file, images, rows, cols, reduction, height, width``, one row a mosaic.
    """
    size = groups.groupby("group")["image"].transform("size")
    written = []
    lost: list[str] = []
    Path(out).mkdir(parents=True, exist_ok=True)
    for group, members in groups[size > 1].sort_values("image").groupby("group"):
        factor = 1
        while max(_size(members, grid, factor)) > LONGEST_SIDE and grid.tile_size % (2 * factor) == 0:
            factor *= 2
        height, width = _size(members, grid, factor)
        path = Path(out, f"{group:06d}.jpg")
        with tempfile.TemporaryFile(dir=out) as file:
            canvas: Pixels
            if 3 * height * width > MAX_IN_MEMORY:
                canvas = np.memmap(file, dtype=np.uint8, mode="w+", shape=(height, width, 3))
            else:
                canvas = np.empty((height, width, 3), dtype=np.uint8)
            canvas[:] = BACKGROUND
            _draw(canvas, members, folder, grid, factor, n_workers(workers), lost)
            # Not by OpenCV: it would hold a second copy of a canvas that lies on disk.
            coded = simplejpeg.encode_jpeg(canvas, quality=90, colorspace="RGB", colorsubsampling="420")
        with atomic_path(path) as beside:
            beside.write_bytes(coded)
        tile = grid.tile_size // factor
        written.append((group, path.name, len(members), height // tile, width // tile, factor, height, width))
    if lost:
        warnings.warn(
            f"{len(lost)} images can be read no more, such as {lost[0]!r}; their ground stays grey.",
            stacklevel=2,
        )
    columns = ["group", "file", "images", "rows", "cols", "reduction", "height", "width"]
    return pd.DataFrame(written, columns=columns)


def _size(members: pd.DataFrame, grid: Grid, reduction: int) -> tuple[int, int]:
    """Height and width in pixels of a group's mosaic."""
    if reduction < 1 or grid.tile_size % reduction:
        raise ValueError(f"reduction is {reduction}; it must divide the tile size, {grid.tile_size}.")
    tile = grid.tile_size // reduction
    return (int(members["row"].max()) + grid.rows) * tile, (int(members["col"].max()) + grid.cols) * tile


def _draw(
    canvas: Pixels,
    members: pd.DataFrame,
    folder: Sources,
    grid: Grid,
    reduction: int,
    workers: int,
    lost: list[str] | None = None,
) -> None:
    """Draw the images of a group, each tile of ground once; what cannot be read is added to ``lost``."""
    tile = grid.tile_size // reduction
    chosen = _chosen(list(zip(members["row"], members["col"], strict=True)), grid)
    names = members["image"].to_numpy()

    def read(number: int) -> Pixels | None:
        try:
            image, _ = load_named(names[number], folder, grey=False)
            if image.shape[:2] != (grid.height, grid.width):
                raise UnreadableImage(names[number], f"{image.shape[0]} x {image.shape[1]} pixels by now")
        except (FileNotFoundError, UnreadableImage):
            if lost is None:
                raise
            lost.append(names[number])
            return None
        size = (image.shape[1] // reduction, image.shape[0] // reduction)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    for number, image in zip(chosen, map_in_order(read, chosen, workers), strict=True):
        if image is None:
            continue
        tiles = split_tiles(image, Grid(grid.rows, grid.cols, tile))
        for index, row, col in chosen[number]:
            canvas[row * tile : (row + 1) * tile, col * tile : (col + 1) * tile] = tiles[index]


def _chosen(places: Sequence[tuple[int, int]], grid: Grid) -> dict[int, list[tuple[int, int, int]]]:
    """Which images to draw, and of each the tiles (index, row, col) to take from it.

    Images that show most new ground come first, in the order given among equals: a group in which images
    overlap many times over is covered by a fraction of them.
    """
    ground = [
        [(index, row + index // grid.cols, col + index % grid.cols) for index in range(grid.n_tiles)]
        for row, col in places
    ]
    covered: set[tuple[int, int]] = set()
    chosen = {}
    for least in range(grid.n_tiles, 0, -1):
        for number, tiles in enumerate(ground):
            new = [tile for tile in tiles if tile[1:] not in covered]
            if len(new) >= least:
                chosen[number] = new
                covered.update(tile[1:] for tile in new)
    return chosen
