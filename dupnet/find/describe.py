"""From files to descriptors in the cache: what is known is not read again, what cannot be used is listed."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet import __version__
from dupnet.files.identity import Identity, identity_of
from dupnet.files.workers import map_in_order
from dupnet.find.cache import Cache, Entry
from dupnet.images.reading import UnreadableImage, load, none_usable
from dupnet.network.descriptors import DESCRIPTOR_VERSION, Descriptors, Weights, describe
from dupnet.tiles import CELL_SIZE, SMALLEST_TILE, Grid

__all__ = [
    "Described",
    "Tiling",
    "describe_all",
    "describe_batch",
    "index_of",
    "made_by",
    "settle",
    "unusable_names",
    "versions",
    "widths",
]

Grey = npt.NDArray[np.uint8]

BATCH = 8
"""Images that a thread reads in a row: what a kill can cost each of them."""

TILES_AT_A_TIME = 72
"""Tiles that are described together, of whole images: enough to be fast, few enough for large images."""


class Tiling(NamedTuple):
    """Tiles of ``tile_size`` pixels, at every multiple of ``stride`` pixels."""

    tile_size: int
    stride: int

    @classmethod
    def checked(cls, tile_size: int, stride: int | None) -> Tiling:
        """A tiling, with the tile size as the default of the stride.

        Raises
        ------
        ValueError
            If the tile size is not whole cells, or one alone, or the stride does not divide it.
        """
        if tile_size < SMALLEST_TILE or tile_size % CELL_SIZE:
            raise ValueError(
                f"tile_size is {tile_size}; it must be a multiple of {CELL_SIZE} pixels, at least "
                f"{SMALLEST_TILE}."
            )
        stride = tile_size if stride is None else stride
        if stride < 1 or tile_size % stride:
            raise ValueError(f"stride is {stride}; it must divide the tile_size, {tile_size}.")
        return cls(tile_size, stride)

    def grid(self, height: int, width: int) -> Grid:
        """The places of tiles in an image of that size."""
        rows, cols = ((side - self.tile_size) // self.stride + 1 for side in (height, width))
        return Grid(rows, cols, self.stride)

    def split(self, grey: Grey) -> Grey:
        """The tiles of an image, row by row: (n, tile_size, tile_size)."""
        windows = np.lib.stride_tricks.sliding_window_view(grey, (self.tile_size, self.tile_size))
        return windows[:: self.stride, :: self.stride].reshape(-1, self.tile_size, self.tile_size)


class Described(NamedTuple):
    """The usable images of a collection, sorted, their size, and the rest."""

    images: list[str]
    height: int
    width: int
    unreadable: pd.DataFrame
    """``image, reason``"""
    converted: pd.DataFrame
    """``image, note``"""


def index_of(folder: Path, tiling: Tiling, weights: Weights) -> Cache:
    """The cache of descriptors in ``folder``; emptied if made by other code, weights or tiling."""
    return Cache(folder, made_by(tiling, weights), widths(tiling, weights))


def made_by(tiling: Tiling, weights: Weights) -> dict[str, str | int]:
    """All that descriptors depend on, beside the images."""
    return {
        **versions(weights),
        "descriptors": DESCRIPTOR_VERSION,
        "tile_size": tiling.tile_size,
        "stride": tiling.stride,
    }


def widths(tiling: Tiling, weights: Weights) -> tuple[int, int]:
    """Bytes of a search and of a verify descriptor."""
    one = describe(np.zeros((1, tiling.tile_size, tiling.tile_size), np.uint8), weights)
    return one.search.shape[1], one.verify.shape[1]


def describe_all(
    files: Mapping[str, Path],
    cache: Cache,
    tiling: Tiling,
    weights: Weights,
    *,
    check_content: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Described:
    """Bring the cache up to date with the files, and say which of them can be used.

    Parameters
    ----------
    files : mapping
        Image name to file, sorted by name.
    cache : Cache
        Open; new descriptors are appended.
    tiling, weights
        How images are cut and described.
    check_content : bool
        Tell a changed file by a hash of its bytes too.
    workers : int
        Threads.
    progress : bool
        Show progress on standard error.

    Raises
    ------
    ValueError
        If not one file can be used.
    """
    reasons = unusable_names(files)
    named = [image for image in files if image not in reasons]
    # Looking at a file is not worth a thread, unless it is read.
    known = (
        map_in_order(partial(_is_known, files, cache, True), named, workers)
        if check_content
        else map(partial(_is_known, files, cache, False), named)
    )
    new = [image for image, is_known in zip(named, known, strict=True) if not is_known]

    batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
    work = partial(describe_batch, files=files, tiling=tiling, weights=weights, check_content=check_content)
    bar = tqdm(
        total=len(files), initial=len(files) - len(new), desc="describe", unit="image", disable=not progress
    )
    try:
        for described in map_in_order(work, batches, workers):
            for image, result in described.items():
                if isinstance(result, str):
                    reasons[image] = result
                else:
                    cache.append(image, *result)
            cache.flush()
            bar.update(len(described))
    finally:
        cache.flush()
        bar.close()

    return settle({image: cache.entries[image] for image in named if image not in reasons}, reasons)


def settle(usable: Mapping[str, Entry], reasons: Mapping[str, str]) -> Described:
    """Images of one size among those that could be read, in their order, and why the rest is left out.

    Raises
    ------
    ValueError
        If not one file can be used.
    """
    reasons = dict(reasons)
    if not usable:
        raise none_usable(reasons)
    sizes = Counter((entry.height, entry.width) for entry in usable.values())
    # The most frequent size; of several, the largest.
    height, width = max(sizes, key=lambda size: (sizes[size], size))
    for image, entry in usable.items():
        if (entry.height, entry.width) != (height, width):
            reasons[image] = (
                f"wrong size: {entry.height} x {entry.width} pixels; most images here are {height} x {width}"
            )
    readable = [image for image in usable if image not in reasons]
    # A name that is no text is spelled out: its odd bytes as \\udcXX.
    listed = [(image.encode(errors="backslashreplace").decode(), reasons[image]) for image in sorted(reasons)]
    notes = [(image, usable[image].note) for image in readable if usable[image].note]
    return Described(
        readable,
        height,
        width,
        pd.DataFrame(listed, columns=["image", "reason"], dtype=object),
        pd.DataFrame(notes, columns=["image", "note"], dtype=object),
    )


def versions(weights: Weights) -> dict[str, str]:
    """Versions of what the descriptors and scores depend on."""
    digest = hashlib.sha256()
    arrays = {
        **weights.arrays,
        "search_projection": weights.search_projection,
        "threshold": weights.threshold,
    }
    for name, value in sorted(arrays.items()):
        array = np.asarray(value)
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    packages = {
        "numpy": "numpy",
        "opencv": "opencv-contrib-python-headless",
        "simplejpeg": "simplejpeg",
        "pillow": "pillow",
    }
    return {
        "dupnet": __version__,
        "weights": digest.hexdigest()[:16],
        "python": platform.python_version(),
        **{name: version(package) for name, package in packages.items()},
    }


def unusable_names(images: Iterable[str]) -> dict[str, str]:
    """The images whose names no table can hold, and why."""
    return {image: "its name is not UTF-8; rename the file" for image in images if not _is_text(image)}


def _is_text(image: str) -> bool:
    try:
        image.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_known(files: Mapping[str, Path], cache: Cache, check_content: bool, image: str) -> bool:
    entry = cache.entries.get(image)
    if entry is None:
        return False
    try:
        now = identity_of(files[image], check_content)
    except OSError:  # reading it will tell why
        return False
    return now == (entry.identity if check_content else entry.identity._replace(content=""))


def describe_batch(
    names: Sequence[str],
    files: Mapping[str, Path],
    tiling: Tiling,
    weights: Weights,
    check_content: bool = False,
) -> dict[str, tuple[Entry, Descriptors] | str]:
    """Of each image what goes into the cache, or the reason why nothing does."""
    found: dict[str, tuple[Entry, Descriptors] | str] = {}
    waiting: list[tuple[str, Entry, Grey]] = []

    def describe_waiting() -> None:
        together = np.concatenate([cut for _, _, cut in waiting])
        # Padded: products of an odd number of rows take another path through BLAS, and round differently.
        place = np.arange(len(together) + -len(together) % 4)
        described = describe(together[np.minimum(place, len(together) - 1)], weights)
        start = 0
        for name, entry, cut in waiting:
            rows = slice(start, start + len(cut))
            start += len(cut)
            arrays = described.search[rows], described.verify[rows], described.decidable[rows]
            found[name] = entry, Descriptors(*arrays)
        waiting.clear()

    for name in names:
        try:
            waiting.append((name, *_read(files[name], tiling, check_content)))
        except UnreadableImage as error:
            found[name] = error.reason
        if waiting and (sum(len(cut) for _, _, cut in waiting) >= TILES_AT_A_TIME or name == names[-1]):
            describe_waiting()
    return found


def _read(path: Path, tiling: Tiling, check_content: bool) -> tuple[Entry, Grey]:
    before = _identity(path, check_content)
    grey, note = load(path, grey=True, tile_size=tiling.stride)
    if _identity(path, False)[:2] != before[:2]:
        raise UnreadableImage(path, "changed while it was read; run again")
    height, width = grey.shape
    if min(height, width) < tiling.tile_size:
        reason = f"wrong size: {height} x {width} pixels, less than a tile of {tiling.tile_size} px"
        raise UnreadableImage(path, reason)
    cut = tiling.split(grey)
    return Entry(before, height, width, 0, len(cut), note), cut


def _identity(path: Path, content: bool) -> Identity:
    try:
        return identity_of(path, content)
    except OSError:
        load(path, grey=True)  # raises UnreadableImage, with the reason
        return Identity(-1, -1)
