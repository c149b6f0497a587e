"""Which files a collection is: folders or a list of files, others added, or a folder held against them.

The output folder remembers its collection, so that a run resumed there means the same files, and one on
other images is noticed before anything is overwritten.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dupnet.files.atomic import atomic_path, remove_partial
from dupnet.images.listing import Listing, list_collection

__all__ = [
    "RECORD",
    "Collection",
    "combine",
    "list_call",
    "locked",
    "open_collection",
    "parse_record",
]

Images = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A folder, several, or a list of files."""

CACHE = "cache"
LOCK, RECORD = "lock", "collection.json"
"""Folder, within the output folder, of all that is not a result."""

SCRATCH = "join-"
"""Beginning of the names of folders, within that one, of what a join holds on disk."""


@dataclass(frozen=True)
class Collection:
    """The files of a collection, by the names that its tables use."""

    folders: tuple[Path, ...]
    """Folders of images; together they are one collection. Names are relative to them."""
    against: Path | None
    """A folder of images to hold against them; ``None`` for overlaps within the collection."""
    files: dict[str, Path]
    """Image to file, sorted by image. Images of ``against`` are called FOLDER/NAME, with as many of the
    folders above as keep them apart from the others."""
    above_against: Path | None = None
    """The folder that the names of ``against`` are relative to."""
    held: frozenset[str] = frozenset()
    """The images of ``against``."""
    ignored: int = 0
    """Number of hidden and side files that were left out."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Sub-folders that could not be entered, and why."""

    @property
    def lookup(self) -> tuple[Path, ...]:
        """Folders in which the file of an image is found by the image's name, in this order."""
        return self.folders if self.above_against is None else (*self.folders, self.above_against)

    def is_against(self, image: str) -> bool:
        """Whether an image is one of those held against the collection."""
        return image in self.held


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
    name, out = os.fspath(out), out.resolve()  # "images/new/.." is not there, and yet is the folder of images
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{name!r} is a file; choose a folder for the results.")
    is_known = any((out / CACHE / name).exists() for name in (LOCK, RECORD))
    if out.is_dir() and not is_known and any(path != out / CACHE for path in out.rglob("*")):
        raise ValueError(
            f"{name!r} is not an output folder of `dupnet find`; choose a new or an empty folder."
        )
    (out / CACHE).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / CACHE / LOCK, timeout=0)  # the system's own: gone with the process that held it
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"Another dupnet is at work in {name!r}; wait for it, or choose another folder."
        ) from None
    try:
        for folder in (out, out / CACHE):
            remove_partial(folder)
        for folder in (out / CACHE).glob(f"{SCRATCH}*"):
            shutil.rmtree(folder, ignore_errors=True)
        yield
    finally:
        lock.release()


def list_call(
    images: Sequence[str | os.PathLike[str]] | None,
    out: str | os.PathLike[str] | None,
    against: str | os.PathLike[str] | None,
) -> tuple[Listing | None, Listing | None]:
    """The files that a call names, if it names any, and those held against them.

    Raises
    ------
    ValueError, OSError
        As :func:`dupnet.images.listing.list_collection`, or if ``against`` is one of ``images``.
    """
    listing = None
    if images is not None:
        is_one_folder = len(images) == 1 and not os.path.isfile(images[0])
        listing = _list_searched(images[0] if is_one_folder else images, out, against)
    if against is None:
        return listing, None
    elsewhere = (out, None if listing is None else listing.root)
    return listing, list_collection(against, [path for path in elsewhere if path is not None])


def open_collection(
    out: Path,
    images: Images | Listing | None,
    add: bool = False,
    against: str | os.PathLike[str] | Listing | None = None,
    moved: Sequence[str | os.PathLike[str]] = (),
) -> Collection:
    """The collection that ``out``, which should be locked, holds or is to hold.

    Parameters
    ----------
    out : path
        Never searched for images itself.
    images : path, iterable of paths, or Listing
        The images of this call; None: those that ``out`` remembers.
    add : bool
        Add them to those that ``out`` remembers.
    against : path or Listing, optional
        A folder of images to hold against them.
    moved : sequence of path
        Where the folders that ``out`` remembers are now, each in its order.

    Raises
    ------
    ValueError
        If ``out`` holds another collection, two folders have an image of one name, or a folder is empty.
    OSError
        If a folder is missing.
    """
    marker = out / CACHE / RECORD
    known = parse_record(marker.read_bytes(), os.fspath(marker)) if marker.exists() else None
    other = against.root if isinstance(against, Listing) else against
    held = None if other is None else os.fspath(Path(other).resolve())
    if moved:
        known = _relocated(known, moved, held, os.fspath(out))
    if images is None:
        if known is None:
            raise ValueError(f"{os.fspath(out)!r} holds no collection; name the images.")
        record, listing = known, None
    else:
        listing = images if isinstance(images, Listing) else _list_searched(images, out, other)
        record = combine(known, os.fspath(listing.root), held, add, os.fspath(out), listing.parts)
    collection = _list(record, listing, against if isinstance(against, Listing) else None, out)
    with atomic_path(marker, sync=True) as beside:
        beside.write_text(json.dumps(record), encoding="utf-8")
    return collection


