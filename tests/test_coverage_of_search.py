"""What a search says that it covered, and what it could not see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd

from dupnet import find_overlaps
from dupnet.find.coverage import coverage_of

SEARCHED = {"offsets": "any", "grid": None, "smallest_region": 32, "against": False}
OVERLAPS = pd.DataFrame({"verdict": ["duplicate"]})
NONE = pd.DataFrame()


def said(
    searched: Mapping[str, object] = MappingProxyType({}),
    counts: Mapping[str, int] = MappingProxyType({}),
    **tables: pd.DataFrame,
) -> list[str]:
    parts = {"overlaps": OVERLAPS, "unreadable": NONE, "georeference": NONE, **tables}
    return coverage_of({**SEARCHED, **searched}, counts, **parts)


def test_changed_copies_are_named_only_where_they_were_looked_for() -> None:
    searched, others = said()
    assert searched == "Searched: any offset; regions from 32 px."
    assert "mirrored or turned by quarters (--turned), or resized" in others and "(--rescaled)." in others
    turned, others = said({"turned": True})
    assert "mirrored or turned by quarters" in turned and "mirrored" not in others and "resized" in others
    rescaled, others = said({"rescaled": True})
    assert "mirrored" not in rescaled and "resized" in rescaled and "mirrored" in others
    assert len(said({"turned": True, "rescaled": True})) == 1
    assert said({"offsets": "grid", "grid": 256}) == ["Searched: whole tiles on a grid of 256 px only."]


def test_what_was_left_out_stands_beside_it() -> None:
    assert "over 16 copies; 3 of them" in said(counts={"stacked": 3})[1]
    assert "Not judged: 5 likely overlaps" in said(counts={"proposals_skipped": 5})[1]
    assert "Not searched: whether 2 images" in said(counts={"images_not_changed": 2})[1]
    assert "1 files that were left out" in said(unreadable=pd.DataFrame({"image": ["a"]}))[1]
    judged = {"heeded": 4, "implied": 1, "contradictions": 2}
    assert "Judged by eye: 4 overlaps" in said({"judgements": judged})[1]
    files = {"images": 3, "pairs": 2, "skipped": 1}
    line = said({"georeferences": files})[1]
    assert "3 images have one" in line and "1 more, of stacks" in line and "on 0 pairs" in line


def test_images_that_show_too_little_to_be_found_by_are_counted() -> None:
    assert "Barely searched: 3 images" in said(counts={"images_with_few_points": 3})[1]
    assert said(counts={"images_with_few_points": 0}) == said()
    by_tiles = said({"grid": 256}, {"images_with_few_points": 3})
    assert by_tiles == said({"grid": 256}), "tiles see them, too"


def test_of_blank_images_no_search_says_that_it_searched_them(tmp_path: Path) -> None:
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((128, 128, 3), 30, np.uint8))
    result = find_overlaps(tmp_path, out=tmp_path / "out", report=False)
    assert result.counts["images_with_few_points"] == 2 and result.overlaps.empty
    assert any("Barely searched: 2 images" in line for line in result.coverage())
