"""A network judged by overlaps that a person labelled, with ``dupnet review`` or otherwise.

A table of labels has ``image1, image2, is_duplicate`` (1 or 0) and where the overlap lies: ``y_offset,
x_offset``, in pixels of image 2's origin in image 1's frame, or ``overlap_tag``. One patch that disagrees
vetoes, so an overlap scores the lowest of its tiles with evidence; one without such a tile is
``undecidable``, which is neither right nor wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.files.atomic import read_csv, read_parquet
from dupnet.images.listing import check_present
from dupnet.images.reading import load
from dupnet.network.comparison import DUPLICATE, NOT_DUPLICATE, UNDECIDABLE, compare
from dupnet.network.descriptors import Weights
from dupnet.pairs.reader import PairReader
from dupnet.tiles import TILE_SIZE, Grid, overlap_of_tag

__all__ = [
    "COLUMNS",
    "OUTCOMES",
    "judge_labels",
    "outcome_counts",
    "pixel_offsets",
    "read_labels",
    "tile_pairs",
]

COLUMNS = ("image1", "image2", "overlap_tag", "y_offset", "x_offset", "is_duplicate")
"""Columns of a table of labels; it may have more, and needs the tag or the offset alone."""

OUTCOMES = ("right", "wrong", UNDECIDABLE)
"""What a verdict on a labelled overlap can be."""

BATCH = 64
"""Tile pairs in memory at once: 25 MB."""

Scores = npt.NDArray[np.float32]


def read_labels(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The labels in a CSV or Parquet file: :data:`COLUMNS`, tag empty and offset missing where unknown.

    Raises
    ------
    ValueError
        If the file is no table, a column is missing, there is no row, a label is neither 1 nor 0, an offset
        is no whole number, or one overlap has both labels.
    OSError
        If it cannot be read.
    """
    name = os.fspath(path)
    if name.endswith(".parquet"):
        table = read_parquet(path)
    else:
        # As text: a tag such as 08 is no number. What is not UTF-8 is spelled out: pandas has no text for it.
        table = read_csv(path, dtype=str, keep_default_na=False, encoding_errors="backslashreplace")
    missing = [column for column in ("image1", "image2", "is_duplicate") if column not in table.columns]
    if "overlap_tag" not in table.columns and not {"y_offset", "x_offset"} <= set(table.columns):
        missing.append("overlap_tag (or y_offset and x_offset)")
    if missing or table.empty:
        fault = f"lacks {', '.join(missing)}" if missing else "has no rows"
        raise ValueError(f"{name} {fault}; labels are what `dupnet review --export` writes.")
    labels = table.reindex(columns=list(COLUMNS))
    labels["overlap_tag"] = labels["overlap_tag"].astype(object).fillna("").astype(str)
    for column in ("y_offset", "x_offset"):
        labels[column] = pixel_offsets(labels[column], name)
    nowhere = (labels["overlap_tag"] == "") & labels[["y_offset", "x_offset"]].isna().any(axis=1)
    if nowhere.any():
        row = labels[nowhere].iloc[0]
        raise ValueError(
            f"{name}: {row['image1']} and {row['image2']} have neither overlap_tag nor y_offset and "
            "x_offset; give one."
        )
    values = labels["is_duplicate"].astype(str)
    if not values.isin(["0", "1"]).all():
        odd = values[~values.isin(["0", "1"])].iloc[0]
        raise ValueError(f"{name}: is_duplicate is {odd!r} in a row; it must be 1 or 0.")
    labels["is_duplicate"] = values.astype(int)
    labels = labels.drop_duplicates(ignore_index=True)
    twice = labels[labels.duplicated(list(COLUMNS[:5]))]
    if len(twice):
        row = twice.iloc[0]
        where = row["overlap_tag"] or f"at ({row['y_offset']}, {row['x_offset']})"
        raise ValueError(
            f"{name}: {row['image1']} and {row['image2']}, overlap {where}, are labelled both 1 and 0; keep "
            "one of the rows."
        )
    return labels


def pixel_offsets(column: pd.Series, name: str) -> pd.Series:
    """A column of offsets, text or numbers, as Int64, missing where it is empty; ``name`` is for messages.

    Raises
    ------
    ValueError
        If one is no whole number.
    """
    text = column.astype(str)
    is_blank = column.isna() | text.isin(["", "<NA>"])
    found = pd.to_numeric(text.where(~is_blank, "nan"), errors="coerce").astype(float)
    odd = ~is_blank & (found.isna() | (found % 1 != 0) | (found.abs() > 2**31))
    if odd.any():
        raise ValueError(
            f"{name}: {column.name} is {text[odd].iloc[0]!r} in a row; it must be a whole number of pixels."
        )
    return found.astype("Int64")


