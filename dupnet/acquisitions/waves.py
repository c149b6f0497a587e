"""Random fields of the synthetic sea: wind waves, ship waves, cloudy noise.

All in SI units and radians. Directions are those in which the waves travel, clockwise from the image's upward
direction (as headings are on a map); slopes are along image rows (downward) and columns (to the right).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, special

__all__ = [
    "GRAVITY",
    "fractal_noise",
    "directional_spread",
    "jonswap",
    "kelvin_wake",
    "mean_square_slope",
    "peak_frequency",
    "wave_slopes",
]

Field = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

GRAVITY = 9.81
"""Metres per second squared."""

KELVIN_ANGLE = float(np.arcsin(1 / 3))
"""Half angle of a ship's wave pattern in deep water, 19.47 degrees, at any speed (W. Thomson 1887)."""


def peak_frequency(wind_speed: float, fetch: float) -> float:
    """Angular frequency (rad/s) of the highest waves for a wind (m/s, at 10 m) over a fetch (m).

    JONSWAP: Hasselmann et al. 1973, Dt. Hydrogr. Z. Suppl. A8 (12).
    """
    return float(22 * (GRAVITY**2 / (wind_speed * fetch)) ** (1 / 3))


def jonswap(omega: npt.ArrayLike, wind_speed: float, fetch: float) -> Floats:
    """Spectral density (m² s) of the sea's elevation at angular frequencies (rad/s).

    JONSWAP: Hasselmann et al. 1973, with its mean peak enhancement of 3.3 and widths 0.07 and 0.09.

    Raises
    ------
    ValueError
        If wind speed or fetch is not above 0.
    """
    if wind_speed <= 0 or fetch <= 0:
        raise ValueError(f"wind_speed is {wind_speed} m/s, fetch {fetch} m; both must be above 0.")
    omega = np.maximum(np.asarray(omega, dtype=np.float64), 1e-3)
    peak = peak_frequency(wind_speed, fetch)
    alpha = 0.076 * (wind_speed**2 / (fetch * GRAVITY)) ** 0.22
    sigma = np.where(omega <= peak, 0.07, 0.09)
    enhancement = 3.3 ** np.exp(-((omega / peak - 1) ** 2) / (2 * sigma**2))
    return np.asarray(alpha * GRAVITY**2 / omega**5 * np.exp(-1.25 * (peak / omega) ** 4) * enhancement)


def directional_spread(angle: npt.ArrayLike, omega: npt.ArrayLike, wind_speed: float, fetch: float) -> Floats:
    """Share of the energy per radian that travels at an angle (rad) to the wind; integrates to 1 over a turn.

    cos^2s(angle / 2), narrowest at the peak and nearly even for short waves: Mitsuyasu et al. 1975,
    J. Phys. Oceanogr. 5, 750.
    """
    peak = peak_frequency(wind_speed, fetch)
    ratio = np.maximum(np.asarray(omega, dtype=np.float64), 1e-3) / peak
    narrowest = 11.5 * (peak * wind_speed / GRAVITY) ** -2.5
    exponent = narrowest * np.where(ratio <= 1, ratio**5, ratio**-2.5)
    log_scale = (
        (2 * exponent - 1) * np.log(2)
        - np.log(np.pi)
        + 2 * special.gammaln(exponent + 1)
        - special.gammaln(2 * exponent + 1)
    )
    return np.asarray(np.exp(log_scale) * np.abs(np.cos(np.asarray(angle) / 2)) ** (2 * exponent))


def mean_square_slope(wind_speed: float) -> float:
    """Mean square slope of the whole sea surface: Cox and Munk 1954, J. Opt. Soc. Am. 44, 838."""
    return 0.003 + 5.12e-3 * wind_speed


