"""A result as a person judged it by eye: groups, places and splits heed ``judgements.csv``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.find.groups import joined_groups, place
from dupnet.find.overlaps import (
    ALTERED,
    DUPLICATE,
    KEY,
    REFUSED,
    REVISIT,
    UNDECIDABLE,
    as_table,
    common_size,
    image_index,
)
from dupnet.find.results import FindResult, counts_of
from dupnet.find.verdicts import (
    FILE,
    NOT_DUPLICATE,
    SAME_OFFSET,
    Settled,
    offset_of,
    read_judgements,
    settle,
)
from dupnet.images.transforms import is_transformed, transform_columns

__all__ = ["apply_judgements", "heed"]

SURE = 1_000
"""Tiles that a person's verdict counts for when places are solved: more than any overlap has."""


def heed(result: FindResult, folder: str | os.PathLike[str], *, ignore: bool = False) -> FindResult:
    """A result after the judgements in its output folder, if there are any.

    Raises
    ------
    ValueError
        If the file is no table of judgements, or they are to be ignored and the search heeded them already.
    """
    if ignore:
        if result.searched.get("judgements"):
            raise ValueError(
                f"{os.fspath(folder)!r} was searched with its judgements heeded; run `dupnet find` with "
                "--ignore-judgements first."
            )
        return result
    path = Path(folder, FILE)
    return apply_judgements(result, read_judgements(path)) if path.exists() else result


def apply_judgements(result: FindResult, judgements: pd.DataFrame) -> FindResult:
    """A result as a person's judgements have it.

    An overlap judged ``duplicate`` joins its images, even one that was rejected or not found. One judged
    ``not_duplicate`` is no overlap, and one judged ``undecidable`` joins nothing. Groups and places of the
    images concerned are solved anew; all others stay as they are. Applied twice, they change no more.

    Parameters
    ----------
    result : FindResult
        What was found.
    judgements : DataFrame
        ``image1, image2, y_offset, x_offset, verdict``, in the order given; ``overlap_tag`` says where an
        overlap lies that has no offset. Those on images or overlaps that the collection does not have are
        left out.

    Returns
    -------
    FindResult
        ``searched["judgements"]`` counts them: ``heeded``, ``implied`` (overlaps whose verdict follows from
        others), ``contradictions``.
    """
    changed = result.overlaps[is_transformed(result.overlaps)]
    if changed.empty:
        return _applied(result, _with_offsets(judgements, result))
    # An overlap of a changed image stands alone: what it says of others is no sum of offsets.
    judged = _with_offsets(judgements, result)
    is_of_changed = pd.MultiIndex.from_frame(judged[KEY]).isin(pd.MultiIndex.from_frame(changed[KEY]))
    upright = replace(result, overlaps=result.overlaps.drop(index=changed.index).reset_index(drop=True))
    applied = _applied(upright, judged[~is_of_changed])
    said = changed[KEY].merge(judged[is_of_changed].drop_duplicates(KEY), on=KEY, how="left")["verdict"]
    verdict = changed["verdict"].where(said.isna().to_numpy(), said.to_numpy())
    kept = changed.assign(verdict=verdict)[verdict != NOT_DUPLICATE]
    overlaps = pd.concat([part for part in (applied.overlaps, kept) if len(part)] or [kept])
    # Joined anew from the mosaics on: the groups of before were joined by what may be gone.
    joining = pd.concat([overlaps[overlaps["verdict"].isin([DUPLICATE, ALTERED])], applied.rejected])
    index = pd.Index(applied.groups["image"])
    links = [index.get_indexer(joining[end]).astype(np.int64) for end in KEY[:2]]
    group = joined_groups(applied.groups["mosaic"].to_numpy(np.int64), *links)
    count = dict(applied.searched["judgements"])
    count["heeded"] += int(is_of_changed.sum())
    new = replace(
        applied,
        overlaps=overlaps.sort_values(KEY, kind="stable", ignore_index=True),
        groups=applied.groups.assign(group=group),
        searched={**applied.searched, "judgements": count},
    )
    return replace(new, counts={**result.counts, **counts_of(new)})