def _list_searched(
    images: Images, out: str | os.PathLike[str] | None, against: str | os.PathLike[str] | None
) -> Listing:
    """The files of ``images``, without those of the results and of a folder held against them.

    Raises
    ------
    ValueError
        If ``against`` is one of ``images``; or as :func:`dupnet.images.listing.list_collection`.
    OSError
        As that.
    """
    if against is not None and not isinstance(images, str | os.PathLike):
        images = list(images)
        if Path(against).resolve() in [Path(path).resolve() for path in images]:
            raise ValueError(f"against is {os.fspath(against)!r}, which is one of the folders searched.")
    return list_collection(images, [path for path in (out, against) if path is not None])


def parse_record(data: bytes, name: str) -> dict[str, Any]:
    """The record of a collection, from the bytes of the file ``name``.

    Raises
    ------
    ValueError
        If they are none.
    """
    try:
        record = json.loads(data)
        folders = [str(folder) for folder in record["folders"]]
        parts = {
            str(folder): [str(part) for part in some] for folder, some in record.get("parts", {}).items()
        }
        return {"folders": folders, "parts": parts, "against": record["against"]}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"{name!r} is damaged: which images the results are of is lost; choose another folder for them."
        ) from None


def combine(
    known: Mapping[str, Any] | None,
    folder: str,
    against: str | None,
    add: bool,
    out: str,
    parts: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The record of a collection: that which ``out`` holds already, if any, with ``folder`` in it.

    ``folder``, ``against`` and those of the record are absolute paths or addresses; ``parts`` are the folders
    and files below ``folder`` that were named, None if all of it is meant.

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
        return {
            "folders": [folder],
            "parts": {} if parts is None else {folder: list(parts)},
            "against": against,
        }
    known_parts = known["parts"].get(folder)
    is_known = folder in known["folders"] and (
        known_parts == (None if parts is None else list(parts)) or known_parts is None
    )
    if known["against"] != against or not (add or is_known):
        there = [
            f"{one!r}"
            + (f" ({len(known['parts'][one])} folders or files in it)" if one in known["parts"] else "")
            for one in known["folders"]
        ]
        gone = any("://" not in one and not os.path.isdir(one) for one in known["folders"])
        raise ValueError(
            f"{out!r} holds the overlaps of {' and '.join(there)}"
            + (f" against {known['against']!r}" if known["against"] else "")
            + ("; if they have moved, name where they are now (--images)" if gone else "")
            + "; choose another folder for the results"
            + ("." if against or known["against"] else ", or add these images to them (--add).")
        )
    merged = dict(known["parts"])
    if folder not in known["folders"]:
        merged.update({} if parts is None else {folder: list(parts)})
    elif parts is None:
        merged.pop(folder, None)
    elif known_parts is not None:
        merged[folder] = sorted({*known_parts, *parts})
    return {
        "folders": list(dict.fromkeys([*known["folders"], folder])),
        "parts": merged,
        "against": against,
    }


def _relocated(
    known: Mapping[str, Any] | None,
    moved: Sequence[str | os.PathLike[str]],
    against: str | None,
    out: str,
) -> dict[str, Any]:
    """The record of a collection whose folders are somewhere else now."""
    if known is None:
        raise ValueError(f"{out!r} holds no collection that could have moved; name the images.")
    if len(moved) != len(known["folders"]):
        raise ValueError(
            f"{out!r} holds the overlaps of {len(known['folders'])} folders "
            f"({', '.join(map(repr, known['folders']))}), and {len(moved)} are named; name where each is now."
        )
    folders = [os.fspath(Path(folder).resolve()) for folder in moved]
    for folder in folders:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"There is no folder {folder!r}.")
    now = dict(zip(known["folders"], folders, strict=True))
    return {
        "folders": folders,
        "parts": {now[folder]: parts for folder, parts in known["parts"].items()},
        "against": against or known["against"],
    }


def _list(
    record: Mapping[str, Any], given: Listing | None, given_against: Listing | None, out: Path
) -> Collection:
    """The files of a recorded collection; what this call has listed is not listed again."""
    folders = tuple(Path(path) for path in record["folders"])
    against = None if record["against"] is None else Path(record["against"])
    files: dict[str, Path] = {}
    ignored = 0
    refused: dict[str, str] = {}
    for folder in folders:
        parts = record["parts"].get(os.fspath(folder))
        if given is not None and given.root == folder and parts == (given.parts and list(given.parts)):
            listing = given
        else:
            listing = _list_searched(
                folder if parts is None else [folder / part for part in parts], out, against
            )
        for name, path in listing.files.items():
            # Names are relative to what contains the parts, and some of them may be gone.
            name = path.relative_to(folder).as_posix()
            if name in files:
                raise ValueError(
                    f"{name!r} is in both {os.fspath(files[name].parent)!r} and {os.fspath(path.parent)!r}; "
                    "search both folders in one call, whose names then tell them apart."
                )
            files[name] = path
        ignored += listing.ignored
        refused.update(listing.refused)
    above, held = None, {}
    if against is not None:
        listing = given_against or list_collection(against, [out, *folders])
        above = against.parent
        while any(path.relative_to(above).as_posix() in files for path in listing.files.values()):
            if above == above.parent:
                raise ValueError(f"{os.fspath(against)!r} has images of the names that the collection has.")
            above = above.parent
        held = {path.relative_to(above).as_posix(): path for path in listing.files.values()}
        ignored += listing.ignored
        refused.update(listing.refused)
    return Collection(
        folders,
        against,
        dict(sorted({**files, **held}.items())),
        above,
        frozenset(held),
        ignored,
        refused,
    )
