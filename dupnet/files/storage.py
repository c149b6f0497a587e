"""A folder wherever fsspec reaches (a disk, S3, ...): its files are whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from dupnet.files.atomic import atomic_path
from dupnet.files.identity import Identity

__all__ = ["Folder"]


class Folder:
    """A folder by its address: a path, or a URL such as ``s3://bucket/images``.

    How a store is reached (keys, endpoint) is read from fsspec's and the store's own settings and environment
    variables, on every machine by itself.

    Raises
    ------
    ValueError
        If fsspec does not know the kind of address, or lacks the package for it.
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        text = os.fspath(address)
        try:
            if "://" in text:
                # Listings must be new each time: the workers write what the client lists.
                self._system, self._path = fsspec.core.url_to_fs(text, use_listings_cache=False)
            else:  # a path may hold what has a meaning in a URL
                self._system, self._path = fsspec.filesystem("file"), text
        except (ImportError, ValueError) as error:
            raise ValueError(f"{text!r} cannot be reached: {error}") from None
        self._path = self._path.rstrip("/") or "/"
        self.is_local = "file" in _protocols(self._system)
        if self.is_local:
            self._path = os.fspath(Path(self._path).resolve())
        self.address = str(self._path if self.is_local else self._system.unstrip_protocol(self._path))
        """Absolute: the same folder on every machine."""

    @property
    def path(self) -> Path:
        """The folder's path, if it is local.

        Raises
        ------
        ValueError
            If it is not.
        """
        if not self.is_local:
            raise ValueError(f"{self.address!r} is no path of this machine.")
        return Path(self._path)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return str(self._path).rpartition("/")[2]

    @property
    def parent(self) -> Folder:
        """The folder that this one is in.

        Raises
        ------
        ValueError
            If it is in none: the top of a store.
        """
        above = self.address.rpartition("/")[0]
        if above.endswith(":/"):
            raise ValueError(f"{self.address!r} is the top of its store; put the images into a folder of it.")
        return Folder(above or "/")

    def folder(self, name: str) -> Folder:
        """A folder in this one."""
        return Folder(f"{self.address}/{name}")

    def files(self) -> dict[str, Identity]:
        """Names of the files in the folder, sorted, each with what tells a changed file; or none."""
        try:
            entries = self._system.ls(self._path, detail=True)
        except FileNotFoundError:
            return {}
        found = {
            entry["name"].rstrip("/").rpartition("/")[2]: _identity(entry)
            for entry in entries
            # An object store lists the folder's own marker among its files.
            if entry["type"] == "file" and entry["name"].rstrip("/") != self._path
        }
        return dict(sorted(found.items()))

    def tree(self) -> dict[str, Identity]:
        """As :meth:`files`, with those of all folders in it, by their paths relative to it."""
        try:
            entries = self._system.find(self._path, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._path.rstrip("/")) + 1
        found = {
            name[start:]: _identity(entry)
            for name, entry in entries.items()
            if entry["type"] == "file" and not name.endswith("/") and len(name) > start
        }
        return dict(sorted(found.items()))

    def folders(self) -> list[str]:
        """Names of the folders in the folder, sorted."""
        try:
            entries = self._system.ls(self._path, detail=True)
        except FileNotFoundError:
            return []
        return sorted(
            entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"
        )

    def read(self, name: str) -> bytes:
        """The bytes of a file; ``FileNotFoundError`` if there is none."""
        return bytes(self._system.cat_file(f"{self._path}/{name}"))

    def read_many(self, names: Iterable[str]) -> dict[str, bytes | Exception]:
        """The bytes of several files, read side by side where the store allows; or the error of each."""
        paths = {f"{self._path}/{name}": name for name in names}
        if not paths:
            return {}
        everything = [None] * len(paths)  # not by `cat`, which takes brackets in a name for a pattern
        found = self._system.cat_ranges(list(paths), everything, everything, on_error="return")
        return dict(zip(paths.values(), found, strict=True))

    def read_ranges(self, names: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Bytes ``starts[k]`` to ``ends[k]`` of the file ``names[k]``, for every k."""
        paths = [f"{self._path}/{name}" for name in names]
        return list(self._system.cat_ranges(paths, list(starts), list(ends), on_error="raise"))

    def write(self, name: str, data: bytes) -> None:
        """Write a file: readers see all of it or none. (Object stores show a file once it is whole.)

        On a disk it is there before it has its name: what others are told of is what a power cut leaves.
        """
        if self.is_local:
            with atomic_path(Path(self._path, name), sync=True) as beside:
                beside.write_bytes(data)
        else:
            self._system.pipe_file(f"{self._path}/{name}", data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one; whether it was written.

        Of two that try at the same time one succeeds, on a disk and on stores whose fsspec package hands the
        condition on (S3, Google, Azure); other stores are asked first, and written to after.
        """
        path = f"{self._path}/{name}"
        if self.is_local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            if self.is_local:
                with open(path, "xb") as file:
                    file.write(data)
            else:
                self._system.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens if it is not there."""
        path = f"{self._path}/{name}"
        with suppress(FileNotFoundError):  # not by `rm`, which takes brackets in a name for a pattern
            if self._system.info(path)["type"] == "file":
                self._system.rm_file(path)
                return
            if self.is_local:
                shutil.rmtree(path)
                return
            for file in self._system.find(path):
                self._system.rm_file(file)
            with suppress(OSError):  # object stores have no folders
                self._system.rmdir(path)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _identity(entry: dict[str, Any]) -> Identity:
    """Size, time and tag of a listed file, as far as the store tells them."""
    changed = next((entry[key] for key in ("LastModified", "mtime", "last_modified") if key in entry), 0)
    if isinstance(changed, datetime):
        changed = changed.timestamp()
    tag = entry.get("ETag") or entry.get("etag") or ""
    return Identity(int(entry["size"] or 0), int(float(changed) * 1e9), str(tag))
