"""Acquisitions cut into collections whose every overlap is known.

An acquisition is one large image. Cut at a stride into crops that are compressed one by one, it becomes a
collection like the Airbus Ship Detection images, with the difference that the truth about every pair of
crops is exact.

A *plain* cut only compresses. A *hard* cut adds what separates good signals from bad ones: each crop has
its own processing and JPEG quality, some tiles are solid, and some crops have a second version *of another
day*, in which part of every tile shows something else and which is therefore no duplicate.
"""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.acquisitions.alterations import (
    SOLID_KINDS,
    Processing,
    another_day_tile,
    draw_processing,
    process,
    solid_tile,
)
from dupnet.files.atomic import atomic_path, write_csv
from dupnet.files.workers import map_in_order, n_workers
from dupnet.images.jpeg import encode_jpeg
from dupnet.tiles import Grid, grey_levels, is_decidable, overlaps, split_tiles, tile_slices

__all__ = [
    "HARD_ANOTHER_DAY_SHARE",
    "HARD_SOLID_SHARE",
    "Collection",
    "choose_positions",
    "cut_collection",
    "draw_solid",
    "file_names",
    "overlap_truth",
]

Image = npt.NDArray[np.uint8]

HARD_SOLID_SHARE = 0.04
"""Share of an acquisition's tiles that a hard cut makes solid."""

HARD_ANOTHER_DAY_SHARE = 0.1
"""Share of the crops that a hard cut gives a second version, of another day."""

# Streams of random numbers: each (seed, stream, index...) is its own generator, so that no result depends
# on the order in which workers come to it.
_NAMES, _POSITIONS, _SOLID, _ANOTHER_DAY, _PROCESSING = range(5)

_TRUTH_COLUMNS = {
    "image1": str, "image2": str, "overlap_tag": str, "row_offset": int, "col_offset": int,
    "n_tiles": int, "n_decidable": int, "is_duplicate": int,
}  # fmt: skip


class Collection(NamedTuple):
    """The tables of a cut collection: ``images`` (one row an image) and ``truth`` (one row an overlap)."""

    images: pd.DataFrame
    truth: pd.DataFrame


