"""Crowds of nearly equal images are told by their points; what the judge calls equal is set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import noisy, textured

from dupnet.find import near_copies as module
from dupnet.find.engine import find_overlaps
from dupnet.find.near_copies import recalling
from dupnet.find.overlaps import DUPLICATE, KEY
from dupnet.find.results import FindResult

SIZE = 128


def save(folder: Path, pictures: dict[str, np.ndarray], quality: int = 95) -> Path:
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return folder


def processed(picture: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """``n`` copies of one picture, each of a gain and a noise of its own."""
    rng = np.random.default_rng(0)
    gains = rng.uniform(0.9, 1.1, n)
    copies = [noisy(np.rint(picture * gain), 1.5, seed=number) for number, gain in enumerate(gains)]
    return {f"{number:03}.png": copy for number, copy in enumerate(copies)}


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> int:
    """Copies that are a crowd here, rather than a hundred: each is described and judged."""
    monkeypatch.setattr(module, "CROWD", 20)
    return 40


def test_a_crowd_is_one_stack_and_is_not_joined(crowd: int, tmp_path: Path) -> None:
    ground = textured(1, SIZE + 40, contrast=25)[0]
    folder = save(tmp_path / "images", processed(ground[:SIZE, :SIZE], crowd))
    save(folder, {"aside.png": ground[40:, 40:], "other.png": textured(1, SIZE, seed=7)[0]})
    result = find_overlaps(folder, workers=1)
    assert result.counts["points"] < 8 * 300  # of few images, not of forty
    assert result.counts["proposals_skipped"] == 0
    assert len(result.groups[result.groups["group"] == 0]) == crowd + 1
    assert result.counts["stacked"] == crowd - 1
    listed = result.overlaps
    assert set(listed["verdict"]) == {DUPLICATE}
    within = listed[listed["image2"] != "aside.png"]
    assert (within["image1"] == "000.png").all() and len(within) == crowd - 1
    # What the first shares with its neighbour, the group shares: it is connected.
    assert listed[listed["image2"] == "aside.png"]["image1"].tolist() == ["000.png"]


def test_all_pairs_lists_the_rest(crowd: int, tmp_path: Path) -> None:
    folder = save(tmp_path / "images", processed(textured(1, SIZE)[0], crowd))
    result = find_overlaps(folder, all_pairs=True, workers=1)
    assert len(result.overlaps) == crowd * (crowd - 1) // 2 and set(result.overlaps["verdict"]) == {DUPLICATE}


def test_crowds_do_not_depend_on_names(crowd: int, tmp_path: Path) -> None:
    """Two crowds, mingled: each is a group of its own."""
    one, two = (processed(textured(1, SIZE, seed=seed)[0], crowd) for seed in (1, 2))
    mingled = {name.replace(".", "a."): picture for name, picture in one.items()}
    mingled |= {name.replace(".", "b."): picture for name, picture in two.items()}
    result = find_overlaps(save(tmp_path / "images", mingled), workers=1)
    groups = result.groups.set_index("image")["group"]
    assert groups.nunique() == 2
    assert groups.groupby(groups.index.str[3]).nunique().tolist() == [1, 1]
    assert result.counts["points"] < 16 * 300


def same_ground(folder: Path, n: int) -> FindResult:
    """``n`` pictures of one place of which half differ from the rest in a quarter of the ground."""
    before = textured(1, SIZE, contrast=25)[0]
    after = before.copy()
    after[: SIZE // 2, : SIZE // 2] = textured(1, SIZE // 2, seed=9, contrast=25)[0]
    copies = processed(before, n // 2)
    copies |= {name.replace(".", "x."): picture for name, picture in processed(after, n // 2).items()}
    return find_overlaps(save(folder, copies), workers=1)


def test_what_the_judge_tells_apart_is_not_set_aside(crowd: int, tmp_path: Path) -> None:
    """Three quarters of the points agree, and nothing else does: a stack of each kind."""
    result = same_ground(tmp_path / "images", 2 * crowd)
    of_kind = result.overlaps["image1"].str.len() == result.overlaps["image2"].str.len()
    assert set(result.overlaps[of_kind]["verdict"]) == {DUPLICATE}
    assert DUPLICATE not in set(result.overlaps[~of_kind]["verdict"])
    assert len(result.overlaps[of_kind]) >= 2 * (crowd - 1)
    assert result.counts["points"] < 12 * 300


def test_only_what_is_judged_a_duplicate_is_set_aside(
    crowd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path / "images", processed(textured(1, SIZE)[0], crowd))
    few = find_overlaps(folder, workers=1).counts["points"]
    monkeypatch.setattr(module, "DUPLICATE", "never")
    every = find_overlaps(folder, workers=1)
    assert every.counts["points"] > 10 * few and every.groups["group"].nunique() == 1


def test_what_all_images_have_in_common_makes_no_crowd(
    crowd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern over a fifth of unlike images: nothing is set aside, nor looked for again and again."""
    pattern = textured(1, SIZE, seed=99, contrast=40)[0][:50, :64]
    pictures = textured(crowd, SIZE, contrast=25)
    pictures[:, -50:, :64] = pattern
    rounds: list[int] = []
    marks = module._marks

    def counted(*given: Any, seed: int) -> Any:
        rounds.append(seed)
        return marks(*given, seed=seed)

    monkeypatch.setattr(module, "_marks", counted)
    monkeypatch.setattr(module, "CROWD", 2)
    monkeypatch.setattr(module, "MAX_STACK", 1)
    folder = save(tmp_path / "images", {f"{number:03}.png": one for number, one in enumerate(pictures)})
    result = find_overlaps(folder, workers=1)
    assert result.counts["points"] > crowd * 30 and DUPLICATE not in set(result.overlaps["verdict"])
    assert 1 < len(rounds) < module.MAX_ROUNDS


