import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.tree import DecisionTreeClassifier

from dupnet import figures
from dupnet.figures.signals import N_BINS, _edges
from dupnet.tiles import Grid, overlap_at, overlaps

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


def test_every_overlap_has_a_panel_with_its_tag_and_tiles():
    figure = figures.overlap_key()
    titles = [axes.get_title() for axes in figure.axes]
    assert [title[:2] for title in titles] == [overlap.tag for overlap in overlaps()]
    for axes, overlap in zip(figure.axes, overlaps(), strict=True):
        assert [text.get_text() for text in axes.texts] == [str(index) for index in overlap.tiles1]


def test_overlap_key_of_another_grid():
    assert len(figures.overlap_key(Grid(2, 4)).axes) == 3 * 7


def test_save_writes_the_same_bytes_twice_and_the_numbers(tmp_path):
    table = pd.DataFrame({"x": [1, 2], "y": [1 / 3, 1e-9 + 1 / 3], "name": ["a", "b"]})
    written = []
    for folder in ("one", "two"):
        saved = figures.save(
            figures.distributions(pair_table(), ["correlation"]), "name", table, tmp_path / folder
        )
        written.append(saved.path.read_bytes())
        assert saved._repr_png_() == saved.path.read_bytes()
        assert saved.path == tmp_path / folder / "figures" / "name.png"
        assert (
            tmp_path / folder / "results" / "name.csv"
        ).read_text() == "x,y,name\n1,0.333333,a\n2,0.333333,b\n"
        assert str(tmp_path) not in repr(saved)
    assert written[0] == written[1]
    assert b"matplotlib" not in written[0].lower()


def test_save_brings_a_large_picture_under_the_limit(tmp_path):
    saved = figures.save(figures.show_tiles([picture(330, 330)], columns=1), "noise", folder=tmp_path)
    assert saved.path.stat().st_size <= 300_000
    figure = figures.show_tiles([picture(330, 330)], columns=1)
    assert figures.save(figure, "noise", folder=tmp_path, max_bytes=200_000).path.stat().st_size <= 200_000
    with pytest.raises(ValueError, match="stays above 1000 bytes"):
        figures.save(figure, "noise", folder=tmp_path, max_bytes=1000)


@pytest.mark.parametrize("name", ["", "Upper", "../escape", "with space", "a.png"])
def test_save_refuses_other_names(tmp_path, name):
    with pytest.raises(ValueError, match="name is"):
        figures.save(figures.new_figure(), name, folder=tmp_path)


@pytest.mark.parametrize("start", [".", "notebooks", "notebooks/eda"])
def test_save_finds_the_notebooks_folder(tmp_path, monkeypatch, start):
    (tmp_path / "notebooks" / "eda").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / start)
    assert (
        figures.save(figures.new_figure(), "empty").path == tmp_path / "notebooks" / "figures" / "empty.png"
    )


def test_style_is_undone_after_the_block():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    with figures.style():
        assert matplotlib.rcParams["font.size"] >= 9
    assert matplotlib.rcParams["font.size"] == before


