"""Acquisitions cut into collections whose every overlap is known.

An acquisition is one large image. Cut at a stride into crops that are compressed one by one, it becomes a collection
like the Airbus Ship Detection images, with the difference that the truth about every pair of crops is exact.

A *plain* cut only compresses. A *hard* cut adds what separates good signals from bad ones: each crop has its own
processing and JPEG quality, some tiles are solid, and some crops have a second version *of another day*, in which
part of every tile shows something else and which is therefore no duplicate.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet.augment import hls_shift
from dupnet.files import atomic_path, write_csv
from dupnet.tiles import Grid, cell_texture, is_decidable, overlaps, split_tiles, tile_slices

__all__ = [
    "HARD_ANOTHER_DAY_SHARE",
    "HARD_SOLID_SHARE",
    "Collection",
    "Processing",
    "another_day_tile",
    "choose_positions",
    "cut_collection",
    "draw_processing",
    "encode_jpeg",
    "overlap_truth",
    "process",
    "solid_tile",
]

Image = npt.NDArray[np.uint8]

HARD_SOLID_SHARE = 0.04
"""Share of an acquisition's tiles that a hard cut makes solid."""

HARD_ANOTHER_DAY_SHARE = 0.1
"""Share of the crops that a hard cut gives a second version, of another day."""

HLS_RANGE = 8.0
"""A hard cut's own processing shifts hue by up to so many degrees, lightness and saturation by up to so many percent."""

TONE_RANGE = 0.06
"""A hard cut's own processing changes gain and gamma by up to this share."""

QUALITY_RANGE = (75, 97)
"""JPEG qualities of a hard cut, both ends included."""

REPLACED_SHARE = (0.3, 0.7)
"""Share of a tile that differs on another day."""

PATCH_SIDES = (60 / 256, 100 / 256)
"""Diameters of the patches that differ on another day, as shares of a tile's side: 60 to 100 px of 256."""

# Streams of random numbers: each (seed, stream, index...) is its own generator, so that no result depends on the order
# in which workers come to it.
_NAMES, _POSITIONS, _SOLID, _ANOTHER_DAY, _PROCESSING, _PATCHES = range(6)

_PLAIN_TRUTH = {
    "image1": str, "image2": str, "overlap_tag": str, "row_offset": int, "col_offset": int,
    "n_tiles": int, "n_decidable": int, "is_duplicate": int,
}  # fmt: skip


