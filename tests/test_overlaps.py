"""Tables of overlaps: numbers and names of images, common regions, tags, and several tables as one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.find.overlaps import (
    COLUMNS,
    JUDGED,
    KEY,
    REVISIT_COLUMNS,
    as_table,
    check_proposals,
    common_size,
    concatenate,
    image_index,
    overlap_keys,
)
from dupnet.tiles import Grid, overlaps

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def test_images_are_numbered_by_sorted_unique_names():
    assert list(image_index(["a", "b", "c"])) == ["a", "b", "c"]
    assert len(image_index([])) == 0
    for wrong in (["b", "a"], ["a", "a"]):
        with pytest.raises(ValueError, match="sorted"):
            image_index(wrong)


# --- common regions -------------------------------------------------------------------------------


@given(st.data())
@QUICK
def test_the_common_region_holds_the_pixels_of_both_images(data):
    size, shift = st.integers(1, 6), st.integers(-7, 7)
    shapes = data.draw(st.lists(st.tuples(size, size), min_size=2, max_size=4))
    ends = data.draw(st.lists(st.tuples(*[st.integers(0, len(shapes) - 1)] * 2, shift, shift), max_size=9))
    table = pd.DataFrame(ends, columns=KEY, dtype=np.int64)
    heights, widths = common_size(table, shapes)
    for (one, two, down, right), *found in zip(ends, heights, widths, strict=True):
        rows = set(range(shapes[one][0])) & set(range(down, down + shapes[two][0]))
        cols = set(range(shapes[one][1])) & set(range(right, right + shapes[two][1]))
        assert found == [len(rows), len(cols)]


def test_proposals_of_too_little_common_ground_are_refused():
    sizes = [(100, 100), (60, 40), (100, 100)]
    table = pd.DataFrame([(0, 1, 10, 20), (0, 2, 90, 50), (1, 2, -50, 20)], columns=KEY)
    check_proposals(table, sizes, least=10)
    with pytest.raises(ValueError, match=r"row 1 has offset \(90, 50\), .* share less than 11 px"):
        check_proposals(table, sizes, least=11)
    check_proposals(table.iloc[:0], sizes, least=11)
    for wrong, message in (
        ((0, 1, -60, 0), r"row 3 has offset \(-60, 0\), .* less than 1 px"),
        ((1, 1, 0, 0), "row 3 pairs images 1 and 1"),
        ((2, 1, 0, 0), "row 3 pairs images 2 and 1"),
        ((-1, 1, 0, 0), "row 3 pairs images -1 and 1"),
        ((1, 3, 0, 0), "row 3 pairs images 1 and 3; .* < 3"),
    ):
        with pytest.raises(ValueError, match=message):
            check_proposals(pd.concat([table, pd.DataFrame([wrong], columns=KEY)]), sizes)


# --- the table with names -------------------------------------------------------------------------


def judged(*rows):
    """Judged overlaps from rows (image1, image2, y offset, x offset, score)."""
    full = [(*row[:4], 32, 32, 4, 3, 0, row[4], "duplicate") for row in rows]
    return pd.DataFrame(full, columns=list(JUDGED))


NAMES = pd.Index(["a.jpg", "b.jpg", "c.jpg"], dtype=object)


def test_off_the_grid_there_are_names_and_no_tags():
    table = as_table(judged((0, 2, -5, 7, 0.5), (1, 2, 32, 0, np.nan)), NAMES)
    assert list(table.columns) == list(COLUMNS)
    assert table[["image1", "image2", "y_offset", "x_offset"]].values.tolist() == [
        ["a.jpg", "c.jpg", -5, 7],
        ["b.jpg", "c.jpg", 32, 0],
    ]
    assert table["overlap_tag"].tolist() == ["", ""]
    assert table[["row_offset", "col_offset"]].isna().all(axis=None)


@pytest.mark.parametrize("grid", [Grid(3, 3, 16), Grid(1, 4, 8), Grid(2, 2, 1)])
def test_every_tag_of_a_grid_is_told_and_what_lies_off_it_has_none(grid):
    known = overlaps(grid)
    step = grid.tile_size
    off = [(grid.rows * step, 0), (0, -grid.cols * step), *([(1, 0), (0, -1)] if step > 1 else [])]
    offsets = [(one.row_offset * step, one.col_offset * step) for one in known] + off
    table = as_table(judged(*[(0, 1, *offset, 0.9) for offset in offsets]), NAMES, grid=grid)
    assert table["overlap_tag"].tolist() == [one.tag for one in known] + [""] * len(off)
    on_grid = table.iloc[: len(known)]
    assert on_grid["row_offset"].tolist() == [one.row_offset for one in known]
    assert on_grid["col_offset"].tolist() == [one.col_offset for one in known]
    assert table.iloc[len(known) :][["row_offset", "col_offset"]].isna().all(axis=None)
    assert table["row_offset"].dtype == table["col_offset"].dtype == "Int64"


def test_a_table_takes_the_columns_that_are_asked_for():
    table = as_table(judged((0, 1, 16, 0, 0.25)).assign(n_votes=7), NAMES, REVISIT_COLUMNS, Grid(3, 3, 16))
    assert list(table.columns) == list(REVISIT_COLUMNS)
    assert table.values.tolist() == [["a.jpg", "b.jpg", 16, 0, 32, 32, 7, 0.25]]
    assert list(as_table(judged(), NAMES, REVISIT_COLUMNS[:4]).columns) == KEY


# --- several tables -------------------------------------------------------------------------------


def test_tables_are_joined_in_order_each_overlap_once():
    one = judged((1, 2, 0, 0, 0.5))
    other = judged((1, 2, 0, 0, 0.4), (0, 2, 1, 0, 0.3), (0, 2, -1, 0, 0.2), (0, 2, -1, 5, 0.1))
    together = concatenate([one, other])
    assert together[[*KEY, "score"]].values.tolist() == [
        [0, 2, -1, 0, 0.2],
        [0, 2, -1, 5, 0.1],
        [0, 2, 1, 0, 0.3],
        [1, 2, 0, 0, 0.5],
    ]
    assert together.index.tolist() == [0, 1, 2, 3]
    empty = one.iloc[:0]
    assert concatenate([empty, one]).equals(one)
    assert list(concatenate([empty, empty]).columns) == list(JUDGED)


def test_overlaps_are_looked_up_by_images_and_offset():
    one, other = judged((0, 1, 0, 5, 0.5)), judged((1, 2, -3, 0, 0.1))
    known = overlap_keys([one, other])
    asked = judged((1, 2, -3, 0, 0.9), (0, 1, 5, 0, 0.5), (0, 2, 0, 5, 0.5), (0, 1, 0, 5, 0.5))
    assert overlap_keys([asked]).isin(known).tolist() == [True, False, False, True]
