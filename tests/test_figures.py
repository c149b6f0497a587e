import numpy as np
import pandas as pd
import pytest

from dupnet import figures
from dupnet.figures.signals import N_BINS, _edges
from dupnet.figures.style import COLOURS
from dupnet.tiles import overlap_at

RNG = np.random.default_rng(0)


def picture(height=96, width=96):
    return np.random.default_rng(height * width).integers(0, 255, (height, width, 3), dtype=np.uint8)


def pair_table(n=400):
    truth = np.arange(n) % 4 == 0
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "is_duplicate": truth.astype(int),
            "correlation": np.where(truth, 0.95, 0.0) + rng.normal(0, 0.05, n),
            "hash_distance": np.where(truth, 3, 100) + rng.integers(0, 30, n),
        }
    )


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_no_text_is_smaller_than_nine_points():
    drawn = [
        figures.overlap_key(),
        figures.distributions(pair_table(), ["correlation", "hash_distance"]),
        figures.show_pair(picture(), picture(), overlap_at(0, 1)),
    ]
    for figure in drawn:
        for axes in figure.axes:
            shown = [
                *axes.texts,
                axes.title,
                axes.xaxis.label,
                *axes.get_xticklabels(),
                *axes.get_yticklabels(),
            ]
            assert all(text.get_fontsize() >= 9 for text in shown)


def test_distributions_put_duplicates_above_and_the_rest_below():
    figure = figures.distributions(pair_table(), ["correlation", "hash_distance"])
    heights = [collection.get_datalim(figure.axes[0].transData) for collection in figure.axes[0].collections]
    assert [box.y1 > -level + 0.4 for box, level in zip(heights[::2], (0, 1), strict=True)] == [True, True]
    assert [box.y0 < -level - 0.4 for box, level in zip(heights[1::2], (0, 1), strict=True)] == [True, True]


def test_distributions_need_both_classes_and_their_columns():
    with pytest.raises(ValueError, match="one class only"):
        figures.distributions(pair_table().query("is_duplicate == 1"), ["correlation"])
    with pytest.raises(ValueError, match="entropy"):
        figures.distributions(pair_table(), ["entropy"])


def test_reliability_against_hand_counts():
    scores = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    figure, table = figures.reliability(scores, np.array([0, 0, 1, 1, 1]), n_bins=10)
    assert table.drop(columns=["low", "high"]).to_dict("list") == {
        "mean_score": pytest.approx([0.05, 0.15, 0.975]),
        "share_duplicate": pytest.approx([0, 0.5, 1]),
        "n": [1, 2, 2],
    }
    # (1 * 0.05 + 2 * 0.35 + 2 * 0.025) / 5
    assert "expected error 0.16" in figure.legends[0].get_texts()[1].get_text()
    bars = [bar.get_x() + bar.get_width() / 2 for bar in figure.axes[1].patches]
    assert bars == pytest.approx([0.05, 0.15, 0.95])


@pytest.mark.parametrize("step", [2, 0.25])
@pytest.mark.parametrize("n_steps", [3, 59, 1000])
def test_bins_of_a_distribution_hold_equally_many_of_the_values_steps(step, n_steps):
    values = step * np.arange(n_steps + 1)
    counts = np.histogram(values, _edges(values, 0, values[-1]))[0]
    assert counts.sum() == len(values)
    assert len(np.unique(counts[:-1])) == 1  # none empty by turns; the last may hold fewer
    assert len(counts) <= 1.5 * N_BINS


def test_score_histogram_counts_every_score_and_spreads_the_ends():
    scores = np.array([0.0, 0.5, 0.99, 0.9999, 1.0, 1.0])
    axes = figures.score_histogram(scores, counted="overlaps").axes[0]
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches if bar.get_height()]
    assert sum(height for _, height in bars) == len(scores)
    assert len(bars) == 5 and max(bars)[1] == 2  # the two ones share the last bar
    assert axes.get_ylabel() == "overlaps"
    labels = {
        text.get_text(): place for text, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
    }
    assert labels["0.5"] == 0 and labels["0.99"] == pytest.approx(np.log10(99))


@pytest.mark.parametrize("scores", [[0.995, 0.9991, 0.9998], [0.99] * 5, [0.001, 0.002]])
def test_the_axis_of_a_score_histogram_begins_and_ends_where_the_scores_do(scores):
    axes = figures.score_histogram(np.array(scores)).axes[0]
    low, high = axes.get_xlim()
    places = np.log10(np.array(scores) / (1 - np.array(scores)))
    assert low <= places.min() <= low + 0.5 and places.max() <= high and high - low <= np.ptp(places) + 1.3
    low, high = figures.score_histogram(np.array(scores), threshold=0.3).axes[0].get_xlim()
    assert low <= np.log10(0.3 / 0.7) <= high


def test_distributions_say_how_many_pairs_their_highest_bars_hold():
    table = pair_table()
    axes = figures.distributions(table, ["correlation"]).axes[0]
    coloured = [text for text in axes.texts if text.get_color() != COLOURS["ink"]]
    shown = [int(text.get_text().replace(",", "")) for text in coloured]
    places = [text.get_position()[1] for text in coloured]
    assert places == pytest.approx([0.21, -0.21], abs=0.05)  # beside the middle of their half
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lowest", "half way", "highest"]
    edges = _edges(table["correlation"].to_numpy(float), *np.nanpercentile(table["correlation"], (0.1, 99.9)))
    values = np.clip(table["correlation"], edges[0], edges[-1])
    for count, is_duplicate in zip(shown, (1, 0), strict=True):
        counts, _ = np.histogram(values[table["is_duplicate"] == is_duplicate], edges)
        assert abs(counts.max() - count) <= 2
