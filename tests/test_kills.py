"""Kills at random moments of every step, on one machine and of the client of a cluster."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_distributed import Cluster

from benchmarks.collections.kills import kill_and_resume

IMAGES = Path(__file__).parents[1] / "data" / "sample" / "images"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Every third image of the sample: each kill takes a run."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in sorted(os.listdir(IMAGES))[::3]:
        shutil.copy(IMAGES / name, folder)
    return folder


ON_ONE_MACHINE: dict[str, tuple[int, dict[str, Any], tuple[str, ...]]] = {
    "any offset": (200, {}, ("start", "describe_points", "join_points", "judge", "tables")),
    "grid": (60, {"grid": 256}, ("start", "describe_tiles", "search_tiles", "judge", "tables")),
}
"""By case: kills, options, and the steps that some of them must have met."""


@pytest.mark.soak
@pytest.mark.parametrize("case", ON_ONE_MACHINE)
def test_killed_on_one_machine(case: str, images: Path, tmp_path: Path, tally: Callable[..., None]) -> None:
    kills, options, steps = ON_ONE_MACHINE[case]
    _soak(case, steps, images, tmp_path, tally, kills=kills, **options)


@pytest.mark.soak
def test_killed_as_the_client_of_a_cluster(images: Path, tmp_path: Path, tally: Callable[..., None]) -> None:
    """The workers live and go on."""
    cluster = Cluster(tmp_path)
    try:
        cluster.start_workers()
        options = {"scheduler": cluster.address, "images_a_task": 4, "points_a_slice": 5000}
        (tmp_path / "first").mkdir()
        kill_and_resume(images, tmp_path / "first", 0, 0, **options)  # workers take longer the first time
        steps = ("start", "describe_points", "join_points", "judge", "tables")
        _soak("cluster, any offset", steps, images, tmp_path, tally, kills=60, **options)
    finally:
        cluster.close()


def _soak(
    case: str,
    steps: tuple[str, ...],
    images: Path,
    work: Path,
    tally: Callable[..., None],
    **options: Any,
) -> None:
    start = time.perf_counter()
    counts = kill_and_resume(images, work, seed=1, **options)
    seconds = round(time.perf_counter() - start)
    tally("soak", case=case, images=len(os.listdir(images)), **counts, seconds=seconds)
    assert counts["kills"] >= options["kills"]
    assert all(counts[f"kills_{step}"] for step in steps)
    assert counts["differences"] == 0
