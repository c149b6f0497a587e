"""Mining: what is kept is what the network gets wrong, and never a true duplicate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe, load_weights
from dupnet.tiles import is_decidable
from dupnet.training import mining
from dupnet.training.crops import Place, Source
from dupnet.training.hard_pairs import draw_tile
from dupnet.training.mining import confused, write_confused

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


def test_the_most_alike_come_first_and_one_place_is_no_confusion(sources: list[Source]) -> None:
    rng = np.random.default_rng(4)
    drawn = [draw_tile(sources, SHARES, rng, dark=False) for _ in range(4)]
    grey = np.stack([tile for tile, _ in drawn] + [drawn[0][0]])
    verify, places = describe(grey).verify, [place for _, place in drawn]
    here, elsewhere = drawn[0][1], Place(1, "another image", 0, 0)
    same_place = confused(verify, [*places, here], 10, load_weights())
    assert not ((same_place["tile1"] == 0) & (same_place["tile2"] == 4)).any()
    other_place = confused(verify, [*places, elsewhere], 3, load_weights())
    assert tuple(other_place.loc[0, ["tile1", "tile2"]]) == (0, 4)
    assert other_place["score"].is_monotonic_decreasing and len(other_place) == 3


def test_two_images_of_one_group_are_never_called_different(sources: list[Source]) -> None:
    grey, place = draw_tile(sources, SHARES, np.random.default_rng(5), dark=False)
    sibling = Place(1, place.group, place.row + 512, place.col)
    verify = describe(np.stack([grey, grey])).verify
    assert confused(verify, [place, sibling], 1, load_weights()).empty


def test_files_hold_the_pairs_of_the_highest_scores(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining, "AT_A_TIME", 20)
    weights = load_weights()
    table = write_confused(sources, SHARES, 10, tmp_path / "confused.npy", weights, n_dark=6, n_light=8)
    assert (table[["is_duplicate", "quality"]] == (0, 90)).all(axis=None)
    verify = np.load(tmp_path / "confused.npy", allow_pickle=False)
    assert verify.shape == (10, 2, 4096) and not table["is_duplicate"].any()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "confused.csv", keep_default_na=False), table)
    scores = score_pairs(verify[:, 0], verify[:, 1])
    assert (np.diff(scores) <= 1e-6).all()
