"""From files to shards: batches of images are described by the workers of a cluster."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from dupnet.cluster.kinds import Kind, Made
from dupnet.cluster.scheduler import Cluster
from dupnet.cluster.shards import Places, read_shards, token, write_shard
from dupnet.files.identity import Identity, identity_of
from dupnet.files.storage import Folder
from dupnet.find.cache import Arrays, Entry
from dupnet.find.describe import Described, settle, unusable_names
from dupnet.images.image import MAX_FILE_BYTES
from dupnet.images.listing import accompanies, list_collection
from dupnet.network.descriptors import Weights, load_weights, weights_bytes

__all__ = ["Image", "code_of", "describe_on", "files_of", "list_folder", "share_weights", "worker_weights"]

WEIGHTS_FILE = "weights.npz"
"""Beside the shards: the weights that made them, where they are not the shipped ones."""

IMAGES_AT_A_TIME = 32
"""Images that a task fetches side by side and describes, before it looks whether a shard is full."""


class Image(NamedTuple):
    """An image as it was listed: its folder's address, its file there, and that file's identity, if any."""

    folder: str
    file: str
    identity: Identity | None


def list_folder(folder: Folder, results: Folder | None = None) -> tuple[dict[str, Image], int]:
    """All files of a folder and of the folders in it, by their relative paths, sorted, without those in
    ``results`` and those that accompany images; and how many accompany images.

    Raises
    ------
    ValueError
        If there is none.
    OSError
        If there is no such folder.
    """
    if folder.is_local:  # links, pipes and the like are for the reader to judge
        exclude = [results.path] if results is not None and results.is_local else []
        listing = list_collection(folder.path, exclude)
        names = listing.files
        images = {name: Image(folder.address, name, _identity(folder.path / name)) for name in names}
        return images, listing.ignored
    own = None if results is None else f"{results.address}/".removeprefix(f"{folder.address}/")
    tree = folder.tree()
    outside = {name: one for name, one in tree.items() if own is None or not name.startswith(own)}
    files = {name: identity for name, identity in outside.items() if not accompanies(name)}
    if not files:
        raise ValueError(f"The folder {folder.address!r} holds no file, or does not exist.")
    images = {name: Image(folder.address, name, identity) for name, identity in files.items()}
    return images, len(outside) - len(files)


def _identity(path: Path) -> Identity | None:
    try:
        return identity_of(path)
    except OSError:  # reading it will tell why
        return None


def code_of(kind: Made, weights: Weights) -> str:
    """A name for all that descriptors depend on beside the images, and for how shards hold them."""
    return token(kind.made_by(weights))


def share_weights(store: Folder, weights: Weights) -> None:
    """Put the weights of a run where its workers find them, unless they are the shipped ones."""
    if weights is not load_weights():
        store.write(WEIGHTS_FILE, weights_bytes(weights))


@lru_cache(maxsize=4)
def _shared_weights(store: str, kind: Made, code: str) -> Weights | None:
    """The weights of a run, from the package or from its store; None where this machine has other code."""
    weights = load_weights()
    if code_of(kind, weights) == code:
        return weights
    folder = Folder(store)
    if WEIGHTS_FILE not in folder.files():
        return None
    weights = load_weights(io.BytesIO(folder.read(WEIGHTS_FILE)))
    return weights if code_of(kind, weights) == code else None


def worker_weights(store: str, kind: Made, code: str) -> Weights:
    """The weights of the run whose shards are at the address ``store``, on a worker that describes and scores
    as the client would.

    Raises
    ------
    ValueError
        If it would not.
    """
    threadpool_limits(1, user_api="blas")  # for good: a worker's threads have a task each
    weights = _shared_weights(store, kind, code)
    if weights is None:
        raise ValueError(
            "A worker has another version of dupnet, or of what it decodes with, than the client; install "
            "the same on all."
        )
    return weights


def describe_on(
    cluster: Cluster,
    store: Folder,
    images: Mapping[str, Image],
    kind: Kind,
    code: str,
    images_a_task: int,
) -> tuple[Described, Places]:
    """Bring the shards up to date with the images: those that can be used, and where their descriptors are.

    Parameters
    ----------
    cluster : Cluster
        Its workers must reach ``store`` and the images.
    store : Folder
        Of the shards.
    images : mapping
        Image name to image, sorted by name.
    kind, code
        What is described of images, and :func:`code_of`.
    images_a_task : int
        Images that one task describes.

    Raises
    ------
    ValueError
        If no image can be used.
    OSError
        If the store cannot be read or written.
    """
    reasons = unusable_names(images)
    known = {
        (image, entry.identity)
        for shard in read_shards(store)
        for image, entry in shard.entries.items()
        if image in images
    }
    new = [
        image
        for image, (_, _, identity) in images.items()
        if image not in reasons and (image, identity) not in known
    ]
    tasks = [(store.address, batch, kind, code) for batch in _batches(new, images, images_a_task)]
    for refused in cluster.run(_describe_task, tasks, "describe"):
        reasons.update(refused)

    shards = read_shards(store)
    place: dict[str, tuple[int, Entry]] = {}
    for number, shard in enumerate(shards):
        for image, entry in shard.entries.items():
            if image not in images or image in reasons:
                continue
            # Several shards may hold an image: by its present file, or else the one just written.
            if image not in place or entry.identity == images[image].identity:
                place[image] = number, entry
    lost = [image for image in images if image not in place and image not in reasons]
    if lost:
        raise OSError(f"{store.address}: no shard holds {lost[0]!r}; another run may be clearing it.")
    described = settle(
        {image: place[image][1] for image in images if image not in reasons}, reasons, **kind.settled
    )
    where = [place[image] for image in described.images]
    return described, Places(
        shards,
        np.array([number for number, _ in where], np.int64),
        np.array([entry.first_row for _, entry in where], np.int64),
    )


def _batches(
    new: Sequence[str], images: Mapping[str, Image], images_a_task: int
) -> Iterator[dict[str, Image]]:
    """New images in batches of one folder each, so that a shard is of one side of a search."""
    for folder in sorted({images[image].folder for image in new}):
        of_folder = [image for image in new if images[image].folder == folder]
        for start in range(0, len(of_folder), images_a_task):
            yield {image: images[image] for image in of_folder[start : start + images_a_task]}


def _describe_task(store: str, batch: Mapping[str, Image], kind: Kind, code: str) -> dict[str, str]:
    """Describe images into one or more shards; returns those that cannot be used, with the reason."""
    weights = worker_weights(store, kind, code)
    folder = Folder(next(iter(batch.values())).folder)
    refused: dict[str, str] = {}
    waiting: dict[str, tuple[Entry, Arrays]] = {}
    names = list(batch)
    for start in range(0, len(names), IMAGES_AT_A_TIME):
        part = names[start : start + IMAGES_AT_A_TIME]
        with TemporaryDirectory(prefix="dupnet-") as beside:
            files = files_of(folder, {image: batch[image] for image in part}, Path(beside))
            described = kind.describe(files, weights)
        for image, result in described.items():
            if isinstance(result, str):
                refused[image] = result
            else:
                entry, arrays = result
                listed = batch[image].identity
                # That of a copy is its own; a local file may have changed since it was listed.
                if folder.is_local:  # by size and time alone, as it is listed
                    entry = entry._replace(identity=entry.identity._replace(content=""))
                elif listed is not None:
                    entry = entry._replace(identity=listed)
                waiting[image] = entry, arrays
        n_rows = sum(entry.n_rows for entry, _ in waiting.values())
        if waiting and (n_rows >= kind.rows_a_shard or start + IMAGES_AT_A_TIME >= len(names)):
            key = token([[image, *batch[image]] for image in waiting])
            write_shard(Folder(store), key, waiting, kind.columns)
            waiting = {}
    return refused


def files_of(folder: Folder, images: Mapping[str, Image], beside: Path) -> dict[str, Path]:
    """Paths of the files of images of one folder: of copies in ``beside`` if need be, which a file that is
    gone has not."""
    if folder.is_local:
        return {name: folder.path / image.file for name, image in images.items()}
    sizes = {name: image.identity.size if image.identity else 0 for name, image in images.items()}
    files = {name: beside / str(number) for number, name in enumerate(images)}
    wanted = {images[name].file: name for name, size in sizes.items() if size <= MAX_FILE_BYTES}
    for file, data in folder.read_many(wanted).items():
        if isinstance(data, bytes):
            files[wanted[file]].write_bytes(data)
        elif not isinstance(data, FileNotFoundError):
            raise data
    for name in images.keys() - wanted.values():  # too large to be read: its size alone says so
        files[name].touch()
        os.truncate(files[name], sizes[name])
    return files
