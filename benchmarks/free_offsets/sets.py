"""The collections: where they are cut from, and how.

All from parts that neither the network nor the directions of points were learned from: Derna and Kitsap east
of what they train on, the synthetic sea, and, where there are Airbus images, a mosaic of those held out, one
of each group, which share nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.acquisitions.crops import cut_crops
from dupnet.acquisitions.layouts import LAYOUTS, grid_places, random_places
from dupnet.acquisitions.sea import synthetic_sea
from dupnet.acquisitions.sources import fetch_derna, fetch_kitsap, read_acquisition
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.reading import read_image

Image = npt.NDArray[np.uint8]

SEA_SIDE, SEA_SEED = 3072, 77
"""Side in pixels of the synthetic sea, and its place."""

SIDES: dict[str, tuple[int, ...]] = {
    "400": (400,),
    "512": (512,),
    "600": (600,),
    "64-128": (64, 96, 128),
    "compressed": (400,),
    "noisy": (400,),
}
"""Random places: squares of these sides."""

SPOILED = ("compressed", "noisy")
"""Layouts of which every file is saved once more: at one of :data:`LOW_QUALITIES`, or with noise of a
deviation between :data:`NOISE` levels, at a quality of 92."""

LOW_QUALITIES, NOISE = (18, 50), (2.0, 8.0)

RANGES = {"256-1024": (256, 1024, False), "64-2000": (64, 2000, True)}
"""Random places: sides from, to, and whether drawn in the logarithm."""

PLACES = (*SIDES, *RANGES, "dota", "sahi", "half", "apart")
"""Every layout; the last four are of :data:`dupnet.acquisitions.layouts.LAYOUTS`."""


class Source(NamedTuple):
    """An acquisition, and the same on another day where there is such."""

    picture: Image
    another_day: Image | None = None


class Cut(NamedTuple):
    """A collection on disk."""

    folder: Path
    images: pd.DataFrame
    truth: pd.DataFrame


def sources(raw: Path, airbus: Path | None) -> dict[str, Callable[[], Source]]:
    """Every source by its name; each is read when it is asked for, and then kept."""
    found: dict[str, Callable[[], Source]] = {
        "derna": partial(_held_out, "derna", fetch_derna, raw),
        "kitsap": partial(_held_out, "kitsap", fetch_kitsap, raw),
        "sea": _sea,
    }
    if airbus is not None:
        found["airbus"] = partial(_airbus, airbus)
    return {name: cache(read) for name, read in found.items()}


def _held_out(name: str, fetch: Callable[[Path], Path], raw: Path) -> Source:
    from dupnet.training.recipe import COLUMNS  # imports TensorFlow

    first, end = COLUMNS[name]["test"]
    return Source(np.ascontiguousarray(read_acquisition(fetch(raw))[:, first:end]))


def _sea() -> Source:
    first, second = (synthetic_sea(SEA_SIDE, SEA_SIDE, seed=SEA_SEED, day=day) for day in (1, 2))
    return Source(first, second)


def _airbus(folder: Path) -> Source:
    """Images side by side, as square as they go; what is left over is left out."""
    from benchmarks.accuracy.pairs import airbus_held_out  # imports TensorFlow

    names = airbus_held_out(folder / "images").drop_duplicates("group")["image"].tolist()
    rows = int(len(names) ** 0.5)
    cols = len(names) // rows
    images = [read_image(folder / "images" / name) for name in names[: rows * cols]]
    lines = [np.concatenate(images[row * cols :][:cols], axis=1) for row in range(rows)]
    return Source(np.concatenate(lines))


def places_of(layout: str, picture: Image, n_images: int, seed: int) -> npt.NDArray[np.int64]:
    """Where about ``n_images`` crops lie in a picture: (n, 4) as y, x, height, width."""
    height, width = picture.shape[:2]
    if layout in SIDES:
        return random_places(height, width, n_images, SIDES[layout], seed=seed)
    if layout in RANGES:
        low, high, logarithmic = RANGES[layout]
        high = min(high, height, width)
        return random_places(
            height, width, n_images, side_range=(low, high), logarithmic=logarithmic, seed=seed
        )
    side, stride, jitter = LAYOUTS[layout]
    reach = side + stride * (max(2, round(n_images**0.5)) - 1)
    area = min(height, reach), min(width, reach)
    rng = np.random.default_rng(seed)
    corner = rng.integers(height - area[0] + 1), rng.integers(width - area[1] + 1)
    return grid_places(*area, side, stride, jitter, seed) + np.array([*corner, 0, 0])


def cut(source: Callable[[], Source], layout: str, folder: Path, n_images: int, seed: int) -> Cut:
    """A hard cut of a source, in ``folder``; cut now unless it is there."""
    if not (folder / "truth.csv").exists():
        beside = folder.with_name(f"{folder.name}.part")
        for old in (folder, beside):
            shutil.rmtree(old, ignore_errors=True)
        picture, another_day = source()
        places = places_of(layout, picture, n_images, seed)
        cut_crops(picture, beside, places, hard=True, seed=seed, another_day=another_day, workers=2)
        if layout in SPOILED:
            _spoil(beside / "images", layout, seed)
        beside.rename(folder)
    return Cut(folder, pd.read_csv(folder / "images.csv"), pd.read_csv(folder / "truth.csv"))


def _spoil(folder: Path, layout: str, seed: int) -> None:
    """Save every image of a folder once more, as :data:`SPOILED` says."""
    for number, path in enumerate(sorted(folder.iterdir())):
        rng = np.random.default_rng((seed, number))
        image, quality = read_image(path), int(rng.integers(*LOW_QUALITIES))
        if layout == "noisy":
            levels = image + rng.normal(0, rng.uniform(*NOISE), image.shape)
            image, quality = np.clip(np.rint(levels), 0, 255).astype(np.uint8), 92
        path.write_bytes(encode_jpeg(image, quality))
