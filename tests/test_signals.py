"""Labelled pairs and the measure of separation, against what the cutter knows and against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupnet.acquisitions.scenes import Collection, cut_collection
from dupnet.augment.variation import AugmentConfig
from dupnet.evaluation.signals import (
    FEWEST_ROWS_A_PROCESS,
    acquisitions,
    every_pair,
    known_overlaps,
    known_tiles,
    labelled_pairs,
    measure,
    pairs_of_overlaps,
    reach,
    separation,
)
from dupnet.images.listing import list_images
from dupnet.images.reading import read_image
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.pairs.reader import PairReader
from dupnet.tiles import Grid, overlap_of_tag, tile_slices

GRID = Grid(3, 3, 64)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Collection]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (48, 64, 3), np.uint8)
    acquisition = np.kron(coarse, np.ones((8, 8, 1), np.uint8)) ^ rng.integers(0, 16, (384, 512, 3), np.uint8)
    folder = tmp_path_factory.mktemp("cut")
    cut = cut_collection(acquisition, folder, image_size=192, stride=64, another_day_share=0.3, seed=1)
    return folder, cut


def test_duplicates_show_the_same_ground(collection: tuple[Path, Collection]) -> None:
    cut = collection[1]
    pairs = pairs_of_overlaps(cut.truth, GRID)
    assert len(pairs) == cut.truth["n_tiles"].sum()
    origin = cut.images.set_index("image")
    for row in pairs.itertuples():
        places = []
        for image, tile in ((row.image1, row.tile1), (row.image2, row.tile2)):
            row_of_tile, col_of_tile = divmod(tile, GRID.cols)
            places.append((origin.row[image] + row_of_tile, origin.col[image] + col_of_tile))
        assert places[0] == places[1]
        assert row.is_duplicate == int(origin.day[row.image1] == origin.day[row.image2])
        assert row.origin == ("overlap" if row.is_duplicate else "another_day")


def test_without_labels_overlaps_are_duplicates(collection: tuple[Path, Collection]) -> None:
    overlaps = collection[1].truth.drop(columns="is_duplicate").head(3)
    assert (pairs_of_overlaps(overlaps, GRID)["is_duplicate"] == 1).all()


def test_known_overlaps_reads_the_truth_with_its_leading_zeros(collection: tuple[Path, Collection]) -> None:
    folder, cut = collection
    found = known_overlaps(folder / "images")
    assert found["overlap_tag"].tolist() == cut.truth["overlap_tag"].tolist()
    assert found["overlap_tag"].str.startswith("0").any()
    assert found["is_duplicate"].sum() == cut.truth["is_duplicate"].sum()


def test_acquisitions(collection: tuple[Path, Collection], tmp_path: Path) -> None:
    folder, cut = collection
    names = cut.images["image"].tolist()[::-1][:3]
    assert acquisitions(folder / "images", [*names, "new.jpg"]).to_dict() == {
        **dict.fromkeys(names, "acquisition"),
        "new.jpg": "",
    }
    assert acquisitions(tmp_path / "images", names).tolist() == ["", "", ""]


def test_reach_counts_what_comes_along_with_the_duplicates() -> None:
    origin = ["overlap"] * 4 + ["another_day"] + ["unrelated"] * 3
    pairs = pd.DataFrame({"origin": origin, "is_duplicate": [1, 1, 1, 1, 0, 0, 0, 0]})
    pairs["correlation"] = [1, 0.9, 0.8, 0.7, 0.75, 0.1, 0.7, 0]
    pairs["bits"] = [0, 0, 1, 9, 0, 8, 10, 12]
    found = reach(pairs, ["correlation", "bits"], share=1).set_index("signal")
    assert found["reach"].tolist() == [0.7, 9]
    assert found["wrong_pairs"].tolist() == [2, 2]
    assert found["wrong_per_duplicate"].tolist() == [0.5, 0.5]
    assert found["wrong_another_day"].tolist() == [1, 1]
    assert found["safe"].isna().tolist() == [False, True] and found.loc["correlation", "safe"] == 0.8
    assert found["recall"].tolist() == [0.75, 0]
    assert found.loc["correlation", "auc"] == 14.5 / 16  # the tie counts half


def test_labelled_pairs_are_balanced_and_true(collection: tuple[Path, Collection]) -> None:
    folder, cut = collection
    names = list_images(folder / "images")
    pairs = labelled_pairs(folder / "images", names, cut.truth, n_pairs=60, grid=GRID)
    assert pairs["is_duplicate"].value_counts().to_dict() == {0: 30, 1: 30}
    assert set(pairs.loc[pairs["is_duplicate"] == 0, "origin"]) == {"another_day", "within_image"}
    known = {
        (row.image1, tile1, row.image2, tile2)
        for row in cut.truth.itertuples()
        if row.is_duplicate
        for tile1, tile2 in zip(*tiles_of(row.overlap_tag), strict=True)
    }
    for row in pairs.itertuples():
        same = (row.image1, row.tile1, row.image2, row.tile2) in known
        assert same == bool(row.is_duplicate)
    again = labelled_pairs(folder / "images", names, cut.truth, n_pairs=60, grid=GRID)
    pd.testing.assert_frame_equal(pairs, again)


def test_every_pair_knows_each_tile_by_its_place(collection: tuple[Path, Collection]) -> None:
    cut = collection[1]
    images = cut.images["image"].tolist()
    n = 9 * len(images)
    decidable = np.ones(n, bool)
    decidable[5] = False
    table = every_pair(images, decidable, cut.truth, GRID)
    assert len(table) == (n - 1) * (n - 2) // 2 and (table["row1"] < table["row2"]).all()
    assert not (table[["row1", "row2"]] == 5).any(axis=None)
    by_name = cut.images.set_index("image")
    places = {
        9 * number + tile: (by_name.row[name] + tile // 3, by_name.col[name] + tile % 3, by_name.day[name])
        for number, name in enumerate(images)
        for tile in range(9)
    }
    expected = []
    for row in table.itertuples():
        place1, place2 = places[row.row1], places[row.row2]
        same_place, same_day = place1[:2] == place2[:2], place1[2] == place2[2]
        expected.append(
            "overlap" if same_place and same_day else "another_day" if same_place else "unrelated"
        )
    assert table["origin"].tolist() == expected
    assert table["is_duplicate"].tolist() == [int(name == "overlap") for name in expected]
    assert set(expected) == {"overlap", "another_day", "unrelated"}


def test_known_tiles(collection: tuple[Path, Collection]) -> None:
    folder = collection[0] / "images"
    known = known_tiles(folder, n_images=4, grid=GRID)
    assert known.images == list_images(folder)[:4]
    assert known.tiles.shape == (36, 64, 64, 3)
    assert np.array_equal(known.tiles[9 + 5], read_image(folder / known.images[1])[tile_slices(5, GRID)])
    assert known.decidable.all() and len(known.pairs) == 36 * 35 // 2


def tiles_of(tag: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    overlap = overlap_of_tag(tag, GRID)
    return overlap.tiles1, overlap.tiles2


def test_measure_is_the_metric_of_the_two_tiles(collection: tuple[Path, Collection]) -> None:
    folder = collection[0] / "images"
    pairs = pairs_of_overlaps(collection[1].truth.head(4), GRID)
    found = measure(pairs, folder, ["unequal_values", "correlation"], tile_size=64)
    assert len(found) == len(pairs) and found.index.equals(pairs.index)
    for row in found.itertuples():
        tile1 = read_image(folder / row.image1)[tile_slices(row.tile1, GRID)]
        tile2 = read_image(folder / row.image2)[tile_slices(row.tile2, GRID)]
        assert row.unequal_values == PAIR_METRICS["unequal_values"](tile1, tile2)
        assert row.correlation == PAIR_METRICS["correlation"](tile1, tile2)
    first, _, _ = PairReader(pairs, folder, tile_size=64).pair(0)
    assert first.shape == (64, 64, 3)
    with pytest.raises(ValueError, match="no metric is called 'nonsense'"):
        measure(pairs, folder, ["nonsense"], tile_size=64)


def test_measure_in_processes_gives_the_same_numbers(collection: tuple[Path, Collection]) -> None:
    folder = collection[0] / "images"
    pairs = pairs_of_overlaps(collection[1].truth)
    pairs = pd.concat([pairs] * (2 * FEWEST_ROWS_A_PROCESS // len(pairs) + 1), ignore_index=True)
    settings = {"augment": AugmentConfig(), "another_day_share": 0.3, "seed": 1, "tile_size": 64}
    one, two = (measure(pairs, folder, ["unequal_values"], workers=n, **settings) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert one["unequal_values"].nunique() > 10


def test_measure_varies_the_tiles_as_the_reader_does(
    collection: tuple[Path, Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dupnet.pairs.reader.MIN_EVIDENCE_CELLS", 2)  # a tile of 64 px has but four cells
    folder = collection[0] / "images"
    pairs = pairs_of_overlaps(collection[1].truth.head(6), GRID)
    settings = {"augment": AugmentConfig(), "another_day_share": 0.5, "seed": 5, "tile_size": 64}
    reader = PairReader(pairs, folder, **settings)
    found = measure(pairs, folder, ["absolute_difference"], **settings)
    expected = [reader.pair(row) for row in range(len(pairs))]
    assert found["is_duplicate"].tolist() == [label for _, _, label in expected]
    assert 0 < found["is_duplicate"].sum() < pairs["is_duplicate"].sum()
    metric = PAIR_METRICS["absolute_difference"]
    assert found["absolute_difference"].tolist() == [metric(*tiles) for *tiles, _ in expected]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: 0 < sum(truth for _, truth in rows) < len(rows)
    )
)
def test_separation_against_brute_force(rows: list[tuple[int, bool]]) -> None:
    values, truth = (np.array(column) for column in zip(*rows, strict=True))
    table = pd.DataFrame({"score": values, "unequal_values": -values, "is_duplicate": truth.astype(int)})
    thresholds = [*sorted(set(values)), np.inf]
    errors = min(int(((values >= threshold) != truth).sum()) for threshold in thresholds)
    wins = [(a > b) + (a == b) / 2 for a in values[truth] for b in values[~truth]]
    found = separation(table, ["score", "unequal_values"]).set_index("signal")
    for signal, sign in (("score", 1), ("unequal_values", -1)):  # unequal_values counts: fewer is more alike
        row = found.loc[signal]
        assert row["errors"] == errors
        assert row["errors_per_38780"] == pytest.approx(errors / len(rows) * 38_780)
        assert row["auc"] == pytest.approx(np.mean(wins))
        assert row["recall"] == np.mean(values[truth] > values[~truth].max())  # so few: precision 1
        assert ((values >= sign * row["threshold"]) != truth).sum() == errors


def test_separation_lists_the_best_first() -> None:
    table = pd.DataFrame({"bad": [0.0, 1, 0, 1], "good": [0.0, 0, 1, 1], "is_duplicate": [0, 0, 1, 1]})
    assert separation(table, ["bad", "good"])["signal"].tolist() == ["good", "bad"]
