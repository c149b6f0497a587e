"""Tables of pairs to judge, from files of several forms."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from dupnet.files.atomic import read_any
from dupnet.tiles import Grid, overlap_at

__all__ = ["as_pairs", "read_table"]


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The file as it is, text as text.

    Raises
    ------
    ValueError
        If the file is not a table, or lacks ``image1`` or ``image2``.
    OSError
        If it cannot be read.
    """
    # As objects: a tag such as 07 is no number, and a name need not be UTF-8.
    table = read_any(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    if not {"image1", "image2"} <= set(table.columns):
        raise ValueError(
            f"{os.fspath(path)} lacks image1 or image2; it has {', '.join(map(str, table.columns))}."
        )
    return table


def as_pairs(table: pd.DataFrame, name: str, grid: Grid) -> pd.DataFrame:
    """A table of pairs to judge in one form, rows of one overlap once; ``name`` is for messages.

    The table needs ``image1, image2`` and one of: ``overlap_tag`` (what ``find`` writes, labels, truth);
    ``row_offset, col_offset``; or ``tile1, tile2`` (a table of tile pairs), which stand for the overlap that
    puts the two tiles onto each other. ``score`` and ``verdict`` are taken along where they are there.

    Returns
    -------
    ``image1, image2, overlap_tag, score, verdict``; ``score`` NaN and ``verdict`` empty where unknown.

    Raises
    ------
    ValueError
        If a column is missing, or the grid has no such overlap.
    """
    columns = set(table.columns)
    if "overlap_tag" in columns:
        tags = [str(tag) for tag in table["overlap_tag"]]
    elif {"row_offset", "col_offset"} <= columns:
        offsets = zip(table["row_offset"].astype(int), table["col_offset"].astype(int), strict=True)
        tags = [overlap_at(row, col, grid).tag for row, col in offsets]
    elif {"tile1", "tile2"} <= columns:
        tiles = zip(table["tile1"].astype(int), table["tile2"].astype(int), strict=True)
        tags = [_tag_of_tiles(one, two, grid) for one, two in tiles]
    else:
        raise ValueError(f"{name} lacks overlap_tag (or row_offset and col_offset, or tile1 and tile2).")
    pairs = table[["image1", "image2"]].astype(object)
    pairs["overlap_tag"] = tags
    pairs["score"] = (
        pd.to_numeric(table["score"], errors="coerce").astype(float) if "score" in columns else np.nan
    )
    pairs["verdict"] = table["verdict"].astype(object) if "verdict" in columns else ""
    return pairs.drop_duplicates(["image1", "image2", "overlap_tag"]).reset_index(drop=True)


def _tag_of_tiles(tile1: int, tile2: int, grid: Grid) -> str:
    (row1, col1), (row2, col2) = divmod(tile1, grid.cols), divmod(tile2, grid.cols)
    return overlap_at(row1 - row2, col1 - col2, grid).tag
