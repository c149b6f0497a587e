"""The labelled table of tile pairs: enumerate, filter, mine, sample, inside the parts of a split.

Labels come from two statements that hold without looking: a tile and its copy are duplicates, and two tiles
of one image are not, because they show different ground at one moment. Two tiles of images that share no
ground are not duplicates either; of those, the most alike are worth learning from.

The split comes first (:mod:`dupnet.splits`): images that share ground are in one part of it, and pairs are
made inside a part only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
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
from dupnet.files.workers import map_in_order, n_workers
from dupnet.hashes import block_mean_hash, hamming_distance, md5
from dupnet.images.reading import load
from dupnet.tiles import TILE_SIZE, Grid, is_decidable, is_solid, overlap_at, split_tiles

__all__ = [
    "MAX_NON_DUPLICATES",
    "PAIR_COLUMNS",
    "SPLITS",
    "TileSignatures",
    "leaked_tiles",
    "load_pairs",
    "make_pairs",
    "overlap_groups",
    "pair_files",
    "pairs_across_images",
    "pairs_within_images",
    "sample_pairs",
    "save_pairs",
    "tile_signatures",
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

SPLITS = ("train", "validation", "test")

BUFFER = "buffer"
"""Split of images that straddle blocks: they are in no pair."""

MAX_NON_DUPLICATES = 27
"""Non-duplicates kept of one image: with 9 duplicates, the original's 36 rows."""

SOLID_TOLERANCE = 4
"""Grey levels by which a solid tile may vary: what JPEG leaves of a constant block at quality 75 and more."""

POOL_SIZE = 20_000
"""Tiles of a split among which alike ones are sought: bounds the search at 20,000 x 20,000 hashes."""

NEAREST = 10
"""An alike tile is drawn among so many nearest, lest one tile that resembles everything fill the table."""

Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TileSignatures:
    """What pairing needs to know of each tile: row ``image * n_tiles + tile`` of every array."""

    images: tuple[str, ...]
    n_tiles: int
    solid: npt.NDArray[np.bool_]  # (n,)
    decidable: npt.NDArray[np.bool_]  # (n,)
    digest: npt.NDArray[np.str_]  # (n,) MD5 of the pixels
    hash: Bytes  # (n, 32) BlockMeanHash of the grey tile
    colour: Bytes  # (n, 12) mean RGB of the four quarters


