"""Crops to draw pairs from: where in an acquisition a tile was cut, and whether two of them share ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.tiles import TILE_SIZE
from dupnet.training.hard_tiles import texture

__all__ = ["Crop", "Place", "Source", "apart", "draw_crop", "most_alike"]

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Pixels to draw crops from: ``image`` (height, width, 3) uint8 RGB, at least a tile a side.

    ``name`` tells the collection; crops of two sources are never called alike if they share a ``group``.
    """

    name: str
    group: str
    image: Image


class Place(NamedTuple):
    """Where a tile was drawn: ``row`` and ``col`` in pixels of source number ``source``, of ``group``."""

    source: int
    group: str
    row: int
    col: int


class Crop(NamedTuple):
    """A tile (256, 256, 3) uint8, cut at ``row`` and ``col`` of source number ``source``."""

    tile: Image
    source: int
    row: int
    col: int


def draw_crop(
    sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator, near: Crop | None = None
) -> Crop:
    """A crop at multiples of 8 px, the grid of JPEG blocks; with ``near``, of its source and clear of
    it."""
    if near is None:
        names = [name for name in shares if any(source.name == name for source in sources)]
        weights = np.array([shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        number = int(rng.choice([i for i, source in enumerate(sources) if source.name == name]))
    else:
        number = near.source
    image = sources[number].image
    for _ in range(50):
        row, col = (int(rng.integers(0, (side - TILE_SIZE) // 8 + 1)) * 8 for side in image.shape[:2])
        if near is None or max(abs(row - near.row), abs(col - near.col)) >= TILE_SIZE:
            break
    tile = np.ascontiguousarray(image[row : row + TILE_SIZE, col : col + TILE_SIZE])
    return Crop(tile, number, row, col)


def apart(one: Crop, other: Crop, sources: Sequence[Source]) -> bool:
    """Whether two crops share no ground: clear of each other in one source, or of two groups."""
    if one.source == other.source:
        return max(abs(one.row - other.row), abs(one.col - other.col)) >= TILE_SIZE
    return sources[one.source].group != sources[other.source].group


def most_alike(
    crop: Crop, sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator
) -> Crop | None:
    """Of a dozen crops, here and elsewhere, the one nearest in brightness and texture; None if all share
    ground with it."""

    def distance(one: Crop, other: Crop) -> float:
        level = abs(float(one.tile.mean()) - float(other.tile.mean())) / 20
        return level + abs(float(np.log((texture(one.tile) + 0.5) / (texture(other.tile) + 0.5))))

    draws = [draw_crop(sources, shares, rng, near=crop if rng.random() < 0.4 else None) for _ in range(12)]
    draws = [draw for draw in draws if apart(crop, draw, sources)]
    return min(draws, key=lambda draw: distance(crop, draw), default=None)