def wave_slopes(
    height: int,
    width: int,
    pixel_size: float,
    wind_speed: float,
    wind_direction: float,
    fetch: float,
    rng: np.random.Generator,
) -> tuple[Field, Field]:
    """Slopes of one moment of a wind sea: along rows and along columns, each (height, width) float32.

    White noise shaped by the directional spectrum in the Fourier domain, with the dispersion of deep water
    (omega² = g k). The field is periodic in the size asked for. ``pixel_size`` in metres.
    """
    frequency_row = 2 * np.pi * np.fft.fftfreq(height, pixel_size)[:, None]
    frequency_col = 2 * np.pi * np.fft.rfftfreq(width, pixel_size)[None, :]
    wavenumber = np.hypot(frequency_row, frequency_col)
    wavenumber[0, 0] = np.inf  # the mean level has no slope
    omega = np.sqrt(GRAVITY * np.minimum(wavenumber, 1e6))
    # Clockwise from up: a wave along (row, col) wavenumber (-1, 0) travels at angle 0.
    angle = np.arctan2(frequency_col, -frequency_row) - wind_direction
    # A real field holds the mean of each wave and of its opposite: what travels where, one moment cannot
    # show.
    spread = 0.5 * (
        directional_spread(angle, omega, wind_speed, fetch)
        + directional_spread(angle + np.pi, omega, wind_speed, fetch)
    )
    # Density over the two wavenumbers: S(omega) D(angle) (d omega / d k) / k.
    density = jonswap(omega, wind_speed, fetch) * spread * 0.5 * omega / wavenumber**2
    bin_area = (2 * np.pi / pixel_size) ** 2 / (height * width)
    amplitude = np.sqrt(density * bin_area * height * width)
    noise = fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    elevation = noise * amplitude.astype(np.float32)
    slopes = (
        fft.irfft2(elevation * (1j * along).astype(np.complex64), s=(height, width))
        for along in (frequency_row, frequency_col)
    )
    slope_row, slope_col = (np.asarray(slope, dtype=np.float32) for slope in slopes)
    return slope_row, slope_col


def kelvin_wake(behind: Field, beside: Field, speed: float, length: float) -> Field:
    """Elevation (in metres) of the waves that a ship leaves: the transverse and the diverging ones.

    Stationary phase in deep water: Newman, Marine Hydrodynamics (1977), section 6.10. Amplitude falls with
    the square root of the distance and is of a slender ship: a 120th of its length at its stern.

    Parameters
    ----------
    behind, beside : float32, same shape
        Distances in metres from the bow, backwards along the track and across it.
    speed, length : float
        Of the ship, in m/s and metres.
    """
    along = np.maximum(behind, 1e-3)
    ratio = np.abs(beside) / along
    inside = np.maximum(1 - 8 * ratio**2, 0)
    ratio = np.maximum(ratio, 1e-4)
    phase_scale = GRAVITY / speed**2 * along
    elevation = np.zeros_like(along)
    for sign in (-1, 1):
        tangent = (1 + sign * np.sqrt(inside)) / (4 * ratio)
        # Very short diverging waves, near the track, are drowned in the churned water and below a pixel.
        weight = np.exp(-((tangent / 2.5) ** 2))
        phase = phase_scale * np.sqrt(1 + tangent**2) * (1 - ratio * tangent)
        elevation += weight * np.cos(phase + sign * np.pi / 4)
    edge = np.clip((KELVIN_ANGLE - np.arctan(ratio)) / 0.03 + 0.5, 0, 1)
    decay = np.sqrt(length / (along + length))
    return np.asarray(length / 120 * elevation * edge * decay * (behind > 0), dtype=np.float32)


def fractal_noise(height: int, width: int, exponent: float, rng: np.random.Generator) -> Field:
    """Cloudy noise (height, width) float32 of mean 0 and deviation 1, periodic.

    Its amplitude falls with frequency to the exponent: 0 is white, 1.7 has the soft edges of clouds.
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    shape = (frequency**-exponent).astype(np.float32)
    noise = fft.irfft2(
        fft.rfft2(rng.standard_normal((height, width), dtype=np.float32)) * shape, s=(height, width)
    )
    return np.asarray((noise - noise.mean()) / noise.std(), dtype=np.float32)
