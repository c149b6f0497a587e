"""Charts: exponents and lines that can be told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
