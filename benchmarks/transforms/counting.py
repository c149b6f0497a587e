"""What was found of changed images, held against the truth."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.transforms.sets import LEAST_CHANGED
from dupnet.images.transforms import MATRIX_COLUMNS, matrix_of, moved

__all__ = ["SHARES", "against_truth", "counts", "joined_versions", "recall_by_share"]

SHARES = (0, 0.02, 0.1, 0.25, 0.5, 1)
"""Bounds of the bins of the share of the smaller image that is common, each to the next."""

ASIDE = 3.0
"""Pixels of image 1 by which the told transform may miss the true one on the common ground."""

Row = dict[str, Any]


def against_truth(truth: pd.DataFrame, found: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Every pair of either table, with ``outcome`` and, where a transform is told, ``missed_by`` pixels.

    Pairs of one day whose transform is one that was searched are ``found``, ``altered``, laid ``aside`` by
    more than :data:`ASIDE`, or ``missed``; of two days of which enough differs ``other_day``,
    ``other_day_accepted`` or ``other_day_altered``. Whatever else was accepted is ``false``. Pairs with
    another transform, or of days that hardly differ, are ``beyond``.
    """
    told = set(MATRIX_COLUMNS) <= set(found)
    columns = ["image1", "image2", "verdict", *(MATRIX_COLUMNS if told else [])]
    renamed = {name: f"found_{name}" for name in MATRIX_COLUMNS}
    table = truth.merge(found[columns].rename(columns=renamed), on=["image1", "image2"], how="outer")
    accepted = table["verdict"].isin(["duplicate"])
    altered = table["verdict"] == "altered"
    known = table["share"].notna()
    missed = np.full(len(table), np.nan)
    if told:
        sizes = images.set_index("image")[["height", "width"]]
        for row in np.flatnonzero((accepted | altered) & known):
            missed[row] = _missed_by(table.iloc[row], sizes)
    aside = missed > ASIDE
    same = table["same_day"].eq(True)
    cases = {
        "false": ~known & (accepted | altered),
        "nothing": ~known,
        "beyond": same & ~table["inside"].eq(True),
        "aside": same & aside & (accepted | altered),
        "found": same & accepted,
        "altered": same & altered,
        "missed": same,
        "beyond ": table["changed"] < LEAST_CHANGED,
        "other_day_accepted": accepted,
        "other_day_altered": altered,
    }
    outcome = np.select(list(cases.values()), [name.strip() for name in cases], "other_day")
    return table.assign(outcome=outcome, missed_by=missed)


def _missed_by(row: pd.Series, sizes: pd.DataFrame) -> float:
    """How far the told transform misses the true one, on ground that both images show."""
    height, width = sizes.loc[row["image2"]]
    down, right = np.meshgrid(np.linspace(0, height - 1, 9), np.linspace(0, width - 1, 9), indexing="ij")
    points = np.column_stack([down.ravel(), right.ravel()])
    true = np.array([row[name] for name in MATRIX_COLUMNS], float).reshape(2, 3)
    told = matrix_of({name: row[f"found_{name}"] for name in MATRIX_COLUMNS})
    one, other = moved(true, points), moved(told, points)
    inside = ((one >= 0) & (one <= sizes.loc[row["image1"]].to_numpy() - 1)).all(axis=1)
    missed = np.linalg.norm(one - other, axis=1)
    return float(missed[inside].max() if inside.any() else missed.min())


def counts(table: pd.DataFrame) -> Row:
    """Pairs by outcome; ``recall`` of those to be found, altered ones among them."""
    number = table["outcome"].value_counts()
    names = (
        "found",
        "altered",
        "aside",
        "missed",
        "other_day",
        "other_day_accepted",
        "other_day_altered",
        "false",
    )
    row: Row = {name: int(number.get(name, 0)) for name in names}
    pairs = sum(row[name] for name in names[:4])
    row["other_day"] += row["other_day_accepted"] + row["other_day_altered"]
    missed_by = table.loc[table["outcome"] == "found", "missed_by"].dropna()
    return {
        "pairs": pairs,
        **row,
        "recall": round((row["found"] + row["altered"]) / pairs, 4) if pairs else np.nan,
        "missed_by_median_px": round(float(missed_by.median()), 3) if len(missed_by) else np.nan,
        "missed_by_worst_px": round(float(missed_by.max()), 3) if len(missed_by) else np.nan,
    }


def recall_by_share(table: pd.DataFrame) -> pd.DataFrame:
    """``low, high`` of the bin, ``pairs``, ``found``, ``altered``, ``recall``."""
    wanted = table[table["outcome"].isin(["found", "altered", "aside", "missed"])]
    rows: list[Row] = []
    for low, high in pairwise(SHARES):
        inside = wanted[(wanted["share"] >= low) & ((wanted["share"] < high) | (high == 1))]
        found, altered = (int((inside["outcome"] == name).sum()) for name in ("found", "altered"))
        recall = round((found + altered) / len(inside), 4) if len(inside) else np.nan
        rows.append(
            {"low": low, "high": high, "pairs": len(inside), "found": found, "altered": altered,
             "recall": recall}
        )  # fmt: skip
    return pd.DataFrame(rows)


def joined_versions(images: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """How many versions there are beside the first of each family, and how many of them accepted pairs join
    to it, through others or not."""
    group = {image: number for number, image in enumerate(images["image"])}
    for one, two in pairs:
        old, new = group[two], group[one]
        if old != new:
            group = {image: new if number == old else number for image, number in group.items()}
    versions = joined = 0
    for _, family in images[images["family"] >= 0].groupby("family"):
        first = family.loc[(family["height"] * family["width"]).idxmax(), "image"]
        others = [image for image in family["image"] if image != first]
        versions += len(others)
        joined += sum(group[image] == group[first] for image in others)
    return versions, joined
