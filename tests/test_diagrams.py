"""Diagrams: overlaps, trees and networks say what they should."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier
from test_figures import pair_table, texts

from dupnet import figures
from dupnet.network import dupnet, layer_table
from dupnet.tiles import Grid, overlaps


def test_every_overlap_has_a_panel_with_its_tag_and_tiles():
    figure = figures.overlap_key()
    titles = [axes.get_title() for axes in figure.axes]
    assert [title[:2] for title in titles] == [overlap.tag for overlap in overlaps()]
    for axes, overlap in zip(figure.axes, overlaps(), strict=True):
        assert [text.get_text() for text in axes.texts] == [str(index) for index in overlap.tiles1]
        # Both images together are in the middle.
        corners = np.concatenate([patch.get_bbox().get_points() for patch in axes.patches[-2:]])
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        assert np.allclose([np.mean(axes.get_xlim()), np.mean(axes.get_ylim())], middle)


def test_overlap_key_of_another_grid():
    assert len(figures.overlap_key(Grid(2, 4)).axes) == 3 * 7


def test_decision_tree_shows_the_counts_of_every_node():
    table = pair_table()
    features = table[["correlation", "hash_distance"]]
    fitted = DecisionTreeClassifier(max_depth=2, random_state=0).fit(features, table["is_duplicate"])
    shown = texts(figures.decision_tree(fitted, list(features)))
    assert any("300 not duplicate\n100 duplicate" in text for text in shown)
    assert sum("duplicate" in text for text in shown) == fitted.tree_.node_count


def test_network_sums_the_parameters():
    layers = pd.DataFrame({"layer": ["input", "dense"], "output_shape": ["4", "2"], "parameters": [0, 1010]})
    shown = texts(figures.network(layers))
    assert any("1,010" in text for text in shown) and {"layer", "output"} <= set(shown)
    with pytest.raises(ValueError, match="parameters"):
        figures.network(layers.drop(columns="parameters"))


def test_no_arrow_leads_to_an_input():
    names = ["tile1: RGB tile", "tile2: RGB tile", "dense"]
    layers = pd.DataFrame({"layer": names, "output_shape": ["4", "4", "2"], "parameters": [0, 0, 10]})
    assert n_arrows(figures.network(layers)) == 1
    assert n_arrows(figures.network(layers.assign(follows=False))) == 0
    assert n_arrows(figures.network(layers.assign(follows=[False, True, True]))) == 2


def n_arrows(figure):
    return sum(getattr(text, "arrow_patch", None) is not None for text in figure.axes[0].texts)


def test_the_lines_of_a_tree_reach_its_boxes():
    table = pair_table()
    features = table[["correlation", "hash_distance"]]
    fitted = DecisionTreeClassifier(max_depth=2, random_state=0).fit(features, table["is_duplicate"])
    axes = figures.decision_tree(fitted, list(features)).axes[0]
    nodes = [text for text in axes.texts if text.get_text() not in ("yes", "no")]
    boxes = {tuple(text.get_position()) for text in nodes}
    assert len(axes.lines) == fitted.tree_.node_count - 1
    leaves = [text.get_position()[0] for text in nodes if "?" not in text.get_text()]
    assert sorted(leaves) == list(range(fitted.tree_.n_leaves))
    for line in axes.lines:
        assert {tuple(point) for point in line.get_xydata()} <= boxes


def test_a_cascade_branches_and_draws_its_encoder_once():
    layers = layer_table(dupnet())
    figure = figures.cascade(layers)
    shown = texts(figure)
    assert sum("one encoder" in text for text in shown) == 1
    assert {"tile 1: 256 x 256 x 3", "tile 2: 256 x 256 x 3"} <= set(shown)
    total = layers["parameters"].sum()
    assert figure.axes[0].get_title(loc="left") == f"dupnet: {total:,} parameters"
    first = layers[layers["layer"].str.startswith("first_stage")]["parameters"].sum()
    members = layers[layers["layer"].str.startswith("member")]["parameters"].sum()
    assert any(f"first stage: {first:,}" in text for text in shown)
    assert any(f"ensemble of 3: {members:,}" in text for text in shown)
    assert n_arrows(figure) == 2 + 2 + 4 + 2
    axes = figure.axes[0]
    boxes = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in axes.patches]
    arrows = [(text.xyann, text.xy) for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    for start, end in arrows:  # from the lower edge of a box to the upper edge of another
        assert any(x < start[0] < x + w and abs(y + h - start[1]) < 1e-6 for x, y, w, h in boxes)
        assert any(x < end[0] < x + w and abs(y - end[1]) < 1e-6 for x, y, w, h in boxes)
    places = {(round(x, 6), y) for arrow in arrows[:4] for x, y in arrow}
    assert {(round(10 - x, 6), y) for x, y in places} == places  # both tiles alike
    # The longer list of layers fills its frame.
    bottom = max(y + h for _, y, _, h in boxes[:-1])
    written = [text.get_position()[1] for text in axes.texts if text.get_text()]
    assert bottom - 1.5 < max(y for y in written if y < axes.patches[-1].get_y()) < bottom
    with pytest.raises(ValueError, match="layers lacks projection"):
        figures.cascade(layers[~layers["layer"].str.startswith("projection")])
    with pytest.raises(ValueError, match="member 1"):
        figures.cascade(layers[~layers["layer"].str.startswith("member_1")])
