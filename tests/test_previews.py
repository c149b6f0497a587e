import base64

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupnet.report.previews import (
    data_uri,
    difference_map,
    encode,
    outline,
    reduce_to,
    region_boxes,
    shared_regions,
    shown_name,
)
from dupnet.tiles import Grid, overlaps, split_tiles

GRID = Grid(3, 3, 8)


def random_image(height=24, width=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("overlap", overlaps(GRID), ids=lambda overlap: overlap.tag)
def test_shared_regions_hold_the_shared_tiles_of_a_cut_acquisition(overlap):
    acquisition = random_image(40, 40)
    row1, col1 = 8 * max(0, -overlap.row_offset), 8 * max(0, -overlap.col_offset)
    row, col = row1 + 8 * overlap.row_offset, col1 + 8 * overlap.col_offset
    image1 = acquisition[row1 : row1 + 24, col1 : col1 + 24]
    image2 = acquisition[row : row + 24, col : col + 24]
    region1, region2 = shared_regions(image1, image2, 8 * overlap.row_offset, 8 * overlap.col_offset)
    assert np.array_equal(region1, region2)
    assert region1.size == split_tiles(image1, GRID)[list(overlap.tiles1)].size
    assert np.array_equal(region1[:8, :8], split_tiles(image1, GRID)[overlap.tiles1[0]])


@given(st.data())
def test_shared_regions_are_the_same_ground_whatever_the_sizes(data):
    acquisition = random_image(40, 40)
    boxes = []
    for _ in range(2):
        top, left = data.draw(st.tuples(st.integers(0, 30), st.integers(0, 30)))
        height, width = data.draw(st.tuples(st.integers(1, 40 - top), st.integers(1, 40 - left)))
        boxes.append((top, left, top + height, left + width))
    image1, image2 = (acquisition[top:bottom, left:right] for top, left, bottom, right in boxes)
    offset = boxes[1][0] - boxes[0][0], boxes[1][1] - boxes[0][1]
    top, left = (max(boxes[0][axis], boxes[1][axis]) for axis in (0, 1))
    bottom, right = (min(boxes[0][axis], boxes[1][axis]) for axis in (2, 3))
    if bottom <= top or right <= left:
        with pytest.raises(ValueError, match=r"share nothing at offset"):
            shared_regions(image1, image2, *offset)
        return
    region1, region2 = shared_regions(image1, image2, *offset)
    assert np.array_equal(region1, region2)
    assert np.array_equal(region1, acquisition[top:bottom, left:right])
    box1, box2 = region_boxes(image1.shape[:2], image2.shape[:2], *offset)
    assert np.array_equal(image1[box1], image2[box2]) and image1[box1].shape == region1.shape


def test_regions_that_share_nothing_are_named():
    with pytest.raises(ValueError, match=r"24 x 24 and 16 x 24 pixels share nothing at offset \(24, 0\)"):
        shared_regions(random_image(), random_image(16), 24, 0)
    assert shared_regions(random_image(), random_image(16), 23, 0)[0].shape == (1, 24, 3)
    with pytest.raises(ValueError, match=r"share nothing at offset \(0, -24\)"):
        shared_regions(random_image(), random_image(16), 0, -24)


def test_difference_map_ignores_an_even_change_only_with_medians():
    region = random_image() // 2
    brighter = region + np.array([3, 9, 20], np.uint8)
    assert not difference_map(region, brighter).any()
    assert np.array_equal(difference_map(region, brighter, medians=False, gain=2)[0, 0], [6, 18, 40])
    assert difference_map(region, random_image(seed=1), gain=255).max() == 255
    with pytest.raises(ValueError, match="shape"):
        difference_map(region, region[:8])


@pytest.mark.parametrize(("scale", "box"), [(1.0, np.s_[80:160, 80:240]), (0.25, np.s_[320:640, 320:960])])
def test_outline_stays_on_the_border_of_its_box(scale, box):
    black = np.zeros((240, 240, 3), np.uint8)
    changed = outline(black, box, scale).any(axis=2)
    rows, cols = np.nonzero(changed)
    assert 80 <= rows.min() < 84 and 156 <= rows.max() < 160
    assert 80 <= cols.min() < 84 and 236 <= cols.max() < 240
    # As far inside at the lower right as at the upper left.
    assert rows.min() - 80 == 159 - rows.max() and cols.min() - 80 == 239 - cols.max()
    assert not changed[95:145, 95:225].any()
    assert not black.any()


def test_reduce_to_keeps_the_mean_and_small_images():
    image = random_image(96, 48)
    small = reduce_to(image, 24)
    assert small.shape == (24, 12, 3)
    assert abs(small.mean() - image.mean()) < 0.5
    assert reduce_to(image, 96) is image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_encoded_images_decode_to_what_they_were(suffix):
    image = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    data = encode(image, suffix, 95)
    decoded = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(decoded.astype(int) - image).max() <= (0 if suffix == ".png" else 4)
    head, body = data_uri(image, suffix, 95).split(",")
    assert head.startswith("data:image/") and base64.b64decode(body) == data


def test_encode_knows_its_formats():
    assert encode(random_image()).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="gif"):
        encode(random_image(), ".gif")


def test_shown_names_hide_nothing():
    assert shown_name("Caf\u00e9 <b>&.jpg") == "Caf\u00e9 <b>&.jpg"
    assert shown_name("a\nb\u202egpj.exe\udce9") == "a\\nb\\u202egpj.exe\\udce9"


def test_difference_map_shows_nothing_where_both_are_clipped():
    region = np.full((20, 20, 3), 100, np.uint8)
    other = region + np.uint8(40)
    for level in (255, 251, 0, 4):
        region[level % 7, 3:6] = other[level % 7, 3:6] = level
    assert not difference_map(region, other).any()
    other[9, 9] = 255  # white in one only
    assert difference_map(region, other)[9, 9].min() == 255
    assert difference_map(region, other, medians=False)[9, 9].min() == 255
