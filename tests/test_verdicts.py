"""What a person judged by eye: what follows from several verdicts, and what a result becomes by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results import found

from dupnet.find.judgements import apply_judgements, heed
from dupnet.find.results import FindResult
from dupnet.find.verdicts import COLUMNS, offset_of, settle
from dupnet.tiles import Grid


def judged(*rows: tuple[object, ...]) -> pd.DataFrame:
    """``image1, image2, y_offset, x_offset, verdict`` by letters."""
    return pd.DataFrame(rows, columns=["image1", "image2", "y_offset", "x_offset", "verdict"]).astype(
        {"y_offset": np.int64, "x_offset": np.int64}
    )


def verdict(table: pd.DataFrame, *row: object) -> str:
    return str(settle(table).of(judged((*row, "")))[0])


def test_of_two_duplicates_of_one_image_each_other_is_known() -> None:
    table = judged(("a", "b", 0, 10, "duplicate"), ("b", "c", 5, 0, "duplicate"))
    assert verdict(table, "a", "c", 5, 10) == "duplicate"
    assert verdict(table, "a", "c", 6, 8) == "duplicate", "places are exact to a pixel or two"
    assert verdict(table, "a", "c", 5, 40) == "", "another offset is another question"
    assert verdict(table, "a", "d", 5, 10) == ""
    assert verdict(table, "a", "b", 0, 10) == "duplicate"


def test_what_differs_from_one_differs_from_its_duplicates() -> None:
    table = judged(
        ("a", "b", 0, 10, "duplicate"), ("c", "d", 0, 20, "duplicate"), ("b", "c", 0, 5, "not_duplicate")
    )
    assert verdict(table, "a", "c", 0, 15) == "not_duplicate"
    assert verdict(table, "a", "d", 0, 35) == "not_duplicate"
    assert verdict(table, "b", "d", 0, 25) == "not_duplicate"
    assert verdict(table, "a", "d", 0, 99) == ""


def test_undecidable_is_said_of_one_overlap_alone() -> None:
    table = judged(("a", "b", 0, 0, "duplicate"), ("b", "c", 0, 0, "undecidable"))
    assert verdict(table, "b", "c", 0, 0) == "undecidable"
    assert verdict(table, "a", "c", 0, 0) == ""


def test_contradictions_are_listed_and_the_earlier_verdict_holds() -> None:
    table = judged(
        ("a", "b", 0, 0, "duplicate"),
        ("b", "c", 0, 0, "duplicate"),
        ("a", "c", 0, 50, "duplicate"),
        ("a", "c", 0, 0, "not_duplicate"),
    )
    wrong = settle(table).contradictions
    assert wrong[["image1", "image2", "x_offset", "verdict"]].values.tolist() == [
        ["a", "c", 50, "duplicate"],
        ["a", "c", 0, "not_duplicate"],
    ]
    assert wrong["reason"].str.contains("others").all()
    assert verdict(table, "a", "c", 0, 0) == "duplicate"
    assert settle(judged()).contradictions.empty


def test_a_tag_says_where_an_overlap_lies_on_a_grid() -> None:
    assert offset_of("08", Grid()) == (0, 0) and offset_of("08", None) is None
    assert offset_of("18", Grid()) == (0, 256)
    assert offset_of("99", Grid()) is None and offset_of("", Grid()) is None


# --- results --------------------------------------------------------------------------------------


def heeded(result: FindResult, *rows: tuple[int, int, int, int, str]) -> FindResult:
    table = pd.DataFrame(
        [(f"{one:03d}.jpg", f"{other:03d}.jpg", y, x, said) for one, other, y, x, said in rows],
        columns=["image1", "image2", "y_offset", "x_offset", "verdict"],
        dtype=object,
    )
    changed = apply_judgements(result, table)
    again = apply_judgements(changed, table)
    for name in ("overlaps", "groups", "rejected"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(changed, name), check_dtype=False)
    return changed


def test_an_overlap_that_is_none_parts_the_groups() -> None:
    result = found([(0, 0, 0), (0, 0, 40), (1, 0, 0), (1, 0, 40)])
    changed = heeded(result, (0, 1, 0, 40, "not_duplicate"))
    assert changed.groups["group"].tolist() == [0, 1, 2, 2]
    assert changed.groups["mosaic"].tolist() == [0, 1, 2, 2]
    assert changed.groups["x"].tolist() == [0, 0, 0, 40]
    assert changed.overlaps["image1"].tolist() == ["002.jpg"]
    assert changed.counts["groups"] == 3 and changed.counts["duplicate"] == 1
    assert changed.searched["judgements"] == {"heeded": 1, "implied": 0, "contradictions": 0}
    assert any("Judged by eye: 1 overlaps" in line for line in changed.coverage())


def test_an_overlap_that_was_not_found_joins_them() -> None:
    result = found([(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    changed = heeded(result, (0, 2, 5, -10, "duplicate"))
    assert changed.groups["group"].tolist() == [0, 1, 0]
    assert changed.groups[["y", "x"]].values.tolist() == [[0, 10], [0, 0], [5, 0]]
    row = changed.overlaps.iloc[0]
    assert (row["verdict"], row["height"], row["width"]) == ("duplicate", 95, 90)


def test_a_rejected_overlap_that_is_one_takes_its_place() -> None:
    result = found([(0, 0, 0), (1, 0, 0)], overlaps=[], rejected=[(0, 1, 0, 20)], groups=[0, 0])
    changed = heeded(result, (0, 1, 0, 20, "duplicate"))
    assert changed.rejected.empty and len(changed.overlaps) == 1
    assert changed.groups["mosaic"].tolist() == [0, 0] and changed.groups["x"].tolist() == [0, 20]
    nothing = heeded(result, (0, 1, 0, 20, "not_duplicate"))
    assert nothing.rejected.empty and nothing.groups["group"].tolist() == [0, 1]


def test_an_altered_or_undecidable_overlap_becomes_what_it_was_judged() -> None:
    result = found([(0, 0, 0), (0, 0, 0), (1, 0, 0)], overlaps=[(0, 1, 0, 0, "altered")])
    assert heeded(result, (0, 1, 0, 0, "duplicate")).overlaps["verdict"].tolist() == ["duplicate"]
    changed = heeded(result, (0, 1, 0, 0, "undecidable"))
    assert changed.overlaps["verdict"].tolist() == ["undecidable"]
    assert changed.groups["group"].tolist() == [0, 1, 2]


def test_what_follows_from_judgements_counts_too() -> None:
    result = found([(0, 0, 0)] * 3 + [(1, 0, 0)])
    changed = heeded(result, (0, 1, 0, 0, "duplicate"), (1, 2, 0, 0, "not_duplicate"))
    # 0 and 2 are none either, which nobody was asked.
    assert changed.searched["judgements"] == {"heeded": 2, "implied": 1, "contradictions": 0}
    assert changed.overlaps[["image1", "image2"]].values.tolist() == [["000.jpg", "001.jpg"]]
    assert changed.groups["group"].tolist() == [0, 0, 1, 2]


def test_a_person_outweighs_the_search() -> None:
    """The chain over image 2 would put 0 and 1 onto each other; a person says that they are none."""
    result = found([(0, 0, 0), (0, 0, 0), (0, 0, 60)])
    changed = heeded(result, (0, 1, 0, 0, "not_duplicate"))
    mosaics = changed.groups["mosaic"].tolist()
    assert mosaics[0] != mosaics[1]
    assert len(changed.rejected) == 1 and changed.groups["group"].tolist() == [0, 0, 0]


def test_judgements_on_what_is_not_there_change_nothing() -> None:
    result = found([(0, 0, 0), (0, 0, 40)])
    changed = heeded(result, (0, 7, 0, 0, "duplicate"), (0, 1, 0, 500, "duplicate"))
    pd.testing.assert_frame_equal(changed.overlaps, result.overlaps)
    pd.testing.assert_frame_equal(changed.groups, result.groups)
    # The other way round it is the same overlap.
    table = pd.DataFrame([("001.jpg", "000.jpg", 0, -40, "not_duplicate")])
    table.columns = pd.Index(["image1", "image2", "y_offset", "x_offset", "verdict"])
    assert apply_judgements(result, table).overlaps.empty


def test_groups_that_no_judgement_concerns_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    result = found(np.stack([np.arange(60) // 3, *rng.integers(0, 60, (2, 60))], axis=1).tolist())
    changed = heeded(result, (0, 1, *result.overlaps.loc[0, ["y_offset", "x_offset"]], "not_duplicate"))
    far = result.groups["group"] > 0
    for name in ("y", "x"):
        assert changed.groups.loc[far, name].equals(result.groups.loc[far, name])
    assert changed.groups.loc[far, "group"].diff().equals(result.groups.loc[far, "group"].diff())


def test_a_tag_alone_counts_by_the_grid() -> None:
    result = replace(found([(0, 0, 0), (0, 0, 256)], size=768), grid=Grid())
    table = pd.DataFrame(
        [("000.jpg", "001.jpg", "18", "not_duplicate"), ("000.jpg", "001.jpg", "99", "duplicate")],
        columns=["image1", "image2", "overlap_tag", "verdict"],
    )
    assert apply_judgements(result, table).overlaps.empty
    assert len(apply_judgements(replace(result, grid=None), table).overlaps) == 1


def test_the_file_of_judgements_is_heeded_unless_it_is_to_be_ignored(tmp_path: Path) -> None:
    result = found([(0, 0, 0), (0, 0, 40)])
    assert heed(result, tmp_path) is result
    (tmp_path / "judgements.csv").write_text(
        ",".join(COLUMNS) + "\nnow,000.jpg,001.jpg,,0,40,not_duplicate,Ann\n"
    )
    assert heed(result, tmp_path).overlaps.empty
    assert heed(result, tmp_path, ignore=True) is result
    with pytest.raises(ValueError, match="was searched with its judgements heeded"):
        heed(heed(result, tmp_path), tmp_path, ignore=True)
    (tmp_path / "judgements.csv").write_text("what\nelse\n")
    with pytest.raises(ValueError, match="is not a table of judgements"):
        heed(result, tmp_path)