@dataclass(frozen=True)
class Processing:
    """How a crop was processed before it was compressed.

    ``hue`` in degrees, ``lightness`` and ``saturation`` in percent (GIMP's units); ``gain`` and ``gamma`` are factors,
    1 for unchanged; ``quality`` is the JPEG quality.
    """

    hue: float = 0.0
    lightness: float = 0.0
    saturation: float = 0.0
    gain: float = 1.0
    gamma: float = 1.0
    quality: int = 95


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
    """Cut an acquisition into crops, save each as a JPEG of its own, and write the exact truth about every overlap.

    Writes ``folder/images/*.jpg``, ``folder/images.csv`` and ``folder/truth.csv``. The same arguments give the same
    bytes for any number of workers. File names are nine hexadecimal digits, as in the Airbus set, drawn from the seed:
    they say nothing about the place of a crop.

    Parameters
    ----------
    acquisition : (height, width, 3) uint8
        RGB. What is left over to the right and below after whole strides is not used.
    folder : path
        Its ``images`` must be empty or missing.
    n_images : int, optional
        How many crop positions to use, of a window with about twice as many, so that crops overlap. All by default.
    hard : bool
        Own processing and JPEG quality for each crop, solid tiles, and versions of another day.
    image_size, stride : int
        In pixels; the stride is also the side of a tile and divides the image size.
    quality : int
        JPEG quality of a plain cut.
    another_day : (height, width, 3) uint8, optional
        The same place on another day, registered. Without it such versions are made by :func:`another_day_tile`.
    another_day_share : float, optional
        Share of the crops with a second version of another day. By default 1 if ``another_day`` is given, else
        :data:`HARD_ANOTHER_DAY_SHARE` for a hard cut and 0 for a plain one.
    acquisition_name : str
        What ``images.csv`` calls the acquisition.
    prefix : str
        Put before each file name.

    Returns
    -------
    Collection
        ``images``: image, acquisition, row, col (of the crop's origin in the acquisition, in tiles), day (1 or 2),
        and the fields of :class:`Processing`. ``truth``: see :func:`overlap_truth`.

    Raises
    ------
    ValueError
        If the acquisition is no RGB image of at least one crop, the stride does not divide the image size, there are
        fewer positions than ``n_images``, ``another_day`` has another shape, or the folder already holds images.
    """
    _check_rgb(acquisition, "acquisition")
    if another_day is not None and another_day.shape != acquisition.shape:
        raise ValueError(f"another_day has shape {another_day.shape}; it must have acquisition's, {acquisition.shape}.")
    grid = Grid.of_image(image_size, image_size, stride)
    acquisition_rows, acquisition_cols = acquisition.shape[0] // stride, acquisition.shape[1] // stride
    if acquisition_rows < grid.rows or acquisition_cols < grid.cols:
        raise ValueError(
            f"acquisition is {acquisition.shape[0]} x {acquisition.shape[1]} pixels, smaller than one crop of "
            f"image_size {image_size}."
        )
    image_folder = Path(folder) / "images"
    if image_folder.is_dir() and any(image_folder.iterdir()):
        raise ValueError(f"{image_folder} already holds files; choose another folder or empty it.")
    image_folder.mkdir(parents=True, exist_ok=True)

    images = _plan(acquisition_rows, acquisition_cols, grid, n_images, hard, seed, quality,
                   _share_of_another_day(another_day_share, another_day is not None, hard), acquisition_name, prefix)  # fmt: skip
    solid = _draw_solid(acquisition_rows, acquisition_cols, stride, seed) if hard else {}
    fields = list(Processing.__dataclass_fields__)
    plan = list(zip(images["image"], images["row"], images["col"], images["day"],
                    (Processing(**row) for row in images[fields].to_dict("records")), strict=True))  # fmt: skip

    def write(entry: tuple[str, int, int, int, Processing]) -> npt.NDArray[np.bool_]:
        image_name, row, col, day, processing = entry
        image = _crop(acquisition, another_day, row, col, day, grid, seed)
        image = process(image, processing)
        for index in range(grid.n_tiles):
            tile = solid.get((row + index // grid.cols, col + index % grid.cols))
            if tile is not None:
                # After the processing: cloud is saturated and a border pure in every processing of an acquisition.
                image[tile_slices(index, grid)] = tile
        with atomic_path(image_folder / image_name) as beside:
            beside.write_bytes(encode_jpeg(image, processing.quality))
        return is_decidable(split_tiles(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), grid))

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        written = tqdm(pool.map(write, plan), total=len(plan), desc="cut", unit="image", disable=not progress)
        decidable = np.stack(list(written))
    truth = overlap_truth(images, decidable, grid)
    write_csv(images, Path(folder) / "images.csv")
    write_csv(truth, Path(folder) / "truth.csv")
    return Collection(images, truth)


def overlap_truth(images: pd.DataFrame, decidable: npt.NDArray[np.bool_], grid: Grid = Grid()) -> pd.DataFrame:
    """Every overlap of the crops of one acquisition.

    Parameters
    ----------
    images : DataFrame
        Columns image, row, col (in tiles) and day; at most one image for each place and day.
    decidable : (n_images, n_tiles) bool
        Which tiles carry enough texture to judge by, in the order of ``images``.

    Returns
    -------
    DataFrame
        image1, image2 (image1 < image2), overlap_tag, row_offset, col_offset (of image 2's origin in image 1's frame,
        in tiles), n_tiles, n_decidable (tiles of the overlap that are decidable in both images), is_duplicate: 1 for
        the same day, 0 for two days of one place. Sorted by the two names.
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
    tables = [pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in _PLAIN_TRUTH.items()})]
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
            tables.append(pd.DataFrame(found).astype(_PLAIN_TRUTH))
    return pd.concat(tables, ignore_index=True).sort_values(["image1", "image2"], ignore_index=True)


def choose_positions(rows: int, cols: int, n_images: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Crop positions (n, 2) as (row, col), of ``rows`` x ``cols`` that there are: all, or a compact random set.

    The set lies in a window, at a random place and as square as possible, that holds about twice as many positions.

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


def draw_processing(rng: np.random.Generator) -> Processing:
    """The own processing of one crop of a hard cut: each value uniform within its range."""
    hue, lightness, saturation = rng.uniform(-HLS_RANGE, HLS_RANGE, 3)
    gain, gamma = rng.uniform(1 - TONE_RANGE, 1 + TONE_RANGE, 2)
    quality = int(rng.integers(QUALITY_RANGE[0], QUALITY_RANGE[1] + 1))
    # Rounded to what images.csv shows, so that the table reproduces the image.
    return Processing(*(round(float(value), 3) for value in (hue, lightness, saturation, gain, gamma)), quality)


def process(image: Image, processing: Processing) -> Image:
    """An image (height, width, 3) after gain, gamma and HLS shift; always a new array."""
    levels = np.arange(256) / 255.0
    table = 255.0 * np.clip(processing.gain * levels, 0, 1) ** processing.gamma
    toned = cv2.LUT(image, np.rint(table).astype(np.uint8)).astype(np.uint8)
    if processing.hue or processing.lightness or processing.saturation:
        return hls_shift(toned, processing.hue, processing.lightness, processing.saturation)
    return toned


def encode_jpeg(image: Image, quality: int) -> bytes:
    """An RGB image as a baseline JPEG file with 4:2:0 chroma, as the Airbus images are.

    Raises
    ------
    ValueError
        If the quality is not in 1 to 100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; a JPEG quality lies in 1 to 100.")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality,
               cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]  # fmt: skip
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return bytes(encoded)


