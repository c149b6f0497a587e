"""Pictures of tiles and images: outlines, titles, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from test_figures import picture

from dupnet import figures
from dupnet.tiles import overlap_at


def test_pair_outlines_what_each_image_shares():
    image = picture(300, 300)
    figure = figures.show_pair(image, image, overlap_at(1, 1))
    boxes = [axes.patches[0].get_bbox() for axes in figure.axes]
    assert np.allclose(boxes[0].extents, [101.5, 101.5, 297.5, 297.5])
    assert np.allclose(boxes[1].extents, [1.5, 1.5, 197.5, 197.5])


def test_pictures_refuse_what_does_not_fit_together():
    with pytest.raises(ValueError, match="titles"):
        figures.show_tiles([picture()], ["one", "two"])
    with pytest.raises(ValueError, match="differences"):
        figures.error_gallery([(picture(), picture(), "")], [])


def test_titles_of_tiles_are_broken_to_their_width():
    figure = figures.show_tiles([picture()] * 4, ["one place on another day, synthetic", "b\nc", "", "d"])
    titles = [axes.get_title() for axes in figure.axes]
    assert max(len(line) for line in titles[0].split("\n")) <= 20
    assert titles[0].replace("\n", " ") == "one place on another day, synthetic"
    assert titles[1] == "b\nc"
