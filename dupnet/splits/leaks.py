"""The audit of a split: which images, tiles and pixels of one split another split shows too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.tiles import Grid, overlap_at

__all__ = ["Audit", "audit"]

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

COUNTS = ["images", "leaked_images", "tiles", "leaked_tiles", "leaked_pixels"]


class Audit(NamedTuple):
    """What a split leaks.

    ``splits``: ``split, images, leaked_images, tiles, leaked_tiles, leaked_pixels``, one row a split.
    ``groups``: ``group, images, splits, leaked_images, tiles, leaked_tiles, leaked_pixels``, the groups that
    leak, most tiles first. ``examples``: ``group, image1, split1, image2, split2, row_offset, col_offset,
    n_tiles``, for each of the worst groups the pair of images that shares most. ``unassigned``: images of the
    collection that are in no split.
    """

    splits: pd.DataFrame
    groups: pd.DataFrame
    examples: pd.DataFrame
    unassigned: int

    @property
    def leaks(self) -> bool:
        """Whether there is any."""
        return bool(self.splits["leaked_tiles"].any())


def audit(
    splits: pd.DataFrame,
    overlaps: pd.DataFrame,
    groups: pd.DataFrame,
    grid: Grid = Grid(),
    n_examples: int = 10,
) -> Audit:
    """Count what a split leaks.

    A tile leaks if a tile of another split shows the same ground at the same moment: because their images
    overlap as duplicates, or because their places in one group coincide.

    Parameters
    ----------
    splits : DataFrame
        ``image, split``, and whatever else; any split of the collection, or of a part of it.
    overlaps, groups : DataFrame
        The tables that ``find`` wrote.
    grid : Grid
        The tiles of one image.
    n_examples : int
        Pairs of images to list.

    Raises
    ------
    ValueError
        If no image is listed, a column is missing, or an image is listed twice, has no split, or is not
        among the images of the groups.
    """
    groups = groups.assign(group=groups["mosaic"])
    placed = _placed(splits, groups)
    _, code = np.unique(placed["split"].to_numpy(), return_inverse=True)
    leaked = _shown_twice(placed, code, grid)
    across = _across(overlaps, placed, code)
    for offset, pairs in across.groupby(["row_offset", "col_offset"]):
        shared = overlap_at(int(offset[0]), int(offset[1]), grid)
        leaked[np.ix_(pairs["number1"], shared.tiles1)] = True
        leaked[np.ix_(pairs["number2"], shared.tiles2)] = True

    n_leaked = leaked.sum(axis=1)
    counted = placed.assign(
        images=1,
        leaked_images=(n_leaked > 0).astype(np.int64),
        tiles=grid.n_tiles,
        leaked_tiles=n_leaked,
        leaked_pixels=n_leaked * grid.tile_size**2,
    )
    by_split = counted.groupby("split")[COUNTS].sum().reset_index()
    by_group = counted.groupby("group")[COUNTS].sum().reset_index()
    by_group = by_group[by_group["leaked_tiles"] > 0].sort_values(
        ["leaked_tiles", "group"], ascending=[False, True], ignore_index=True
    )
    sizes = counted.groupby(["group", "split"]).size().reset_index(name="size")
    words = sizes["split"] + " " + sizes["size"].astype(str)
    by_group.insert(2, "splits", by_group["group"].map(words.groupby(sizes["group"]).agg(", ".join)))
    worst = by_group["group"].head(n_examples)
    return Audit(by_split, by_group, _examples(across, placed, code, worst, grid), len(groups) - len(placed))


def _placed(splits: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """The images that are in a split, with their places, sorted."""
    for column in ("image", "split"):
        if column not in splits:
            raise ValueError(
                f"splits: there is no column {column!r}; it has {', '.join(map(str, splits.columns))}."
            )
    if splits.empty:
        raise ValueError("splits: there is no row; list each image and its split, as `dupnet split` does.")
    without = splits["split"].isna() | (splits["split"].astype(str) == "")
    if without.any():
        raise ValueError(
            f"splits: {without.sum()} images have no split, such as {splits['image'][without].iloc[0]!r}; "
            "name it, or leave their rows out."
        )
    repeated = splits["image"].duplicated()
    if repeated.any():
        raise ValueError(f"splits: image {splits['image'][repeated].iloc[0]!r} is listed more than once.")
    unknown = splits["image"][~splits["image"].isin(groups["image"])]
    if len(unknown):
        raise ValueError(
            f"splits: {len(unknown)} images are not in the groups table, such as {unknown.iloc[0]!r}; run "
            "find on a folder that holds them all (unreadable.csv lists those that it left out)."
        )
    named = splits[["image"]].assign(split=splits["split"].astype(str).astype(object))
    placed = groups[["image", "group", "row", "col"]].merge(named, on="image")
    return placed.sort_values("image", ignore_index=True)


def _shown_twice(placed: pd.DataFrame, code: Integers, grid: Grid) -> Booleans:
    """Which tiles (n, grid.n_tiles) lie on ground of their group that images of two splits show."""
    tile_row, tile_col = np.divmod(np.arange(grid.n_tiles), grid.cols)
    ground = np.stack(
        [
            np.broadcast_to(placed["group"].to_numpy()[:, None], (len(placed), grid.n_tiles)),
            placed["row"].to_numpy()[:, None] + tile_row,
            placed["col"].to_numpy()[:, None] + tile_col,
        ]
    ).reshape(3, -1)
    extent = ground.max(axis=1, initial=0) + 1
    square = np.unique(np.ravel_multi_index(tuple(ground), tuple(extent)), return_inverse=True)[1].ravel()
    split_of_tile = np.repeat(code, grid.n_tiles)
    first = np.full(len(square), len(code))
    last = np.full(len(square), -1)
    np.minimum.at(first, square, split_of_tile)
    np.maximum.at(last, square, split_of_tile)
    return np.asarray((first != last)[square].reshape(len(placed), grid.n_tiles))


def _across(overlaps: pd.DataFrame, placed: pd.DataFrame, code: Integers) -> pd.DataFrame:
    """The duplicate overlaps of images of different splits, with the images' numbers."""
    index = pd.Index(placed["image"])
    found = overlaps.loc[overlaps["verdict"] == "duplicate", ["image1", "image2", "row_offset", "col_offset"]]
    found = found.assign(
        number1=index.get_indexer(found["image1"]), number2=index.get_indexer(found["image2"])
    )
    found = found[(found["number1"] >= 0) & (found["number2"] >= 0)]
    return found[code[found["number1"]] != code[found["number2"]]]


