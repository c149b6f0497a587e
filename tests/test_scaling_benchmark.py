"""The cost model of a cluster, and a run that is held against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.free_offsets.lookalikes import ground
from benchmarks.scaling import offsets
from benchmarks.scaling.__main__ import UNITS, check, cost, first_of, work
from dupnet.images.reading import read_image

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


def test_exponents_are_those_of_the_seconds() -> None:
    sizes = np.array([1000, 2000, 4000])
    steps = {"linear": sizes / 100.0, "steep": (sizes / 1000.0) ** 1.5, "once": np.array([1.0])}
    rows = [
        {"images": size, "step": step, "seconds": second, "cpu_seconds": second * size}
        for step, seconds in steps.items()
        for size, second in zip(sizes, seconds, strict=False)
    ]
    fitted = offsets.exponents(pd.DataFrame(rows))
    assert fitted.values.tolist() == [["linear", 1.0, 2.0, 3], ["steep", 1.5, 2.5, 3]]


def test_the_search_at_any_offset_is_measured_step_by_step(tmp_path: Path) -> None:
    np.save(tmp_path / "acquisition.npy", ground(1200, 0))
    command = f"--acquisition {tmp_path}/acquisition.npy --work {tmp_path}/work --out {tmp_path} --sizes"
    for n_images in ("16", "24"):  # one at a time: what was measured before stays
        assert offsets.main([*command.split(), n_images]) == 0
    table = pd.read_csv(tmp_path / "scaling_offsets.csv")
    whole = table[table["step"] == offsets.WHOLE]
    assert whole["images"].tolist() == [16, 24]
    assert (whole["pairs"] >= 8).all() and (whole["recall"] > 0.5).all()
    assert not whole[["wrong_offset", "false"]].any(axis=None)
    steps = table[table["images"] == 16].set_index("step")["seconds"]
    assert {"describe points", "join points", "judge"} < set(steps.index)
    assert steps.drop(offsets.WHOLE).sum() <= steps[offsets.WHOLE]
    assert (table["peak_mb"] > 20).all() and (table["of_floor"] >= 0).all()
    fitted = pd.read_csv(tmp_path / "scaling_offsets_exponents.csv")
    assert set(fitted["step"]) == set(table["step"])


def test_large_collections_are_cut_from_more_ground(tmp_path: Path) -> None:
    """500 x 500 px, eight versions of it, three times covered: room for 37 crops."""
    pictures = [np.full((500, 500, 3), level, np.uint8) for level in (80, 120)]
    for n_images, levels in ((30, {80}), (70, {80, 175}), (140, {80, 120, 135, 175})):
        home = tmp_path / str(n_images)
        offsets.cut(lambda: pictures, home, n_images)
        images = sorted((home / "images").iterdir())
        found = np.array([read_image(path).mean() for path in images])
        assert len(images) == n_images
        assert {min(levels, key=lambda level: abs(level - value)) for value in found} == levels
