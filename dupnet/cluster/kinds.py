"""What a cluster describes of images, and how shards hold it: tiles on a grid, or points at any offset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from dupnet.cluster.shards import TILES
from dupnet.find.cache import Arrays, Entry
from dupnet.find.point_index import COLUMNS, describe_points
from dupnet.find.point_index import made_by as points_made_by
from dupnet.find.point_search import SMALLEST_IMAGE
from dupnet.find.tile_index import Tiling, describe_tiles
from dupnet.find.tile_index import made_by as tiles_made_by
from dupnet.network.descriptors import Weights

__all__ = ["Kind", "Made", "Points", "Tiles"]


class Made(Protocol):
    """What tells the code and weights that make something."""

    def __hash__(self) -> int: ...

    def made_by(self, weights: Weights) -> list[Any]:
        """All that it depends on, beside the images."""


Found = dict[str, tuple[Entry, Arrays] | str]
"""Of each image its rows, or why it cannot be used."""


@dataclass(frozen=True)
class Tiles:
    """Tiles of images of one size."""

    tiling: Tiling

    store: ClassVar[str] = "shards"
    """Beginning of the name of the folder of the shards."""

    rows_a_shard: ClassVar[int] = 2**13
    """Rows from which a shard is written: 34 MB of descriptors, the most that a task keeps of them."""

    settled: ClassVar[Mapping[str, Any]] = {"one_size": True}
    """Which images can be used, as :func:`dupnet.find.describe.settle` takes it."""

    def made_by(self, weights: Weights) -> list[Any]:
        """All that a shard depends on, beside the images."""
        return [tiles_made_by(self.tiling, weights), TILES.descr]

    def describe(self, files: Mapping[str, Path], weights: Weights) -> Found:
        """The rows of images."""
        return describe_tiles(files, self.tiling, weights)

    def columns(self, arrays: Arrays) -> dict[str, bytes]:
        """The files of a shard, by their endings, of the rows of all its images."""
        search, verify = arrays["search"], arrays["verify"]
        tiles = np.zeros(len(search), TILES)
        digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in search)
        tiles["digest"] = np.frombuffer(digests, "<u8").reshape(-1, 2)
        tiles["verify_hash"] = arrays["hashes"]
        tiles["decidable"] = arrays["decidable"]
        tiles["searched"] = search.any(axis=1)
        return {"search": search.tobytes(), "verify": verify.tobytes(), "tiles": tiles.tobytes()}


@dataclass(frozen=True)
class Points:
    """Points of images of any sizes."""

    dense: bool

    rows_a_shard: ClassVar[int] = 2**18
    """14 MB of points: those of a thousand images of 768 x 768 px."""

    settled: ClassVar[Mapping[str, Any]] = {"smallest": SMALLEST_IMAGE}

    @property
    def store(self) -> str:
        """As :attr:`Tiles.store`."""
        return "dense" if self.dense else "points"

    def made_by(self, weights: Weights) -> list[Any]:
        """As :meth:`Tiles.made_by`."""
        return [points_made_by(weights, dense=self.dense), COLUMNS]

    def describe(self, files: Mapping[str, Path], weights: Weights) -> Found:
        """As :meth:`Tiles.describe`; ``weights`` change nothing."""
        return describe_points(files, dense=self.dense)

    def columns(self, arrays: Arrays) -> dict[str, bytes]:
        """As :meth:`Tiles.columns`."""
        return {name: arrays[name].tobytes() for name in COLUMNS}


Kind = Tiles | Points
