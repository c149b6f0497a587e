"""Portions: processes find what threads do."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_cluster_run import crops
from test_find import table_bytes

from dupnet.files.workers import ProcessPool
from dupnet.find import describe, portions
from dupnet.find.describe import Described
from dupnet.find.engine import find_overlaps
from dupnet.find.overlaps import KEY, PLACE
from dupnet.find.portions import FEWEST_PAIRS, MOST_PAIRS, ByProcesses, cut, joined
from dupnet.find.recent import Kept
from dupnet.find.verification import PAIRS_AT_A_TIME
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import load_weights


def table(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 40, n)
    columns = [first, first + rng.integers(1, 9, n), *rng.integers(-99, 99, (2, n)), first % 3]
    return pd.DataFrame(dict(zip([*KEY, PLACE[0]], columns, strict=True))).assign(
        y=rng.integers(0, 9000, n), x=rng.integers(0, 9000, n), n_votes=np.arange(n)
    )


@pytest.mark.parametrize("n", [0, 1, 100])
def test_portions_are_joined_to_what_they_were_cut_from(n: int) -> None:
    pairs = table(n)
    parts = cut(pairs, 16)
    assert [len(part) for part, _ in parts] == ([16] * 6 + [4] if n == 100 else [n])
    for part, images in parts:
        ends = part[KEY[:2]].to_numpy()
        assert np.array_equal(np.unique(ends), np.arange(len(images)))
    found = joined(pairs, parts, [part.assign(score=part["n_votes"] / 2) for part, _ in parts])
    pd.testing.assert_frame_equal(found.drop(columns="score"), pairs)
    assert (found["score"] == pairs["n_votes"] / 2).all()


def test_portions_hold_what_is_judged_together() -> None:
    assert MOST_PAIRS % PAIRS_AT_A_TIME == FEWEST_PAIRS % PAIRS_AT_A_TIME == 0


def test_processes_find_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = crops(tmp_path / "images", 24, (150, 300), 1)
    (images / "empty.jpg").touch()
    find_overlaps(images, out=tmp_path / "threads", report=False)
    asked: list[tuple[str, int, int]] = []
    spread = ProcessPool.map

    def counted(pool: ProcessPool, function: Any, items: Any) -> Any:
        tasks = list(items)
        asked.append((getattr(function, "func", function).__name__, len(tasks), pool.workers))
        return spread(pool, function, tasks)

    monkeypatch.setattr(ProcessPool, "map", counted)
    for module in (describe, portions):
        monkeypatch.setattr(module, "PROCESSES_FROM", 8)
    monkeypatch.setattr(portions, "FEWEST_PAIRS", 2)
    monkeypatch.setattr(portions, "MOST_PAIRS", PAIRS_AT_A_TIME)
    find_overlaps(images, out=tmp_path / "one", report=False, workers=1)
    assert not asked
    find_overlaps(images, out=tmp_path / "processes", report=False, workers=2)
    expected = table_bytes(tmp_path / "threads")
    assert expected["overlaps.csv"].count(b"\n") > PAIRS_AT_A_TIME  # more than one portion
    assert table_bytes(tmp_path / "one") == table_bytes(tmp_path / "processes") == expected
    assert [(name, workers) for name, _, workers in asked[:3]] == [
        ("describe_points", 2), ("refined", 2), ("judged", 2)
    ]  # fmt: skip
    assert asked[0][1] > 1 and asked[2][1] > 1


def test_tiles_are_described_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their calls are long: threads are as fast, and start at once."""
    monkeypatch.setattr(describe, "PROCESSES_FROM", 2)
    monkeypatch.setattr(ProcessPool, "map", None)
    images = crops(tmp_path / "images", 4, (256, 256), 1)
    find_overlaps(images, out=tmp_path / "out", grid=64, report=False, workers=2)
    assert (tmp_path / "out" / "overlaps.csv").exists()


def test_a_process_is_sent_its_own_images_and_what_the_run_reads_with(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    described = Described(names, np.array([[64, 70], [65, 71], [66, 72]]), pd.DataFrame(), pd.DataFrame())
    weights = replace(load_weights(), threshold=0.25)
    rendering = Rendering(bands=(3, 2, 1))
    run = ByProcesses({name: tmp_path / name for name in names}, described, rendering, weights, None, False)
    sent = run._portion(table(1), np.array([0, 2]))
    assert sent.described.images == list(sent.files) == ["a", "c"]
    assert sent.described.sizes.tolist() == [[64, 70], [66, 72]]
    assert sent.rendering == rendering and pickled(sent.weights).threshold == 0.25


def pickled(what: Any) -> Any:
    return pickle.loads(pickle.dumps(what))  # noqa: S301 - our own


def test_what_another_process_need_not_be_sent() -> None:
    kept = Kept[str](10)
    kept.offer("a", "A", 4)
    sent = pickled(kept)
    sent.offer("b", "B", 1)
    assert kept.get("a") == "A" and sent.get("a") is sent.get("b") is None
    assert pickled(load_weights()) is load_weights()
    assert len(pickle.dumps(load_weights())) < 200
