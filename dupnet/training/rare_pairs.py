"""Training pairs of the kinds that are met seldom and were judged worst: both labels of each.

A collar beside weak sea, a nearly black tile that one file has lightened, one pixel aside, strong noise,
strong compression, and little ground. :func:`dupnet.training.hard_pairs.write_pairs` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.augment.variation import AugmentConfig, another_day, hls_shift, jpeg, random_hls_shift
from dupnet.network.collar_cells import collar_cells
from dupnet.pairs.reader import is_another
from dupnet.tiles import CELL_SIZE, MIN_EVIDENCE_CELLS, TILE_SIZE, is_decidable
from dupnet.training.crops import Source, apart, draw_crop, most_alike
from dupnet.training.hard_pairs import HardPair
from dupnet.training.hard_tiles import draw_look, draw_weak_look, processed, texture, to_grey

__all__ = ["RARE_KINDS", "draw_rare_pair"]

Image = npt.NDArray[np.uint8]
Rng = np.random.Generator

RARE_KINDS = {
    "collar": 0.24,  # no data beside content, mostly weak sea; of other ground up to 20 px aside
    "lifted": 0.18,  # nearly black in one file, lightened in the other; of other ground, or of another day
    "aside": 0.18,  # one or two pixels aside, where fine texture tells; the same place exactly
    "noise": 0.12,  # noise of 3 to 14 levels over one of the two, or both; of another day as well
    "compressed": 0.16,  # JPEG below a quality of 50, of one file or both; of another day as well
    "little": 0.12,  # a square of 64 or 128 px, repeated until it fills a tile; of another day as well
}
"""Kinds and their shares; half of each kind are duplicates."""

COLLARS = ((0, 0, 0), (255, 255, 255), (0, 0, 255))
"""No data as files hold it: black, white, or an acquisition's blue border."""

WIDEST, ASIDE = 224, 20
"""Pixels of a tile that a collar takes at most, and by how many its edge runs aside in another place."""

FINE = 3
"""Scale in pixels below which detail tells one pixel aside."""

MOST_ALIKE, LEAST_DETAIL = 0.7, 1.5
"""Correlation of fine detail one pixel aside, at most, and its standard deviation in grey levels, at least,
for the two to be told apart after all processing."""

LOW_QUALITIES, LEAST_LEFT = (18, 50), 0.5
"""JPEG qualities, and the correlation of fine detail with what it was before that must be left."""

JPEG_BLOCK = 8
"""Side in pixels of a JPEG block (ITU-T T.81): two files of crops at any offset have theirs apart."""

CHANNEL_NOISE = 0.4
"""Standard deviation in levels of what a sensor adds to each channel of a nearly black tile. It leaves single
levels of one channel, which HLS calls fully saturated colours; a lighter copy shows them as such."""

LIFT = AugmentConfig(hue_limit=15, lightness_low=2, lightness_high=20, saturation_limit=20)
"""Limits of the shift of a nearly black file: 20 % of lightness add 25 levels."""


def draw_rare_pair(sources: Sequence[Source], shares: dict[str, float], seed: int, index: int) -> HardPair:
    """Pair ``index`` of a series of :data:`RARE_KINDS`.

    Draws again until both tiles carry evidence aside from collars, after all processing.
    """
    rng = np.random.default_rng((seed, index, 3))
    kind = str(rng.choice(list(RARE_KINDS), p=list(RARE_KINDS.values())))
    draw = _DRAWS[kind]
    is_duplicate = bool(rng.random() < 0.5)
    while True:
        crop = draw_crop(sources, shares, rng)
        other = (
            most_alike(crop, sources, shares, rng)
            if kind == "collar" and rng.random() < 0.2
            else draw_crop(sources, shares, rng, near=crop if rng.random() < 0.5 else None)
        )
        if other is None or not apart(crop, other, sources):
            continue
        found = draw(crop.tile, other.tile, is_duplicate, rng)
        if found is None:
            continue
        grey1, grey2, quality = found
        if _share_evidence(grey1, grey2):
            source = sources[crop.source]
            label = kind if is_duplicate else f"other {kind}"
            return HardPair(grey1, grey2, int(is_duplicate), label, source.name, source.group, quality)


Drawn = tuple[Image, Image, int] | None


def _share_evidence(grey1: Image, grey2: Image) -> bool:
    both = np.stack([grey1, grey2])
    if not is_decidable(both).all():
        return False
    marked = collar_cells(both)
    return marked is None or int((~marked.any(axis=0)).sum()) >= 2 * MIN_EVIDENCE_CELLS


def _files(tiles: list[Image], rng: Rng) -> tuple[Image, Image, int]:
    found, quality = processed(tiles, rng)
    return to_grey(found[0]), to_grey(found[1]), quality


