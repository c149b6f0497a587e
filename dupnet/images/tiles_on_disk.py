"""Every tile of every image as a file of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dupnet.files.atomic import atomic_path, claim, remove_partial
from dupnet.files.identity import Identity, identity_to_keep, is_still
from dupnet.files.workers import map_in_order, n_workers
from dupnet.images.image import UnreadableImage
from dupnet.images.jpeg import encode_jpeg
from dupnet.images.listing import list_collection
from dupnet.images.reading import load, none_usable
from dupnet.tiles import TILE_SIZE, Grid, split_tiles

__all__ = ["save_tiles"]

TILES_RECORD = "cache/tiles.json"
"""File, within a folder of saved tiles, of what they were made with; beside them it would be listed with the
images."""

IMAGES_RECORD = "cache/tiles.jsonl"
"""File, within that folder, of the images whose tiles are there, one JSON line each: name and identity."""


def save_tiles(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tile_size: int = TILE_SIZE,
    quality: int = 95,
    moved: bool = False,
    workers: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Save every tile of every image of ``folder`` as ``IMAGE_INDEX.jpg`` in ``out``, in folders as there.

    Each file is written beside and renamed; tiles whose image is the one that they were cut from are kept, so
    a stopped run goes on where it was. ``cache/tiles.json`` keeps what the tiles were made with, and
    ``cache/tiles.jsonl`` the images that are done.
    Chroma is 4:2:0, as in the Airbus images.

    Parameters
    ----------
    folder, out : path
        Of the images, and for the tiles.
    tile_size : int
        In pixels.
    quality : 1 to 100
        Of the JPEGs, on libjpeg's scale.
    moved : bool
        ``out`` holds tiles of the same images, which are in ``folder`` now.
    workers : int, optional
        Threads; one for every core by default.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    pandas.DataFrame
        ``image, reason``: the files that were left out.

    Raises
    ------
    ValueError
        If not one file can be used, two images would write the same tiles (``a.jpg`` and ``a.png``),
        ``tile_size`` or ``quality`` (1 to 100) is out of range, or ``out`` is ``folder`` or holds other files
        than the tiles of these images and settings.
    OSError
        If ``folder`` is missing, or ``out`` cannot be written.
    """
    from tqdm import tqdm

    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; a JPEG quality lies in 1 to 100.")
    if tile_size < 1:
        raise ValueError(f"tile_size is {tile_size}; it must be at least 1 pixel.")
    names = list(list_collection(folder, exclude=[out]).files)
    stems: dict[Path, str] = {}
    for name in names:
        if stems.setdefault(Path(name).with_suffix(""), name) != name:
            other = stems[Path(name).with_suffix("")]
            raise ValueError(f"{other!r} and {name!r} would write the same tiles; rename one of them.")
    if Path(out).exists() and os.path.samefile(folder, out):
        raise ValueError(f"{os.fspath(out)!r} is the folder of the images; choose another one for the tiles.")
    settings = {"images": os.fspath(Path(folder).resolve()), "tile_size": tile_size, "quality": quality}
    if moved:
        record = _record_of(out)
        with atomic_path(Path(out, TILES_RECORD)) as beside:
            beside.write_text(json.dumps({**record, "images": settings["images"]}), encoding="utf-8")
    claim(out, TILES_RECORD, settings, "dupnet tiles")

    known = _known_images(out)
    for name in set(names).intersection(known):
        if not is_still(Path(folder, name), known[name]):
            del known[name]  # before its first tile is replaced: a stop may leave tiles of both
            _note(out, name, None)

    def save(name: str) -> tuple[str, Identity | None]:
        """Why an image was left out, and the identity of one that was not and is not known yet."""
        source = Path(folder, name)
        try:
            before = identity_to_keep(source)
            image, _ = load(source, grey=False, tile_size=tile_size)
        except UnreadableImage as error:
            return error.reason, None
        except OSError as error:
            return f"cannot be read: {error.strerror}", None
        grid = Grid.of_image(image.shape[0], image.shape[1], tile_size)
        first = Path(out, name).with_name(f"{source.stem}_0.jpg")
        targets = [first.with_name(f"{source.stem}_{index}.jpg") for index in range(grid.n_tiles)]
        is_known = name in known
        for target, tile in zip(targets, split_tiles(image, grid), strict=True):
            if not (is_known and target.exists()):
                with atomic_path(target) as beside:
                    beside.write_bytes(encode_jpeg(np.asarray(tile, np.uint8), quality))
        # An image that was larger before had more of them.
        index = grid.n_tiles
        while not is_known and (stale := first.with_name(f"{source.stem}_{index}.jpg")).exists():
            stale.unlink()
            index += 1
        return "", None if is_known else before

    for below in {Path(out, name).parent for name in names}:
        remove_partial(below, older_than=60)  # a tile takes milliseconds to write
    saved = map_in_order(save, names, n_workers(workers))
    saved = tqdm(saved, total=len(names), desc="tiles", unit="image", disable=not progress)
    left_out = []
    for name, (reason, identity) in zip(names, saved, strict=True):
        if reason:
            left_out.append((name, reason))
        elif identity is not None:
            _note(out, name, identity)
    if len(left_out) == len(names):
        raise none_usable(dict(left_out))
    return pd.DataFrame(left_out, columns=["image", "reason"])


def _known_images(out: str | os.PathLike[str]) -> dict[str, Identity]:
    """The images whose tiles are in a folder; what a stop left half-written is cut off."""
    path = Path(out, IMAGES_RECORD)
    if not path.exists():
        return {}
    known = {}
    whole = 0
    with open(path, "r+b") as file:
        for line in file:
            try:
                name, *identity = json.loads(line)
                found = Identity(*identity) if identity else None
            except (TypeError, ValueError):
                break
            if not line.endswith(b"\n"):
                break
            known[str(name)] = found
            whole += len(line)
        file.truncate(whole)
    return {name: identity for name, identity in known.items() if identity is not None}


def _note(out: str | os.PathLike[str], name: str, identity: Identity | None) -> None:
    """Note that the tiles of an image are there, or (None) that they are no longer to be relied on."""
    with open(Path(out, IMAGES_RECORD), "ab") as file:
        file.write(json.dumps([name, *(identity or ())]).encode() + b"\n")


def _record_of(out: str | os.PathLike[str]) -> dict[str, Any]:
    """What the tiles in a folder were made with.

    Raises
    ------
    ValueError
        If it holds none.
    """
    try:
        return dict(json.loads(Path(out, TILES_RECORD).read_bytes()))
    except (OSError, TypeError, ValueError):
        raise ValueError(
            f"{os.fspath(out)!r} holds no tiles whose images could have moved; name the images."
        ) from None
