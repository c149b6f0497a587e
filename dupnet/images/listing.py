"""Which files a collection is made of: folders with all that is in them, or a list of files, and their names.

An image is named by its POSIX path relative to the folder that was given; of several folders, or of a list of
files, relative to what contains them all. So equal names in different folders are different images. What
accompanies images (hidden files, texts, labels, world files) is left out and counted; what else is not an
image is reported when it is read. Results of dupnet below the images are not searched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dupnet.files.atomic import refuse_device

__all__ = [
    "Listing",
    "accompanies",
    "check_present",
    "list_collection",
    "list_images",
    "locate",
    "read_file_list",
]

Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# fmt: off
SIDE_FILES = frozenset(
    (
        # texts and tables: notes, licences, labels, splits, annotations
        ".txt", ".md", ".rst", ".pdf", ".htm", ".html", ".doc", ".docx", ".csv", ".tsv", ".xls", ".xlsx",
        ".parquet", ".xml", ".json", ".jsonl", ".ndjson", ".geojson", ".yaml", ".yml", ".toml", ".ini",
        ".cfg", ".log", ".names", ".data", ".md5", ".sha1", ".sha256",
        # world files, projections, statistics, overviews, masks and metadata that GDAL keeps beside an image
        ".tfw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".pgw", ".pngw", ".j2w", ".bpw", ".gfw", ".wld", ".prj",
        ".aux", ".ovr", ".msk", ".rrd", ".hdr", ".imd", ".rpb", ".rpc", ".til", ".met",
        # vector data
        ".shp", ".shx", ".dbf", ".cpg", ".sbn", ".sbx", ".qix", ".gpkg", ".kml", ".kmz",
        # programs, links, and what desktops leave behind
        ".py", ".ipynb", ".sh", ".db", ".lnk", ".url", ".tmp", ".bak",
    )
)
"""Endings, in lower case, of files that accompany images."""

SIDE_NAMES = frozenset(
    (
        "readme", "license", "licence", "copying", "notice", "authors", "citation", "changelog", "manifest",
        "makefile", "md5sums", "sha256sums",
    )
)
"""Names without an ending, in lower case, of files that accompany images."""
# fmt: on

RECORDS = ("cache/collection.json", "cache/tiles.json")
"""Files by which a folder is known to hold results of dupnet."""


class Listing(NamedTuple):
    """The files of one call, by name."""

    root: Path
    """The names are relative to it."""
    parts: tuple[str, ...] | None
    """The folders and files below ``root`` that were given; None if it was ``root`` itself."""
    files: dict[str, Path]
    """Name to file, sorted by name."""
    ignored: int = 0
    """Number of hidden files and folders, side files, and results of dupnet."""
    refused: Mapping[str, str] = {}
    """Sub-folders that could not be entered, and why."""


def list_images(folder: str | os.PathLike[str]) -> list[str]:
    """Names of all files of a folder and of the folders in it, sorted; see :func:`list_collection`."""
    return list(list_collection(folder).files)


def list_collection(
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    exclude: Iterable[str | os.PathLike[str]] = (),
) -> Listing:
    """The files of a folder, of several folders, or of a list of files.

    Folders are entered recursively, each one once, whatever links lead to it. A file that is given by its own
    path is listed whatever its name.

    Parameters
    ----------
    images : path, or iterable of paths
        Folders and files.
    exclude : iterable of path
        Folders that are not entered, such as the one for the results.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    NotADirectoryError
        If a single path is a file.
    ValueError
        If no path is given, or there is no file in them.
    """
    if isinstance(images, str | os.PathLike):
        given = [Path(images)]
        if os.path.exists(images) and not os.path.isdir(images):
            raise NotADirectoryError(
                f"{os.fspath(images)!r} is a file; give the folder of images, or a list of files."
            )
        if not os.path.exists(images):
            raise FileNotFoundError(f"There is no folder {os.fspath(images)!r}.")
    else:
        given = [Path(path) for path in images]
    if not given:
        raise ValueError("The list of images is empty; give a folder, several, or a list of files.")
    several = len(given) > 1
    found: dict[Path, None] = {}
    for path in given:
        if not os.path.lexists(path):
            raise FileNotFoundError(f"There is no folder or file {os.fspath(path)!r}.")
        found[path.resolve() if path.is_dir() else path.parent.resolve() / path.name] = None
    folders = [path for path in found if path.is_dir()]
    root = Path(os.path.commonpath([path if path in folders else path.parent for path in found]))
    walk = _Walk(root, exclude, folders)
    for path in folders:
        walk.enter(path)
    walk.enter_links()
    for path in found:
        if path not in folders:
            walk.files[path.relative_to(root).as_posix()] = path
    if not walk.files:
        inside = f", besides {walk.ignored} that accompany images or are hidden" if walk.ignored else ""
        inside += "".join(f"; {name!r}: {reason}" for name, reason in list(walk.refused.items())[:3])
        names = " and ".join(repr(os.fspath(path)) for path in given[:3])
        what = "folders hold" if several else "folder"
        raise ValueError(f"The {what} {names}{'' if several else ' holds'} no file{inside}.")
    parts = None if folders == [root] else tuple(sorted(path.relative_to(root).as_posix() for path in found))
    return Listing(root, parts, dict(sorted(walk.files.items())), walk.ignored, walk.refused)


class _Walk:
    """A walk through folders that enters each of them once."""

    def __init__(self, root: Path, exclude: Iterable[str | os.PathLike[str]], given: Iterable[Path]) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        self.ignored = 0
        self.refused: dict[str, str] = {}
        self._links: list[Path] = []
        self._entered = {_key(path) for path in exclude} - {_key(path) for path in given} - {None}

    def enter(self, folder: Path) -> None:
        """List a folder and the folders in it; links to folders are left for :meth:`enter_links`."""
        waiting = [folder]
        while waiting:
            at = waiting.pop()
            key = _key(at)
            if key in self._entered:
                continue
            if at != folder and any((at / record).is_file() for record in RECORDS):
                self.ignored += 1
                continue
            try:
                with os.scandir(at) as entries:
                    listed = list(entries)
            except OSError as error:
                if at == folder == self.root:
                    raise
                self.refused[f"{at.relative_to(self.root).as_posix()}/"] = (
                    f"folder cannot be entered: {error.strerror or error}"
                )
                continue
            self._entered.add(key)
            prefix = "" if at == self.root else f"{at.relative_to(self.root).as_posix()}/"
            for entry in listed:
                if _is_folder(entry):
                    if entry.name.startswith("."):
                        self.ignored += 1
                    else:
                        (self._links if entry.is_symlink() else waiting).append(at / entry.name)
                elif accompanies(entry.name):
                    self.ignored += 1
                else:
                    self.files[prefix + entry.name] = at / entry.name

    def enter_links(self) -> None:
        """Enter what links lead to, unless it was entered by a path without one."""
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self.enter(link)


def _key(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself: reading it will say so
        return False


def accompanies(name: str) -> bool:
    """Whether a file, named by its path, is hidden, in a hidden folder, or accompanies images."""
    *folders, name = name.split("/")
    if any(folder.startswith(".") for folder in folders):
        return True
    stem, dot, ending = name.rpartition(".")
    if not dot:
        return name.lower() in SIDE_NAMES
    return not stem or name.startswith(".") or f".{ending.lower()}" in SIDE_FILES


def read_file_list(path: str | os.PathLike[str]) -> list[str]:
    """Paths from a text file, one a line, or separated by NUL as of ``find -print0``; ``-``: standard input.

    Raises
    ------
    ValueError
        If it names none.
    OSError
        If the file cannot be read.
    """
    if os.fspath(path) == "-":
        data = sys.stdin.buffer.read()
    else:
        refuse_device(path)
        data = Path(path).read_bytes()
    lines = data.split(b"\0") if b"\0" in data else data.removeprefix(b"\xef\xbb\xbf").splitlines()
    paths = [os.fsdecode(line) for line in lines if line.strip()]
    if not paths:
        raise ValueError(f"The list {os.fspath(path)!r} names no file; it should hold one path a line.")
    return paths


def locate(image: str, folders: Folders) -> Path:
    """The file of an image: the first of one or several folders that has it.

    Raises
    ------
    FileNotFoundError
        If none has it (any more).
    """
    several = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    for folder in several:
        if Path(folder, image).exists():
            return Path(folder, image)
    raise FileNotFoundError(
        f"{image!r} is in none of {[os.fspath(folder) for folder in several]}; if the images have moved, "
        "name the folder where they are now (--images)."
    )


def check_present(images: Collection[str], folder: str | os.PathLike[str]) -> None:
    """Check that a folder has every image that a table names.

    Raises
    ------
    FileNotFoundError
        If it lacks one.
    """
    missing = [image for image in images if not Path(folder, image).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} lacks {len(missing)} of the {len(images)} images of the table, such as "
            f"{missing[0]!r}; name the folder that the table is of."
        )
