"""The labelled table of tile pairs: enumerate, filter, mine, sample, inside the parts of a split.

Labels come from two statements that hold without looking: a tile and its copy are duplicates, and two tiles
of one image are not, because they show different ground at one moment. Two tiles of images that share no
ground are not duplicates either; of those, the most alike are worth learning from.

The split comes first (:mod:`dupnet.splits`): images that share ground are in one part of it, and pairs are
made inside a part only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dupnet.files.atomic import (
    check_replaceable,
    read_csv,
    read_parquet,
    write_csv,
    write_parquet,
    writes_parquet,
)
from dupnet.pairs.candidates import BUFFER, pairs_across_images, pairs_within_images, tile_signatures
from dupnet.tiles import TILE_SIZE, Grid, overlap_at

__all__ = [
    "PAIR_COLUMNS",
    "leaked_tiles",
    "load_pairs",
    "make_pairs",
    "overlap_groups",
    "pair_files",
    "sample_pairs",
    "save_pairs",
    "tile_size_of",
]

PAIR_COLUMNS = {
    "image1": "file name of the image of the first tile",
    "tile1": "tile index in image 1, row by row from 0",
    "image2": "file name of the image of the second tile",
    "tile2": "tile index in image 2",
    "is_duplicate": "1: the same place and moment; 0: not",
    "origin": "how the pair was found: within_image, alike_hash or alike_colour",
    "block_mean_distance": "bits of 256 in which the tiles' BlockMeanHash differs",
    "is_decidable": "1 if both tiles carry enough texture to judge by",
    "group": "overlap group of image 1",
    "split": "train, validation or test, or as `dupnet split` named it; both images belong to it",
    "tile_size": "side of a tile in pixels, one for the table",
}
"""Columns of the pair table, one row an unordered pair of tiles."""


def overlap_groups(images: Sequence[str], overlaps: pd.DataFrame) -> pd.Series:
    """Connected components of images that share ground: Series of int, indexed by image, named ``group``.

    Every row of ``overlaps`` (columns ``image1, image2``) joins its two images, also one that shows another
    day: the ground is the same, and a split should not have it on both sides. Groups are numbered in the
    order in which ``images`` first meets them; an image without overlaps is a group of its own.

    Raises
    ------
    ValueError
        If an overlap names an image that is not in ``images``.
    """
    index = pd.Index(images)
    ends = [index.get_indexer(overlaps[column]) for column in ("image1", "image2")]
    for column, end in zip(("image1", "image2"), ends, strict=True):
        if (end < 0).any():
            missing = overlaps[column].to_numpy()[end < 0][0]
            raise ValueError(
                f"overlaps: {column} {missing!r} is not among images; pass every image of the table."
            )
    graph = coo_array((np.ones(len(overlaps), bool), tuple(ends)), shape=(len(index), len(index)))
    _, labels = connected_components(graph, directed=False)
    return pd.Series(pd.factorize(labels)[0], index=index, name="group")


def sample_pairs(pairs: pd.DataFrame, n_rows: int = 150_000, seed: int = 0) -> pd.DataFrame:
    """A random sample with as many duplicates as non-duplicates in every split.

    A split gets its share of ``n_rows`` by its share of the rows. Where one label has too few rows for its
    half, the other fills up.

    Returns
    -------
    pandas.DataFrame
        ``min(n_rows, len(pairs))`` rows in the order of ``pairs``.

    Raises
    ------
    ValueError
        If ``n_rows`` is below 1 or ``seed`` below 0.
    """
    _check_draw(n_rows, seed)
    if n_rows >= len(pairs):
        return pairs.reset_index(drop=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    shuffled = pd.DataFrame({"split": pairs["split"].to_numpy(), "label": pairs["is_duplicate"].to_numpy()})
    shuffled = shuffled.iloc[order]
    # Dealing the labels of a split in turn balances them for as long as both last.
    turn = shuffled.groupby(["split", "label"]).cumcount()
    place = turn.groupby(shuffled["split"]).rank(method="first")
    share = place / shuffled.groupby("split")["label"].transform("size")
    kept = share.sort_values(kind="stable").index[:n_rows]
    return pairs.iloc[np.sort(kept.to_numpy())].reset_index(drop=True)


def make_pairs(
    folder: str | os.PathLike[str],
    splits: pd.DataFrame,
    overlaps: pd.DataFrame,
    *,
    n_rows: int = 150_000,
    n_across_per_image: float = 9.0,
    tile_size: int = TILE_SIZE,
    seed: int = 0,
    workers: int | None = None,
) -> pd.DataFrame:
    """Make, mine and sample the pairs of a collection that is split.

    Parameters
    ----------
    folder
        Where the images are.
    splits
        ``image, group, split`` of those to use, all of one size: what :func:`dupnet.splits.split` gives, or
        ``splits.csv`` of ``dupnet split``. Images of the split ``buffer`` are left out.
    overlaps
        Every overlap among them, columns ``image1, image2``: ``overlaps.csv`` of ``find``, or known truth.
        None may cross the split.
    n_rows
        Size of the sample, see :func:`sample_pairs`.
    n_across_per_image
        See :func:`pairs_across_images`; 0 for the original's pairs alone.
    tile_size
        Side of a tile in pixels.
    seed
        Of the mining and the sample.
    workers
        Threads that read images; one for each core by default.

    Returns
    -------
    pandas.DataFrame
        :data:`PAIR_COLUMNS`.

    Raises
    ------
    ValueError
        If an overlap crosses the split, an image has none, ``n_rows`` is below 1 or ``seed`` below 0.
    """
    _check_draw(n_rows, seed)
    given = splits.set_index("image")
    if given["split"].isna().any():
        raise ValueError(
            f"splits: {given.index[given['split'].isna()][0]!r} has no split; run `dupnet split` again."
        )
    used = given[given["split"] != BUFFER]
    ends = [used["split"].reindex(overlaps[column]).to_numpy() for column in ("image1", "image2")]
    torn = pd.notna(ends[0]) & pd.notna(ends[1]) & (ends[0] != ends[1])
    if torn.any():
        first = overlaps[torn].iloc[0]
        raise ValueError(
            f"splits: {first['image1']} and {first['image2']} share ground and are in different splits "
            f"({ends[0][torn][0]} and {ends[1][torn][0]}); split with `dupnet split`."
        )
    signatures = tile_signatures(folder, list(used.index), tile_size=tile_size, workers=workers)
    within = pairs_within_images(signatures)
    across = pairs_across_images(signatures, used["group"], used["split"], n_across_per_image, seed)
    pairs = pd.concat([within, across], ignore_index=True)
    pairs["group"] = used["group"].reindex(pairs["image1"]).to_numpy()
    pairs["split"] = used["split"].reindex(pairs["image1"]).to_numpy()
    pairs["tile_size"] = tile_size
    return sample_pairs(pairs, n_rows, seed)


def tile_size_of(pairs: pd.DataFrame, tile_size: int | None = None) -> int:
    """Side in pixels of the tiles that a table of pairs counts in: its own, and without one ``tile_size``.

    Raises
    ------
    ValueError
        If the table has several, or another than ``tile_size``.
    """
    if "tile_size" not in pairs.columns or pairs.empty:
        return TILE_SIZE if tile_size is None else tile_size
    sizes = pd.unique(pairs["tile_size"])
    if len(sizes) > 1:
        raise ValueError(f"pairs: tile_size is {sizes[0]} and {sizes[1]}; make one table for each size.")
    known = int(sizes[0])
    if tile_size not in (None, known):
        raise ValueError(
            f"tile_size is {tile_size}, but the table is of tiles of {known} px; leave it out (--tile-size)."
        )
    return known


def _check_draw(n_rows: int, seed: int) -> None:
    if n_rows < 1:
        raise ValueError(f"n_rows is {n_rows}; it must be at least 1.")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be at least 0.")


def leaked_tiles(pairs: pd.DataFrame, overlaps: pd.DataFrame, grid: Grid = Grid()) -> tuple[int, int]:
    """Tiles of split ``test`` whose ground another split shows too, and the tiles of ``test`` in all.

    Parameters
    ----------
    pairs
        A pair table; only its tiles and ``split`` are used.
    overlaps
        Columns ``image1, image2, row_offset, col_offset``: which tiles of two images show the same ground.
    grid
        The tiles of an image.
    """
    tiles = pd.concat(
        [
            pairs[[f"image{side}", f"tile{side}", "split"]].set_axis(["image", "tile", "split"], axis=1)
            for side in (1, 2)
        ]
    )
    number = {image: place for place, image in enumerate(pd.unique(tiles["image"]))}
    row = tiles["image"].map(number).to_numpy() * grid.n_tiles + tiles["tile"].to_numpy()
    ends: list[tuple[int, int]] = []
    for one in overlaps[overlaps["image1"].isin(number) & overlaps["image2"].isin(number)].itertuples():
        shared = overlap_at(int(one.row_offset), int(one.col_offset), grid)
        starts = number[one.image1] * grid.n_tiles, number[one.image2] * grid.n_tiles
        ends += [
            (starts[0] + tile1, starts[1] + tile2)
            for tile1, tile2 in zip(shared.tiles1, shared.tiles2, strict=True)
        ]
    first, second = np.array(ends, np.int64).reshape(-1, 2).T
    size = len(number) * grid.n_tiles
    graph = coo_array((np.ones(len(ends), bool), (first, second)), shape=(size, size))
    _, ground = connected_components(graph)
    is_test = tiles["split"].to_numpy() == "test"
    tested = np.unique(row[is_test])
    return int(np.isin(ground[tested], ground[row[~is_test]]).sum()), len(tested)


def pair_files(path: str | os.PathLike[str], columns: Collection[str] = PAIR_COLUMNS) -> tuple[Path, Path]:
    """The files of a pair table: ``path``, less an ending ``.parquet`` or ``.csv``, with each of the two.

    Raises
    ------
    ValueError
        If ``path`` names no file, or one of the two is there and is no table of ``columns``.
    """
    stem = Path(path)
    if not stem.name:
        raise ValueError(f"{os.fspath(path)!r} names no file; give a name for the table of pairs.")
    if stem.suffix.lower() in (".csv", ".parquet"):
        stem = stem.with_suffix("")
    files = Path(f"{stem}.parquet"), Path(f"{stem}.csv")
    for file in files:
        check_replaceable(file, columns)
    return files


def save_pairs(pairs: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a pair table into its two files, see :func:`pair_files`; without pyarrow, the CSV alone.

    Raises
    ------
    ValueError
        As :func:`pair_files`.
    """
    parquet, csv = pair_files(path, pairs.columns)
    if writes_parquet():
        write_parquet(pairs, parquet)
    else:
        parquet.unlink(missing_ok=True)
    write_csv(pairs, csv)


def load_pairs(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a pair table, CSV or Parquet.

    Raises
    ------
    ValueError
        If the file is no such table, or a column is missing.
    OSError
        If it cannot be read.
    """
    pairs = read_parquet(path) if Path(path).suffix == ".parquet" else read_csv(path)
    missing = [column for column in PAIR_COLUMNS if column not in pairs.columns]
    if missing:
        raise ValueError(
            f"{os.fspath(path)}: lacks the column(s) {', '.join(missing)}; write it with `dupnet pairs`."
        )
    return pairs