def tile_signatures(
    folder: str | os.PathLike[str],
    images: Sequence[str],
    *,
    tile_size: int = TILE_SIZE,
    workers: int | None = None,
) -> TileSignatures:
    """Read images of one size and describe their tiles.

    Raises
    ------
    UnreadableImage
        If an image does not decode or is not a whole number of tiles.
    ValueError
        If ``images`` is empty or an image is of another size than the first.
    """
    if not images:
        raise ValueError("images is empty; name at least one image.")

    def describe(name: str) -> tuple[Grid, list[npt.NDArray[np.generic]]]:
        pixels, _ = load(Path(folder, name), grey=False, tile_size=tile_size)
        grid = Grid.of_image(pixels.shape[0], pixels.shape[1], tile_size)
        tiles = np.asarray(split_tiles(pixels, grid), np.uint8)
        grey = np.stack([np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), np.uint8) for tile in tiles])
        solid = np.array([is_solid(tile, SOLID_TOLERANCE) for tile in tiles])
        digest = np.array([md5(tile) for tile in tiles])
        quarters = tiles.reshape(len(tiles), 2, tile_size // 2, 2, tile_size // 2, 3).mean(axis=(2, 4))
        colour = np.rint(quarters).astype(np.uint8).reshape(len(tiles), 12)
        return grid, [solid, is_decidable(grey), digest, block_mean_hash(grey), colour]

    found = list(map_in_order(describe, images, n_workers(workers)))
    grid = found[0][0]
    for name, (other, _) in zip(images, found, strict=True):
        if other != grid:
            raise ValueError(
                f"{name}: {other.rows} x {other.cols} tiles, {images[0]} has {grid.rows} x {grid.cols}; "
                "make one pair table for each size."
            )
    columns = [np.concatenate(parts) for parts in zip(*(signature for _, signature in found), strict=True)]
    return TileSignatures(tuple(images), grid.n_tiles, *columns)


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


def pairs_within_images(
    signatures: TileSignatures, max_non_duplicates: int = MAX_NON_DUPLICATES
) -> pd.DataFrame:
    """The original's pairs: each tile with itself, and different tiles of one image.

    Nine tiles give 9 pairs (i, i) and 36 unordered pairs (i, j), 45 in all; the original's "at most 36,
    9 + 27" comes of keeping only the 27 pairs (i, j) most alike in BlockMeanHash.
    ``max_non_duplicates=36`` keeps them all. Solid tiles make no pair, and neither do two different tiles
    with equal pixels.

    Returns
    -------
    pandas.DataFrame
        :data:`PAIR_COLUMNS` up to ``is_decidable``.
    """
    first, second = np.array(list(_unordered(signatures.n_tiles))).T
    parts = []
    for image in range(len(signatures.images)):
        row1, row2 = image * signatures.n_tiles + first, image * signatures.n_tiles + second
        same = first == second
        equal = ~same & (signatures.digest[row1] == signatures.digest[row2])
        usable = ~signatures.solid[row1] & ~signatures.solid[row2] & ~equal
        distance = hamming_distance(signatures.hash[row1], signatures.hash[row2])
        candidates = np.flatnonzero(usable & ~same)
        kept = candidates[np.argsort(distance[candidates], kind="stable")[:max_non_duplicates]]
        chosen = np.concatenate([np.flatnonzero(usable & same), np.sort(kept)])
        parts.append(np.stack([row1[chosen], row2[chosen]], axis=1))
    rows = np.concatenate(parts)
    return _table(signatures, rows, np.full(len(rows), "within_image"))


def _unordered(n_tiles: int) -> Iterator[tuple[int, int]]:
    yield from ((tile, tile) for tile in range(n_tiles))
    yield from combinations(range(n_tiles), 2)


def pairs_across_images(
    signatures: TileSignatures, groups: pd.Series, splits: pd.Series, n_per_image: float = 9.0, seed: int = 0
) -> pd.DataFrame:
    """Non-duplicates that look alike: tiles of images of different groups, in one split.

    Half of them are alike in BlockMeanHash, half in colour. That they are no duplicates rests on ``groups``:
    images that share ground must be in one group. Tiles without texture are left out.

    Returns
    -------
    pandas.DataFrame
        :data:`PAIR_COLUMNS` up to ``is_decidable``; at most ``n_per_image`` times as many rows as images.
    """
    rng = np.random.default_rng(seed)
    names = np.repeat(np.array(signatures.images, dtype=object), signatures.n_tiles)
    group = groups.reindex(signatures.images).to_numpy().repeat(signatures.n_tiles)
    split = splits.reindex(signatures.images).to_numpy().repeat(signatures.n_tiles)
    parts, origins = [np.empty((0, 2), np.int64)], [np.empty(0, object)]
    others = sorted(set(splits) - {*SPLITS, BUFFER})
    for one in (*SPLITS, *others):
        pool = np.flatnonzero((split == one) & signatures.decidable & ~signatures.solid)
        pool = np.sort(rng.permutation(pool)[:POOL_SIZE])
        wanted = round(n_per_image * len(set(names[split == one])) / 2)
        for origin in ("alike_hash", "alike_colour") if len(pool) else ():
            queries = rng.choice(pool, size=wanted, replace=wanted > len(pool))
            for query in queries:
                distance = _distance(signatures, origin, query, pool)
                distance[group[pool] == group[query]] = np.inf
                nearest = np.argpartition(distance, min(NEAREST, len(pool) - 1))[:NEAREST]
                nearest = nearest[np.isfinite(distance[nearest])]
                if len(nearest):
                    parts.append(np.array([[query, pool[rng.choice(nearest)]]]))
                    origins.append(np.array([origin], dtype=object))
    rows, origin_of_row = np.sort(np.concatenate(parts), axis=1), np.concatenate(origins)
    _, once = np.unique(rows, axis=0, return_index=True)
    once = once[signatures.digest[rows[once, 0]] != signatures.digest[rows[once, 1]]]
    return _table(signatures, rows[once], origin_of_row[once])


def _distance(signatures: TileSignatures, origin: str, query: int, pool: Integers) -> npt.NDArray[np.float64]:
    if origin == "alike_hash":
        apart = hamming_distance(signatures.hash[query], signatures.hash[pool])
    else:
        apart = np.abs(signatures.colour[pool].astype(np.int64) - signatures.colour[query]).sum(axis=1)
    return np.asarray(apart, np.float64)


def _table(signatures: TileSignatures, rows: Integers, origins: npt.NDArray[np.generic]) -> pd.DataFrame:
    row1, row2 = rows[:, 0], rows[:, 1]
    names = np.array(signatures.images, dtype=object)
    return pd.DataFrame(
        {
            "image1": names[row1 // signatures.n_tiles],
            "tile1": row1 % signatures.n_tiles,
            "image2": names[row2 // signatures.n_tiles],
            "tile2": row2 % signatures.n_tiles,
            "is_duplicate": (row1 == row2).astype(np.int64),
            "origin": origins.astype(str),
            "block_mean_distance": hamming_distance(signatures.hash[row1], signatures.hash[row2]),
            "is_decidable": (signatures.decidable[row1] & signatures.decidable[row2]).astype(np.int64),
        }
    )


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
