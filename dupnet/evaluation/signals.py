"""How well a signal tells duplicates from the rest: labelled pairs of known truth, measured by every metric.

A *signal* is any number computed from two tiles, a distance or a likeness: the metrics of
:data:`dupnet.metrics.pair_metrics.PAIR_METRICS`, or a network's score. All are measured on the same pairs
here, which come
from a collection with known overlaps, so that every duplicate is a pair of different files and the
non-duplicates are the hard ones: another day, alike in hash, alike in colour, neighbours in one image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.augment.variation import AugmentConfig
from dupnet.evaluation.scores import best_threshold, quality, threshold_for_precision
from dupnet.files.workers import ProcessPool, n_workers
from dupnet.images.listing import list_images
from dupnet.images.reading import load
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.pairs.candidates import (
    TileSignatures,
    pairs_across_images,
    pairs_within_images,
    tile_signatures,
)
from dupnet.pairs.reader import PairReader
from dupnet.pairs.table import overlap_groups
from dupnet.tiles import Grid, grey_levels, is_decidable, overlap_at, split_tiles

__all__ = [
    "ORIGINS",
    "acquisitions",
    "every_pair",
    "known_overlaps",
    "known_tiles",
    "labelled_pairs",
    "measure",
    "pairs_of_overlaps",
    "reach",
    "separation",
]

ORIGINS = {
    "overlap": "duplicates: one tile of the acquisition in two images, each with its own processing and JPEG",
    "another_day": "one place, registered to the pixel, on another day",
    "alike_hash": "tiles of unconnected images, among the nearest in BlockMeanHash",
    "alike_colour": "tiles of unconnected images, among the nearest in colour",
    "within_image": "two tiles of one image, among its most alike in BlockMeanHash",
}
"""Where a labelled pair comes from; all but the first are non-duplicates."""

FEWEST_ROWS_A_PROCESS = 100
"""Rows for which a process of its own pays: it takes two or three seconds to start, a row some 50 ms."""


class KnownTiles(NamedTuple):
    """A collection in memory, small enough to hold every tile against every other.

    ``images``: names. ``tiles``: (n, size, size, 3) uint8 RGB, tile ``t`` of image ``i`` at
    ``i * grid.n_tiles + t``. ``decidable``: (n,) bool. ``pairs``: as of :func:`every_pair`.
    """

    images: list[str]
    tiles: npt.NDArray[np.uint8]
    decidable: npt.NDArray[np.bool_]
    pairs: pd.DataFrame


def known_tiles(folder: str | os.PathLike[str], n_images: int = 300, grid: Grid = Grid()) -> KnownTiles:
    """Read the first ``n_images`` images of a folder, by name, with all that is known of their overlaps.

    300 images take 530 MB, and their pairs another 200.
    """
    images = list_images(folder)[:n_images]
    pixels = [load(Path(folder, name), grey=False, tile_size=grid.tile_size)[0] for name in images]
    tiles = np.concatenate([np.asarray(split_tiles(image, grid), np.uint8) for image in pixels])
    decidable = is_decidable(grey_levels(tiles))
    return KnownTiles(images, tiles, decidable, every_pair(images, decidable, known_overlaps(folder), grid))


def known_overlaps(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Every overlap of a folder of images that was cut from acquisitions: ``truth.csv`` beside it.

    Returns
    -------
    pandas.DataFrame
        ``image1, image2, overlap_tag, row_offset, col_offset, n_tiles, is_duplicate``.

    Raises
    ------
    FileNotFoundError
        If there is no such table.
    """
    path = Path(folder).absolute().parent / "truth.csv"
    columns = ["image1", "image2", "overlap_tag", "row_offset", "col_offset", "n_tiles", "is_duplicate"]
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {os.fspath(path)!r}: signals are measured against known overlaps, which "
            "`dupnet data` writes beside the images that it cuts; what `dupnet find` finds is no truth."
        )
    return pd.read_csv(path, dtype={"overlap_tag": str})[columns]


