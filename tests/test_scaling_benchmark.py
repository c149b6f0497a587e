"""The cost model of a cluster, and a run that is held against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scaling.__main__ import UNITS, check, cost, first_of, work

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "images"

RATES = dict.fromkeys(UNITS, 1.0) | {
    "describe an image": 5.0,
    "hash a tile": 0.25,
    "search, a tile of the two parts of a task": 0.5,
    "score a pair of tiles": 2.0,
    "a task, beside its work": 0.125,
}


def test_every_task_counts() -> None:
    found = work(n_images=10, n_tiles=90, n_pairs=1500, images_a_task=4, tiles_a_part=30, rates=RATES)
    assert found["tasks"] == {"describe": 3, "hash": 3, "search": 6, "verify": 2}
    search = 3 * 60 * 0.5 + 3 * 30 * 0.5  # three tasks of two parts, three of one
    expected = {"describe": 50, "hash": 22.5, "search": search, "verify": 3000, "tasks": 14 * 0.125}
    assert found["seconds"] == pytest.approx(expected)


def test_workers_share_all_but_the_clients_part() -> None:
    one, four = (cost(192_556, n, pairs_an_image=17, rates=RATES) for n in (1, 4))
    assert one["describe_tasks"] == four["describe_tasks"] == 377
    assert four["client_hours"] == one["client_hours"] == pytest.approx(192_556 / 3600)
    for step in ("describe", "hash", "search", "verify"):
        assert four[f"{step}_hours"] == pytest.approx(one[f"{step}_hours"] / 4)
    started = RATES["start a worker"] / 3600
    assert four["core_hours"] == pytest.approx(one["core_hours"] + 3 * started)
    assert four["hours"] - four["client_hours"] == pytest.approx(four["core_hours"] / 4)


@pytest.mark.distributed
def test_a_real_run_is_measured_part_by_part() -> None:
    with first_of(str(SAMPLE), 12) as folder:
        row = check(folder, 1, RATES)
    assert (row["images"], row["workers"]) == (12, 1)
    assert row["pairs_an_image"] > 0 and row["processor_seconds"] > 0
    assert row["model_verify"] == pytest.approx(2 * row["pairs_an_image"] * 12)
    assert row["model_describe"] == 60
