"""Which files a collection is: one folder, folders added to it, or a folder held against another.

The output folder remembers its collection, so that a run resumed there means the same files, and one on
other images is noticed before anything is overwritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dupnet.files.atomic import atomic_path, remove_partial
from dupnet.images.reading import list_images

__all__ = ["RECORD", "Collection", "combine", "locked", "open_collection", "parse_record"]

CACHE = "cache"
LOCK, RECORD = "lock", "collection.json"
"""Folder, within the output folder, of all that is not a result."""


@dataclass(frozen=True)
class Collection:
    """The files of a collection, by the names that its tables use."""

    folders: tuple[Path, ...]
    """Folders of images; together they are one collection."""
    against: Path | None
    """A folder of images to hold against them; ``None`` for overlaps within the collection."""
    files: dict[str, Path]
    """Image to file, sorted by image. Images of ``against`` are called FOLDER/NAME."""

    @property
    def lookup(self) -> tuple[Path, ...]:
        """Folders in which the file of an image is found by the image's name, in this order."""
        return self.folders if self.against is None else (*self.folders, self.against.parent)

    def is_against(self, image: str) -> bool:
        """Whether an image is one of those held against the collection."""
        return self.against is not None and self.files[image].parent == self.against


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold an output folder, made if it is missing, so that no two processes write into it; what a killed one
    left half-written there is removed.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    NotADirectoryError
        If it is a file.
    ValueError
        If it holds something, but nothing that dupnet wrote.
    """
    import fcntl

    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{os.fspath(out)!r} is a file; choose a folder for the results.")
    is_known = any((out / CACHE / name).exists() for name in (LOCK, RECORD))
    if out.is_dir() and not is_known and any(path != out / CACHE for path in out.rglob("*")):
        raise ValueError(
            f"{os.fspath(out)!r} holds files, but none of `dupnet find`; choose a new or an empty folder."
        )
    (out / CACHE).mkdir(parents=True, exist_ok=True)
    with open(out / CACHE / LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"Another dupnet is at work in {os.fspath(out)!r}; wait for it, or choose another folder."
            ) from None
        for folder in (out, out / CACHE):
            remove_partial(folder)
        yield


def open_collection(
    out: Path,
    folder: str | os.PathLike[str],
    add: bool = False,
    against: str | os.PathLike[str] | None = None,
) -> Collection:
    """The collection that ``out``, which should be locked, holds or is to hold of the images in ``folder``.

    Raises
    ------
    ValueError
        If ``out`` holds another collection, two folders have an image of one name, or a folder is empty.
    OSError
        If a folder is missing.
    """
    marker = out / CACHE / RECORD
    record = combine(
        parse_record(marker.read_bytes(), os.fspath(marker)) if marker.exists() else None,
        os.fspath(Path(folder).resolve()),
        None if against is None else os.fspath(Path(against).resolve()),
        add,
        os.fspath(out),
    )
    folders = tuple(Path(path) for path in record["folders"])
    other = None if record["against"] is None else Path(record["against"])
    collection = Collection(folders, other, _list(folders, other))
    with atomic_path(marker) as beside:
        beside.write_text(json.dumps(record), encoding="utf-8")
    return collection


def parse_record(data: bytes, name: str) -> dict[str, Any]:
    """The record of a collection, from the bytes of the file ``name``.

    Raises
    ------
    ValueError
        If they are none.
    """
    try:
        record = json.loads(data)
        return {"folders": [str(folder) for folder in record["folders"]], "against": record["against"]}
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{name!r} is damaged: which images the results are of is lost; choose another folder for them."
        ) from None


def combine(
    known: Mapping[str, Any] | None, folder: str, against: str | None, add: bool, out: str
) -> dict[str, Any]:
    """The record of a collection: that which ``out`` holds already, if any, with ``folder`` in it.

    ``folder``, ``against`` and those of the record are absolute paths or addresses.

    Raises
    ------
    ValueError
        If ``out`` holds another collection, or the options do not fit together.
    """
    if add and against is not None:
        raise ValueError(
            "add and against exclude each other: add the images first, or hold them against the others."
        )
    if folder == against:
        raise ValueError(f"against is {folder!r}, the folder itself; leave it out to search one folder.")
    if known is None:
        if add:
            raise ValueError(f"{out!r} holds no collection to add to; run without --add first.")
        return {"folders": [folder], "against": against}
    if known["against"] != against or not (add or folder in known["folders"]):
        raise ValueError(
            f"{out!r} holds the overlaps of {' and '.join(map(repr, known['folders']))}"
            + (f" against {known['against']!r}" if known["against"] else "")
            + "; choose another folder for the results"
            + ("." if against or known["against"] else ", or add these images to them (--add).")
        )
    return {"folders": list(dict.fromkeys([*known["folders"], folder])), "against": against}


def _list(folders: tuple[Path, ...], against: Path | None) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in folders:
        for name in list_images(folder):
            if name in files:
                raise ValueError(
                    f"{name!r} is in both {os.fspath(files[name].parent)!r} and {os.fspath(folder)!r}."
                )
            files[name] = folder / name
    if against is not None:
        files.update((f"{against.name}/{name}", against / name) for name in list_images(against))
    return dict(sorted(files.items()))
