"""Results: what was written is read back, and a folder that holds none is told from one that does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dupnet.find.groups import CUT_COLUMNS
from dupnet.find.results import FindResult, read_results, read_table, write_run, write_tables
from dupnet.tiles import Grid

TABLES = ("overlaps", "groups", "cuts", "unreadable", "converted")
OVERLAP = ["image1", "image2", "overlap_tag", "row_offset", "col_offset", "n_tiles", "n_decidable", "score"]


def table(columns: list[str], *rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns)


def a_result(**changes: object) -> FindResult:
    """Names, tags and reasons that could be taken for numbers, for nothing, or for a formula."""
    parts = {
        "overlaps": table(
            [*OVERLAP, "verdict"],
            ("1e5", "NA", "07", 0, -1, 6, 6, 0.75, "duplicate"),
            ("=1+1", "new\r\nline", "08", 0, 0, 9, 0, np.nan, "undecidable"),
        ),
        "groups": table(["image", "group", "row", "col"], ("007", 0, 0, 0), ("nan", 1, 2, 3)),
        "cuts": table(list(CUT_COLUMNS)),
        "unreadable": table(["image", "reason"], ("None", "NA"), ("", 'a, "b"')),
        "converted": table(["image", "note"]),
        "grid": Grid(4, 2, 128),
        "folders": (Path("/one"), Path("/two, three")),
        "options": {"against": None, "tile_size": 256},
        "counts": {"overlaps": 2},
        "seconds": {"search": 1.23456},
        "versions": {"dupnet": "1"},
    }
    return FindResult(**(parts | changes))  # type: ignore[arg-type]


def test_written_and_read_back(tmp_path: Path) -> None:
    result = a_result()
    write_tables(result, tmp_path)
    with pytest.raises(FileNotFoundError, match="let it finish"):
        read_results(tmp_path)
    write_run(result, tmp_path)
    found = read_results(tmp_path)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(result, name), check_dtype=False)
    for name in ("grid", "folders", "options", "counts", "versions"):
        assert getattr(found, name) == getattr(result, name)
    assert found.seconds == {"search": 1.235}
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
        assert found[column].tolist() == ["007", "1e5", "NA", ""]
        np.testing.assert_array_equal(found["score"], [np.nan, 0.5, 1, 1])
        np.testing.assert_array_equal(found["row"], [1, np.nan, 2, 2])
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
    numbers = {"images": 11, "tiles": 99, "tiles_undecidable": 12, "overlaps": 34, "duplicate": 31}
    numbers |= {"undecidable": 3, "cuts": 5, "groups_of_several": 2, "largest_group": 9}
    said = a_result(counts=numbers | {"unreadable": 0, "converted": 0}).summary()
    assert said.splitlines() == [
        "11 images of 99 tiles, of which 12 show nothing to judge by",
        "34 overlaps: 31 duplicate, 3 undecidable; 5 contradictions",
        "2 groups of several images, the largest of 9",
    ]
    more = a_result(counts=numbers | {"unreadable": 7, "converted": 8}).summary().removeprefix(said)
    assert [line.split()[0] for line in more.splitlines()[1:]] == ["7", "8"]
