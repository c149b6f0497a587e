"""The collections benchmark: its counts, its hashes against brute force, and a run from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.collections.__main__ import against_truth, counts, main
from benchmarks.collections.hashes import KEY, accepted_overlaps
from dupnet.tiles import Grid, overlaps
from dupnet.training.recipe import COLUMNS


def test_each_outcome_is_told_apart() -> None:
    cases = [  # is_duplicate, n_decidable, verdict
        ("found", 1, 2, "duplicate"),
        ("undecided", 1, 2, "undecidable"),
        ("missed", 1, 2, None),
        ("undecidable", 1, 0, None),
        ("undecidable", 1, 0, "undecidable"),
        ("undecidable_accepted", 1, 0, "duplicate"),
        ("other_day", 0, 2, None),
        ("other_day_accepted", 0, 2, "duplicate"),
        ("false", None, 0, "duplicate"),
        ("nothing", None, 0, "undecidable"),
    ]
    table = pd.DataFrame(cases, columns=["expected", "is_duplicate", "n_decidable", "verdict"])
    table = table.assign(image1="a", image2=[f"b{number}" for number in range(len(table))])
    table = table.assign(row_offset=0, col_offset=1)
    truth = table[table["is_duplicate"].notna()].drop(columns="verdict")
    found = table[table["verdict"].notna()]
    outcome = against_truth(truth, found).set_index("image2")["outcome"]
    assert outcome[table["image2"]].tolist() == table["expected"].tolist()
    row = counts(truth, found)
    assert (row["overlaps"], row["undecidable"], row["other_day"]) == (3, 3, 2)
    assert row["recall"] == pytest.approx(1 / 3, abs=1e-5)
    assert row["precision"] == pytest.approx(1 / 3, abs=1e-5)


def test_an_overlap_at_another_offset_is_missed_and_false() -> None:
    place = {"image1": ["a"], "image2": ["b"], "row_offset": [0], "col_offset": [1]}
    truth = pd.DataFrame({**place, "is_duplicate": 1, "n_decidable": 6})
    found = pd.DataFrame({**place, "verdict": "duplicate"}).assign(col_offset=2)
    assert sorted(against_truth(truth, found)["outcome"]) == ["false", "missed"]


@pytest.mark.parametrize("max_distance", [0, 20, 26])
def test_overlaps_of_hashes_are_those_of_brute_force(max_distance: int) -> None:
    """More images than one block holds, few bits, so that every number of tiles agrees by chance."""
    rng = np.random.default_rng(0)
    names, grid = [f"{number:02}" for number in range(20)], Grid()
    codes = rng.integers(2**64, size=(len(names) * grid.n_tiles, 2), dtype=np.uint64)
    codes &= np.uint64(0xFFFFFFFF)
    codes[153:162] = codes[:9]
    decidable = rng.random(len(codes)) < 0.8
    expected = set()
    for one in range(len(names)):
        for other in range(one + 1, len(names)):
            for overlap in overlaps(grid):
                pairs = [
                    (one * grid.n_tiles + tile1, other * grid.n_tiles + tile2)
                    for tile1, tile2 in zip(overlap.tiles1, overlap.tiles2, strict=True)
                ]
                bits = [
                    int(np.bitwise_count(codes[row1] ^ codes[row2]).sum())
                    for row1, row2 in pairs
                    if decidable[row1] and decidable[row2]
                ]
                if bits and max(bits) <= max_distance:
                    expected.add((names[one], names[other], overlap.row_offset, overlap.col_offset))
    found = accepted_overlaps(codes, decidable, names, max_distance, grid)
    assert expected
    assert len(found) == len(expected)
    assert set(found[KEY].itertuples(index=False, name=None)) == expected


def test_the_benchmark_runs_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "acquisition.npy", rng.integers(256, size=(1792, 1792, 3), dtype=np.uint8))
    options = ["--derna", tmp_path / "acquisition.npy", "--n-images", "12", "--seeds", "3"]
    options += ["--ground", "whole", "test"]
    columns = {"train": (0, 1280), "validation": (1280, 1280), "test": (512, 1792)}
    monkeypatch.setitem(COLUMNS, "derna", columns)
    assert main([str(option) for option in [*options, "--out", tmp_path / "out"]]) == 0
    table = pd.read_csv(tmp_path / "out" / "collections.csv")
    assert table["cut"].tolist() == ["plain"] * 5 + ["hard"] * 5
    assert (table["seed"] == 3).all()
    assert (table["found"] + table["undecided"] + table["missed"] == table["overlaps"]).all()
    plain = table[(table["cut"] == "plain") & (table["signal"] == "dupnet find")].iloc[0]
    assert plain["overlaps"] > 0
    assert plain["found"] == plain["overlaps"]
    assert plain["false"] == 0
    assert (table["on_test_ground"] < table["overlaps"]).all()
    ground = pd.read_csv(tmp_path / "out" / "collections_test_ground.csv")
    assert ground["cut"].tolist() == ["plain"] * 7 + ["hard"] * 7
    alone = ground[ground["cut"] == "plain"].set_index("signal")
    for signal in ("dupnet find", *(name for name in alone.index if "correlation" in name)):
        assert alone.loc[signal, "found"] == alone.loc[signal, "overlaps"] > 0
        assert alone.loc[signal, "false"] == 0
    made = pd.read_csv(tmp_path / "out" / "made_by.csv").set_index("table")
    assert made.loc["collections.csv", "weights"] == made.loc["collections_test_ground.csv", "weights"]
    leaks = pd.read_csv(tmp_path / "out" / "collections_leaks.csv")
    assert leaks.loc[leaks["split"] == "random", "leaked_pixels"].max() > 0
    assert not leaks.loc[leaks["split"] == "dupnet split", "leaked_pixels"].any()
    assert "| plain | 3 | dupnet find |" in capsys.readouterr().out


def test_one_cut_alone_gives_its_rows_of_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "acquisition.npy", rng.integers(256, size=(1280, 1280, 3), dtype=np.uint8))
    tables = {}
    for cuts in ("plain hard", "hard"):
        options = f"--derna {tmp_path}/acquisition.npy --n-images 6 --seeds 3 --ground whole --cuts {cuts}"
        assert main([*options.split(), "--out", str(tmp_path / cuts)]) == 0
        tables[cuts] = pd.read_csv(tmp_path / cuts / "collections.csv")
    both = tables["plain hard"]
    pd.testing.assert_frame_equal(tables["hard"], both[both["cut"] == "hard"].reset_index(drop=True))
