"""Wave spectra and fields against their definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dupnet.acquisitions.waves import (
    GRAVITY,
    KELVIN_ANGLE,
    directional_spread,
    fractal_noise,
    jonswap,
    kelvin_wake,
    mean_square_slope,
    peak_frequency,
    wave_slopes,
)


def test_jonswap_peaks_where_it_should():
    omega = np.linspace(0.1, 6, 20_000)
    density = jonswap(omega, 10, 50e3)
    assert omega[density.argmax()] == pytest.approx(peak_frequency(10, 50e3), rel=1e-3)
    # Total variance as DNV-RP-C205 gives it for a peak enhancement of 3.3: that of Pierson and Moskowitz over
    # 1 - 0.287 ln 3.3.
    alpha = 0.076 * (10**2 / (50e3 * GRAVITY)) ** 0.22
    expected = alpha * GRAVITY**2 / (5 * peak_frequency(10, 50e3) ** 4) / (1 - 0.287 * np.log(3.3))
    assert np.trapezoid(density, omega) == pytest.approx(expected, rel=0.02)


def test_jonswap_needs_wind():
    with pytest.raises(ValueError, match="wind_speed is 0"):
        jonswap(1.0, 0, 1e4)


@pytest.mark.parametrize("ratio", [0.8, 1.0, 2.0, 5.0])
def test_spread_integrates_to_one(ratio):
    angle = np.linspace(-np.pi, np.pi, 20_001)
    spread = directional_spread(angle, ratio * peak_frequency(8, 2e4), 8, 2e4)
    assert np.trapezoid(spread, angle) == pytest.approx(1, rel=1e-4)
    assert angle[spread.argmax()] == pytest.approx(0, abs=1e-3)


def test_slopes_have_the_spectrums_variance():
    size, pixel, wind, fetch = 512, 1.0, 7.0, 10e3
    slopes = [
        wave_slopes(size, size, pixel, wind, 0.3, fetch, np.random.default_rng(seed)) for seed in range(3)
    ]
    found = np.mean([row.var() + col.var() for row, col in slopes])
    # Mean square slope: the spectrum times k², k = omega² / g, up to the shortest wave that the grid
    # carries; its corners hold wavenumbers up to sqrt 2 times the Nyquist one.
    bounds = []
    for highest in (np.pi / pixel, np.sqrt(2) * np.pi / pixel):
        omega = np.linspace(0.2, np.sqrt(GRAVITY * highest), 20_000)
        bounds.append(np.trapezoid(jonswap(omega, wind, fetch) * (omega**2 / GRAVITY) ** 2, omega))
    assert bounds[0] * 0.95 < found < bounds[1] * 1.05
    assert found < mean_square_slope(wind)


def test_crests_lie_across_the_wind():
    for direction, along_rows in ((0.0, True), (np.pi / 2, False)):
        slopes = wave_slopes(512, 512, 1.0, 8.0, direction, 2e4, np.random.default_rng(0))
        # The long waves, near the peak, travel with the wind; short ones in all directions.
        row, col = (cv2.GaussianBlur(slope, (0, 0), 3).var() for slope in slopes)
        assert (row if along_rows else col) > 1.4 * (col if along_rows else row)


def test_fractal_noise_is_standard_and_falls_off():
    noise = fractal_noise(256, 300, 1.5, np.random.default_rng(0))
    assert noise.shape == (256, 300)
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-4)
    power = np.abs(np.fft.fft(noise, axis=0)).mean(axis=1)
    assert power[2] > 5 * power[20] > 20 * power[100]


def test_kelvin_wake_keeps_to_its_wedge_and_wavelength():
    behind, beside = np.meshgrid(np.arange(-50.0, 400.0), np.arange(-200.0, 201.0), indexing="ij")
    speed = 6.0
    wake = kelvin_wake(behind.astype(np.float32), beside.astype(np.float32), speed, 60)
    outside = np.arctan2(np.abs(beside), np.maximum(behind, 1e-6)) > KELVIN_ANGLE + 0.03
    assert not wake[outside].any()
    assert not wake[behind < 0].any()
    assert np.allclose(wake, wake[:, ::-1])
    # On the track the transverse waves are as long as deep-water waves of the ship's speed: 2 pi V² / g.
    track = wake[100:450, 200]
    crests = np.flatnonzero((track[1:-1] > track[:-2]) & (track[1:-1] > track[2:]))
    assert np.diff(crests).mean() == pytest.approx(2 * np.pi * speed**2 / GRAVITY, rel=0.05)
