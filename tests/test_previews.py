import base64

import cv2
import numpy as np
import pytest

from dupnet.report.previews import (
    data_uri,
    difference_map,
    encode,
    outline,
    reduce_to,
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
    region1, region2 = shared_regions(image1, image2, overlap, GRID)
    assert np.array_equal(region1, region2)
    assert region1.size == split_tiles(image1, GRID)[list(overlap.tiles1)].size
    assert np.array_equal(region1[:8, :8], split_tiles(image1, GRID)[overlap.tiles1[0]])


def test_shared_regions_name_a_wrong_size():
    with pytest.raises(ValueError, match="image2 is 16 x 24"):
        shared_regions(random_image(), random_image(16), overlaps(GRID)[0], GRID)


def test_difference_map_ignores_an_even_change_only_with_medians():
    region = random_image() // 2
    brighter = region + np.array([3, 9, 20], np.uint8)
    assert not difference_map(region, brighter).any()
    assert np.array_equal(difference_map(region, brighter, medians=False, gain=2)[0, 0], [6, 18, 40])
    assert difference_map(region, random_image(seed=1), gain=255).max() == 255
    with pytest.raises(ValueError, match="shape"):
        difference_map(region, region[:8])


def test_outline_stays_on_the_border_of_its_tiles():
    black = np.zeros((240, 240, 3), np.uint8)
    changed = outline(black, (4, 5), GRID).any(axis=2)
    rows, cols = np.nonzero(changed)
    assert 80 <= rows.min() < 84 and 156 <= rows.max() < 160
    assert 80 <= cols.min() < 84 and 236 <= cols.max() < 240
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
    with pytest.raises(ValueError, match="gif"):
        encode(random_image(), ".gif")


def test_shown_names_hide_nothing():
    assert shown_name("Caf\u00e9 <b>&.jpg") == "Caf\u00e9 <b>&.jpg"
    assert shown_name("a\nb\u202egpj.exe\udce9") == "a\\nb\\u202egpj.exe\\udce9"
