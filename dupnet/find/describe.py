"""From files to rows of a cache: what is known is not read again, what cannot be used is listed.

What is kept of an image is another module's affair (:mod:`dupnet.find.tile_index`,
:mod:`dupnet.find.point_index`): a *describer* takes a few images and returns their rows, or why there are
none.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dupnet import __version__
from dupnet.files.atomic import is_utf8
from dupnet.files.identity import Identity, identity_to_keep, is_still
from dupnet.files.workers import ProcessPool, map_in_order
from dupnet.find.cache import Arrays, Cache, Entry
from dupnet.images.image import Mask, UnreadableImage
from dupnet.images.parts import GreyParts, MaskParts, open_parts
from dupnet.images.reading import load, load_image, none_usable
from dupnet.images.stretch import Rendering
from dupnet.network.descriptors import Weights, load_weights

__all__ = [
    "PROCESSES_FROM",
    "Described",
    "Describer",
    "describe_all",
    "entry_in_parts",
    "read_entry",
    "settle",
    "unusable_names",
    "recorded_weights",
    "versions",
]

BATCH = 8
"""Images that a worker reads in a row: what a kill can cost each of them."""

PROCESSES_FROM = 512
"""Images from which on processes describe them, which take a second to start, and not threads."""

Describer = Callable[[Mapping[str, Path]], dict[str, tuple[Entry, Arrays] | str]]
"""Images, name to file -> of each what goes into the cache, or the reason why nothing does."""


class Described(NamedTuple):
    """The usable images of a collection, sorted, their sizes, and the rest."""

    images: list[str]
    sizes: npt.NDArray[np.int64]
    """(n, 2): height and width of each image, in pixels."""
    unreadable: pd.DataFrame
    """``image, reason``"""
    converted: pd.DataFrame
    """``image, note``"""


def describe_all(
    files: Mapping[str, Path],
    cache: Cache,
    describer: Describer,
    *,
    one_size: bool = False,
    smallest: int = 1,
    refused: Mapping[str, str] = {},
    check_content: bool = False,
    workers: int = 1,
    pool: ProcessPool | None = None,
    progress: bool = False,
) -> Described:
    """Bring the cache up to date with the files, and say which of them can be used.

    Parameters
    ----------
    files : mapping
        Image name to file, sorted by name.
    cache : Cache
        Open; what is new is appended.
    describer : callable
        See :data:`Describer`.
    one_size, smallest
        As for :func:`settle`.
    refused : mapping
        What was left out before, such as folders that cannot be entered: name to reason.
    check_content : bool
        Tell a changed file by a hash of its bytes too.
    workers : int
        Threads.
    pool : ProcessPool, optional
        What describes :data:`PROCESSES_FROM` images and more in their place, by a describer that can be
        pickled. It pays where the describer's calls are short.
    progress : bool
        Show progress on standard error.

    Raises
    ------
    ValueError
        If not one file can be used.
    """
    reasons = {**refused, **unusable_names(files)}
    named = [image for image in files if image not in reasons]
    # Looking at a file is not worth a thread, unless it is read.
    known = (
        map_in_order(partial(_is_known, files, cache, True), named, workers)
        if check_content
        else map(partial(_is_known, files, cache, False), named)
    )
    new = [image for image, is_known in zip(named, known, strict=True) if not is_known]

    batches = [
        {image: files[image] for image in new[start : start + BATCH]} for start in range(0, len(new), BATCH)
    ]
    if pool is not None and len(new) >= PROCESSES_FROM:
        found = pool.map(describer, batches)
    else:
        found = map_in_order(describer, batches, workers)
    bar = tqdm(
        total=len(files), initial=len(files) - len(new), desc="describe", unit="image", disable=not progress
    )
    try:
        for described in found:
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
    usable = {image: cache.entries[image] for image in named if image not in reasons}
    return settle(usable, reasons, one_size=one_size, smallest=smallest)


def settle(
    usable: Mapping[str, Entry], reasons: Mapping[str, str], *, one_size: bool = False, smallest: int = 1
) -> Described:
    """The images that can be used among those that could be read, in their order, and why the rest is left
    out.

    ``one_size`` leaves out what is not of the most frequent size (of several, the largest); ``smallest`` what
    has a side of fewer pixels.

    Raises
    ------
    ValueError
        If not one file can be used.
    """
    reasons = dict(reasons)
    for image, entry in usable.items():
        if min(entry.height, entry.width) < smallest:
            reasons[image] = f"too small: {entry.height} x {entry.width} pixels; {smallest} are needed"
    sizes = Counter((entry.height, entry.width) for image, entry in usable.items() if image not in reasons)
    if not sizes:
        raise none_usable(reasons)
    if one_size:
        height, width = max(sizes, key=lambda size: (sizes[size], size))
        for image, entry in usable.items():
            if image not in reasons and (entry.height, entry.width) != (height, width):
                reasons[image] = (
                    f"wrong size: {entry.height} x {entry.width} pixels; most images here are "
                    f"{height} x {width}"
                )
    readable = [image for image in usable if image not in reasons]
    # A name that is no text is spelled out: its odd bytes as \\udcXX.
    listed = [(image.encode(errors="backslashreplace").decode(), reasons[image]) for image in sorted(reasons)]
    notes = [(image, usable[image].note) for image in readable if usable[image].note]
    shapes = [(usable[image].height, usable[image].width) for image in readable]
    return Described(
        readable,
        np.array(shapes, np.int64).reshape(-1, 2),
        pd.DataFrame(listed, columns=["image", "reason"], dtype=object),
        pd.DataFrame(notes, columns=["image", "note"], dtype=object),
    )


def recorded_weights(weights: str | os.PathLike[str] | Weights | None) -> str | None:
    """The network of a run, as ``run.json`` keeps it: its file, or None for the shipped one."""
    if weights is None or isinstance(weights, Weights):
        return None if weights is None or weights is load_weights() else "given as arrays"
    return os.path.abspath(weights)


def versions(weights: Weights) -> dict[str, str]:
    """Versions of what the descriptors and scores depend on."""
    digest = hashlib.sha256()
    arrays = {
        **weights.arrays,
        "search_projection": weights.search_projection,
        "threshold": weights.threshold,
        "deferral_band": weights.deferral_band,
    }
    for name, value in sorted(arrays.items()):
        array = np.asarray(value)
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    packages = {
        "numpy": "numpy",
        "opencv": "opencv-contrib-python-headless",
        "simplejpeg": "simplejpeg",
        "pillow": "pillow",
        "rasterio": "rasterio",
    }
    return {
        "dupnet": __version__,
        "weights": digest.hexdigest()[:16],
        "python": platform.python_version(),
        **{name: version(package) for name, package in packages.items()},
    }


def unusable_names(images: Iterable[str]) -> dict[str, str]:
    """The images whose names no table can hold, and why."""
    return {image: "its name is not UTF-8; rename the file" for image in images if not is_utf8(image)}


def read_entry(
    path: Path,
    *,
    tile_size: int | None = None,
    check_content: bool = False,
    rendering: Rendering = Rendering(),
) -> tuple[Entry, npt.NDArray[np.uint8], Mask | None]:
    """The entry of an image, which has no rows yet, the image in grey, (height, width) uint8, and which of
    its pixels are valid, (height, width) bool or None for all.

    Raises
    ------
    UnreadableImage
        If it cannot be read, or changes meanwhile.
    """
    before = _identity(path, check_content)
    grey, valid, note = load_image(path, grey=True, tile_size=tile_size, rendering=rendering)
    if not is_still(path, before):
        raise UnreadableImage(path, "changed while it was read; run again")
    height, width = grey.shape
    return Entry(before, height, width, 0, 0, note), grey, valid


@contextmanager
def entry_in_parts(
    path: Path, *, check_content: bool = False, rendering: Rendering = Rendering()
) -> Iterator[tuple[Entry, GreyParts, MaskParts]]:
    """As :func:`read_entry`, of an image too large to be decoded at once, which is read within the block.

    Raises
    ------
    UnreadableImage
        As :func:`read_entry`; also where that shows within the block.
    """
    before = _identity(path, check_content)
    with open_parts(path, rendering) as (grey, valid, note):
        yield Entry(before, *grey.shape, 0, 0, note), grey, valid
    if _identity(path, False)[:2] != before[:2]:
        raise UnreadableImage(path, "changed while it was read; run again")


def _is_known(files: Mapping[str, Path], cache: Cache, check_content: bool, image: str) -> bool:
    entry = cache.entries.get(image)
    return entry is not None and is_still(files[image], entry.identity, check_content)


def _identity(path: Path, content: bool) -> Identity:
    try:
        return identity_to_keep(path, content)
    except OSError:
        load(path, grey=True)  # raises UnreadableImage, with the reason
        return Identity(-1, -1)