def tile_pairs(
    labels: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], tile_size: int = TILE_SIZE
) -> pd.DataFrame:
    """The tiles that the labelled overlaps share, one row a pair: the fewest that cover an overlap, spread
    evenly; on a grid its tiles. An overlap narrower than a tile has none.

    Parameters
    ----------
    labels
        As :func:`read_labels` gives it.
    sizes
        Height and width of each image.
    tile_size
        Side of a tile, in pixels.

    Returns
    -------
    pandas.DataFrame
        ``overlap`` (row number in ``labels``), ``image1, y1, x1, image2, y2, x2`` (where the tile begins in
        either image), ``is_duplicate``.

    Raises
    ------
    ValueError
        If the grid of the images has no such overlap tag, or images share nothing where they should.
    """
    rows = []
    for number, row in enumerate(labels.reindex(columns=list(COLUMNS)).itertuples(index=False)):
        one, two = sizes[row.image1], sizes[row.image2]
        if pd.isna(row.y_offset) or pd.isna(row.x_offset):
            grid = Grid.of_image(*one, tile_size)
            overlap = overlap_of_tag(row.overlap_tag, grid)
            y, x = overlap.row_offset * tile_size, overlap.col_offset * tile_size
        else:
            y, x = int(row.y_offset), int(row.x_offset)
        height, width = (
            min(one[axis], offset + two[axis]) - max(0, offset) for axis, offset in enumerate((y, x))
        )
        if height <= 0 or width <= 0:
            raise ValueError(f"{row.image1} and {row.image2} share nothing at offset ({y}, {x}).")
        for top, left in product(_spread(height, tile_size), _spread(width, tile_size)):
            at1 = max(0, y) + top, max(0, x) + left
            rows.append((number, row.image1, *at1, row.image2, at1[0] - y, at1[1] - x, row.is_duplicate))
    columns = ["overlap", "image1", "y1", "x1", "image2", "y2", "x2", "is_duplicate"]
    return pd.DataFrame(rows, columns=columns)


def _spread(length: int, tile_size: int) -> list[int]:
    """Where the fewest tiles begin that cover a length from end to end; none where it is shorter than one."""
    if length < tile_size:
        return []
    starts = np.rint(np.linspace(0, length - tile_size, -(-length // tile_size)))
    return [int(start) for start in starts]


def judge_labels(
    labels: pd.DataFrame,
    folder: str | os.PathLike[str],
    threshold: float,
    predict: Callable[[PairReader], Scores] | None = None,
    *,
    weights: Weights | None = None,
    tile_size: int = TILE_SIZE,
    workers: int | None = None,
) -> pd.DataFrame:
    """What a network says of each labelled overlap, and whether that is right.

    Parameters
    ----------
    labels
        As :func:`read_labels` gives it.
    folder
        Where the images are.
    threshold
        An overlap whose lowest score reaches it is a duplicate.
    predict
        Scores (n,) of the pairs of a reader, in order; by default those of ``weights``. Whether a tile
        carries evidence is a matter of its pixels, not of the network.
    weights
        The network that scores without ``predict``; the shipped one by default.
    tile_size, workers
        Side of a tile in pixels, and threads that read.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`, ``n_tiles, n_decidable, score`` (lowest of the decidable tiles, NaN if there is
        none), ``verdict, outcome`` (one of :data:`OUTCOMES`); rows as in ``labels``.

    Raises
    ------
    FileNotFoundError
        If an image is not in the folder.
    UnreadableImage
        If one cannot be read.
    ValueError
        As :func:`tile_pairs`.
    """
    images = pd.unique(labels[["image1", "image2"]].to_numpy().ravel())
    check_present(images, folder)
    sizes = {image: load(os.path.join(folder, image), grey=True)[0].shape[:2] for image in images}
    pairs = tile_pairs(labels, sizes, tile_size)
    table = labels.reindex(columns=list(COLUMNS)).reset_index(drop=True)
    by_overlap = pd.DataFrame({"score": np.zeros(0), "is_decidable": np.zeros(0, bool)})
    if len(pairs):
        reader = PairReader(pairs, folder, tile_size=tile_size, workers=workers)
        judged = pd.concat([compare(batch.tiles1, batch.tiles2, weights) for batch in reader.batches(BATCH)])
        scores = judged["score"].to_numpy() if predict is None else predict(reader)
        is_decidable = judged["verdict"].to_numpy() != UNDECIDABLE
        by_overlap = pd.DataFrame(
            {"score": np.where(is_decidable, scores, np.nan), "is_decidable": is_decidable}
        )
    grouped = by_overlap.groupby(pairs["overlap"].to_numpy(np.int64))
    table["n_tiles"] = grouped.size().reindex(table.index, fill_value=0)
    table["n_decidable"] = grouped["is_decidable"].sum().reindex(table.index, fill_value=0)
    table["score"] = grouped["score"].min().reindex(table.index)
    verdict = np.where(table["score"] >= threshold, DUPLICATE, NOT_DUPLICATE)
    table["verdict"] = np.where(table["n_decidable"] > 0, verdict, UNDECIDABLE)
    is_right = (table["verdict"] == DUPLICATE) == (table["is_duplicate"] == 1)
    table["outcome"] = np.where(
        table["verdict"] == UNDECIDABLE, UNDECIDABLE, np.where(is_right, "right", "wrong")
    )
    return table


def outcome_counts(judged: pd.DataFrame) -> pd.DataFrame:
    """Labels by outcome, from what :func:`judge_labels` gives.

    Returns
    -------
    pandas.DataFrame
        ``label`` (``duplicate, not_duplicate, all``), ``n, right, wrong, undecidable``.
    """
    counts = pd.crosstab(judged["is_duplicate"], judged["outcome"])
    counts = counts.reindex(index=[1, 0], columns=list(OUTCOMES), fill_value=0)
    counts.index = pd.Index([DUPLICATE, NOT_DUPLICATE], name="label")
    counts.loc["all"] = counts.sum()
    counts.insert(0, "n", counts.sum(axis=1))
    return counts.reset_index().rename_axis(columns=None)
