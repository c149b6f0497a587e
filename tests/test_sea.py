"""The synthetic sea: repeatable, textured like real sea, and two days of one place share only its land."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from kept import assert_kept

from dupnet.acquisitions.sea import TEXTURE_LEVELS, draw_day, ship_mask, synthetic_sea
from dupnet.tiles import cell_texture, is_decidable, solid_kind


def grey(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def detail_correlation(one, two):
    """Normalised correlation of two grey images without what is slower than a few pixels."""
    one, two = (
        image.astype(np.float32) - cv2.GaussianBlur(image.astype(np.float32), (0, 0), 3)
        for image in (one, two)
    )
    return float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum()))


@pytest.fixture(scope="module")
def two_days():
    return [synthetic_sea(512, 640, seed=5, day=day) for day in (1, 2)]


def test_repeatable(two_days):
    again = synthetic_sea(512, 640, seed=5, day=1)
    assert again.shape == (512, 640, 3)
    assert again.dtype == np.uint8
    assert np.array_equal(again, two_days[0])
    assert not np.array_equal(again, synthetic_sea(512, 640, seed=6, day=1))


def test_two_days_share_land_and_no_water(two_days):
    one, two = (grey(image) for image in two_days)
    assert detail_correlation(one[:60], two[:60]) > 0.3
    assert abs(detail_correlation(one[300:], two[300:])) < 0.1
    # No 256 px tile along the quay could pass for a duplicate.
    for left in (0, 256):
        assert detail_correlation(one[:256, left : left + 256], two[:256, left : left + 256]) < 0.8


@pytest.mark.parametrize("seed", range(4))
def test_open_water_looks_like_real_water(seed):
    image = synthetic_sea(512, 512, seed=seed, cloud_cover=0, ships_per_square_kilometre=0, quay=False)
    tiles = np.stack([grey(image)[:256, :256], grey(image)[256:, 256:]])
    texture = np.median(cell_texture(tiles))
    assert TEXTURE_LEVELS[0] * 0.8 < texture < TEXTURE_LEVELS[1] * 1.2
    assert is_decidable(tiles).all()
    assert 20 < image.mean() < 80
    # Real bands of open water correlate at 0.98 (median over the images that TEXTURE_LEVELS names).
    detail = image.astype(np.float32) - cv2.GaussianBlur(image.astype(np.float32), (0, 0), 4)
    assert np.corrcoef(detail.reshape(-1, 3).T).min() > 0.95
    # Waves look the same nowhere else.
    assert abs(detail_correlation(tiles[0], tiles[1])) < 0.1


def test_clouds_saturate():
    image = synthetic_sea(512, 512, seed=1, cloud_cover=0.5, quay=False)
    white = (image == 255).all(axis=-1)
    assert 0.3 < white.mean() < 0.7
    clear = synthetic_sea(512, 512, seed=1, cloud_cover=0, quay=False)
    assert (clear == 255).all(axis=-1).mean() < 0.01
    overcast = synthetic_sea(512, 512, seed=1, cloud_cover=1, quay=False)
    assert solid_kind(overcast[128:384, 128:384]) in ("white", "")


def test_days_are_drawn_within_their_ranges():
    days = [draw_day(seed, day) for seed in range(30) for day in (1, 2)]
    assert len({day.wind_direction for day in days}) == 60
    assert all(3 <= day.wind_speed <= 9 for day in days)
    assert all(TEXTURE_LEVELS[0] <= day.texture <= TEXTURE_LEVELS[1] for day in days)
    assert all(np.radians(25) <= day.sun_elevation <= np.radians(65) for day in days)


@pytest.mark.parametrize("wrong", [{"height": 100}, {"pixel_size": 0.0}, {"cloud_cover": 1.5}])
def test_errors(wrong):
    with pytest.raises(ValueError, match="the sides must be at least 256 px"):
        synthetic_sea(**{"height": 256, "width": 256} | wrong)


def test_the_ship_mask_marks_what_ships_add():
    options = {"seed": 4, "day": 2, "quay": False, "pixel_size": 2.0}
    with_ships = synthetic_sea(512, 640, ships_per_square_kilometre=12, cloud_cover=0, **options)
    without = synthetic_sea(512, 640, ships_per_square_kilometre=0, cloud_cover=0, **options)
    mask = ship_mask(512, 640, ships_per_square_kilometre=12, **options)
    assert mask.shape == (512, 640) and 0 < mask.mean() < 0.05
    change = np.abs(with_ships.astype(int) - without).max(axis=2)
    assert np.median(change[mask]) > 40
    # Beside the ships only their wakes and what the sensor's blur carries over differ.
    assert np.mean(change[~mask] > 40) < 0.005
    assert not ship_mask(512, 640, ships_per_square_kilometre=0, **options).any()


def test_a_seed_stays_the_sea_that_results_were_measured_on():
    """Twelve crowded pictures, each reduced to an eighth, beside what was kept of them."""
    drawn = [
        synthetic_sea(
            256,
            384,
            seed=seed,
            pixel_size=0.7,
            ships_per_square_kilometre=150,
            cloud_cover=0.15,
            quay=seed % 2 == 0,
        )
        for seed in range(12)
    ]
    small = [cv2.resize(image, (48, 32), interpolation=cv2.INTER_AREA) for image in drawn]
    assert_kept(np.vstack(small), "synthetic_sea")
