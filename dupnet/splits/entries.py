"""The images of a split by their numbers in a collection, whatever form the split has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd

from dupnet.find.names import ImageNames
from dupnet.splits.lists import read_lists

__all__ = ["BUFFER", "Splits", "entries_of"]

BUFFER = "buffer"
"""The split of images that are in none, because they show ground of several: what `split --blocks` drops."""

Splits: TypeAlias = (
    pd.DataFrame | Mapping[str, str] | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
)
"""A split as people have it: a table ``image, split``, a mapping, or what
:func:`dupnet.splits.lists.read_lists` reads."""


def entries_of(splits: Splits, images: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images of a split by their numbers, and the names that fit none.

    Returns
    -------
    entries : DataFrame
        ``number`` (of the image among ``images``), ``split``, sorted, each once. An image that is listed in
        two splits has a row for each.
    unmatched : DataFrame
        ``name, split, reason``.

    Raises
    ------
    ValueError
        If no image is listed, a column is missing, an image has no split, or no name fits any image.
    OSError
        If a list cannot be read.
    """
    table = _as_table(splits, images)
    for column in ("image", "split"):
        if column not in table:
            raise ValueError(
                f"splits: there is no column {column!r}; it has {', '.join(map(str, table.columns))}."
            )
    if table.empty:
        raise ValueError("splits: there is no row; list each image and its split, as `dupnet split` does.")
    without = table["split"].isna() | (table["split"].astype(str) == "")
    if without.any():
        raise ValueError(
            f"splits: {without.sum()} images have no split, such as {table['image'][without].iloc[0]!r}; "
            "name it, or leave their rows out."
        )
    listed = pd.DataFrame(
        {"name": table["image"].astype(str), "split": table["split"].astype(str)}, dtype=object
    ).drop_duplicates()
    matched = listed.merge(ImageNames(images).match(listed["name"]), on="name")
    unmatched = matched[matched["image"] == ""]
    if len(unmatched) == len(matched):
        first = unmatched.iloc[0]
        raise ValueError(
            f"splits: none of {len(matched)} names fits an image of the collection, such as "
            f"{first['name']!r} ({first['reason']}); name the column of file names (--image-column), or "
            "search the folder that holds these images."
        )
    found = matched[matched["image"] != ""]
    entries = pd.DataFrame(
        {"number": pd.Index(list(images)).get_indexer(found["image"]), "split": found["split"].to_numpy()}
    )
    entries = entries.drop_duplicates().sort_values(["number", "split"], ignore_index=True)
    return entries, unmatched[["name", "split", "reason"]].reset_index(drop=True)


def _as_table(splits: Splits, images: Sequence[str]) -> pd.DataFrame:
    if isinstance(splits, pd.DataFrame):
        return splits
    if isinstance(splits, Mapping):
        return pd.DataFrame({"image": list(splits), "split": list(splits.values())}, dtype=object)
    some = [splits] if isinstance(splits, str | os.PathLike) else list(splits)
    return read_lists([os.fspath(path) for path in some], images).table