def cut_collection(
    acquisition: Image,
    folder: str | os.PathLike[str],
    *,
    n_images: int | None = None,
    hard: bool = False,
    seed: int = 0,
    image_size: int = 768,
    stride: int = 256,
    quality: int = 95,
    another_day: Image | None = None,
    another_day_share: float | None = None,
    acquisition_name: str = "acquisition",
    prefix: str = "",
    workers: int | None = None,
    progress: bool = False,
) -> Collection:
    """Cut an acquisition into crops, each a JPEG of its own, and write the truth about every overlap.

    Writes ``folder/images/*.jpg``, ``folder/images.csv`` and ``folder/truth.csv``. The same arguments give
    the same bytes for any number of workers. File names are nine hexadecimal digits, as in the Airbus set,
    drawn from the seed: they say nothing about the place of a crop.

    Parameters
    ----------
    acquisition : (height, width, 3) uint8
        RGB. What is left over to the right and below after whole strides is not used.
    folder : path
        Its ``images`` must be empty or missing.
    n_images : int, optional
        How many crop positions to use (default: all), of a window with about twice as many, so that crops
        overlap.
    seed : int
        Seeds positions, names and, in a hard cut, everything that is drawn.
    hard : bool
        Own processing and JPEG quality for each crop, solid tiles, and versions of another day.
    image_size, stride : int
        In pixels; the stride is also the side of a tile and divides the image size.
    quality : int
        JPEG quality of a plain cut.
    another_day : (height, width, 3) uint8, optional
        The same place on another day, registered. Without it such versions are made by
        :func:`another_day_tile`.
    another_day_share : float, optional
        Share of the crops with a second version of another day. By default 1 if ``another_day`` is given,
        else :data:`HARD_ANOTHER_DAY_SHARE` for a hard cut and 0 for a plain one.
    acquisition_name : str
        What ``images.csv`` calls the acquisition.
    prefix : str
        Put before each file name.
    workers : int, optional
        Threads; as many as there are cores by default.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Collection
        ``images``: image, acquisition, row, col (of the crop's origin in the acquisition, in tiles), day (1
        or 2), and the fields of :class:`Processing`. ``truth``: see :func:`overlap_truth`.

    Raises
    ------
    ValueError
        If the acquisition is no RGB image of at least one crop, the stride does not divide the image size,
        there are fewer positions than ``n_images``, seed or workers are out of range, ``another_day`` has
        another shape, or the folder already holds images.
    """
    _check_rgb(acquisition, "acquisition")
    if another_day is not None and another_day.shape != acquisition.shape:
        raise ValueError(
            f"another_day has shape {another_day.shape}; it must have acquisition's, {acquisition.shape}."
        )
    if stride < 1 or image_size < 1 or image_size % stride:
        raise ValueError(f"stride is {stride} px; it must divide the image_size, {image_size} px.")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be at least 0.")
    n_threads = n_workers(workers)
    grid = Grid.of_image(image_size, image_size, stride)
    acquisition_rows, acquisition_cols = acquisition.shape[0] // stride, acquisition.shape[1] // stride
    if acquisition_rows < grid.rows or acquisition_cols < grid.cols:
        raise ValueError(
            f"acquisition is {acquisition.shape[0]} x {acquisition.shape[1]} pixels, smaller than one crop "
            f"of image_size {image_size}."
        )
    image_folder = Path(folder) / "images"
    if image_folder.is_dir() and any(image_folder.iterdir()):
        raise ValueError(f"{image_folder} already holds files; choose another folder or empty it.")
    image_folder.mkdir(parents=True, exist_ok=True)

    if another_day_share is None:
        another_day_share = 1.0 if another_day is not None else HARD_ANOTHER_DAY_SHARE if hard else 0.0
    if not 0 <= another_day_share <= 1:
        raise ValueError(f"another_day_share is {another_day_share}; a share lies in 0 to 1.")

    positions = choose_positions(
        acquisition_rows - grid.rows + 1, acquisition_cols - grid.cols + 1, n_images, seed
    )
    images = _plan(positions, another_day_share, seed, None if hard else quality)
    images["image"] = [prefix + name for name in images["image"]]
    images.insert(1, "acquisition", acquisition_name)
    solid = draw_solid(acquisition_rows, acquisition_cols, stride, seed) if hard else {}

    def write(entry: dict[str, Any]) -> npt.NDArray[np.bool_]:
        row, col = entry["row"], entry["col"]
        processing = Processing(**{field.name: entry[field.name] for field in fields(Processing)})
        image = process(_crop(acquisition, another_day, row, col, entry["day"], grid, seed), processing)
        for index in range(grid.n_tiles):
            tile = solid.get((row + index // grid.cols, col + index % grid.cols))
            if tile is not None:
                # After the processing: cloud is saturated and a border pure in every processing.
                image[tile_slices(index, grid)] = tile
        with atomic_path(image_folder / entry["image"]) as beside:
            beside.write_bytes(encode_jpeg(image, processing.quality))
        return is_decidable(split_tiles(grey_levels(image), grid))

    written = map_in_order(write, images.to_dict("records"), n_threads)
    bar = tqdm(written, total=len(images), desc="cut", unit="image", disable=not progress)
    decidable = np.stack(list(bar))
    truth = overlap_truth(images, decidable, grid)
    write_csv(images, Path(folder) / "images.csv")
    write_csv(truth, Path(folder) / "truth.csv")
    return Collection(images, truth)


def overlap_truth(
    images: pd.DataFrame, decidable: npt.NDArray[np.bool_], grid: Grid = Grid()
) -> pd.DataFrame:
    """Every overlap of the crops of one acquisition.

    Parameters
    ----------
    images : DataFrame
        Columns image, row, col (in tiles) and day; at most one image for each place and day.
    decidable : (n_images, n_tiles) bool
        Which tiles carry enough texture to judge by, in the order of ``images``.
    grid : Grid
        The tiles of one image.

    Returns
    -------
    DataFrame
        image1, image2 (image1 < image2), overlap_tag, row_offset, col_offset (of image 2's origin in image
        1's frame, in tiles), n_tiles, n_decidable (tiles of the overlap that are decidable in both images),
        is_duplicate: 1 for the same day, 0 for two days of one place. Sorted by the two names.
    """
    places = images[["row", "col"]].to_numpy()
    days = images["day"].to_numpy()
    names = images["image"].to_numpy(dtype=object)
    numbers = {}
    for day in np.unique(days):
        # A margin of one grid all around, so that a shifted view needs no bounds.
        numbers[day] = np.full(places.max(axis=0) + 1 + 2 * np.array([grid.rows, grid.cols]), -1)
        of_day = np.flatnonzero(days == day)
        numbers[day][places[of_day, 0] + grid.rows, places[of_day, 1] + grid.cols] = of_day
    tables = [pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in _TRUTH_COLUMNS.items()})]
    tags = {(overlap.row_offset, overlap.col_offset): overlap.tag for overlap in overlaps(grid)}
    for day1, day2, overlap in (
        (day1, day2, overlap)
        for day1 in numbers
        for day2 in numbers
        for overlap in overlaps(grid)
        if day1 < day2 or (day1 == day2 and (overlap.row_offset, overlap.col_offset) > (0, 0))
    ):
        first = np.flatnonzero(days == day1)
        rows, cols = places[first, 0] + grid.rows, places[first, 1] + grid.cols
        second = numbers[day2][rows + overlap.row_offset, cols + overlap.col_offset]
        first, second = first[second >= 0], second[second >= 0]
        both = decidable[first][:, list(overlap.tiles1)] & decidable[second][:, list(overlap.tiles2)]
        swap = names[first] > names[second]
        sign = np.where(swap, -1, 1)
        mirrored = tags[-overlap.row_offset, -overlap.col_offset]
        found = {
            "image1": np.where(swap, names[second], names[first]),
            "image2": np.where(swap, names[first], names[second]),
            "overlap_tag": np.where(swap, mirrored, overlap.tag),
            "row_offset": sign * overlap.row_offset,
            "col_offset": sign * overlap.col_offset,
            "n_tiles": overlap.n_tiles,
            "n_decidable": both.sum(axis=1),
            "is_duplicate": int(day1 == day2),
        }
        if len(first):
            tables.append(pd.DataFrame(found).astype(_TRUTH_COLUMNS))
    return pd.concat(tables, ignore_index=True).sort_values(["image1", "image2"], ignore_index=True)


