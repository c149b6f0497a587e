import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.find.overlaps import KEY
from dupnet.find.point_table import PointTable
from dupnet.find.regions import common_region
from dupnet.find.repeats import LEAST_AGREEMENT, agreement_beside_repeats, doubting, repeating_images

PERIOD = 48


def roofs(seed, side=500):
    """Rows of roofs, alike but for their brightness and what lies on them."""
    rng = np.random.default_rng(seed)
    one = np.full((PERIOD, PERIOD), 70.0)
    one[4:-7, 4:-9] = 190
    n = -(-side // PERIOD)
    rows = np.tile(one, (n, n)) + np.kron(6 * rng.standard_normal((n, n)), np.ones_like(one))
    rows += 4 * cv2.GaussianBlur(rng.normal(size=rows.shape), (0, 0), 1.5) / 0.19
    return np.clip(rows[:side, :side] + rng.normal(0, 2, (side, side)), 0, 255).astype(np.uint8)


def jpeg(grey, quality):
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def agreement(one, two, y, x):
    return agreement_beside_repeats((one, None), (two, None), common_region(one.shape, two.shape, y, x))


@pytest.mark.parametrize("offset", [(0, 0), (0, PERIOD), (2 * PERIOD, -PERIOD)])
def test_other_roofs_of_one_period_do_not_agree_beside_it(offset):
    one, two = roofs(0)[:400, :400], roofs(1)[:400, :400]
    assert agreement(jpeg(one, 90), jpeg(two, 85), *offset) < LEAST_AGREEMENT - 0.05


@pytest.mark.parametrize("offset", [(0, 0), (40, 90), (PERIOD, 2 * PERIOD)])
def test_the_same_roofs_do(offset):
    y, x = offset
    whole = roofs(0)
    one, two = whole[:400, :400], whole[y : y + 400, x : x + 400]
    assert agreement(jpeg(one, 90), jpeg(two, 85), y, x) > LEAST_AGREEMENT + 0.05


def test_a_region_without_room_for_a_period_is_left_alone():
    tiny = np.zeros((12, 12), np.uint8)
    assert agreement(tiny, tiny, 0, 0) == 1.0


def test_images_repeat_by_the_share_of_their_points_that_recur():
    images = np.repeat([0, 1, 2], [10, 10, 0]).astype(np.int32)
    place = np.zeros(20, np.float32)
    points = PointTable(place, place, np.zeros(20, np.uint8), images, np.full((3, 2), 400))
    recurring = np.arange(20) % 10 < np.repeat([1, 3], 10)
    assert repeating_images(points, recurring).tolist() == [False, True, False]
    ignored = np.arange(20) % 10 > 4  # of the five others, one recurs of the first image
    assert repeating_images(points, recurring, ignored).tolist() == [True, True, False]


def test_only_what_was_accepted_between_two_repeating_images_is_doubted():
    grey = [jpeg(roofs(seed)[:400, :400], 90) for seed in range(3)]
    pairs = pd.DataFrame([(0, 1, 0, 0), (0, 2, 0, 0), (1, 2, 0, 0)], columns=KEY)

    def judge(pairs):
        verdict = np.array(["duplicate", "duplicate", "undecidable"], object)
        return pairs.assign(n_decidable=4, n_differing=0, verdict=verdict)

    repeating = np.array([True, True, False])
    found = doubting(judge, repeating, lambda number: (grey[number], None), [(400, 400)] * 3)(pairs)
    assert found["verdict"].tolist() == ["refused", "duplicate", "undecidable"]
    assert found["n_differing"].tolist() == [4, 0, 0]
    assert doubting(judge, ~repeating & False, lambda number: None, []) is judge