def solid_tile(kind: str, size: int, rng: np.random.Generator) -> Image:
    """A solid tile (size, size, 3): ``white`` (saturated cloud), ``black``, or ``blue`` (an acquisition's border).

    The border is pure blue, a few levels off along its inner edge, which lies on a random side.
    """
    tile = np.zeros((size, size, 3), dtype=np.uint8)
    if kind == "white":
        tile[:] = 255
    elif kind == "blue":
        tile[..., 2] = 255
        tile[: int(rng.integers(1, 3))] = (0, int(rng.integers(1, 12)), 255 - int(rng.integers(1, 12)))
        tile = np.rot90(tile, int(rng.integers(4))).copy()
    elif kind != "black":
        raise ValueError(f"kind is {kind!r}; a solid tile is white, black or blue.")
    return tile


def another_day_tile(acquisition: Image, row: int, col: int, tile_size: int, seed: int) -> Image:
    """The tile at (row, col) of an acquisition as it might look on another day: (tile_size, tile_size, 3).

    Between 30 and 70 % of it are replaced, in round patches with soft edges, by texture from elsewhere in the
    acquisition; the first patch lies on the cell with the most texture, so that what a verdict can rest on differs.
    The result depends on the place and the seed alone: crops of that day that overlap agree with each other.
    """
    rng = np.random.default_rng([seed, _PATCHES, row, col])
    top, left = row * tile_size, col * tile_size
    tile = acquisition[top : top + tile_size, left : left + tile_size].astype(np.float32)
    # The last patch, of any size, still fits above this target: the share stays within REPLACED_SHARE.
    target = rng.uniform(REPLACED_SHARE[0], REPLACED_SHARE[1] - np.pi / 4 * PATCH_SIDES[1] ** 2)
    replaced = np.zeros((tile_size, tile_size), dtype=bool)
    centre_y, centre_x = _most_textured(tile)
    while replaced.mean() < target:
        radius = tile_size * rng.uniform(*PATCH_SIDES) / 2
        # An edge 3/8 of the radius wide, half of it outside: 11 to 19 px of 256, softer than any step in the picture.
        reach = 1.1875 * radius
        rows = np.arange(max(0, round(centre_y - reach)), min(tile_size, round(centre_y + reach) + 1))
        cols = np.arange(max(0, round(centre_x - reach)), min(tile_size, round(centre_x + reach) + 1))
        distance = np.hypot(rows[:, None] - centre_y, cols[None, :] - centre_x)
        weight = np.clip((reach - distance) / (0.375 * radius), 0, 1).astype(np.float32)[..., None]
        box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        source = _likeliest_source(acquisition, top + int(rows[0]), left + int(cols[0]), tile[box], rng)
        tile[box] += weight * (source - tile[box])
        replaced[box] |= weight[..., 0] > 0.5
        centre_y, centre_x = rng.uniform(0, tile_size, 2)
    return np.rint(tile).astype(np.uint8)