def _applied(result: FindResult, judged: pd.DataFrame) -> FindResult:
    """The same of overlaps of images as they are; ``judged`` of :func:`_with_offsets`."""
    settled = settle(judged)
    overlaps, said = _judged_overlaps(result.overlaps, settled)
    rejected, said_of_rejected = _judged_overlaps(result.rejected, settled)
    refused = result.refused[settled.of(result.refused) == ""]
    is_right = said_of_rejected == DUPLICATE
    added = _not_found(judged[judged["verdict"] == DUPLICATE], [overlaps, rejected], settled, result)
    contested = settled.contradictions
    count = {
        "heeded": len(judged) - len(contested),
        "implied": _n_implied(result.overlaps, said, settled),
        "contradictions": len(contested),
    }
    searched = {**result.searched, "judgements": count}
    unchanged = overlaps.equals(result.overlaps) and rejected.equals(result.rejected)
    if unchanged and not is_right.any() and added.empty:
        return replace(result, refused=refused, searched=searched)

    # All overlaps of the groups concerned are placed again; what was found of the others holds.
    was = pd.concat([result.overlaps[said != ""], result.rejected[said_of_rejected != ""], added])
    is_near = _in_groups_of(set(was["image1"]) | set(was["image2"]), result.groups)
    near = set(result.groups.loc[is_near, "image"])
    anew = _joined([overlaps, rejected[list(overlaps)], added]).reset_index(drop=True)
    stays = ~anew["image1"].isin(near)
    none = result.overlaps[said == NOT_DUPLICATE].assign(verdict=REFUSED, score=0.0, n_refusing=SURE)
    groups, contradicting = _placed(result, _joined([anew[~stays], none]), is_near, settled)

    is_open = stays | (anew["verdict"] != UNDECIDABLE) | _holds(anew, groups) | (settled.of(anew) != "")
    is_rejected = _are_among(anew, contradicting) | (stays & _are_among(anew, rejected))
    far = rejected[~rejected["image1"].isin(near)]
    new = replace(
        result,
        overlaps=anew[is_open & ~is_rejected].sort_values(KEY, kind="stable", ignore_index=True),
        rejected=_joined([far, contradicting]).sort_values(KEY, kind="stable", ignore_index=True),
        refused=refused.reset_index(drop=True),
        groups=groups,
        searched=searched,
    )
    return replace(new, counts={**result.counts, **counts_of(new)})


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other; an empty one would only change the kinds of columns."""
    return pd.concat([table for table in tables if len(table)] or [tables[0]])


def _are_among(overlaps: pd.DataFrame, others: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which overlaps another table has, too: (n,)."""
    return np.asarray(pd.MultiIndex.from_frame(overlaps[KEY]).isin(pd.MultiIndex.from_frame(others[KEY])))


def _in_groups_of(images: set[str], groups: pd.DataFrame) -> pd.Series:
    """Which images of the table of groups are in a group with one of these, (n_images,) bool."""
    return groups["group"].isin(groups.loc[groups["image"].isin(images), "group"].unique())


def _with_offsets(judgements: pd.DataFrame, result: FindResult) -> pd.DataFrame:
    """Judgements on the images of a result, with ``y_offset, x_offset`` of the overlaps that they name."""
    images = set(result.groups["image"])
    names = ("image1", "image2", "overlap_tag", "y_offset", "x_offset", "verdict")
    rows = []
    for image1, image2, tag, y, x, verdict in judgements.reindex(columns=names).itertuples(
        index=False, name=None
    ):
        offset = offset_of(str(tag), result.grid) if pd.isna(y) or pd.isna(x) else (int(y), int(x))
        if offset is None or image1 not in images or image2 not in images or image1 == image2:
            continue
        if image1 > image2:
            image1, image2, offset = image2, image1, (-offset[0], -offset[1])
        rows.append((image1, image2, *offset, verdict))
    table = pd.DataFrame(rows, columns=[*KEY, "verdict"])
    return table.astype({"y_offset": np.int64, "x_offset": np.int64})


def _judged_overlaps(table: pd.DataFrame, settled: Settled) -> tuple[pd.DataFrame, pd.Series]:
    """Overlaps with the verdicts that judgements give them, without those judged to be none."""
    said = settled.of(table)
    verdict = table["verdict"].where(said == "", said)
    return table.assign(verdict=verdict)[said != NOT_DUPLICATE], said


def _n_implied(overlaps: pd.DataFrame, said: pd.Series, settled: Settled) -> int:
    keys = pd.Series(
        list(overlaps[KEY].itertuples(index=False, name=None)), index=overlaps.index, dtype=object
    )
    return int(((said != "") & ~keys.isin(settled.direct)).sum())