def acquisitions(folder: str | os.PathLike[str], images: Sequence[str]) -> pd.Series:
    """Name of the acquisition that each image was cut from, by ``images.csv`` beside the folder; else ``""``.

    Of the sample, acquisitions whose name starts with ``synthetic`` were computed, not photographed.
    """
    path = Path(folder).absolute().parent / "images.csv"
    if not path.exists():
        return pd.Series("", index=list(images), name="acquisition")
    return pd.read_csv(path).set_index("image")["acquisition"].reindex(list(images)).fillna("")


def pairs_of_overlaps(overlaps: pd.DataFrame, grid: Grid = Grid()) -> pd.DataFrame:
    """Every pair of tiles that registered images share: one row a tile of each overlap.

    Parameters
    ----------
    overlaps
        Columns ``image1, image2, row_offset, col_offset`` and ``is_duplicate`` (without it: 1).
    grid
        The tiles of an image.

    Returns
    -------
    pandas.DataFrame
        ``image1, tile1, image2, tile2, is_duplicate, origin`` (``overlap`` or ``another_day``).
    """
    rows = overlaps.assign(is_duplicate=overlaps.get("is_duplicate", 1))
    offsets = zip(rows["row_offset"], rows["col_offset"], strict=True)
    shared = [overlap_at(int(row_offset), int(col_offset), grid) for row_offset, col_offset in offsets]
    rows["tile1"] = [overlap.tiles1 for overlap in shared]
    rows["tile2"] = [overlap.tiles2 for overlap in shared]
    rows = rows.explode(["tile1", "tile2"], ignore_index=True)
    rows = rows.astype({"tile1": np.int64, "tile2": np.int64})
    rows["origin"] = np.where(rows["is_duplicate"] == 1, "overlap", "another_day")
    return rows[["image1", "tile1", "image2", "tile2", "is_duplicate", "origin"]]


