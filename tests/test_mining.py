"""Mining: what is kept is what the network gets wrong, and never a true duplicate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.descriptors import describe, load_weights, score_pairs
from dupnet.hard_pairs import HardPair, Place, Source, draw_tile
from dupnet.mining import confused, doubted, write_confused
from dupnet.tiles import is_decidable

SHARES = {"noise": 1.0}


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    rng = np.random.default_rng(3)
    coarse = np.kron(rng.integers(30, 220, (60, 60, 3)), np.ones((10, 10, 1)))
    image = np.clip(coarse + rng.normal(0, 8, coarse.shape), 0, 255).astype(np.uint8)
    return [Source("noise", "noise", image)]


def test_a_tile_carries_evidence_and_says_where_it_was(sources: list[Source]) -> None:
    for dark in (False, True):
        grey, place = draw_tile(sources, SHARES, np.random.default_rng(1), dark=dark)
        assert is_decidable(grey[None]).all() and place.group == "noise"
        assert (np.abs(grey - np.median(grey)) < 12).mean() > 0.9 or not dark


def test_doubted_is_what_lies_far_from_its_label(sources: list[Source]) -> None:
    is_doubted = doubted(load_weights())
    rng = np.random.default_rng(2)
    (one, _), (other, _) = (draw_tile(sources, SHARES, rng, dark=False) for _ in range(2))
    known = ("kind", "noise", "noise", 95)
    assert not is_doubted(HardPair(one, one, 1, *known))
    assert is_doubted(HardPair(one, one, 0, *known))
    assert not is_doubted(HardPair(one, other, 0, *known))


def test_the_most_alike_come_first_and_one_place_is_no_confusion(sources: list[Source]) -> None:
    rng = np.random.default_rng(4)
    drawn = [draw_tile(sources, SHARES, rng, dark=False) for _ in range(4)]
    grey = np.stack([tile for tile, _ in drawn] + [drawn[0][0]])
    here, elsewhere = drawn[0][1], Place(1, "another image", 0, 0)
    first, second = np.triu_indices(5, 1)
    same_place = confused(grey, [place for _, place in drawn] + [here], first, second, 3, load_weights())
    assert not ((same_place["tile1"] == 0) & (same_place["tile2"] == 4)).any()
    other_place = confused(
        grey, [place for _, place in drawn] + [elsewhere], first, second, 3, load_weights()
    )
    assert tuple(other_place.loc[0, ["tile1", "tile2"]]) == (0, 4)
    assert other_place["score"].is_monotonic_decreasing


def test_two_images_of_one_group_are_never_called_different(sources: list[Source]) -> None:
    grey, place = draw_tile(sources, SHARES, np.random.default_rng(5), dark=False)
    sibling = Place(1, place.group, place.row + 512, place.col)
    numbers = np.array([0]), np.array([1])
    assert confused(np.stack([grey, grey]), [place, sibling], *numbers, 1, load_weights()).empty


def test_files_hold_the_pairs_of_the_highest_scores(sources: list[Source], tmp_path: Path) -> None:
    table = write_confused(
        sources, SHARES, 10, tmp_path / "confused.npy", load_weights(), n_dark=6, n_light=8
    )
    pixels = np.load(tmp_path / "confused.npy", allow_pickle=False)
    assert pixels.shape == (10, 2, 256, 256) and not table["is_duplicate"].any()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "confused.csv", keep_default_na=False), table)
    described = [describe(np.ascontiguousarray(pixels[:, side])).verify for side in (0, 1)]
    scores = score_pairs(*described)
    assert (np.diff(scores) <= 0).all()