def _collar(tile: Image, other: Image, is_duplicate: bool, rng: Rng) -> Drawn:
    look = draw_weak_look(rng) if rng.random() < 0.6 else np.asarray
    tiles = [np.asarray(look(tile), np.uint8)] * 2
    if not is_duplicate:
        chance = rng.random()
        tiles[1] = np.asarray((look if chance < 0.8 else draw_look(rng))(other), np.uint8)
        if rng.random() < 0.2:
            tiles[1] = another_day(tiles[0], tiles[1], rng)
        if rng.random() < 0.5:  # on one level, as two pieces of one sea are
            shift = tiles[0].mean(axis=(0, 1)) - tiles[1].mean(axis=(0, 1))
            tiles[1] = _bytes(tiles[1] + shift)
    colour = COLLARS[int(rng.integers(len(COLLARS)))]
    angle = float(rng.integers(4)) * np.pi / 2 if rng.random() < 0.4 else rng.uniform(0, 2 * np.pi)
    width = rng.uniform(4, WIDEST)
    aside = 0.0 if is_duplicate or rng.random() < 0.2 else rng.uniform(-ASIDE, ASIDE)
    slant = 0.0 if is_duplicate or rng.random() < 0.6 else rng.normal(0, 0.03)
    soft = 0.3 if rng.random() < 0.5 else rng.uniform(0.5, 2.5)
    covered = [
        _covered(tiles[0], colour, angle, width, soft),
        _covered(tiles[1], colour, angle + slant, width + aside, soft),
    ]
    order = covered if rng.random() < 0.5 else covered[::-1]
    found = _files(order, rng)
    if is_duplicate or is_another(*found[:2]):
        return found
    # What is left of both beside the collar must differ, or neither label would be true.
    marked = collar_cells(np.stack(found[:2]))
    return found if marked is not None and _differs(found[0], found[1], ~(marked[0] | marked[1])) else None


def _differs(grey1: Image, grey2: Image, seen: npt.NDArray[np.bool_]) -> bool:
    shown = np.kron(seen, np.ones((CELL_SIZE, CELL_SIZE), bool)).astype(bool)
    return bool(shown.any()) and _correlation(grey1[shown], grey2[shown]) < 0.3


def _covered(tile: Image, colour: tuple[int, int, int], angle: float, width: float, soft: float) -> Image:
    """No data beyond a line: ``width`` px of it, from the side of the tile that ``angle`` (radians) points
    to; its edge is ``soft`` px wide."""
    middle = (TILE_SIZE - 1) / 2
    rows, cols = np.mgrid[:TILE_SIZE, :TILE_SIZE] - middle
    reach = middle * (abs(np.cos(angle)) + abs(np.sin(angle)))
    beyond = cols * np.cos(angle) + rows * np.sin(angle) - (reach - width)
    share = np.clip(beyond / soft + 0.5, 0, 1)[..., None]
    return _bytes(tile + (np.array(colour, np.float32) - tile) * share)


def _lifted(tile: Image, other: Image, is_duplicate: bool, rng: Rng) -> Drawn:
    mean, contrast = np.exp(rng.uniform(np.log(0.2), np.log(6))), np.exp(rng.uniform(np.log(0.4), np.log(10)))
    noise = rng.normal(0, CHANNEL_NOISE, (2, TILE_SIZE, TILE_SIZE, 3))
    day = not is_duplicate and rng.random() < 0.4
    second = tile if is_duplicate else another_day(tile, other, rng) if day else other
    tiles = []
    for number, one in enumerate((tile, second)):
        detail = one.astype(np.float32) - cv2.GaussianBlur(one.astype(np.float32), (0, 0), 8)
        levels = mean + detail * (contrast / max(float(detail.std()), 0.5))
        tiles.append(_bytes(levels + noise[0 if is_duplicate or day else number]))
    quality = int(rng.integers(85, 98))
    tiles = [jpeg(one, quality) for one in tiles] if rng.random() < 0.7 else tiles
    which = int(rng.integers(2))
    tiles[which] = random_hls_shift(tiles[which], rng, LIFT)
    if rng.random() < 0.4:
        tiles[1 - which] = hls_shift(tiles[1 - which], rng.uniform(-10, 10), rng.uniform(-20, 12))
    qualities = rng.integers(80, 98, 2)
    grey1, grey2 = (to_grey(jpeg(one, int(each))) for one, each in zip(tiles, qualities, strict=True))
    if day and not is_another(grey1, grey2):
        return None
    return grey1, grey2, int(qualities.min())


def _aside(tile: Image, other: Image, is_duplicate: bool, rng: Rng) -> Drawn:
    step = int(rng.integers(1, 3)) if rng.random() < 0.3 else 1
    down, right = ((step, 0), (0, step), (-step, 0), (0, -step), (step, step), (step, -step))[
        int(rng.integers(6))
    ]
    moved = np.roll(tile, (down, right), axis=(0, 1))
    # The same is asked of duplicates, so that it tells nothing.
    if not _is_told(to_grey(tile), to_grey(moved)):
        return None
    found = _files([tile, tile if is_duplicate else moved], rng)
    return found if is_duplicate or _is_told(*found[:2]) else None


