"""DupNet on the overlaps of Airbus images that a person judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.accuracy.unrelated import describe_images
from dupnet.network import comparison, descriptors
from dupnet.tiles import overlap_of_tag


def judge_labels(folder: Path, labels: Path) -> pd.DataFrame:
    """Each judged overlap: label, lowest score of its decidable tiles, verdict, and whether that is right.

    An overlap without a decidable tile is ``undecidable``, which is neither right nor wrong.
    """
    table = pd.read_csv(labels, dtype={"overlap_tag": str})
    names = sorted({*table["image1"], *table["image2"]})
    found, place = describe_images(folder, names), {name: 9 * number for number, name in enumerate(names)}
    threshold = descriptors.load_weights().threshold
    rows = []
    for row in table.itertuples():
        overlap = overlap_of_tag(row.overlap_tag)
        one = place[row.image1] + np.array(overlap.tiles1)
        two = place[row.image2] + np.array(overlap.tiles2)
        decidable = found.decidable[one] & found.decidable[two]
        scores = comparison.decided_scores(found.verify[one[decidable]], found.verify[two[decidable]])
        scores = scores[~np.isnan(scores)]
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
