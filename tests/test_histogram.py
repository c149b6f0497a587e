import numpy as np
import pytest

from dupnet.report.histogram import FEWEST_BARS, MOST_BARS, histogram


def test_bars_count_every_score_once_and_fill_the_axis():
    rng = np.random.default_rng(0)
    scores = np.r_[1 - 10.0 ** rng.uniform(-4.5, -2.2, 500), np.nan, 1.0]
    drawn = histogram(scores)
    assert sum(bar["count"] for bar in drawn["bars"]) == 501
    for bar in drawn["bars"]:
        inside = (scores >= bar["low"] - 1e-12) & (scores < bar["high"] - 1e-12)
        assert bar["count"] == inside.sum() + (bar is drawn["bars"][-1]) * (scores == 1.0).sum()
    assert np.mean([bar["count"] > 0 for bar in drawn["bars"]]) > 0.7
    assert sum(bar["width"] for bar in drawn["bars"]) == pytest.approx(100, abs=0.1)


def test_both_axes_have_ticks_that_say_where_they_are():
    drawn = histogram(1 - 10.0 ** np.repeat([-1.5, -2.5, -3.5], [1, 50, 4000]))
    labels = [tick["label"] for tick in drawn["x_ticks"]]
    assert labels == ["0.99", "0.999"] or {"0.99", "0.999"} <= set(labels)
    start, stop = 1.5, 3.5
    for tick in drawn["x_ticks"]:
        at = -np.log10(1 - float(tick["label"]))
        assert tick["at"] == pytest.approx(100 * (at - start) / (stop - start), abs=0.01)
    assert [tick["label"] for tick in drawn["y_ticks"]] == ["1", "10", "100", "1,000"] and drawn["is_log"]
    heights = {bar["count"]: bar["height"] for bar in drawn["bars"]}
    assert 0 < heights[1] < heights[50] < heights[4000] <= 100 and heights[0] == 0
    at = {tick["label"]: tick["at"] for tick in drawn["y_ticks"]}
    assert at["1"] == heights[1] and at["10"] < heights[50] < at["100"]


def test_few_scores_have_a_linear_axis_of_counts():
    drawn = histogram([0.9, 0.9, 0.95])
    assert len(drawn["bars"]) == FEWEST_BARS and not drawn["is_log"]
    assert [tick["label"] for tick in drawn["y_ticks"]] == ["0", "1", "2"]
    assert max(bar["height"] for bar in drawn["bars"]) == 100


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(5, [0, 1, 2, 3, 4, 5]), (6, [0, 2, 4, 6]), (10, [0, 2, 4, 6, 8, 10]), (11, [0, 5, 10, 15])],
)
def test_counts_have_few_ticks_of_whole_numbers(most, ticks):
    assert [tick["label"] for tick in histogram([0.5] * most)["y_ticks"]] == list(map(str, ticks))


@pytest.mark.parametrize("scores", [[1.0], [0.0], [0.0, 1.0], [0.5] * 10_000, [0.99999] * 30])
def test_any_scores_have_an_axis(scores):
    drawn = histogram(scores)
    assert sum(bar["count"] for bar in drawn["bars"]) == len(scores)
    assert len(drawn["bars"]) <= MOST_BARS and len(drawn["y_ticks"]) >= 2
    assert all(0 <= tick["at"] <= 100 for tick in drawn["x_ticks"] + drawn["y_ticks"])


def test_no_score_no_histogram():
    assert histogram([]) is None and histogram([np.nan]) is None