def choose_positions(rows: int, cols: int, n_images: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Crop positions (n, 2) as (row, col): all that there are, or a compact random set.

    There are ``rows`` x ``cols``. The set lies in a window, at a random place and as square as possible,
    that holds about twice as many positions.

    Raises
    ------
    ValueError
        If there are fewer positions than ``n_images``, or ``n_images`` is below 1.
    """
    if n_images is None:
        n_images = rows * cols
    if not 1 <= n_images <= rows * cols:
        raise ValueError(f"n_images is {n_images}; the acquisition has {rows * cols} crop positions.")
    rng = np.random.default_rng([seed, _POSITIONS])
    height = min(rows, int(np.ceil(np.sqrt(2 * n_images))))
    width = min(cols, int(np.ceil(2 * n_images / height)))
    height = min(rows, max(height, int(np.ceil(2 * n_images / width))))
    top, left = rng.integers(rows - height + 1), rng.integers(cols - width + 1)
    chosen = np.sort(rng.choice(height * width, n_images, replace=False))
    return np.stack([top + chosen // width, left + chosen % width], axis=1)


def _plan(
    positions: npt.NDArray[np.int64], another_day_share: float, seed: int, quality: int | None
) -> pd.DataFrame:
    """Place, day, name and processing of every crop to be written; own processing where quality is None."""
    again = np.random.default_rng([seed, _ANOTHER_DAY]).choice(
        len(positions), round(another_day_share * len(positions)), replace=False
    )
    places = np.concatenate([positions, positions[np.sort(again)]])
    processings = [
        draw_processing(np.random.default_rng([seed, _PROCESSING, index])) if quality is None
        else Processing(quality=quality)
        for index in range(len(places))
    ]  # fmt: skip
    columns = {
        "image": file_names(len(places), seed),
        "row": places[:, 0],
        "col": places[:, 1],
        "day": np.repeat([1, 2], [len(positions), len(again)]),
    }
    return pd.concat([pd.DataFrame(columns), pd.DataFrame(map(asdict, processings))], axis=1)


def file_names(n: int, seed: int) -> list[str]:
    """Different file names, as many as asked for, nine hexadecimal digits each, as in the Airbus set."""
    rng = np.random.default_rng([seed, _NAMES])
    numbers: dict[int, None] = {}  # a set that keeps its order
    while len(numbers) < n:
        numbers[int(rng.integers(16**9))] = None
    return [f"{number:09x}.jpg" for number in numbers]


def draw_solid(rows: int, cols: int, size: int, seed: int) -> dict[tuple[int, int], Image]:
    """Which tiles (row, col) of the acquisition are solid, and their pixels."""
    rng = np.random.default_rng([seed, _SOLID])
    chosen = rng.choice(rows * cols, round(HARD_SOLID_SHARE * rows * cols), replace=False)
    return {
        divmod(int(tile), cols): solid_tile(SOLID_KINDS[rng.integers(len(SOLID_KINDS))], size, rng)
        for tile in chosen
    }


def _crop(
    acquisition: Image, another_day: Image | None, row: int, col: int, day: int, grid: Grid, seed: int
) -> Image:
    size = grid.tile_size
    area = np.s_[row * size : row * size + grid.height, col * size : col * size + grid.width]
    if day == 1:
        return acquisition[area]
    if another_day is not None:
        return another_day[area]
    image = np.empty((grid.height, grid.width, 3), dtype=np.uint8)
    for index in range(grid.n_tiles):
        tile_row, tile_col = row + index // grid.cols, col + index % grid.cols
        image[tile_slices(index, grid)] = another_day_tile(acquisition, tile_row, tile_col, size, seed)
    return image


def _check_rgb(image: Image, name: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"{name} has shape {image.shape} and type {image.dtype}; expected (height, width, 3) uint8."
        )
