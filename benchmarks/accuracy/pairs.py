"""What it is compared on: held-out tiles of three collections as hard pairs, and perturbed in one way each.

Held out are the Airbus images that ``airbus_parts.csv`` lists as ``test``, Derna east of column 9472 and
Kitsap east of column 2560. Networks were trained on what lies west of there, at least a crop away. Images
that it lists as ``reserved`` take part in nothing but ``python -m benchmarks.accuracy.rare --part reserved``,
which is run once, for weights that are about to be published: see :func:`is_reserved`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.acquisitions.sea import synthetic_sea
from dupnet.acquisitions.sources import ACQUISITIONS, fetch, read_acquisition
from dupnet.augment.variation import AugmentConfig, another_day, hls_shift, jpeg, reprocess
from dupnet.images.reading import read_image
from dupnet.pairs.reader import PairBatch, PairReader
from dupnet.pairs.table import make_pairs
from dupnet.tiles import grey_levels, is_decidable
from dupnet.training.crops import Source
from dupnet.training.recipe import COLUMNS

Tile = npt.NDArray[np.uint8]

AIRBUS_PARTS = Path(__file__).parent / "airbus_parts.csv"
CROP = 768
SEA_SEED = 78
ANOTHER_DAY_SHARE = 0.25
CHUNK = 200


def airbus_held_out(folder: Path, part: str = "test") -> pd.DataFrame:
    """``image, group, part`` of the Airbus images of a part that are in ``folder``."""
    table = pd.read_csv(AIRBUS_PARTS)
    here = {path.name for path in folder.iterdir()}
    return table[(table["part"] == part) & table["image"].isin(here)].reset_index(drop=True)


def add_collections(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what :func:`find_collections` is to find, and where it may write."""
    parser.add_argument("--airbus", type=Path, help="folder of the Airbus images named in airbus_parts.csv")
    for name in ("derna", "kitsap"):
        parser.add_argument(f"--{name}", type=Path, help=f"its acquisition (dupnet data {name})")
    parser.add_argument("--work", type=Path, default=Path("output/benchmark"), help="folder for crops")


def find_collections(
    airbus: Path | None,
    acquisitions: Mapping[str, Path | None],
    work: Path,
    part: str = "test",
) -> dict[str, tuple[Path, dict[str, str]]]:
    """Folder and overlap groups (image to group) of the images of a part, collection by collection.

    ``acquisitions`` gives the file of each acquisition to cut, None where it is to be fetched into
    ``data/raw``; the crops are written below ``work``. One whose part is narrower than a crop is left out.
    """
    found: dict[str, tuple[Path, dict[str, str]]] = {}
    if airbus:
        table = airbus_held_out(airbus, part)
        found["airbus"] = airbus, dict(zip(table["image"], table["group"], strict=True))
    for name, path in acquisitions.items():
        first, end = COLUMNS[name][part]
        if end - first < CROP:
            continue
        folder = work / (name if part == "test" else f"{name}_{part}")
        cut_held_out(path or fetch(ACQUISITIONS[name], "data/raw", print)[0], name, folder, part)
        found[name] = folder, {path.name: path.name for path in folder.iterdir()}
    return found


def is_reserved(group: str) -> bool:
    """The rule by which groups are reserved: an even first byte of the SHA-256 of their name. Of the groups
    of ``test`` without a labelled overlap, ``airbus_parts.csv`` holds these back."""
    return hashlib.sha256(group.encode()).digest()[0] % 2 == 0


def airbus_sources(folder: Path, part: str) -> list[Source]:
    """The Airbus images of a part that are in ``folder``, as ground to draw pairs from."""
    table = pd.read_csv(AIRBUS_PARTS)
    here = np.array([(folder / str(name)).exists() for name in table["image"]])
    rows = table[(table["part"] == part) & here]
    named = zip(rows["image"], rows["group"], strict=True)
    return [Source("airbus", str(group), read_image(folder / str(image))) for image, group in named]


def cut_held_out(acquisition: Path, name: str, folder: Path, part: str = "test") -> None:
    """Write a part as JPEG crops that do not overlap, unless ``folder`` has them already."""
    if folder.exists():
        return
    first, end = COLUMNS[name][part]
    _write_crops(read_acquisition(acquisition)[:, first:end], name, folder)


def cut_sea(side: int, folder: Path) -> None:
    """Write a drawn sea of side x side px in the same way; no network has seen it."""
    if not folder.exists():
        _write_crops(synthetic_sea(side, side, seed=SEA_SEED), "sea", folder)


def _write_crops(pixels: npt.NDArray[np.uint8], name: str, folder: Path) -> None:
    partial_folder = folder.with_name(folder.name + ".partial")
    partial_folder.mkdir(parents=True, exist_ok=True)
    for top in range(0, pixels.shape[0] - CROP + 1, CROP):
        for left in range(0, pixels.shape[1] - CROP + 1, CROP):
            crop = pixels[top : top + CROP, left : left + CROP]
            path = partial_folder / f"{name}_{top:05d}_{left:05d}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    partial_folder.rename(folder)


