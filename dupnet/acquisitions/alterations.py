"""What a hard cut does to its crops: own processing, solid tiles, versions of another day.

Plain crops of one acquisition agree almost bit for bit, and any hash finds them. These alterations are what
tells good signals from bad ones: a duplicate stays one through processing and compression, two solid tiles
prove nothing, and one place on another day is no duplicate although half of every tile agrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.augment.variation import hls_shift
from dupnet.tiles import cell_texture

__all__ = [
    "ALTERATIONS",
    "SOLID_KINDS",
    "Processing",
    "alter",
    "another_day_tile",
    "draw_processing",
    "process",
    "solid_tile",
]

Image = npt.NDArray[np.uint8]

SOLID_KINDS = ("white", "black", "blue")
"""What :func:`solid_tile` makes: saturated cloud, nothing recorded, an acquisition's border."""

HLS_RANGE = 8.0
"""Largest shift of a hard cut's own processing: hue in degrees, lightness and saturation in percent."""

TONE_RANGE = 0.06
"""Largest change of gain and gamma by a hard cut's own processing, as a share."""

QUALITY_RANGE = (75, 97)
"""JPEG qualities of a hard cut, both ends included."""

REPLACED_SHARE = (0.3, 0.7)
"""Share of a tile that differs on another day."""

PATCH_SIDES = (60 / 256, 100 / 256)
"""Diameters of the patches that differ on another day, as shares of a tile's side: 60 to 100 px of 256."""

ALTERATIONS = ("watermark", "frame", "collar")
"""What :func:`alter` does to a copy: a line of text in a corner, a solid frame, a slanted black collar."""

FRAME_WIDTH = 32
"""Width in pixels of a frame; a quarter of the image's shorter side where that is less."""

COLLAR_SHARE = (0.05, 0.2)
"""Share of the image that a collar covers."""

_PATCHES = 5
"""Stream of random numbers of the patches of another day, apart from those of
:mod:`dupnet.acquisitions.scenes`."""


@dataclass(frozen=True)
class Processing:
    """How a crop was processed before it was compressed.

    ``hue`` in degrees, ``lightness`` and ``saturation`` in percent (GIMP's units); ``gain`` and ``gamma``
    are factors, 1 for unchanged; ``quality`` is the JPEG quality.
    """

    hue: float = 0.0
    lightness: float = 0.0
    saturation: float = 0.0
    gain: float = 1.0
    gamma: float = 1.0
    quality: int = 95


def draw_processing(rng: np.random.Generator, reach: float = 1.0) -> Processing:
    """The own processing of one crop of a hard cut: each value uniform within its range.

    ``reach`` widens the ranges of hue, lightness, saturation, gain and gamma by a factor, for training past
    what a hard cut asks.
    """
    hue, lightness, saturation = rng.uniform(-reach * HLS_RANGE, reach * HLS_RANGE, 3)
    gain, gamma = rng.uniform(1 - reach * TONE_RANGE, 1 + reach * TONE_RANGE, 2)
    quality = int(rng.integers(QUALITY_RANGE[0], QUALITY_RANGE[1] + 1))
    # Rounded to what a table shows, so that the table reproduces the image.
    return Processing(
        hue=round(float(hue), 3),
        lightness=round(float(lightness), 3),
        saturation=round(float(saturation), 3),
        gain=round(float(gain), 3),
        gamma=round(float(gamma), 3),
        quality=quality,
    )


def process(image: Image, processing: Processing) -> Image:
    """An image (height, width, 3) uint8 RGB after gain, gamma and HLS shift; always a new array."""
    levels = np.arange(256) / 255.0
    table = 255.0 * np.clip(processing.gain * levels, 0, 1) ** processing.gamma
    toned = cv2.LUT(image, np.rint(table).astype(np.uint8)).astype(np.uint8)
    if processing.hue or processing.lightness or processing.saturation:
        return hls_shift(toned, processing.hue, processing.lightness, processing.saturation)
    return toned


def solid_tile(kind: str, size: int, rng: np.random.Generator) -> Image:
    """A solid tile (size, size, 3) uint8 RGB: ``white`` (saturated cloud), ``black``, ``blue`` (the border).

    The border of an acquisition is pure blue, a few levels off along its inner edge, here on a random side.

    Raises
    ------
    ValueError
        If the kind is none of these.
    """
    tile = np.zeros((size, size, 3), dtype=np.uint8)
    if kind == "white":
        tile[:] = 255
    elif kind == "blue":
        tile[..., 2] = 255
        tile[: int(rng.integers(1, 3))] = (0, int(rng.integers(1, 12)), 255 - int(rng.integers(1, 12)))
        tile = np.rot90(tile, int(rng.integers(4))).copy()
    elif kind != "black":
        raise ValueError(f"kind is {kind!r}; a solid tile is white, black or blue.")
    return tile


