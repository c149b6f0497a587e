"""What a training draws from: acquisitions by part, or a table of pairs and its images."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pandas as pd

from dupnet.files.atomic import atomic_path, write_csv
from dupnet.images.reading import load
from dupnet.network.descriptors import describe, untrained_weights, verify_bytes
from dupnet.pairs.reader import PairReader
from dupnet.pairs.table import tile_size_of
from dupnet.tiles import TILE_SIZE
from dupnet.training.config import TrainConfig
from dupnet.training.crops import Source
from dupnet.training.hard_tiles import to_grey

__all__ = ["Material", "material_of_table", "write_rows"]

PARTS = ("train", "validation")

LARGEST_SOURCES = 2**30
"""Bytes of pixels that hard pairs are drawn from, 600 images of 768 x 768 px: every process that draws has
them in memory. Of more images, so many are taken at random."""

ROWS_AT_A_TIME = 256


@dataclass(frozen=True)
class Material:
    """What a training draws from, each by part: ``train`` or ``validation``."""

    sources: Callable[[str], list[Source]]
    """Images to draw hard pairs from; ``dupnet_v0`` asks for none."""
    shares: dict[str, float]
    """Share of each source's name among the crops."""
    rows: Callable[[str], PairReader] | None = None
    """Rows of a table of pairs; they join the hard pairs, and are all that ``dupnet_v0`` sees."""


def material_of_table(
    pairs: pd.DataFrame,
    folder: str | os.PathLike[str],
    config: TrainConfig,
    *,
    workers: int | None = None,
) -> Material:
    """The rows of a table of pairs, and its images as sources of hard pairs, by the table's split.

    Parameters
    ----------
    pairs
        Columns as :data:`dupnet.pairs.table.PAIR_COLUMNS`; of the splits, ``train`` and ``validation`` are
        used. ``dupnet`` leaves out rows that show too little to judge by.
    folder
        Where its images are.
    config
        The model, how rows are varied, and the seed.
    workers
        Threads that read; they do not change the result.

    Raises
    ------
    ValueError
        If a split has no rows, or the tiles are not of the size that the network learns from.
    FileNotFoundError
        If the folder lacks an image of the table.
    """
    tile_size, architecture = tile_size_of(pairs), config.model.architecture
    if tile_size != config.model.tile_size:
        raise ValueError(
            f"pairs are of tiles of {tile_size} px, and this {architecture} learns from tiles of "
            f"{config.model.tile_size} px; make the table of tiles of that size."
        )
    if architecture == "dupnet":
        if tile_size != TILE_SIZE:
            raise ValueError(
                f"pairs are of tiles of {tile_size} px; dupnet learns from tiles of {TILE_SIZE} px, and "
                "judges tiles of any size."
            )
        pairs = pairs[pairs["is_decidable"] == 1]
    readers = {}
    for part in PARTS:
        rows = pairs[pairs["split"] == part]
        if rows.empty:
            raise ValueError(f"pairs has no rows of split {part!r}; training needs train and validation.")
        readers[part] = PairReader(
            rows,
            folder,
            augment=config.augment,
            another_day_share=config.another_day_share,
            seed=config.seed,
            workers=workers,
        )
    sources = partial(_sources, pairs, Path(folder), config.seed)
    return Material(sources, {"images": 1.0}, readers.__getitem__)


def _sources(pairs: pd.DataFrame, folder: Path, seed: int, part: str) -> list[Source]:
    """Images of a part whose group is known, up to :data:`LARGEST_SOURCES`."""
    groups = pairs[pairs["split"] == part].drop_duplicates("image1").set_index("image1")["group"]
    found: list[Source] = []
    n_bytes = 0
    for image in np.random.default_rng(seed).permutation(sorted(groups.index)):
        pixels, _ = load(folder / image, grey=False)
        n_bytes += pixels.nbytes
        if found and n_bytes > LARGEST_SOURCES:
            break
        found.append(Source("images", str(groups[image]), pixels))
    return found


def write_rows(reader: PairReader, path: str | os.PathLike[str]) -> None:
    """Describe the rows of a table, as they are varied in the first epoch, into the files of
    :func:`dupnet.training.hard_pairs.write_pairs`.

    What carries no evidence after all processing is left out: neither label would be true of it.

    Raises
    ------
    ValueError
        If that leaves nothing.
    """
    width = verify_bytes(reader.tile_size)
    labels: list[int] = []
    with TemporaryFile(dir=Path(path).parent) as raw:
        for batch in reader.batches(ROWS_AT_A_TIME):
            grey = np.stack([to_grey(tile) for both in zip(*batch[:2], strict=True) for tile in both])
            described = describe(grey, untrained_weights())
            shown = described.decidable.reshape(-1, 2).all(axis=1)
            raw.write(described.verify.reshape(-1, 2, width)[shown].tobytes())
            labels += batch.is_duplicate[shown].astype(int).tolist()
        if not labels:
            raise ValueError("pairs: no row shows enough to learn from; take images with more texture.")
        raw.flush()
        verify = np.memmap(raw, np.uint8, "r", shape=(len(labels), 2, width))
        table = pd.DataFrame({"is_duplicate": labels, "kind": "table", "source": "images"})
        with atomic_path(path) as beside:
            np.save(beside, verify)
            write_csv(table, os.fspath(path).removesuffix(".npy") + ".csv")  # before the array is there
