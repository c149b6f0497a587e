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


def test_a_rebuilt_acquisition_has_an_outline_of_its_colour_for_each_file():
    files = [(f"{number}.jpg", picture(30 + number, 40)) for number in range(5)]
    boxes = [(2.0 * number, 3.0 * number, 30.0, 40.0) for number in range(5)]
    shown = picture(80, 160)
    figure = figures.rebuilt(files, shown, boxes)
    panels, whole = figure.axes[:5], figure.axes[6]
    np.testing.assert_array_equal(whole.images[0].get_array(), shown)
    for (name, pixels), panel, (y, x, height, width), patch in zip(
        files, panels, boxes, whole.patches, strict=True
    ):
        assert f"{panel.get_title()}.jpg" == name
        np.testing.assert_array_equal(panel.images[0].get_array(), pixels)
        assert panel.spines["left"].get_edgecolor() == patch.get_edgecolor()
        # Inside its place, by less than a fiftieth of the mosaic.
        left, top, right, bottom = patch.get_bbox().extents
        assert x - 0.5 <= left <= x + 2.7 and y - 0.5 <= top <= y + 2.7
        assert x + width - 3.7 <= right <= x + width - 0.5 and y + height - 3.7 <= bottom <= y + height - 0.5
    assert len({patch.get_edgecolor() for patch in whole.patches}) == 5
    with pytest.raises(ValueError, match="one box a file"):
        figures.rebuilt(files, shown, boxes[1:])


def test_a_rebuilt_acquisition_is_as_tall_as_its_files_need_within_limits():
    heights = [
        figures.rebuilt([("a.jpg", picture(8, 8))] * n, picture(), [(0.0, 0.0, 8.0, 8.0)] * n)
        .get_size_inches()[1]
        .item()
        for n in (1, 12, 15, 40)
    ]
    assert heights == sorted(set(heights)) and (heights[0], heights[-1]) == (3.2, 8.0)


def test_the_two_tiles_of_a_pair_stand_under_one_title():
    pairs = [(picture(40 + number, 60), picture(40, 60)) for number in range(4)]
    figure = figures.show_pairs(pairs, ["duplicate", "another day", "c", "d"], columns=3)
    drawn = figure.subfigs
    assert [part.get_suptitle() for part in drawn[:4]] == ["duplicate", "another day", "c", "d"]
    for part, pair in zip(drawn, pairs, strict=False):
        for axes, tile in zip(part.axes, pair, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), tile)
    with pytest.raises(ValueError, match="one title a pair"):
        figures.show_pairs(pairs, ["one"])


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
