"""Charts: exponents and lines that can be told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dupnet import figures


def test_scaling_recovers_the_exponent():
    sizes = np.array([100, 1000, 10000])
    table = pd.DataFrame({"n_images": sizes, "seconds": 3e-4 * sizes**1.5, "method": "brute force"})
    assert "1.50" in figures.scaling(table).axes[0].get_legend().get_texts()[0].get_text()


def test_lines_of_many_points_are_told_apart_by_their_dashes():
    points = pd.DataFrame(
        [(name, x, x / 40) for name in ("one", "two") for x in range(40)], columns=["name", "x", "y"]
    )
    for table, dense in ((points, True), (points[points["x"] < 10], False)):
        first, second = figures.lines(table, "x", "y", "name").axes[0].lines
        assert (first.get_marker() == second.get_marker() == "") == dense
        assert (first.get_linestyle() != second.get_linestyle()) == dense


def points(line):
    return [tuple(point) for point in line.get_xydata().tolist()]


def test_training_history_draws_training_and_validation_by_epoch():
    columns = {
        "loss": [1.0, 0.5],
        "val_loss": [1.1, 0.6],
        "accuracy": [0.5, 0.6],
        "val_accuracy": [0.4, 0.55],
    }
    figure = figures.training_history(pd.DataFrame({"epoch": [1, 2], **columns, "learning_rate": 1e-3}))
    drawn = [points(line) for axes in figure.axes for line in axes.lines]
    for values in columns.values():
        assert any([y for _, y in line] == values and [x for x, _ in line] == [1, 2] for line in drawn)


def test_hls_limits_shade_what_is_within_them():
    shares = pd.DataFrame(
        [("x", name, shift, 1 - abs(shift) / 50) for name in ("hue", "lightness") for shift in (20, -20, 0)],
        columns=["collection", "channel", "shift", "looks_the_same"],
    )
    figure = figures.hls_limits(shares, {"hue": (-10, 5), "lightness": (-20, 0)}, 0.9)
    for axes, (low, high) in zip(figure.axes, [(-10, 5), (-20, 0)], strict=True):
        shaded = axes.patches[0].get_bbox()
        assert (shaded.x0, shaded.x1) == (low, high)
        level, line = axes.lines
        assert level.get_ydata()[0] == 0.9
        assert points(line) == [(-20, 0.6), (0, 1), (20, 0.6)]


def test_intervals_draw_value_and_ends_and_open_circles_for_zero():
    ranking = pd.DataFrame({"signal": ["a", "b"], "errors": [0, 9], "low": [0, 5], "high": [2, 14]})
    axes = figures.intervals(ranking, "signal", "errors", "low", "high", log=True).axes[0]
    spans, marks = axes.lines[::2], axes.lines[1::2]
    assert [points(line) for line in spans] == [[(3, 0), (3, 0)], [(5, 1), (14, 1)]]
    assert [points(line) for line in marks] == [[(3, 0)], [(9, 1)]]  # a third of the least above 0
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False]
    assert [text.get_text() for text in axes.texts] == ["0", "9"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    named = ranking.rename(columns={"errors": "wrong_pairs"})
    for given, shown in (("", "wrong pairs"), ("of a million", "of a million")):
        axes = figures.intervals(named, "signal", "wrong_pairs", "low", "high", x_label=given).axes[0]
        assert axes.get_xlabel() == shown


def test_heatmap_writes_each_number_and_none_for_a_missing_one():
    axes = figures.heatmap(pd.DataFrame([[0.1, np.nan, 0.75]], columns=["x", "y", "z"], index=["row"])).axes[
        0
    ]
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [
        ("0.10", (0, 0)),
        ("0.75", (2, 0)),
    ]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan), [[0.1, np.nan, 0.75]])


def test_lines_show_each_series_in_order_and_shares_in_per_cent():
    table = pd.DataFrame([("one", 2, 0.5), ("two", 1, 0.25), ("one", 1, 0.1)], columns=["name", "x", "y"])
    axes = figures.lines(table, "x", "y", "name", percent=True).axes[0]
    assert [points(line) for line in axes.lines] == [[(1, 0.1), (2, 0.5)], [(1, 0.25)]]
    assert axes.yaxis.get_major_formatter()(0.25) == "25%"
    assert axes.get_ylim()[0] <= 0


@pytest.mark.parametrize("truth", [None, np.arange(50) % 2])
def test_score_histogram_counts_by_class_and_marks_the_threshold(truth):
    scores = np.linspace(0.01, 0.99, 50)
    axes = figures.score_histogram(scores, truth, 0.5).axes[0]
    assert points(axes.lines[0])[0][0] == pytest.approx(0)  # odds of 1
    if truth is None:
        assert sum(bar.get_height() for bar in axes.patches) == 50
    else:
        names = [text.get_text() for text in axes.figure.legends[0].get_texts()]
        assert names == ["non-duplicates", "duplicates", "threshold 0.50"]
