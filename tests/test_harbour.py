"""The synthetic harbour: what stays and what moves."""

from __future__ import annotations

import numpy as np

from dupnet.acquisitions.harbour import draw_harbour


def harbour(place=0, day=0, azimuth=1.0, elevation=0.8):
    return draw_harbour(
        400, 1100, 1.0, azimuth, elevation, np.random.default_rng(place), np.random.default_rng(day)
    )


def test_a_place_keeps_its_land():
    land, colour = harbour()
    same, later = harbour(day=1)
    assert np.array_equal(land, same)
    quay = land > 0.99
    changed = np.abs(later - colour)[quay].max(axis=1) > 10
    assert 0.005 < changed.mean() < 0.4
    assert not np.array_equal(land, harbour(place=1)[0])


def test_the_sun_moves_shadows_only():
    land, colour = harbour(azimuth=0.5)
    _, other = harbour(azimuth=3.5)
    quay = land > 0.99
    assert 0.05 < (np.abs(other - colour)[quay].max(axis=1) > 10).mean() < 0.8


def test_water_shows_in_every_tile_along_the_quay():
    for place in range(10):
        land, _ = harbour(place=place)
        assert land[0].min() == 1
        for left in range(0, 1024, 256):
            assert (land[:256, left : left + 256] == 0).mean() > 0.35
