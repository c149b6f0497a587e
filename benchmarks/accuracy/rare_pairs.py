"""Rare kinds of pairs, drawn by a generator of their own: nothing of it is shared with the training pairs.

Collars, nearly black tiles that are lightened, small tiles, strips one cell wide, JPEG grids that do not
meet, one pixel aside, strong noise: each kind with duplicates and with non-duplicates. Edges are drawn by
Pillow at four times the size, files are compressed by Pillow, colours are shifted in OpenCV's 8-bit HLS.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from dupnet.tiles import CELL_SIZE
from dupnet.training.crops import Source

Image = npt.NDArray[np.uint8]

SIZE = 256
COLLARS = {"black": (0, 0, 0), "white": (255, 255, 255), "blue": (0, 0, 255)}
AROUND = 32
"""Pixels of ground drawn around a tile, for what is cut aside."""

LONG = 512
"""Length in pixels of the long strips."""


class RarePair(NamedTuple):
    """Two RGB tiles (size, size, 3) uint8 of one size, and whether they show one place and moment."""

    tile1: Image
    tile2: Image
    is_duplicate: int
    group: str


class _Ground(NamedTuple):
    pixels: Image  # (SIZE + 2 AROUND, SIZE + 2 AROUND, 3), of long strips LONG + 2 AROUND
    group: str


def draw_rare_pair(kind: str, sources: Sequence[Source], seed: int, index: int) -> RarePair:
    """Pair ``index`` of the series of a kind of :data:`RARE_KINDS` that ``seed`` stands for.

    Half are duplicates. Draws again where the ground shows too little for either label to be true.
    """
    number = list(RARE_KINDS).index(kind)
    rng = np.random.default_rng((seed, number, index, 77))
    is_duplicate = bool(rng.integers(2))
    while True:
        here, elsewhere = _two_grounds(sources, rng, LONG if kind == LONG_STRIPS else SIZE)
        tiles = RARE_KINDS[kind](here.pixels, elsewhere.pixels, is_duplicate, rng)
        if tiles is not None:
            return RarePair(*tiles, int(is_duplicate), here.group)


def _two_grounds(sources: Sequence[Source], rng: np.random.Generator, size: int) -> tuple[_Ground, _Ground]:
    """Two pieces of ground that share nothing: of two groups, or clear of each other in one image."""
    side = size + 2 * AROUND
    sources = [source for source in sources if min(source.image.shape[:2]) > side]
    groups = {
        name: {one.group for one in sources if one.name == name} for name in {one.name for one in sources}
    }
    wide = {source.name for source in sources if max(source.image.shape[:2]) >= 2 * side}
    names = sorted(name for name in groups if len(groups[name]) > 1 or name in wide)
    name = names[int(rng.integers(len(names)))]
    of_name = [source for source in sources if source.name == name]
    while True:
        one, two = (of_name[int(rng.integers(len(of_name)))] for _ in range(2))
        places = [
            tuple(int(rng.integers(0, length - side + 1)) for length in source.image.shape[:2])
            for source in (one, two)
        ]
        gap = max(abs(places[0][0] - places[1][0]), abs(places[0][1] - places[1][1]))
        if one.group != two.group or (one is two and gap >= side):
            break
    grounds = [
        _Ground(source.image[row : row + side, col : col + side], f"{source.name} {source.group}")
        for source, (row, col) in zip((one, two), places, strict=True)
    ]
    return grounds[0], grounds[1]


Tiles = tuple[Image, Image] | None


def _collar(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
    """A strip of no data beside content, half of the time beside water of 0.3 to 2 levels."""
    ground = [_inner(here), _inner(here if is_duplicate else there)]
    if rng.random() < 0.6:
        texture = rng.uniform(0.3, 2)
        level = rng.uniform(8, 70)
        ground = [_calmed(tile, texture, level, rng) for tile in ground]
        if not is_duplicate and rng.random() < 0.5:
            ground[1] = _calmed(_inner(there), rng.uniform(0.3, 2), rng.uniform(8, 70), rng)
    colour = list(COLLARS.values())[int(rng.integers(len(COLLARS)))]
    angle = float(rng.integers(4)) * 90 if rng.random() < 0.4 else rng.uniform(0, 360)
    width = rng.uniform(4, 220)
    softness = 0.0 if rng.random() < 0.5 else rng.uniform(0.5, 2)
    aside = 0.0 if is_duplicate else rng.uniform(0, 20) * (1 if rng.random() < 0.5 else -1)
    tilt = 0.0 if is_duplicate or rng.random() < 0.5 else rng.uniform(-2, 2)
    tiles = [
        _with_strip(ground[0], colour, angle, width, softness),
        _with_strip(ground[1], colour, angle + tilt, width + aside, softness),
    ]
    return _files(tiles, rng, lightest=25 if rng.random() < 0.4 else 8)


def _nearly_black(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
    """Tiles of a mean of 0.5 to 3 levels, one of them, or both, lightened to as much as 25."""
    mean, contrast = rng.uniform(0.5, 3), rng.uniform(0.5, 8)
    # Sensor noise of each channel: single levels, that a lighter copy shows as colours.
    noise = [rng.normal(0, 0.4, (SIZE, SIZE, 3)) for _ in range(2)]
    tiles = []
    for number, ground in enumerate((here, here if is_duplicate else there)):
        levels = _inner(ground).astype(np.float32)
        detail = levels - cv2.GaussianBlur(levels, (0, 0), 6)
        spread = float(detail.std())
        if spread < 0.4:
            return None
        dark = mean + detail * (contrast / spread) + noise[0 if is_duplicate else number]
        tiles.append(_compressed(_bytes(dark), 95))
    which = int(rng.integers(2))
    both = rng.random() < 0.3
    return _pair(
        [
            _compressed(
                _shifted(tile, rng.uniform(-8, 8), rng.uniform(3, 20), rng.uniform(-8, 8))
                if both or number == which
                else tile,
                int(rng.integers(85, 98)),
            )
            for number, tile in enumerate(tiles)
        ]
    )


def _small(size: int) -> Callable[[Image, Image, bool, np.random.Generator], Tiles]:
    def draw(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
        tiles = [_inner(here), _inner(here)]
        if not is_duplicate:
            tiles[1] = _day(tiles[0], _inner(there), rng) if rng.random() < 0.7 else _inner(there)
        row, col = (int(rng.integers(0, SIZE - size + 1)) for _ in range(2))
        cut = [tile[row : row + size, col : col + size] for tile in tiles]
        if not _tells(cut[0], cut[1], is_duplicate):
            return None
        found = _files(tiles, rng)
        return None if found is None else _pair([one[row : row + size, col : col + size] for one in found])

    return draw


def _strip(length: int) -> Callable[[Image, Image, bool, np.random.Generator], Tiles]:
    """One cell wide and ``length`` px long, folded into a square, as a narrow overlap is judged."""
    size = max(length, SIZE)

    def draw(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
        tiles = [_inner(here, size), _inner(here, size)]
        if not is_duplicate:
            other = _inner(there, size)
            tiles[1] = _day(tiles[0], other, rng) if rng.random() < 0.7 else other
        row = int(rng.integers(0, size - CELL_SIZE + 1))
        col = int(rng.integers(0, size - length + 1))

        def folded(tile: Image) -> Image:
            line = tile[row : row + CELL_SIZE, col : col + length]
            cells = line.reshape(CELL_SIZE, -1, CELL_SIZE, 3).swapaxes(0, 1)
            side = int(np.sqrt(len(cells)))
            square = cells.reshape(side, side, CELL_SIZE, CELL_SIZE, 3).swapaxes(1, 2)
            return np.ascontiguousarray(square.reshape(side * CELL_SIZE, side * CELL_SIZE, 3))

        if not _tells(folded(tiles[0]), folded(tiles[1]), is_duplicate):
            return None
        found = _files(tiles, rng)
        return None if found is None else _pair([folded(one) for one in found])

    return draw


def _other_grid(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
    """Two files whose JPEG blocks do not meet: the second was cut 1 to 7 px aside."""
    down, right = (int(rng.integers(1, 8)) for _ in range(2))
    second = here if is_duplicate else _day(here, there, rng) if rng.random() < 0.7 else there
    if not _tells(_inner(here), _inner(second), is_duplicate):
        return None
    files = _files([here[AROUND:, AROUND:], second[AROUND - down :, AROUND - right :]], rng)
    if files is None:
        return None
    return _pair([files[0][:SIZE, :SIZE], files[1][down : down + SIZE, right : right + SIZE]])


def _one_pixel(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
    """The same place exactly, or one pixel aside where texture can tell."""
    down, right = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1)][int(rng.integers(6))]
    if is_duplicate:
        down = right = 0
    aside = here[AROUND + down :, AROUND + right :][:SIZE, :SIZE]
    reference = here[AROUND + 1 :, AROUND:][:SIZE, :SIZE]
    correlation, strength = _likeness(_inner(here), reference)
    if correlation > 0.7 or strength < 3:  # of duplicates the same is asked, so that it tells nothing
        return None
    return _files([_inner(here), aside], rng)


def _noise(deviation: float) -> Callable[[Image, Image, bool, np.random.Generator], Tiles]:
    def draw(here: Image, there: Image, is_duplicate: bool, rng: np.random.Generator) -> Tiles:
        tiles = [_inner(here), _inner(here)]
        if not is_duplicate:
            tiles[1] = _day(tiles[0], _inner(there), rng) if rng.random() < 0.7 else _inner(there)
        _, strength = _likeness(tiles[0], tiles[0])
        if strength < 0.5 * deviation or not _tells(tiles[0], tiles[1], is_duplicate):
            return None
        which = int(rng.integers(2))
        tiles[which] = _bytes(tiles[which] + rng.normal(0, deviation, tiles[which].shape))
        return _files(tiles, rng)

    return draw


LONG_STRIPS = f"strips of {CELL_SIZE} x {LONG} px"

RARE_KINDS: dict[str, Callable[[Image, Image, bool, np.random.Generator], Tiles]] = {
    "collar": _collar,
    "nearly black": _nearly_black,
    "tiles of 64 px": _small(64),
    "tiles of 128 px": _small(128),
    "strips of 32 x 128 px": _strip(128),
    "JPEG grids apart": _other_grid,
    "one pixel aside": _one_pixel,
    "noise of 5 levels": _noise(5),
    "noise of 12 levels": _noise(12),
    LONG_STRIPS: _strip(LONG),
}
"""How pairs of each kind are drawn: ground, other ground, whether a duplicate, a generator -> two tiles, or
None where the ground does not do."""


def _inner(ground: Image, size: int = SIZE) -> Image:
    return np.ascontiguousarray(ground[AROUND : AROUND + size, AROUND : AROUND + size])


def _calmed(tile: Image, texture: float, level: float, rng: np.random.Generator) -> Image:
    """The tile as water: its detail at a standard deviation of ``texture`` levels on one slow level."""
    levels = tile.astype(np.float32)
    detail = levels - cv2.GaussianBlur(levels, (0, 0), 5)
    spread = max(float(detail.std()), 1e-3)
    tint = np.array([0.7, 1.0, 1.2], np.float32) * level
    return _bytes(tint + detail * min(texture / spread, 4))


def _with_strip(
    tile: Image, colour: tuple[int, int, int], angle: float, width: float, softness: float
) -> Image:
    """The tile with no data on one side of a line: ``width`` px of it from the side that ``angle`` points
    to."""
    scale = 4
    mask = Pillow.new("L", (SIZE * scale, SIZE * scale), 0)
    direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    along = np.array([-direction[1], direction[0]])
    reach = SIZE / 2 * (abs(direction[0]) + abs(direction[1]))
    start = np.array([SIZE / 2, SIZE / 2]) + direction * (reach - width)
    corners = [
        start + along * 2 * SIZE,
        start - along * 2 * SIZE,
        start - along * 2 * SIZE + direction * 4 * SIZE,
        start + along * 2 * SIZE + direction * 4 * SIZE,
    ]
    ImageDraw.Draw(mask).polygon([tuple((corner * scale).tolist()) for corner in corners], fill=255)
    if softness:
        mask = mask.resize((SIZE, SIZE), Pillow.Resampling.BOX).filter(ImageFilter.GaussianBlur(softness))
    else:
        mask = mask.resize((SIZE, SIZE), Pillow.Resampling.NEAREST)
    solid = Pillow.new("RGB", (SIZE, SIZE), colour)
    return np.asarray(Pillow.composite(solid, Pillow.fromarray(tile), mask), np.uint8)


def _day(tile: Image, other: Image, rng: np.random.Generator) -> Image:
    """Another day: in 30 to 70 % of the area, cut by a hard outline, the detail of other ground."""
    side = tile.shape[0]
    points = rng.uniform(0, side, (int(rng.integers(10, 26)), 2))
    chosen = rng.random(len(points)) < rng.uniform(0.3, 0.7)
    rows, cols = np.mgrid[:side, :side]
    nearest = np.argmin([(rows - row) ** 2 + (cols - col) ** 2 for row, col in points], axis=0)
    base, new = tile.astype(np.float32), other.astype(np.float32)
    slow = cv2.GaussianBlur(base, (0, 0), 10)
    return _bytes(np.where(chosen[nearest][..., None], slow + new - cv2.GaussianBlur(new, (0, 0), 10), base))


def _likeness(one: Image, two: Image) -> tuple[float, float]:
    """Correlation of what is finer than 3 px, and its strength in levels."""
    parts = []
    for tile in (one, two):
        grey = np.asarray(Pillow.fromarray(tile).convert("L"), np.float32)
        part = grey - cv2.GaussianBlur(grey, (0, 0), 3)
        parts.append(part - part.mean())
    strength = float(parts[0].std())
    return float((parts[0] * parts[1]).mean()) / max(strength * float(parts[1].std()), 1e-6), strength


def _tells(one: Image, two: Image, is_duplicate: bool) -> bool:
    """Whether there is enough to see, and of two moments enough that differs."""
    correlation, strength = _likeness(one, two)
    return strength >= 1.5 and (is_duplicate or correlation < 0.7)


def _files(tiles: Sequence[Image], rng: np.random.Generator, lightest: float = 5) -> Tiles:
    """Each tile as a file of its own: tone, colours and compression."""
    found = []
    for tile in tiles:
        gain, gamma = rng.uniform(0.95, 1.05), rng.uniform(0.95, 1.05)
        toned = _bytes(255 * np.clip(tile / 255 * gain, 0, 1) ** gamma)
        if rng.random() < 0.7:
            toned = _shifted(toned, rng.uniform(-10, 10), rng.uniform(-10, lightest), rng.uniform(-10, 10))
        found.append(_compressed(toned, int(rng.integers(75, 98))))
    return _pair(found)


def _pair(tiles: Sequence[Image]) -> tuple[Image, Image]:
    return np.ascontiguousarray(tiles[0]), np.ascontiguousarray(tiles[1])


def _shifted(tile: Image, hue: float, lightness: float, saturation: float) -> Image:
    """An HLS shift in OpenCV's 8 bits; units of GIMP."""
    hls = cv2.cvtColor(tile, cv2.COLOR_RGB2HLS_FULL).astype(np.float32)
    share = lightness / 200
    hls[..., 0] = (hls[..., 0] + 256 * hue / 360) % 256
    hls[..., 1] = hls[..., 1] * (1 - abs(share)) + 255 * max(share, 0)
    hls[..., 2] = hls[..., 2] * (1 + saturation / 100)
    return np.asarray(cv2.cvtColor(_bytes(hls), cv2.COLOR_HLS2RGB_FULL), np.uint8)


def _compressed(tile: Image, quality: int) -> Image:
    file = io.BytesIO()
    Pillow.fromarray(tile).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Pillow.open(file).convert("RGB"), np.uint8)


def _bytes(levels: npt.NDArray[np.generic]) -> Image:
    return np.clip(np.rint(np.asarray(levels, np.float32)), 0, 255).astype(np.uint8)