def alter(image: Image, kind: str, rng: np.random.Generator) -> Image:
    """A copy of an image (height, width, 3) uint8 RGB of which a part was altered after it was taken.

    ``watermark``: white text, half transparent, over a third of the width, in one of the corners. ``frame``:
    :data:`FRAME_WIDTH` px of one colour all around. ``collar``: black beyond a slanted line, over a share of
    :data:`COLLAR_SHARE`, as the border of an acquisition that was brought to north.

    Raises
    ------
    ValueError
        If the kind is none of these.
    """
    height, width = image.shape[:2]
    altered = image.copy()
    if kind == "watermark":
        letters = "".join(chr(letter) for letter in rng.integers(ord("A"), ord("Z") + 1, 8))
        font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, width // 200)
        scale = width / 3 / cv2.getTextSize(letters, font, 1.0, 1)[0][0]
        (text_width, text_height), below = cv2.getTextSize(letters, font, scale, thickness)
        margin = max(2, width // 40)
        left = margin if rng.random() < 0.5 else width - text_width - margin
        bottom = text_height + margin if rng.random() < 0.5 else height - below - margin
        cv2.putText(altered, letters, (left, bottom), font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
        return np.asarray(cv2.addWeighted(image, 0.4, altered, 0.6, 0), np.uint8)
    if kind == "frame":
        side = min(FRAME_WIDTH, height // 4, width // 4)
        inner = np.s_[side : height - side, side : width - side]
        altered[:] = rng.integers(256, size=3)
        altered[inner] = image[inner]
        return altered
    if kind == "collar":
        angle = rng.uniform(0, 2 * np.pi)
        rows, cols = np.mgrid[:height, :width]
        along = rows * np.sin(angle) + cols * np.cos(angle)
        altered[along <= np.quantile(along, rng.uniform(*COLLAR_SHARE))] = 0
        return altered
    raise ValueError(f"kind is {kind!r}; an alteration is {', '.join(ALTERATIONS)}.")


def another_day_tile(acquisition: Image, row: int, col: int, tile_size: int, seed: int) -> Image:
    """The tile at (row, col) of an acquisition as it might look on another day.

    Both are uint8 RGB: (height, width, 3) in, (tile_size, tile_size, 3) out.

    Between 30 and 70 % of it are replaced, in round patches with soft edges, by texture from elsewhere in
    the acquisition; the first patch lies on the cell with the most texture, so that what a verdict can rest
    on differs. The result depends on the place and the seed alone: crops of that day that overlap agree
    with each other.
    """
    rng = np.random.default_rng([seed, _PATCHES, row, col])
    top, left = row * tile_size, col * tile_size
    tile = acquisition[top : top + tile_size, left : left + tile_size].astype(np.float32)
    # The last patch, of any size, still fits above this target: the share stays within REPLACED_SHARE.
    target = rng.uniform(REPLACED_SHARE[0], REPLACED_SHARE[1] - np.pi / 4 * PATCH_SIDES[1] ** 2)
    replaced = np.zeros((tile_size, tile_size), dtype=bool)
    centre_y, centre_x = _most_textured(tile)
    while replaced.mean() < target:
        radius = tile_size * rng.uniform(*PATCH_SIDES) / 2
        # An edge 3/8 of the radius wide, half of it outside: 11 to 19 px of 256.
        reach = 1.1875 * radius
        rows = np.arange(max(0, round(centre_y - reach)), min(tile_size, round(centre_y + reach) + 1))
        cols = np.arange(max(0, round(centre_x - reach)), min(tile_size, round(centre_x + reach) + 1))
        distance = np.hypot(rows[:, None] - centre_y, cols[None, :] - centre_x)
        weight = np.clip((reach - distance) / (0.375 * radius), 0, 1).astype(np.float32)[..., None]
        box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        source = _likeliest_source(acquisition, top + int(rows[0]), left + int(cols[0]), tile[box], rng)
        tile[box] += weight * (source - tile[box])
        replaced[box] |= weight[..., 0] > 0.5
        centre_y, centre_x = rng.uniform(0, tile_size, 2)
    return np.rint(tile).astype(np.uint8)


def _most_textured(tile: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Centre (y, x) of the cell with the most texture."""
    texture = cell_texture(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)[None])[0]
    size = tile.shape[0] / texture.shape[0]
    y, x = np.unravel_index(int(texture.argmax()), texture.shape)
    return (float(y) + 0.5) * size, (float(x) + 0.5) * size


def _likeliest_source(
    acquisition: Image, top: int, left: int, patch: npt.NDArray[np.float32], rng: np.random.Generator,
    n_candidates: int = 6,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """A box of the patch's size from elsewhere: of some random ones the nearest in mean colour.

    Sea is replaced by sea where there is any: obvious differences would make the collection easy.
    """
    height, width = patch.shape[:2]
    best, best_difference = patch, np.inf
    mean = np.array(cv2.mean(patch)[:3])
    for _ in range(n_candidates):
        source_top = int(rng.integers(acquisition.shape[0] - height + 1))
        source_left = int(rng.integers(acquisition.shape[1] - width + 1))
        if abs(source_top - top) < height // 2 and abs(source_left - left) < width // 2:
            continue
        source = acquisition[source_top : source_top + height, source_left : source_left + width]
        difference = float(np.abs(np.array(cv2.mean(source)[:3]) - mean).sum())
        if difference < best_difference:
            best, best_difference = source.astype(np.float32), difference
    return best
