"""DupNet on the Airbus images: overlaps that a person judged, and every pair of tiles across images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.accuracy.pairs import AIRBUS_PARTS
from dupnet import descriptors
from dupnet.images import list_images, read_grey
from dupnet.tiles import overlap_of_tag, split_tiles

HIGHEST = 10


def _describe(folder: Path, names: list[str]) -> descriptors.Descriptors:
    found = [
        descriptors.describe(np.asarray(split_tiles(read_grey(folder / name)), np.uint8)) for name in names
    ]
    return descriptors.Descriptors(
        np.concatenate([one.search for one in found]),
        np.concatenate([one.verify for one in found]),
        np.concatenate([one.decidable for one in found]),
    )


def judge_labels(folder: Path, labels: Path) -> pd.DataFrame:
    """Each judged overlap: the label, the lowest score of its decidable tiles, the verdict, and whether it is
    right.

    An overlap without a decidable tile is ``undecidable``, which is neither right nor wrong.
    """
    table = pd.read_csv(labels, dtype={"overlap_tag": str})
    names = sorted({*table["image1"], *table["image2"]})
    found, place = _describe(folder, names), {name: 9 * number for number, name in enumerate(names)}
    threshold = descriptors.load_weights().threshold
    rows = []
    for row in table.itertuples():
        overlap = overlap_of_tag(row.overlap_tag)
        one = place[row.image1] + np.array(overlap.tiles1)
        two = place[row.image2] + np.array(overlap.tiles2)
        decidable = found.decidable[one] & found.decidable[two]
        scores = descriptors.score_pairs(found.verify[one[decidable]], found.verify[two[decidable]])
        lowest = float(scores.min()) if len(scores) else np.nan
        verdict = (
            "undecidable" if not len(scores) else "duplicate" if lowest >= threshold else "not_duplicate"
        )
        right = (
            ""
            if verdict == "undecidable"
            else str((verdict == "duplicate") == bool(row.is_duplicate)).lower()
        )
        rows.append(
            (row.image1, row.image2, row.overlap_tag, row.is_duplicate, len(scores), lowest, verdict, right)
        )
    columns = ["image1", "image2", "overlap_tag", "is_duplicate", "n_decidable", "score", "verdict", "right"]
    return pd.DataFrame(rows, columns=columns)


def cross_pairs(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every pair of decidable tiles of images of different overlap groups: none of them is a duplicate.

    Returns
    -------
    pandas.DataFrame, pandas.DataFrame
        ``n_images, n_pairs, n_false_duplicates, threshold``; and the ten highest scores, ``image1, tile1,
        image2, tile2, score``.
    """
    parts = pd.read_csv(AIRBUS_PARTS).set_index("image")
    names = [name for name in list_images(folder) if name in parts.index]
    group = parts.loc[names, "group"].to_numpy().repeat(9)
    found = _describe(folder, names)
    threshold = descriptors.load_weights().threshold
    usable = np.flatnonzero(found.decidable)
    n_pairs = n_false = 0
    best: npt.NDArray[np.float64] = np.empty((0, 3))
    for position, tile in enumerate(usable):
        others = usable[position + 1 :]
        others = others[group[others] != group[tile]]
        if not len(others):
            continue
        first = np.repeat(found.verify[tile][None], len(others), axis=0)
        scores = descriptors.score_pairs(first, found.verify[others])
        n_pairs += len(others)
        n_false += int((scores >= threshold).sum())
        rows = np.stack([scores, np.full(len(others), tile), others], axis=1).astype(np.float64)
        best = np.concatenate([best, rows[np.argsort(-rows[:, 0])[:HIGHEST]]])
        best = best[np.argsort(-best[:, 0], kind="stable")[:HIGHEST]]
    tiles = best[:, 1:].astype(int)
    image = np.array(names, dtype=object)
    highest = pd.DataFrame(
        {
            "image1": image[tiles[:, 0] // 9],
            "tile1": tiles[:, 0] % 9,
            "image2": image[tiles[:, 1] // 9],
            "tile2": tiles[:, 1] % 9,
            "score": best[:, 0],
        }
    )
    summary = {
        "n_images": len(names),
        "n_pairs": n_pairs,
        "n_false_duplicates": n_false,
        "threshold": threshold,
    }
    return pd.DataFrame([summary]), highest
