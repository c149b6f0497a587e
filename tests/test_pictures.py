"""Pictures of tiles and images: outlines, titles, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from test_figures import picture

from dupnet import figures
from dupnet.tiles import Grid, overlap_at


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


def test_mosaic_outlines_the_images_in_their_places():
    shown = picture(80, 160)
    axes = figures.mosaic_with_grid(shown, 16, [("a.jpg", 0, 0), ("b", 1, 3)], Grid(2, 3)).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), shown)
    assert [patch.get_bbox().bounds for patch in axes.patches] == [(-0.5, -0.5, 48, 32), (47.5, 15.5, 48, 32)]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert len(axes.get_xticks()) == 11 and len(axes.get_yticks()) == 6


def test_error_gallery_shows_both_tiles_their_difference_and_what_was_found():
    rows = [
        [picture(96, 96), picture(97, 97), picture(98, 98)],
        [picture(95, 95), picture(94, 94), picture(93, 93)],
    ]
    figure = figures.error_gallery([(one, two, f"score {row}") for row, (one, two, _) in enumerate(rows)],
                                   [difference for *_, difference in rows])  # fmt: skip
    for row, images in enumerate(rows):
        panels = figure.axes[4 * row : 4 * row + 4]
        for axes, image in zip(panels, images, strict=False):
            np.testing.assert_array_equal(axes.images[0].get_array(), image)
        assert [text.get_text() for text in panels[3].texts] == [f"score {row}"]