def _not_found(
    duplicates: pd.DataFrame, known: Sequence[pd.DataFrame], settled: Settled, result: FindResult
) -> pd.DataFrame:
    """Overlaps judged to be duplicates that no table has, as rows of the table of overlaps."""
    wrong = pd.MultiIndex.from_frame(settled.contradictions[KEY])
    keys = pd.MultiIndex.from_frame(duplicates[KEY])
    is_known = keys.isin(wrong)
    for table in known:
        is_known |= keys.isin(pd.MultiIndex.from_frame(table[KEY]))
    new = duplicates[~is_known].drop_duplicates(KEY)
    index = image_index(result.groups["image"].tolist())
    numbered = new.assign(image1=index.get_indexer(new["image1"]), image2=index.get_indexer(new["image2"]))
    height, width = common_size(numbered, result.groups[["height", "width"]].to_numpy(np.int64))
    numbered = numbered.assign(
        height=height, width=width, n_tiles=0, n_decidable=0, n_differing=0, score=np.nan
    )[(height > 0) & (width > 0)]
    if "yy" in result.overlaps:  # they lie on each other as they are
        as_they_are = transform_columns(
            [np.column_stack([np.eye(2), at]) for at in numbered[KEY[2:]].to_numpy(np.float64)],
            np.zeros(len(numbered)),
        )
        numbered = pd.concat([numbered.reset_index(drop=True), as_they_are], axis=1)
    return as_table(numbered, index, tuple(result.overlaps), result.grid)


def _placed(
    result: FindResult, judged: pd.DataFrame, is_near: pd.Series, settled: Settled
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The groups table with the groups concerned solved anew, and the overlaps that contradict the places."""
    near = result.groups[is_near]
    index = image_index(near["image"].tolist())
    weighed = _weighed(result, judged, settled)
    weighed = weighed[weighed["image1"].isin(index) & weighed["image2"].isin(index)]
    numbers = {end: index.get_indexer(weighed[end]) for end in KEY[:2]}
    placement = place(weighed.assign(**numbers).reset_index(drop=True), len(near))
    contradicting = as_table(placement.rejected, index, tuple(result.rejected), result.grid)
    # As they were measured, not as they were weighed.
    measured = ["n_tiles", "n_decidable", "n_differing", "score"]
    contradicting = contradicting.drop(columns=measured).merge(judged[[*KEY, *measured]], on=KEY, how="left")
    return _with_places(result, is_near, placement.places), contradicting[list(result.rejected)]


def _weighed(result: FindResult, judged: pd.DataFrame, settled: Settled) -> pd.DataFrame:
    """Overlaps and revisits as :func:`dupnet.find.groups.place` takes them, those judged by eye as sure."""
    by_eye = (settled.of(judged) == DUPLICATE).to_numpy()
    sure = {"score": 1.0, "n_decidable": SURE, "n_differing": 0}
    overlaps = judged.assign(**{name: judged[name].where(~by_eye, value) for name, value in sure.items()})
    return _joined([overlaps, result.revisits.assign(verdict=REVISIT, n_decidable=1, n_differing=0)])


def _with_places(result: FindResult, is_near: pd.Series, places: pd.DataFrame) -> pd.DataFrame:
    """The groups table with new ``places`` of the images concerned."""
    step = result.grid.tile_size if result.grid else 1
    on_grid = (places["y"] % step == 0) & (places["x"] % step == 0) & (result.grid is not None)
    groups = result.groups.copy()
    for name in ("group", "mosaic"):
        groups.loc[is_near, name] = places[name].to_numpy() + int(groups[name].max()) + 1
        groups[name] = pd.factorize(groups[name])[0]  # numbered by first image again
    for name, axis in (("row", "y"), ("col", "x")):
        groups.loc[is_near, axis] = places[axis].to_numpy()
        groups[name] = groups[name].astype("Int64")
        groups.loc[is_near, name] = pd.array((places[axis] // step).where(on_grid), dtype="Int64")
    return groups


def _holds(overlaps: pd.DataFrame, groups: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether the places of both images agree with each overlap."""
    index = pd.Index(groups["image"])
    first, second = (index.get_indexer(overlaps[end]) for end in KEY[:2])
    mosaic = groups["mosaic"].to_numpy()
    agrees = mosaic[first] == mosaic[second]
    for axis in ("y", "x"):
        place = groups[axis].to_numpy(np.int64)
        agrees &= np.abs(place[second] - place[first] - overlaps[f"{axis}_offset"].to_numpy()) <= SAME_OFFSET
    return np.asarray(agrees)