def labelled_pairs(
    folder: str | os.PathLike[str],
    images: Sequence[str],
    truth: pd.DataFrame,
    *,
    n_pairs: int = 2_000,
    seed: int = 0,
    grid: Grid = Grid(),
) -> pd.DataFrame:
    """Labelled pairs of decidable tiles of a collection whose truth is known, half of them duplicates.

    Parameters
    ----------
    folder
        Where the images are.
    images
        Names of those to use, all of one size.
    truth
        Every overlap among them, with ``is_duplicate`` (``truth.csv`` of a cut collection).
    n_pairs
        Rows wanted; fewer come back where one label runs out. The non-duplicates are shared out evenly over
        their origins (:data:`ORIGINS`), as far as there are any.
    seed
        Of the choice.
    grid
        The tiles of an image.

    Returns
    -------
    pandas.DataFrame
        ``image1, tile1, image2, tile2, is_duplicate, origin, group`` (overlap group of image 1).
    """
    signatures = tile_signatures(folder, images, tile_size=grid.tile_size)
    known = truth[truth["image1"].isin(images) & truth["image2"].isin(images)]
    groups = overlap_groups(images, known)
    one_split = pd.Series("test", index=groups.index)
    columns = ["image1", "tile1", "image2", "tile2", "is_duplicate", "origin"]
    parts = [pairs_of_overlaps(known, grid)]
    parts += [pairs_within_images(signatures).query("is_duplicate == 0")[columns]]
    parts += [pairs_across_images(signatures, groups, one_split, 2 * n_pairs / len(images), seed)[columns]]
    pairs = pd.concat(parts, ignore_index=True)
    pairs = pairs[_decidable(pairs, signatures)].sample(frac=1, random_state=seed)

    duplicates = pairs[pairs["is_duplicate"] == 1].head(n_pairs // 2)
    rest = pairs[pairs["is_duplicate"] == 0]
    # Dealt in turn over the origins, so that a rare one is used up before a common one fills the table.
    turn = rest.groupby("origin").cumcount()
    rest = rest.loc[turn.sort_values(kind="stable").index[: len(duplicates)]]
    chosen = pd.concat([duplicates.head(len(rest)), rest]).sort_values(columns[:4], ignore_index=True)
    chosen["group"] = groups.reindex(chosen["image1"]).to_numpy()
    return chosen


def every_pair(
    images: Sequence[str], decidable: npt.NDArray[np.bool_], truth: pd.DataFrame, grid: Grid = Grid()
) -> pd.DataFrame:
    """Every tile of a collection against every other: what a search really meets, nearly all of it unrelated.

    Parameters
    ----------
    images
        Names; tile ``t`` of image ``i`` is row ``i * grid.n_tiles + t``.
    decidable
        (n,) which rows carry texture; the others are left out.
    truth
        Every overlap among the images, as of :func:`known_overlaps`.
    grid
        The tiles of an image.

    Returns
    -------
    pandas.DataFrame
        ``row1 < row2, is_duplicate, origin`` (``overlap``, ``another_day`` or ``unrelated``). About n * n / 2
        rows: keep to a few hundred images.
    """
    first = {name: number * grid.n_tiles for number, name in enumerate(images)}
    known = pairs_of_overlaps(truth[truth["image1"].isin(first) & truth["image2"].isin(first)], grid)
    rows1 = known["image1"].map(first).to_numpy(np.int64) + known["tile1"].to_numpy()
    rows2 = known["image2"].map(first).to_numpy(np.int64) + known["tile2"].to_numpy()
    origin = np.zeros((len(decidable), len(decidable)), np.int8)
    origin[np.minimum(rows1, rows2), np.maximum(rows1, rows2)] = np.where(known["is_duplicate"] == 1, 1, 2)
    row1, row2 = np.triu_indices(len(decidable), 1)
    kept = decidable[row1] & decidable[row2]
    row1, row2 = row1[kept], row2[kept]
    found = origin[row1, row2]
    names = pd.Categorical.from_codes(found, categories=["unrelated", "overlap", "another_day"])
    return pd.DataFrame(
        {"row1": row1, "row2": row2, "is_duplicate": (found == 1).astype(int), "origin": names}
    )


def measure(
    pairs: pd.DataFrame,
    folder: str | os.PathLike[str],
    metrics: Sequence[str] | None = None,
    *,
    augment: AugmentConfig | None = None,
    another_day_share: float = 0.0,
    seed: int = 0,
    tile_size: int | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """``pairs`` with one more column for each metric: its value for the two tiles, as it comes.

    Where the reader made another day of a duplicate, ``is_duplicate`` becomes 0.

    Parameters
    ----------
    pairs
        Columns ``image1, tile1, image2, tile2, is_duplicate``.
    folder
        Where the images are.
    metrics
        Names from :data:`dupnet.metrics.pair_metrics.PAIR_METRICS`; all by default.
    augment, another_day_share, seed
        How the tiles are varied, as by a :class:`dupnet.pairs.reader.PairReader` of these settings; by
        default they are taken as they are. A row that is in the table twice is varied in two ways.
    tile_size
        Side of a tile in pixels; by default that of the table.
    workers
        Processes, one for each core by default; fewer where there are few rows. Half of the metrics hold
        Python's interpreter lock, so threads would wait for each other.

    Raises
    ------
    ValueError
        If there is no such metric.
    """
    names = list(PAIR_METRICS) if metrics is None else list(metrics)
    unknown = [name for name in names if name not in PAIR_METRICS]
    if unknown:
        raise ValueError(f"metrics: no metric is called {unknown[0]!r}; there are {', '.join(PAIR_METRICS)}.")
    make_reader = partial(
        PairReader,
        pairs,
        folder,
        augment=augment,
        another_day_share=another_day_share,
        tile_size=tile_size,
        seed=seed,
        workers=1,
    )
    n_processes = min(n_workers(workers), max(1, len(pairs) // FEWEST_ROWS_A_PROCESS))
    parts = np.array_split(np.arange(len(pairs)), n_processes)
    measure_part = partial(_measure_rows, make_reader, names)
    with ProcessPool(n_processes) as pool:
        measured = pool.map(measure_part, parts) if n_processes > 1 else map(measure_part, parts)
        values = [row for part in measured for row in part]
    found = pd.DataFrame(values, columns=["is_duplicate", *names], index=pairs.index)
    labels = found.pop("is_duplicate").astype(pairs["is_duplicate"].dtype)
    return pd.concat([pairs.assign(is_duplicate=labels), found], axis=1)


def _measure_rows(
    make_reader: Callable[[], PairReader], names: Sequence[str], rows: npt.NDArray[np.int64]
) -> list[list[float]]:
    """Label and metrics of some rows; each process makes its own reader, whose cache cannot be sent."""
    reader = make_reader()
    values = []
    for row in rows:
        tile1, tile2, is_duplicate = reader.pair(int(row))
        values.append([is_duplicate, *(float(PAIR_METRICS[name](tile1, tile2)) for name in names)])
    return values


def separation(table: pd.DataFrame, signals: Sequence[str]) -> pd.DataFrame:
    """How well each signal separates, by itself and with the best threshold that the same pairs allow.

    Parameters
    ----------
    table
        What :func:`measure` returned. A signal that is no metric counts as a likeness.
    signals
        Columns to judge.

    Returns
    -------
    pandas.DataFrame
        One row a signal, best first: ``signal``; ``threshold``, the value with fewest errors, and ``errors``
        there; then ``errors_per_38780``, ``recall`` and ``auc`` as in
        :func:`dupnet.evaluation.scores.quality`.
    """
    truth = table["is_duplicate"].to_numpy()
    rows = []
    for signal in signals:
        sign = 1.0 if signal not in PAIR_METRICS or PAIR_METRICS[signal].higher_is_alike else -1.0
        likeness = sign * table[signal].to_numpy(np.float64)
        threshold, errors = best_threshold(likeness, truth)
        found = quality(likeness, truth)._asdict()
        rows.append({"signal": signal, "threshold": sign * threshold, "errors": errors, **found})
    return pd.DataFrame(rows).sort_values("errors", kind="stable", ignore_index=True)


def reach(pairs: pd.DataFrame, signals: Sequence[str], share: float = 0.99) -> pd.DataFrame:
    """How far each signal must reach to accept ``share`` of the duplicates, and what it accepts with them.

    Parameters
    ----------
    pairs
        Columns ``is_duplicate, origin`` as of :func:`every_pair`, and the signals. A signal that is no metric
        counts as a distance.
    signals
        Columns to measure.
    share
        Of the duplicates, 0 to 1.

    Returns
    -------
    pandas.DataFrame
        One row a signal: ``signal``; ``auc`` and ``recall`` (at 99.99 % precision) as in
        :func:`dupnet.evaluation.scores.quality`; ``safe``, the value up to which that precision holds (NaN if
        none); ``reach``, the value that accepts ``share`` of the duplicates; ``wrong_pairs``, the
        non-duplicates that it accepts, ``wrong_per_duplicate`` and ``wrong_another_day``, those of them that
        show one place on another day.
    """
    is_duplicate = pairs["is_duplicate"].to_numpy()
    is_other_day = (pairs["origin"] == "another_day").to_numpy()
    rows = []
    for signal in signals:
        sign = 1.0 if signal in PAIR_METRICS and PAIR_METRICS[signal].higher_is_alike else -1.0
        likeness = sign * pairs[signal].to_numpy(np.float64)
        safe, recall = threshold_for_precision(likeness, is_duplicate)
        limit = np.quantile(likeness[is_duplicate == 1], 1 - share)
        wrong = (likeness >= limit) & (is_duplicate == 0)
        rows.append(
            {
                "signal": signal,
                "auc": quality(likeness, is_duplicate).auc,
                "recall": recall,
                "safe": sign * safe if np.isfinite(safe) else np.nan,
                "reach": sign * limit,
                "wrong_pairs": int(wrong.sum()),
                "wrong_per_duplicate": wrong.sum() / is_duplicate.sum(),
                "wrong_another_day": int((wrong & is_other_day).sum()),
            }
        )
    return pd.DataFrame(rows)


def _decidable(pairs: pd.DataFrame, signatures: TileSignatures) -> npt.NDArray[np.bool_]:
    place = {name: number * signatures.n_tiles for number, name in enumerate(signatures.images)}
    rows1 = pairs["image1"].map(place).to_numpy() + pairs["tile1"].to_numpy()
    rows2 = pairs["image2"].map(place).to_numpy() + pairs["tile2"].to_numpy()
    return np.asarray(signatures.decidable[rows1] & signatures.decidable[rows2])