def _is_told(grey1: Image, grey2: Image) -> bool:
    fine = [_fine(grey) for grey in (grey1, grey2)]
    return min(float(one.std()) for one in fine) >= LEAST_DETAIL and _correlation(*fine) < MOST_ALIKE


def _fine(grey: Image) -> npt.NDArray[np.float32]:
    levels = grey.astype(np.float32)
    return np.asarray(levels - cv2.GaussianBlur(levels, (0, 0), FINE), np.float32)


def _correlation(one: npt.NDArray[np.generic], two: npt.NDArray[np.generic]) -> float:
    first, second = (part.astype(np.float64) - float(part.mean()) for part in (one, two))
    return float((first * second).mean() / max(float(first.std() * second.std()), 1e-9))


def _noise(tile: Image, other: Image, is_duplicate: bool, rng: Rng) -> Drawn:
    deviation, both = rng.uniform(3, 14), bool(rng.random() < 0.4)
    if texture(tile) < 0.6 * deviation:
        return None
    tiles = [tile, tile if is_duplicate else another_day(tile, other, rng)]
    if not is_duplicate and not is_another(*tiles):
        return None
    n_channels = 1 if rng.random() < 0.5 else 3  # the same in all channels, or in each its own
    which = int(rng.integers(2))
    for number in range(2):
        if number == which or both:
            levels = rng.normal(0, deviation, (TILE_SIZE, TILE_SIZE, n_channels))
            tiles[number] = _bytes(tiles[number] + levels)
    return _files(tiles, rng)


def _compressed(tile: Image, other: Image, is_duplicate: bool, rng: Rng) -> Drawn:
    look = draw_weak_look(rng) if rng.random() < 0.3 else np.asarray
    tile = np.asarray(look(tile), np.uint8)
    tiles = [tile, tile if is_duplicate else another_day(tile, np.asarray(look(other), np.uint8), rng)]
    if not is_duplicate and not is_another(*tiles):
        return None
    files, quality = processed(tiles, rng)
    lower = [int(low) for low in rng.integers(*LOW_QUALITIES, 2)]
    which, both = int(rng.integers(2)), bool(rng.random() < 0.5)
    starts = rng.integers(0, JPEG_BLOCK, (2, 2))
    if rng.random() < 0.4:  # as of crops whose offset is a multiple of a block
        starts[1] = starts[0]
    for number in range(2):
        if number == which or both:
            before = to_grey(files[number])
            files[number] = _saved_as_part(files[number], lower[number], *starts[number].tolist())
            quality = min(quality, lower[number])
            # Where nothing but blocks is left, no label would be true.
            if _correlation(_fine(before), _fine(to_grey(files[number]))) < LEAST_LEFT:
                return None
    grey1, grey2 = (to_grey(file) for file in files)
    return (grey1, grey2, quality) if is_duplicate or is_another(grey1, grey2) else None


def _saved_as_part(tile: Image, quality: int, down: int, right: int) -> Image:
    """A tile as a JPEG file shows it, in which it begins so many pixels after a block does."""
    height, width = tile.shape[:2]
    file = cv2.copyMakeBorder(tile, down, JPEG_BLOCK - down, right, JPEG_BLOCK - right, cv2.BORDER_REFLECT)
    return jpeg(np.asarray(file, np.uint8), quality)[down : down + height, right : right + width]


def _little(tile: Image, other: Image, is_duplicate: bool, rng: Rng) -> Drawn:
    look = draw_look(rng)
    tile = np.asarray(look(tile), np.uint8)
    second = tile
    if not is_duplicate:
        other = np.asarray(look(other), np.uint8)
        second = another_day(tile, other, rng) if rng.random() < 0.7 else other
    grey1, grey2, quality = _files([tile, second], rng)
    side = 64 if rng.random() < 0.7 else 128
    row, col = (int(rng.integers(0, TILE_SIZE - side + 1)) for _ in range(2))
    cut = [grey[row : row + side, col : col + side] for grey in (grey1, grey2)]
    if not is_duplicate and (not is_another(*cut) or _correlation(*(_fine(one) for one in cut)) > 0.75):
        return None
    times = TILE_SIZE // side
    if not is_decidable(np.stack(cut)).all():
        return None
    # Cells say the same wherever they stand, so this is what the head makes of a tile of that size.
    return np.tile(cut[0], (times, times)), np.tile(cut[1], (times, times)), quality


_DRAWS: dict[str, Callable[[Image, Image, bool, Rng], Drawn]] = {
    "collar": _collar,
    "lifted": _lifted,
    "aside": _aside,
    "noise": _noise,
    "compressed": _compressed,
    "little": _little,
}


def _bytes(levels: npt.NDArray[np.generic]) -> Image:
    return np.clip(np.rint(np.asarray(levels, np.float32)), 0, 255).astype(np.uint8)
