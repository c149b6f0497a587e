"""A synthetic sea: acquisitions of open water and a harbour front, on as many days as wanted.

No picture of open sea could be found that may be passed on, so this one is computed: waves from a measured
spectrum, lit by sky and sun, ships with wakes, clouds with shadows, a quay, and the sensor's blur and
noise. What belongs to the *place* (quay, roofs, the bottom) depends on the seed alone; waves, ships,
clouds, sun and noise also on the *day*. Whatever shows one of these images must call it synthetic.

Texture is set to that of real images: see :data:`TEXTURE_LEVELS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.acquisitions.harbour import draw_harbour
from dupnet.acquisitions.ships import ShipLayers, draw_ships
from dupnet.acquisitions.waves import fractal_noise, mean_square_slope, wave_slopes

__all__ = ["Day", "draw_day", "ship_mask", "synthetic_sea"]

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

TEXTURE_LEVELS = (2.3, 5.4)
"""Texture of open water in grey levels: 10th and 90th percentile over 159 images of the Airbus Ship
Detection Challenge, of the median root mean square of 32 px cells in each image's calmest tile
(:func:`dupnet.tiles.cell_texture`). The Derna acquisition lies above, at 6.3 to 6.9."""

WATER_COLOURS = (
    (14, 40, 58),
    (10, 46, 66),
    (22, 60, 62),
    (24, 62, 74),
    (8, 34, 38),
    (36, 66, 74),
    (30, 54, 38),
)
"""Colours of open water, each within the 10th to 90th percentile of the same images: red 3 to 44, green 29 to
77, blue 36 to 83."""

_PLACE, _DAY, _WAVES, _CLOUDS, _SHIPS, _GOODS, _SENSOR = range(7)


@dataclass(frozen=True)
class Day:
    """The conditions of one day.

    Winds in m/s, directions and the sun's place in radians (azimuths clockwise from the image's upward
    direction), fetch in metres, texture in grey levels.
    """

    wind_speed: float
    wind_direction: float
    fetch: float
    sun_azimuth: float
    sun_elevation: float
    texture: float


def draw_day(seed: int, day: int) -> Day:
    """Conditions drawn for a day: light to fresh wind, a sun between 25 and 65 degrees high."""
    rng = np.random.default_rng([seed, _DAY, day])
    return Day(
        wind_speed=float(rng.uniform(3, 9)),
        wind_direction=float(rng.uniform(0, 2 * np.pi)),
        fetch=float(rng.uniform(2e3, 30e3)),
        sun_azimuth=float(rng.uniform(0, 2 * np.pi)),
        sun_elevation=float(np.radians(rng.uniform(25, 65))),
        texture=float(rng.uniform(*TEXTURE_LEVELS)),
    )


def synthetic_sea(
    height: int,
    width: int,
    *,
    seed: int = 0,
    day: int = 1,
    pixel_size: float = 1.0,
    cloud_cover: float = 0.04,
    ships_per_square_kilometre: float = 8.0,
    quay: bool = True,
) -> Image:
    """A synthetic acquisition (height, width, 3) uint8 RGB of a place on a day.

    The same seed is the same place; another ``day`` has other waves, ships, clouds, sun and noise.

    Parameters
    ----------
    height, width : int
        In pixels, at least 256 each.
    seed, day : int
        The place, and the day.
    pixel_size : float
        Metres.
    cloud_cover : float
        Share of the area under cloud, 0 to 1.
    ships_per_square_kilometre : float
        Ships and boats at sea; more lie along the quay.
    quay : bool
        Whether a strip along the upper edge is land with a quay, piers and roofs.

    Raises
    ------
    ValueError
        If a side is below 256 px, the pixel size not above 0, or the cloud cover no share.
    """
    if min(height, width) < 256 or pixel_size <= 0 or not 0 <= cloud_cover <= 1:
        raise ValueError(
            f"height {height}, width {width}, pixel_size {pixel_size}, cloud_cover {cloud_cover}: the sides "
            "must be at least 256 px, the pixel size above 0 m, the cloud cover in 0 to 1."
        )
    conditions = draw_day(seed, day)
    colour, bottom, land, land_colour, ships = _place_and_ships(
        height, width, seed, day, pixel_size, ships_per_square_kilometre, quay
    )
    light = _water_light(height, width, pixel_size, conditions, ships.slope_row, ships.slope_col,
                         np.random.default_rng([seed, _WAVES, day]))  # fmt: skip
    # Shallow ground reddens nothing and brightens green most: the water absorbs red within metres.
    scene = colour + bottom[..., None] * np.array([0.8, 2.2, 1.8], dtype=np.float32)
    scene = scene + light[..., None]
    scene += ships.foam[..., None] * (np.array([205, 218, 220], dtype=np.float32) - scene)
    scene += land[..., None] * (land_colour - scene)
    scene *= 1 - ships.shadow[..., None]
    scene += ships.cover[..., None] * (ships.colour - scene)
    if cloud_cover > 0:
        scene = _under_clouds(
            scene, cloud_cover, conditions, pixel_size, np.random.default_rng([seed, _CLOUDS, day])
        )
    return _sensor(scene, np.random.default_rng([seed, _SENSOR, day]))


def ship_mask(
    height: int,
    width: int,
    *,
    seed: int = 0,
    day: int = 1,
    pixel_size: float = 1.0,
    ships_per_square_kilometre: float = 8.0,
    quay: bool = True,
) -> npt.NDArray[np.bool_]:
    """Where :func:`synthetic_sea` of the same arguments draws ships, clouded or not: (height, width) bool."""
    ships = _place_and_ships(height, width, seed, day, pixel_size, ships_per_square_kilometre, quay)[-1]
    return np.asarray(ships.cover > 0.5)


def _place_and_ships(
    height: int, width: int, seed: int, day: int, pixel_size: float, density: float, quay: bool
) -> tuple[npt.NDArray[np.float32], Field, Field, Field, ShipLayers]:
    """The water's colour (3,), the bottom, the land with its colour (height, width, 3), and the ships."""
    conditions = draw_day(seed, day)
    place = np.random.default_rng([seed, _PLACE])
    colour = np.array(WATER_COLOURS[place.integers(len(WATER_COLOURS))], dtype=np.float32)
    bottom = fractal_noise(height, width, 1.6, place)
    sun = conditions.sun_azimuth, conditions.sun_elevation
    land = np.zeros((height, width), dtype=np.float32)
    land_colour = np.zeros((height, width, 3), dtype=np.float32)
    if quay:
        moving = np.random.default_rng([seed, _GOODS, day])
        land, land_colour = draw_harbour(height, width, pixel_size, *sun, place, moving)
    ships = draw_ships(land, pixel_size, density, *sun, np.random.default_rng([seed, _SHIPS, day]))
    return colour, bottom, land, land_colour, ships