def table_of_pairs(folder: Path, groups: Mapping[str, str]) -> pd.DataFrame:
    """Every pair of the original's kind, and hard ones across images; ``groups``: image to overlap group."""
    names = sorted(groups)
    group = pd.factorize(pd.Series([groups[name] for name in names]))[0]
    splits = pd.DataFrame({"image": names, "group": group, "split": "test"})
    pairs = make_pairs(folder, splits, pd.DataFrame(columns=["image1", "image2"]), seed=1)
    return pairs[pairs["is_duplicate"].eq(1) | pairs["is_decidable"].eq(1)].reset_index(drop=True)


def hard_pairs(
    folder: Path, pairs: pd.DataFrame, n: int, seed: int
) -> Iterator[tuple[PairBatch, pd.DataFrame]]:
    """``n`` pairs in batches, varied as in :mod:`dupnet.augment.variation`, half of them duplicates, with
    their rows.

    A quarter of the duplicates is turned into one place on another day. Pairs of which a tile carries no
    evidence after all processing are left out: neither label would be true of them.
    """
    reader = PairReader(
        pairs, folder, augment=AugmentConfig(), another_day_share=ANOTHER_DAY_SHARE, seed=seed, workers=2
    )
    duplicate_share = 0.5 / (1 - ANOTHER_DAY_SHARE)
    rows_of = [np.flatnonzero(pairs["is_duplicate"] == label) for label in (0, 1)]
    rng = np.random.default_rng(seed)
    made = epoch = 0
    while made < n:
        labels = (rng.random(CHUNK) < duplicate_share).astype(int)
        rows = np.empty(CHUNK, np.int64)
        for label, known in enumerate(rows_of):  # a row is varied by its number: twice, it is one pair twice
            is_label = labels == label
            rows[is_label] = rng.choice(known, is_label.sum(), replace=len(known) < CHUNK)
        batch = reader.batch(rows, epoch)
        epoch += 1
        usable = is_decidable(grey_levels(batch.tiles1)) & is_decidable(grey_levels(batch.tiles2))
        kept = np.flatnonzero(usable)[: n - made]
        made += len(kept)
        yield PairBatch(*(part[kept] for part in batch)), pairs.iloc[rows[kept]].reset_index(drop=True)


def held_out_tiles(folder: Path, names: list[str], n: int, seed: int) -> list[Tile]:
    """Up to ``n`` decidable tiles of the named images, drawn evenly."""
    rows = [(name, tile, name, tile, 1) for name in names for tile in range(9)]
    table = pd.DataFrame(rows, columns=["image1", "tile1", "image2", "tile2", "is_duplicate"])
    table = table.sample(frac=1, random_state=seed)
    reader = PairReader(table, folder, workers=1)
    found: list[Tile] = []
    for row in range(len(table)):
        tile = reader.pair(row)[0]
        if is_decidable(grey_levels(tile[None]))[0]:
            found.append(tile)
        if len(found) == n:
            break
    return found


def perturbations() -> dict[tuple[str, float], Callable[[Tile, Tile, np.random.Generator], Tile]]:
    """One change each, by name and step: a tile, another tile and a generator -> the changed tile."""
    found: dict[tuple[str, float], Callable[[Tile, Tile, np.random.Generator], Tile]] = {}
    for quality in (95, 90, 85, 75, 60, 50, 40, 30):
        found["JPEG quality", quality] = lambda tile, _, rng, quality=quality: jpeg(tile, quality)
    for name in ("hue", "lightness", "saturation"):
        for step in (-40, -20, -10, -5, 5, 10, 20, 40):
            found[name, step] = partial(_shifted, name=name, step=step)
    for gamma in (0.7, 0.85, 1.15, 1.4):
        found["gamma", gamma] = partial(_gamma, gamma=gamma)
    for deviation in (1, 2, 4, 8):
        found["noise", deviation] = partial(_noisy, deviation=deviation)
    for weight in (-0.5, 0.5, 1.0, 2.0):
        found["sharpening", weight] = partial(_sharpened, weight=weight)
    found["one acquisition twice", 1] = lambda tile, _, rng: reprocess(tile, rng)
    found["flip of both", 1] = lambda tile, _, rng: tile
    found["one place on another day", 1] = lambda tile, other, rng: another_day(tile, other, rng)
    return found


def _shifted(tile: Tile, _: Tile, rng: np.random.Generator, name: str, step: float) -> Tile:
    return hls_shift(tile, **{name: step})


def _gamma(tile: Tile, _: Tile, rng: np.random.Generator, gamma: float) -> Tile:
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(cv2.LUT(tile, table), np.uint8)


def _noisy(tile: Tile, _: Tile, rng: np.random.Generator, deviation: float) -> Tile:
    return np.clip(np.rint(tile + rng.normal(0, deviation, tile.shape)), 0, 255).astype(np.uint8)


def _sharpened(tile: Tile, _: Tile, rng: np.random.Generator, weight: float) -> Tile:
    blurred = cv2.GaussianBlur(tile, (0, 0), 1.0)
    return np.asarray(cv2.addWeighted(tile, 1 + weight, blurred, -weight, 0), np.uint8)