def _most_textured(tile: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Centre (y, x) of the cell with the most texture."""
    texture = cell_texture(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)[None])[0]
    size = tile.shape[0] / texture.shape[0]
    y, x = np.unravel_index(int(texture.argmax()), texture.shape)
    return (float(y) + 0.5) * size, (float(x) + 0.5) * size


def _likeliest_source(
    acquisition: Image, top: int, left: int, patch: npt.NDArray[np.float32], rng: np.random.Generator,
    n_candidates: int = 6,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """Of some random boxes elsewhere in the acquisition, of the patch's size, the one nearest to it in mean colour.

    Sea is replaced by sea where there is any: differences that meet the eye at once would make the cut easy.
    """
    height, width = patch.shape[:2]
    best, best_difference = patch, np.inf
    mean = np.array(cv2.mean(patch)[:3])
    for _ in range(n_candidates):
        source_top = int(rng.integers(acquisition.shape[0] - height + 1))
        source_left = int(rng.integers(acquisition.shape[1] - width + 1))
        if abs(source_top - top) < height // 2 and abs(source_left - left) < width // 2:
            continue
        source = acquisition[source_top : source_top + height, source_left : source_left + width]
        difference = float(np.abs(np.array(cv2.mean(source)[:3]) - mean).sum())
        if difference < best_difference:
            best, best_difference = source.astype(np.float32), difference
    return best


def _plan(
    acquisition_rows: int, acquisition_cols: int, grid: Grid, n_images: int | None, hard: bool, seed: int, quality: int,
    share: float, acquisition_name: str, prefix: str,
) -> pd.DataFrame:  # fmt: skip
    """The images table: place, day, name and processing of every crop to be written."""
    places = choose_positions(acquisition_rows - grid.rows + 1, acquisition_cols - grid.cols + 1, n_images, seed)
    again = np.random.default_rng([seed, _ANOTHER_DAY]).choice(len(places), round(share * len(places)), replace=False)
    places = np.concatenate([places, places[np.sort(again)]])
    days = np.repeat([1, 2], [len(places) - len(again), len(again)])
    processings = [
        draw_processing(np.random.default_rng([seed, _PROCESSING, index])) if hard else Processing(quality=quality)
        for index in range(len(places))
    ]
    table = pd.DataFrame(
        {
            "image": list(_names(len(places), seed, prefix)),
            "acquisition": acquisition_name,
            "row": places[:, 0],
            "col": places[:, 1],
            "day": days,
        }
    )
    return pd.concat([table, pd.DataFrame([asdict(processing) for processing in processings])], axis=1)


def _names(n: int, seed: int, prefix: str) -> Iterator[str]:
    rng = np.random.default_rng([seed, _NAMES])
    numbers: dict[int, None] = {}
    while len(numbers) < n:
        numbers[int(rng.integers(16**9))] = None
    for number in numbers:
        yield f"{prefix}{number:09x}.jpg"


def _draw_solid(rows: int, cols: int, size: int, seed: int) -> dict[tuple[int, int], Image]:
    """Which tiles (row, col) of the acquisition are solid, and their pixels."""
    rng = np.random.default_rng([seed, _SOLID])
    chosen = rng.choice(rows * cols, round(HARD_SOLID_SHARE * rows * cols), replace=False)
    kinds = ("white", "black", "blue")
    return {divmod(int(tile), cols): solid_tile(kinds[rng.integers(3)], size, rng) for tile in chosen}


def _crop(acquisition: Image, another_day: Image | None, row: int, col: int, day: int, grid: Grid, seed: int) -> Image:
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


def _share_of_another_day(share: float | None, given: bool, hard: bool) -> float:
    if share is None:
        return 1.0 if given else HARD_ANOTHER_DAY_SHARE if hard else 0.0
    if not 0 <= share <= 1:
        raise ValueError(f"another_day_share is {share}; a share lies in 0 to 1.")
    return share


def _check_rgb(image: Image, name: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{name} has shape {image.shape} and type {image.dtype}; expected (height, width, 3) uint8.")

