"""Ships of the synthetic sea: where they lie and what they cover."""

from __future__ import annotations

import numpy as np
import pytest

from dupnet.acquisitions.ships import draw_ships


def layers(land, seed, density=40.0, azimuth=0.0):
    return draw_ships(land, 1.0, density, azimuth, np.radians(40), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def open_water():
    return np.zeros((500, 600), np.float32)


def test_layers_are_shares(open_water):
    drawn = layers(open_water, 0)
    assert drawn.colour.shape == (500, 600, 3)
    for layer in (drawn.cover, drawn.shadow, drawn.foam):
        assert layer.shape == (500, 600)
        assert layer.min() >= 0
        assert 0 < layer.max() <= 1
    assert 0.001 < drawn.cover.mean() < 0.1
    assert np.abs(drawn.slope_row).max() > 0


def test_no_ship_without_density_or_quay(open_water):
    drawn = layers(open_water, 0, density=0.0)
    assert not any(layer.any() for layer in drawn)


def test_ships_at_sea_keep_off_land(open_water):
    land = open_water.copy()
    land[:, 250:] = 1
    for seed in range(4):
        drawn = layers(land, seed, density=120.0)
        # Only what is moored touches land, along its upper edge, of which there is none here.
        assert not drawn.cover[:, 260:].any()
        assert drawn.cover[:, :250].any()


def test_boats_moor_along_a_quay(open_water):
    land = open_water.copy()
    land[:80] = 1
    drawn = layers(land, 1, density=0.0)
    rows = np.flatnonzero(drawn.cover.any(axis=1))
    assert 78 <= rows.min() <= 90
    assert rows.max() < 80 + 45
    assert not drawn.foam.any()


def test_shadows_lie_away_from_the_sun(open_water):
    for azimuth, step in ((0.0, (1, 0)), (np.pi / 2, (0, -1))):
        drawn = layers(open_water, 2, density=20.0, azimuth=azimuth)
        cover_centre = np.array([axis.mean() for axis in np.nonzero(drawn.cover > 0.5)])
        only_shadow = (drawn.shadow > 0.2) & (drawn.cover < 0.1)
        shadow_centre = np.array([axis.mean() for axis in np.nonzero(only_shadow)])
        assert (shadow_centre - cover_centre) @ step > 0


def test_colours_are_painted_where_covered(open_water):
    drawn = layers(open_water, 3)
    covered = drawn.colour[drawn.cover > 0.9]
    assert covered.min() >= 0
    assert covered.max() <= 256
    assert len(np.unique(covered.round(), axis=0)) > 5
