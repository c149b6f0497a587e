"""Training pairs that hold the hard cases, drawn from acquisitions and images by a seed.

Half of the pairs are duplicates: one crop under two processings, each compressed on its own. The other half
are non-duplicates of the kinds in :data:`KINDS`. Both halves go through the same processing, so that it
tells nothing.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from dupnet.acquisitions.alterations import draw_processing, process
from dupnet.augment.variation import another_day, jpeg
from dupnet.files.atomic import atomic_path, write_csv
from dupnet.files.workers import end_with
from dupnet.network.descriptors import describe, untrained_weights, verify_bytes
from dupnet.pairs.reader import is_another
from dupnet.tiles import TILE_SIZE, is_decidable
from dupnet.training.crops import Crop, Place, Source, apart, draw_crop, most_alike
from dupnet.training.hard_tiles import (
    cut_by_solid,
    detail_difference,
    draw_dark_look,
    draw_look,
    draw_weak_look,
    processed,
    processed_gently,
    replaced,
    texture,
    to_grey,
    with_ship,
)

__all__ = [
    "KINDS",
    "USUAL_KINDS",
    "HardPair",
    "draw_faint_pair",
    "draw_pair",
    "draw_tile",
    "draw_usual_pair",
    "write_pairs",
]

Image = npt.NDArray[np.uint8]

KINDS = {
    "same": 0.14,  # another crop of the same image
    "cross": 0.09,  # a crop of another image
    "alike": 0.17,  # of a dozen crops, here and elsewhere, the one nearest in brightness and texture
    "day": 0.20,  # one place on another day: 30 to 70 % replaced in soft blobs, lit anew
    "small": 0.16,  # a blob of 20 to 90 px replaced, or two small ones
    "ship": 0.08,  # a ship, half of the time with a wake, in one of the two
    "mix": 0.11,  # static structure with other water laid over all of it, more here and less there
    "shift": 0.05,  # the same picture 3 to 40 px aside
}
"""Kinds of non-duplicates and their shares.

Chosen by what the network got wrong on validation pairs.
"""

USUAL_KINDS = ("same", "cross", "alike", "day")
"""Kinds of non-duplicates that any collection holds."""


DARK_SHARE = 0.12
"""Share of the scenes that are nearly black, or white, but for scattered pixels: what little they show must
agree."""

FAINT_DARK_SHARE = 0.35
"""Share of the faint pairs that are nearly black."""

SHIPS_SHARE = 0.2
"""Share of the scenes that get one to three ships, in both tiles alike: real crops hold few, and a shift in
hue changes the luma of a coloured ship and of nothing around it."""

PAIRS_AT_A_TIME = 50
"""Pairs that a worker draws before it hands them over."""


class HardPair(NamedTuple):
    """Two grey tiles (256, 256) uint8 and what is known of them; ``quality`` is the lower JPEG quality of
    the two."""

    grey1: Image
    grey2: Image
    is_duplicate: int
    kind: str
    source: str
    group: str
    quality: int


Draw = Callable[[Sequence[Source], dict[str, float], int, int], HardPair]
"""A series of pairs: sources, their shares, a seed and an index to a pair."""


def write_pairs(
    sources: Sequence[Source],
    shares: dict[str, float],
    n: int,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    workers: int = 1,
    draw: Draw | None = None,
) -> pd.DataFrame:
    """Draw ``n`` pairs and write what the encoder makes of them: ``path`` (.npy, (n, 2, bytes) uint8, the
    verify descriptors of :func:`dupnet.network.descriptors.describe`) and a table beside it (.csv).

    ``shares`` gives the share of each source name. Pair ``i`` depends on ``(seed, i)`` alone. With several
    ``workers``, each is a process of its own with a copy of the sources. ``draw`` is
    another series than :func:`draw_pair`.
    """
    parts = [range(start, min(start + PAIRS_AT_A_TIME, n)) for start in range(0, n, PAIRS_AT_A_TIME)]
    rows: list[tuple[object, ...]] = []
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, 2, verify_bytes(TILE_SIZE))}
    # Written, not mapped: where the disk is full, writing is an error, and a mapped file kills Python.
    with atomic_path(path) as beside, open(beside, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for verify, known in _described(_Draw(sources, shares, seed, draw or draw_pair), parts, workers):
            file.write(np.ascontiguousarray(verify, np.uint8).data)
            rows += known
        file.flush()
        table = pd.DataFrame(rows, columns=list(HardPair._fields[2:]))
        write_csv(table, os.fspath(path).removesuffix(".npy") + ".csv")  # before the array is there for all
    return table


_Described = tuple[npt.NDArray[np.uint8], list[tuple[object, ...]]]


def _described(draw: _Draw, parts: Sequence[range], workers: int) -> Iterator[_Described]:
    if workers == 1:
        yield from map(draw, tqdm(parts, desc="hard pairs", unit_scale=PAIRS_AT_A_TIME, unit="pair"))
        return
    # Started anew and not forked: a copy of a process that runs threads may wait for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _Draw.adopt, (draw, os.getpid())) as pool:
        found = pool.map(_Draw.adopted, parts)
        yield from tqdm(found, desc="hard pairs", total=len(parts), unit_scale=PAIRS_AT_A_TIME, unit="pair")


@dataclass(frozen=True)
class _Draw:
    """Draws and describes the pairs of a range; in a process of its own, one that the process keeps."""

    sources: Sequence[Source]
    shares: dict[str, float]
    seed: int
    draw: Draw

    _kept: ClassVar[_Draw]

    def __call__(self, part: range) -> _Described:
        pairs = [self.draw(self.sources, self.shares, self.seed, index) for index in part]
        verify = describe(np.stack([tile for pair in pairs for tile in pair[:2]]), untrained_weights()).verify
        return verify.reshape(len(pairs), 2, -1), [pair[2:] for pair in pairs]

    def adopt(self, parent: int) -> None:
        end_with(parent)
        cv2.setNumThreads(1)
        threadpool_limits(1)
        _Draw._kept = self

    @staticmethod
    def adopted(part: range) -> _Described:
        return _Draw._kept(part)


def draw_pair(sources: Sequence[Source], shares: dict[str, float], seed: int, index: int) -> HardPair:
    """Pair ``index`` of the endless series that ``seed`` stands for.

    Draws again until both tiles carry evidence (:func:`dupnet.tiles.is_decidable`) after all processing:
    where the pixels show nothing, neither label would be true.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        pair = _attempt(sources, shares, rng)
        if pair is not None and is_decidable(np.stack(pair[:2])).all():
            return pair


