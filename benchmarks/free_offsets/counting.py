"""What was found, held against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.images.reading import read_grey
from dupnet.tiles import CELL_SIZE, EVIDENCE_RMS, MIN_EVIDENCE_CELLS, cell_texture

PAIR = ["image1", "image2"]
OFFSET = ["y_offset", "x_offset"]

LEAST = CELL_SIZE
"""Narrow side in pixels of the regions that count."""

LEAST_CHANGED = 0.15
"""Share of a region that must differ for it to show another day; where less does, it may be no more than the
faint rim of a change in a corner."""

MOST_SOLID = 0.25
"""Share of a cell that may be solid: the edge of a solid area is no evidence."""

_NEXT = np.ones((3, 3), np.uint8)

SHARES = (0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
"""Bounds of the bins of the share of the smaller image that is common, each to the next."""

NARROW = (32, 64, 96, 128, 192, 256, 4096)
"""Bounds of the bins of the narrow side in pixels."""

OUTCOMES = [
    *("found", "wrong_offset", "altered", "undecided", "missed", "blank"),
    *("other_day", "other_day_accepted", "other_day_altered", "slightly_changed"),
    *("slightly_changed_accepted", "unchanged", "false", "false_altered"),
]
"""What may come of a pair, see :func:`against_truth`."""


def with_evidence(truth: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The truth with ``share`` (of the smaller image), ``narrow`` (pixels), and whether it is ``decidable``.

    A region is decidable if two cells of 32 px, or its only one, have texture in both images, each solid
    over no more than a share of :data:`MOST_SOLID`.
    """
    names = pd.unique(truth[PAIR].to_numpy().ravel())
    grey = {name: read_grey(folder / name) for name in names}
    area = {name: image.size for name, image in grey.items()}
    smaller = np.minimum(truth["image1"].map(area), truth["image2"].map(area)).to_numpy(float)
    narrow = truth[["height", "width"]].min(axis=1)
    decidable = [
        row.height >= LEAST and row.width >= LEAST and _shows(grey[row.image1], grey[row.image2], row)
        for row in truth.itertuples(index=False)
    ]
    return truth.assign(
        share=(truth["height"] * truth["width"] / smaller).round(5), narrow=narrow, decidable=decidable
    )


def _shows(one: npt.NDArray[np.uint8], two: npt.NDArray[np.uint8], row: Any) -> bool:
    rows, cols = row.height // CELL_SIZE, row.width // CELL_SIZE
    textured = np.ones(rows * cols, bool)
    for image, y, x in ((one, max(row.y_offset, 0), max(row.x_offset, 0)),
                        (two, max(-row.y_offset, 0), max(-row.x_offset, 0))):  # fmt: skip
        region = image[y : y + rows * CELL_SIZE, x : x + cols * CELL_SIZE]
        flat = (cv2.dilate(region, _NEXT) == cv2.erode(region, _NEXT)).astype(np.uint8)
        textured &= cell_texture(_cells(region))[:, 0, 0] >= EVIDENCE_RMS
        textured &= _cells(flat).mean(axis=(1, 2)) <= MOST_SOLID
    return bool(textured.sum() >= min(MIN_EVIDENCE_CELLS, rows * cols))


def _cells(region: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The cells of a region of whole ones, row by row: (n, 32, 32)."""
    rows, cols = region.shape[0] // CELL_SIZE, region.shape[1] // CELL_SIZE
    cells = region.reshape(rows, CELL_SIZE, cols, CELL_SIZE).swapaxes(1, 2)
    return cells.reshape(-1, CELL_SIZE, CELL_SIZE)


def against_truth(truth: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Every pair of either table, one row each, with ``outcome``.

    Pairs of one day whose region is at least :data:`LEAST` px wide and decidable are ``found``, found at a
    ``wrong_offset``, called ``altered``, ``undecided``, or ``missed``; those with nothing to judge by are
    ``blank``, whatever was said of them unless the offset is wrong. Two days of one ground are ``other_day``,
    ``other_day_accepted`` or ``other_day_altered``; where less than :data:`LEAST_CHANGED` of it differs
    ``slightly_changed`` or ``slightly_changed_accepted``, and where nothing does ``unchanged``.
    Whatever else was accepted is ``false`` or ``false_altered``.

    ``truth`` is of :func:`with_evidence`; ``found`` has ``image1, image2, verdict`` and, where the method
    tells offsets, ``y_offset, x_offset``, one row a pair.
    """
    told = set(OFFSET) <= set(found)
    columns = [*PAIR, "verdict", *(OFFSET if told else [])]
    table = truth.merge(
        found[columns].rename(columns=dict(zip(OFFSET, ("y_found", "x_found"), strict=True))),
        on=PAIR, how="outer",
    )  # fmt: skip
    verdict = table["verdict"].fillna("")
    accepted, altered = verdict == "duplicate", verdict == "altered"
    aside = np.zeros(len(table), bool)
    if told:
        aside = (table["y_found"] != table["y_offset"]) | (table["x_found"] != table["x_offset"])
    same = table["same_day"].eq(True)
    unknown = table["same_day"].isna()
    narrow = table["narrow"].fillna(0) < LEAST
    decidable = table["decidable"].eq(True)
    slightly = table["changed"] < LEAST_CHANGED
    cases = {
        "false": unknown & accepted,
        "false_altered": unknown & altered,
        "nothing": unknown,
        "wrong_offset": same & aside & (accepted | altered),
        "narrow": same & narrow,
        "blank": same & ~decidable,
        "unchanged": ~same & (table["changed"] == 0),
        "slightly_changed_accepted": ~same & slightly & (accepted | altered),
        "slightly_changed": ~same & slightly,
        "other_day_accepted": ~same & accepted,
        "other_day_altered": ~same & altered,
        "other_day": ~same,
        "found": accepted,
        "altered": altered,
        "undecided": verdict == "undecidable",
    }
    return table.assign(outcome=np.select(list(cases.values()), list(cases), "missed"))


def counts(table: pd.DataFrame) -> dict[str, float]:
    """Pairs by outcome, of :func:`against_truth`; ``pairs`` are those to be found, ``recall`` of them."""
    number = table["outcome"].value_counts()
    row: dict[str, float] = {name: int(number.get(name, 0)) for name in OUTCOMES}
    wide = table["decidable"].eq(True) & (table["outcome"] == "wrong_offset")
    pairs = sum(row[name] for name in ("found", "altered", "undecided", "missed")) + int(wide.sum())
    row["other_day"] += row["other_day_accepted"] + row["other_day_altered"]
    row["slightly_changed"] += row["slightly_changed_accepted"]
    return {"pairs": pairs, **row, "recall": round(row["found"] / pairs, 5) if pairs else np.nan}


def recall_by(table: pd.DataFrame) -> pd.DataFrame:
    """``by`` (``share`` or ``narrow``), ``low, high`` of the bin, ``pairs``, ``found``, ``recall``."""
    wanted = table[table["decidable"].eq(True) & table["same_day"].eq(True)]
    rows: list[Mapping[str, Any]] = []
    for by, bounds in (("share", SHARES), ("narrow", NARROW)):
        bins = np.digitize(wanted[by], bounds[1:-1])
        for number, (low, high) in enumerate(pairwise(bounds)):
            inside = wanted[bins == number]
            found = int((inside["outcome"] == "found").sum())
            rows.append(
                {"by": by, "low": low, "high": high, "pairs": len(inside), "found": found,
                 "recall": round(found / len(inside), 5) if len(inside) else np.nan}
            )  # fmt: skip
    return pd.DataFrame(rows)
