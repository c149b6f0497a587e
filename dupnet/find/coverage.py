"""What a search looked at, and what it could not see, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dupnet.find.crowds import MAX_PROPOSALS
from dupnet.find.groups import MAX_STACK
from dupnet.find.votes import told
from dupnet.images.image import MAX_PIXELS

__all__ = ["CHANGED", "coverage_of"]

CHANGED = {
    "turned": "mirrored or turned by quarters",
    "rescaled": "resized by 0.4 to 2.5 or rotated by up to 15 degrees",
}
"""Changed images that a search looks for only if it is asked to, by option."""


def coverage_of(
    searched: Mapping[str, Any],
    counts: Mapping[str, Any],
    overlaps: pd.DataFrame,
    unreadable: pd.DataFrame,
    georeference: pd.DataFrame,
) -> list[str]:
    """The sentences of :meth:`dupnet.find.results.FindResult.coverage`, whose fields these are."""
    if searched["offsets"] == "grid":
        lines = [f"Searched: whole tiles on a grid of {searched['grid']} px only."]
    else:
        lines = [f"Searched: any offset; regions from {searched['smallest_region']} px."]
        if searched["grid"]:
            lines[0] += (
                f" Images with few points or without a certain overlap were also searched by whole tiles of "
                f"{searched['grid']} px."
            )
        changed = [words for option, words in CHANGED.items() if searched.get(option)]
        if changed:
            lines[0] += f" Also images that were {', '.join(changed)}."
    if searched["against"]:
        lines.append("Not searched: pairs within either side; only pairs across the two were.")
    if known := searched.get("georeferences"):
        left_out = f" ({known['skipped']} more, of stacks, were not)" if known["skipped"] else ""
        lines.append(
            f"Georeferences: {known['images']} images have one; {known['pairs']} pairs whose footprints "
            f"overlap were compared, too{left_out}. Pixels and georeferences disagree on "
            f"{len(georeference)} pairs (georeference.csv)."
        )
    if len(unreadable):
        lines.append(f"Not searched: {len(unreadable)} files that were left out (unreadable.csv).")
    if judged := searched.get("judgements"):
        lines.append(
            f"Judged by eye: {judged['heeded']} overlaps are as judgements.csv has them, "
            f"{judged['implied']} follow from them, {judged['contradictions']} judgements contradict "
            "earlier ones."
        )
    if (few := counts.get("images_with_few_points")) and not searched["grid"]:
        lines.append(
            f"Barely searched: {few} images have too few points to be found by, even by a copy of the same "
            "file; their overlaps may be missing."
        )
    if counts.get("stacked"):
        lines.append(
            f"Not listed: pairs within stacks of over {MAX_STACK} copies; {counts['stacked']} of "
            "them are listed with the first image of their stack alone (--all-pairs lists every pair)."
        )
    if counts.get("proposals_skipped"):
        lines.append(
            f"Not judged: {counts['proposals_skipped']} likely overlaps of images that have over "
            f"{MAX_PROPOSALS} of them, or over {MAX_STACK} copies; the strongest of each image were, and "
            "those that follow from the places of the images."
        )
    if large := counts.get("images_not_changed"):
        lines.append(
            f"Not searched: whether {large} images of more than {MAX_PIXELS} pixels were changed so."
        )
    n_undecidable = int((overlaps["verdict"] == "undecidable").sum())
    if n_undecidable:
        lines.append(
            f"Not decided: {n_undecidable} overlaps that follow from the places of the images, but have too "
            "little texture to judge."
        )
    if control := searched.get("control"):
        lines.append(told(control))
    others = [f"{words} (--{option})" for option, words in CHANGED.items() if not searched.get(option)]
    if others and searched["offsets"] == "any":
        lines.append(f"Not searched: images that were {', or '.join(others)}.")
    return lines