def test_no_text_is_smaller_than_nine_points():
    drawn = [
        figures.overlap_key(),
        figures.distributions(pair_table(), ["correlation", "hash_distance"]),
        figures.confusion([[5, 1], [0, 7]]),
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


def test_pair_outlines_what_each_image_shares():
    image = picture(300, 300)
    figure = figures.show_pair(image, image, overlap_at(1, 1))
    boxes = [axes.patches[0].get_bbox() for axes in figure.axes]
    assert np.allclose(boxes[0].extents, [101.5, 101.5, 297.5, 297.5])
    assert np.allclose(boxes[1].extents, [1.5, 1.5, 197.5, 197.5])


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


def test_confusion_shows_its_counts():
    assert texts(figures.confusion([[1234, 2], [0, 7]])) == ["1,234", "2", "0", "7"]


def test_decision_tree_shows_the_counts_of_every_node():
    table = pair_table()
    features = table[["correlation", "hash_distance"]]
    fitted = DecisionTreeClassifier(max_depth=2, random_state=0).fit(features, table["is_duplicate"])
    shown = texts(figures.decision_tree(fitted, list(features)))
    assert any("300 not duplicate\n100 duplicate" in text for text in shown)
    assert sum("duplicate" in text for text in shown) == fitted.tree_.node_count


def test_scaling_recovers_the_exponent():
    sizes = np.array([100, 1000, 10000])
    table = pd.DataFrame({"n_images": sizes, "seconds": 3e-4 * sizes**1.5, "method": "brute force"})
    assert "1.50" in figures.scaling(table).axes[0].get_legend().get_texts()[0].get_text()


def test_network_sums_the_parameters():
    layers = pd.DataFrame({"layer": ["input", "dense"], "output_shape": ["4", "2"], "parameters": [0, 1010]})
    assert any("1,010" in text for text in texts(figures.network(layers)))
    with pytest.raises(ValueError, match="parameters"):
        figures.network(layers.drop(columns="parameters"))


def test_remaining_figures_draw_and_save(tmp_path):
    history = pd.DataFrame(
        {
            "epoch": [1, 2],
            "loss": [1.0, 0.5],
            "val_loss": [1.1, 0.6],
            "accuracy": [0.5, 0.6],
            "val_accuracy": [0.5, 0.55],
            "learning_rate": [1e-3, 1e-3],
        }
    )
    shifts = pd.DataFrame(
        [(channel, shift, 1 - abs(shift) / 50) for channel in "HLS" for shift in range(-40, 41, 10)],
        columns=["channel", "shift", "likeness"],
    )
    shares = pd.DataFrame(
        [("x", name, shift, 1 - abs(shift) / 50) for name in ("hue", "lightness") for shift in (-20, 0, 20)],
        columns=["collection", "channel", "shift", "looks_the_same"],
    )
    ranking = pd.DataFrame({"signal": ["a", "b"], "errors": [0, 9], "low": [0, 5], "high": [2, 14]})
    drawn = {
        "history": (figures.training_history(history), 2),
        "limits": (figures.hls_limits(shares, {"hue": (-10, 5), "lightness": (-20, 0)}, 0.9), 2),
        "intervals": (figures.intervals(ranking, "signal", "errors", "low", "high", log=True), 1),
        "heatmap": (figures.heatmap(pd.DataFrame([[0.1, np.nan]], columns=["x", "y"])), 2),
        "lines": (figures.lines(shifts, "shift", "likeness", "channel", percent=True), 1),
        "scores": (figures.score_histogram(RNG.random(50), RNG.random(50) > 0.5, 0.5), 1),
        "scores_alone": (figures.score_histogram(RNG.random(50)), 1),
        "mosaic": (figures.mosaic_with_grid(picture(80, 160), 16, [("a.jpg", 0, 0)]), 1),
        "errors": (figures.error_gallery([(picture(), picture(), "score 0.4")], [picture()]), 4),
    }
    for name, (figure, n_axes) in drawn.items():
        assert len(figure.axes) == n_axes, name
        png = figures.save(figure, name, folder=tmp_path).path.read_bytes()
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert pixels.std() > 5, f"{name} is blank"


def test_pictures_refuse_what_does_not_fit_together():
    with pytest.raises(ValueError, match="titles"):
        figures.show_tiles([picture()], ["one", "two"])
    with pytest.raises(ValueError, match="differences"):
        figures.error_gallery([(picture(), picture(), "")], [])


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


def test_lines_of_many_points_are_told_apart_by_their_dashes():
    points = pd.DataFrame(
        [(name, x, x / 40) for name in ("one", "two") for x in range(40)], columns=["name", "x", "y"]
    )
    for table, dense in ((points, True), (points[points["x"] < 10], False)):
        first, second = figures.lines(table, "x", "y", "name").axes[0].lines
        assert (first.get_marker() == second.get_marker() == "") == dense
        assert (first.get_linestyle() != second.get_linestyle()) == dense


def test_titles_of_tiles_are_broken_to_their_width():
    figure = figures.show_tiles([picture()] * 4, ["one place on another day, synthetic", "b\nc", "", "d"])
    titles = [axes.get_title() for axes in figure.axes]
    assert max(len(line) for line in titles[0].split("\n")) <= 20
    assert titles[0].replace("\n", " ") == "one place on another day, synthetic"
    assert titles[1] == "b\nc"


def test_no_arrow_leads_to_an_input():
    names = ["tile1: RGB tile", "tile2: RGB tile", "dense"]
    layers = pd.DataFrame({"layer": names, "output_shape": ["4", "4", "2"], "parameters": [0, 0, 10]})
    assert n_arrows(figures.network(layers)) == 1
    assert n_arrows(figures.network(layers.assign(follows=False))) == 0
    assert n_arrows(figures.network(layers.assign(follows=[False, True, True]))) == 2


def n_arrows(figure):
    return sum(getattr(text, "arrow_patch", None) is not None for text in figure.axes[0].texts)
