"""The order of a review, what it shows of a pair, and what it lists; without files but the judgements'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import textured

from dupnet.images.image import UnreadableImage
from dupnet.review.judgements import Judgements
from dupnet.review.queue import LISTED, PICTURES, WHOLE, Review, read_image

ROWS = [
    ("a.png", "b.png", 0, 64, 0.9, "duplicate"),
    ("a.png", "c.png", 64, 0, 0.6, "altered"),
    ("b.png", "c.png", 64, -64, float("nan"), "undecidable"),
    ("a.png", "d.png", 5, 7, 0.35, "rejected"),
    ("c.png", "d.png", 9, 9, 0.4, "revisit"),
]


def table(rows: list[tuple[str, str, int, int, float, str]]) -> pd.DataFrame:
    columns = ["image1", "image2", "y_offset", "x_offset", "score", "verdict"]
    return pd.DataFrame(rows, columns=columns).assign(overlap_tag="")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate("abcd"):
        grey = textured(1, 128, seed=number, contrast=25)[0]
        cv2.imwrite(str(folder / f"{name}.png"), cv2.merge([grey, grey[::-1], grey[:, ::-1]]))
    return folder


@pytest.fixture
def review(images: Path, tmp_path: Path) -> Iterator[Review]:
    with Judgements(tmp_path / "answers.csv", reviewer="Ann") as judgements:
        yield Review(table(ROWS), images, judgements, tile_size=64)


def names(review: Review, numbers: list[int | None]) -> list[str]:
    pairs = (review.pairs.iloc[number] for number in numbers if number is not None)
    return [f"{row['image1'][0]}{row['image2'][0]}" for row in pairs]


def test_the_least_certain_comes_first(review: Review, images: Path, tmp_path: Path) -> None:
    assert names(review, list(range(5))) == ["ac", "cd", "ad", "ab", "bc"]
    assert review.next_pair() == 0 and review.next_pair(0) == 1 and review.next_pair(4) == 0
    with Judgements(tmp_path / "none.csv") as judgements:
        with pytest.raises(ValueError, match="pairs is empty; there is nothing to judge"):
            Review(table([]), images, judgements)


def test_judged_pairs_and_what_follows_from_them_are_not_asked(review: Review) -> None:
    assert review.judge(3, "duplicate") == "" and review.judge(0, "duplicate") == ""  # ab, ac
    state = review.state(4)  # so b and c lie 64 px down and 64 px left of each other
    assert state["pair"]["implied"] == "duplicate" and state["pair"]["judged"] is None
    assert (state["judged"], state["implied"], state["total"]) == (2, 1, 5)
    assert state["counts"] == {"duplicate": 2, "not_duplicate": 0, "undecidable": 0}
    assert state["reviewer"] == "Ann" and state["can_undo"] and state["contradictions"] == 0
    assert [review.next_pair(number) for number in range(5)] == [1, 2, 1, 1, 1]
    assert "contradicts other judgements" in review.judge(4, "not_duplicate")
    assert review.state(None)["contradictions"] == 1 and review.state(None)["pair"] is None
    review.judge(1, "undecidable")
    review.judge(2, "not_duplicate")
    assert review.next_pair() is None


def test_a_verdict_stays_until_it_is_taken_back(review: Review) -> None:
    review.judge(1, "duplicate")
    assert review.judge(1, "duplicate") == ""
    said = review.judge(1, "not_duplicate")
    assert said.startswith("Not kept: this pair was judged duplicate before by Ann")
    assert review.undo(2) is None and review.undo(1) == 1 and review.undo() is None
    assert review.judge(1, "not_duplicate") == ""
    assert review.state(1)["pair"]["judged"] == "not_duplicate" and review.state(1)["pair"]["by"] == "Ann"
    for number in (-1, 5):
        for call in (lambda: review.judge(number, "duplicate"), lambda: review.undo(number)):  # noqa: B023
            with pytest.raises(ValueError, match=f"pair is {number}; there are pairs 0 to 4"):
                call()


def test_pairs_are_listed_by_text_and_kind(review: Review) -> None:
    review.judge(3, "duplicate")

    def listed(text: str = "", kind: str = "", start: int = 0) -> list[int]:
        return [one["id"] for one in review.listed(text, kind, start)["pairs"]]

    assert listed() == [0, 1, 2, 3, 4] and listed(start=3) == [3, 4] and listed(start=-5) == listed()
    assert listed("D.P") == [1, 2] and listed("z") == []
    assert listed(kind="open") == [0, 1, 2, 4] and listed(kind="judged") == [3]
    assert listed(kind="revisit") == [1] and listed(kind="duplicate") == [3]
    assert listed("a", "altered") == [0] and review.listed("a", "", 2)["total"] == 3


def test_a_list_has_an_end(images: Path, tmp_path: Path) -> None:
    rows = [("a.png", "b.png", 0, number, 0.5, "duplicate") for number in range(LISTED + 9)]
    with Judgements(tmp_path / "many.csv") as judgements:
        review = Review(table(rows), images, judgements)
        assert len(review.listed()["pairs"]) == LISTED and review.listed()["total"] == LISTED + 9
        assert [one["id"] for one in review.listed(start=LISTED)["pairs"]] == list(range(LISTED, LISTED + 9))


def test_pictures_are_of_the_region_or_of_one_tile(review: Review, images: Path) -> None:
    one, two = (cv2.imread(str(images / f"{name}.png"))[:, :, ::-1].astype(int) for name in "ab")
    pair = 3  # b lies 64 px right of a
    np.testing.assert_array_equal(review.picture(pair, "region1"), one[:, 64:])
    np.testing.assert_array_equal(review.picture(pair, "region2"), two[:, :64])
    np.testing.assert_array_equal(review.picture(pair, "region2", 1), two[64:, :64])
    shapes = {name: review.picture(pair, name).shape for name in PICTURES}
    assert shapes.pop("image1") == shapes.pop("image2") == (128, 128, 3)
    assert set(shapes.values()) == {(128, 64, 3)}
    outlined = review.picture(pair, "image1").astype(int)
    assert (outlined != one).any() and (outlined[:, :60] == one[:, :60]).all()
    assert [(part["name"], part["top"], part["left"]) for part in review.tiles(pair)] == [
        ("1 ↔ 0", 0, 0),
        ("3 ↔ 2", 64, 0),
    ]
    # Off the grid, tiles are called by their place.
    assert review.tiles(2)[0]["name"] == "0, 0"
    for wrong, message in (
        ("nothing", "picture is 'nothing'"),
        ("region1", "tile is 2; the overlap has tiles"),
    ):
        with pytest.raises(ValueError, match=message):
            review.picture(pair, wrong, 2)


def test_large_images_are_shown_smaller(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    wide = np.zeros((400, 2 * WHOLE, 3), np.uint8)
    for name in "ab":
        cv2.imwrite(str(tmp_path / "large" / f"{name}.png"), wide)
    with Judgements(tmp_path / "large.csv") as judgements:
        review = Review(table([("a.png", "b.png", 0, 700, 0.5, "duplicate")]), tmp_path / "large", judgements)
        shown = review.picture(0, "image2")
        assert shown.shape == (200, WHOLE, 3)
        columns = np.flatnonzero(shown.any(axis=(0, 2)))
        assert (
            columns.max() < (2 * WHOLE - 700) / 2 + 6
        )  # what the two share is outlined, and reduced as well
        assert review.picture(0, "region1").shape == (400, 2 * WHOLE - 700, 3)


def test_names_do_not_lead_out_of_the_folder(images: Path) -> None:
    assert read_image(images, "a.png").shape == (128, 128, 3)
    for name in ("../images/a.png", "/a.png", "", str(images / "a.png")):
        with pytest.raises(ValueError, match="leads elsewhere; only files of the folder are shown"):
            read_image(images, name)
    with pytest.raises(UnreadableImage, match="not in the folder of images"):
        read_image(images, "gone.png")