def _examples(
    across: pd.DataFrame, placed: pd.DataFrame, code: Integers, worst: pd.Series, grid: Grid
) -> pd.DataFrame:
    """For each of the groups ``worst`` the pair of images that shares most tiles across splits."""
    columns = ["group", "image1", "split1", "image2", "split2", "row_offset", "col_offset", "n_tiles"]
    members = np.flatnonzero(placed["group"].isin(worst))
    some = placed.iloc[members]
    first, second, row_offset, col_offset = neighbours(some["group"], some["row"], some["col"], grid)
    implied = {
        "number1": members[first],
        "number2": members[second],
        "row_offset": row_offset,
        "col_offset": col_offset,
    }
    pairs = pd.concat([pd.DataFrame(implied), across[list(implied)]]).drop_duplicates()
    pairs = pairs[code[pairs["number1"]] != code[pairs["number2"]]]
    pairs = pairs.assign(
        n_tiles=(grid.rows - pairs["row_offset"].abs()) * (grid.cols - pairs["col_offset"].abs()),
        group=placed["group"].to_numpy()[pairs["number1"]],
    )
    pairs = pairs.sort_values(["n_tiles", "number1", "number2"], ascending=[False, True, True], kind="stable")
    pairs = pairs.drop_duplicates("group").set_index("group").reindex(worst).dropna(how="all").reset_index()
    for end in ("1", "2"):
        number = pairs["number" + end].to_numpy(dtype=np.int64)
        pairs["image" + end] = placed["image"].to_numpy()[number]
        pairs["split" + end] = placed["split"].to_numpy()[number]
    return pairs[columns].astype({"row_offset": np.int64, "col_offset": np.int64, "n_tiles": np.int64})


def neighbours(
    group: npt.ArrayLike, row: npt.ArrayLike, col: npt.ArrayLike, grid: Grid = Grid()
) -> tuple[Integers, Integers, Integers, Integers]:
    """All pairs of images of one group whose positions make them share a tile.

    Parameters
    ----------
    group, row, col : (n,) non-negative integers
        Group of each image, and the place of its upper left tile in the group.
    grid : Grid
        The tiles of one image.

    Returns
    -------
    first, second, row_offset, col_offset : (m,) int64
        Numbers of the two images, first < second, in ascending order; the second's place less the first's.

    Raises
    ------
    ValueError
        If a number is negative.
    """
    groups, rows, cols = (np.asarray(values, dtype=np.int64) for values in (group, row, col))
    if min(groups.min(initial=0), rows.min(initial=0), cols.min(initial=0)) < 0:
        raise ValueError("group, row and col must not be negative; groups.place gives them so.")
    # One integer a place, so wide that what lies past the end of a row or a group is no other's place.
    width = int(cols.max(initial=0)) + 2 * grid.cols
    height = int(rows.max(initial=0)) + grid.rows
    place = (groups * height + rows) * width + cols + grid.cols
    order = np.argsort(place, kind="stable")
    place = place[order]
    found: list[npt.NDArray[np.int64]] = []
    for row_offset in range(grid.rows):
        for col_offset in range(1 - grid.cols if row_offset else 0, grid.cols):
            wanted = place + row_offset * width + col_offset
            left = np.searchsorted(place, wanted, side="left")
            if row_offset == col_offset == 0:
                left = np.arange(1, len(place) + 1)
            count = np.searchsorted(place, wanted, side="right") - left
            first = np.repeat(np.arange(len(place)), count)
            within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
            one, other = order[first], order[np.repeat(left, count) + within]
            sign = np.where(one < other, 1, -1)
            found.append(
                np.stack(
                    [np.minimum(one, other), np.maximum(one, other), sign * row_offset, sign * col_offset]
                )
            )
    pairs = np.concatenate(found, axis=1)
    first, second, down, right = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    return first, second, down, right
