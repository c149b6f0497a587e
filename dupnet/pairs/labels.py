"""A network judged by overlaps that a person labelled, with ``dupnet review`` or otherwise.

A table of labels has ``image1, image2, overlap_tag, is_duplicate`` (1 or 0). One patch that disagrees
vetoes, so an overlap scores the lowest of its tiles with evidence; one without such a tile is
``undecidable``, which is neither right nor wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable

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

__all__ = ["COLUMNS", "OUTCOMES", "judge_labels", "outcome_counts", "read_labels", "tile_pairs"]

COLUMNS = ("image1", "image2", "overlap_tag", "is_duplicate")
"""Columns of a table of labels; it may have more."""

OUTCOMES = ("right", "wrong", UNDECIDABLE)
"""What a verdict on a labelled overlap can be."""

BATCH = 64
"""Tile pairs in memory at once: 25 MB."""

Scores = npt.NDArray[np.float32]


def read_labels(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The labels in a CSV or Parquet file: ``image1, image2, overlap_tag`` (text) and ``is_duplicate`` (int).

    Raises
    ------
    ValueError
        If the file is no table, a column is missing, there is no row, a label is neither 1 nor 0, or one
        overlap has both labels.
    OSError
        If it cannot be read.
    """
    name = os.fspath(path)
    if name.endswith(".parquet"):
        table = read_parquet(path)
    else:
        # As text: a tag such as 08 is no number.
        table = read_csv(path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing or table.empty:
        fault = f"lacks {', '.join(missing)}" if missing else "has no rows"
        raise ValueError(f"{name} {fault}; labels are what `dupnet review --export` writes.")
    labels = table[list(COLUMNS)].copy()
    values = labels["is_duplicate"].astype(str)
    if not values.isin(["0", "1"]).all():
        odd = values[~values.isin(["0", "1"])].iloc[0]
        raise ValueError(f"{name}: is_duplicate is {odd!r} in a row; it must be 1 or 0.")
    labels["is_duplicate"] = values.astype(int)
    labels = labels.drop_duplicates(ignore_index=True)
    twice = labels[labels.duplicated(list(COLUMNS[:3]))]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(
            f"{name}: {row['image1']} and {row['image2']}, overlap {row['overlap_tag']}, are labelled both 1 "
            "and 0; keep one of the rows."
        )
    return labels


def tile_pairs(labels: pd.DataFrame, grid: Grid = Grid()) -> pd.DataFrame:
    """The tiles that the labelled overlaps share, one row a pair.

    Returns
    -------
    pandas.DataFrame
        ``overlap`` (row number in ``labels``), ``image1, tile1, image2, tile2, is_duplicate``.

    Raises
    ------
    ValueError
        If the grid has no such overlap tag.
    """
    overlaps = {tag: overlap_of_tag(tag, grid) for tag in labels["overlap_tag"].unique()}
    rows = []
    for number, row in enumerate(labels[list(COLUMNS)].itertuples(index=False)):
        overlap = overlaps[row.overlap_tag]
        for tile1, tile2 in zip(overlap.tiles1, overlap.tiles2, strict=True):
            rows.append((number, row.image1, tile1, row.image2, tile2, row.is_duplicate))
    return pd.DataFrame(rows, columns=["overlap", "image1", "tile1", "image2", "tile2", "is_duplicate"])


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
        Where the images are, all of one size.
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
        ``image1, image2, overlap_tag, is_duplicate, n_tiles, n_decidable, score`` (lowest of the decidable
        tiles, NaN if there is none), ``verdict, outcome`` (one of :data:`OUTCOMES`); rows as in ``labels``.

    Raises
    ------
    FileNotFoundError
        If an image is not in the folder.
    UnreadableImage
        If one cannot be read.
    ValueError
        As :func:`tile_pairs`.
    """
    check_present(pd.unique(labels[["image1", "image2"]].to_numpy().ravel()), folder)
    image, _ = load(os.path.join(folder, labels["image1"].iloc[0]), grey=False, tile_size=tile_size)
    pairs = tile_pairs(labels, Grid.of_image(image.shape[0], image.shape[1], tile_size))
    reader = PairReader(pairs, folder, tile_size=tile_size, workers=workers)
    judged = pd.concat([compare(batch.tiles1, batch.tiles2, weights) for batch in reader.batches(BATCH)])
    scores = judged["score"].to_numpy() if predict is None else predict(reader)
    is_decidable = judged["verdict"].to_numpy() != UNDECIDABLE
    by_overlap = pd.DataFrame(
        {"score": np.where(is_decidable, scores, np.nan), "is_decidable": is_decidable}
    ).groupby(pairs["overlap"].to_numpy())
    table = labels[list(COLUMNS)].reset_index(drop=True)
    table["n_tiles"] = by_overlap.size()
    table["n_decidable"] = by_overlap["is_decidable"].sum()
    table["score"] = by_overlap["score"].min()
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
