"""What is compared: each signal describes tiles and compares two descriptions, at a known cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import embedding
from dupnet.hashes import HASHES, block_mean_hash, hamming_distance
from dupnet.metrics.pair_metrics import PAIR_METRICS
from dupnet.network import comparison, descriptors
from dupnet.tiles import grey_levels

Tiles = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float64]

V0_WEIGHTS = Path(descriptors.__file__).parent / "weights" / "dupnet_v0.npz"
GREY_PIXELS, COLOUR_PIXELS = 256 * 256, 256 * 256 * 3


@dataclass
class Signal:
    """A signal and what it has cost so far.

    ``describe`` takes tiles (n, 256, 256, 3) uint8 RGB to a description of each; ``compare`` takes two of
    those to scores (n,), higher where the tiles are more alike. A description takes ``bytes_per_tile``.
    """

    name: str
    describe: Callable[[Tiles], Any]
    compare: Callable[[Any, Any], npt.NDArray[Any]]
    bytes_per_tile: int
    slow: bool = False
    describing: float = field(default=0.0, init=False)
    comparing: float = field(default=0.0, init=False)
    n_pairs: int = field(default=0, init=False)

    def score(self, tiles1: Tiles, tiles2: Tiles) -> Scores:
        """Scores of pairs, timed."""
        start = time.perf_counter()
        one, two = self.describe(tiles1), self.describe(tiles2)
        described = time.perf_counter()
        scores = np.asarray(self.compare(one, two), np.float64).reshape(-1)
        self.describing += described - start
        self.comparing += time.perf_counter() - described
        self.n_pairs += len(tiles1)
        return scores

    @property
    def microseconds(self) -> dict[str, float]:
        """Of describing one tile, and of comparing one pair whose descriptions are at hand."""
        pairs = max(self.n_pairs, 1)
        return {"us_describe": 5e5 * self.describing / pairs, "us_compare": 1e6 * self.comparing / pairs}


def all_signals() -> list[Signal]:
    """Every signal whose parts are installed, DupNet's first."""
    found = [_dupnet(), _dupnet_search()]
    if V0_WEIGHTS.exists():
        found.append(_dupnet_v0())
    found += [_metric("correlation", GREY_PIXELS), _metric("lowest_cell_correlation", GREY_PIXELS)]
    found += [_metric("structural_similarity", GREY_PIXELS, slow=True)]
    found += [_hash(name) for name in ("perceptual_hash", "difference_hash", "wavelet_hash")]
    found.append(
        Signal("block_mean_hash", lambda tiles: block_mean_hash(grey_levels(tiles)), _bits_alike, 32)
    )
    return [*found, *_pdq(), *_embedding()]


def _dupnet() -> Signal:
    weights = descriptors.load_weights()
    bytes_per_tile = descriptors.describe(np.zeros((1, 256, 256), np.uint8), weights).verify.shape[1]
    return Signal(
        "dupnet",
        lambda tiles: descriptors.describe(grey_levels(tiles), weights).verify,
        lambda one, two: comparison.score_pairs(one, two, weights),
        bytes_per_tile,
    )


def _dupnet_search() -> Signal:
    """The descriptor that finds candidates: 256 numbers of the tile at a quarter of its size."""
    weights = descriptors.load_weights()

    def describe(tiles: Tiles) -> npt.NDArray[np.float32]:
        return descriptors.describe(grey_levels(tiles), weights).search.astype(np.float32) / 127

    width = descriptors.describe(np.zeros((1, 256, 256), np.uint8), weights).search.shape[1]
    return Signal("dupnet search descriptor", describe, lambda one, two: (one * two).sum(axis=1), width)


def _dupnet_v0() -> Signal:
    from dupnet.network.models import load_arrays

    model = load_arrays(V0_WEIGHTS)
    return Signal(
        "dupnet_v0",
        lambda tiles: tiles,
        lambda one, two: model.predict([one, two], batch_size=32, verbose=0),
        COLOUR_PIXELS,
        slow=True,
    )


def _metric(name: str, bytes_per_tile: int, slow: bool = False) -> Signal:
    likeness = PAIR_METRICS[name].likeness

    def compare(one: Tiles, two: Tiles) -> Scores:
        return np.array([likeness(tile1, tile2) for tile1, tile2 in zip(one, two, strict=True)])

    return Signal(name, lambda tiles: tiles, compare, bytes_per_tile, slow)


def _hash(name: str) -> Signal:
    tile_hash = HASHES[name]
    slow = name == "wavelet_hash"
    return Signal(name, lambda tiles: _stack(map(tile_hash, tiles)), _bits_alike, tile_hash.n_bits // 8, slow)


def _pdq() -> list[Signal]:
    """Meta's PDQ, where ``pdqhash`` is installed."""
    try:
        import pdqhash
    except ImportError:
        return []

    def describe(tiles: Tiles) -> Tiles:
        return _stack(np.packbits(pdqhash.compute(tile)[0]) for tile in tiles)

    return [Signal("pdq", describe, _bits_alike, 32)]


def _embedding() -> list[Signal]:
    """A pretrained network's features, where the package that holds one is installed."""
    data = embedding.checkpoint()
    if data is None:
        return []
    model = embedding.build(embedding.arrays_of(data))

    def describe(tiles: Tiles) -> npt.NDArray[np.float32]:
        features = model.predict(embedding.prepare(tiles), batch_size=32, verbose=0)
        return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True), np.float32)

    name, width = "EfficientNet-Lite0 embedding", 4 * embedding.N_FEATURES
    return [Signal(name, describe, lambda one, two: (one * two).sum(axis=1), width, slow=True)]


def _stack(hashes: Iterable[npt.NDArray[np.generic]]) -> Tiles:
    return np.stack([np.asarray(one, np.uint8).reshape(-1) for one in hashes])


def _bits_alike(one: Tiles, two: Tiles) -> npt.NDArray[np.int64]:
    return -hamming_distance(one, two)
