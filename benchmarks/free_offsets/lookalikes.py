"""What looks like agreement and is none: structure that repeats, and what every image carries.

Of images drawn or marked here no two show the same ground, so whatever is found among them is false.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.acquisitions.waves import fractal_noise

Image = npt.NDArray[np.uint8]

SIDE = 400
"""Side in pixels of the images."""


def ground(size: int, seed: int) -> Image:
    """Ground with texture of all sizes everywhere, like no other seed's: (size, size, 3)."""
    rng = np.random.default_rng(seed)
    return _rgb(110 + 14 * fractal_noise(size, size, 0.7, rng) + rng.normal(0, 2, (size, size)))


def roofs(size: int, seed: int, period: int, irregular: float = 0.0) -> Image:
    """Equal roofs side by side, or rows of containers, and the sensor's noise: (size, size, 3).

    ``irregular``: by how many levels roofs differ from one another, and half as much what lies on them.
    """
    rng = np.random.default_rng(seed)
    one = np.full((period, period), 70.0)
    one[3:-6, 3:-8] = 190
    one[3:-6, (period - 5) // 2] = 140
    n = -(-size // period)
    rows = np.tile(one, (n, n)) + np.kron(irregular * rng.standard_normal((n, n)), np.ones_like(one))
    rows += 0.5 * irregular * fractal_noise(*rows.shape, 1.0, rng)
    rows = rows[:size, :size]
    return _rgb(cv2.GaussianBlur(rows, (0, 0), 0.8) + rng.normal(0, 2, rows.shape))


def furrows(size: int, seed: int, period: int, irregular: float = 0.0) -> Image:
    """A ploughed field, slanted lines at equal distances: (size, size, 3).

    ``irregular``: the deviation of the soil between them in levels, and of the lines in thirds of a pixel.
    """
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size]
    along = 0.8 * rows + 0.6 * cols + irregular / 3 * fractal_noise(size, size, 1.8, rng)
    lines = 110 + 25 * np.sin(2 * np.pi * along / period) + irregular * fractal_noise(size, size, 1.0, rng)
    return _rgb(lines + rng.normal(0, 3, lines.shape))


def long_roof(size: int, seed: int, period: int) -> Image:
    """A white roof with ribs at equal distances, across ground with texture of its own: (size, size, 3)."""
    picture = ground(size, seed)
    rng = np.random.default_rng([seed, 1])
    ribs = 205 + 30.0 * (np.arange(size) % period < 3)
    middle = slice(size // 2 - 40, size // 2 + 40)
    picture[middle] = _rgb(np.tile(ribs, (80, 1)) + rng.normal(0, 1.5, (80, size)))
    return picture


IRREGULAR = 6.0
"""Of structure as it is found: levels by which roofs differ."""

REPEATED: dict[str, Callable[..., Image]] = {
    **{f"roofs of {step} px": partial(roofs, period=step, irregular=IRREGULAR) for step in (24, 37, 64)},
    **{f"furrows of {step} px": partial(furrows, period=step, irregular=IRREGULAR) for step in (24, 37, 64)},
    **{f"long roof, ribs of {step} px": partial(long_roof, period=step) for step in (16, 37, 64)},
    **{f"equal roofs of {step} px": partial(roofs, period=step) for step in (24, 37)},
    **{f"equal furrows of {step} px": partial(furrows, period=step) for step in (24, 64)},
}
"""Structure that repeats: size and seed -> an image."""


def legend(image: Image) -> Image:
    """A box with a scale and a title in a corner."""
    image = image.copy()
    image[-60:-12, 12:180] = 250
    for line, text in enumerate(("0   5   10 km", "HARBOUR AREA")):
        place = (18, image.shape[0] - 40 + 20 * line)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return image


def watermark(image: Image) -> Image:
    """Words across the middle, half transparent."""
    over = image.copy()
    place = (30, image.shape[0] // 2)
    cv2.putText(over, "SAMPLE IMAGE", place, cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(image, 0.5, over, 0.5, 0), np.uint8)


def coast_line(image: Image) -> Image:
    """A yellow line from side to side, as maps lay it over images."""
    image = image.copy()
    at = np.arange(image.shape[1])
    y = image.shape[0] / 3 + 30 * np.sin(at / 40) + 12 * np.sin(at / 11)
    cv2.polylines(image, [np.stack([at, y], axis=1).astype(np.int32)], False, (255, 230, 0), 2, cv2.LINE_AA)
    return image


def padding(image: Image) -> Image:
    """Black below and at the right, as where a picture ended."""
    image = image.copy()
    image[-90:], image[:, -70:] = 0, 0
    return image


def no_data_strip(image: Image) -> Image:
    """The first quarter blue, where nothing was recorded."""
    image = image.copy()
    image[:, : image.shape[1] // 4] = (0, 0, 255)
    return image


def slanted_collar(image: Image) -> Image:
    """Black beyond a slanted line, as where an acquisition was brought to north."""
    image = image.copy()
    rows, cols = np.mgrid[: image.shape[0], : image.shape[1]]
    image[3 * rows + cols < image.shape[1]] = 0
    return image


OVERLAYS: dict[str, Callable[[Image], Image]] = {
    function.__name__.replace("_", " "): function
    for function in (legend, watermark, coast_line, padding, no_data_strip, slanted_collar)
}
"""What every image of a collection may carry at one place of its frame."""


def _rgb(grey: npt.NDArray[np.floating]) -> Image:
    return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
