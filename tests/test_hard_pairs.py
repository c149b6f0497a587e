"""Hard pairs: reproducible, labelled as drawn, decidable, and of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.acquisitions.alterations import QUALITY_RANGE
from dupnet.acquisitions.sea import synthetic_sea
from dupnet.metrics.pair_metrics import correlation
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe, untrained_weights
from dupnet.pairs.reader import is_another
from dupnet.tiles import is_decidable
from dupnet.training import hard_pairs
from dupnet.training.crops import Source
from dupnet.training.hard_pairs import (
    KINDS,
    USUAL_KINDS,
    draw_faint_pair,
    draw_pair,
    draw_usual_pair,
    write_pairs,
)

SHARES = {"sea": 0.5, "land": 0.5}


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    sea = synthetic_sea(768, 1024, seed=3)
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(20, 235, (96, 128, 3)), np.ones((8, 8, 1)))
    land = np.clip(blocks + rng.normal(0, 9, blocks.shape), 0, 255).astype(np.uint8)
    return [Source("sea", "sea", sea), Source("land", "land", land)]


@pytest.fixture(scope="module")
def drawn(sources: list[Source]) -> list[hard_pairs.HardPair]:
    return [draw_pair(sources, SHARES, 7, index) for index in range(120)]


def test_shares_of_kinds_add_up() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)


def test_a_pair_depends_on_seed_and_index_alone(
    sources: list[Source], drawn: list[hard_pairs.HardPair]
) -> None:
    again = draw_pair(sources, SHARES, 7, 30)
    np.testing.assert_array_equal(again.grey1, drawn[30].grey1)
    assert again[2:] == drawn[30][2:]
    other = draw_pair(sources, SHARES, 8, 30)
    assert not np.array_equal(other.grey1, drawn[30].grey1)


def test_both_tiles_carry_evidence(drawn: list[hard_pairs.HardPair]) -> None:
    assert is_decidable(np.stack([tile for pair in drawn for tile in pair[:2]])).all()


def test_half_are_duplicates_and_kinds_vary(drawn: list[hard_pairs.HardPair]) -> None:
    kinds = pd.Series([pair.kind for pair in drawn])
    assert 0.35 < (kinds == "duplicate").mean() < 0.65
    assert set(kinds) <= {"duplicate", *KINDS} and kinds.nunique() >= 7
    assert all((pair.kind == "duplicate") == bool(pair.is_duplicate) for pair in drawn)


def test_no_pair_is_the_same_picture_twice_unless_a_duplicate(drawn: list[hard_pairs.HardPair]) -> None:
    for pair in drawn:
        if not pair.is_duplicate:
            assert not np.array_equal(pair.grey1, pair.grey2)


def test_the_shipped_network_tells_most_of_them(drawn: list[hard_pairs.HardPair]) -> None:
    first, second = (np.stack([pair[side] for pair in drawn]) for side in (0, 1))
    scores = score_pairs(describe(first).verify, describe(second).verify)
    right = (scores >= 0.5) == np.array([pair.is_duplicate for pair in drawn], bool)
    assert right.mean() > 0.9


@pytest.mark.parametrize("workers", [1, 2])
def test_files_hold_the_descriptors_of_what_was_drawn(
    sources: list[Source], drawn: list[hard_pairs.HardPair], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, workers: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(hard_pairs, "PAIRS_AT_A_TIME", 5)
    table = write_pairs(sources, SHARES, 12, tmp_path / "pairs.npy", seed=7, workers=workers)
    verify = np.load(tmp_path / "pairs.npy", allow_pickle=False)
    assert verify.shape == (12, 2, 4096)
    for side in (0, 1):
        expected = describe(np.stack([pair[side] for pair in drawn[:12]]), untrained_weights()).verify
        codes = slice(0, 56 * 64)  # a projection on a tie may be rounded either way
        differences = verify[:, side, codes].view(np.int8).astype(int) - expected[:, codes].view(np.int8)
        assert np.abs(differences).max() <= 1
        np.testing.assert_array_equal(verify[:, side, 63 * 64 :], expected[:, 63 * 64 :])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "pairs.csv"), table)
    assert table["kind"].tolist() == [pair.kind for pair in drawn[:12]]


def test_usual_pairs_are_gentle_and_of_the_usual_kinds(sources: list[Source]) -> None:
    pairs = [draw_usual_pair(sources, SHARES, 3, index) for index in range(60)]
    assert {pair.kind for pair in pairs} == {"duplicate", *USUAL_KINDS}
    assert all((pair.kind == "duplicate") == bool(pair.is_duplicate) for pair in pairs)
    low, high = QUALITY_RANGE
    assert all(low <= pair.quality <= high for pair in pairs)
    assert is_decidable(np.stack([tile for pair in pairs for tile in pair[:2]])).all()
    alike = [correlation(pair.grey1, pair.grey2) for pair in pairs if pair.is_duplicate]
    assert min(alike) > 0.5
    again = draw_usual_pair(sources, SHARES, 3, 17)
    np.testing.assert_array_equal(again.grey2, pairs[17].grey2)


def test_faint_pairs_show_little_and_their_changes_show(sources: list[Source]) -> None:
    pairs = [draw_faint_pair(sources, SHARES, 3, index) for index in range(40)]
    assert {pair.kind for pair in pairs} == {"duplicate", "faint"}
    assert all((pair.kind == "duplicate") == bool(pair.is_duplicate) for pair in pairs)
    assert is_decidable(np.stack([tile for pair in pairs for tile in pair[:2]])).all()
    dark = [np.ptp(np.percentile(pair.grey1, [1, 99])) < 14 for pair in pairs]
    assert 0.15 < np.mean(dark) < 0.9
    for pair in pairs:
        assert pair.is_duplicate or is_another(pair.grey1, pair.grey2)
    again = draw_faint_pair(sources, SHARES, 3, 11)
    np.testing.assert_array_equal(again.grey1, pairs[11].grey1)


def test_a_process_that_draws_ends_with_the_one_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(hard_pairs, "end_with", asked.append)
    monkeypatch.setattr(hard_pairs.cv2, "setNumThreads", lambda _: None)
    monkeypatch.setattr(hard_pairs, "threadpool_limits", lambda _: None)
    hard_pairs._Draw([], {}, 0, draw_pair).adopt(123)
    assert asked == [123]
