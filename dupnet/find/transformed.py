"""What a search finds beside the images that lie on each other as they are: those that must be changed first.

The overlaps of images as they are, and the places that follow from them, stay what they are without it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dupnet.find.groups import Resolution, joined_groups
from dupnet.find.overlaps import ALTERED, DUPLICATE, KEY, REVISIT
from dupnet.find.rescaled_search import Sought, judge_rescaled, propose_rescaled
from dupnet.find.steps import Run, Search, held_against
from dupnet.find.turned_search import judge_turned, propose_turned
from dupnet.images.image import MAX_PIXELS
from dupnet.images.transforms import IDENTITY, transform_columns

__all__ = ["Transformed", "search_transformed", "with_transformed"]


class Transformed(NamedTuple):
    """Overlaps of images that must be changed to lie on each other."""

    judged: pd.DataFrame
    """:data:`~dupnet.find.overlaps.JUDGED`, ``n_votes`` and
    :data:`~dupnet.images.transforms.TRANSFORM_COLUMNS`; at most one row a pair of images."""
    searched: dict[str, Any]
    counts: dict[str, Any]


def search_transformed(run: Run, search: Search, resolution: Resolution) -> Transformed:
    """Search a collection for images that were changed, beside what was found of it as it is."""
    assert search.points is not None
    described, points = search.described, search.points
    read = run.reader(described)
    found: list[pd.DataFrame] = []
    # What is read part by part is neither turned nor resized.
    counts: dict[str, Any] = {"images_not_changed": int((described.sizes.prod(axis=1) > MAX_PIXELS).sum())}
    searched: dict[str, Any] = {}
    if run.turned:
        with run.clock("join turned points"):
            proposals, more = propose_turned(
                points.cache,
                described,
                points.table,
                points.ignored,
                run.work,
                held_against(run, described),
                run.workers,
                run.progress,
            )
        counts |= more
        with run.clock("judge turned"):
            judged, matrices = judge_turned(
                proposals, described, read, run.weights, run.workers, run.progress
            )
        said = transform_columns(matrices, np.zeros(len(judged)))
        found.append(pd.concat([judged, said], axis=1))
        searched["turned"] = True
    if run.rescaled:
        known = {pair for table in [resolution.overlaps, *found] for pair in _known(table)}
        with run.clock("propose rescaled"):
            candidates = propose_rescaled(
                described,
                read,
                points.joined,
                Sought(known, resolution.places["mosaic"].to_numpy(np.int64), held_against(run, described)),
                run.turned,
                run.workers,
                run.progress,
            )
        with run.clock("judge rescaled"):
            judged, matrices, residuals = judge_rescaled(
                candidates, described, read, run.weights, run.workers, run.progress
            )
        found.append(pd.concat([judged, transform_columns(matrices, residuals)], axis=1))
        counts |= candidates.counts
        searched["rescaled"] = True
    together = pd.concat(found, ignore_index=True)
    return Transformed(_best_of_pairs(together, resolution.overlaps), searched, counts)


def _known(judged: pd.DataFrame) -> set[tuple[int, int]]:
    """Pairs of images that show one acquisition."""
    joining = judged[judged["verdict"].isin([DUPLICATE, ALTERED])]
    return set(zip(joining["image1"].tolist(), joining["image2"].tolist(), strict=True))


def _best_of_pairs(judged: pd.DataFrame, upright: pd.DataFrame) -> pd.DataFrame:
    """Of each pair of images the one that most speaks for; none of pairs that lie on each other as they
    are."""
    known = pd.MultiIndex.from_frame(
        upright.loc[upright["verdict"].isin([DUPLICATE, ALTERED]), KEY[:2]].astype(np.int64)
    )
    told = judged[judged["verdict"].isin([DUPLICATE, ALTERED, REVISIT])]
    told = told[~pd.MultiIndex.from_frame(told[KEY[:2]].astype(np.int64)).isin(known)]
    rank = told["verdict"].map({DUPLICATE: 0, ALTERED: 1, REVISIT: 2})
    order = told.assign(rank=rank, votes=-told["n_votes"]).sort_values(
        [*KEY[:2], "rank", "votes", *KEY[2:], "turn", "flip"], kind="stable"
    )
    return order.drop_duplicates(KEY[:2])[list(told.columns)].reset_index(drop=True)


def with_transformed(resolution: Resolution, found: Transformed) -> Resolution:
    """What is known of a collection, with the transformed overlaps in its tables and groups.

    Points of a resized copy agree at several offsets, as on another day: such pairs are no revisits.
    """
    joining = found.judged[found.judged["verdict"].isin([DUPLICATE, ALTERED])]
    revisits = found.judged[found.judged["verdict"] == REVISIT]
    pairs, copies = (
        pd.MultiIndex.from_frame(table[KEY[:2]].astype(np.int64)) for table in (resolution.revisits, joining)
    )
    return resolution._replace(
        overlaps=_joined(resolution.overlaps, joining),
        revisits=_joined(resolution.revisits[~pairs.isin(copies)], revisits),
        rejected=_joined(resolution.rejected, joining.iloc[:0]),
        refused=_joined(resolution.refused, joining.iloc[:0]),
        places=resolution.places.assign(
            group=joined_groups(
                resolution.places["group"].to_numpy(np.int64),
                *(joining[end].to_numpy(np.int64) for end in KEY[:2]),
            )
        ),
    )


def _joined(upright: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    shifts = upright[["y_offset", "x_offset"]].to_numpy(np.float64)
    matrices = np.repeat(IDENTITY[None], len(upright), axis=0)
    matrices[:, :, 2] = shifts
    plain = pd.concat(
        [upright.reset_index(drop=True), transform_columns(matrices, np.zeros(len(upright)))], axis=1
    )
    if changed.empty:
        return plain
    together = pd.concat([part for part in (plain, changed) if len(part)], ignore_index=True)
    return together.reindex(columns=plain.columns).sort_values(KEY, kind="stable", ignore_index=True)
