"""Acquisitions cut at any pixel offset into collections whose every overlap is known.

:mod:`dupnet.acquisitions.scenes` cuts on a grid of whole tiles; here a crop may lie anywhere and be of
any size. The truth is exact: which two crops share ground, where, and how much of the common region differs
because one of them shows another day or was altered afterwards.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.acquisitions.alterations import (
    ALTERATIONS,
    Processing,
    alter,
    another_day_tile,
    draw_processing,
    process,
)
from dupnet.acquisitions.layouts import common_regions
from dupnet.acquisitions.scenes import HARD_ANOTHER_DAY_SHARE, draw_solid, file_names
from dupnet.files.atomic import atomic_path, write_csv
from dupnet.files.workers import n_workers
from dupnet.images.jpeg import encode_jpeg
from dupnet.tiles import TILE_SIZE

__all__ = ["TRUTH_COLUMNS", "Crops", "cut_crops"]

Image = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

TRUTH_COLUMNS = ("image1", "image2", "y_offset", "x_offset", "height", "width", "same_day", "changed")

# Streams of random numbers, apart from those of dupnet.acquisitions.scenes.
_AGAIN, _ALTERED, _PROCESSING, _ALTERATION = range(11, 15)


class Crops(NamedTuple):
    """The tables of a cut collection: ``images`` (one row an image) and ``truth`` (one row an overlap)."""

    images: pd.DataFrame
    truth: pd.DataFrame


class Differences(NamedTuple):
    """Where the pixels of a crop differ from those of the first day, eight to a byte; None for nowhere."""

    by_day: npt.NDArray[np.uint8] | None
    by_alteration: npt.NDArray[np.uint8] | None


def cut_crops(
    acquisition: Image,
    folder: str | os.PathLike[str],
    places: Places,
    *,
    hard: bool = False,
    seed: int = 0,
    quality: int = 95,
    window: tuple[int, int] = (0, 0),
    another_day: Image | None = None,
    another_day_share: float | None = None,
    altered_share: float = 0.0,
    acquisition_name: str = "acquisition",
    prefix: str = "",
    workers: int | None = None,
    progress: bool = False,
) -> Crops:
    """Cut an acquisition at given places, each crop a JPEG of its own, with the truth about every overlap.

    Writes ``folder/images/*.jpg``, ``folder/images.csv`` and ``folder/truth.csv``. The same arguments give
    the same bytes for any number of workers. File names are drawn from the seed: they say nothing about the
    place.

    Parameters
    ----------
    acquisition : (height, width, 3) uint8
        RGB.
    folder : path
        Its ``images`` must be empty or missing.
    places : (n, 4) integers
        y, x, height, width of each crop, of :mod:`dupnet.acquisitions.layouts`.
    hard : bool
        Own processing and JPEG quality for each crop, solid ground (a share of
        :data:`dupnet.acquisitions.scenes.HARD_SOLID_SHARE` of the acquisition's 256 px tiles), and versions
        of another day.
    seed : int
        Seeds names and, in a hard cut, everything that is drawn.
    quality : int
        JPEG quality of a plain cut.
    window : (int, int)
        Added to y and x of the places: where the area that they were drawn for begins in the acquisition.
    another_day : (height, width, 3) uint8, optional
        The same place on another day, registered. Without it such versions are made by
        :func:`dupnet.acquisitions.alterations.another_day_tile`.
    another_day_share : float, optional
        Share of the crops with a second version of another day: a tenth in a hard cut by default, else none.
    altered_share : float
        Share of the crops that get an altered copy, processed on its own, and an altered version of another
        day. :data:`dupnet.acquisitions.alterations.ALTERATIONS` are used in turn.
    acquisition_name, prefix : str
        What ``images.csv`` calls the acquisition; put before each file name.
    workers : int, optional
        Threads; as many as there are cores by default.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Crops
        ``images``: image, acquisition, y, x, height, width (in the acquisition, in pixels), day (1 or 2),
        alteration (empty for none), and the fields of :class:`Processing`. ``truth``: image1, image2 (image1
        < image2), y_offset, x_offset (of image 2's origin in image 1's frame), height, width (of what they
        share), all in pixels; same_day, whether both show one day; changed, the share of the common pixels
        that differ by day or alteration, before processing and compression. Sorted by the names.

    Raises
    ------
    ValueError
        If the acquisition is no RGB image, a place lies outside, seed, quality, share or workers are out of
        range, ``another_day`` has another shape, or the folder already holds images.
    """
    if acquisition.ndim != 3 or acquisition.shape[2] != 3 or acquisition.dtype != np.uint8:
        raise ValueError(
            f"acquisition has shape {acquisition.shape} and type {acquisition.dtype}; expected "
            "(height, width, 3) uint8."
        )
    if another_day is not None and another_day.shape != acquisition.shape:
        raise ValueError(
            f"another_day has shape {another_day.shape}; it must have acquisition's, {acquisition.shape}."
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be at least 0.")
    if another_day_share is None:
        another_day_share = HARD_ANOTHER_DAY_SHARE if hard else 0.0
    for name, share in (("another_day_share", another_day_share), ("altered_share", altered_share)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share}; a share lies in 0 to 1.")
    places = np.asarray(places, np.int64).reshape(-1, 4) + np.array([*window, 0, 0])
    ends = places[:, :2] + places[:, 2:]
    if not len(places) or places[:, :2].min() < 0 or (ends > acquisition.shape[:2]).any():
        raise ValueError(
            f"places reach {ends.max(axis=0, initial=0).tolist()} of an acquisition of "
            f"{acquisition.shape[0]} x {acquisition.shape[1]} px; they must lie inside, at least one."
        )
    image_folder = Path(folder) / "images"
    if image_folder.is_dir() and any(image_folder.iterdir()):
        raise ValueError(f"{image_folder} already holds files; choose another folder or empty it.")
    image_folder.mkdir(parents=True, exist_ok=True)

    images = _plan(places, another_day_share, altered_share, seed, None if hard else quality)
    images.insert(1, "acquisition", acquisition_name)
    images["image"] = [prefix + name for name in images["image"]]
    rows, cols = acquisition.shape[0] // TILE_SIZE, acquisition.shape[1] // TILE_SIZE
    solid = draw_solid(rows, cols, TILE_SIZE, seed) if hard else {}

    clear = {place: np.zeros(tile.shape[:2], bool) for place, tile in solid.items()}

    def write(numbered: tuple[int, dict[str, Any]]) -> Differences:
        """Write a crop; where its pixels differ from those of the first day."""
        number, entry = numbered
        area = np.s_[entry["y"] : entry["y"] + entry["height"], entry["x"] : entry["x"] + entry["width"]]
        first_day = acquisition[area]
        pixels = first_day
        if entry["day"] == 2:
            pixels = _another_day(acquisition, area, seed) if another_day is None else another_day[area]
        processing = Processing(**{field.name: entry[field.name] for field in fields(Processing)})
        image = process(pixels, processing)
        _lay_solid(image, solid, entry["y"], entry["x"])
        by_day, by_alteration = None, None
        if entry["day"] == 2:
            differs = (pixels != first_day).any(axis=2)
            _lay_solid(differs, clear, entry["y"], entry["x"])
            by_day = np.packbits(differs, axis=1)
        if entry["alteration"]:
            before = image
            image = alter(before, entry["alteration"], np.random.default_rng([seed, _ALTERATION, number]))
            by_alteration = np.packbits((image != before).any(axis=2), axis=1)
        with atomic_path(image_folder / entry["image"]) as beside:
            beside.write_bytes(encode_jpeg(image, processing.quality))
        return Differences(by_day, by_alteration)

    with ThreadPoolExecutor(n_workers(workers)) as pool:
        written = pool.map(write, enumerate(images.to_dict("records")))
        differences = list(tqdm(written, total=len(images), desc="cut", unit="image", disable=not progress))
    truth = _truth(images, differences)
    write_csv(images, Path(folder) / "images.csv")
    write_csv(truth, Path(folder) / "truth.csv")
    return Crops(images, truth)


def _plan(
    places: Places, another_day_share: float, altered_share: float, seed: int, quality: int | None
) -> pd.DataFrame:
    """Place, day, alteration, name and processing of every crop; own processing where quality is None."""
    n = len(places)

    def drawn(share: float, stream: int) -> Places:
        chosen = np.random.default_rng([seed, stream]).choice(n, round(share * n), replace=False)
        return np.sort(chosen)

    again, altered = drawn(another_day_share, _AGAIN), drawn(altered_share, _ALTERED)
    at = np.concatenate([np.arange(n), again, altered, altered])
    kinds = [ALTERATIONS[turn % len(ALTERATIONS)] for turn in range(len(altered))]
    processings = [
        draw_processing(np.random.default_rng([seed, _PROCESSING, index])) if quality is None
        else Processing(quality=quality)
        for index in range(len(at))
    ]  # fmt: skip
    columns = {
        "image": file_names(len(at), seed),
        **{name: places[at, column] for column, name in enumerate(("y", "x", "height", "width"))},
        "day": np.repeat([1, 2, 1, 2], [n, len(again), len(altered), len(altered)]),
        "alteration": [""] * (n + len(again)) + kinds + kinds,
    }
    return pd.concat([pd.DataFrame(columns), pd.DataFrame(map(asdict, processings))], axis=1)


def _another_day(acquisition: Image, area: tuple[slice, slice], seed: int) -> Image:
    """An area of the acquisition on another day; what is left over after whole tiles stays as it was."""
    image = acquisition[area].copy()
    top, left = area[0].start, area[1].start
    rows, cols = (length // TILE_SIZE for length in acquisition.shape[:2])
    for row in range(top // TILE_SIZE, min(rows, -(-area[0].stop // TILE_SIZE))):
        for col in range(left // TILE_SIZE, min(cols, -(-area[1].stop // TILE_SIZE))):
            tile = another_day_tile(acquisition, row, col, TILE_SIZE, seed)
            _lay(image, tile, row * TILE_SIZE - top, col * TILE_SIZE - left)
    return image


def _lay_solid(
    image: npt.NDArray[Any], solid: dict[tuple[int, int], npt.NDArray[Any]], y: int, x: int
) -> None:
    """Lay the solid tiles of the acquisition into a crop at (y, x), in place."""
    for row in range(y // TILE_SIZE, -(-(y + image.shape[0]) // TILE_SIZE)):
        for col in range(x // TILE_SIZE, -(-(x + image.shape[1]) // TILE_SIZE)):
            if (row, col) in solid:
                _lay(image, solid[row, col], row * TILE_SIZE - y, col * TILE_SIZE - x)


def _lay(image: npt.NDArray[Any], tile: npt.NDArray[Any], y: int, x: int) -> None:
    """Lay a tile at (y, x), which may lie partly outside, into an image, in place."""
    top, left = max(0, y), max(0, x)
    part = tile[top - y : image.shape[0] - y, left - x : image.shape[1] - x]
    image[top : top + part.shape[0], left : left + part.shape[1]] = part


def _truth(images: pd.DataFrame, differences: list[Differences]) -> pd.DataFrame:
    places = images[["y", "x", "height", "width"]].to_numpy(np.int64)
    pairs = common_regions(places)
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    day = images["day"].to_numpy()
    altered = (images["alteration"] != "").to_numpy()
    begin = np.maximum(places[first, :2], places[second, :2])
    changed = np.zeros(len(pairs))
    for row in np.flatnonzero((day[first] != day[second]) | altered[first] | altered[second]):
        height, width = pairs["height"].iat[row], pairs["width"].iat[row]
        differs = np.zeros((height, width), bool)
        for number in (first[row], second[row]):
            packed = [differences[number].by_alteration]
            if day[first[row]] != day[second[row]]:  # two crops of the second day show the same
                packed.append(differences[number].by_day)
            y, x = begin[row] - places[number, :2]
            for mask in packed:
                if mask is not None:
                    part = np.unpackbits(mask[y : y + height], axis=1)[:, x : x + width]
                    differs |= part.astype(bool)
        changed[row] = differs.mean()
    names = images["image"].to_numpy(dtype=object)
    swap = names[first] > names[second]
    sign = np.where(swap, -1, 1)
    table = pd.DataFrame(
        {
            "image1": np.where(swap, names[second], names[first]),
            "image2": np.where(swap, names[first], names[second]),
            "y_offset": sign * pairs["y_offset"].to_numpy(),
            "x_offset": sign * pairs["x_offset"].to_numpy(),
            "height": pairs["height"].to_numpy(),
            "width": pairs["width"].to_numpy(),
            "same_day": day[first] == day[second],
            "changed": changed.round(5),
        }
    )
    return table.sort_values(["image1", "image2"], ignore_index=True)
