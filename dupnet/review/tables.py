"""Tables of pairs to judge, from files of several forms."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pandas as pd

from dupnet.files.atomic import read_any
from dupnet.images.transforms import MATRIX_COLUMNS
from dupnet.pairs.labels import pixel_offsets
from dupnet.tiles import Grid, Overlap, overlap_at, overlap_of_tag

__all__ = ["as_pairs", "read_table"]

KEY = ["image1", "image2", "y_offset", "x_offset"]


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The file as it is, text as text.

    Raises
    ------
    ValueError
        If the file is not a table, or lacks ``image1`` or ``image2``.
    OSError
        If it cannot be read.
    """
    # As objects: a tag such as 07 is no number. What is not UTF-8 is spelled out: pandas has no text for it.
    table = read_any(path, dtype=object, keep_default_na=False, encoding_errors="backslashreplace")
    if not {"image1", "image2"} <= set(table.columns):
        raise ValueError(
            f"{os.fspath(path)} lacks image1 or image2; it has {', '.join(map(str, table.columns))}."
        )
    return table


def as_pairs(table: pd.DataFrame, name: str, grid: Callable[[], Grid]) -> pd.DataFrame:
    """A table of pairs to judge in one form, rows of one overlap once; ``name`` is for messages.

    The table needs ``image1, image2`` and one of: ``y_offset, x_offset`` in pixels (what ``find`` writes,
    labels); ``overlap_tag`` (labels, truth); ``row_offset, col_offset``; or ``tile1, tile2`` (a table of tile
    pairs), which stand for the overlap that puts the two tiles onto each other. ``score`` and ``verdict`` are
    taken along where they are there. ``grid`` gives the tiles of one image, where tags or tiles are to be
    converted to pixels.

    Returns
    -------
    ``image1, image2, overlap_tag, y_offset, x_offset, score, verdict``; ``score`` NaN, tag and ``verdict``
    empty where unknown. Where the table has them, :data:`dupnet.images.transforms.MATRIX_COLUMNS`, too.

    Raises
    ------
    ValueError
        If a column is missing, or the grid has no such overlap.
    """
    columns = set(table.columns)
    tags = (
        table["overlap_tag"].fillna("").astype(str).tolist()
        if "overlap_tag" in columns
        else [""] * len(table)
    )
    has_offsets = {"y_offset", "x_offset"} <= columns
    nowhere = pd.Series("", index=table.index, dtype=object)
    y, x = (
        pixel_offsets(table[axis] if has_offsets else nowhere, name).array
        for axis in ("y_offset", "x_offset")
    )
    missing = np.flatnonzero(np.asarray(y.isna() | x.isna()))
    if len(missing):
        overlap = _on_grid(table, columns, name)
        tiles = grid()
        for row in missing.tolist():
            found = overlap(row, tiles)
            tags[row] = found.tag
            y[row], x[row] = found.row_offset * tiles.tile_size, found.col_offset * tiles.tile_size
    pairs = table[["image1", "image2"]].astype(object).reset_index(drop=True)
    pairs = pairs.assign(overlap_tag=pd.Series(tags, dtype=object), y_offset=y, x_offset=x)
    pairs = pairs.astype({"y_offset": np.int64, "x_offset": np.int64})
    score = pd.to_numeric(table["score"], errors="coerce").to_numpy(float) if "score" in columns else np.nan
    verdict = table["verdict"].astype(object).to_numpy() if "verdict" in columns else ""
    pairs = pairs.assign(score=score, verdict=verdict)
    if set(MATRIX_COLUMNS) <= columns:
        matrix = {
            name: pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in MATRIX_COLUMNS
        }
        pairs = pairs.assign(**matrix)
    return pairs.drop_duplicates(KEY).reset_index(drop=True)


def _on_grid(table: pd.DataFrame, columns: set[str], name: str) -> Callable[[int, Grid], Overlap]:
    """A function from the number of a row and the tiles of an image to the overlap that the row names."""
    if "overlap_tag" in columns:
        return lambda row, grid: overlap_of_tag(str(table["overlap_tag"].iloc[row]), grid)
    if {"row_offset", "col_offset"} <= columns:
        return lambda row, grid: overlap_at(
            int(table["row_offset"].iloc[row]), int(table["col_offset"].iloc[row]), grid
        )
    if {"tile1", "tile2"} <= columns:
        return lambda row, grid: _of_tiles(int(table["tile1"].iloc[row]), int(table["tile2"].iloc[row]), grid)
    raise ValueError(
        f"{name} lacks y_offset and x_offset (or overlap_tag, row_offset and col_offset, or tile1 and tile2)."
    )


def _of_tiles(tile1: int, tile2: int, grid: Grid) -> Overlap:
    (row1, col1), (row2, col2) = divmod(tile1, grid.cols), divmod(tile2, grid.cols)
    return overlap_at(row1 - row2, col1 - col2, grid)
