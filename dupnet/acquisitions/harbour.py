"""The land of the synthetic sea: a strip of quay with roofs, piers, and goods that move from day to day."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.acquisitions.waves import fractal_noise

__all__ = ["draw_harbour"]

Field = npt.NDArray[np.float32]

CONCRETE = (150, 145, 134)
ROOFS = ((158, 92, 70), (196, 190, 180), (120, 124, 130), (92, 110, 138), (176, 160, 132))
"""Colours of clay, light concrete, asphalt, coated steel and fibre cement, as orthophotos show them."""


def draw_harbour(
    height: int,
    width: int,
    pixel_size: float,
    sun_azimuth: float,
    sun_elevation: float,
    place: np.random.Generator,
    day: np.random.Generator,
) -> tuple[Field, Field]:
    """A strip of land along the upper edge, and its colour with the shadows of one day.

    The strip is at most 110 px deep, so that water shows in every 256 px tile along it.

    Parameters
    ----------
    height, width : int
        Of the scene, in pixels.
    pixel_size : float
        Metres.
    sun_azimuth, sun_elevation : float
        Radians; the azimuth clockwise from up.
    place, day : Generator
        What stays, and what moves.

    Returns
    -------
    land, colour
        (height, width) float32, 0 for water to 1 for land, and (height, width, 3) float32 RGB.
    """
    depth = int(place.integers(70, 110))
    land = np.zeros((height, width), np.uint8)
    land[:depth] = 255
    for start in range(0, width - 499, 500):
        left, breadth, length = (int(place.integers(*span)) for span in ((60, 400), (14, 34), (60, 220)))
        land[: depth + length, start + left : start + left + breadth] = 255
    grain = fractal_noise(height, width, 0.55, place)[..., None]
    colour = np.array(CONCRETE, np.float32) + 11 * grain
    shadow = np.zeros((height, width), np.float32)
    left = 6
    while left < width - 60:
        breadth, length = int(place.integers(24, 90)), int(place.integers(20, depth - 34))
        top = int(place.integers(2, depth - length - 26))
        roof = np.array(ROOFS[place.integers(len(ROOFS))], np.float32) * place.uniform(0.8, 1.1)
        reach = place.uniform(4, 14) / np.tan(sun_elevation) / pixel_size
        cast = np.array([-reach * np.sin(sun_azimuth), reach * np.cos(sun_azimuth)])
        corners = np.array(
            [(left, top), (left + breadth, top), (left + breadth, top + length), (left, top + length)]
        )
        outline = cv2.convexHull(np.concatenate([corners, corners + cast]).astype(np.int32))
        cv2.fillConvexPoly(shadow, outline, 0.55)
        area = np.s_[top : top + length, left : left + breadth]
        shadow[area] = 0
        # Two slopes of a gable roof, one of them towards the sun.
        gable = np.sign(np.linspace(-1, 1, length, dtype=np.float32))[:, None, None]
        colour[area] = roof * (1 + 0.12 * gable * np.float32(np.cos(sun_azimuth))) + 7 * grain[area]
        left += breadth + int(place.integers(8, 60))
    for _ in range(width // 12):
        # Cars and stacked goods, 2 m by 5 m, others each day.
        row, col = int(day.integers(0, depth - 6)), int(day.integers(0, width - 8))
        sides = (int(5 / pixel_size) + 1, int(2 / pixel_size) + 1)[:: int(day.choice((1, -1)))]
        if not shadow[row, col]:
            colour[row : row + sides[0], col : col + sides[1]] = day.uniform(40, 235, 3)
    colour *= 1 - cv2.GaussianBlur(shadow, (0, 0), 0.7)[..., None]
    soft = cv2.GaussianBlur(land, (0, 0), 0.6).astype(np.float32) / 255
    return np.asarray(soft, dtype=np.float32), np.asarray(colour, dtype=np.float32)
