"""Ships of the synthetic sea: hulls, shadows, foam, and the waves they leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.acquisitions.waves import kelvin_wake

__all__ = ["Ship", "ShipLayers", "draw_ships"]

Field = npt.NDArray[np.float32]

SUPERSAMPLING = 4
"""Hulls are drawn so many times larger and averaged down: their edges lie between pixels, as real ones do."""

HULLS = (
    (96, 38, 32),
    (150, 60, 46),
    (46, 58, 84),
    (70, 72, 74),
    (206, 206, 200),
    (38, 82, 70),
    (122, 116, 104),
)
DECKS = ((150, 74, 58), (118, 126, 122), (176, 172, 160), (94, 132, 118), (222, 222, 216))
CONTAINERS = ((142, 74, 60), (74, 96, 128), (172, 142, 88), (104, 128, 104), (196, 192, 186), (98, 84, 76))


@dataclass(frozen=True)
class Ship:
    """A ship: centre in pixels, heading in radians clockwise from up, sizes in metres, speed in m/s."""

    row: float
    col: float
    heading: float
    length: float
    beam: float
    speed: float


class ShipLayers(NamedTuple):
    """What ships add to a scene, each (height, width) float32, 0 to 1 but for the slopes.

    ``colour`` (height, width, 3) counts where ``cover`` is above 0. Slopes are those of the ships' waves.
    """

    cover: Field
    colour: Field
    shadow: Field
    foam: Field
    slope_row: Field
    slope_col: Field


def draw_ships(
    land: Field,
    pixel_size: float,
    density: float,
    sun_azimuth: float,
    sun_elevation: float,
    rng: np.random.Generator,
) -> ShipLayers:
    """Ships at sea, ``density`` to the square kilometre, and moored ones where land meets water.

    Parameters
    ----------
    land : (height, width) float32
        0 for water to 1 for land.
    pixel_size : float
        Metres.
    density : float
        Ships at sea to the square kilometre.
    sun_azimuth, sun_elevation : float
        Radians; the azimuth clockwise from up.
    rng : Generator
        Places, sizes and colours.
    """
    height, width = land.shape
    layers = ShipLayers(
        cover=np.zeros((height, width), np.float32),
        colour=np.zeros((height, width, 3), np.float32),
        shadow=np.zeros((height, width), np.float32),
        foam=np.zeros((height, width), np.float32),
        slope_row=np.zeros((height, width), np.float32),
        slope_col=np.zeros((height, width), np.float32),
    )
    water = cv2.erode((land < 0.01).astype(np.uint8), np.ones((3, 3), np.uint8))
    # Where there is no land at all, the distance to it is the largest float32.
    room = np.minimum(cv2.distanceTransform(water, cv2.DIST_L2, 3), np.float32(1e9)) * np.float32(pixel_size)
    for ship in _at_sea(room, pixel_size, density, rng) + _moored(land, pixel_size, rng):
        if ship.speed:
            _draw_wake(layers, ship, room, pixel_size, rng)
        _draw_hull(layers, ship, pixel_size, sun_azimuth, sun_elevation, rng)
    return layers


def _at_sea(room: Field, pixel_size: float, density: float, rng: np.random.Generator) -> list[Ship]:
    height, width = room.shape
    n_ships = rng.poisson(density * height * width * (pixel_size / 1000) ** 2)
    ships: list[Ship] = []
    for _ in range(n_ships):
        # Most vessels are boats, some are long: log-normal, median 28 m.
        length = float(np.clip(rng.lognormal(np.log(28), 0.8), 7, 180))
        row, col = rng.uniform(0, height), rng.uniform(0, width)
        if room[int(row), int(col)] < 0.7 * length:
            continue
        if any(
            np.hypot(row - other.row, col - other.col) * pixel_size < length + other.length for other in ships
        ):
            continue
        beam = length / float(np.interp(length, (8, 40, 150), (2.8, 4.2, 6.6)))
        # Froude numbers about 0.25 for ships, more for boats; one in three lies still.
        speed = 0.0 if rng.random() < 1 / 3 else float(np.sqrt(9.81 * length) * rng.uniform(0.2, 0.45))
        ships.append(Ship(row, col, rng.uniform(0, 2 * np.pi), length, beam, speed))
    return ships


def _moored(land: Field, pixel_size: float, rng: np.random.Generator) -> list[Ship]:
    """Boats along the lower edge of the land, bow to the quay or alongside it."""
    width = land.shape[1]
    ships: list[Ship] = []
    col = rng.uniform(10, 80)
    while land.any() and col < width - 10:
        length = float(rng.uniform(8, 30))
        alongside = bool(rng.random() < 0.4)
        beam = length / 3.4
        extent = (length if alongside else beam) / pixel_size
        edge = int(np.argmax(land[:, int(col)] < 0.5))
        flat = np.ptp(np.argmax(land[:, int(max(col - extent, 0)) : int(col + extent) + 1] < 0.5, axis=0)) < 3
        if flat and edge:
            away = (beam if alongside else length) / 2 / pixel_size + 3
            ships.append(Ship(edge + away, col, np.pi / 2 if alongside else 0.0, length, beam, 0.0))
        col += extent * rng.uniform(1.3, 5)
    return ships


def _local_frame(
    ship: Ship, height: int, width: int, pixel_size: float, reach: float
) -> tuple[slice, slice, Field, Field]:
    """A window of ``reach`` pixels around a ship: its rows and columns, and where each of its pixels lies.

    That is in metres, ahead of the ship's centre and to starboard: two float32 arrays.
    """
    rows = np.arange(max(0, int(ship.row - reach)), min(height, int(ship.row + reach) + 1), dtype=np.float32)
    cols = np.arange(max(0, int(ship.col - reach)), min(width, int(ship.col + reach) + 1), dtype=np.float32)
    down, right = (rows[:, None] - ship.row) * pixel_size, (cols[None, :] - ship.col) * pixel_size
    ahead = -down * np.cos(ship.heading) + right * np.sin(ship.heading)
    starboard = down * np.sin(ship.heading) + right * np.cos(ship.heading)
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
    return *window, np.asarray(ahead, np.float32), np.asarray(starboard, np.float32)


def _draw_wake(
    layers: ShipLayers, ship: Ship, room: Field, pixel_size: float, rng: np.random.Generator
) -> None:
    height, width = layers.cover.shape
    trail = 5 * ship.length + 60
    rows, cols, ahead, starboard = _local_frame(ship, height, width, pixel_size, trail / pixel_size)
    behind = ship.length / 2 - ahead
    elevation = kelvin_wake(behind, starboard, ship.speed, ship.length)
    elevation *= np.clip((trail - behind) / (0.5 * trail), 0, 1)
    elevation *= room[rows, cols] > 0
    if min(elevation.shape) < 2:
        return
    layers.slope_row[rows, cols] += np.gradient(elevation, pixel_size, axis=0)
    layers.slope_col[rows, cols] += np.gradient(elevation, pixel_size, axis=1)
    # Churned water: as wide as the ship, widening slowly, gone after some lengths; streaky, brightest at
    # its edges.
    astern = behind - ship.length
    half_width = 0.45 * ship.beam + 0.02 * np.maximum(astern, 0)
    across = np.abs(starboard) / half_width
    profile = np.exp(-(across**4)) * (0.45 + 0.55 * np.minimum(across, 1) ** 2)
    fade = np.exp(-np.maximum(astern, 0) / (1.6 * ship.length)) * (astern > -0.1 * ship.length)
    streaks = np.zeros(ahead.shape, dtype=np.float32)
    for sigma in (1, 3, 9):
        noise = rng.standard_normal(ahead.shape, dtype=np.float32)
        streaks += sigma * cv2.GaussianBlur(noise, (0, 0), sigma)
    streaks = np.clip(0.6 + 0.35 * streaks / streaks.std(), 0, 1.3)
    bow = np.exp(
        -((np.abs(starboard) - 0.55 * ship.beam * np.clip(behind / (0.35 * ship.length), 0, 1)) ** 2) / 1.5
    )
    bow = bow * (behind > 0) * np.exp(-behind / (0.5 * ship.length))
    strength = min(1.0, ship.speed / 8)
    foam = strength * streaks * np.maximum(0.75 * profile * fade, 0.8 * bow) * (room[rows, cols] > 0)
    layers.foam[rows, cols] = np.maximum(layers.foam[rows, cols], np.clip(foam, 0, 0.9))


def _draw_hull(
    layers: ShipLayers,
    ship: Ship,
    pixel_size: float,
    sun_azimuth: float,
    sun_elevation: float,
    rng: np.random.Generator,
) -> None:
    height, width = layers.cover.shape
    freeboard = 1.0 + 0.06 * ship.length
    cast = freeboard / np.tan(sun_elevation)
    reach = (0.6 * ship.length + cast) / pixel_size + 3
    rows, cols, _, _ = _local_frame(ship, height, width, pixel_size, reach)
    size = (rows.stop - rows.start, cols.stop - cols.start)
    cover = np.zeros((size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING), np.uint8)
    shadow = cover.copy()
    paint = np.zeros((*cover.shape, 3), np.uint8)

    def outline(
        points: list[tuple[float, float]], east: float = 0.0, south: float = 0.0
    ) -> npt.NDArray[np.int32]:
        """Shares of length (ahead) and of beam (to starboard) -> pixels of the window, for cv2."""
        ahead = np.array([point[0] for point in points]) * ship.length
        starboard = np.array([point[1] for point in points]) * ship.beam
        x = (
            (ahead * np.sin(ship.heading) + starboard * np.cos(ship.heading) + east) / pixel_size
            + ship.col
            - cols.start
        )
        y = (
            (-ahead * np.cos(ship.heading) + starboard * np.sin(ship.heading) + south) / pixel_size
            + ship.row
            - rows.start
        )
        return np.asarray(np.rint(np.stack([x, y], axis=1) * SUPERSAMPLING), dtype=np.int32)

    hull = [
        (-0.5, -0.42),
        (-0.46, -0.5),
        (0.2, -0.5),
        (0.38, -0.32),
        (0.5, 0.0),
        (0.38, 0.32),
        (0.2, 0.5),
        (-0.46, 0.5),
        (-0.5, 0.42),
    ]
    deck = [(0.96 * along, 0.82 * across) for along, across in hull]
    cv2.fillPoly(cover, [outline(hull)], 255)
    cv2.fillPoly(shadow, [outline(hull, -cast * np.sin(sun_azimuth), cast * np.cos(sun_azimuth))], 255)
    large = ship.length > 45
    hull_colour = HULLS[rng.integers(len(HULLS))] if large else HULLS[4]
    cv2.fillPoly(paint, [outline(hull)], hull_colour)
    cv2.fillPoly(paint, [outline(deck)], DECKS[rng.integers(len(DECKS))])
    if large:
        n_bays = int(ship.length / 14)
        for bay in range(n_bays):
            for side in range(3):
                if rng.random() < 0.8:
                    start, stop = -0.28 + 0.64 * bay / n_bays, -0.28 + 0.64 * (bay + 0.88) / n_bays
                    left, right = -0.36 + 0.24 * side, -0.36 + 0.24 * side + 0.22
                    colour = CONTAINERS[rng.integers(len(CONTAINERS))]
                    cv2.fillPoly(
                        paint, [outline([(start, left), (stop, left), (stop, right), (start, right)])], colour
                    )
        house = [(-0.44, -0.38), (-0.33, -0.38), (-0.33, 0.38), (-0.44, 0.38)]
    else:
        stern = rng.uniform(-0.35, -0.1)
        house = [(stern, -0.3), (stern + 0.3, -0.26), (stern + 0.3, 0.26), (stern, 0.3)]
    cv2.fillPoly(paint, [outline(house)], (238, 240, 238))

    def small(layer: npt.NDArray[np.uint8]) -> Field:
        return cv2.resize(layer, (size[1], size[0]), interpolation=cv2.INTER_AREA).astype(np.float32)

    own = small(cover) / 255
    window = np.s_[rows, cols]
    layers.shadow[window] = np.maximum(layers.shadow[window], 0.5 * small(shadow) / 255)
    painted = small(paint) / np.maximum(own, 1e-3)[..., None]
    layers.colour[window] = np.where(own[..., None] > 0, painted, layers.colour[window])
    layers.cover[window] = np.maximum(layers.cover[window], own)