def draw_faint_pair(sources: Sequence[Source], shares: dict[str, float], seed: int, index: int) -> HardPair:
    """Pair ``index`` of a series in which little is there to see: nearly black tiles, and scenes of weak
    contrast.

    Half are duplicates, half the same place on another day (:func:`dupnet.augment.variation.another_day`), of
    which enough must show (:func:`dupnet.pairs.reader.is_another`), before all processing and after it.
    :func:`draw_pair` asks of a change that it be strong.
    """
    rng = np.random.default_rng((seed, index, 2))
    while True:
        crop = draw_crop(sources, shares, rng)
        dark = rng.random() < FAINT_DARK_SHARE
        look = draw_dark_look(rng) if dark else draw_weak_look(rng)
        tile, kind = look(crop.tile), "duplicate"
        tiles = [tile, tile]
        if rng.random() < 0.5:
            near = crop if rng.random() < 0.7 else None
            other = draw_crop(sources, shares, rng, near=near)
            kind, tiles[1] = "faint", another_day(tile, look(other.tile), rng)
            if not apart(crop, other, sources) or not is_another(*tiles):
                continue
            tiles = tiles if rng.random() < 0.5 else tiles[::-1]
        found, quality = (processed_gently if dark and rng.random() < 0.8 else processed)(tiles, rng)
        grey1, grey2 = (to_grey(one) for one in found)
        shows = kind == "duplicate" or is_another(grey1, grey2)
        if shows and is_decidable(np.stack([grey1, grey2])).all():
            source = sources[crop.source]
            return HardPair(grey1, grey2, int(kind == "duplicate"), kind, source.name, source.group, quality)


