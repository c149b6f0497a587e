"""Limits of the HLS shift: the measures on known tiles, and the rule that turns shares into limits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.augment.shifts import (
    STEPS,
    find_limits,
    measure_shifts,
    nearest_similarity,
    resaved_similarity,
    share_by_shift,
)
from dupnet.augment.variation import AugmentConfig, hls_shift, jpeg
from dupnet.metrics.pair_metrics import structural_similarity_channels


def tile(seed: int, size: int = 64) -> np.ndarray:
    levels = np.random.default_rng(seed).standard_normal((size, size, 3)).astype(np.float32)
    return np.clip((90, 120, 140) + 60 * cv2.GaussianBlur(levels, (0, 0), 1.5), 0, 255).astype(np.uint8)


def test_saving_again_costs_likeness_even_after_jpeg():
    first = jpeg(tile(0, 256), 75)
    assert structural_similarity_channels(first, jpeg(first, 75)) > 0.999  # the same blocks again
    assert 0.5 < resaved_similarity(first) < 0.99
    assert resaved_similarity(first, 40) < resaved_similarity(first, 75)


def test_nearest_is_a_different_tile():
    tiles = np.stack([tile(0), tile(1), tile(2), hls_shift(tile(0), lightness=-5)])
    found = nearest_similarity(tiles)
    expected = max(structural_similarity_channels(tiles[0], tiles[other]) for other in (1, 2))
    assert found[0] == pytest.approx(expected)
    assert found.max() < 0.5  # the fourth is a copy of the first and does not count
    assert np.isnan(nearest_similarity(tiles[[0, 3]])).all()


def test_measured_shifts_by_hand():
    tiles = np.stack([tile(0), tile(1)])
    table = measure_shifts(tiles, {"hue": (10,), "saturation": (20,)})
    assert len(table) == 2 * 4
    row = table[(table["tile"] == 1) & (table["channel"] == "saturation") & (table["shift"] == -20)].iloc[0]
    copy = hls_shift(tiles[1], saturation=-20)
    assert row["similarity"] == structural_similarity_channels(tiles[1], copy)
    assert row["sum_of_deltas"] == np.abs(copy.astype(int) - tiles[1]).sum()
    assert row["resaved"] == resaved_similarity(tiles[1])


def test_shares_by_counting():
    table = pd.DataFrame(
        {
            "tile": [0, 1, 2, 3],
            "channel": "hue",
            "shift": 5,
            "similarity": [0.9, 0.8, 0.7, 0.6],
            "sum_of_deltas": [1.0, 2.0, 3.0, 4.0],
            "resaved": [0.8, 0.8, 0.8, 0.8],
            "nearest": [0.1, 0.1, 0.9, np.nan],
        }
    )
    (found,) = share_by_shift(table).to_dict("records")
    assert found == pytest.approx(
        {
            "channel": "hue",
            "shift": 5,
            "looks_the_same": 0.5,
            "still_itself": 0.75,
            "similarity": 0.75,
            "sum_of_deltas": 2.5,
        }
    )


def test_limits_end_at_the_first_shift_that_falls_short():
    shares = pd.DataFrame(
        {
            "channel": ["hue"] * 5 + ["lightness"] * 2,
            "shift": [-20, -10, 10, 20, 30, -5, 5],
            "looks_the_same": [0.95, 0.9, 1.0, 0.7, 0.95, 0.5, 0.91],  # 30 comes after 20 has failed
        }
    )
    found = find_limits(shares, share=0.9)
    assert found.to_dict("records") == [
        {"channel": "hue", "low": -20, "high": 10},
        {"channel": "lightness", "low": 0, "high": 5},
    ]


def test_training_draws_within_what_the_notebook_found():
    shares = pd.read_csv(Path(__file__).parents[1] / "notebooks" / "results" / "hls_shift.csv")
    assert set(shares["collection"]) == {"sample", "Airbus"}
    found = pd.concat(find_limits(rows, share=0.9) for _, rows in shares.groupby("collection"))
    low, high = found.groupby("channel")["low"].max(), found.groupby("channel")["high"].min()
    config = AugmentConfig()
    assert (config.lightness_low, config.lightness_high) == (low["lightness"], high["lightness"])
    assert config.hue_limit == min(-low["hue"], high["hue"])
    assert config.saturation_limit == min(-low["saturation"], high["saturation"])


def test_steps_of_five_that_grow() -> None:
    for steps in STEPS.values():
        assert list(steps) == sorted(set(steps)) and not any(step % 5 for step in steps)
        assert steps[0] == 5 and set(range(5, 35, 5)) <= set(steps)  # finest where the limits are
