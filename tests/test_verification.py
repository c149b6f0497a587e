"""Verdicts on common regions: of copies, of other days, of altered copies, of wrong offsets; symmetric."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from textures import textured

from dupnet.acquisitions.alterations import (
    ALTERATIONS,
    Processing,
    alter,
    another_day_tile,
    process,
)
from dupnet.acquisitions.sea import synthetic_sea
from dupnet.find.lattice import describe_on_lattice
from dupnet.find.overlaps import ALTERED, DUPLICATE, REFUSED, REVISIT, UNDECIDABLE
from dupnet.find.refinement import refine_offsets
from dupnet.find.verification import VERDICT_COLUMNS, judge
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.reading import decode
from dupnet.network.comparison import score_pairs
from dupnet.network.descriptors import describe
from dupnet.tiles import Grid, split_tiles


@pytest.fixture(scope="module")
def acquisition():
    return synthetic_sea(1024, 1280, seed=3)


@pytest.fixture(scope="module")
def other_day(acquisition):
    rows = [
        np.concatenate([another_day_tile(acquisition, row, col, 256, 0) for col in range(5)], axis=1)
        for row in range(4)
    ]
    return np.concatenate(rows)


def saved(image, seed):
    """An image as a hard cut saves it, grey."""
    rng = np.random.default_rng(seed)
    processing = Processing(
        hue=float(rng.uniform(-8, 8)),
        lightness=float(rng.uniform(-5, 5)),
        gain=float(rng.uniform(0.96, 1.04)),
    )
    quality = int(rng.integers(80, 97))
    return np.asarray(decode(encode_jpeg(process(image, processing), quality), grey=True)[0])


def judged(images, keys, valid=None, **columns):
    """Verdicts on pairs (image1, image2, y_offset, x_offset) of a list of grey images."""

    @lru_cache
    def cells(number, phase):
        return describe_on_lattice(images[number], valid[number] if valid else None, phase)

    pairs = pd.DataFrame(keys, columns=["image1", "image2", "y_offset", "x_offset"]).assign(**columns)
    found = judge(
        pairs,
        [image.shape for image in images],
        lambda number: (images[number], valid[number] if valid else None),
        cells,
        workers=1,
    )
    assert tuple(found.columns[-len(VERDICT_COLUMNS) :]) == VERDICT_COLUMNS
    return found


def crop(acquisition, y, x, height, width):
    return acquisition[y : y + height, x : x + width]


PLACES = [
    (0, 0, 512, 512),
    (130, 77, 512, 700),
    (480, 300, 400, 500),
    (3, 400, 300, 480),
    (200, 470, 330, 128),
    (468, 5, 64, 1000),
    (80, 480, 700, 64),
]


def test_every_overlap_of_copies_is_a_duplicate_and_of_another_day_none(acquisition, other_day):
    images = [saved(crop(acquisition, *place), number) for number, place in enumerate(PLACES)]
    images += [saved(crop(other_day, *place), 50 + number) for number, place in enumerate(PLACES)]
    n = len(PLACES)
    keys, expected = [], []
    for one in range(n):
        for two in range(n):
            offset = [PLACES[two][axis] - PLACES[one][axis] for axis in (0, 1)]
            shared = [
                min(PLACES[one][2 + axis], offset[axis] + PLACES[two][2 + axis]) - max(0, offset[axis])
                for axis in (0, 1)
            ]
            if min(shared) < 32:
                continue
            if one < two:
                keys.append((one, two, *offset))
                expected.append((*shared, True))
            if min(shared) >= 64:
                keys.append((one, n + two, *offset))
                expected.append((*shared, False))
    found = judged(images, keys)
    assert found[["height", "width"]].to_numpy().tolist() == [list(each[:2]) for each in expected]
    is_copy = np.array([each[2] for each in expected])
    assert (found["verdict"][is_copy] == DUPLICATE).all()
    assert (found["n_differing"][is_copy] == 0).all()
    assert (found["score"][is_copy] > 0.5).all()
    assert (found["verdict"][~is_copy] == REFUSED).all()
    assert is_copy.sum() > 12
    assert (~is_copy).sum() > 25
    swapped = judged(images, [(two, one, -y, -x) for one, two, y, x in keys])
    assert (swapped["verdict"] == found["verdict"]).all()
    assert (swapped["n_tiles"] == found["n_tiles"]).mean() > 0.5  # the lattice is that of the first image


def test_the_order_of_the_pairs_and_the_threads_change_nothing(acquisition):
    images = [saved(crop(acquisition, *place), number) for number, place in enumerate(PLACES[:4])]
    keys = [(0, 1, 130, 77), (0, 2, 480, 300), (1, 2, 350, 223), (1, 3, -127, 323), (0, 3, 3, 400)]
    place = {"group": 0, "y": [0, 0, 130, 130, 0], "x": [0, 0, 77, 77, 0]}
    found = judged(images, keys, **place)
    order = [3, 0, 4, 2, 1]
    again = judged(
        images, [keys[at] for at in order], group=0, **{name: np.take(place[name], order) for name in "yx"}
    )
    pd.testing.assert_frame_equal(again, found.iloc[order].reset_index(drop=True))
    assert judged(images, []).shape == (0, 4 + len(VERDICT_COLUMNS))


def test_whole_tiles_are_judged_as_tiles(acquisition, other_day):
    one, two = saved(acquisition[:512, :512], 1), saved(acquisition[256:768, :512], 2)
    third = saved(other_day[256:768, :512], 3)
    found = judged([one, two, third], [(0, 1, 256, 0), (0, 2, 256, 0)])
    tiles = [describe(split_tiles(image, Grid(2, 2))) for image in (one, two, third)]
    for row, other in ((0, 1), (1, 2)):
        scores = score_pairs(tiles[0].verify[2:], tiles[other].verify[:2])
        assert found["n_tiles"][row] == 2
        assert found["score"][row] == pytest.approx(scores.min(), abs=2e-5)
    assert found["verdict"].tolist() == [DUPLICATE, REFUSED]


@pytest.mark.parametrize("narrow", [40, 90, 300])
def test_an_offset_that_is_off_by_a_pixel_is_no_duplicate(acquisition, narrow):
    one, two = saved(acquisition[:400, :500], 1), saved(acquisition[400 - narrow : 800, 20:520], 2)
    keys = [(0, 1, 400 - narrow + down, 20 + right) for down, right in ((0, 0), (1, 0), (0, -1), (2, 2))]
    found = judged([one, two], keys, n_votes=4)
    assert found["verdict"].tolist() == [DUPLICATE, REFUSED, REFUSED, REFUSED]
    pairs = pd.DataFrame(keys, columns=["image1", "image2", "y_offset", "x_offset"]).assign(
        n_votes=[4, 4, 4, 9]
    )
    refined = refine_offsets(pairs, lambda at: ([one, two][at], None), workers=1)
    assert refined["y_offset"].tolist() == [keys[0][2]] * 3 + [keys[3][2]]
    assert refined["x_offset"].tolist() == [20] * 3 + [22]


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_a_copy_that_was_altered_is_told_from_another_day(acquisition, other_day, kind):
    for number, (y, x) in enumerate(((0, 0), (200, 500))):
        rng = np.random.default_rng(number)
        plain = saved(crop(acquisition, y, x, 600, 640), number)
        copy = saved(alter(crop(acquisition, y, x, 600, 640), kind, rng), 10 + number)
        day = saved(alter(crop(other_day, y, x, 600, 640), kind, rng), 20 + number)
        found = judged([plain, copy, day], [(0, 1, 0, 0), (0, 2, 0, 0), (1, 2, 0, 0)], n_votes=[99, 99, 3])
        assert found["verdict"].tolist() == [ALTERED, REVISIT, REFUSED]
        assert found["n_differing"][0] >= 1
        assert 2 / 3 <= found["score"][0] <= 1


@pytest.mark.parametrize("where", [(0, 130), (290, 400), (60, 0)])
def test_a_change_at_the_rim_is_noticed(acquisition, where):
    one = saved(acquisition[:330, :450], 1)
    changed = acquisition[17:347, 9:459].copy()
    # 24 px along the rim of the common region, which reaches to row 313 and column 441 of the second.
    patch = np.s_[where[0] : where[0] + 24, where[1] : where[1] + 40]
    changed[patch] = acquisition[600:624, 1000:1040][: changed[patch].shape[0], : changed[patch].shape[1]]
    found = judged(
        [one, saved(acquisition[17:347, 9:459], 2), saved(changed, 2)], [(0, 1, 17, 9), (0, 2, 17, 9)]
    )
    assert found["verdict"].tolist() == [DUPLICATE, ALTERED]


def test_what_shows_nothing_is_undecidable(acquisition):
    one, two = saved(acquisition[:300, :300], 1), saved(acquisition[150:450, 100:400], 2)
    blank = np.full_like(one, 128)
    found = judged([one, two, blank], [(0, 1, 150, 100), (0, 2, 0, 0), (0, 1, 275, 0)])
    assert found["verdict"].tolist() == [DUPLICATE, UNDECIDABLE, UNDECIDABLE]
    assert found["score"].isna().tolist() == [False, True, True]
    assert found["n_tiles"].tolist()[2] == 0


def test_what_only_one_of_two_images_shows_is_undecidable(acquisition):
    """One spot apart, each is flat where the other is not."""
    whole = saved(crop(acquisition, 0, 0, 256, 256), 0)
    left, right = whole.copy(), whole.copy()
    left[:, 128:], right[:, :128] = 60, 60
    for image in (left, right):
        image[100:110, 122:134] = whole[100:110, 122:134]
    table = judged([left, right], [(0, 1, 0, 0)])
    assert table[["n_decidable", "verdict"]].values.tolist() == [[0, UNDECIDABLE]]


def test_pixels_that_are_not_valid_are_no_evidence(acquisition, other_day):
    """One image is filled with another day beyond a line."""
    one = saved(acquisition[:500, :500], 1)
    mixed = acquisition[100:600, 50:550].copy()
    mixed[:, :230] = other_day[100:600, 50:280]
    two = saved(mixed, 2)
    mask = np.ones(two.shape, bool)
    mask[:, :232] = False
    same_ground = np.ones(one.shape, bool)
    same_ground[:, :282] = False
    keys = [(0, 1, 100, 50)]

    def verdict(*valid):
        return judged([one, two], keys, valid=valid)["verdict"][0]

    assert verdict(None, None) == REFUSED
    assert verdict(None, ~mask) == REFUSED
    assert verdict(same_ground, mask) == DUPLICATE
    assert verdict(None, mask & False) == UNDECIDABLE


@pytest.mark.parametrize(("width", "expected"), [(4, DUPLICATE), (10, ALTERED), (100, ALTERED)])
@pytest.mark.parametrize("number", [0, 1])
def test_what_a_strip_covers_of_one_copy_alone_is_altered(acquisition, number, width, expected):
    copies = [saved(acquisition[:300, :300], seed) for seed in (1, 2)]
    valid = [np.ones((300, 300), bool) for _ in copies]
    valid[number][:, :width] = False
    taken_for_a_strip = judged(copies, [(0, 1, 0, 0)], valid=valid)
    assert taken_for_a_strip["verdict"][0] == DUPLICATE  # both show the same there
    copies[number][:, :width] = 7
    found = judged(copies, [(0, 1, 0, 0)], valid=valid)
    assert found["verdict"][0] == expected
    if expected == ALTERED:
        assert found["score"][0] == pytest.approx(1 - width / 300, abs=0.02)
    both = [valid[number]] * 2
    copies = [np.where(valid[number], copy, 7).astype(np.uint8) for copy in copies]
    assert judged(copies, [(0, 1, 0, 0)], valid=both)["verdict"][0] == DUPLICATE


def test_dark_water_that_one_processing_made_black_is_not_covered(acquisition):
    copies = [saved(acquisition[:300, :300], seed) for seed in (1, 2)]
    copies[0][:, :100] = 0
    copies[1][:, :100] = np.random.default_rng(0).normal(6, 1, (300, 100)).clip(0, 255).round()
    valid = [np.ones((300, 300), bool) for _ in copies]
    valid[0][:, :100] = False
    assert judged(copies, [(0, 1, 0, 0)], valid=valid)["verdict"][0] == DUPLICATE


def test_small_regions_are_judged_where_they_are_valid(acquisition):
    one, two = saved(acquisition[:80, :400], 1), saved(acquisition[:80, :400], 2)
    two[:, 300:] = 130
    mask = np.ones(two.shape, bool)
    mask[:, 300:] = False
    assert judged([one, two], [(0, 1, 0, 0)])["verdict"][0] == REFUSED
    assert judged([one, two], [(0, 1, 0, 0)], valid=[mask, mask])["verdict"][0] == DUPLICATE


def test_only_offsets_of_few_votes_are_moved_to_where_images_agree_best():
    plane = textured(1, 420, seed=4)[0]
    images = [(plane[:300, :300], None), (plane[100:400, 40:340], None)]
    rows = [(0, 1, 102, 41, votes) for votes in (7, 8)]
    pairs = pd.DataFrame(rows, columns=["image1", "image2", "y_offset", "x_offset", "n_votes"])
    moved = refine_offsets(pairs, lambda number: images[number])
    assert moved[["y_offset", "x_offset"]].to_numpy().tolist() == [[100, 40], [102, 41]]
