"""Diagrams: overlaps, trees and networks say what they should."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier
from test_figures import pair_table, texts

from dupnet import figures
from dupnet.tiles import Grid, overlaps


def test_every_overlap_has_a_panel_with_its_tag_and_tiles():
    figure = figures.overlap_key()
    titles = [axes.get_title() for axes in figure.axes]
    assert [title[:2] for title in titles] == [overlap.tag for overlap in overlaps()]
    for axes, overlap in zip(figure.axes, overlaps(), strict=True):
        assert [text.get_text() for text in axes.texts] == [str(index) for index in overlap.tiles1]


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
    assert any("1,010" in text for text in texts(figures.network(layers)))
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
