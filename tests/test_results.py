"""Results: what was written is read back, and a folder that holds none is told from one that does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.find.describe import Described
from dupnet.find.groups import Resolution
from dupnet.find.overlaps import COLUMNS, JUDGED, REJECTED_COLUMNS, REVISIT_COLUMNS
from dupnet.find.results import (
    GROUP_COLUMNS,
    FindResult,
    conclude,
    read_results,
    read_table,
    write_run,
    write_tables,
)
from dupnet.network.descriptors import untrained_weights
from dupnet.tiles import Grid

TABLES = ("overlaps", "groups", "revisits", "rejected", "refused", "unreadable", "converted")


def table(columns: Sequence[str], *rows: tuple[object, ...]) -> pd.DataFrame:
    found = pd.DataFrame(list(rows), columns=list(columns))
    whole = ["row", "col", "row_offset", "col_offset", "y_residual", "x_residual"]
    return found.astype({name: "Int64" for name in whole if name in columns})


def a_result(**changes: object) -> FindResult:
    """Names, tags and reasons that could be taken for numbers, for nothing, or for a formula."""
    parts = {
        "overlaps": table(
            COLUMNS,
            ("1e5", "NA", "07", 0, -1, 0, -256, 768, 512, 6, 6, 0, 0.75, "duplicate"),
            ("=1+1", "new\r\nline", "", pd.NA, pd.NA, 3, 0, 765, 768, 9, 0, 0, np.nan, "undecidable"),
        ),
        "groups": table(
            GROUP_COLUMNS,
            ("007", 0, 0, 0, 0, 0, 0, 768, 768),
            ("nan", 0, 1, pd.NA, pd.NA, 17, 3, 99, 70),
            ("é", 5, 2, 0, 1, 0, 256, 768, 768),
        ),
        "revisits": table(REVISIT_COLUMNS, ("007", "nan", -3, 5, 60, 64, 12, 0.25)),
        "rejected": table(
            REJECTED_COLUMNS,
            ("1", "2", "08", 0, 0, 0, 0, 768, 768, 9, 9, 0, 0.5, "duplicate", "loop", 0, -256),
            ("1", "3", "", pd.NA, pd.NA, 5, 0, 99, 9, 1, 1, 0, 0.5, "altered", "neighbours", pd.NA, pd.NA),
        ),
        "refused": table(COLUMNS, ("4", "5", "", pd.NA, pd.NA, 7, -2, 300, 200, 4, 4, 1, 0.25, "refused")),
        "unreadable": table(["image", "reason"], ("None", "NA"), ("", 'a, "b"')),
        "converted": table(["image", "note"]),
        "grid": Grid(4, 2, 128),
        "folders": (Path("/one"), Path("/two, three")),
        "options": {"against": None, "tile_size": 256},
        "searched": {"offsets": "grid", "grid": 256, "smallest_region": 256, "against": False},
        "counts": {"overlaps": 2},
        "seconds": {"search": 1.23456},
        "versions": {"dupnet": "1"},
    }
    return FindResult(**(parts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("grid", [Grid(4, 2, 128), None])
def test_written_and_read_back(grid: Grid | None, tmp_path: Path) -> None:
    result = a_result(grid=grid)
    write_tables(result, tmp_path)
    with pytest.raises(FileNotFoundError, match="let it finish"):
        read_results(tmp_path)
    write_run(result, tmp_path)
    found = read_results(tmp_path)
    for name in TABLES:
        assert list(getattr(found, name).columns) == list(getattr(result, name).columns)
        pd.testing.assert_frame_equal(getattr(found, name), getattr(result, name), check_dtype=False)
    for name in ("grid", "folders", "options", "searched", "counts", "versions"):
        assert getattr(found, name) == getattr(result, name)
    assert found.seconds == {"search": 1.235}
    # Whole numbers stay whole where some are missing.
    assert found.groups["row"].dtype == found.overlaps["row_offset"].dtype == "Int64"
    assert (tmp_path / "groups.csv").read_text().splitlines()[2] == "nan,0,1,,,17,3,99,70"
    parquet = pd.read_parquet(tmp_path / "overlaps.parquet")
    pd.testing.assert_frame_equal(parquet, result.overlaps, check_dtype=False)


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_tables(a_result(), tmp_path / name)
        write_run(a_result(), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_results_of_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no finished run"):
        read_results(tmp_path)


def test_results_of_another_kind_of_run(tmp_path: Path) -> None:
    """A run.json that another program, or a later version, wrote is an error in words."""
    for content in (json.dumps({"tool": "another"}), "[]", "{", '{"grid": {"rows": 3}}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ValueError, match=r"not written by this version of `dupnet find`"):
            read_results(tmp_path)


def test_a_record_with_something_missing_or_impossible_is_refused(tmp_path: Path) -> None:
    write_tables(a_result(), tmp_path)
    write_run(a_result(), tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    wrong = [{key: value for key, value in record.items() if key != name} for name in record]
    wrong += [record | {"grid": record["grid"] | {"rows": 0}}, record | {"grid": {"sides": 3}}]
    wrong += [record | {"folders": [1]}, record | {"folders": None}]
    for text in [*map(json.dumps, wrong), "[" * 100_000]:
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ValueError, match=r"run\.json' was not written by this version .*run it again"):
            read_results(tmp_path)


def test_a_table_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    write_tables(a_result(), tmp_path)
    write_run(a_result(), tmp_path)
    for name in TABLES:
        path = tmp_path / f"{name}.csv"
        whole = path.read_bytes()
        table = read_table(path)
        for column in table.columns:
            table.drop(columns=column).to_csv(path, index=False)
            with pytest.raises(ValueError, match=rf"{name}\.csv' lacks the column\(s\) {column}; write it"):
                read_results(tmp_path)
        path.write_bytes(whole)
    read_results(tmp_path)


TEXT = ["image", "image1", "image2", "overlap_tag", "verdict", "reason", "note", "split"]


def test_cells_are_text_or_numbers_by_their_column(tmp_path: Path) -> None:
    for column in TEXT:
        (tmp_path / "a.csv").write_text(f"{column},score,row\n007,,1\n1e5,0.5,\nNA,1,2\n,1,2\n")
        found = read_table(tmp_path / "a.csv")
        assert found["row"].dtype == "Int64"
        assert found[column].tolist() == ["007", "1e5", "NA", ""]
        np.testing.assert_array_equal(found["score"], [np.nan, 0.5, 1, 1])
        assert found["row"].tolist() == [1, pd.NA, 2, 2]
    (tmp_path / "a.csv").write_text("image,score\n")
    assert read_table(tmp_path / "a.csv").columns.tolist() == ["image", "score"]


def test_an_image_is_looked_up_in_the_folders_in_order(tmp_path: Path) -> None:
    for name in ("two/a", "three/a", "three/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    result = a_result(folders=tuple(tmp_path / name for name in ("one", "two", "three")))
    assert (result.path("a"), result.path("b")) == (tmp_path / "two" / "a", tmp_path / "three" / "b")
    with pytest.raises(FileNotFoundError, match=r"'c' is in none of .*three"):
        result.path("c")


def test_the_summary_mentions_files_left_out_only_if_there_are_any() -> None:
    numbers = {"images": 11, "tiles": 99, "tiles_undecidable": 12, "overlaps": 34, "duplicate": 30}
    numbers |= {"altered": 1, "undecidable": 3, "rejected": 5, "revisits": 6}
    numbers |= {"groups_of_several": 2, "largest_group": 9, "unreadable": 0, "converted": 0}
    result = a_result(counts=numbers)
    counted = [
        "11 images; 99 whole tiles searched, 12 of them with too little texture",
        "34 overlaps: 30 duplicate, 1 altered, 3 undecidable; 5 contradictions, 6 revisits",
        "2 groups of several images, the largest of 9",
    ]
    assert result.summary().splitlines() == counted + result.coverage()
    more = a_result(counts=numbers | {"unreadable": 7, "converted": 8}).summary().splitlines()
    assert more[:3] + more[5:] == counted + result.coverage()
    assert [line.split()[0] for line in more[3:5]] == ["7", "8"]
    del numbers["tiles"], numbers["tiles_undecidable"]
    assert a_result(counts=numbers).summary().splitlines()[0] == "11 images"


def test_coverage_says_what_was_searched_and_what_the_search_could_not_see() -> None:
    nothing = {name: a_result().__dict__[name].iloc[:0] for name in ("overlaps", "unreadable")}
    searched = {"offsets": "grid", "grid": 128, "smallest_region": 256, "against": False}
    whole_tiles = "Searched: whole tiles on a grid of 128 px only."
    assert a_result(**nothing, searched=searched).coverage() == [whole_tiles]
    held = a_result(**nothing, searched=searched | {"against": True}).coverage()
    assert held[0] == whole_tiles and "pairs within either side" in held[1] and len(held) == 2
    lines = a_result(searched=searched).coverage()
    assert lines[0] == whole_tiles
    assert lines[1:] == [
        "Not searched: 2 files that were left out (unreadable.csv).",
        "Not decided: 1 overlaps that follow from the places of the images, but have too little texture to "
        "judge.",
    ]
    searched = {"offsets": "any", "grid": None, "smallest_region": 48, "against": False}
    (any_offset, others) = a_result(**nothing, searched=searched).coverage()
    assert any_offset == "Searched: any offset; regions from 48 px." and others.startswith("Not searched: ")
    both = a_result(**nothing, searched=searched | {"grid": 256}).coverage()[0]
    assert both == (
        "Searched: any offset; regions from 48 px. "
        "Images with few points or without a certain overlap were also searched by whole tiles of 256 px."
    )


def test_braces_in_what_is_said_are_no_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FindResult, "coverage", lambda self: ["Searched: {images} and {nothing}."])
    numbers = dict.fromkeys(
        ("images", "overlaps", "duplicate", "altered", "undecidable", "rejected", "revisits"), 1
    )
    numbers |= dict.fromkeys(("groups_of_several", "largest_group", "unreadable", "converted"), 1)
    assert a_result(counts=numbers).summary().endswith("\nSearched: {images} and {nothing}.")


def test_groups_are_looked_up_for_a_table_of_ones_own() -> None:
    result = a_result()
    groups = result.groups_for(["é", "007", "é", "nan"])
    assert groups.dtype == np.int64
    assert groups.tolist() == [5, 0, 5, 0]
    assert result.groups_for([]).tolist() == []
    with pytest.raises(ValueError, match="'missing' is not in the collection"):
        result.groups_for(["007", "missing", "other"])
    with pytest.raises(ValueError, match="'missing' is not in the collection"):
        result.groups_for(pd.Series(["007", "missing"], index=[7, 8]))


def judged(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[*JUDGED, "n_votes"])


def concluded(grid: Grid | None) -> FindResult:
    """Four images: 0 and 1 overlap on the grid, 2 off it; 3 is joined by a rejected overlap alone."""
    places = {"group": [0, 0, 0, 0], "mosaic": [0, 0, 0, 1], "y": [0, 16, 7, 0], "x": [32, 0, 0, 0]}
    overlaps = [
        (0, 1, 16, -32, 32, 16, 2, 2, 0, 0.9, "duplicate", 2),
        (0, 2, 7, -32, 41, 16, 2, 2, 1, 0.7, "altered", 1),
        (1, 2, -9, 0, 39, 48, 2, 0, 0, np.nan, "undecidable", 0),
    ]
    rejected = judged((2, 3, 0, 0, 48, 48, 9, 9, 0, 0.6, "duplicate", 1)).assign(
        reason="neighbours", y_residual=pd.array([pd.NA], "Int64"), x_residual=pd.array([pd.NA], "Int64")
    )
    resolution = Resolution(
        overlaps=judged(*overlaps),
        places=pd.DataFrame(places),
        rejected=rejected,
        revisits=judged((1, 3, 0, 5, 48, 43, 9, 8, 3, 0.2, "revisit", 6)).assign(agreeing_share=0.75),
        refused=judged(
            (0, 3, 1, 1, 47, 47, 9, 9, 9, 0.019, "refused", 3),
            (1, 3, 2, 1, 46, 47, 9, 9, 1, 0.02, "refused", 3),
            (2, 3, 3, 1, 45, 47, 9, 9, 4, 0.001, "refused", 3),
        ),
        n_stacked=0,
    )
    described = Described(
        ["a", "b", "c", "d"],
        np.array([(48, 48), (48, 48), (48, 50), (48, 48)]),
        table(["image", "reason"], ("z", "empty file")),
        table(["image", "note"]),
    )
    return conclude(
        resolution,
        described,
        grid=grid,
        weights=untrained_weights(),
        folders=[Path("/one")],
        options={},
        searched={"offsets": "any", "grid": None, "smallest_region": 48, "against": False},
        counts={"tiles": 36},
        seconds={},
    )


def test_a_resolution_becomes_tables_with_names() -> None:
    result = concluded(Grid(3, 3, 16))
    assert list(result.overlaps.columns) == list(COLUMNS)
    assert result.overlaps[["image1", "image2", "overlap_tag", "y_offset", "x_offset"]].values.tolist() == [
        ["a", "b", "36", 16, -32],
        ["a", "c", "", 7, -32],
        ["b", "c", "", -9, 0],
    ]
    assert list(result.groups.columns) == list(GROUP_COLUMNS)
    assert result.groups.values.tolist() == [
        ["a", 0, 0, 0, 2, 0, 32, 48, 48],
        ["b", 0, 0, 1, 0, 16, 0, 48, 48],
        ["c", 0, 0, pd.NA, pd.NA, 7, 0, 48, 50],
        ["d", 0, 1, 0, 0, 0, 0, 48, 48],
    ]
    assert list(result.rejected.columns) == list(REJECTED_COLUMNS)
    assert result.rejected[["image1", "image2", "reason"]].values.tolist() == [["c", "d", "neighbours"]]
    assert result.revisits.values.tolist() == [["b", "d", 0, 5, 48, 43, 6, 0.2, 0.75]]
    # Not the one whose tiles all differ and whose score is low.
    closely = result.refused[["image1", "image2", "y_offset", "verdict"]].values.tolist()
    assert closely == [["b", "d", 2, "refused"], ["c", "d", 3, "refused"]]
    expected = {"images": 4, "unreadable": 1, "converted": 0, "tiles": 36, "overlaps": 3, "duplicate": 1}
    expected |= {"altered": 1, "undecidable": 1, "revisits": 1, "rejected": 1, "groups": 1}
    expected |= {"groups_of_several": 1, "largest_group": 4, "images_in_groups": 4, "stacked": 0}
    expected["refused_closely"] = 2
    assert result.counts == expected


def test_without_a_grid_nothing_is_told_in_tiles() -> None:
    result = concluded(None)
    assert result.overlaps["overlap_tag"].tolist() == [""] * 3
    for found, names in ((result.overlaps, ["row_offset", "col_offset"]), (result.groups, ["row", "col"])):
        assert found[names].isna().all(axis=None)
    assert result.groups[["y", "x"]].equals(concluded(Grid(3, 3, 16)).groups[["y", "x"]])
