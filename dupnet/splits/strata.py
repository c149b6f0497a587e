"""Strata: a label or number of each image, whose shares are to be alike in all splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dupnet.find.names import ImageNames
from dupnet.splits.readers import check_column, image_column, read_text_table

__all__ = ["read_strata", "strata_of"]

MAX_STRATA = 10
"""A numeric column of more distinct values than this is stratified by its deciles."""


def read_strata(path: str | os.PathLike[str], images: Sequence[str], column: str | None = None) -> pd.Series:
    """A column of a table as strata: one value an image, indexed by image.

    The images are in the column ``image``, or else in the one whose names fit (``ImageId`` in the Airbus
    files); names may have other folders before them, or no ending. The strata are in ``column``, or else in
    the first of the others. If any image has several rows (one a ship), the value of each image is the number
    of its rows in which the column is not empty. ``NA`` is a label like any other; only an empty cell is
    none.

    Raises
    ------
    ValueError
        If the file is no table, there is no such column, or an image has no row.
    OSError
        If the file cannot be read.
    """
    name = os.fspath(path)
    table, known = read_text_table(name), ImageNames(images)
    key = "image" if "image" in table else image_column(table, known, name)
    others = [str(other) for other in table if other != key]
    if column is None and others:
        column = others[0]
    if column not in others:
        raise ValueError(f"column is {column!r}; {name} has, beside {key!r}: {others}.")
    check_column(table, column, name, "--column")
    matched = known.match(table[key]).set_index("name")["image"]
    values = table[column].set_axis(table[key].map(matched).to_numpy())
    values = values[values.index != ""]
    is_given = values != ""
    if values.index.has_duplicates:
        values = is_given.groupby(level=0).sum()
    else:
        numbers = pd.to_numeric(values[is_given], errors="coerce")
        values = numbers if numbers.notna().all() and len(numbers) else values[is_given].astype(object)
    missing = pd.Index(images).difference(values.index)
    if len(missing):
        raise ValueError(f"{name} has no row for {len(missing)} images, such as {missing[0]!r}.")
    return values.reindex(list(images)).rename(column)


def strata_of(images: Sequence[str], strata: Mapping[str, object] | pd.Series) -> pd.Categorical:
    """The stratum of each image by name: its label, or the lowest and highest number of its decile.

    Parameters
    ----------
    images : sequence of str
        Names of n images.
    strata : mapping or Series
        A label or number for each image, see :func:`split`.

    Returns
    -------
    Categorical
        n values, such as ``harbour`` or ``0 to 3``; numbers are in ascending order.

    Raises
    ------
    ValueError
        If an image has no stratum.
    """
    values = pd.Series(dict(strata), dtype=object).reindex(list(images)).infer_objects()
    if values.isna().any():
        raise ValueError(f"strata: image {values.index[values.isna()][0]!r} has no value.")
    if not pd.api.types.is_numeric_dtype(values):
        return pd.Categorical(values.astype(str))
    if values.nunique() <= MAX_STRATA:
        return pd.Categorical(values)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, MAX_STRATA + 1)))
    decile = np.searchsorted(edges[1:-1], np.asarray(values, dtype=np.float64), side="left")
    ends = values.groupby(decile).agg(["min", "max"])
    names = [f"{low} to {high}" if low < high else str(low) for low, high in ends.to_numpy()]
    return pd.Categorical.from_codes(np.searchsorted(ends.index, decile), names)
