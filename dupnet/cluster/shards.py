"""Descriptors in shards: files of a few thousand tiles each, which many machines write and read side by side.

A shard KEY is a few flat files and, written last, ``KEY.json``: the images, each with its file as it was and
its rows. Without it the others count for nothing. Of tiles the files have one row a tile: ``KEY.search``,
``KEY.verify`` and ``KEY.tiles``, which says whether a tile is decidable and carries hashes of both its
descriptors. Of points they are the columns of :mod:`dupnet.find.point_index`, one row a point.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.files.identity import Identity
from dupnet.files.storage import Folder
from dupnet.find.cache import Arrays, Entry
from dupnet.network.filters import SEARCH_BYTES

__all__ = [
    "TILES",
    "Places",
    "Shard",
    "packed",
    "read_column",
    "read_search",
    "read_shards",
    "read_tiles",
    "read_verify",
    "token",
    "unpacked",
    "write_shard",
]

TILES = np.dtype([("digest", "<u8", 2), ("verify_hash", "<u8"), ("decidable", "?"), ("searched", "?")])
"""A row of ``KEY.tiles``. Equal digests (BLAKE2b, 16 bytes) mean equal search descriptors; ``verify_hash`` is
that of :func:`dupnet.find.search.hash_rows`; ``searched`` is false where a search descriptor is zero
throughout."""

Numbers = npt.NDArray[np.int64]


class Shard(NamedTuple):
    """A shard of the store: its images with their rows in it, and how many rows it has."""

    key: str
    entries: dict[str, Entry]
    n_rows: int


class Places(NamedTuple):
    """Where the descriptors of images are, in the order of the images."""

    shards: list[Shard]
    shard: Numbers
    """Number of each image's shard."""
    first_row: Numbers
    """Its first row there."""


def token(content: Any) -> str:
    """A name for something that can be written as JSON: equal content, equal name."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()


def write_shard(
    store: Folder,
    key: str,
    images: Mapping[str, tuple[Entry, Arrays]],
    columns: Callable[[Arrays], Mapping[str, bytes]],
) -> None:
    """Write the descriptors of images, and last the file that makes them count.

    ``columns``: rows of all images -> the files of the shard by their endings.
    """
    entries: dict[str, Entry] = {}
    n_rows = 0
    for image, (entry, _) in images.items():
        entries[image] = entry._replace(first_row=n_rows)
        n_rows += entry.n_rows

    names = next(iter(images.values()))[1]
    together = {name: np.concatenate([arrays[name] for _, arrays in images.values()]) for name in names}
    for ending, data in columns(together).items():
        store.write(f"{key}.{ending}", data)
    store.write(f"{key}.json", json.dumps({"n_rows": n_rows, "images": entries}).encode())


def read_shards(store: Folder) -> list[Shard]:
    """The shards of a store, sorted by key; what is not whole is left out.

    Raises
    ------
    OSError
        If the store does not give a file that it lists, or one is damaged.
    """
    shards = []
    for name, data in store.read_many(name for name in store.files() if name.endswith(".json")).items():
        if isinstance(data, Exception):
            raise data
        try:
            record = json.loads(data)
            entries = {
                image: Entry(Identity(*identity), *rest)
                for image, (identity, *rest) in record["images"].items()
            }
            shards.append(Shard(name.removesuffix(".json"), entries, record["n_rows"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _damaged(store, name) from None
    return shards


def read_tiles(store: Folder, shard: Shard) -> npt.NDArray[np.void]:
    """The rows of ``KEY.tiles``: (n_rows,) of :data:`TILES`.

    Raises
    ------
    OSError
        If the file cannot be read, or is damaged.
    """
    return np.frombuffer(_whole(store, f"{shard.key}.tiles", shard.n_rows * TILES.itemsize), TILES)


def read_column(store: Folder, shard: Shard, ending: str, width: int) -> npt.NDArray[np.uint8]:
    """All rows of a file of a shard: (n_rows, width) uint8.

    Raises
    ------
    OSError
        If the file cannot be read, or is damaged.
    """
    data = _whole(store, f"{shard.key}.{ending}", shard.n_rows * width)
    return np.frombuffer(data, np.uint8).reshape(-1, width)


def read_search(store: Folder, key: str, rows: Numbers) -> npt.NDArray[np.int8]:
    """Search descriptors of some rows of a shard: (len(rows), SEARCH_BYTES) int8.

    Raises
    ------
    OSError
        If the file cannot be read, or is damaged.
    """
    data = np.frombuffer(store.read(f"{key}.search"), np.int8)
    if len(data) % SEARCH_BYTES or len(data) // SEARCH_BYTES <= rows.max(initial=-1):
        raise _damaged(store, f"{key}.search")
    return data.reshape(-1, SEARCH_BYTES)[rows]


def read_verify(
    store: Folder, keys: Sequence[str], shard: Numbers, row: Numbers, width: int
) -> npt.NDArray[np.uint8]:
    """Verify descriptors of rows ``row[k]`` of shards ``keys[shard[k]]``: (len(row), width) uint8.

    Rows that follow one another in one shard are read at once, so sorted rows are read fastest.

    Raises
    ------
    OSError
        If a file cannot be read, or is damaged.
    """
    if not len(row):
        return np.zeros((0, width), np.uint8)
    follows = (np.diff(shard) == 0) & (np.diff(row) == 1)
    runs = list(pairwise([0, *(np.flatnonzero(~follows) + 1).tolist(), len(row)]))
    names = [f"{keys[shard[start]]}.verify" for start, _ in runs]
    starts = [int(row[start]) * width for start, _ in runs]
    ends = [(int(row[end - 1]) + 1) * width for _, end in runs]
    read = store.read_ranges(names, starts, ends)
    for name, data, start, end in zip(names, read, starts, ends, strict=True):
        if len(data) != end - start:
            raise _damaged(store, name)
    return np.frombuffer(b"".join(read), np.uint8).reshape(-1, width)


def _whole(store: Folder, name: str, size: int) -> bytes:
    data = store.read(name)
    if len(data) != size:
        raise _damaged(store, name)
    return data


def _damaged(store: Folder, name: str) -> OSError:
    return OSError(f"{store.address}/{name} is damaged; delete its folder and run again.")


def packed(**arrays: npt.NDArray[Any]) -> bytes:
    """Arrays as one file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of :func:`packed`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