def _water_light(
    height: int,
    width: int,
    pixel_size: float,
    day: Day,
    wake_row: Field,
    wake_col: Field,
    rng: np.random.Generator,
) -> Field:
    """What waves add to the water's colour, in levels, zero on average: sky and sun mirrored by the slopes.

    The sun's mirror image is seen where the slope turns it to the camera, straight above; slopes too small
    for a pixel spread it over a Gaussian, as wide as what Cox and Munk's total leaves unresolved.
    """
    slope_row, slope_col = wave_slopes(
        height, width, pixel_size, day.wind_speed, day.wind_direction, day.fetch, rng
    )
    slope_row += wake_row
    slope_col += wake_col
    resolved = float(slope_row.var() + slope_col.var())
    unresolved = max(mean_square_slope(day.wind_speed) - resolved, 0.004)
    # Half the sun's distance from the zenith, towards the sun: the slope that mirrors it straight up.
    tilt = np.tan((np.pi / 2 - day.sun_elevation) / 2)
    sun_row, sun_col = -np.cos(day.sun_azimuth), np.sin(day.sun_azimuth)
    towards_sun = -(slope_row * sun_row + slope_col * sun_col)
    across = slope_row * sun_col - slope_col * sun_row
    glint = np.exp(-((towards_sun - tilt) ** 2 + across**2) / unresolved)
    # The sky brightens towards the sun; in a picture taken from above that is a linear term of the slope.
    light = np.minimum(glint / glint.std(), 8) + 1.5 * towards_sun / towards_sun.std()
    gusts = 1 + 0.12 * fractal_noise(height, width, 1.4, rng)
    light = _sharpen(gusts * (light - light.mean()))
    fine = light - cv2.GaussianBlur(light, (0, 0), 8)
    # The median, so that a few glittering wakes do not darken the sea; 0.6745: of a Gaussian, in deviations.
    light *= np.float32(day.texture * 0.6745 / np.median(np.abs(fine)))
    # Breaking crests, white: Monahan and O'Muircheartaigh 1980, J. Phys. Oceanogr. 10, 2094.
    white_share = 3.84e-6 * day.wind_speed**3.41
    steep = cv2.GaussianBlur(towards_sun, (0, 0), 1)
    crest = np.clip((steep - np.quantile(steep[::4, ::4], 1 - white_share)) / steep.std(), 0, 1)
    light += 25 * crest
    return np.asarray(light - light.mean(), dtype=np.float32)


def _sharpen(field: Field) -> Field:
    """A field as resampled and sharpened pictures show it: most power at wavelengths of 4 to 8 px.

    Set by eye and by octave: in the images of :data:`TEXTURE_LEVELS` half the power of open water lies in
    that octave and a fifteenth below it.
    """
    smooth = cv2.GaussianBlur(field, (0, 0), 0.9)
    return np.asarray(smooth + 2 * (smooth - cv2.GaussianBlur(smooth, (0, 0), 2)), dtype=np.float32)


def _under_clouds(scene: Field, cover: float, day: Day, pixel_size: float, rng: np.random.Generator) -> Field:
    """The scene with clouds, white where they are thick, and with their shadows on the water."""
    height, width = scene.shape[:2]
    density = fractal_noise(height, width, 1.7, rng)
    thickness = np.clip((density - np.quantile(density[::4, ::4], 1 - cover)) / 0.7 + 0.3, 0, 1)
    thickness = thickness * thickness * (3 - 2 * thickness)
    reach = rng.uniform(60, 140) / np.tan(day.sun_elevation) / pixel_size
    rows, cols = int(reach * np.cos(day.sun_azimuth)), int(-reach * np.sin(day.sun_azimuth))
    shadow = np.roll(thickness, (rows, cols), axis=(0, 1))
    scene = scene * (1 - 0.5 * shadow[..., None])
    # 290: the thick part saturates the sensor, as in the real images.
    return np.asarray(scene + thickness[..., None] * (290 - scene), dtype=np.float32)


def _sensor(scene: Field, rng: np.random.Generator) -> Image:
    """Blur, noise and rounding: what a panchromatic band and coarser colour bands leave.

    The noise is one for all bands but for a small rest, as pan-sharpening makes it: in the real images the
    bands of open water correlate at 0.98 above a wavelength of 4 px.
    """
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), 0.5), dtype=np.float32)
    noise = _sharpen(rng.standard_normal(scene.shape[:2], dtype=np.float32))
    scene += (1.2 / noise.std()) * noise[..., None]
    scene += 0.4 * rng.standard_normal(scene.shape, dtype=np.float32)
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)