def test_fewer_than_a_crowd_are_joined(crowd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "images", processed(textured(1, SIZE)[0], 18))
    joined = find_overlaps(folder, workers=1)
    monkeypatch.setattr(module, "MAX_ROUNDS", 0)
    assert find_overlaps(folder, workers=1).counts["points"] == joined.counts["points"] > 18 * 30


def test_sides_stand_for_themselves(crowd: int, tmp_path: Path) -> None:
    """Copies on two sides: each keeps an image that is joined; what is found lies between the two."""
    copies = processed(textured(1, SIZE)[0], 2 * crowd)
    names = sorted(copies)
    one = save(tmp_path / "one", {name: copies[name] for name in names[:crowd]})
    two = save(tmp_path / "two", {name: copies[name] for name in names[crowd:]})
    result = find_overlaps(one, against=two, workers=1)
    assert len(result.overlaps) and result.groups["group"].nunique() == 1
    assert (result.overlaps["image1"].str.contains("/") ^ result.overlaps["image2"].str.contains("/")).all()


def test_what_was_judged_is_not_judged_again() -> None:
    asked: list[pd.DataFrame] = []

    def judge(pairs: pd.DataFrame) -> pd.DataFrame:
        asked.append(pairs)
        return pairs.assign(score=0.25, verdict="refused")

    known = pd.DataFrame([[0, 2, 0, 0], [1, 3, 0, 0]], columns=KEY)
    known = known.assign(n_votes=9, score=[0.75, 1.0], verdict=DUPLICATE)
    pairs = pd.DataFrame([[1, 3, 0, 0], [0, 1, 5, 0], [0, 2, 0, 0], [0, 2, 0, 1]], columns=KEY)
    found = recalling(judge, known)(pairs.assign(n_votes=7))
    assert found["score"].tolist() == [1.0, 0.25, 0.75, 0.25] and found["n_votes"].tolist() == [7] * 4
    assert found[KEY].equals(pairs) and len(asked[0]) == 2
    # On another lattice the cells of the images are others.
    placed = pairs.assign(group=0, y=[0, 0, 32, 0], x=[0, 0, 5, 0])
    assert recalling(judge, known)(placed)["score"].tolist() == [1.0, 0.25, 0.25, 0.25]
    assert recalling(judge, known.iloc[:0]) is judge
