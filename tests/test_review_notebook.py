"""The review as a notebook widget: what it shows, and that its buttons judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import textured

from dupnet.report.previews import encode
from dupnet.review.judgements import Judgements
from dupnet.review.notebook import ALL_TILES, VIEWS, widget
from dupnet.review.queue import PICTURES, Review


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    """Two pairs, one of them with a name that is markup."""
    pytest.importorskip("ipywidgets", reason="the widget needs the extra `notebooks`")
    ground = textured(1, 192, contrast=25)[0]
    for name, left in (("a.png", 0), ("<b>.png", 64), ("c.png", 32)):
        cv2.imwrite(str(tmp_path / name), np.ascontiguousarray(ground[:128, left : left + 128]))
    pairs = pd.DataFrame(
        {"image1": ["<b>.png", "<b>.png"], "image2": ["a.png", "c.png"], "x_offset": [-64, -32]}
    ).assign(y_offset=0, overlap_tag=["07", ""], score=[0.75, np.nan], verdict="duplicate")
    with Judgements(tmp_path / "answers.csv") as judgements:
        yield Review(pairs, tmp_path, judgements, tile_size=64)


def parts(review: Review) -> dict[str, Any]:
    progress, title, choices, pictures, buttons, told = widget(review).children
    view, tile = choices.children
    named = {button.description: button for button in buttons.children}
    return {"progress": progress, "title": title, "view": view, "tile": tile, "told": told, **named} | {
        "pictures": pictures.children
    }


def test_every_view_shows_two_pictures_that_there_are(review: Review) -> None:
    shown = parts(review)
    assert {name for pair in VIEWS.values() for name in pair} == set(PICTURES)
    for view, names in VIEWS.items():
        shown["view"].value = view
        expected = [encode(review.picture(0, name)) for name in names]
        assert [picture.value for picture in shown["pictures"]] == expected


def test_one_tile_at_a_time(review: Review) -> None:
    shown = parts(review)
    assert shown["tile"].options[0] == ALL_TILES and len(shown["tile"].options) == 1 + len(review.tiles(0))
    shown["view"].value = "overlap"
    shown["tile"].value = 1
    assert shown["pictures"][0].value == encode(review.picture(0, "region1", 1))
    shown["next"].click()
    assert shown["tile"].value is None


def test_buttons_judge_and_take_back(review: Review) -> None:
    shown = parts(review)
    title = "&lt;b&gt;.png and a.png, overlap 07 at (0, -64) px, score 0.750"
    assert shown["title"].value == title and shown["undo"].disabled
    assert (shown["progress"].value, shown["progress"].max) == (0, 2)
    shown["duplicate"].click()
    assert shown["title"].value == "&lt;b&gt;.png and c.png, overlap at (0, -32) px"
    assert shown["progress"].value == 1 and not shown["undo"].disabled
    shown["not duplicate"].click()
    assert shown["title"].value == "All pairs are judged." and shown["next"].disabled
    assert review.judgements.table()["verdict"].tolist() == ["duplicate", "not_duplicate"]
    shown["undo"].click()
    assert shown["title"].value.startswith("&lt;b&gt;.png and c.png") and shown["progress"].value == 1
    shown["undo"].click()
    assert len(review.judgements) == 0 and shown["undo"].disabled


def test_what_is_told_goes(review: Review) -> None:
    shown = parts(review)
    shown["duplicate"].click()
    assert shown["told"].value == ""
    assert review.judge(1, "duplicate") == ""
    shown["undo"].click()
    assert shown["told"].value == "" and len(review.judgements) == 1