def draw_usual_pair(sources: Sequence[Source], shares: dict[str, float], seed: int, index: int) -> HardPair:
    """Pair ``index`` of a series of pairs as collections hold them: scenes as they are, every file processed
    as in a hard cut (:func:`dupnet.acquisitions.alterations.draw_processing`), non-duplicates of
    :data:`USUAL_KINDS` in equal shares.

    The threshold is chosen on these: of the hardest pairs that could be made, half are met next to never.
    """
    rng = np.random.default_rng((seed, index, 1))
    while True:
        crop = draw_crop(sources, shares, rng)
        kind = "duplicate" if rng.random() < 0.5 else str(rng.choice(USUAL_KINDS))
        tiles = [crop.tile, crop.tile]
        if kind != "duplicate":
            other = _non_duplicate(kind, crop.tile, crop, np.asarray, sources, shares, rng)
            if other is None:
                continue
            tiles[1] = other
        processing = [draw_processing(rng) for _ in tiles]
        grey1, grey2 = (
            to_grey(jpeg(process(tile, one), one.quality))
            for tile, one in zip(tiles, processing, strict=True)
        )
        if is_decidable(np.stack([grey1, grey2])).all():
            source, quality = sources[crop.source], min(one.quality for one in processing)
            return HardPair(grey1, grey2, int(kind == "duplicate"), kind, source.name, source.group, quality)


def draw_tile(
    sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator, *, dark: bool
) -> tuple[Image, Place]:
    """One decidable grey tile (256, 256) uint8, styled, processed and compressed as those of a pair, and its
    place."""
    while True:
        crop = draw_crop(sources, shares, rng)
        tile = (draw_dark_look if dark else draw_look)(rng)(crop.tile)
        tiles, _ = (processed_gently if dark else processed)([tile, tile], rng)
        grey = to_grey(tiles[0])
        if is_decidable(grey[None]).all():
            return grey, Place(crop.source, sources[crop.source].group, crop.row, crop.col)


def _attempt(
    sources: Sequence[Source], shares: dict[str, float], rng: np.random.Generator
) -> HardPair | None:
    crop = draw_crop(sources, shares, rng)
    style, dark = _draw_style(rng)
    tile = style(crop.tile)
    if not dark and rng.random() < SHIPS_SHARE:
        for _ in range(int(rng.integers(1, 4))):
            tile = with_ship(tile, rng)
    if rng.random() < 0.06:
        tile = cut_by_solid(tile, rng)
    if not dark and texture(tile) < 0.3:
        return None
    first, second, kind = tile, tile, "duplicate"
    if rng.random() < 0.5:
        kind = str(
            rng.choice(
                ["same", "cross", "alike"] if dark else list(KINDS), p=None if dark else list(KINDS.values())
            )
        )
        other = _non_duplicate(kind, tile, crop, style, sources, shares, rng)
        if other is None:
            return None
        first, second = (tile, other) if rng.random() < 0.5 else (other, tile)
    source = sources[crop.source]
    tiles, quality = (processed_gently if dark and rng.random() < 0.8 else processed)([first, second], rng)
    grey1, grey2 = (to_grey(one) for one in tiles)
    return HardPair(grey1, grey2, int(kind == "duplicate"), kind, source.name, source.group, quality)


def _draw_style(rng: np.random.Generator) -> tuple[Callable[[Image], Image], bool]:
    """How the scene itself looks, and whether it is nearly black (or white) but for scattered pixels."""
    return (draw_dark_look(rng), True) if rng.random() < DARK_SHARE else (draw_look(rng), False)


def _non_duplicate(
    kind: str,
    tile: Image,
    crop: Crop,
    style: Callable[[Image], Image],
    sources: Sequence[Source],
    shares: dict[str, float],
    rng: np.random.Generator,
) -> Image | None:
    """A tile that differs from ``tile`` as ``kind`` says, or None where the difference could not be
    seen."""
    if kind == "ship":
        return with_ship(tile, rng)
    if kind == "shift":
        step = int(rng.integers(3, 40)) * (1 if rng.random() < 0.5 else -1)
        moved = np.roll(tile, step, axis=int(rng.integers(2)))
        return moved if detail_difference(moved, tile, 4) >= max(2.0, 0.7 * texture(tile)) else None
    if kind == "cross":
        other = draw_crop(sources, shares, rng)
        if not apart(crop, other, sources):
            return None
        return (style if rng.random() < 0.5 else _draw_style(rng)[0])(other.tile)
    alike = kind == "alike" or (kind != "same" and rng.random() < 0.7)
    found = most_alike(crop, sources, shares, rng) if alike else draw_crop(sources, shares, rng, near=crop)
    if found is None or not apart(crop, found, sources):
        return None
    other_tile = style(found.tile)
    if kind in ("same", "alike"):
        return other_tile
    if kind == "day" and rng.random() < 0.3:
        return another_day(tile, other_tile, rng)
    return replaced(kind, tile, other_tile, rng)
